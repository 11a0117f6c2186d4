"""What lies around an atom, and the small cells that it could be repeated with.

A cell cut out of a structure is glued to itself at its faces.  Its vectors are therefore translations T under which the
surroundings look most like themselves: atoms near one face, −T/2, moved by T, against those near the other,

    mismatch(T)² = mean_i min(|x_i + T − nearest atom of the element|, cap)².

In a crystal these are lattice vectors, whatever is wrong at the centre; in a liquid all are much alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from mliuq.descriptor.geometry import completed, heights
from mliuq.errors import MliuqError
from mliuq.regression.rows import Floats, Ints

_LONGEST = 1.35  # of the least length of a cell vector
_CORNER = 1.4  # of that length, to the farthest corner of a cell
_CAP = 1.0  # Å, mismatch of an atom that has no counterpart
_TRIED = 40  # translations that cells are made of
_SIZE = 0.5  # Å of mismatch that twice the volume is worth


@dataclass(frozen=True)
class Surroundings:
    """Atoms and images of atoms around a centre.

    Attributes
    ----------
    positions : (n, 3) relative to the centre, Å, nearest first: the centre itself
    numbers : (n,) atomic numbers
    spacing : median distance of an atom to its nearest neighbour, Å
    """

    positions: Floats
    numbers: Ints
    spacing: float

    @classmethod
    def of(cls, atoms: Atoms, centre: int, radius: float) -> Surroundings:
        """Return what lies within `radius` of an atom."""
        cell, pbc = completed(atoms.cell.array, atoms.pbc), atoms.pbc
        relative = atoms.positions - atoms.positions[centre]
        turns = np.rint(relative @ np.linalg.inv(cell)) * pbc
        relative = relative - turns @ cell
        reach = np.where(pbc, np.ceil(radius / heights(cell) + 0.5), 0).astype(int)
        shifts = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 3)
        found, numbers = [], []
        for shift in shifts @ cell:
            moved = relative + shift
            near = np.linalg.norm(moved, axis=1) <= radius
            found.append(moved[near])
            numbers.append(atoms.numbers[near])
        positions, kinds = np.concatenate(found), np.concatenate(numbers).astype(np.int64)
        order = np.argsort(np.linalg.norm(positions, axis=1), kind="stable")
        positions = positions[order]
        if len(positions) < 2:
            raise MliuqError(f"atom {centre} has no other atom within {radius:.3g} Å: there is nothing to carve")
        nearest, _ = cKDTree(positions).query(positions, k=2)
        return cls(positions, kinds[order], float(np.median(nearest[:, 1])))

    def cells(self, length: float, n: int) -> list[Floats]:
        """Return cells (3, 3) whose faces are at least `length` Å apart, best first, `n` at most.

        What lies within 1.5 times that length has to be known: corners of cells reach nearly so far.
        """
        vectors, mismatch = self._translations(length)
        triples = np.array(list(combinations(range(len(vectors)), 3)))
        cells = vectors[triples]
        volume = np.abs(np.linalg.det(cells))
        areas = np.stack([np.linalg.norm(np.cross(cells[:, i - 2], cells[:, i - 1]), axis=1) for i in range(3)], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            fits = (volume[:, None] / areas >= length).all(axis=1)
        corners = np.array([(1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)]) / 2.0
        fits &= np.linalg.norm(corners @ cells, axis=2).max(axis=1) <= _CORNER * length
        cost = np.sqrt(np.mean(mismatch[triples] ** 2, axis=1)) + _SIZE * (volume / length**3 - 1.0)
        order = np.flatnonzero(fits)[np.argsort(cost[fits], kind="stable")[:n]]
        return [_right_handed(cells[index]) for index in order]

    def _translations(self, length: float) -> tuple[Floats, Floats]:
        """Return vectors to make cells of, and the mismatch of each, Å."""
        tree = cKDTree(self.positions)
        size = np.linalg.norm(self.positions, axis=1)
        ends = np.flatnonzero((size >= 0.5 * length - self.spacing) & (size <= 0.5 * _LONGEST * length + self.spacing))
        opposite = tree.query_ball_point(-self.positions[ends], self.spacing)
        pairs = np.array(
            [self.positions[a] - self.positions[b] for a, others in zip(ends, opposite, strict=True) for b in others]
        ).reshape(-1, 3)
        pairs = pairs[(pairs @ (1.0, 1e-3, 1e-6)) > 0.0]  # of T and −T one
        lengths = np.linalg.norm(pairs, axis=1)
        pairs = pairs[(lengths >= length) & (lengths <= _LONGEST * length)]
        vectors = np.concatenate([pairs, 1.01 * length * np.eye(3)])
        trees = {z: cKDTree(self.positions[self.numbers == z]) for z in np.unique(self.numbers).tolist()}
        mismatch = np.array([self._mismatch(vector, 0.4 * length, tree, trees) for vector in vectors])
        axes = np.arange(len(pairs), len(vectors))
        best = np.argsort(mismatch[: len(pairs)], kind="stable")[:_TRIED]
        chosen = np.concatenate([best, axes])
        return vectors[chosen], mismatch[chosen]

    def _mismatch(self, vector: Floats, radius: float, tree: cKDTree, trees: dict[int, cKDTree]) -> float:
        near = np.array(tree.query_ball_point(-0.5 * vector, radius), dtype=np.int64)
        if not len(near):
            return _CAP
        squares = 0.0
        for z in np.unique(self.numbers[near]).tolist():
            own = near[self.numbers[near] == z]
            distance, _ = trees[z].query(self.positions[own] + vector)
            squares += float(np.sum(np.minimum(distance, _CAP) ** 2))
        return float(np.sqrt(squares / len(near)))


def _right_handed(cell: Floats) -> Floats:
    return cell if np.linalg.det(cell) > 0.0 else cell[[1, 0, 2]]
