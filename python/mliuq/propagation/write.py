"""Results as files: JSON, CSV, pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from mliuq.errors import MliuqError
from mliuq.outputs import write_files
from mliuq.propagation.results import PropertyResult

COLUMNS = ("object", "quantity", "unit", "value", "std", "err", "min", "max", "failed", "reason")


def write_result(result: PropertyResult, stem: Path) -> list[Path]:
    """Write STEM.json, STEM.csv, STEM.png and STEM.svg, all or none; return their names."""
    from mliuq.propagation.figures import draw

    contents = {"json": (to_json(result) + "\n").encode(), "csv": to_csv(result).encode(), **draw(result)}
    files = {stem.with_name(f"{stem.name}.{ending}"): content for ending, content in contents.items()}
    write_files(files)
    return list(files)


def read_result(path: Path) -> PropertyResult:
    """Read what `write_result` wrote.

    Raises
    ------
    MliuqError
        For a file that is not such a result.
    """
    try:
        return PropertyResult.from_mapping(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise MliuqError(f"{path}: not a result of mliuq propagate ({type(error).__name__}: {error})") from error


def to_json(result: PropertyResult) -> str:
    """JSON text; NaN becomes null."""
    return json.dumps(_finite(result.to_mapping()), ensure_ascii=False, allow_nan=False)


def to_csv(result: PropertyResult) -> str:
    """One line for each estimate."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for estimate in result.estimates:
        row = _finite(estimate.to_mapping())
        writer.writerow(["" if row[c] is None else row[c] for c in COLUMNS])
    return stream.getvalue()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
