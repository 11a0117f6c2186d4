"""What holds for every module of the package."""

from __future__ import annotations

import importlib
import logging
import pkgutil

import mliuq


def test_loggers_bear_the_names_of_their_modules() -> None:
    """What is heard of `mliuq`, or of a room of it, is chosen by name."""
    found = []
    for module in pkgutil.walk_packages(mliuq.__path__, "mliuq."):
        if not module.name.endswith("__main__"):
            log = getattr(importlib.import_module(module.name), "log", None)
            if isinstance(log, logging.Logger):
                found.append(module.name)
                assert log.name == module.name
    assert len(found) > 10
