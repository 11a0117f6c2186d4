"""Results that a file gave, attached to the structure they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from mliuq.readers.units import VOIGT


def attach(atoms: Atoms, **results: Any) -> Atoms:
    """Give a structure its results (ASE's names and units); None leaves one out, a 3 × 3 stress becomes six numbers."""
    found = {name: value for name, value in results.items() if value is not None}
    if np.size(found.get("stress", 0)) == 9:
        full = np.reshape(np.asarray(found["stress"], dtype=np.float64), (3, 3))
        found["stress"] = 0.5 * (full + full.T)[VOIGT]
    if found:
        atoms.calc = SinglePointCalculator(atoms, **found)
    return atoms
