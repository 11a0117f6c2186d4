"""`mliuq export`: a model as LAMMPS's own .snapcoeff and .snapparam."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mliuq.cli.console import print_json, say

EXAMPLE = "Example: mliuq export W.mliuq -o W_best     (writes W_best.snapcoeff and W_best.snapparam)"


def run(
    model: Annotated[Path, typer.Argument(help="Model file (.mliuq).", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Name of the two files without their endings; the model's name by default."
        ),
    ] = None,
    member: Annotated[
        int | None, typer.Option(help="Write this member of the ensemble instead of the best fit.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the best fit, or one member of the ensemble, for stock `pair_style snap`."""
    from mliuq import Model

    stem = output if output is not None else model.with_suffix("")
    files = [str(path) for path in Model.load(model).to_snap(stem, member=member)]
    if json:
        print_json({"files": files, "member": member})
    else:
        say(f"wrote {files[0]} and {files[1]} ({'best fit' if member is None else f'member {member}'})")
