"""Structures out: extended XYZ or an ASE database that appears only when it is complete."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from mliuq.errors import MliuqError


@contextmanager
def structure_writer(path: Path) -> Iterator[Callable[[Atoms], None]]:
    """Give a function that appends a configuration; the file takes its name only when the block ends well.

    Names ending in .db or .json become ASE databases, all others extended XYZ.
    """
    if not path.parent.is_dir():
        raise MliuqError(f"{path}: folder {path.parent} does not exist")
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    as_database = path.suffix in (".db", ".json")
    try:
        if as_database:
            from ase.db import connect

            with connect(str(temporary), append=False) as database:
                yield lambda atoms: database.write(atoms, data=_data(atoms))
        else:
            with temporary.open("w", encoding="utf-8") as stream:
                yield lambda atoms: ase.io.write(stream, atoms, format="extxyz")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _data(atoms: Atoms) -> dict[str, Any]:
    """What a database keeps beside ASE's own columns: info, and per-atom arrays it has no column for."""
    own = ("numbers", "positions", "tags", "momenta", "masses", "initial_magmoms", "initial_charges")
    data = {name: array for name, array in atoms.arrays.items() if name not in own}
    info = {key: value.item() if isinstance(value, np.generic) else value for key, value in atoms.info.items()}
    return data | info
