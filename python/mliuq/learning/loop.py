"""Explore, select, label, refit, until the runs no longer halt.

Every stage leaves its result in a file that appears whole, and begins where that file is missing: a loop that was
killed goes on from there.  Stages read what they need from those files, never from the memory of the stage before, so
that a loop that was killed and one that was not see the same numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.fitting.settings import FitSettings
from mliuq.learning import frames_files, logbook
from mliuq.learning.choosing import choose
from mliuq.learning.exploring import check_quantity_and_thresholds, explore, strained
from mliuq.learning.folder import LearnFolder, Round, alone_in, json_bytes, read_json
from mliuq.learning.knowledge import Beginning, errors_on, fit_settings, read_beginning
from mliuq.learning.labelling import label_batch
from mliuq.learning.settings import LearnSettings
from mliuq.learning.updating import FitState, updated_fit
from mliuq.model import Model
from mliuq.outputs import remove_abandoned, write_files

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]

CONVERGED, OUT_OF_LABELS, OUT_OF_ROUNDS = "converged", "labels", "rounds"

#: What may change while a loop is interrupted: budgets, how the work is done, and a reference that had to be mended.
_FREE = ("stop.", "label.", "explore.workers", "explore.lammps", "explore.time_limit")


@dataclass(frozen=True)
class Learned:
    """How a loop ended.

    Attributes
    ----------
    reason : "converged": all runs reached their steps; "labels" or "rounds": the budget is spent
    logs : the rounds
    model : the last model
    folder : of the loop
    """

    reason: str
    logs: list[dict[str, Any]]
    model: Path
    folder: Path


def learn(
    settings: LearnSettings,
    folder: str | Path = "learn",
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Learned:
    """Let a model learn from its own runs; a folder that holds such a loop is gone on with.

    Parameters
    ----------
    settings : all choices
    folder : of the loop, made if need be
    executor : makes the reference calculations (``dask``'s ``client.get_executor()``, ``mpi4py.futures``, …); its
        workers see the same folder.  Without one, `label.workers` are made at one time here
    progress : called as ``progress(stage, done, total)``

    Raises
    ------
    MliuqError
        for settings that make no loop or differ from those of the loop in the folder, when another loop is at work
        there, no structure of a batch got a label, or runs halt without leaving a frame to learn from.
    """
    settings.validate()
    place = LearnFolder(Path(folder))
    with alone_in(place.path):
        remove_abandoned(place.path, below=True)  # finished stages are not written again
        loop = _Loop(settings, place, executor, progress)
        while (reason := end_of(loop.logs, settings)) is None:
            loop.logs.append(loop.round(len(loop.logs)))
            loop.tell()
        loop.tell()
    return Learned(reason, loop.logs, place.model, place.path)


def end_of(logs: list[dict[str, Any]], settings: LearnSettings) -> str | None:
    """Why a loop with these rounds behind it ends; None while it goes on."""
    if not logs:
        return None
    last = logs[-1]
    if last["converged"]:
        return CONVERGED
    if last["labels_spent"] >= settings.stop.labels:
        return OUT_OF_LABELS
    return OUT_OF_ROUNDS if last["round"] >= settings.stop.rounds else None


class _Loop:
    """The rounds of one loop."""

    def __init__(
        self, settings: LearnSettings, folder: LearnFolder, executor: Executor | None, progress: Progress | None
    ) -> None:
        self.settings, self.folder = settings, folder
        self._executor, self._progress = executor, progress
        self._beginning = begin(settings, folder)
        self._fit: FitSettings = fit_settings(settings, self._beginning)
        self.logs = folder.logs()

    def round(self, index: int) -> dict[str, Any]:
        """Do what is left to be done of a round and return its log."""
        where = self.folder.round(index)
        where.folder.mkdir(exist_ok=True)
        if not where.frames.is_file():
            self._explore(where)
        explored = read_json(where.runs)
        runs = explored["runs"]
        converged = bool(runs) and all(run["halted"] is None for run in runs)
        if not converged:
            if not where.batch.is_file():
                self._select(where)
            if not where.labels.is_file():
                self._label(where)
            if not where.model.is_file():
                self._refit(where)
        model_path = self.folder.round(index - 1).model if converged else where.model
        labels = [] if converged else frames_files.read(where.labels)
        quarantined = [] if converged else frames_files.read(where.quarantine)
        found = {
            "round": index,
            "converged": converged,
            "runs": runs,
            "thresholds": explored["thresholds"],
            "frames": len(frames_files.read(where.frames)),
            "labels": len(labels),
            "quarantined": len(quarantined),
            "labels_spent": self._spent(index) + len(labels) + len(quarantined),
            "configurations": len(self._known(index if converged else index + 1)),
            "errors": errors_on(Model.load(model_path), self._beginning.test, self._fit),
            "model": str(model_path.relative_to(self.folder.path)),
            "seconds": {
                "explore": explored["seconds"],
                "label": [atoms.info["seconds"] for atoms in labels],
            },
        }
        write_files({where.log: json_bytes(found)})
        return found

    def tell(self) -> None:
        """Write the table, the picture and the last model."""
        if not self.logs:
            return
        explore = self.settings.explore
        write_files(
            {
                self.folder.path / "learn.md": logbook.table(self.logs).encode(),
                self.folder.path / "learn.png": logbook.picture(
                    self.logs, steps=explore.steps, quantity=explore.quantity
                ),
                self.folder.model: (self.folder.path / self.logs[-1]["model"]).read_bytes(),
            }
        )

    def _explore(self, where: Round) -> None:
        """Runs and their frames; in round 0, without training data, the displaced starts."""
        started = monotonic()
        if where.index == 0:
            runs, thresholds = [], None
            frames = [] if self._beginning.train else self._displaced()
        else:
            before = self.folder.round(where.index - 1).model
            model, starts, settings = Model.load(before), self._beginning.starts, self.settings
            save, halt = check_quantity_and_thresholds(model, starts[0], settings.explore)
            thresholds = {"save": save, "halt": halt}
            made, frames = explore(settings, starts, before, where, self._progress)
            runs = [facts.to_mapping() for facts in made]
        facts = {"runs": runs, "thresholds": thresholds, "seconds": round(monotonic() - started, 3)}
        write_files({where.runs: json_bytes(facts), where.frames: frames_files.to_bytes(frames)})

    def _displaced(self) -> list[Atoms]:
        rng = np.random.default_rng([self.settings.seed, 0])
        frames = []
        for start in self._beginning.starts:
            for strain in self.settings.start.strains:
                for _ in range(self.settings.start.copies):
                    atoms = strained(start, strain)
                    atoms.positions += rng.normal(scale=self.settings.start.rattle, size=atoms.positions.shape)
                    frames.append(atoms)
        return frames

    def _select(self, where: Round) -> None:
        frames = frames_files.read(where.frames)
        left = self.settings.stop.labels - self._spent(where.index)
        if where.index == 0:
            batch, choices = frames[:left], [{"frame": i, "reason": "start"} for i in range(len(frames[:left]))]
        else:
            model = Model.load(self.folder.round(where.index - 1).model)
            n = min(self.settings.select.n, left)
            known = self._known(where.index)
            batch, choices = [], []
            if frames:
                region, target = self._beginning.region or None, self._beginning.target or None
                if self.settings.select.criterion == "representation":
                    region = region or self._seen(where.index + 1)
                save = read_json(where.runs)["thresholds"]["save"]
                batch, choices = choose(
                    frames, known, model, self.settings, n, where.index, region=region, target=target, save=save
                )
            if choices and not batch:
                raise MliuqError(f"{where.folder}: no frame can be labelled; the first: {choices[0]['left_out']}")
            if not batch:
                runs = read_json(where.runs)["runs"]
                why = next(run["halted"] for run in runs if run["halted"] is not None)
                noise = (model.noise or {}).get("force", 0.0)
                raise MliuqError(
                    f"{where.folder}: runs halt and leave no frame that is new; the first: {why} (the noise floor "
                    f"alone, which no label takes away, is {3**0.5 * noise:.3g} eV/Å for the force of an atom)"
                )
        for atoms in batch:
            atoms.info = {**atoms.info, self.settings.fit.data.group_key: where.folder.name}
        write_files({where.choices: json_bytes(choices), where.batch: frames_files.to_bytes(batch)})

    def _label(self, where: Round) -> None:
        labels, quarantine = label_batch(
            frames_files.read(where.batch),
            self._known(where.index),
            where,
            self.settings.label,
            stress=self._fit.weights.wanted()[2],
            executor=self._executor,
            progress=self._progress,
        )
        for atoms in quarantine:
            log.warning("%s: a structure is in quarantine: %s", where.folder, atoms.info["reason"])
        write_files({where.quarantine: frames_files.to_bytes(quarantine), where.labels: frames_files.to_bytes(labels)})

    def _refit(self, where: Round) -> None:
        if self._progress:
            self._progress(f"round {where.index}: fit", 0, None)
        before = self.folder.round(where.index - 1).state
        found = updated_fit(
            self._known(where.index + 1),
            self._fit,
            state=FitState.load(before) if where.index else None,
            represent=(self._seen(where.index + 1) or None) if self.settings.select.represent else None,
            rebalance=self.settings.rebalance,
        )
        found.state.save(where.state)
        found.model.save(where.model)

    def _known(self, rounds: int) -> list[Atoms]:
        """Training data and the labels of so many rounds."""
        known = list(self._beginning.train)
        for index in range(rounds):
            if (path := self.folder.round(index).labels).is_file():
                known += frames_files.read(path)
        return known

    def _seen(self, rounds: int) -> list[Atoms]:
        """Frames of the runs of so many rounds."""
        return [atoms for index in range(1, rounds) for atoms in frames_files.read(self.folder.round(index).frames)]

    def _spent(self, rounds: int) -> int:
        """Structures handed to the reference in so many rounds."""
        return sum(len(frames_files.read(self.folder.round(index).batch)) for index in range(rounds))


def begin(settings: LearnSettings, folder: LearnFolder) -> Beginning:
    """What the loop begins with, from its folder, or from the settings for one that is to begin.

    Raises
    ------
    MliuqError
        for other settings than the loop in the folder has.
    """
    if folder.settings.is_file():
        before = LearnSettings.from_toml(folder.settings)
        check_same(before, settings, folder.settings)
        if before != settings:
            write_files({folder.settings: settings.to_toml().encode()})
    else:
        if folder.path.exists() and any(folder.path.glob("round_*")):
            raise MliuqError(f"{folder.path}: holds rounds but no {folder.settings.name}, expected a folder of its own")
        found = read_beginning(settings)
        folder.path.mkdir(parents=True, exist_ok=True)
        parts = (found.train, found.test, found.starts, found.region, found.target)
        write_files(dict(zip(folder.beginning, map(frames_files.to_bytes, parts), strict=True)))
        write_files({folder.settings: settings.to_toml().encode()})
    return kept_beginning(folder)


def kept_beginning(folder: LearnFolder) -> Beginning:
    """What the loop in a folder began with."""
    return Beginning(*map(frames_files.read, folder.beginning))


def check_same(before: LearnSettings, now: LearnSettings, where: Path) -> None:
    """Refuse settings that what a loop has done so far does not belong to."""
    old, new = (_flat(settings.to_mapping()) for settings in (before, now))
    for key in sorted({*old, *new}):
        if not key.startswith(_FREE) and old.get(key) != new.get(key):
            raise MliuqError(
                f"{where}: the loop there has {key} = {old.get(key)!r}, found {new.get(key)!r}: expected the same, or "
                "another folder"
            )


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
