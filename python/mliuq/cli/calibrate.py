"""`mliuq calibrate`: scale the error bars of a model to the errors it makes on given structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from ase import Atoms

from mliuq.cli.console import print_json, progress_bar, say, show_table
from mliuq.cli.data_options import DataOptions, takes_data_options
from mliuq.cli.seen import warn_of_seen
from mliuq.errors import MliuqError

if TYPE_CHECKING:
    from mliuq.model import Model
    from mliuq.posterior.calibration import HeldOut
    from mliuq.posterior.credibility import AlphaInterval
    from mliuq.readers.settings import DataSettings
    from mliuq.regression.distributed import Progress

EXAMPLE = "Example: mliuq calibrate W.mliuq unseen.xyz -o W_calibrated.mliuq"
UPDATES = ("always", "needed", "never")
_PARTS = ("conformal", "rows", "interval", "configurations")


@takes_data_options
def run(
    model: Annotated[Path, typer.Argument(help="Model file (.mliuq).", show_default=False)],
    structures: Annotated[
        Path, typer.Argument(help="Structures with energies and forces that the fit has not seen.", show_default=False)
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Model file to write; the input model is replaced by default.")
    ] = None,
    stress: Annotated[bool, typer.Option("--stress", help="Calibrate stress too.")] = False,
    update: Annotated[
        str,
        typer.Option(
            metavar="|".join(UPDATES),
            help="Store new factors always, where the old ones are not credible, or never: say only.",
        ),
    ] = "always",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    reading: DataOptions,
) -> None:
    """Find the calibration factors and conformal quantiles of energies and forces and store them in the model.

    Weights, members and raw spreads (*_std) stay as they are; calibrated error bars (*_err) change. Kinds of quantity
    without references in the structures keep theirs.

    The table says in which interval each factor lies with a probability of 95 %, from configurations as independent
    witnesses, and whether the old one is credible.
    """
    from mliuq import Model
    from mliuq.fitting.calibrating import calibrated, warn_of_doubtful
    from mliuq.model.environments import Usual
    from mliuq.model.model_file import check_model
    from mliuq.posterior.credibility import CREDIBLE, alpha_intervals
    from mliuq.posterior.thresholds import guard_thresholds
    from mliuq.readers import read_structures
    from mliuq.regression.rows import KINDS

    if update not in UPDATES:
        raise typer.BadParameter(f"--update {update!r}: expected one of {', '.join(UPDATES)}")
    if update == "never" and output is not None:
        raise typer.BadParameter("--update never writes nothing: expected no -o")
    target = output or model
    check_model(target, [structures] if target == model else [model, structures])
    loaded = Model.load(model)
    data = reading.settings(loaded.metadata)
    batch = read_structures(structures, data.dialect)
    warn_of_seen(loaded, batch, "error bars calibrated on them are too small")
    with progress_bar(quiet=json) as bar:
        held_out = errors_on(loaded, batch, structures.name, data=data, stress=stress, progress=bar)
    held_out = held_out.of_enough_rows()
    warn_of_doubtful(held_out, batch, data.group_key)
    old = dict(loaded.calibration or {})
    found, intervals = calibrated(held_out, batch, Usual.of(old)), alpha_intervals(held_out)
    found["interval"] = {kind: [interval.low, interval.high] for kind, interval in intervals.items()}
    found["configurations"] = {kind: interval.configurations for kind, interval in intervals.items()}
    lines = [_line(kind, found, old, intervals.get(kind)) for kind in found["rows"]]
    credible = {line["quantity"] for line in lines if line["old"] == CREDIBLE}
    for kind in KINDS:
        if kind not in found["rows"] or (update == "needed" and kind in credible):
            _keep(kind, found, old)
    spreads = (old.get("thresholds") or {}).get("force_std")
    if spreads is not None:
        floor = (loaded.noise or {}).get("force", 0.0)
        found["thresholds"] = guard_thresholds(spreads, found["alpha_force"], floor)
    if update != "never":
        replace(loaded, calibration=found).save(target)
    if json:
        written = str(target) if update != "never" else None
        print_json({"model": written, "calibration": found, "before": old or None, "credibility": lines})
        return
    show_table(
        ("quantity", "structures", "rows", "α", "95 % interval", "α before", "is"),
        [
            (
                *(line[key] for key in ("quantity", "configurations", "rows", "alpha")),
                "–" if line["interval"] is None else "{:.3g} to {:.3g}".format(*line["interval"]),
                line["before"],
                line["old"],
            )
            for line in lines
        ],
    )
    if update == "never":
        say("nothing written")
    else:
        kept = [line["quantity"] for line in lines if update == "needed" and line["quantity"] in credible]
        say(f"wrote {target}" + (f", α of {' and '.join(kept)} as before" if kept else ""))


def _line(kind: str, found: dict[str, Any], old: dict[str, Any], interval: AlphaInterval | None) -> dict[str, Any]:
    """What is said of one kind."""
    before = old.get(f"alpha_{kind}") if kind in old.get("rows", {kind: 0}) else None
    verdict = "unknown" if interval is None else interval.verdict(before)
    return {
        "quantity": kind,
        "configurations": 1 if interval is None else interval.configurations,
        "rows": found["rows"][kind],
        "before": before,
        "alpha": found[f"alpha_{kind}"],
        "interval": None if interval is None else [interval.low, interval.high],
        "old": verdict,
    }


def _keep(kind: str, found: dict[str, Any], old: dict[str, Any]) -> None:
    """Put the old calibration of one kind into the new one."""
    found[f"alpha_{kind}"] = old.get(f"alpha_{kind}", 1.0)
    for part in _PARTS:
        found[part].pop(kind, None)
        if kind in old.get(part, {}):
            found[part][kind] = old[part][kind]
    _of_groups(found).pop(kind, None)
    if kind in _of_groups(old):
        found.setdefault("groups", {"conformal": {}, "usual": old["groups"]["usual"]})
        found["groups"]["conformal"][kind] = old["groups"]["conformal"][kind]


def _of_groups(calibration: dict[str, Any]) -> dict[str, Any]:
    """The quantiles of groups of environments by kind."""
    return dict.get(calibration.get("groups") or {}, "conformal") or {}


def errors_on(
    model: Model,
    structures: Sequence[Atoms],
    source: str,
    *,
    data: DataSettings,
    stress: bool,
    progress: Progress | None,
) -> HeldOut:
    """Errors of a model on structures with references, rows that are zero by symmetry left out."""
    from mliuq.judging.metrics import informative
    from mliuq.posterior.calibration import HeldOut
    from mliuq.posterior.predict import predict
    from mliuq.regression.rows import KINDS, atoms_of
    from mliuq.report.rows import reference_rows, warn_of_odd_stress

    if model.members is None:
        raise MliuqError("the model has no ensemble: nothing to calibrate (fit one with --members above 0)")
    potential = data.reference_potential(model.params.elements)
    reference = reference_rows(model, structures, stress=stress, keys=data.keys, reference=potential)
    theta = model.theta.ravel()
    moves = model.members.reshape(model.n_members, -1) - theta
    p = predict(reference.rows, theta, moves, progress=progress)
    warn_of_odd_stress(p, reference)
    floor = np.array([(model.noise or {}).get(name, 0.0) for name in KINDS])[p.kind]
    live = informative(p.kind, p.size) & ((p.std > 0.0) | (floor > 0.0))
    atom = atoms_of(p.kind, p.config)
    return HeldOut((p.y - p.mean)[live], p.std[live], floor[live], p.kind[live], source, p.config[live], atom[live])
