"""What is put through the battery: a model, or a wrapper of one that was spoilt on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mliuq.descriptor.neighbours import pack
from mliuq.model import Model

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Energy (eV), energies (N,), forces (N, 3) in eV/Å, stress (6,) in eV/Å³ (None without a volume), and bars.

    `bars` holds energy_std, energy_min, energy_max, energy_err, energies_std, energies_min, energies_max and, on
    request, energy_comm; empty for a model without members.
    """

    energy: float
    energies: Floats
    forces: Floats
    stress: Floats | None
    bars: Mapping[str, Any] = field(default_factory=dict)


class Subject:
    """A model as the checks see it; they call nothing else."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._potential = model.evaluator

    @property
    def elements(self) -> tuple[str, ...]:
        """The species the model states."""
        return tuple(self.model.params.elements)

    @property
    def cutoff(self) -> float:
        """Largest distance at which two atoms feel each other, Å."""
        return self._potential.cutoff

    @property
    def has_bars(self) -> bool:
        """Whether the model has members."""
        return self._potential.has_members

    def pair_cutoffs(self, a: str, b: str) -> list[float]:
        """Distances at which something is switched off between two elements, Å."""
        params = self.model.params
        i, j = params.index_of([a, b])
        snap = params.rcutfac * (params.radii[i] + params.radii[j])
        return [snap] if self.model.zbl is None else sorted({snap, self.model.zbl[1]})

    def evaluate(self, atoms: Atoms, *, threads: int = 1, committee: bool = False) -> Evaluation:
        """Evaluate one structure."""
        structure = pack(atoms, self.model.params, self.cutoff)
        raw = self._potential.evaluate(structure, spreads=self.has_bars, committee=committee, threads=threads)
        stress = -raw.pop("virial") / structure.volume if structure.volume else None
        energy, energies, forces = (raw.pop(key) for key in ("energy", "energies", "forces"))
        return Evaluation(energy, energies, forces, stress, raw)
