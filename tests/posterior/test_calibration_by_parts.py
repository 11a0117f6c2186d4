"""α, quantiles, intervals and active sets by formulas of a few lines; what is refused and said."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mliuq.errors import MliuqError
from mliuq.model.novelty import grade
from mliuq.posterior import calibration, credibility, extrapolation
from mliuq.posterior.calibration import (
    Calibration,
    HeldOut,
    alpha_by_likelihood,
    alpha_by_quantile,
    alpha_of_few,
    calibrate,
)
from mliuq.posterior.credibility import AlphaInterval, alpha_intervals
from mliuq.posterior.extrapolation import ActiveSet, select_active_sets
from mliuq.posterior.settings import PosteriorSettings
from mliuq.regression.rows import ENERGY, FORCE, KINDS, STRESS
from scipy.optimize import brentq
from scipy.stats import chi2, norm
from scipy.stats import t as student

COLUMNS = ("error", "spread", "floor", "kind")


def held_out(n: int = 90, kinds: int = 3, floor: float = 0.1, seed: int = 0) -> HeldOut:
    rng = np.random.default_rng(seed)
    spread = rng.lognormal(0, 0.5, n)
    kind = (np.arange(n) % kinds).astype(np.int8)
    return HeldOut(1.7 * spread * rng.standard_normal(n), spread, np.full(n, floor), kind, "made up", np.arange(n) // 9)


# --- α ---------------------------------------------------------------------------------------------------------------


def test_coverages_and_levels() -> None:
    for share, k in calibration.FORCE_COVERAGE:
        assert share == pytest.approx(2 * norm.cdf(k) - 1, abs=6e-5)
    assert [k for _, k in calibration.FORCE_COVERAGE] == [1.0, 2.0]
    assert sorted(calibration.LEVELS) == sorted(
        [*np.round(np.arange(0.05, 0.96, 0.05), 2), 0.6827, 0.9545, 0.975, 0.99, 0.995, 0.9973, 0.999]
    )
    n = 2000
    data = HeldOut(np.ones(n), np.ones(n), np.zeros(n), np.zeros(n, np.int8), "")
    assert set(calibrate(data).conformal["energy"]) == {f"{level:g}" for level in calibration.LEVELS}
    assert (calibration.FOLDS, calibration.PRIOR, calibration.FEW_ROWS) == (5, 50.0, 10)


@pytest.mark.parametrize(("size", "found"), [(1e5, 1e3), (1e-6, 1e-3), (700.0, 700.0), (0.002, 0.002)])
def test_alpha_between_a_thousandth_and_a_thousand(size: float, found: float) -> None:
    ones, zeros = np.ones(20), np.zeros(20)
    assert alpha_by_likelihood(size * ones, ones, zeros) == pytest.approx(found, rel=1e-5)
    if size == found:
        assert alpha_by_quantile(size * ones, ones, zeros) == pytest.approx(found, rel=1e-8)


@pytest.mark.parametrize("members", [None, 2, 3, 8])
def test_alpha_of_few_members(members: int | None) -> None:
    data = held_out()
    z = np.sort(np.abs(data.error / data.spread))
    by_likelihood = np.sqrt(np.mean(z**2)) * (1.0 if members is None else np.sqrt(max(members - 2, 1) / members))
    zero = np.zeros(90)
    assert alpha_by_likelihood(data.error, data.spread, zero, members=members) == pytest.approx(by_likelihood, rel=1e-6)
    each = []
    for share, k in ((0.6827, 1.0), (0.9545, 2.0)):
        each.append(np.quantile(z, share) / (k if members is None else student.ppf(0.5 + 0.5 * share, members)))
    assert alpha_by_quantile(data.error, data.spread, zero, members=members) == pytest.approx(max(each), rel=1e-8)
    few = alpha_of_few(data.error, data.spread, zero, members=members)
    assert few == pytest.approx(np.sqrt(by_likelihood * each[0]), rel=1e-6)
    bare = HeldOut(data.error, data.spread, zero, np.zeros(90, np.int8), "")
    forces = replace(bare, kind=np.ones(90, np.int8))
    assert calibrate(bare, members=members).alpha_energy == pytest.approx(by_likelihood, rel=1e-6)
    assert calibrate(bare, members=members, few=True).alpha_energy == pytest.approx(few, rel=1e-12)
    assert calibrate(forces, members=members, few=True).alpha_force == pytest.approx(max(each), rel=1e-8)


def test_alpha_with_floors_is_the_best_and_falls_back() -> None:
    data = held_out(floor=0.8)

    def cost(alpha: float) -> float:
        v = (alpha * data.spread) ** 2 + data.floor**2
        return float(np.mean(np.log(v) + data.error**2 / v))

    found = alpha_by_likelihood(data.error, data.spread, data.floor)
    slope = (cost(found * (1 + 1e-4)) - cost(found * (1 - 1e-4))) / 2e-4
    assert abs(slope) < 1e-5
    assert cost(found) < min(cost(0.9 * found), cost(1.1 * found))
    wide = np.full(90, 50.0)
    small = 1e-1 * data.error
    assert alpha_by_quantile(small, data.spread, wide, members=7) == alpha_by_likelihood(
        small, data.spread, wide, members=7
    )


def test_calibration_of_each_kind_by_hand() -> None:
    data = replace(held_out(), config=None)
    found = calibrate(data, levels=(0.5, 0.9, 0.97), prior=6.0)
    assert found.source == "made up"
    assert found.rows == dict.fromkeys(KINDS, 30)
    for kind, name in enumerate(KINDS):
        at = data.kind == kind
        find = alpha_by_quantile if kind == FORCE else alpha_by_likelihood
        alpha = find(data.error[at], data.spread[at], data.floor[at]) ** (30 / 36)
        assert getattr(found, f"alpha_{name}") == pytest.approx(alpha, rel=1e-12)
        score = np.sort(np.abs(data.error[at]) / np.hypot(alpha * data.spread[at], data.floor[at]))
        assert found.conformal[name] == pytest.approx({"0.5": score[15], "0.9": score[27]}), "31 × 0.97 > 30"
        exact = calibrate(data, levels=(30 / 31,), prior=6.0).conformal[name]
        assert list(exact.values()) == [pytest.approx(score[29])]
    bars = found.error_bars(data.spread, data.floor, data.kind)
    alphas = np.array([found.alpha_energy, found.alpha_force, found.alpha_stress])[data.kind]
    np.testing.assert_array_equal(found.alpha(data.kind), alphas)
    np.testing.assert_allclose(bars, np.sqrt((alphas * data.spread) ** 2 + data.floor**2))
    assert Calibration() == Calibration(1.0, 1.0, 1.0, {}, {}, "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"error": np.ones(2)}, "expected arrays of one length, at least 1, found (2,)"),
        ({"kind": np.zeros(2, np.int8)}, "expected arrays of one length, at least 1, found (3,)"),
        ({"floor": np.zeros(4)}, "expected arrays of one length, at least 1, found (3,)"),
        ({"spread": np.zeros((3, 1))}, "expected arrays of one length, at least 1, found (3,)"),
        (
            {name: np.zeros(0) for name in ("error", "spread", "floor", "kind")},
            "expected arrays of one length, at least 1",
        ),
        (
            {name: np.ones((3, 1), np.int8) for name in ("error", "spread", "floor", "kind")},
            "expected arrays of one length",
        ),
        ({"spread": np.array([1.0, np.inf, 1.0])}, "expected finite errors and spreads, found NaN or infinity"),
        ({"floor": np.array([1.0, np.nan, 1.0])}, "expected finite errors and spreads, found NaN or infinity"),
        ({"spread": np.array([0.0, -1.0, 1.0])}, "expected spreads above 0, found 2 of 3 rows without (leave out rows"),
    ],
)
def test_rows_that_do_not_calibrate(change: dict[str, Any], says: str) -> None:
    good = {
        "error": np.ones(3),
        "spread": np.ones(3),
        "floor": np.zeros(3),
        "kind": np.zeros(3, np.int8),
        "source": "x",
    }
    with pytest.raises(MliuqError, match=f"^calibration on x: {re.escape(says)}"):
        calibrate(HeldOut(**(good | change)))
    calibrate(HeldOut(**(good | {"spread": np.zeros(3), "floor": np.ones(3)})))


def test_kinds_of_fewer_than_ten_rows(caplog: pytest.LogCaptureFixture) -> None:
    kind = np.array([0] * 10 + [1] * 9 + [2] * 3, np.int8)
    n = len(kind)
    data = HeldOut(np.arange(1.0, n + 1), np.ones(n), np.zeros(n), kind, "there", np.arange(n))
    enough = data.of_enough_rows()
    assert enough.kind.tolist() == [0] * 10
    for name in ("error", "spread", "floor", "config"):
        np.testing.assert_array_equal(getattr(enough, name), getattr(data, name)[:10])
    assert enough.source == "there"
    assert [(r.name, r.getMessage()) for r in caplog.records] == [(
        "mliuq.posterior.calibration",
        "too few rows to calibrate on (9 of force, 3 of stress; expected 10 of a kind): left as they are",
    )]  # fmt: skip
    assert replace(data, config=None).of_enough_rows().config is None
    caplog.clear()
    assert len(enough.of_enough_rows().error) == 10
    assert not caplog.messages
    few = replace(
        data, error=data.error[10:], spread=data.spread[10:], floor=data.floor[10:], kind=kind[10:], config=None
    )
    says = r"^calibration on there: expected at least 10 rows of a kind, found 9 of force, 3 of stress$"
    with pytest.raises(MliuqError, match=says):
        few.of_enough_rows()
    empty = HeldOut(*(np.zeros(0) for _ in range(3)), np.zeros(0, np.int8), "there")  # type: ignore[call-arg]
    with pytest.raises(MliuqError, match=r"^calibration on there: expected at least 10 rows of a kind, found none$"):
        empty.of_enough_rows()


# --- intervals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("floor", [0.0, 0.6])
@pytest.mark.parametrize(
    ("kind", "level"), [(ENERGY, 0.95), (FORCE, 0.95), (STRESS, 0.95), (FORCE, 0.6), (ENERGY, 0.6)]
)
def test_intervals_by_hand(kind: int, floor: float, level: float) -> None:
    """Jackknife over configurations, dealt into forty groups where there are more; likelihood for what has one."""
    rng = np.random.default_rng(kind)
    n = 45
    config = np.repeat(np.arange(n), 4)
    spread = rng.lognormal(0, 0.3, 4 * n)
    error = 1.3 * np.hypot(spread, floor) * rng.standard_normal(4 * n)
    data = HeldOut(error, spread, np.full(4 * n, floor), np.full(4 * n, kind, np.int8), "", config)
    (found,) = alpha_intervals(data, level=level, seed=3).values()
    find = alpha_by_quantile if kind == FORCE else alpha_by_likelihood
    assert found.alpha == find(np.abs(error), spread, data.floor)
    assert found.configurations == n
    group = (np.random.default_rng(3).permutation(n) % 40)[config]
    logs = []
    for g in range(40):
        own = group != g
        alpha = find(np.abs(error[own]), spread[own], data.floor[own])
        logs.append(np.log(alpha**2 * np.mean(spread**2) + floor**2))
    reach = student.ppf(0.5 + 0.5 * level, 39) * np.sqrt(39 / 40 * np.sum((np.array(logs) - np.mean(logs)) ** 2))
    middle = np.log(found.alpha**2 * np.mean(spread**2) + floor**2)
    ends = [np.sqrt((np.exp(middle + s * reach) - floor**2) / np.mean(spread**2)) for s in (-1, 1)]
    if kind != FORCE:

        def excess(alpha: float) -> float:
            v = [(a * spread) ** 2 + floor**2 for a in (alpha, found.alpha)]
            costs = [np.mean(np.log(part) + error**2 / part) for part in v]
            return float(n * (costs[0] - costs[1]) - chi2.ppf(level, 1))

        ends = [min(ends[0], brentq(excess, 1e-2, found.alpha)), max(ends[1], brentq(excess, found.alpha, 1e2))]
    assert (found.low, found.high) == pytest.approx(ends, rel=0.01)
    if kind == FORCE:
        assert (found.low, found.high) == pytest.approx(ends, rel=1e-9)
    if kind == FORCE:
        assert alpha_intervals(data, seed=4) != alpha_intervals(data, seed=3)
    if level == 0.95:
        assert alpha_intervals(data, seed=3)[KINDS[kind]] == found
        assert alpha_intervals(data) == alpha_intervals(data, seed=0)


def test_intervals_at_their_limits() -> None:
    assert alpha_intervals(replace(held_out(), config=None)) == {}
    assert set(alpha_intervals(held_out())) == set(KINDS)
    interval = AlphaInterval(1.0, 0.8, 1.3, 20)
    assert [interval.verdict(a) for a in (0.8, 1.3, 0.79, 1.31, None)] == [
        "credible", "credible", "too small", "too large", "not there",
    ]  # fmt: skip
    assert (credibility.LEVEL, credibility.GROUPS, credibility.CREDIBLE) == (0.95, 40, "credible")
    two = HeldOut(np.array([1e-8, 1e8]), np.ones(2), np.zeros(2), np.zeros(2, np.int8), "", np.arange(2))
    found = alpha_intervals(two)["energy"]
    assert (found.low, found.high) == (1e-3, 1e3), "no less than α can be, no more"
    one = replace(two, config=np.zeros(2, int))
    assert alpha_intervals(one) == {}


# --- active sets -----------------------------------------------------------------------------------------------------


def test_active_sets_go_on_in_batches_and_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    d = rng.normal(size=(300, 6))
    usual = ActiveSet(6)
    assert usual.tolerance == 1.1
    usual.update(np.zeros((0, 6)))
    assert not usual.rows.any()
    usual.update(d)
    assert 1.0 <= grade(d, usual.rows).max() <= 1.1 * (1 + 1e-6)
    monkeypatch.setattr(extrapolation, "_CANDIDATES", 2)
    small = ActiveSet(6)
    small.update(d)
    assert grade(d, small.rows).max() <= 1.1 * (1 + 1e-6)
    begun = small.rows.copy()
    on = ActiveSet(6, rows=begun)
    on.update(3.0 * d[:50])
    assert grade(3.0 * d[:50], on.rows).max() <= 1.1 * (1 + 1e-6)
    np.testing.assert_array_equal(begun, small.rows)
    assert abs(np.linalg.det(on.rows)) > abs(np.linalg.det(begun))
    sets = select_active_sets([(d, np.arange(300) % 3)], 3, 6, tolerance=1.02)
    assert sets.shape == (3, 6, 6)
    for index in range(3):
        assert grade(d[index::3], sets[index]).max() <= 1.02 * (1 + 1e-6)
    usual_sets, told = (select_active_sets([(d, np.zeros(300, int))], 1, 6, **o) for o in ({}, {"tolerance": 1.1}))
    np.testing.assert_array_equal(usual_sets, told)
    np.testing.assert_allclose(extrapolation._spread(np.array([[3.0, 0.0], [4.0, 0.0]])), [np.sqrt(12.5), 1.0])


def test_active_sets_that_take_too_long_say_so(caplog: pytest.LogCaptureFixture) -> None:
    d = np.random.default_rng(0).normal(size=(300, 6))
    short = ActiveSet(6, tolerance=1.01)
    short.update(d, max_rounds=1)
    (record,) = caplog.records
    assert record.name == "mliuq.posterior.extrapolation"
    assert re.match(r"^active set: stopped after 1 rounds with a grade of \d", record.getMessage())
    with pytest.raises(MliuqError, match=r"^tolerance of the active set is 1.0, expected a number above 1$"):
        ActiveSet(3, tolerance=1.0)


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"members": -1}, "posterior.members is -1, expected a number from 0 to inf"),
        ({"environments": -1}, "posterior.environments is -1, expected a number from 0 to inf"),
        ({"prior": -0.1}, "posterior.prior is -0.1, expected a number from 0 to inf"),
        ({"prior": np.inf}, "posterior.prior is inf, expected"),
        ({"percentile_clipping": 50.1}, "posterior.percentile_clipping is 50.1, expected a number from 0 to 50"),
        ({"percentile_clipping": -1.0}, "posterior.percentile_clipping is -1.0"),
        ({"calibration_folds": 1}, "posterior.calibration_folds is 1, expected a number from 2 to inf"),
        ({"sampler": "dice"}, "posterior.sampler is 'dice', expected one of uniform, sobol, latin, halton"),
        ({"leverage_percentile": 100.0}, "leverage_percentile is 100.0"),
        ({"minimum_relative_error": -1.0}, "minimum_relative_error is -1.0"),
        ({"negligible_leverage": -1.0}, "negligible_leverage is -1.0"),
    ],
)
def test_posterior_settings_that_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(MliuqError, match=f"^{re.escape(says)}"):
        PosteriorSettings(**change).validate()
    for fine in ({"members": 0}, {"percentile_clipping": 50.0}, {"calibration_folds": 2}, {"prior": 0.0}):
        PosteriorSettings(**fine).validate()  # type: ignore[arg-type]
    assert PosteriorSettings() == PosteriorSettings(
        "gaussian", 500, "uniform", 0.0, 0.0, 1e-4, 1e-8, 0.0, 0.0, True, "auto", 5, "errors", True, 1000
    )


def test_where_refits_end() -> None:
    auto = PosteriorSettings()
    assert auto.refits(30 * 2000 - 1, 2000)
    assert not auto.refits(30 * 2000, 2000)
    assert auto.refits(2**26 // 64, 64)
    assert not auto.refits(2**26 // 64 + 1, 64)
