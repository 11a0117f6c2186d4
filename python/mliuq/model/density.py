"""The density of training environments around an atom, in descriptor space.

A k-nearest-neighbour estimate on the manifold that environments lie on, not in the space that holds it: with the
distance r_k to the k-th of n stored environments and their intrinsic dimension d,

    ln ρ = ln k − ln n − d ln r_k + constant.

d comes from the ratios μ = r_2/r_1 of the distances of environments to their two nearest others: whatever the density,
−ln(1 − F(μ)) = d ln μ (TwoNN: Facco, d'Errico, Rodriguez, Laio, Sci. Rep. 7, 12140 (2017)).  k is as large as the
density is constant: up to where the balls around the atom and around its k-th neighbour, both holding k, do not agree
in volume by a likelihood-ratio test (Rodriguez, d'Errico, Facco, Laio, J. Chem. Theory Comput. 14, 1206 (2018)),

    D_k = 4 k ln cosh(½ d ln(r_k / r'_k)) ≥ 23.93       (10⁻⁶ of a χ² with one degree of freedom).

Distances are taken where the stored environments have unit covariance, so that no component counts more for its unit.
That such a density tells where a potential may be trusted: Zeni, Anelli, Glielmo, Rossi, Phys. Rev. B 105, 165141
(2022).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mliuq.errors import MliuqError

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

FEWEST = 5
"""Environments of an element that a density is made of."""
LEAST_NEIGHBOURS, MOST_NEIGHBOURS = 4, 100
UNLIKE = 23.92812698
_DISCARDED = 0.1  # share of largest μ, which environments that are nearly there twice spoil
_ROUNDING = 1e-9  # of the largest: variances and distances below are none


def intrinsic_dimension(nearest: Array, second: Array) -> float:
    """Return d from the distances of points to their nearest and second nearest others, (n,) each.

    The slope through the origin of −ln(1 − F) against ln μ, the largest tenth of μ left out.
    """
    logs = np.sort(np.log(second / nearest))
    kept = max(1, round((1.0 - _DISCARDED) * len(logs)))
    x, y = logs[:kept], -np.log1p(-np.arange(1, kept + 1) / (len(logs) + 1))
    norm = float(x @ x)
    return float(x @ y) / norm if norm > 0.0 else 1.0


class EnvironmentDensity:
    """Density of the environments of one element.

    Parameters
    ----------
    environments : (n, K) descriptors, n ≥ `FEWEST`

    Attributes
    ----------
    dimension : d

    Raises
    ------
    MliuqError
        for descriptors so large that their variance is not a finite number
    """

    def __init__(self, environments: Array) -> None:
        self._unit = _whitener(environments)
        self._points = environments @ self._unit
        n = len(self._points)
        self._tree = cKDTree(self._points)
        self._most = min(MOST_NEIGHBOURS, n - 1)
        own, index = self._tree.query(self._points, k=self._most + 1)
        own, index = own[:, 1:], index[:, 1:].astype(np.int64)
        self._closest = max(_ROUNDING * float(own.max()), float(np.finfo(np.float64).tiny))
        self._own = np.maximum(own, self._closest)
        self.dimension = intrinsic_dimension(self._own[:, 0], self._own[:, 1])
        self._typical = float(np.median(self._log_density(self._own, index, n - 1)))

    def __call__(self, b: Array) -> Array:
        """Return ln ρ of descriptors (N, K) less its median over the stored environments: 0 is as dense as usual."""
        distance, index = self._tree.query(b @ self._unit, k=np.arange(1, self._most + 1))
        distance = np.maximum(distance, self._closest)
        return self._log_density(distance, index.astype(np.int64), len(self._points)) - self._typical

    def _log_density(self, distance: Array, index: Indices, n: int) -> Array:
        """Logarithm of ρ but for a constant, from the nearest stored environments, distances and indices (N, k)."""
        k = np.arange(1, distance.shape[1] + 1)
        half = 0.5 * self.dimension * np.abs(np.log(distance / self._own[index, k - 1]))
        unlike = 4.0 * k * (half + np.log1p(np.exp(-2.0 * half)) - np.log(2.0)) >= UNLIKE
        chosen = np.where(unlike.any(axis=1), unlike.argmax(axis=1), k[-1])
        chosen = np.maximum(chosen, min(LEAST_NEIGHBOURS, k[-1]))
        radius = distance[np.arange(len(distance)), chosen - 1]
        return np.asarray(np.log(chosen / n) - self.dimension * np.log(radius))


def _whitener(environments: Array) -> Array:
    """Return (K, r): descriptors times it have unit covariance over the environments."""
    with np.errstate(over="ignore", invalid="ignore"):
        spread = environments.std(axis=0)
    if not np.isfinite(spread).all():
        raise MliuqError("the environments of the model are too far apart for a density: one of them is damaged")
    scale = np.where(spread > _ROUNDING * spread.max(initial=0.0), spread, np.inf)
    variances, axes = np.linalg.eigh(np.atleast_2d(np.cov((environments / scale).T)))
    kept = variances > _ROUNDING * variances[-1]
    if not kept.any():
        return np.zeros((len(scale), 1))
    return np.asarray(axes[:, kept] / np.sqrt(variances[kept]) / scale[:, None])
