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

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mliuq.errors import MliuqError
from mliuq.posterior.samplers import SAMPLERS, Sampler
from mliuq.posterior.selection import Selection
from mliuq.regression.targets import Keys
from mliuq.regression.weights import WeightSettings
from mliuq.toml import from_mapping, to_mapping, write_toml

PosteriorKind = Literal["gaussian", "hypercube", "ensemble"]
CalibrationSource = Literal["auto", "k-fold", "left-out"]

REFIT_ROWS = 30
"""Rows for each weight from which left-out residuals calibrate as well as refits do, and some to spare.

On held-out configurations their bars were as wide with 16 and more, 3 % narrower with 8 and 10 % with 5; nested
selection (benchmarks/posterior_choices.py) prefers refits with 3.5 rows for each weight, and neither from 5 on.
"""
REFIT_NUMBERS = 1 << 26
"""Numbers in a design matrix (512 MiB) up to which refits cost little."""


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
        _in_range("data.test_fraction", self.test_fraction, 0.0, 1.0, open_top=True)


@dataclass(frozen=True)
class SnapSettings:
    """The descriptor; names as in LAMMPS, lists in the order of `elements`.

    Attributes
    ----------
    twojmax : 2J
    rcut : LAMMPS's rcutfac: the cutoff in Å of elements of radius 0.5
    elements : chemical symbols; those of the data, in alphabetical order, when empty
    radii, weights : R and w of each element; 0.5 and 1 when empty
    quadratic : energy terms quadratic in the bispectrum
    zbl : inner and outer radius (Å) of the ZBL repulsion that is subtracted before the fit and added after it; empty
        for none
    """

    twojmax: int = 8
    rcut: float = 4.7
    elements: tuple[str, ...] = ()
    radii: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    quadratic: bool = False
    zbl: tuple[float, ...] = ()
    rfac0: float = 0.99363
    rmin0: float = 0.0
    switchflag: bool = True
    bzeroflag: bool = True
    bnormflag: bool = False
    chemflag: bool = False
    wselfallflag: bool = False
    switchinnerflag: bool = False
    sinner: tuple[float, ...] = ()
    dinner: tuple[float, ...] = ()

    def validate(self) -> None:
        """Refuse values out of range."""
        if self.zbl and not (len(self.zbl) == 2 and 0.0 < self.zbl[0] < self.zbl[1]):
            raise MliuqError(f"snap.zbl is {list(self.zbl)}, expected two radii in Å, 0 < inner < outer")
        for name in ("radii", "weights"):
            values = getattr(self, name)
            if values and len(values) != len(self.elements):
                raise MliuqError(f"snap.{name} has {len(values)} entries for {len(self.elements)} elements")


@dataclass(frozen=True)
class SolverSettings:
    """How the least-squares problem is solved.

    Attributes
    ----------
    ridge : λ of λ‖θ‖², or "evidence" to maximise the evidence
    rcond : relative size below which a singular value counts as zero; 0 for the rounding error of the problem
    one_body : energy of an isolated atom of each element in eV (`{W = -4.1}`): fixed instead of fitted
    isolated_atoms : take those energies from the configurations of a single atom without neighbours in the data
    rows : keep rows in memory, on disk, compute them again for each pass, or choose by size
    cache : folder for rows on disk, kept for the next fit; a temporary folder when empty
    memory : MiB that rows may take in memory under `rows = "auto"`
    threads : threads that compute rows; 0 for all
    """

    ridge: float | Literal["evidence"] = 0.0
    rcond: float = 0.0
    one_body: Mapping[str, float] = field(default_factory=dict)
    isolated_atoms: bool = False
    rows: Literal["auto", "memory", "disk", "recompute"] = "auto"
    cache: str = ""
    memory: float = 512.0
    threads: int = 0

    def validate(self) -> None:
        """Refuse values out of range."""
        if self.ridge != "evidence":
            _in_range("solver.ridge", float(self.ridge), 0.0, np.inf)
        elif self.one_body or self.isolated_atoms:
            raise MliuqError("solver.ridge is 'evidence', expected a number when one-body energies are given")
        _in_range("solver.rcond", self.rcond, 0.0, 1.0)
        if self.cache and self.rows in ("memory", "recompute"):
            raise MliuqError(f"solver.cache is given, but solver.rows is {self.rows!r}: expected 'disk' or 'auto'")


@dataclass(frozen=True)
class PosteriorSettings:
    """Which posterior is fitted and how members are drawn from it.

    Attributes
    ----------
    kind : gaussian (empirical Bayes on leave-one-out residuals), hypercube (the published POPS) or ensemble
    members : number of weight vectors stored in the model; 0 stores none
    sampler : uniform, sobol, latin or halton points in the hypercube
    leverage_percentile, minimum_relative_error, negligible_leverage : rows that enter, see `posterior.selection`
    mode_threshold, percentile_clipping : axes and bounds of the hypercube, see `posterior.hypercube`
    prior : weight of the gaussian posterior's prior, 0 for one that grows with the number of weights
    calibrate : scale the error bars to errors on configurations that were not fitted
    calibration_source : where those errors come from: "k-fold", fits of weights and posterior without each fold of the
        training configurations; "left-out", closed-form leave-one-configuration-out residuals, without refits; or
        "auto", k-fold where it is needed (fewer than 30 rows for each weight) or cheap (a design matrix of up to 512
        MiB), left-out elsewhere
    calibration_folds : K of both
    extrapolation : store the factor of A⁻¹ and the MaxVol active set
    """

    kind: PosteriorKind = "gaussian"
    members: int = 500
    sampler: Sampler = "uniform"
    leverage_percentile: float = 0.0
    minimum_relative_error: float = 0.0
    negligible_leverage: float = 1e-4
    mode_threshold: float = 1e-8
    percentile_clipping: float = 0.0
    prior: float = 0.0
    calibrate: bool = True
    calibration_source: CalibrationSource = "auto"
    calibration_folds: int = 5
    extrapolation: bool = True

    @property
    def selection(self) -> Selection:
        """Which rows enter."""
        return Selection(self.leverage_percentile, self.minimum_relative_error, self.negligible_leverage)

    def refits(self, n_rows: int, n_weights: int) -> bool:
        """Whether so many rows and weights are calibrated by K-fold refits."""
        if self.calibration_source == "auto":
            return n_rows < REFIT_ROWS * n_weights or n_rows * n_weights <= REFIT_NUMBERS
        return self.calibration_source == "k-fold"

    def validate(self) -> None:
        """Refuse values out of range."""
        self.selection.validate()
        _in_range("posterior.members", self.members, 0, np.inf)
        _in_range("posterior.prior", self.prior, 0.0, np.inf)
        _in_range("posterior.percentile_clipping", self.percentile_clipping, 0.0, 50.0)
        _in_range("posterior.calibration_folds", self.calibration_folds, 2, np.inf)
        if self.sampler not in SAMPLERS:
            raise MliuqError(f"posterior.sampler is {self.sampler!r}, expected one of {', '.join(SAMPLERS)}")


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
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise MliuqError(f"{path}: cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise MliuqError(f"{path}: not TOML: {error}") from error
        data = values.get("data")
        if isinstance(data, dict):
            for key in ("train", "test"):
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


def _in_range(key: str, value: float, low: float, high: float, *, open_top: bool = False) -> None:
    if not (low <= value < high or (value == high and not open_top and np.isfinite(high))):
        raise MliuqError(f"{key} is {value}, expected a number from {low:g} to {high:g}")
