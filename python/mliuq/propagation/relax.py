"""Relaxation of atoms and cells, warm-started, with failures that have names."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic
from ase.optimize import BFGS, LBFGS
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from numpy.typing import NDArray
from vesin import NeighborList

from mliuq.errors import MliuqError
from mliuq.propagation.calculator import WeightsCalculator
from mliuq.propagation.continuation import Curvature, follow
from mliuq.propagation.coordinates import (
    CellMode,
    Invariant,
    coordinates,
    deformed,
    hessian,
    strain_matrix,
    voigt_strain,
)
from mliuq.propagation.implicit import FLAT, Response, correct, respond
from mliuq.propagation.lammps_relaxer import minimise
from mliuq.propagation.settings import PropagationSettings
from mliuq.propagation.symmetry import Symmetry, symmetry_of

Array = NDArray[np.float64]

DENSE_ATOMS = 40
"""Largest structure whose Hessian is made and handed to the members; beyond it relaxations start without one."""
MOST_DIRECTIONS = 60
"""Largest number of invariant directions along which second derivatives are taken in structures of more atoms."""
STIFFNESS = 70.0
"""eV/Å², of directions without curvature of their own (translations), as ASE's optimisers assume."""
SOFT = 0.3
"""eV/Å²: curvatures below count as none, so that no step along them is large."""


class RelaxationError(MliuqError):
    """A member did not converge, collapsed or left the basin; the message says which."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A relaxed structure.

    Attributes
    ----------
    atoms : without calculator
    energy : eV
    hessian : of the best fit, where the structure is small
    response : of the best fit under the implicit engine
    stress : predicted by the implicit engine in a cell that is held (Voigt, eV/Å³); None where it was not predicted
    symmetry : of the best fit's structure, which members keep
    curvature : of the best fit, where it is affordable: members follow it
    """

    atoms: Atoms
    energy: float
    hessian: Array | None = None
    response: Response | None = None
    stress: Array | None = None
    symmetry: Symmetry | None = None
    curvature: Curvature | None = None

    @cached_property
    def shortest(self) -> float:
        """Shortest distance between atoms, Å."""
        return shortest_distance(self.atoms)


def relax(
    atoms: Atoms,
    calculator: Calculator,
    settings: PropagationSettings,
    *,
    cell: CellMode = "fixed",
    start: Relaxed | None = None,
    guess: Atoms | None = None,
) -> Relaxed:
    """Relax a structure; it keeps the symmetry that it starts with.

    Parameters
    ----------
    atoms : Atoms
        Where the relaxation starts when neither ``start`` nor ``guess`` is given; constraints are obeyed.
    calculator : Calculator
        Of the weights in question.
    cell : {"fixed", "free", "isochoric"}
        Whether the cell relaxes, or its shape alone.
    start : Relaxed, optional
        The best fit's: its structure is the start (unless ``guess`` is given), its Hessian that of the optimiser, and
        the result must lie in its basin.
    guess : Atoms, optional
        A better start, such as a strained relaxed structure; must be of the basin of ``start``.

    Raises
    ------
    RelaxationError
        When it does not converge, atoms collapse, or the result is another structure than ``start``.
    """
    if settings.engine == "implicit" and start is not None and start.response is not None:
        predicted = _predicted(start, start.response, calculator, settings, cell, guess)
        if predicted is not None:
            _check_basin(predicted.atoms, start, settings, guess)
            return predicted
    begin = guess if guess is not None else start.atoms if start is not None else atoms
    moving = begin.copy()
    moving.calc = calculator
    symmetry = _kept(begin, start, calculator)
    if start is not None and _can_be_followed(start, moving, settings, cell, symmetry):
        return _followed(start, moving, settings, cell, symmetry)
    known = None if start is None else start.hessian
    if known is not None and cell == "fixed":
        known = known[: 3 * len(moving), : 3 * len(moving)]
    if settings.relaxer == "lammps" and cell != "isochoric" and not moving.constraints:
        assert isinstance(calculator, WeightsCalculator)
        minimise(moving, calculator.model, cell=cell, fmax=settings.fmax, steps=settings.steps)
        if symmetry is not None and not symmetry.holds(begin, moving):
            moving = begin.copy()
            moving.calc = calculator
    _optimise(moving, settings, cell, known, symmetry)
    if start is None:
        if guess is None:
            _check_distances(moving, Relaxed(begin, np.nan), settings)
        found = _for_members(moving, calculator, settings, cell, symmetry, follow=guess is None)
    else:
        _check_basin(moving, start, settings, begin)
        found = Relaxed(moving, float(moving.get_potential_energy()), known, symmetry=symmetry)
    moving.calc = None
    return found


def _kept(begin: Atoms, start: Relaxed | None, calculator: Calculator) -> Symmetry | None:
    """The symmetry that a structure keeps: that of the best fit's where it has it, else its own."""
    if start is not None and start.symmetry is not None and start.symmetry.holds(start.atoms, begin):
        return start.symmetry
    # Whatever else evaluates may hold atoms to places of their own.
    return symmetry_of(begin) if isinstance(calculator, WeightsCalculator) else None


def _for_members(
    atoms: Atoms,
    calculator: Calculator,
    settings: PropagationSettings,
    cell: CellMode,
    symmetry: Symmetry | None,
    *,
    follow: bool,
) -> Relaxed:
    """The best fit's structure, with what members start from: Hessian, curvature, response."""
    held = bool(atoms.constraints)
    known = hessian(atoms, cell) if len(atoms) <= DENSE_ATOMS and not held else None
    curvature = response = None
    if isinstance(calculator, WeightsCalculator) and cell != "isochoric" and not held:
        if follow:
            curvature = _curvature(atoms, calculator.model.theta, cell, known, symmetry)
        if settings.engine == "implicit":
            assert calculator.members is not None
            response = respond(atoms, calculator, calculator.members, cell=cell, hessian=known, symmetry=symmetry)
    energy = float(atoms.get_potential_energy())
    return Relaxed(atoms, energy, known, response, symmetry=symmetry, curvature=curvature)


def _curvature(
    atoms: Atoms, theta: Array, cell: CellMode, known: Array | None, symmetry: Symmetry | None
) -> Curvature | None:
    """Along invariant directions, translations left out; None in structures for which that takes too long."""
    kept = None if symmetry is None else symmetry.directions(cell)
    if known is not None:
        H = known if kept is None else kept.T @ known @ kept
    elif kept is not None and kept.shape[1] <= MOST_DIRECTIONS:
        H = hessian(atoms, cell, directions=kept)
    else:
        return None
    omega, axes = np.linalg.eigh(H)
    stiff = np.abs(omega) > FLAT
    basis = (axes if kept is None else kept @ axes)[:, stiff]
    return Curvature(theta, basis, np.diag(1.0 / omega[stiff]))


def _can_be_followed(
    start: Relaxed, moving: Atoms, settings: PropagationSettings, cell: CellMode, symmetry: Symmetry | None
) -> bool:
    if start.curvature is None or symmetry is not start.symmetry:
        return False
    by_steps = settings.relaxer == "lammps" and settings.engine == "resampling"
    return not by_steps and len(start.curvature.basis) == 3 * len(coordinates(moving, cell))


def _followed(
    start: Relaxed,
    moving: Atoms,
    settings: PropagationSettings,
    cell: CellMode,
    symmetry: Symmetry | None,
) -> Relaxed:
    """Follow the best fit's structure to the member's weights, and its lattice where the cell is held on another.

    Where a minimum ends on the way, the member's is the one that lies downhill from there.
    """
    calculator, curvature = moving.calc, start.curvature
    assert isinstance(calculator, WeightsCalculator)
    assert curvature is not None
    stretch = np.linalg.solve(start.atoms.cell.array, moving.cell.array) - np.eye(3)
    delta = calculator.model.theta - curvature.theta
    # Where the start differs by more than strain, as of slabs, whose vacuum does not grow with them.
    shift = moving.positions @ np.linalg.inv(np.eye(3) + stretch) - start.atoms.positions

    def at(t: float, u: Array) -> tuple[Atoms, Array]:
        """The structure, and the forces on its coordinates before strain."""
        gradient = np.eye(3) + t * stretch
        there = deformed(start.atoms, gradient)
        there.positions += t * shift @ gradient
        there.calc = calculator if t == 1.0 else calculator.of(curvature.theta + t * delta)
        target = coordinates(there, cell)
        target.set_positions((target.get_positions() @ np.linalg.inv(gradient) + u.reshape(-1, 3)) @ gradient)
        return there, np.ravel(target.get_forces() @ gradient.T)

    def forces(t: float, u: Array) -> Array:
        try:
            return at(t, u)[1]
        except MliuqError as error:  # atoms on top of each other
            raise FloatingPointError from error

    place, t = follow(curvature, forces, settings.fmax)
    try:
        atoms, _ = at(1.0, place)
        if t < 1.0:
            if (np.linalg.eigvalsh(curvature.softness) < 0).any():
                raise RelaxationError(f"left the basin: the saddle point ends {t:.0%} of the way to these weights")
            _optimise(atoms, settings, cell, None, symmetry)
    except RelaxationError:
        raise
    except MliuqError as error:
        raise RelaxationError(f"collapsed: {error}") from error
    _check_basin(atoms, start, settings, moving)
    energy = float(atoms.get_potential_energy())
    atoms.calc = None
    return Relaxed(atoms, energy)


def _predicted(
    start: Relaxed,
    response: Response,
    calculator: Calculator,
    settings: PropagationSettings,
    cell: CellMode,
    guess: Atoms | None,
) -> Relaxed | None:
    """The relaxed structure of other weights by the implicit engine; None where that is for a relaxation to find.

    That is so for cells of another shape than an imposed strain gives, and members that corrections lead astray.
    """
    assert isinstance(calculator, WeightsCalculator)
    theta = calculator.model.theta.ravel()
    n = len(start.atoms)
    strain, stretch = None, np.eye(3)
    if guess is not None:
        stretch = np.linalg.solve(start.atoms.cell.array, guess.cell.array)
        if cell != "fixed" or response.imposed is None or np.abs(stretch - stretch.T).max() > 1e-8:
            return None
        strain = voigt_strain(stretch - np.eye(3))
        if start.symmetry is not None and not start.symmetry.keeps(strain):
            return None
    energy, moves = response.predict(theta, strain)
    if settings.corrections:
        trial = deformed(start.atoms, stretch)
        trial.calc = calculator
        target = coordinates(trial, cell)

        def evaluate(u: Array) -> tuple[float, Array]:
            target.set_positions((placed + u.reshape(-1, 3)) @ stretch)
            return float(trial.get_potential_energy()), (target.get_forces() @ stretch.T).ravel()

        placed = target.get_positions() @ np.linalg.inv(stretch)
        try:
            corrected = correct(response, evaluate, response.pull(theta, strain), settings.corrections)
        except MliuqError:  # atoms on top of each other: a relaxation takes shorter steps
            corrected = None
        if corrected is None:
            return None
        energy, moves = corrected
    atoms = start.atoms.copy()
    atoms.positions += moves[: 3 * n].reshape(-1, 3)
    if cell == "free":
        return Relaxed(deformed(atoms, np.eye(3) + strain_matrix(moves[3 * n :] / n)), energy)
    atoms = deformed(atoms, stretch)
    if response.imposed is None or settings.corrections:
        return Relaxed(atoms, energy)
    # dE = V tr(σ G⁻¹ dG) with the deformation gradient G
    slope = stretch @ voigt_6_to_full_3x3_stress(response.slope(theta, np.zeros(6) if strain is None else strain))
    stress = full_3x3_to_voigt_6_stress(0.5 * (slope + slope.T) / atoms.get_volume())
    return Relaxed(atoms, energy, stress=stress)


def _optimise(
    atoms: Atoms, settings: PropagationSettings, cell: CellMode, known: Array | None, symmetry: Symmetry | None
) -> None:
    """Run ASE's optimiser; raise when it does not converge.

    With a Hessian of the neighbourhood BFGS is a quasi-Newton method that needs a handful of steps. Without one the
    same optimiser is used for small structures, and one that keeps no matrix for large ones.
    """
    target: Any = coordinates(atoms, cell)
    if symmetry is not None:
        target = Invariant(target, symmetry.directions(cell))
    small = len(atoms) <= DENSE_ATOMS
    method: Any = BFGS if small or known is not None else LBFGS
    optimiser = method(target, logfile=None)
    if known is not None:
        omega, axes = np.linalg.eigh(known)
        omega = np.abs(omega)
        omega[omega < SOFT] = STIFFNESS
        optimiser.H0 = (axes * omega) @ axes.T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            converged = optimiser.run(fmax=settings.fmax, steps=settings.steps)
        except (MliuqError, np.linalg.LinAlgError, FloatingPointError) as error:
            raise RelaxationError(f"collapsed: {error}") from error
    if not converged:
        forces = np.linalg.norm(target.get_forces(), axis=1).max()
        raise RelaxationError(
            f"not converged after {settings.steps} steps: {forces:.2g} eV/Å, expected {settings.fmax:g}"
        )


def shortest_distance(atoms: Atoms, reach: float = 8.0) -> float:
    """Of any two atoms or images, Å; infinite where none are within reach."""
    (distances,) = NeighborList(cutoff=reach, full_list=False, n_threads=1).compute(
        atoms.positions, atoms.cell.array, atoms.pbc, "d"
    )
    return float(distances.min()) if len(distances) else np.inf


def _check_distances(atoms: Atoms, before: Relaxed, settings: PropagationSettings) -> None:
    """Raise when atoms have come too near to each other."""
    least = settings.min_distance * before.shortest
    if not np.isfinite(least) or least == 0.0:
        return
    # Looking no further than that is quick in large cells.
    closest = shortest_distance(atoms, least) if np.isfinite(atoms.positions).all() else np.nan
    if not closest >= least:
        allowed = f"{settings.min_distance:g} × {before.shortest:.2f} Å"
        raise RelaxationError(f"collapsed: atoms {closest:.2f} Å apart, expected at least {allowed}")


def _check_basin(after: Atoms, start: Relaxed, settings: PropagationSettings, begin: Atoms | None = None) -> None:
    """Raise when a relaxed structure is no longer what it started from: the best fit's, or that on another lattice."""
    _check_distances(after, start, settings)
    before = start.atoms
    if after.pbc.any():
        stretch = np.linalg.solve(before.cell.complete().array, after.cell.complete().array)
        strain = 0.5 * np.log(np.linalg.eigvalsh(stretch @ stretch.T))
        if np.abs(strain).max() > settings.max_strain:
            raise RelaxationError(
                f"left the basin: strained by {np.abs(strain).max():.2f}, expected at most {settings.max_strain:g}"
            )
    if begin is not None:
        before = begin
        stretch = np.linalg.solve(before.cell.complete().array, after.cell.complete().array)
    moves = after.positions - before.positions @ (stretch if after.pbc.any() else np.eye(3))
    moves -= moves.mean(axis=0)
    most = settings.max_displacement * start.shortest
    if (np.linalg.norm(moves, axis=1) <= most).all():
        return
    largest = float(np.linalg.norm(find_mic(moves, after.cell, after.pbc)[0], axis=1).max())
    if largest > most:
        allowed = f"{settings.max_displacement:g} × {start.shortest:.2f} Å"
        raise RelaxationError(f"left the basin: an atom moved by {largest:.2f} Å, expected at most {allowed}")
