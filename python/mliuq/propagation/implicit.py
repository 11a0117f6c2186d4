"""Implicit derivatives: how relaxed structures and their energies follow the weights, without relaxing again.

At the best fit's stationary structure z* (positions and, where the cell is free, strain) the energy of other weights
θ* + δ is, to second order in δ and the displacement u of the coordinates,

    E(δ, u) = E* + e·δ − (R δ)·u + ½ u·H u        e: energy row, R: force rows, H: Hessian of the best fit

so that the structure moves by u = H⁻¹ R δ and the relaxed energy is E* + e·δ − ½ (R δ)·H⁻¹ (R δ), exact to second
order in δ. Rows are exact, for the model is linear in its weights.

Small structures: H is made, by differences of forces, and u = V (VᵀHV)⁻¹ Vᵀ R δ in the space V of its eigenvectors
without the translations. Large ones: the same formula in a small space V that all members share (`_shared_space`),
which costs one evaluation of forces for each of its directions, and leaves out a stated share of the members'
relaxation energy.

Where second order is not enough, a few quasi-Newton steps of each member from its predicted structure (`correct`) go
on from there, one evaluation each.

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
from numpy.typing import NDArray
from scipy.sparse import csc_array, diags_array
from scipy.sparse.linalg import splu
from vesin import NeighborList

from mliuq.descriptor.bispectrum import design_rows
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError
from mliuq.propagation.calculator import WeightsCalculator
from mliuq.propagation.continuation import KEPT, ratio, secant
from mliuq.propagation.coordinates import CellCoordinates, CellMode
from mliuq.propagation.coordinates import hessian as differences
from mliuq.propagation.symmetry import Symmetry

Array = NDArray[np.float64]

DENSE_ATOMS = 60
"""Up to so many atoms the Hessian is made as a matrix."""
DISPLACEMENT = 1e-5  # Å, the largest, of differences of forces
LEFT_OUT = 1e-3  # share of the members' relaxation energy
BLOCK = 0.3  # directions of a residual that are followed at once: those of at least this share of the largest
SETTLED, ASTRAY, LOST = 1e-5, 1e-2, 0.7
"""What corrections leave of the relaxation energy that was predicted: enough, too much at the end, too much at any."""
MOST_DIRECTIONS = 300  # of the shared space; beyond it the structure is taken not to be a stationary one
STRAIN = 1e-4  # of differences of forces and stress by strain
FLAT = 1e-3  # eV/Å²: curvatures below are those of translations


@dataclass(frozen=True, eq=False)
class StrainTerms:
    """What a strain imposed on a cell that is held adds: Vᵀ B (r, 6), s (6,), C (6, 6), T (P, 6), eV and Å."""

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
    basis : (n, r) V, orthonormal directions of the coordinates of `coordinates`
    forces : (r, P) Vᵀ R
    softness : (r, r) (Vᵀ H V)⁻¹
    error : share of the members' relaxation energy that the r directions leave out, estimated
    imposed : in a cell that is held
    """

    theta: Array
    energy: float
    energy_row: Array
    basis: Array
    forces: Array
    softness: Array
    error: float
    imposed: StrainTerms | None = None

    @property
    def directions(self) -> int:
        """Number r of directions that the structure moves in."""
        return int(self.basis.shape[1])

    def pull(self, theta: Array, strain: Array | None = None) -> Array:
        """Forces of other weights on the best fit's structure under an imposed strain (Voigt), along V: (r,), eV/Å."""
        pull = self.forces @ (theta - self.theta)
        if strain is not None:
            pull = pull + self._imposed().forces @ strain
        return np.asarray(pull)

    def predict(self, theta: Array, strain: Array | None = None) -> tuple[float, Array]:
        """Energy (eV) and displacement of the coordinates (n,) for weights, under an imposed strain (Voigt)."""
        delta = theta - self.theta
        pull = self.pull(theta, strain)
        energy = self.energy + self.energy_row @ delta
        if strain is not None:
            imposed = self._imposed()
            energy += (imposed.slope + 0.5 * imposed.stiffness @ strain + delta @ imposed.weights) @ strain
        step = self.softness @ pull
        return float(energy - 0.5 * pull @ step), np.asarray(self.basis @ step)

    def slope(self, theta: Array, strain: Array) -> Array:
        """Derivative of the energy by the imposed strain (6,), eV, to first order in both."""
        imposed = self._imposed()
        held = imposed.slope + imposed.stiffness @ strain + (theta - self.theta) @ imposed.weights
        return np.asarray(held - imposed.forces.T @ (self.softness @ self.pull(theta, strain)))

    def _imposed(self) -> StrainTerms:
        if self.imposed is None:
            raise MliuqError("implicit: a strain was imposed on a structure whose cell is free")
        return self.imposed


def respond(
    atoms: Atoms,
    calculator: WeightsCalculator,
    members: Array,
    *,
    cell: CellMode = "fixed",
    tolerance: float = LEFT_OUT,
    hessian: Array | None = None,
    symmetry: Symmetry | None = None,
) -> Response:
    """Derivatives of a stationary structure, a minimum or a saddle point.

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
    tolerance : share of the members' relaxation energy that may be left out in large structures
    hessian : (n, n), optional
        In the coordinates of `CellCoordinates` (free) or of positions (fixed), where it is known.
    symmetry : Symmetry, optional
        That members keep.
    """
    at = atoms.copy()
    at.calc = calculator
    n = len(at)
    theta = calculator.model.theta.ravel()
    energy = float(at.get_potential_energy())
    row_e, rows, rows_s = _rows(at, calculator.model.params)
    if cell == "free":
        rows = np.vstack([rows, -at.get_volume() * rows_s / n])  # the strain coordinate is strain × N
    B = None
    if cell == "fixed" and at.pbc.all():
        B, slope, stiffness = _strain_terms(at)
        by_weights = at.get_volume() * rows_s.T
    if n <= DENSE_ATOMS or hessian is not None:
        kept = None if symmetry is None else symmetry.directions(cell)
        if hessian is None:
            H = differences(at, cell, directions=kept)
        else:
            H = hessian if kept is None else kept.T @ hessian @ kept
        omega, axes = np.linalg.eigh(H)
        stiff = np.abs(omega) > FLAT
        V, softness, error = (axes if kept is None else kept @ axes)[:, stiff], np.diag(1.0 / omega[stiff]), 0.0
    elif cell == "fixed":
        # The members' deviations are Q L with L of min(P, M) rows: R Lᵀ stands for all their forces.
        factor: Array = np.asarray(np.linalg.qr(members.reshape(len(members), -1) - theta, mode="r"))
        pulls = rows @ factor.T
        if B is not None:  # in cells as they are, and in cells strained to each member's own zero of stress
            strains = -np.linalg.lstsq(stiffness, by_weights.T @ factor.T, rcond=None)[0]
            pulls = np.hstack([pulls, B @ strains])
        V, softness, error = _shared_space(at, pulls, calculator.model.params.cutoff, tolerance)
    else:
        raise MliuqError(f"implicit: a free cell of {n} atoms, expected at most {DENSE_ATOMS}")
    imposed = None if B is None else StrainTerms(V.T @ B, slope, stiffness, by_weights)
    return Response(theta, energy, row_e, V, V.T @ rows, softness, error, imposed)


def correct(
    response: Response, evaluate: Callable[[Array], tuple[float, Array]], pull: Array, steps: int
) -> tuple[float, Array] | None:
    """Quasi-Newton steps from the predicted structure along the directions of a response.

    The best fit's curvature is updated by what each step finds (BFGS); the forces before the first step are known.

    Parameters
    ----------
    response : Response
        Of the best fit.
    evaluate : callable
        Energy (eV) and forces (n,) by the weights in question at a displacement (n,) of the coordinates.
    pull : (r,) forces at the best fit's structure, see `Response.pull`
    steps : how many at most, one evaluation each, at least one

    Returns
    -------
    Energy at the minimum of the last parabola, eV, and the displacement there (n,). None when a hundredth of the energy
    that relaxation was predicted to give is still to come (a tenth of the way, before the last step), or the curvature
    along a step has all but vanished: such a member is too far away for this.
    """
    softness, energy, left = response.softness, np.nan, 1.0
    step = place = softness @ pull
    if not step.any():  # held by its symmetry, or weights that differ where this structure does not feel it
        return float(evaluate(response.basis @ place)[0]), np.asarray(response.basis @ place)
    first = max(abs(float(pull @ step)), 1e-300)
    for _ in range(steps):
        energy, forces = evaluate(response.basis @ place)
        remaining = response.basis.T @ forces
        if ratio(softness, step, pull - remaining) < KEPT:
            return None
        softness = secant(softness, step, pull - remaining)
        pull, step = remaining, softness @ remaining
        place = place + step
        left = abs(float(pull @ step)) / first
        if left < SETTLED or left > LOST:
            break
    if left > ASTRAY:
        return None
    return float(energy - 0.5 * pull @ step), np.asarray(response.basis @ place)


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


def _shared_space(atoms: Atoms, pulls: Array, reach: float, tolerance: float) -> tuple[Array, Array, float]:
    """A space V in which H u = f is solved for all forces f = columns of pulls at once (Galerkin).

    In V the solution is u = V (VᵀHV)⁻¹ Vᵀ f, and f·u falls short of f·H⁻¹f by r·H⁻¹r with the residual r = f − H u.
    With a preconditioner K ≈ H up to a factor, V starts as the leading directions of K⁻¹ f over all f and is widened by
    those of K⁻¹ r, until the sum of r·K⁻¹r is no more than a share of the sum of f·u: a Krylov space of blocks, that
    every f gains from. Each direction costs one evaluation of forces, H v being a difference of forces.

    Returns
    -------
    V : (n, r), orthonormal
    softness : (r, r) (VᵀHV)⁻¹
    left : share of f·H⁻¹f left out, all f together
    """
    springs = _springs(atoms, reach)
    solve = splu(springs).solve
    product = _hessian_products(atoms)
    pulls = _still(pulls)
    ways = eased = _still(_each_axis(solve, pulls))  # K⁻¹ f; of residuals, K⁻¹ r
    V = W = eased_W = np.zeros((len(pulls), 0))
    softness = np.zeros((0, 0))
    residual, relaxation, factor = pulls, 0.0, 1.0
    while True:
        sizes, mix = np.linalg.eigh(residual.T @ ways)
        missing = factor * float(sizes.sum())
        left = missing / max(relaxation + missing, 1e-300)
        if left <= tolerance:
            return V, softness, left
        if V.shape[1] >= MOST_DIRECTIONS:
            raise MliuqError(
                f"implicit: {left:.2g} of the relaxation energy is missing after {V.shape[1]} directions, expected "
                f"{tolerance:g}; is the structure relaxed?"
            )
        fresh = ways @ mix[:, sizes > BLOCK * sizes[-1]]
        for _ in range(2):  # once leaves rounding
            fresh = np.linalg.qr(fresh - V @ (V.T @ fresh))[0]
        turned = product(fresh)
        V, W = np.hstack([V, fresh]), np.hstack([W, turned])
        eased_W = np.hstack([eased_W, _still(_each_axis(solve, turned))])
        stiffness = V.T @ W
        omega, axes = np.linalg.eigh(0.5 * (stiffness + stiffness.T))
        softness = (axes / omega) @ axes.T
        along = V.T @ pulls
        solved = softness @ along
        residual, ways = pulls - W @ solved, eased - eased_W @ solved
        relaxation = float(np.sum(np.square(axes.T @ along).T / np.abs(omega)))
        factor = float(np.sum(V * _each_axis(springs.dot, V))) / float(np.abs(omega).sum())  # of H⁻¹ over K⁻¹


def _each_axis(apply: Callable[[Array], Array], vectors: Array) -> Array:
    """An operator on N values applied to the x, y and z of columns of 3 N."""
    return apply(vectors.reshape(-1, 3 * vectors.shape[1])).reshape(vectors.shape)


def _still(vectors: Array) -> Array:
    """Columns without the translations."""
    each = vectors.reshape(-1, 3, vectors.shape[1])
    return np.asarray((each - each.mean(axis=0)).reshape(vectors.shape))


def _hessian_products(atoms: Atoms) -> Callable[[Array], Array]:
    """H v for columns v, by one-sided differences of forces."""
    at = atoms.copy()
    at.calc = atoms.calc
    centre = at.get_forces().ravel()

    def product(vectors: Array) -> Array:
        columns = np.empty_like(vectors)
        for k, v in enumerate(vectors.T):
            step = DISPLACEMENT / np.abs(v).max()
            at.positions = atoms.positions + step * v.reshape(-1, 3)
            columns[:, k] = (centre - at.get_forces().ravel()) / step
        return _still(columns)

    return product


def _springs(atoms: Atoms, reach: float) -> Any:
    """Sparse (N, N): springs between near atoms (within reach Å), alike in x, y and z, exp(−3 (r / r_min − 1)) stiff.

    D. Packwood, J. Kermode, L. Mones, N. Bernstein, J. Woolley, N. Gould, C. Ortner, G. Csányi, J. Chem. Phys. 144,
    164109 (2016).
    """
    n = len(atoms)
    i, j, d = NeighborList(cutoff=reach, full_list=True, n_threads=1).compute(
        atoms.positions, atoms.cell.array, atoms.pbc, "ijd"
    )
    shortest = d.min(initial=reach)
    near = d < 1.5 * shortest
    i, j, stiff = i[near], j[near], np.exp(-3.0 * (d[near] / shortest - 1.0))
    coupling = csc_array((stiff, (i, j)), shape=(n, n))
    held = np.bincount(i, stiff, n)
    # A weak spring to where each atom is keeps the matrix regular; what it does to translations is projected out.
    return diags_array(held + 1e-4 * max(held.mean(), 1.0), format="csc") - coupling
