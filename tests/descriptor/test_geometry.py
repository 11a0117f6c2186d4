"""Neighbours of cells and positions of any shape, against counting them one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from mliuq import MLIUQCalculator, MliuqError, SnapParams
from mliuq.descriptor import geometry
from mliuq.descriptor.neighbours import pack
from systems import random_model

REACH = 5.0


def counted(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Rows (i, j, vector from i to j) of all pairs within reach, from the heights of the cell alone."""
    full = geometry.completed(cell, pbc)
    inverse = np.linalg.inv(full)
    height = 1.0 / np.linalg.norm(inverse, axis=0)
    fractions = positions @ inverse
    rows = []
    for i, j in itertools.product(range(len(positions)), repeat=2):
        apart = fractions[j] - fractions[i]
        ranges = [
            range(int(np.ceil(-f - REACH / h)), int(np.floor(-f + REACH / h)) + 1) if periodic else [0]
            for f, h, periodic in zip(apart, height, pbc, strict=True)
        ]
        for shift in itertools.product(*ranges):
            vector = positions[j] - positions[i] + np.array(shift) @ cell
            if np.linalg.norm(vector) < REACH and (i != j or any(shift)):
                rows.append((i, j, *vector))
    return np.array(rows).reshape(-1, 5)


def in_order(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(np.round(rows, 5).T)]


def test_random_cells_skewed_long_and_far() -> None:
    rng = np.random.default_rng(0)
    pairs = compressed = 0
    for trial in range(60):
        n, pbc = int(rng.integers(1, 6)), rng.random(3) < 0.6
        cell = rng.normal(size=(3, 3)) * rng.choice([3, 30, 3000], size=3)[:, None]
        if trial % 3 == 0:
            cell[1] = cell[0] * rng.integers(-4, 5) + 0.3 * cell[1]
        positions = rng.normal(size=(n, 3)) * rng.choice([2, 20, 2000], size=(n, 1))
        if trial % 2:
            positions += rng.integers(-3, 4, size=(n, 3)) @ cell
        cell = np.where(pbc[:, None], cell, 0.0)
        if (geometry.heights(geometry.completed(cell, pbc))[pbc] < 0.8).any():
            continue
        atoms = Atoms(f"W{n}", positions, cell=cell, pbc=pbc)
        found = in_order(np.column_stack(pack(atoms, SnapParams(("W",), twojmax=2, rcutfac=4.0), REACH).pairs()))
        expected = in_order(counted(positions, cell, pbc))
        np.testing.assert_array_equal(found[:, :2], expected[:, :2])
        np.testing.assert_allclose(found[:, 2:], expected[:, 2:], atol=1e-8)
        pairs += len(found)
        listed = geometry.listable(positions, cell, pbc, REACH)
        compressed += bool(np.ptp(listed.positions, axis=0).max(initial=0) < np.ptp(positions, axis=0).max() - REACH)
    assert pairs > 100
    assert compressed > 10


@pytest.fixture(scope="module")
def calculator() -> MLIUQCalculator:
    return MLIUQCalculator(random_model(SnapParams(("W",), twojmax=2, rcutfac=4.0), members=2))


def energy(atoms: Atoms, calculator: MLIUQCalculator) -> float:
    atoms.calc = calculator
    return atoms.get_potential_energy()


@pytest.mark.parametrize("far", [1e3, 1e5, 1e8])
@pytest.mark.parametrize("where", [(1, 0, 0), (1, 1, 1)])
@pytest.mark.parametrize("pbc", [False, (True, True, False)])
def test_a_far_atom_is_alone(calculator: MLIUQCalculator, far: float, where: tuple, pbc: bool | tuple) -> None:
    if pbc and where == (1, 0, 0):
        where = (0, 0, 1)
    near = Atoms("W2", positions=[[0, 0, 0], [2.5, 0, 0]], cell=[5, 5, 0], pbc=pbc)
    alone = Atoms("W", positions=[far * np.array(where)], cell=[5, 5, 0], pbc=pbc)
    parts = energy(near.copy(), calculator) + energy(alone.copy(), calculator)
    assert energy(near + alone, calculator) == pytest.approx(parts, rel=1e-9)


def test_vacuum_of_a_tenth_of_a_millimetre(calculator: MLIUQCalculator) -> None:
    chain = [Atoms("W", cell=[3.2, 3.2, length], pbc=True) for length in (1e2, 7e5, 1e8)]
    assert energy(chain[0], calculator) == pytest.approx(energy(chain[1], calculator), rel=1e-12)
    assert energy(chain[0], calculator) == pytest.approx(energy(chain[2], calculator), rel=1e-12)


def test_a_bar_longer_than_a_list_of_cells_can_be() -> None:
    def cutoff(*edges: float) -> float:
        return geometry.list_cutoff(np.array(edges), REACH)

    assert cutoff(3.2, 3.2, 4e5) == REACH
    assert cutoff(500.0, 500.0, 500.0) == REACH
    assert cutoff(3.2, 3.2, 1e6) > 2 * REACH  # 200,000 cells in a row
    assert cutoff(12.0, 12.0, 1e6) > REACH


@pytest.mark.parametrize("height", [1.0, 0.1])
def test_skewed_cells_are_their_reduced_ones(calculator: MLIUQCalculator, height: float) -> None:
    plain = Atoms("W", cell=[[3, 0, 0], [1.5, height + 2.0, 0], [0, 0, 3]], pbc=True)
    skewed = Atoms("W", cell=[[3, 0, 0], [3001.5, height + 2.0, 0], [300, 0, 3]], pbc=True)
    assert energy(skewed, calculator) == pytest.approx(energy(plain, calculator), rel=1e-9)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("W", cell=[[3, 0, 0], [6, 1e-4, 0], [0, 0, 3]], pbc=True), "an atom and its image are 1.00e-04 Å apart"),
        (Atoms("W", cell=[[3, 0, 0], [6, 1e-9, 0], [0, 0, 3]], pbc=True), "linearly dependent"),
        (Atoms("W200000", positions=np.random.default_rng(0).random((200_000, 3))), "expected a larger cell or a"),
    ],
)
def test_what_cannot_be_listed_says_so(calculator: MLIUQCalculator, atoms: Atoms, message: str) -> None:
    with pytest.raises(MliuqError, match=message):
        energy(atoms, calculator)
