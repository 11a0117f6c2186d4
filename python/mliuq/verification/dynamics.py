"""Energy kept by dynamics."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.verlet import VelocityVerlet

from mliuq.verification.outcome import Curve, Outcome, at_most
from mliuq.verification.scenes import Scenes
from mliuq.verification.subject import Subject

_STEPS = 150


class _Adapter(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - an attribute of ASE's

    def __init__(self, subject: Subject) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._subject = subject

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        found = self._subject.evaluate(atoms)
        self.results = {"energy": found.energy, "forces": found.forces}


def drift(subject: Subject, scenes: Scenes) -> Outcome:
    """Total energy over 150 steps of the crystal at 300 K (1 fs; 0.5 fs where an atom is lighter than 20 u).

    The figure is the slope of a straight line through it times the length of the run, per atom.
    """
    atoms = scenes.supercell(2)
    atoms.calc = _Adapter(subject)
    masses = atoms.get_masses()[:, None]
    momenta = np.sqrt(600.0 * units.kB * masses) * np.random.default_rng(5).normal(size=(len(atoms), 3))
    atoms.set_momenta(momenta - masses * momenta.sum(axis=0) / masses.sum())  # half of it becomes potential energy
    step = (0.5 if atoms.get_masses().min() < 20.0 else 1.0) * units.fs
    run = VelocityVerlet(atoms, timestep=step)
    times, energies = [], []
    for k in range(_STEPS + 1):
        if k:
            run.run(1)
        times.append(k * step / units.fs)
        energies.append(atoms.get_total_energy() / len(atoms))
    slope = np.polyfit(times, energies, 1)[0]
    curve = Curve("total energy", times, (np.array(energies) - energies[0]).tolist(), "time (fs)", "ΔE (eV/atom)")
    return at_most(abs(slope) * times[-1], 1e-4, "eV/atom", f"over {times[-1]:g} fs", [curve])
