"""One door to all readers: a path says by itself what it holds."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms
from ase.io.formats import filetype, ioformats

from mliuq.errors import MliuqError
from mliuq.inputs import refuse_streams
from mliuq.readers.bounds import (
    HEAD,
    OPENERS,
    open_text,
    refuse_absurd_cube,
    refuse_absurd_elements,
    refuse_absurd_outcar,
    refuse_absurd_poscar,
    refuse_more_than_lines,
)
from mliuq.readers.database import read_database
from mliuq.readers.deepmd import deepmd_systems, read_deepmd
from mliuq.readers.dialect import Dialect
from mliuq.readers.extended_xyz import read_extended_xyz
from mliuq.readers.fitsnap import fitsnap_files, read_fitsnap
from mliuq.readers.lammps_files import read_data, read_dump
from mliuq.readers.mtp import read_mtp
from mliuq.readers.n2p2 import read_n2p2
from mliuq.readers.origin import Origin, origin_of, with_origin
from mliuq.readers.pickles import refuse_pickle
from mliuq.readers.pymatgen_json import holds_pymatgen, read_pymatgen

_FIRST_LINES = 10  # among which JSON begins

#: Text formats that their first lines tell, before the name has a say.
_BY_CONTENT: tuple[tuple[re.Pattern[str], Callable[[str, Dialect], list[Atoms]]], ...] = (
    (re.compile(r"\A(\s*#.*\n)*\s*begin\s*\n", re.IGNORECASE), read_n2p2),
    (re.compile(r"^\s*BEGIN_CFG\s*$", re.MULTILINE), read_mtp),
    (re.compile(r"\A\s*ITEM: (TIMESTEP|UNITS|TIME)"), read_dump),
    (re.compile(r"^\s*\d+\s+atoms\s*(#.*)?$.*^\s*\d+\s+atom types\s*(#.*)?$", re.MULTILINE | re.DOTALL), read_data),
    (re.compile(r"<modeling>"), lambda text, _: _by_ase(text, "vasp-xml")),
    (re.compile(r"\A\s*vasp\.\d"), lambda text, _: _read_outcar(text)),
)

#: The same by their names where the first lines did not tell them.
_BY_FORMAT: dict[str, Callable[[str, Dialect], list[Atoms]]] = {
    "lammps-data": read_data,
    "lammps-dump-text": read_dump,
    "vasp-out": lambda text, _: _read_outcar(text),
}

#: Formats whose counts ASE believes or passes over, and who looks at them.
_COUNTS: dict[str, Callable[[str], None]] = {
    "vasp": refuse_absurd_poscar,
    "cube": refuse_absurd_cube,
    "gen": lambda text: refuse_more_than_lines(text.split(maxsplit=1)[:1], text),
}

_LINES_AFTER_END = 1000  # empty ones that a reader may ask for


log = logging.getLogger(__name__)


def read_structures(paths: str | Path | Iterable[str | Path], dialect: Dialect | None = None) -> list[Atoms]:
    """Read all configurations of one or several files or folders, in order.

    Parameters
    ----------
    paths : what docs/how-to/data.md lists: extended XYZ, VASP, LAMMPS, n2p2, MTP, DeePMD, FitSNAP, pymatgen's JSON, ASE
        databases, also compressed (`.gz`, `.bz2`, `.xz`), or any other file that `ase.io.read` knows
    dialect : what formats leave unsaid

    Returns
    -------
    list of Atoms
        Each knows the file and its index there (`mliuq.readers.origin`).

    Raises
    ------
    MliuqError
        for a missing, empty or unreadable file, with its name, and for a file that does not say enough.
    """
    return list(each_structure(paths, dialect))


def each_structure(paths: str | Path | Iterable[str | Path], dialect: Dialect | None = None) -> Iterator[Atoms]:
    """The same, one at a time: of extended XYZ no more than one is in memory, other files are read as a whole."""
    dialect = dialect or Dialect()
    dialect.validate()
    path = None
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        if not path.exists():
            raise MliuqError(f"{path}: no such file or folder")
        refuse_streams(path)
        count = 0
        for atoms in _read_folder(path, dialect) if path.is_dir() else _named(path, dialect):
            count += 1
            yield atoms
        if not count:
            raise MliuqError(f"{path}: holds no configurations")
        log.info("%s: %d configurations", path, count)
    if path is None:
        raise MliuqError("no data files were given")


def _read_folder(folder: Path, dialect: Dialect) -> Iterator[Atoms]:
    systems = deepmd_systems(folder)
    files = [] if systems else fitsnap_files(folder)
    if not systems and not files:
        raise MliuqError(
            f"{folder}: a folder without .json files (FitSNAP) and without type.raw (DeePMD): name the files in it"
        )
    for system in systems:
        group = None if system == folder else system.relative_to(folder).as_posix()
        with _in_words(system):
            yield from read_deepmd(system, dialect, group)
    for path in files:
        yield from _named(path, dialect, folder)


def _named(path: Path, dialect: Dialect, root: Path | None = None) -> Iterator[Atoms]:
    """Configurations of a file that know where they come from."""
    with _in_words(path):
        found, units_known = _read_file(path, dialect, root)
        for index, atoms in enumerate(found):
            refuse_absurd_elements(atoms, f"configuration {index}")
            yield atoms if origin_of(atoms) else with_origin(atoms, Origin(str(path), index, units_known))


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Turn whatever a reader stumbles over into an error that names the file."""
    try:
        yield
    except MliuqError as error:
        text = str(error)
        raise MliuqError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    except Exception as error:  # ASE's readers raise whatever the text made them stumble over
        raise MliuqError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error


def _read_file(path: Path, dialect: Dialect, root: Path | None) -> tuple[Iterable[Atoms], bool]:
    """Configurations, and whether the format says in which units they are."""
    refuse_pickle(path)
    packed = path.suffix in OPENERS
    suffix = Path(path.stem).suffix if packed else path.suffix
    if suffix == ".db":
        return read_database(path), False
    if suffix in (".xyz", ".extxyz", ".exyz"):
        return _frames(path), False
    text = _text(path)
    if text is None and suffix == ".json":
        raise MliuqError("holds zero bytes or is not UTF-8, expected JSON")
    if text is not None:
        if suffix == ".json":
            return _read_json(text, path, root)
        head = text[:HEAD]
        for pattern, reader in _BY_CONTENT:
            if pattern.search(head):
                return reader(text, dialect), True
        if packed and not suffix and re.match(r"\s*\d+\s*\n", head):
            return read_extended_xyz(StringIO(text)), False
    format_ = filetype(str(path))
    if text is None and _is_text(format_):
        raise MliuqError(f"holds zero bytes or is not UTF-8, expected text ({format_})")
    if text is not None and format_ in _BY_FORMAT:
        return _BY_FORMAT[format_](text, dialect), True
    if text is not None and format_ in _COUNTS:
        _COUNTS[format_](text)
    if text is not None and _is_text(format_):
        return _by_ase(text, format_, str(path)), True
    return _as_list(ase.io.read(path, ":", format=format_, do_not_split_by_at_sign=True)), True


def _is_text(format_: str) -> bool:
    """Whether ASE reads a format as text: such a file holds nothing else, or no bounds were checked."""
    return bool(ioformats[format_].acceptsfd and not ioformats[format_].isbinary)


def _frames(path: Path) -> Iterator[Atoms]:
    with open_text(path) as stream:
        yield from read_extended_xyz(stream)


def _text(path: Path) -> str | None:
    """The whole text of a file; None for one that is not text."""
    try:
        with open_text(path) as stream:
            head = stream.read(HEAD)
            return None if "\0" in head else head + stream.read()
    except UnicodeDecodeError:
        return None


def _read_json(text: str, path: Path, root: Path | None) -> tuple[list[Atoms], bool]:
    data = _parsed(text)
    if isinstance(data, dict) and "Dataset" in data:
        return read_fitsnap(data, path, root), True
    if isinstance(data, dict) and {"ids", "nextid"} <= set(data):
        return read_database(path), False
    if holds_pymatgen(data):
        return read_pymatgen(data), True
    raise MliuqError(
        "JSON of an unknown kind: expected FitSNAP's (a key 'Dataset'), pymatgen's (structures with 'lattice' and "
        "'sites') or a database of ASE"
    )


def _parsed(text: str) -> Any:
    """The JSON of a text that may begin with a line of any kind, as FitSNAP's files do, and hold comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    starts = [i for i, line in enumerate(lines[:_FIRST_LINES]) if line.lstrip()[:1] in ("{", "[")] or [0]
    failure: json.JSONDecodeError | None = None
    for start in starts:
        try:
            return json.loads("\n".join(lines[start:]), object_pairs_hook=_without_repeats)
        except json.JSONDecodeError as error:
            failure = failure or error
    raise MliuqError(f"not JSON: {failure}") from failure


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise MliuqError(f"JSON gives {next(n for n in names if names.count(n) > 1)[:200]!r} twice")
    return found


class _Stream(StringIO):
    """Text with a name, for some of ASE's readers ask for one, that ends: some read on until a count is full."""

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(text)
        self.name = name
        self._after_end = 0

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]  # of IOBase, as StringIO's own
        line = super().readline(size)
        self._after_end = 0 if line else self._after_end + 1
        if self._after_end > _LINES_AFTER_END:
            raise MliuqError("the text ends before what it claims to hold")
        return line


def _by_ase(text: str, format_: str, name: str = "") -> list[Atoms]:
    return _as_list(ase.io.read(_Stream(text, name), ":", format=format_))


def _read_outcar(text: str) -> list[Atoms]:
    refuse_absurd_outcar(text)
    return _by_ase(text, "vasp-out")


def _as_list(found: Atoms | list[Atoms]) -> list[Atoms]:
    return [found] if isinstance(found, Atoms) else list(found)
