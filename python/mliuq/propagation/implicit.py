"""Implicit derivatives: how relaxed structures and their energies follow the weights, without relaxing again.

At the best fit's stationary structure z* (positions and, where the cell is free, strain) the energy of other weights
θ* + δ is, to second order in δ and the displacement u of the coordinates,

    E(δ, u) = E* + e·δ − (R δ)·u + ½ u·H u        e: energy row, R: force rows, H: Hessian of the best fit

so that the structure moves by u = H⁻¹ R δ and the relaxed energy is E* + e·δ − ½ (R δ)·H⁻¹ (R δ), exact to second
order in δ. Rows are exact, for the model is linear in its weights. H is solved for, not inverted: densely where it is
small, else by conjugate gradients on differences of forces, preconditioned.

How many solves: the forces R δ_m of all members span at most min(P, M, coordinates) directions; they are solved for
along the left singular vectors U of that matrix, and the smallest are left out as long as no more than a stated share
of the members' forces (Frobenius norm) is lost.

In a cell that is held, a strain ε imposed on it (a supercell that follows each member's own lattice) enters as the
weights do: forces B ε, energy s·ε + ½ ε·C ε + δ·T ε.

References
----------
I. Maliyov, P. Grigorev, T. D. Swinburne, npj Comput. Mater. 11, 22 (2025), for isotropic strain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.optimize.precon import Exp
from numpy.typing import NDArray
from scipy.linalg import svd
from scipy.sparse.linalg import LinearOperator, cg, minres, splu

from mliuq.descriptor.bispectrum import design_rows
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError
from mliuq.propagation.calculator import WeightsCalculator
from mliuq.propagation.coordinates import CellCoordinates, CellMode
from mliuq.propagation.coordinates import hessian as full_hessian

Array = NDArray[np.float64]

DENSE_ATOMS = 60
"""Up to so many atoms the Hessian is made as a matrix."""
DISPLACEMENT = 2e-4  # Å, the largest, of differences of forces
SOLVED = 5e-3  # residual of a linear system, relative; energies feel its square
STRAIN = 1e-4  # of differences of forces and stress by strain
FLAT = 1e-3  # eV/Å²: curvatures below are those of translations


@dataclass(frozen=True, eq=False)
class StrainTerms:
    """What a strain imposed on a cell that is held adds: Uᵀ B (r, 6), s (6,), C (6, 6), T (P, 6), eV and Å."""

    forces: Array
    slope: Array
    stiffness: Array
    weights: Array


@dataclass(frozen=True, eq=False)
class Response:
    """How one relaxed structure follows the weights.

    Attributes
    ----------
    theta : (P,) best-fit weights
    energy : E*, eV
    energy_row : (P,) e
    forces : (r, P) Uᵀ R
    moves : (n, r) H⁻¹ U, of the coordinates of `coordinates`
    softness : (r, r) Uᵀ H⁻¹ U
    error : share of the members' forces (Frobenius norm) that the r directions leave out
    imposed : in a cell that is held
    """

    theta: Array
    energy: float
    energy_row: Array
    forces: Array
    moves: Array
    softness: Array
    error: float
    imposed: StrainTerms | None = None

    @property
    def solves(self) -> int:
        """Number of linear systems that were solved."""
        return int(self.moves.shape[1])

    def predict(self, theta: Array, strain: Array | None = None) -> tuple[float, Array]:
        """Energy (eV) and displacement of the coordinates (n,) for weights, under an imposed strain (Voigt)."""
        delta = theta - self.theta
        pull = self.forces @ delta
        energy = self.energy + self.energy_row @ delta
        if strain is not None:
            if self.imposed is None:
                raise MliuqError("implicit: a strain was imposed on a structure whose cell is free")
            pull = pull + self.imposed.forces @ strain
            energy += (self.imposed.slope + 0.5 * self.imposed.stiffness @ strain) @ strain
            energy += delta @ self.imposed.weights @ strain
        return float(energy - 0.5 * pull @ self.softness @ pull), np.asarray(self.moves @ pull)


def respond(
    atoms: Atoms,
    calculator: WeightsCalculator,
    members: Array,
    *,
    cell: CellMode = "fixed",
    tolerance: float = 1e-2,
    hessian: Array | None = None,
    saddle: bool = False,
) -> Response:
    """Derivatives of a stationary structure.

    Parameters
    ----------
    atoms : Atoms
        Relaxed by the best fit.
    calculator : WeightsCalculator
        Of the best fit.
    members : (M, P)
        Their weights: what directions matter.
    cell : {"fixed", "free"}
        Whether the cell was relaxed.
    tolerance : share of the members' forces that may be left out
    hessian : (n, n), optional
        In the coordinates of `CellCoordinates` (free) or of positions (fixed), where it is known.
    saddle : bool
        The structure is a saddle point: H has a negative eigenvalue.
    """
    at = atoms.copy()
    at.calc = calculator
    theta = calculator.model.theta.ravel()
    energy = float(at.get_potential_energy())
    row_e, rows, rows_s = _rows(at, calculator.model.params)
    spread = members.reshape(len(members), -1) - theta
    n = len(at)
    B = None
    if cell == "free":
        rows = np.vstack([rows, -at.get_volume() * rows_s / n])  # the strain coordinate is strain × N
    # The members' forces R Δᵀ and R Lᵀ, with Δ = Q L their factor, have the same left singular vectors and values.
    factor: Array = np.asarray(np.linalg.qr(spread, mode="r"))
    pulls = rows @ factor.T
    if cell == "fixed" and at.pbc.all():
        B, slope, stiffness = _strain_terms(at)
        # Imposed strains are not known yet: a per cent in each direction counts as one member each.
        pulls = np.hstack([pulls, 0.01 * np.sqrt(len(spread)) * B])
    # Symmetry leaves few directions: LAPACK's divide and conquer has failed on such ranks, QR iterations do not.
    U, sizes, _ = svd(pulls, full_matrices=False, lapack_driver="gesvd")
    lost = np.sqrt(np.append(np.cumsum(sizes[::-1] ** 2)[::-1], 0.0)) / max(np.linalg.norm(sizes), 1e-300)
    rank = int(np.argmax(lost <= tolerance))
    U = U[:, :rank]
    moves = _solver(at, cell, hessian, saddle)(U)
    imposed = None if B is None else StrainTerms(U.T @ B, slope, stiffness, at.get_volume() * rows_s.T)
    return Response(theta, energy, row_e, U.T @ rows, moves, U.T @ moves, float(lost[rank]), imposed)


def _rows(atoms: Atoms, params: SnapParams) -> tuple[Array, Array, Array]:
    """Energy row of the whole cell (P,), force rows (3 N, P), stress rows (6, P; none without a volume)."""
    periodic = abs(np.linalg.det(atoms.cell.array)) > 0
    (rows,) = design_rows([atoms], params, stress=periodic)
    n = 3 * len(atoms)
    return rows[0] * len(atoms), rows[1 : n + 1], rows[n + 1 :]


def _strain_terms(atoms: Atoms) -> tuple[Array, Array, Array]:
    """∂F/∂ε (3 N, 6), ∂E/∂ε (6,), ∂²E/∂ε² (6, 6) with the atoms carried along, by central differences."""
    at = atoms.copy()
    at.calc = atoms.calc
    target = CellCoordinates(at, "free")
    n = len(at)
    x = target.get_positions()
    slope = -target.get_forces()[-2:].ravel() * n
    columns = []
    for k in range(6):
        pair = []
        for sign in (1.0, -1.0):
            moved = x.copy()
            moved[-2:].flat[k] += sign * STRAIN * n
            target.set_positions(moved)
            pair.append(target.get_forces().ravel())
        columns.append((pair[0] - pair[1]) / (2 * STRAIN))
    table = np.array(columns).T
    stiffness = -n * table[3 * n :]
    return table[: 3 * n], slope, 0.5 * (stiffness + stiffness.T)


def _solver(atoms: Atoms, cell: CellMode, known: Array | None, saddle: bool) -> Callable[[Array], Array]:
    """H⁻¹ without the directions that cost nothing."""
    if len(atoms) <= DENSE_ATOMS or known is not None:
        at = atoms.copy()
        at.calc = atoms.calc
        omega, axes = np.linalg.eigh(full_hessian(at, cell) if known is None else known)
        inverse = np.where(np.abs(omega) > FLAT, 1.0, 0.0) / np.where(np.abs(omega) > FLAT, omega, 1.0)
        return lambda right: np.asarray((axes * inverse) @ (axes.T @ right))
    if cell != "fixed":
        raise MliuqError(f"implicit: a free cell of {len(atoms)} atoms, expected at most {DENSE_ATOMS}")
    return lambda right: _krylov(atoms, right, saddle)


def _krylov(atoms: Atoms, right: Array, saddle: bool) -> Array:
    """Conjugate gradients (MINRES at saddle points) on differences of forces."""
    at = atoms.copy()
    at.calc = atoms.calc
    n = 3 * len(at)
    centre = at.get_forces().ravel()

    def still(v: Array) -> Array:
        return np.asarray((v.reshape(-1, 3) - v.reshape(-1, 3).mean(axis=0)).ravel())

    def product(v: Array) -> Array:
        size = np.abs(v).max()
        if size == 0:
            return np.zeros(n)
        at.positions = atoms.positions + (DISPLACEMENT / size) * v.reshape(-1, 3)
        return still((centre - at.get_forces().ravel()) * (size / DISPLACEMENT))

    precondition = _preconditioner(atoms)
    solve = minres if saddle else cg
    solutions = []
    for b in right.T:
        found, info = solve(
            LinearOperator((n, n), product), still(b), rtol=SOLVED, maxiter=200,
            M=LinearOperator((n, n), lambda v: still(precondition(still(v)))),
        )  # fmt: skip
        if info != 0:
            raise MliuqError("implicit: conjugate gradients did not converge in 200 steps; is the structure relaxed?")
        solutions.append(still(found))
    return np.array(solutions).T


def _preconditioner(atoms: Atoms) -> Callable[[Array], Array]:
    """Springs between neighbours, stiffness falling off exponentially (ASE's Exp), factorised once."""
    precon: Any = Exp(A=3.0, mu=1.0)
    precon.make_precon(atoms)
    solve: Callable[[Array], Array] = splu(precon.P.tocsc()).solve
    return solve
