"""What all commands of `mliuq propagate` share: options, running, files and tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from mliuq.cli.console import print_json, progress_bar, say, show_table
from mliuq.cli.workers import processes
from mliuq.errors import MliuqError
from mliuq.outputs import make_folder

if TYPE_CHECKING:
    from mliuq.propagation import PropertyResult

ModelFile = Annotated[Path, typer.Argument(help="Model file (.mliuq) with members.", show_default=False)]
Structures = Annotated[
    list[str] | None,
    typer.Argument(help="Prototypes (bcc, C15:TaW: see --help's end) or structure files.", show_default=False),
]
Element = Annotated[str | None, typer.Option(help="Element of prototypes; the model's only one by default.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the files, made if need be.")]
Name = Annotated[str | None, typer.Option(help="Files are called NAME-PROPERTY; the model's name by default.")]
Members = Annotated[int | None, typer.Option(help="How many members; all by default.")]
Seed = Annotated[int, typer.Option(help="Seed of the choice of --members.")]
EngineName = Annotated[str, typer.Option("--engine", help="resampling, implicit or both.")]
Corrections = Annotated[
    int, typer.Option(help="Steps of each member that correct --engine implicit; 0 is fastest, by second order alone.")
]
RelaxerName = Annotated[str, typer.Option("--relaxer", help="ase or lammps.")]
Fmax = Annotated[float, typer.Option(help="Largest force of a relaxed structure, eV/Å.")]
MaxFailed = Annotated[float, typer.Option(help="Share of failed members beyond which there is no number.")]
Workers = Annotated[int, typer.Option(help="Processes that share the members.")]
PlotOnly = Annotated[bool, typer.Option("--plot-only", help="Draw again from the JSON file; compute nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON (without members).")]


Compute = Callable[[Any, dict[str, Any]], Any]
"""Model and keywords of `mliuq.propagation.propagate` in, PropertyResult out; its types would import it with --help."""


def _shared(
    *,
    output: Output = Path("properties"),
    name: Name = None,
    members: Members = None,
    seed: Seed = 0,
    engine: EngineName = "resampling",
    corrections: Corrections = 6,
    relaxer: RelaxerName = "ase",
    fmax: Fmax = 1e-4,
    max_failed: MaxFailed = 0.1,
    workers: Workers = 1,
    plot_only: PlotOnly = False,
    json: Json = False,
) -> None:
    """The options every command has; its signature is appended to theirs."""


def command(app: typer.Typer, example: str) -> Callable[[Callable[..., Compute]], Callable[..., Compute]]:
    """Make a command of a function that takes the property's own options and returns what computes it.

    The command takes the model first, then the function's parameters, then the shared options.
    """

    def register(build: Callable[..., Compute]) -> Callable[..., Compute]:
        own = inspect.signature(build).parameters
        prop = build.__name__.rstrip("_")

        def run_command(**given: Any) -> None:
            compute = build(**{key: given.pop(key) for key in own})
            run(prop, given.pop("model"), compute, **given)

        hints = {"model": ModelFile, **get_type_hints(build, include_extras=True)}
        hints |= get_type_hints(_shared, include_extras=True)
        given = {"model": inspect.Parameter("model", inspect.Parameter.KEYWORD_ONLY)}
        given |= {**own, **inspect.signature(_shared).parameters}
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[key]) for key, p in given.items()]
        run_command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run_command.__annotations__ = {**hints, "return": None}
        run_command.__doc__ = build.__doc__
        app.command(prop, epilog=f"Example: {example}")(run_command)
        return build

    return register


def run(
    prop: str,
    model: Path,
    compute: Compute,
    *,
    output: Path,
    name: str | None,
    workers: int,
    plot_only: bool,
    json: bool,
    **settings: Any,
) -> None:
    """Compute (or read) a property, write its files, print its table."""
    from mliuq.model import Model
    from mliuq.propagation import PropagationSettings, read_result, write_result

    if name and Path(name).name != name:
        raise MliuqError(f"name is {name!r}, expected a name without folders (those are for --output)")
    stem = output / f"{name or model.stem}-{prop}"
    if plot_only:
        result = read_result(stem.with_name(f"{stem.name}.json"))
    else:
        with ExitStack() as stack:
            options: dict[str, Any] = {
                "settings": PropagationSettings(**settings),
                "progress": stack.enter_context(progress_bar(quiet=json)),
                "checkpoint": stem.with_name(f".{stem.name}.partial.jsonl"),
                "executor": processes(workers, stack),
            }
            loaded = Model.load(model)
            make_folder(output)
            result = compute(loaded, options)
    written = write_result(result, stem)
    if json:
        facts = result.to_mapping()
        for estimate in facts["estimates"]:
            del estimate["members"]
        del facts["curves"]
        print_json(facts)
        return
    show(result)
    say("wrote " + " ".join(str(path) for path in written))


def show(result: PropertyResult) -> None:
    """The table of estimates, what follows from several objects, and who failed."""
    columns = ("object", "quantity", "unit", "value", "±", "std", "min", "max", "failed")
    show_table(
        columns,
        [
            (e.object, e.quantity, e.unit, e.value, e.err, e.std, e.low, e.high, e.failed or None)
            for e in result.estimates
        ],
    )
    for e in result.estimates:
        if e.reason:
            say(f"no number for {e.quantity} of {e.object}: {e.reason}")
    order = result.comparisons.get("order") or {}
    if order:
        say(f"order by energy: {' < '.join(order['best_fit'])}")
        for entry in order["orders"][:3]:
            say(f"  {entry['share']:.0%} of members: {' < '.join(entry['order'])}")
    for quantity, rho in (result.comparisons.get("spearman") or {}).items():
        say(f"rank correlation of {quantity} with the best fit: mean {rho['mean']:.3f}, lowest {rho['lowest']:.3f}")
    if "implicit" in result.comparisons:
        say("implicit against resampling: rms difference of members over their spread")
        for line in result.comparisons["implicit"]:
            say(f"  {line['object']} {line['quantity']}: {line['rms']:.3f}")
    shown: dict[tuple[str, str], list[int]] = {}
    for failure in result.failures:
        shown.setdefault((failure.object, failure.reason.split(":")[0]), []).append(failure.member)
    for (name, kind), members in shown.items():
        named = ", ".join("best fit" if m < 0 else str(m) for m in members[:8]) + (" …" if len(members) > 8 else "")
        say(f"{name}: {len(members)} of {len(result.members)} members failed ({kind}): {named}")
