"""Bars of progress stay away from JSON; warnings and messages of usage say which option and why."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from mliuq.cli import (
    adopt,
    calibrate,
    evaluate,
    fit,
    learn,
    main,
    md,
    propagation_run,
    report,
    select,
    sheet,
    tune,
    verify,
)
from mliuq.errors import MliuqError
from systems import PARAMS, random_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has seen the structures beside it."""
    from mliuq.readers.fingerprints import fingerprints

    found = tmp_path_factory.mktemp("quiet")
    cells = []
    for index in range(12):
        atoms = bulk("W", cubic=True)
        atoms.rattle(0.1, seed=index)
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0 - index, forces=np.full((2, 3), 0.1 * index))
        cells.append(atoms)
    write(found / "s.xyz", cells)
    write(found / "one.xyz", cells[0])
    made = random_model(replace(PARAMS["plain"], twojmax=2), members=8, noise=True)
    from mliuq.readers import read_structures

    seen = fingerprints(read_structures(found / "s.xyz")[:3])
    replace(made, arrays={"data.fingerprints": seen}).save(found / "m.mliuq")
    (found / "l.toml").write_text("start.structures=['one.xyz']\nlabel.command='c'\n")
    return found


#: Module with the bar → the command that comes to it.
BARS: dict[Any, list[str]] = {
    fit: ["fit", "s.xyz", "-o", "new.mliuq"],
    adopt: ["adopt", "m.mliuq", "s.xyz", "-o", "new.mliuq"],
    tune: ["tune", "s.xyz", "-o", "t"],
    evaluate: ["eval", "m.mliuq", "s.xyz"],
    calibrate: ["calibrate", "m.mliuq", "s.xyz", "-o", "new.mliuq"],
    report: ["report", "m.mliuq", "s.xyz", "-o", "r"],
    md: ["md", "m.mliuq", "one.xyz", "-o", "run"],
    learn: ["learn", "l.toml", "-o", "loop"],
    select: ["select", "s.xyz", "m.mliuq", "-n", "1", "-o", "o.xyz"],
    verify: ["verify", "m.mliuq"],
    propagation_run: ["propagate", "eos", "m.mliuq", "bcc"],
    sheet: ["propagate", "all", "m.mliuq"],
}


@pytest.mark.parametrize("module", BARS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_json_has_no_bar_beside_it(module: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bool] = []

    @contextmanager
    def progress_bar(quiet: bool = False) -> Any:
        given.append(quiet)
        raise MliuqError("seen")
        yield

    monkeypatch.chdir(folder)
    monkeypatch.setattr(module, "progress_bar", progress_bar)
    assert main(BARS[module]) == 1
    if module is sheet:  # which prints no JSON
        assert given == [False]
        return
    assert main([*BARS[module], "--json"]) == 1
    assert given == [False, True]
    assert [type(one) for one in given] == [bool, bool]


def test_why_a_structure_that_was_fitted_is_no_test(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_report(*given: Any, **named: Any) -> None:
        raise MliuqError("not here")

    monkeypatch.chdir(folder)
    monkeypatch.setattr("mliuq.report.write_report", write_report)
    said = "mliuq: warning: 3 of 12 structures are among those the model was fitted to: "
    for words, why in (
        (["eval", "m.mliuq", "s.xyz"], "errors on them are no test"),
        (["report", "m.mliuq", "s.xyz", "-o", str(tmp_path / "r")], "errors on them are no test"),
        (
            ["calibrate", "m.mliuq", "s.xyz", "-o", str(tmp_path / "n.mliuq")],
            "error bars calibrated on them are too small",
        ),
    ):
        assert main(words) == int(words[0] == "report")
        assert f"{said}{why}\n" in capsys.readouterr().err


def test_what_a_fit_was_told_is_told_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mliuq import Model
    from mliuq.cli.data_options import DataOptions

    given: list[Any] = []

    def settings(self: DataOptions, metadata: Any) -> None:
        given.append((dict(self.changes), metadata))
        raise MliuqError("seen")

    monkeypatch.chdir(folder)
    monkeypatch.setattr(DataOptions, "settings", settings)
    for command in ("eval", "report", "calibrate"):
        assert main([command, "m.mliuq", "s.xyz", "-o", "new.mliuq" if command == "calibrate" else "new.xyz"]) == 1
    assert given == [({}, Model.load("m.mliuq").metadata)] * 3


def usage(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 2
    return capsys.readouterr().err.removeprefix("mliuq: error: Invalid value: ").partition(" (see ")[0]


def test_messages_of_usage_name_the_option(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    for option in ("--twojmax", "--quadratic", "--rcut"):
        assert usage(capsys, "tune", "s.xyz", "-o", "t", option, "4;5") == (
            f"{option} is '4;5': expected numbers with commas between, or none"
        )
    assert usage(capsys, "tune", "s.xyz") == "no folder to write to: expected -o FOLDER"
    assert usage(capsys, "tune", "-o", "t") == "no training data: expected DATA or data.train in --config"
    assert usage(capsys, "fit", "s.xyz") == "no model file to write: expected -o NAME.mliuq"
    for item in ("nothing", "=3", " =3"):
        assert usage(capsys, "fit", "--set", item) == f"--set {item!r}: expected KEY=VALUE, as in solver.ridge=1e-6"
    assert usage(capsys, "calibrate", "m.mliuq", "s.xyz", "--update", "often") == (
        "--update 'often': expected one of always, needed, never"
    )
    assert usage(capsys, "calibrate", "m.mliuq", "s.xyz", "--update", "never", "-o", "n.mliuq") == (
        "--update never writes nothing: expected no -o"
    )
    assert usage(capsys, "info") == "expected a model file, --build or both"
    assert usage(capsys, "adopt", "m.mliuq", "s.xyz", "-o", "n.mliuq", "--param", "p") == (
        "--param goes with a .snapcoeff file, not with m.mliuq"
    )
    for option in ("--save", "--halt"):
        text = usage(capsys, "md", "m.mliuq", "one.xyz", option, "x")
        assert f"for {option}: expected a number or auto, found 'x'" in text
    assert "for --coefficients: expected numbers or fractions, found ''" in usage(
        capsys, "compare", "m.mliuq", "one.xyz", "--coefficients", "x"
    )
    words = ["--one-body", "W=-4.5", "--one-body", "nothing"]
    assert usage(capsys, "fit", "s.xyz", *words) == (
        "--one-body 'nothing': expected energies such as In=-2.1, a TOML or JSON file of them, or 'isolated'"
    )
    assert usage(capsys, "fit", "s.xyz", "--one-body", "W=-") == "--one-body 'W=-': expected an energy in eV behind '='"


def test_settings_on_the_command_line() -> None:
    items = ["a.b=1e-6", " c = true ", "d=[1, 2]", "e=text with = sign", "f=", "g=" + "[" * 5000]
    assert fit.parse_settings(items) == {
        "a.b": 1e-6, "c": True, "d": [1, 2], "e": "text with = sign", "f": "", "g": "[" * 5000,
    }  # fmt: skip
    assert [fit.number_or_text(text) for text in (None, "1e3", "auto")] == [None, 1000.0, "auto"]


def test_a_part_that_is_none_and_a_part_that_fails(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import mliuq.propagation

    monkeypatch.chdir(folder)
    assert main(["propagate", "all", "m.mliuq", "--part", "x"]) == 1
    assert capsys.readouterr().err == (
        "mliuq: error: part is 'x', expected one of phases elastic phonons defects surfaces neb\n"
    )

    def fails(*given: Any, **named: Any) -> None:
        raise MliuqError("no such thing")

    monkeypatch.setattr(mliuq.propagation, "elastic", fails)
    pages: list[Any] = []
    monkeypatch.setattr(
        "mliuq.report.sheet.render_sheet", lambda *given, **named: (pages.append((given, named)), "Å")[1]
    )
    output = tmp_path / "a" / "sheet"
    assert main(["propagate", "all", "m.mliuq", "--part", "elastic", "-o", str(output)]) == 0
    assert capsys.readouterr().out == f"elastic was not computed: no such thing\nwrote {output / 'index.html'}\n"
    ((given, named),) = pages
    assert given == ([], {}, None)
    assert named.pop("facts")
    assert named == {"title": "W by m.mliuq", "left_out": {"elastic": "no such thing"}}
    assert (output / "index.html").read_text(encoding="utf-8") == "Å"
