"""The blocked QR solver against closed forms, numpy, scikit-learn and FitSNAP."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from linear_problems import matrix, misspecified
from mliuq.errors import MliuqError
from mliuq.regression import ArrayRows, solve
from mliuq.regression.rows import atoms_of, block_starts
from sklearn.linear_model import BayesianRidge


def weighted_lstsq(rows, ridge=0.0):
    root = np.sqrt(rows.table.w)
    x, y = matrix(rows) * root[:, None], rows.table.y * root
    x = np.vstack([x, np.sqrt(ridge) * np.eye(rows.n_weights)])
    return np.linalg.lstsq(x, np.concatenate([y, np.zeros(rows.n_weights)]), rcond=None)[0]


def test_gradient_of_the_loss_vanishes():
    rows = misspecified()
    theta = solve(rows, ridge=0.3).theta
    x, w = matrix(rows), rows.table.w
    gradient = x.T @ (w * (x @ theta - rows.table.y)) + 0.3 * theta
    assert np.abs(gradient).max() < 1e-12 * np.abs(x.T @ (w * rows.table.y)).max()


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 10.0])
def test_equals_lstsq(ridge):
    rows = misspecified(rows_per_block=25)
    solution = solve(rows, ridge=ridge)
    np.testing.assert_allclose(solution.theta, weighted_lstsq(rows, ridge), rtol=1e-10)
    x, w = matrix(rows), rows.table.w
    a = (x * w[:, None]).T @ x + ridge * np.eye(rows.n_weights)
    np.testing.assert_allclose(solution.factor.T @ solution.factor, a, rtol=1e-12, atol=1e-12 * np.abs(a).max())
    np.testing.assert_allclose(solution.whitener @ solution.whitener.T @ a, np.eye(len(a)), atol=1e-7)
    hat = np.einsum("rp,pq,rq->r", x, np.linalg.inv(a), x) * w
    assert solution.effective_parameters == pytest.approx(hat.sum(), rel=1e-9)
    residual = rows.table.y - x @ solution.theta
    assert solution.chi2 == pytest.approx(float(np.sum(w * residual**2)), rel=1e-10)


@pytest.mark.parametrize("rows_per_block", [1, 8, 50, 10_000])
def test_blocks_do_not_matter(rows_per_block):
    whole = solve(misspecified()).theta
    np.testing.assert_allclose(solve(misspecified(rows_per_block=rows_per_block)).theta, whole, rtol=1e-11)


def test_same_input_same_bits():
    first, second = (solve(misspecified(rows_per_block=30)) for _ in range(2))
    assert first.theta.tobytes() == second.theta.tobytes()
    assert first.whitener.tobytes() == second.whitener.tobytes()


def test_evidence_equals_bayesian_ridge():
    rows = misspecified(rows_per_block=40)
    solution = solve(rows, ridge="evidence")
    peer = BayesianRidge(fit_intercept=False).fit(matrix(rows), rows.table.y, sample_weight=rows.table.w)
    np.testing.assert_allclose(solution.theta, peer.coef_, rtol=1e-8)
    assert solution.ridge == pytest.approx(peer.lambda_ / peer.alpha_, rel=1e-8)
    assert solution.noise_variance == pytest.approx(1.0 / peer.alpha_, rel=1e-8)
    covariance = solution.noise_variance * solution.whitener @ solution.whitener.T
    np.testing.assert_allclose(covariance, peer.sigma_, rtol=1e-7, atol=1e-10 * np.abs(peer.sigma_).max())


def test_golden_tantalum(tantalum):
    rows = ArrayRows(
        tantalum["descriptors"],
        tantalum["truth_minus_ref"],
        tantalum["weights"] ** 2,  # FitSNAP's weights multiply rows
        tantalum["row_type"],
        tantalum["config_index"],
        rows_per_block=2000,
    )
    np.testing.assert_allclose(solve(rows).theta, tantalum["coeffs"], rtol=1e-8)


def test_ill_conditioned_columns_keep_their_digits():
    """Cond 1e9 after scaling: the normal equations would have no correct digit left."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 6))
    x[:, 5] = x[:, 4] + 1e-9 * rng.normal(size=400)
    truth = np.array([1.0, -2.0, 3.0, 0.5, 1.0, -1.0])
    theta = solve(ArrayRows(x, x @ truth, rows_per_block=100)).theta
    np.testing.assert_allclose(theta, truth, rtol=1e-5)


def test_wild_scales():
    rng = np.random.default_rng(4)
    scale = 10.0 ** np.array([-150, -30, 0, 30, 140])
    x = rng.normal(size=(60, 5))
    theta = np.arange(1.0, 6.0)
    solution = solve(ArrayRows(x * scale, x @ theta))
    np.testing.assert_allclose(solution.theta * scale, theta, rtol=1e-10)
    assert solution.rank == 5


@pytest.mark.parametrize("ruin", ["duplicate", "zero", "few"])
def test_rank_deficiency_is_reported_and_harmless(ruin, caplog):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(50, 6))
    if ruin == "duplicate":
        x[:, 2] = -3.0 * x[:, 4]
    elif ruin == "zero":
        x[:, 1] = 0.0
    else:
        x = x[:4]
    y = rng.normal(size=len(x))
    with caplog.at_level(logging.WARNING):
        solution = solve(ArrayRows(x, y, rows_per_block=20))
    assert solution.rank == {"duplicate": 5, "zero": 5, "few": 4}[ruin]
    assert set(solution.undetermined) >= {"duplicate": {2, 4}, "zero": {1}, "few": set()}[ruin]
    assert "determine" in caplog.text
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(x @ solution.theta, x @ best, atol=1e-10)
    assert np.isfinite(solution.factor).all()
    assert np.abs(np.diagonal(solution.factor)).min() > 0.0
    if ruin == "zero":
        assert abs(solution.theta[1]) < 1e-14


def test_duplicated_rows_change_nothing_but_the_weights():
    rows = misspecified()
    x, y, w = matrix(rows), rows.table.y, rows.table.w
    twice = ArrayRows(np.vstack([x, x]), np.tile(y, 2), np.tile(w, 2))
    np.testing.assert_allclose(solve(twice).theta, solve(rows).theta, rtol=1e-10)


def test_rows_of_weight_zero_do_not_count():
    rows = misspecified()
    x, y, w = matrix(rows), rows.table.y.copy(), rows.table.w.copy()
    w[::3], y[::3] = 0.0, 1e6
    kept = np.arange(len(y)) % 3 > 0
    np.testing.assert_allclose(
        solve(ArrayRows(x, y, w)).theta, solve(ArrayRows(x[kept], y[kept], w[kept])).theta, rtol=1e-10
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.array([1.0, np.nan, 0.0])}, "configuration 1: force target is nan"),
        ({"w": np.array([1.0, 1.0, -2.0])}, "configuration 2: force weight is -2.0"),
        ({"w": np.zeros(3)}, "every row has weight zero"),
        ({"y": np.zeros(2)}, r"y has shape \(2,\), expected \(3,\)"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "no rows to fit"),
        ({"x": np.zeros((3, 2))}, "every row of the design matrix is zero"),
        ({"x": np.array([[1.0, 2.0], [np.inf, 1.0], [1.0, 1.0]])}, "configuration 1: a force row"),
    ],
)
def test_bad_rows_are_refused(change, message):
    good = {"x": np.eye(3)[:, :2], "y": np.ones(3)}
    with pytest.raises(MliuqError, match=message):
        solve(ArrayRows(**{**good, **change}))


@pytest.mark.parametrize("ridge", [-1.0, np.nan])
def test_bad_ridge_is_refused(ridge):
    with pytest.raises(MliuqError, match="ridge is"):
        solve(misspecified(), ridge=ridge)


def test_blocks_hold_whole_configurations():
    sizes = np.array([5, 1, 1, 9, 2, 2])
    starts = block_starts(sizes, 6)
    assert list(starts) == [0, 6, 7, 16, 20]
    assert list(block_starts(np.zeros(0, int), 6)) == [0]


def test_rows_of_one_configuration_are_brought_together():
    x, config = np.arange(10.0).reshape(5, 2), np.array([1, 0, 1, 0, 2])
    rows = ArrayRows(x, np.arange(5.0), config=config)
    assert list(rows.table.config) == [0, 0, 1, 1, 2]
    np.testing.assert_array_equal(matrix(rows), x[rows.order])
    np.testing.assert_array_equal(rows.table.y, np.arange(5.0)[rows.order])


def test_atoms_of_forces():
    """Three rows each in order, whatever else there is and in whichever order configurations come."""
    kind = np.array([0, 1, 1, 1, 1, 1, 1, 2, 0, 1, 1, 1], dtype=np.int8)
    config = np.array([4] * 8 + [2] * 4)
    assert atoms_of(kind, config).tolist() == [-1, 0, 0, 0, 1, 1, 1, -1, -1, 0, 0, 0]
    assert atoms_of(kind[:1], config[:1]).tolist() == [-1]
