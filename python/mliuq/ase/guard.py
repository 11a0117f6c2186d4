"""A guard for ASE dynamics and optimisers: saves what the model does not know, halts where it knows too little."""

from __future__ import annotations

import logging
import math
import os
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms
from ase.optimize.sciopt import Converged, SciPyOptimizer

from mliuq.ase.frames import bars_of, frame
from mliuq.ase.readings import Reading, check_quantity, read
from mliuq.errors import MliuqError
from mliuq.model.calibration import stored_thresholds as thresholds_of
from mliuq.outputs import Kind, check_output, is_stream

log = logging.getLogger(__name__)

#: A `max_steps` below any number of steps ends the loops of ASE's dynamics and optimisers, unconverged.
_NO_MORE_STEPS = -1

_SAVED = Kind("what a guard saved", lambda head: b"guard_quantity=" in head)

Threshold = float | str | None


class UncertaintyHalt(MliuqError):  # noqa: N818 - it halts a run that did nothing wrong
    """A run was halted by its guard.

    Attributes
    ----------
    step : int
    reading : Reading
        What was read, with the value of every atom.
    threshold : float
    """

    def __init__(self, message: str, step: int, reading: Reading, threshold: float) -> None:
        super().__init__(message)
        self.step = step
        self.reading = reading
        self.threshold = threshold


class UncertaintyGuard:
    """Watch the uncertainty along a run: two thresholds, one saves configurations, one halts.

    The guard attaches itself to `dyn` and reads `quantity` of `atoms` every `every` steps. It fails closed: a value
    that is not finite halts whatever the thresholds.

    Parameters
    ----------
    dyn : ASE dynamics or optimiser
        Whatever calls observers (`attach`).
    atoms : Atoms
        The atoms to watch, with an `MLIUQCalculator`: of a filter its atoms, of a band one image.
    quantity : str
        Result key of the calculator: ``forces_err``, ``forces_std``, ``energies_err``, ``energies_std``,
        ``energy_err``, ``energy_std``, ``stress_err``, ``stress_std``, ``extrapolation``, ``grade``. Its largest value
        counts: over atoms (of forces, the root of the sum of squares of the components), over components of stress.
    save : float or "auto", optional
        Configurations above it are appended to `file`, with all error bars.
    halt : float or "auto", optional
        Above it the configuration is saved and the run ends. "auto" takes the thresholds that the model carries.
    file : path
        Extended XYZ, made by the first configuration saved. A file of that name that an earlier guard wrote is removed
        at once; any other is refused.
    every : int
        Steps between readings.
    max_saved : int
        Configurations saved at most.
    upper : float, optional
        Configurations above it are not saved: exploded, no reference calculation would converge.
    worst : int
        Atoms named in the message.
    action : {"raise", "stop"}
        How a run ends: by `UncertaintyHalt`, or by returning from `dyn.run` as not converged, the message logged as a
        warning and kept as `halted`. A dynamics that goes on all the same gets the exception at the next reading.
    append : bool
        Keep the `file` there is and append to it.

    Attributes
    ----------
    reading : Reading or None
        The last one.
    saved, above : int
        Configurations saved; readings above `save` (or `halt`, where nothing is saved).
    halted : str or None
        The message of the halt.

    Raises
    ------
    MliuqError
        For thresholds, quantities and files that make no sense, and from the calculator.
    UncertaintyHalt
        While the run goes on: names step, value with unit, threshold and the worst atoms (numbered from 0).
    """

    def __init__(
        self,
        dyn: Any,
        atoms: Atoms,
        *,
        quantity: str = "forces_err",
        save: Threshold = None,
        halt: Threshold = None,
        file: str | os.PathLike[str] = "uncertain.xyz",
        every: int = 1,
        max_saved: int = 200,
        upper: float | None = None,
        worst: int = 10,
        action: str = "raise",
        append: bool = False,
    ) -> None:
        if not callable(getattr(dyn, "attach", None)):
            raise MliuqError(f"dyn is a {type(dyn).__name__}, expected an ASE dynamics or optimiser")
        self.unit = check_quantity(atoms, quantity)
        self.quantity = quantity
        self.save, self.halt = thresholds(atoms, quantity, save, halt)
        for name, value, least in (("every", every, 1), ("max_saved", max_saved, 0), ("worst", worst, 1)):
            if not isinstance(value, Integral) or value < least:
                raise MliuqError(f"{name} is {value!r}, expected an integer of at least {least}")
        if upper is not None and not upper > (self.save or self.halt or 0.0):
            raise MliuqError(f"upper is {upper}, expected more than the threshold {self.save or self.halt:g}")
        if action not in ("raise", "stop"):
            raise MliuqError(f'action is {action!r}, expected "raise" or "stop"')
        self.dyn, self.atoms = dyn, atoms
        self.file = _prepared(Path(file), append)
        self.every, self.max_saved, self.upper, self.action = every, max_saved, upper, action
        self._worst = worst
        self.reading: Reading | None = None
        self.saved = 0
        self.above = 0
        self.halted: str | None = None
        dyn.attach(self, interval=every)

    def __call__(self) -> None:
        """Read, and save or halt; called by the dynamics."""
        step = int(self.dyn.nsteps)
        reading = self.reading = read(self.atoms, self.quantity)
        over_halt = not math.isfinite(reading.value) or (self.halt is not None and reading.value > self.halt)
        over_save = over_halt or (self.save is not None and reading.value > self.save)
        self.above += over_save
        if over_save:
            self._keep(step, reading, "halt" if over_halt else "save")
        if self.halted is not None and self.dyn.max_steps == _NO_MORE_STEPS:
            over_halt = True  # asked to stop, it went on
        if over_halt:
            self._end(step, reading)

    def _keep(self, step: int, reading: Reading, why: str) -> None:
        exploded = not math.isfinite(reading.value) or (self.upper is not None and reading.value > self.upper)
        if exploded or self.saved >= self.max_saved:
            return
        kept = frame(self.atoms, bars_of(self.atoms))
        kept.info |= {"step": step, "guard": why, "guard_quantity": self.quantity, "guard_value": reading.value}
        with self.file.open("a", encoding="utf-8") as stream:
            ase.io.write(stream, kept, format="extxyz")
        self.saved += 1

    def _end(self, step: int, reading: Reading) -> None:
        threshold = math.inf if self.halt is None else self.halt
        message = self._message(step, reading, threshold)
        gone_on = self.halted is not None and self.dyn.max_steps == _NO_MORE_STEPS
        self.halted = message
        if self.action == "raise" or gone_on:
            raise UncertaintyHalt(message, step, reading, threshold)
        log.warning("%s", message)
        self.dyn.max_steps = _NO_MORE_STEPS
        if isinstance(self.dyn, SciPyOptimizer):
            raise Converged  # SciPy's loops end by nothing else; ASE takes it in

    def _message(self, step: int, reading: Reading, threshold: float) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if math.isfinite(reading.value):
            what = f"is {reading.value:.4g}{unit}, above the threshold to halt of {threshold:.4g}{unit}"
        else:
            what = f"is not finite ({unit.strip() or 'no unit'})"
        message = f"step {step}: {self.quantity} of {reading.where} {what}"
        if reading.per_atom is not None:
            listed = ", ".join(f"{i} {reading.per_atom[i]:.4g}" for i in reading.worst(self._worst))
            message += f"; worst atoms: {listed}"
        return message + (f"; {self.saved} saved to {self.file}" if self.saved else "")


def thresholds(atoms: Atoms, quantity: str, save: Threshold, halt: Threshold) -> tuple[float | None, float | None]:
    """Thresholds as numbers, those the model carries where they are "auto".

    Raises
    ------
    MliuqError
        Without any, for values that are not finite and above 0, for `save` above `halt`, and for "auto" with a model
        that carries none for `quantity`.
    """
    if save is None and halt is None:
        raise MliuqError("the guard has no threshold, expected save, halt or both")
    carried = stored_thresholds(atoms, quantity) if "auto" in (save, halt) else (0.0, 0.0)
    values: list[float | None] = []
    for name, given, automatic in (("save", save, carried[0]), ("halt", halt, carried[1])):
        value = automatic if given == "auto" else given
        if value is None:
            values.append(None)
            continue
        if not isinstance(value, Real) or isinstance(value, bool) or not 0.0 < float(value) < math.inf:
            raise MliuqError(f'{name} is {given!r}, expected a number above 0 or "auto"')
        values.append(float(value))
    low, high = values
    if low is not None and high is not None and low > high:
        raise MliuqError(f"save is {low:g}, expected at most halt, {high:g}")
    return low, high


def stored_thresholds(atoms: Atoms, quantity: str) -> tuple[float, float]:
    """The two thresholds that the model of `atoms` carries for `quantity`: to save, to halt.

    Raises
    ------
    MliuqError
        Where it carries none.
    """
    stored = thresholds_of(getattr(getattr(atoms.calc, "model", None), "calibration", None))
    # The model file names a quantity of atoms in the singular, as LAMMPS does.
    name = quantity.replace("forces_", "force_").replace("energies_", "energy_")
    if quantity.startswith(("energy_", "stress_")) or name not in stored:
        has = ", ".join(sorted(stored)) or "none"
        raise MliuqError(f"the model carries no thresholds for {quantity} (it has {has}): give numbers")
    return stored[name]


def _prepared(file: Path, append: bool) -> Path:
    """Refuse what cannot be written to or was not written by a guard; remove what was, unless it is appended to."""
    check_output(file, kind=None if append else _SAVED)
    if not append and not is_stream(file):
        Path(os.path.realpath(file)).unlink(missing_ok=True)
    return file
