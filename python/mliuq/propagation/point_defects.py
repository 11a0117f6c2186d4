"""Formation energies and volumes of vacancies and interstitials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from mliuq.descriptor.bispectrum import design_rows
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError, in_range
from mliuq.propagation.calculator import WeightsCalculator
from mliuq.propagation.property import Found, ObjectProperty, describe_atoms, relax_built
from mliuq.propagation.relax import Relaxed, relax, shortest_distance
from mliuq.propagation.results import Noise, Value
from mliuq.propagation.settings import PropagationSettings

Array = NDArray[np.float64]

#: name → direction of a dumbbell (Cartesian, conventional cubic cell)
DUMBBELLS = {"111": (1, 1, 1), "110": (1, 1, 0), "100": (1, 0, 0)}
#: name → position in units of the cubic lattice constant, for bcc and fcc
SITES = {
    "bcc": {"tetrahedral": (0.5, 0.25, 0.0), "octahedral": (0.5, 0.5, 0.0), "crowdion": (0.25, 0.25, 0.25)},
    "fcc": {"tetrahedral": (0.25, 0.25, 0.25), "octahedral": (0.5, 0.5, 0.5), "crowdion": (0.25, 0.25, 0.0)},
}
DEFECTS = ("vacancy", "divacancy", *DUMBBELLS, *SITES["bcc"])

COMPRESSION = 2e-3


@dataclass(frozen=True, eq=False)
class Defects(ObjectProperty):
    """Point defects in supercells of each member's own relaxed crystal.

    Attributes
    ----------
    host : crystal of one element; its conventional cell
    kind : "bcc", "fcc" (which have interstitial sites here) or another name
    defects : some of `DEFECTS`; dumbbells by their direction
    size : the supercell is size × size × size cells
    volumes : whether formation volumes are wanted (one evaluation of the supercell more)

    Notes
    -----
    Formation energy E − n E_bulk/N at the crystal's own volume. Formation volume (sites − atoms) Ω + p V/B: the
    pressure p that the defect leaves in the held cell, by linear elasticity.
    """

    host: Atoms
    kind: str
    defects: Sequence[str] = ("vacancy",)
    size: int = 3
    volumes: bool = True
    name: str = "defects"

    def __post_init__(self) -> None:
        in_range("size", self.size, 1, 20)
        if len(set(self.host.get_chemical_symbols())) > 1:
            raise MliuqError(f"defects: the host is {self.host.symbols}, expected one element (no chemical potentials)")
        for name in self.defects:
            if name not in DEFECTS:
                raise MliuqError(f"defect is {name!r}, expected one of {' '.join(DEFECTS)}")
            if "vacancy" not in name and self.kind not in SITES:
                raise MliuqError(f"defect {name} in {self.kind}: expected a host of {' or '.join(SITES)}")

    def objects(self) -> Sequence[str]:
        """The defects."""
        return self.defects

    def describe(self) -> dict[str, Any]:
        """Settings as plain data."""
        return {
            "host": describe_atoms(self.host),
            "kind": self.kind,
            "defects": list(self.defects),
            "size": self.size,
            "volumes": self.volumes,
        }

    def one(self, name: str, calculator: Calculator, settings: PropagationSettings, before: Any) -> Found:
        """One defect by one weight vector."""
        crystal = relax(self.host, calculator, settings, cell="free", start=before[0] if before else None)
        built = self.build(name, crystal.atoms)
        at = relax_built(built, calculator, settings, before[1:3] if before else None)
        assert isinstance(calculator, WeightsCalculator)
        n, per_atom = len(built), crystal.energy / len(crystal.atoms)
        noise = Noise(energy=np.sqrt(2.0) * n)
        values = {"formation energy": Value(at.energy - n * per_atom, "eV", noise)}
        moduli: BulkModuli | None = before[3] if before else None
        if before is None and settings.engine == "implicit" and self.volumes and calculator.model.zbl is None:
            moduli = BulkModuli.of(crystal, calculator.model.params)
        if self.volumes:
            stress = at.stress
            if stress is None:
                cell = at.atoms.copy()
                cell.calc = calculator
                stress = cell.get_stress()
            pressure = -float(stress[:3].mean())
            site = crystal.atoms.get_volume() / len(crystal.atoms)
            missing = len(crystal.atoms) * self.size**3 - n
            if at.stress is not None and moduli is not None:
                bulk = moduli.at(crystal.atoms.get_volume(), calculator.model.theta.ravel())
            else:
                bulk = bulk_modulus(crystal, calculator)
            relaxation = pressure * at.atoms.get_volume() / bulk
            values["formation volume"] = Value(missing * site + relaxation, "Å³")
        return Found(values, (crystal, built, at, moduli), {})

    def build(self, name: str, crystal: Atoms) -> Atoms:
        """The unrelaxed supercell."""
        cell = repeated(crystal, self.size)
        near = shortest_distance(crystal)
        if name == "vacancy":
            del cell[0]
            return cell
        if name == "divacancy":
            distances = cell.get_distances(0, range(1, len(cell)), mic=True)
            # Neighbours at one distance but for rounding: every member has the same one taken away.
            del cell[[0, 1 + int(np.argmax(distances < distances.min() + 1e-6))]]
            return cell
        symbol = cell.symbols[0]
        if name in DUMBBELLS:
            way = np.array(DUMBBELLS[name]) / np.linalg.norm(DUMBBELLS[name])
            cell.positions[0] -= 0.4 * near * way
            cell.extend(Atoms(symbol, [cell.positions[0] + 0.8 * near * way]))
        else:
            place = np.array(SITES[self.kind][name]) @ crystal.cell.array
            cell.extend(Atoms(symbol, [place]))
        return cell


def repeated(crystal: Atoms, size: int) -> Atoms:
    """Size³ cells of a crystal in the order of ASE's ``repeat``, which takes longer than predicting a member."""
    corners = np.indices((size, size, size)).reshape(3, -1).T @ crystal.cell.array
    positions = (corners[:, None] + crystal.positions).reshape(-1, 3)
    return Atoms(np.tile(crystal.numbers, size**3), positions, cell=size * crystal.cell.array, pbc=crystal.pbc)


@dataclass(frozen=True, eq=False)
class BulkModuli:
    """Bulk moduli of any weights near one crystal's volume, shape and fractional positions held.

    At a given volume they are linear in the weights: rows (n, P) at n volumes, interpolated by a polynomial.
    """

    volumes: Array
    rows: Array

    @classmethod
    def of(cls, crystal: Relaxed, params: SnapParams) -> BulkModuli:
        """Rows at five volumes around a crystal's."""
        factors = 1 + np.linspace(-0.1, 0.1, 5)
        rows = []
        for factor in factors:
            pair = [_scaled(crystal, factor * (1 + sign * COMPRESSION)) for sign in (1, -1)]
            plus, minus = (found[-6:-3].mean(axis=0) for found in design_rows(pair, params, stress=True))
            rows.append((plus - minus) / (2 * COMPRESSION))
        return cls(crystal.atoms.get_volume() * factors, np.array(rows))

    def at(self, volume: float, theta: Array) -> float:
        """Of weights θ (P,) at a volume, eV/Å³."""
        x = self.volumes / self.volumes.mean() - 1
        fitted = np.polynomial.polynomial.polyfit(x, self.rows @ theta, len(x) - 1)
        return float(np.polynomial.polynomial.polyval(volume / self.volumes.mean() - 1, fitted))


def _scaled(crystal: Relaxed, factor: float) -> Atoms:
    """At another volume, shape and fractional positions kept."""
    scaled: Atoms = crystal.atoms.copy()
    scaled.set_cell(scaled.cell.array * np.cbrt(factor), scale_atoms=True)
    return scaled


def bulk_modulus(crystal: Relaxed, calculator: Calculator) -> float:
    """−V dP/dV of a crystal whose shape and fractional positions are held, eV/Å³."""
    stress = []
    for factor in (1 + COMPRESSION, 1 - COMPRESSION):
        scaled = _scaled(crystal, factor)
        scaled.calc = calculator
        stress.append(float(scaled.get_stress()[:3].mean()))
    return (stress[0] - stress[1]) / (2 * COMPRESSION)
