"""Intervals of α: how often they hold it, and that they take configurations for their units."""

from __future__ import annotations

import numpy as np
import pytest
from mliuq.posterior.calibration import HeldOut, alpha_by_likelihood, alpha_by_quantile
from mliuq.posterior.credibility import AlphaInterval, alpha_intervals
from mliuq.regression.rows import ENERGY, FORCE

TRUE = 1.7


def errors(rng: np.random.Generator, kind: int, n: int, shape: str, rows: int) -> HeldOut:
    """Errors of n configurations with bars too small by `TRUE`; those of forces share a scale in a configuration."""
    config = np.arange(n) if kind == ENERGY else np.repeat(np.arange(n), rng.integers(rows // 3, 2 * rows, n))
    z = rng.standard_normal(len(config)) if shape == "gaussian" else rng.standard_t(5, len(config)) * np.sqrt(3 / 5)
    shared = np.ones(n) if kind == ENERGY else np.exp(rng.normal(0.0, 0.3, n))
    spread = rng.lognormal(0.0, 0.5, len(config))
    error = TRUE * spread * shared[config] * z
    kinds = np.full(len(config), kind, np.int8)
    return HeldOut(error, spread, np.zeros(len(config)), kinds, "made up", config)


@pytest.mark.parametrize("shape", ["gaussian", "heavy"])
@pytest.mark.parametrize("kind", [ENERGY, FORCE], ids=["energy", "force"])
def test_intervals_hold_alpha_as_often_as_they_say(kind: int, shape: str) -> None:
    rng, name = np.random.default_rng(7), ("energy", "force")[kind]
    truth = TRUE
    if kind == FORCE:  # by coverage: of the mixture over configurations
        many = errors(rng, kind, 4000, shape, 20)
        truth = alpha_by_quantile(many.error, many.spread, many.floor)
    held, trials = 0, 80
    for _ in range(trials):
        found = alpha_intervals(errors(rng, kind, 12, shape, 20))[name]
        assert found.low < found.alpha < found.high
        held += found.low <= truth <= found.high
    assert 0.85 <= held / trials <= 1.0, held / trials


def test_intervals_are_not_so_wide_that_they_say_nothing() -> None:
    rng = np.random.default_rng(0)
    for kind, name, widest in ((ENERGY, "energy", 1.9), (FORCE, "force", 1.4)):
        found = alpha_intervals(errors(rng, kind, 60, "gaussian", 30))[name]
        assert found.high / found.low < widest
        assert found.configurations == 60


def test_rows_of_one_configuration_count_as_one_witness() -> None:
    """Every row there four times, in its own configuration: not a bit more certain; in new ones: it would be."""
    rng = np.random.default_rng(1)
    data = errors(rng, FORCE, 20, "gaussian", 30)
    columns = [np.tile(column, 4) for column in (data.error, data.spread, data.floor, data.kind)]
    assert data.config is not None
    once = alpha_intervals(data)["force"]
    same = alpha_intervals(HeldOut(*columns, "made up", np.tile(data.config, 4)))["force"]
    assert same.high / same.low == pytest.approx(once.high / once.low, rel=0.02)
    apart = np.concatenate([data.config + 20 * copy for copy in range(4)])
    others = alpha_intervals(HeldOut(*columns, "made up", apart))["force"]
    assert np.log(others.high / others.low) < 0.8 * np.log(once.high / once.low)


def test_the_likelihood_of_few_energies_in_closed_form() -> None:
    """Without floors n (ln α² + α̂²/α²) − n (ln α̂² + 1) = χ²₁ at both ends, unless the jackknife reaches farther."""
    data = errors(np.random.default_rng(5), ENERGY, 12, "gaussian", 1)
    found = alpha_intervals(data)["energy"]
    assert found.alpha == pytest.approx(alpha_by_likelihood(data.error, data.spread, data.floor))
    ratio = 12 * (np.log(np.array([found.low, found.high]) ** 2 / found.alpha**2) - 1.0)
    ratio += 12 * (found.alpha / np.array([found.low, found.high])) ** 2
    assert ratio.max() >= 3.84 * 0.97
    assert ratio.min() >= 3.84 * 0.97


def test_more_configurations_than_groups_and_floors_that_explain_all() -> None:
    rng = np.random.default_rng(3)
    data = errors(rng, ENERGY, 300, "gaussian", 1)
    found = alpha_intervals(data)["energy"]
    assert found.low < TRUE < found.high < 1.25 * found.low
    floors = HeldOut(
        0.1 * rng.standard_normal(30), np.ones(30), np.full(30, 0.1), np.zeros(30, np.int8), "", np.arange(30)
    )
    free = alpha_intervals(floors)["energy"]
    assert free.low < 0.05 < free.high < 0.5, "no less than nothing is credible, no more than the errors"


def test_one_configuration_has_no_interval() -> None:
    data = errors(np.random.default_rng(2), FORCE, 1, "gaussian", 60)
    assert alpha_intervals(data) == {}


def test_verdicts() -> None:
    interval = AlphaInterval(1.0, 0.8, 1.3, 20)
    assert interval.verdict(0.9) == "credible"
    assert interval.verdict(0.7) == "too small"
    assert interval.verdict(1.4) == "too large"
    assert interval.verdict(None) == "not there"
