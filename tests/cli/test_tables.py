"""Tables of the command line: they fit a terminal, and say in meV/atom what --json says in eV."""

from __future__ import annotations

import json
import re
from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase.io import read
from mliuq.cli import main


def text_and_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, dict[str, object]]:
    words = [str(argument) for argument in arguments]
    capsys.readouterr()
    assert main(words) == 0
    text = capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    return text, json.loads(capsys.readouterr().out)


def cells(text: str, first: str) -> list[str]:
    """The cells after the first of the line that begins with it."""
    line = next(line for line in text.splitlines() if line.strip().startswith(first))
    return line.strip()[len(first) :].split()


def test_tables_fit_80_columns(
    small_model: Path, held_out: Path, tungsten_split: tuple[Path, Path], tmp_path: Path, capsys
) -> None:
    for command in (
        [
            "fit",
            tungsten_split[0],
            "-o",
            tmp_path / "M.mliuq",
            "--twojmax",
            "2",
            "--members",
            "20",
            "--stress-weight",
            "1",
        ],
        ["eval", small_model, held_out],
        ["report", small_model, held_out, "-o", tmp_path / "report"],
        ["calibrate", small_model, held_out, "-o", tmp_path / "C.mliuq"],
    ):
        assert main([str(word) for word in command]) == 0
        lines = capsys.readouterr().out.splitlines()
        tables = [line for line in lines if not line.startswith("wrote")]
        assert max(map(len, tables)) <= 80, command
        assert not any("…" in line and "structure" not in line for line in tables)


def test_eval_and_report_agree_on_errors(
    small_model: Path, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, facts = text_and_json(capsys, "eval", small_model, held_out)
    text, numbers = text_and_json(capsys, "report", small_model, held_out, "-o", tmp_path / "report")
    summary, quantities = facts["summary"], numbers["quantities"]
    assert quantities["energy"]["all_rows"]["mae"] == pytest.approx(summary["energy_mae_per_atom"], rel=1e-9)
    assert quantities["force"]["all_rows"]["rmse"] == pytest.approx(summary["force_rmse"], rel=1e-9)
    left_out = quantities["force"]["rows_zero_by_symmetry"]
    assert left_out > 0, "the set has rows that are zero by symmetry, or this says nothing"
    assert f"{left_out} force rows are zero by symmetry" in text

    errors = []
    for atoms in read(held_out, ":"):
        reference = atoms.get_potential_energy()
        atoms.calc = mliuq.MLIUQCalculator(small_model)
        errors.append((reference - atoms.get_potential_energy()) / len(atoms))
    mae = float(np.abs(errors).mean())
    assert summary["energy_mae_per_atom"] == pytest.approx(mae, rel=1e-6)
    assert float(cells(said, "energy MAE")[0]) == pytest.approx(1000 * mae, rel=1e-3)
    assert cells(said, "energy MAE")[1] == "meV/atom"
    assert float(cells(text, "energy meV/atom")[1]) == pytest.approx(1000 * mae, rel=1e-3)


def test_the_table_of_a_fit_says_what_its_json_says(
    tungsten_split: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, facts = text_and_json(
        capsys, "fit", tungsten_split[0], "-o", tmp_path / "M.mliuq", "--twojmax", "2", "--members", "20"
    )
    lines = {(line["of"], line["kind"]): line for line in facts["errors"] if line["group"] == "all"}
    for of, kind, unit, factor in (("train", "energy", "meV/atom", 1e3), ("left out", "force", "eV/Å", 1.0)):
        found = next(line for line in text.splitlines() if re.match(rf" *{of} +{kind} {unit}", line))
        row = found.split(unit)[1].split()
        line = lines[of, kind]
        assert int(row[0]) == line["rows"]
        assert float(row[1]) == pytest.approx(factor * line["mae"], rel=1e-3)
        assert float(row[2]) == pytest.approx(factor * line["rmse"], rel=1e-3)
        assert float(row[4]) == pytest.approx(line["mean_z"], rel=1e-3)
        assert float(row[-1]) == pytest.approx(line["rms_z"], rel=1e-3)
