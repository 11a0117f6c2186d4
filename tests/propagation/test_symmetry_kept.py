"""Relaxed structures keep their symmetry, and members follow the best fit's structure or say where it ends."""

from __future__ import annotations

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from mliuq.propagation import PropagationSettings
from mliuq.propagation.calculator import WeightsCalculator, weights_of
from mliuq.propagation.continuation import Curvature, follow
from mliuq.propagation.coordinates import Invariant, coordinates, deformed, hessian, strain_matrix, voigt_strain
from mliuq.propagation.prototypes import prototype
from mliuq.propagation.relax import RelaxationError, relax
from mliuq.propagation.symmetry import KeepsSymmetry, symmetry_of

TIGHT = PropagationSettings(fmax=1e-8, steps=1000)


def vacancy() -> Atoms:
    cell = bulk("W", "bcc", 3.17, cubic=True).repeat(2)
    del cell[0]
    return cell


@pytest.mark.parametrize(
    ("name", "inner", "strains"),
    [("bcc", 0, 1), ("hcp", 0, 2), ("dhcp", 0, 2), ("A15", 0, 1), ("omega", 0, 2), ("sigma", 7, 2), ("C14", 2, 2)],
)
def test_free_parameters_of_crystals(name: str, inner: int, strains: int) -> None:
    """As the International Tables count them: x of Wyckoff positions, and lengths of the cell."""
    found = symmetry_of(prototype(name, "W"))
    assert found is not None
    assert found.displacements.shape[1] == inner
    assert found.strains.shape[1] == strains


def test_invariant_displacements_change_no_distance_alone() -> None:
    """Atoms of one shell around a vacancy move by one amount outwards."""
    cell = vacancy()
    found = symmetry_of(cell)
    assert found is not None
    V = found.displacements
    np.testing.assert_allclose(V.T @ V, np.eye(V.shape[1]), atol=1e-12)
    from_hole = cell.positions - np.round(cell.positions / cell.cell.lengths()[0]) * cell.cell.lengths()[0]
    near = np.linalg.norm(from_hole, axis=1) < 2.8
    assert near.sum() == 8
    rng = np.random.default_rng(1)
    moves = (V @ rng.normal(size=V.shape[1])).reshape(-1, 3)[near]
    outward = np.sum(moves * from_hole[near], axis=1)
    assert np.ptp(outward) < 1e-10 < abs(outward[0])
    np.testing.assert_allclose(np.linalg.norm(moves, axis=1), np.abs(outward) / np.linalg.norm(from_hole[near][0]))


def test_what_has_no_symmetry_to_keep() -> None:
    cell = vacancy()
    assert symmetry_of(Atoms(cell.numbers, cell.positions, cell=cell.cell, pbc=(True, True, False))) is None
    rattled = cell.copy()
    rattled.rattle(0.01, seed=1)
    assert symmetry_of(rattled) is None
    held = cell.copy()
    held.set_constraint(KeepsSymmetry(symmetry_of(cell)))
    assert symmetry_of(held) is None
    assert symmetry_of(bulk("W", "bcc", 3.17, cubic=True).repeat(6)) is None, "too many atoms"


def test_other_cells_of_the_same_symmetry() -> None:
    cell = vacancy()
    found = symmetry_of(cell)
    assert found is not None
    assert found.holds(cell, deformed(cell, 1.02 * np.eye(3)))
    assert not found.holds(cell, deformed(cell, np.diag([1.0, 1.0, 1.01])))
    assert found.keeps(np.array([0.1, 0.1, 0.1, 0, 0, 0]))
    assert not found.keeps(np.array([0, 0, 0, 0, 0, 0.1]))
    moved = cell.copy()
    moved.positions[3, 0] += 1e-3
    assert not found.holds(cell, moved)
    voigt = np.array([0.1, -0.2, 0.3, 0.4, -0.5, 0.6])
    np.testing.assert_allclose(voigt_strain(strain_matrix(voigt)), voigt)


def test_forces_are_invariant_already(tame: mliuq.Model) -> None:
    """A potential has the symmetry of the structure, so that projecting its forces takes nothing away."""
    cell = vacancy()
    cell.calc = WeightsCalculator(weights_of(tame))
    ways = symmetry_of(cell).directions("free")
    target = coordinates(cell, "free")
    forces = target.get_forces()
    np.testing.assert_allclose(Invariant(target, ways).get_forces(), forces, atol=1e-9)
    assert np.abs(forces).max() > 1e-3
    whole = hessian(cell, "free")
    np.testing.assert_allclose(hessian(cell, "free", directions=ways), ways.T @ whole @ ways, atol=1e-3)


def test_a_crystal_that_only_symmetry_holds_keeps_it(tame: mliuq.Model) -> None:
    """Disturbed by no more than rounding, in a cell where it could fall down."""
    cell = prototype("bcc", "W", cubic=True).repeat((2, 1, 1))
    found = relax(cell, WeightsCalculator(weights_of(tame)), TIGHT, cell="free")
    lengths = found.atoms.cell.lengths()
    np.testing.assert_allclose(lengths / lengths[1], [2, 1, 1], atol=1e-9)
    assert np.linalg.eigvalsh(found.hessian)[0] < -0.1, "and it would have fallen"


class TestContinuation:
    """In one coordinate x of E = x³/3 − (1 − t/τ) x, whose minimum √(1 − t/τ) is gone beyond τ."""

    @staticmethod
    def of(tau: float) -> tuple[Curvature, list[float]]:
        asked: list[float] = []
        return Curvature(np.zeros(1), np.array([[1.0], [0.0], [0.0]]), np.array([[0.5]])), asked

    def run(self, tau: float, scale: float = 1.0) -> tuple[float, float, list[float]]:
        curvature, asked = self.of(tau)

        def forces(t: float, u: np.ndarray) -> np.ndarray:
            asked.append(t)
            x = 1.0 + u[0] / scale
            return np.array([(1 - t / tau - x * x) / scale, 0.0, 0.0])

        place, reached = follow(curvature, forces, 1e-9)
        return 1.0 + place[0] / scale, reached, asked

    def test_a_minimum_is_followed(self) -> None:
        x, reached, asked = self.run(4.0)
        assert reached == 1.0
        assert x == pytest.approx(np.sqrt(0.75), abs=1e-8)
        assert set(asked) == {1.0}, "at once, where it is near"

    def test_one_that_is_far_is_followed_in_steps(self) -> None:
        x, reached, asked = self.run(1.05)
        assert reached == 1.0
        assert x == pytest.approx(np.sqrt(1 - 1 / 1.05), abs=1e-7)
        assert len(set(asked)) > 2

    def test_where_it_ends(self) -> None:
        x, reached, _ = self.run(0.6)
        assert reached == pytest.approx(0.6, abs=0.05)
        assert reached < 0.6
        assert x > 0

    def test_no_forces_are_a_shorter_step(self) -> None:
        curvature, asked = self.of(4.0)

        def forces(t: float, u: np.ndarray) -> np.ndarray:
            asked.append(t)
            if t > 0.3:
                raise FloatingPointError
            return np.array([1 - t / 4 - (1 + u[0]) ** 2, 0.0, 0.0])

        _, reached = follow(curvature, forces, 1e-9)
        assert 0.25 <= reached <= 0.3


def test_a_member_without_the_best_fits_structure_is_named(tame: mliuq.Model) -> None:
    """Weights turned round: what was a minimum is none on the way."""
    assert tame.members is not None
    best = weights_of(tame)
    at = relax(prototype("fcc", "W"), WeightsCalculator(best), TIGHT, cell="free")
    other = WeightsCalculator(best).of(10 * (tame.members[0] - best.theta) - best.theta)
    with pytest.raises(RelaxationError, match=r"left the basin: the best fit's structure ends \d+% of the way"):
        relax(at.atoms, other, TIGHT, cell="free", start=at)
