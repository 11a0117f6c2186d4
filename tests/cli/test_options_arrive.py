"""Every option of the command line shows in what the command writes or prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mliuq
import numpy as np
import pytest
from ase.io import read, write
from mliuq.cli import main
from mliuq.readers import read_structures


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        (["--seed", "3"], {"seed": 3}),
        (["--twojmax", "4"], {"snap.twojmax": 4}),
        (["--rcut", "4.2"], {"snap.rcut": 4.2}),
        (["--quadratic"], {"snap.quadratic": True}),
        (["--zbl", "1.5", "2.2"], {"snap.zbl": (1.5, 2.2)}),
        (["--energy-weight", "7"], {"weights.energy": 7.0}),
        (["--force-weight", "3"], {"weights.force": 3.0}),
        (["--stress-weight", "50"], {"weights.stress": 50.0}),
        (["--posterior", "hypercube"], {"posterior.kind": "hypercube"}),
        (["--members", "11"], {"posterior.members": 11}),
        (["--test-fraction", "0.5"], {"data.test_fraction": 0.5}),
        (["--set", "solver.ridge=0.01"], {"solver.ridge": 0.01}),
        (["--set", "posterior.sampler=sobol", "--posterior", "hypercube"],
         {"posterior.sampler": "sobol", "posterior.kind": "hypercube"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_flag_table_and_argument_give_the_same_model(
    flags: list[str], changes: dict[str, Any], tungsten: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structures = read_structures(tungsten)[::8]
    data = tmp_path / "data.xyz"
    write(data, structures)
    base = {"snap.twojmax": 2, "posterior.members": 20}
    by_argument = mliuq.fit(read_structures(data), settings={**base, **changes})
    plain = mliuq.fit(read_structures(data), settings=base)
    path = tmp_path / "M.mliuq"
    common = ["--twojmax", "2"] if "--twojmax" not in flags else []
    common += ["--members", "20"] if "--members" not in flags else []
    run(capsys, "fit", data, "-o", path, *common, *flags)
    by_flag = mliuq.Model.load(path)

    from mliuq.fitting.settings import FitSettings

    (tmp_path / "fit.toml").write_text(FitSettings().updated({**base, **changes}).to_toml())
    run(capsys, "fit", data, "-o", path, "--config", tmp_path / "fit.toml")
    by_table = mliuq.Model.load(path)
    for found in (by_flag, by_table):
        np.testing.assert_array_equal(found.theta, by_argument.theta)
        np.testing.assert_array_equal(found.members, by_argument.members)
        assert found.zbl == by_argument.zbl
    assert (
        by_flag.theta.shape != plain.theta.shape
        or by_flag.members.shape != plain.members.shape
        or not np.array_equal(by_flag.members, plain.members)
    ), "the option changed nothing"


def test_eval_says_what_the_calculator_says(
    small_model: Path, held_out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Totals and extremes of the summary, over structures of different sizes."""
    structures = read_structures(held_out)
    assert len({len(atoms) for atoms in structures}) > 1, "or per-atom and per-cell values cannot be told apart"
    summary = run(capsys, "eval", small_model, held_out)["summary"]
    calculator = mliuq.MLIUQCalculator(small_model)
    cell, atom, force = [], [], []
    for atoms in structures:
        reference = atoms.get_forces()
        atoms.calc = calculator
        force.append((reference - atoms.get_forces()).ravel())
        cell.append(calculator.results["energy_std"] / len(atoms))
        atom.append(calculator.results["energies_std"].max())
    assert summary["structures"] == len(structures)
    assert summary["atoms"] == sum(map(len, structures))
    assert summary["largest_energy_std_per_atom"] == pytest.approx(max(cell), rel=1e-9)
    assert summary["largest_atom_energy_std"] == pytest.approx(max(atom), rel=1e-9)
    assert summary["structure_of_largest_atom_energy_std"] == int(np.argmax(atom))
    assert summary["force_mae"] == pytest.approx(np.abs(np.concatenate(force)).mean(), rel=1e-6)
    assert summary["force_rmse"] == pytest.approx(np.sqrt(np.mean(np.concatenate(force) ** 2)), rel=1e-6)


def test_calibrate_keeps_what_the_structures_say_nothing_about(
    small_model: Path, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = mliuq.Model.load(small_model)
    import dataclasses

    known = dataclasses.replace(model, calibration={**model.calibration, "alpha_stress": 3.25, "alpha_energy": 9.0})
    path = tmp_path / "known.mliuq"
    known.save(path)
    run(capsys, "calibrate", path, held_out, "-o", tmp_path / "forces.mliuq")
    found = mliuq.Model.load(tmp_path / "forces.mliuq").calibration
    assert found["alpha_stress"] == 3.25
    assert found["alpha_energy"] != 9.0
    with_stress = run(capsys, "calibrate", path, held_out, "--stress", "-o", tmp_path / "stress.mliuq")["calibration"]
    assert with_stress["alpha_stress"] != 3.25
    assert with_stress["rows"]["stress"] > 0
    assert "stress" not in found["rows"]


def test_output_of_eval_reads_back_with_every_bar(
    small_model: Path, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = run(capsys, "eval", small_model, held_out, "-o", tmp_path / "out.xyz")["structures"]
    for atoms, record in zip(read(tmp_path / "out.xyz", ":"), records, strict=True):
        for key in ("energies_std", "energies_min", "energies_max", "energies_err"):
            np.testing.assert_allclose(atoms.arrays[key], record[key], rtol=1e-6, atol=1e-8)
        assert atoms.info["energy_err"] == pytest.approx(record["energy_err"], rel=1e-12)


def test_classes_out_is_what_is_asked_for(tungsten: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data.xyz"
    write(data, read_structures(tungsten)[::4])
    common = ["fit", data, "-o", tmp_path / "M.mliuq", "--twojmax", "2", "--members", "20"]
    lines = {
        what: run(capsys, *common, "--classes-out", what)["fit"]["classes_out"] for what in ("none", "errors", "bars")
    }
    assert lines["none"] == []
    assert len(lines["bars"]) == len(lines["errors"]) > 4
    assert not any("rms_z" in line for line in lines["errors"])
    assert any("rms_z" in line for line in lines["bars"])
    assert main([*map(str, common)]) == 0
    text = capsys.readouterr().out
    assert "class left out" in text
    for line in lines["errors"]:
        assert line["group"] in text
