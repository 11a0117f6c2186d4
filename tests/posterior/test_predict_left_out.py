"""Predictions of rows without their configuration, against fits and posteriors that never saw it."""

from __future__ import annotations

import numpy as np
import pytest
from linear_problems import matrix, misspecified
from mliuq.judging import metrics
from mliuq.posterior.build import build_posterior
from mliuq.posterior.left_out import predict_left_out
from mliuq.posterior.predict import predict
from mliuq.posterior.refits import RefitSettings, left_out
from mliuq.posterior.settings import PosteriorSettings
from mliuq.regression import ArrayRows, solve
from mliuq.regression.loco import examine


def with_weights(rows: ArrayRows, w: np.ndarray) -> ArrayRows:
    return ArrayRows(matrix(rows), rows.table.y, w, rows.table.kind, rows.table.config)


@pytest.mark.parametrize("per_config", [1, 4, 15])
@pytest.mark.parametrize("twist", ["plain", "rows of weight zero", "a column twice"])
def test_equals_refits_whose_members_are_the_same_moves_in_their_metric(per_config: int, twist: str) -> None:
    """15 rows for 9 weights: more of a configuration than there are weights."""
    rows = misspecified(n_configs=25, per_config=per_config, rows_per_block=33)
    x, table = matrix(rows), rows.table
    if twist == "rows of weight zero":
        rows = with_weights(rows, np.where(np.arange(len(table)) % 3 == 1, 0.0, table.w))
    elif twist == "a column twice":
        rows = ArrayRows(np.column_stack([x, x[:, 0]]), table.y, table.w, table.kind, table.config)
    x, table = matrix(rows), rows.table
    solution = solve(rows, quiet=True)
    u = np.random.default_rng(1).normal(size=(40, solution.rank))
    found = predict_left_out(rows, solution, examine(rows, solution).loco, u @ solution.whitener.T)
    for config in np.unique(table.config):
        own = table.config == config
        refit = solve(ArrayRows(x[~own], table.y[~own], table.w[~own]), quiet=True)
        z = x[own] @ solution.whitener
        left, axes = np.linalg.eigh(np.eye(solution.rank) - z.T @ (table.w[own][:, None] * z))
        metric = solution.whitener @ (axes * left**-0.5) @ axes.T
        inverse = refit.whitener @ refit.whitener.T
        np.testing.assert_allclose(metric @ metric.T, inverse, rtol=1e-6, atol=1e-6 * np.abs(inverse).max())
        shifts = x[own] @ metric @ u.T
        mean = x[own] @ refit.theta
        np.testing.assert_allclose(found.mean[own], mean, rtol=1e-7)
        np.testing.assert_allclose(found.std[own], np.sqrt(np.mean(shifts**2, axis=1)), rtol=1e-7)
        np.testing.assert_allclose(found.low[own], mean + shifts.min(axis=1), rtol=1e-6)
        np.testing.assert_allclose(found.high[own], mean + shifts.max(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.size, np.linalg.norm(x, axis=1), rtol=1e-12)


def test_bars_of_configurations_far_from_the_others_are_those_of_refits() -> None:
    """By the members of the fit, which the far configurations hold themselves, their errors look far too large."""
    near = misspecified(n_configs=60, per_config=6, p=20)
    far = near.table.config % 10 == 0
    scale = np.where(far, 8.0, 1.0)
    table = near.table
    rows = ArrayRows(matrix(near) * scale[:, None], table.y * scale, table.w, table.kind, table.config)
    posterior, solution = PosteriorSettings(members=300, calibrate=False), solve(rows)
    statistics = examine(rows, solution)
    moves = build_posterior(rows, solution, statistics, posterior, seed=0).moves
    found, fitted = predict_left_out(rows, solution, statistics.loco, moves), predict(rows, solution.theta, moves)
    refits = [
        left_out(rows, table.config == c, posterior, RefitSettings(), n_configurations=60).held_out
        for c in range(0, 60, 10)
    ]
    error, spread = (np.concatenate([getattr(refit, name) for refit in refits]) for name in ("error", "spread"))
    np.testing.assert_allclose((found.y - found.mean)[far], error, rtol=1e-6)
    right = metrics.rms_z(error, spread)
    assert metrics.rms_z(error, found.std[far]) == pytest.approx(
        right, rel=0.2
    )  # S has seen the errors: less by a little
    assert metrics.rms_z(error, fitted.std[far]) > 1.3 * right


def test_what_the_others_do_not_determine_is_not_predicted() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4))
    x[:, 3] = 0.0
    x[6:8, 3] = 1.0
    rows = ArrayRows(x, rng.normal(size=30), config=np.arange(30) // 2)
    solution = solve(rows)
    found = predict_left_out(rows, solution, examine(rows, solution).loco, rng.normal(size=(5, 4)))
    for values in (found.mean, found.std, found.low, found.high):
        assert list(np.flatnonzero(np.isnan(values))) == [6, 7]


def test_without_members_nothing_spreads_and_progress_is_told() -> None:
    rows, told = misspecified(rows_per_block=60), []
    solution = solve(rows)
    loco = examine(rows, solution).loco
    found = predict_left_out(
        rows, solution, loco, np.zeros((0, rows.n_weights)), progress=lambda *step: told.append(step)
    )
    assert not found.std.any()
    np.testing.assert_array_equal(found.low, found.mean)
    np.testing.assert_array_equal(found.mean, rows.table.y - loco)
    assert told == [("left out", k + 1, rows.n_blocks) for k in range(rows.n_blocks)]
