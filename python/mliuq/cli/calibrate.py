"""`mliuq calibrate`: scale the error bars of a model to the errors it makes on given structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from mliuq.readers.settings import DataSettings
    from mliuq.regression.distributed import Progress

EXAMPLE = "Example: mliuq calibrate W.mliuq unseen.xyz -o W_calibrated.mliuq"


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
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    reading: DataOptions,
) -> None:
    """Find the calibration factors and conformal quantiles of energies and forces and store them in the model.

    Weights, members and raw spreads (*_std) stay as they are; calibrated error bars (*_err) change. Kinds of quantity
    without references in the structures keep theirs.
    """
    from mliuq import Model
    from mliuq.model.model_file import check_model
    from mliuq.posterior.calibration import calibrate
    from mliuq.posterior.thresholds import guard_thresholds
    from mliuq.readers import read_structures
    from mliuq.regression.rows import KINDS

    target = output or model
    check_model(target, [structures] if target == model else [model, structures])
    loaded = Model.load(model)
    data = reading.settings(loaded.metadata)
    batch = read_structures(structures, data.dialect)
    warn_of_seen(loaded, batch, "error bars calibrated on them are too small")
    with progress_bar(quiet=json) as bar:
        held_out = errors_on(loaded, batch, structures.name, data=data, stress=stress, progress=bar)
    found = calibrate(held_out.of_enough_rows()).to_mapping()
    old = dict(loaded.calibration or {})
    new = list(found["rows"])
    for kind in KINDS:
        if kind not in new:
            found[f"alpha_{kind}"] = old.get(f"alpha_{kind}", 1.0)
            for part in ("conformal", "rows"):
                if kind in old.get(part, {}):
                    found[part][kind] = old[part][kind]
    spreads = (old.get("thresholds") or {}).get("force_std")
    if spreads is not None:
        floor = (loaded.noise or {}).get("force", 0.0)
        found["thresholds"] = guard_thresholds(spreads, found["alpha_force"], floor)
    replace(loaded, calibration=found).save(target)
    if json:
        print_json({"model": str(target), "calibration": found, "before": old or None})
        return
    show_table(
        ("quantity", "rows", "α before", "α", *(f"conformal {p}" for p in ("0.6827", "0.9545"))),
        [
            (
                kind,
                found["rows"][kind],
                old.get(f"alpha_{kind}"),
                found[f"alpha_{kind}"],
                *(found["conformal"].get(kind, {}).get(p) for p in ("0.6827", "0.9545")),
            )
            for kind in new
        ],
    )
    say(f"wrote {target}")


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
    from mliuq.regression.rows import KINDS
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
    return HeldOut((p.y - p.mean)[live], p.std[live], floor[live], p.kind[live], source)
