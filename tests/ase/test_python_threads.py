"""Threads of Python that share a calculator or a model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import mliuq
import numpy as np
import pytest
from ase import Atoms
from mliuq import MLIUQCalculator, Model, SnapParams
from systems import random_model


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model(SnapParams(("W",), twojmax=2, rcutfac=4.0), members=3, noise=True)


@pytest.fixture(scope="module")
def structures() -> list[Atoms]:
    rng = np.random.default_rng(0)
    made = []
    for n in range(2, 10):
        made.append(
            Atoms(f"W{n}", positions=2.6 * np.arange(n)[:, None] + 0.2 * rng.normal(size=(n, 3)), cell=[30] * 3)
        )
    return made


@pytest.fixture(scope="module")
def expected(model: Model, structures: list[Atoms]) -> list[tuple[float, np.ndarray, float]]:
    found = []
    for atoms in structures:
        calculator = MLIUQCalculator(model)
        found.append(
            (
                calculator.get_property("energy", atoms),
                calculator.get_forces(atoms),
                calculator.get_property("energy_std", atoms),
            )
        )
    return found


def test_a_shared_calculator_gives_each_thread_its_own(model, structures, expected) -> None:
    shared = MLIUQCalculator(model, threads=1)

    def work(trial: int) -> bool:
        k = trial % len(structures)
        atoms = structures[k].copy()
        atoms.calc = shared
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        std = shared.get_property("energy_std", atoms)
        return (
            abs(energy - expected[k][0]) < 1e-9
            and np.allclose(forces, expected[k][1], atol=1e-9)
            and abs(std - expected[k][2]) < 1e-9
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(800)))


def test_evaluate_from_many_threads(model, structures, expected) -> None:
    def work(trial: int) -> bool:
        k = trial % len(structures)
        found = mliuq.evaluate(model, structures[k], ["energy", "stress"], threads=1)
        return (
            abs(found["energy"] - expected[k][0]) < 1e-9
            and np.allclose(found["forces"], expected[k][1], atol=1e-9)
            and abs(found["energy_std"] - expected[k][2]) < 1e-9
            and found["stress"].shape == (6,)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))


def test_evaluate_leaves_atoms_alone_and_gives_what_is_asked(model, structures, tmp_path) -> None:
    atoms = structures[3]
    path = tmp_path / "m.mliuq"
    model.save(path)
    found = mliuq.evaluate(path, atoms, ["energy_comm"])
    assert atoms.calc is None
    assert found["energy_comm"].shape == (3,)
    assert "energy_comm" not in mliuq.evaluate(path, atoms)
    assert found["energy"] == mliuq.evaluate(model, atoms, threads=2)["energy"]
    assert mliuq.evaluate(model, Atoms("W", positions=[[0, 0, 0]]))["energy"] == pytest.approx(model.theta[0, 0])
