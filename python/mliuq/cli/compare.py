"""`mliuq compare`: differences and other linear combinations of energies, with the error that remains in them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mliuq.cli.coefficients import COEFFICIENTS, parsed
from mliuq.cli.console import print_json, say, show_table
from mliuq.cli.data_options import DataOptions, takes_file_options
from mliuq.cli.one_structure import one_structure
from mliuq.errors import MliuqError

EXAMPLE = "Example: mliuq compare W.mliuq vacancy.xyz --reference bulk.xyz"


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
            COEFFICIENTS,
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

    given = None if coefficients is None else parsed(coefficients)
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
