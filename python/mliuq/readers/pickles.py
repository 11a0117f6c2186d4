"""Pickles are not read: opening one runs whatever code it holds."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from mliuq.errors import MliuqError

_NAME = re.compile(r"\.(pckl|pkl|pickle)(\.(gzip|gz|bz2|xz))?$", re.IGNORECASE)
_FIRST = re.compile(rb"\x80[\x02-\x05]")

_WAY_OUT = (
    "a pickle, which is not read: opening one runs whatever code it holds. If you trust it, write extended XYZ from it "
    "(pacemaker: import pandas, ase.io; frame = pandas.read_pickle(NAME, compression='gzip'); for each row set "
    "row.ase_atoms.info['energy'] = row.energy and row.ase_atoms.arrays['forces'] = row.forces; "
    "ase.io.write('data.xyz', list(frame.ase_atoms), format='extxyz'))"
)


def refuse_pickle(path: Path) -> None:
    """Refuse a pickle, told by its name or its first bytes.

    Raises
    ------
    MliuqError
        with the reason and the way out.
    """
    if _NAME.search(path.name):
        raise MliuqError(f"{path}: {_WAY_OUT}")
    try:
        with (gzip.open if path.suffix in (".gz", ".gzip") else open)(path, "rb") as stream:
            first = stream.read(2)
    except (OSError, EOFError):
        return  # the reader of this format will say what is wrong
    if _FIRST.match(first):
        raise MliuqError(f"{path}: {_WAY_OUT}")
