"""Data less a reference potential: what is left for the fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.readers.keys import Keys, offered
from mliuq.readers.origin import Origin, describe, origin_of, with_origin
from mliuq.reference import ReferencePotential
from mliuq.regression.targets import target_of


def less_reference(
    structures: Sequence[Atoms], potential: ReferencePotential, keys: Keys, wanted: tuple[bool, bool, bool]
) -> list[Atoms]:
    """Structures whose wanted values, under the same names, lack what a potential gives; they carry no others.

    Raises
    ------
    MliuqError
        for a structure the potential cannot be evaluated for, or without a volume where there is a stress.
    """
    left = []
    for index, atoms in enumerate(structures):
        where = describe(atoms, index, keys.group)
        given = target_of(atoms, index, keys, wanted)
        try:
            own = potential.evaluate(atoms)
        except MliuqError as error:
            raise MliuqError(f"{where}: {error}") from error
        rest = atoms.copy()  # without its calculator
        others = [name for names in offered(atoms).values() for name in names]
        for key in (keys.energy, keys.forces, keys.stress, *others):
            rest.info.pop(key, None)
            rest.arrays.pop(key, None)
        if given.energy is not None:
            rest.info[keys.energy] = given.energy - own.energy
        if given.forces is not None:
            rest.arrays[keys.forces] = given.forces - own.forces
        if given.stress is not None:
            if own.stress is None:
                raise MliuqError(f"{where}: there is a stress, but the reference potential gives none")
            stress = given.stress - own.stress
            rest.info[keys.stress] = -atoms.get_volume() * stress if "virial" in keys.stress.lower() else stress
        origin = replace(origin_of(atoms) or Origin(None, index), units_known=True)
        left.append(with_origin(rest, origin))
    return left
