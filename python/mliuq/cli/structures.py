"""Structures out: a file whose ending decides its format and that appears only when it is complete."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import ase.io
import numpy as np
from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.outputs import Kind, check_output, is_stream, written_whole

Write = Callable[[Atoms], None]

ENDINGS = (".xyz", ".extxyz", ".xyz.gz", ".traj", ".db", ".json")

#: How files are recognised that may be replaced; compressed ones by the magic numbers of gzip, bzip2 and xz.
_KINDS = {
    ".xyz": Kind("an XYZ file", lambda head: head.split()[:1] != [] and head.split()[0].isdigit()),
    ".gz": Kind("a gzip file", lambda head: head.startswith(b"\x1f\x8b")),
    ".bz2": Kind("a bzip2 file", lambda head: head.startswith(b"BZh")),
    ".xz": Kind("an xz file", lambda head: head.startswith(b"\xfd7zXZ")),
    ".traj": Kind("an ASE trajectory", lambda head: head.startswith(b"- of Ulm")),
    ".db": Kind("an ASE database", lambda head: head.startswith(b"SQLite format 3")),
    ".json": Kind("an ASE database in JSON", lambda head: re.match(rb'\s*\{\s*"(\d+|ids)"', head) is not None),
}
#: Columns that ASE's databases and trajectories keep by themselves.
_OWN = ("numbers", "positions", "tags", "momenta", "masses", "initial_magmoms", "initial_charges")


def check_structures(path: Path, inputs: Iterable[Path]) -> None:
    """Refuse a file of structures that must not or cannot be written, before any work is done.

    Raises
    ------
    MliuqError
        for an ending without a format, and whatever `check_output` refuses.
    """
    form, packed = _format(path)
    check_output(path, inputs=inputs, kind=_KINDS[packed or form])


@contextmanager
def structure_writer(path: Path) -> Iterator[Write]:
    """Give a function that appends a configuration; the file takes its name only when the block ends well.

    Extended XYZ holds everything under its name.  Databases keep in `data`, and trajectories in `info`, what they have
    no column for.
    """
    form, packed = _format(path)
    with written_whole(path) as (draft,):
        if form == ".xyz":
            with _open_text(draft, packed) as stream:
                yield lambda atoms: ase.io.write(stream, atoms, format="extxyz")
        elif form == ".traj":
            with ase.io.Trajectory(draft, "w") as trajectory:
                yield lambda atoms: trajectory.write(_with_all_in_info(atoms))
        else:
            from ase.db import connect

            with connect(draft, type=form[1:], append=False) as database:
                yield lambda atoms: database.write(atoms, data=_extra(atoms))


def _format(path: Path) -> tuple[str, str]:
    """Return format and compression that a name asks for, both as endings; streams get extended XYZ."""
    *_, before, last = ["", "", *path.suffixes]
    packed = last if last in (".gz", ".bz2", ".xz") else ""
    form = before if packed else last
    form = ".xyz" if form == ".extxyz" else form
    if form in _KINDS and (not packed or form == ".xyz"):
        return form, packed
    if is_stream(path):
        return ".xyz", ""
    found = f"{before}{last}" if packed else last
    raise MliuqError(
        f"{path}: the ending {found!r} names no format to write, expected one of {' '.join(ENDINGS)}, "
        "or - for standard output"
    )


def _open_text(path: Path, packed: str) -> TextIO:
    if packed == ".bz2":
        return bz2.open(path, "wt", encoding="utf-8")
    if packed == ".xz":
        return lzma.open(path, "wt", encoding="utf-8")
    return gzip.open(path, "wt", encoding="utf-8") if packed else path.open("w", encoding="utf-8")


def _extra(atoms: Atoms) -> dict[str, Any]:
    """What a database or trajectory has no place for: info, and per-atom arrays that are not its columns."""
    data = {name: array for name, array in atoms.arrays.items() if name not in _OWN}
    info = {key: value.item() if isinstance(value, np.generic) else value for key, value in atoms.info.items()}
    return data | info


def _with_all_in_info(atoms: Atoms) -> Atoms:
    whole: Atoms = atoms.copy()
    whole.calc, whole.info = atoms.calc, _extra(atoms)
    return whole
