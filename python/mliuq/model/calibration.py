"""What the calibration of a model file may hold, as the reader in C++ takes it."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from numbers import Real
from typing import Any

from mliuq.errors import MliuqError

TABLES = ("conformal", "rows", "interval", "configurations", "thresholds", "groups")
"""Parts that are tables, most of them by kind of quantity."""

LARGEST_SCALE = 1e50
"""Of α, noise floors and quantiles: no finite spread becomes infinite when it is multiplied by them."""


def is_scale(value: Any) -> bool:
    """Whether `value` is a number from 0 to `LARGEST_SCALE`."""
    number: Any = value if isinstance(value, Real) and not isinstance(value, bool) else -1.0
    return bool(0.0 <= number <= LARGEST_SCALE)


def checked_calibration(calibration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a calibration without what is null.

    Raises
    ------
    MliuqError
        for a part that is no table where one is expected, and thresholds other than two numbers in order.
    """
    told = {key: value for key, value in calibration.items() if value is not None}
    for key in TABLES:
        if not isinstance(told.get(key, {}), Mapping):
            raise MliuqError(f"calibration.{key} is {told[key]!r:.200}, expected an object")
    stored_thresholds(told)
    return told


def stored_thresholds(calibration: Mapping[str, Any] | None) -> dict[str, tuple[float, float]]:
    """Return the thresholds, to save and to halt, by quantity as LAMMPS names it.

    Raises
    ------
    MliuqError
        for anything but two numbers in order.
    """
    thresholds = {}
    for quantity, pair in ((calibration or {}).get("thresholds") or {}).items():
        numbers = isinstance(pair, list | tuple) and not any(
            isinstance(value, bool) or not isinstance(value, Real) for value in pair
        )
        if not numbers or len(pair) != 2 or not 0.0 <= pair[0] <= pair[1] < inf:
            raise MliuqError(
                f"calibration.thresholds.{quantity} is {pair!r:.200}, "
                "expected two numbers in order, to save and to halt above"
            )
        thresholds[quantity] = float(pair[0]), float(pair[1])
    return thresholds
