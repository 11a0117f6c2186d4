"""Reference calculations: each in a process of its own, several at once, with a time limit and further attempts.

A calculation that is finished is on disk, as a label (`007.xyz`) or as the reason for none (`007.json`), before the
loop hears of it: a loop that is killed makes none twice.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from mliuq.errors import MliuqError
from mliuq.learning import frames_files
from mliuq.learning.folder import Round, emptied, json_bytes, read_json
from mliuq.learning.processes import pool_that_stops, run_program
from mliuq.learning.sanity import distrusted, odd_energies, too_close, unfinished
from mliuq.learning.settings import LabelSettings
from mliuq.outputs import write_files

Progress = Callable[[str, int, int | None], None]

_VALUES = ("energy", "forces", "stress")
_TAIL = 300  # characters of what a calculation wrote last, for its reason


@dataclass(frozen=True)
class LabelTask:
    """One calculation to be made; may be sent to another machine that sees the same folder.

    Attributes
    ----------
    folder : of the round's labelling
    index : of the structure in the batch
    atoms : the structure
    settings : the reference
    stress : whether a label needs one
    """

    folder: Path
    index: int
    atoms: Atoms
    settings: LabelSettings
    stress: bool

    @property
    def label(self) -> Path:
        """The label, once there is one."""
        return self.folder / f"{self.index:03d}.xyz"

    @property
    def failure(self) -> Path:
        """Why there is none."""
        return self.folder / f"{self.index:03d}.json"

    @property
    def work(self) -> Path:
        """Where the calculation runs."""
        return self.folder / f"{self.index:03d}"

    @property
    def done(self) -> bool:
        """Whether this need not be made again."""
        return self.label.is_file() or self.failure.is_file()


def label_batch(
    batch: Sequence[Atoms],
    known: Sequence[Atoms],
    where: Round,
    settings: LabelSettings,
    *,
    stress: bool,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> tuple[list[Atoms], list[Atoms]]:
    """Label a batch; return labels and, with their reasons, those that got none, each in the order of the batch.

    Raises
    ------
    MliuqError
        when no structure got a label: then all of them are calculated again by the next try.
    """
    where.labelling.mkdir(parents=True, exist_ok=True)
    tasks = [LabelTask(where.labelling, index, atoms, settings, stress) for index, atoms in enumerate(batch)]
    missing = [task for task in tasks if not task.done]
    finished = len(tasks) - len(missing)
    with pool_that_stops(settings.workers) as (own, stop):
        waiting = (
            [own.submit(label_one, task, stop) for task in missing]
            if executor is None
            else [executor.submit(label_one, task) for task in missing]
        )
        for future in as_completed(waiting):
            future.result()
            finished += 1
            if progress:
                progress(f"round {where.index}: labels", finished, len(tasks))
    return _sorted_out(tasks, known, settings)


def _sorted_out(
    tasks: Sequence[LabelTask], known: Sequence[Atoms], settings: LabelSettings
) -> tuple[list[Atoms], list[Atoms]]:
    labels = {task.index: frames_files.read(task.label)[0] for task in tasks if task.label.is_file()}
    reasons = {task.index: str(read_json(task.failure)["reason"]) for task in tasks if task.failure.is_file()}
    at = sorted(labels)
    for position, reason in odd_energies(known, [labels[i] for i in at], settings.max_energy).items():
        reasons[at[position]] = reason
    if tasks and len(reasons) == len(tasks):
        for task in tasks:
            task.failure.unlink(missing_ok=True)
            task.label.unlink(missing_ok=True)
        raise MliuqError(
            f"{tasks[0].folder}: none of {len(tasks)} structures got a label: {reasons[tasks[0].index]}; mend the "
            "reference and start the loop again"
        )
    quarantine = []
    for task in tasks:
        if task.index in reasons:
            atoms = labels.get(task.index, task.atoms).copy()
            if task.index in labels:
                atoms.calc = labels[task.index].calc
            atoms.info |= {"reason": reasons[task.index]}
            quarantine.append(atoms)
    return [labels[i] for i in at if i not in reasons], quarantine


def label_one(task: LabelTask, stop: Event | None = None) -> float:
    """Make one calculation, leave its outcome on disk, and return the seconds it took.

    Raises
    ------
    Stopping
        when `stop` was set before it was done: then there is no outcome.
    """
    started = monotonic()
    reason = too_close(task.atoms, task.settings.min_distance)
    answer: Atoms | None = None
    attempts = 0
    if reason is None:
        emptied(task.work)
        for attempts in range(1, task.settings.retries + 2):
            answer, reason = _attempt(task, task.work / f"attempt_{attempts}", stop)
            if reason is None or answer is not None:
                break  # an answer that is not believed is not asked for again
    seconds = monotonic() - started
    if answer is not None and reason is None:
        label = task.atoms.copy()
        label.info |= {"seconds": round(seconds, 3)}
        results = {name: value for name, value in answer.calc.results.items() if name in _VALUES}
        label.calc = SinglePointCalculator(label, **results)
        write_files({task.label: frames_files.to_bytes([label])})
    else:
        found = {"reason": reason, "attempts": attempts, "seconds": round(seconds, 3)}
        write_files({task.failure: json_bytes(found)})
    return seconds


def _attempt(task: LabelTask, folder: Path, stop: Event | None) -> tuple[Atoms | None, str | None]:
    """The answer of one attempt, if it gave a whole one, and what is wrong."""
    folder.mkdir()
    source, target, log = folder / "input.xyz", folder / "output.xyz", folder / "log.txt"
    bare = Atoms(task.atoms.numbers, positions=task.atoms.positions, cell=task.atoms.cell, pbc=task.atoms.pbc)
    source.write_bytes(frames_files.to_bytes([bare]))
    settings = task.settings
    status = run_program(_words(settings, source, target), folder, log, time_limit=settings.time_limit, stop=stop)
    if status is None:
        return None, f"no answer within {settings.time_limit:g} s"
    if status != 0:
        ended = f"signal {-status}" if status < 0 else f"status {status}"
        last = log.read_text(encoding="utf-8", errors="replace").strip()[-_TAIL:].splitlines()
        return None, f"the calculation ended with {ended}" + (f": {last[-1]}" if last else "")
    try:
        answers = frames_files.read(target)
    except MliuqError as error:
        return None, f"no answer that can be read: {error}"
    if len(answers) != 1:
        return None, f"{len(answers)} structures in the answer, expected one"
    if (reason := unfinished(answers[0], stress=task.stress)) is not None:
        return None, reason
    return answers[0], distrusted(task.atoms, answers[0], settings)


def _words(settings: LabelSettings, source: Path, target: Path) -> list[str]:
    source, target = source.resolve(), target.resolve()
    if settings.calculator:
        return ["calculator", settings.calculator, str(source), str(target), *settings.python_path]
    here = settings.python_path[0] if settings.python_path else os.getcwd()
    values = {"input": str(source), "output": str(target), "here": here}
    words = shlex.split(settings.command)
    for name, value in values.items():
        words = [word.replace(f"{{{name}}}", value) for word in words]
    return ["command", *words]
