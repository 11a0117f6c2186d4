"""What the posterior is told arrives: each setting, floor and ridge, against a computation of a few lines."""

from __future__ import annotations

import numpy as np
import pytest
from linear_problems import matrix, misspecified
from mliuq.posterior.baselines import bag
from mliuq.posterior.build import build_posterior
from mliuq.posterior.calibration import cross_fitted, folds_of
from mliuq.posterior.gaussian import GaussianSettings, fit_gaussian, prior_axes
from mliuq.posterior.left_out import LeftOutSettings, left_out_rows
from mliuq.posterior.refits import RefitSettings, refitted
from mliuq.posterior.settings import PosteriorSettings
from mliuq.regression import ArrayRows
from mliuq.regression.loco import examine
from mliuq.regression.rows import FORCE, KINDS, SubsetRows
from mliuq.regression.solver import solve


@pytest.mark.parametrize("fit_metric", [GaussianSettings().fit_metric, 0.2])
def test_a_strong_prior_leaves_its_own_metric(fit_metric):
    """With all weight on the prior, S is s0 V Vᵀ with the axes V of the metric that was asked for."""
    rows = misspecified()
    solution = solve(rows)
    data = left_out_rows(rows, solution, examine(rows, solution))
    found = fit_gaussian(data, GaussianSettings(prior=1e7, fit_metric=fit_metric, tolerance=1e-12))
    q = 0.5 / np.bincount(data.kind)[data.kind]
    variance = np.bincount(data.kind, data.e**2) / np.bincount(data.kind)
    axes = prior_axes(data.z, q / variance[data.kind], fit_metric)
    s0 = np.sum(q * data.e**2 / np.sum((data.z @ axes) ** 2, axis=1))
    expected = s0 * axes @ axes.T
    np.testing.assert_allclose(found.factor @ found.factor.T, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    other = prior_axes(data.z, q / variance[data.kind], 1.0)
    assert not np.allclose(other @ other.T / np.trace(other @ other.T), expected / np.trace(expected), rtol=0.02)


def with_noise(seed: int = 1) -> ArrayRows:
    """Rows with noise in forces that no weights can explain."""
    rows = misspecified(n_configs=60, seed=seed)
    table, rng = rows.table, np.random.default_rng(seed)
    noise = np.where(table.kind == FORCE, np.std(table.y) * rng.standard_normal(len(table.y)), 0.0)
    return ArrayRows(matrix(rows), table.y + noise, table.w, table.kind, table.config)


def test_refits_carry_the_floors_of_their_own_fold():
    rows, settings = with_noise(), PosteriorSettings(members=50)
    found = refitted(rows, settings, RefitSettings(folds=3, seed=2))
    fold = folds_of(rows.table.config, 3, 2)
    expected = []
    for k in range(3):
        rest = SubsetRows(rows, fold != k)
        solution = solve(rest)
        own = build_posterior(rest, solution, examine(rest, solution), settings, seed=2).noise
        expected.append(np.array([own.get(name, 0.0) for name in KINDS])[rows.table.kind[fold == k]])
    np.testing.assert_allclose(found.floor, np.concatenate(expected), rtol=1e-6)
    assert found.floor[found.kind == FORCE].min() > 0.0, "a problem without floors would say nothing"


def test_refits_cut_singular_values_as_they_are_told():
    rows = misspecified(n_configs=30)
    fold = folds_of(rows.table.config, 3, 0)
    settings = PosteriorSettings(kind="ensemble", members=30, negligible_leverage=0.0)
    errors = {rcond: refitted(rows, settings, RefitSettings(rcond=rcond, folds=3)).error for rcond in (None, 0.9)}
    cut = [solve(SubsetRows(rows, fold != k), rcond=0.9) for k in range(3)]
    assert all(solution.rank < rows.n_weights for solution in cut), "0.9 cuts something off here"
    assert not np.array_equal(errors[None], errors[0.9])
    x, table = matrix(rows), rows.table
    first = table.y[fold == 0] - x[fold == 0] @ cut[0].theta
    assert np.isin(np.round(errors[0.9], 8), np.round(np.concatenate([first, *(
        table.y[fold == k] - x[fold == k] @ cut[k].theta for k in (1, 2))]), 8)).all()  # fmt: skip


def test_refits_use_the_ridge_they_are_told():
    rows = misspecified(n_configs=30)
    settings = PosteriorSettings(kind="ensemble", members=30)
    free, held = (refitted(rows, settings, RefitSettings(ridge=ridge, folds=3)).error for ridge in (0.0, 1e3))
    assert not np.allclose(free, held, rtol=1e-3)


@pytest.mark.parametrize("prior", [0.0, 5.0])
def test_left_out_calibration_uses_the_prior_and_folds_of_the_posterior(prior):
    rows = misspecified(n_configs=60)
    solution = solve(rows)
    statistics = examine(rows, solution)
    settings = PosteriorSettings(members=20, prior=prior, calibration_source="left-out", calibration_folds=4)
    own = build_posterior(rows, solution, statistics, settings, seed=3).held_out
    data = left_out_rows(rows, solution, statistics, LeftOutSettings(seed=3, selection=settings.selection))
    expected = cross_fitted(data, GaussianSettings(prior=prior or None), folds=4, seed=3)
    np.testing.assert_allclose(own.spread, expected.spread, rtol=1e-9)
    assert own.source == expected.source
    if prior:
        without = cross_fitted(data, None, folds=4, seed=3)
        assert not np.allclose(own.spread, without.spread, rtol=0.01), "the prior matters here"


def test_bagging_refits_with_the_ridge_of_the_fit():
    rows, ridge = misspecified(n_configs=12), 40.0
    solution = solve(rows, ridge=ridge)
    moves = bag(rows, solution, n=3, seed=5)
    x, table = matrix(rows), rows.table
    rng = np.random.default_rng(5)
    for move in moves:
        copies = rng.multinomial(12, np.full(12, 1 / 12))[table.config]
        a = x.T @ ((table.w * copies)[:, None] * x) + ridge * np.eye(x.shape[1])
        theta = np.linalg.solve(a, x.T @ (table.w * copies * table.y))
        np.testing.assert_allclose(solution.theta + move, theta, rtol=1e-6, atol=1e-8)
