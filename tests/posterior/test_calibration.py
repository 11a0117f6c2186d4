"""Calibration: α and conformal quantiles on errors whose truth is known."""

import numpy as np
import pytest
from mliuq.errors import MliuqError
from mliuq.posterior.calibration import (
    Calibration,
    HeldOut,
    alpha_by_likelihood,
    alpha_by_quantile,
    alpha_of_credible,
    alpha_of_few,
    calibrate,
    cross_fitted,
)
from mliuq.posterior.credibility import alpha_intervals
from mliuq.posterior.left_out import LeftOutRows
from mliuq.regression.rows import ENERGY, FORCE, STRESS

N = 40000
TRUE = {ENERGY: 2.0, FORCE: 0.5, STRESS: 3.0}


def held_out(floor: float = 0.0, seed: int = 0) -> HeldOut:
    """Gaussian errors, std too small by a known factor of each kind."""
    rng = np.random.default_rng(seed)
    kind = (np.arange(N) % 3).astype(np.int8)
    spread = rng.lognormal(0, 0.5, N)
    factor = np.array([TRUE[k] for k in range(3)])[kind]
    error = np.hypot(factor * spread, floor) * rng.standard_normal(N)
    return HeldOut(error, spread, np.full(N, floor), kind, "made up")


@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_known_factors_are_found(floor):
    found = calibrate(held_out(floor))
    assert found.alpha_energy == pytest.approx(TRUE[ENERGY], rel=0.03)
    assert found.alpha_force == pytest.approx(TRUE[FORCE], rel=0.05)
    assert found.alpha_stress == pytest.approx(TRUE[STRESS], rel=0.03)
    assert found.rows == {"energy": 13334, "force": 13333, "stress": 13333}


def test_without_floor_the_likelihood_is_the_root_mean_square():
    data = held_out()
    z = data.error / data.spread
    assert alpha_by_likelihood(data.error, data.spread, data.floor) == pytest.approx(np.sqrt(np.mean(z**2)), rel=1e-6)


def test_one_absurd_error_among_few_moves_their_scale_half_as_far():
    rng = np.random.default_rng(11)
    error, one, zero = rng.standard_normal(50), np.ones(50), np.zeros(50)
    wild = np.r_[error[:-1], 20.0]
    by_likelihood = alpha_by_likelihood(wild, one, zero)
    core = alpha_by_quantile(wild, one, zero, coverage=((0.6827, 1.0),))
    assert by_likelihood > 2.5
    assert core < 1.3
    assert alpha_of_few(wild, one, zero) == pytest.approx((by_likelihood * core) ** 0.5, rel=1e-12)
    data = HeldOut(wild, one, zero, np.full(50, ENERGY, np.int8), "made up")
    assert calibrate(data, few=True).alpha_energy == alpha_of_few(wild, one, zero)
    assert calibrate(data).alpha_energy == alpha_of_credible(wild, one, zero) < 1.3
    many = held_out()
    assert calibrate(many, few=True).alpha_energy == pytest.approx(TRUE[ENERGY], rel=0.03), "unbiased where errors obey"


@pytest.mark.parametrize("kind", [ENERGY, STRESS])
@pytest.mark.parametrize("floor", [0.0, 0.4])
def test_a_value_computed_otherwise_does_not_widen_all_bars(kind: int, floor: float) -> None:
    """44 bars off, as a cell with other k-points among 174 energies was; conformal intervals count it all the same."""
    rng = np.random.default_rng(5)
    n, spread = 174, rng.lognormal(0, 0.5, 174)
    error = np.hypot(2.0 * spread, floor) * rng.standard_normal(n)
    rows = (spread, np.full(n, floor), np.full(n, kind, np.int8), "made up", np.arange(n))
    without = HeldOut(error[1:], *(column[1:] if isinstance(column, np.ndarray) else column for column in rows))
    expected = calibrate(without).alpha(rows[2][:1])[0]
    assert expected == pytest.approx(alpha_by_likelihood(error[1:], spread[1:], rows[1][1:]))
    error[0] = 44 * np.hypot(expected * spread[0], floor)
    data = HeldOut(error, *rows)
    assert calibrate(data).alpha(rows[2][:1])[0] == pytest.approx(expected, rel=1e-12)
    assert alpha_by_likelihood(error, spread, rows[1]) > 2 * expected
    times = data.doubtful()
    assert np.flatnonzero(times).tolist() == [0]
    assert times[0] == pytest.approx(44, rel=0.3), "bars by quantiles differ a little"
    (interval,), (others,) = alpha_intervals(data).values(), alpha_intervals(without).values()
    assert (interval.alpha, interval.low, interval.high) == pytest.approx(
        (others.alpha, others.low, others.high), rel=0.05
    )
    error[:10] = 44 * np.hypot(expected * spread[:10], floor)
    assert not HeldOut(error, *rows).doubtful().any(), "where one in twenty is, it is the bars that are wrong"
    assert calibrate(HeldOut(error, *rows)).alpha(rows[2][:1])[0] > 2 * expected


def test_forces_are_never_doubted() -> None:
    data = held_out()
    data.error[1] = 1e3 * data.spread[1]
    assert data.kind[1] == FORCE
    assert not data.doubtful().any()


def test_quantile_is_two_afterwards():
    data = held_out(0.3)
    alpha = alpha_by_quantile(data.error, data.spread, data.floor, coverage=((0.9545, 2.0),))
    z = np.abs(data.error) / np.hypot(alpha * data.spread, data.floor)
    assert np.quantile(z, 0.9545) == pytest.approx(2.0, abs=1e-6)


def test_each_coverage_asked_for_is_reached():
    rng = np.random.default_rng(8)
    flat, one, zero = rng.uniform(-1, 1, 20000), np.ones(20000), np.zeros(20000)
    tail = alpha_by_quantile(flat, one, zero, coverage=((0.9545, 2.0),))
    both = alpha_by_quantile(flat, one, zero)
    assert tail == pytest.approx(0.9545 / 2, rel=0.02)
    assert both == pytest.approx(0.6827, rel=0.02)


def test_one_bad_configuration_does_not_move_forces():
    rng = np.random.default_rng(1)
    error, spread = rng.standard_normal(10000), np.ones(10000)
    bad = error.copy()
    bad[:150] *= 100
    assert alpha_by_quantile(bad, spread, 0 * spread) == pytest.approx(
        alpha_by_quantile(error, spread, 0 * spread), rel=0.08
    )
    assert alpha_by_likelihood(bad, spread, 0 * spread) > 10


def test_forces_below_the_floor_leave_a_finite_factor():
    rng = np.random.default_rng(2)
    error, spread = 0.1 * rng.standard_normal(1000), np.full(1000, 0.05)
    assert 0 < alpha_by_quantile(error, spread, np.full(1000, 1.0)) < 1


@pytest.mark.parametrize("members", [5, 20])
@pytest.mark.parametrize("find", [alpha_by_likelihood, alpha_by_quantile])
def test_few_members_do_not_bias(find, members):
    rng = np.random.default_rng(3)
    true = rng.lognormal(0, 0.5, 100000)
    error, few = (
        1.5 * true * rng.standard_normal(true.size),
        true * np.sqrt(rng.chisquare(members, true.size) / members),
    )
    zero = np.zeros_like(true)
    assert find(error, few, zero, members=members) == pytest.approx(1.5, rel=0.02)
    assert find(error, few, zero) > 1.55


def test_conformal_quantiles_hold_on_fresh_errors():
    found, fresh = calibrate(held_out(0.3, seed=4), levels=(0.8, 0.9545)), held_out(0.3, seed=5)
    score = np.abs(fresh.error) / found.error_bars(fresh.spread, fresh.floor, fresh.kind)
    for kind, name in enumerate(("energy", "force", "stress")):
        for level, quantile in found.conformal[name].items():
            assert np.mean(score[fresh.kind == kind] <= quantile) == pytest.approx(float(level), abs=0.015)


def test_groups_of_enough_configurations_have_quantiles_of_their_own():
    rng = np.random.default_rng(8)
    n, few = 4000, 9
    config = np.arange(n) // 4
    wide, rare = config < 300, (config >= 300) & (config < 300 + few)
    error = rng.standard_normal(n) * np.where(wide, 3.0, 1.0)
    data = HeldOut(error, np.ones(n), np.zeros(n), np.full(n, FORCE, np.int8), "made up", config)
    groups = {"wide": wide, "rare": rare, "rest": ~wide}
    found = calibrate(data, groups=groups)
    assert found.conformal == calibrate(data).conformal
    assert set(found.groups["force"]) == {"wide", "rest"}
    own = np.sort(np.abs(error[wide])) / found.alpha_force
    assert found.groups["force"]["wide"]["0.9"] == own[int(np.ceil(0.9 * (len(own) + 1))) - 1]
    fresh = rng.standard_normal(20_000)
    for name, scale in (("wide", 3.0), ("rest", 1.0)):
        width = found.groups["force"][name]["0.9"] * found.alpha_force
        assert np.mean(np.abs(scale * fresh) <= width) == pytest.approx(0.9, abs=0.03)
    assert found.to_mapping()["groups"] == {"conformal": found.groups}
    assert "groups" not in calibrate(data).to_mapping()
    assert not calibrate(HeldOut(error, *(np.ones(n), np.zeros(n)), data.kind, ""), groups=groups).groups


def test_conformal_levels_beyond_the_rows_are_left_out():
    data = HeldOut(np.arange(1.0, 10.0), np.ones(9), np.zeros(9), np.zeros(9, dtype=np.int8), "nine")
    found = calibrate(data, levels=(0.5, 0.9, 0.95))
    assert list(found.conformal["energy"]) == ["0.5", "0.9"]
    assert found.conformal["energy"]["0.5"] == pytest.approx(5 / found.alpha_energy)
    assert found.alpha_force == 1.0


def test_cross_fitting_predicts_rows_it_has_not_seen():
    rng = np.random.default_rng(6)
    z = rng.standard_normal((600, 3))
    e = np.einsum("rp,rp->r", z, rng.standard_normal((600, 3)))
    kind, config = (np.arange(600) % 2).astype(np.int8), np.arange(600) // 2
    data = LeftOutRows(z, e, kind, config)
    first = cross_fitted(data, folds=3)
    changed = e.copy()
    changed[config == 0] *= 30
    second = cross_fitted(LeftOutRows(z, changed, kind, config), folds=3)
    own = config == 0
    assert np.array_equal(first.spread[own], second.spread[own])
    assert not np.allclose(first.spread, second.spread, rtol=0.01)
    assert calibrate(first).alpha_energy == pytest.approx(1.0, abs=0.15)


def test_plain_values_for_the_model_file():
    found = calibrate(held_out())
    values = found.to_mapping()
    assert set(values) == {"alpha_energy", "alpha_force", "alpha_stress", "conformal", "rows", "source"}
    assert Calibration(**values) == found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"error": np.ones(2)}, "one length"),
        ({"error": np.array([1.0, np.nan, 1.0])}, "finite"),
        ({"spread": np.array([1.0, 0.0, 1.0])}, "1 of 3 rows"),
    ],
)
def test_bad_rows_are_named(change, says):
    good = {
        "error": np.ones(3),
        "spread": np.ones(3),
        "floor": np.zeros(3),
        "kind": np.zeros(3, np.int8),
        "source": "x",
    }
    with pytest.raises(MliuqError, match=says):
        calibrate(HeldOut(**(good | change)))


def test_too_few_configurations_are_named():
    data = LeftOutRows(np.ones((3, 1)), np.ones(3), np.zeros(3, np.int8), np.arange(3))
    with pytest.raises(MliuqError, match="at least 5 configurations, found 3"):
        cross_fitted(data)


def test_belief_in_the_spread_counts_for_rows():
    """ln α of n rows shrinks by n/(n + prior); quantiles follow, so that intervals hold what they held."""
    rng = np.random.default_rng(8)
    spread = rng.uniform(0.5, 2.0, 100)
    held_out = HeldOut(3.0 * spread * rng.standard_normal(100), spread, np.zeros(100), np.full(100, ENERGY), "drawn")
    alone, believed = calibrate(held_out), calibrate(held_out, prior=50.0)
    assert alone.alpha_energy == pytest.approx(3.0, rel=0.15)
    assert believed.alpha_energy == pytest.approx(alone.alpha_energy ** (100 / 150), rel=1e-12)
    for level, quantile in alone.conformal["energy"].items():
        width = believed.conformal["energy"][level] * believed.alpha_energy
        assert width == pytest.approx(quantile * alone.alpha_energy, rel=1e-12)
