"""Everything that decides a fit, in one validated value: a TOML file, flags, or both.

    [data]       train, test, test_fraction, energy_key …        `DataSettings`
    [snap]       twojmax, rcut, quadratic, zbl …                 `SnapSettings`
    [weights]    energy, force, stress, groups, columns …        `WeightSettings`
    [solver]     ridge, one_body, rows, cache, threads …         `SolverSettings`
    [posterior]  kind, members, sampler …                        `PosteriorSettings`
    seed

Unknown keys are refused.  `FitSettings().to_toml()` is the commented-by-its-names full set of defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mliuq.descriptor.settings import SnapSettings
from mliuq.errors import in_range
from mliuq.posterior.settings import PosteriorSettings
from mliuq.readers.settings import DataSettings
from mliuq.regression.settings import SolverSettings
from mliuq.regression.weights import WeightSettings
from mliuq.toml import from_mapping, read_toml, to_mapping, write_toml


@dataclass(frozen=True)
class FitSettings:
    """All settings of a fit."""

    data: DataSettings = field(default_factory=DataSettings)
    snap: SnapSettings = field(default_factory=SnapSettings)
    weights: WeightSettings = field(default_factory=WeightSettings)
    solver: SolverSettings = field(default_factory=SolverSettings)
    posterior: PosteriorSettings = field(default_factory=PosteriorSettings)
    seed: int = 0

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "settings") -> FitSettings:
        """Build and validate settings from nested tables; unknown keys and wrong types are errors."""
        settings = from_mapping(cls, values, where)
        settings.validate()
        return settings

    @classmethod
    def from_toml(cls, path: str | Path) -> FitSettings:
        """Read a TOML file; relative paths in it are taken from the file's folder.

        Raises
        ------
        MliuqError
            naming file and key.
        """
        path = Path(path)
        values = read_toml(path)
        data = values.get("data")
        if isinstance(data, dict):
            for key in ("train", "test", "represent"):
                if isinstance(data.get(key), list):
                    data[key] = [str(path.parent / p) if isinstance(p, str) else p for p in data[key]]
        return cls.from_mapping(values, str(path))

    def updated(self, changes: Mapping[str, Any]) -> FitSettings:
        """Return a copy with dotted keys replaced: ``settings.updated({"snap.twojmax": 6, "seed": 1})``."""
        values = self.to_mapping()
        for dotted, value in changes.items():
            *tables, key = dotted.split(".")
            table = values
            for name in tables:
                table = table.setdefault(name, {})
            table[key] = list(value) if isinstance(value, tuple) else value
        return self.from_mapping(values)

    def to_mapping(self) -> dict[str, Any]:
        """Return nested tables of plain values, every key spelled out; what is unset is left out."""
        table: dict[str, Any] = to_mapping(self)
        return table

    def to_toml(self) -> str:
        """Return the settings as the text of a TOML file that reads back to the same settings."""
        return write_toml(self.to_mapping())

    def validate(self) -> None:
        """Refuse values out of range, with the key, the value and what is expected."""
        for section in (self.data, self.snap, self.weights, self.solver, self.posterior):
            section.validate()
        in_range("seed", self.seed, 0, 2**53)
