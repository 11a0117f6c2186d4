"""What commands share: the terminal, tables, progress bars, JSON."""

from __future__ import annotations

import codecs
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, TextIO

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from mliuq.errors import printable

_PLAIN = str.maketrans(
    {"Å": "A", "α": "alpha", "σ": "sigma", "²": "^2", "³": "^3", "×": "x", "±": "+-", "–": "-", "…": "...", "→": "->"}
)


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("mliuq", _spell)


@contextmanager
def spelled_out(*streams: TextIO) -> Iterator[None]:
    """Spell out, while the block runs, what streams cannot encode: any locale, and names that are no text."""
    texts = [stream for stream in streams if isinstance(stream, TextIOWrapper)]
    before = [(stream, stream.errors) for stream in texts]
    for stream in texts:
        stream.reconfigure(errors="mliuq")
    try:
        yield
    finally:
        for stream, errors in before:
            stream.reconfigure(errors=errors)


class _Console(Console):
    """Prints what it is given: names may hold what rich takes for markup or the names of pictures."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def on_broken_pipe(self) -> None:
        """Pass the error on to `main`, which knows what to do; rich would leave with status 1."""
        raise BrokenPipeError


out = _Console(soft_wrap=True)
err = _Console(stderr=True, soft_wrap=True)


def say(message: str) -> None:
    """Print one line of result."""
    out.print(printable(message))


#: How the terminal shows quantities of the library: unit and factor (files and --json keep eV, Å and eV/Å³).
SHOWN = {"energy": ("meV/atom", 1e3), "force": ("eV/Å", 1.0), "stress": ("eV/Å³", 1.0)}


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None, *, aside: bool = False
) -> None:
    """Print a table: first column left, the rest right; numbers to four significant digits.

    `aside` prints it to standard error, where standard output carries the result itself.
    """
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    first, *others = columns
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(number(cell) for cell in row))
    # Tables are made for 80 columns; in less they wrap rather than lose digits to an ellipsis.
    _Console(width=250, file=(err if aside else out).file).print(table, crop=False)


def number(value: object) -> str:
    """Format a cell: integers as they are, floats to four significant digits, nothing as a dash."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(float(value))):
        return "–"
    if isinstance(value, float | np.floating):
        return f"{float(value):.4g}"
    return printable(str(value))


def print_json(data: Any) -> None:
    """Print plain JSON; what is not finite becomes null, for no parser agrees on NaN."""
    sys.stdout.write(to_json(data, ascii_only=not sys.stdout.encoding.lower().startswith("utf")) + "\n")


def to_json(data: Any, *, ascii_only: bool = False) -> str:
    """Return canonical, indented JSON of dicts, sequences, numpy values and dataclass-free plain data."""
    text = json.dumps(_plain(data), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=ascii_only)
    if all(line.isprintable() for line in text.split("\n")):
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


class Bar:
    """A progress bar that the library calls as ``bar(stage, done, total)``."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def __call__(self, stage: str, done: int, total: int | None = None) -> None:
        """Show that `done` of `total` steps of a stage are done."""
        self._progress.update(self._task, description=stage, completed=done, total=total)


@contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Bar]:
    """Show a bar on standard error while the block runs; nothing when quiet or not on a terminal."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=quiet or not err.is_terminal,
    )
    with progress:
        yield Bar(progress)
