"""Put predictions, numbers and pictures together and write the report's files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from mliuq.model import Model
from mliuq.regression.distributed import Progress
from mliuq.report.figures import draw
from mliuq.report.numbers import JudgedSet, all_numbers, worst
from mliuq.report.page import render
from mliuq.report.predictions import Predictions, predict
from mliuq.report.rows import ReferenceRows
from mliuq.report.theme import to_inline_svg, to_svg_file


def write_report(
    model: Model,
    reference: ReferenceRows,
    test: JudgedSet,
    output: Path,
    *,
    name: str = "model",
    facts: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write `index.html` and `metrics.json` into the folder `output`, made if need be.

    Parameters
    ----------
    reference : rows of the structures judged, see `reference_rows`
    test : names, classes and sizes of these structures
    name : how the model is called on the page

    Returns
    -------
    dict
        What metrics.json holds.
    """
    predictions = predict(model, reference, progress=progress)
    numbers = all_numbers(predictions, test, {"name": name, **model_summary(model)})
    html = page(predictions, test, numbers, name, facts or describe(model))
    output.mkdir(parents=True, exist_ok=True)
    _replace(
        output / "metrics.json", json.dumps(_finite(numbers), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )
    _replace(output / "index.html", html)
    return numbers


def page(predictions: Sequence[Predictions], test: JudgedSet, numbers: dict[str, Any], name: str, facts: str) -> str:
    """The HTML page as text."""
    pictures: dict[str, dict[str, str]] = {}
    files: dict[str, dict[str, str]] = {}
    for p in predictions:
        figures = draw(p)
        pictures[p.kind] = {key: to_inline_svg(f, f"{p.kind}: {key}", f"{p.kind}-{key}") for key, f in figures.items()}
        files[p.kind] = {key: to_svg_file(f) for key, f in figures.items()}
    return render(
        predictions,
        test,
        numbers,
        {p.kind: worst(p, test) for p in predictions},
        pictures,
        files,
        title=f"How far to trust {name}",
        facts=facts,
    )


def describe_structures(structures: Iterable[Atoms], source: str) -> JudgedSet:
    """Names, classes and sizes of structures: `name` or `id` of their info, else their number in the file."""
    names, classes, sizes, symbols = [], [], [], []
    for index, atoms in enumerate(structures):
        label = next((str(atoms.info[key]) for key in ("name", "id", "unique_id") if key in atoms.info), f"#{index}")
        names.append(label)
        classes.append(str(atoms.info.get("config_type", "all")))
        sizes.append(len(atoms))
        symbols.append(atoms.get_chemical_symbols())
    return JudgedSet(source, names, classes, sizes, symbols)


def model_summary(model: Model) -> dict[str, Any]:
    """The few facts about a model that belong beside its metrics."""
    params = model.params
    return {
        "elements": list(params.elements),
        "twojmax": params.twojmax,
        "rcutfac": params.rcutfac,
        "quadratic": bool(params.quadraticflag),
        "weights": int(model.theta.size),
        "members": 0 if model.members is None else len(model.members),
        "posterior": (model.metadata.get("posterior") or {}).get("kind"),
        "noise": model.noise,
        "calibration": model.calibration,
    }


def describe(model: Model) -> str:
    """One line on the model for the head of the page."""
    facts = model_summary(model)
    form = "quadratic SNAP" if facts["quadratic"] else "SNAP"
    posterior = f"{facts['members']} members" + (
        f" of the {facts['posterior']} posterior" if facts["posterior"] else ""
    )
    return (
        f"{' '.join(facts['elements'])}: {form}, 2J = {facts['twojmax']}, rcutfac {facts['rcutfac']:g} Å, "
        f"{facts['weights']} weights, {posterior}, {'calibrated' if facts['calibration'] else 'not calibrated'}."
    )


def _replace(path: Path, text: str) -> None:
    """Write under a temporary name, then rename: a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _finite(value: Any) -> Any:
    """Plain data in which what is not finite is null: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
