"""Screened nuclear repulsion, as LAMMPS's ``pair_style zbl``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mliuq.core import evaluate_zbl
from mliuq.descriptor.neighbours import pack
from mliuq.descriptor.params import SnapParams


@dataclass(frozen=True, eq=False)
class ZblResult:
    """Energy (eV), forces (N, 3) in eV/Å and stress (6,) in eV/Å³, Voigt, ASE's sign; None without a volume."""

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None


def evaluate(atoms: Atoms, inner: float, outer: float) -> ZblResult:
    """Ziegler-Biersack-Littmark repulsion of a structure, switched off from ``inner`` to ``outer`` (Å).

    Raises
    ------
    MliuqError
        Unless 0 < inner < outer, and for structures as in `mliuq.descriptors`.
    """
    elements = tuple(dict.fromkeys(atoms.get_chemical_symbols()))
    structure = pack(atoms, SnapParams(elements), outer)
    energies, forces, virial = evaluate_zbl(elements, inner, outer, structure)
    stress = -virial / structure.volume if structure.volume else None
    return ZblResult(float(energies.sum()), forces, stress)
