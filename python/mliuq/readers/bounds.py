"""What a file can hold: compressed text that grows beyond measure, and counts of atoms beyond its size."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from ase import Atoms

from mliuq.errors import MliuqError, in_range

#: How a compressed file is opened, by its ending.
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

#: Characters in which a file says what it is.
HEAD = 4096

_MOST_COLUMNS = 10_000
_LAST_ELEMENT = 118

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


def whole_number(text: str) -> int | None:
    """What `int` makes of a text, as ASE's readers do (1_000 and +5 are numbers); None where it refuses."""
    try:
        return int(text)
    except ValueError:
        return None


def refuse_absurd_counts(stream: TextIO) -> None:
    """Walk over the frames of an extended XYZ text, refuse counts that it cannot hold, and go back.

    ASE reads as many lines as the count of atoms says, also where the text has long ended.
    """
    if "\0" in stream.read(HEAD):
        raise MliuqError("holds zero bytes, expected text")
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    frame = 0
    while (line := stream.readline()).strip():
        if line.lstrip().startswith("VEC"):
            continue  # a cell vector after the atoms
        count = whole_number(line)
        if count is None:
            break  # what ASE will name
        if count > size:
            raise MliuqError(f"configuration {frame} claims {line.strip()[:40]} atoms, the file has {size} bytes")
        if not all(stream.readline() for _ in range(count + 1)):
            break
        frame += 1
    stream.seek(0)


def refuse_absurd_columns(properties: str) -> None:
    """Refuse `Properties` of an extended XYZ that count more columns than any row has: ASE makes a name for each.

    Raises
    ------
    MliuqError
        naming the count.
    """
    columns = 0
    for word in properties.split(":")[2::3]:
        columns += max(whole_number(word) or 0, 0)
        if columns > _MOST_COLUMNS:
            raise MliuqError(f"Properties claims {word[:40]} columns, expected at most {_MOST_COLUMNS} in all")


def refuse_absurd_poscar(text: str) -> None:
    """Refuse counts of atoms in a POSCAR that has not as many lines: ASE makes room for them first.

    Raises
    ------
    MliuqError
        naming the count and the number of lines.
    """
    for line in text.split("\n", 7)[5:7]:  # with or without a line of elements before the counts
        refuse_more_than_lines(line.split(), text)


def refuse_absurd_outcar(text: str) -> None:
    """Refuse counts of atoms, k-points and bands that an OUTCAR does not hold.

    Raises
    ------
    MliuqError
        naming the count and what the file has.
    """
    for line in re.findall("ions per type.*", text):
        refuse_more_than_lines(line.split()[4:], text)
    for line in re.findall("^.*NKPTS.*NBANDS.*$", text, re.MULTILINE):
        words = line.split()
        for word in (*words[3:4], words[-1]):
            if (whole_number(word) or 0) > len(text):
                raise MliuqError(f"claims {word[:40]} k-points or bands, the file has {len(text)} characters")


def refuse_absurd_cube(text: str) -> None:
    """Refuse counts of atoms and of values at a point that a Gaussian cube file does not hold.

    Raises
    ------
    MliuqError
        naming the count and what the file has.
    """
    words = "".join(text.split("\n", 3)[2:3]).split()
    refuse_more_than_lines((word.lstrip("-") for word in words[:1]), text)  # below zero: labels follow
    for word in words[4:5]:
        if (whole_number(word) or 0) > len(text):
            raise MliuqError(f"claims {word[:40]} values at a point, the file has {len(text)} characters")


def refuse_more_than_lines(words: Iterable[str], text: str) -> None:
    """Refuse counts of atoms, the first words that are whole numbers, that are more than a text has lines.

    Raises
    ------
    MliuqError
        naming counts and number of lines.
    """
    counts = list(itertools.takewhile(lambda pair: pair[1] is not None, ((word, whole_number(word)) for word in words)))
    lines = text.count("\n") + 1
    if sum(max(number or 0, 0) for _, number in counts) > lines:
        raise MliuqError(f"claims {' '.join(word for word, _ in counts)[:40]} atoms, the file has {lines} lines")


def refuse_absurd_elements(atoms: Atoms, where: str) -> None:
    """Refuse atomic numbers of no element: ASE takes −90 for the 90th symbol from the end.

    Raises
    ------
    MliuqError
        naming the number.
    """
    for number in (atoms.numbers.min(initial=0), atoms.numbers.max(initial=0)):
        in_range(f"{where}: an atomic number", number, 0, _LAST_ELEMENT)
