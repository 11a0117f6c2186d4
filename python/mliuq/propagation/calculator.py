"""An ASE calculator of one weight vector: what a member's properties are computed with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from mliuq.core import Potential
from mliuq.descriptor.identity import identical
from mliuq.descriptor.neighbours import Neighbours
from mliuq.model import Model


def weights_of(model: Model, member: int | None = None) -> Model:
    """The model of one weight vector, best fit or member, without what its evaluation does not need."""
    theta = model.theta if member is None or model.members is None else model.members[member]
    return replace(model, theta=theta, members=None, arrays={}, metadata={})


class WeightsCalculator(Calculator):
    """Energy, forces and stress by the best-fit weights of a model, without spreads.

    Parameters
    ----------
    model : Model
        See `weights_of`.
    threads : int, optional
        OpenMP threads.
    skin : float
        Extra reach of the neighbour list, Å.
    members : ndarray of shape (M, n_elements, P), optional
        For the best fit under the implicit engine: the weights that relaxed structures must be able to follow.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012 - ASE's

    def __init__(
        self,
        model: Model,
        *,
        threads: int | None = None,
        skin: float = 0.5,
        members: NDArray[np.float64] | None = None,
    ) -> None:
        super().__init__()
        self.members = members
        self.model = model
        self._threads = threads or 0
        self._skin = skin
        self._neighbours: Neighbours | None = None

    def of(self, theta: NDArray[np.float64]) -> WeightsCalculator:
        """That of other weights."""
        return WeightsCalculator(replace(self.model, theta=theta), threads=self._threads, skin=self._skin)

    @cached_property
    def _potential(self) -> Potential:
        # Made when first asked for: members of the implicit engine never are.
        return self.model.potential()

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """What changed: nothing or anything."""
        return [] if self.atoms is not None and identical(self.atoms, atoms) else list(all_changes)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Evaluate; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        held = cast(Atoms, self.atoms)
        if self._neighbours is None or not self._neighbours.follow(held):
            self._neighbours = Neighbours(held, self.model.params, self._potential.cutoff, self._skin)
        structure = self._neighbours.structure
        raw: dict[str, Any] = self._potential.evaluate(structure, threads=self._threads)
        virial: NDArray[Any] = raw.pop("virial")
        if structure.volume > 0.0:
            raw["stress"] = -virial / structure.volume
        self.results = {**raw, "free_energy": raw["energy"]}
