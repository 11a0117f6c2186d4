"""What a check says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Curve:
    """A line for the page."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    x_label: str
    y_label: str


@dataclass(frozen=True)
class Outcome:
    """Grade P (passed), F (failed) or N (does not apply), the figure it was judged by, and the limit of that figure."""

    grade: Literal["P", "F", "N"]
    figure: float | None
    limit: float | None
    unit: str
    note: str = ""
    curves: tuple[Curve, ...] = ()


def at_most(figure: float, limit: float, unit: str, note: str = "", curves: Sequence[Curve] = ()) -> Outcome:
    """Passed if the figure is a number not above the limit; NaN never passes."""
    return Outcome("P" if figure <= limit else "F", float(figure), limit, unit, note, tuple(curves))


def at_least(figure: float, limit: float, unit: str, note: str = "", curves: Sequence[Curve] = ()) -> Outcome:
    """Passed if the figure is a number not below the limit; NaN never passes."""
    return Outcome("P" if figure >= limit else "F", float(figure), limit, unit, note, tuple(curves))


def not_applicable(why: str) -> Outcome:
    """Nothing to judge."""
    return Outcome("N", None, None, "", why)
