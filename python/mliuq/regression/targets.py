"""What a configuration is to be fitted to: reference energy, forces and stress taken from ASE structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.readers.keys import Keys
from mliuq.regression.rows import KINDS, Floats


@dataclass(frozen=True)
class Targets:
    """Reference values of one configuration; None where there are none.

    Attributes
    ----------
    energy : total energy, eV
    forces : (n_atoms, 3), eV/Å
    stress : (6,) Voigt xx yy zz yz xz xy, eV/Å^3, tension positive
    """

    energy: float | None
    forces: Floats | None
    stress: Floats | None


def read_targets(
    structures: Sequence[Atoms],
    keys: Keys,
    wanted: tuple[bool, bool, bool] = (True, True, False),
    *,
    skip_missing: bool = False,
) -> list[Targets]:
    """Take reference values from structures.

    A value is looked for in ``atoms.calc.results`` (where ASE's readers put `energy`, `forces` and `stress`), then in
    ``atoms.info`` and ``atoms.arrays``.

    Parameters
    ----------
    structures : configurations
    keys : names of the values
    wanted : whether energies, forces and stresses are to be fitted
    skip_missing : fit what there is of a configuration that lacks some of the wanted values, instead of raising

    Raises
    ------
    MliuqError
        for no structures, missing, misshapen or non-finite values and non-finite positions.
    """
    if not len(structures):
        raise MliuqError("the data set is empty: expected at least one configuration")
    targets = []
    for index, atoms in enumerate(structures):
        where = describe(atoms, index, keys.group)
        if not len(atoms):
            raise MliuqError(f"{where} has no atoms")
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
            raise MliuqError(f"{where}: positions or cell are not finite")
        values: list[Any] = []
        for kind, key, want in zip(KINDS, (keys.energy, keys.forces, keys.stress), wanted, strict=True):
            value = _find(atoms, key) if want else None
            if want and value is None and not skip_missing:
                raise MliuqError(
                    f"{where} has no {kind} under the key {key!r}; it carries {_carried(atoms)}. Give the right key, "
                    f"set the {kind} weight to zero, or allow missing values"
                )
            values.append(None if value is None else _checked(value, kind, len(atoms), f"{where}: {key!r}"))
        energy, forces, stress = values
        targets.append(Targets(None if energy is None else float(energy), forces, stress))
    return targets


def describe(atoms: Atoms, index: int, group_key: str = "config_type") -> str:
    """Return how messages name a configuration."""
    group = atoms.info.get(group_key)
    return f"configuration {index}" + (f" ({group})" if group is not None else "")


def _find(atoms: Atoms, key: str) -> Any:
    results = atoms.calc.results if atoms.calc is not None else {}
    for place in (results, atoms.info, atoms.arrays):
        if place.get(key) is not None:
            return place[key]
    return None


def _checked(value: Any, kind: str, n_atoms: int, where: str) -> Floats:
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise MliuqError(f"{where} is not a number: {value!r}") from None
    if kind == "stress" and numbers.size == 9:
        full = numbers.reshape(3, 3)
        if not np.allclose(full, full.T, rtol=1e-4, atol=1e-8):
            raise MliuqError(f"{where} is not symmetric")
        numbers = full[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)]
    expected = {"energy": (), "force": (n_atoms, 3), "stress": (6,)}[kind]
    if numbers.shape != expected:
        raise MliuqError(f"{where} has shape {numbers.shape}, expected {expected}")
    if not np.isfinite(numbers).all():
        raise MliuqError(f"{where} is not finite")
    return numbers


def _carried(atoms: Atoms) -> str:
    results = atoms.calc.results if atoms.calc is not None else {}
    names = sorted({*results, *atoms.info, *atoms.arrays} - {"numbers", "positions"})
    return ", ".join(names) if names else "nothing"
