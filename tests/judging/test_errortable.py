"""The error table against a computation of a few lines: every number, raw and calibrated, of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from mliuq.judging.errortable import error_lines, predicted_error
from mliuq.posterior.predict import Predictions
from mliuq.regression.rows import KINDS

NOISE = {"energy": 0.02, "force": 0.3, "stress": 0.001}
ALPHA = {"alpha_energy": 1.7, "alpha_force": 0.6, "alpha_stress": 2.5}


def predictions(n: int = 240) -> Predictions:
    rng = np.random.default_rng(0)
    kind = (np.arange(n) % 3).astype(np.int8)
    std = rng.lognormal(-2, 0.6, n)
    size = rng.lognormal(0, 0.6, n)
    size[::9] *= 0.03  # small, but above a hundredth of the median
    size[1::8] *= 1e-4  # zero by symmetry but for what is left of it in real structures
    std[2::7] *= 1e-3  # a small spread alone takes no row out
    y = rng.normal(size=n)
    mean = y + std * rng.normal(size=n)
    return Predictions(y, mean, std, mean - std, mean + 0.8 * std, kind, np.arange(n) // 12, size)


def test_predicted_error_is_calibrated_spread_and_floor() -> None:
    p = predictions()
    found, bare = predicted_error(p, NOISE, ALPHA), predicted_error(p, {}, None)
    for kind, name in enumerate(KINDS):
        at = p.kind == kind
        expected = np.sqrt((ALPHA[f"alpha_{name}"] * p.std[at]) ** 2 + NOISE[name] ** 2)
        np.testing.assert_allclose(found[at], expected, rtol=1e-14)
        np.testing.assert_array_equal(bare[at], p.std[at])


@pytest.mark.parametrize("left_out", [False, True])
def test_every_number_of_a_line(left_out: bool) -> None:
    p = predictions()
    if left_out:
        p.mean[5] = p.std[5] = np.nan
    bars = predicted_error(p, NOISE, ALPHA)
    error = p.y - p.mean
    groups = ["a" if config % 2 else "b" for config in range(20)]
    lines = {(line.kind, line.group): line for line in error_lines("set", p, bars, groups=groups)}
    assert set(lines) == {(kind, group) for kind in KINDS for group in ("all", "a", "b")}
    for (kind, group), line in lines.items():
        at = (p.kind == KINDS.index(kind)) & np.isfinite(error)
        if group != "all":
            at &= np.array(groups)[p.config] == group
        e, std, bar = error[at], p.std[at], bars[at]
        assert line.of == "set"
        assert line.rows == at.sum()
        assert line.mae == pytest.approx(np.mean(np.abs(e)), rel=1e-12)
        assert line.rmse == pytest.approx(np.sqrt(np.mean(e**2)), rel=1e-12)
        of_kind = p.size[p.kind == KINDS.index(kind)]
        usual = np.median(of_kind[of_kind > 1e-3 * np.quantile(of_kind, 0.9)])
        live = np.full(at.sum(), True) if kind == "energy" else p.size[at] > 0.01 * usual
        assert group != "all" or live.all() == (kind == "energy")
        assert line.mean_z == pytest.approx(np.mean(np.abs(e[live]) / std[live]), rel=1e-12)
        assert line.rms_z == pytest.approx(np.sqrt(np.mean((e[live] / bar[live]) ** 2)), rel=1e-12)
        outside = (p.y[at] < p.low[at]) | (p.y[at] > p.high[at])
        assert line.outside == pytest.approx(outside[live].mean(), rel=1e-12)
        assert 0.0 < line.outside < 1.0
