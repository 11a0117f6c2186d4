"""`mliuq tune`: which cutoff, 2J and form predict best what they have not seen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from mliuq.cli.console import print_json, progress_bar, say, show_table
from mliuq.cli.data_options import DataOptions, takes_data_options

EXAMPLE = (
    "Example: mliuq tune data.xyz.gz -o tune/ --budget 10min     (then mliuq fit --config tune/fit.toml -o W.mliuq)"
)

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "": 1.0}


@takes_data_options
def run(
    data: Annotated[
        list[Path] | None,
        typer.Argument(help="Training data, as for fit.", show_default=False),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for settings, table, picture.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of fit settings to start from.")] = None,
    test: Annotated[list[Path] | None, typer.Option(help="Held-out data: not looked at.")] = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Share held out and not looked at when --test is not given.  [default: 0.1]")
    ] = None,
    budget: Annotated[str, typer.Option(help="Time after which no trial begins: 90s, 10min, 2h.")] = "10min",
    twojmax: Annotated[
        str | None, typer.Option(help="2J of linear candidates; 'none' for no such.  [default: 4,6,8]")
    ] = None,
    quadratic: Annotated[
        str | None, typer.Option(help="2J of quadratic candidates; 'none' for no such.  [default: 4,6]")
    ] = None,
    rcut: Annotated[
        str | None, typer.Option(help="Cutoffs (rcutfac, Å).  [default: 1.4 to 2.3 nearest-neighbour distances]")
    ] = None,
    elements: Annotated[
        bool, typer.Option("--elements/--no-elements", help="Try radii and weights of several elements.")
    ] = True,
    group_weights: Annotated[
        bool, typer.Option("--group-weights", help="Try weights of groups (config_type).")
    ] = False,
    left_out: Annotated[
        str, typer.Option(help="Judge by left-out 'configurations' or whole 'classes' (config_type).")
    ] = "configurations",
    max_cost: Annotated[
        float, typer.Option(help="Microseconds per atom the choice may take; 0 for any.", min=0.0)
    ] = 0.0,
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Error of the choice against the number of configurations.")
    ] = False,
    zbl: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="INNER OUTER", help="Nuclear repulsion between these radii (Å)."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.  [default: 0]")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting of the fit.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    reading: DataOptions,
) -> None:
    """Find cutoff, 2J and form by left-out errors, and what they cost.

    Candidates are fitted to growing parts of the data and judged by the errors on each configuration under the fit
    without it (closed form). Writes fit.toml (the choice), tune.md and tune.json (all trials), pareto.png (error
    against microseconds per atom) and trials.jsonl, from which a stopped search goes on.
    """
    from mliuq.cli.fit import parse_settings
    from mliuq.fitting.settings import FitSettings
    from mliuq.readers import read_structures
    from mliuq.tuning import TuneSettings, tune
    from mliuq.tuning.curve import learning_curve as curve_of
    from mliuq.tuning.files import JOURNAL, check_folder, columns, facts, last_round, write_result

    if output is None:
        raise typer.BadParameter("no folder to write to: expected -o FOLDER")
    settings = FitSettings.from_toml(config) if config is not None else FitSettings()
    changes = {
        "data.train": tuple(str(path.resolve()) for path in data) if data else None,
        "data.test": tuple(str(path.resolve()) for path in test) if test else None,
        "data.test_fraction": test_fraction,
        "snap.zbl": zbl,
        "seed": seed,
        **{f"data.{name}": value for name, value in reading.changes.items()},
        **parse_settings(setting or []),
    }
    settings = settings.updated({key: value for key, value in changes.items() if value is not None})
    if not settings.data.train:
        raise typer.BadParameter("no training data: expected DATA or data.train in --config")
    options = _options(
        twojmax=_numbers("--twojmax", twojmax, int),
        quadratic=_numbers("--quadratic", quadratic, int),
        rcut=_numbers("--rcut", rcut, float),
        elements=elements,
        groups=group_weights,
        left_out=left_out,
        budget=_seconds(budget),
        max_cost=max_cost,
    )
    check_folder(output, [Path(path) for path in (*settings.data.train, *settings.data.test)])
    structures = read_structures(settings.data.train, settings.data.dialect)
    held_out = read_structures(settings.data.test, settings.data.dialect) if settings.data.test else None
    output.mkdir(parents=True, exist_ok=True)
    assert isinstance(options, TuneSettings)
    with progress_bar(quiet=json) as bar:
        result = tune(structures, settings, options, test=held_out, journal=output / JOURNAL, progress=bar)
        curve = None
        if learning_curve:
            curve = curve_of(
                result.chosen.candidate,
                result.data,
                result.settings.snap.elements,
                result.settings,
                whole_classes=left_out == "classes",
                progress=bar,
            )
    written = write_result(result, curve, output)
    if json:
        print_json({"files": [str(path) for path in written], **facts(result, curve)})
        return
    show_table(*columns(last_round(result)[:15]))
    if not result.complete:
        say("the budget ended before all that was planned had been tried; the same command goes on from here")
    if curve is not None:
        say("learning curve: " + ", ".join(f"{kind} error ∝ n^(−{b:.3f})" for kind, (_, b) in curve.law.items()))
    say(f"chosen: {result.chosen.candidate.describe()}; wrote {', '.join(path.name for path in written)} in {output}")


def _options(**values: Any) -> Any:
    from mliuq.tuning import TuneSettings

    options = TuneSettings(**{key: value for key, value in values.items() if value is not None})
    options.validate()
    return options


def _numbers(option: str, text: str | None, kind: type) -> tuple[Any, ...] | None:
    """`4,6,8` as numbers; `none` as no numbers."""
    if text is None:
        return None
    if text.strip().lower() == "none":
        return ()
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{option} is {text!r}: expected numbers with commas between, or none") from None


def _seconds(text: str) -> float:
    """`90s`, `10min`, `2h` or plain seconds."""
    found = re.fullmatch(r"\s*([0-9.]+)\s*(s|min|h|)\s*", text)
    try:
        return float(found[1]) * _SECONDS[found[2]] if found else _refuse(text)
    except ValueError:
        return _refuse(text)


def _refuse(text: str) -> float:
    raise typer.BadParameter(f"--budget is {text!r}: expected a time such as 90s, 10min or 2h")
