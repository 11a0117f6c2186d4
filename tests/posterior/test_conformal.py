"""Conformal quantiles where errors of one configuration are alike."""

import numpy as np
import pytest
from mliuq.posterior.calibration import HeldOut, calibrate
from mliuq.posterior.conformal import conformal_quantiles
from mliuq.regression.rows import FORCE

# Shares of the rows of the other configurations below each score of three configurations, by hand:
#   score          1    2    3    4    5    6
#   configuration  0    1    2    0    2    2
#   u             0/4  1/5  2/3  2/4  3/3  3/3   in order: 0, 1/5, 1/2, 2/3, 1, 1
SCORE, CONFIG = np.array([1.0, 4.0, 2.0, 3.0, 5.0, 6.0]), np.array([0, 0, 1, 2, 2, 2])


@pytest.mark.parametrize(
    ("level", "quantile", "by_rows"),
    [
        (0.15, 2.0, 2.0),  # one row of six: u = 0, the next is 1/5, ⌈6/5⌉ = 2
        (0.3, 3.0, 3.0),  # two: 1/5, the next is 1/2
        (0.5, 4.0, 4.0),  # three: 1/2, the next is 2/3
        (0.6, 6.0, 5.0),  # four: 2/3, the next is 1: as many as there are; ⌈7 × 0.6⌉ = 5
        (0.8, 6.0, 6.0),  # five: only above the rows of all others
    ],
)
def test_levels_by_hand(level: float, quantile: float, by_rows: float) -> None:
    assert conformal_quantiles(SCORE, [level], CONFIG) == {f"{level:g}": quantile}
    assert conformal_quantiles(SCORE, [level]) == {f"{level:g}": by_rows}
    assert conformal_quantiles(SCORE, [level], np.arange(6)) == {f"{level:g}": by_rows}
    assert conformal_quantiles(SCORE, [level], np.zeros(6, int)) == {f"{level:g}": by_rows}


def test_levels_in_order_and_those_beyond_the_rows_left_out() -> None:
    assert list(conformal_quantiles(SCORE, [0.9, 0.8, 0.3], CONFIG)) == ["0.3", "0.8"], "7 × 0.9 > 6"


@pytest.mark.parametrize("n", [3, 9, 10, 11, 12, 19, 30])
def test_equal_rows_take_one_configuration_more(n: int) -> None:
    config = np.repeat(np.arange(n), 7)
    score = np.random.default_rng(n).permutation(n)[config] + 1.0
    for level, quantile in conformal_quantiles(score, [0.2, 0.5, 0.6827, 0.9, 0.95], config).items():
        assert quantile == min(np.ceil(n * float(level)) + 1, n)
        assert quantile >= min(np.ceil((n + 1) * float(level)), n), "as if each had one row"


def test_quantiles_rise_and_follow_the_scores_alone() -> None:
    rng = np.random.default_rng(1)
    levels = np.linspace(0.01, 0.99, 99)
    for _ in range(30):
        config = rng.integers(0, 12, 80)
        score = np.round(rng.lognormal(size=12)[config] * rng.lognormal(size=80), 1)  # with ties
        found, by_rows = conformal_quantiles(score, levels, config), conformal_quantiles(score, levels)
        values = np.array(list(found.values()))
        assert np.all(np.diff(values) >= 0.0)
        assert np.all(values >= np.array(list(by_rows.values())))
        assert values[-1] <= score.max()
        order, names = rng.permutation(80), rng.permutation(12) * 5
        again = conformal_quantiles(4.0 * score[order], levels, names[config[order]])
        assert again == {level: 4.0 * quantile for level, quantile in found.items()}


@pytest.mark.parametrize(("common", "short"), [(0.99, 0.88), (0.9, 0.89)])
def test_rows_of_new_configurations_are_held_however_alike(common: float, short: float) -> None:
    rng = np.random.default_rng(0)
    config = np.repeat(np.arange(15), 20)
    held = []
    for _ in range(3000):
        error = np.sqrt(common) * rng.standard_normal(30)[:, None] + np.sqrt(1 - common) * rng.standard_normal((30, 20))
        seen, fresh = np.abs(error[:15]).ravel(), np.abs(error[15:])
        widths = [conformal_quantiles(seen, [0.9], c)["0.9"] for c in (config, None)]
        held.append([np.mean(fresh <= width) for width in widths])
    share, by_rows = np.mean(held, axis=0)
    assert share == pytest.approx(0.905, abs=0.005)
    assert by_rows < short


def test_no_wider_where_rows_are_independent() -> None:
    rng = np.random.default_rng(2)
    config = np.repeat(np.arange(15), 20)
    ratio = []
    for _ in range(300):
        score = np.abs(rng.standard_normal(300))
        ratio.append(conformal_quantiles(score, [0.9], config)["0.9"] / conformal_quantiles(score, [0.9])["0.9"])
    assert 1.0 <= np.mean(ratio) < 1.03


def test_a_share_of_rows_is_held_where_large_configurations_err_more() -> None:
    """Weighing configurations alike would hold 62 %."""
    config = np.repeat(np.arange(60), np.where(np.arange(60) % 6 == 0, 60, 3))
    rng = np.random.default_rng(3)
    scale = np.where(np.arange(60) % 6 == 0, 3.0, 1.0)[config]
    score, fresh = (np.abs(scale * rng.standard_normal(len(config))) for _ in range(2))
    assert np.mean(fresh <= conformal_quantiles(score, [0.9], config)["0.9"]) == pytest.approx(0.91, abs=0.02)


def test_calibration_knows_the_configurations_of_its_rows() -> None:
    rng = np.random.default_rng(4)
    config = np.repeat(np.arange(12), 10)
    error = rng.standard_normal(12)[config] + 0.01 * rng.standard_normal(120)
    group = config >= 2
    columns = error, np.ones(120), np.zeros(120), np.full(120, FORCE, np.int8), "made up"
    found = calibrate(HeldOut(*columns, config), groups={"most": group})
    score = np.abs(error) / found.alpha_force
    levels = [float(level) for level in found.conformal["force"]]
    assert found.conformal["force"] == conformal_quantiles(score, levels, config)
    levels = [float(level) for level in found.groups["force"]["most"]]
    assert found.groups["force"]["most"] == conformal_quantiles(score[group], levels, config[group])
    assert found.conformal["force"]["0.9"] > calibrate(HeldOut(*columns)).conformal["force"]["0.9"]
