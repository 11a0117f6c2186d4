"""Metrics by their definitions on a few numbers, their defaults, and what they refuse."""

from __future__ import annotations

import re
from dataclasses import asdict

import numpy as np
import pytest
from ase import Atoms
from mliuq.errors import MliuqError
from mliuq.judging import errortable, metrics
from mliuq.judging.errortable import ErrorLine, error_lines, error_table
from mliuq.posterior.predict import Predictions
from scipy.stats import chi2

E = np.array([1.0, -2.0, 0.5, 3.0])
S = np.array([1.0, 1.0, 2.0, 1.5])


def test_each_number_of_a_summary() -> None:
    z = E / S
    found = metrics.summarize(E, S, envelope=(-S, 2 * S), bins=2)
    assert found.count == 4
    assert found.rmse == pytest.approx(np.sqrt(14.25 / 4))
    assert found.mae == pytest.approx(6.5 / 4)
    assert found.sharpness == pytest.approx(np.sqrt(np.mean(S**2)))
    assert found.rms_z == pytest.approx(np.sqrt(np.mean(z**2)))
    assert found.mean_abs_z == pytest.approx(np.mean(np.abs(z)))
    assert (found.coverage_1, found.coverage_2, found.envelope) == (0.5, 1.0, 0.25)
    assert found.ence == metrics.ence(E, S, 2) != metrics.ence(E, S, 4)
    for name, value in (
        ("area", metrics.miscalibration_area(E, S)), ("nll", metrics.nll(E, S)), ("crps", metrics.crps(E, S)),
        ("spearman", metrics.spearman(E, S)), ("auc", metrics.auc_large_errors(E, S)),
    ):  # fmt: skip
        assert getattr(found, name) == value
    assert np.isnan(metrics.summarize(E, S).envelope)


def test_bins_and_points() -> None:
    rng = np.random.default_rng(0)
    for n, bins in ((3, 3), (100, 5), (480, 12), (4000, 20)):
        std = rng.uniform(1, 2, n)
        predicted, actual, count = metrics.reliability(std, std)
        assert len(predicted) == len(count) == bins
        assert count.sum() == n
        np.testing.assert_allclose(predicted, actual)
        assert (np.diff(predicted) > 0).all()
    predicted, actual, _ = metrics.reliability(E, S, 2)
    assert actual == pytest.approx([np.sqrt(2.5), np.sqrt(9.25 / 2)])
    assert predicted == pytest.approx([1.0, np.sqrt(6.25 / 2)])
    assert metrics.ence(E, S, 2) == pytest.approx(np.mean(np.abs(predicted - actual) / predicted))
    expected, observed = metrics.coverage_curve(E, S)
    assert len(expected) == len(observed) == 101
    assert (observed[0], observed[-1]) == (0.0, 1.0)
    exact = metrics.coverage_curve(np.zeros(4), S)[1]
    assert exact[0] == 1.0, "an error of zero is inside the empty interval"
    assert metrics.ROWS_PER_BIN == 40
    rows = np.arange(1.0, 201.0)
    _, actual, _ = metrics.reliability(rows, np.where(rows > 100, 1.0, 2.0))
    in_order = np.split(np.concatenate([rows[100:], rows[:100]]), 5)
    np.testing.assert_allclose(actual, [np.sqrt(np.mean(b**2)) for b in in_order], err_msg="rows of like bars in order")


def test_edges_of_what_is_inside() -> None:
    assert metrics.coverage(np.array([1.0, 2.0]), np.ones(2), 1.0) == 0.5
    assert metrics.envelope_violation(np.array([0.0, 1.0, 1.1, -0.1]), np.zeros(4), np.ones(4)) == 0.5
    assert metrics.pit(np.zeros(2), np.ones(2)).tolist() == [0.5, 0.5]
    assert metrics.pit_members(np.array([1.5, 2.0]), np.array([[1.0, 2.0], [2.0, 3.0]])) == pytest.approx([0.5, 0.25])


def test_large_errors() -> None:
    error = np.arange(1.0, 21.0)
    assert metrics.auc_large_errors(error, error) == 1.0
    assert metrics.auc_large_errors(error, -error + 30) == 0.0
    std = np.where(error > 18, 5.0, np.where(error > 16, 6.0, 1.0))
    assert metrics.auc_large_errors(error, std) == pytest.approx(16 / 18), "a tenth are large"
    assert metrics.auc_large_errors(error, std, 0.2) == 1.0
    assert np.isnan(metrics.auc_large_errors(np.ones(5), np.arange(1.0, 6.0)))
    assert metrics.spearman(-error, error) == pytest.approx(1.0)
    assert np.isnan(metrics.spearman(np.ones(3), np.arange(1.0, 4.0)))
    assert metrics.spearman(np.array([1.0, 3.0]), np.array([2.0, 1.0])) == pytest.approx(-1.0)


def test_ranges_of_rms_z() -> None:
    low, high = metrics.rms_z_range(7.0)
    assert (low, high) == pytest.approx(tuple(np.sqrt(chi2.ppf([0.05, 0.95], 7.0) / 7.0)))
    assert metrics.rms_z_range(7.0, 0.5) == pytest.approx(tuple(np.sqrt(chi2.ppf([0.25, 0.75], 7.0) / 7.0)))
    for bad in (np.zeros((0, 0)), np.diag([1.0, -1.0])):
        says = f"metrics: expected a covariance (n, n) with variances above 0, found {bad.shape}"
        with pytest.raises(MliuqError, match=f"^{re.escape(says)}$"):
            metrics.independent(bad)


@pytest.mark.parametrize(
    ("error", "std", "says"),
    [
        (np.ones(2), np.ones(1), "expected errors and stds of one shape (n,), n ≥ 1, found (2,) and (1,)"),
        (
            np.ones((2, 1)),
            np.ones((2, 1)),
            "expected errors and stds of one shape (n,), n ≥ 1, found (2, 1) and (2, 1)",
        ),
        (np.zeros(0), np.zeros(0), "expected errors and stds of one shape (n,), n ≥ 1, found (0,) and (0,)"),
        (np.array([np.inf]), np.ones(1), "expected finite errors and stds, found NaN or infinity"),
        (np.ones(1), np.array([np.nan]), "expected finite errors and stds, found NaN or infinity"),
        (np.ones(3), np.array([1.0, 0.5, 0.0]), "expected stds above 0, found 0 at row 2 (leave out rows"),
    ],
)
def test_what_no_metric_takes(error: np.ndarray, std: np.ndarray, says: str) -> None:
    for metric in (metrics.rms_z, metrics.reliability, metrics.pit, metrics.nll, metrics.crps):
        with pytest.raises(MliuqError, match=f"^metrics: {re.escape(says)}"):
            metric(error, std)  # type: ignore[operator]


def test_classes_by_parts() -> None:
    found = metrics.by_class(E, S, ["b", "a", "b", "a"], envelope=(-S, 2 * S))
    assert list(found) == ["a", "b"]
    for name, at in (("a", [1, 3]), ("b", [0, 2])):
        assert asdict(found[name]) == asdict(metrics.summarize(E[at], S[at], envelope=(-S[at], 2 * S[at])))
    assert np.isnan(metrics.by_class(E, S, list("abab"))["a"].envelope)
    with pytest.raises(MliuqError, match=r"^metrics: expected one label per row, found \(3,\) labels for \(4,\) rows$"):
        metrics.by_class(E, S, list("aba"))


def test_a_hundredth_of_the_median_is_zero_by_symmetry() -> None:
    kind = np.array([1, 1, 1, 1, 1], np.int8)
    size = np.array([1.0, 1.0, 1.0, 0.01, 0.0100001])
    assert metrics.informative(kind, size).tolist() == [True, True, True, False, True]
    assert metrics.informative(kind, size, 0.5).tolist() == [True, True, True, False, False]
    assert metrics.informative(kind, 1e-15 * size).tolist() == [True, True, True, False, True]
    assert metrics.informative(kind, np.array([1.0, 1e-10, 1e-11, 0.5, 2.0])).tolist() == [
        True,
        False,
        False,
        True,
        True,
    ]


def test_many_rows_that_are_nearly_zero_do_not_say_what_is_usual() -> None:
    """A test set of strained crystals, whose forces are zero by symmetry but for what their relaxation left."""
    size = np.concatenate([np.full(70, 1e-4), np.full(30, 3.0)])
    assert metrics.informative(np.ones(100, np.int8), size).tolist() == [False] * 70 + [True] * 30


def test_forces_that_are_all_zero_by_symmetry_are_seen_beside_energies() -> None:
    kind, size = np.array([0, 0, 1, 1, 1, 2], np.int8), np.array([200.0, 300.0, 1e-5, 1e-4, 2e-4, 0.01])
    assert metrics.informative(kind, size).tolist() == [True, True, False, False, False, True]
    assert metrics.informative(kind, size * [1, 1, 1, 1, 3, 1]).tolist() == [True, True, False, False, True, True]
    assert metrics.informative(kind[2:], size[2:]).tolist() == [True] * 4, "without energies nothing tells"


def predictions(n: int = 12) -> Predictions:
    rng = np.random.default_rng(0)
    y, std = rng.normal(size=n), rng.uniform(0.5, 1.5, n)
    mean = y + std * rng.normal(size=n)
    return Predictions(
        y, mean, std, mean - std, mean + std, np.array([0, 1, 1, 1] * (n // 4), np.int8), np.arange(n) // 4, np.ones(n)
    )


def test_tables_of_all_sets() -> None:
    p, noise, alpha = predictions(), {"energy": 0.1}, {"alpha_force": 2.0}
    left_out = Predictions(p.y, p.y + 2.0 * (p.mean - p.y), 3.0 * p.std, p.low, p.high, p.kind, p.config, p.size)
    structures = [Atoms("W", info={"kind": k} if k else {}) for k in ("a", "b", "")]
    lines = error_table(p, left_out, p, structures, structures, noise, alpha, "kind")
    bars = errortable.predicted_error(p, noise, alpha)
    groups = ["a", "b", None]
    assert lines == [
        *error_lines("train", p, bars, groups=groups),
        *error_lines("left out", left_out, errortable.predicted_error(left_out, noise, alpha), groups=groups),
        *error_lines("test", p, bars, groups=groups),
    ]  # fmt: skip
    assert {line.group for line in lines} == {"all", "a", "b", "none"}
    alone = error_table(p, left_out, None, structures, structures, noise, alpha, "kind")
    assert {line.of for line in alone} == {"train", "left out"}
    assert alone == lines[: len(alone)]
    named = error_table(p, left_out, None, structures, structures, noise, alpha, "other")
    assert {line.group for line in named} == {"all"}
    two = error_lines("train", p, bars, groups=["a", "b", "a"])
    assert [line.group for line in two if line.kind == "energy"] == ["all", "a", "b"]


def test_lines_without_bars_and_with_some() -> None:
    p = predictions()
    bare = Predictions(p.y, p.mean, 0 * p.std, p.mean, p.mean, p.kind, p.config, p.size)
    lines = error_lines("x", bare, 0 * p.std)
    told = [(line.of, line.kind, line.group, line.rows) for line in lines]
    assert told == [("x", "energy", "all", 3), ("x", "force", "all", 9)]
    error = (p.y - p.mean)[p.kind == 1]
    assert lines[1].to_mapping() == {
        "of": "x", "kind": "force", "group": "all", "rows": 9, "mae": pytest.approx(np.abs(error).mean()),
        "rmse": pytest.approx(np.sqrt(np.mean(error**2))),
    }  # fmt: skip
    std = p.std.copy()
    std[1:4] = 0.0
    some = Predictions(p.y, p.mean, std, p.low, p.high, p.kind, p.config, p.size)
    bar = np.where(np.arange(12) == 5, 0.0, 1.0)
    line = error_lines("x", some, bar)[1]
    at = np.flatnonzero(p.kind == 1)
    full = p.y - p.mean
    spread, honest = at[std[at] > 0], at[bar[at] > 0]
    assert line.mean_z == pytest.approx(np.mean(np.abs(full[spread] / std[spread])))
    assert line.rms_z == pytest.approx(np.sqrt(np.mean(full[honest] ** 2)))
    still = Predictions(p.y, p.mean, p.std, p.low, p.high, p.kind, p.config, np.where(p.kind == 1, 0.0, 1.0))
    silent = error_lines("x", still, bar)[1]
    assert (silent.outside, silent.mean_z, silent.rms_z, silent.rows) == (None, None, None, 9)
    assert ErrorLine("a", "b", "c", 1, 2.0, 3.0).to_mapping() == {
        "of": "a", "kind": "b", "group": "c", "rows": 1, "mae": 2.0, "rmse": 3.0,
    }  # fmt: skip
