"""`mliuq verify`: a battery of checks on any potential, with a certificate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mliuq.cli.console import print_json, progress_bar, say, show_table

EXAMPLE = "Example: mliuq verify W.mliuq -o verify/     (also a published .snapcoeff; exit status 1 if a check fails)"


def run(
    model: Annotated[
        Path,
        typer.Argument(help="Model file (.mliuq), or a .snapcoeff with its .snapparam beside it.", show_default=False),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for index.html and certificate.json.")
    ] = None,
    zbl: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Inner and outer distance (Å) of the nuclear repulsion a published potential is used with."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print certificate.json.")] = False,
) -> int:
    """Check symmetries, derivatives, smoothness, memory, threads, dynamics, bars, short distances, and LAMMPS.

    Grades: P passed, F failed, N does not apply. The exit status is 1 if a check fails.
    """
    from mliuq import Model
    from mliuq.verification import verify, write_certificate

    loaded = Model.from_snap(model) if model.suffix == ".snapcoeff" else Model.load(model)
    if zbl is not None:
        loaded = replace(loaded, zbl=zbl)
    with progress_bar(quiet=json) as bar:
        certificate = verify(loaded, name=model.name, progress=bar)
    if output is not None:
        write_certificate(certificate, output)
    if json:
        print_json(certificate.to_mapping())
    else:
        rows = [
            (check.name, outcome.grade, outcome.figure, outcome.limit, outcome.unit)
            for check, outcome in certificate.outcomes
        ]
        show_table(("check", "", "found", "limit", "unit"), rows)
        for check, outcome in certificate.outcomes:
            if outcome.grade == "F":
                say(f"{check.name} failed: {check.question} {outcome.note}")
        if output is not None:
            say(f"wrote {output / 'index.html'} and {output / 'certificate.json'}")
    return 0 if certificate.passed else 1
