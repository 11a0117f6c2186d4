"""What every propagated property has in common: members, relaxation, what counts as failed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from mliuq.errors import MliuqError, in_range

Engine = Literal["resampling", "implicit", "both"]
Relaxer = Literal["ase", "lammps"]


@dataclass(frozen=True)
class PropagationSettings:
    """How members are chosen, relaxed and judged.

    Attributes
    ----------
    members : number of members; all of the model's when absent, else a seeded choice without repetition
    seed : of that choice
    engine : resampling (every member relaxes again, from the best fit's structure), implicit (derivatives of the best
        fit's relaxed structures, no relaxation) or both (resampling, and how well implicit agrees)
    corrections : steps of each member, at most, from the structure that the implicit engine predicts, one evaluation
        each: for members so far from the best fit that second order is not enough (0: second order alone, the fastest
        by far in large cells). A member that they do not bring near its minimum relaxes as by resampling
    relaxer : ase (optimisers of ASE) or lammps (its minimiser and ``fix box/relax``; what it leaves above ``fmax``,
        cells at constant volume and constrained atoms are ASE's)
    fmax : largest force on an atom of a relaxed structure, eV/Å; of the cell, strain derivative of the energy per atom
        divided by 1 Å
    steps : of a relaxation, beyond which it has not converged
    max_failed : share of failed members beyond which an estimate has no number but a reason
    max_strain : largest entry of the logarithmic strain between a member's relaxed cell and the best fit's; beyond it
        the member has left the basin
    max_displacement : the same for atoms after strain, in units of the shortest distance of the best fit's structure
    min_distance : a member's shortest distance in the same units, below which it has collapsed
    """

    members: int | None = None
    seed: int = 0
    engine: Engine = "resampling"
    corrections: int = 6
    relaxer: Relaxer = "ase"
    fmax: float = 1e-4
    steps: int = 300
    max_failed: float = 0.1
    max_strain: float = 0.2
    max_displacement: float = 0.5
    min_distance: float = 0.6

    def __post_init__(self) -> None:
        if self.members is not None:
            in_range("members", self.members, 1, np.inf)
        if self.engine not in get_args(Engine):
            raise MliuqError(f"engine is {self.engine!r}, expected one of {', '.join(get_args(Engine))}")
        if self.relaxer not in get_args(Relaxer):
            raise MliuqError(f"relaxer is {self.relaxer!r}, expected one of {', '.join(get_args(Relaxer))}")
        in_range("seed", self.seed, 0, 2**53)
        in_range("corrections", self.corrections, 0, np.inf)
        in_range("fmax", self.fmax, 1e-10, 1.0)
        in_range("steps", self.steps, 1, np.inf)
        in_range("max_failed", self.max_failed, 0.0, 1.0)
        for key in ("max_strain", "max_displacement", "min_distance"):
            in_range(key, getattr(self, key), 0.0, np.inf)

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for files."""
        return asdict(self)

    def of_one_member(self) -> dict[str, Any]:
        """What the values of one member depend on."""
        whole = ("members", "seed", "max_failed")
        return {key: value for key, value in asdict(self).items() if key not in whole}

    def choose(self, available: int) -> list[int]:
        """Indices of the members to use, ascending.

        Raises
        ------
        MliuqError
            When the model has none, or fewer than asked for.
        """
        if available == 0:
            raise MliuqError("the model has no members, expected a model with a posterior: nothing to propagate")
        if self.members is None or self.members == available:
            return list(range(available))
        if self.members > available:
            raise MliuqError(f"members is {self.members}, expected at most the model's {available}")
        chosen = np.random.default_rng(self.seed).choice(available, self.members, replace=False)
        return sorted(int(m) for m in chosen)
