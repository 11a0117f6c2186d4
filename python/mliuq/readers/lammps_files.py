"""LAMMPS's data files and text dumps, in metal units."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.io.lammpsdata import read_lammps_data
from ase.io.lammpsrun import read_lammps_dump_text

from mliuq.errors import MliuqError
from mliuq.readers.bounds import refuse_more_than_lines
from mliuq.readers.dialect import Dialect
from mliuq.readers.results import attach

_MASS = 0.1  # u; closer than this to an element's, a mass names it


def read_data(text: str, dialect: Dialect) -> list[Atoms]:
    """Read a data file; elements from `--types`, from type labels, or from masses that name them.

    Raises
    ------
    MliuqError
        where none of these tells the elements.
    """
    for count in re.findall(r"^[^\S\n]*(\S+)[^\S\n]+atoms", text, re.MULTILINE):
        refuse_more_than_lines([count], text)
    numbers: dict[int, int] | None = None
    if dialect.types:
        numbers = {i: atomic_numbers[name] for i, name in enumerate(dialect.types, start=1)}
    elif not re.search(r"^\s*(Masses|Atom Type Labels)\b", text, re.MULTILINE):
        dialect.elements([1], 1)  # says what is missing
    try:
        atoms: Atoms = read_lammps_data(StringIO(text), Z_of_type=numbers)
    except KeyError as error:
        raise MliuqError(f"an atom has type {error}, but --types {','.join(dialect.types)} does not name it") from error
    if numbers is None:
        _refuse_odd_masses(atoms)
    return [atoms]


def read_dump(text: str, dialect: Dialect) -> list[Atoms]:
    """Read all frames of a text dump; forces where it holds fx fy fz.

    Raises
    ------
    MliuqError
        for other units, or where neither an `element` column nor `--types` tells the elements.
    """
    units = re.search(r"^ITEM: UNITS\s*\n\s*(\S+)", text, re.MULTILINE)
    if units and units[1] != "metal":
        raise MliuqError(f"the dump is in units {units[1]!r}, expected metal")
    for count in re.findall(r"ITEM: NUMBER OF ATOMS.*\n\s*(\S+)", text):
        refuse_more_than_lines([count], text)
    columns = re.search(r"^ITEM: ATOMS (.*)$", text, re.MULTILINE)
    names = columns[1].split() if columns else []
    if "element" not in names and "mass" not in names:
        dialect.elements([1], 1)
    options: dict[str, Any] = {"specorder": list(dialect.types)} if dialect.types else {}
    try:
        found = read_lammps_dump_text(StringIO(text), index=slice(None), **options)
    except IndexError as error:
        raise MliuqError(f"an atom has a type that --types {','.join(dialect.types)} does not name") from error
    for atoms in found:
        if "element" not in names and "mass" in names:
            _refuse_odd_masses(atoms)
        forces = None if atoms.calc is None else atoms.calc.results.get("forces")
        atoms.calc = None  # the reader makes up an energy of zero
        attach(atoms, forces=forces)
    return list(found)


def _refuse_odd_masses(atoms: Atoms) -> None:
    """Elements are guessed from masses: only from those that are an element's."""
    off = np.abs(atoms.get_masses() - atomic_masses[atoms.numbers])
    if len(off) and off.max() > _MASS:
        mass = float(atoms.get_masses()[int(off.argmax())])
        raise MliuqError(f"mass {mass:g} is no element's: expected --types, such as --types W,Be")
