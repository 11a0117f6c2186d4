"""One door to all readers: a path says by itself what it holds."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.readers.extended_xyz import read_extended_xyz
from mliuq.readers.fitsnap import read_fitsnap_folder
from mliuq.readers.origin import Origin, origin_of, with_origin

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def read_structures(paths: str | Path | Iterable[str | Path]) -> list[Atoms]:
    """Read all configurations of one or several files or folders, in order.

    Parameters
    ----------
    paths : extended XYZ (`.xyz`, `.extxyz`, also with `.gz`, `.bz2` or `.xz`), ASE database (`.db`), a folder of
        FitSNAP JSON files (groups are sub-folders), or any other file that `ase.io.read` knows.

    Raises
    ------
    MliuqError
        for a missing, empty or unreadable file, with its name.
    """
    structures: list[Atoms] = []
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        if not path.exists():
            raise MliuqError(f"{path}: no such file or folder")
        try:
            found = _read_one(path)
        except MliuqError:
            raise
        except Exception as error:  # ASE's readers raise whatever the text made them stumble over
            raise MliuqError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error
        if not found:
            raise MliuqError(f"{path}: holds no configurations")
        units_known = not (path.suffix == ".db" or _xyz(path))
        structures += [
            with_origin(atoms, origin_of(atoms) or Origin(str(path), index, units_known))
            for index, atoms in enumerate(found)
        ]
    if not structures:
        raise MliuqError("no data files were given")
    return structures


def _read_one(path: Path) -> list[Atoms]:
    if path.is_dir():
        return read_fitsnap_folder(path)
    if path.suffix in _OPENERS:
        # Decompressed as a whole: ASE seeks back and forth, which takes minutes inside a compressed stream.
        with _OPENERS[path.suffix](path, "rt", encoding="utf-8") as stream:
            text = stream.read()
        if _xyz(path):
            return read_extended_xyz(StringIO(text))
        return _as_list(ase.io.read(StringIO(text), ":"))
    if _xyz(path):
        with path.open(encoding="utf-8") as stream:
            return read_extended_xyz(stream)
    if path.suffix == ".db":
        return _read_database(path)
    return _as_list(ase.io.read(path, ":", do_not_split_by_at_sign=True))


def _xyz(path: Path) -> bool:
    """Whether the name is that of an extended XYZ file, compressed or not."""
    stem = Path(path.stem) if path.suffix in _OPENERS else path
    return (stem.suffix or ".xyz") in (".xyz", ".extxyz", ".exyz")


def _as_list(found: Atoms | list[Atoms]) -> list[Atoms]:
    return [found] if isinstance(found, Atoms) else list(found)


def _read_database(path: Path) -> list[Atoms]:
    import ase.db

    structures = []
    with ase.db.connect(path, use_lock_file=False) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info.update(row.key_value_pairs)
            structures.append(atoms)
    return structures
