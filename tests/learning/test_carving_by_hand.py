"""Carving step by step, against loops over atoms, and its trials with relaxations that a test writes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from mliuq import Model
from mliuq.errors import MliuqError
from mliuq.learning import carving, surroundings
from mliuq.learning.carving import carve
from mliuq.learning.surroundings import Surroundings
from systems import PARAMS, random_model

LENGTH = 6.0


@pytest.fixture(scope="module")
def around() -> Surroundings:
    """Two elements, warm, without symmetry."""
    atoms = bulk("CsCl", "cesiumchloride", a=3.0) * (8, 8, 8)
    atoms.rattle(0.15, seed=1)
    return Surroundings.of(atoms, 3, 1.5 * LENGTH)


def mismatch(around: Surroundings, vector: np.ndarray) -> float:
    """Atoms near −T/2 against the nearest atom of their element after a move by T."""
    squares = []
    for position, number in zip(around.positions, around.numbers, strict=True):
        if np.linalg.norm(position + vector / 2) <= 0.4 * LENGTH:
            others = around.positions[around.numbers == number]
            squares.append(min(np.linalg.norm(others - position - vector, axis=1).min(), 1.0) ** 2)
    return float(np.sqrt(np.mean(squares))) if squares else 1.0


def translations(around: Surroundings) -> list[tuple[float, np.ndarray]]:
    """Vectors between atoms at opposite ends, one of T and −T, the 40 of least mismatch; and three along the axes."""
    found = []
    for a, b in combinations(range(len(around.positions)), 2):
        p, q = around.positions[a], around.positions[b]
        half, wide = 0.5 * LENGTH - around.spacing, 0.675 * LENGTH + around.spacing
        ends = [half <= np.linalg.norm(x) <= wide for x in (p, q)]
        vector = (p - q) if (p - q) @ (1.0, 1e-3, 1e-6) > 0 else (q - p)
        if np.linalg.norm(p + q) <= around.spacing and any(ends) and LENGTH <= np.linalg.norm(vector) <= 1.35 * LENGTH:
            found.append((mismatch(around, vector), vector))
    found.sort(key=lambda pair: pair[0])
    return found[:40] + [(mismatch(around, v), v) for v in 1.01 * LENGTH * np.eye(3)]


@pytest.fixture(scope="module")
def by_hand(around: Surroundings) -> list[tuple[float, np.ndarray]]:
    return translations(around)


def test_translations_are_those_between_opposite_ends(
    around: Surroundings, by_hand: list[tuple[float, np.ndarray]]
) -> None:
    vectors, misfits = around._translations(LENGTH)
    assert len(vectors) == len(by_hand) > 10
    assert (np.diff(misfits[:-3]) >= 0.0).all()
    found, expected = (
        np.array(sorted([*v, m] for m, v in pairs)) for pairs in (zip(misfits, vectors, strict=True), by_hand)
    )
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_cells_are_the_best_of_all_triples(around: Surroundings, by_hand: list[tuple[float, np.ndarray]]) -> None:
    """Faces far enough apart, corners near enough; mismatch and volume weighed."""
    costs = []
    for three in combinations(by_hand, 3):
        cell = np.array([vector for _, vector in three])
        if abs(np.linalg.det(cell)) < 1e-6:
            continue
        heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        corners = [np.linalg.norm(np.array(signs) @ cell) / 2 for signs in product((1, -1), repeat=3)]
        if heights.min() >= LENGTH and max(corners) <= 1.4 * LENGTH:
            misfit = np.sqrt(np.mean([one**2 for one, _ in three]))
            costs.append((misfit + 0.5 * (abs(np.linalg.det(cell)) / LENGTH**3 - 1.0), cell))
    costs.sort(key=lambda pair: pair[0])
    found = around.cells(LENGTH, 5)
    assert len(found) == 5 < len(costs)
    for cell, (_, expected) in zip(found, costs, strict=False):
        assert np.linalg.det(cell) > 0.0
        if np.linalg.det(expected) < 0.0:
            expected = expected[[1, 0, 2]]
        np.testing.assert_allclose(cell, expected, atol=1e-12)


def test_a_vector_into_the_void_has_no_counterparts(around: Surroundings) -> None:
    far = np.array([90.0, 0.0, 0.0])
    assert around._mismatch(far, 2.4, carving.cKDTree(around.positions), {}) == 1.0 == surroundings._CAP


def test_spacing_is_the_median_of_nearest_neighbours(around: Surroundings) -> None:
    distance = np.linalg.norm(around.positions[:, None] - around.positions, axis=2)
    np.fill_diagonal(distance, np.inf)
    assert around.spacing == pytest.approx(np.median(distance.min(axis=1)))
    assert (np.diff(np.linalg.norm(around.positions, axis=1)) >= 0).all()
    with pytest.raises(MliuqError) as caught:
        Surroundings.of(Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 5]]), 1, 4.999)
    assert str(caught.value) == "atom 1 has no other atom within 5 Å: there is nothing to carve"


def test_closest_distances_of_each_pair(around: Surroundings) -> None:
    found = carving._closest(around)
    kinds = [int(z) for z in np.unique(around.numbers)]
    assert set(found) == {frozenset((a, b)) for a in kinds for b in kinds}
    for a, b in product(kinds, kinds):
        own, other = (around.positions[around.numbers == z] for z in (a, b))
        distance = np.sort(np.linalg.norm(own[:, None] - other, axis=2), axis=1)
        medians = [0.75 * float(np.median(distance[:, 1 if a == b else 0]))]
        if a != b:
            back = np.linalg.norm(other[:, None] - own, axis=2).min(axis=1)
            medians.append(0.75 * float(np.median(back)))
        assert found[frozenset((a, b))] == pytest.approx(min(medians))
    lone = Surroundings(np.array([[0.0, 0, 0], [0, 0, 2.0]]), np.array([29, 47]), 2.0)
    assert carving._closest(lone)[frozenset((29,))] == 1.5, "the spacing, where there is no other of an element"


def test_a_cell_is_filled_from_within(around: Surroundings) -> None:
    """Atom by atom: kept ones first, then by depth in the cell, unless another or an image is too near."""
    cell, keep = around.cells(LENGTH, 1)[0], 2.6
    closest, inverse = carving._closest(around), np.linalg.inv(cell)
    chosen: list[tuple[np.ndarray, int, bool]] = []
    atoms = []
    for position, number in zip(around.positions, around.numbers.tolist(), strict=True):
        fraction = position @ inverse
        kept = bool(np.linalg.norm(position) <= keep)
        inside = bool(np.all(np.abs(fraction) < 0.5 + 0.5 * around.spacing * np.linalg.norm(inverse, axis=0)))
        if kept or inside:
            atoms.append((not kept, np.abs(fraction).max(), position, number, kept))
    atoms.sort(key=lambda one: one[:2])
    shifts = np.array(list(product((-1, 0, 1), repeat=3))) @ cell
    for _, _, position, number, kept in atoms:
        near = [
            np.linalg.norm(other - position + shifts, axis=1).min() < closest[frozenset((number, z))]
            for other, z, _ in chosen
        ]
        if kept or not any(near):
            chosen.append((position, number, kept))
    found = carving._filled(around, cell, keep)
    assert found.numbers.tolist() == [number for _, number, _ in chosen]
    assert found.arrays["carve_kept"].tolist() == [int(kept) for _, _, kept in chosen]
    assert 0 < found.arrays["carve_kept"].sum() < len(found) < len(atoms)
    moves = (found.positions - [position for position, _, _ in chosen]) @ inverse
    np.testing.assert_allclose(moves, np.rint(moves), atol=1e-9)
    kept_rows = found.arrays["carve_kept"] == 1
    np.testing.assert_array_equal(found.positions[kept_rows], [p for p, _, kept in chosen if kept])
    assert (np.abs(found.positions[~kept_rows] @ inverse) <= 0.5 + 1e-9).all()
    assert found.pbc.all()
    np.testing.assert_array_equal(found.cell.array, cell)


# trials -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model(replace(PARAMS["plain"], twojmax=2, rcutfac=3.0), members=4)


class Script:
    """Cells numbered 0, 1, …, of given sizes, and what becomes of every trial."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, n_cells: int, sizes: list[int], bars: list[float | None]
    ) -> None:
        self.filled: list[tuple[float, float]] = []
        self.asked: list[tuple[float, int]] = []
        self.starts: list[np.ndarray] = []
        self.calls: list[tuple[float, int]] = []
        self.sizes, self.bars = iter(sizes), iter(bars)

        def cells(around: Surroundings, length: float, n: int) -> list[np.ndarray]:
            self.asked.append((length, n))
            return [np.eye(3) * (10.0 + i) for i in range(min(n_cells, n))]

        def filled(around: Surroundings, cell: np.ndarray, keep: float) -> Atoms:
            self.filled.append((float(cell[0, 0]) - 10.0, keep))
            n = next(self.sizes)
            found = Atoms(f"W{n}", positions=np.zeros((n, 3)), cell=cell, pbc=True)
            found.arrays["carve_kept"] = (np.arange(n) < 1).astype(int)
            return found

        def relaxed(start: Atoms, keep: float, calculator: Any, steps: int) -> Atoms:
            self.starts.append(start.positions.copy())
            self.calls.append((keep, steps))
            self.threads = calculator._threads
            return start

        def judged(moved: Atoms, keep: float, calculator: Any) -> Atoms | None:
            bar = next(self.bars)
            if bar is None:
                return None
            moved.info["carve_rest_err"] = bar
            return moved

        monkeypatch.setattr(Surroundings, "cells", cells)
        for name, function in (("_filled", filled), ("_relaxed", relaxed), ("_judged", judged)):
            monkeypatch.setattr(carving, name, function)


@pytest.fixture(scope="module")
def crystal() -> Atoms:
    return bulk("W", cubic=True) * 2  # 16 atoms


def test_trials_go_through_cells_and_rattles(crystal: Atoms, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch, 9, [5] * 6, [3.0, None, 2.0, 4.0, 2.5, 9.0])
    with pytest.raises(MliuqError) as caught:
        carve(crystal, 3, model, save=1.5, steps=7, seed=2, threads=1)
    assert str(caught.value) == (
        "around atom 3: forces on the rest are known to ± 2 eV/Å in the best of 6 trials, expected below save = 1.5 "
        "eV/Å: more trials, or label the structure as it is"
    )
    reach = model.evaluator.cutoff
    spacing = Surroundings.of(crystal, 3, 1.0 + reach).spacing
    assert script.asked == [(pytest.approx(2.0 * reach + spacing), 4)]
    assert script.filled == [(i, reach) for i in (0, 0, 0, 1, 2, 3)], "half of the trials in the best cell"
    assert script.calls == [(reach, 7)] * 6
    assert script.threads == 1
    rng = np.random.default_rng(2)
    assert not script.starts[0].any()
    for start in script.starts[1:]:
        np.testing.assert_array_equal(start[1:], rng.normal(scale=0.1, size=(4, 3)))
        assert not start[0].any()


def test_the_first_that_is_good_is_taken(crystal: Atoms, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch, 1, [5, 6, 7], [2.0, 1.0, 0.5])
    found = carve(crystal, 3, model, save=0.75, keep=4.0, trials=5, rattle=0.0)
    assert (len(found), found.info["carve_rest_err"]) == (7, 0.5), "a bar as large as save is not below it"
    assert script.filled == [(0, 4.0)] * 3
    script = Script(monkeypatch, 1, [5], [0.5])
    with pytest.raises(MliuqError, match=r"best of 1 trials, expected below save = 0\.5"):
        carve(crystal, 3, model, save=0.5, trials=1)


def test_cells_as_large_as_the_structure_are_none(
    crystal: Atoms, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script(monkeypatch, 1, [16, 18, 17], [])
    with pytest.raises(MliuqError) as caught:
        carve(crystal, 3, model, save=1.0, trials=3)
    assert str(caught.value) == (
        "a cell around atom 3 takes 16 atoms, the structure has 16: expected one large enough to carve from; label it "
        "as it is"
    )
    assert script.calls == []
    Script(monkeypatch, 1, [16, 15], [0.5])
    assert len(carve(crystal, 3, model, save=1.0, trials=2)) == 15
    Script(monkeypatch, 1, [5, 5], [None, None])
    with pytest.raises(MliuqError, match=r"^around atom 3: other atoms enter what is kept in the best of 2 trials"):
        carve(crystal, 3, model, save=1.0, trials=2)


def test_what_is_judged() -> None:
    """Bars as large as a test says; a sphere that others enter, and what is not finite, are no cells."""
    atoms = Atoms("W4", positions=[[0, 0, 0], [0, 0, 2], [0, 0, 4.1], [5, 0, 0]], cell=[20, 20, 20], pbc=True)
    atoms.arrays["carve_kept"] = np.array([1, 1, 0, 0])
    bars = np.array([[3.0, 0, 4], [0, 1, 0], [0, 0, 2], [0.5, 0, 0]])
    calculator: Any = SimpleNamespace(get_property=lambda name, atoms: {"forces_err": bars}[name])
    found = carving._judged(atoms, 4.0, calculator)
    assert found is not None
    assert (found.info["carve_rest_err"], found.info["carve_kept_err"]) == (2.0, 5.0)
    assert atoms.info == {}
    assert carving._judged(atoms, 4.1, calculator) is None
    whole = atoms.copy()
    whole.arrays["carve_kept"] = np.ones(4, dtype=int)
    found = carving._judged(whole, 4.0, calculator)
    assert found is not None
    assert found.info["carve_rest_err"] == 0.0
    bars[2, 2] = np.nan
    assert carving._judged(atoms, 4.0, calculator) is None


def test_the_wall_word_by_word() -> None:
    """½ k (R + 0.2 − r)² inside, nothing outside; k = 50 eV/Å²."""
    from ase.calculators.emt import EMT

    atoms = Atoms("Cu4", positions=[[0, 0, 0], [0, 0, 3.1], [0, 3.25, 0], [1.0, 0, 0]], cell=[20, 20, 20], pbc=True)
    bare = atoms.copy()
    bare.calc = EMT()
    atoms.calc = carving._Walled(EMT(), 3.0, np.array([1, 2]))
    depth = 3.2 - 3.1
    assert atoms.get_potential_energy() == pytest.approx(bare.get_potential_energy() + 0.5 * 50.0 * depth**2)
    pushed = atoms.get_forces() - bare.get_forces()
    np.testing.assert_allclose(pushed, [[0, 0, 0], [0, 0, 50.0 * depth], [0, 0, 0], [0, 0, 0]], atol=1e-9)
    atoms.calc = carving._Walled(EMT(), 3.0, np.array([], dtype=np.int64))
    assert atoms.get_potential_energy() == pytest.approx(bare.get_potential_energy())


def test_relaxations_hold_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from ase.calculators.emt import EMT

    made: list[Any] = []
    fire = carving.FIRE

    class Seen(fire):  # type: ignore[misc, valid-type]
        def __init__(self, atoms: Atoms, **named: Any) -> None:
            made.append((named, [c.index.tolist() for c in atoms.constraints]))
            super().__init__(atoms, **named)

        def run(self, **named: Any) -> Any:
            made.append(named)
            return super().run(**named)

    monkeypatch.setattr(carving, "FIRE", Seen)
    start = bulk("Cu", cubic=True) * 2
    start.rattle(0.1, seed=0)
    start.arrays["carve_kept"] = (np.arange(len(start)) < 3).astype(int)
    before = start.positions.copy()
    moved = carving._relaxed(start, 0.5, EMT(), 5)  # type: ignore[arg-type]
    assert made == [({"logfile": None, "maxstep": 0.1}, [[0, 1, 2]]), {"fmax": 0.1, "steps": 5}]
    np.testing.assert_array_equal(start.positions, before)
    np.testing.assert_array_equal(moved.positions[:3], before[:3])
    assert np.abs(moved.positions[3:] - before[3:]).max() > 1e-3
    assert moved.constraints == []
    assert isinstance(moved.calc, carving._Walled)


def test_refusals_word_by_word(crystal: Atoms, model: Model) -> None:
    reach = model.evaluator.cutoff
    for changes, message in (
        ({"centre": -1}, "centre is -1, expected an atom from 0 to 15"),
        ({"centre": 16}, "centre is 16, expected an atom from 0 to 15"),
        ({"save": 0.0}, "save is 0.0, expected a number above zero (eV/Å)"),
        ({"save": np.inf}, "save is inf, expected a number above zero (eV/Å)"),
        ({"keep": reach - 0.1}, f"keep is {reach - 0.1}, expected at least the cutoff of the model, {reach:g} Å"),
        ({"keep": np.inf}, f"keep is inf, expected at least the cutoff of the model, {reach:g} Å"),
        ({"trials": 0}, "trials is 0, expected at least 1"),
        ({"steps": -1}, "steps is -1, expected at least 0"),
        ({"rattle": 1.0}, "rattle is 1.0, expected a number from 0 to below 1 (Å)"),
        ({"rattle": -0.1}, "rattle is -0.1, expected a number from 0 to below 1 (Å)"),
        ({"model": replace(model, members=None)},
         "the model has no members to judge a cell by: expected one fitted with members"),
        ({"model": replace(model, metadata={"fit": {"settings": {"data": {"reference": "m:c"}}}})},
         "the fit took the reference potential 'm:c' off its data: a part of the whole relaxes no structure"),
    ):  # fmt: skip
        with pytest.raises(MliuqError) as caught:
            carve(**{"atoms": crystal, "centre": 0, "model": model, "save": 1.0, **changes})
        assert str(caught.value) == message
