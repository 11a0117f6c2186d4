"""A user's own property: a function of a structure and a calculator."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from mliuq.errors import MliuqError
from mliuq.propagation.property import Found, ObjectProperty, describe_atoms
from mliuq.propagation.relax import RelaxationError, Relaxed, relax
from mliuq.propagation.results import Value
from mliuq.propagation.settings import PropagationSettings

Function = Callable[[Atoms, Calculator], Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Custom(ObjectProperty):
    """What ``function(atoms, calculator)`` returns: a dict of numbers, or of (number, unit).

    Attributes
    ----------
    structures : name → structure given to the function, with the calculator of each member attached
    function : ``module:function``, importable by every process that computes members
    relax : whether members relax the structure before: "cell" (atoms and cell), "atoms" or "none"
    """

    structures: Mapping[str, Atoms]
    function: str
    relax: Literal["cell", "atoms", "none"] = "cell"
    name: str = "custom"

    def __post_init__(self) -> None:
        if self.relax not in ("cell", "atoms", "none"):
            raise MliuqError(f"custom: relax is {self.relax!r}, expected cell, atoms or none")
        load(self.function)

    def objects(self) -> list[str]:
        """The structures."""
        return list(self.structures)

    def describe(self) -> dict[str, Any]:
        """Settings as plain data."""
        return {
            "structures": {name: describe_atoms(atoms) for name, atoms in self.structures.items()},
            "function": self.function,
            "relax": self.relax,
        }

    def one(self, name: str, calculator: Calculator, settings: PropagationSettings, before: Any) -> Found:
        """The function's numbers by one weight vector."""
        atoms = self.structures[name]
        at = before
        if self.relax != "none":
            at = relax(atoms, calculator, settings, cell="free" if self.relax == "cell" else "fixed", start=before)
            atoms = at.atoms
        given = atoms.copy()
        given.calc = calculator
        try:
            answer = load(self.function)(given, calculator)
        except Exception as error:  # the user's own code raises what it likes
            raise RelaxationError(f"{self.function} failed: {type(error).__name__}: {error}") from error
        values = {str(key): _value(self.function, str(key), value) for key, value in answer.items()}
        return Found(values, at if at is not None else Relaxed(atoms, np.nan), {})


def load(name: str) -> Function:
    """Import ``module:function``, the working directory included."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise MliuqError(f"function is {name!r}, expected module:function")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise MliuqError(f"function {name}: {error}") from error
    if not callable(function):
        raise MliuqError(f"function {name} is {type(function).__name__}, expected a function")
    return function  # type: ignore[no-any-return]


def _value(function: str, key: str, value: Any) -> Value:
    number, unit = value if isinstance(value, tuple) else (value, "")
    try:
        number = float(number)
    except (TypeError, ValueError):
        raise MliuqError(f"{function} returned {value!r} for {key}, expected a number or (number, unit)") from None
    if not np.isfinite(number):
        raise RelaxationError(f"{function} returned {number} for {key}")
    return Value(number, str(unit))
