"""Relaxed structures keep their symmetry, and members follow the best fit's structure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, surface
from mliuq.propagation import PropagationSettings
from mliuq.propagation import relax as relaxation
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


def test_where_the_best_fits_structure_ends_a_member_goes_downhill(
    tame: mliuq.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same minimum, reached by the optimiser from half the way; a saddle point is not left for a minimum."""
    best = weights_of(tame)
    at = relax(prototype("hcp", "W"), WeightsCalculator(best), TIGHT, cell="free")
    other = WeightsCalculator(weights_of(tame, 1))
    expected = relax(at.atoms, other, TIGHT, cell="free", start=at)
    followed = relaxation.follow

    def half(curvature: Curvature, forces: Callable[[float, np.ndarray], np.ndarray], fmax: float) -> Any:
        return followed(curvature, lambda t, u: forces(0.5 * t, u), fmax)[0], 0.5

    monkeypatch.setattr(relaxation, "follow", half)
    found = relax(at.atoms, other, TIGHT, cell="free", start=at)
    assert found.energy == pytest.approx(expected.energy, abs=1e-9)
    np.testing.assert_allclose(found.atoms.cell.lengths(), expected.atoms.cell.lengths(), atol=1e-6)
    assert at.curvature is not None
    saddle = replace(at, curvature=replace(at.curvature, softness=-at.curvature.softness))
    with pytest.raises(RelaxationError, match="left the basin: the saddle point ends 50% of the way"):
        relax(at.atoms, other, TIGHT, cell="free", start=saddle)


def test_slabs_on_another_lattice_are_where_they_belong(tame: mliuq.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vacuum does not grow with a slab: atoms that stay in their places have moved against the whole cell's strain."""
    slabs = [surface(bulk("W", "bcc", a, cubic=True), (1, 0, 0), 8, vacuum=6.0, periodic=True) for a in (3.1, 3.4)]
    strict = replace(TIGHT, max_displacement=0.01)
    relaxation._check_basin(slabs[1], relaxation.Relaxed(slabs[0], 0.0), strict, slabs[1])
    with pytest.raises(RelaxationError, match="an atom moved"):
        relaxation._check_basin(slabs[1], relaxation.Relaxed(slabs[0], 0.0), strict)
    # Nor is a member's slab looked for there: it is followed to its own places.
    calculator = WeightsCalculator(weights_of(tame))
    start = relax(slabs[0], calculator, replace(TIGHT, fmax=1e-3))
    seen: list[np.ndarray] = []

    def look(curvature: Curvature, forces: Callable[[float, np.ndarray], np.ndarray], fmax: float) -> Any:
        seen.append(forces(1.0, np.zeros(len(curvature.basis))))
        return np.zeros(len(curvature.basis)), 1.0

    monkeypatch.setattr(relaxation, "follow", look)
    found = relax(slabs[0], calculator, TIGHT, start=start, guess=slabs[1])
    np.testing.assert_allclose(found.atoms.positions, slabs[1].positions, atol=1e-9)
    there = slabs[1].copy()
    there.calc = calculator
    gradient = np.linalg.solve(start.atoms.cell.array, there.cell.array)
    np.testing.assert_allclose(seen[0].reshape(-1, 3), there.get_forces() @ gradient.T, atol=1e-9)
