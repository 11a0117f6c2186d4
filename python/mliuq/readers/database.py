"""ASE's databases, with the values that people keep beside ASE's own columns."""

from __future__ import annotations

from pathlib import Path

import ase.db
import numpy as np
from ase import Atoms


def read_database(path: Path) -> list[Atoms]:
    """All rows; key-value pairs and `data` go to `info`, what has a row for every atom to `arrays`."""
    structures = []
    with ase.db.connect(path, use_lock_file=False) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info.update(row.key_value_pairs)
            for key, value in row.data.items():
                if isinstance(value, np.ndarray | list) and np.shape(value)[:1] == (len(atoms),):
                    if key not in atoms.arrays and not (np.ndim(value) == 1 and key in _OF_THE_CELL):
                        atoms.arrays[key] = np.asarray(value)
                elif value is not None:
                    atoms.info.setdefault(key, np.asarray(value) if isinstance(value, list) else value)
            structures.append(atoms)
    return structures


#: Six numbers that a structure of six atoms must not take for one of each atom.
_OF_THE_CELL = ("stress", "virial", "virials")
