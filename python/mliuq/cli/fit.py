"""`mliuq fit`: from reference data to a model with error bars."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mliuq.cli.console import SHOWN, print_json, progress_bar, say, show_table
from mliuq.cli.data_options import DataOptions, takes_data_options
from mliuq.cli.one_body import with_one_body
from mliuq.cli.structures import check_structures, structure_writer

if TYPE_CHECKING:
    from mliuq.fitting.fit import FitResult
    from mliuq.fitting.settings import FitSettings

EXAMPLE = "Example: mliuq fit data.xyz.gz -o W.mliuq --twojmax 8 --rcut 4.7 --seed 1"


@takes_data_options
def run(
    data: Annotated[
        list[Path] | None,
        typer.Argument(help="Training data: XYZ, VASP, FitSNAP, ASE db, …", show_default=False),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Model file to write (.mliuq).")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings; flags beside it win.")] = None,
    test: Annotated[list[Path] | None, typer.Option(help="Held-out data; may be given several times.")] = None,
    represent: Annotated[
        list[Path] | None,
        typer.Option(help="Pool, without values, that the data were chosen from and stand for; may be repeated."),
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(help="Share of the configurations held out when --test is not given.  [default: 0.1]"),
    ] = None,
    save_held_out: Annotated[
        Path | None, typer.Option(help="Write the configurations held out here, to judge the model by.")
    ] = None,
    twojmax: Annotated[int | None, typer.Option(help="2J, the angular resolution.  [default: 8]")] = None,
    rcut: Annotated[
        str | None,
        typer.Option(
            metavar="Å|auto",
            help="SNAP's rcutfac: the cutoff in Å for elements of radius 0.5.  [default: auto, at least 4.7]",
        ),
    ] = None,
    quadratic: Annotated[
        bool | None, typer.Option("--quadratic/--linear", help="Energy quadratic in the bispectrum.")
    ] = None,
    zbl: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="INNER OUTER", help="Nuclear repulsion between these radii (Å)."),
    ] = None,
    energy_weight: Annotated[
        str | None,
        typer.Option(
            metavar="W|auto", help="Weight of squared energy residuals; auto: by left-out errors.  [default: auto]"
        ),
    ] = None,
    force_weight: Annotated[
        str | None, typer.Option(metavar="W|auto", help="Weight of squared force residuals.  [default: 1]")
    ] = None,
    stress_weight: Annotated[
        str | None, typer.Option(metavar="W|auto", help="Weight of squared stress residuals.  [default: 0]")
    ] = None,
    one_body: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X=E …|FILE|isolated",
            help="Energies of isolated atoms, eV (In=-2.1 P=-3.4), a TOML or JSON file of them, or those in the data.",
        ),
    ] = None,
    robust: Annotated[
        bool | None, typer.Option("--robust", help="Leave out configurations whose values cannot be right.")
    ] = None,
    classes_out: Annotated[
        str | None,
        typer.Option(metavar="none|errors|bars", help="What is said of each class left out.  [default: errors]"),
    ] = None,
    posterior: Annotated[str | None, typer.Option(help="gaussian, hypercube (the published POPS) or ensemble.")] = None,
    members: Annotated[int | None, typer.Option(help="Weight vectors kept in the model.  [default: 500]")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.  [default: 0]")] = None,
    threads: Annotated[int | None, typer.Option(help="OpenMP threads; all the machine offers by default.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any other setting, e.g. --set solver.ridge=1e-6; may be given several times.",
        ),
    ] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the settings as TOML and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    reading: DataOptions,
) -> None:
    """Fit a SNAP potential with an ensemble to energies, forces and, if asked, stress.

    Without options: linear SNAP, 2J = 8, 4.7 Å or more for larger atoms, a tenth of the configurations held out for the
    table.
    """
    from mliuq.fitting.settings import FitSettings

    settings = FitSettings.from_toml(config) if config is not None else FitSettings()
    data, energies = with_one_body(data or [], one_body or [])
    changes = {
        "solver.robust": robust,
        **energies,
        "data.train": None if not data else tuple(map(str, data)),
        "data.test": None if not test else tuple(map(str, test)),
        "data.represent": None if not represent else tuple(map(str, represent)),
        "data.test_fraction": test_fraction,
        "snap.twojmax": twojmax,
        "snap.rcut": number_or_text(rcut),
        "snap.quadratic": quadratic,
        "snap.zbl": zbl,
        "weights.energy": number_or_text(energy_weight),
        "weights.force": number_or_text(force_weight),
        "weights.stress": number_or_text(stress_weight),
        "posterior.kind": posterior,
        "posterior.members": members,
        "posterior.classes_out": classes_out,
        "seed": seed,
        **{f"data.{name}": value for name, value in reading.changes.items()},
        "solver.threads": threads,
        **parse_settings(setting or []),
    }
    settings = settings.updated({key: value for key, value in changes.items() if value is not None})
    if print_config:
        for line in settings.to_toml().rstrip().split("\n"):
            say(line)
        return
    if not settings.data.train:
        raise typer.BadParameter("no training data: expected DATA or data.train in --config")
    if output is None:
        raise typer.BadParameter("no model file to write: expected -o NAME.mliuq")
    _fit(settings, output, save_held_out, json=json)


def number_or_text(value: str | None) -> float | str | None:
    """`--energy-weight 100` and `--energy-weight auto`; what is wrong with another text the settings say."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return value


def parse_settings(items: list[str]) -> dict[str, Any]:
    """`key=value` pairs, values as in TOML; what is not TOML is taken as text."""
    found: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(f"--set {item!r}: expected KEY=VALUE, as in solver.ridge=1e-6")
        try:
            found[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            found[key.strip()] = text.strip()
    return found


def _fit(settings: FitSettings, output: Path, save_held_out: Path | None, *, json: bool) -> None:
    from mliuq.fitting.fit import run_fit
    from mliuq.model.model_file import check_model
    from mliuq.readers.kept import KeptStructures
    from mliuq.readers.structures import each_structure
    from mliuq.regression.distributed import world

    inputs = [*settings.data.train, *settings.data.test, *settings.data.represent]
    check_model(output, inputs)
    if save_held_out is not None:
        check_structures(save_held_out, [*map(Path, inputs), output])
    structures, held_out, population = (
        KeptStructures(each_structure(paths, settings.data.dialect)) if paths else None
        for paths in (settings.data.train, settings.data.test, settings.data.represent)
    )
    assert structures is not None
    started = time.perf_counter()
    team = world()
    with progress_bar(quiet=json or team.rank > 0) as bar:
        result = run_fit(structures, settings=settings, test=held_out, represent=population, progress=bar, team=team)
    if team.rank > 0:
        return  # one rank writes and reports
    result.model.save(output)
    if save_held_out is not None:
        with structure_writer(save_held_out) as write:
            for atoms in result.test_structures:
                write(atoms)
    seconds = time.perf_counter() - started
    if json:
        errors = [line.to_mapping() for line in result.errors]
        print_json({"model": str(output), "seconds": seconds, "errors": errors, **result.model.metadata})
        return
    _report(result, output, seconds)


def _report(result: FitResult, output: Path, seconds: float) -> None:
    from mliuq.fitting.classes_out import CLASS_OUT

    lines = []
    for e in result.errors:
        if e.group == "all":
            unit, factor = SHOWN[e.kind]
            lines.append(
                (e.of, f"{e.kind} {unit}", e.rows, factor * e.mae, factor * e.rmse, e.outside, e.mean_z, e.rms_z)
            )
    show_table(("set", "quantity", "rows", "MAE", "RMSE", "outside", "|e|/std", "rms z"), lines)
    classes = [
        (e.group, f"{e.kind} {SHOWN[e.kind][0]}", e.rows, SHOWN[e.kind][1] * e.rmse, e.rms_z, e.independent)
        for e in result.errors
        if e.of == CLASS_OUT
    ]
    if classes:
        show_table(("class left out", "quantity", "rows", "RMSE", "rms z", "independent"), classes)
    if result.balance.left_out:
        constants = ", ".join(f"{name} {constant:g}" for name, constant in result.balance.constants.items())
        errors = ", ".join(
            f"{name} {SHOWN[name][1] * rmse:.4g} {SHOWN[name][0]}" for name, rmse in result.balance.left_out.items()
        )
        say(f"weights chosen by left-out errors: {constants}")
        say(f"left-out RMSE: {errors}")
    solution = result.solution
    held = f", {result.protection.lent:.1f} weights held by a prior" if result.protection.triangle is not None else ""
    say(f"rank {solution.rank} of {len(solution.theta)}, condition number {solution.condition:.2g}{held}")
    model = result.model
    settings = model.metadata.get("fit", {}).get("settings", {})
    if settings.get("snap", {}).get("rcut") == "auto":
        say(f"cutoff {model.params.rcutfac:g} Å, by the distances of neighbours in the data")
    kind = model.metadata.get("posterior", {}).get("kind")
    posterior = f"{model.n_members} members of the {kind} posterior" if model.n_members else "no ensemble"
    say(
        f"wrote {output}: {model.theta.size} weights, {posterior}, "
        f"{len(result.train_structures)} configurations fitted, {len(result.test_structures)} held out, {seconds:.1f} s"
    )
