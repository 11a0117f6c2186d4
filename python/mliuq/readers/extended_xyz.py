"""Extended XYZ as people write it: keys in any case, stress and virial with six or nine numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TextIO

import ase.io
import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict

from mliuq.errors import MliuqError
from mliuq.readers.bounds import refuse_absurd_columns, refuse_absurd_counts

#: The words that ASE knows in one spelling only; another would be taken for a column of no meaning.
_SPELLED = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}
_KEY = re.compile(r"(?<![\w.\-\"'])(lattice|properties|pbc)(?=\s*=)", re.IGNORECASE)
_SIX = re.compile(r"""(?<![\w.\-"'])(stress|virial)(\s*=\s*)(["'{\[])([^"'}\]]*)(["'}\]])""")
_POSITIONS = ("pos", "positions")
_SYMBOLS, _NUMBERS = ("species", "symbols"), ("Z", "numbers")
_NUMBERS_TOO = "_numbers_beside_symbols"
_PAIR = re.compile(r"""([^\s="'{}\[\]]+)\s*=\s*("[^"]*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|\S+)""")


def read_extended_xyz(stream: TextIO) -> Iterator[Atoms]:
    """Read the configurations of an open extended XYZ file, one at a time."""
    refuse_absurd_counts(stream)
    for atoms in ase.io.iread(stream, ":", format="extxyz", properties_parser=_comment_line):
        _check_numbers(atoms)
        yield atoms


def _comment_line(line: str) -> dict[str, Any]:
    line = _KEY.sub(lambda match: _SPELLED[match[1].lower()], line)
    given: dict[str, str] = {}
    for key, value in _PAIR.findall(line):
        if given.setdefault(key, value) != value:
            raise MliuqError(f"the comment line gives {key[:200]!r} twice, {given[key][:200]} and {value[:200]}")
    found = dict(key_val_str_to_dict(_SIX.sub(_nine, line)))
    if "Properties" in found:
        found["Properties"] = _checked(str(found["Properties"]))
    if "pbc" in found and not np.isin(np.asarray(found["pbc"]), (False, True)).all():
        raise MliuqError(f"pbc is {given.get('pbc', '')[:200]}, expected T or F for each cell vector")
    return found


def _checked(properties: str) -> str:
    """Refuse columns that ASE would make atoms at the origin of; atomic numbers beside symbols go under a name apart.

    ASE takes the numbers and drops the symbols, whatever they say; QUIP writes both.
    """
    refuse_absurd_columns(properties)
    words = properties.split(":")
    names = words[::3]
    if not any(name in names for name in _POSITIONS):
        raise MliuqError(f"Properties is {properties[:200]}, expected pos:R:3 among them")
    symbols, numbers = (sum(name in known for name in names) for known in (_SYMBOLS, _NUMBERS))
    if symbols > 1 or numbers > 1 or not symbols + numbers:
        raise MliuqError(f"Properties is {properties[:200]}, expected one column of elements, species:S:1 or Z:I:1")
    if symbols and numbers:
        words[::3] = [_NUMBERS_TOO if name in _NUMBERS else name for name in names]
    return ":".join(words)


def _check_numbers(atoms: Atoms) -> None:
    """Refuse atomic numbers that are not those of the symbols beside them."""
    numbers = atoms.arrays.pop(_NUMBERS_TOO, None)
    if numbers is None:
        return
    for atom in np.flatnonzero(np.ravel(numbers) != atoms.numbers):
        raise MliuqError(
            f"atom {atom} (counted from 0) is {atoms.symbols[atom]} by its symbol and has the atomic number "
            f"{np.ravel(numbers)[atom]}, expected {atoms.numbers[atom]}"
        )


def _nine(match: re.Match[str]) -> str:
    """Six Voigt components xx yy zz yz xz xy as the 3 × 3 matrix that ASE expects."""
    key, equals, left, text, right = match.groups()
    numbers = text.replace(",", " ").split()
    if len(numbers) != 6:
        return match[0]
    xx, yy, zz, yz, xz, xy = numbers
    return f"{key}{equals}{left}{' '.join((xx, xy, xz, xy, yy, yz, xz, yz, zz))}{right}"
