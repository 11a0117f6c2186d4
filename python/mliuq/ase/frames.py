"""A configuration frozen with its results and error bars, as extended XYZ keeps them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError, all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from mliuq.errors import MliuqError

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
    results = {}
    for name in (*_PLAIN, *bars):
        try:
            results[name] = atoms.calc.get_property(name, atoms)
        except PropertyNotImplementedError:
            continue
    return _frozen(atoms, results)


def results_to_arrays(atoms: Atoms, *, per_atom: Literal["arrays", "info"] = "arrays") -> Atoms:
    """A copy of a structure with everything its calculator has computed for it, as ASE's writers keep it.

    ASE's own results go to a `SinglePointCalculator` (which refuses all others), error bars of the cell and committees
    to `info`, those of atoms to `arrays`.  Nothing is computed.  Committees of forces (M, N, 3) fit into no file of
    atoms and are left out.

    Parameters
    ----------
    per_atom : "info" for ASE's trajectories, which keep `info` but no arrays of other names than ASE's

    Raises
    ------
    MliuqError
        for a structure without results, or one that has changed since they were computed.
    """
    results = {} if atoms.calc is None else atoms.calc.results
    if not results:
        raise MliuqError("the structure has no results: compute some first, as by atoms.get_potential_energy()")
    if changed := atoms.calc.check_state(atoms):
        raise MliuqError(f"the results belong to other {' and '.join(changed)}: compute them anew")
    frozen = _frozen(atoms, {name: value for name, value in results.items() if np.ndim(value) < 3})
    if per_atom == "info":
        for name in [name for name in frozen.arrays if name in results]:
            frozen.info[name] = frozen.arrays.pop(name)
    return frozen


def _frozen(atoms: Atoms, results: Mapping[str, Any]) -> Atoms:
    frozen: Atoms = atoms.copy()
    for name, value in results.items():
        if name in all_properties:
            continue
        if name.partition("_")[0] in _OF_ATOMS and not name.endswith("_comm"):
            frozen.arrays[name] = np.array(value)
        else:
            frozen.info[name] = float(value) if np.ndim(value) == 0 else np.array(value)
    own = {name: value for name, value in results.items() if name in all_properties}
    frozen.calc = SinglePointCalculator(frozen, **own)
    return frozen
