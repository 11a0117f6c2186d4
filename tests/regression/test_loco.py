"""Closed-form leave-one-configuration-out residuals against refits."""

from __future__ import annotations

import numpy as np
import pytest
from linear_problems import matrix, misspecified
from mliuq.regression import ArrayRows, solve
from mliuq.regression.loco import examine


def refit_residuals(rows, ridge=0.0):
    x, table = matrix(rows), rows.table
    out = np.empty(len(table))
    for config in np.unique(table.config):
        own = table.config == config
        rest = ArrayRows(x[~own], table.y[~own], table.w[~own])
        out[own] = table.y[own] - x[own] @ solve(rest, ridge=ridge).theta
    return out


@pytest.mark.parametrize("ridge", [0.0, 2.0])
@pytest.mark.parametrize("per_config", [1, 4, 15])
def test_equals_refits(per_config, ridge):
    """15 rows for 9 weights takes the other side of the push-through identity."""
    rows = misspecified(n_configs=25, per_config=per_config, rows_per_block=33)
    statistics = examine(rows, solve(rows, ridge=ridge))
    np.testing.assert_allclose(statistics.loco, refit_residuals(rows, ridge), rtol=1e-7, atol=1e-9)


def test_rows_of_weight_zero_are_predicted_too():
    rows = misspecified(n_configs=20)
    w = np.where(np.arange(len(rows.table)) % 3 == 1, 0.0, rows.table.w)
    blind = ArrayRows(matrix(rows), rows.table.y, w, rows.table.kind, rows.table.config)
    statistics = examine(blind, solve(blind))
    np.testing.assert_allclose(statistics.loco, refit_residuals(blind), rtol=1e-7)


def test_leverages_are_the_hat_diagonal():
    rows = misspecified()
    solution = solve(rows)
    statistics = examine(rows, solution)
    q = np.linalg.qr(matrix(rows) * np.sqrt(rows.table.w)[:, None])[0]
    np.testing.assert_allclose(statistics.leverage, np.sum(q**2, axis=1), rtol=1e-8)
    assert statistics.leverage.sum() == pytest.approx(rows.n_weights)


def test_indispensable_configuration_is_marked():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4))
    x[:, 3] = 0.0
    x[6:8, 3] = 1.0
    rows = ArrayRows(x, rng.normal(size=30), config=np.arange(30) // 2)
    statistics = examine(rows, solve(rows))
    assert list(np.flatnonzero(np.isnan(statistics.loco))) == [6, 7]
