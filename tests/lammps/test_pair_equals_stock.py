"""`pair_style mliuq` with a published potential gives what stock `pair_style snap` gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from mliuq.core import available_kernels
from runner import assert_equal, evaluate, potentials_folder

Make = Callable[..., Path]
Structures = Callable[..., dict[str, Atoms]]

PUBLISHED = {"Ta": "Ta06A", "W": "W_2940_2017_2"}
CELLS = ["rattled", "strained", "triclinic", "tiny", "slab", "cluster", "isolated"]


def stock(name: str, *elements: str) -> str:
    file = potentials_folder() / name
    return f"pair_style snap\npair_coeff * * {file}.snapcoeff {file}.snapparam {' '.join(elements)}\n"


def ours(model: Path, *elements: str, options: str = "") -> str:
    return f"pair_style mliuq {options}\npair_coeff * * {model} {' '.join(elements)}\n"


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("element", PUBLISHED)
def test_equals_stock_snap(element: str, cell: str, make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures(element)[cell]
    name = PUBLISHED[element]
    expected = evaluate(atoms, stock(name, element), tmp_path / "stock", elements=[element])
    found = evaluate(atoms, ours(make_model(name), element), tmp_path / "ours", elements=[element])
    assert_equal(found, expected)
    if cell != "isolated":
        assert np.abs(expected.forces).max() > 0.1
        assert np.abs(expected.pressure).max() > 100.0


@pytest.mark.parametrize("cell", ["rattled", "triclinic", "cluster", "isolated"])
@pytest.mark.parametrize("element", PUBLISHED)
def test_two_ranks_equal_stock_snap(
    element: str, cell: str, make_model: Make, structures: Structures, tmp_path: Path
) -> None:
    atoms = structures(element)[cell]
    name = PUBLISHED[element]
    expected = evaluate(atoms, stock(name, element), tmp_path / "stock", elements=[element], ranks=2)
    found = evaluate(atoms, ours(make_model(name), element), tmp_path / "ours", elements=[element], ranks=2)
    assert_equal(found, expected)
    alone = evaluate(atoms, ours(make_model(name), element), tmp_path / "alone", elements=[element])
    assert_equal(found, alone)


@pytest.mark.parametrize("name", ["Mo_Zuo_JPCA2020.quadratic", "WBe_Wood_PRB2019", "InP_JCPA2020"])
def test_quadratic_and_several_elements(name: str, make_model: Make, tmp_path: Path) -> None:
    elements = {"Mo": ["Mo"], "WB": ["W", "Be"], "In": ["In", "P"]}[name[:2]]
    rng = np.random.default_rng(11)
    atoms = Atoms("H54", positions=np.zeros((54, 3)), cell=[9.6, 9.6, 9.6], pbc=True)
    grid = np.array([[x, y, z] for x in range(3) for y in range(3) for z in range(3)], float)
    atoms.positions = np.concatenate([grid, grid + 0.5]) * 3.2 + rng.normal(scale=0.1, size=(54, 3))
    atoms.symbols = rng.choice(elements, size=54)
    atoms.wrap()
    expected = evaluate(atoms, stock(name, *elements), tmp_path / "stock", elements=elements)
    found = evaluate(atoms, ours(make_model(name), *elements), tmp_path / "ours", elements=elements)
    assert_equal(found, expected)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing_but_rounding(
    threads: int, make_model: Make, structures: Structures, tmp_path: Path
) -> None:
    atoms = structures("Ta")["triclinic"].repeat((2, 2, 1))
    pair = ours(make_model("Ta06A"), "Ta")
    expected = evaluate(atoms, pair, tmp_path / "default", elements=["Ta"])
    found = evaluate(atoms, pair, tmp_path / "threads", elements=["Ta"], threads=threads)
    assert_equal(found, expected, 1e-12)


@pytest.mark.parametrize("kernel", available_kernels())
def test_every_kernel_gives_the_same(kernel: str, make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures("W")["triclinic"]
    pair = ours(make_model("W_2940_2017_2", 10), "W")
    extras = {"elements": ["W"], "after": "compute u all mliuq/atom energy_std\n", "columns": "c_u"}
    expected = evaluate(atoms, pair, tmp_path / "reference", kernel="reference", **extras)
    found = evaluate(atoms, pair, tmp_path / "kernel", kernel=kernel, **extras)
    assert f"members; {kernel}" in (tmp_path / "kernel" / "log.lammps").read_text()
    assert_equal(found, expected, 1e-11)
    np.testing.assert_allclose(found.columns, expected.columns, rtol=1e-9)


def test_single_precision_is_close(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures("W")["rattled"]
    double = evaluate(atoms, ours(make_model("W_2940_2017_2"), "W"), tmp_path / "double", elements=["W"])
    single = ours(make_model("W_2940_2017_2"), "W", options="precision single")
    found = evaluate(atoms, single, tmp_path / "single", elements=["W"])
    assert_equal(found, double, 1e-4)


def test_per_atom_values_add_up(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures("Ta")["triclinic"]
    state = evaluate(atoms, ours(make_model("Ta06A"), "Ta"), tmp_path, elements=["Ta"])
    assert state.energies.sum() == pytest.approx(state.energy, rel=1e-12)
    assert -state.virials.sum(axis=0) / atoms.get_volume() == pytest.approx(state.pressure, rel=1e-9)
    assert np.abs(state.forces.sum(axis=0)).max() < 1e-10 * np.abs(state.forces).max() * len(atoms)
