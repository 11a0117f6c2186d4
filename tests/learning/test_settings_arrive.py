"""Every setting of a loop reaches what obeys it; the table of settings and this file agree."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from mliuq.errors import MliuqError
from mliuq.learning import choosing, exploring, frames_files, labelling, loop, processes
from mliuq.learning.exploring import Run, planned_runs, run_one, strained
from mliuq.learning.folder import LearnFolder, json_bytes, read_json
from mliuq.learning.knowledge import fit_settings, read_beginning
from mliuq.learning.labelling import LabelTask, label_one
from mliuq.learning.lammps_runs import lammps_input
from mliuq.learning.settings import LearnSettings

FIT = "fit"  # its own tests see its settings arrive; here only that the loop passes the table on

#: Setting → the test below that varies it.
SEEN = {
    "seed": "test_seeds",
    "rebalance": "test_weights_are_kept_or_chosen_anew",
    "start.structures": "test_starts",
    "start.strains": "test_starts",
    "start.rattle": "test_starts",
    "start.copies": "test_starts",
    "explore.temperatures": "test_plans_of_runs",
    "explore.pressures": "test_plans_of_runs",
    "explore.seeds": "test_plans_of_runs",
    **{
        f"explore.{name}": "test_runs_in_both_engines"
        for name in (
            *("steps", "every", "timestep", "thermostat_time", "barostat_time", "quantity", "save", "halt"),
            *("max_saved", "upper", "pool", "engine"),
        )
    },
    "explore.workers": "test_workers",
    "explore.lammps": "test_lammps_command_and_time_limit",
    "explore.time_limit": "test_lammps_command_and_time_limit",
    **{f"select.{name}": "test_selection" for name in ("n", "criterion", "similar", "rows", "region", "target")},
    "select.represent": "test_labels_stand_for_what_the_runs_saw",
    "select.max_atoms": "test_large_frames_are_carved",
    "label.calculator": "test_words_of_a_label",
    "label.command": "test_words_of_a_label",
    "label.python_path": "test_words_of_a_label",
    **{f"label.{name}": "test_limits_of_a_label" for name in ("time_limit", "retries", "min_distance", "max_force")},
    "label.max_energy": "test_limits_of_a_label",
    "label.workers": "test_workers",
    "stop.rounds": "test_budgets",
    "stop.labels": "test_budgets",
}


def leaves(cls: type, prefix: str = "") -> Iterator[str]:
    hints = get_type_hints(cls)
    for field in fields(cls):
        hint = hints[field.name]
        if prefix + field.name == FIT:
            continue
        if is_dataclass(hint):
            yield from leaves(hint, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def test_every_setting_is_seen_to_arrive() -> None:
    assert set(leaves(LearnSettings)) == set(SEEN)
    assert {name for name in SEEN.values()} <= set(globals())


def test_every_setting_is_in_the_reference() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "learn-settings.md"
    text = page.read_text(encoding="utf-8")
    for name in SEEN:
        assert f"`{name.rpartition('.')[2]}`" in text, name


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copper that Lennard-Jones would like, with a posterior."""
    import mliuq
    from ase.calculators.emt import EMT

    rng = np.random.default_rng(0)
    known = []
    for _ in range(14):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell * rng.uniform(0.97, 1.03), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.15, size=(4, 3))
        atoms.calc = EMT()
        atoms.get_forces()
        known.append(atoms)
    settings = {"snap.twojmax": 2, "snap.rcut": 4.5, "posterior.members": 16, "data.test_fraction": 0.0}
    path = tmp_path_factory.mktemp("model") / "Cu.mliuq"
    mliuq.fit(known, settings=settings).save(path)
    return path


def test_seeds(setting_up) -> None:
    one, other = (planned_runs(setting_up(seed=seed), 1, 1) for seed in (1, 2))
    assert {run.seed for run in one}.isdisjoint(run.seed for run in other)
    assert planned_runs(setting_up(seed=1), 1, 1) == one
    assert {run.seed for run in planned_runs(setting_up(seed=1), 1, 2)}.isdisjoint(run.seed for run in one)


def test_starts(setting_up, tmp_path) -> None:
    write(tmp_path / "two.xyz", [bulk("Cu"), bulk("Cu", cubic=True)])

    def displaced(**changes: Any) -> list:
        made = loop._Loop(setting_up(**changes), LearnFolder(tmp_path / str(len(list(tmp_path.iterdir())))), None, None)
        return made._displaced()

    plain = displaced()
    assert len(plain) == 2 * 3
    assert len(displaced(start__copies=5)) == 2 * 5
    assert {len(atoms) for atoms in displaced(start__structures=["two.xyz"])} == {1, 4}
    still = displaced(start__rattle=0.0, start__strains=[0.0, [0.0, 0.0, 0.1, 0.02, 0.0, 0.0]])
    np.testing.assert_allclose(still[0].positions, bulk("Cu", cubic=True).positions)
    np.testing.assert_allclose(still[-1].cell.array / 3.61, [[1, 0, 0], [0, 1, 0.01], [0, 0.01, 1.1]], atol=1e-12)
    moves = np.array([atoms.positions - atoms.cell.scaled_positions(atoms.positions).round(1) @ atoms.cell for atoms in
                      displaced(start__rattle=0.05, start__copies=40)])  # fmt: skip
    assert moves.std() == pytest.approx(0.05, rel=0.1)
    assert strained(bulk("Cu", cubic=True), 0.1).get_volume() == pytest.approx(1.1**3 * 3.61**3)


def test_plans_of_runs(setting_up) -> None:
    settings = setting_up(explore__temperatures=[300.0, 600.0], explore__pressures=[0.0, 5.0], explore__seeds=3)
    runs = planned_runs(settings, 2, 1)
    assert len(runs) == 2 * 2 * 2 * 2 * 3
    assert {run.temperature for run in runs} == {300.0, 600.0}
    assert {run.pressure for run in runs} == {0.0, 5.0}
    assert {run.pressure for run in planned_runs(setting_up(), 2, 1)} == {None}
    assert [run.index for run in runs] == list(range(48))


def test_runs_in_both_engines(setting_up, model_path, tmp_path, monkeypatch) -> None:
    """What ASE's dynamics and guard are made with, and what LAMMPS is told."""
    given: dict[str, Any] = {}
    changes = {
        "steps": 30, "every": 3, "timestep": 0.5, "thermostat_time": 77.0, "barostat_time": 555.0,
        "quantity": "energies_err", "save": 1e-9, "halt": 11.0, "max_saved": 4, "upper": 99.0, "pool": "trajectory",
    }  # fmt: skip
    settings = replace(setting_up().explore, **changes)

    class Guard(exploring.UncertaintyGuard):
        def __init__(self, dyn: Any, atoms: Any, **named: Any) -> None:
            given.update(named)
            super().__init__(dyn, atoms, **named)

    def dynamics(atoms: Any, ensemble: Any, rng: Any) -> Any:
        given.update({name: getattr(ensemble, name) for name in ("timestep", "thermostat_time", "barostat_time")})
        given.update(temperature=ensemble.temperature, pressure=ensemble.pressure, ensemble=ensemble.ensemble)
        return made(atoms, ensemble, rng)

    made = exploring.dynamics
    monkeypatch.setattr(exploring, "UncertaintyGuard", Guard)
    monkeypatch.setattr(exploring, "dynamics", dynamics)
    run = Run(3, 0, 0, 650.0, 2.0, 17)
    for pool, frames in (("trajectory", 11), ("saved", 4)):
        folder = tmp_path / pool
        folder.mkdir()
        run_one(run, bulk("Cu", cubic=True), model_path, replace(settings, pool=pool), folder)
        assert len(frames_files.read(folder / "frames.xyz")) == frames
        assert read_json(folder / "facts.json")["steps"] == 30
    expected = changes | {"temperature": 650.0, "pressure": 2.0, "ensemble": "npt"}
    for name in set(expected) - {"steps", "pool"}:
        assert given[name] == expected[name], name
    run_one(replace(run, pressure=None), bulk("Cu", cubic=True), model_path, settings, _made(tmp_path / "nvt"))
    assert given["ensemble"] == "nvt"

    text = lammps_input(run, bulk("Cu", cubic=True), model_path, ["Cu"], settings)
    for words in (
        "run 30\n",
        "timestep 0.0005\n",
        "npt temp 650.0 650.0 0.077 iso 20000.0 20000.0 0.555\n",
        "mliuq/guard 3 energy_err save 1e-09 halt 11.0 limit 99.0 file saved.xyz max 4 ",
        "dump pass all custom 3 pass.dump",
        "velocity all create 650.0 17 ",
    ):
        assert words in text, words
    text = lammps_input(replace(run, pressure=None), bulk("Cu"), model_path, ["Cu"], setting_up().explore)
    assert "fix bath all langevin 650.0 650.0 0.1 17\n" in text
    assert "dump" not in text
    assert "limit" not in text
    assert setting_up(explore__engine="lammps").explore.engine == "lammps"
    with pytest.raises(MliuqError, match=r"explore.quantity is 'stress_err', expected one of forces_err"):
        lammps_input(run, bulk("Cu"), model_path, ["Cu"], replace(settings, quantity="stress_err"))


def test_lammps_command_and_time_limit(setting_up, model_path, tmp_path) -> None:
    run = Run(0, 0, 0, 300.0, None, 1)
    for words, limit, why in (("sleep 100 --", 0.3, "after 0.3 s"), ("false", 0.0, "status 1")):
        settings = replace(setting_up().explore, engine="lammps", lammps=f"env {words}", time_limit=limit)
        if words.startswith("sleep"):
            script = tmp_path / "slow.sh"
            script.write_text("#!/bin/sh\nsleep 100\n")
            script.chmod(0o755)
            settings = replace(settings, lammps=str(script))
        folder = _made(tmp_path / words.split()[0])
        if words == "false":
            with pytest.raises(MliuqError, match="ended before the first step: status 1"):
                run_one(run, bulk("Cu", cubic=True), model_path, settings, folder)
            continue
        run_one(run, bulk("Cu", cubic=True), model_path, settings, folder)
        assert why in read_json(folder / "facts.json")["halted"]
    settings = replace(setting_up().explore, engine="lammps", lammps="no-such-lammps")
    with pytest.raises(MliuqError, match="'no-such-lammps' cannot be started"):
        run_one(run, bulk("Cu", cubic=True), model_path, settings, _made(tmp_path / "none"))


@pytest.mark.parametrize("table", ["explore", "label"])
def test_workers(table, setting_up, tmp_path, monkeypatch) -> None:
    given = []

    class Pool(processes.ThreadPoolExecutor):
        def __init__(self, workers: int) -> None:
            given.append(workers)
            super().__init__(workers)

    monkeypatch.setattr(processes, "ThreadPoolExecutor", Pool)
    made = loop._Loop(setting_up(**{f"{table}__workers": 3}), LearnFolder(tmp_path / "out"), None, None)
    monkeypatch.setattr(exploring, "run_one", lambda *given: None)
    if table == "label":
        made.round(0)
    else:
        where = made.folder.round(1)
        for index in range(2):
            folder = _made(where.md / f"{index:03d}")
            facts = exploring.RunFacts(Run(index, 0, 0, 1.0, None, 1), 1, None, 0.1, 0)
            (folder / "facts.json").write_bytes(json_bytes(facts.to_mapping()))
            (folder / "frames.xyz").touch()
        exploring.explore(made.settings, made._beginning.starts, Path("none"), where)
    assert given == [3]


def ready_to_select(settings: LearnSettings, folder: Path, model_path: Path, frames: list) -> tuple[Any, Any]:
    """A loop about to choose from frames in round 1."""
    made = loop._Loop(settings, LearnFolder(folder), None, None)
    for index in range(2):
        _made(made.folder.round(index).folder)
    shutil.copy(model_path, made.folder.round(0).model)
    made.folder.round(0).batch.touch()
    where = made.folder.round(1)
    where.frames.write_bytes(frames_files.to_bytes(frames))
    where.runs.write_bytes(json_bytes({"thresholds": {"save": 0.125, "halt": 1.0}}))
    return made, where


def test_selection(setting_up, model_path, tmp_path, monkeypatch) -> None:
    write(tmp_path / "interest.xyz", [bulk("Cu")] * 2)
    given: dict[str, Any] = {}

    def select(pool: Any, model: Any, n: int, **named: Any) -> Any:
        given.update(named, n=n)
        return select_itself(pool, model, 1, criterion="random")

    select_itself = choosing.select
    monkeypatch.setattr(choosing, "select", select)
    for criterion, name in (("mean_information", "region"), ("property", "target"), ("information", "")):
        changes = {f"select__{name}": ["interest.xyz"]} if name else {}
        settings = setting_up(
            select__n=7, select__criterion=criterion, select__similar=0.01, select__rows=["forces"], **changes
        )
        made, where = ready_to_select(settings, tmp_path / criterion, model_path, [bulk("Cu"), bulk("Cu", cubic=True)])
        made._select(where)
        assert len(frames_files.read(where.batch)) == 1
        assert (given["n"], given["criterion"], given["similar"], given["rows"]) == (7, criterion, 0.01, ("forces",))
        for interest in ("region", "target"):
            assert (given[interest] is not None) == (interest == name)
        if name:
            assert len(given[name]) == 2
        with pytest.raises(MliuqError, match="goes with select"):
            setting_up(select__criterion="random", **(changes or {"select__region": ["interest.xyz"]}))


def test_labels_stand_for_what_the_runs_saw(setting_up, model_path, tmp_path, monkeypatch) -> None:
    """Frames of all rounds, displaced starts of round 0 aside, for the choice and for the fit."""
    frames = [bulk("Cu", cubic=True) for _ in range(3)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=seed)
    write(tmp_path / "interest.xyz", frames[0])
    given: list[Any] = []

    class Reached(Exception):  # noqa: N818
        pass

    def select(*_: Any, **named: Any) -> None:
        given.append(named["region"])
        raise Reached

    def updated_fit(*_: Any, **named: Any) -> None:
        given.append(named["represent"])
        raise Reached

    monkeypatch.setattr(choosing, "select", select)
    monkeypatch.setattr(loop, "updated_fit", updated_fit)
    for number, changes in enumerate(
        ({"select__represent": True}, {}, {"select__region": ["interest.xyz"], "select__represent": True})
    ):
        settings = setting_up(select__criterion="representation", **changes)
        made, where = ready_to_select(settings, tmp_path / str(number), model_path, frames[:2])
        made.folder.round(0).frames.write_bytes(frames_files.to_bytes(frames))
        second = made.folder.round(2)
        _made(second.folder)
        shutil.copy(model_path, where.model)
        where.batch.touch()
        second.frames.write_bytes(frames_files.to_bytes(frames[2:]))
        second.runs.write_bytes(where.runs.read_bytes())
        with pytest.raises(Reached):
            made._select(second)
        with pytest.raises(Reached):
            made._refit(made.folder.round(0))
    seen = [None if one is None else [round(atoms.positions[0, 0], 6) for atoms in one] for one in given]
    every = [round(atoms.positions[0, 0], 6) for atoms in frames]
    assert seen == [every, None, every, None, every[:1], None]
    given.clear()
    settings = setting_up(select__represent=True)
    made, where = ready_to_select(settings, tmp_path / "fit", model_path, frames[:2])
    monkeypatch.setattr(loop.FitState, "load", lambda path: None)
    with pytest.raises(Reached):
        made._refit(where)
    assert len(given[0]) == 2


def test_large_frames_are_carved(setting_up, model_path, tmp_path, monkeypatch) -> None:
    """The atom that speaks for a frame, the threshold of the round; what cannot be carved is left out and named."""
    large, small = bulk("Cu", cubic=True).repeat(2), bulk("Cu", cubic=True)
    large.rattle(0.1, seed=1)
    given: list[Any] = []

    def carve(atoms: Any, centre: int, model: Any, **named: Any) -> Any:
        given.append((len(atoms), centre, named["save"]))
        if len(given) > 1:
            raise MliuqError("no cell")
        cell = atoms[:5].copy()
        cell.info["carve_rest_err"] = 0.01
        return cell

    monkeypatch.setattr(choosing, "carve", carve)
    settings = setting_up(select__n=2, select__criterion="forces_err", select__max_atoms=8)
    made, where = ready_to_select(settings, tmp_path / "out", model_path, [small, large])
    made._select(where)
    assert sorted(len(atoms) for atoms in frames_files.read(where.batch)) == [4, 5]
    choice = next(choice for choice in read_json(where.choices) if choice["index"] == 1)
    assert given == [(32, choice["atom"], 0.125)]
    where.batch.unlink()
    made._select(where)
    assert [len(atoms) for atoms in frames_files.read(where.batch)] == [4]
    assert {choice["left_out"] for choice in read_json(where.choices)} == {None, "no cell"}
    assert not setting_up().select.max_atoms
    with pytest.raises(MliuqError, match="where forces_err is watched"):
        setting_up(select__max_atoms=8, explore__quantity="extrapolation")


def test_weights_are_kept_or_chosen_anew(setting_up, tmp_path, monkeypatch) -> None:
    given = []

    def updated_fit(*structures: Any, **named: Any) -> Any:
        given.append(named["rebalance"])
        raise MliuqError("seen")

    monkeypatch.setattr(loop, "updated_fit", updated_fit)
    for rebalance in (True, False):
        with pytest.raises(MliuqError, match="seen"):
            loop.learn(setting_up(rebalance=rebalance), tmp_path / str(rebalance))
    assert given == [True, False]


def test_words_of_a_label(setting_up, tmp_path) -> None:
    settings = setting_up(label__command="calc {input} to {output} with {here}/x", label__python_path=["lib", "b"])
    words = labelling._words(settings.label, Path("/i"), Path("/o"))
    assert words == ["command", "calc", "/i", "to", "/o", "with", f"{tmp_path}/lib/x"]
    settings = setting_up(label__command="", label__calculator="mod:name", label__python_path=["lib"])
    assert labelling._words(settings.label, Path("/i"), Path("/o")) == [
        *("calculator", "mod:name", "/i", "/o", str(tmp_path / "lib")),
    ]


def test_limits_of_a_label(setting_up, made, tmp_path) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.positions[0, 0] += 0.4

    def outcome(faults: str = "none", **changes: Any) -> str:
        settings = setting_up(faults, **{f"label__{name}": value for name, value in changes.items()}).label
        folder = _made(tmp_path / f"{len(list(tmp_path.iterdir()))}" / "labelling")
        task = LabelTask(folder, 0, atoms, settings, False)
        label_one(task)
        return "a label" if task.label.is_file() else read_json(task.failure)["reason"]

    assert outcome() == "a label"
    assert "expected at least 2.4 Å" in outcome(min_distance=2.4)
    assert "expected at most 0.01" in outcome(max_force=0.01)
    assert outcome("hang:0", time_limit=0.5) == "no answer within 0.5 s"
    before = len(made())
    outcome("crash:0", retries=2)
    assert len(made()) == before + 3
    from mliuq.learning.sanity import odd_energies

    settings = setting_up(label__max_energy=0.1).label
    cells = []
    for energy in (-14.0, -14.0, -13.0):
        cell = bulk("Cu", cubic=True)
        from ase.calculators.singlepoint import SinglePointCalculator

        cell.calc = SinglePointCalculator(cell, energy=energy)
        cells.append(cell)
    assert set(odd_energies(cells[:2], cells[2:], settings.max_energy)) == {0}
    assert not odd_energies(cells[:2], cells[2:], 1.0)


def test_budgets(setting_up, made, tmp_path) -> None:
    result = loop.learn(setting_up(stop__labels=7, stop__rounds=9), tmp_path / "labels")
    assert result.reason == "labels"
    assert [log["labels_spent"] for log in result.logs] == [6, 7]
    assert len(made()) == 7
    result = loop.learn(setting_up(stop__rounds=0), tmp_path / "rounds")
    assert (result.reason, len(result.logs)) == ("rounds", 1)


def test_the_tables_of_the_fit_are_passed_on(setting_up, tmp_path) -> None:
    settings = setting_up(fit__snap__twojmax=4, fit__seed=5, fit__posterior__members=3, fit__data__energy_key="E")
    passed = fit_settings(settings, read_beginning(settings))
    assert (passed.snap.twojmax, passed.seed, passed.posterior.members) == (4, 5, 3)
    assert passed.snap.elements == ("Cu",)
    assert passed.data.energy_key == "energy", "labels bear ASE's names, whatever the data are called"
    assert passed.data.test_fraction == 0.0, "what is labelled is fitted"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
