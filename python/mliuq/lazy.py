"""Names of a package that are imported on first use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def imported_on_first_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package whose modules are costly to import (PEP 562).

    Parameters
    ----------
    package : its name
    homes : the module that each name lives in, absolute or, with a leading point, relative to the package

    Raises
    ------
    AttributeError
        by what is returned, for a name that has no home.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name], package), name)
        setattr(sys.modules[package], name, value)  # found without asking from now on
        return value

    return find
