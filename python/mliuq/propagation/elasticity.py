"""Elastic constants of any crystal, from the stress of strained, relaxed cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.units import GPa
from numpy.typing import NDArray

from mliuq.errors import MliuqError, in_range
from mliuq.propagation.coordinates import deformed, strain_matrix
from mliuq.propagation.driver import Property
from mliuq.propagation.equation_of_state import describe_atoms
from mliuq.propagation.relax import RelaxationError, Relaxed, relax
from mliuq.propagation.results import Measurement, Noise, Value
from mliuq.propagation.settings import PropagationSettings

Array = NDArray[np.float64]

ZERO_BY_SYMMETRY = 1e-3
"""Constants below this share of the largest are not reported: symmetry makes them zero, or the crystal nearly does."""


@dataclass(frozen=True, eq=False)
class Elastic(Property):
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

    def measure(self, calculator: Calculator, settings: PropagationSettings, start: Measurement | None) -> Measurement:
        """All crystals by one weight vector, each on its own relaxed cell."""
        values: dict[tuple[str, str], Value] = {}
        relaxed: dict[str, Any] = {}
        failures: dict[str, str] = {}
        for name, atoms in self.structures.items():
            before = None if start is None else start.structures.get(name)
            if start is not None and before is None:
                continue
            try:
                at = relax(atoms, calculator, settings, cell="free", start=before)
                constants = stiffness(at, calculator, settings, self.strain) / GPa
            except RelaxationError as error:
                failures[name] = str(error)
                continue
            relaxed[name] = at
            # Central differences of a stress with noise of its own, two strains for each constant (two constants
            # are averaged where i ≠ j, which is left out: the noise of a pair may be common).
            noise = Noise(stress=1 / (np.sqrt(2.0) * self.strain * GPa))
            if start is None:
                wanted = [(i, j) for i in range(6) for j in range(i, 6) if shown(constants, i, j)]
            else:
                wanted = [(i, j) for i in range(6) for j in range(i, 6) if (name, _label(i, j)) in start.values]
            for i, j in wanted:
                values[name, _label(i, j)] = Value(float(constants[i, j]), "GPa", noise, "force")
            values |= {
                (name, key): Value(number, "GPa", noise, "force") for key, number in _averages(constants).items()
            }
        return Measurement(values, {}, relaxed, failures)


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


def _label(i: int, j: int) -> str:
    return f"C{i + 1}{j + 1}"


def shown(constants: Array, i: int, j: int) -> bool:
    """Whether a constant is not zero by symmetry."""
    return bool(abs(constants[i, j]) > ZERO_BY_SYMMETRY * np.abs(constants).max())


def _averages(c: Array) -> dict[str, float]:
    """Bulk and shear moduli of a polycrystal (Hill), and C′ = (C11 − C12)/2 where the crystal is cubic."""
    voigt_bulk = (c[0, 0] + c[1, 1] + c[2, 2] + 2 * (c[0, 1] + c[0, 2] + c[1, 2])) / 9
    voigt_shear = (c[0, 0] + c[1, 1] + c[2, 2] - c[0, 1] - c[0, 2] - c[1, 2] + 3 * (c[3, 3] + c[4, 4] + c[5, 5])) / 15
    s = np.linalg.inv(c)
    reuss_bulk = 1 / (s[0, 0] + s[1, 1] + s[2, 2] + 2 * (s[0, 1] + s[0, 2] + s[1, 2]))
    reuss_shear = 15 / (
        4 * (s[0, 0] + s[1, 1] + s[2, 2]) - 4 * (s[0, 1] + s[0, 2] + s[1, 2]) + 3 * (s[3, 3] + s[4, 4] + s[5, 5])
    )
    return {
        "bulk modulus": float(voigt_bulk + reuss_bulk) / 2,
        "shear modulus": float(voigt_shear + reuss_shear) / 2,
        "C'": float(c[0, 0] + c[1, 1] - 2 * c[0, 1]) / 4,
    }
