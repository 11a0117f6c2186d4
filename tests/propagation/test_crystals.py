"""Crystals by name, coordinates of cells, and paths between crystals, against what geometry says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from finite_differences import check_gradient, derivative
from mliuq.propagation.coordinates import (
    CellCoordinates,
    coordinates,
    deformed,
    hessian,
    strain_matrix,
)
from mliuq.propagation.deformation_paths import PATHS
from mliuq.propagation.deformation_paths import Path as Deformation
from mliuq.propagation.prototypes import PROTOTYPES, atomic_volume, composition, prototype, structure
from mliuq.propagation.relax import shortest_distance
from vesin import NeighborList

#: name → (c/a, shortest distance over the cube root of an atom's volume, coordination numbers within 1.3 times it), by
#: textbooks: ideal axial ratios, close packing, 12, 14, 15 and 16 neighbours of Frank and Kasper's polyhedra
GEOMETRY: dict[str, tuple[float, float | None, dict[int, int]]] = {
    "bcc": (1.0, np.sqrt(3) / 2 * 2 ** (1 / 3), {14: 2}),
    "fcc": (1.0, 2 ** (1 / 6), {12: 4}),
    "hcp": (np.sqrt(8 / 3), 2 ** (1 / 6), {12: 2}),
    "dhcp": (2 * np.sqrt(8 / 3), 2 ** (1 / 6), {12: 4}),
    "A15": (1.0, 1.0, {12: 2, 14: 6}),
    "sigma": (0.52, None, {12: 10, 15: 4, 14: 16}),
    "chi": (1.0, None, {16: 2, 13: 8, 12: 48}),
    "mu": (5.42, None, {12: 21, 15: 6, 16: 6, 14: 6}),
    "C14": (np.sqrt(8 / 3), None, {16: 4, 12: 8}),
    "C15": (1.0, np.sqrt(2) / 4 * 24 ** (1 / 3), {16: 8, 12: 16}),
    "C36": (2 * np.sqrt(8 / 3), None, {16: 8, 12: 16}),
    "omega": (0.612, (2 / np.sqrt(3) * 3 / 0.612) ** (1 / 3) / np.sqrt(3), {14: 1, 11: 2}),
    "sc": (1.0, 1.0, {6: 1}),
    "diamond": (1.0, np.sqrt(3) / 2, {4: 8}),
}


@pytest.mark.parametrize("name", list(PROTOTYPES))
def test_prototypes_have_the_neighbours_of_textbooks(name: str) -> None:
    ratio, nearest, coordination = GEOMETRY[name]
    atoms = prototype(name, "W", volume=10.0, cubic=True)
    lengths = atoms.cell.lengths()
    assert lengths[1] == pytest.approx(lengths[0])
    assert lengths[2] / lengths[0] == pytest.approx(ratio, abs=1e-3)
    assert atoms.get_volume() == pytest.approx(10.0 * len(atoms))
    shortest = shortest_distance(atoms)
    if nearest is not None:
        assert shortest / 10.0 ** (1 / 3) == pytest.approx(nearest, rel=2e-3)
    i, _ = NeighborList(cutoff=1.3 * shortest, full_list=True).compute(
        atoms.positions, atoms.cell.array, atoms.pbc, "ij"
    )
    assert Counter(np.bincount(i, minlength=len(atoms)).tolist()) == coordination
    for cubic in (False, True):
        atoms = prototype(name, "W", cubic=cubic)
        fractional = atoms.get_scaled_positions(wrap=False)
        assert -1e-8 < fractional.min() <= fractional.max() < 1 - 1e-10, "within the cell"
        assert atoms.pbc.all()
        assert atoms.calc is None
        assert not atoms.info
        assert set(atoms.arrays) == {"numbers", "positions"}


def test_orbits_are_listed_within_the_cell() -> None:
    assert GEOMETRY.keys() == PROTOTYPES.keys()
    for name, kind in PROTOTYPES.items():
        for orbit in kind.orbits:
            assert all(0 <= x < 1 for x in orbit), name


@pytest.mark.parametrize(
    ("symbol", "volume"),
    [
        ("W", 3.16**3 / 2),
        ("Cu", 3.61**3 / 4),
        ("Si", 5.43**3 / 8),
        ("Po", 3.35**3),
        ("Mg", 3.21**2 * np.sqrt(3) / 2 * (1.624 * 3.21) / 2),
        ("Ga", 4 * np.sqrt(2) * 1.22**3),  # neither of these: spheres of its covalent radius, close-packed
        ("Rn", 4 * np.sqrt(2) * 1.50**3),
        ("O", 4 * np.sqrt(2) * 0.66**3),
    ],
)
def test_volumes_of_elements(symbol: str, volume: float) -> None:
    assert atomic_volume(symbol) == pytest.approx(volume, rel=1e-12)
    assert prototype("sc", symbol).get_volume() == pytest.approx(volume, rel=1e-12)


def test_compounds_have_the_mean_volume_of_their_elements() -> None:
    atoms = prototype("C15", "TaW")
    assert atoms.get_volume() == pytest.approx(2 * atomic_volume("Ta") + 4 * atomic_volume("W"))
    assert [str(s) for s in prototype("A15", "WTa", volume=9.0).symbols] == ["W"] * 2 + ["Ta"] * 6


@pytest.mark.parametrize(
    ("name", "symbols", "message"),
    [
        ("hexa", "W", "prototype is 'hexa', expected one of bcc fcc hcp dhcp A15 sigma"),
        ("bcc", "WTa", "prototype bcc: 'WTa' names 2 elements, expected 1 or 1"),
        ("C14", "WTa", "prototype C14: 'WTa' names 2 elements, expected 1 or 3"),
        ("A15", "W2", "prototype A15: 'W2' is not a row of chemical symbols"),
        ("A15", "WXx", "prototype A15: 'WXx' is not a row of chemical symbols"),
        ("A15", "", "prototype A15: '' names 0 elements, expected 1 or 2"),
    ],
)
def test_what_is_no_crystal_is_refused(name: str, symbols: str, message: str) -> None:
    with pytest.raises(mliuq.MliuqError, match=f"^{message}"):
        prototype(name, symbols)


def test_structures_as_a_command_names_them(tmp_path: Path) -> None:
    assert structure("hcp", "W") == ("hcp", prototype("hcp", "W"))
    assert structure("hcp:Ta", "W") == ("hcp:Ta", prototype("hcp", "Ta"))
    assert structure("C15:TaW", "Mo", cubic=True) == ("C15:TaW", prototype("C15", "TaW", cubic=True))
    with pytest.raises(mliuq.MliuqError, match=r"^structure 'hexa' is neither a file nor one of bcc fcc hcp dhcp A15"):
        structure("hexa", "W")
    (tmp_path / "bad.cif").write_text("nothing")
    with pytest.raises(mliuq.MliuqError, match=r"bad.cif: cannot be read: \w+: "):
        structure(str(tmp_path / "bad.cif"), "W")
    (tmp_path / "POSCAR").write_text("W\n1.0\n3 0 0\n0 3 0\n0 0 3\nW\n2147483648\nDirect\n0 0 0\n")
    with pytest.raises(mliuq.MliuqError, match=r"POSCAR: claims 2147483648 atoms, the file has 10 lines"):
        structure(str(tmp_path / "POSCAR"), "W")
    atoms = Atoms("W2", [[0, 0, 0], [0, 0, 2.5]], cell=[3, 4, 5], pbc=(True, False, True), constraint=FixAtoms([0]))
    atoms.info["config_type"] = "x"
    atoms.write(tmp_path / "my.name.extxyz")
    name, found = structure(str(tmp_path / "my.name.extxyz"), "Be")
    assert name == "my.name"
    assert found == Atoms("W2", atoms.positions, cell=[3, 4, 5], pbc=(True, False, True))
    assert not found.info
    assert not found.constraints


def test_compositions_do_not_count_cells() -> None:
    assert composition(Atoms("W4Ta2")) == composition(Atoms("TaWW")) == "TaW2"
    assert composition(Atoms("W4Ta2")) != composition(Atoms("WTa"))


def test_distances_are_to_images_too() -> None:
    assert shortest_distance(Atoms("W", cell=[7.9, 9, 9], pbc=True)) == pytest.approx(7.9)
    assert shortest_distance(Atoms("W", cell=[8.1, 9, 9], pbc=True)) == np.inf
    assert shortest_distance(Atoms("W3", [[0, 0, 0], [0, 0, 3], [0, 2, 0]])) == pytest.approx(2.0)


# --- coordinates -----------------------------------------------------------------------------------------------------


def test_strains_are_counted_as_engineers_do() -> None:
    np.testing.assert_array_equal(
        strain_matrix(np.array([1.0, 2.0, 3.0, 4.0, 6.0, 8.0])), [[1, 4, 3], [4, 2, 2], [3, 2, 3]]
    )


def test_cells_and_atoms_are_deformed_alike() -> None:
    atoms = Atoms("W2", [[0, 0, 0], [1, 2, 3]], cell=[4, 5, 6], pbc=True)
    gradient = np.array([[1, 0.1, 0.2], [0, 1.2, 0], [0.3, 0, 0.9]])
    found = deformed(atoms, gradient)
    np.testing.assert_allclose(found.cell.array, np.diag([4, 5, 6]) @ gradient)
    np.testing.assert_allclose(found.positions[1], np.array([1, 2, 3]) @ gradient)
    np.testing.assert_array_equal(atoms.positions[1], [1, 2, 3])


@pytest.fixture
def argon() -> Atoms:
    """Two atoms off their places in a skewed cell, by a pair potential."""
    cell = np.array([[4.0, 0.3, 0.0], [0.1, 4.2, 0.2], [0.5, -0.3, 3.9]])
    atoms = Atoms("Ar2", scaled_positions=[[0, 0, 0], [0.45, 0.55, 0.5]], cell=cell, pbc=True)
    atoms.calc = LennardJones(sigma=3.0, epsilon=0.5, rc=6.0, ro=4.0, smooth=True)
    return atoms


@pytest.mark.parametrize("mode", ["free", "isochoric"])
def test_coordinates_of_cells(argon: Atoms, mode: Any) -> None:
    target = CellCoordinates(argon, mode)
    assert len(target) == len(argon) + 2
    first = argon.copy()
    x = target.get_positions()
    np.testing.assert_array_equal(x, np.vstack([argon.positions, np.zeros((2, 3))]))
    voigt = np.array([0.02, -0.01, 0.03, 0.02, -0.04, 0.05])
    x[1] += [0.1, -0.2, 0.05]
    x[-2:] = 2 * voigt.reshape(2, 3)
    target.set_positions(x)
    np.testing.assert_allclose(target.get_positions(), x, atol=1e-15)
    stretch = np.eye(3) + strain_matrix(voigt)
    if mode == "isochoric":
        stretch /= np.linalg.det(stretch) ** (1 / 3)
        assert argon.get_volume() == pytest.approx(first.get_volume(), rel=1e-12)
    np.testing.assert_allclose(target.gradient, stretch)
    np.testing.assert_allclose(argon.cell.array, first.cell.array @ stretch)
    np.testing.assert_allclose(argon.positions, x[:2] @ stretch)
    forces = target.get_forces()
    rng = np.random.default_rng(1)
    steps = [*np.eye(len(x) * 3).reshape(-1, len(x), 3)[6:], *rng.normal(size=(3, *x.shape))]

    def energy(step: np.ndarray) -> float:
        target.set_positions(x + step)
        return float(argon.get_potential_energy())

    expected = [-derivative(lambda t, s=step: energy(t * s), 1e-3) for step in steps]
    check_gradient([np.vdot(forces, step) for step in steps], expected, rtol=1e-6, smallest=0.05)


def test_fixed_cells_are_just_atoms(argon: Atoms) -> None:
    assert coordinates(argon, "fixed") is argon
    assert isinstance(coordinates(argon, "free"), CellCoordinates)
    assert CellCoordinates(argon)._isochoric is False
    assert coordinates(argon, "isochoric")._isochoric is True


@pytest.mark.parametrize("mode", ["fixed", "free"])
def test_second_derivatives(argon: Atoms, mode: Any) -> None:
    before = argon.copy()
    H = hessian(argon, mode)
    assert np.abs(hessian(argon, mode, step=1e-3) - H).max() < 1e-9 * np.abs(H).max()
    coarse = hessian(argon, mode, step=0.1)
    assert 1e-4 < np.abs(coarse - H).max() / np.abs(H).max() < 0.5, "the step is the one asked for"
    assert H.shape == ((6, 6) if mode == "fixed" else (12, 12))
    np.testing.assert_allclose(argon.positions, before.positions, atol=1e-15)
    np.testing.assert_allclose(argon.cell.array, before.cell.array, atol=1e-15)
    np.testing.assert_array_equal(H, H.T)
    target = coordinates(argon, mode)
    x = np.array(target.get_positions())
    for step in np.random.default_rng(2).normal(size=(3, *x.shape)):

        def slope(t: float, step: np.ndarray = step) -> float:
            target.set_positions(x + t * step)
            return -float(np.vdot(target.get_forces(), step))

        assert step.ravel() @ H @ step.ravel() == pytest.approx(derivative(slope, 1e-3), rel=2e-4)


# --- paths -----------------------------------------------------------------------------------------------------------


def axes(atoms: Atoms) -> np.ndarray:
    """Metric of the cell: lengths and angles without an orientation."""
    return np.asarray(atoms.cell.array @ atoms.cell.array.T)


STRETCHES: dict[str, Callable[[float], tuple[np.ndarray, list[list[float]]]]] = {
    # name → directions that stretch by what (others keep the volume), as lengths² they change
    "bain": lambda p: (np.array([p ** (-1 / 3), p ** (-1 / 3), p ** (2 / 3)]), [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "trigonal": lambda p: (
        np.array([p ** (2 / 3), p ** (-1 / 3), p ** (-1 / 3)]), [[1, 1, 1], [1, -1, 0], [1, 1, -2]],
    ),
    "orthorhombic": lambda p: (np.array([p, 1 / p, 1.0]), [[0, 0, 1], [1, 1, 0], [1, -1, 0]]),
}  # fmt: skip


@pytest.mark.parametrize("name", list(STRETCHES))
@pytest.mark.parametrize("p", [0.9, 1.0, 1.7])
def test_paths_stretch_bcc(name: str, p: float) -> None:
    factors, directions = STRETCHES[name](p)
    reference = bulk("W", "bcc", 3.2, cubic=name == "bain")
    atoms = PATHS[name][0](3.2, "W", p)
    assert atoms.pbc.all()
    assert atoms.get_chemical_symbols() == ["W"] * len(reference)
    gradient = np.linalg.solve(reference.cell.array, atoms.cell.array)
    for factor, direction in zip(factors, directions, strict=True):
        np.testing.assert_allclose(np.array(direction) @ gradient, factor * np.array(direction), atol=1e-12)
    np.testing.assert_allclose(atoms.positions, reference.positions @ gradient, atol=1e-12)


def test_planes_of_bcc_become_those_of_hcp() -> None:
    make = PATHS["hexagonal"][0]
    for p in (0.0, 0.4, 1.0):
        atoms = make(3.2, "W", p)
        assert atoms.get_chemical_symbols() == ["W"] * 4
        assert atoms.get_volume() == pytest.approx(2 * 3.2**3)
        a, b, c = atoms.cell.lengths()
        assert b / a == pytest.approx(np.sqrt(2) + p * (np.sqrt(3) - np.sqrt(2)))
        assert c / a == pytest.approx(np.sqrt(2) + p * (np.sqrt(8 / 3) - np.sqrt(2)))
        moves = atoms.get_scaled_positions(wrap=False)
        np.testing.assert_allclose(moves[2] - moves[0], [0, 0.5 - p / 6, 0.5], atol=1e-12)
        np.testing.assert_allclose(moves[3] - moves[2], [0.5, 0.5, 0], atol=1e-12)
        np.testing.assert_allclose(moves[1] - moves[0], [0.5, 0.5, 0], atol=1e-12)
        assert atoms.cell.angles() == pytest.approx([90, 90, 90])


def test_straight_lines_go_to_the_nearest_images() -> None:
    first = Atoms("W2", scaled_positions=[[0.1, 0.2, 0.3], [0.9, 0.5, 0.5]], cell=[4, 5, 6], pbc=(True, True, False))
    last = Atoms("W2", scaled_positions=[[0.2, 0.2, 0.3], [0.1, 0.9, 1.4]], cell=[5, 5, 8], pbc=(True, True, False))
    grid, made = Deformation(between={"x": (first, last)}, points=3)._along("x", [first, last])
    np.testing.assert_array_equal(grid, [0, 0.5, 1])
    np.testing.assert_allclose(made[1].cell.array, np.diag([4.5, 5, 7]))
    np.testing.assert_allclose(
        made[1].get_scaled_positions(wrap=False), [[0.15, 0.2, 0.3], [1.0, 0.7, 0.95]], atol=1e-12
    )
    np.testing.assert_allclose(made[0].positions, first.positions)
    assert made[0].pbc.tolist() == [True, True, False]
    np.testing.assert_allclose(made[2].cell.array, last.cell.array)
    np.testing.assert_allclose(made[2].positions[1], [1.1 * 5, 0.9 * 5, 1.4 * 8])
