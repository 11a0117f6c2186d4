"""What a criterion of selection answers to, and the three that need no metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
from ase import Atoms
from scipy.linalg import norm

from mliuq.descriptor.neighbours import pack
from mliuq.errors import MliuqError
from mliuq.learning.label_rows import rows_of_atoms
from mliuq.model import Model
from mliuq.model.novelty import grade
from mliuq.posterior.extrapolation import ActiveSet
from mliuq.regression.rows import Floats, Ints

T = TypeVar("T")


class Criterion(ABC, Generic[T]):
    """Scores structures, given what has been taken before.

    `prepare` does what does not depend on what has been taken: the greater part of the work, kept where it is needed
    again.
    """

    unit = ""
    #: What another structure takes away from a score is never given back: a score seen once is a bound for ever.
    falls = True
    #: Structures best by themselves are alike: candidates are drawn evenly where the pool holds more.
    drawn = False

    @abstractmethod
    def prepare(self, structures: Sequence[Atoms], indices: Sequence[int]) -> list[T]:
        """Return what scores of these structures of the pool are made of."""

    @abstractmethod
    def score(self, prepared: T) -> float:
        """Return the score: the largest is taken."""

    def take(self, prepared: T) -> None:
        """Go on as if this structure were labelled."""

    @abstractmethod
    def explain(self, atoms: Atoms, prepared: T, score: float) -> tuple[int | None, str]:
        """Return the atom (counted from 0) that most speaks for taking a structure, if one does, and why in words."""


class ForcesErr(Criterion[Floats]):
    """The largest predicted error of a force, root of the sum of squares of the three components."""

    unit = "eV/Å"

    def __init__(self, model: Model, threads: int = 0) -> None:
        if not model.n_members:
            raise MliuqError("the model has no members, and so no forces_err: expected one fitted with members")
        self._model, self._threads = model, threads
        self._potential = model.evaluator

    def prepare(self, structures: Sequence[Atoms], indices: Sequence[int]) -> list[Floats]:
        """Return the predicted error of every atom's force, eV/Å."""
        scale = self._model.error_scale
        found = []
        for atoms in structures:
            structure = pack(atoms, self._model.params, self._potential.cutoff)
            std = self._potential.row_spreads(structure, {"forces_std"}, threads=self._threads)["forces_std"]
            found.append(np.asarray(norm(np.hypot(scale.alpha_force * std, scale.noise_force), axis=1)))
        return found

    def score(self, prepared: Floats) -> float:
        """Return the largest of all atoms."""
        return float(prepared.max())

    def explain(self, atoms: Atoms, prepared: Floats, score: float) -> tuple[int | None, str]:
        """See `Criterion.explain`."""
        atom = int(prepared.argmax())
        return atom, f"force of atom {atom} is known to ± {score:.3g} eV/Å"


class MaxVol(Criterion[tuple[Floats, Ints]]):
    """The grade γ of the atom farthest outside the active set of its element: by so much its volume would grow."""

    falls = False

    def __init__(self, model: Model) -> None:
        active = model.arrays.get("extrapolation.active_set")
        if active is None:
            raise MliuqError(
                'the model does not carry the active sets of its atoms (array "extrapolation.active_set"): expected '
                "one fitted with posterior.extrapolation = true"
            )
        self._params = model.params
        self._sets = [ActiveSet(len(rows), rows=rows) for rows in active]

    def prepare(self, structures: Sequence[Atoms], indices: Sequence[int]) -> list[tuple[Floats, Ints]]:
        """Return the rows of all atoms, and their elements."""
        return [rows_of_atoms(atoms, self._params) for atoms in structures]

    def score(self, prepared: tuple[Floats, Ints]) -> float:
        """Return the largest γ."""
        return float(self._grades(*prepared).max())

    def take(self, prepared: tuple[Floats, Ints]) -> None:
        """Let atoms into the active sets."""
        d, element = prepared
        for index, active in enumerate(self._sets):
            active.update(d[element == index])

    def explain(self, atoms: Atoms, prepared: tuple[Floats, Ints], score: float) -> tuple[int | None, str]:
        """See `Criterion.explain`."""
        atom = int(self._grades(*prepared).argmax())
        return atom, f"grade {score:.3g} of atom {atom}" + (" (nothing left above 1)" if score <= 1.0 else "")

    def _grades(self, d: Floats, element: Ints) -> Floats:
        grades = np.empty(len(d))
        for index in np.unique(element):
            grades[element == index] = grade(d[element == index], self._sets[index].rows)
        return grades


class Random(Criterion[float]):
    """A draw, as a control: what is not better than this is not worth its trouble."""

    def __init__(self, n: int, seed: int) -> None:
        self._draw = np.random.default_rng(seed).random(n)

    def prepare(self, structures: Sequence[Atoms], indices: Sequence[int]) -> list[float]:
        """Return the numbers drawn for these places in the pool."""
        return [float(self._draw[index]) for index in indices]

    def score(self, prepared: float) -> float:
        """Return the number drawn."""
        return prepared

    def explain(self, atoms: Atoms, prepared: float, score: float) -> tuple[int | None, str]:
        """See `Criterion.explain`."""
        return None, "drawn at random"
