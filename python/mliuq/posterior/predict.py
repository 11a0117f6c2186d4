"""Predictions of a posterior on rows: best fit, spread about it, envelope."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mliuq.regression.distributed import Progress, Team
from mliuq.regression.rows import Floats, Ints, RowSource


@dataclass(frozen=True)
class Predictions:
    """Rows of a data set and what the model says of them; arrays (n,), units of the row's kind (energies per atom).

    Attributes
    ----------
    y, mean : reference and best fit, without the reference potential
    std : root of the members' second moment about the best fit
    low, high : the members' envelope
    kind, config : of the rows
    size : norm of the row, |x|; zero where symmetry leaves nothing to predict
    """

    y: Floats
    mean: Floats
    std: Floats
    low: Floats
    high: Floats
    kind: NDArray[np.int8]
    config: Ints
    size: Floats

    def __len__(self) -> int:
        return len(self.y)

    def of_kind(self, kind: int) -> Predictions:
        """Return the rows of one kind."""
        return self.where(self.kind == kind)

    def of_first(self, n: int) -> Predictions:
        """Return the rows of the first n configurations."""
        return self.where(slice(int(np.searchsorted(self.config, n))))

    def where(self, rows: Any) -> Predictions:
        """Return some rows: a mask, indices or a slice."""
        return Predictions(*(getattr(self, field.name)[rows] for field in fields(self)))


def predict(
    rows: RowSource,
    theta: Floats,
    moves: Floats | None,
    *,
    spreads: Callable[[Floats], tuple[Floats, Floats, Floats]] | None = None,
    team: Team | None = None,
    progress: Progress | None = None,
    stage: str = "predict",
) -> Predictions:
    """Predict all rows in one pass.

    Parameters
    ----------
    theta : (P,) best fit
    moves : (M, P) members minus best fit; without them std is zero and the envelope is the best fit
    spreads : std, least and largest move of rows (n, P), where something faster than `moves` knows them
    """
    team = team or Team()
    share = team.share(rows.n_blocks)

    def parts() -> Iterator[Floats]:
        for done, index in enumerate(share, start=1):
            x = rows.block(index).x
            mean = x @ theta
            out = np.zeros((len(x), 5))
            out[:, 4] = np.sqrt(np.einsum("rp,rp->r", x, x))
            out[:, 0] = out[:, 2] = out[:, 3] = mean
            if spreads is not None:
                out[:, 1:4] += np.stack(spreads(x), axis=1)
            elif moves is not None:
                out[:, 1:4] += np.stack(spread_of(x @ moves.T), axis=1)
            yield out
            if progress:
                progress(stage, done, len(share))

    mean, std, low, high, size = team.gather(np.concatenate([np.zeros((0, 5)), *parts()])).T.copy()
    table = rows.table
    return Predictions(table.y, mean, std, low, high, table.kind, table.config, size)


def spread_of(shifts: Floats) -> tuple[Floats, Floats, Floats]:
    """Root second moment, least and largest of the moves of rows (n, M) by members; zero without members."""
    if not shifts.shape[1]:
        return (np.zeros(len(shifts)),) * 3
    return np.sqrt(np.mean(shifts**2, axis=1)), shifts.min(axis=1), shifts.max(axis=1)
