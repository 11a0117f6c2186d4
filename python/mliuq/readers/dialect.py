"""What a file leaves unsaid and its reader must be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ase.data import atomic_numbers

from mliuq.errors import MliuqError

LengthUnit = Literal["angstrom", "bohr"]
EnergyUnit = Literal["eV", "hartree"]


@dataclass(frozen=True)
class Dialect:
    """What users say about files whose formats do not say it.

    Attributes
    ----------
    types : element of every atom type, for LAMMPS (type 1 first), MTP and deepmd (type 0 first)
    length_unit : of n2p2's files
    energy_unit : of n2p2's files; the partner of the length unit where it is None (eV and Å, hartree and bohr)
    """

    types: tuple[str, ...] = ()
    length_unit: LengthUnit | None = None
    energy_unit: EnergyUnit | None = None

    def validate(self) -> None:
        """Refuse what is no element."""
        for name in self.types:
            if name not in atomic_numbers or name == "X":
                raise MliuqError(f"types are {','.join(self.types)}: {name!r} is not an element")

    def elements(self, types: Sequence[int], first: int) -> list[str]:
        """Elements of atoms of these types, where the lowest type is called `first`.

        Raises
        ------
        MliuqError
            where there are more types than elements.
        """
        if not self.types:
            raise MliuqError("atoms have types but no elements: expected --types, such as --types W,Be")
        worst = max(types) - first
        if worst >= len(self.types) or min(types) < first:
            bad = max(types) if worst >= len(self.types) else min(types)
            raise MliuqError(
                f"an atom has type {bad}, but --types {','.join(self.types)} names {len(self.types)} types from {first}"
            )
        return [self.types[t - first] for t in types]
