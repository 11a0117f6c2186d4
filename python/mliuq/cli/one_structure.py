"""One structure from the command line: FILE, or FILE@INDEX where a file holds several."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.readers.dialect import Dialect


def one_structure(name: str, dialect: Dialect | None = None) -> Atoms:
    """The structure that FILE or FILE@INDEX names.

    Raises
    ------
    MliuqError
        For a file of several structures without an index, an index it does not have, and whatever reading raises.
    """
    from mliuq.readers import read_structures

    path, at, index = name.rpartition("@")
    if not at or Path(name).exists():
        path, index = name, ""
    found = read_structures(path, dialect)
    if not index:
        if len(found) > 1:
            raise MliuqError(f"{path}: holds {len(found)} configurations, expected one: pick it by {path}@INDEX")
        return found[0]
    try:
        return found[int(index)]
    except ValueError:
        raise MliuqError(f"{name}: expected an integer behind @") from None
    except IndexError:
        raise MliuqError(f"{name}: {path} holds {len(found)} configurations, counted from 0") from None
