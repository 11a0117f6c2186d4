"""The balance of energies, forces and stress, chosen by errors on what was left out.

Constants c_k multiply the weights of the rows of kind k.  The best ones minimise

    Σ_k ln RMSE_k(c),      RMSE_k over leave-one-configuration-out residuals of the fit with c:

halving the error of one kind is worth doubling that of another, whatever their units; below what a reference is
converged to (`CONVERGED`) nothing is gained any more.  No trial refits anything.  One
factor (TSQR) is kept for each kind.  For the search along one constant, A = t A_k + A_rest is diagonal for every t in
one basis V (a generalised singular value decomposition from the factors, never from normal equations):

    VᵀA_kV = diag(g),  VᵀA_restV = diag(1 − g),      A(t)⁻¹ = V diag(1 / (1 − g + t g)) Vᵀ

so that a trial costs a rescaling of z = xV and the small leave-one-out systems of the configurations.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svd

from mliuq.regression.distributed import Progress, Team
from mliuq.regression.loco import left_out_residuals
from mliuq.regression.rows import FORCE, KINDS, Floats, RowSource, RowTable, SubsetRows
from mliuq.regression.solver import solve_triangle, stacked, triangularise

log = logging.getLogger(__name__)

#: Numbers z held for the search; beyond, configurations are drawn at random (150,000 rows of 56 weights).
NUMBERS = 1 << 23
#: eV/atom, eV/Å, eV/Å³: no reference is trusted to be better converged.
CONVERGED = (5e-4, 1e-2, 1e-4)
_NEGLIGIBLE = 1e-12  # part of the mean leverage below which a row is zero by symmetry and tells nothing of weights
BELOW, ABOVE = 3, 5  # decades searched about equal shares of the squared targets
STEPS = 8  # to a decade
_ROUNDS = 3  # of searches along one constant each, where there are several


@dataclass(frozen=True)
class Balance:
    """Constants of the weights of each kind of row.

    Attributes
    ----------
    constants : kind → constant, for the kinds that were to be chosen; two significant digits
    left_out : kind → RMSE of left-out residuals at the choice, over the configurations looked at; empty where there was
        nothing to weigh against each other
    configurations : number of configurations looked at
    """

    constants: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, float] = field(default_factory=dict)
    configurations: int = 0

    def applied(self, table: RowTable, free: NDArray[np.bool_]) -> Floats:
        """Return the weights (n,) of the rows with the constants in place: those of `free` rows are multiplied."""
        factor = np.array([self.constants.get(name, 1.0) for name in KINDS])
        return np.asarray(table.w * np.where(free, factor[table.kind], 1.0))


def choose_balance(
    rows: RowSource,
    constants: Floats,
    *,
    n_configurations: int | None = None,
    seed: int = 0,
    numbers: int = 0,
    team: Team | None = None,
    progress: Progress | None = None,
) -> Balance:
    """Find the constants that minimise Σ ln RMSE of left-out residuals.

    Where no other rows are there to be weighed against, forces (without them: the first kind) keep the constant 1.

    Parameters
    ----------
    rows : the linear problem; weights of rows to be balanced have constant 1
    constants : (n,) the constant in the weight of each row, NaN where it is to be chosen; the errors of rows are
        averaged with their weights less this constant
    n_configurations : configurations from this number on (given one-body energies) are in every fit and never judged
    seed : of the draw of configurations where there are many
    numbers : of the design matrix that the search may hold; 2²³ when 0
    """
    team, table = team or Team(), rows.table
    free = np.isnan(constants)
    kinds = [kind for kind in range(len(KINDS)) if np.any(free & (table.kind == kind))]
    judged = table.config < (np.inf if n_configurations is None else n_configurations)
    chosen = dict.fromkeys(kinds, 1.0)
    searched = list(kinds)
    if kinds and free[judged].all():
        searched.remove(FORCE if FORCE in kinds else kinds[0])
    if not searched:
        return Balance({KINDS[kind]: 1.0 for kind in kinds})
    groups = {kind: free & (table.kind == kind) for kind in kinds}
    factors = {kind: triangularise(SubsetRows(rows, own), team, progress, "balance") for kind, own in groups.items()}
    fixed = [] if free.all() else [triangularise(SubsetRows(rows, ~free), team, progress, "balance")]
    measure = table.w / np.where(free, 1.0, np.where(constants > 0.0, constants, 1.0))
    sample = judged & sampled(table, (numbers or NUMBERS) // rows.n_weights, seed)
    even = _even_shares(table, {kind: groups[kind] for kind in searched}, judged)
    chosen |= even
    best: dict[int, float] = {}
    for _ in range(1 if len(searched) == 1 else _ROUNDS):
        before = dict(chosen)
        for kind in searched:
            now = Balance({KINDS[k]: c for k, c in chosen.items()})
            others = [(chosen[k], factors[k]) for k in kinds if k != kind] + [(1.0, f) for f in fixed]
            line = LeftOutLine(rows, groups[kind], now.applied(table, free), measure, sample, team)
            line.diagonalise((chosen[kind], factors[kind]), others)
            chosen[kind], best = _search(line, chosen[kind], even[kind])
        if chosen == before:
            break
    names = {KINDS[kind]: error for kind, error in best.items()}
    balance = Balance({KINDS[k]: c for k, c in chosen.items()}, names, len(np.unique(table.config[sample])))
    log.info("balance: %s, left-out RMSE %s", balance.constants, balance.left_out)
    return balance


class LeftOutLine:
    """Left-out errors along one constant: t times the rows of one group, the others as they are."""

    def __init__(
        self,
        rows: RowSource,
        group: NDArray[np.bool_],
        weights: Floats,
        measure: Floats,
        sample: NDArray[np.bool_],
        team: Team,
    ) -> None:
        self.rows, self.group, self.weights, self.measure = rows, group, weights, measure
        self.sample, self.team = sample, team
        self.share: Floats = np.zeros(0)
        self.own: Floats = np.zeros(0)
        self.rest: Floats = np.zeros(0)
        self._z: list[Floats] = []

    def diagonalise(self, group: tuple[float, Floats], others: list[tuple[float, Floats]]) -> None:
        """Find V from the (constant, factor) of the group and of the others; hold z = xV of this rank's sample."""
        whole = solve_triangle(stacked([group, *others]), self.rows.table, quiet=True)
        q = np.sqrt(group[0]) * group[1][:, :-1] @ whole.whitener
        _, s, ut = svd(q, full_matrices=False)
        v = whole.whitener @ ut.T
        self.share = np.clip(s**2, 0.0, 1.0)
        self.own = group[0] * (group[1][:, :-1] @ v).T @ group[1][:, -1]
        self.rest = np.zeros(len(self.own))
        for constant, factor in others:
            self.rest += constant * (factor[:, :-1] @ v).T @ factor[:, -1]
        self._z = []
        for index in self.team.share(self.rows.n_blocks):
            at = self.sample[self.rows.span(index)]
            self._z.append(self.rows.block(index).x[at] @ v if at.any() else np.zeros((0, len(v.T))))

    def errors(self, t: float) -> dict[int, float]:
        """Return the RMSE of left-out residuals with t in place of 1 of each kind that feels any weight."""
        scale = 1.0 / (1.0 - self.share + t * self.share)
        theta = scale * (t * self.own + self.rest)
        blocks, table = self.team.share(self.rows.n_blocks), self.rows.table

        def sums() -> Iterator[Floats]:
            for z, index in zip(self._z, blocks, strict=True):
                at = np.flatnonzero(self.sample[self.rows.span(index)]) + self.rows.span(index).start
                w = self.weights[at] * np.where(self.group[at], t, 1.0)
                h, left = left_out_residuals(z * np.sqrt(scale), table.y[at] - z @ theta, w, table.config[at])
                known = np.isfinite(left)
                kind, m = table.kind[at][known], self.measure[at][known]
                squares = np.bincount(kind, m * left[known] ** 2, minlength=len(KINDS))
                felt = m * (h[known] > _NEGLIGIBLE * len(theta) / len(table))
                yield np.stack([squares, *(np.bincount(kind, weight, minlength=len(KINDS)) for weight in (m, felt))])

        total = self.team.reduce(blocks.start, sums(), np.add)
        assert total is not None  # a row source without blocks has been refused
        return {int(k): float(np.sqrt(total[0, k] / total[1, k])) for k in np.flatnonzero(total[2] > 0.0)}


def _search(line: LeftOutLine, now: float, even: float) -> tuple[float, dict[int, float]]:
    """Return the constant of least Σ ln RMSE on a logarithmic grid, coarse first, and the errors there."""
    centre = round(np.log10(even))
    found: dict[int, tuple[float, dict[int, float]]] = {}

    def cost(step: int) -> float:
        if step not in found:
            errors = line.errors(_rounded(10.0 ** (step / STEPS)) / now)
            found[step] = (score(errors), errors)
        return found[step][0]

    best = min(range((centre - BELOW) * STEPS, (centre + ABOVE) * STEPS + 1, STEPS), key=cost)
    stride = STEPS // 2
    while stride:
        best = min((best, best - stride, best + stride), key=cost)
        stride //= 2
    return _rounded(10.0 ** (best / STEPS)), found[best][1]


def score(errors: Mapping[int, float]) -> float:
    """Return Σ ln RMSE of errors by kind, each with what a reference is converged to added in squares."""
    return float(sum(np.log(np.hypot(error, CONVERGED[kind])) for kind, error in errors.items()))


def _rounded(value: float) -> float:
    return float(f"{value:.1e}")


def _even_shares(
    table: RowTable, groups: Mapping[int, NDArray[np.bool_]], judged: NDArray[np.bool_]
) -> dict[int, float]:
    """Constants under which each of these groups weighs as much as all other rows: Σ w (y − ȳ)² alike."""

    def weight(at: NDArray[np.bool_]) -> float:
        y, w, kind = table.y[at & judged], table.w[at & judged], table.kind[at & judged]
        if not w.any():
            return 0.0
        return float(np.sum(w * ((y - np.average(y, weights=w)) ** 2 + np.square(CONVERGED)[kind])))

    others = ~np.any(list(groups.values()), axis=0)
    rest = sum(weight(others & (table.kind == kind)) for kind in range(len(KINDS)))
    own = {kind: weight(at) for kind, at in groups.items()}
    return {kind: _rounded(rest / size) if size > 0.0 and rest > 0.0 else 1.0 for kind, size in own.items()}


def sampled(table: RowTable, limit: int, seed: int) -> NDArray[np.bool_]:
    """Rows of configurations drawn at random, as many as `limit` rows hold."""
    configs, count = np.unique(table.config, return_counts=True)
    if count.sum() <= limit:
        return np.ones(len(table), dtype=np.bool_)
    order = np.random.default_rng(seed).permutation(len(configs))
    taken = order[np.cumsum(count[order]) <= limit]
    return np.asarray(np.isin(table.config, configs[taken if len(taken) > 1 else order[:2]]))
