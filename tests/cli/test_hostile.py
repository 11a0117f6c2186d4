"""Input made to mislead: one line that prints, exit status 1, and soon."""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from mliuq import Model, SnapParams
from mliuq.cli import main
from systems import random_model

CELL = 'Lattice="3.2 0 0 0 3.2 0 0 0 3.2" Properties=species:S:1:pos:R:3 energy=-1.0\n'


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "m.mliuq"
    random_model(SnapParams(("W",), twojmax=2), members=3).save(path)
    return path


@pytest.fixture
def structure(tmp_path: Path) -> Path:
    path = tmp_path / "in.xyz"
    write(path, Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.5]], cell=[9, 9, 9]))
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line on standard error of a command that fails."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    line = captured.err.removesuffix("\n")
    assert line.isprintable(), repr(line)
    assert line.startswith("mliuq: error: ")
    return line


def test_escapes_in_a_model_do_not_reach_the_terminal(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model.load(plain)
    evil = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eforged\nmliuq: all is well"
    path = tmp_path / "evil.mliuq"
    arrays = {"array " + evil: np.zeros(1)}
    Model(model.params, model.theta, metadata={"fit": {evil: evil, "list": [evil]}}, arrays=arrays).save(path)
    for options in ([], ["--json"]):
        assert main(["info", str(path), *options]) == 0
        shown = capsys.readouterr().out
        assert "forged" in shown
        assert all(line.isprintable() for line in shown.split("\n"))
        assert not any(line.startswith("mliuq: all is well") for line in shown.split("\n"))
    assert json.loads(shown)["model"]["fit"][evil] == evil


def test_escapes_in_names_and_data(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert r"\x1b[2J" in refused(capsys, "info", tmp_path / "no\x1b[2J\nsuch.mliuq")
    bad = tmp_path / "bad.xyz"
    bad.write_text("2\n" + CELL + "\x1b[2JW 0 0 0\nW 0 0 1\n")
    assert "bad.xyz" in refused(capsys, "eval", plain, bad)


@pytest.mark.parametrize("count", ["100000000000000", "9" * 60, "99999999"])
def test_counts_of_atoms_that_no_file_holds(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: str
) -> None:
    path = tmp_path / "many.xyz"
    path.write_text("1\n" + CELL + "W 0 0 0\n" + count + "\n" + CELL + "W 0 0 0\n")
    assert "configuration 1 claims" in refused(capsys, "eval", plain, path)
    packed = tmp_path / "many.xyz.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert "configuration 1 claims" in refused(capsys, "eval", plain, packed)


def test_what_grows_a_thousandfold(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bomb.xyz.gz"
    path.write_bytes(gzip.compress(b"1\n" + b" " * (40 << 20)))
    assert "grow to more than" in refused(capsys, "eval", plain, path)


def test_absurd_threads(plain: Path, structure: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "threads is 100000" in refused(capsys, "eval", plain, structure, "--threads", "100000")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = " + "[" * 3000 + "]" * 3000, "nested too deep"),
        ("seed = " + "9" * 310, "seed is 99"),
        ("seed = " + "9" * 5000, "not TOML"),
        ("seed = -1", "seed is -1"),
        ("[snap]\nrcut = 1e10", "Å"),
        ("[snap]\nrcut = 1e-10", "Å"),
        ("[solver]\nridge = " + "9" * 400, "solver: ridge is 99"),
    ],
)
def test_settings(text: str, message: str, structure: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, config = tmp_path / "data.xyz", tmp_path / "fit.toml"
    data.write_text("".join(f"1\n{CELL.replace('3.2', str(3 + 0.05 * i))}W 0 0 0\n" for i in range(6)))
    config.write_text(text)
    assert message in refused(capsys, "fit", data, "--config", config, "-o", tmp_path / "w.mliuq")
    assert not (tmp_path / "w.mliuq").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8")
def test_a_file_name_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/data-\xff.xyz")
    rng = np.random.default_rng(0)
    structures = []
    for i in range(12):
        atoms = Atoms("W2", positions=[[0, 0, 0], [1.5, 1.6, 1.5]] + 0.1 * rng.normal(size=(2, 3)), cell=[3.2] * 3)
        atoms.pbc = True
        atoms.info["energy"] = -8.0 + 0.01 * i
        atoms.arrays["forces"] = rng.normal(size=(2, 3))
        structures.append(atoms)
    write(Path(name), structures, format="extxyz")
    output = tmp_path / "w.mliuq"
    options = ["--twojmax", "2", "--set", "posterior.kind=hypercube", "--set", "data.test_fraction=0.0"]
    assert main(["fit", name, "-o", str(output), *options]) == 0
    capsys.readouterr()
    assert "udcff" in json.dumps(dict(Model.load(output).metadata))
    assert main(["info", str(output)]) == 0
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))
