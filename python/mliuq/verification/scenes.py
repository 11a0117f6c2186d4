"""Structures the checks are made on, built around the distance at which the model itself is at rest."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii, reference_states
from numpy.typing import NDArray

from mliuq.errors import MliuqError
from mliuq.verification.subject import Subject

Floats = NDArray[np.float64]

#: Edges of the cubes, in distances of nearest neighbours.
_LATTICES = {"bcc": 2.0 / np.sqrt(3.0), "fcc": np.sqrt(2.0), "diamond": 4.0 / np.sqrt(3.0)}


def _neighbours(symbol: str) -> float:
    """Distance of nearest neighbours in the element's crystal, Å."""
    number = atomic_numbers[symbol]
    state = reference_states[number] or {}
    shape = {"bcc": np.sqrt(0.75), "fcc": np.sqrt(0.5), "diamond": np.sqrt(3.0) / 4.0, "hcp": 1.0, "sc": 1.0}
    if (factor := shape.get(str(state.get("symmetry")))) is not None:
        return float(state["a"] * factor)
    return float(2.2 * covalent_radii[number])


class Scenes:
    """Crystals, clusters and pairs of a model's elements; seeded, the same for the same model."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    @cached_property
    def rest(self) -> tuple[str, float]:
        """Lattice and distance of nearest neighbours (Å) at the lowest energy inside the scan.

        Simple lattices occupied by all elements in turn; from 0.8 to 1.3 of the mean distance in the elements' own
        crystals (1.1 times the sum of covalent radii where ASE does not know it).
        """
        guess = min(float(np.mean([_neighbours(e) for e in self._subject.elements])), 0.8 * self._subject.cutoff)
        best: tuple[float, str, float] | None = None
        distances = np.linspace(0.8, 1.3, 51) * guess
        for lattice in _LATTICES:
            energies = np.array([self.energy_per_atom(self.crystal(lattice, d)) for d in distances])
            for k in range(1, len(distances) - 1):
                if energies[k] < min(energies[k - 1], energies[k + 1]) and (best is None or energies[k] < best[0]):
                    best = (float(energies[k]), lattice, float(distances[k]))
        return (best[1], best[2]) if best else ("bcc", guess)

    def energy_per_atom(self, atoms: Atoms) -> float:
        """Energy per atom, eV; infinite where the model refuses."""
        try:
            return self._subject.evaluate(atoms).energy / len(atoms)
        except MliuqError:
            return np.inf

    def crystal(self, lattice: str | None = None, distance: float | None = None) -> Atoms:
        """The conventional cell at a distance of nearest neighbours (Å); the model's own rest by default."""
        if lattice is None:
            lattice = self.rest[0]
        if distance is None:
            distance = self.rest[1]
        elements = self._subject.elements
        atoms: Atoms = bulk(elements[0], lattice, a=_LATTICES[lattice] * distance, cubic=True)
        atoms.set_chemical_symbols([elements[i % len(elements)] for i in range(len(atoms))])
        return atoms

    def supercell(self, n: int = 2) -> Atoms:
        """The crystal at rest, n × n × n, with every element in it."""
        atoms: Atoms = self.crystal().repeat(n)
        elements = self._subject.elements
        atoms.set_chemical_symbols([elements[i % len(elements)] for i in range(len(atoms))])
        return atoms

    def rattled(self, n: int = 2, *, skewed: bool = True) -> Atoms:
        """The supercell with atoms off their places by 3 % of the distance, and its cell off the cube."""
        atoms = self.supercell(n)
        rng = np.random.default_rng(7)
        if skewed:
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += 0.03 * self.rest[1] * rng.normal(size=(len(atoms), 3))
        return atoms

    def cluster(self) -> Atoms:
        """Seven atoms in the open: one in the middle and six around it, none where symmetry would put it."""
        d = self.rest[1]
        places = np.vstack([np.zeros(3), np.eye(3), -np.eye(3)]) * d
        places = places + 0.05 * d * np.random.default_rng(11).normal(size=places.shape)
        elements = self._subject.elements
        return Atoms([elements[i % len(elements)] for i in range(7)], positions=places)

    def pair(self, a: str, b: str, distance: float) -> Atoms:
        """Two atoms in the open, along a direction that is no axis."""
        return Atoms([a, b], positions=[[0, 0, 0], np.array([0.48, 0.6, 0.64]) * distance])

    def pairs(self) -> list[tuple[str, str]]:
        """All pairs of elements."""
        elements = self._subject.elements
        return [(a, b) for i, a in enumerate(elements) for b in elements[i:]]
