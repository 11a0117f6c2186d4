"""Conformal quantiles that a model carries: how many predicted errors wide an interval must be."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from mliuq.errors import MliuqError, in_range


def conformal_quantile(calibration: Mapping[str, Any] | None, kind: str, level: float) -> float:
    """Half-width, in units of the predicted error, of an interval that holds an error with probability `level`.

    Between stored levels the quantile is taken from the chord. Where large errors are rarer than small ones the
    quantile is a convex function of the level, and its chord lies above it: the interval is a little too wide, not too
    narrow. Below the lowest level stored, the chord begins at level 0, width 0.

    Parameters
    ----------
    calibration : mapping, optional
        What `Model.calibration` holds.
    kind : str
        "energy", "force" or "stress".
    level : float
        Above 0, below 1.

    Raises
    ------
    MliuqError
        For a model without quantiles of this kind, and a level beyond those that its calibration had rows for.
    """
    in_range("level", level, 0.0, 1.0, open_top=True)
    if level == 0.0:
        raise MliuqError("level is 0, expected a number above 0 and below 1")
    stored = (calibration or {}).get("conformal")
    quantiles = stored.get(kind) if isinstance(stored, Mapping) else None
    if not isinstance(quantiles, Mapping) or not quantiles:
        raise MliuqError(
            f"the model carries no conformal quantiles of {kind}: calibrate it on structures that have references of it"
        )
    try:
        known = [(0.0, 0.0), *sorted((float(key), float(value)) for key, value in quantiles.items())]
    except (TypeError, ValueError) as error:
        raise MliuqError(f"calibration.conformal.{kind} is {dict(quantiles)}, expected levels and numbers") from error
    for (low, q_low), (high, q_high) in pairwise(known):
        if level <= high:
            return q_low + (q_high - q_low) * (level - low) / (high - low)
    rows = (calibration or {}).get("rows", {}).get(kind, "few")
    raise MliuqError(f"level is {level}, expected at most {known[-1][0]:g}: {kind} was calibrated on {rows} rows")
