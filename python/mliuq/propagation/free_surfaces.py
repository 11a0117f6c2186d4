"""Energies of free surfaces, relaxed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import surface
from ase.calculators.calculator import Calculator
from ase.units import J, m

from mliuq.errors import MliuqError, in_range
from mliuq.propagation.property import Found, ObjectProperty, describe_atoms, relax_built
from mliuq.propagation.relax import relax
from mliuq.propagation.results import Noise, Value
from mliuq.propagation.settings import PropagationSettings

JOULES = J / m**2  # J/m² in eV/Å²


@dataclass(frozen=True, eq=False)
class Surfaces(ObjectProperty):
    """Surface energies (J/m²) of slabs cut from each member's own relaxed crystal.

    Attributes
    ----------
    host : conventional cell of a crystal of one element
    planes : Miller indices
    layers : of the slab, as counted by `ase.build.surface`
    vacuum : on either side, Å
    """

    host: Atoms
    planes: Sequence[tuple[int, int, int]]
    layers: int = 8
    vacuum: float = 6.0
    name: str = "surfaces"

    def __post_init__(self) -> None:
        in_range("layers", self.layers, 1, 100)
        in_range("vacuum", self.vacuum, 1.0, 100.0)
        if len(set(self.host.get_chemical_symbols())) > 1:
            raise MliuqError(f"surfaces: the host is {self.host.symbols}, expected one element (terminations differ)")
        for plane in self.planes:
            if not any(plane):
                raise MliuqError("surface (0 0 0) is no plane")

    def objects(self) -> Sequence[str]:
        """The planes, as (hkl)."""
        return ["".join(map(str, plane)) for plane in self.planes]

    def describe(self) -> dict[str, Any]:
        """Settings as plain data."""
        return {
            "host": describe_atoms(self.host),
            "planes": [list(p) for p in self.planes],
            "layers": self.layers,
            "vacuum": self.vacuum,
        }

    def one(self, name: str, calculator: Calculator, settings: PropagationSettings, before: Any) -> Found:
        """One surface by one weight vector."""
        crystal = relax(self.host, calculator, settings, cell="free", start=before[0] if before else None)
        plane = dict(zip(self.objects(), self.planes, strict=True))[name]
        built = surface(crystal.atoms, plane, self.layers, vacuum=self.vacuum, periodic=True)
        at = relax_built(built, calculator, settings, before[1:] if before else None)
        n, area = len(built), 2 * float(np.linalg.norm(np.cross(built.cell[0], built.cell[1])))
        excess = at.energy - n * crystal.energy / len(crystal.atoms)
        unit = area * JOULES
        noise = Noise(energy=np.sqrt(2.0) * n / unit)
        return Found({"surface energy": Value(excess / unit, "J/m²", noise)}, (crystal, built, at), {})
