"""POPS against popsregression, option by option, on the rows handed in."""

from __future__ import annotations

import numpy as np
import pytest
from linear_problems import matrix, misspecified
from mliuq.posterior.corrections import Corrections
from mliuq.posterior.ensemble import draw_corrections
from mliuq.posterior.hypercube import fit_hypercube
from mliuq.posterior.selection import Selection
from mliuq.regression import solve
from mliuq.regression.loco import examine
from popsregression import POPSRegression


def both(selection=None, rows=None, peer_options=None):
    rows = rows or misspecified(rows_per_block=60)
    solution = solve(rows, ridge="evidence")
    statistics = examine(rows, solution)
    mask = (selection or Selection(negligible_leverage=0.0)).mask(rows.table, statistics)
    peer = POPSRegression(**{"leverage_percentile": 0.0, **(peer_options or {})})
    peer.fit(matrix(rows), rows.table.y, sample_weight=rows.table.w)
    return Corrections(rows, solution, statistics, mask), peer


def close(mine, theirs):
    np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6 * np.abs(theirs).max())


@pytest.mark.parametrize("percentile", [0.0, 30.0, 50.0, 90.0])
def test_corrections_and_leverages(percentile):
    mine, peer = both(
        Selection(leverage_percentile=percentile, negligible_leverage=0.0),
        peer_options={"leverage_percentile": percentile},
    )
    np.testing.assert_allclose(mine.statistics.leverage, peer._leverage_scores, rtol=1e-6)
    np.testing.assert_array_equal(mine.chosen, peer._leverage_mask)
    delta = mine.all()
    theirs = peer._pointwise_correction[peer._leverage_mask]
    np.testing.assert_allclose(delta, theirs, rtol=1e-6, atol=1e-6 * np.abs(theirs).max(axis=0).min())


@pytest.mark.parametrize("clipping", [0.0, 1.0, 25.0])
@pytest.mark.parametrize("threshold", [1e-8, 1e-3])
def test_axes_and_box(clipping, threshold):
    mine, peer = both(peer_options={"percentile_clipping": clipping, "mode_threshold": threshold})
    box = fit_hypercube(mine, mode_threshold=threshold, percentile_clipping=clipping)
    axes, (lo, hi) = peer._hypercube_support, peer._hypercube_bounds
    assert box.axes.shape == axes.shape
    sign = np.sign(np.sum(box.axes * axes, axis=0))
    close(box.axes * sign, axes)
    np.testing.assert_allclose(np.where(sign > 0, box.lo, -box.hi), lo, rtol=1e-6)
    np.testing.assert_allclose(np.where(sign > 0, box.hi, -box.lo), hi, rtol=1e-6)


def test_second_moment_and_epistemic_sigma():
    mine, peer = both(peer_options={"posterior": "ensemble"})
    x = matrix(mine.rows)
    delta = draw_corrections(mine, None, seed=0)
    misspecification = np.sum((x @ delta.T) ** 2, axis=1) / len(delta)
    epistemic = mine.solution.noise_variance * np.sum((x @ mine.solution.whitener) ** 2, axis=1)
    _, std, epistemic_std = peer.predict(x, return_std=True, return_epistemic_std=True)
    np.testing.assert_allclose(np.sqrt(epistemic), epistemic_std, rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(misspecification + epistemic), std, rtol=1e-6)


def test_second_moment_of_the_same_box_points(monkeypatch):
    """Give both the same points of the unit cube: same members, same second moment about the best fit."""
    mine, peer = both()
    box = fit_hypercube(mine)
    u = np.random.default_rng(1).random((len(box.lo), len(mine.rows.table)))
    monkeypatch.setattr(np.random, "uniform", lambda size: u)
    moves, sigma = peer._sample_hypercube()
    sign = np.sign(np.sum(box.axes * peer._hypercube_support, axis=0))
    points = np.where(sign[:, None] > 0, u, 1.0 - u)
    own = box.axes @ (box.lo[:, None] + (box.hi - box.lo)[:, None] * points)
    close(own, moves)
    close(own @ own.T / own.shape[1], sigma)


def test_minimum_relative_error_keeps_the_large_residuals():
    mine, _ = both(Selection(minimum_relative_error=0.7, negligible_leverage=0.0))
    weighted = np.sqrt(mine.rows.table.w) * mine.statistics.residual
    assert 0 < len(mine) < len(weighted)
    np.testing.assert_array_equal(mine.chosen, np.abs(weighted) >= 0.7 * np.sqrt(np.mean(weighted**2)))
