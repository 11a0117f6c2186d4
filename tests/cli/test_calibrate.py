"""`mliuq calibrate`: is the old α still credible, and what becomes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ase.io import write
from mliuq import Model
from mliuq.cli import main
from mliuq.model.environments import environments_of
from mliuq.readers import read_structures


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["calibrate", *map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {line["quantity"]: line["old"] for line in found["credibility"]}


def spoilt(model: Model, factor: float, path: Path, *kinds: str) -> Path:
    """The model with α of some kinds off by a factor."""
    assert model.calibration is not None
    changes = {f"alpha_{kind}": factor * model.calibration[f"alpha_{kind}"] for kind in kinds}
    replace(model, calibration={**model.calibration, **changes}).save(path)
    return path


@pytest.fixture(scope="module")
def halves(small_model: Path, held_out: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A model calibrated on half of what it has not seen, and the other half."""
    folder = tmp_path_factory.mktemp("halves")
    structures = read_structures(held_out)
    write(folder / "first.xyz", structures[::2])
    write(folder / "second.xyz", structures[1::2])
    model = folder / "M.mliuq"
    assert main(["calibrate", str(small_model), str(folder / "first.xyz"), "-o", str(model), "--json"]) == 0
    return Model.load(model), folder / "second.xyz"


def test_an_honest_calibration_is_credible_and_one_spoilt_by_two_is_not(
    halves: tuple[Model, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, other = halves
    for factor, expected in ((1.0, "credible"), (2.0, "too large"), (0.5, "too small")):
        path = spoilt(model, factor, tmp_path / f"{factor}.mliuq", "energy", "force")
        found = run(capsys, path, other, "-o", tmp_path / "new.mliuq")
        assert verdicts(found) == {"energy": expected, "force": expected}
        for line in found["credibility"]:
            low, high = line["interval"]
            assert low < line["alpha"] < high
            n = len(read_structures(other))
            assert line["configurations"] == n or (line["quantity"] == "force" and 0.8 * n < line["configurations"] < n)
            assert found["calibration"]["interval"][line["quantity"]] == [low, high]
        again = Model.load(tmp_path / "new.mliuq").calibration
        assert again is not None
        assert again["alpha_force"] == found["credibility"][1]["alpha"], "updated whatever the verdict"
        assert again["configurations"] == found["calibration"]["configurations"]


def test_a_dozen_labels_tell_a_factor_of_three_and_do_not_pretend_more(
    halves: tuple[Model, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, other = halves
    write(tmp_path / "few.xyz", read_structures(other)[:12])
    whole = run(capsys, spoilt(model, 1.0, tmp_path / "m.mliuq"), other, "--update", "never")
    found = run(capsys, spoilt(model, 3.0, tmp_path / "s.mliuq", "energy"), tmp_path / "few.xyz", "--update", "never")
    assert verdicts(found)["energy"] == "too large"
    for few, all_of_them in zip(found["credibility"], whole["credibility"], strict=True):
        widths = [line["interval"][1] / line["interval"][0] for line in (few, all_of_them)]
        assert widths[0] > 1.2 * widths[1]


def test_an_energy_computed_otherwise_is_named_and_moves_no_bar(
    halves: tuple[Model, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    model, other = halves
    frames = read_structures(other)
    path = spoilt(model, 1.0, tmp_path / "m.mliuq")
    whole = run(capsys, path, other, "--update", "never")["credibility"][0]
    assert not [text for text in caplog.messages if "far outside" in text]
    frames[3].calc.results["energy"] += 60 * len(frames[3])
    write(tmp_path / "one.xyz", frames)
    found = run(capsys, path, tmp_path / "one.xyz", "--update", "never")["credibility"][0]
    (named,) = [text for text in caplog.messages if "far outside" in text]
    assert f"{tmp_path / 'one.xyz'}: configuration 3 (the 4th" in named
    assert found["alpha"] == pytest.approx(whole["alpha"], rel=0.1)
    assert found["interval"] == pytest.approx(whole["interval"], rel=0.2)


def test_only_what_is_needed_is_updated(
    halves: tuple[Model, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, other = halves
    path = spoilt(model, 2.0, tmp_path / "m.mliuq", "force")
    found = run(capsys, path, other, "-o", tmp_path / "new.mliuq", "--update", "needed")
    new, old = Model.load(tmp_path / "new.mliuq").calibration, model.calibration
    assert new is not None
    assert old is not None
    for part in ("conformal", "interval"):
        assert new[part]["energy"] == old[part]["energy"]
        assert new[part]["force"] != old[part]["force"]
    assert new["alpha_energy"] == old["alpha_energy"]
    assert new["alpha_force"] == found["credibility"][1]["alpha"]


def test_groups_of_environments_are_calibrated_too(
    halves: tuple[Model, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By what was usual where the model was fitted; those of kinds that are kept are kept."""
    model, other = halves
    assert model.calibration is not None
    old = model.calibration["groups"]
    found = run(capsys, spoilt(model, 2.0, tmp_path / "m.mliuq", "force"), other, "--update", "needed")
    new = found["calibration"]["groups"]
    assert new["usual"] == old["usual"]
    assert new["conformal"]["energy"] == old["conformal"]["energy"]
    assert new["conformal"]["force"] != old["conformal"]["force"]
    bare = {key: value for key, value in model.calibration.items() if key != "groups"}
    replace(model, calibration=bare).save(tmp_path / "bare.mliuq")
    made = run(capsys, tmp_path / "bare.mliuq", other)["calibration"]["groups"]
    assert made["usual"] == environments_of(read_structures(other)).usual.to_mapping()


def test_nothing_is_written_where_nothing_is_to_be(
    halves: tuple[Model, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, other = halves
    path = spoilt(model, 2.0, tmp_path / "m.mliuq", "force")
    before = path.read_bytes()
    assert main(["calibrate", str(path), str(other), "--update", "never"]) == 0
    printed = capsys.readouterr().out
    assert "too large" in printed
    assert "nothing written" in printed
    assert path.read_bytes() == before
    assert main(["calibrate", str(path), str(other), "--update", "never", "-o", str(tmp_path / "x.mliuq")]) == 2
    assert main(["calibrate", str(path), str(other), "--update", "often"]) == 2
    assert "expected one of always, needed, never" in capsys.readouterr().err


def test_one_structure_is_no_evidence_and_no_old_calibration_is_none(
    halves: tuple[Model, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, other = halves
    largest = max(read_structures(other), key=len)
    write(tmp_path / "one.xyz", largest)
    found = run(capsys, spoilt(model, 1.0, tmp_path / "m.mliuq"), tmp_path / "one.xyz", "--update", "never")
    assert verdicts(found) == {"force": "unknown"}
    assert found["credibility"][0]["interval"] is None
    replace(model, calibration=None).save(tmp_path / "raw.mliuq")
    found = run(capsys, tmp_path / "raw.mliuq", other, "--update", "needed", "-o", tmp_path / "new.mliuq")
    assert verdicts(found) == {"energy": "not there", "force": "not there"}
    assert Model.load(tmp_path / "new.mliuq").calibration == found["calibration"]
