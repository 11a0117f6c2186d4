"""Equations of state and phases: formation energy, volume, bulk modulus, and how sure their order is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.units import GPa
from numpy.typing import NDArray
from scipy.optimize import brentq

from mliuq.errors import MliuqError, in_range
from mliuq.propagation.comparisons import orders
from mliuq.propagation.property import Property, describe_atoms
from mliuq.propagation.prototypes import composition
from mliuq.propagation.relax import RelaxationError, Relaxed, relax
from mliuq.propagation.results import Estimate, Line, Measurement, Noise, Value
from mliuq.propagation.settings import PropagationSettings

Array = NDArray[np.float64]

GRID = 41
"""Volumes of the curve that is drawn, over the volumes of the best fit."""


@dataclass(frozen=True)
class BirchMurnaghan:
    """E(V) = c0 + c1 x + c2 x² + c3 x³ with x = V^(−2/3): the third-order equation of state, linear in c.

    F. Birch, Phys. Rev. 71, 809 (1947).
    """

    coefficients: tuple[float, float, float, float]
    volume: float

    @classmethod
    def fit(cls, volumes: Array, energies: Array) -> BirchMurnaghan:
        """Least squares; raises RelaxationError when the curve has no minimum within the volumes."""
        unit = float(volumes.mean()) ** (-2 / 3)
        x = volumes ** (-2 / 3) / unit
        scaled = np.polynomial.polynomial.polyfit(x, energies, 3)
        c = scaled / unit ** np.arange(4)
        # dE/dx = 0, of the two roots the one with positive curvature
        disc = c[2] ** 2 - 3 * c[1] * c[3]
        root = (-c[2] + np.sqrt(disc)) / (3 * c[3]) if disc > 0 and c[3] != 0 else np.nan
        volume = float(root ** (-1.5)) if root > 0 else np.nan
        if not volumes.min() * 0.9 < volume < volumes.max() * 1.1:
            raise RelaxationError("left the basin: the energy has no minimum near the relaxed volume")
        return cls((float(c[0]), float(c[1]), float(c[2]), float(c[3])), volume)

    def energy(self, volumes: Array) -> Array:
        """E(V)."""
        return np.asarray(np.polynomial.polynomial.polyval(volumes ** (-2 / 3), self.coefficients))

    @property
    def bulk_modulus(self) -> float:
        """V E″ at the minimum, where E′ = 0: (4/9) V^(−7/3) d²E/dx², in the units of E and V."""
        _, _, c2, c3 = self.coefficients
        x = self.volume ** (-2 / 3)
        return float(4 / 9 * self.volume ** (-7 / 3) * (2 * c2 + 6 * c3 * x))

    @property
    def bulk_derivative(self) -> float:
        """dB/dP at the minimum, by B(V) = V E″ and P(V) = −E′."""
        _, c1, c2, c3 = self.coefficients
        v = self.volume
        powers = [(-2 / 3, c1), (-4 / 3, c2), (-2.0, c3)]
        second = sum(c * n * (n - 1) * v ** (n - 2) for n, c in powers)
        third = sum(c * n * (n - 1) * (n - 2) * v ** (n - 3) for n, c in powers)
        return float(-(second + v * third) / second)


@dataclass(frozen=True, eq=False)
class EquationOfState(Property):
    """Energy, volume, bulk modulus of structures; formation energies when they are compared.

    Attributes
    ----------
    structures : name → Atoms
    reference : the structure whose energy formation energies count from (of one composition); by default the best
        fit's lowest
    relax : "all": cell and positions relax, at every volume too; "volume": the given shape and fractional positions
        are kept
    span, points : volumes of the equation of state, within ± span of each member's own volume
    name : "eos" or "phases"
    """

    structures: Mapping[str, Atoms]
    reference: str | None = None
    relax: Literal["all", "volume"] = "all"
    span: float = 0.06
    points: int = 7
    name: Literal["eos", "phases"] = "eos"

    def __post_init__(self) -> None:
        if not self.structures:
            raise MliuqError(f"{self.name}: no structures, expected at least one")
        if self.reference is not None and self.reference not in self.structures:
            raise MliuqError(
                f"{self.name}: reference is {self.reference!r}, expected one of {', '.join(self.structures)}"
            )
        if self.relax not in ("all", "volume"):
            raise MliuqError(f"{self.name}: relax is {self.relax!r}, expected all or volume")
        in_range("span", self.span, 1e-4, 0.3)
        in_range("points", self.points, 5, np.inf)
        for name, atoms in self.structures.items():
            if not atoms.pbc.all():
                raise MliuqError(f"{self.name}: structure {name} is not periodic in three directions")

    def describe(self) -> dict[str, Any]:
        """Settings as plain data."""
        return {
            "structures": {name: describe_atoms(atoms) for name, atoms in self.structures.items()},
            "reference": self.reference,
            "relax": self.relax,
            "span": self.span,
            "points": self.points,
        }

    def measure(self, calculator: Calculator, settings: PropagationSettings, start: Measurement | None) -> Measurement:
        """All structures by one weight vector."""
        values: dict[tuple[str, str], Value] = {}
        lines: dict[str, Line] = {}
        relaxed: dict[str, Any] = {}
        failures: dict[str, str] = {}
        curves: dict[str, BirchMurnaghan] = {}
        for name, atoms in self.structures.items():
            before: Relaxed | None = None if start is None else start.structures.get(name)
            if start is not None and before is None:
                continue  # the best fit has failed already, and said so
            try:
                at, found, curve = self._one(atoms, calculator, settings, before)
            except RelaxationError as error:
                failures[name] = str(error)
                continue
            relaxed[name] = at
            curves[name] = curve
            values |= {(name, quantity): value for quantity, value in found.items()}
        if start is None:
            reference = self.reference or _lowest(values, self.structures)
        else:
            reference = start.structures["reference"]
        relaxed["reference"] = reference
        if reference in curves:
            zero = values[reference, "energy"].number
            for name, curve in curves.items():
                if composition(self.structures[name]) != composition(self.structures[reference]):
                    continue
                apart = name != reference
                number = values[name, "energy"].number - zero
                if apart:
                    values[name, "formation energy"] = Value(number, "eV/atom", Noise(energy=np.sqrt(2.0)))
                if start is None:
                    own = values[name, "volume"].number
                    grid = np.linspace((1 - self.span) * own, (1 + self.span) * own, GRID)
                else:
                    grid = start.lines[name].x
                lines[name] = Line(grid, curve.energy(grid) - zero, "volume (Å³/atom)", "energy (eV/atom)")
        elif start is not None and reference in start.structures:
            for name in curves:
                failures[name] = f"the reference {reference} failed"
        return Measurement(values, lines, relaxed, failures)

    def compare(self, estimates: Sequence[Estimate]) -> dict[str, Any]:
        """Rank correlations, and how sure the order of the structures is."""
        return {**super().compare(estimates), "order": orders(estimates)}

    def _one(
        self, atoms: Atoms, calculator: Calculator, settings: PropagationSettings, start: Relaxed | None
    ) -> tuple[Relaxed, dict[str, Value], BirchMurnaghan]:
        n = len(atoms)
        if self.relax == "all":
            at = relax(atoms, calculator, settings, cell="free", start=start)
        else:
            at = _relax_volume(atoms, calculator, start)
        volume = at.atoms.get_volume()
        volumes, energies = volume * np.linspace(1 - self.span, 1 + self.span, self.points), []
        for v in volumes:
            scaled = at.atoms.copy()
            scaled.set_cell(scaled.cell.array * np.cbrt(v / volume), scale_atoms=True)
            if self.relax == "all" and n > 1:
                energies.append(relax(scaled, calculator, settings, cell="isochoric", start=at, guess=scaled).energy)
            else:
                scaled.calc = calculator
                energies.append(float(scaled.get_potential_energy()))
        per_atom, energy_per_atom = volumes / n, np.array(energies) / n
        curve = BirchMurnaghan.fit(per_atom, energy_per_atom)
        gains = _noise_gains(per_atom, energy_per_atom)
        return (
            at,
            {
                "energy": Value(at.energy / n, "eV/atom", Noise(energy=1.0)),
                "volume": Value(volume / n, "Å³/atom", gains["volume"]),
                "bulk modulus": Value(curve.bulk_modulus / GPa, "GPa", gains["bulk_modulus"]),
                "bulk modulus derivative": Value(curve.bulk_derivative, "", gains["bulk_derivative"]),
            },
            curve,
        )


def _relax_volume(atoms: Atoms, calculator: Calculator, start: Relaxed | None) -> Relaxed:
    """The volume of least energy at given shape and fractional positions, from 0.74 to 1.5 of the start's.

    Members look near the best fit's volume first, then in the whole range.
    """
    atoms = atoms if start is None else start.atoms
    scaled = atoms.copy()
    scaled.calc = calculator
    cell = atoms.cell.array.copy()

    def pressure(log_volume: float) -> float:
        scaled.set_cell(cell * np.exp(log_volume / 3), scale_atoms=True)
        return float(scaled.get_stress()[:3].mean() * scaled.get_volume())  # dE/d ln V

    rising = np.array([], dtype=int)
    for low, high, points in ((-0.06, 0.06, 3), (-0.3, 0.4, 36)):
        if start is None and points == 3:
            continue
        grid = np.linspace(low, high, points)
        slopes = np.array([pressure(u) for u in grid])
        rising = np.flatnonzero((slopes[:-1] < 0) & (slopes[1:] >= 0))
        if len(rising):
            break
    if not len(rising):
        raise RelaxationError("left the basin: no volume from 0.74 to 1.5 of the start's is stable")
    k = rising[np.abs(grid[rising]).argmin()]
    pressure(float(brentq(pressure, grid[k], grid[k + 1], xtol=1e-9)))
    energy = float(scaled.get_potential_energy())
    scaled.calc = None
    return Relaxed(scaled, energy)


def _noise_gains(volumes: Array, energies: Array) -> dict[str, Noise]:
    """How noise of 1 eV/atom in each energy of the curve moves what is fitted to it (first order)."""
    step = 1e-6
    fields = ("volume", "bulk_modulus", "bulk_derivative")
    units = (1.0, GPa, 1.0)
    base = BirchMurnaghan.fit(volumes, energies)
    slopes = np.zeros((len(volumes), len(fields)))
    for k in range(len(volumes)):
        moved = energies.copy()
        moved[k] += step
        found = BirchMurnaghan.fit(volumes, moved)
        slopes[k] = [(getattr(found, f) - getattr(base, f)) / (step * u) for f, u in zip(fields, units, strict=True)]
    return {f: Noise(energy=float(g)) for f, g in zip(fields, np.linalg.norm(slopes, axis=0), strict=True)}


def _lowest(values: Mapping[tuple[str, str], Value], structures: Mapping[str, Atoms]) -> str:
    """The structure of least energy among those of the first one's composition."""
    kind = composition(next(iter(structures.values())))
    energies = {n: v.number for (n, q), v in values.items() if q == "energy" and composition(structures[n]) == kind}
    return min(energies, key=lambda n: energies[n]) if energies else ""
