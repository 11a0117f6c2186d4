"""Empirical-Bayes Gaussian posterior: θ = θ* + δ, δ ~ N(0, S), and a noise floor for each kind of row.

S is fitted by maximum likelihood to leave-one-configuration-out residuals, so that the spread of a prediction is the
error the fit makes on configurations it has not seen.  The floors σ_E, σ_F, σ_S hold what no weights can explain
(convergence noise of the reference, rows near zero by symmetry); they belong to no member.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from mliuq.errors import MliuqError
from mliuq.posterior.left_out import LeftOutRows
from mliuq.posterior.likelihood import SINGLE_PRECISION_FROM, Likelihood, maximise
from mliuq.regression.rows import KINDS, Floats
from mliuq.regression.solver import Solution

log = logging.getLogger(__name__)

PRIOR_ROWS = 1.5
FEW_CONFIGURATIONS = 20
TAIL = 7.0
ROUNDING = 1e-20  # a squared misfit this far below that of another kind is rounding


@dataclass(frozen=True)
class NoiseFloors:
    """Error that no member shows: σ_E (eV/atom), σ_F (eV/Å), σ_S (eV/Å³); 0 for a kind the posterior has not seen."""

    energy: float = 0.0
    force: float = 0.0
    stress: float = 0.0

    def of(self, kind: NDArray[np.int8]) -> Floats:
        """Floor of each row, shape (n,)."""
        return np.array([self.energy, self.force, self.stress])[kind]


@dataclass(frozen=True)
class GaussianSettings:
    """How S is fitted.

    Attributes
    ----------
    prior : λ, weight of the isotropic prior on S relative to all data; when absent, 1.5 rows in each direction:
        λ = 1.5 P/n (0.004 for 56 weights and 20,000 rows, 0.04 for 500 weights)
    fit_metric : share of the fit's own metric in that of the prior, see `prior_axes`
    tolerance : stop when a round of the minimiser lowers F by less (nats per unit weight)
    """

    prior: float | None = None
    fit_metric: float = 3.0
    tolerance: float = 1e-3

    def validate(self) -> None:
        """Raise MliuqError for settings that make no sense."""
        for name in ("prior", "fit_metric", "tolerance"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise MliuqError(f"gaussian posterior: {name} is {value}, expected a number above zero")


@dataclass(frozen=True)
class GaussianPosterior:
    """The fitted posterior, in whitened coordinates: δ = W T u with ⟨u uᵀ⟩ = 1.

    Attributes
    ----------
    factor : (rank, rank) T, S = T Tᵀ
    noise : floors fitted along
    prior : λ used
    objective : F at the end
    evaluations : of F and its gradient
    converged : whether the tolerance was reached
    """

    factor: Floats
    noise: NoiseFloors
    prior: float
    objective: float
    evaluations: int
    converged: bool

    def spread(self, z: Floats) -> Floats:
        """Standard deviation of z·δ, shape (n,): no floor, no calibration."""
        return np.asarray(np.linalg.norm(z @ self.factor, axis=1))

    def std(self, z: Floats, kind: NDArray[np.int8]) -> Floats:
        """Predicted error of rows, (spread² + floor²)^½."""
        return np.asarray(np.hypot(self.spread(z), self.noise.of(kind)))


def fit_gaussian(data: LeftOutRows, settings: GaussianSettings | None = None) -> GaussianPosterior:
    """Fit S and the floors by maximum likelihood (mliuq.posterior.likelihood).

    Each kind of row present has the same weight: half for energies and half for forces, or a third each with stress.

    Raises
    ------
    MliuqError
        with rows of fewer than two configurations, or residuals that are all zero.
    """
    settings = settings or GaussianSettings()
    settings.validate()
    _check(data)
    data = _with_misfit(data)
    kinds, group = np.unique(data.kind, return_inverse=True)
    q = 1.0 / (np.bincount(group) * len(kinds))[group]
    prior = settings.prior if settings.prior is not None else PRIOR_ROWS * data.z.shape[1] / len(data.z)
    even = q / (np.bincount(group, q * data.e**2) / np.bincount(group, q))[group]
    axes = prior_axes(data.z, even, settings.fit_metric)
    likelihood = Likelihood(data.z @ axes, data.e, q, group, prior, single=data.z.shape[1] >= SINGLE_PRECISION_FROM)
    best = maximise(likelihood, tolerance=settings.tolerance)
    if not best.converged:
        log.warning(
            "gaussian posterior: not converged after %d evaluations, F = %.6f", best.evaluations, best.objective
        )
    floors = {KINDS[kind]: float(floor) for kind, floor in zip(kinds, best.floors, strict=True)}
    return GaussianPosterior(
        axes @ best.factor, NoiseFloors(**floors), prior, best.objective, best.evaluations, best.converged
    )


def prior_axes(z: Floats, weight: Floats, fit_metric: float) -> Floats:
    """Axes V (rank, rank) of the coordinates Vᵀz in which the prior on S is isotropic: Vᵀ M V = 1.

    M = Σ weight·z zᵀ + fit_metric·1 (the sum scaled to mean eigenvalue 1): the metric of the fit, 1 in these
    coordinates, stiffened where rows of one kind ask for it.  With weights q/⟨e²⟩ every kind has the same say.  Under
    the metric of the fit alone, one that all but ignores energies (weight one for each energy, as for each of many more
    forces) gives them little leverage and makes their prior far too wide: rms z of energies 0.78 on molybdenum, 0.90
    so.
    """
    metric = z.T @ (weight[:, None] * z)
    metric *= len(metric) / np.trace(metric)
    metric += fit_metric * np.eye(len(metric))
    return np.asarray(solve_triangular(np.linalg.cholesky(metric).T, np.eye(len(metric))))


def draw_gaussian(posterior: GaussianPosterior, solution: Solution, n: int, seed: int, *, tail: float = TAIL) -> Floats:
    """Return `n` corrections δ with second moment S, shape (n, P).

    Drawn from a multivariate t of `tail` degrees of freedom (infinity: a Gaussian) scaled to second moment S.  The
    scale of an error bar is itself uncertain, and floors belong to no member: 1-2 % of held-out forces escape the
    envelope of 500 Gaussian members, less than 1 % that of members with 7 degrees of freedom.

    With four times as many members as weights the draw is adjusted to have second moment S exactly, so that the spread
    of the stored members is the posterior's own for every prediction (a plain draw of 500 scatters by 3-4 %).
    """
    if n < 1:
        raise MliuqError(f"number of members is {n}, expected at least 1")
    if not tail > 2:
        raise MliuqError(f"tail is {tail} degrees of freedom, expected more than 2 (the second moment is infinite)")
    rng, rank = np.random.default_rng(seed), len(posterior.factor)
    u = rng.standard_normal((n, rank))
    if np.isfinite(tail):
        u *= np.sqrt((tail - 2) / rng.chisquare(tail, (n, 1)))
    if n >= 4 * rank:
        moment, axes = np.linalg.eigh(u.T @ u / n)
        u = u @ (axes / np.sqrt(moment)) @ axes.T
    return np.asarray(u @ (solution.whitener @ posterior.factor).T)


def _check(data: LeftOutRows) -> None:
    n = len(data.z)
    if not (data.e.shape == data.kind.shape == data.config.shape == (n,)):
        raise MliuqError(
            f"gaussian posterior: {n} rows with {data.e.shape} residuals, {data.kind.shape} kinds and"
            f" {data.config.shape} configurations"
        )
    configurations = len(np.unique(data.config))
    if configurations < 2:
        raise MliuqError(
            f"gaussian posterior: expected rows of at least 2 configurations, found {configurations}: errors on others"
            " cannot be learned from it; give more, or fit without error bars: --posterior ensemble --members 0"
        )
    if configurations < FEW_CONFIGURATIONS:
        log.warning(
            "gaussian posterior: only %d configurations; its error bars are little more than a guess", configurations
        )
    if not (np.isfinite(data.z).all() and np.isfinite(data.e).all()):
        raise MliuqError("gaussian posterior: expected finite rows and residuals, found NaN or infinity")
    if not data.z.any(axis=1).all():
        raise MliuqError("gaussian posterior: expected rows that depend on the weights, found a row of zeros")


def _with_misfit(data: LeftOutRows) -> LeftOutRows:
    """Leave out kinds of rows that the fit reproduces to rounding: they have no error to learn from."""
    scale = data.e**2 / np.einsum("rp,rp->r", data.z, data.z)
    misfit = np.bincount(data.kind, scale, minlength=len(KINDS)) / np.maximum(np.bincount(data.kind, minlength=3), 1)
    if not misfit.any():
        raise MliuqError("gaussian posterior: every left-out residual is zero, there is no misfit to learn from")
    exact = np.flatnonzero(misfit < ROUNDING * misfit.max())
    for kind in np.intersect1d(exact, data.kind):
        log.warning("gaussian posterior: the fit reproduces every %s to rounding; they are left out", KINDS[kind])
    return data.take(~np.isin(data.kind, exact))
