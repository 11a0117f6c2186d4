"""Many structures in little memory: their numbers, made into `Atoms` when asked for.

An `Atoms` of two atoms with energy and forces takes 3.8 kB, nearly all of it Python objects; its numbers are 250 bytes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator

from mliuq.readers.origin import Origin, origin_of, with_origin

_CELL, _PBC = "", " "  # no names of arrays

_Specs = tuple[tuple[str, str, tuple[int, ...]], ...]  # name, dtype, shape


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the bytes of a structure are: arrays of the atoms, then results, if there is a calculator."""

    arrays: _Specs
    results: _Specs
    has_results: bool
    results_at: int


@dataclass(frozen=True, slots=True)
class _Kept:
    layout: _Layout
    content: bytes
    info: dict[str, Any] | None
    path: str | None
    index: int
    units_known: bool


class KeptStructures(Sequence[Atoms]):
    """Structures that are made anew, equal ones each time, whenever one is asked for; what is done to one is not kept.

    A structure that is more than arrays, `info` and results (constraints, a calculator that calculates) is kept whole.

    Parameters
    ----------
    structures : iterable of Atoms
        Gone through once.
    """

    def __init__(self, structures: Iterable[Atoms] = ()) -> None:
        layouts: dict[_Layout, _Layout] = {}
        self._kept: list[_Kept | Atoms] = [_keep(atoms, layouts) for atoms in structures]

    @overload
    def __getitem__(self, index: int) -> Atoms: ...
    @overload
    def __getitem__(self, index: slice) -> KeptStructures: ...
    def __getitem__(self, index: int | slice) -> Atoms | KeptStructures:
        if isinstance(index, slice):
            return self._of(self._kept[index])
        return _made(self._kept[index])

    def __iter__(self) -> Iterator[Atoms]:
        return map(_made, self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def _of(self, kept: list[_Kept | Atoms]) -> KeptStructures:
        part = KeptStructures()
        part._kept = kept
        return part

    @property
    def know_their_origin(self) -> bool:
        """Whether each says where it comes from."""
        return all(origin_of(kept) if isinstance(kept, Atoms) else kept.index >= 0 for kept in self._kept)

    def chosen(self, indices: Iterable[int]) -> KeptStructures:
        """The structures of some indices."""
        return self._of([self._kept[index] for index in indices])

    def followed_by(self, others: KeptStructures) -> KeptStructures:
        """These, then others."""
        return self._of(self._kept + others._kept)


def chosen(structures: Sequence[Atoms], indices: Iterable[int]) -> Sequence[Atoms]:
    """Structures of some indices, kept as the others are."""
    if isinstance(structures, KeptStructures):
        return structures.chosen(indices)
    return [structures[index] for index in indices]


def joined(first: Sequence[Atoms], second: Sequence[Atoms]) -> Sequence[Atoms]:
    """Structures, then others."""
    if isinstance(first, KeptStructures) and isinstance(second, KeptStructures):
        return first.followed_by(second)
    return [*first, *second]


def _keep(atoms: Atoms, layouts: dict[_Layout, _Layout]) -> _Kept | Atoms:
    results = {} if atoms.calc is None else _plain_results(atoms)
    if results is None or type(atoms) is not Atoms or atoms.constraints or atoms.get_celldisp().any():
        return atoms
    arrays = {**atoms.arrays, _CELL: atoms.cell.array, _PBC: atoms.pbc}
    if any(array.dtype.hasobject for array in (*arrays.values(), *results.values())):
        return atoms
    begin = sum(array.nbytes for array in arrays.values())
    layout = _Layout(_specs(arrays), _specs(results), atoms.calc is not None, begin)
    layout = layouts.setdefault(layout, layout)
    content = b"".join(array.tobytes() for array in (*arrays.values(), *results.values()))
    origin = origin_of(atoms) or Origin(None, -1)
    info = copy.deepcopy(atoms.info) or None
    return _Kept(layout, content, info, origin.path, origin.index, origin.units_known)


def _plain_results(atoms: Atoms) -> dict[str, np.ndarray[Any, Any]] | None:
    """Results of these very atoms; None where there is another kind of calculator, or atoms moved since."""
    calc = atoms.calc
    if not isinstance(calc, SinglePointCalculator) or calc.atoms is None or calc.check_state(atoms):
        return None
    results = {name: np.asarray(value) for name, value in calc.results.items() if value is not None}
    return results if len(results) == len(calc.results) else None


def _specs(arrays: dict[str, np.ndarray[Any, Any]]) -> _Specs:
    return tuple((name, array.dtype.str, array.shape) for name, array in arrays.items())


def _made(kept: _Kept | Atoms) -> Atoms:
    if isinstance(kept, Atoms):
        return kept
    atoms = _unvalued(kept)
    if kept.layout.has_results:
        atoms.calc = _KeptResults(kept)
    return atoms if kept.index < 0 else with_origin(atoms, Origin(kept.path, kept.index, kept.units_known))


def _unvalued(kept: _Kept) -> Atoms:
    arrays = dict(_arrays(kept.content, kept.layout.arrays, 0))
    cell, pbc = arrays.pop(_CELL), arrays.pop(_PBC)
    atoms = Atoms(cell=cell, pbc=pbc, info=copy.deepcopy(kept.info) if kept.info else None)
    atoms.arrays = arrays
    return atoms


def _arrays(content: bytes, specs: _Specs, at: int) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    for name, dtype, shape in specs:
        array = np.ndarray(shape, dtype, content, at).copy()
        at += array.nbytes
        yield name, array


class _KeptResults(SinglePointCalculator):
    """Results of a structure; the atoms they belong to are made when something is compared with them."""

    def __init__(self, kept: _Kept) -> None:
        Calculator.__init__(self)
        self._of = kept
        values = _arrays(kept.content, kept.layout.results, kept.layout.results_at)
        self.results = {name: value if value.ndim else value[()] for name, value in values}

    @property
    def atoms(self) -> Atoms:
        return _unvalued(self._of)

    @atoms.setter
    def atoms(self, atoms: Atoms | None) -> None:
        pass  # ASE resets what is never reset here
