"""Where a structure comes from, for messages that a user can follow to the place."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from ase import Atoms

_ATTRIBUTE = "_mliuq_origin"


@dataclass(frozen=True)
class Origin:
    """File (None: a list in memory) and index in it, from 0.

    `units_known`: the file's format says in which units and with which sign it holds a stress, and the reader has
    turned it into eV/Å³, tension positive.
    """

    path: str | None
    index: int
    units_known: bool = False


def with_origin(atoms: Atoms, origin: Origin) -> Atoms:
    """The same structure (arrays, info and calculator shared) that knows where it comes from."""
    known = copy.copy(atoms)
    setattr(known, _ATTRIBUTE, origin)
    return known


def numbered(structures: Iterable[Atoms]) -> list[Atoms]:
    """Structures that know their place: their origin where they have one, else their index here."""
    return [
        atoms if origin_of(atoms) else with_origin(atoms, Origin(None, index)) for index, atoms in enumerate(structures)
    ]


def origin_of(atoms: Atoms) -> Origin | None:
    """Where a structure comes from, None where nobody has said."""
    return cast("Origin | None", getattr(atoms, _ATTRIBUTE, None))


def describe(atoms: Atoms, index: int, group_key: str = "config_type") -> str:
    """How messages name a configuration: file, index from 0 (and as people count), group.

    `index` is what it is called by where it has no origin.
    """
    origin = origin_of(atoms) or Origin(None, index)
    group = atoms.info.get(group_key)
    place = f"the {_ordinal(origin.index + 1)}" + (f", {group}" if group is not None else "")
    file = f"{origin.path}: " if origin.path else ""
    return f"{file}configuration {origin.index} ({place})"


def _ordinal(n: int) -> str:
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
