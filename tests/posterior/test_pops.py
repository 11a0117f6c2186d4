"""The POPS invariant, streaming, samplers and row selection."""

from __future__ import annotations

import numpy as np
import pytest
from linear_problems import matrix, misspecified
from mliuq.errors import MliuqError
from mliuq.posterior import hypercube
from mliuq.posterior.corrections import Corrections
from mliuq.posterior.ensemble import draw_corrections
from mliuq.posterior.hypercube import fit_hypercube
from mliuq.posterior.samplers import SAMPLERS, unit_points
from mliuq.posterior.selection import Selection
from mliuq.regression import ArrayRows, solve
from mliuq.regression.loco import examine


def corrections(rows=None, selection=None, ridge=0.0):
    rows = rows or misspecified(rows_per_block=60)
    solution = solve(rows, ridge=ridge)
    statistics = examine(rows, solution)
    return Corrections(rows, solution, statistics, (selection or Selection()).mask(rows.table, statistics))


@pytest.mark.parametrize("ridge", [0.0, 5.0])
def test_each_correction_fits_its_own_row(ridge):
    c = corrections(ridge=ridge)
    x, y = matrix(c.rows)[c.chosen], c.rows.table.y[c.chosen]
    fitted = np.sum(x * (c.solution.theta + c.all()), axis=1)
    scale = np.linalg.norm(x * c.solution.theta, axis=1) + np.abs(y)
    assert np.max(np.abs(fitted - y) / scale) < 1e-12


def test_each_correction_is_the_smallest_in_loss():
    """Any other move that fits the row has a larger δᵀAδ."""
    c = corrections()
    delta, x = c.all()[17], matrix(c.rows)[c.chosen][17]
    r = c.solution.factor
    for other in np.random.default_rng(0).normal(size=(20, len(delta))):
        sideways = other - x * (x @ other) / (x @ x)
        assert np.linalg.norm(r @ (delta + 1e-3 * sideways)) > np.linalg.norm(r @ delta)


def test_invariant_survives_terrible_conditioning():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 20))
    x[:, 19] = x[:, 0] + 1e-10 * rng.normal(size=300)
    c = corrections(ArrayRows(x, rng.normal(size=300)))
    assert np.max(np.abs(np.sum(x * (c.solution.theta + c.all()), axis=1) - c.rows.table.y)) < 1e-3
    w = c.solution.whitener  # in whitened coordinates the identity holds to rounding
    moves = np.concatenate([c._whitened(i) for i in range(c.rows.n_blocks)])
    np.testing.assert_allclose(np.sum((x @ w) * moves, axis=1), c.statistics.residual, rtol=1e-10)


def test_streamed_gram_and_bounds_equal_the_whole():
    c = corrections()
    delta = c.all()
    np.testing.assert_allclose(c.gram(), delta.T @ delta, rtol=1e-9, atol=1e-12 * np.abs(delta.T @ delta).max())
    box = fit_hypercube(c)
    np.testing.assert_allclose(box.lo, (delta @ box.axes).min(axis=0), rtol=1e-8)
    np.testing.assert_allclose(box.hi, (delta @ box.axes).max(axis=0), rtol=1e-8)


def test_percentiles_in_groups_of_axes_are_exact(monkeypatch):
    c = corrections()
    whole = fit_hypercube(c, percentile_clipping=5.0)
    monkeypatch.setattr(hypercube, "_HELD", 2 * len(c))
    groups = fit_hypercube(c, percentile_clipping=5.0)
    np.testing.assert_allclose(groups.lo, whole.lo, rtol=1e-12)
    np.testing.assert_allclose(groups.hi, whole.hi, rtol=1e-12)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_members_stay_in_the_box_and_repeat(sampler):
    box = fit_hypercube(corrections())
    first, again, other = (box.sample(77, seed, sampler) for seed in (3, 3, 4))
    assert first.shape == (77, 9)
    assert first.tobytes() == again.tobytes()
    assert not np.array_equal(first, other)
    u = first @ box.axes
    margin = 1e-9 * (box.hi - box.lo)
    assert np.all(u >= box.lo - margin)
    assert np.all(u <= box.hi + margin)


def test_second_moment_of_the_box():
    box = fit_hypercube(corrections())
    moves = box.sample(1 << 15, 0, "sobol")
    exact = box.second_moment()
    np.testing.assert_allclose(moves.T @ moves / len(moves), exact, atol=1e-3 * np.abs(exact).max())


def test_unit_points_fill_the_cube():
    for sampler in SAMPLERS:
        points = unit_points(sampler, 1000, 3, 0)
        assert points.shape == (1000, 3)
        assert np.all(np.abs(points.mean(axis=0) - 0.5) < 0.05)
    assert unit_points("sobol", 5, 0, 0).shape == (5, 0)
    with pytest.raises(MliuqError, match="'dice', expected one of uniform"):
        unit_points("dice", 1, 1, 0)


def test_rows_that_vanish_by_symmetry_are_left_out():
    rows = misspecified()
    x, y = matrix(rows).copy(), rows.table.y.copy()
    x[5] *= 1e-14
    x[6] = 0.0
    y[5:7] = 1e-3
    c = corrections(ArrayRows(x, y, rows.table.w))
    assert not c.chosen[5]
    assert not c.chosen[6]
    assert len(c) == len(y) - 2
    assert np.isfinite(c.all()).all()


def test_ensemble_draws_distinct_corrections():
    c = corrections()
    every = c.all()
    drawn = draw_corrections(c, 20, seed=1)
    assert drawn.shape == (20, 9)
    assert len(np.unique(drawn, axis=0)) == 20
    np.testing.assert_array_equal(drawn, draw_corrections(c, 20, seed=1))
    for member in drawn:
        assert np.isclose(every, member, rtol=1e-9, atol=0).all(axis=1).any()
    assert len(draw_corrections(c, 10_000, seed=1)) == len(every)


@pytest.mark.parametrize(
    "selection",
    [
        Selection(leverage_percentile=100.0),
        Selection(leverage_percentile=-1.0),
        Selection(minimum_relative_error=-1.0),
        Selection(minimum_relative_error=1e9),
        Selection(negligible_leverage=np.nan),
    ],
)
def test_senseless_selections_are_refused(selection):
    with pytest.raises(MliuqError):
        corrections(selection=selection)
