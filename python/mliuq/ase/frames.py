"""A configuration frozen with its results and error bars, as extended XYZ keeps them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError, all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from mliuq.ase.calculator import MLIUQCalculator
from mliuq.errors import MliuqError
from mliuq.reference import ReferenceValues

_BAR = re.compile(r"(energy|energies|forces|stress)_(box_)?(std|min|max|err)|extrapolation|grade|density")
_COMMITTEE = re.compile(r"(energy|energies|forces|stress)_comm")
#: Values that a potential beside the model shifts, and what it takes away because it does not share energies out.
_SHIFTED = re.compile(r"(energy|forces|stress)(?:_(?:box_)?(?:min|max)|_low|_high|_comm)?")
_OF_SHARES = re.compile(r"energies(?!_(?:std|err)$).*")
_PLAIN = ("energy", "energies", "forces", "stress")
_OF_ATOMS = ("energies", "forces", "extrapolation", "grade", "density")


def is_bar(name: str) -> bool:
    """Whether a result key is that of an error bar or a committee."""
    return bool(_BAR.fullmatch(name) or _COMMITTEE.fullmatch(name))


def bars_of(atoms: Atoms) -> list[str]:
    """Result keys of every error bar that the calculator of `atoms` has; committees are not among them."""
    return [name for name in atoms.calc.implemented_properties if _BAR.fullmatch(name)]


def committees_of(atoms: Atoms) -> list[str]:
    """Result keys of every committee that the calculator of `atoms` has."""
    return [name for name in atoms.calc.implemented_properties if _COMMITTEE.fullmatch(name)]


def frame(atoms: Atoms, bars: Collection[str]) -> Atoms:
    """A copy of `atoms` with energy, forces and stress under ASE's names and `bars` in its `info` and `arrays`.

    Committees of forces have one row per atom, (N, 3M): the three components by every member in turn.
    What needs a volume that the cell does not have is left out.
    """
    return _frozen(atoms, _values(atoms, [*_PLAIN, *bars]))


def results_to_arrays(atoms: Atoms, *, per_atom: Literal["arrays", "info"] = "arrays") -> Atoms:
    """A copy of a structure with everything its calculator has computed for it, as ASE's writers keep it.

    ASE's own results go to a `SinglePointCalculator` (which refuses all others), error bars of the cell and committees
    to `info`, those of atoms to `arrays`.  Nothing is computed.  Committees of forces have one row per atom, (N, 3M).

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
    frozen = _frozen(atoms, results)
    if per_atom == "info":
        for name in [name for name in frozen.arrays if name in results]:
            frozen.info[name] = frozen.arrays.pop(name)
    return frozen


def add_reference(frozen: Atoms, values: ReferenceValues) -> None:
    """Add a reference potential to a frame of the model fitted beside it.

    Spreads and predicted errors stay: the potential has none.  Energies of atoms go, for it gives none.
    """
    own, added = frozen.calc.results, {"energy": values.energy, "forces": values.forces, "stress": values.stress}
    for place in (own, frozen.info, frozen.arrays):
        for name in [name for name in place if _OF_SHARES.fullmatch(name)]:
            del place[name]
        for name, match in [(name, _SHIFTED.fullmatch(name)) for name in place]:
            if match:
                shift = np.asarray(added[match[1]], dtype=np.float64)
                if name == "forces_comm":
                    shift = np.tile(shift, place[name].shape[1] // 3)
                place[name] = place[name] + shift
    frozen.calc = SinglePointCalculator(frozen, **own)


def _frozen(atoms: Atoms, results: Mapping[str, Any]) -> Atoms:
    frozen: Atoms = atoms.copy()
    for name, value in results.items():
        if name in all_properties:
            continue
        if name in ("energies_comm", "forces_comm"):  # a row per atom: its values by every member in turn
            frozen.arrays[name] = np.moveaxis(value, 0, 1).reshape(len(atoms), -1)
        elif name.partition("_")[0] in _OF_ATOMS or name == "energy_std_gradient":
            frozen.arrays[name] = np.array(value)
        else:
            frozen.info[name] = float(value) if np.ndim(value) == 0 else np.array(value)
    own = {name: value for name, value in results.items() if name in all_properties}
    frozen.calc = SinglePointCalculator(frozen, **own)
    return frozen


def _values(atoms: Atoms, names: list[str]) -> dict[str, Any]:
    if isinstance(atoms.calc, MLIUQCalculator):
        return atoms.calc.results_of(atoms, names)
    found = {}
    for name in names:
        with suppress(PropertyNotImplementedError):
            found[name] = atoms.calc.get_property(name, atoms)
    return found
