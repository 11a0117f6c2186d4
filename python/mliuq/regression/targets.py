"""What a configuration is to be fitted to: reference energy, forces and stress taken from ASE structures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.descriptor.identity import identical
from mliuq.errors import MliuqError
from mliuq.readers.keys import Keys, advice, carried, methods, offered
from mliuq.readers.origin import describe, origin_of
from mliuq.readers.units import PRESSURE, VOIGT
from mliuq.regression.rows import KINDS, Floats

_MOVED = 1e-6  # Å; farther from where its result was computed, a structure has another result
_SAME_ENERGY = 1e-6  # eV
_SYMMETRIC = 1e-3  # of the largest component: what rounding leaves between σ_xy and σ_yx
_LARGEST = 1e20  # of a reference value, in any unit: squares and sums of squares stay finite
_SETTINGS = ("energy", "forces", "stress")  # what settings and options call KINDS


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

    @property
    def values(self) -> tuple[float | None, Floats | None, Floats | None]:
        """Energy, forces and stress."""
        return self.energy, self.forces, self.stress


def read_targets(
    structures: Sequence[Atoms],
    keys: Keys,
    wanted: tuple[bool, bool, bool] = (True, True, False),
    *,
    skip_missing: bool = False,
) -> list[Targets]:
    """Take reference values from structures.

    Parameters
    ----------
    structures : configurations
    keys : names of the values
    wanted : whether energies, forces and stresses are to be fitted
    skip_missing : fit what there is of a configuration that lacks some of the wanted values, instead of raising

    Raises
    ------
    MliuqError
        for no structures, missing, misshapen or non-finite values, non-finite positions, and results of other atoms;
        under `skip_missing`, when no structure has any value but some carry one of another name.
    """
    if not len(structures):
        raise MliuqError("the data set is empty: expected at least one configuration")
    targets = []
    for index, atoms in enumerate(structures):
        target = target_of(atoms, index, keys, wanted)
        if not skip_missing:
            for kind, name, want, value in zip(KINDS, _SETTINGS, wanted, target.values, strict=True):
                if want and value is None:
                    raise MliuqError(f"{describe(atoms, index, keys.group)} {_no_value(atoms, kind, name, keys)}")
        targets.append(target)
    absent = absence(structures, targets, keys, wanted)
    if absent and all(value is None for target in targets for value in target.values):
        raise MliuqError(f"no energies or forces to compare with: {'; '.join(absent)}")
    return targets


def target_of(atoms: Atoms, index: int, keys: Keys, wanted: tuple[bool, bool, bool] = (True, True, False)) -> Targets:
    """Reference values of one structure, None for what is not wanted or not there.

    A value is looked for in ``atoms.calc.results`` (where ASE's readers put `energy`, `forces` and `stress`), then in
    ``atoms.info`` and ``atoms.arrays``. Where there is no stress, `virial` or `virials` (eV; stress = −virial/V) of the
    same method stands in for it.
    """
    where = describe(atoms, index, keys.group)
    if not len(atoms):
        raise MliuqError(f"{where} has no atoms")
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise MliuqError(f"{where}: positions or cell are not finite")
    energy = _checked(atoms, keys.energy, "energy", where) if wanted[0] else None
    forces = _checked(atoms, keys.forces, "force", where) if wanted[1] else None
    stress = _stress(atoms, keys, where) if wanted[2] else None
    return Targets(None if energy is None else float(energy), forces, stress)


def absence(
    structures: Sequence[Atoms], targets: Sequence[Targets], keys: Keys, wanted: tuple[bool, bool, bool]
) -> list[str]:
    """Kinds of values that no structure has under its name although one carries another name; with what helps."""
    messages = []
    for kind, (name, want) in enumerate(zip(_SETTINGS, wanted, strict=True)):
        if want and all(target.values[kind] is None for target in targets):
            offers = next((found[name] for found in map(offered, structures) if name in found), None)
            if offers:
                key = getattr(keys, name)
                messages.append(f"no structure has {_named(KINDS[kind])} under {key!r}; {advice({name: offers})}")
    return messages


def _no_value(atoms: Atoms, kind: str, name: str, keys: Keys) -> str:
    """Say what is missing, what is there and what helps."""
    key = getattr(keys, name)
    help_ = advice({n: names for n, names in offered(atoms).items() if getattr(keys, n) not in names})
    help_ = help_ or f"it carries {', '.join(carried(atoms)) or 'nothing'}: give the right --{name}-key"
    return (
        f"has no {kind} under the key {key!r}; {help_}; or fit without: --{kind}-weight 0, or "
        "--set data.skip_missing=true to fit what there is"
    )


def _named(kind: str) -> str:
    return {"energy": "an energy", "force": "forces", "stress": "a stress"}[kind]


def _places(atoms: Atoms, key: str) -> dict[str, Any]:
    """Where a structure carries values under a key, the one that counts first."""
    results = atoms.calc.results if atoms.calc is not None else {}
    places = {"calc.results": results, "info": atoms.info, "arrays": atoms.arrays}
    return {name: place[key] for name, place in places.items() if place.get(key) is not None}


def _find(atoms: Atoms, key: str, where: str) -> Any:
    """The value under a key; an error where it is the result of another structure."""
    found = _places(atoms, key)
    if "calc.results" in found:
        _refuse_results_of_others(atoms, key, where)
    return next(iter(found.values()), None)


def _refuse_results_of_others(atoms: Atoms, key: str, where: str) -> None:
    """A calculator shared by several structures holds the result of the last one; moved atoms have no result yet."""
    check = getattr(atoms.calc, "check_state", None)
    held = getattr(atoms.calc, "atoms", None)
    if check is None or held is None or identical(atoms, held):  # as after every reading
        return
    changed = [c for c in check(atoms, tol=_MOVED) if c in ("positions", "numbers", "cell", "pbc")]
    if changed:
        raise MliuqError(
            f"{where}: its {key} was computed at other {' and '.join(changed)} (a calculator shared by several "
            "structures, or atoms moved since): compute it anew, one calculator for each structure, or keep each "
            "result by atoms.calc = SinglePointCalculator(atoms, energy=..., forces=...)"
        )


def _checked(atoms: Atoms, key: str, kind: str, where: str) -> Floats | None:
    value = _find(atoms, key, where)
    if value is None:
        return None
    where = f"{where}: {key!r}"
    try:
        numbers = np.asarray(value, dtype=np.float64)
        if np.asarray(value).dtype == np.bool_:  # `energy` or `energy=T` in the comment line
            raise TypeError
    except (TypeError, ValueError):
        raise MliuqError(f"{where} is not a number: {value!r:.200}") from None
    if kind == "energy" and numbers.shape == (1,):
        numbers = numbers[0]
    if kind == "stress" and numbers.size == 9:
        full = numbers.reshape(3, 3)
        if not np.allclose(full, full.T, rtol=1e-4, atol=max(1e-8, _SYMMETRIC * float(np.abs(full).max()))):
            raise MliuqError(f"{where} is not symmetric")
        numbers = 0.5 * (full + full.T)[VOIGT]
    expected = {"energy": (), "force": (len(atoms), 3), "stress": (6,)}[kind]
    if np.shape(numbers) != expected:
        raise MliuqError(f"{where} has shape {np.shape(numbers)}, expected {expected}")
    if not np.isfinite(numbers).all():
        raise MliuqError(f"{where} is not finite")
    if numbers.size and not np.abs(numbers).max() <= _LARGEST:
        raise MliuqError(f"{where} holds {np.abs(numbers).max():.6g}, expected numbers of at most {_LARGEST:g}")
    return np.asarray(numbers)


def _stress(atoms: Atoms, keys: Keys, where: str) -> Floats | None:
    """Stress in eV/Å³, tension positive, from what the keys name or from the virial of the same method."""
    if "virial" in keys.stress.lower():
        return _from_virial(atoms, keys.stress, where)
    stress = _checked(atoms, keys.stress, "stress", where)
    if stress is None:
        return next((s for s in (_from_virial(atoms, key, where) for key in _virials(keys)) if s is not None), None)
    origin = origin_of(atoms)
    if origin is not None and origin.units_known:
        return stress
    return stress * PRESSURE[keys.stress_unit] * (1.0 if keys.stress_sign == "tension" else -1.0)


def _from_virial(atoms: Atoms, key: str, where: str) -> Floats | None:
    virial = _checked(atoms, key, "stress", where)
    if virial is None:
        return None
    if not atoms.cell.rank == 3:
        raise MliuqError(f"{where}: {key!r} cannot be a stress without a cell that has a volume")
    return np.asarray(-virial / atoms.get_volume())


def _virials(keys: Keys) -> list[str]:
    """What the virial that belongs to a stress is called: REF_virial, REF_virials for REF_stress."""
    if "stress" not in keys.stress.lower():
        return []
    return [re.sub("stress", word, keys.stress, flags=re.IGNORECASE) for word in ("virial", "virials")]


def doubts(structures: Sequence[Atoms], keys: Keys, wanted: tuple[bool, bool, bool]) -> list[str]:
    """Say what a user should look at: values under other names only, of two methods, a virial beside another stress."""
    checks = [_other_value, *([_other_method] if keys.energy == Keys.energy else [])]
    checks += [_other_virial] if wanted[2] else []
    targets, found = [], [""] * len(checks)
    for index, atoms in enumerate(structures):
        targets.append(target_of(atoms, index, keys, wanted))
        where = describe(atoms, index, keys.group)
        found = [message or check(atoms, keys, where) for message, check in zip(found, checks, strict=True)]
    return [*absence(structures, targets, keys, wanted), *filter(None, found)]


def _other_value(atoms: Atoms, keys: Keys, where: str) -> str:
    for key in (keys.energy, keys.forces):
        (first, value), *others = _places(atoms, key).items() or [("", None)]
        for place, other in others:
            try:
                one, two = (np.asarray(v, dtype=np.float64).ravel() for v in (value, other))
                same = one.shape == two.shape and np.allclose(one, two, rtol=1e-8, atol=_SAME_ENERGY)
            except (TypeError, ValueError):
                same = False
            if not same:
                return (
                    f"{where} carries two different {key!r}: that in atoms.{first} is taken, not that in atoms.{place}"
                )
    return ""


def _other_method(atoms: Atoms, keys: Keys, where: str) -> str:
    for prefix in methods(atoms):
        own, name = _find(atoms, keys.energy, where), f"{prefix}_energy"
        other = _find(atoms, name, where)
        if own is not None and np.size(other) == 1 and abs(float(np.squeeze(other)) - float(own)) > _SAME_ENERGY:
            return (
                f"{where} carries values of two methods: {keys.energy!r} is taken, not {name!r} "
                f"(--keys {prefix} takes those)"
            )
    return ""


def _other_virial(atoms: Atoms, keys: Keys, where: str) -> str:
    stress = _stress(atoms, keys, where)
    for key in _virials(keys):
        virial = _from_virial(atoms, key, where)
        if stress is None or virial is None:
            continue
        size = max(float(np.abs(virial).max()), float(np.abs(stress).max()))
        if np.abs(virial - stress).max() > 0.01 * size + 1e-6:
            factor = float(stress @ virial) / max(float(virial @ virial), 1e-300)
            return (
                f"{where}: {keys.stress!r} is {factor:.4g} times what {key!r} says (stress = -virial/V): see to "
                f"--stress-unit and --stress-sign, or take the virial by --stress-key {key}"
            )
    return ""
