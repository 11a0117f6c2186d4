"""The plugin loads into the LAMMPS it was built for, and says so of any other."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable
from pathlib import Path

import mliuq.lammps
import pytest
from mliuq.cli.info import build_facts
from mliuq.lammps import built_for, installed_lammps, plugin_file, plugin_folder
from runner import run


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


@pytest.mark.parametrize("ranks", [1, 2])
def test_loads_unloads_and_loads_again(ranks: int, make_model: Callable[..., Path], tmp_path: Path) -> None:
    """With everything in use, twice; the styles go with the plugin."""
    use = "units metal\nlattice bcc 3.3\nregion b block 0 2 0 2 0 2\ncreate_box 1 b\ncreate_atoms 1 box\nmass 1 181\n"
    use += f"pair_style mliuq\npair_coeff * * {make_model('Ta06A', 20)} Ta\ncompute u all mliuq/atom force_err\n"
    use += "compute g all mliuq\nthermo_style custom step pe c_g c_g[6]\nfix s all mliuq/guard 1 energy_std halt 9e9\n"
    use += "run 1\nprint 'READ $(pe:%.15g) $(c_g:%.15g)'\n"
    once = use + "plugin clear\nplugin list\n"
    again = f"clear\nplugin load {plugin_file()}\n"
    output = run(once + again + once + again + use, tmp_path, ranks=ranks)
    assert output.returncode == 0, output.text
    lines = [line for line in output.text.splitlines() if line.startswith("READ")]
    assert len(lines) == 3
    assert len(set(lines)) == 1
    refused = run(once + "pair_style mliuq\n", tmp_path, ranks=ranks)
    assert any("Unrecognized pair style" in line for line in refused.errors)


def test_plugin_without_its_styles(tmp_path: Path) -> None:
    """Copied alone, it says what it lacks, and LAMMPS goes on."""
    shutil.copy(plugin_file().resolve(), tmp_path)
    output = run("plugin clear\nplugin load ./mliuqplugin.so\nplugin list\nprint 'GOES ON'\n", tmp_path)
    assert output.returncode == 0, output.text
    assert "Currently loaded plugins: 0" in output.text
    (warning,) = [line for line in output.text.splitlines() if line.startswith("WARNING")]
    assert "cannot load its styles" in warning
    assert "mliuqstyles.so" in warning
