"""The command line: what each command writes, prints and returns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from mliuq.cli import main
from mliuq.readers import read_structures

COMMANDS = ("fit", "adopt", "eval", "compare", "md", "calibrate", "report", "info", "export", "verify")


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"mliuq {command}" in text
    assert "Example" in text


def test_completion_can_be_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--install-completion" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"mliuq {mliuq.__version__}"


def test_eval_equals_the_calculator(
    small_model: Path, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.xyz"
    found = run_json(capsys, "eval", str(small_model), str(held_out), "-o", str(output))
    written = read(output, ":")
    structures = read_structures(held_out)
    assert len(written) == len(structures) == len(found["structures"])  # type: ignore[arg-type]
    calculator = mliuq.MLIUQCalculator(small_model)
    for atoms, out, record in zip(structures[:10], written, found["structures"], strict=False):  # type: ignore[arg-type]
        atoms.calc = calculator
        assert out.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
        assert record["energy"] == atoms.get_potential_energy()
        np.testing.assert_allclose(out.get_forces(), atoms.get_forces(), atol=1e-8)
        np.testing.assert_allclose(out.get_stress(), atoms.get_stress(), atol=1e-10)
        for key in ("energy_std", "energy_min", "energy_max", "energy_err"):
            assert out.info[key] == pytest.approx(calculator.results[key], rel=1e-12)
            assert record[key] == calculator.results[key]
        np.testing.assert_allclose(out.arrays["energies_std"], calculator.results["energies_std"], atol=1e-8)
        assert out.info["config_type"] == atoms.info["config_type"]


def test_eval_writes_bars_of_forces_and_stress_and_committees_when_asked(
    small_model: Path, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structures = read_structures(held_out)[:3]
    source, output = tmp_path / "some.xyz", tmp_path / "out.xyz"
    write(source, structures)
    found = run_json(capsys, "eval", str(small_model), str(source), "-o", str(output), "--errors", "--committee")
    calculator = mliuq.MLIUQCalculator(small_model)
    members = calculator.model.n_members
    for atoms, out, record in zip(structures, read(output, ":"), found["structures"], strict=True):  # type: ignore[arg-type]
        for what in ("std", "min", "max", "err"):
            for of, kept in (("forces", out.arrays), ("stress", out.info)):
                expected = calculator.get_property(f"{of}_{what}", atoms)
                np.testing.assert_allclose(kept[f"{of}_{what}"], expected, atol=1e-7)
                np.testing.assert_allclose(record[f"{of}_{what}"], expected, atol=1e-12)
        for name in ("extrapolation", "grade", "density"):
            expected = calculator.get_property(name, atoms)
            np.testing.assert_allclose(out.arrays[name], expected, rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(record[name], expected, rtol=1e-9, atol=1e-12)
        committee = calculator.get_property("forces_comm", atoms)
        np.testing.assert_allclose(
            out.arrays["forces_comm"].reshape(len(atoms), members, 3), np.moveaxis(committee, 0, 1), atol=1e-7
        )
        energies = calculator.get_property("energies_comm", atoms)
        assert energies.shape == (members, len(atoms))
        np.testing.assert_allclose(out.arrays["energies_comm"], energies.T, atol=1e-7)
        np.testing.assert_allclose(record["energies_comm"], energies.T, atol=1e-12)
        np.testing.assert_allclose(out.info["stress_comm"], calculator.get_property("stress_comm", atoms), atol=1e-12)
        np.testing.assert_allclose(out.info["energy_comm"], calculator.get_property("energy_comm", atoms), atol=1e-12)
    only = run_json(capsys, "eval", str(small_model), str(source), "--errors")["structures"][0]  # type: ignore[index]
    assert "forces_std" in only
    assert "forces_comm" not in only
    assert "energies_comm" not in only


def test_eval_prints_errors_only_where_there_are_references(
    small_model: Path, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_references = run_json(capsys, "eval", str(small_model), str(held_out))["summary"]
    structures = read_structures(held_out)
    model, errors = mliuq.MLIUQCalculator(small_model), []
    for atoms in structures:
        reference = atoms.get_potential_energy()
        atoms.calc = model
        errors.append((atoms.get_potential_energy() - reference) / len(atoms))
    assert with_references["energy_rmse_per_atom"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))  # type: ignore[index]
    bare = [atoms.copy() for atoms in structures[:3]]
    for atoms in bare:
        atoms.calc = None
    write(tmp_path / "bare.xyz", bare)
    without = run_json(capsys, "eval", str(small_model), str(tmp_path / "bare.xyz"))["summary"]
    assert "energy_rmse_per_atom" not in without  # type: ignore[operator]


def test_eval_writes_a_database(small_model: Path, held_out: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.db"
    assert main(["eval", str(small_model), str(held_out), "-o", str(output)]) == 0
    from ase.db import connect

    with connect(str(output)) as database:
        assert len(database) == len(read_structures(held_out))
        row = database.get(id=1)
        assert row.data["energy_std"] > 0.0
        assert row.energy == pytest.approx(mliuq_energy(small_model, read_structures(held_out)[0]))


def mliuq_energy(model: Path, atoms: object) -> float:
    atoms.calc = mliuq.MLIUQCalculator(model)  # type: ignore[attr-defined]
    return float(atoms.get_potential_energy())  # type: ignore[attr-defined]


def test_info(small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = run_json(capsys, "info", str(small_model), "--build")
    assert facts["model"]["elements"] == ["W"]  # type: ignore[index]
    assert facts["model"]["snap"]["twojmax"] == 4  # type: ignore[index]
    assert facts["model"]["members"] == 64  # type: ignore[index]
    assert facts["build"]["version"] == mliuq.__version__  # type: ignore[index]
    assert main(["info", str(small_model)]) == 0
    assert "twojmax" in capsys.readouterr().out


def test_export_reads_back(small_model: Path, tmp_path: Path) -> None:
    assert main(["export", str(small_model), "-o", str(tmp_path / "best")]) == 0
    assert main(["export", str(small_model), "-o", str(tmp_path / "third"), "--member", "3"]) == 0
    model = mliuq.Model.load(small_model)
    assert model.members is not None
    best = mliuq.Model.from_snap(tmp_path / "best.snapcoeff", tmp_path / "best.snapparam")
    third = mliuq.Model.from_snap(tmp_path / "third.snapcoeff", tmp_path / "third.snapparam")
    np.testing.assert_array_equal(best.theta, model.theta)
    np.testing.assert_array_equal(third.theta, model.members[3])


def test_fit_prints_its_settings_as_toml_that_it_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--print-config", "--twojmax", "6", "--zbl", "1.0", "2.0", "--set", "solver.ridge=1e-6"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "fit.toml").write_text(text, encoding="utf-8")
    assert main(["fit", "--config", str(tmp_path / "fit.toml"), "--print-config"]) == 0
    assert capsys.readouterr().out == text
    assert "twojmax = 6" in text
    assert "zbl = [1.0, 2.0]" in text
    assert "ridge = 1e-06" in text


def test_fit_is_reproducible_bit_by_bit(tungsten_split: tuple[Path, Path], tmp_path: Path) -> None:
    options = ["--twojmax", "2", "--members", "16", "--seed"]
    for name, seed in (("a.mliuq", "7"), ("b.mliuq", "7"), ("c.mliuq", "8")):
        assert main(["fit", str(tungsten_split[0]), "-o", str(tmp_path / name), *options, seed]) == 0
    assert (tmp_path / "a.mliuq").read_bytes() == (tmp_path / "b.mliuq").read_bytes()
    first, other = (mliuq.Model.load(tmp_path / name) for name in ("a.mliuq", "c.mliuq"))
    assert not np.array_equal(first.members, other.members)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["eval", "missing.mliuq", "{data}"], 1, "missing.mliuq"),
        (["eval", "{model}", "missing.xyz"], 1, "missing.xyz"),
        (["eval", "{model}", "{empty}"], 1, "{empty}"),
        (["eval", "{data}", "{data}"], 1, "{data}"),
        (["eval", "{model}", "{data}", "-o", "no_such_folder/out.xyz"], 1, "no_such_folder"),
        (
            ["eval", "{model}", "{strange}"],
            1,
            "configuration 0 (the 1st, diverse): atom 1 (counted from 0) is Mo",
        ),
        (["export", "{model}", "--member", "64", "-o", "x"], 1, "member is 64"),
        (["export", "{model}", "--member", "-1", "-o", "x"], 1, "member is -1"),
        (["fit", "missing.xyz", "-o", "x.mliuq"], 1, "missing.xyz"),
        (["fit", "{data}", "-o", "x.mliuq", "--twojmax", "-2"], 1, "twojmax"),
        (["fit", "{data}", "-o", "x.mliuq", "--set", "snap.nonsense=1"], 1, "nonsense"),
        (["fit", "{data}", "-o", "x.mliuq", "--set", "nonsense"], 2, "KEY=VALUE"),
        (["fit", "{data}"], 2, "-o"),
        (["fit", "-o", "x.mliuq"], 2, "DATA"),
        (["fit", "{data}", "-o", "x.mliuq", "--members", "many"], 2, "--members"),
        (["info"], 2, "model file"),
        (["info", "--nonsense"], 2, "--nonsense"),
        (["nonsense"], 2, "nonsense"),
        (["report", "{model}", "{bare}", "-o", "r"], 1, "no energies"),
    ],
)
def test_failures_take_one_line_and_a_status(
    arguments: list[str],
    status: int,
    says: str,
    small_model: Path,
    held_out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.xyz").touch()
    bare = read_structures(held_out)[0]
    bare.calc = None
    write(tmp_path / "bare.xyz", bare)
    strange = read_structures(held_out)[0]
    strange.symbols[1] = "Mo"
    write(tmp_path / "strange.xyz", strange)
    names = {
        "strange": "strange.xyz",
        "model": str(small_model),
        "data": str(held_out),
        "empty": "empty.xyz",
        "bare": "bare.xyz",
    }
    assert main([argument.format(**names) for argument in arguments]) == status
    captured = capsys.readouterr()
    assert captured.err.startswith("mliuq: error: ")
    assert captured.err.count("\n") == 1
    assert says.format(**names) in captured.err
    assert not list(tmp_path.glob("x.mliuq*"))


def test_console_script_and_broken_pipe(small_model: Path, held_out: Path) -> None:
    program = Path(sys.executable).parent / "mliuq"
    if not program.exists():
        pytest.skip("the console script is not installed in this environment")
    done = subprocess.run([program, "info", "missing.mliuq"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "missing.mliuq" in done.stderr
    piped = subprocess.run(
        ["bash", "-c", f"'{program}' eval '{small_model}' '{held_out}' --json | head -c 1"],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert piped.stdout == "{"
    assert "Traceback" not in piped.stderr


def test_calibrate_changes_error_bars_only(
    small_model: Path, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "calibrated.mliuq"
    found = run_json(capsys, "calibrate", str(small_model), str(held_out), "-o", str(target))
    before, after = mliuq.Model.load(small_model), mliuq.Model.load(target)
    np.testing.assert_array_equal(before.theta, after.theta)
    np.testing.assert_array_equal(before.members, after.members)
    assert after.calibration == found["calibration"]
    assert after.calibration["source"] == held_out.name
    again = run_json(capsys, "report", str(target), str(held_out), "-o", str(tmp_path / "report"))
    z: dict[str, list[np.ndarray]] = {"energy": [], "force": []}
    calculator = mliuq.MLIUQCalculator(after)
    for atoms in read_structures(held_out):
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        err = calculator.get_property("forces_err", atoms)
        z["force"].append((forces - calculator.get_property("forces", atoms)) / err)
        z["energy"].append((energy - calculator.get_property("energy", atoms)) / calculator.results["energy_err"])
    for kind in ("energy", "force"):
        stated = again["quantities"][kind]["calibrated"]["rms_z"]  # type: ignore[index]
        values = np.concatenate([np.ravel(v) for v in z[kind]])
        if kind == "energy":
            assert stated == pytest.approx(np.sqrt(np.mean(values**2)), rel=1e-6)
        two_sigma = np.mean(np.abs(values) < 2.0)
        assert kind == "energy" or two_sigma == pytest.approx(0.9545, abs=0.02), "what forces are calibrated to"


def test_calibrate_keeps_what_it_has_no_references_for(
    small_model: Path, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only_energies = []
    for atoms in read_structures(held_out):
        energy = atoms.get_potential_energy()
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
        only_energies.append(atoms)
    write(tmp_path / "energies.xyz", only_energies)
    target = tmp_path / "calibrated.mliuq"
    run_json(capsys, "calibrate", str(small_model), str(tmp_path / "energies.xyz"), "-o", str(target))
    before, after = (mliuq.Model.load(path).calibration for path in (small_model, target))
    assert before is not None
    assert after is not None
    for part in ("conformal", "rows"):
        assert after[part]["force"] == before[part]["force"]
        assert after[part]["energy"] != before[part]["energy"]
    assert after["alpha_force"] == before["alpha_force"]


def test_info_keeps_quantiles_to_a_line(small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(small_model)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "calibration.conformal" in line]
    assert len(lines) == 2
    assert all(" 0.9:" in line for line in lines)
