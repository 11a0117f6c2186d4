"""ASE's dynamics for each ensemble, and the state that a run needs to go on as if it had not been interrupted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import Stationary
from ase.md.verlet import VelocityVerlet

from mliuq.errors import MliuqError, in_range

ENSEMBLES = ("nve", "nvt", "npt")

#: What LangevinBAOAB carries from step to step beside positions, momenta and cell.
_BAROSTAT = ("p_eps", "force_eps")


@dataclass(frozen=True)
class EnsembleSettings:
    """What is held constant, and how.

    Attributes
    ----------
    ensemble : {"nve", "nvt", "npt"}
        Velocity Verlet; Langevin (`ase.md.langevin`); Langevin with a Langevin-Hoover barostat that scales the volume
        and keeps the shape of the cell (`ase.md.langevinbaoab`).
    temperature : float, optional
        K; of the thermostat, and of the velocities a start without velocities gets. Required but for nve.
    pressure : float
        GPa, positive under compression; npt only.
    timestep : float
        fs.
    thermostat_time, barostat_time : float
        Times of relaxation, fs.
    seed : int
        Of velocities and thermostat.
    """

    ensemble: str = "nve"
    temperature: float | None = None
    pressure: float = 0.0
    timestep: float = 1.0
    thermostat_time: float = 100.0
    barostat_time: float = 1000.0
    seed: int = 0

    def validate(self) -> None:
        """Refuse values that make no run.

        Raises
        ------
        MliuqError
        """
        if self.ensemble not in ENSEMBLES:
            raise MliuqError(f"ensemble is {self.ensemble!r}, expected one of {', '.join(ENSEMBLES)}")
        if self.temperature is None and self.ensemble != "nve":
            raise MliuqError(f"temperature is missing, {self.ensemble} needs one (K)")
        if self.temperature is not None:
            in_range("temperature", self.temperature, 0.0, 1e6)
        in_range("pressure", self.pressure, -1e6, 1e6)
        if self.pressure != 0.0 and self.ensemble != "npt":
            raise MliuqError(f"pressure is {self.pressure} GPa, expected none for {self.ensemble}: only npt holds one")
        for name in ("timestep", "thermostat_time", "barostat_time"):
            value = getattr(self, name)
            if not 0.0 < value < np.inf:
                raise MliuqError(f"{name} is {value}, expected a number above 0 (fs)")
        if self.seed < 0:
            raise MliuqError(f"seed is {self.seed}, expected an integer of at least 0")


def give_velocities(atoms: Atoms, settings: EnsembleSettings, rng: np.random.Generator) -> bool:
    """Draw velocities at the temperature unless `atoms` have some; true if they were drawn.

    Raises
    ------
    MliuqError
        Without velocities and without a temperature to draw them at.
    """
    if np.any(atoms.get_momenta()):
        return False
    if settings.temperature is None:
        raise MliuqError("the start has no velocities, expected some, or a temperature to draw them at")
    width = np.sqrt(atoms.get_masses() * units.kB * settings.temperature)
    atoms.set_momenta(width[:, None] * rng.standard_normal((len(atoms), 3)))  # Maxwell and Boltzmann's
    if not atoms.constraints:
        Stationary(atoms)
    return True


def dynamics(atoms: Atoms, settings: EnsembleSettings, rng: np.random.Generator) -> MolecularDynamics:
    """ASE's dynamics of the ensemble.

    Raises
    ------
    MliuqError
        For npt without a periodic cell, or where ASE is too old for it.
    """
    step = settings.timestep * units.fs
    if settings.ensemble == "nve":
        return VelocityVerlet(atoms, step)
    thermostat = settings.thermostat_time * units.fs
    if settings.ensemble == "nvt":
        return Langevin(
            atoms, step, temperature_K=settings.temperature, friction=1.0 / thermostat, fixcm=False, rng=rng
        )
    if not atoms.pbc.all():
        raise MliuqError(f"pbc is {atoms.pbc.tolist()}, npt needs a cell that is periodic in all directions")
    try:
        from ase.md.langevinbaoab import LangevinBAOAB
    except ImportError as error:
        raise MliuqError("npt needs a newer ASE, one with ase.md.langevinbaoab") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the barostat's mass is ASE's own rule of thumb
        return LangevinBAOAB(
            atoms,
            step,
            temperature_K=settings.temperature,
            externalstress=-settings.pressure * units.GPa,
            hydrostatic=True,
            T_tau=thermostat,
            P_tau=settings.barostat_time * units.fs,
            rng=rng,
        )


def state_of(dyn: MolecularDynamics, rng: np.random.Generator) -> dict[str, Any]:
    """Thermostat, barostat and number of steps, as plain data."""
    barostat = {name: float(getattr(dyn, name)) for name in _BAROSTAT if hasattr(dyn, name)}
    return {"step": int(dyn.nsteps), "random": rng.bit_generator.state, "barostat": barostat}


def restore(dyn: MolecularDynamics, rng: np.random.Generator, state: dict[str, Any]) -> None:
    """Put back what `state_of` gave."""
    dyn.nsteps = int(state["step"])
    rng.bit_generator.state = state["random"]
    for name, value in state["barostat"].items():
        setattr(dyn, name, value)
