"""Relaxation of atoms and cells, warm-started, with failures that have names."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic
from ase.optimize import BFGS, LBFGS
from numpy.typing import NDArray
from vesin import NeighborList

from mliuq.errors import MliuqError
from mliuq.propagation.calculator import WeightsCalculator
from mliuq.propagation.coordinates import CellMode, coordinates, deformed, hessian, strain_matrix
from mliuq.propagation.implicit import Response, respond
from mliuq.propagation.lammps_relaxer import minimise
from mliuq.propagation.settings import PropagationSettings

Array = NDArray[np.float64]

DENSE_ATOMS = 40
"""Largest structure whose Hessian is made and handed to the members; beyond it relaxations start without one."""
STIFFNESS = 70.0
"""eV/Å², of directions without curvature of their own (translations), as ASE's optimisers assume."""
SOFT = 0.3
"""eV/Å²: curvatures below count as none, so that no step along them is large."""


class RelaxationError(MliuqError):
    """A member did not converge, collapsed or left the basin; the message says which."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A relaxed structure (without calculator), its energy (eV), its Hessian if small, its response if implicit."""

    atoms: Atoms
    energy: float
    hessian: Array | None = None
    response: Response | None = None


def relax(
    atoms: Atoms,
    calculator: Calculator,
    settings: PropagationSettings,
    *,
    cell: CellMode = "fixed",
    start: Relaxed | None = None,
    guess: Atoms | None = None,
) -> Relaxed:
    """Relax a structure.

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
        predicted = _predicted(start, start.response, calculator, cell, guess)
        if predicted is not None:
            _check_basin(predicted.atoms, start.atoms, settings, first=False)
            return predicted
    begin = guess if guess is not None else start.atoms if start is not None else atoms
    moving = begin.copy()
    moving.calc = calculator
    known = None if start is None else start.hessian
    if known is not None and cell == "fixed":
        known = known[: 3 * len(moving), : 3 * len(moving)]
    if settings.relaxer == "lammps" and cell != "isochoric" and not moving.constraints:
        assert isinstance(calculator, WeightsCalculator)
        minimise(moving, calculator.model, cell=cell, fmax=settings.fmax, steps=settings.steps)
    _optimise(moving, settings, cell, known)
    if guess is None or start is not None:
        _check_basin(moving, begin if start is None else start.atoms, settings, first=start is None)
    energy = float(moving.get_potential_energy())
    if known is None and start is None and len(moving) <= DENSE_ATOMS and not moving.constraints:
        known = hessian(moving, cell)
    response = None
    if settings.engine == "implicit" and start is None and not moving.constraints and cell != "isochoric":
        assert isinstance(calculator, WeightsCalculator)
        assert calculator.members is not None
        response = respond(moving, calculator, calculator.members, cell=cell, hessian=known)
    moving.calc = None
    return Relaxed(moving, energy, known, response)


def _predicted(
    start: Relaxed, response: Response, calculator: Calculator, cell: CellMode, guess: Atoms | None
) -> Relaxed | None:
    """The relaxed structure of other weights by the implicit engine; None where it has nothing to say."""
    assert isinstance(calculator, WeightsCalculator)
    theta = calculator.model.theta.ravel()
    n = len(start.atoms)
    if guess is None:
        energy, moves = response.predict(theta)
        stretch = np.eye(3)
        if cell == "free":
            stretch = stretch + strain_matrix(moves[3 * n :] / n)
    else:
        stretch = np.linalg.solve(start.atoms.cell.array, guess.cell.array)
        if cell != "fixed" or response.imposed is None or np.abs(stretch - stretch.T).max() > 1e-8:
            return None
        strain = stretch - np.eye(3)
        voigt = np.array([*np.diag(strain), 2 * strain[1, 2], 2 * strain[0, 2], 2 * strain[0, 1]])
        energy, moves = response.predict(theta, voigt)
    atoms = start.atoms.copy()
    atoms.positions += moves[: 3 * n].reshape(-1, 3)
    return Relaxed(deformed(atoms, stretch), energy)


def _optimise(atoms: Atoms, settings: PropagationSettings, cell: CellMode, known: Array | None) -> None:
    """Run ASE's optimiser; raise when it does not converge.

    With a Hessian of the neighbourhood BFGS is a quasi-Newton method that needs a handful of steps. Without one the
    same optimiser is used for small structures, and one that keeps no matrix for large ones.
    """
    target = coordinates(atoms, cell)
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


def shortest_distance(atoms: Atoms) -> float:
    """Of any two atoms or images, Å; infinite for a single atom without neighbours within 8 Å."""
    (distances,) = NeighborList(cutoff=8.0, full_list=False, n_threads=1).compute(
        atoms.positions, atoms.cell.array, atoms.pbc, "d"
    )
    return float(distances.min()) if len(distances) else np.inf


def _check_basin(after: Atoms, before: Atoms, settings: PropagationSettings, *, first: bool) -> None:
    """Raise when a relaxed structure is no longer what it started from."""
    unit = shortest_distance(before)
    closest = shortest_distance(after) if np.isfinite(after.positions).all() else np.nan
    if not closest >= settings.min_distance * unit:
        allowed = f"{settings.min_distance:g} × {unit:.2f} Å"
        raise RelaxationError(f"collapsed: atoms {closest:.2f} Å apart, expected at least {allowed}")
    if first:
        return  # the best fit may move as far as it likes from a guessed structure
    if after.pbc.any():
        stretch = np.linalg.solve(before.cell.complete().array, after.cell.complete().array)
        strain = 0.5 * np.log(np.linalg.eigvalsh(stretch @ stretch.T))
        if np.abs(strain).max() > settings.max_strain:
            raise RelaxationError(
                f"left the basin: strained by {np.abs(strain).max():.2f}, expected at most {settings.max_strain:g}"
            )
    moves = after.positions - before.positions @ (stretch if after.pbc.any() else np.eye(3))
    moves = find_mic(moves - moves.mean(axis=0), after.cell, after.pbc)[0]
    largest = float(np.linalg.norm(moves, axis=1).max())
    if largest > settings.max_displacement * unit:
        allowed = f"{settings.max_displacement:g} × {unit:.2f} Å"
        raise RelaxationError(f"left the basin: an atom moved by {largest:.2f} Å, expected at most {allowed}")
