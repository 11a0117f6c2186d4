"""Parameters, rows, neighbours and repulsion by parts: defaults, texts of errors, small cases by hand."""

from __future__ import annotations

import pickle
import re
from contextlib import nullcontext
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from mliuq.descriptor import geometry, neighbours, zbl
from mliuq.descriptor.bispectrum import atomic_rows, descriptors, design_rows
from mliuq.descriptor.neighbours import Neighbours, pack
from mliuq.descriptor.params import SnapParams
from mliuq.descriptor.settings import SnapSettings
from mliuq.errors import MliuqError
from systems import CELLS, PARAMS, random_atoms


def refused(says: str) -> Any:
    return pytest.raises(MliuqError, match=f"^{re.escape(says)}")


# --- parameters ------------------------------------------------------------------------------------------------------


def test_parameters_by_parts() -> None:
    plain = SnapParams(["W", "Be"])
    assert plain.elements == ("W", "Be")
    assert (plain.radii, plain.weights, plain.sinner, plain.dinner) == ((0.5, 0.5), (1.0, 1.0), (), ())
    assert (plain.n_elements, plain.cutoff) == (2, plain.rcutfac)
    wide = SnapParams(("W", "Be"), rcutfac=4.0, radii=(0.5, 0.75))
    assert wide.cutoff == 6.0
    assert (PARAMS["linear"].n_components, PARAMS["linear"].n_weights) == (30, 31)
    quadratic = PARAMS["quadratic"]
    k = quadratic.n_components
    assert quadratic.n_weights == 1 + k + k * (k + 1) // 2
    assert wide.index_of(["Be", "W", "Be"]) == [1, 0, 1]
    with refused("atom 1 (counted from 0) is Cu, expected one of the model's elements: W Be"):
        wide.index_of(["W", "Cu"])
    with refused("SNAP parameters: elements is the string 'WBe', expected a sequence of symbols"):
        SnapParams("WBe")
    for flag in ("switchflag", "bzeroflag", "bnormflag", "chemflag", "wselfallflag", "quadraticflag"):
        assert getattr(SnapParams(("W",), **{flag: 1}), flag) is True
        assert getattr(SnapParams(("W",), **{flag: 0}), flag) is False
        with refused(f"SNAP parameters: {flag} is 2, expected 0 or 1"):
            SnapParams(("W",), **{flag: 2})
    with refused("SNAP parameters: twojmax is '4', expected int"):
        SnapParams(("W",), twojmax="4")  # type: ignore[arg-type]
    for params in PARAMS.values():
        again = pickle.loads(pickle.dumps(params))
        assert again == params
        assert again.core.max_cutoff == params.cutoff
        assert SnapParams.from_core(params.core) == params
        assert SnapParams.from_metadata(list(params.elements), params.to_metadata()) == params
        table = params.to_metadata()
        assert set(table) == {f.name for f in fields(SnapParams)} - {"elements"}
        assert all(type(table[key]) is int for key in table if key.endswith("flag"))
        assert all(type(table[key]) is list for key in ("radii", "weights", "sinner", "dinner"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rcut": 4.7}, "snap.rcut is not a SNAP parameter, expected one of bnormflag bzeroflag chemflag dinner"),
        *(({key: None}, f'snap: key "{key}" is missing') for key in ("twojmax", "rcutfac", "radii", "weights")),
        ({"radii": [0.5]}, "radii has 1 values, expected one per element (2)"),
        ({"weights": [1.0] * 3}, "weights has 3 values, expected one per element (2)"),
        ({"radii": 0.5}, "radii is 0.5, expected a list of numbers"),
        ({"sinner": ["a"]}, "sinner is ['a'], expected a list of numbers"),
        ({"dinner": [True]}, "dinner is [True], expected a list of numbers"),
        *(({key: True}, f"{key} is True, expected a number") for key in ("twojmax", "rcutfac", "rfac0", "rmin0")),
        ({"rmin0": "0"}, "rmin0 is '0', expected a number"),
    ],
)
def test_metadata_of_parameters_that_is_refused(change: dict[str, Any], says: str) -> None:
    table = PARAMS["binary"].to_metadata()
    for key, value in change.items():
        if value is None:
            table.pop(key)
        else:
            table[key] = value
    with refused(says):
        SnapParams.from_metadata(["W", "Be"], table)
    for elements in ("WBe", [74, 4], 3):
        with refused(f"elements is {elements!r}, expected a list of symbols"):
            SnapParams.from_metadata(elements, PARAMS["binary"].to_metadata())  # type: ignore[arg-type]


def test_settings_of_the_descriptor() -> None:
    for params in PARAMS.values():
        assert SnapSettings.of(params).params([]) == params
        assert SnapSettings.of(params).repulsion is None
    settings = SnapSettings.of(PARAMS["binary"], (1.5, 2.5))
    assert settings.repulsion == settings.zbl == (1.5, 2.5)
    assert (settings.rcut, settings.quadratic) == (4.6, False)
    structures = [Atoms("W"), Atoms("BeW"), Atoms("C")]
    assert SnapSettings().params(structures) == SnapParams(("Be", "C", "W"))
    assert SnapSettings(elements=("W", "Be")).params(structures).elements == ("W", "Be")
    for change, says in (
        ({"zbl": (1.0,)}, "snap.zbl is [1.0], expected two radii in Å, 0 < inner < outer"),
        ({"zbl": (0.0, 1.0)}, "snap.zbl is [0.0, 1.0], expected two radii"),
        ({"zbl": (1.0, 1.0)}, "snap.zbl is [1.0, 1.0]"),
        ({"zbl": (1.0, 2.0, 3.0)}, "snap.zbl is [1.0, 2.0, 3.0]"),
        ({"radii": (0.5,)}, "snap.radii has 1 entries for 0 elements"),
        ({"weights": (1.0, 2.0), "elements": ("W",)}, "snap.weights has 2 entries for 1 elements"),
    ):  # fmt: skip
        with refused(says):
            SnapSettings(**change).validate()
    SnapSettings(zbl=(1.0, 2.0), elements=("W",), radii=(0.5,)).validate()


# --- rows ------------------------------------------------------------------------------------------------------------


def test_rows_by_finite_differences() -> None:
    params = PARAMS["binary"]
    atoms = random_atoms(("W", "Be"), 4, CELLS["triclinic"][1], seed=1)
    (both,) = design_rows([atoms], params)
    (energy,) = design_rows([atoms], params, forces=False)
    assert both.shape == (13, 2 * params.n_weights)
    np.testing.assert_allclose(both[:1], energy, rtol=1e-12)
    b, derivatives = descriptors(atoms, params, derivatives=True)
    rows = atomic_rows(b, False)
    element = np.array(params.index_of(list(atoms.symbols)))
    whole = np.zeros((4, 2, params.n_weights))
    whole[np.arange(4), element] = rows
    np.testing.assert_allclose(energy[0], whole.sum(axis=0).ravel() / 4, rtol=1e-12)
    step = 1e-5
    for atom, axis in ((0, 0), (3, 2)):
        sides = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            sides.append((design_rows([moved], params, forces=False)[0][0], descriptors(moved, params)))
        slope = -4 * (sides[0][0] - sides[1][0]) / (2 * step)
        np.testing.assert_allclose(both[1 + 3 * atom + axis], slope, atol=1e-5 * np.abs(slope).max())
        by_pair = np.zeros_like(b)
        at = derivatives.atom == atom
        np.add.at(by_pair, derivatives.centre[at], derivatives.values[at, axis])
        change = (sides[0][1] - sides[1][1]) / (2 * step)
        np.testing.assert_allclose(by_pair, change, atol=1e-5 * np.abs(change).max())
    (stress,) = design_rows([atoms], params, energy=False, forces=False, stress=True)
    for voigt, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        sides = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            moved = atoms.copy()
            moved.set_cell(moved.cell.array @ strain, scale_atoms=True)
            sides.append(design_rows([moved], params, forces=False)[0][0])
        slope = 4 * (sides[0] - sides[1]) / (2 * step) / atoms.get_volume()
        np.testing.assert_allclose(stress[voigt], slope, atol=1e-5 * np.abs(stress).max())
    np.testing.assert_allclose(design_rows([atoms], params, threads=2)[0], both, rtol=1e-12)
    np.testing.assert_allclose(descriptors(atoms, params, kernel="reference"), b, rtol=1e-8, atol=1e-8)
    with pytest.raises(MliuqError, match="nonsense"):
        descriptors(atoms, params, kernel="nonsense")


def test_repulsion_without_a_volume() -> None:
    pair = Atoms("WBe", [[0, 0, 0], [0, 0, 1.5]])
    found = zbl.evaluate(pair, 1.8, 2.2)
    assert found.stress is None
    assert found.energy > 0.0
    np.testing.assert_allclose(found.forces[0], -found.forces[1])
    assert found.forces[1, 2] > 0.0
    assert zbl.evaluate(pair, 1.0, 1.4).energy == 0.0
    assert zbl.evaluate(Atoms("WBe", [[0, 0, 0], [0, 0, 5.5]]), 5.0, 6.0).energy > 0.0, "beyond SNAP's own cutoff"
    boxed = Atoms(pair, cell=[9.0] * 3, pbc=True)
    stress = zbl.evaluate(boxed, 1.8, 2.2).stress
    assert stress is not None
    np.testing.assert_allclose(stress, [0, 0, -found.forces[1, 2] * 1.5 / 729, 0, 0, 0], atol=1e-12)


# --- neighbours ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("outside", [False, True])
def test_pairs_are_those_of_ase(kind: str, outside: bool) -> None:
    n, cell, pbc = CELLS[kind]
    atoms = random_atoms(("W", "Be"), n, cell, pbc, seed=2)
    if outside:
        atoms.positions += np.random.default_rng(0).integers(-3, 4, (n, 3)) * atoms.pbc @ atoms.cell.array
    i, j, vectors = pack(atoms, SnapParams(("W", "Be")), 5.0).pairs()
    first, second, between = neighbor_list("ijD", atoms, 5.0)
    found = sorted(zip(i.tolist(), j.tolist(), map(tuple, np.round(vectors, 8).tolist()), strict=True))
    wanted = zip(first.tolist(), second.tolist(), map(tuple, np.round(between, 8).tolist()), strict=True)
    assert found == sorted(wanted)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a.__delitem__(slice(None)), "the structure has no atoms, expected at least one"),
        (lambda a: a.positions.__setitem__((1, 2), np.nan), "atom 1 (counted from 0) has position ["),
        (lambda a: a.positions.__setitem__((1, 0), 2e9), "atom 1 (counted from 0) is 2e+09 Å from the origin"),
        (lambda a: a.cell.__setitem__((0, 0), np.inf), "the cell is [[inf, 0.0, 0.0], "),
        (lambda a: a.set_cell([0.09, 5, 5]), "cell vector 0 is 0.09 Å long, expected at least 0.1 Å in a periodic"),
        (lambda a: a.set_cell([[5, 0, 0], [5, 1e-7, 0], [0, 0, 5]]), "the periodic cell vectors [[5.0, 0.0, 0.0], ["),
        (lambda a: a.positions.__setitem__(1, a.positions[0] + [5e-4, 0, 0]),
         "atoms 0 and 1 (counted from 0) are 5.00e-04 Å apart, expected more than 0.001 Å"),
    ],
)  # fmt: skip
def test_structures_that_are_refused(change: Any, says: str) -> None:
    atoms = Atoms("W2", [[0.0, 0, 0], [2.0, 0, 0]], cell=[5.0] * 3, pbc=True)
    change(atoms)
    with refused(says):
        pack(atoms, PARAMS["linear"])


def test_structures_at_the_bounds_are_taken() -> None:
    params = PARAMS["linear"]
    pack(Atoms("W2", [[0.0, 0, 0], [1e9, 0, 0]]), params)
    thin = Atoms("W", cell=[0.1, 5.0, 5.0], pbc=[True, False, False])
    assert pack(thin, params, 0.35).n_atoms == 1 + 6
    for height, flat in ((4.5e-5, True), (5.5e-5, False)):  # 1e-6 of what vectors of these lengths could span
        sheared = Atoms("W", cell=[[50.0, 0, 0], [50.0, height, 0], [0, 0, 5.0]], pbc=True)
        with refused(f"the periodic cell vectors {sheared.cell.tolist()} are linearly") if flat else nullcontext():
            neighbours._check(sheared)


def test_images_are_numbered_as_long_as_numbers_suffice() -> None:
    """Two atoms, `far` cells apart: shifts of three times 21 bits."""
    most = 2**20 - 1
    for far in (most, most + 1):
        atoms = Atoms("W2", [[0.5, 0, 0], [2.4 + 4.0 * far, 0, 0]], cell=[4.0, 9.0, 9.0], pbc=True)
        if far == most:
            structure = pack(atoms, PARAMS["linear"], 2.0 + 1e-6)
            assert (structure.n_owned, structure.n_atoms) == (2, 4)
        else:
            with refused(f"atoms lie {far} cells outside the cell, wrap the positions into the cell first"):
                pack(atoms, PARAMS["linear"], 2.0 + 1e-6)


def test_lists_are_good_until_an_atom_has_moved_by_half_the_skin() -> None:
    params = PARAMS["linear"]
    atoms = Atoms("W2", [[0.0, 0, 0], [2.0, 0, 0]], cell=[5.0] * 3, pbc=True)
    lists = Neighbours(atoms, params, params.cutoff, 1.5)
    for size, good in ((0.749, True), (0.75, True), (0.751, False)):
        moved = atoms.copy()
        moved.positions[1, 1] += size
        assert lists.follow(moved) == good
    others = [Atoms(s, atoms.positions, cell=[c] * 3, pbc=p) for s, c, p in (
        ("WBe", 5.0, True), ("W2", 5.1, True), ("W2", 5.0, [True, True, False]))]  # fmt: skip
    others.append(atoms[:1])
    assert not any(lists.follow(other) for other in others)
    lost = atoms.copy()
    lost.positions[0] = np.nan
    assert not lists.follow(lost)
    assert (geometry.CLOSEST, neighbours._THINNEST, neighbours._FARTHEST) == (1e-3, 0.1, 1e9)


def test_cells_by_hand() -> None:
    pbc = np.array([True, False, True])
    full = geometry.completed(np.diag([3.0, 4.0, 5.0]), pbc)
    np.testing.assert_allclose(np.abs(full), np.diag([3.0, 1.0, 5.0]), atol=1e-12)
    np.testing.assert_array_equal(geometry.completed(np.diag([3.0, 4.0, 5.0]), np.zeros(3, bool)), np.eye(3))
    np.testing.assert_array_equal(
        geometry.completed(np.diag([3.0, 4.0, 5.0]), np.ones(3, bool)), np.diag([3.0, 4.0, 5.0])
    )
    skewed = np.array([[2.0, 0, 0], [3.0, 4.0, 0], [0, 0, 5.0]])
    np.testing.assert_allclose(geometry.heights(skewed), [2.0 * 4.0 / 5.0, 4.0, 5.0])
    apart = np.array([[0.0, 0, 0], [0.0, 2.5, 1.0]])
    np.testing.assert_allclose(geometry.listable(apart, np.diag([3.0, 4.0, 5.0]), pbc, 3.0).extents, [3.0, 2.5, 5.0])
    every, edges = np.ones(3, bool), np.full(3, 3.4)
    with pytest.raises(MliuqError, match=re.escape("100000 atoms in this cell have some")):
        geometry._refuse_too_many(100_000, 3.4 * np.eye(3), edges, every, 5.0)
    geometry._refuse_too_many(10, 3.4 * np.eye(3), edges, every, 5.0)
    with refused("an atom and its image are 5.00e-04 Å apart, expected more than 0.001 Å"):
        geometry.listable(np.zeros((1, 3)), np.diag([5e-4, 5.0, 5.0]), np.ones(3, bool), 3.0)


def cut_at(*counts: float) -> float:
    """Cutoff of a list of so many cells as wide as a reach of 5 Å, in units of it."""
    return geometry.list_cutoff(5.0 * (np.array(counts) + 0.5), 5.0) / 5.0


@pytest.mark.parametrize(
    ("counts", "widened"),
    [
        ((1, 1, 100_000), 1.0),  # 10⁵ cells at most,
        ((1, 1, 100_001), 1.2),
        ((0, 0, 200_000), 1.2**4),  # each direction counts as one cell at least,
        ((4, 4, 50_000), 1.0),  # or so many that their cubes of 10⁵ have two cells each way
        ((3, 3, 20_000), 1.0),
        ((3, 3, 40_000), 1.2**3),
    ],
)
def test_cells_of_a_list_can_be_counted(counts: tuple[int, ...], widened: float) -> None:
    assert cut_at(*counts) == pytest.approx(widened, rel=1e-12)


def test_cells_are_reduced_where_they_are_skewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a height of 0.3 of the vector's length, whatever the other vectors' lengths."""
    identity, every = np.eye(3, dtype=np.int64), np.ones(3, bool)
    for size, ratio in ((1.0, 0.29), (100.0, 0.29), (1.0, 0.31), (100.0, 0.31)):
        cell = size * np.array([[1.0, 0, 0], [np.sqrt(1.0 - ratio**2), ratio, 0], [0, 0, 1.0]])
        reduced, basis = geometry._reduced(cell, identity, every)
        assert (reduced is cell) == (basis is identity) == (ratio > 0.3)
        np.testing.assert_allclose(basis @ cell, reduced, atol=1e-12 * size)
        assert basis.dtype == np.int64
    with monkeypatch.context() as patched:
        patched.setattr(geometry, "minkowski_reduce", lambda *given: (_ for _ in ()).throw(RuntimeError("endless")))
        with refused(f"the periodic cell vectors {(cell * [1, 0.01, 1]).tolist()} are linearly dependent"):
            geometry._reduced(cell * [1, 0.01, 1], identity, every)
    flat = np.diag([1.0, 10.0, 10.0])
    assert geometry._reduced(flat, identity, every)[0] is flat
    layer = np.array([[3.0, 0, 0], [100.0, 10.0, 0], [0, 0, 1.0]])
    reduced, basis = geometry._reduced(layer, 2 * identity, np.array([True, True, False]))
    assert np.linalg.norm(reduced, axis=1) == pytest.approx([np.hypot(10.0, 1.0), 3.0, 1.0])
    np.testing.assert_allclose(basis @ layer, 2 * reduced, atol=1e-12)


def test_empty_space_is_taken_away_by_hand() -> None:
    """What is nearer than the reach stays as it is; gaps of 1.01 reaches are left, and the lowest atom where it was."""
    positions = np.array([[0.5, 0, 60.0], [0, 0, 2.0], [0, 0, 4.0], [0, 0, 30.0]])
    cell, reach = np.diag([3.0, 3.0, 100.0]), 5.0
    moved, full, turns = geometry._without_gaps(positions, cell, True, 2, reach)
    np.testing.assert_allclose(moved, [[0.5, 0, 4 + 2 * 5.05], [0, 0, 2.0], [0, 0, 4.0], [0, 0, 4 + 5.05]], atol=1e-12)
    np.testing.assert_allclose(full, np.diag([3.0, 3.0, 2.0 + 3 * 5.05]), atol=1e-12)
    np.testing.assert_array_equal(turns, [0, 0, 0, 0])
    assert turns.dtype == np.int64
    outside = positions + np.array([[0, 0, 100.0], [0, 0, 0], [0, 0, -200.0], [0, 0, 0]])
    again, full, turns = geometry._without_gaps(outside, cell, True, 2, reach)
    np.testing.assert_allclose(again, moved, atol=1e-12)
    np.testing.assert_array_equal(turns, [1, 0, -2, 0])
    open_, kept, turns = geometry._without_gaps(outside, cell, False, 2, reach)
    np.testing.assert_allclose(open_[:, 2], [-196 + 3 * 5.05, -196 + 5.05, -196.0, -196 + 2 * 5.05], atol=1e-12)
    np.testing.assert_array_equal(kept, cell)
    assert not turns.any()
    tilted = np.array([[3.0, 0, 0], [0, 3.0, 0], [40.0, 0, 100.0]])
    moved, full, _ = geometry._without_gaps(np.array([[0, 0, 1.0], [0, 0, 51.0]]), tilted, True, 2, reach)
    np.testing.assert_allclose(moved, [[0, 0, 1.0], [0, 0, 6.05]], atol=1e-12)
    np.testing.assert_allclose(full[2], [40.0, 0, 10.1], atol=1e-12)


def test_what_is_listed_in_place_of_a_structure() -> None:
    every, reach = np.ones(3, bool), 2.0
    one = np.full((1, 3), 0.5)
    for edge, height in ((22.0, 22.0), (22.5, 2.02)):  # of n + 10 reaches at most
        listed = geometry.listable(one, np.diag([3.0, 3.0, edge]), every, reach)
        np.testing.assert_allclose(listed.cell, np.diag([3.0, 3.0, height]), atol=1e-12)
        np.testing.assert_array_equal(listed.basis, np.eye(3))
        assert listed.basis.dtype == listed.wraps.dtype == np.int64
        assert not listed.wraps.any()
    np.testing.assert_array_equal(geometry.listable(one, np.diag([1e-3, 5.0, 5.0]), every, 3.0).cell[0], [1e-3, 0, 0])
    # A vector made short along z is skewed then: by 333 of another one.
    leaning = np.array([[3.0, 0, 0], [0, 3.0, 0], [1000.0, 0, 1000.0]])
    listed = geometry.listable(one + np.array([0, 0, 1000.0]), leaning, every, reach)
    assert np.linalg.norm(listed.cell, axis=1).max() < 4.0
    assert (listed.basis.dtype, listed.wraps.dtype) == (np.int64, np.int64)
    assert abs(np.linalg.det(listed.basis)) == pytest.approx(1.0)
    part = np.array([True, True, False])
    layer = geometry.listable(
        one - np.array([3.0, 0, 40.0]), np.array([[3.0, 0, 0], [100.0, 10.0, 0], [0, 0, 0]]), part, reach
    )
    np.testing.assert_array_equal(layer.cell[2], 0.0)
    assert np.linalg.norm(layer.cell, axis=1) == pytest.approx([np.hypot(10.0, 1.0), 3.0, 0.0])


@pytest.mark.parametrize("off", [-0.25, 0.25])
def test_no_more_pairs_than_offsets_can_count(off: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "total_memory", lambda: np.inf)
    edge = (4 / 3 * np.pi / (2**31 - 1 + off)) ** (1 / 3)
    with nullcontext() if off < 0 else refused("1 atoms in this cell have some 2.1e+09 neighbours within 1 Å"):
        geometry._refuse_too_many(1, edge * np.eye(3), np.full(3, edge), np.ones(3, bool), 1.0)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, False, True), (False, False, False)])
def test_memory_of_neighbours_by_hand(pbc: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    positions, cell, reach = np.array([[0.0, 0, 0], [1.0, 2.0, 3.0]]), np.diag([4.0, 5.0, 6.0]), 2.5
    periodic = np.array(pbc)
    volume = np.prod(np.where(periodic, [4.0, 5.0, 6.0], np.array([1.0, 2.0, 3.0]) + reach))
    pairs = 4 / volume * 4 / 3 * np.pi * reach**3
    full = geometry.completed(cell, periodic)
    extents = geometry._extents(positions, full, periodic)
    for memory, too_much in ((100 * pairs * 1.001, False), (100 * pairs * 0.999, True)):
        monkeypatch.setattr(geometry, "total_memory", lambda memory=memory: memory)
        if too_much:
            says = (
                f"2 atoms in this cell have some {pairs:.1e} neighbours within 2.5 Å, which need "
                f"{100 * pairs / 1e9:.3g} GB; this machine has {memory / 1e9:.3g} GB, the core takes at most "
                "2.1e+09: expected a larger cell or a shorter cutoff"
            )
            with refused(says):
                geometry._refuse_too_many(2, full, extents, periodic, reach)
        else:
            geometry._refuse_too_many(2, full, extents, periodic, reach)
