"""`mliuq report`: one page that says how far to trust a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mliuq.cli.console import SHOWN, print_json, progress_bar, say, show_table
from mliuq.cli.data_options import DataOptions, takes_data_options
from mliuq.cli.seen import warn_of_seen

_LEVELS = ("0.6827", "0.9", "0.9545")
_BARS = ("rms_z", "coverage_1", "coverage_2", "envelope")

EXAMPLE = "Example: mliuq report W.mliuq test.xyz -o report/     (then open report/index.html)"


@takes_data_options
def run(
    model: Annotated[Path, typer.Argument(help="Model file (.mliuq).", show_default=False)],
    structures: Annotated[
        Path,
        typer.Argument(help="Structures with energies and forces that the fit has not seen.", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for index.html and metrics.json.")] = Path(
        "report"
    ),
    stress: Annotated[bool, typer.Option("--stress", help="Judge stress too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print metrics.json.")] = False,
    *,
    reading: DataOptions,
) -> None:
    """Write a self-contained HTML page of pictures and tables, and metrics.json.

    Parity, error histogram, predicted against actual error, reliability, probability integral transform, coverage,
    raw and calibrated; tables by config_type and environment; the ten worst configurations.
    """
    from mliuq import Model
    from mliuq.readers import read_structures
    from mliuq.report import check_report, describe_structures, reference_rows, write_report

    check_report(output, [model, structures])
    loaded = Model.load(model)
    data = reading.settings(loaded.metadata)
    keys = data.keys
    batch = read_structures(structures, data.dialect)
    warn_of_seen(loaded, batch, "errors on them are no test")
    test = describe_structures(batch, structures.name, keys.group)
    with progress_bar(quiet=json) as bar:
        potential = data.reference_potential(loaded.params.elements)
        reference = reference_rows(loaded, batch, stress=stress, keys=keys, reference=potential)
        numbers = write_report(loaded, reference, test, output, name=model.name, progress=bar)
    if json:
        print_json(numbers)
        return
    errors, bars, held, groups = [], [], [], []
    for kind, facts in numbers["quantities"].items():
        unit, factor = SHOWN[kind]
        everywhere = facts["all_rows"]
        errors.append((f"{kind} {unit}", everywhere["rows"], factor * everywhere["mae"], factor * everywhere["rmse"]))
        for which in ("raw", "calibrated"):
            if which in facts:
                bars.append((f"{kind}, {which}", facts["rows"], *(facts[which][name] for name in _BARS)))
        held.append((kind, *(facts["intervals"][level][what] for level in _LEVELS for what in ("width", "held"))))
        groups += [
            (f"{kind}, {name}", g["rows"], SHOWN[kind][1] * g["rmse"], g["rms_z"], g["held"])
            for name, g in facts["by_environment"].items()
        ]
    show_table(("errors", "rows", "MAE", "RMSE"), errors)
    show_table(("error bars", "rows", "rms z", "in ±1σ", "in ±2σ", "outside members"), bars)
    columns = [name for level in _LEVELS for name in (f"{100 * float(level):.0f} %: ± err", "inside")]
    show_table(("intervals", *columns), held)
    if groups:
        show_table(("environment", "rows", "RMSE", "rms z", "in 90 %"), groups)
    zero = {kind: facts["rows_zero_by_symmetry"] for kind, facts in numbers["quantities"].items()}
    for kind, count in zero.items():
        if count:
            say(f"{count} {kind} rows are zero by symmetry: errors count them, error bars do not")
    say(f"wrote {output / 'index.html'} and {output / 'metrics.json'}")
