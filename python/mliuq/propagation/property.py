"""What a property is: something that one weight vector can measure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from mliuq.propagation.comparisons import rank_correlations
from mliuq.propagation.relax import RelaxationError, Relaxed, relax
from mliuq.propagation.results import Estimate, Line, Measurement, Value
from mliuq.propagation.settings import PropagationSettings


class Property(ABC):
    """A property: a small class that measures it with one calculator.

    `measure` relaxes and computes; ``start`` is what the best fit's `measure` returned, None for the best fit itself.
    What fails for one object (a phase, a surface) goes to ``failures``; an exception is taken as failure of all.
    """

    name: str

    @abstractmethod
    def measure(self, calculator: Calculator, settings: PropagationSettings, start: Measurement | None) -> Measurement:
        """The property by one weight vector."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Settings of the property as plain data; equal descriptions are the same calculation."""

    def compare(self, estimates: Sequence[Estimate]) -> dict[str, Any]:
        """What follows from the members' values of several objects together."""
        return {"spearman": rank_correlations(estimates)}


@dataclass(frozen=True, eq=False)
class Found:
    """What one weight vector says of one object.

    Attributes
    ----------
    values : quantity → value
    relaxed : what a member's computation of the same object starts from
    lines : curves; keys are appended to the object's name, "" for the only one
    undefined : quantity → why this weight vector has none
    """

    values: dict[str, Value]
    relaxed: Any
    lines: dict[str, Line]
    undefined: Mapping[str, str] = field(default_factory=dict)


class ObjectProperty(Property):
    """A property of several objects that have nothing to do with each other."""

    @abstractmethod
    def objects(self) -> Iterable[str]:
        """Their names."""

    @abstractmethod
    def one(self, name: str, calculator: Calculator, settings: PropagationSettings, before: Any) -> Found:
        """Measure one object; ``before`` is the best fit's ``relaxed``, None for the best fit.

        Raises
        ------
        RelaxationError
            When this weight vector has no value for it.
        """

    def measure(self, calculator: Calculator, settings: PropagationSettings, start: Measurement | None) -> Measurement:
        """All objects by one weight vector."""
        values: dict[tuple[str, str], Value] = {}
        lines: dict[str, Line] = {}
        structures: dict[str, Any] = {}
        failures: dict[str, str] = {}
        for name in self.objects():
            if start is not None and name not in start.structures:
                continue  # the best fit has failed already, and said so
            try:
                one = self.one(name, calculator, settings, None if start is None else start.structures[name])
            except RelaxationError as error:
                failures[name] = str(error)
                continue
            structures[name] = one.relaxed
            values |= {(name, quantity): value for quantity, value in one.values.items()}
            failures |= {f"{name} {quantity}": reason for quantity, reason in one.undefined.items()}
            lines |= {f"{name} {key}".strip(): line for key, line in one.lines.items()}
        return Measurement(values, lines, structures, failures)


def describe_atoms(atoms: Atoms) -> dict[str, Any]:
    """A structure as plain data."""
    return {
        "symbols": str(atoms.symbols),
        "cell": np.round(atoms.cell.array, 10).tolist(),
        "positions": np.round(atoms.positions, 10).tolist(),
    }


def relax_built(
    built: Atoms, calculator: Calculator, settings: PropagationSettings, before: tuple[Atoms, Relaxed] | None
) -> Relaxed:
    """Relax the atoms of a structure that was built on this weight vector's own lattice.

    Members start from the displacements that the best fit's atoms made; ``before`` is the best fit's structure as built
    and as relaxed.
    """
    if before is None:
        return relax(built, calculator, settings)
    guess = built.copy()
    moves = before[1].atoms.get_scaled_positions(wrap=False) - before[0].get_scaled_positions(wrap=False)
    guess.positions += moves @ built.cell.array
    return relax(guess, calculator, settings, start=before[1], guess=guess)
