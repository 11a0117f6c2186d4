"""The package's front door."""

from __future__ import annotations

import importlib
import types

import mliuq


def test_exported_names_are_what_they_say() -> None:
    importlib.import_module("mliuq.fitting")  # loads most submodules; none may take the place of an exported name
    for name in mliuq.__all__:
        assert not isinstance(getattr(mliuq, name), types.ModuleType), name
    assert callable(mliuq.descriptors)
    assert callable(mliuq.fit)
