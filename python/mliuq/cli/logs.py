"""What the library logs, as lines on standard error."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from mliuq.errors import printable


class _Once(logging.Filter):
    """Lets every message through once: folds of a calibration say the same as the fit."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        message = record.getMessage()
        new = message not in self._seen
        self._seen.add(message)
        return new


class _Line(logging.Formatter):
    """One line that prints, in the manner of errors."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        return f"mliuq: {record.levelname.lower()}: {printable(record.getMessage())}"


@contextmanager
def logged(stream: TextIO, verbose: bool) -> Iterator[None]:
    """Write warnings to a stream while the block runs, and what is being done if asked for.

    Those of Python and NumPy are one line each, too, without the path and the line of code that raised them.
    """
    handler, logger = logging.StreamHandler(stream), logging.getLogger("mliuq")
    handler.addFilter(_Once())
    handler.setFormatter(_Line())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn  # type: ignore[assignment]
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _warn(message: Warning | str, category: type[Warning], *where: object) -> None:
    logging.getLogger("mliuq").warning("%s: %s", category.__name__, " ".join(str(message).split()))
