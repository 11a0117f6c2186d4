"""Weights of squared residuals.

The weight of a row starts from the constant of its kind, or from the near-equilibrium factor, which stands in place of
the constants of energies and forces.  The table entry of its configuration's group replaces the constant (and
multiplies the factor); the configuration's own column multiplies.  FitSNAP's weights multiply rows, so theirs are the
square roots of ours.

A constant may be left to the data ("auto"): it is 1 in the weights made here, and `mliuq.regression.balance` finds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from ase import Atoms

from mliuq.errors import MliuqError, in_range
from mliuq.readers.keys import Keys
from mliuq.readers.origin import describe
from mliuq.regression.rows import ENERGY, FORCE, KINDS, STRESS, Floats
from mliuq.regression.targets import Targets

Constant = float | Literal["auto"]

LARGEST = 1e50
"""Of weights: squares and products of them stay finite."""


@dataclass(frozen=True)
class GroupWeights:
    """Weights of one group of configurations; None leaves the general constant."""

    energy: float | None = None
    force: float | None = None
    stress: float | None = None


@dataclass(frozen=True)
class NearEquilibrium:
    """Weighting towards what matters near equilibrium: exp(−(E − E_min)/a) per energy, exp(−|F_i|/b) per atom's force.

    a and b are the scales of Perez et al., npj Comput. Mater. 11, 263 (2025): E is the energy per atom, E_min the
    lowest of the data set.  Energy and force weights are then scaled so that the two kinds have equal sums, a force
    component weighing one on average; the constants `energy` and `force` say no more than whether to fit them at all.
    """

    energy_scale: float = 2.0
    force_scale: float = 50.0


@dataclass(frozen=True)
class WeightSettings:
    """How much each row counts.

    Attributes
    ----------
    energy, force, stress : constants, per squared eV/atom, eV/Å and eV/Å^3; rows of weight zero are not made.  "auto":
        chosen by left-out errors (not under the near-equilibrium weighting, which has a balance of its own)
    groups : weights by group (`config_type`)
    columns : info keys holding weights of a configuration, by kind (``{"energy": "fitsnap_eweight"}``)
    columns_multiply_rows : the columns hold FitSNAP's weights, which multiply rows and are squared here
    near_equilibrium : the paper's weighting
    """

    energy: Constant = "auto"
    force: Constant = 1.0
    stress: Constant = 0.0
    groups: Mapping[str, GroupWeights] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    columns_multiply_rows: bool = False
    near_equilibrium: NearEquilibrium | None = None

    def wanted(self) -> tuple[bool, bool, bool]:
        """Return which kinds of rows are needed at all."""
        return (
            any(self._constant(g, ENERGY) > 0.0 for g in (None, *self.groups)),
            any(self._constant(g, FORCE) > 0.0 for g in (None, *self.groups)),
            any(self._constant(g, STRESS) > 0.0 for g in (None, *self.groups)),
        )

    def validate(self) -> None:
        """Refuse weights out of range, unknown kinds of rows, and all weights zero."""
        for group in (None, *self.groups):
            for kind, name in enumerate(KINDS):
                value = self._constant(group, kind)
                in_range(f"{name} weight" + (f" of group {group!r}" if group is not None else ""), value, 0.0, LARGEST)
        if unknown := set(self.columns) - set(KINDS):
            raise MliuqError(f"weight column for {sorted(unknown)[0]!r}, expected one of {', '.join(KINDS)}")
        if (near := self.near_equilibrium) and not all(
            0.0 < scale <= LARGEST for scale in (near.energy_scale, near.force_scale)
        ):
            raise MliuqError(f"near-equilibrium scales are {near}, expected numbers above zero, at most {LARGEST:g}")
        if not any(self.wanted()):
            raise MliuqError("energy, force and stress weights are all zero: nothing to fit")

    def _constant(self, group: str | None, kind: int) -> float:
        name = KINDS[kind]
        own = getattr(self.groups.get(group or ""), name, None) if group is not None else None
        value = getattr(self, name) if own is None else own
        return 1.0 if value == "auto" else float(value)

    def _is_free(self, group: str | None, kind: int) -> bool:
        """Whether the data are to choose the constant of a kind of rows in a group."""
        own = None if group is None else getattr(self.groups.get(group), KINDS[kind], None)
        balanced = self.near_equilibrium is not None and kind != STRESS
        return own is None and getattr(self, KINDS[kind]) == "auto" and not balanced

    def _factor(self, group: str | None, kind: int) -> float:
        """Return the constant, or what multiplies the near-equilibrium factor in its place."""
        value = self._constant(group, kind)
        own = group is not None and getattr(self.groups.get(group), KINDS[kind], None) is not None
        return 1.0 if self.near_equilibrium and kind != STRESS and value > 0.0 and not own else value


def row_weights(
    structures: Sequence[Atoms], targets: Sequence[Targets], settings: WeightSettings, keys: Keys
) -> list[tuple[float, Floats, float]]:
    """Return (energy weight, weight of each atom's force components (n_atoms,), stress weight) of every configuration.

    Raises
    ------
    MliuqError
        for settings out of range, a group in the table that no configuration belongs to, or a bad or missing column.
    """
    settings.validate()
    groups = [_group(atoms, keys) for atoms in structures]
    if missing := set(settings.groups) - set(groups):
        known = ", ".join(sorted({g for g in groups if g is not None})) or "none"
        raise MliuqError(f"weights are given for group {sorted(missing)[0]!r}, but the data has these groups: {known}")
    energy, force = _near_equilibrium(targets, structures, settings.near_equilibrium)
    weights = []
    for index, (atoms, group) in enumerate(zip(structures, groups, strict=True)):
        e, f, s = (
            settings._factor(group, kind) * _column(atoms, KINDS[kind], settings, describe(atoms, index, keys.group))
            for kind in (ENERGY, FORCE, STRESS)
        )
        weights.append((e * energy[index], f * force[index], s))
    return weights


def row_constants(structures: Sequence[Atoms], settings: WeightSettings, keys: Keys) -> Floats:
    """Return the constants in the weights of every configuration's energy, forces and stress (n, 3); NaN: auto."""
    kinds = (ENERGY, FORCE, STRESS)
    by_group = {
        group: [np.nan if settings._is_free(group, kind) else settings._factor(group, kind) for kind in kinds]
        for group in {_group(atoms, keys) for atoms in structures}
    }
    return np.array([by_group[_group(atoms, keys)] for atoms in structures]).reshape(-1, len(kinds))


def _near_equilibrium(
    targets: Sequence[Targets], structures: Sequence[Atoms], settings: NearEquilibrium | None
) -> tuple[Floats, list[Floats]]:
    if settings is None:
        return np.ones(len(targets)), [np.ones(len(atoms)) for atoms in structures]
    per_atom = np.array(
        [np.nan if t.energy is None else t.energy / len(a) for t, a in zip(targets, structures, strict=True)]
    )
    with np.errstate(invalid="ignore"):
        energy = np.exp(-(per_atom - np.nanmin(per_atom)) / settings.energy_scale)
    energy = np.where(np.isnan(energy), 0.0, energy)
    force = [
        np.zeros(len(a)) if t.forces is None else np.exp(-np.linalg.norm(t.forces, axis=1) / settings.force_scale)
        for t, a in zip(targets, structures, strict=True)
    ]
    components = 3.0 * sum(len(f) for t, f in zip(targets, force, strict=True) if t.forces is not None)
    force_sum, energy_sum = 3.0 * sum(float(f.sum()) for f in force), float(energy.sum())
    if force_sum > 0.0 and energy_sum > 0.0:
        return energy * components / energy_sum, [f * components / force_sum for f in force]
    return energy, force


def _group(atoms: Atoms, keys: Keys) -> str | None:
    group = atoms.info.get(keys.group)
    return None if group is None else str(group)


def _column(atoms: Atoms, kind: str, settings: WeightSettings, where: str) -> float:
    key = settings.columns.get(kind)
    if not key:
        return 1.0
    value: Any = atoms.info.get(key)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise MliuqError(f"{where}: {kind} weight column {key!r} holds {value!r}, expected a number") from None
    in_range(f"{where}: {kind} weight column {key!r}", number, 0.0, LARGEST)
    return number**2 if settings.columns_multiply_rows else number
