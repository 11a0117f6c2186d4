"""Rows of the linear problem, block by block.

One row is one number to be fitted, ``y_r ≈ x_r · θ``.  What is cheap to hold for every row (target, weight, kind,
configuration) sits in a `RowTable`; the design matrix, n_rows × n_weights, is produced one block at a time and never
exists as a whole.  A block holds whole configurations, so that everything which couples rows of one configuration
(leave-one-configuration-out residuals) stays within a block.  Blocks are addressed by index: the same blocks are the
unit of caching, of resuming and of sharing work between ranks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mliuq.errors import MliuqError

ENERGY, FORCE, STRESS = 0, 1, 2
KINDS = ("energy", "force", "stress")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Numbers in one block of the design matrix: large enough for BLAS-3, small beside the memory of any machine.
BLOCK_NUMBERS = 1 << 23


@dataclass(frozen=True)
class RowBlock:
    """Rows of whole configurations.

    Attributes
    ----------
    x : (n, n_weights) design rows
    y : (n,) targets: energy per atom in eV, force component in eV/Å, stress component in eV/Å^3
    w : (n,) weights multiplying squared residuals
    kind : (n,) ENERGY, FORCE or STRESS
    config : (n,) index of the configuration in the data set
    """

    x: Floats
    y: Floats
    w: Floats
    kind: NDArray[np.int8]
    config: Ints


@dataclass(frozen=True)
class RowTable:
    """What is known of every row without its design vector; rows of block b are ``starts[b]:starts[b + 1]``."""

    y: Floats
    w: Floats
    kind: NDArray[np.int8]
    config: Ints
    starts: Ints

    def __len__(self) -> int:
        return len(self.y)

    def validate(self) -> None:
        """Refuse targets and weights that cannot be fitted.

        Raises
        ------
        MliuqError
            naming the first offending configuration.
        """
        if not len(self):
            raise MliuqError(
                "no rows to fit: the data set holds no energies, forces or stresses with a positive weight"
            )
        for name, bad, expected in (
            ("target", ~np.isfinite(self.y), "finite numbers"),
            ("weight", ~(np.isfinite(self.w) & (self.w >= 0.0)), "finite numbers not below zero"),
        ):
            if bad.any():
                row = int(np.argmax(bad))
                value = (self.y if name == "target" else self.w)[row]
                raise MliuqError(
                    f"configuration {self.config[row]}: {KINDS[self.kind[row]]} {name} is {value}, expected {expected}"
                )
        if not np.any(self.w > 0.0):
            raise MliuqError("every row has weight zero: nothing to fit")


def atoms_of(kind: NDArray[np.int8], config: Ints) -> Ints:
    """Return the atom of each force among rows (n,) of whole configurations, three in order for each; −1 for others."""
    atom = np.full(len(kind), -1)
    _, first, own = np.unique(config[kind == FORCE], return_index=True, return_inverse=True)
    atom[kind == FORCE] = (np.arange(len(own)) - first[own]) // 3
    return atom


class RowSource(ABC):
    """A re-iterable source of design rows."""

    table: RowTable
    n_weights: int

    @abstractmethod
    def design(self, index: int) -> Floats:
        """Return the design rows of block `index`, shape (n, n_weights)."""

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.table.starts) - 1

    def span(self, index: int) -> slice:
        """Return where the rows of block `index` stand in the table."""
        return slice(int(self.table.starts[index]), int(self.table.starts[index + 1]))

    def block(self, index: int) -> RowBlock:
        """Return block `index`; a design row that is not finite is an error."""
        at, x = self.span(index), self.design(index)
        table = self.table
        if not np.isfinite(x).all():
            row = at.start + int(np.argmax(~np.isfinite(x).all(axis=1)))
            raise MliuqError(
                f"configuration {table.config[row]}: a {KINDS[table.kind[row]]} row of the design matrix is not finite"
            )
        return RowBlock(x, table.y[at], table.w[at], table.kind[at], table.config[at])

    def blocks(self) -> Iterator[RowBlock]:
        """Iterate over all blocks in order."""
        return (self.block(index) for index in range(self.n_blocks))


class ArrayRows(RowSource):
    """Rows that are already in memory.

    Parameters
    ----------
    x, y : (n, n_weights) and (n,)
    w : (n,) weights of squared residuals, one each when absent
    kind : (n,) kinds, all FORCE when absent
    config : (n,) configuration of each row; a configuration of its own for each row when absent
    rows_per_block : approximate size of a block

    Attributes
    ----------
    order : (n,) position in the input of every row of the table: rows of one configuration are brought together.
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        w: ArrayLike | None = None,
        kind: ArrayLike | None = None,
        config: ArrayLike | None = None,
        *,
        rows_per_block: int | None = None,
    ) -> None:
        design = np.asarray(x, dtype=np.float64)
        if design.ndim != 2 or design.shape[1] == 0:
            raise MliuqError(f"design matrix has shape {design.shape}, expected (rows, weights)")
        n = len(design)
        self.order: Ints = np.arange(n, dtype=np.int64)
        configs = self.order if config is None else _column("config", config, n).astype(np.int64)
        if np.any(np.diff(configs) < 0):
            self.order = np.argsort(configs, kind="stable")
        self._x = design if np.array_equal(self.order, np.arange(n)) else design[self.order]
        self.n_weights = design.shape[1]
        configs = configs[self.order]
        ends = np.flatnonzero(np.diff(configs, append=configs[-1:] + 1)) + 1 if n else np.zeros(0, np.int64)
        self.table = RowTable(
            y=_column("y", y, n).astype(np.float64)[self.order],
            w=np.ones(n) if w is None else _column("w", w, n).astype(np.float64)[self.order],
            kind=np.full(n, FORCE, np.int8) if kind is None else _column("kind", kind, n).astype(np.int8)[self.order],
            config=configs,
            starts=block_starts(np.diff(ends, prepend=0), rows_per_block or block_rows(self.n_weights)),
        )
        self.table.validate()

    def design(self, index: int) -> Floats:
        """See `RowSource.design`."""
        return self._x[self.span(index)]


class ReweightedRows(RowSource):
    """The rows of another source with weights of their own."""

    def __init__(self, source: RowSource, w: Floats) -> None:
        table = source.table
        self._source, self.n_weights = source, source.n_weights
        self.table = RowTable(table.y, w, table.kind, table.config, table.starts)
        self.table.validate()

    def design(self, index: int) -> Floats:
        """See `RowSource.design`."""
        return self._source.design(index)


class ResidualRows(RowSource):
    """The rows of another source less what given weights say of them, y − x·θ: a problem of moves about the weights."""

    def __init__(self, source: RowSource, theta: Floats) -> None:
        table = source.table
        self._source, self.n_weights = source, source.n_weights
        y = table.y - np.concatenate([block.x @ theta for block in source.blocks()])
        self.table = RowTable(y, table.w, table.kind, table.config, table.starts)
        self.table.validate()

    def design(self, index: int) -> Floats:
        """See `RowSource.design`."""
        return self._source.design(index)


class SubsetRows(RowSource):
    """Some rows of another source, in its blocks, so that every rank still works on those it holds.

    Parameters
    ----------
    source : where design rows come from; nothing is copied before a block is asked for
    rows : (n,) which rows of its table
    """

    def __init__(self, source: RowSource, rows: NDArray[np.bool_]) -> None:
        table = source.table
        if rows.shape != (len(table),):
            raise MliuqError(f"subset of rows has shape {rows.shape}, expected ({len(table)},)")
        starts = np.concatenate([[0], np.cumsum(rows)])[table.starts]
        self._source, self._rows, self.n_weights = source, rows, source.n_weights
        self.table = RowTable(table.y[rows], table.w[rows], table.kind[rows], table.config[rows], starts)

    def design(self, index: int) -> Floats:
        """See `RowSource.design`."""
        rows = self._rows[self._source.span(index)]
        return self._source.design(index)[rows] if rows.any() else np.zeros((0, self.n_weights))


def block_rows(n_weights: int) -> int:
    """Return how many rows of `n_weights` numbers make a good block."""
    return max(2 * n_weights, min(BLOCK_NUMBERS // n_weights, 8192))


def block_starts(rows_per_config: Ints, rows_per_block: int) -> Ints:
    """Cut consecutive configurations into blocks of about `rows_per_block` rows; return their starts and the end."""
    ends = np.cumsum(rows_per_config)
    starts = [0]
    while starts[-1] < (ends[-1] if len(ends) else 0):
        reach = int(np.searchsorted(ends, starts[-1] + rows_per_block, side="right")) - 1
        first = int(np.searchsorted(ends, starts[-1], side="right"))
        starts.append(int(ends[max(reach, first)]))
    return np.asarray(starts, dtype=np.int64)


def _column(name: str, values: ArrayLike, n: int) -> NDArray[np.generic]:
    column = np.asarray(values)
    if column.shape != (n,):
        raise MliuqError(f"{name} has shape {column.shape}, expected ({n},), one for each row of the design matrix")
    return column
