"""`mliuq export`: a model as files of stock LAMMPS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mliuq.cli.console import print_json, say

EXAMPLE = "Example: mliuq export W.mliuq -o W_best     (writes W_best.snapcoeff, .snapparam and .snap)"


def run(
    model: Annotated[Path, typer.Argument(help="Model file (.mliuq).", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Name of the files without their endings; the model's name by default."),
    ] = None,
    member: Annotated[
        int | None, typer.Option(help="Write this member of the ensemble instead of the best fit.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that mliuq did not write.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the best fit, or one member of the ensemble, for stock `pair_style snap`.

    NAME.snapcoeff and NAME.snapparam hold the potential, NAME.snap the lines to include in an input; for a model with
    nuclear repulsion these add it (pair_style hybrid/overlay zbl … snap …): the other two files cannot.
    """
    from mliuq import Model
    from mliuq.reference.potential import is_code

    stem = output if output is not None else model.with_suffix("")
    loaded = Model.load(model)
    coeff, param = loaded.to_snap(stem, member=member, force=force)
    include = coeff.with_suffix(".snap")
    if json:
        print_json({"files": [str(path) for path in (coeff, param, include)], "member": member, "zbl": loaded.zbl})
        return
    say(f"wrote {coeff}, {param} and {include} ({'best fit' if member is None else f'member {member}'})")
    if loaded.reference:
        part = "not part of these files" if is_code(loaded.reference) else f"in {include} only"
        say(f"the reference potential {loaded.reference!r} is {part}")
    if loaded.zbl is not None:
        say(f"the nuclear repulsion is in {include} only: 'include {include.name}' in the input of LAMMPS")
