"""Everything that decides a loop of learning: one TOML file.

    seed, rebalance
    [start]      structures the runs begin from                       `StartSettings`
    [explore]    molecular dynamics under guard                       `ExploreSettings`
    [select]     which frames are worth a reference calculation       `SelectSettings`
    [label]      the reference, and what is believed of it            `LabelSettings`
    [stop]       when the loop ends                                   `StopSettings`
    [fit]        tables of a fit, [fit.snap], [fit.data] …            `mliuq.fitting.FitSettings`

`[fit.data]` holds what is known at the beginning: `train`, which may be empty, and `test`, the fixed test set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mliuq.errors import MliuqError, in_range
from mliuq.fitting.settings import FitSettings
from mliuq.learning.aim import CriterionName
from mliuq.toml import from_mapping, read_toml, to_mapping, write_toml

#: Paths in a TOML file, which are taken from the folder of the file: (table, …, key).
_PATHS = (
    ("fit", "data", "train"),
    ("fit", "data", "test"),
    ("start", "structures"),
    ("select", "region"),
    ("select", "target"),
    ("label", "python_path"),
)


@dataclass(frozen=True)
class StartSettings:
    """Structures the runs begin from.

    Attributes
    ----------
    structures : files; each of their structures is a start
    strains : of each start, one number (linear, the same in all directions) or six (Voigt, engineering shear)
    rattle : Å; without training data the first batch is every strained start, each atom displaced by a normal deviate
        of this width
    copies : displaced copies of each start in that batch
    """

    structures: tuple[str, ...] = ()
    strains: tuple[float | tuple[float, ...], ...] = (0.0,)
    rattle: float = 0.1
    copies: int = 4

    def validate(self) -> None:
        """Refuse values out of range."""
        if not self.structures:
            raise MliuqError("start.structures is empty, expected files with structures the runs begin from")
        if not self.strains:
            raise MliuqError("start.strains is empty, expected [0.0] for none")
        for strain in self.strains:
            if isinstance(strain, tuple) and len(strain) != 6:
                raise MliuqError(f"start.strains has {list(strain)}, expected one number or six (Voigt)")
            for value in strain if isinstance(strain, tuple) else (strain,):
                in_range("start.strains", value, -0.5, 1.0)
        in_range("start.rattle", self.rattle, 0.0, 5.0)
        in_range("start.copies", self.copies, 1, np.inf)


@dataclass(frozen=True)
class ExploreSettings:
    """Molecular dynamics under guard: every start at every temperature and pressure, several times.

    Attributes
    ----------
    engine : who integrates: "ase", or "lammps" with `fix mliuq/guard`
    temperatures : K
    pressures : GPa; each start keeps its volume (nvt) when empty, and is held at the pressure (npt) otherwise
    seeds : runs of each start, temperature and pressure; other velocities in every round
    steps : that every run has to reach without halting for the loop to end
    every : steps between readings
    timestep, thermostat_time, barostat_time : fs
    quantity, save, halt, max_saved, upper : see `mliuq.UncertaintyGuard`; at most `max_saved` frames of a run
    pool : "saved", what the guard saved, or "trajectory", that and the frames at every reading
    workers : runs at one time, each on one thread
    lammps : command that starts LAMMPS
    time_limit : seconds after which a run of LAMMPS is ended, 0 for none
    """

    engine: Literal["ase", "lammps"] = "ase"
    temperatures: tuple[float, ...] = (300.0,)
    pressures: tuple[float, ...] = ()
    seeds: int = 2
    steps: int = 10000
    every: int = 10
    timestep: float = 1.0
    thermostat_time: float = 100.0
    barostat_time: float = 1000.0
    quantity: str = "forces_err"
    save: float | Literal["auto"] = 0.25
    halt: float | Literal["auto"] = 0.75
    max_saved: int = 20
    upper: float = np.inf
    pool: Literal["saved", "trajectory"] = "saved"
    workers: int = 1
    lammps: str = "lmp"
    time_limit: float = 0.0

    def validate(self) -> None:
        """Refuse values out of range."""
        if not self.temperatures:
            raise MliuqError("explore.temperatures is empty, expected at least one (K)")
        for temperature in self.temperatures:
            in_range("explore.temperatures", temperature, 0.0, 1e6)
        for pressure in self.pressures:
            in_range("explore.pressures", pressure, -1e6, 1e6)
        for name in ("seeds", "steps", "every", "max_saved", "workers"):
            in_range(f"explore.{name}", getattr(self, name), 1, np.inf)
        for name in ("timestep", "thermostat_time", "barostat_time"):
            in_range(f"explore.{name}", getattr(self, name), 1e-6, 1e9)
        for name in ("save", "halt"):
            value = getattr(self, name)
            if value != "auto":
                in_range(f"explore.{name}", value, 1e-12, np.inf)
        in_range("explore.time_limit", self.time_limit, 0.0, np.inf)


@dataclass(frozen=True)
class SelectSettings:
    """Which frames are labelled, see `mliuq.learning.selection.select`.

    Attributes
    ----------
    n : frames chosen in every round
    criterion, similar : what counts, and what is too alike to be labelled as well
    rows : values a label brings: "energy", "forces", "stress"
    region : files with the structures of interest, for mean_information; representation does with the frames of all
        rounds
    target : files with the structures of the property, for property
    represent : fits weigh each label by how many frames of all rounds it stands for (`mliuq.fit` with `represent`)
    max_atoms : of a label; a cell about the atom that speaks most for it is carved out of a larger frame
        (`mliuq.learning.carve`), 0 for never
    """

    n: int = 10
    criterion: CriterionName = "information"
    similar: float = 1e-3
    rows: tuple[Literal["energy", "forces", "stress"], ...] = ("energy", "forces")
    region: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    represent: bool = False
    max_atoms: int = 0

    def validate(self) -> None:
        """Refuse values out of range."""
        in_range("select.n", self.n, 1, np.inf)
        in_range("select.max_atoms", self.max_atoms, 0, np.inf)
        if not self.rows:
            raise MliuqError("select.rows is empty, expected some of energy, forces, stress")
        in_range("select.similar", self.similar, 0.0, 1.0, open_top=True)
        for criterion, name in (("mean_information", "region"), ("property", "target")):
            if name == "region" and self.criterion == "representation":
                continue
            if (self.criterion == criterion) != bool(getattr(self, name)):
                raise MliuqError(f"select.{name} goes with select.criterion {criterion!r}, found {self.criterion!r}")


@dataclass(frozen=True)
class LabelSettings:
    """The reference calculation, and what is believed of it.

    Attributes
    ----------
    calculator : `module:name` of an ASE calculator, or of a class or function that makes one without arguments
    command : instead of it, a command that reads one structure and writes it with its energy (eV) and forces (eV/Å) as
        extended XYZ; `{input}`, `{output}` and `{here}` (first folder of `python_path`) are replaced
    python_path : folders to import the calculator from; the folder of the TOML file when empty
    time_limit : seconds of one attempt, 0 for none
    retries : attempts after a first one that failed
    workers : calculations at one time, unless an executor is given
    min_distance : Å; structures with atoms nearer than this are not calculated
    max_force : eV/Å; labels with a larger force are not believed
    max_energy : eV/atom; nor labels whose energy is farther than this from what their composition lets expect
    """

    calculator: str = ""
    command: str = ""
    python_path: tuple[str, ...] = ()
    time_limit: float = 3600.0
    retries: int = 1
    workers: int = 1
    min_distance: float = 0.8
    max_force: float = 100.0
    max_energy: float = 20.0

    def validate(self) -> None:
        """Refuse values out of range."""
        if bool(self.calculator) == bool(self.command):
            raise MliuqError("label: expected either calculator (module:name) or command")
        if self.calculator and self.calculator.count(":") != 1:
            raise MliuqError(f"label.calculator is {self.calculator!r}, expected module:name")
        in_range("label.time_limit", self.time_limit, 0.0, np.inf)
        in_range("label.retries", self.retries, 0, 1000)
        in_range("label.workers", self.workers, 1, np.inf)
        for name in ("min_distance", "max_force", "max_energy"):
            value = getattr(self, name)
            if not value >= 0.0:
                raise MliuqError(f"label.{name} is {value}, expected a number of at least 0")


@dataclass(frozen=True)
class StopSettings:
    """When the loop ends, beside all runs of a round reaching their steps.

    Attributes
    ----------
    rounds : of exploration
    labels : structures handed to the reference, those that failed included
    """

    rounds: int = 20
    labels: int = 500

    def validate(self) -> None:
        """Refuse values out of range."""
        in_range("stop.rounds", self.rounds, 0, np.inf)
        in_range("stop.labels", self.labels, 1, np.inf)


@dataclass(frozen=True)
class LearnSettings:
    """All settings of a loop.

    Attributes
    ----------
    seed : of velocities, displacements and random choices; that of the fit is `fit.seed`
    rebalance : choose weights that are "auto" anew in every round, for which all rows are folded in again; without,
        those of the first round stay, and new rows alone are folded in
    """

    start: StartSettings = field(default_factory=StartSettings)
    explore: ExploreSettings = field(default_factory=ExploreSettings)
    select: SelectSettings = field(default_factory=SelectSettings)
    label: LabelSettings = field(default_factory=LabelSettings)
    stop: StopSettings = field(default_factory=StopSettings)
    fit: FitSettings = field(default_factory=lambda: FitSettings().updated({"data.test_fraction": 0.0}))
    seed: int = 0
    rebalance: bool = True

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "settings") -> LearnSettings:
        """Build and validate settings from nested tables; unknown keys and wrong types are errors.

        What is labelled is fitted: `fit.data.test_fraction` is 0 unless said otherwise.
        """
        values = dict(values)
        fit = values.get("fit", {})
        if isinstance(fit, Mapping) and isinstance(fit.get("data", {}), Mapping):
            values["fit"] = {**fit, "data": {"test_fraction": 0.0, **fit.get("data", {})}}
        settings = from_mapping(cls, values, where)
        settings.validate()
        return settings

    @classmethod
    def from_toml(cls, path: str | Path, changes: Mapping[str, Any] | None = None) -> LearnSettings:
        """Read a TOML file; relative paths in it are taken from the file's folder.

        Parameters
        ----------
        changes : values of dotted keys that take the place of the file's

        Raises
        ------
        MliuqError
            naming file and key.
        """
        path = Path(path)
        values = read_toml(path)
        home = path.resolve().parent
        values = _changed(values, changes or {}, str(path))
        for *tables, key in _PATHS:
            table: Any = values
            for name in tables:
                table = table.get(name) if isinstance(table, dict) else None
            if isinstance(table, dict) and isinstance(table.get(key), list):
                table[key] = [str(home / p) if isinstance(p, str) else p for p in table[key]]
        label = values.setdefault("label", {})
        if isinstance(label, dict) and not label.get("python_path"):
            label["python_path"] = [str(home)]
        return cls.from_mapping(values, str(path))

    def updated(self, changes: Mapping[str, Any]) -> LearnSettings:
        """Return a copy with dotted keys replaced: ``settings.updated({"select.n": 6, "fit.snap.twojmax": 4})``."""
        return self.from_mapping(_changed(self.to_mapping(), changes, "settings"))

    def to_mapping(self) -> dict[str, Any]:
        """Return nested tables of plain values, every key spelled out."""
        table: dict[str, Any] = to_mapping(self)
        return table

    def to_toml(self) -> str:
        """Return the settings as the text of a TOML file that reads back to the same settings."""
        return write_toml(self.to_mapping())

    def validate(self) -> None:
        """Refuse values out of range, with the key, the value and what is expected."""
        for section in (self.start, self.explore, self.select, self.label, self.stop, self.fit):
            section.validate()
        in_range("seed", self.seed, 0, 2**31)
        if self.select.max_atoms and self.explore.quantity != "forces_err":
            raise MliuqError(
                f"select.max_atoms is {self.select.max_atoms}, but explore.quantity {self.explore.quantity!r}: cells "
                "are carved where forces_err is watched"
            )
        if self.fit.data.represent:
            raise MliuqError("fit.data.represent is given: labels stand for what the runs see under select.represent")
        if self.fit.data.reference:
            raise MliuqError("fit.data.reference is given: the loop runs the model alone, expected none")


def _changed(values: dict[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Nested tables with dotted keys replaced."""
    for dotted, value in changes.items():
        *tables, key = dotted.split(".")
        table = values
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise MliuqError(f"{where}: {dotted}: {name} is no table")
        table[key] = list(value) if isinstance(value, tuple) else value
    return values
