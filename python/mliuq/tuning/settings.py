"""What `mliuq tune` tries, and how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms

from mliuq.descriptor.reach import nearest_distance
from mliuq.errors import MliuqError, in_range

#: Cutoffs tried, in distances to the nearest neighbour (median of the data): from the first shell to beyond the third.
REACH = (1.4, 1.55, 1.7, 1.85, 2.0, 2.15, 2.3)


@dataclass(frozen=True)
class TuneSettings:
    """The space of candidates and the rules of the search.

    Attributes
    ----------
    twojmax : 2J of linear candidates
    quadratic : 2J of quadratic candidates
    rcut : LAMMPS's rcutfac (Å for elements of radius 0.5); 1.4 … 2.3 nearest-neighbour distances when empty
    elements : for several elements, radii and weights are tried too
    groups : weights of groups (`config_type`) are tried too, one after the other
    left_out : what a candidate has to predict: each configuration by the fit without it, or each class by the fit
        without the whole class
    budget : seconds after which no further trial begins; what has been judged best is chosen then
    max_cost : microseconds per atom and step that the choice may take, 0 for any
    """

    twojmax: tuple[int, ...] = (4, 6, 8)
    quadratic: tuple[int, ...] = (4, 6)
    rcut: tuple[float, ...] = ()
    elements: bool = True
    groups: bool = False
    left_out: Literal["configurations", "classes"] = "configurations"
    budget: float = 600.0
    max_cost: float = 0.0

    def validate(self) -> None:
        """Refuse values out of range."""
        if not self.twojmax and not self.quadratic:
            raise MliuqError("nothing to tune: expected 2J of linear or of quadratic candidates, found neither")
        for value in (*self.twojmax, *self.quadratic):
            in_range("2J", value, 1, 24)
        for cutoff in self.rcut:
            in_range("rcut", cutoff, 0.5, 100.0)
        in_range("budget", self.budget, 0.0, np.inf)
        in_range("max_cost", self.max_cost, 0.0, np.inf)
        if self.left_out not in ("configurations", "classes"):
            raise MliuqError(f"left_out is {self.left_out!r}, expected 'configurations' or 'classes'")

    def cutoffs(self, structures: Sequence[Atoms]) -> tuple[float, ...]:
        """Return the cutoffs to try on these structures, Å."""
        if self.rcut:
            return self.rcut
        nearest = nearest_distance(structures)
        return tuple(round(nearest * reach, 1) for reach in REACH)
