"""Molecular dynamics under guard: trajectory with error bars, a table of the run, checkpoints.

A folder holds the run:

    trajectory.xyz    every `every` steps: energy, forces, stress, predicted errors, momenta
    run.csv           the same steps: time, energies, temperature, pressure, the quantity watched and its worst atom
    uncertain.xyz     what the guard saved
    checkpoint.npz    positions, momenta, thermostat and random numbers at the last of these steps, exact

A checkpoint knows how long the other files were: going on from it cuts them back to that length first, so that a run
killed at any moment goes on as if it had not been.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms, units
from ase.md.md import MolecularDynamics

from mliuq.ase import checkpoint
from mliuq.ase.ensembles import EnsembleSettings, dynamics, give_velocities, restore, state_of
from mliuq.ase.frames import bars_of, frame
from mliuq.ase.guard import Threshold, UncertaintyGuard, UncertaintyHalt
from mliuq.ase.readings import Reading, check_quantity, read
from mliuq.errors import MliuqError
from mliuq.model import Model
from mliuq.model.fingerprint import fingerprint
from mliuq.outputs import make_folder

TRAJECTORY, TABLE, UNCERTAIN, CHECKPOINT = "trajectory.xyz", "run.csv", "uncertain.xyz", "checkpoint.npz"

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class GuardSettings:
    """What is watched, see `UncertaintyGuard`; without thresholds the run is watched but not guarded."""

    quantity: str = "forces_err"
    save: Threshold = None
    halt: Threshold = None
    max_saved: int = 200
    upper: float | None = None


@dataclass(frozen=True)
class RunSettings:
    """A run of molecular dynamics.

    Attributes
    ----------
    steps : int
        Of the whole run, those before a restart included.
    every : int
        Steps between frames of the trajectory, rows of the table, readings of the guard and checkpoints.
    """

    steps: int
    every: int = 10
    ensemble: EnsembleSettings = field(default_factory=EnsembleSettings)
    guard: GuardSettings = field(default_factory=GuardSettings)

    def validate(self) -> None:
        """Refuse values that make no run.

        Raises
        ------
        MliuqError
        """
        for name, least in (("steps", 0), ("every", 1)):
            if getattr(self, name) < least:
                raise MliuqError(f"{name} is {getattr(self, name)}, expected at least {least}")
        self.ensemble.validate()


@dataclass(frozen=True)
class RunSummary:
    """How a run ended.

    Attributes
    ----------
    steps : int
        Steps done, those before a restart included.
    halted : str or None
        The guard's message, if it halted the run.
    saved : int
        Configurations that the guard saved.
    largest : float
        Largest value of the quantity watched, since the restart if there was one.
    save, halt : float or None
        The thresholds, as numbers.
    """

    steps: int
    halted: str | None
    saved: int
    largest: float
    save: float | None
    halt: float | None


def read_settings(folder: Path) -> RunSettings:
    """Settings of the run in `folder`, as its checkpoint has them.

    Raises
    ------
    MliuqError
        Where there is no run to go on with.
    """
    stored = checkpoint.facts_of(folder / CHECKPOINT)["settings"]
    return RunSettings(**stored | {
        "ensemble": EnsembleSettings(**stored["ensemble"]), "guard": GuardSettings(**stored["guard"])
    })  # fmt: skip


def run_md(
    atoms: Atoms, settings: RunSettings, folder: Path, *, restart: bool = False, progress: Progress | None = None
) -> RunSummary:
    """Run molecular dynamics of `atoms` with their calculator and write the run into `folder`, made if need be.

    `atoms` move; with `restart` they are put where the run in `folder` has come to, and it goes on from there with
    these settings (time step and quantity watched cannot change).

    Raises
    ------
    MliuqError
        For settings that make no run, a folder that holds a run already, or none to go on with, and from the
        calculator.
    """
    settings.validate()
    watched = settings.guard
    check_quantity(atoms, watched.quantity)
    files = _Files(folder)
    rng = np.random.default_rng(settings.ensemble.seed)
    moved_by = _model_of(atoms)
    if restart:
        _check_unchanged(read_settings(folder), settings, folder)
        facts = files.resume(atoms)
        if facts.get("model", moved_by) != moved_by:
            log.warning(
                "%s: the run was made with another model up to step %d: so far frames and bars are that one's",
                folder, facts["state"]["step"],
            )  # fmt: skip
    else:
        facts = files.begin()
        give_velocities(atoms, settings.ensemble, rng)
    dyn = dynamics(atoms, settings.ensemble, rng)
    if restart:
        restore(dyn, rng, facts["state"])

    recorder = _Recorder(dyn, atoms, settings, files, progress)
    recorder.last = int(dyn.nsteps) or -1
    dyn.attach(recorder, interval=settings.every)
    guard = None
    if watched.save is not None or watched.halt is not None:
        guard = UncertaintyGuard(
            dyn, atoms, **asdict(watched), file=files.uncertain, every=settings.every, append=restart
        )
        guard.saved = facts.get("saved", 0)

    def keep() -> None:
        saved = 0 if guard is None else guard.saved
        kept = {"settings": asdict(settings), "saved": saved, "state": state_of(dyn, rng), "model": moved_by}
        files.keep(atoms, kept)

    dyn.attach(keep, interval=settings.every)  # after the guard: what halts is read again by whoever goes on
    halted = None
    try:
        dyn.run(max(settings.steps - dyn.nsteps, 0))
        if dyn.nsteps != recorder.last:
            for observe, *_ in dyn.observers:
                observe()
    except UncertaintyHalt as stop:
        halted = str(stop)
    saved, save, halt = (0, None, None) if guard is None else (guard.saved, guard.save, guard.halt)
    return RunSummary(int(dyn.nsteps), halted, saved, recorder.largest, save, halt)


def _model_of(atoms: Atoms) -> str | None:
    """Fingerprint of the model that moves atoms; None for another calculator."""
    model = getattr(atoms.calc, "model", None)
    return fingerprint(model) if isinstance(model, Model) else None


def _check_unchanged(before: RunSettings, now: RunSettings, folder: Path) -> None:
    for name, old, new in (
        ("timestep", before.ensemble.timestep, now.ensemble.timestep),
        ("quantity", before.guard.quantity, now.guard.quantity),
    ):
        if old != new:
            raise MliuqError(f"{name} is {new}, expected {old}, as in the run in {folder} so far")


class _Files:
    """The files of a run; those that grow can be cut back to where a checkpoint left them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.trajectory, self.table, self.uncertain = (folder / n for n in (TRAJECTORY, TABLE, UNCERTAIN))
        self._growing = (self.trajectory, self.table, self.uncertain)

    def begin(self) -> dict[str, Any]:
        make_folder(self._folder)
        for path in (*self._growing, self._folder / CHECKPOINT):
            if path.exists():
                raise MliuqError(f"{path}: exists: go on with that run (restart), or give another folder")
        return {}

    def resume(self, atoms: Atoms) -> dict[str, Any]:
        facts = checkpoint.load(self._folder / CHECKPOINT, atoms)
        if facts["state"]["step"] == 0:  # ASE reads step 0 again
            facts |= {"sizes": dict.fromkeys(facts["sizes"], 0), "saved": 0}
        for path in self._growing:
            size, found = facts["sizes"][path.name], path.stat().st_size if path.exists() else 0
            if found < size:
                raise MliuqError(f"{path}: has {found} bytes, expected at least the {size} of the checkpoint")
            if found:
                os.truncate(path, size)
        return facts

    def keep(self, atoms: Atoms, facts: dict[str, Any]) -> None:
        sizes = {path.name: path.stat().st_size if path.exists() else 0 for path in self._growing}
        checkpoint.save(self._folder / CHECKPOINT, atoms, facts | {"sizes": sizes})


class _Recorder:
    """Observer that appends a frame and a row, and tells how uncertain the run is."""

    def __init__(
        self, dyn: MolecularDynamics, atoms: Atoms, settings: RunSettings, files: _Files, progress: Progress | None
    ) -> None:
        self._dyn, self._atoms, self._settings, self._files, self._progress = dyn, atoms, settings, files, progress
        self._bars = [name for name in bars_of(atoms) if name.endswith("_err") or name == settings.guard.quantity]
        self._has_members = "energy_err" in atoms.calc.implemented_properties
        self.largest = 0.0
        self.last = -1  # step

    def __call__(self) -> None:
        atoms, step = self._atoms, int(self._dyn.nsteps)
        kept = frame(atoms, self._bars)  # all bars in one pass: the reading is one of them
        reading = read(atoms, self._settings.guard.quantity)
        self.last = step
        self.largest = max(self.largest, reading.value)
        kept.info |= {"step": step, "time_fs": step * self._settings.ensemble.timestep}
        with self._files.trajectory.open("a", encoding="utf-8") as stream:
            ase.io.write(stream, kept, format="extxyz")
        row = self._row(step, reading)
        new = not self._files.table.exists() or not self._files.table.stat().st_size
        with self._files.table.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            if new:
                writer.writerow(row)
            writer.writerow(row.values())
        if self._progress is not None:
            now = f"{reading.quantity} {reading.value:.3g} {reading.unit}".rstrip()
            self._progress(now, step, self._settings.steps)

    def _row(self, step: int, reading: Reading) -> dict[str, str]:
        atoms = self._atoms
        has_volume = atoms.cell.rank == 3
        stress = atoms.get_stress(include_ideal_gas=True) if has_volume else np.full(6, np.nan)
        numbers = {
            "time_fs": step * self._settings.ensemble.timestep,
            "energy_eV": atoms.get_potential_energy(),
            "energy_err_eV": atoms.calc.get_property("energy_err", atoms) if self._has_members else np.nan,
            "kinetic_energy_eV": atoms.get_kinetic_energy(),
            "temperature_K": atoms.get_temperature(),
            "volume_A3": atoms.get_volume() if has_volume else np.nan,
            "pressure_GPa": -stress[:3].mean() / units.GPa,
            reading.quantity: reading.value,
        }
        plain = {name: f"{value:.10g}" for name, value in numbers.items()}
        return {"step": str(step)} | plain | {"atom": "" if reading.atom is None else str(reading.atom)}
