"""Neighbours of a structure, packed for the core: owned atoms, then the periodic images within reach."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from vesin import NeighborList

from mliuq.core import PackedStructure
from mliuq.descriptor.geometry import CLOSEST, Listable, list_cutoff, listable
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError, in_range

_THINNEST = 0.1  # Å; a periodic cell thinner than this puts every atom on top of its own image
_LARGEST_NUMBER = 118
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
        reach = cutoff + skin
        listed = listable(self._positions, self._cell, self._pbc, reach)
        pairs, shifts = _pairs(listed, self._pbc, reach)
        self.structure = PackedStructure(
            self._positions,
            self._species,
            self._cell,
            pairs,
            shifts,
            listed.basis,
            listed.wraps,
            params.n_elements,
            abs(np.linalg.det(self._cell)),
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
        self.structure.move(atoms.positions)
        return True


def pack(atoms: Atoms, params: SnapParams, cutoff: float | None = None) -> PackedStructure:
    """One structure for one evaluation, no skin; ``cutoff`` in Å, the descriptor's when not given."""
    return Neighbours(atoms, params, params.cutoff if cutoff is None else cutoff).structure


def neighbour_distances(atoms: Atoms, reach: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Every atom's neighbours within reach (Å), images included, in any order: the atom and the distance, (n,) each."""
    pairs, distances = neighbour_pairs(atoms, reach)
    return pairs[:, 0], distances


def neighbour_pairs(atoms: Atoms, reach: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Every atom's neighbours within reach (Å), images included, in any order: both atoms (n, 2), the distance (n,).

    Raises
    ------
    MliuqError
        For a structure without atoms, numbers that are not finite, a cell without a volume.
    """
    _check(atoms)
    positions = np.array(atoms.positions, dtype=np.float64)
    listed = listable(positions, atoms.cell.array, atoms.pbc, reach)
    pairs, distances = _within(listed, atoms.pbc, reach, "Pd", twice=True)
    return pairs.astype(np.int64), np.asarray(distances, dtype=np.float64)


def _within(
    listed: Listable, pbc: NDArray[np.bool_], reach: float, quantities: str, *, twice: bool
) -> list[NDArray[Any]]:
    """Vesin's quantities, distances the last, of pairs within reach, in any order; `twice`: seen from both atoms."""
    cutoff = list_cutoff(listed.extents, reach)
    found = NeighborList(cutoff=cutoff, full_list=twice, sorted=False, n_threads=1).compute(
        listed.positions, listed.cell, pbc, quantities
    )
    if cutoff > reach:
        inside = found[-1] < reach
        return [column[inside] for column in found]
    return list(found)


def _pairs(listed: Listable, pbc: NDArray[np.bool_], reach: float) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Every pair within reach once, in any order: atoms (n, 2), and shifts (n, 3) in cells of what is listed."""
    pairs, shifts, distances = _within(listed, pbc, reach, "PSd", twice=False)
    if len(distances) and distances.min() < CLOSEST:
        nearest = int(distances.argmin())
        i, j = sorted(pairs[nearest])
        raise MliuqError(
            f"atoms {i} and {j} (counted from 0) are {distances[nearest]:.2e} Å apart, expected more than {CLOSEST} Å"
        )
    return pairs, shifts


def refuse_unknown_elements(atoms: Atoms) -> None:
    """Refuse atomic numbers that no element has.

    Raises
    ------
    MliuqError
        naming the number.
    """
    for number in (atoms.numbers.min(initial=0), atoms.numbers.max(initial=0)):
        in_range("an atomic number", number, 0, _LARGEST_NUMBER)  # ASE takes −90 for the 90th symbol from the end


def _check(atoms: Atoms) -> None:
    if len(atoms) == 0:
        raise MliuqError("the structure has no atoms, expected at least one")
    refuse_unknown_elements(atoms)
    if not float(np.abs(atoms.positions).max()) <= _FARTHEST:  # half precision does not reach the bound
        _refuse_positions(atoms.positions)
    cell = atoms.cell.array
    if not float(np.abs(cell).max()) <= _FARTHEST:
        expected = f"numbers of at most {_FARTHEST:.0e} Å" if np.all(np.isfinite(cell)) else "finite numbers"
        raise MliuqError(f"the cell is {cell.tolist()}, expected {expected}")
    if not atoms.pbc.any():
        return
    lengths = np.sqrt(np.square(cell).sum(axis=1))
    for axis in np.flatnonzero(atoms.pbc & (lengths < _THINNEST)):
        raise MliuqError(
            f"cell vector {axis} is {lengths[axis]:.3g} Å long, expected at least {_THINNEST} Å in a periodic direction"
        )
    periodic = cell[atoms.pbc]
    spread = np.sqrt(max(np.linalg.det(periodic @ periodic.T), 0.0))
    if spread < 1e-6 * np.prod(lengths[atoms.pbc]):
        raise MliuqError(f"the periodic cell vectors {periodic.tolist()} are linearly dependent")


def _refuse_positions(positions: NDArray[Any]) -> NoReturn:
    unknown = ~np.isfinite(positions).all(axis=1)
    atom = int(unknown.argmax() if unknown.any() else np.abs(positions).max(axis=1).argmax())
    if unknown.any():
        raise MliuqError(
            f"atom {atom} (counted from 0) has position {positions[atom].tolist()}, expected finite numbers"
        )
    raise MliuqError(
        f"atom {atom} (counted from 0) is {float(np.abs(positions[atom]).max()):.3g} Å from the origin, "
        f"expected at most {_FARTHEST:.0e} Å: wrap the positions into the cell first"
    )
