"""What a propagated property is answered with: estimates with error bars, curves with bands, failures with names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mliuq.core import ErrorScale
from mliuq.errors import MliuqError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """How far unit noise in reference data moves a quantity (root of the sum of squares of its coefficients).

    The noise floor of the quantity is that times the model's floor of energies (eV/atom) and of stress (eV/Å³).
    """

    energy: float = 0.0
    stress: float = 0.0

    def floor(self, scale: ErrorScale) -> float:
        """In the unit of the quantity."""
        return float(np.hypot(self.energy * scale.noise_energy, self.stress * scale.noise_stress))


@dataclass(frozen=True)
class Value:
    """One number computed with one weight vector.

    Attributes
    ----------
    number, unit : the value
    noise : how the reference's noise enters
    kind : whose calibration α applies: energy, force or stress
    """

    number: float
    unit: str
    noise: Noise = Noise()
    kind: str = "energy"


@dataclass(frozen=True, eq=False)
class Line:
    """One curve computed with one weight vector: y of shape (n,), or (n, branches) for bands, on a grid x."""

    x: Array
    y: Array
    x_label: str
    y_label: str
    ticks: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Measurement:
    """All that one weight vector says of a property.

    Attributes
    ----------
    values : (object, quantity) → value
    lines : object → curve
    structures : whatever the property wants the members to start from, by name
    failures : object → reason
    """

    values: Mapping[tuple[str, str], Value] = field(default_factory=dict)
    lines: Mapping[str, Line] = field(default_factory=dict)
    structures: Mapping[str, Any] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Estimate:
    """A quantity with its error bar.

    Attributes
    ----------
    object, quantity, unit : what it is
    best : the best fit's
    members : (M,), NaN where the member failed
    alpha, floor : calibration and noise floor that `err` contains
    reason : why there is no number; empty when there is one
    """

    object: str
    quantity: str
    unit: str
    best: float
    members: Array
    alpha: float = 1.0
    floor: float = 0.0
    reason: str = ""

    @property
    def failed(self) -> int:
        """Number of members without a value."""
        return int(np.isnan(self.members).sum())

    def _reached(self) -> Array:
        return np.asarray(self.members[np.isfinite(self.members)])

    @property
    def value(self) -> float:
        """The best fit's, NaN when there is a reason against it."""
        return np.nan if self.reason else self.best

    @property
    def std(self) -> float:
        """Root second moment of the members about the best fit."""
        return np.nan if self.reason else float(np.sqrt(np.mean((self._reached() - self.best) ** 2)))

    @property
    def err(self) -> float:
        """What to read as "±": ((α std)² + floor²)^½."""
        return float(np.hypot(self.alpha * self.std, self.floor))

    @property
    def low(self) -> float:
        """Smallest value of any member."""
        return np.nan if self.reason else float(self._reached().min())

    @property
    def high(self) -> float:
        """Largest value of any member."""
        return np.nan if self.reason else float(self._reached().max())

    def to_mapping(self) -> dict[str, Any]:
        """Plain values under the names people read."""
        return {
            "object": self.object,
            "quantity": self.quantity,
            "unit": self.unit,
            "value": self.value,
            "best_fit": self.best,
            "std": self.std,
            "err": self.err,
            "min": self.low,
            "max": self.high,
            "failed": self.failed,
            "reason": self.reason,
            "alpha": self.alpha,
            "floor": self.floor,
            "members": self.members.tolist(),
        }

    @classmethod
    def from_mapping(cls, found: Mapping[str, Any]) -> Estimate:
        """Inverse of `to_mapping` (null in JSON stands for NaN)."""
        members = np.array([np.nan if v is None else v for v in found["members"]], dtype=float)
        best = np.nan if found["best_fit"] is None else found["best_fit"]
        kept = ("object", "quantity", "unit", "alpha", "floor", "reason")
        return cls(best=best, members=members, **{key: found[key] for key in kept})


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve with a band: y of shape (n,) or (n, branches), members (M, …) with NaN where one failed."""

    object: str
    x: Array
    best: Array
    members: Array
    x_label: str
    y_label: str
    ticks: Mapping[str, float] = field(default_factory=dict)

    def band(self, share: float) -> tuple[Array, Array]:
        """Lower and upper edge that hold a share of the members at each point."""
        inside = self.members[~np.isnan(self.members).reshape(len(self.members), -1).any(axis=1)]
        if not len(inside):
            return self.best, self.best
        low, high = np.quantile(inside, [(1 - share) / 2, (1 + share) / 2], axis=0)
        return low, high

    def to_mapping(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "object": self.object,
            "x": self.x.tolist(),
            "best_fit": self.best.tolist(),
            "members": self.members.tolist(),
            "x_label": self.x_label,
            "y_label": self.y_label,
            "ticks": dict(self.ticks),
        }

    @classmethod
    def from_mapping(cls, found: Mapping[str, Any]) -> Curve:
        """Inverse of `to_mapping`."""
        arrays = {key: np.array(found[key], dtype=float) for key in ("x", "best_fit", "members")}
        return cls(
            found["object"],
            arrays["x"],
            arrays["best_fit"],
            arrays["members"],
            found["x_label"],
            found["y_label"],
            found["ticks"],
        )


@dataclass(frozen=True)
class Failure:
    """A member that has no value for an object, and why; member −1 is the best fit."""

    member: int
    object: str
    reason: str


@dataclass(frozen=True, eq=False)
class PropertyResult:
    """The answer of one property.

    Attributes
    ----------
    property : its name
    estimates, curves : with error bars
    failures : named
    comparisons : what follows from several objects together: rank correlations, probabilities of orders
    settings : of the property and of the propagation
    model : facts about the model, fingerprint first
    members : indices of the members used
    """

    property: str
    estimates: Sequence[Estimate]
    curves: Sequence[Curve]
    failures: Sequence[Failure]
    comparisons: Mapping[str, Any]
    settings: Mapping[str, Any]
    model: Mapping[str, Any]
    members: Sequence[int]

    def __getitem__(self, key: tuple[str, str]) -> Estimate:
        """The estimate of (object, quantity)."""
        for estimate in self.estimates:
            if (estimate.object, estimate.quantity) == key:
                return estimate
        known = ", ".join(f"{e.object} {e.quantity}" for e in self.estimates)
        raise MliuqError(f"{self.property} has no {key[1]} of {key[0]}, expected one of: {known}")

    def to_mapping(self) -> dict[str, Any]:
        """What the JSON file holds."""
        return {
            "property": self.property,
            "model": dict(self.model),
            "settings": dict(self.settings),
            "used_members": list(self.members),
            "estimates": [e.to_mapping() for e in self.estimates],
            "curves": [c.to_mapping() for c in self.curves],
            "failures": [vars(f) for f in self.failures],
            "comparisons": dict(self.comparisons),
        }

    @classmethod
    def from_mapping(cls, found: Mapping[str, Any]) -> PropertyResult:
        """Inverse of `to_mapping`."""
        return cls(
            found["property"],
            [Estimate.from_mapping(e) for e in found["estimates"]],
            [Curve.from_mapping(c) for c in found["curves"]],
            [Failure(**f) for f in found["failures"]],
            found["comparisons"],
            found["settings"],
            found["model"],
            found["used_members"],
        )
