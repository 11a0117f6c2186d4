"""What labelled structures stand for: closed forms, and the same problem handed to another solver."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from mliuq import MliuqError
from mliuq.descriptor.bispectrum import design_rows
from mliuq.descriptor.params import SnapParams
from mliuq.regression import representation
from mliuq.regression.representation import Overlap, Population
from scipy.optimize import lsq_linear
from systems import PARAMS

LINEAR = SnapParams(("W",), twojmax=2, rcutfac=4.2)


def shaken(n: int, seed: int, amplitude: float = 0.2) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        atoms = bulk("W", a=3.17 * (1 + rng.uniform(-0.05, 0.05)), cubic=True)
        atoms.positions += rng.normal(scale=amplitude, size=atoms.positions.shape)
        found.append(atoms)
    return found


@pytest.mark.parametrize("forces", [True, False])
def test_copies_are_counted(forces: bool) -> None:
    own = shaken(4, 0, 0.4)
    counts = [1, 3, 11, 40]
    pool = [atoms for atoms, n in zip(own, counts, strict=True) for _ in range(n)]
    population = Population.of(pool, LINEAR, forces=forces)
    assert population.size == sum(counts)
    np.testing.assert_allclose(population.stood_for(own), counts, rtol=1e-6)


def test_structures_that_are_the_same_share() -> None:
    a, b = shaken(2, 1)
    found = Population.of([a] * 8 + [b] * 5, LINEAR).stood_for([a, a, b])
    np.testing.assert_allclose(found, [4.0, 4.0, 5.0], rtol=1e-4)


def grams(population: Population, structures: list[Atoms]) -> np.ndarray:
    return np.array([z.T @ z for z in population.seen(structures)])


def test_the_whole_population_is_whitened() -> None:
    """Every column that forces depend on: the constant is none of them."""
    pool = shaken(12, 2)
    population = Population.of(pool, LINEAR)
    assert population.rank == LINEAR.n_weights - 1
    np.testing.assert_allclose(grams(population, pool).sum(axis=0), np.eye(population.rank), atol=1e-10)
    x = np.concatenate(design_rows(pool, LINEAR, energy=False))[:, 1:]
    leverage = np.sum(x @ np.linalg.inv(x.T @ x) * x, axis=1)
    np.testing.assert_allclose(
        np.concatenate([np.sum(z**2, axis=1) for z in population.seen(pool)]), leverage, rtol=1e-6
    )


@pytest.mark.parametrize("name", ["linear", "quadratic"])
def test_weights_are_those_of_another_solver(name: str) -> None:
    pool = shaken(120, 3) + shaken(3, 4, 0.5)
    near = [pool[0].copy(), pool[1].copy()]
    for atoms in near:
        atoms.rattle(0.05, seed=1)
    own = [*pool[:4], *near, *pool[-3:], *shaken(1, 5, 0.6)]  # and one like none of the pool
    population = Population.of([*near, own[-1], *pool], PARAMS[name])
    g = grams(population, own)
    found = population.stood_for(own)
    expected = lsq_linear(
        g.reshape(len(own), -1).T, np.eye(population.rank).ravel(), bounds=(1.0, np.inf), method="bvls", tol=1e-14
    )
    np.testing.assert_allclose(found, expected.x, rtol=1e-6)
    assert found.min() >= 1.0
    assert found.max() > 2.0
    overlap = Overlap()
    for z in population.seen(own):
        overlap.add(z)
    np.testing.assert_allclose(
        overlap.missing(population.rank), np.eye(population.rank) - np.tensordot(found, g, 1), atol=1e-9
    )


def test_none_counts_less_than_itself() -> None:
    """Ten times the second would do, and the first were not needed: with it, 9.5 is nearest."""
    overlap = Overlap()
    for z in (np.sqrt(0.1) * np.array([[1.0, 0.0]]), np.sqrt(0.1) * np.eye(2)):
        overlap.add(z)
    np.testing.assert_allclose(overlap.weights(), [1.0, 9.5], rtol=1e-8)
    np.testing.assert_allclose(overlap.missing(2), [[-0.05, 0.0], [0.0, 0.05]], atol=1e-8)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = shaken(9, 6)
    one = Population.of(pool, LINEAR, threads=1).stood_for(pool[:3])
    for name, value in (("_BLOCK", 2), ("BLOCK_NUMBERS", 50)):
        monkeypatch.setattr(representation, name, value)
        np.testing.assert_allclose(Population.of(iter(pool), LINEAR).stood_for(pool[:3]), one, rtol=1e-8)


def test_elements_have_columns_of_their_own() -> None:
    params = PARAMS["binary"]
    cell = bulk("W", a=3.1, cubic=True)
    mixed = Atoms("WBe", scaled_positions=[[0, 0, 0], [0.45, 0.5, 0.52]], cell=cell.cell, pbc=True)
    pure = shaken(1, 7)[0]
    np.testing.assert_allclose(
        Population.of([mixed, pure, pure, pure], params).stood_for([pure, mixed]), [3.0, 1.0], rtol=1e-6
    )


def test_nothing_to_stand_for() -> None:
    with pytest.raises(MliuqError, match="the 2 structures to stand for have no forces"):
        Population.of([bulk("W"), bulk("W", a=3.3)], LINEAR)
    with pytest.raises(MliuqError, match="the 0 structures"):
        Population.of([], LINEAR)
    population = Population.of(shaken(3, 8), LINEAR)
    assert population.stood_for([]).shape == (0,)
    np.testing.assert_array_equal(population.stood_for([bulk("W")]), [1.0])  # no force, and so no share
    np.testing.assert_array_equal(Overlap().missing(2), np.eye(2))
