"""What values are called: one set of options for every command, and a fit's names are the model's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.units import GPa
from mliuq.cli import main
from mliuq.cli.data_options import OPTIONS
from mliuq.readers import read_structures

READERS = ("fit", "tune", "eval", "report", "calibrate")
FIT = ["--twojmax", "2", "--members", "16", "--stress-weight", "1000", "--test-fraction", "0"]
FIT += ["--posterior", "hypercube", "--set", "posterior.calibrate=false"]


@pytest.fixture(scope="module")
def renamed(tungsten: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same structures under ASE's names and under REF_*, groups under `kind`, stress in kbar of compression."""
    folder = tmp_path_factory.mktemp("renamed")
    plain, other = [], []
    for atoms in read_structures(tungsten)[::4]:
        energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        bare = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
        named = bare.copy()
        bare.calc = SinglePointCalculator(bare, energy=energy, forces=forces, stress=stress)
        bare.info["config_type"] = named.info["kind"] = atoms.info["config_type"]
        named.info |= {"REF_energy": energy, "REF_stress": -stress * 10 / GPa, "energy": 0.0}
        named.arrays["REF_forces"] = forces
        plain.append(bare)
        other.append(named)
    write(folder / "plain.xyz", plain, format="extxyz")
    write(folder / "other.xyz", other, format="extxyz")
    return folder / "plain.xyz", folder / "other.xyz"


NAMES = ["--keys", "REF", "--group-key", "kind", "--stress-unit", "kbar", "--stress-sign", "compression"]


def test_every_command_that_reads_data_has_the_same_options(capsys: pytest.CaptureFixture[str]) -> None:
    for command in READERS:
        assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        for name in OPTIONS:
            assert f"--{name.replace('_', '-')}" in text, f"{command} lacks --{name}"


def test_names_of_the_fit_serve_every_later_command(
    renamed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mliuq.report.write.draw", lambda p, groups: {})  # pictures take the time of a report
    results = {}
    for data, options, name in zip(renamed, ([], NAMES), ("plain", "other"), strict=True):
        model = tmp_path / f"{name}.mliuq"
        assert main(["fit", str(data), "-o", str(model), *FIT, *options]) == 0
        capsys.readouterr()
        assert main(["eval", str(model), str(data), "--json"]) == 0
        summary = json.loads(capsys.readouterr().out)["summary"]
        output = str(tmp_path / f"{name}_calibrated.mliuq")
        assert main(["calibrate", str(model), str(data), "-o", output, "--stress", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["calibration"]["rows"]
        assert main(["report", str(model), str(data), "-o", str(tmp_path / name), "--stress", "--json"]) == 0
        quantities = json.loads(capsys.readouterr().out)["quantities"]
        results[name] = {
            # Of the spreads nothing: members are drawn along axes that rounding turns.
            **{key: value for key, value in summary.items() if "std" not in key},
            **{f"{kind} rows": n for kind, n in rows.items()},
            **{f"{kind} {of}": facts["raw"][of] for kind, facts in quantities.items() for of in ("mae", "rmse")},
            **{f"group {name}": c["count"] for name, c in quantities["energy"]["by_config_type"].items()},
        }
    assert results["plain"] == pytest.approx(results["other"], rel=1e-6)
    assert set(results["other"]) > {"energy_rmse_per_atom", "force_rmse", "stress rows", "stress mae", "group bcc"}


def flat(value: object) -> list[float]:
    """All numbers of nested JSON, in order."""
    if isinstance(value, dict):
        return [number for key in sorted(value) for number in flat(value[key])]
    if isinstance(value, list):
        return [number for item in value for number in flat(item)]
    return [float(value)] if isinstance(value, int | float) else []


def test_options_win_over_the_names_of_the_model(
    renamed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, other = renamed
    model = tmp_path / "W.mliuq"
    assert main(["fit", str(plain), "-o", str(model), *FIT]) == 0
    capsys.readouterr()
    assert main(["eval", str(model), str(other), "--keys", "REF", "--json"]) == 0
    by_prefix = json.loads(capsys.readouterr().out)["summary"]
    options = ["--energy-key", "REF_energy", "--forces-key", "REF_forces"]
    assert main(["eval", str(model), str(other), *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"] == by_prefix
    assert main(["eval", str(model), str(plain), "--json"]) == 0
    assert flat(json.loads(capsys.readouterr().out)["summary"]) == pytest.approx(flat(by_prefix), rel=1e-6)


def test_values_of_other_names_are_pointed_out(
    renamed: tuple[Path, Path], tmp_path: Path, small_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structures = read_structures(renamed[1])
    for atoms in structures:
        atoms.calc = None
    write(tmp_path / "only.xyz", structures)
    says = "REF_energy"
    assert main(["fit", str(tmp_path / "only.xyz"), "-o", str(tmp_path / "x.mliuq")]) == 1
    assert "--keys REF" in capsys.readouterr().err
    assert main(["eval", str(small_model), str(tmp_path / "only.xyz")]) == 0
    assert says in capsys.readouterr().err
    for command in ("report", "calibrate"):
        assert main([command, str(small_model), str(tmp_path / "only.xyz"), "-o", str(tmp_path / "out.mliuq")]) == 1
        assert says in capsys.readouterr().err
    assert main(["eval", str(small_model), str(tmp_path / "only.xyz"), "--stress-unit", "psi"]) == 1
    assert "expected one of 'eV/A3'" in capsys.readouterr().err


def test_report_and_calibrate_point_out_a_stress_of_another_unit(
    renamed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mliuq.report.write.draw", lambda p, groups: {})  # pictures take the time of a report
    model = tmp_path / "W.mliuq"
    assert main(["fit", str(renamed[0]), "-o", str(model), *FIT]) == 0
    assert "warning" not in capsys.readouterr().err
    for command in ("report", "calibrate"):
        for given, odd in (([], True), (NAMES[-4:], False)):
            options = [str(model), str(renamed[1]), "-o", str(tmp_path / f"{command}.mliuq"), "--keys", "REF", *given]
            assert main([command, *options, "--stress"]) == 0
            said = capsys.readouterr().err
            assert ("--stress-unit kbar" in said) == ("--stress-sign compression" in said) == odd
            assert ("the given stress" in said) == odd


def test_tune_reads_under_the_names_it_is_told_and_writes_them(
    renamed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = []
    for data, options, name in zip(renamed, ([], NAMES), ("plain", "other"), strict=True):
        few = ["--twojmax", "2", "--quadratic", "none", "--rcut", "3.9", "--no-elements"]
        assert main(["tune", str(data), "-o", str(tmp_path / name), *few, *options, "--json"]) == 0
        chosen.append(json.loads(capsys.readouterr().out)["chosen"]["rmse"])
    text = (tmp_path / "other" / "fit.toml").read_text(encoding="utf-8")
    assert 'energy_key = "REF_energy"' in text
    assert 'stress_unit = "kbar"' in text
    assert chosen[0] == pytest.approx(chosen[1])
    assert chosen[0]


def test_commands_on_single_structures_take_what_files_leave_unsaid(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = (
        "made by a test\n\n1 atoms\n1 atom types\n\n0 3.2 xlo xhi\n0 3.2 ylo yhi\n0 3.2 zlo zhi\n\nAtoms # atomic\n\n"
    )
    (tmp_path / "cell.data").write_text(f"{cell}1 1 0.0 0.0 0.0\n", encoding="utf-8")
    words = {
        "compare": ["compare", str(small_model), str(tmp_path / "cell.data")],
        "md": [
            "md",
            str(small_model),
            str(tmp_path / "cell.data"),
            "-o",
            str(tmp_path / "md"),
            "--steps",
            "1",
            "--temperature",
            "9",
        ],
        "eval": ["eval", str(small_model), str(tmp_path / "cell.data")],
    }
    for name, command in words.items():
        assert main(command) == 1, name
        assert "expected --types, such as --types W,Be" in capsys.readouterr().err
        assert main([*command, "--types", "W"]) == 0, name
        capsys.readouterr()
