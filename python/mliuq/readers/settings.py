"""The `[data]` table of a fit."""

from __future__ import annotations

from dataclasses import dataclass

from mliuq.errors import in_range
from mliuq.readers.keys import Keys


@dataclass(frozen=True)
class DataSettings:
    """Where the data is and what its values are called.

    Attributes
    ----------
    train, test : files and folders; without `test`, a fraction of the training configurations is held out
    test_fraction : share of configurations held out when `test` is empty, drawn by the seed
    energy_key, forces_key, stress_key, group_key : names of the values in the files
    skip_missing : fit what there is of configurations without energy, forces or stress, instead of stopping
    """

    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    test_fraction: float = 0.1
    energy_key: str = "energy"
    forces_key: str = "forces"
    stress_key: str = "stress"
    group_key: str = "config_type"
    skip_missing: bool = False

    @property
    def keys(self) -> Keys:
        """The names of the values."""
        return Keys(self.energy_key, self.forces_key, self.stress_key, self.group_key)

    def validate(self) -> None:
        """Refuse values out of range."""
        in_range("data.test_fraction", self.test_fraction, 0.0, 1.0, open_top=True)
