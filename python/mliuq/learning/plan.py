"""What a loop would do next and how long that takes, without doing anything."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mliuq.learning import frames_files
from mliuq.learning.exploring import planned_runs
from mliuq.learning.folder import LearnFolder, Round
from mliuq.learning.knowledge import read_beginning
from mliuq.learning.loop import check_same, end_of, kept_beginning
from mliuq.learning.settings import LearnSettings


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes
    ----------
    ended : why the loop is over, None while it goes on
    round, stage : where it goes on: "explore", "select", "label" or "fit"
    runs, runs_left : of this round, and those of them that are still to be made
    steps : of each run, at most
    labels, labels_left : structures of this round's batch, at most, and those of them that are still to be calculated
    rounds_left, budget_left : rounds and labels that the budget has, those of this round included
    run_seconds, label_seconds : of one step of one run and of one label, as measured so far; None where nothing was
    seconds : what is left of this round, at most; None where nothing was measured
    seconds_in_all : what is left of the budget, at most
    """

    ended: str | None
    round: int
    stage: str
    runs: int
    runs_left: int
    steps: int
    labels: int
    labels_left: int
    rounds_left: int
    budget_left: int
    run_seconds: float | None
    label_seconds: float | None
    seconds: float | None
    seconds_in_all: float | None

    def to_mapping(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def plan(settings: LearnSettings, path: str | Path) -> Plan:
    """Look at a folder, which need not be there, and say what `learn` would do.

    Raises
    ------
    MliuqError
        as `learn` would, for settings that make no loop or are not those of the folder's.
    """
    settings.validate()
    folder = LearnFolder(Path(path))
    if folder.settings.is_file():
        check_same(LearnSettings.from_toml(folder.settings), settings, folder.settings)
        beginning = kept_beginning(folder)
    else:
        beginning = read_beginning(settings)
    n_starts, trained = len(beginning.starts), bool(beginning.train)
    logs = folder.logs()
    index = len(logs)
    where = folder.round(index)
    spent = logs[-1]["labels_spent"] if logs else 0
    left = max(settings.stop.labels - spent, 0)
    runs = len(planned_runs(settings, n_starts, index)) if index else 0
    first = 0 if trained else n_starts * len(settings.start.strains) * settings.start.copies
    labels = min(settings.select.n if index else first, left)
    stage = _stage(where)
    if stage in ("label", "fit"):
        labels = len(frames_files.read(where.batch))
    calculated = len([*where.labelling.glob("[0-9]*.xyz"), *where.labelling.glob("[0-9]*.json")])
    labels_left = 0 if stage == "fit" else labels - calculated
    made = len(list(where.md.glob("*/facts.json")))
    runs_left = runs - made if stage == "explore" else 0
    per_step, per_label = _measured(logs, settings)
    ended = end_of(logs, settings)
    rounds_left = settings.stop.rounds - index + 1 if ended is None else 0
    run_time = None if per_step is None else per_step * settings.explore.steps

    def time_of(n_runs: int, n_labels: int) -> float | None:
        if (n_runs and run_time is None) or (n_labels and per_label is None):
            return None
        at_once = math.ceil(n_runs / settings.explore.workers), math.ceil(n_labels / settings.label.workers)
        return at_once[0] * (run_time or 0.0) + at_once[1] * (per_label or 0.0)

    later = max(rounds_left - 1, 0)
    more_runs = later * len(planned_runs(settings, n_starts, 1))
    more_labels = min(later * settings.select.n, max(left - labels, 0))
    return Plan(
        ended, index, stage, runs, runs_left, settings.explore.steps, labels, labels_left, rounds_left, left,
        per_step, per_label,
        None if ended else time_of(runs_left, labels_left),
        None if ended else time_of(runs_left + more_runs, labels_left + more_labels),
    )  # fmt: skip


def _stage(where: Round) -> str:
    for path, stage in ((where.frames, "explore"), (where.batch, "select"), (where.labels, "label")):
        if not path.is_file():
            return stage
    return "fit"


def _measured(logs: list[dict[str, Any]], settings: LearnSettings) -> tuple[float | None, float | None]:
    """Seconds of a step of one run, and of one label; means over the rounds so far."""
    steps = sum(run["steps"] for log in logs for run in log["runs"])
    busy = sum(log["seconds"]["explore"] for log in logs if log["runs"]) * settings.explore.workers
    labels = [seconds for log in logs for seconds in log["seconds"]["label"]]
    return (busy / steps if steps else None), (float(np.mean(labels)) if labels else None)
