"""What a file can hold: compressed text that grows beyond measure, and counts of atoms beyond its size."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from mliuq.errors import MliuqError

#: How a compressed file is opened, by its ending.
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

#: Characters in which a file says what it is.
HEAD = 4096

_PROPERTIES = re.compile(r"Properties\s*=\s*(\S+)", re.IGNORECASE)
_COLUMNS = re.compile(r":(\d+)")

_MOST_GROWTH = 50
_LEAST_LIMIT = 1 << 24  # bytes that any file may grow to


def open_text(path: Path) -> TextIO:
    """Open a text file, compressed or not.

    A compressed one is read as a whole (readers seek back and forth, which takes minutes inside a compressed stream),
    as far as it can be text of atoms: that shrinks by a factor of three to twenty, and what grows a hundredfold was
    made to fill the memory.

    Raises
    ------
    MliuqError
        for a file that grows more than fiftyfold.
    """
    if path.suffix not in OPENERS:
        return path.open(encoding="utf-8")
    limit = max(_LEAST_LIMIT, _MOST_GROWTH * path.stat().st_size)
    text = io.BytesIO()
    with OPENERS[path.suffix](path, "rb") as stream:
        while part := stream.read(1 << 20):
            text.write(part)
            if text.tell() > limit:
                raise MliuqError(
                    f"{path.stat().st_size} compressed bytes grow to more than {limit}, expected text of atoms "
                    f"(less than {_MOST_GROWTH} times its compressed size)"
                )
    text.seek(0)
    return io.TextIOWrapper(text, encoding="utf-8")


def refuse_absurd_counts(stream: TextIO) -> None:
    """Walk over the frames of an extended XYZ text, refuse counts that it cannot hold, and go back.

    ASE reads as many lines as the count of atoms says, also where the text has long ended, and makes a column for each
    that `Properties` counts.
    """
    if "\0" in stream.read(HEAD):
        raise MliuqError("holds zero bytes, expected text")
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    for frame in itertools.count():
        count = stream.readline().strip()
        if not count.isdecimal():
            break  # the end, or what ASE will name
        if len(count) > 20 or int(count) > size:
            raise MliuqError(f"configuration {frame} claims {count[:40]} atoms, the file has {size} bytes")
        comment, lines = stream.readline(), int(count)
        if lines and (stated := _PROPERTIES.search(comment)):
            row, lines = stream.readline(), lines - 1
            for columns in _COLUMNS.findall(stated[1]):
                if len(columns) > 9 or int(columns) > len(row):
                    raise MliuqError(
                        f"configuration {frame}: Properties claims {columns[:40]} columns, its first atom has "
                        f"{len(row.split())}"
                    )
        if not all(stream.readline() for _ in range(lines)):
            break
    stream.seek(0)


def refuse_absurd_poscar(text: str) -> None:
    """Refuse counts of atoms in a POSCAR that has not as many lines: ASE makes room for them first.

    Raises
    ------
    MliuqError
        naming the count and the number of lines.
    """
    for line in text.splitlines()[5:7]:  # with or without a line of elements before the counts
        counts = list(itertools.takewhile(str.isdecimal, line.split()))  # ASE takes them up to the first other word
        refuse_more_than_lines(counts, text)


def refuse_more_than_lines(counts: Sequence[str], text: str) -> None:
    """Refuse counts of atoms, decimal digits each, that are more together than a text has lines.

    Raises
    ------
    MliuqError
        naming counts and number of lines.
    """
    lines = text.count("\n") + 1
    if any(len(count) > 15 for count in counts) or sum(map(int, counts)) > lines:
        raise MliuqError(f"claims {' '.join(counts)[:40]} atoms, the file has {lines} lines")
