"""`mliuq select`: which structures of a pool are worth a label."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from ase import Atoms

from mliuq.cli.coefficients import COEFFICIENTS, parsed
from mliuq.cli.console import print_json, progress_bar, say, show_table
from mliuq.cli.data_options import DataOptions, takes_file_options
from mliuq.cli.structures import check_structures, structure_writer
from mliuq.errors import MliuqError
from mliuq.outputs import is_stream

if TYPE_CHECKING:
    from mliuq.model import Model

EXAMPLE = "Example: mliuq select pool.xyz W.mliuq -n 50 -o batch.xyz"


@takes_file_options
def run(
    pool: Annotated[Path, typer.Argument(help="Unlabelled structures: XYZ, VASP, LAMMPS, …", show_default=False)],
    model: Annotated[Path, typer.Argument(help="Model file (.mliuq).", show_default=False)],
    n: Annotated[int, typer.Option("--number", "-n", help="How many to choose.", min=1)],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write: .xyz, .extxyz, .xyz.gz, .traj, .db or .json."),
    ],
    criterion: Annotated[
        str,
        typer.Option(help="information, mean_information, representation, maxvol, forces_err, property or random."),
    ] = "information",
    rows: Annotated[str, typer.Option(help="What a label holds: some of energy,forces,stress.")] = "energy,forces",
    region: Annotated[
        list[Path] | None,
        typer.Option(
            help="Structures the model is to be good for (mean_information; representation does with the pool); may be "
            "repeated."
        ),
    ] = None,
    target: Annotated[
        list[Path] | None,
        typer.Option(help="Structures whose labels are the property (property); may be repeated."),
    ] = None,
    coefficients: Annotated[
        str | None,
        typer.Option(
            COEFFICIENTS, metavar="C1 C2 …", help="The property is this combination of the targets' energies."
        ),
    ] = None,
    propagated: Annotated[
        list[Path] | None,
        typer.Option(
            help="The property is what `mliuq propagate` wrote for this model (.json), all its quantities; may be "
            "repeated."
        ),
    ] = None,
    known: Annotated[
        list[Path] | None,
        typer.Option(help="Structures that are labelled already; may be repeated."),
    ] = None,
    similar: Annotated[
        float, typer.Option(help="Relative distance of descriptors up to which structures are the same.")
    ] = 1e-3,
    shortlist: Annotated[
        int,
        typer.Option(
            help="Best structures that mean_information, maxvol and property choose among, or as many drawn at random "
            "(representation).",
            min=1,
        ),
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Of random draws.", min=0)] = 0,
    threads: Annotated[
        int | None, typer.Option(help="OpenMP threads; all the machine offers by default.", min=1)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    reading: DataOptions,
) -> None:
    """Choose the structures whose labels would teach a model most: few, and different ones.

    Each is chosen as if those before it were labelled. The output holds the structures in the order they were chosen,
    with select_index (place in the pool, from 0), select_score, select_atom (from 0) and select_reason, and without any
    energies and forces they came with.
    """
    from mliuq import Model
    from mliuq.learning import select
    from mliuq.readers import read_structures
    from mliuq.readers.indexed_xyz import frames_of

    others = [*(region or []), *(target or []), *(propagated or []), *(known or [])]
    check_structures(output, [pool, model, *others])
    if json and is_stream(output):
        raise MliuqError(f"{output}: --json goes to standard output, expected a file for the structures")
    loaded = Model.load(model)
    frames = frames_of(pool, reading.dialect)
    options: dict[str, Any] = {"criterion": criterion, "similar": similar, "shortlist": shortlist, "seed": seed}
    for name, paths in (("region", region), ("target", target), ("known", known)):
        options[name] = None if paths is None else read_structures(paths, reading.dialect)
    if propagated:
        options["values"] = _values(propagated, loaded)
    with progress_bar(quiet=json) as bar:
        found = select(
            frames,
            loaded,
            n,
            rows=[name.strip() for name in rows.split(",")],
            coefficients=None if coefficients is None else [float(c) for c in parsed(coefficients)],
            threads=threads,
            progress=bar,
            **options,
        )
    if not found.choices:
        raise MliuqError(f"{pool}: nothing to choose: all of its {len(frames)} structures are known or copies")
    with structure_writer(output) as write:
        for choice in found.choices:
            write(_marked(frames[choice.index], choice.index, choice.score, choice.atom, choice.reason))
    if json:
        print_json({**asdict(found), "pool": len(frames), "output": str(output)})
        return
    aside = is_stream(output)
    score = f"score, {found.unit}" if found.unit else "score"
    show_table(("structure", score, "atom"), [(str(c.index), c.score, c.atom) for c in found.choices], aside=aside)
    if not aside:
        passed = f"{found.identical} identical and {found.similar} similar ones passed over"
        say(f"{len(found.choices)} of {len(frames)} structures (counted from 0), {passed}; wrote {output}")


def _values(paths: list[Path], model: Model) -> list[Any]:
    """What every member of the model says of every quantity in results of `mliuq propagate`."""
    from mliuq.model.fingerprint import fingerprint
    from mliuq.propagation.write import read_result

    found = []
    for path in paths:
        result = read_result(path)
        if result.model.get("fingerprint") != fingerprint(model):
            raise MliuqError(f"{path}: was propagated with another model than the one to choose for")
        for estimate in result.estimates:
            if not estimate.reason:
                values = np.full(model.n_members, np.nan)
                values[list(result.members)] = estimate.members
                found.append(values)
    if not found:
        raise MliuqError(f"{', '.join(map(str, paths))}: no quantity has values")
    return found


def _marked(atoms: Atoms, index: int, score: float, atom: int | None, reason: str) -> Atoms:
    marked: Atoms = atoms.copy()
    marked.info |= {"select_index": index, "select_score": score, "select_reason": reason}
    if atom is not None:
        marked.info["select_atom"] = atom
    return marked
