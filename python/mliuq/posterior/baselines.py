"""What POPS is compared with: the epistemic posterior of Bayesian ridge regression and bagging."""

from __future__ import annotations

import numpy as np

from mliuq.errors import MliuqError
from mliuq.regression.loco import RowStatistics
from mliuq.regression.rows import Floats, ReweightedRows, RowSource
from mliuq.regression.solver import Solution, solve


def draw_bayesian_ridge(solution: Solution, n: int, seed: int) -> Floats:
    """Return `n` moves δ ~ N(0, σ² A⁻¹), shape (n, P): what ordinary Bayesian regression believes, blind to misfit."""
    u = np.random.default_rng(seed).standard_normal((n, solution.whitener.shape[1]))
    return np.asarray(np.sqrt(solution.noise_variance) * u @ solution.whitener.T)


def bag(rows: RowSource, solution: Solution, n: int, seed: int) -> Floats:
    """Return the moves of `n` refits to configurations drawn with replacement, shape (n, P)."""
    rng = np.random.default_rng(seed)
    configs, index = np.unique(rows.table.config, return_inverse=True)
    moves = []
    for _ in range(n):
        copies = rng.multinomial(len(configs), np.full(len(configs), 1.0 / len(configs)))
        refit = solve(ReweightedRows(rows, rows.table.w * copies[index]), ridge=solution.ridge)
        moves.append(refit.theta - solution.theta)
    return np.stack(moves)


def rescale_to_residuals(rows: RowSource, statistics: RowStatistics, moves: Floats) -> Floats:
    """Return `moves` times one factor, such that weighted squared left-out residuals equal weighted variances in sum.

    Raises
    ------
    MliuqError
        if the moves have no spread.
    """
    left = np.isfinite(statistics.loco)
    variance = np.concatenate([np.mean((block.x @ moves.T) ** 2, axis=1) for block in rows.blocks()])
    predicted = float(np.sum((rows.table.w * variance)[left]))
    if predicted == 0.0:
        raise MliuqError("the members do not differ: their spread cannot be rescaled")
    return np.asarray(moves * np.sqrt(np.sum((rows.table.w * statistics.loco**2)[left]) / predicted))
