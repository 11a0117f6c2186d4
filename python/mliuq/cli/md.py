"""`mliuq md`: molecular dynamics that watches its own uncertainty."""

from __future__ import annotations

from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from mliuq.cli.console import print_json, progress_bar, say, show_table
from mliuq.cli.data_options import DataOptions, takes_file_options
from mliuq.cli.one_structure import one_structure
from mliuq.errors import MliuqError
from mliuq.outputs import write_files

if TYPE_CHECKING:
    from mliuq.ase.guard import Threshold
    from mliuq.ase.md import RunSettings, RunSummary

EXAMPLE = "Example: mliuq md W.mliuq start.xyz -o run --ensemble nvt --temperature 600 --steps 10000 --halt 0.5"

PICTURE = "uncertainty.svg"
_HALTED = 1


class Ensemble(StrEnum):
    """What is held constant."""

    nve = "nve"
    nvt = "nvt"
    npt = "npt"


@takes_file_options
def run(
    model: Annotated[Path, typer.Argument(help="Model file (.mliuq).", show_default=False)],
    start: Annotated[
        str, typer.Argument(help="Structure to start from; FILE@INDEX picks one of several.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run, made if need be.")] = Path("md"),
    ensemble: Annotated[Ensemble | None, typer.Option(help="Ensemble; nve by default.", show_default=False)] = None,
    temperature: Annotated[
        float | None, typer.Option(help="K; of the thermostat, and of velocities that the start lacks.")
    ] = None,
    pressure: Annotated[float | None, typer.Option(help="GPa, npt; 0 by default.")] = None,
    steps: Annotated[int, typer.Option(help="Steps of the whole run, those before a restart included.", min=0)] = 1000,
    timestep: Annotated[float | None, typer.Option(help="fs; 1 by default.")] = None,
    thermostat_time: Annotated[float | None, typer.Option(help="Relaxation time, fs; 100 by default.")] = None,
    barostat_time: Annotated[float | None, typer.Option(help="Relaxation time, fs; 1000 by default.")] = None,
    every: Annotated[
        int | None, typer.Option(help="Steps between readings, frames and checkpoints; 10 by default.", min=1)
    ] = None,
    quantity: Annotated[str | None, typer.Option(help="What is watched; forces_err by default.")] = None,
    save: Annotated[
        str | None, typer.Option(metavar="VALUE|auto", help="Save configurations above it to uncertain.xyz.")
    ] = None,
    halt: Annotated[str | None, typer.Option(metavar="VALUE|auto", help="Halt above it.")] = None,
    max_saved: Annotated[int | None, typer.Option(help="Configurations saved at most; 200 by default.", min=0)] = None,
    upper: Annotated[float | None, typer.Option(help="Above it configurations are not saved: exploded.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of velocities and thermostat; 0 by default.")] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Go on with the run in the folder; options not given stay as they were.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(help="OpenMP threads; all the machine offers by default.", min=1)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    reading: DataOptions,
) -> None:
    """Run molecular dynamics that halts where the model no longer knows.

    The folder gets trajectory.xyz (with error bars), run.csv, uncertainty.svg, uncertain.xyz (what the guard saved) and
    checkpoint.npz (to restart from). Without --save and --halt the run is watched, not guarded. Status 1 when halted.
    """
    from mliuq import MLIUQCalculator, Model
    from mliuq.ase.md import RunSettings, read_settings, run_md
    from mliuq.ase.readings import check_quantity

    loaded = Model.load(model)
    if loaded.reference:
        raise MliuqError(
            f"{model}: the fit took the reference potential {loaded.reference!r} off its data: forces of the model "
            "alone move no atoms; run it in LAMMPS (mliuq export writes what to include)"
        )
    atoms = one_structure(start, reading.dialect)
    atoms.calc = MLIUQCalculator(loaded, threads=threads)
    before = read_settings(output) if restart else RunSettings(steps)
    held: dict[str, Any] = {
        "ensemble": None if ensemble is None else ensemble.value,
        "temperature": temperature,
        "pressure": pressure,
    }
    held |= {"timestep": timestep, "thermostat_time": thermostat_time, "barostat_time": barostat_time, "seed": seed}
    guard: dict[str, Any] = {
        "quantity": quantity,
        "save": _threshold("--save", save),
        "halt": _threshold("--halt", halt),
    }
    guard |= {"max_saved": max_saved, "upper": upper}
    settings = replace(
        before,
        steps=steps,
        every=before.every if every is None else every,
        ensemble=replace(before.ensemble, **{key: value for key, value in held.items() if value is not None}),
        guard=replace(before.guard, **{key: value for key, value in guard.items() if value is not None}),
    )
    with progress_bar(quiet=json) as bar:
        summary = run_md(atoms, settings, output, restart=restart, progress=bar)
    unit = check_quantity(atoms, settings.guard.quantity)
    _draw(output, settings, summary, unit)
    _tell(output, settings, summary, unit, json=json)
    if summary.halted is not None:
        raise typer.Exit(_HALTED)


def _threshold(option: str, text: str | None) -> Threshold:
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"expected a number or auto, found {text!r}", param_hint=option) from None


def _draw(folder: Path, settings: RunSettings, summary: RunSummary, unit: str) -> None:
    from mliuq.ase.md import TABLE
    from mliuq.report.along_run import along_run

    table = np.genfromtxt(folder / TABLE, delimiter=",", names=True)
    columns = [np.atleast_1d(table[name]) for name in ("time_fs", settings.guard.quantity, "temperature_K")]
    text = along_run(*columns, quantity=settings.guard.quantity, unit=unit, save=summary.save, halt=summary.halt)
    write_files({folder / PICTURE: text.encode()})


def _tell(folder: Path, settings: RunSettings, summary: RunSummary, unit: str, *, json: bool) -> None:
    from mliuq.cli.console import err

    if json:
        print_json({**asdict(summary), "unit": unit, "settings": asdict(settings), "folder": str(folder)})
    else:
        rows: list[tuple[str, object, str]] = [
            ("steps", summary.steps, ""),
            ("time", summary.steps * settings.ensemble.timestep / 1000.0, "ps"),
            (f"largest {settings.guard.quantity}", summary.largest, unit),
        ]
        if summary.save is not None or summary.halt is not None:
            rows.append(("configurations saved", summary.saved, ""))
        show_table(("", "value", "unit"), rows)
        say(f"wrote {folder}")
    if summary.halted is not None:
        err.print(f"mliuq: halted at {summary.halted}")
