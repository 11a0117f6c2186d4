"""What a killed run goes on from: one file, replaced as a whole, exact to the last bit."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.outputs import write_files

_ARRAYS = ("numbers", "positions", "momenta", "cell", "pbc")


def save(path: Path, atoms: Atoms, facts: dict[str, Any]) -> None:
    """Write positions, momenta and cell of `atoms` and `facts` (plain data)."""
    stream = io.BytesIO()
    np.savez(
        stream,
        numbers=atoms.numbers,
        positions=atoms.positions,
        momenta=atoms.get_momenta(),
        cell=atoms.cell.array,
        pbc=atoms.pbc,
        facts=np.array(json.dumps(facts)),
    )
    write_files({path: stream.getvalue()})


def load(path: Path, atoms: Atoms) -> dict[str, Any]:
    """Put `atoms` where the checkpoint says and return its facts.

    Raises
    ------
    MliuqError
        For a file that is missing or no checkpoint, and for other atoms than it was written for.
    """
    arrays, facts = _read(path)
    if not np.array_equal(arrays["numbers"], atoms.numbers):
        found = Atoms(numbers=arrays["numbers"]).get_chemical_formula()
        raise MliuqError(f"{path}: holds {found}, expected the atoms of the start, {atoms.get_chemical_formula()}")
    atoms.set_cell(arrays["cell"])
    atoms.set_pbc(arrays["pbc"])
    atoms.set_positions(arrays["positions"], apply_constraint=False)
    atoms.set_momenta(arrays["momenta"], apply_constraint=False)
    return facts


def facts_of(path: Path) -> dict[str, Any]:
    """The facts of a checkpoint alone; raises as `load` does."""
    return _read(path)[1]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not path.is_file():
        raise MliuqError(f"{path}: no such file, there is no run to go on with")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in _ARRAYS}
            return arrays, dict(json.loads(str(stored["facts"])))
    except (OSError, ValueError, KeyError, EOFError, TypeError, RecursionError, zipfile.BadZipFile) as error:
        raise MliuqError(f"{path}: not a checkpoint of a run, or damaged: {error}") from error
