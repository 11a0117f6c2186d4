"""What no relabelling, rigid motion or choice of cell may change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import make_supercell
from mliuq import MLIUQCalculator, Model
from scipy.spatial.transform import Rotation
from systems import CELLS, PARAMS, random_model, structure

KINDS = ["linear", "quadratic", "binary", "chem", "inner"]
PER_ATOM = ["energies", "energies_std", "energies_min", "energies_max", "energies_err", "extrapolation"]
WHOLE = ["energy", "energy_std", "energy_min", "energy_max", "energy_comm"]

Check = Callable[..., None]


@pytest.fixture(params=KINDS, scope="module")
def model(request: pytest.FixtureRequest) -> Model:
    return random_model(PARAMS[request.param], members=5, factor=True, noise=True, zbl=(1.5, 3.0))


def results(model: Model, atoms: Atoms) -> dict[str, Any]:
    atoms = atoms.copy()
    atoms.calc = MLIUQCalculator(model)
    names = [*PER_ATOM, *WHOLE, "forces"] + (["stress"] if atoms.cell.rank == 3 else [])
    out = {name: atoms.calc.get_property(name, atoms) for name in names}
    if "stress" in out:
        out["stress"] = atoms.get_stress(voigt=False)
    return out


def check(
    model: Model, before: Atoms, after: Atoms, order: Any = slice(None), rotation: Any = None, copies: int = 1
) -> None:
    """``after`` gives what ``before`` does, atom i being ``before``'s order[i], rotated, so many times."""
    a, b = results(model, before), results(model, after)
    turn = np.eye(3) if rotation is None else rotation
    for name in PER_ATOM:
        np.testing.assert_allclose(b[name], a[name][order], rtol=1e-9, err_msg=name, equal_nan=False)
    for name in WHOLE:
        np.testing.assert_allclose(b[name], copies * a[name], rtol=1e-9, err_msg=name, equal_nan=False)
    scale = np.abs(a["forces"]).max()
    expected = a["forces"][order] @ turn.T
    np.testing.assert_allclose(b["forces"], expected, rtol=0, atol=1e-9 * max(scale, 1e-3), equal_nan=False)
    if "stress" in a and "stress" in b:
        scale = np.abs(a["stress"]).max()
        assert scale > 1e-6
        np.testing.assert_allclose(b["stress"], turn @ a["stress"] @ turn.T, rtol=0, atol=1e-9 * scale)
    assert b["energy_std"] > 1e-3, "the members agree trivially"


@pytest.mark.parametrize("cell", ["triclinic", "slab", "cluster"])
def test_permutation(model: Model, cell: str) -> None:
    atoms = structure(cell, model.params)
    order = np.random.default_rng(0).permutation(len(atoms))
    check(model, atoms, atoms[order], order)


@pytest.mark.parametrize("cell", ["triclinic", "wire", "cluster"])
def test_translation(model: Model, cell: str) -> None:
    atoms = structure(cell, model.params)
    moved = atoms.copy()
    moved.positions += [17.3, -4.4, 1.2]
    check(model, atoms, moved)


@pytest.mark.parametrize("cell", ["triclinic", "sliver", "wire", "cluster"])
def test_rotation(model: Model, cell: str) -> None:
    atoms = structure(cell, model.params)
    turn = Rotation.random(random_state=np.random.default_rng(1)).as_matrix()
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ turn.T)
    turned.positions = atoms.positions @ turn.T
    check(model, atoms, turned, rotation=turn)


@pytest.mark.parametrize("cell", ["triclinic", "slab", "cluster"])
def test_inversion_and_reflection(model: Model, cell: str) -> None:
    atoms = structure(cell, model.params)
    for mirror in (-np.eye(3), np.diag([1.0, 1.0, -1.0])):
        other = atoms.copy()
        other.set_cell(atoms.cell.array @ mirror)
        other.positions = atoms.positions @ mirror
        check(model, atoms, other, rotation=mirror)


@pytest.mark.parametrize("cell", ["triclinic", "sliver", "slab"])
def test_any_image_of_an_atom(model: Model, cell: str) -> None:
    atoms = structure(cell, model.params)
    shifts = np.random.default_rng(2).integers(-3, 4, size=(len(atoms), 3)) * atoms.pbc
    moved = atoms.copy()
    moved.positions += shifts @ atoms.cell.array
    check(model, atoms, moved)


def test_any_basis_of_the_lattice(model: Model) -> None:
    atoms = structure("triclinic", model.params)
    other = atoms.copy()
    other.set_cell(np.array([[1, 0, 0], [2, 1, 0], [-1, 3, 1]]) @ atoms.cell.array)
    check(model, atoms, other)
    swapped = atoms.copy()
    swapped.set_cell(atoms.cell.array[[1, 0, 2]])
    check(model, atoms, swapped)


@pytest.mark.parametrize("cell", ["triclinic", "tiny", "sliver"])
def test_supercells(model: Model, cell: str) -> None:
    n = CELLS[cell][0]
    atoms = structure(cell, model.params)
    repeated = atoms.repeat((2, 1, 3))
    check(model, atoms, repeated, np.tile(np.arange(n), 6), copies=6)
    skewed = make_supercell(atoms, [[1, 1, 0], [-1, 1, 0], [0, 1, 1]])
    order = np.array([_same_atom(atoms, x) for x in skewed.positions])
    check(model, atoms, skewed, order, copies=2)


def _same_atom(atoms: Atoms, position: np.ndarray) -> int:
    """The atom of the cell whose image stands at that position."""
    scaled = atoms.cell.scaled_positions(position - atoms.positions)
    distance = np.abs(scaled - scaled.round()).max(axis=1)
    assert distance.min() < 1e-6
    return int(distance.argmin())


def test_far_copies_do_not_see_each_other(model: Model) -> None:
    atoms = structure("cluster", model.params)
    atoms.set_cell(None)
    two = atoms + atoms
    two.positions[len(atoms) :] += [60.0, -10.0, 5.0]
    check(model, atoms, two, np.tile(np.arange(len(atoms)), 2), copies=2)
