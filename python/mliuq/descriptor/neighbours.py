"""Neighbours of a structure, packed for the core: owned atoms, then the periodic images within reach."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from vesin import NeighborList

from mliuq.core import PackedStructure
from mliuq.descriptor.geometry import CLOSEST, Floats, Integers, list_cutoff, listable
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError

_THINNEST = 0.1  # Å; a periodic cell thinner than this puts every atom on top of its own image
_FARTHEST = 1e9  # Å; here neighbouring doubles are 1e-7 Å apart


class Neighbours:
    """A structure's images and full neighbour lists, good until an atom has moved by half the skin.

    Parameters
    ----------
    atoms : ase.Atoms
        Any cell: periodic, partly periodic, none; thinner than the cutoff is fine, images are counted.
    params : SnapParams
        Elements and their order.
    cutoff : float
        Å.
    skin : float
        Extra reach of the lists, Å.

    Raises
    ------
    MliuqError
        For an empty structure, an element the model does not know, positions or cell that are not finite, or atoms
        on top of each other.
    """

    def __init__(self, atoms: Atoms, params: SnapParams, cutoff: float, skin: float = 0.0) -> None:
        _check(atoms)
        self._species = np.array(params.index_of(atoms.get_chemical_symbols()))
        self._numbers = atoms.numbers.copy()
        self._cell = atoms.cell.array.copy()
        self._pbc = atoms.pbc.copy()
        self._positions = np.array(atoms.positions, dtype=np.float64)  # whatever numbers the structure holds
        self._skin = skin
        i, j, shifts, distances = _list(self._positions, self._cell, self._pbc, cutoff + skin)
        if len(distances) and distances.min() < CLOSEST:
            pair = int(distances.argmin())
            raise MliuqError(
                f"atoms {i[pair]} and {j[pair]} (counted from 0) are {distances[pair]:.2e} Å apart, "
                f"expected more than {CLOSEST} Å"
            )
        self._pack(i, j, shifts, params.n_elements)

    def _pack(self, i: NDArray[np.int64], j: NDArray[np.int64], shifts: NDArray[np.int64], n_elements: int) -> None:
        n = len(self._positions)
        targets = j.copy()
        crossing = np.flatnonzero(shifts.any(axis=1))
        # One number per image sorts faster than rows of four.
        reach = int(np.abs(shifts).max(initial=0))
        span = 2 * reach + 1
        if n * span**3 > 2**62:
            raise MliuqError(f"atoms lie {reach} cells outside the cell, wrap the positions into the cell first")
        places = (span, span, span, n)
        place = np.ravel_multi_index((*(shifts[crossing] + reach).T, j[crossing]), places)
        images, inverse = np.unique(place, return_inverse=True)
        targets[crossing] = n + inverse
        *cells, atoms = np.unravel_index(images, places)
        image_shifts = np.column_stack(cells) - reach
        self._owners = np.concatenate([np.arange(n), atoms])
        self._shifts = np.concatenate([np.zeros((n, 3)), image_shifts @ self._cell])
        offsets = np.concatenate([[0], np.cumsum(np.bincount(i, minlength=n))])
        volume = abs(np.linalg.det(self._cell))
        self.structure = PackedStructure(
            self._positions[self._owners] + self._shifts,
            self._species[self._owners],
            self._owners,
            offsets,
            targets,
            n_elements,
            volume,
        )

    def follow(self, atoms: Atoms) -> bool:
        """Move to the new positions if the lists still hold for them; False when they must be made anew."""
        if (
            len(atoms) != len(self._numbers)
            or not np.array_equal(atoms.numbers, self._numbers)
            or not np.array_equal(atoms.cell.array, self._cell)
            or not np.array_equal(atoms.pbc, self._pbc)
        ):
            return False
        moved = atoms.positions - self._positions
        if not np.einsum("ij,ij->i", moved, moved).max() <= (0.5 * self._skin) ** 2:
            return False  # NaN ends here too and is named when the lists are made anew
        self.structure.set_positions(atoms.positions[self._owners] + self._shifts)
        return True


def pack(atoms: Atoms, params: SnapParams, cutoff: float | None = None) -> PackedStructure:
    """One structure for one evaluation, no skin; ``cutoff`` in Å, the descriptor's when not given."""
    return Neighbours(atoms, params, params.cutoff if cutoff is None else cutoff).structure


def _list(
    positions: Floats, cell: Floats, pbc: NDArray[np.bool_], reach: float
) -> tuple[Integers, Integers, Integers, Floats]:
    """Full list of pairs within reach, sorted by i: i, j, shifts (in cells), distances (Å)."""
    listed = listable(positions, cell, pbc, reach)
    cutoff = list_cutoff(listed, pbc, reach)
    i, j, shifts, distances = NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1).compute(
        listed.positions, listed.cell, pbc, "ijSd"
    )
    if cutoff > reach:
        inside = distances < reach
        i, j, shifts, distances = i[inside], j[inside], shifts[inside], distances[inside]
    i, j = i.astype(np.int64), j.astype(np.int64)
    return i, j, listed.shifts(i, j, shifts.astype(np.int64)), distances


def _check(atoms: Atoms) -> None:
    if len(atoms) == 0:
        raise MliuqError("the structure has no atoms, expected at least one")
    if not np.all(np.isfinite(atoms.positions)):
        atom = int(np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))[0])
        raise MliuqError(
            f"atom {atom} (counted from 0) has position {atoms.positions[atom].tolist()}, expected finite numbers"
        )
    farthest = np.abs(atoms.positions).max(axis=1)
    if farthest.max() > _FARTHEST:
        raise MliuqError(
            f"atom {int(farthest.argmax())} (counted from 0) is {farthest.max():.3g} Å from the origin, "
            f"expected at most {_FARTHEST:.0e} Å: wrap the positions into the cell first"
        )
    cell = atoms.cell.array
    if not np.all(np.isfinite(cell)):
        raise MliuqError(f"the cell is {cell.tolist()}, expected finite numbers")
    if not atoms.pbc.any():
        return
    for axis in np.flatnonzero(atoms.pbc):
        length = np.linalg.norm(cell[axis])
        if length < _THINNEST:
            raise MliuqError(
                f"cell vector {axis} is {length:.3g} Å long, expected at least {_THINNEST} Å in a periodic direction"
            )
    periodic = cell[atoms.pbc]
    spread = np.sqrt(max(np.linalg.det(periodic @ periodic.T), 0.0))
    if spread < 1e-6 * np.prod(np.linalg.norm(periodic, axis=1)):
        raise MliuqError(f"the periodic cell vectors {periodic.tolist()} are linearly dependent")
