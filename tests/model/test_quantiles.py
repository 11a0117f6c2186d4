"""Conformal quantiles between the levels that a model stores."""

from __future__ import annotations

import numpy as np
import pytest
from mliuq import MliuqError
from mliuq.model.quantiles import conformal_quantile
from mliuq.posterior.calibration import HeldOut, calibrate
from scipy.stats import norm

STORED = {"conformal": {"force": {"0.99": 3.0, "0.5": 0.7, "0.9": 1.7}}, "rows": {"force": 500}}


def test_stored_levels_are_exact_and_chords_lie_between() -> None:
    for level, quantile in (("0.5", 0.7), ("0.9", 1.7), ("0.99", 3.0)):
        assert conformal_quantile(STORED, "force", float(level)) == quantile
    assert conformal_quantile(STORED, "force", 0.7) == pytest.approx(1.2)
    assert conformal_quantile(STORED, "force", 0.25) == pytest.approx(0.35)


def test_chords_are_on_the_safe_side_of_gaussian_errors() -> None:
    """And by no more than a little: the levels stored are close enough."""
    rng = np.random.default_rng(0)
    n = 200_000
    error = rng.standard_normal(n)
    found = calibrate(HeldOut(error, np.ones(n), np.zeros(n), np.zeros(n, dtype=np.int8), "draws")).to_mapping()
    for level in (0.03, 0.22, 0.68, 0.73, 0.92, 0.98, 0.9985):
        quantile = conformal_quantile(found, "energy", level)
        held = 2 * norm.cdf(quantile * found["alpha_energy"]) - 1
        assert level - 0.003 < held < level + 0.012, level


@pytest.mark.parametrize(
    ("calibration", "kind", "level", "says"),
    [
        (STORED, "force", 0.0, "level is 0"),
        (STORED, "force", 1.0, "level is 1.0"),
        (STORED, "force", np.nan, "level is nan"),
        (STORED, "force", 0.995, "expected at most 0.99: force was calibrated on 500 rows"),
        (STORED, "energy", 0.9, "no conformal quantiles of energy"),
        (None, "energy", 0.9, "no conformal quantiles of energy"),
        ({"conformal": 3}, "energy", 0.9, "no conformal quantiles of energy"),
        ({"conformal": {"energy": {"most": 1.0}}}, "energy", 0.9, "calibration.conformal.energy is"),
    ],
)
def test_refusals(calibration: dict, kind: str, level: float, says: str) -> None:
    with pytest.raises(MliuqError, match=says):
        conformal_quantile(calibration, kind, level)
