"""Active sets, Mahalanobis distance and the baselines."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from linear_problems import matrix, misspecified
from mliuq.descriptor.bispectrum import atomic_rows
from mliuq.errors import MliuqError
from mliuq.model.novelty import grade
from mliuq.posterior.baselines import bag, draw_bayesian_ridge, rescale_to_residuals
from mliuq.posterior.extrapolation import ActiveSet, mahalanobis, select_active_sets
from mliuq.posterior.predict import predict
from mliuq.regression import ENERGY, FORCE, solve
from mliuq.regression.loco import examine


def test_grade_of_the_training_set_is_at_most_the_tolerance():
    d = np.random.default_rng(0).normal(size=(400, 12)) * 10.0 ** np.linspace(-3, 3, 12)
    active = ActiveSet(12, tolerance=1.05)
    for part in [*np.array_split(d, 5), d]:
        active.update(part)
    assert grade(d, active.rows).max() <= 1.05 * (1 + 1e-9)
    assert {tuple(row) for row in active.rows} <= {tuple(row) for row in d}


def test_volume_is_nearly_the_largest():
    d = np.random.default_rng(1).normal(size=(12, 3))
    active = ActiveSet(3, tolerance=1.0001)
    active.update(d)
    best = max(abs(np.linalg.det(d[list(rows)])) for rows in combinations(range(12), 3))
    assert abs(np.linalg.det(active.rows)) > 0.8 * best


def test_grade_does_not_depend_on_units():
    rng = np.random.default_rng(2)
    d, new, units = rng.normal(size=(100, 6)), rng.normal(size=(9, 6)) * 3, 10.0 ** rng.uniform(-8, 8, 6)
    one, other = ActiveSet(6), ActiveSet(6)
    one.update(d)
    other.update(d * units)
    np.testing.assert_allclose(grade(new * units, other.rows), grade(new, one.rows), rtol=1e-6)


def test_unseen_directions_are_far_away():
    rng = np.random.default_rng(3)
    d = rng.normal(size=(50, 5))
    d[:, 4] = d[:, 3]
    active = select_active_sets([(d, np.zeros(50, int))], 1, 5)[0]
    assert grade(d, active).max() < 1.2
    assert grade(d[:3] + np.eye(5)[4], active).min() > 1e3


def test_elements_have_sets_of_their_own():
    rng = np.random.default_rng(4)
    d, element = rng.normal(size=(60, 4)), np.arange(60) % 2
    sets = select_active_sets([(d[:30], element[:30]), (d[30:], element[30:])], 2, 4)
    for index in range(2):
        assert {tuple(row) for row in sets[index]} <= {tuple(row) for row in d[element == index]}


def test_atomic_rows_are_linear_in_the_weights():
    b = np.random.default_rng(5).normal(size=(7, 3))
    beta0, beta, alpha = 0.3, np.array([1.0, -2.0, 0.5]), np.array([[1.0, 2, 3], [2, 5, 6], [3, 6, 9]])
    theta = np.r_[beta0, beta, alpha[np.triu_indices(3)]]
    direct = beta0 + b @ beta + 0.5 * np.einsum("ij,jk,ik->i", b, alpha, b)
    np.testing.assert_allclose(atomic_rows(b, quadratic=True) @ theta, direct)
    assert atomic_rows(b, quadratic=False).shape == (7, 4)


def test_mahalanobis_is_the_leverage():
    rows = misspecified()
    solution = solve(rows)
    distance = mahalanobis(matrix(rows), solution.factor)
    np.testing.assert_allclose(rows.table.w * distance**2, examine(rows, solution).leverage, rtol=1e-8)


def test_bad_tolerance():
    with pytest.raises(MliuqError, match="expected a number above 1"):
        ActiveSet(3, tolerance=1.0)


def test_bayesian_ridge_members_have_the_epistemic_covariance():
    solution = solve(misspecified(), ridge="evidence")
    moves = draw_bayesian_ridge(solution, 20_000, seed=0) @ solution.factor.T
    expected = solution.noise_variance * np.eye(9)
    np.testing.assert_allclose(moves.T @ moves / len(moves), expected, atol=0.05 * solution.noise_variance)


def test_bagging_repeats_and_rescales():
    rows = misspecified()
    solution = solve(rows)
    statistics = examine(rows, solution)
    moves = bag(rows, solution, 6, seed=1)
    assert moves.tobytes() == bag(rows, solution, 6, seed=1).tobytes()
    scaled = rescale_to_residuals(rows, statistics, moves)
    variance = predict(rows, solution.theta, scaled).std ** 2
    assert np.sum(rows.table.w * variance) == pytest.approx(np.sum(rows.table.w * statistics.loco**2))
    with pytest.raises(MliuqError, match="do not differ"):
        rescale_to_residuals(rows, statistics, np.zeros((3, 9)))


def test_predictions_are_about_the_best_fit():
    rows = misspecified(rows_per_block=40)
    theta = solve(rows).theta
    moves = 1e-3 * np.random.default_rng(0).normal(size=(30, 9)) + 1e-3
    found = predict(rows, theta, moves)
    x = matrix(rows)
    members = x @ (theta + moves).T
    np.testing.assert_allclose(found.std, np.sqrt(np.mean((members - (x @ theta)[:, None]) ** 2, axis=1)), rtol=1e-6)
    np.testing.assert_allclose(found.low, members.min(axis=1), rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(found.high, members.max(axis=1), rtol=1e-10, atol=1e-9)
    assert len(found.of_kind(ENERGY)) + len(found.of_kind(FORCE)) == len(found)
    alone = predict(rows, theta, None)
    assert not alone.std.any()
    np.testing.assert_array_equal(alone.low, alone.high)
