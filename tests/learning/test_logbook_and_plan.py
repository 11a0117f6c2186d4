"""What is said of a loop: the table, the picture and the plan, against rounds written by hand."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from ase.build import bulk
from matplotlib.axes import Axes
from mliuq.errors import MliuqError
from mliuq.learning import frames_files, logbook, loop
from mliuq.learning.folder import LearnFolder, Round, alone_in, emptied, json_bytes, read_json
from mliuq.learning.loop import end_of
from mliuq.learning.plan import Plan, plan
from mliuq.learning.settings import LearnSettings

STEPS = 60


def line(kind: str, group: str, rmse: float, predicted: float = 0.5, rms_z: float = 1.5) -> dict[str, Any]:
    return {"kind": kind, "group": group, "rmse": rmse, "predicted": predicted, "rms_z": rms_z, "of": "test"}


def run(steps: int, halted: str | None, largest: float | None) -> dict[str, Any]:
    return {"steps": steps, "halted": halted, "largest": largest}


LOGS: list[dict[str, Any]] = [
    {
        "round": 0, "converged": False, "runs": [], "thresholds": None, "labels_spent": 6, "quarantined": 1,
        "errors": [line("energy", "all", 0.0123456), line("force", "all", 0.5, 0.25, 2.0), line("force", "fcc", 0.75)],
        "seconds": {"explore": 99.0, "label": [1.0, 3.0]},
    },
    {
        "round": 1, "converged": False, "labels_spent": 9, "quarantined": 0,
        "runs": [run(0, "step 0: x", 0.875), run(40, "step 40", None), run(60, None, 0.0625)],
        "thresholds": {"save": 0.125, "halt": 0.375},
        "errors": [line("energy", "all", 0.004), line("force", "all", 0.125, 0.0625, 1.0), line("force", "bcc", 0.25)],
        "seconds": {"explore": 5.0, "label": [5.0]},
    },
]  # fmt: skip


def test_the_table_says_what_the_rounds_say() -> None:
    assert logbook.table(LOGS).splitlines() == [
        "# Rounds of mliuq learn",
        "",
        "labels: structures handed to the reference so far; errors of the model after the round on the test set; "
        "F predicted: root mean square of the predicted errors of force components.",
        "",
        "| round | labels | quarantined | runs | halted | steps, least | largest bar | E RMSE meV/atom | F RMSE eV/Å |"
        " F predicted | rms z |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        "| 0 | 6 | 1 | 0 | 0 | – | – | 12.35 | 0.5 | 0.25 | 2 |",
        "| 1 | 9 | 0 | 3 | 2 | 0 | 0.875 | 4 | 0.125 | 0.0625 | 1 |",
        "",
        "## Force RMSE of the groups of the test set, eV/Å",
        "",
        "| round | bcc | fcc |",
        "|---|---|---|",
        "| 0 | – | 0.75 |",
        "| 1 | 0.25 | – |",
    ]
    bare = [{**log, "errors": []} for log in LOGS]
    assert logbook.table(bare).splitlines()[-1] == "| 1 | 9 | 0 | 3 | 2 | 0 | 0.875 | – | – | – | – |"
    assert logbook.table(bare).endswith("|\n")
    assert logbook.row_of(bare[0]) == (0, 6, 1, 0, 0, None, None, None, None, None, None)
    assert len(logbook.HEAD) == len(logbook.row_of(bare[0]))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """Makes `picture` leave its axes here."""
    kept: list[Axes] = []

    class Kept(logbook.Figure):
        def subplots(self, *shape: int) -> Any:
            found = super().subplots(*shape)
            kept[:] = list(found)
            return found

    monkeypatch.setattr(logbook, "Figure", Kept)
    return kept


def lines(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    """Points of what the legend names, and of all that it does not, in order."""
    found: dict[str, Any] = {}
    for index, one in enumerate(axes.lines):
        label = str(one.get_label())
        found[label if not label.startswith("_") else f"_{index}"] = tuple(np.asarray(one.get_data()).tolist())
    return found


def named(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_picture_draws_the_rounds(drawn: list[Axes]) -> None:
    image = matplotlib.image.imread(io.BytesIO(logbook.picture(LOGS, steps=STEPS, quantity="forces_err")))
    assert image.shape[:2] == (4.2 * 150, 11.4 * 150)
    errors, bars, reached = drawn
    assert [axes.get_title(loc="left") for axes in drawn] == ["(a)", "(b)", "(c)"]
    found = lines(errors)
    assert found["all"] == ([6, 9], [0.5, 0.125])
    np.testing.assert_equal(found["bcc"], ([6, 9], [np.nan, 0.25]))
    np.testing.assert_equal(found["fcc"], ([6, 9], [0.75, np.nan]))
    assert found["all, predicted"] == ([6, 9], [0.25, 0.0625])
    assert named(errors) == ["all", "bcc", "fcc", "all, predicted"]
    assert (errors.get_xlabel(), errors.get_ylabel()) == ("labels spent", "force RMSE on the test set (eV/Å)")
    assert (errors.get_yscale(), bars.get_yscale(), reached.get_yscale()) == ("log", "log", "symlog")

    found = lines(bars)
    assert found["halt"] == ([1], [0.375])
    assert found["save"] == ([1], [0.125])
    assert found["_2"] == ([1, 1], [0.875, 0.0625])
    assert found["a run"] == ([], [])
    assert named(bars) == ["halt", "save", "a run"]
    assert (bars.get_xlabel(), bars.get_ylabel()) == ("round", "largest forces_err of a run (eV/Å)")

    found = lines(reached)
    assert found["wanted"][1] == [STEPS, STEPS]
    assert found["halted"] == ([1, 1], [0.5, 40])
    assert found["reached"] == ([1], [60])
    assert named(reached) == ["wanted", "halted", "reached"]
    assert reached.get_ylim() == (0.0, 3 * STEPS)
    assert (reached.get_xlabel(), reached.get_ylabel()) == ("round", "steps of a run")
    for axes in (bars, reached):
        assert all(float(tick).is_integer() for tick in axes.xaxis.get_major_locator().tick_values(0.0, 3.0))
    for axes in (errors, bars):
        assert [axes.yaxis.get_major_formatter()(value, 0) for value in (0.05, 20.0)] == ["0.05", "20"]
        assert axes.yaxis.get_minor_formatter()(0.5, 0) == ""
        ticks = axes.yaxis.get_major_locator().tick_values(0.1, 0.9)
        np.testing.assert_allclose([t for t in ticks if 0.09 < t < 0.95], [0.1, 0.15, 0.2, 0.3, 0.5, 0.7])


def test_what_is_not_there_is_not_drawn(drawn: list[Axes]) -> None:
    first = [{**LOGS[0], "errors": []}]
    logbook.picture(first, steps=STEPS, quantity="extrapolation")
    errors, bars, reached = drawn
    assert [text.get_text() for text in errors.texts] == ["no test set"]
    assert (list(errors.get_xticks()), list(errors.get_yticks())) == ([], [])
    assert errors.get_legend() is None
    assert bars.get_ylabel() == "largest extrapolation of a run"
    assert bars.get_yscale() == "linear"
    assert named(reached) == ["wanted"]
    many = {**LOGS[0], "errors": [line("force", name, 0.5) for name in ("all", *"abcdefghi")]}
    logbook.picture([many], steps=STEPS, quantity="extrapolation")
    assert named(drawn[0]) == ["all", *"abcdef", "all, predicted"], "as many as there are colours"


# the plan ----------------------------------------------------------------------------------------------------------

CHANGES: dict[str, Any] = {
    "start.structures": ("s.xyz",), "start.strains": (0.0, 0.1), "start.copies": 3, "label.command": "c",
    "explore.temperatures": (300.0, 600.0), "explore.seeds": 3, "explore.steps": STEPS, "explore.workers": 3,
    "select.n": 7, "label.workers": 2, "stop.rounds": 5, "stop.labels": 500,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> LearnFolder:
    """A loop of two starts, before its round 0."""
    found = LearnFolder(tmp_path / "loop")
    found.path.mkdir()
    for path, parts in zip(found.beginning, ([], [], [bulk("Cu"), bulk("Cu")], [], []), strict=True):
        path.write_bytes(frames_files.to_bytes(parts))
    found.settings.write_text(LearnSettings().updated(CHANGES).to_toml())
    return found


def look(folder: LearnFolder, **changes: Any) -> Plan:
    made = LearnSettings.from_toml(folder.settings)
    return plan(made.updated({key.replace("__", "."): value for key, value in changes.items()}), folder.path)


def over(folder: LearnFolder) -> Round:
    """Leave the rounds above behind; the next."""
    for log in LOGS:
        where = folder.round(log["round"])
        where.folder.mkdir()
        where.log.write_bytes(json_bytes(log))
    where = folder.round(2)
    where.folder.mkdir()
    return where


def test_the_plan_of_a_beginning(folder: LearnFolder) -> None:
    found = look(folder)
    assert found.to_mapping() == {
        "ended": None, "round": 0, "stage": "explore", "runs": 0, "runs_left": 0, "steps": 60, "labels": 12,
        "labels_left": 12, "rounds_left": 6, "budget_left": 500, "run_seconds": None, "label_seconds": None,
        "seconds": None, "seconds_in_all": None,
    }  # fmt: skip
    assert look(folder, stop__labels=5).labels == 5
    folder.beginning[0].write_bytes(frames_files.to_bytes([bulk("Cu")]))
    found = look(folder)
    assert (found.labels, found.labels_left, found.seconds) == (0, 0, 0.0), "training data take the place of labels"


def test_the_plan_of_a_round(folder: LearnFolder) -> None:
    """Two starts, strains and temperatures, three seeds: 24 runs, three at once, of 60 steps of 0.15 s each."""
    where = over(folder)
    for name in ("000", "001"):
        (where.md / name).mkdir(parents=True)
        (where.md / name / "facts.json").touch()
    found = look(folder)
    assert found == Plan(
        ended=None, round=2, stage="explore", runs=24, runs_left=22, steps=60, labels=7, labels_left=7, rounds_left=4,
        budget_left=491, run_seconds=pytest.approx(3 * 5.0 / 100), label_seconds=3.0,
        seconds=pytest.approx(8 * 60 * 0.15 + 4 * 3.0),
        seconds_in_all=pytest.approx(32 * 60 * 0.15 + 14 * 3.0),
    )  # fmt: skip
    assert look(folder, stop__labels=20).seconds_in_all == pytest.approx(32 * 60 * 0.15 + 6 * 3.0)
    assert look(folder, stop__labels=12).labels == 3
    assert look(folder, stop__rounds=2).seconds_in_all == found.seconds, "this is the last round"
    where.frames.touch()
    found = look(folder)
    assert (found.stage, found.runs, found.runs_left, found.labels, found.labels_left) == ("select", 24, 0, 7, 7)
    assert found.seconds == pytest.approx(4 * 3.0)
    where.batch.write_bytes(frames_files.to_bytes([bulk("Cu")] * 5))
    (where.labelling / "004").mkdir(parents=True)
    for name in ("000.xyz", "001.json", "made.txt"):
        (where.labelling / name).touch()
    found = look(folder)
    assert (found.stage, found.labels, found.labels_left) == ("label", 5, 3)
    assert found.seconds_in_all == pytest.approx(24 * 60 * 0.15 + 12 * 3.0)
    where.labels.touch()
    found = look(folder)
    assert (found.stage, found.labels, found.labels_left, found.seconds) == ("fit", 5, 0, 0.0)


def test_the_plan_of_a_loop_that_is_over(folder: LearnFolder) -> None:
    over(folder)
    found = look(folder, stop__rounds=1)
    assert (found.ended, found.rounds_left, found.seconds, found.seconds_in_all) == ("rounds", 0, None, None)
    found = look(folder, stop__labels=9)
    assert (found.ended, found.budget_left, found.labels) == ("labels", 0, 0)
    assert look(folder, stop__labels=4).budget_left == 0
    with pytest.raises(MliuqError, match=r"learn\.toml: the loop there has seed = 0, found 4: expected the same, or "
                       r"another folder"):  # fmt: skip
        look(folder, seed=4)


def test_when_a_loop_ends() -> None:
    settings = LearnSettings().updated(CHANGES | {"stop.rounds": 2, "stop.labels": 9})
    last = {"converged": False, "labels_spent": 8, "round": 1}
    assert end_of([], settings) is None
    assert end_of([last], settings) is None
    assert end_of([{**last, "round": 2}], settings) == "rounds"
    assert end_of([{**last, "round": 2, "labels_spent": 9}], settings) == "labels"
    assert end_of([{**last, "converged": True, "labels_spent": 9}], settings) == "converged"
    assert end_of([{**last, "converged": True}, last], settings) is None, "the last round counts"


# the folder --------------------------------------------------------------------------------------------------------


def test_files_are_called_as_the_reference_says(tmp_path: Path) -> None:
    folder = LearnFolder(tmp_path)
    where = folder.round(3)
    assert where == Round(tmp_path / "round_003", 3)
    names = {
        "md": "md", "runs": "runs.json", "frames": "frames.xyz", "batch": "batch.xyz", "choices": "choices.json",
        "labelling": "labelling", "labels": "labels.xyz", "quarantine": "quarantine.xyz", "state": "fit.state",
        "model": "model.mliuq", "log": "log.json",
    }  # fmt: skip
    assert {key: str(getattr(where, key).relative_to(where.folder)) for key in names} == names
    assert [p.name for p in folder.beginning] == ["train.xyz", "test.xyz", "starts.xyz", "region.xyz", "target.xyz"]
    assert (folder.settings, folder.model) == (tmp_path / "learn.toml", tmp_path / "model.mliuq")
    page = (Path(__file__).parents[2] / "docs" / "reference" / "learn-settings.md").read_text(encoding="utf-8")
    for name in (*names.values(), *(p.name for p in (*folder.beginning, folder.settings, folder.model))):
        assert f"{name}" in page


def test_plain_values_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(json_bytes({"Å": [1, None]}))
    assert path.read_text(encoding="utf-8") == '{\n "Å": [\n  1,\n  null\n ]\n}\n'
    assert read_json(path) == {"Å": [1, None]}
    for text in (b"{", b"\xff"):
        path.write_bytes(text)
        with pytest.raises(MliuqError, match=rf"^{path}: cannot be read: "):
            read_json(path)
    with pytest.raises(MliuqError, match=rf"^{path}b: cannot be read: .*No such file"):
        read_json(tmp_path / "a.jsonb")


def test_only_one_is_at_work_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "loop"
    refused = pytest.raises(MliuqError, match=rf"^{folder}: another loop is at work there$")
    with alone_in(folder), refused, alone_in(folder):
        pass
    with alone_in(folder):
        pass
    (folder / "a").touch()
    assert emptied(folder) == folder
    assert list(folder.iterdir()) == []
    assert emptied(folder / "b" / "c").is_dir()


def test_frames_come_back_and_none_are_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "f.xyz"
    path.write_bytes(frames_files.to_bytes([bulk("Cu"), bulk("Å".replace("Å", "Al"))]))
    assert [str(atoms.symbols) for atoms in frames_files.read(path)] == ["Cu", "Al"]
    assert frames_files.to_bytes([]) == b""
    path.write_bytes(b"")
    assert frames_files.read(path) == []
    for text in (b"3\nwords\n", b"1\nProperties=species:S:1:pos:R:3\nCu 0 0\n"):
        path.write_bytes(text)
        with pytest.raises(MliuqError, match=rf"^{path}: cannot be read: "):
            frames_files.read(path)


def test_a_round_whose_frames_cannot_be_labelled_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(frames_files, "read", lambda path: [bulk("W")])
    monkeypatch.setattr(loop.Model, "load", lambda path: path)
    monkeypatch.setattr(loop, "read_json", lambda path: {"thresholds": {"save": 0.5}})
    monkeypatch.setattr(
        loop, "choose", lambda *given, **named: told.append((given[2:], named)) or ([], [{"left_out": "too large"}])
    )
    run = SimpleNamespace(
        settings=SimpleNamespace(stop=SimpleNamespace(labels=30), select=SimpleNamespace(n=20, criterion="random")),
        folder=SimpleNamespace(round=lambda index: SimpleNamespace(model=f"model {index}")),
        _spent=lambda index: 13, _known=lambda index: [], _beginning=SimpleNamespace(region=[], target=[1]),
    )  # fmt: skip
    where = SimpleNamespace(index=3, frames="frames", runs="runs", folder="round-003")
    with pytest.raises(MliuqError, match=r"^round-003: no frame can be labelled; the first: too large$"):
        loop._Loop._select(run, where)  # type: ignore[arg-type]
    assert told == [(("model 2", run.settings, 17, 3), {"region": None, "target": [1], "save": 0.5})]
    runs = [{"halted": None}, {"halted": "at step 3"}, {"halted": "at step 5"}]
    monkeypatch.setattr(frames_files, "read", lambda path: [])
    monkeypatch.setattr(loop, "read_json", lambda path: {"runs": runs})
    for noise, floor in ((None, "0"), ({"force": 0.1, "energy": 7.0}, "0.173")):
        monkeypatch.setattr(loop.Model, "load", lambda path, noise=noise: SimpleNamespace(noise=noise))
        with pytest.raises(MliuqError) as caught:
            loop._Loop._select(run, where)  # type: ignore[arg-type]
        assert str(caught.value) == (
            "round-003: runs halt and leave no frame that is new; the first: at step 3 (the noise floor alone, which "
            f"no label takes away, is {floor} eV/Å for the force of an atom)"
        )


@pytest.mark.parametrize("converged", [False, True])
def test_log_of_a_round_whose_stages_are_done(converged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = LearnFolder(tmp_path)
    crystal = bulk("W")

    def frames(n: int) -> bytes:
        made = [crystal.copy() for _ in range(n)]
        for index, atoms in enumerate(made):
            atoms.info["seconds"] = 0.5 + index
        return frames_files.to_bytes(made)

    first, second = folder.round(0), folder.round(1)
    for where in (first, second):
        where.folder.mkdir()
    first.batch.write_bytes(frames(4))
    first.labels.write_bytes(frames(3))
    runs = [{"halted": None}, {"halted": None if converged else "at step 3"}]
    explored = {"runs": runs, "thresholds": {"save": 0.5, "halt": 2.0}, "seconds": 1.5}
    done: list[str] = []

    def stage(name: str, **made: bytes) -> Any:
        def run(self: Any, where: Round) -> None:
            done.append(name)
            for file, content in made.items():
                getattr(where, file).write_bytes(content)

        return run

    stages = {
        "_explore": {"runs": json_bytes(explored), "frames": frames(5)}, "_select": {"batch": frames(3)},
        "_label": {"labels": frames(2), "quarantine": frames(1)}, "_refit": {"model": b"a model"},
    }  # fmt: skip
    for name, made in stages.items():
        monkeypatch.setattr(loop._Loop, name, stage(name, **made))
    monkeypatch.setattr(loop.Model, "load", lambda path: path)
    monkeypatch.setattr(loop, "errors_on", lambda *given: list(map(str, given)))
    rounds = loop._Loop.__new__(loop._Loop)
    rounds.folder = folder
    rounds._beginning = loop.Beginning([crystal] * 7, [crystal], [], [], [])
    rounds._fit = "settings of the fit"  # type: ignore[assignment]
    model = (first if converged else second).model
    expected = {
        "round": 1, "converged": converged, "runs": runs, "thresholds": explored["thresholds"], "frames": 5,
        "labels": 0 if converged else 2, "quarantined": 0 if converged else 1, "labels_spent": 4 if converged else 7,
        "configurations": 10 if converged else 12, "errors": [str(model), str([crystal]), "settings of the fit"],
        "model": str(model.relative_to(tmp_path)),
        "seconds": {"explore": 1.5, "label": [] if converged else [0.5, 1.5]},
    }  # fmt: skip
    for again in (False, True):
        assert rounds.round(1) == expected
        assert read_json(second.log) == expected
        assert done == (["_explore"] if converged else list(stages)), "nothing is done twice" if again else ""
