"""The published POPS posterior: a box around the corrections, along their principal axes.

θ = θ* + V u with V the eigenvectors of Σ δδᵀ whose eigenvalue exceeds a fraction of the largest, u uniform in [lo, hi],
the range (or inner percentiles) of the projections Vᵀδ over the chosen rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from mliuq.errors import MliuqError
from mliuq.posterior.corrections import Corrections
from mliuq.posterior.samplers import unit_points
from mliuq.regression.rows import Floats

#: Projections held at a time while percentiles are taken (numbers, not bytes).
_HELD = 1 << 25


@dataclass(frozen=True)
class Hypercube:
    """A box of moves of the weights: δ = axes · u, lo ≤ u ≤ hi.

    Attributes
    ----------
    axes : (P, K) orthonormal, by rising eigenvalue
    lo, hi : (K,)
    """

    axes: Floats
    lo: Floats
    hi: Floats

    def sample(self, n: int, seed: int, sampler: str = "uniform") -> Floats:
        """Return `n` moves drawn uniformly from the box, shape (n, P)."""
        u = unit_points(sampler, n, len(self.lo), seed)
        return np.asarray((self.lo + (self.hi - self.lo) * u) @ self.axes.T)

    def second_moment(self) -> Floats:
        """Return E[δδᵀ] of the box in closed form: about the best fit, not about the middle, shape (P, P)."""
        middle, half = 0.5 * (self.lo + self.hi), 0.5 * (self.hi - self.lo)
        inner = np.outer(middle, middle) + np.diag(half**2 / 3.0)
        return np.asarray(self.axes @ inner @ self.axes.T)


def fit_hypercube(
    corrections: Corrections, *, mode_threshold: float = 1e-8, percentile_clipping: float = 0.0
) -> Hypercube:
    """Fit the box to the corrections: one pass over the rows for the axes and (at least) one for the bounds.

    Percentiles are exact at any size: axes are taken in groups small enough that all their projections fit in 256 MiB,
    with one pass over the rows for each group.

    Parameters
    ----------
    mode_threshold : axes with an eigenvalue below this fraction of the largest are dropped
    percentile_clipping : percentile (0 … 50) cut from each end of the projections
    """
    if not 0.0 <= percentile_clipping <= 50.0:
        raise MliuqError(f"percentile_clipping is {percentile_clipping}, expected a number in [0, 50]")
    if not mode_threshold > 0.0:
        raise MliuqError(f"mode_threshold is {mode_threshold}, expected a number above zero")
    values, vectors = eigh(corrections.gram())
    axes = vectors[:, values > mode_threshold * values[-1]] if values[-1] > 0.0 else vectors[:, :0]
    axes = corrections.team.broadcast(axes)
    if percentile_clipping == 0.0:
        lo, hi = _extremes(corrections, axes)
    else:
        lo, hi = _percentiles(corrections, axes, percentile_clipping)
    return Hypercube(axes, lo, hi)


def _extremes(corrections: Corrections, axes: Floats) -> tuple[Floats, Floats]:
    lo, hi = np.full(axes.shape[1], np.inf), np.full(axes.shape[1], -np.inf)
    for projected in corrections.project(axes, "bounds"):
        if len(projected):
            lo, hi = np.minimum(lo, projected.min(axis=0)), np.maximum(hi, projected.max(axis=0))
    everyone = corrections.team.gather(np.stack([lo, hi])[None])
    return everyone[:, 0].min(axis=0), everyone[:, 1].max(axis=0)


def _percentiles(corrections: Corrections, axes: Floats, clipping: float) -> tuple[Floats, Floats]:
    width = max(1, _HELD // max(1, len(corrections)))
    bounds = [np.zeros((2, 0))]
    for first in range(0, axes.shape[1], width):
        group = axes[:, first : first + width]
        parts = list(corrections.project(group, "bounds"))
        projected = corrections.team.gather(np.concatenate([np.zeros((0, group.shape[1])), *parts]))
        bounds.append(np.percentile(projected, [clipping, 100.0 - clipping], axis=0, overwrite_input=True))
    lo, hi = np.concatenate(bounds, axis=1)
    return lo, hi
