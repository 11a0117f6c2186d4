"""One number for how uncertain a structure is now, and which atoms make it so."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mliuq.errors import MliuqError

Array = NDArray[np.float64]

_BAR = re.compile(r"(energy|energies|forces|stress)_(std|err)")
_WITHOUT_UNIT = ("extrapolation", "grade")
_UNIT = {"energy": "eV", "energies": "eV", "forces": "eV/Å", "stress": "eV/Å³"}
_VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")


@dataclass(frozen=True)
class Reading:
    """The largest value of a quantity over a structure.

    Attributes
    ----------
    quantity, unit : str
        Result key of the calculator; the unit is empty where there is none.
    value : float
        Largest value: over atoms (for forces, of the root of the sum of squares of the three components), over the
        components of stress, or the one of the cell. NaN if any value is not finite.
    where : str
        What `value` belongs to, in words.
    atom : int or None
        Index of the atom `value` belongs to; None for quantities of the cell.
    per_atom : ndarray of shape (N,) or None
        The value of every atom.
    """

    quantity: str
    unit: str
    value: float
    where: str
    atom: int | None
    per_atom: Array | None

    def worst(self, n: int) -> list[int]:
        """Indices of the `n` atoms of largest values, values that are not finite first."""
        if self.per_atom is None:
            return []
        return [int(i) for i in np.argsort(-_rank(self.per_atom), kind="stable")[:n]]


def check_quantity(atoms: Atoms, quantity: str) -> str:
    """The unit of a quantity, if it is one to watch and the calculator of `atoms` has it.

    Raises
    ------
    MliuqError
        Naming the quantities there are.
    """
    offered = [name for name in getattr(atoms.calc, "implemented_properties", ()) if unit_of(name) is not None]
    unit = unit_of(quantity)
    if unit is None or quantity not in offered:
        what = "has none to watch" if not offered else f"expected one of {', '.join(offered)}"
        raise MliuqError(f"quantity is {quantity!r}, {what} (calculator {type(atoms.calc).__name__})")
    return unit


def read(atoms: Atoms, quantity: str) -> Reading:
    """Evaluate `quantity` for `atoms` by their calculator.

    Raises
    ------
    MliuqError
        For a quantity that is none to watch or that the calculator does not have, and from the calculator.
    """
    unit = check_quantity(atoms, quantity)
    values = np.asarray(atoms.calc.get_property(quantity, atoms), dtype=float)
    kind = quantity.partition("_")[0]
    if kind in ("energy", "stress"):
        values = np.atleast_1d(values)
        i = int(_rank(np.abs(values)).argmax())
        where = f"component {_VOIGT[i]}" if kind == "stress" else "the cell"
        return Reading(quantity, unit, _finite(values, float(abs(values[i]))), where, None, None)
    per_atom = np.linalg.norm(values, axis=1) if kind == "forces" else values
    i = int(_rank(per_atom).argmax())
    where = f"atom {i} ({atoms.symbols[i]})"
    return Reading(quantity, unit, _finite(per_atom, float(per_atom[i])), where, i, per_atom)


def unit_of(quantity: str) -> str | None:
    """The unit of a quantity to watch, empty where it has none; None for what is no such quantity."""
    if quantity in _WITHOUT_UNIT:
        return ""
    match = _BAR.fullmatch(quantity)
    return None if match is None else _UNIT[match[1]]


def _rank(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.inf)


def _finite(values: Array, largest: float) -> float:
    return largest if np.all(np.isfinite(values)) else np.nan
