"""Nothing depends on how many threads do the work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from mliuq import Model, SnapParams
from mliuq.descriptor.neighbours import pack
from systems import random_model

ALL = {"spreads": True, "committee": True, "extrapolation": True, "atom_virials": True}


@pytest.fixture(scope="module")
def big() -> tuple[Model, Atoms]:
    """Enough atoms of two elements for several chunks of work per thread."""
    params = SnapParams(("W", "Be"), twojmax=2, rcutfac=3.6, radii=(0.5, 0.45))
    atoms = bulk("W", cubic=True).repeat((5, 5, 6))
    rng = np.random.default_rng(0)
    atoms.symbols[rng.choice(len(atoms), 90, replace=False)] = "Be"
    atoms.positions += rng.normal(scale=0.1, size=(len(atoms), 3))
    return random_model(params, members=6, factor=True, zbl=(1.5, 3.0)), atoms


def check(found: dict[str, Any], expected: dict[str, Any], rtol: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = np.abs(value).max()
        assert scale > 1e-6, f"{name} is trivially zero"
        np.testing.assert_allclose(found[name], value, rtol=0, atol=rtol * scale, err_msg=name, equal_nan=False)


@pytest.mark.parametrize("threads", [2, 3, 7, 64])
def test_threads(big: tuple[Model, Atoms], threads: int) -> None:
    model, atoms = big
    structure = pack(atoms, model.params)
    one = model.potential().evaluate(structure, threads=1, **ALL)
    many = model.potential().evaluate(structure, threads=threads, **ALL)
    check(many, one, 1e-12)
    for name in ("energies", "energies_std", "energies_min", "energies_max", "extrapolation"):
        np.testing.assert_array_equal(many[name], one[name], err_msg=f"{name}: no sum over atoms is in it")


def test_same_thread_count_same_bits(big: tuple[Model, Atoms]) -> None:
    model, atoms = big
    structure = pack(atoms, model.params)
    potential = model.potential()
    first = potential.evaluate(structure, threads=3, **ALL)
    for other in (potential, model.potential()):
        again = other.evaluate(structure, threads=3, **ALL)
        for name, value in first.items():
            np.testing.assert_array_equal(again[name], value, err_msg=name)


def test_scratch_memory_does_not_leak_from_one_structure_into_the_next(big: tuple[Model, Atoms]) -> None:
    model, atoms = big
    used = model.potential()
    used.evaluate(pack(atoms, model.params), threads=4, **ALL)
    small = pack(atoms[:5], model.params)
    for threads in (4, 1):
        found = used.evaluate(small, threads=threads, **ALL)
        fresh = model.potential().evaluate(small, threads=threads, **ALL)
        for name, value in fresh.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_several_python_threads_may_share_a_potential(big: tuple[Model, Atoms]) -> None:
    """The core works outside the interpreter's lock: calls on one potential wait for each other."""
    model, atoms = big
    potential = model.potential()
    packed = [pack(atoms[: 40 * n], model.params) for n in range(1, 7)]
    expected = [model.potential().evaluate(one, threads=2)["energies"] for one in packed]

    def work(n: int) -> bool:
        return all(np.array_equal(potential.evaluate(packed[n], threads=2)["energies"], expected[n]) for _ in range(10))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))
