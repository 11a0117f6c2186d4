"""Elastic constants of any crystal, from the stress of strained, relaxed cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.units import GPa
from numpy.typing import NDArray

from mliuq.errors import MliuqError, in_range
from mliuq.propagation.coordinates import deformed, strain_matrix
from mliuq.propagation.property import Found, ObjectProperty, describe_atoms
from mliuq.propagation.relax import Relaxed, relax
from mliuq.propagation.results import Noise, Value
from mliuq.propagation.settings import PropagationSettings

Array = NDArray[np.float64]

EQUAL_BY_SYMMETRY = 2e-3
"""Constants that differ by less than this share of the largest are one; below it they are none."""

AVERAGES = ("bulk modulus", "shear modulus")
UNSTABLE = "mechanically unstable"

_ALIKE = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])


@dataclass(frozen=True, eq=False)
class Elastic(ObjectProperty):
    """All elastic constants C_ij (GPa), and the averages of Voigt, Reuss and Hill.

    Attributes
    ----------
    structures : name → crystal
    strain : size of the strains ±
    """

    structures: Mapping[str, Atoms]
    strain: float = 0.005
    name: str = "elastic"

    def __post_init__(self) -> None:
        in_range("strain", self.strain, 1e-6, 0.1)
        for name, atoms in self.structures.items():
            if not atoms.pbc.all():
                raise MliuqError(f"elastic: structure {name} is not periodic in three directions")

    def describe(self) -> dict[str, Any]:
        """Settings as plain data."""
        return {
            "structures": {name: describe_atoms(atoms) for name, atoms in self.structures.items()},
            "strain": self.strain,
        }

    def objects(self) -> list[str]:
        """The crystals."""
        return list(self.structures)

    def one(self, name: str, calculator: Calculator, settings: PropagationSettings, before: Any) -> Found:
        """One crystal by one weight vector, on its own relaxed cell."""
        at_before, wanted = before or (None, None)
        at = relax(self.structures[name], calculator, settings, cell="free", start=at_before)
        constants = stiffness(at, calculator, settings, self.strain) / GPa
        if wanted is None:
            wanted = distinct(constants)
        # Central differences of a stress with noise of its own; that two entries are averaged where i ≠ j is left out,
        # for the noise of a pair may be common.
        noise = Noise(stress=1 / (np.sqrt(2.0) * self.strain * GPa))
        averages = _averages(constants)
        numbers = {f"C{i + 1}{j + 1}": float(constants[i, j]) for i, j in wanted} | averages
        values = {key: Value(number, "GPa", noise, "force") for key, number in numbers.items()}
        return Found(values, (at, wanted), {}, {key: UNSTABLE for key in AVERAGES if key not in averages})


def stiffness(at: Relaxed, calculator: Calculator, settings: PropagationSettings, strain: float) -> Array:
    """C_ij = ∂σ_i/∂ε_j at fixed pressure zero, atoms relaxed in every strained cell; (6, 6), eV/Å³, symmetrised."""
    columns = np.empty((6, 6))
    for j in range(6):
        stress = []
        for sign in (1.0, -1.0):
            voigt = np.zeros(6)
            voigt[j] = sign * strain
            trial = deformed(at.atoms, np.eye(3) + strain_matrix(voigt))
            if len(trial) > 1:
                trial = relax(trial, calculator, settings, start=at, guess=trial).atoms
            trial.calc = calculator
            stress.append(trial.get_stress())
        columns[:, j] = (stress[0] - stress[1]) / (2 * strain)
    return 0.5 * (columns + columns.T)


def distinct(constants: Array) -> list[tuple[int, int]]:
    """Entries that are neither zero by symmetry nor equal to one of their kind before them."""
    same = EQUAL_BY_SYMMETRY * np.abs(constants).max()
    found: list[tuple[int, int]] = []
    for i, j in combinations_with_replacement(range(6), 2):
        kind = (i == j, i < 3, j < 3)
        alike = [constants[at] for at in found if (at[0] == at[1], at[0] < 3, at[1] < 3) == kind]
        if abs(constants[i, j]) > same and not any(abs(constants[i, j] - other) < same for other in alike):
            found.append((i, j))
    return found


def _averages(c: Array) -> dict[str, float]:
    """Bulk and shear moduli of a polycrystal (Hill), and C′ = (C11 − C12)/2 where the crystal is cubic.

    Hill's average is that of two bounds, which a crystal has only when every strain costs energy. One that is not
    stable so has no shear modulus, and a bulk modulus only where its bounds coincide: compressed alike on all sides it
    keeps its shape.
    """
    found = {}
    bulk = (c[0, 0] + c[1, 1] + c[2, 2] + 2 * (c[0, 1] + c[0, 2] + c[1, 2])) / 9
    shear = (c[0, 0] + c[1, 1] + c[2, 2] - c[0, 1] - c[0, 2] - c[1, 2] + 3 * (c[3, 3] + c[4, 4] + c[5, 5])) / 15
    keeps_its_shape = np.abs(c[:, :3].sum(axis=1) - 3 * bulk * _ALIKE).max() < EQUAL_BY_SYMMETRY * np.abs(c).max()
    if np.linalg.eigvalsh(c).min() > 1e-9 * np.abs(c).max():
        s = np.linalg.inv(c)
        trace, rest = s[0, 0] + s[1, 1] + s[2, 2], s[0, 1] + s[0, 2] + s[1, 2]
        found["bulk modulus"] = float(bulk + 1 / (trace + 2 * rest)) / 2
        found["shear modulus"] = float(shear + 15 / (4 * trace - 4 * rest + 3 * (s[3, 3] + s[4, 4] + s[5, 5]))) / 2
    elif keeps_its_shape:
        found["bulk modulus"] = float(bulk)
    return found | {"C'": float(c[0, 0] + c[1, 1] - 2 * c[0, 1]) / 4}
