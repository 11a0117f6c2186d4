"""Rows that an earlier fit has folded into a triangle: the first of those of a fit to come.

TSQR folds rows in one after the other, so that more data need no more than their own rows: the triangle of all is that
of the triangle of the old rows and the new rows below each other.  It holds as long as the old rows have the targets
and the weights they had.  Triangles are turned to have a diagonal that is not negative: there is one such for the same
rows, however they were folded in, and members drawn along its rows are the same, too.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mliuq.regression.distributed import Progress, Team
from mliuq.regression.rows import Floats, RowSource, RowTable, SubsetRows
from mliuq.regression.solver import stacked, triangularise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Past:
    """Weighted rows of the first configurations of a fit.

    Attributes
    ----------
    triangle : (P + 1, P + 1) triangular factor of √w [x y]
    y, w, kind : (n,) of these rows, as `RowTable` has them
    """

    triangle: Floats
    y: Floats
    w: Floats
    kind: NDArray[np.int8]

    def begins(self, rows: RowTable | Past, n_weights: int) -> bool:
        """Whether rows of so many weights begin with these, by their targets and weights."""
        n = len(self.y)
        return (
            len(self.triangle) == n_weights + 1
            and n <= len(rows.y)
            and np.array_equal(rows.y[:n], self.y)
            and np.array_equal(rows.w[:n], self.w)
            and np.array_equal(rows.kind[:n], self.kind)
        )


def triangle_of(
    rows: RowSource, n_configurations: int, past: Past | None, team: Team, progress: Progress | None = None
) -> tuple[Floats, Past]:
    """Return the triangle of all rows, and what a later fit may begin with.

    Parameters
    ----------
    rows : weighted rows
    n_configurations : configurations from this number on (given one-body energies) weigh what the others make them
        weigh: no later fit begins with them
    past : what an earlier fit left; rows that it does not begin are folded in all again
    """
    table = rows.table
    own = int(np.count_nonzero(table.config < n_configurations))
    at = np.arange(len(table))
    parts: list[Floats] = []
    start = 0
    if past is not None and len(past.y) <= own and past.begins(table, rows.n_weights):
        parts, start = [past.triangle], len(past.y)
    elif past is not None:
        log.info("the targets or weights of the rows that an earlier fit left are others now: all are folded in again")

    def fold(which: NDArray[np.bool_]) -> None:
        if which.any():
            parts.append(triangularise(rows if which.all() else SubsetRows(rows, which), team, progress))
        if len(parts) > 1:
            parts[:] = [stacked([(1.0, triangle) for triangle in parts])]
        if parts:
            parts[0] = parts[0] * np.where(np.diagonal(parts[0]) < 0.0, -1.0, 1.0)[:, None]

    fold((at >= start) & (at < own))
    known = parts[0] if parts else np.zeros((rows.n_weights + 1,) * 2)
    fold(at >= own)
    return parts[0], Past(known, table.y[:own], table.w[:own], table.kind[:own])
