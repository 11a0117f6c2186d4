"""Generalised stacking fault energies: γ lines and γ surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixedLine
from ase.lattice.cubic import BodyCenteredCubic, FaceCenteredCubic
from numpy.typing import NDArray

from mliuq.errors import MliuqError, in_range
from mliuq.propagation.free_surfaces import JOULES
from mliuq.propagation.property import Found, ObjectProperty
from mliuq.propagation.prototypes import prototype
from mliuq.propagation.relax import relax
from mliuq.propagation.results import Line, Noise, Value
from mliuq.propagation.settings import PropagationSettings

Array = NDArray[np.float64]

LATTICES = {"bcc": BodyCenteredCubic, "fcc": FaceCenteredCubic}


@dataclass(frozen=True, eq=False)
class StackingFaults(ObjectProperty):
    """γ lines of cubic crystals: half a crystal shifted over the other, atoms relaxed along the normal.

    One fault in a periodic cell whose third vector is tilted by the shift: no free surface.

    Attributes
    ----------
    element, lattice : "bcc" or "fcc"
    plane, direction : Miller indices of the fault's plane and of the shift, orthogonal
    layers : repeats of the cell along the normal
    points : shifts along one period, both ends included
    across : shifts across the direction; 1 for a line, more for a surface
    """

    element: str
    lattice: str = "bcc"
    plane: tuple[int, int, int] = (1, 1, 0)
    direction: tuple[int, int, int] = (1, -1, 1)
    layers: int = 6
    points: int = 11
    across: int = 1
    name: str = "gsf"

    def __post_init__(self) -> None:
        if self.lattice not in LATTICES:
            raise MliuqError(f"gsf: lattice is {self.lattice!r}, expected one of {', '.join(LATTICES)}")
        if np.dot(self.plane, self.direction) != 0 or not any(self.direction) or not any(self.plane):
            raise MliuqError(f"gsf: direction {self.direction} does not lie in plane {self.plane}")
        in_range("layers", self.layers, 2, 100)
        in_range("points", self.points, 3, np.inf)
        in_range("across", self.across, 1, np.inf)

    def objects(self) -> Sequence[str]:
        """The plane and direction."""
        return [f"({''.join(map(str, self.plane))})[{''.join(map(str, self.direction))}]"]

    def describe(self) -> dict[str, Any]:
        """Settings as plain data."""
        return {
            "element": self.element,
            "lattice": self.lattice,
            "plane": list(self.plane),
            "direction": list(self.direction),
            "layers": self.layers,
            "points": self.points,
            "across": self.across,
        }

    def one(self, name: str, calculator: Calculator, settings: PropagationSettings, before: Any) -> Found:
        """The whole line (or surface) by one weight vector."""
        nothing: tuple[Any, Any, Any] = (None, None, None)
        bulk_before, shifts_before, stable = before or nothing
        crystal = relax(prototype(self.lattice, self.element), calculator, settings, cell="free", start=bulk_before)
        block = self.block(float(np.cbrt(self._cells() * crystal.atoms.get_volume())))
        x = np.linspace(0.0, 1.0, self.points)
        y = np.linspace(0.0, 1.0, self.across) if self.across > 1 else np.zeros(1)
        area = float(block.cell[0, 0] * block.cell[1, 1])
        energies = np.empty((len(x), len(y)))
        shifts = {}
        for i, j in np.ndindex(energies.shape):
            built = faulted(block, float(x[i]), float(y[j]))
            guess = built.copy()
            if before is not None:  # the best fit's displacements, on this lattice
                guess.positions[:, 2] += shifts_before[i, j] * built.cell[2, 2]
            at = relax(guess, calculator, settings)
            energies[i, j] = at.energy / (area * JOULES)
            shifts[i, j] = (at.atoms.positions[:, 2] - built.positions[:, 2]) / built.cell[2, 2]
        gamma = energies - energies[0, 0]
        noise = Noise(energy=np.sqrt(2.0) * len(block) / (area * JOULES))
        values = {"unstable fault energy": Value(float(gamma.max()), "J/m²", noise)}
        if before is None:
            stable = _dip(gamma[:, 0])
        if stable is not None:
            values["stable fault energy"] = Value(float(gamma[stable, 0]), "J/m²", noise)
        line = Line(x, gamma[:, 0] if self.across == 1 else gamma, "shift (periods)", "energy (J/m²)")
        return Found(values, (crystal, shifts, stable), {"": line})

    def _cells(self) -> int:
        return {"bcc": 2, "fcc": 4}[self.lattice]

    def block(self, a: float) -> Atoms:
        """The perfect crystal with x along the shift and z along the normal."""
        across = np.cross(self.plane, self.direction)
        made = LATTICES[self.lattice](
            directions=[list(self.direction), (across // np.gcd.reduce(across)).tolist(), list(self.plane)],
            size=(1, 1, self.layers),
            symbol=self.element,
            latticeconstant=a,
            pbc=True,
        )
        return Atoms(made.numbers, made.positions, cell=made.cell, pbc=True)


def _dip(gamma: Array) -> int | None:
    """Index of the lowest minimum within the line."""
    inner = range(1, len(gamma) - 1)
    dips = [k for k in inner if gamma[k] < gamma[k - 1] and gamma[k] < gamma[k + 1]]
    return min(dips, key=lambda k: float(gamma[k])) if dips else None


def faulted(block: Atoms, x: float, y: float) -> Atoms:
    """The block with its third vector tilted by shares of the other two; atoms may move along z."""
    atoms: Atoms = block.copy()
    cell = atoms.cell.array.copy()
    cell[2] += x * cell[0] + y * cell[1]
    atoms.set_cell(cell, scale_atoms=False)
    atoms.set_constraint(FixedLine(range(len(atoms)), (0, 0, 1)))
    return atoms
