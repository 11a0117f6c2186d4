"""Put predictions, numbers and pictures together and write the report's files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.model import Model
from mliuq.model.environments import environments_of
from mliuq.outputs import Kind, check_output, write_files
from mliuq.regression.distributed import Progress
from mliuq.report.figures import draw
from mliuq.report.numbers import JudgedSet, all_numbers, worst
from mliuq.report.page import GENERATOR, render
from mliuq.report.predictions import Predictions, predict
from mliuq.report.rows import ReferenceRows
from mliuq.report.theme import to_inline_svg, to_svg_file

_FILES = {
    "metrics.json": Kind("the metrics of a report", lambda head: head[:20].split()[:2] == [b"{", b'"model":']),
    "index.html": Kind("a report of mliuq", lambda head: GENERATOR.encode() in head),
}
"""What a report consists of, and what files of these names must be to be replaced."""


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
    check_report(output)
    predictions = predict(model, reference, progress=progress)
    numbers = all_numbers(predictions, test, {"name": name, **model_summary(model)})
    html = page(predictions, test, numbers, name, facts or describe(model))
    text = json.dumps(_finite(numbers), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    existed = output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_files({output / "metrics.json": text.encode(), output / "index.html": html.encode()})
    except BaseException as error:
        if not existed:
            with suppress(OSError):
                output.rmdir()
        if isinstance(error, OSError):
            raise MliuqError(f"{output}: cannot be made: {error.strerror}") from error
        raise
    return numbers


def check_report(output: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuse a folder that a report cannot or must not be written to, before any work is done.

    Raises
    ------
    MliuqError
        where it is no folder, cannot be written, or holds files of these names that are inputs or no report's.
    """
    if not output.exists():
        nearest = next(folder for folder in output.absolute().parents if folder.exists())
        check_output(nearest / output.name)
        return
    if not output.is_dir():
        raise MliuqError(f"{output}: is a file, expected the name of a folder")
    for name, kind in _FILES.items():
        check_output(output / name, inputs=inputs, kind=kind)


def page(predictions: Sequence[Predictions], test: JudgedSet, numbers: dict[str, Any], name: str, facts: str) -> str:
    """The HTML page as text."""
    pictures: dict[str, dict[str, str]] = {}
    files: dict[str, dict[str, str]] = {}
    for p in predictions:
        figures = draw(p, numbers["quantities"][p.kind]["by_environment"])
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


def describe_structures(structures: Iterable[Atoms], source: str, group_key: str = "config_type") -> JudgedSet:
    """Names, classes, sizes and surroundings of structures: `name` or `id` of their info, else their number."""
    listed = list(structures)
    names, classes, sizes, symbols = [], [], [], []
    for index, atoms in enumerate(listed):
        label = next((str(atoms.info[key]) for key in ("name", "id", "unique_id") if key in atoms.info), f"#{index}")
        names.append(label)
        classes.append(str(atoms.info.get(group_key, "all")))
        sizes.append(len(atoms))
        symbols.append(atoms.get_chemical_symbols())
    return JudgedSet(source, names, classes, sizes, symbols, environments_of(listed))


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
        "classes_out": (model.metadata.get("fit") or {}).get("classes_out") or [],
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


def _finite(value: Any) -> Any:
    """Plain data in which what is not finite is null: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
