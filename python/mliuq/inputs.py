"""What can be read: files, not pipes that may never say a word or devices that never end."""

from __future__ import annotations

import stat
from pathlib import Path

from mliuq.errors import MliuqError

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def refuse_streams(path: Path) -> None:
    """Refuse a pipe, a device or a socket in place of a file; what is not there, whoever opens it will name.

    Raises
    ------
    MliuqError
        naming what it is.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise MliuqError(f"{path}: is {name}, expected a file")
