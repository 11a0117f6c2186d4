"""A configuration frozen with its results and error bars, as extended XYZ keeps them."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator

_BAR = re.compile(r"(energy|energies|forces|stress)_(std|min|max|err)|extrapolation|grade|density")
_PLAIN = ("energy", "energies", "forces", "stress")
_OF_ATOMS = ("energies", "forces", "extrapolation", "grade", "density")


def bars_of(atoms: Atoms) -> list[str]:
    """Result keys of every error bar that the calculator of `atoms` has; committees are not among them."""
    return [name for name in atoms.calc.implemented_properties if _BAR.fullmatch(name)]


def frame(atoms: Atoms, bars: Collection[str]) -> Atoms:
    """A copy of `atoms` with energy, forces and stress under ASE's names and `bars` in its `info` and `arrays`.

    What needs a volume that the cell does not have is left out.
    """
    frozen: Atoms = atoms.copy()
    results = {}
    for name in (*_PLAIN, *bars):
        try:
            value = atoms.calc.get_property(name, atoms)
        except PropertyNotImplementedError:
            continue
        if name in _PLAIN:
            results[name] = value
        elif name.partition("_")[0] in _OF_ATOMS:
            frozen.arrays[name] = np.array(value)
        else:
            frozen.info[name] = float(value) if np.ndim(value) == 0 else np.array(value)
    frozen.calc = SinglePointCalculator(frozen, **results)
    return frozen
