"""Molecular dynamics under guard: every start at every temperature and pressure, until it ends or halts.

A run that was killed is made again from its start, not from where it was: only then does it come to the same frames
bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.ase.calculator import MLIUQCalculator
from mliuq.ase.ensembles import EnsembleSettings, dynamics, give_velocities
from mliuq.ase.frames import frame
from mliuq.ase.guard import UncertaintyGuard, UncertaintyHalt, thresholds
from mliuq.ase.readings import read as read_quantity
from mliuq.errors import MliuqError
from mliuq.learning import frames_files
from mliuq.learning.folder import Round, emptied, json_bytes, read_json
from mliuq.learning.lammps_runs import run_lammps
from mliuq.learning.processes import Stopping, pool_that_stops
from mliuq.learning.settings import ExploreSettings, LearnSettings
from mliuq.model import Model
from mliuq.outputs import write_files

Progress = Callable[[str, int, int | None], None]

_FACTS, _FRAMES, _SAVED = "facts.json", "frames.xyz", "saved.xyz"


@dataclass(frozen=True)
class Run:
    """One run to be made.

    Attributes
    ----------
    index : of the run in its round
    start, strain : which start, and which of the strains
    temperature, pressure : K; GPa, None at constant volume
    seed : of velocities and thermostat
    """

    index: int
    start: int
    strain: int
    temperature: float
    pressure: float | None
    seed: int

    def describe(self) -> str:
        """The run in words."""
        at = "" if self.pressure is None else f", {self.pressure:g} GPa"
        return f"run {self.index}: start {self.start}, strain {self.strain}, {self.temperature:g} K{at}"


@dataclass(frozen=True)
class RunFacts:
    """What became of a run.

    Attributes
    ----------
    run : the run
    steps : done
    halted : why it ended before its steps, None if it did not
    largest : largest value of the quantity watched, NaN where it was not read
    saved : frames that the guard saved
    """

    run: Run
    steps: int
    halted: str | None
    largest: float
    saved: int

    def to_mapping(self) -> dict[str, Any]:
        """Plain values."""
        largest = self.largest if np.isfinite(self.largest) else None
        return asdict(self) | {"largest": largest}


def planned_runs(settings: LearnSettings, n_starts: int, round_index: int) -> list[Run]:
    """The runs of a round."""
    explore = settings.explore
    runs: list[Run] = []
    for start in range(n_starts):
        for strain in range(len(settings.start.strains)):
            for temperature in explore.temperatures:
                for pressure in explore.pressures or (None,):
                    for _ in range(explore.seeds):
                        state = np.random.SeedSequence([settings.seed, round_index, len(runs)]).generate_state(1)[0]
                        seed = int(state) % 900_000_000 + 1  # what LAMMPS takes
                        runs.append(Run(len(runs), start, strain, temperature, pressure, seed))
    return runs


def strained(atoms: Atoms, strain: float | Sequence[float]) -> Atoms:
    """A copy under a linear strain, or six components (Voigt, engineering shear)."""
    copy: Atoms = atoms.copy()
    xx, yy, zz, yz, xz, xy = (strain, strain, strain, 0.0, 0.0, 0.0) if isinstance(strain, float) else strain
    deformation = np.eye(3) + np.array([[xx, xy / 2, xz / 2], [xy / 2, yy, yz / 2], [xz / 2, yz / 2, zz]])
    copy.set_cell(copy.cell.array @ deformation, scale_atoms=True)
    return copy


def explore(
    settings: LearnSettings,
    starts: Sequence[Atoms],
    model_path: Path,
    where: Round,
    progress: Progress | None = None,
) -> tuple[list[RunFacts], list[Atoms]]:
    """Make the runs of a round that are not made yet; return what became of all, and their frames in order."""
    runs = planned_runs(settings, len(starts), where.index)
    done: dict[int, RunFacts] = {}

    def make(run: Run, stop: Event) -> RunFacts:
        folder = where.md / f"{run.index:03d}"
        if not (folder / _FACTS).is_file():
            atoms = strained(starts[run.start], settings.start.strains[run.strain])
            run_one(run, atoms, model_path, settings.explore, emptied(folder), stop)
        found = read_json(folder / _FACTS)
        largest = np.nan if found["largest"] is None else found["largest"]
        return RunFacts(**found | {"run": Run(**found["run"]), "largest": largest})

    with pool_that_stops(settings.explore.workers) as (pool, stop):
        for future in as_completed([pool.submit(make, run, stop) for run in runs]):
            facts = future.result()
            done[facts.run.index] = facts
            if progress:
                progress(f"round {where.index}: runs", len(done), len(runs))
    frames = [atoms for run in runs for atoms in frames_files.read(where.md / f"{run.index:03d}" / _FRAMES)]
    return [done[run.index] for run in runs], frames


def run_one(
    run: Run, atoms: Atoms, model_path: Path, settings: ExploreSettings, folder: Path, stop: Event | None = None
) -> None:
    """Make one run in an empty folder; its facts appear last, when it is over.

    Raises
    ------
    Stopping
        when `stop` was set before it was over.
    """
    engine = run_lammps if settings.engine == "lammps" else _run_ase
    steps, halted, largest, frames = engine(run, atoms, model_path, settings, folder, stop or Event())
    saved = sum("guard" in atoms.info for atoms in frames)
    kept = []
    for atoms in frames:
        copy = atoms.copy()  # without the model's values: nobody shall take them for labels
        copy.info = {"run": run.index, "temperature": run.temperature, **_numbers(atoms)}
        copy.arrays = {name: copy.arrays[name] for name in ("numbers", "positions")}
        kept.append(copy)
    facts = RunFacts(run, steps, halted, largest, saved)
    write_files({folder / _FRAMES: frames_files.to_bytes(kept), folder / _FACTS: json_bytes(facts.to_mapping())})
    (folder / _SAVED).unlink(missing_ok=True)


def _numbers(atoms: Atoms) -> dict[str, Any]:
    return {name: atoms.info[name] for name in ("step", "guard", "guard_value") if name in atoms.info}


def _run_ase(
    run: Run, atoms: Atoms, model_path: Path, settings: ExploreSettings, folder: Path, stop: Event
) -> tuple[int, str | None, float, list[Atoms]]:
    atoms.calc = MLIUQCalculator(Model.load(model_path), threads=1)
    rng = np.random.default_rng(run.seed)
    ensemble = EnsembleSettings(
        ensemble="nvt" if run.pressure is None else "npt",
        temperature=run.temperature,
        pressure=run.pressure or 0.0,
        timestep=settings.timestep,
        thermostat_time=settings.thermostat_time,
        barostat_time=settings.barostat_time,
        seed=run.seed,
    )
    ensemble.validate()
    give_velocities(atoms, ensemble, rng)
    dyn = dynamics(atoms, ensemble, rng)
    guard = UncertaintyGuard(
        dyn,
        atoms,
        quantity=settings.quantity,
        save=settings.save,
        halt=settings.halt,
        every=settings.every,
        max_saved=settings.max_saved,
        upper=settings.upper if np.isfinite(settings.upper) else None,
        file=folder / _SAVED,
        worst=3,
    )
    largest = [np.nan]
    passed: list[Atoms] = []

    def follow() -> None:
        assert guard.reading is not None
        if stop.is_set():
            raise Stopping
        largest.append(guard.reading.value)
        if settings.pool == "trajectory":
            now = frame(atoms, ())
            now.info |= {"step": int(dyn.nsteps), "guard_value": guard.reading.value}
            passed.append(now)

    dyn.attach(follow, interval=settings.every)
    halted = None
    try:
        dyn.run(settings.steps)
    except UncertaintyHalt as stop:
        halted = str(stop).partition("; ")[0]
        largest.append(stop.reading.value)
    except MliuqError as error:  # atoms on top of each other, values that are not finite: a run without a guard's eye
        halted = f"step {int(dyn.nsteps)}: {error}"
    saved = frames_files.read(folder / _SAVED) if (folder / _SAVED).is_file() else []
    steps = {int(atoms.info["step"]) for atoms in saved}
    others = [atoms for atoms in passed if atoms.info["step"] not in steps]
    return int(dyn.nsteps), halted, float(np.nanmax(largest)) if len(largest) > 1 else np.nan, saved + others


def check_quantity_and_thresholds(model: Model, atoms: Atoms, settings: ExploreSettings) -> tuple[float, float]:
    """The thresholds to save and to halt with this model, as numbers.

    Raises
    ------
    MliuqError
        for a quantity that the model does not give, or thresholds that make no sense.
    """
    probe = atoms.copy()
    probe.calc = MLIUQCalculator(model, threads=1)
    read_quantity(probe, settings.quantity)
    save, halt = thresholds(probe, settings.quantity, settings.save, settings.halt)
    assert save is not None
    assert halt is not None
    return save, halt
