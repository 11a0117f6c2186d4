"""Rows computed from structures by the core, one block of configurations at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from mliuq.errors import MliuqError
from mliuq.regression.rows import ENERGY, FORCE, STRESS, Floats, RowSource, RowTable, block_rows, block_starts
from mliuq.regression.targets import Targets

#: design_rows(structures, energy=, forces=, stress=) -> one (n_rows, n_weights) array per structure
DesignRows = Callable[..., list[Floats]]


@dataclass(frozen=True)
class _Layout:
    """Which of a configuration's rows (energy, 3N forces, 6 stresses) are fitted."""

    energy: bool
    forces: bool
    stress: bool

    def rows(self, n_atoms: int) -> int:
        """Their number."""
        return self.energy + 3 * n_atoms * self.forces + 6 * self.stress


_layout = cache(_Layout)  # eight of them, however many configurations


class ComputedRows(RowSource):
    """Rows of structures.

    Parameters
    ----------
    structures : configurations
    targets : what they are fitted to, the reference potential (ZBL) already subtracted
    weights : (energy, (n_atoms,) forces, stress) of each configuration; a kind of weight zero or without target has no
        rows
    design_rows : computes the design rows of some structures
    n_weights : numbers per row
    """

    def __init__(
        self,
        structures: Sequence[Atoms],
        targets: Sequence[Targets],
        weights: Sequence[tuple[float, Floats, float]],
        design_rows: DesignRows,
        n_weights: int,
        *,
        rows_per_block: int | None = None,
    ) -> None:
        self.n_weights = n_weights
        self._structures = structures
        self._design_rows = design_rows
        self._layouts = [
            _layout(
                t.energy is not None and bool(w[0] > 0.0),
                t.forces is not None and bool(np.any(w[1] > 0.0)),
                t.stress is not None and bool(w[2] > 0.0),
            )
            for t, w in zip(targets, weights, strict=True)
        ]
        sizes = [len(weight[1]) for weight in weights]
        counts = np.array([layout.rows(n) for layout, n in zip(self._layouts, sizes, strict=True)], dtype=np.int64)
        y, w, kind = np.empty(counts.sum()), np.empty(counts.sum()), np.empty(counts.sum(), np.int8)
        at = 0
        for n, target, weight, layout in zip(sizes, targets, weights, self._layouts, strict=True):
            rows = slice(at, at + layout.rows(n))
            y[rows], w[rows], kind[rows] = _columns(n, target, weight, layout)
            at = rows.stop
        starts = block_starts(counts, rows_per_block or block_rows(n_weights))
        self._cuts = np.searchsorted(np.cumsum(counts), starts, side="right")  # first configuration of each block
        self._cuts[-1:] = len(counts)
        self.table = RowTable(y, w, kind, np.repeat(np.arange(len(counts)), counts), starts)
        self.table.validate()

    def design(self, index: int) -> Floats:
        """See `RowSource.design`."""
        first, last = int(self._cuts[index]), int(self._cuts[index + 1])
        x = np.empty((self.span(index).stop - self.span(index).start, self.n_weights))
        at = 0
        while first < last:  # runs of configurations of one layout go to the core together
            layout, stop = self._layouts[first], first + 1
            while stop < last and self._layouts[stop] == layout:
                stop += 1
            if layout.energy or layout.forces or layout.stress:
                wanted = {"energy": layout.energy, "forces": layout.forces, "stress": layout.stress}
                for rows in self._design_rows(list(self._structures[first:stop]), **wanted):
                    x[at : at + len(rows)] = rows
                    at += len(rows)
            first = stop
        if at != len(x):
            raise MliuqError(f"the core gave {at} rows for block {index}, expected {len(x)}")
        return x


def _columns(n: int, target: Targets, weight: tuple[float, Floats, float], layout: _Layout) -> tuple[Floats, ...]:
    """Return y, w and kind of one configuration's rows."""
    parts: list[tuple[ArrayLike, ArrayLike, list[int]]] = []
    if layout.energy and target.energy is not None:
        parts.append(([target.energy / n], [weight[0]], [ENERGY]))
    if layout.forces and target.forces is not None:
        parts.append((target.forces.ravel(), np.repeat(weight[1], 3), [FORCE] * (3 * n)))
    if layout.stress and target.stress is not None:
        parts.append((target.stress, np.full(6, weight[2]), [STRESS] * 6))
    return tuple(np.concatenate([np.zeros(0), *column]) for column in zip(*parts, strict=True)) or (np.zeros(0),) * 3


def fingerprint(structures: Sequence[Atoms], *extra: object) -> str:
    """Return a SHA-256 of positions, cells, species and whatever else is given (by its `repr`)."""
    digest = hashlib.sha256()
    for atoms in structures:
        for array in (atoms.positions, atoms.cell.array, atoms.numbers.astype(np.int64), atoms.pbc):
            digest.update(np.ascontiguousarray(array).tobytes())
    for item in extra:
        digest.update(repr(item).encode())
    return digest.hexdigest()
