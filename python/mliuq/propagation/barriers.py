"""Barriers: minimum energy paths, each member's own, by ASE's NEB; the vacancy hop."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.mep import NEB
from ase.optimize import BFGS, LBFGS

from mliuq.errors import MliuqError, in_range
from mliuq.propagation.calculator import WeightsCalculator
from mliuq.propagation.coordinates import hessian
from mliuq.propagation.implicit import DENSE_ATOMS, FLAT, respond
from mliuq.propagation.property import Found, ObjectProperty, describe_atoms
from mliuq.propagation.relax import RelaxationError, Relaxed, relax
from mliuq.propagation.results import Line, Noise, Value
from mliuq.propagation.settings import PropagationSettings

#: Coordinates of all images. BFGS is the steadier optimiser; beyond, it spends most of its time on their matrix.
_MOST_FOR_BFGS = 300


@dataclass(frozen=True, eq=False)
class Barrier(ObjectProperty):
    """Energy along a minimum energy path, with climbing image.

    Attributes
    ----------
    initial, final : ends of the path, the same atoms in the same order and one cell; relaxed at that cell by every
        member
    host : crystal whose relaxed lattice the cell follows, size³ of its cells (None: the cell is as given)
    size : see `vacancy_hop`
    images : between the ends
    fmax : of the path, eV/Å
    """

    initial: Atoms
    final: Atoms
    host: Atoms | None = None
    size: int = 1
    images: int = 5
    fmax: float = 0.01
    name: str = "neb"

    def __post_init__(self) -> None:
        in_range("images", self.images, 1, 99)
        in_range("neb fmax", self.fmax, 1e-6, 1.0)
        if not np.array_equal(self.initial.numbers, self.final.numbers):
            raise MliuqError("neb: the ends differ in their atoms, expected the same atoms in the same order")
        if not np.allclose(self.initial.cell.array, self.final.cell.array):
            raise MliuqError("neb: the ends differ in their cells, expected one cell")

    def objects(self) -> tuple[str, ...]:
        """The one path."""
        return ("path",)

    def describe(self) -> dict[str, Any]:
        """Settings as plain data."""
        return {
            "initial": describe_atoms(self.initial),
            "final": describe_atoms(self.final),
            "host": None if self.host is None else describe_atoms(self.host),
            "size": self.size,
            "images": self.images,
            "neb_fmax": self.fmax,
        }

    def one(self, name: str, calculator: Calculator, settings: PropagationSettings, before: Any) -> Found:
        """The path by one weight vector."""
        crystal = None
        initial, final = self.initial, self.final
        if self.host is not None:
            crystal = relax(self.host, calculator, settings, cell="free", start=before[0] if before else None)
            cell = crystal.atoms.cell.array * self.size
            initial, final = (_on(atoms, cell) for atoms in (initial, final))
        if before is None:
            ends = [relax(atoms, calculator, settings) for atoms in (initial, final)]
            images = [ends[0].atoms, *(ends[0].atoms.copy() for _ in range(self.images)), ends[1].atoms]
            NEB(images, method="improvedtangent").interpolate(mic=True)
        else:
            _, ends_before, images_before, saddle_before = before
            fresh = [_on(atoms, initial.cell.array) for atoms in images_before]
            ends = [
                relax(guess, calculator, settings, start=end, guess=guess)
                for guess, end in zip((fresh[0], fresh[-1]), ends_before, strict=True)
            ]
            if settings.engine == "implicit" and saddle_before.response is not None:
                top = fresh[1 + _highest(images_before)]
                saddle = relax(top, calculator, settings, start=saddle_before, guess=top)
                return Found(_values([ends[0].energy, saddle.energy, ends[1].energy], len(initial)), None, {})
            images = [ends[0].atoms, *fresh[1:-1], ends[1].atoms]
        energies = _converge(images, calculator, self.fmax, settings.steps)
        k = int(np.argmax(energies))
        saddle = Relaxed(images[k], energies[k])
        if before is None and settings.engine == "implicit":
            saddle = _saddle(images[k], calculator)
            energies[k] = saddle.energy
        kept = [_bare(atoms, e) for atoms, e in zip(images, energies, strict=True)]
        x = np.linspace(0.0, 1.0, len(images))
        line = Line(x, energies - energies[0], "reaction coordinate", "energy (eV)")
        return Found(_values(energies, len(initial)), (crystal, ends, kept, saddle), {"": line})


def vacancy_hop(crystal: Atoms, size: int) -> tuple[Atoms, Atoms]:
    """Ends of the hop of a vacancy to a nearest neighbour, in a supercell of size³ cells."""
    cell = crystal.repeat(size)
    distances = cell.get_distances(0, range(len(cell)), mic=True)
    distances[0] = np.inf
    mover = int(np.argmin(distances))
    vector = cell.get_distance(mover, 0, mic=True, vector=True)
    final = cell.copy()
    final.positions[mover] += vector
    del cell[0], final[0]
    return cell, final


def _on(atoms: Atoms, cell: Any) -> Atoms:
    """The structure in another cell, fractional coordinates kept."""
    copy: Atoms = atoms.copy()
    copy.set_cell(cell, scale_atoms=True)
    return copy


def _bare(atoms: Atoms, energy: float) -> Atoms:
    copy: Atoms = atoms.copy()
    copy.info["energy"] = float(energy)
    return copy


def _highest(images: list[Atoms]) -> int:
    """Index among the inner images of the highest one."""
    return int(np.argmax([atoms.info["energy"] for atoms in images[1:-1]]))


def _values(energies: Any, n: int) -> dict[str, Value]:
    noise = Noise(energy=np.sqrt(2.0) * n)
    return {
        "barrier": Value(float(max(energies) - energies[0]), "eV", noise),
        "reverse barrier": Value(float(max(energies) - energies[-1]), "eV", noise),
    }


def _converge(images: list[Atoms], calculator: Calculator, fmax: float, steps: int) -> Any:
    """Relax the path; return the energies."""
    images[0], images[-1] = images[0].copy(), images[-1].copy()
    for atoms in images:
        atoms.calc = calculator
    neb = NEB(images, climb=True, method="improvedtangent", allow_shared_calculator=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method: Any = LBFGS if 3 * len(images[0]) * len(images) > _MOST_FOR_BFGS else BFGS
        optimiser = method(neb, logfile=None)
        converged = optimiser.run(fmax=fmax, steps=steps)
    energies = np.array([atoms.get_potential_energy() for atoms in images])
    for atoms in images:
        atoms.calc = None
    if not converged:
        raise RelaxationError(f"not converged: the path after {steps} steps")
    if int(np.argmax(energies)) in (0, len(images) - 1):
        raise RelaxationError("left the basin: the path has no saddle point")
    return energies


def _saddle(atoms: Atoms, calculator: Calculator) -> Relaxed:
    """The saddle point next to the climbing image, by Newton's method, and how it follows the weights."""
    at = atoms.copy()
    at.calc = calculator
    if len(at) > DENSE_ATOMS:
        raise MliuqError(f"implicit: a saddle point of {len(at)} atoms, expected at most {DENSE_ATOMS}")
    H = hessian(at, "fixed")
    omega, axes = np.linalg.eigh(H)
    inverse = np.where(np.abs(omega) > FLAT, 1.0, 0.0) / np.where(np.abs(omega) > FLAT, omega, 1.0)
    for _ in range(20):
        forces = at.get_forces()
        if np.abs(forces).max() < 1e-6:
            break
        at.positions += ((axes * inverse) @ (axes.T @ forces.ravel())).reshape(-1, 3)
    assert isinstance(calculator, WeightsCalculator)
    assert calculator.members is not None
    energy = float(at.get_potential_energy())
    at.calc = None
    return Relaxed(at, energy, None, respond(at, calculator, calculator.members))
