"""Residuals of whole classes left out: closed form against refits."""

from __future__ import annotations

import numpy as np
import pytest
from linear_problems import matrix, misspecified
from mliuq.errors import MliuqError
from mliuq.regression import ArrayRows, solve
from mliuq.regression.classes_out import class_out_residuals
from mliuq.regression.loco import examine


def refit_residuals(rows: ArrayRows, group: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    x, table, out = matrix(rows), rows.table, np.full(len(rows.table), np.nan)
    for c in np.unique(group[group >= 0]):
        own = group == c
        rest = ArrayRows(x[~own], table.y[~own], table.w[~own])
        out[own] = table.y[own] - x[own] @ solve(rest, ridge=ridge).theta
    return out


@pytest.mark.parametrize("ridge", [0.0, 2.0])
@pytest.mark.parametrize("rows_per_block", [12, 10_000])
def test_equals_refits(ridge: float, rows_per_block: int) -> None:
    """Classes span blocks, have more rows than weights or fewer, and lie between each other."""
    rows = misspecified(n_configs=60, rows_per_block=rows_per_block)
    group = np.array([0, 1, 0, 2, 0, 1])[rows.table.config % 6]
    group[rows.table.config == 7] = 3  # a class of seven rows for nine weights
    expected = refit_residuals(rows, group, ridge)
    found = class_out_residuals(rows, solve(rows, ridge=ridge), group)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
    residual = examine(rows, solve(rows, ridge=ridge)).residual
    assert np.abs(found - residual).max() > 0.1 * np.std(residual), "leaving a class out changes nothing here"


def test_configurations_are_the_smallest_classes() -> None:
    rows = misspecified()
    solution = solve(rows)
    found = class_out_residuals(rows, solution, rows.table.config)
    np.testing.assert_allclose(found, examine(rows, solution).loco, rtol=1e-8, atol=1e-10)


def test_rows_of_no_class_stay_in_every_fit() -> None:
    rows = misspecified()
    group = np.where(rows.table.config < 5, -1, rows.table.config % 2)
    found = class_out_residuals(rows, solve(rows), group)
    np.testing.assert_array_equal(np.isnan(found), group < 0)
    np.testing.assert_allclose(found[group >= 0], refit_residuals(rows, group)[group >= 0], rtol=1e-8, atol=1e-8)


def test_a_row_that_only_its_class_determines_has_no_residual() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    x[:, 3] = 0.0
    x[6:9, 3] = 1.0
    group = np.arange(60) // 20
    rows = ArrayRows(x, rng.normal(size=60), config=np.arange(60) // 2)
    found = class_out_residuals(rows, solve(rows), group)
    assert list(np.flatnonzero(np.isnan(found))) == [6, 7, 8]
    others = np.r_[20:60]
    np.testing.assert_allclose(found[others], refit_residuals(rows, group)[others], rtol=1e-8, atol=1e-8)
    rest = ArrayRows(x[20:, :3], rows.table.y[20:])
    same_class = np.r_[0:6, 9:20]
    np.testing.assert_allclose(
        found[same_class], rows.table.y[same_class] - x[same_class, :3] @ solve(rest).theta, rtol=1e-8, atol=1e-8
    )


def test_classes_of_another_length_are_refused() -> None:
    rows = misspecified()
    with pytest.raises(MliuqError, match="one for each row"):
        class_out_residuals(rows, solve(rows), np.zeros(3, np.int64))
