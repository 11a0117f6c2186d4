"""Residuals of whole classes under the fit without them, streamed, without a refit.

What leave-one-configuration-out is for a configuration (mliuq.regression.loco), for classes that span blocks and have
more rows than there are weights.  With whitened rows z, weights w and residuals r of the class c,

    G_c = Σ w z zᵀ,   b_c = Σ w z r,        e = r + z·(1 − G_c)⁻¹ b_c        for every row of c,

the push-through form of e_c = (I − H_cc)⁻¹ r_c.  One pass gathers G and b of all classes, another takes the residuals.
Along an eigenvector of G_c to the eigenvalue one, the other classes say nothing: rows with a part along it have no
residual.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mliuq.errors import MliuqError
from mliuq.regression.distributed import Progress, Team
from mliuq.regression.rows import Floats, Ints, RowSource
from mliuq.regression.solver import Solution

_CERTAIN = 1e-10  # 1 − leverage of a combination of weights that no other class determines
_OPEN = 1e-6  # part of ‖z‖² along such combinations from which a row counts as undetermined


def class_out_residuals(
    rows: RowSource, solution: Solution, group: Ints, *, team: Team | None = None, progress: Progress | None = None
) -> Floats:
    """Residual of each row under the fit without its class, shape (n,).

    Parameters
    ----------
    group : (n,) class of each row, 0, 1, …; a row of class −1 is part of every fit

    Returns
    -------
    ndarray (n,)
        y − x·θ without the class; NaN for rows of class −1 and for those that the other classes do not determine.

    Raises
    ------
    MliuqError
        unless there is one class for each row.
    """
    team = team or Team()
    if group.shape != (len(rows.table),):
        raise MliuqError(f"classes have shape {group.shape}, expected ({len(rows.table)},), one for each row")
    share = team.share(rows.n_blocks)

    def sums() -> Iterator[dict[int, Floats]]:
        for done, index in enumerate(share, start=1):
            block, own = rows.block(index), group[rows.span(index)]
            residual = block.y - block.x @ solution.theta
            columns = np.column_stack([block.x @ solution.whitener, residual])
            found = {}
            for c in np.unique(own[own >= 0]):
                at = own == c
                found[int(c)] = (columns[at, :-1] * block.w[at][:, None]).T @ columns[at]
            yield found
            _say(progress, done, 2 * len(share))

    steps: dict[int, Floats] = {}
    opened: dict[int, Floats] = {}
    for c, whole in (team.reduce(share.start, sums(), _added) or {}).items():
        leverage, axes = np.linalg.eigh(whole[:, :-1])
        sure = 1.0 - leverage > _CERTAIN
        steps[c] = axes[:, sure] @ ((axes[:, sure].T @ whole[:, -1]) / (1.0 - leverage[sure]))
        opened[c] = axes[:, ~sure]

    def parts() -> Iterator[Floats]:
        for done, index in enumerate(share, start=1):
            block, own = rows.block(index), group[rows.span(index)]
            z, found = block.x @ solution.whitener, block.y - block.x @ solution.theta
            for c in np.unique(own[own >= 0]):
                at = own == c
                found[at] += z[at] @ steps[c]
                lost = np.sum((z[at] @ opened[c]) ** 2, axis=1) > _OPEN * np.sum(z[at] ** 2, axis=1)
                found[np.flatnonzero(at)[lost]] = np.nan
            found[own < 0] = np.nan
            yield found
            _say(progress, len(share) + done, 2 * len(share))

    return team.gather(np.concatenate([np.zeros(0), *parts()]))


def _added(a: dict[int, Floats], b: dict[int, Floats]) -> dict[int, Floats]:
    """Sums of the classes of two parts; most parts hold few of them."""
    return a | b | {c: a[c] + b[c] for c in a.keys() & b.keys()}


def _say(progress: Progress | None, done: int, total: int) -> None:
    if progress:
        progress("classes", done, total)
