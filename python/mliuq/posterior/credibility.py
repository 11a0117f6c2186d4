"""Is a calibration still credible?  An interval for α from new errors, with configurations as its units.

Errors of one configuration are alike, and hundreds of force components of one cell are not hundreds of witnesses.

- Jackknife: with α_g found without the g-th of G groups of configurations (every configuration a group, up to
  `GROUPS`), L = ln(α²⟨std²⟩ + ⟨floor²⟩) has the variance (G − 1)/G Σ (L_g − mean)², and the interval is L ± t_{G−1}·its
  root (Tukey 1958; t: Student's).  Without floors L is 2 ln α but for a constant; where the floor is all there is, α
  has no logarithm but L has one.
- Energies and stresses, whose α maximises a likelihood, besides: every α whose likelihood, each configuration counted
  once, is within χ²₁ of the largest (Wilks 1938); of the two intervals the hull is taken.  The jackknife sees errors of
  any shape but knows little of a few; the likelihood knows a Gaussian shape.

In simulations (tests/posterior/test_credibility.py) intervals of nominal 95 % held α in 0.89 to 0.97 of the cases, with
8 to 40 configurations, errors Gaussian or with five degrees of freedom, and scales that differ between configurations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2
from scipy.stats import t as student

from mliuq.posterior.calibration import ALPHA_RANGE, HeldOut, alpha_by_quantile, alpha_of_credible, credible
from mliuq.regression.rows import FORCE, KINDS, Floats, Ints

LEVEL = 0.95
CREDIBLE = "credible"
GROUPS = 40
_GRID = 2000  # α of the likelihood's interval, evenly in ln α

Estimator = Callable[[Floats, Floats, Floats], float]


@dataclass(frozen=True)
class AlphaInterval:
    """An interval that holds α with probability `level`.

    Attributes
    ----------
    alpha : from all rows
    low, high : its ends
    configurations : how many there were
    """

    alpha: float
    low: float
    high: float
    configurations: int

    def verdict(self, alpha: float | None) -> str:
        """Say in words whether another α is credible."""
        if alpha is None:
            return "not there"
        if alpha < self.low:
            return "too small"
        return "too large" if alpha > self.high else CREDIBLE


def alpha_intervals(held_out: HeldOut, *, level: float = LEVEL, seed: int = 0) -> dict[str, AlphaInterval]:
    """Return an interval for each kind of which two configurations or more have rows.

    Parameters
    ----------
    held_out : rows; without their configurations there are no intervals
    seed : of the deal of more than `GROUPS` configurations into groups
    """
    found: dict[str, AlphaInterval] = {}
    if held_out.config is None:
        return found
    for kind in np.unique(held_out.kind):
        at = held_out.kind == kind
        error, spread, floor = np.abs(held_out.error[at]), held_out.spread[at], held_out.floor[at]
        configurations, index = np.unique(held_out.config[at], return_inverse=True)
        n = len(configurations)
        if n < 2:
            continue
        group = np.random.default_rng(seed).permutation(n)[index] % GROUPS
        estimate: Estimator = alpha_by_quantile if kind == FORCE else alpha_of_credible
        alpha = estimate(error, spread, floor)
        low, high = _jackknife(estimate, alpha, (error, spread, floor), group, level)
        if kind != FORCE:
            most = credible(error, spread, floor)
            ends = _by_likelihood((error[most], spread[most], floor[most]), len(np.unique(index[most])), level)
            low, high = min(low, ends[0]), max(high, ends[1])
        found[KINDS[kind]] = AlphaInterval(alpha, low, high, n)
    return found


def _jackknife(
    estimate: Estimator, alpha: float, rows: tuple[Floats, Floats, Floats], group: Ints, level: float
) -> tuple[float, float]:
    spread2, floor2 = (float(np.mean(np.square(column))) for column in rows[1:])
    without = [estimate(*(column[group != g] for column in rows)) for g in np.unique(group)]
    logs, n = np.log(np.square(without) * spread2 + floor2), len(without)
    error = np.sqrt((n - 1) / n * np.sum(np.square(logs - logs.mean())))
    reach = min(50.0, float(student.ppf(0.5 + 0.5 * level, n - 1) * error))
    ends = np.exp(np.log(alpha**2 * spread2 + floor2) + np.array([-reach, reach]))
    low, high = np.clip(np.sqrt(np.maximum(ends - floor2, 0.0) / spread2), *ALPHA_RANGE)
    return float(low), float(high)


def _by_likelihood(rows: tuple[Floats, Floats, Floats], n: int, level: float) -> tuple[float, float]:
    """Ends of {α: n (F(α) − min F) ≤ χ²₁}, F the mean of ln v + e²/v over the rows of n configurations."""
    error, spread, floor = rows
    alphas = np.geomspace(*ALPHA_RANGE, _GRID)
    costs = np.empty(_GRID)
    for i, alpha in enumerate(alphas):
        v = (alpha * spread) ** 2 + floor**2
        costs[i] = np.mean(np.log(v) + error**2 / v)
    inside = alphas[n * (costs - costs.min()) <= chi2.ppf(level, 1)]
    return float(inside[0]), float(inside[-1])
