"""What memory there is, so that what cannot be is refused before it is tried."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from mliuq.errors import MliuqError

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of containers


@cache
def total_memory() -> float:
    """Bytes of memory of this machine or container, asked for once: every neighbour list is held against them."""
    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in map(Path, _LIMITS):
        with suppress(OSError, ValueError):  # absent, or "max"
            memory = min(memory, float(file.read_bytes()))
    return memory


def refuse_beyond_memory(needed: float, what: str, expected: str) -> None:
    """Refuse work that needs more bytes than there are.

    Raises
    ------
    MliuqError
        naming what it is for, what is needed, what there is, and what is expected instead.
    """
    memory = total_memory()
    if needed > memory:
        raise MliuqError(
            f"{what} would need some {needed / 2**30:.3g} GiB of memory, this machine has {memory / 2**30:.3g} GiB: "
            f"expected {expected}"
        )
