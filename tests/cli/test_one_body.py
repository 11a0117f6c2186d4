"""`--one-body` and `--robust` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import mliuq
import pytest
from ase import Atoms
from mliuq.cli import main
from mliuq.cli.one_body import with_one_body

FEW = ["--twojmax", "2", "--members", "20"]


def test_energies_of_isolated_atoms_arrive(tmp_path, held_out):
    out = tmp_path / "W.mliuq"
    assert main(["fit", str(held_out), "-o", str(out), *FEW, "--one-body", "W=-4.5", "--robust"]) == 0
    model = mliuq.Model.load(out)
    atom = Atoms("W")
    atom.calc = mliuq.MLIUQCalculator(model)
    assert atom.get_potential_energy() == pytest.approx(-4.5, abs=1e-7)
    assert model.metadata["fit"]["settings"]["solver"]["robust"] is True


def test_several_forms(tmp_path):
    data = [Path("a.xyz"), Path("P=-3.4")]
    assert with_one_body(data, ["In=-2.1"]) == ([Path("a.xyz")], {"solver.one_body": {"In": -2.1, "P": -3.4}})
    assert with_one_body([], ["In=-2.1 P=-3.4"])[1] == {"solver.one_body": {"In": -2.1, "P": -3.4}}
    assert with_one_body([], ["isolated"])[1] == {"solver.isolated_atoms": True}
    assert with_one_body(data, []) == (data, {})
    for name, text in (("e.json", json.dumps({"In": -2, "P": -3.4})), ("e.toml", "In = -2.0\nP = -3.4\n")):
        (tmp_path / name).write_text(text)
        assert with_one_body([], [str(tmp_path / name)])[1] == {"solver.one_body": {"In": -2.0, "P": -3.4}}


@pytest.mark.parametrize(
    ("given", "status", "message"),
    [("W", 2, "expected energies such as In=-2.1"), ("W=-", 2, "expected an energy"), ("Mo=-1.0", 1, "none for W")],
)
def test_mistakes_are_named(tmp_path, held_out, capsys, given, status, message):
    assert main(["fit", str(held_out), "-o", str(tmp_path / "W.mliuq"), *FEW, "--one-body", given]) == status
    assert message in capsys.readouterr().err


def test_a_damaged_file_is_named(tmp_path, held_out, capsys):
    path = tmp_path / "energies.toml"
    path.write_text("W = true\n")
    assert main(["fit", str(held_out), "-o", str(tmp_path / "W.mliuq"), *FEW, "--one-body", str(path)]) == 1
    assert "energies.toml: W is True, expected an energy in eV" in capsys.readouterr().err
