"""Extended XYZ files larger than memory: only where each configuration begins is kept, 8 bytes for each."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import overload

from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.inputs import refuse_streams
from mliuq.readers.bounds import HEAD, refuse_absurd_elements
from mliuq.readers.dialect import Dialect
from mliuq.readers.extended_xyz import read_extended_xyz
from mliuq.readers.origin import Origin, with_origin
from mliuq.readers.structures import read_structures

_ENDINGS = (".xyz", ".extxyz", ".exyz")


class IndexedXyz(Sequence[Atoms]):
    """The configurations of an uncompressed extended XYZ file, read when they are asked for.

    Raises
    ------
    MliuqError
        for a file that cannot be read or ends within a configuration; later, for one that cannot be understood.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._starts = array("q")
        refuse_streams(path)
        try:
            with path.open("rb") as stream:
                if b"\0" in stream.read(HEAD):
                    raise MliuqError(f"{path}: holds zero bytes, expected text")
                stream.seek(0)
                while (line := stream.readline()).strip():
                    start = stream.tell() - len(line)
                    count = line.strip()
                    if not count.isdigit() or len(count) > 18:
                        raise MliuqError(
                            f"{path}: configuration {len(self._starts)} begins with {count[:40]!r}, expected a number "
                            "of atoms"
                        )
                    for _ in range(int(count) + 1):
                        if not stream.readline():
                            raise MliuqError(
                                f"{path}: configuration {len(self._starts)} claims {int(count)} atoms, the file ends "
                                "before"
                            )
                    self._starts.append(start)
                self._end = stream.tell()
        except OSError as error:
            raise MliuqError(f"{path}: cannot be read: {error.strerror}") from error

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Atoms: ...
    @overload
    def __getitem__(self, index: slice) -> list[Atoms]: ...
    def __getitem__(self, index: int | slice) -> Atoms | list[Atoms]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        stop = self._starts[place + 1] if place + 1 < len(self) else self._end
        with self._path.open("rb") as stream:
            stream.seek(self._starts[place])
            text = stream.read(stop - self._starts[place])
        try:
            (atoms,) = read_extended_xyz(StringIO(text.decode("utf-8")))
        except Exception as error:  # ASE's reader raises whatever the text made it stumble over
            raise MliuqError(
                f"{self._path}: configuration {place}: cannot be read: {type(error).__name__}: {error}"
            ) from error
        refuse_absurd_elements(atoms, f"{self._path}: configuration {place}")
        return with_origin(atoms, Origin(str(self._path), place))

    def __iter__(self) -> Iterator[Atoms]:
        return (self[index] for index in range(len(self)))


def frames_of(path: Path, dialect: Dialect | None = None) -> Sequence[Atoms]:
    """Return the configurations of a file or folder: extended XYZ as they are asked for, all else at once.

    Raises
    ------
    MliuqError
        for what cannot be read, and files without configurations.
    """
    if path.suffix not in _ENDINGS or not path.is_file():
        return read_structures(path, dialect)
    found = IndexedXyz(path)
    if not len(found):
        raise MliuqError(f"{path}: holds no configurations")
    return found
