"""`mliuq propagate all`: a sheet of properties with error bars, one HTML page."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mliuq.cli.console import progress_bar, say
from mliuq.cli.propagation_run import Element, Fmax, MaxFailed, ModelFile, Seed, Workers, show
from mliuq.cli.workers import processes
from mliuq.errors import MliuqError
from mliuq.outputs import make_folder

if TYPE_CHECKING:
    from mliuq.propagation import PropertyResult

EXAMPLE = "Example: mliuq propagate all W.mliuq --element W --reference dft.json -o sheet/"
PARTS = ("phases", "elastic", "phonons", "defects", "surfaces", "neb")


def run(
    model: ModelFile,
    element: Element = None,
    crystal: Annotated[
        str, typer.Option(help="The crystal of elastic constants, phonons, defects, surfaces, barrier: bcc or fcc.")
    ] = "bcc",
    phase: Annotated[
        list[str] | None,
        typer.Option(help="Prototype or file among the phases; may be given several times; all prototypes by default."),
    ] = None,
    part: Annotated[
        list[str] | None, typer.Option(help=f"Only these: {' '.join(PARTS)}; may be given several times.")
    ] = None,
    size: Annotated[
        int, typer.Option(help="Supercells of defects, barrier and phonons, size × size × size cells.")
    ] = 3,
    reference: Annotated[
        Path | None, typer.Option(help="Reference values: JSON {object: {quantity: number}}, or structures (eos_NAME).")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the page and the files.")] = Path("sheet"),
    members: Annotated[int, typer.Option(help="How many members.")] = 100,
    seed: Seed = 0,
    fmax: Fmax = 1e-4,
    max_failed: MaxFailed = 0.1,
    workers: Workers = 1,
) -> None:
    """A whole sheet as an HTML page: phases, elastic constants, phonons, vacancy, surfaces, vacancy hop.

    With a column for reference values, z and in-bounds marks when they are given. A part that fails says why on the
    page; the others are not stopped.
    """
    from mliuq.model import Model
    from mliuq.outputs import write_files
    from mliuq.propagation import PropagationSettings, write_result
    from mliuq.propagation.functions import element_of
    from mliuq.propagation.reference import read_reference
    from mliuq.report.sheet import render_sheet
    from mliuq.report.write import describe

    for name in part or ():
        if name not in PARTS:
            raise MliuqError(f"part is {name!r}, expected one of {' '.join(PARTS)}")
    loaded = Model.load(model)
    symbol = element_of(loaded, element)
    known = read_reference(reference) if reference else None
    make_folder(output)
    settings = PropagationSettings(
        members=min(members, loaded.n_members) or None, seed=seed, fmax=fmax, max_failed=max_failed
    )
    settings.choose(loaded.n_members)
    results: list[PropertyResult] = []
    pictures: dict[str, str] = {}
    left_out: dict[str, str] = {}
    with ExitStack() as stack:
        bar = stack.enter_context(progress_bar())
        executor = processes(workers, stack)
        for name, compute in _parts(loaded, symbol, crystal, phase, size).items():
            if part and name not in part:
                continue
            stem = output / f"{model.stem}-{name}"
            checkpoint = stem.with_name(f".{stem.name}.partial.jsonl")
            try:
                result = compute(
                    settings=settings, executor=executor, checkpoint=checkpoint, progress=bar, element=symbol
                )
            except MliuqError as error:
                left_out[name] = str(error)
                continue
            results.append(result)
            written = write_result(result, stem)
            pictures[name] = written[3].read_text(encoding="utf-8")
    for result in results:
        show(result)
    for name, reason in left_out.items():
        say(f"{name} was not computed: {reason}")
    page = output / "index.html"
    html = render_sheet(
        results, pictures, known, title=f"{symbol} by {model.name}", facts=describe(loaded), left_out=left_out
    )
    write_files({page: html.encode()})
    say(f"wrote {page}")


def _parts(
    model: Any, element: str, crystal: str, phases: list[str] | None, size: int
) -> dict[str, Callable[..., PropertyResult]]:
    """What a sheet is made of, in the order of its page."""
    from functools import partial

    from mliuq import propagation
    from mliuq.propagation.functions import PHASES

    names = list(phases or PHASES)
    reference = crystal if crystal in names else None
    return {
        "phases": partial(propagation.phases, model, names, reference=reference),
        "elastic": partial(propagation.elastic, model, [crystal]),
        "phonons": partial(propagation.phonons, model, [crystal], size=size),
        "defects": partial(propagation.defects, model, ["vacancy"], host=crystal, size=size),
        "surfaces": partial(propagation.surfaces, model, ["110", "100"], host=crystal),
        "neb": partial(propagation.neb, model, host=crystal, size=size),
    }
