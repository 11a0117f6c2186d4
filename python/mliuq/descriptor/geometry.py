"""Cells and positions brought into a form that a cell list can take, with the same neighbours as before.

Three things make a list of cells as wide as the cutoff hang or overflow: periodic vectors that are nearly dependent
(thousands of images where a few would do), empty space (an atom 10⁶ Å away, a cell of 10⁶ Å of vacuum), and a bar so
long that its cells cannot be counted. The first is cured by a reduced cell, the second by taking away what is wider
than the cutoff: both leave every distance within the cutoff as it was. The third is cured by wider cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from mliuq.errors import MliuqError
from mliuq.memory import total_memory

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CLOSEST = 1e-3  # Å; nearer than this two atoms are one atom given twice
_SKEWED = 0.3  # height of a cell vector over its length, below which the cell is reduced first
_MOST_CELLS = 100_000  # beyond, vesin widens its cells by a rule that divides by zero in long bars
_MOST_PAIRS = 2**31 - 1  # offsets of the core's lists are 32 bits
_BYTES_PER_PAIR = 100  # of the list of pairs and of what packing makes of it


@dataclass(frozen=True, eq=False)
class Listable:
    """Positions (N, 3) and cell (3, 3) to list neighbours in, Å, and the way back from its shifts to the given cell."""

    positions: Floats
    cell: Floats
    basis: Integers  # (3, 3): cell = basis @ given cell, as far as shifts are concerned
    wraps: Integers  # (N, 3): cells by which an atom was moved, counted in the given cell
    extents: Floats  # (3,): how far it reaches along the normals of the faces, Å


def listable(positions: Floats, cell: Floats, pbc: NDArray[np.bool_], reach: float) -> Listable:
    """Reduce a skewed cell and take away empty space wider than `reach`.

    Raises
    ------
    MliuqError
        If atoms lie on top of their images, or have more neighbours than the core or this machine can hold.
    """
    basis = np.eye(3, dtype=np.int64)
    wraps = np.zeros((len(positions), 3), dtype=np.int64)
    full = completed(cell, pbc)
    full, basis = _reduced(full, basis, pbc)
    repeat = float(np.sqrt(np.square(full[pbc]).sum(axis=1).min(initial=np.inf)))
    if repeat < CLOSEST:
        raise MliuqError(f"an atom and its image are {repeat:.2e} Å apart, expected more than {CLOSEST} Å")
    moved = positions
    extents, longest = _extents(moved, full, pbc), (len(positions) + 10) * reach
    _refuse_too_many(len(positions), full, extents, pbc, reach)
    for axis in range(3):
        if extents[axis] > longest:
            moved, full, turns = _without_gaps(moved, full, bool(pbc[axis]), axis, reach)
            wraps += turns[:, None] * basis[axis]
            full, basis = _reduced(full, basis, pbc)  # a vector made short along one direction may be skewed now
            extents = _extents(moved, full, pbc)
    turns = np.floor(moved @ np.linalg.inv(full)).astype(np.int64) * pbc
    if turns.any():  # vesin walks to an atom outside the cell cell by cell
        moved = moved - turns @ full
        wraps += turns @ basis
    return Listable(moved, np.where(pbc[:, None], full, 0.0), basis, wraps, extents)


def completed(cell: Floats, pbc: NDArray[np.bool_]) -> Floats:
    """The cell with unit vectors across the periodic ones in place of those that are not periodic."""
    if pbc.all():
        return cell
    if not pbc.any():
        return np.eye(3)
    full = cell.copy()
    *_, across = np.linalg.svd(cell[pbc])
    full[~pbc] = across[pbc.sum() :]
    return full


def heights(full: Floats) -> Floats:
    """Distance between the faces of a cell, Å, by vector."""
    return np.asarray(1.0 / np.sqrt(np.square(np.linalg.inv(full)).sum(axis=0)))


def list_cutoff(extents: Floats, reach: float) -> float:
    """Cutoff of at least `reach` at which the cells of the list can be counted, Å."""
    while True:
        cells = np.maximum(np.trunc(extents / reach), 1.0)
        if cells.min() * np.cbrt(_MOST_CELLS / cells.prod()) >= 2.0 or cells.prod() <= _MOST_CELLS:
            return reach
        reach *= 1.2


def _reduced(full: Floats, basis: Integers, pbc: NDArray[np.bool_]) -> tuple[Floats, Integers]:
    """Shorter vectors of the same lattice where a cell is skewed."""
    if not (heights(full) < _SKEWED * np.sqrt(np.square(full).sum(axis=1))).any():
        return full, basis
    try:
        reduced, operation = minkowski_reduce(full, pbc)
    except RuntimeError as error:
        raise MliuqError(f"the periodic cell vectors {full[pbc].tolist()} are linearly dependent") from error
    return np.asarray(reduced), np.asarray(operation) @ basis


def _extents(positions: Floats, full: Floats, pbc: NDArray[np.bool_]) -> Floats:
    """How far a structure reaches along the normals of faces, Å; vectors that are not periodic have length one."""
    if pbc.all():
        return heights(full)
    return np.where(pbc, heights(full), np.ptp(positions @ np.linalg.inv(full), axis=0))


def _without_gaps(
    positions: Floats, full: Floats, periodic: bool, axis: int, reach: float
) -> tuple[Floats, Floats, Integers]:
    """Move atoms together along the normal of a face wherever nothing lies for more than the reach.

    What lies between two gaps keeps its shape, and the sum of all gaps taken away is taken off the cell vector, so that
    no distance below the reach changes. Returns positions, cell, and the number of cells each atom was wrapped by.
    """
    normal = np.linalg.inv(full)[:, axis]
    height = 1.0 / np.linalg.norm(normal)
    fraction = positions @ normal
    turns = np.floor(fraction) if periodic else np.zeros(len(positions))
    positions = positions - turns[:, None] * full[axis]
    normal = normal * height
    across = positions @ normal
    order = np.argsort(across)
    kept = 1.01 * reach
    excess = np.maximum(np.diff(across[order]) - kept, 0.0)
    down = np.empty(len(positions))
    down[order] = np.concatenate([[0.0], np.cumsum(excess)])
    positions = positions - down[:, None] * normal
    full = full.copy()
    if periodic:
        round_the_end = max(height - float(np.ptp(across)) - kept, 0.0)
        full[axis] -= (excess.sum() + round_the_end) * normal
    return positions, full, turns.astype(np.int64)


def _refuse_too_many(n_atoms: int, full: Floats, extents: Floats, pbc: NDArray[np.bool_], reach: float) -> None:
    """Say what a structure would need before it is built, from its mean density."""
    volume = abs(float(np.linalg.det(full)))  # of periodic vectors, the others are of length one
    if not pbc.all():
        volume *= float(np.prod(extents[~pbc] + reach))
    pairs = n_atoms**2 / volume * 4.0 / 3.0 * math.pi * reach**3
    needed = pairs * _BYTES_PER_PAIR
    memory = total_memory()
    if pairs > _MOST_PAIRS or needed > memory:
        raise MliuqError(
            f"{n_atoms} atoms in this cell have some {pairs:.1e} neighbours within {reach:.4g} Å, which need "
            f"{needed / 1e9:.3g} GB; this machine has {memory / 1e9:.3g} GB, the core takes at most {_MOST_PAIRS:.1e}: "
            "expected a larger cell or a shorter cutoff"
        )
