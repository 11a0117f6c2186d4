"""How near one can rms z of a subset be with few rows for each weight, whatever the error bars?

    python benchmarks/little_data_floor.py --copper Cu_ACE_energies_pops.npz

The problems and subsets of `little_data.py`, and bars that know more than any estimator may:

    σ known          a world in which the model is right: y = x·θ + σ N(0, 1) with the same design, bars σ²(1 + xᵀA⁻¹x)
                     with the true σ.  What is left is the draw of the weights' error
    σ estimated      the same with σ² = χ²/(N − P), the best there is
    form known       the errors there are, bars a + b xᵀA⁻¹x with a and b by likelihood of the errors of all subsets on
                     the test set itself
    answers known    calibrated bars times exp of a linear function of ten statistics of the subset (χ², left-out
                     residuals, α of refits, leverages, floor, spread …) that is fitted to the true rms z of the other
                     subsets on the same test set

Cells as in `little_data.py`: rms z, median (range of all subsets; of the first five; share within 0.7-1.4).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from little_data import WEIGHTS, Bars, Problem, cell, fitted, options, problems_of, subset
from mliuq.judging import metrics
from mliuq.regression.rows import Floats
from scipy.optimize import minimize

RATIOS = (1.5, 2.0, 3.0)
SHRINKAGE = 2.0  # rows that the prior of the linear function counts for


def drawn(problem: Problem, ratio: float, seed: int) -> list[float]:
    """Of bars with σ known and σ estimated, for errors drawn with σ = 1."""
    rng, x = np.random.default_rng([1, seed]), problem.x[subset(problem, ratio, seed)]
    q, r = np.linalg.qr(x)
    noise, new = rng.standard_normal(len(x)), rng.standard_normal(len(problem.y_test))
    whitened = np.linalg.solve(r.T, problem.x_test.T).T
    error, residual = new - whitened @ (q.T @ noise), noise - q @ (q.T @ noise)
    bar = np.sqrt(1 + np.sum(whitened**2, axis=1))
    estimated = np.sqrt(residual @ residual / (len(x) - x.shape[1]))
    return [metrics.rms_z(error, bar), metrics.rms_z(error, estimated * bar)]


def form_known(bars: Sequence[Bars]) -> Floats:
    error, near = np.concatenate([b.error for b in bars]), np.concatenate([b.near for b in bars])

    def variance(log_ab: Floats, near: Floats) -> Floats:
        a, b = np.exp(log_ab)
        return np.asarray(a + b * near)

    def cost(log_ab: Floats) -> float:
        v = variance(log_ab, near)
        return float(np.mean(np.log(v) + error**2 / v))

    start = np.full(2, np.log(np.mean(error**2 / (1 + near))))
    best = minimize(cost, start, method="Nelder-Mead").x
    return np.array([metrics.rms_z(b.error, np.sqrt(variance(best, b.near))) for b in bars])


def answers_known(bars: Sequence[Bars]) -> Floats:
    """Errors of the linear function on each subset, fitted to the others."""
    answer = np.log([b.rms_z(b.alpha) for b in bars])
    told = np.log([_statistics(b) for b in bars])
    told = (told - told.mean(axis=0)) / np.maximum(told.std(axis=0), 1e-12)
    told = np.column_stack([np.ones(len(told)), told])
    prior = np.diag([0.0] + [SHRINKAGE] * (told.shape[1] - 1))
    hat = told @ np.linalg.solve(told.T @ told + prior, told.T)
    return np.asarray(np.exp((answer - hat @ answer) / (1 - np.diag(hat))))


def _statistics(b: Bars) -> list[float]:
    """What is known of a subset without the answers: positive numbers."""
    e2, z2 = b.left_out.e**2, np.sum(b.left_out.z**2, axis=1)
    return [
        b.solution.noise_variance, np.mean(e2), np.mean(e2 / (1 + z2)), b.alpha_refits, b.floor,
        np.mean(b.spread**2), np.median(b.spread**2), np.mean(b.near), np.median(b.near), b.leverage.max(),
    ]  # fmt: skip


def main() -> None:
    arguments = options(__doc__, RATIOS).parse_args()
    logging.disable(logging.WARNING)
    for name, problem in problems_of(arguments).items():
        print(f"\n| {name}: rows for each weight | weights | first bars | second bars |\n{'|---' * 4}|")
        for ratio in arguments.ratios:
            seeds = range(arguments.subsets)
            known, estimated = np.array([drawn(problem, ratio, seed) for seed in seeds]).T
            print(f"| {ratio:g} | drawn: σ known, σ estimated | {cell(known)} | {cell(estimated)} |", flush=True)
            for label, ridge in WEIGHTS.items():
                bars = [fitted(problem, subset(problem, ratio, seed), ridge) for seed in seeds]
                cells = f"{cell(form_known(bars))} | {cell(answers_known(bars))}"
                print(f"| {ratio:g} | {label}: form known, answers known | {cells} |", flush=True)


if __name__ == "__main__":
    main()
