"""How good are error bars?  Pure functions of errors and predicted standard deviations.

Conventions
-----------
``error``    reference minus prediction, shape (n,), any unit
``std``      predicted standard deviation of that error, same shape and unit, strictly positive
``members``  predictions of the ensemble, shape (M, n)
``z``        error / std

The prediction is the Gaussian N(prediction, std²) unless a function says it takes members.  Components that are zero
by symmetry have neither error nor spread and belong in no metric: select rows with :func:`informative` first.

Sources
-------
[Kul18]  Kuleshov, Fenner, Ermon, ICML 2018 (coverage curve)
[Lev22]  Levi, Gispan, Giladi, Fetaya, Sensors 22, 5540 (2022) (ENCE)
[Gne07]  Gneiting, Raftery, J. Am. Stat. Assoc. 102, 359 (2007) (CRPS, logarithmic score)
[GBR07]  Gneiting, Balabdaoui, Raftery, J. R. Stat. Soc. B 69, 243 (2007) (PIT, sharpness)
[Per22]  Pernot, J. Chem. Phys. 157, 144103 (2022) (z scores)
[Swi25]  Swinburne, Perez, Mach. Learn.: Sci. Technol. 6, 015008 (2025) (envelope violation)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from scipy.stats import chi2, rankdata

from mliuq.errors import MliuqError
from mliuq.regression.rows import ENERGY, FORCE, STRESS

Array = npt.NDArray[np.float64]

ROWS_PER_BIN = 40
"""Rows per bin :func:`reliability` aims at: the scatter of a root mean square of 40 is already 11 %."""


_ROUNDING = 1e-10  # of the largest row
_SILENT = 1e-6  # of the median energy row: cells in which every force is zero by symmetry, to what a relaxation leaves
_FAINT = 1e-3  # of the 90 % quantile of the rest: these do not say what is usual, however many they are


# --- size of errors --------------------------------------------------------------------------------------------------


def rmse(error: Array) -> float:
    """Root mean square error, (mean e²)^½."""
    return float(np.sqrt(np.mean(np.square(error))))


def mae(error: Array) -> float:
    """Mean absolute error, mean |e|."""
    return float(np.mean(np.abs(error)))


# --- are the error bars the right size? ------------------------------------------------------------------------------


def envelope_violation(y: Array, lower: Array, upper: Array) -> float:
    """Fraction of references y outside [lower, upper], smallest and largest prediction of the ensemble [Swi25]."""
    return float(np.mean((y < lower) | (y > upper)))


def mean_abs_z(error: Array, std: Array) -> float:
    """Mean |e|/std; (2/π)^½ = 0.798 for an honest Gaussian."""
    return mae(_z(error, std))


def rms_z(error: Array, std: Array) -> float:
    """Root mean square of z; 1 for honest error bars whatever their distribution, above 1 over-confident [Per22]."""
    return rmse(_z(error, std))


def coverage(error: Array, std: Array, k: float) -> float:
    """Fraction of |e| ≤ k·std; 0.683 and 0.954 for an honest Gaussian at k = 1 and 2."""
    return float(np.mean(np.abs(_z(error, std)) <= k))


def coverage_curve(error: Array, std: Array, points: int = 101) -> tuple[Array, Array]:
    """Expected and observed fraction inside the central interval of probability p, p = 0 … 1 [Kul18]."""
    expected = np.linspace(0.0, 1.0, points)
    observed = np.searchsorted(np.sort(_central_probability(error, std)), expected, side="right")
    return expected, observed / len(error)


def miscalibration_area(error: Array, std: Array) -> float:
    """Area between coverage curve and diagonal, ∫₀¹ |observed(p) − p| dp, without binning.

    Equal to the area between the quantile functions, Σ_i ∫ |u_(i) − t| dt over t from (i−1)/n to i/n, where u are the
    sorted central probabilities 2Φ(|z|) − 1.
    """
    u = np.sort(_central_probability(error, std))
    edges = np.linspace(0.0, 1.0, u.size + 1)
    below, above = edges[:-1] - u, edges[1:] - u
    return float(0.5 * np.sum(above * np.abs(above) - below * np.abs(below)))


def reliability(error: Array, std: Array, bins: int | None = None) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Predicted against actual root mean square error in bins of increasing std: the reliability diagram [Lev22].

    Parameters
    ----------
    bins : int, optional
        Bins of equal population; by default one per :data:`ROWS_PER_BIN` rows, at least 5 and at most 20.

    Returns
    -------
    predicted, actual : ndarray (bins,)
        (mean std²)^½ and (mean e²)^½ of each bin.
    count : ndarray (bins,)
    """
    _z(error, std)
    if bins is None:
        bins = int(np.clip(len(error) // ROWS_PER_BIN, 5, 20))
    groups = np.array_split(np.argsort(std, kind="stable"), min(bins, len(error)))
    predicted = np.array([rmse(std[g]) for g in groups])
    actual = np.array([rmse(error[g]) for g in groups])
    return predicted, actual, np.array([g.size for g in groups])


def ence(error: Array, std: Array, bins: int | None = None) -> float:
    """Expected normalised calibration error: mean over bins of |predicted − actual| / predicted [Lev22].

    Honest error bars do not reach zero: bins of m rows leave about 0.56/m^½ (0.09 at m = 40).
    """
    predicted, actual, _ = reliability(error, std, bins)
    return float(np.mean(np.abs(predicted - actual) / predicted))


def pit(error: Array, std: Array) -> Array:
    """Probability integral transform Φ(z), uniform on [0, 1] for an honest Gaussian [GBR07]."""
    return np.asarray(ndtr(_z(error, std)))


def pit_members(y: Array, members: Array) -> Array:
    """Probability integral transform of an ensemble: (members below y + half of the ties) / M [GBR07]."""
    return np.asarray(((members < y) + 0.5 * (members == y)).mean(axis=0))


def independent(covariance: Array) -> float:
    """How many independent errors the errors of this covariance (n, n) are worth: n²/Σρ², ρ their correlations.

    The variance of the mean of z² over rows of one group is 2/independent if errors are as stated: rms z of a group of
    hundreds of rows that are worth two independent errors lies between 0.2 and 1.7 in nine cases of ten.
    """
    variance = np.diagonal(covariance)
    if covariance.ndim != 2 or not covariance.size or not np.all(variance > 0.0):
        raise MliuqError(f"metrics: expected a covariance (n, n) with variances above 0, found {covariance.shape}")
    return float(len(variance) ** 2 / np.sum(covariance**2 / np.outer(variance, variance)))


def rms_z_range(independent: float, share: float = 0.9) -> tuple[float, float]:
    """Where rms z of honest Gaussian bars lies with probability `share`, for so many independent errors."""
    tails = chi2.ppf([0.5 - 0.5 * share, 0.5 + 0.5 * share], independent) / independent
    return float(np.sqrt(tails[0])), float(np.sqrt(tails[1]))


# --- proper scores: honest and sharp at once, smaller is better ------------------------------------------------------


def nll(error: Array, std: Array) -> float:
    """Mean negative logarithm of the Gaussian density, ½ [ln 2π + ln std² + z²] [Gne07]."""
    z = _z(error, std)
    return float(np.mean(0.5 * np.log(2 * np.pi) + np.log(std) + 0.5 * np.square(z)))


def crps(error: Array, std: Array) -> float:
    """Mean continuous ranked probability score of a Gaussian, std·[z(2Φ(z) − 1) + 2φ(z) − π^-½] [Gne07, eq. 21]."""
    z = _z(error, std)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return float(np.mean(std * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))))


def crps_members(y: Array, members: Array) -> float:
    """Mean CRPS of the ensemble's own distribution, mean|X − y| − ½ mean|X − X'| [Gne07, eq. 20].

    The double sum is taken over the sorted members: ½ mean|X − X'| = Σ_m (2m − M − 1) X_(m) / M², m = 1 … M.
    """
    m = len(members)
    rank = 2 * np.arange(1, m + 1) - m - 1
    spread = rank @ np.sort(members, axis=0) / m**2
    return float(np.mean(np.abs(members - y).mean(axis=0) - spread))


def sharpness(std: Array) -> float:
    """Root mean square of std: how wide the error bars are, honest or not [GBR07]."""
    return rmse(std)


# --- do large error bars mean large errors? --------------------------------------------------------------------------


def spearman(error: Array, std: Array) -> float:
    """Rank correlation of std and |e|; NaN where either is constant."""
    a, b = rankdata(std), rankdata(np.abs(error))
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else float("nan")


def auc_large_errors(error: Array, std: Array, fraction: float = 0.1) -> float:
    """Probability that a row among the `fraction` of largest |e| has a larger std than one of the rest.

    The area under the ROC curve of "std tells large errors", by the Mann–Whitney statistic (½ for ties); NaN where
    all errors are alike.
    """
    large = np.abs(error) > np.quantile(np.abs(error), 1 - fraction)
    n1, n0 = int(large.sum()), int((~large).sum())
    if n1 == 0 or n0 == 0:
        return float("nan")
    return float((rankdata(std)[large].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


# --- everything at once ----------------------------------------------------------------------------------------------


def informative(kind: npt.NDArray[np.int8], size: Array, threshold: float = 0.01) -> npt.NDArray[np.bool_]:
    """Rows that can be judged: every energy, and forces and stresses that are not zero by symmetry.

    A force or stress is zero by symmetry where its row is; what says so is the row and not its spread, which one
    configuration far from the data would make the measure of all others.

    Parameters
    ----------
    kind, size : (n,) kind and norm of each row
    threshold : of the median of the norms of a kind that are not zero at first sight
    """
    found = np.asarray(kind == ENERGY)
    least = _SILENT * float(np.median(size[found])) if found.any() else 0.0
    for code in (FORCE, STRESS):
        own = kind == code
        sizes = size[own]
        some = sizes[sizes > max(_ROUNDING * sizes.max(initial=0.0), least)]
        if some.size:
            usual = np.median(some[some > _FAINT * np.quantile(some, 0.9)])
            found[own] = sizes > max(threshold * usual, least)
    return found


@dataclass(frozen=True)
class Summary:
    """Every metric of one set of rows; `envelope` is NaN where no envelope was given."""

    count: int
    rmse: float
    mae: float
    sharpness: float
    rms_z: float
    mean_abs_z: float
    coverage_1: float
    coverage_2: float
    envelope: float
    ence: float
    area: float
    nll: float
    crps: float
    spearman: float
    auc: float


def summarize(
    error: Array, std: Array, *, envelope: tuple[Array, Array] | None = None, bins: int | None = None
) -> Summary:
    """All metrics of one set of rows.

    Parameters
    ----------
    envelope : (lower, upper), optional
        Smallest and largest member MINUS the best fit's prediction, so that `error` lies between them when covered.
    """
    return Summary(
        count=len(error),
        rmse=rmse(error),
        mae=mae(error),
        sharpness=sharpness(std),
        rms_z=rms_z(error, std),
        mean_abs_z=mean_abs_z(error, std),
        coverage_1=coverage(error, std, 1.0),
        coverage_2=coverage(error, std, 2.0),
        envelope=float("nan") if envelope is None else envelope_violation(error, *envelope),
        ence=ence(error, std, bins),
        area=miscalibration_area(error, std),
        nll=nll(error, std),
        crps=crps(error, std),
        spearman=spearman(error, std),
        auc=auc_large_errors(error, std),
    )


def by_class(
    error: Array, std: Array, labels: Sequence[str], *, envelope: tuple[Array, Array] | None = None
) -> dict[str, Summary]:
    """:func:`summarize` for each distinct label (config_type, element), in alphabetical order."""
    label = np.asarray(labels)
    if label.shape != np.shape(error):
        raise MliuqError(f"metrics: expected one label per row, found {label.shape} labels for {np.shape(error)} rows")
    groups = {str(name): label == name for name in np.unique(label)}
    return {
        name: summarize(error[m], std[m], envelope=None if envelope is None else (envelope[0][m], envelope[1][m]))
        for name, m in groups.items()
    }


def _z(error: Array, std: Array) -> Array:
    error, std = np.asarray(error, dtype=np.float64), np.asarray(std, dtype=np.float64)
    if error.ndim != 1 or error.shape != std.shape or error.size == 0:
        raise MliuqError(
            f"metrics: expected errors and stds of one shape (n,), n ≥ 1, found {error.shape} and {std.shape}"
        )
    if not (np.isfinite(error).all() and np.isfinite(std).all()):
        raise MliuqError("metrics: expected finite errors and stds, found NaN or infinity")
    if std.min() <= 0:
        raise MliuqError(
            f"metrics: expected stds above 0, found {std.min():g} at row {int(std.argmin())}"
            " (leave out rows that are zero by symmetry: metrics.informative)"
        )
    return error / std


def _central_probability(error: Array, std: Array) -> Array:
    return np.asarray(2 * ndtr(np.abs(_z(error, std))) - 1)
