"""Leverages, residuals and leave-one-configuration-out residuals of a linear fit, streamed.

For a linear model the residual of a configuration c under a fit that never saw it needs no refitting.  With weighted
rows, hat block H_cc = Z_c Z_cᵀ and residuals r_c,

    ê_c = (I − H_cc)⁻¹ r_c,        θ_without_c = θ* − A⁻¹ X_cᵀ √W ê_c,

so that e_r = r_r + x_r A⁻¹ X_cᵀ √W ê_c holds for every row of c, rows of weight zero included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from mliuq.regression.distributed import Progress, Team
from mliuq.regression.rows import Floats, Ints, RowBlock, RowSource, RowTable
from mliuq.regression.solver import Solution

_CERTAIN = 1e-10  # 1 − leverage of a combination of rows that no other configuration determines


@dataclass(frozen=True)
class RowStatistics:
    """Per-row results of a fit, aligned with the row table.

    Attributes
    ----------
    residual : (n,) y − x·θ*
    leverage : (n,) weighted leverage w xᵀA⁻¹x, between 0 and 1; its sum is the number of effective parameters
    loco : (n,) residual under the fit without the row's configuration; NaN where the other configurations leave a
        combination of weights open that this one needs
    """

    residual: Floats
    leverage: Floats
    loco: Floats

    def first(self, n: int) -> RowStatistics:
        """Return those of the first n rows."""
        return RowStatistics(self.residual[:n], self.leverage[:n], self.loco[:n])


def examine(
    rows: RowSource, solution: Solution, *, team: Team | None = None, progress: Progress | None = None
) -> RowStatistics:
    """Compute residuals, leverages and leave-one-configuration-out residuals in one pass over the rows."""
    team = team or Team()
    share = team.share(rows.n_blocks)

    def parts() -> Iterator[Floats]:
        for done, index in enumerate(share, start=1):
            yield _examine_block(rows.block(index), solution)
            if progress:
                progress("examine", done, len(share))

    columns = team.gather(np.concatenate([np.zeros((0, 3)), *parts()]))
    return RowStatistics(*np.ascontiguousarray(columns.T))


def without_given(statistics: RowStatistics, table: RowTable, n: int) -> RowStatistics:
    """Mark given one-body energies (configurations behind the n-th): leaving one out says nothing about the fit."""
    return replace(statistics, loco=np.where(table.config < n, statistics.loco, np.nan))


def _examine_block(block: RowBlock, solution: Solution) -> Floats:
    residual = block.y - block.x @ solution.theta
    return np.column_stack(
        [residual, *left_out_residuals(block.x @ solution.whitener, residual, block.w, block.config)]
    )


def left_out_residuals(z: Floats, residual: Floats, w: Floats, config: Ints) -> tuple[Floats, Floats]:
    """Return leverages and leave-one-configuration-out residuals of whole configurations.

    Parameters
    ----------
    z : (n, rank) whitened rows
    residual, w, config : (n,) residuals of the fit, weights, and configurations, each in one piece
    """
    leverage = w * np.einsum("rp,rp->r", z, z)
    loco = np.empty_like(residual)
    if not len(loco):
        return leverage, loco
    cuts = np.flatnonzero(np.diff(config)) + 1
    sizes = np.diff(cuts, prepend=0, append=len(residual))
    first = np.concatenate([[0], cuts])
    alone = first[sizes == 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        single = residual[alone] / (1.0 - leverage[alone])
    loco[alone] = np.where(1.0 - leverage[alone] > _CERTAIN, single, np.nan)
    for start, size in zip(first[sizes > 1], sizes[sizes > 1], strict=True):
        at = slice(start, start + size)
        loco[at] = residual[at] + z[at] @ _shift(z[at], residual[at], np.sqrt(w[at]))
    return leverage, loco


def _shift(z: Floats, residual: Floats, root: Floats) -> Floats:
    """Return Zᵀ(I − ZZᵀ)⁻¹ r for the weighted rows of one configuration, through the smaller of the two matrices."""
    weighted, r = z * root[:, None], residual * root
    n, p = z.shape
    try:
        if n <= p:
            factor = cho_factor(np.eye(n) - weighted @ weighted.T, lower=True)
            step = weighted.T @ cho_solve(factor, r)
        else:
            factor = cho_factor(np.eye(p) - weighted.T @ weighted, lower=True)
            step = cho_solve(factor, weighted.T @ r)
    except LinAlgError:
        return np.full(p, np.nan)
    if np.min(np.diagonal(factor[0])) ** 2 < _CERTAIN:
        return np.full(p, np.nan)
    return np.asarray(step)
