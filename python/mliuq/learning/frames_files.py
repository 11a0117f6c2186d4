"""Structures as extended XYZ files that are whole or not there; no structures are an empty file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import ase.io
from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.readers.extended_xyz import read_extended_xyz


def to_bytes(structures: Sequence[Atoms]) -> bytes:
    """Extended XYZ of structures with their results."""
    stream = io.StringIO()
    if structures:
        ase.io.write(stream, structures, format="extxyz")
    return stream.getvalue().encode()


def read(path: Path) -> list[Atoms]:
    """Structures of a file that `to_bytes` made, or an answer to one.

    Raises
    ------
    MliuqError
        for a file that cannot be read.
    """
    try:
        if not path.stat().st_size:
            return []
        with path.open(encoding="utf-8") as stream:
            return list(read_extended_xyz(stream))
    except Exception as error:  # ASE raises whatever a damaged file leads to
        raise MliuqError(f"{path}: cannot be read: {error}") from error
