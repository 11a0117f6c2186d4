"""A prior that protects: what no row of the data speaks of answers small displacements sanely.

Data of few kinds leave combinations of weights open: cells of one shape at several volumes have no force at all, so
that nothing says what a displaced atom feels, and least squares answers with weights of 1e7.  The prior is stated where
everybody has an opinion, on displaced and strained copies of the training structures: forces are of the order of
τ_F (the root mean square force of the data, 1 eV/Å at least), and the energy of an atom is that of its element, from a
regression of energies on compositions, ± τ_E.  With n_v rows x_v of a kind,

    loss + t σ² P Σ_kinds Σ_v (x_v·θ − y_v)²/(n_v τ²),       σ² = variance of a residual of weight one,

under which, at t = 1, their prior variance is of the order of τ²: each combination of weights gets what one such number
is worth.  σ² knows nothing of what the form of the model cannot describe, so t may be larger: the smallest up to 10⁶
whose left-out errors are within `TOLERANCE` of the least (closed form along t, as in `mliuq.regression.balance`).

Where the data say more than the prior at t = 1 along every combination, it is left out, and a fit is what it is
without.  What it holds has its own spread, not that of the data (`Protection.applied`).
How energy is shared between elements at one composition moves no force and no energy that was seen.  That has the
prior's spread, too, for a cell of another composition, but it is kept apart (`Shared`): bars of single atoms leave it
out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.linalg import qr

from mliuq.descriptor.bispectrum import atomic_rows, descriptors, design_rows
from mliuq.descriptor.params import SnapParams
from mliuq.regression.balance import CONVERGED, NUMBERS, LeftOutLine, sampled, score
from mliuq.regression.distributed import Team
from mliuq.regression.rows import ENERGY, FORCE, Floats, RowSource, RowTable
from mliuq.regression.solver import solve_triangle, stacked

DISPLACEMENT = 0.1  # Å, standard deviation of each coordinate
STRAIN = 0.03
CELL = 16  # atoms, about, to which smaller cells are repeated
FORCE_SCALE = 1.0  # eV/Å, τ_F where the data hold no larger forces
ENERGY_SCALE = 3.0  # eV, τ_E
SILENT = 0.1  # share of forces in what the prior holds along a move below which it only shares energy between atoms
ENOUGH = 0.5  # share of what is known along a combination that must come from the data for the prior to stay out
ALONE = 0.9  # share of the prior from which on the data have no say in the spread
ROWS = 2  # force rows for each weight
DECADES = 6
TOLERANCE = 0.02  # nats of Σ ln RMSE


@dataclass(frozen=True)
class DisplacedRows:
    """Rows of displaced and strained copies of structures.

    Attributes
    ----------
    forces : (n, P) of force components
    energies : (n_atoms, P) of energies of single atoms
    expected : (n_atoms,) those energies by a regression on compositions, eV
    """

    forces: Floats
    energies: Floats
    expected: Floats


@dataclass(frozen=True)
class Shared:
    """How members share energy between atoms where no row can tell: the part coefficients @ moves of their moves.

    Attributes
    ----------
    moves : (k, P) of one standard deviation each
    coefficients : (M, k)
    """

    moves: Floats
    coefficients: Floats


@dataclass(frozen=True)
class Protection:
    """What the prior does in a fit.

    Attributes
    ----------
    triangle : (P + 1, P + 1) triangular factor of the prior's weighted rows [x y]; None: the data do without
    lent : number of weights the prior determines rather than the data, the trace of its hat matrix
    axes : (P, m) moves that the prior all but alone holds, orthonormal in the metric of the fit
    spread : (P, k) moves of the weights, one standard deviation each, along what the prior holds and forces feel
    sharing : (P, s) the same, along what only shares energy between atoms
    free : weights that a ridge of largest evidence leaves free, see `mliuq.regression.evidence.Evidence`
    """

    triangle: Floats | None = None
    lent: float = 0.0
    axes: Floats | None = None
    spread: Floats | None = None
    sharing: Floats | None = None
    free: tuple[int, ...] = ()

    def applied(self, moves: Floats, factor: Floats, seed: int) -> Floats:
        """Return members' moves (M, P) with the prior's spread in place of the data's along what the prior holds.

        Parameters
        ----------
        factor : (P, P) R of the fit, A = RᵀR
        seed : of the draw
        """
        if self.axes is None or self.spread is None or not len(moves):
            return moves
        data_only = moves - (moves @ factor.T) @ (factor @ self.axes) @ self.axes.T
        draw = np.random.default_rng([seed, self.spread.shape[1]]).standard_normal((len(moves), self.spread.shape[1]))
        felt = np.asarray(data_only + draw @ self.spread.T)
        shared = self.shared(len(moves), seed)
        return felt if shared is None else felt + shared.coefficients @ shared.moves

    def shared(self, n_members: int, seed: int) -> Shared | None:
        """Return the part of `applied` that only shares energy between atoms; None where there is none."""
        if self.sharing is None or not self.sharing.size or not n_members:
            return None
        draw = np.random.default_rng([seed, self.sharing.shape[1], 1]).standard_normal(
            (n_members, self.sharing.shape[1])
        )
        return Shared(np.ascontiguousarray(self.sharing.T), draw)


def displaced_rows(
    structures: Sequence[Atoms], params: SnapParams, table: RowTable, *, seed: int, threads: int = 0
) -> DisplacedRows:
    """Return rows of copies of structures drawn at random, about 2 P of forces."""
    rng = np.random.default_rng(seed)
    wanted = ROWS * params.n_elements * params.n_weights
    copies: list[Atoms] = []
    while 3 * sum(map(len, copies)) < wanted:
        copies.append(_displaced(structures[int(rng.integers(len(structures)))], rng))
    forces = design_rows(copies, params, energy=False, forces=True, stress=False, threads=threads or None)
    of_element = element_energies(structures, params, table)
    energies, expected = [], []
    for atoms in copies:
        own = atomic_rows(descriptors(atoms, params), params.quadraticflag)
        element = np.asarray(params.index_of(list(atoms.symbols)))
        whole = np.zeros((len(atoms), params.n_elements, params.n_weights))
        whole[np.arange(len(atoms)), element] = own
        energies.append(whole.reshape(len(atoms), -1))
        expected.append(of_element[element])
    return DisplacedRows(np.concatenate(forces), np.concatenate(energies), np.concatenate(expected))


def element_energies(structures: Sequence[Atoms], params: SnapParams, table: RowTable) -> Floats:
    """Return the energy of an atom of each element, eV: least squares of energies per atom on compositions.

    What compositions leave open is as near as can be to the mean energy per atom.
    """
    at = np.flatnonzero((table.kind == ENERGY) & (table.config < len(structures)))
    if not len(at):
        return np.zeros(params.n_elements)
    share = np.zeros((len(at), params.n_elements))
    for row, config in enumerate(table.config[at]):
        element = np.asarray(params.index_of(list(structures[config].symbols)))
        share[row] = np.bincount(element, minlength=params.n_elements) / len(element)
    mean = float(np.mean(table.y[at]))
    return np.asarray(mean + np.linalg.lstsq(share, table.y[at] - mean, rcond=1e-6)[0])


def _displaced(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if copy.pbc.all():  # atoms of a small cell cannot move independently of their images
        copy = copy.repeat(max(1, round((CELL / len(copy)) ** (1 / 3))))
    copy.set_cell(copy.cell.array @ (np.eye(3) + rng.normal(scale=STRAIN, size=(3, 3))), scale_atoms=True)
    copy.positions += rng.normal(scale=DISPLACEMENT, size=copy.positions.shape)
    return copy


def protect(
    rows: RowSource,
    triangle: Floats,
    displaced: DisplacedRows,
    *,
    n_configurations: int,
    rcond: float | None = None,
    seed: int = 0,
    team: Team | None = None,
    strengthen: bool = True,
) -> Protection:
    """Return the prior of a fit, or none where the data say more along every combination of weights.

    Parameters
    ----------
    rows, triangle : the weighted rows and their triangular factor (P + 1, P + 1)
    displaced : rows of displaced copies
    n_configurations : configurations from this number on are given, not judged
    strengthen : whether t is chosen, or 1: where no move at all is the best guess, errors are least under the
        strongest prior, which says nothing of what the data determine
    """
    p, table = rows.n_weights, rows.table
    alone = solve_triangle(triangle, table, rcond=rcond, quiet=True)
    least = min(np.mean(table.w[at]) * CONVERGED[k] ** 2 for k in range(3) if (at := table.kind == k).any())
    noise = max(alone.noise_variance, float(least))
    own = table.y[table.kind == FORCE]
    tau = max(FORCE_SCALE, float(np.sqrt(np.mean(own**2))) if len(own) else 0.0)
    forces = np.zeros((len(displaced.forces), p + 1))
    forces[:, :p] = displaced.forces * np.sqrt(noise * p / len(forces)) / tau
    energies = np.column_stack([displaced.energies, displaced.expected])
    energies *= np.sqrt(noise * p / len(energies)) / ENERGY_SCALE
    reduced = np.asarray(qr(np.concatenate([forces, energies]), mode="r")[0][: p + 1])
    prior = np.zeros((p + 1, p + 1))
    prior[: len(reduced)] = reduced
    if not _held(prior, triangle, rows, rcond)[0][0] > ENOUGH:
        return Protection()
    strength = 1.0
    if strengthen:
        sample = (table.config < n_configurations) & sampled(table, NUMBERS // p, seed)
        left_out = LeftOutLine(
            rows, np.zeros(len(table), dtype=np.bool_), table.w, np.ones(len(table)), sample, team or Team()
        )
        left_out.diagonalise((1.0, prior), [(1.0, triangle)])
        strengths = 10.0 ** np.arange(0.0, DECADES + 0.25, 0.5)
        scores = [score(left_out.errors(t)) for t in strengths]
        allowed = [t for t, found in zip(strengths, scores, strict=True) if found <= min(scores) + TOLERANCE]
        strength = min(allowed, default=1.0)
        prior *= np.sqrt(strength)
    share, axes = _held(prior, triangle, rows, rcond)
    spread, sharing = _spread(share, axes, np.sqrt(strength) * forces[:, :p], noise)
    if not (table.kind == ENERGY).any():  # the zero of energies is a matter of convention then
        sharing = sharing[:, :0]
    return Protection(prior, float(share.sum()), axes[:, share > ALONE], spread, sharing)


def _held(prior: Floats, triangle: Floats, rows: RowSource, rcond: float | None) -> tuple[Floats, Floats]:
    """Return the share of the prior in what is known, largest first, and (P, rank) the moves it is the share along."""
    both = solve_triangle(stacked([(1.0, triangle), (1.0, prior)]), rows.table, rcond=rcond, quiet=True)
    _, s, vt = np.linalg.svd(prior[:, :-1] @ both.whitener, full_matrices=False)
    return s**2, np.asarray(both.whitener @ vt.T)


def _spread(share: Floats, axes: Floats, forces: Floats, noise: float) -> tuple[Floats, Floats]:
    """Return the moves (P, k) of one standard deviation along what the prior holds: what forces feel, and the rest.

    In the metric of the fit a move has variance noise·share; along what the prior holds that is the prior's own.
    """
    held = share > ENOUGH
    _, felt, turn = np.linalg.svd(forces @ axes[:, held], full_matrices=False)
    turned = axes[:, held] @ turn.T
    moves = np.asarray(np.sqrt(noise) * turned)
    return moves[:, felt**2 > SILENT], moves[:, felt**2 <= SILENT]
