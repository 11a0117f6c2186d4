"""`mliuq compare`: differences and other linear combinations of energies, with the error that remains in them."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from mliuq.cli.console import print_json, say, show_table
from mliuq.cli.data_options import DataOptions, takes_file_options
from mliuq.cli.one_structure import one_structure
from mliuq.errors import MliuqError

EXAMPLE = "Example: mliuq compare W.mliuq vacancy.xyz --reference bulk.xyz"

_COEFFICIENTS = "--coefficients"


class CompareCommand(TyperCommand):
    """Takes all numbers behind --coefficients, negative ones and fractions too, as values of that option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the numbers into one value."""
        joined: list[str] = []
        rest = list(args)
        while rest:
            token = rest.pop(0)
            if token == _COEFFICIENTS:
                numbers = []
                while rest and _number(rest[0]) is not None:
                    numbers.append(rest.pop(0))
                token = f"{_COEFFICIENTS}={' '.join(numbers)}"
            joined.append(token)
        return super().parse_args(ctx, joined)


def _number(text: str) -> Fraction | None:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None


@takes_file_options
def run(
    model: Annotated[Path, typer.Argument(help="Model file (.mliuq).", show_default=False)],
    structures: Annotated[
        list[str],
        typer.Argument(help="One structure per file; FILE@INDEX picks one of several.", show_default=False),
    ],
    coefficients: Annotated[
        str | None,
        typer.Option(
            _COEFFICIENTS,
            metavar="C1 C2 …",
            help="One number or fraction for each structure; 1, or 1 -1 for two structures, by default.",
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option("--reference", help="Phase that balances the atoms; once for each element.", show_default=False),
    ] = None,
    per_atom: Annotated[bool, typer.Option("--per-atom", help="Divide each energy by its number of atoms.")] = False,
    threads: Annotated[
        int | None, typer.Option(help="OpenMP threads; all the machine offers by default.", min=1)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with the value of every member.")] = False,
    *,
    reading: DataOptions,
) -> None:
    """Combine energies of structures: differences, formation, surface and vacancy energies, with their errors.

    Errors that the structures share cancel in every member of the ensemble; noise of the reference adds up.
    """
    from mliuq import Model, compare

    given = None if coefficients is None else _parse(coefficients)
    loaded = Model.load(model)
    names = [*structures, *(reference or [])]
    everything = [one_structure(name, reading.dialect) for name in names]
    try:
        found = compare(
            *everything[: len(structures)],
            coefficients=given,
            reference=everything[len(structures) :],
            per_atom=per_atom,
            model=loaded,
            threads=threads,
        )
    except MliuqError as error:
        raise MliuqError(f"{', '.join(names)}: {error}") from error
    unit = "eV/atom" if per_atom else "eV"
    if json:
        print_json({**asdict(found), "unit": unit, "structures": names, "n_atoms": [len(a) for a in everything]})
        return
    show_table(
        ("structure", "atoms", "coefficient", "energy, eV", "±, eV"),
        [
            (name, len(atoms), c, f"{energy:.6f}", err)
            for name, atoms, c, energy, err in zip(
                names, everything, found.coefficients, found.energies, found.energies_err, strict=True
            )
        ],
    )
    say(f"{found.energy:.6g} ± {found.energy_err:.3g} {unit}")
    show_table(
        ("", unit),
        [
            ("spread of the members (std)", found.energy_std),
            ("smallest of any member", found.energy_min),
            ("largest of any member", found.energy_max),
            ("noise of the reference", found.noise),
            ("± if no error were shared", found.independent_err),
        ],
    )


def _parse(text: str) -> list[Fraction]:
    numbers = [_number(word) for word in text.split()]
    if not numbers or None in numbers:
        raise typer.BadParameter(f"expected numbers or fractions, found {text!r}", param_hint=_COEFFICIENTS)
    return [number for number in numbers if number is not None]
