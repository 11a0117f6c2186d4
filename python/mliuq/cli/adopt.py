"""`mliuq adopt`: a published potential gets error bars learned from your data."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mliuq.cli.console import SHOWN, print_json, progress_bar, say, show_table
from mliuq.cli.data_options import DataOptions, takes_data_options
from mliuq.cli.fit import number_or_text, parse_settings

if TYPE_CHECKING:
    from mliuq.fitting.adopt import AdoptResult
    from mliuq.fitting.settings import FitSettings

log = logging.getLogger(__name__)

EXAMPLE = "Example: mliuq adopt Ta06A.snapcoeff Ta.xyz -o Ta.mliuq --zbl 4.0 4.8"


@takes_data_options
def run(
    potential: Annotated[
        Path,
        typer.Argument(help="NAME.snapcoeff, with NAME.snapparam beside it, or a model (.mliuq).", show_default=False),
    ],
    data: Annotated[
        list[Path], typer.Argument(help="Structures with energies and forces; some fifty do.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write (.mliuq).", show_default=False)],
    param: Annotated[
        Path | None, typer.Option(help="The .snapparam file, where it is not called like the .snapcoeff.")
    ] = None,
    zbl: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="INNER OUTER", help="Nuclear repulsion between these radii (Å) that is part of it."),
    ] = None,
    energy_zero: Annotated[
        str,
        typer.Option(
            metavar="auto|shift|keep",
            help="Shift the energies of atoms to the zero of the data, or not; auto: where they are off in common.",
        ),
    ] = "auto",
    stress_weight: Annotated[
        str | None, typer.Option(metavar="W|auto", help="Learn bars of stress too: auto, or a weight.  [default: 0]")
    ] = None,
    members: Annotated[int | None, typer.Option(help="Weight vectors kept in the model.  [default: 500]")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.  [default: 0]")] = None,
    threads: Annotated[int | None, typer.Option(help="OpenMP threads; all the machine offers by default.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other setting of `mliuq fit`; may be repeated."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    reading: DataOptions,
) -> None:
    """Keep a published potential as it is and learn its error bars from data.

    The table says how large its errors are on the data, how large those of a refit would be on configurations left
    out of it, and what share of the squared error is thus a bias that a refit removes.
    """
    from mliuq import Model
    from mliuq.fitting.adopt import run_adopt
    from mliuq.fitting.settings import FitSettings
    from mliuq.model.model_file import check_model
    from mliuq.readers import read_structures

    if param is not None and potential.suffix == ".mliuq":
        raise typer.BadParameter(f"--param goes with a .snapcoeff file, not with {potential.name}")
    inputs = [potential, *data, *([] if param is None else [param])]
    check_model(output, inputs)
    changes = {
        "weights.stress": number_or_text(stress_weight),
        "posterior.members": members,
        "seed": seed,
        "solver.threads": threads,
        **{f"data.{name}": value for name, value in reading.changes.items()},
        **parse_settings(setting or []),
    }
    settings = FitSettings().updated({key: value for key, value in changes.items() if value is not None})
    settings = settings.updated({"data.train": tuple(map(str, data))})
    published = Model.load(potential) if potential.suffix == ".mliuq" else Model.from_snap(potential, param)
    if zbl is None and published.zbl is None and not settings.data.reference:
        warn_of_hybrid(potential.with_suffix(".snap"))
    structures = read_structures(list(data), settings.data.dialect)
    started = time.perf_counter()
    with progress_bar(quiet=json) as bar:
        result = run_adopt(
            published, structures, settings, zbl=zbl, energy_zero=energy_zero, name=potential.name, progress=bar
        )
    result.model.save(output)
    _report(result, settings, output, time.perf_counter() - started, json=json)


def warn_of_hybrid(include: Path) -> None:
    """Warn where the input that lies beside a potential names parts that its weights do not hold."""
    try:
        text = include.read_text(encoding="utf-8", errors="replace") if include.is_file() else ""
    except OSError:
        return
    style = re.search(r"^\s*pair_style\s+hybrid/overlay\b(.*)", re.sub(r"&\s*\n", " ", text), re.MULTILINE)
    if style is not None:
        parts = " ".join(style[1].split())
        log.warning(
            "%s makes the potential of several parts (%s): give those beside SNAP by --zbl or --reference, or they pass"
            " for errors", include.name, parts,
        )  # fmt: skip


def _report(result: AdoptResult, settings: FitSettings, output: Path, seconds: float, *, json: bool) -> None:
    from dataclasses import asdict

    model = result.model
    if json:
        facts: dict[str, Any] = {
            "model": str(output),
            "seconds": seconds,
            "energy_shift": dict(result.energy_shift),
            "bias": [asdict(line) for line in result.bias],
            "errors": [line.to_mapping() for line in result.errors],
            "calibration": model.calibration,
        }
        print_json(facts | dict(model.metadata))
        return
    lines = []
    for line in result.bias:
        unit, factor = SHOWN[line.kind]
        removable = f"{100.0 * line.removable:.0f} %"
        lines.append((f"{line.kind} {unit}", line.rows, factor * line.rmse, factor * line.refitted, removable))
    show_table(("quantity", "rows", "RMSE", "of a refit, left out", "bias"), lines)
    for element, shift in result.energy_shift.items():
        say(f"energy of {element} atoms shifted by {shift:+.4f} eV to the zero of the data")
    say(
        f"wrote {output}: the potential and {model.n_members} members of a posterior learned from"
        f" {model.metadata['data']['configurations']} configurations, {seconds:.1f} s"
    )
