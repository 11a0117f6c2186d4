"""The options of every command that reads data: what its values are called and how they are written, in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from mliuq.errors import MliuqError
from mliuq.readers.dialect import Dialect
from mliuq.readers.keys import named
from mliuq.readers.settings import DataSettings
from mliuq.readers.units import PRESSURE
from mliuq.reference.potential import is_code

_PANEL = "Data"


def _option(help_text: str, metavar: str = "KEY") -> Any:
    return Annotated[str | None, typer.Option(help=help_text, metavar=metavar, rich_help_panel=_PANEL)]


#: Setting of the `[data]` table -> option; `keys` stands for three of them.
OPTIONS: dict[str, Any] = {
    "keys": _option("Prefix of the names: REF for REF_energy, REF_forces, REF_stress.", "PREFIX"),
    "energy_key": _option("Name of the energies in the files."),
    "forces_key": _option("Name of the forces in the files."),
    "stress_key": _option("Name of the stress in the files; with 'virial' in it, it is a virial in eV."),
    "group_key": _option("Name of the group of a configuration (config_type)."),
    "stress_unit": _option("Unit of the stress where the format does not say.", "|".join(PRESSURE)),
    "stress_sign": _option("What a positive stress means where the format does not say.", "tension|compression"),
    "types": _option("Elements of the atom types of LAMMPS, MTP and DeePMD files, in order: W,Be.", "ELEMENTS"),
    "length_unit": _option("Unit of length of n2p2 files.", "angstrom|bohr"),
    "energy_unit": _option("Unit of energy of n2p2 files; the partner of the length's by default.", "eV|hartree"),
    "reference": _option(
        "Potential taken off the values before the fit: LAMMPS's 'pair_style …; pair_coeff …' or module:calculator.",
        "POTENTIAL",
    ),
}

#: Those that say what a format leaves out of a structure itself.
FILE_OPTIONS = ("types", "length_unit", "energy_unit")


@dataclass(frozen=True)
class DataOptions:
    """What a user said about the data on the command line, by name of the setting."""

    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dialect(self) -> Dialect:
        """What files leave unsaid."""
        said = {name: self.changes[name] for name in FILE_OPTIONS if name in self.changes}
        return DataSettings().updated(said).dialect

    def settings(self, metadata: Mapping[str, Any]) -> DataSettings:
        """Settings for data beside a model: what its fit was told, and what was said now."""
        kept = DataSettings.of_fit(metadata)
        given = self.changes.get("reference")
        if given is not None and given.split() != kept.reference.split():
            has = f"the reference potential {kept.reference!r}" if kept.reference else "no reference potential"
            raise MliuqError(f"--reference is {given!r}, but the fit of this model had {has}")
        if given is None and is_code(kept.reference):
            raise MliuqError(
                f"the fit of this model had the reference potential {kept.reference!r}, which is Python code on this "
                f"machine: to run it, say --reference {kept.reference}"
            )
        return kept.updated(self.changes)


def takes_data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all options above; it receives them as its parameter `reading`, a `DataOptions`."""
    return _with_options(command, tuple(OPTIONS))


def takes_file_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same with the options about files alone, for commands that read structures and no values."""
    return _with_options(command, FILE_OPTIONS)


def _with_options(command: Callable[..., None], names: Sequence[str]) -> Callable[..., None]:
    def run(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in names}
        given = {name: value for name, value in given.items() if value is not None}
        if "types" in given:
            given["types"] = [name.strip() for name in given["types"].split(",")]
        prefix = given.pop("keys", None)
        command(**arguments, reading=DataOptions({**(named(prefix) if prefix is not None else {}), **given}))

    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "reading"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=OPTIONS[name])
        for name in names
    ]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + added
    run.__signature__ = inspect.Signature(parameters, return_annotation=None)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__doc__ = command.__doc__
    return run
