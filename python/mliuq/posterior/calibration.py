"""Calibration: one factor α per kind of quantity, and conformal quantiles, from errors on rows the fit has not seen.

The predicted error is err = ((α·std)² + floor²)^½.  α is chosen so that err is honest on held-out rows:

- energies, stresses: by maximum likelihood, minimising Σ [ln err² + e²/err²] (without floor: α² = mean of (e/std)²)
  over the rows that are no more than ten bars off by the α that forces would have: one cell computed with other
  k-points than the rest, 44 bars off among 174 energies, would widen the bars of all by a factor of three;
- forces: the smallest α at which the 95.45 % quantile of |e|/err is at most 2 and the 68.27 % quantile at most 1, as
  for a Gaussian: a single bad configuration brings hundreds of force rows but cannot move a quantile far.

A std estimated from M members scatters, and 1/std² is too large on average; asked to, α is corrected by ((M − 2)/M)^½,
or by the ratio of the quantiles of Student's t with M degrees of freedom and of the Gaussian (compare Imbalzano et al.,
J. Chem. Phys. 154, 074102 (2021), whose spread is about the mean of the members; ours is about the best fit).

The interval ± c_p·err, c_p the conformal quantile of |e|/err (`mliuq.posterior.conformal`), holds the share p of the
errors of configurations like those calibrated on, whatever their shape.

Errors "not seen" are leave-one-configuration-out residuals, but a posterior fitted to them has seen them:
`cross_fitted` fits it to some configurations and predicts the others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import stdtrit

from mliuq.errors import MliuqError
from mliuq.posterior.conformal import conformal_quantiles
from mliuq.posterior.gaussian import GaussianSettings, fit_gaussian
from mliuq.posterior.left_out import LeftOutRows
from mliuq.regression.rows import FORCE, KINDS, Floats, Ints

log = logging.getLogger(__name__)

LEVELS = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.6827, 0.9545, 0.975, 0.99, 0.995, 0.9973, 0.999)
"""Of the conformal quantiles kept: close enough for chords between them."""
FORCE_COVERAGE = ((0.6827, 1.0), (0.9545, 2.0))
"""Coverages α of forces must reach, as (probability, half-width in err).  The second alone under-covers ±1σ and
over-tightens where |e|/err is flatter than a Gaussian (tantalum: rms z 1.13 and 60 % within ±1σ, 1.02 and 67 % with
both)."""
ALPHA_RANGE = (1e-3, 1e3)
FOLDS = 5
DOUBTFUL = 10.0
"""Error of an energy or a stress, in bars by quantiles, from which on it tells of its reference, not of α."""
PRIOR = 50.0
"""Rows that the belief in a Gaussian posterior counts for.  As it comes, before any calibration, rms z of six data sets
was within a tenth of one: ln α ~ N(0, 0.1²), and n rows know ln α to (2n)^-½.  Of no account for hundreds of rows; with
1.5 energies for each weight, fits without a fold have 1.2, and α of their errors alone makes bars a third too wide
(benchmarks/little_data.py)."""
FEW_WITNESSES = 10
"""Configurations of a group below which it has no quantiles of its own: errors of one are alike."""
FEW_ROWS = 10
"""Rows of a kind below which given structures do not calibrate it: α from n rows is uncertain by (2n)^-½."""


@dataclass(frozen=True)
class HeldOut:
    """Errors on rows not seen and what was predicted for them, arrays (n,).

    Attributes
    ----------
    error : reference minus prediction; energies per atom (eV/atom), eV/Å, eV/Å³
    spread : std of the posterior, without floor or calibration
    floor : noise floor of each row
    kind : ENERGY, FORCE or STRESS
    source : where the rows come from, for the record
    config, atom : configuration of each row, and atom of each force (−1 for others), where they are known
    """

    error: Floats
    spread: Floats
    floor: Floats
    kind: NDArray[np.int8]
    source: str
    config: Ints | None = None
    atom: Ints | None = None

    @classmethod
    def joined(cls, parts: Sequence[HeldOut], source: str) -> HeldOut:
        """Rows of all parts, one after the other; their configurations and atoms where every part knows them."""
        columns = zip(*((part.error, part.spread, part.floor, part.kind) for part in parts), strict=True)
        error, spread, floor, kind = map(np.concatenate, columns)
        config, atom = ([getattr(part, name) for part in parts] for name in ("config", "atom"))
        known = (None if any(part is None for part in some) else np.concatenate(some) for some in (config, atom))
        return cls(error, spread, floor, kind, source, *known)

    def doubtful(self) -> Floats:
        """By how many bars energies and stresses are off whose α they do not count for, 0 for all other rows, (n,)."""
        times = np.zeros(len(self.error))
        for kind in np.setdiff1d(self.kind, [FORCE]):
            at = self.kind == kind
            times[at] = _doubts(self.error[at], self.spread[at], self.floor[at])
        return times

    def of_enough_rows(self) -> HeldOut:
        """Return the rows of kinds that have enough of them to calibrate on.

        Raises
        ------
        MliuqError
            when no kind has.
        """
        counts = {int(kind): int((self.kind == kind).sum()) for kind in np.unique(self.kind)}
        enough = np.isin(self.kind, [kind for kind, count in counts.items() if count >= FEW_ROWS])
        few = ", ".join(f"{n} of {KINDS[kind]}" for kind, n in counts.items() if n < FEW_ROWS)
        if not enough.any():
            raise MliuqError(
                f"calibration on {self.source}: expected at least {FEW_ROWS} rows of a kind, found {few or 'none'}"
            )
        if few:
            log.warning("too few rows to calibrate on (%s; expected %d of a kind): left as they are", few, FEW_ROWS)
        config, atom = (None if column is None else column[enough] for column in (self.config, self.atom))
        return HeldOut(
            self.error[enough], self.spread[enough], self.floor[enough], self.kind[enough], self.source, config, atom
        )

    def validate(self) -> None:
        """Raise MliuqError unless every row can be calibrated on."""
        n = np.shape(self.error)
        if any(np.shape(a) != n for a in (self.spread, self.floor, self.kind)) or len(n) != 1 or not n[0]:
            raise MliuqError(f"calibration on {self.source}: expected arrays of one length, at least 1, found {n}")
        if not all(np.isfinite(a).all() for a in (self.error, self.spread, self.floor)):
            raise MliuqError(f"calibration on {self.source}: expected finite errors and spreads, found NaN or infinity")
        dead = (self.spread <= 0) & (self.floor <= 0)
        if dead.any():
            raise MliuqError(
                f"calibration on {self.source}: expected spreads above 0, found {int(dead.sum())} of {n[0]} rows"
                " without (leave out rows that are zero by symmetry: metrics.informative)"
            )


@dataclass(frozen=True)
class Calibration:
    """Factors and conformal quantiles, as the model file keeps them.

    Attributes
    ----------
    alpha_energy, alpha_force, alpha_stress : α; 1 where nothing was there to calibrate on
    conformal : kind → level (text) → quantile of |e|/err
    groups : kind → group of environments → the same of the rows of the group, where they are enough
    rows : kind → number of rows
    source : what the rows were
    """

    alpha_energy: float = 1.0
    alpha_force: float = 1.0
    alpha_stress: float = 1.0
    conformal: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    source: str = ""
    groups: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)

    def alpha(self, kind: NDArray[np.int8]) -> Floats:
        """α of each row, shape (n,)."""
        return np.array([self.alpha_energy, self.alpha_force, self.alpha_stress])[kind]

    def error_bars(self, spread: Floats, floor: Floats, kind: NDArray[np.int8]) -> Floats:
        """Predicted errors ((α·std)² + floor²)^½, shape (n,)."""
        return np.asarray(np.hypot(self.alpha(kind) * spread, floor))

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for the model file."""
        groups = {"conformal": {kind: dict(found) for kind, found in self.groups.items()}}
        return {
            "alpha_energy": self.alpha_energy,
            "alpha_force": self.alpha_force,
            "alpha_stress": self.alpha_stress,
            "conformal": {kind: dict(quantiles) for kind, quantiles in self.conformal.items()},
            "rows": dict(self.rows),
            "source": self.source,
            **({"groups": groups} if self.groups else {}),
        }


def calibrate(
    held_out: HeldOut,
    *,
    members: int | None = None,
    few: bool = False,
    prior: float = 0.0,
    levels: Sequence[float] = LEVELS,
    groups: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Calibration:
    """Find α and conformal quantiles of each kind present.

    Parameters
    ----------
    few : energies and stresses of so few configurations that one of them may rule the likelihood: their α by
        `alpha_of_few`
    members : number of members `spread` was estimated from, if the bias of few should be taken out of α
    prior : for how many rows the belief counts that spreads are right as they are: ln α of n rows is multiplied by
        n/(n + prior), see `PRIOR`
    levels : probabilities of the conformal quantiles; one that needs more rows than there are is left out
    groups : masks (n,) of rows that get quantiles of their own (Mondrian: Vovk, Gammerman, Shafer 2005) where they come
        from `FEW_WITNESSES` configurations or more

    Raises
    ------
    MliuqError
        if there are no rows, or rows that cannot be calibrated on.
    """
    held_out.validate()
    alpha, conformal, rows, by_group = {}, {}, {}, {}
    for kind in np.unique(held_out.kind):
        at, name = held_out.kind == kind, KINDS[kind]
        error, spread, floor = np.abs(held_out.error[at]), held_out.spread[at], held_out.floor[at]
        if kind == FORCE:
            alpha[name] = alpha_by_quantile(error, spread, floor, members=members)
        else:
            find = alpha_of_few if few else alpha_of_credible
            alpha[name] = find(error, spread, floor, members=members)
        alpha[name] **= len(error) / (len(error) + prior)
        rows[name] = int(at.sum())
        score = error / np.hypot(alpha[name] * spread, floor)
        config = None if held_out.config is None else held_out.config[at]
        conformal[name] = conformal_quantiles(score, levels, config)
        own = {
            group: conformal_quantiles(score[mask[at]], levels, config[mask[at]])
            for group, mask in (groups or {}).items()
            if config is not None and len(np.unique(config[mask[at]])) >= FEW_WITNESSES
        }
        if own:
            by_group[name] = own
    factors = {f"alpha_{name}": value for name, value in alpha.items()}
    return Calibration(conformal=conformal, rows=rows, source=held_out.source, groups=by_group, **factors)


def alpha_by_likelihood(error: Floats, spread: Floats, floor: Floats, *, members: int | None = None) -> float:
    """α that minimises Σ [ln((α·std)² + floor²) + e²/((α·std)² + floor²)]."""
    s2, floor2, e2 = np.square(spread), np.square(floor), np.square(error)

    def cost(log_alpha: float) -> float:
        v = np.exp(2 * log_alpha) * s2 + floor2
        return float(np.mean(np.log(v) + e2 / v))

    grid = np.linspace(np.log(ALPHA_RANGE[0]), np.log(ALPHA_RANGE[1]), 121)
    best = int(np.argmin([cost(a) for a in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(cost, bounds=(low, high), method="bounded", options={"xatol": 1e-7})
    return float(np.exp(found.x)) * (1.0 if members is None else np.sqrt(max(members - 2, 1) / members))


def alpha_of_credible(error: Floats, spread: Floats, floor: Floats, *, members: int | None = None) -> float:
    """α by likelihood of the rows that are at most `DOUBTFUL` bars off."""
    most = credible(error, spread, floor)
    return alpha_by_likelihood(error[most], spread[most], floor[most], members=members)


def credible(error: Floats, spread: Floats, floor: Floats) -> NDArray[np.bool_]:
    """Which rows, (n,), are at most `DOUBTFUL` bars off by α of quantiles, which a few rows cannot move."""
    return np.asarray(_doubts(error, spread, floor) == 0.0)


def _doubts(error: Floats, spread: Floats, floor: Floats) -> Floats:
    """By how many bars doubtful rows are off, 0 for all others; none is where more are than quantiles can bear."""
    times = np.abs(error) / np.hypot(alpha_by_quantile(np.abs(error), spread, floor) * spread, floor)
    doubtful = times > DOUBTFUL
    return np.where(doubtful & (np.mean(doubtful) <= 1.0 - FORCE_COVERAGE[-1][0]), times, 0.0)


def alpha_of_few(error: Floats, spread: Floats, floor: Floats, *, members: int | None = None) -> float:
    """Geometric mean of α by likelihood and of the α at which ± err holds 68.27 % of the errors.

    The first hangs on the largest error, the second on none; the bars of potentials adopted with 50 configurations
    were, on the rest of the set, nearest to right between them (tantalum: rms z of energies within 0.8–1.25 in 13 draws
    of 20 by likelihood, in 16 by the quantile, in 19 by both).
    """
    core = alpha_by_quantile(error, spread, floor, members=members, coverage=FORCE_COVERAGE[:1])
    return float(np.sqrt(alpha_by_likelihood(error, spread, floor, members=members) * core))


def alpha_by_quantile(
    error: Floats,
    spread: Floats,
    floor: Floats,
    *,
    members: int | None = None,
    coverage: Sequence[tuple[float, float]] = FORCE_COVERAGE,
) -> float:
    """Smallest α at which ± k·err holds the share p of errors for each (p, k) of `coverage`.

    By likelihood where the floor alone is wider than that.
    """
    low, high = np.log(ALPHA_RANGE)
    found = []
    for share, k in coverage:

        def excess(log_alpha: float, share: float = share, k: float = k) -> float:
            return float(np.quantile(np.abs(error) / np.hypot(np.exp(log_alpha) * spread, floor), share)) - k

        if excess(low) > 0 > excess(high):
            few = 1.0 if members is None else k / float(stdtrit(members, 0.5 + 0.5 * share))
            found.append(float(np.exp(brentq(excess, low, high, xtol=1e-10))) * few)
    return max(found) if found else alpha_by_likelihood(error, spread, floor, members=members)


def cross_fitted(
    data: LeftOutRows, settings: GaussianSettings | None = None, *, folds: int = FOLDS, seed: int = 0
) -> HeldOut:
    """Predict every left-out row by a Gaussian posterior fitted without its configuration's fold.

    Weights stay those of all configurations; `mliuq.posterior.refits.refitted` fits them anew too.

    Raises
    ------
    MliuqError
        with fewer configurations than folds.
    """
    fold = folds_of(data.config, folds, seed)
    spread, floor = np.empty_like(data.e), np.empty_like(data.e)
    for k in range(folds):
        out = fold == k
        posterior = fit_gaussian(data.take(~out), settings)
        spread[out] = posterior.spread(data.z[out])
        floor[out] = posterior.noise.of(data.kind[out])
        log.debug("calibration: fold %d of %d", k + 1, folds)
    source = f"leave-one-configuration-out residuals, posterior cross-fitted in {folds} folds (seed {seed})"
    return HeldOut(data.e, spread, floor, data.kind, source, data.config, data.atom)


def folds_of(config: Ints, folds: int, seed: int) -> Ints:
    """Deal configurations into folds at random; return the fold of each row, shape (n,).

    Raises
    ------
    MliuqError
        with fewer configurations than folds, or fewer than two folds.
    """
    configurations, index = np.unique(config, return_inverse=True)
    if folds < 2:
        raise MliuqError(f"calibration: number of folds is {folds}, expected at least 2")
    if len(configurations) < folds:
        raise MliuqError(f"calibration: expected at least {folds} configurations, found {len(configurations)}")
    return np.asarray((np.random.default_rng(seed).permutation(len(configurations)) % folds)[index])
