"""The `[data]` table of a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mliuq.errors import MliuqError, in_range
from mliuq.readers.dialect import Dialect, EnergyUnit, LengthUnit
from mliuq.readers.keys import Keys
from mliuq.readers.units import StressSign, StressUnit
from mliuq.reference import ReferencePotential
from mliuq.reference.lammps_text import commands
from mliuq.reference.potential import is_code
from mliuq.toml import from_mapping, to_mapping

#: What a model keeps for later commands: how values are called and written, which belongs to a family of data sets.
_KEPT = ("energy_key", "forces_key", "stress_key", "group_key", "stress_unit", "stress_sign", "reference")


@dataclass(frozen=True)
class DataSettings:
    """Where the data is and what its values are called.

    Attributes
    ----------
    train, test : files and folders; without `test`, a fraction of the training configurations is held out
    represent : files and folders with structures, without values, that the training configurations stand for: the pool
        that they were chosen from; weights are multiplied by how many each stands for
    test_fraction : share of configurations held out when `test` is empty, drawn by the seed
    energy_key, forces_key, stress_key, group_key : names of the values in the files
    stress_unit, stress_sign : unit of the stress and what is positive, where the file's format does not say
    types, length_unit, energy_unit : elements of atom types and units, where the format leaves them out (`Dialect`)
    reference : potential that is taken off the values before the fit and added to the model after it: `module:name` of
        an ASE calculator, or LAMMPS commands (`mliuq.reference`)
    skip_missing : fit what there is of configurations without energy, forces or stress, instead of stopping
    """

    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    represent: tuple[str, ...] = ()
    test_fraction: float = 0.1
    energy_key: str = "energy"
    forces_key: str = "forces"
    stress_key: str = "stress"
    group_key: str = "config_type"
    stress_unit: StressUnit = "eV/A3"
    stress_sign: StressSign = "tension"
    types: tuple[str, ...] = ()
    length_unit: LengthUnit | None = None
    energy_unit: EnergyUnit | None = None
    reference: str = ""
    skip_missing: bool = False

    @classmethod
    def of_fit(cls, metadata: Mapping[str, Any]) -> DataSettings:
        """The names and units that the fit of a model was told, from the metadata of its file; defaults without.

        Raises
        ------
        MliuqError
            for a value that cannot be one.
        """
        table: Any = metadata
        for key in ("fit", "settings", "data"):
            table = table.get(key) if isinstance(table, Mapping) else None
        if not isinstance(table, Mapping):
            return cls()
        return from_mapping(cls, {key: table[key] for key in _KEPT if key in table}, "fit.settings.data of the model")

    def updated(self, changes: Mapping[str, Any]) -> DataSettings:
        """A copy with some values replaced, names and types checked."""
        settings = from_mapping(DataSettings, {**to_mapping(self), **changes}, "data")
        settings.validate()
        return settings

    @property
    def keys(self) -> Keys:
        """The names of the values."""
        return Keys(
            self.energy_key, self.forces_key, self.stress_key, self.group_key, self.stress_unit, self.stress_sign
        )

    @property
    def dialect(self) -> Dialect:
        """What the files' formats leave unsaid."""
        return Dialect(self.types, self.length_unit, self.energy_unit)

    def reference_potential(self, elements: Sequence[str]) -> ReferencePotential | None:
        """The reference potential for the elements of a model, None without."""
        return ReferencePotential(self.reference, elements) if self.reference else None

    def validate(self) -> None:
        """Refuse values out of range."""
        in_range("data.test_fraction", self.test_fraction, 0.0, 1.0, open_top=True)
        self.dialect.validate()
        if self.reference and not is_code(self.reference):
            commands(self.reference)
        for name in ("energy_key", "forces_key", "stress_key", "group_key"):
            if not getattr(self, name).strip():
                raise MliuqError(f"data.{name} is empty, expected a name")
