"""Conformal quantiles that a model carries: how many predicted errors wide an interval must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mliuq.errors import MliuqError, in_range
from mliuq.model.calibration import is_scale


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
    known = _known(quantiles, f"calibration.conformal.{kind}")
    width = _chord(known, level)
    if width is None:
        rows = (calibration or {}).get("rows", {}).get(kind, "few")
        raise MliuqError(f"level is {level}, expected at most {known[-1][0]:g}: {kind} was calibrated on {rows} rows")
    return width


def conformal_widths(
    calibration: Mapping[str, Any] | None, kind: str, level: float, groups: Mapping[str, NDArray[np.bool_]]
) -> NDArray[np.float64]:
    """Half-widths of intervals of rows by the groups of environments they belong to, in units of the predicted error.

    A row of several groups has the largest of theirs. A group without quantiles of its own has those of all rows, and
    beyond the levels it has, the larger of its last and that of all rows.

    Parameters
    ----------
    groups : masks of any one shape by name, as `mliuq.model.environments.Environments.groups`; every row is in one

    Raises
    ------
    MliuqError
        As `conformal_quantile`.
    """
    pooled = conformal_quantile(calibration, kind, level)
    stored = ((calibration or {}).get("groups") or {}).get("conformal") or {}
    own = stored.get(kind) if isinstance(stored, Mapping) else None
    widths = np.zeros(np.shape(next(iter(groups.values()))))
    for name, rows in groups.items():
        quantiles = own.get(name) if isinstance(own, Mapping) else None
        width = pooled
        if isinstance(quantiles, Mapping) and quantiles:
            known = _known(quantiles, f"calibration.groups.conformal.{kind}.{name}")
            between = _chord(known, level)
            width = max(pooled, known[-1][1]) if between is None else between
        widths = np.where(rows, np.maximum(widths, width), widths)
    return widths


def _known(quantiles: Mapping[str, Any], where: str) -> list[tuple[float, float]]:
    """Levels and quantiles in order, from level 0, width 0.

    Raises
    ------
    MliuqError
        For anything but levels between 0 and 1, each once, and widths from 0 to `LARGEST_SCALE` that fall nowhere: an
        interval must not be inside out, nor narrower for a higher level.
    """
    try:
        known = [(0.0, 0.0), *sorted((float(key), _width(value)) for key, value in quantiles.items())]
    except (TypeError, ValueError) as error:
        raise MliuqError(f"{where} is {dict(quantiles)}, expected levels and numbers") from error
    if not all(low < high <= 1.0 and 0.0 <= q_low <= q_high for (low, q_low), (high, q_high) in pairwise(known)):
        raise MliuqError(
            f"{where} is {dict(quantiles)}, expected levels between 0 and 1, each once, and widths that rise with them"
        )
    return known


def _width(value: Any) -> float:
    if not is_scale(value):
        raise ValueError(f"{value!r} is no width")
    return float(value)


def _chord(known: Sequence[tuple[float, float]], level: float) -> float | None:
    """The quantile between those known; None beyond them."""
    for (low, q_low), (high, q_high) in pairwise(known):
        if level <= high:
            return q_low + (q_high - q_low) * (level - low) / (high - low)
    return None
