"""Every posterior against the parts it is made of, and what it says of itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from linear_problems import matrix, misspecified
from mliuq.errors import MliuqError
from mliuq.posterior import adopted, gaussian, likelihood
from mliuq.posterior.adopted import build_adopted
from mliuq.posterior.baselines import bag, draw_bayesian_ridge, rescale_to_residuals
from mliuq.posterior.build import Posterior, build_posterior
from mliuq.posterior.calibration import HeldOut, cross_fitted, folds_of
from mliuq.posterior.corrections import Corrections
from mliuq.posterior.ensemble import draw_corrections
from mliuq.posterior.gaussian import GaussianSettings, draw_gaussian, fit_gaussian
from mliuq.posterior.hypercube import Hypercube, fit_hypercube
from mliuq.posterior.left_out import LeftOutRows, LeftOutSettings, left_out_rows
from mliuq.posterior.predict import Predictions, predict
from mliuq.posterior.refits import RefitSettings, left_out, refitted
from mliuq.posterior.samplers import SAMPLERS, unit_points
from mliuq.posterior.selection import Selection
from mliuq.posterior.settings import PosteriorSettings
from mliuq.posterior.thresholds import guard_thresholds, spread_thresholds
from mliuq.regression import ENERGY, FORCE, STRESS, ArrayRows
from mliuq.regression.distributed import Team
from mliuq.regression.loco import RowStatistics, examine
from mliuq.regression.protection import Protection
from mliuq.regression.rows import KINDS, SubsetRows
from mliuq.regression.solver import Solution, solve


class Counting(Team):
    """A team of one that counts what it is asked to join."""

    def __init__(self) -> None:
        self.joined = 0

    def gather(self, part: np.ndarray) -> np.ndarray:
        self.joined += 1
        return part


class Second(Team):
    """The second of two ranks: it hears what the first has found."""

    rank, size = 1, 2

    def __init__(self, said: Any) -> None:
        self.said = said

    def broadcast(self, value: Any) -> Any:
        assert value is None, "only the first rank fits"
        return self.said


class Steps(list[tuple[str, int, int]]):
    """A progress that keeps what it is called with."""

    def __bool__(self) -> bool:
        return True

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.append((stage, done, total))


def with_stress(**options: Any) -> ArrayRows:
    """Energies, forces and stresses."""
    rows = misspecified(**options)
    kind = np.where(np.arange(len(rows.table)) % 7 > 4, STRESS, rows.table.kind)
    return ArrayRows(matrix(rows), rows.table.y, rows.table.w, kind, rows.table.config)


def fit(rows: ArrayRows) -> tuple[Solution, RowStatistics]:
    solution = solve(rows)
    return solution, examine(rows, solution)


def said(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    """Messages of one module."""
    return [record.getMessage() for record in caplog.records if record.name == f"mliuq.posterior.{name}"]


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "mliuq"):
        yield caplog


# --- kinds of posteriors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_hypercube_by_parts(sampler: str, everything: pytest.LogCaptureFixture) -> None:
    rows = misspecified(rows_per_block=60)
    solution, statistics = fit(rows)
    settings = PosteriorSettings(
        kind="hypercube", members=30, sampler=sampler, mode_threshold=1e-3, percentile_clipping=10.0,  # type: ignore[arg-type]
        leverage_percentile=20.0,
    )  # fmt: skip
    steps = Steps()
    found = build_posterior(rows, solution, statistics, settings, seed=4, progress=steps)
    assert said(everything, "build") == ["hypercube posterior, 30 members"]
    chosen = Selection(20.0).mask(rows.table, statistics)
    box = fit_hypercube(Corrections(rows, solution, statistics, chosen), mode_threshold=1e-3, percentile_clipping=10.0)
    assert set(found.arrays) == {"posterior.axes", "posterior.lo", "posterior.hi"}
    for name in ("axes", "lo", "hi"):
        np.testing.assert_array_equal(found.arrays[f"posterior.{name}"], getattr(box, name))
    np.testing.assert_array_equal(found.moves, box.sample(30, 4, sampler))
    assert found.facts == {
        "kind": "hypercube", "rows": chosen.sum(), "axes": len(box.lo), "sampler": sampler,
    }  # fmt: skip
    assert (found.noise, found.held_out) == ({}, None)
    n = rows.n_blocks
    assert steps == [(stage, i, n) for stage in ("gram", "bounds") for i in range(1, n + 1)]


def test_ensemble_by_parts() -> None:
    rows = misspecified()
    solution, statistics = fit(rows)
    team = Counting()
    settings = PosteriorSettings(kind="ensemble", members=12, minimum_relative_error=0.5)
    found = build_posterior(rows, solution, statistics, settings, seed=4, team=team)
    chosen = Selection(minimum_relative_error=0.5).mask(rows.table, statistics)
    corrections = Corrections(rows, solution, statistics, chosen)
    np.testing.assert_array_equal(found.moves, draw_corrections(corrections, 12, 4))
    assert found.facts == {"kind": "ensemble", "rows": chosen.sum()}
    assert team.joined == 1
    every = corrections.all()
    for n in (None, len(every), len(every) + 1):
        np.testing.assert_array_equal(draw_corrections(corrections, n, 0), every)
    assert len(draw_corrections(corrections, len(every) - 1, 0)) == len(every) - 1


@pytest.mark.parametrize("members", [0, 40])
def test_gaussian_by_parts(members: int) -> None:
    rows = with_stress()
    solution, statistics = fit(rows)
    settings = PosteriorSettings(members=members, calibration_source="left-out", calibration_folds=3)
    found = build_posterior(rows, solution, statistics, settings, seed=4)
    data = left_out_rows(rows, solution, statistics, LeftOutSettings(seed=4))
    fitted = fit_gaussian(data)
    assert found.facts == {
        "kind": "gaussian", "rows": len(data.e), "prior": 1.5 * 9 / len(data.e), "converged": True,
    }  # fmt: skip
    assert found.noise == {name: getattr(fitted.noise, name) for name in KINDS}
    assert min(found.noise.values()) > 0.0
    assert set(found.arrays) == {"posterior.factor"}
    np.testing.assert_array_equal(found.arrays["posterior.factor"], solution.whitener @ fitted.factor)
    expected = draw_gaussian(fitted, solution, members, 4) if members else np.zeros((0, 9))
    np.testing.assert_array_equal(found.moves, expected)
    assert found.held_out is not None
    assert found.held_out.source == (
        "leave-one-configuration-out residuals, posterior cross-fitted in 3 folds (seed 4)"
    )
    for change in ({"calibrate": False}, {"calibration_source": "k-fold"}):
        other = PosteriorSettings(**{**vars(settings), **change})
        assert build_posterior(rows, solution, statistics, other, seed=4).held_out is None


@pytest.mark.parametrize(("n", "calibrated"), [(19, False), (20, True)])
def test_twenty_configurations_calibrate(n: int, calibrated: bool, caplog: pytest.LogCaptureFixture) -> None:
    rows = misspecified(n_configs=n)
    settings = PosteriorSettings(members=0, calibration_source="left-out", calibration_folds=2)
    found = build_posterior(rows, *fit(rows), settings, seed=0)
    assert (found.held_out is not None) == calibrated
    own = [text for text in said(caplog, "gaussian") if f"only {n} configurations; its error bars are little" in text]
    assert bool(own) != calibrated
    own = build_adopted(rows, solve(rows), fit(rows)[1].leverage, settings, seed=0, protection=Protection())
    assert (own.held_out is not None) == calibrated


def test_what_the_prior_holds_is_added_and_kept_apart() -> None:
    rows = misspecified()
    solution, statistics = fit(rows)
    settings = PosteriorSettings(kind="ensemble", members=12)
    rng = np.random.default_rng(0)
    prior = Protection(
        axes=np.linalg.inv(solution.factor)[:, :2], spread=rng.normal(size=(9, 3)), sharing=rng.normal(size=(9, 2))
    )
    bare = build_posterior(rows, solution, statistics, settings, seed=4)
    found = build_posterior(rows, solution, statistics, settings, seed=4, protection=prior)
    np.testing.assert_array_equal(found.moves, prior.applied(bare.moves, solution.factor, 4))
    assert np.abs(found.moves - bare.moves).max() > 0.1
    shared = prior.shared(12, 4)
    assert shared is not None
    assert set(found.arrays) == {"sharing.moves", "sharing.coefficients"}
    np.testing.assert_array_equal(found.arrays["sharing.moves"], shared.moves)
    np.testing.assert_array_equal(found.arrays["sharing.coefficients"], shared.coefficients)
    assert found.facts == bare.facts


def test_one_rank_fits_the_gaussian_and_all_get_it() -> None:
    rows = misspecified()
    kept = Posterior(np.ones((1, 9)))
    assert build_posterior(rows, *fit(rows), PosteriorSettings(), seed=0, team=Second(kept)) is kept


# --- adopted potentials ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "folds", "deals"), [(24, 6, 2), (20, 22, 2), (199, 2, 2), (200, 2, 1)])
def test_adopted_by_parts(n: int, folds: int, deals: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few configurations are dealt twice, into twice as many folds; 200 once."""
    monkeypatch.setattr(LeftOutSettings, "limit", lambda self, p: 150)
    rows = with_stress(n_configs=n, per_config=7 if n < 100 else 3, p=4)
    metric, statistics = fit(rows)
    asked = folds if deals == 1 else folds // 2
    settings = PosteriorSettings(
        members=30, prior=0.2, negligible_leverage=0.05, calibration_folds=asked, leverage_percentile=10.0
    )
    prior = Protection(axes=np.linalg.inv(metric.factor)[:, :2], spread=np.eye(4)[:, :2])
    found = build_adopted(rows, metric, statistics.leverage, settings, seed=3, protection=prior)
    y = rows.table.y
    data = left_out_rows(
        rows, metric, RowStatistics(y, statistics.leverage, y), LeftOutSettings(0, 3, Selection(10.0, 0.0, 0.05), False)
    )
    options = GaussianSettings(prior=0.2)
    fitted = fit_gaussian(data, options)
    np.testing.assert_array_equal(found.moves, prior.applied(draw_gaussian(fitted, metric, 30, 3), metric.factor, 3))
    np.testing.assert_array_equal(found.arrays["posterior.factor"], metric.whitener @ fitted.factor)
    assert set(found.arrays) == {"posterior.factor"}
    assert found.noise == {name: getattr(fitted.noise, name) for name in KINDS}
    assert found.facts == {"kind": "gaussian", "rows": len(data.e), "prior": 0.2, "converged": True}
    folds = min(folds, len(np.unique(data.config)))
    parts = [cross_fitted(data, options, folds=folds, seed=3 + deal) for deal in range(deals)]
    held_out = found.held_out
    assert held_out is not None
    np.testing.assert_array_equal(held_out.error, data.e)
    np.testing.assert_array_equal(held_out.kind, data.kind)
    for name in ("spread", "floor"):
        squares = [getattr(part, name) ** 2 for part in parts]
        np.testing.assert_allclose(getattr(held_out, name), np.sqrt(sum(squares) / deals), rtol=1e-12)
    times = " 2 times" if deals == 2 else ""
    own = len(np.unique(data.config))
    assert held_out.source == (
        f"residuals of {own} configurations, posterior cross-fitted in {folds} folds{times} (seed 3)"
    )


def test_adopted_without_members_or_calibration() -> None:
    rows = misspecified()
    metric, statistics = fit(rows)
    found = build_adopted(
        rows, metric, statistics.leverage, PosteriorSettings(members=0, calibrate=False), seed=0,
        protection=Protection(),
    )  # fmt: skip
    assert found.moves.shape == (0, 9)
    assert found.held_out is None
    with pytest.raises(MliuqError, match=r"^posterior.kind is 'ensemble': a potential is adopted with 'gaussian' only"):
        build_adopted(
            rows, metric, statistics.leverage, PosteriorSettings(kind="ensemble"), seed=0, protection=Protection()
        )
    assert (adopted.DEALS, adopted.FINER, adopted.MANY_CONFIGURATIONS) == (2, 2, 200)


# --- baselines -------------------------------------------------------------------------------------------------------


def test_baselines_by_hand() -> None:
    rows = misspecified(n_configs=12)
    solution = solve(rows, ridge="evidence")
    root = np.sqrt(solution.noise_variance) * solution.whitener
    drawn = np.random.default_rng(7).standard_normal((5, 9)) @ root.T
    np.testing.assert_allclose(draw_bayesian_ridge(solution, 5, 7), drawn, rtol=1e-12)
    assert bag(rows, solution, 2, 1).shape == (2, 9)
    assert not np.allclose(bag(rows, solution, 2, 1), bag(rows, solution, 2, 2))
    statistics = examine(rows, solution)
    loco = np.where(np.arange(len(rows.table)) < 20, np.nan, statistics.loco)
    scaled = rescale_to_residuals(rows, RowStatistics(statistics.residual, statistics.leverage, loco), drawn)
    x, w = matrix(rows)[20:], rows.table.w[20:]
    factor = np.sqrt(np.sum(w * loco[20:] ** 2) / np.sum(w * np.mean((x @ drawn.T) ** 2, axis=1)))
    np.testing.assert_allclose(scaled, factor * drawn, rtol=1e-9)
    with pytest.raises(MliuqError, match=r"^the members do not differ: their spread cannot be rescaled$"):
        rescale_to_residuals(rows, statistics, 0.0 * drawn)


# --- corrections, boxes, points --------------------------------------------------------------------------------------


def test_blocks_without_a_chosen_row_have_no_correction() -> None:
    rows = misspecified(rows_per_block=60)
    solution, statistics = fit(rows)
    chosen = np.arange(len(rows.table)) % 140 > 65
    c = Corrections(rows, solution, statistics, chosen, progress=Steps())
    sizes = [len(c.block(index)) for index in range(rows.n_blocks)]
    assert sizes == [int(chosen[rows.span(index)].sum()) for index in range(rows.n_blocks)]
    assert 0 in sizes
    assert len(c) == chosen.sum()
    a_inverse = solution.whitener @ solution.whitener.T
    x = matrix(rows)[chosen]
    h = np.einsum("rp,pq,rq->r", x, a_inverse, x)
    delta = x @ a_inverse * (statistics.residual[chosen] / h)[:, None]
    np.testing.assert_allclose(c.all(), delta, rtol=1e-6, atol=1e-9 * np.abs(delta).max())
    gram = c.gram()
    np.testing.assert_array_equal(gram, gram.T)
    assert list(c.project(np.eye(9)[:, :2], "there"))[1].shape == (sizes[1], 2)
    n = rows.n_blocks
    assert c.progress == [*(("gram", i, n) for i in range(1, n + 1)), *(("there", i, n) for i in range(1, n + 1))]
    list(c.project(np.eye(9)))
    assert c.progress[-1] == ("project", n, n)


def test_box_of_corrections_that_are_all_zero() -> None:
    rows = misspecified()
    solution, statistics = fit(rows)
    silent = RowStatistics(0.0 * statistics.residual, statistics.leverage, statistics.loco)
    box = fit_hypercube(Corrections(rows, solution, silent, np.ones(len(rows.table), bool)))
    assert box.axes.shape == (9, 0)
    np.testing.assert_array_equal(box.sample(3, 0), np.zeros((3, 9)))


def test_box_takes_uniform_points_unless_told_and_axes_above_1e_8() -> None:
    wide = misspecified()
    x = matrix(wide) * np.where(np.arange(9) < 3, 1e4, 1.0)
    rows = ArrayRows(x, wide.table.y, wide.table.w, wide.table.kind, wide.table.config)
    c = Corrections(rows, *fit(rows), np.ones(len(rows.table), bool))
    box = fit_hypercube(c)
    np.testing.assert_array_equal(box.sample(5, 1), box.sample(5, 1, "uniform"))
    values = np.linalg.eigvalsh(c.gram())
    assert box.axes.shape[1] == np.sum(values > 1e-8 * values[-1]) < 9, "a threshold that cuts nothing tests nothing"
    np.testing.assert_array_equal(box.hi, fit_hypercube(c, percentile_clipping=0.0).hi)
    assert fit_hypercube(c, percentile_clipping=50.0).hi == pytest.approx(fit_hypercube(c, percentile_clipping=50.0).lo)
    for options, says in (
        ({"percentile_clipping": 50.1}, r"percentile_clipping is 50.1, expected a number in \[0, 50\]"),
        ({"percentile_clipping": -1.0}, r"percentile_clipping is -1.0, expected"),
        ({"mode_threshold": 0.0}, "mode_threshold is 0.0, expected a number above zero"),
    ):
        with pytest.raises(MliuqError, match=rf"^{says}"):
            fit_hypercube(c, **options)  # type: ignore[arg-type]
    assert Hypercube(np.eye(2), np.array([-1.0, 0.0]), np.array([3.0, 2.0])).second_moment() == pytest.approx(
        np.array([[7 / 3, 1.0], [1.0, 4 / 3]])
    )


def test_each_sampler_is_what_it_is_called() -> None:
    n = 64
    cells = {name: np.floor(n * unit_points(name, n, 2, 5)).astype(int) for name in SAMPLERS}
    for name, own in cells.items():
        counts = [len(np.unique(own[:, k])) for k in range(2)]
        assert (counts == [n, n]) == (name in ("latin", "sobol")), f"{name}: one point in each of {n} slices"
    fine = np.floor(8 * unit_points("sobol", n, 2, 5)).astype(int)
    assert len(np.unique(fine, axis=0)) == n, "one in each of 8 × 8 squares"
    thirds = np.floor(3 * unit_points("halton", 27, 2, 5)[:, 1]).astype(int)
    assert np.bincount(thirds).tolist() == [9, 9, 9], "van der Corput in base 3"
    for name in SAMPLERS:
        assert unit_points(name, 0, 2, 5).shape == (0, 2)
        np.testing.assert_array_equal(unit_points(name, 3, 2, 5), unit_points(name, 3, 2, 5))
        assert not np.array_equal(unit_points(name, 3, 2, 5), unit_points(name, 3, 2, 6))
    with pytest.raises(MliuqError, match=r"^sobol points have at most 21201 dimensions, the posterior has 21202$"):
        unit_points("sobol", 1, 21202, 0)
    with pytest.raises(MliuqError, match=r"^sampler is 'dice', expected one of uniform, sobol, latin, halton$"):
        unit_points("dice", 1, 1, 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"leverage_percentile": 100.0}, r"leverage_percentile is 100.0, expected a number in \[0, 100\)"),
        ({"leverage_percentile": -0.1}, "leverage_percentile is -0.1, expected"),
        ({"minimum_relative_error": -0.1}, "minimum_relative_error is -0.1, expected a number not below zero"),
        ({"negligible_leverage": np.inf}, "negligible_leverage is inf, expected a number not below zero"),
        ({"minimum_relative_error": 1e9}, r"no row is left for the posterior by Selection\(.*=1000000000.0"),
    ],
)
def test_selections_that_select_nothing(options: dict[str, float], says: str) -> None:
    rows = misspecified()
    with pytest.raises(MliuqError, match=rf"^{says}"):
        Selection(**options).mask(rows.table, fit(rows)[1])


def test_selections_by_hand() -> None:
    table = misspecified(n_configs=1, per_config=5).table
    statistics = RowStatistics(np.array([1.0, -2.0, 3.0, 0.5, 0.0]), np.array([0.0, 1e-4, 0.2, 0.3, 0.5]), np.zeros(5))
    table = type(table)(table.y, np.ones(5), table.kind, table.config, table.starts)
    mask = lambda *options: Selection(*options).mask(table, statistics).tolist()  # noqa: E731
    assert mask(0.0, 0.0, 0.0) == [False, True, True, True, True], "nothing is learned where nothing is felt"
    assert mask() == [False, True, True, True, True]
    assert mask(0.0, 0.0, 0.5) == [False, False, True, True, True]
    assert mask(50.0, 0.0) == [False, False, True, True, True], "the median itself enters"
    rms = np.sqrt(np.mean(statistics.residual**2))
    assert mask(0.0, 1.0 / rms) == [False, True, True, False, False]
    assert mask(0.0, 2.0 / rms) == [False, True, True, False, False]
    assert mask(0.0, 2.1 / rms) == [False, False, True, False, False]
    assert Selection() == Selection(0.0, 0.0, 1e-4)


# --- predictions and thresholds --------------------------------------------------------------------------------------


def test_predictions_by_hand() -> None:
    rows, steps, team = with_stress(rows_per_block=60), Steps(), Counting()
    x, theta = matrix(rows), np.arange(9.0)
    moves = np.random.default_rng(0).normal(size=(3, 9))
    found = predict(rows, theta, moves, progress=steps, team=team)
    n = rows.n_blocks
    assert steps == [("predict", i, n) for i in range(1, n + 1)]
    assert team.joined == 1
    np.testing.assert_allclose(found.size, np.linalg.norm(x, axis=1))
    np.testing.assert_allclose(found.mean, x @ theta)
    np.testing.assert_array_equal(found.y, rows.table.y)
    np.testing.assert_array_equal(found.config, rows.table.config)
    np.testing.assert_array_equal(found.of_kind(STRESS).size, found.size[rows.table.kind == STRESS])
    first = found.of_first(3)
    assert len(first) == 21
    np.testing.assert_array_equal(first.high, found.high[:21])
    given = predict(rows, theta, moves, spreads=lambda part: (part[:, 0], part[:, 1], part[:, 2]))
    np.testing.assert_allclose(given.std, x[:, 0])
    np.testing.assert_allclose(given.low, x @ theta + x[:, 1])
    np.testing.assert_allclose(given.high, x @ theta + x[:, 2])
    none = predict(rows, theta, np.zeros((0, 9)), progress=steps, stage="elsewhere")
    assert not none.std.any()
    assert steps[-1] == ("elsewhere", n, n)


def trained(std: np.ndarray, kind: list[int], config: list[int]) -> Predictions:
    n = np.zeros(len(std))
    return Predictions(n, n, std, n, n, np.array(kind, np.int8), np.array(config), n)


def test_thresholds_by_hand() -> None:
    rng = np.random.default_rng(0)
    std = rng.uniform(1.0, 2.0, (20, 2, 3))
    config = np.repeat(np.arange(20), 6)
    largest = np.sqrt(np.sum(std**2, axis=2)).max(axis=1)
    expected = (np.quantile(largest, 0.9), largest.max())
    flat = [*std.ravel(), 99.0, 77.0, 77.0]
    kinds, configs = [FORCE] * 120 + [ENERGY, FORCE, FORCE], [*config, 3, 20, 20]  # two of three components
    assert spread_thresholds(trained(np.array(flat), kinds, configs)) == pytest.approx(expected)
    order = np.argsort([c % 2 for c in configs], kind="stable")  # configurations in turns
    turned = trained(np.array(flat)[order], [kinds[i] for i in order], [configs[i] for i in order])
    assert spread_thresholds(turned) == pytest.approx(expected)
    assert spread_thresholds(trained(np.ones(2), [ENERGY, STRESS], [0, 0])) is None
    assert spread_thresholds(trained(np.zeros(3), [FORCE] * 3, [0] * 3)) is None
    assert guard_thresholds((0.5, 2.0), 1.5, 0.1) == {
        "force_std": [0.5, 2.0],
        "force_err": pytest.approx([np.sqrt((1.5 * s) ** 2 + 3 * 0.1**2) for s in (0.5, 2.0)]),
    }


# --- the Gaussian ----------------------------------------------------------------------------------------------------


def rows_of(n: int = 60, p: int = 3, seed: int = 0) -> LeftOutRows:
    rng = np.random.default_rng(seed)
    return LeftOutRows(
        rng.normal(size=(n, p)), rng.normal(size=n), (np.arange(n) % 2).astype(np.int8), np.arange(n) // 2
    )


def test_products_in_panels_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, n, p = np.random.default_rng(2), 40, 7
    z, e, group = rng.standard_normal((n, p)), rng.standard_normal(n), np.arange(n) % 2
    whole = likelihood.Likelihood(z, e, np.full(n, 1 / n), group, 0.3)
    monkeypatch.setattr(likelihood, "PANEL", 3)
    parts = likelihood.Likelihood(z, e, np.full(n, 1 / n), group, 0.3)
    m = np.tril(0.3 * rng.standard_normal((p, p)), -1) + np.diag(rng.uniform(0.5, 2.0, p))
    at = whole.pack(m, np.array([-1.0, 0.5]))
    for one, other in zip(whole(at), parts(at), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12)


def test_maximum_says_how_it_was_reached(everything: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    data = rows_of()
    found = fit_gaussian(data, GaussianSettings(prior=0.1, tolerance=1e-9))
    assert found.converged
    assert found.prior == 0.1
    messages = said(everything, "likelihood")
    assert messages[-1] == f"gaussian posterior: F = {found.objective:.6f} after {found.evaluations} evaluations"
    q = np.full(60, 1 / 60)
    axes = gaussian.prior_axes(data.z, np.repeat([0.5 / np.sum(data.e[k::2] ** 2) for k in (0, 1)], 1)[data.kind], 3.0)
    best = likelihood.Likelihood(data.z @ axes, data.e, q, data.kind.astype(np.int64), 0.1)
    value = likelihood.maximise(best, tolerance=1e-9)
    assert value.objective == pytest.approx(found.objective, abs=1e-7)
    monkeypatch.setattr(likelihood, "MAX_ROUNDS", 1)
    short = fit_gaussian(data, GaussianSettings(prior=0.1, tolerance=1e-9))
    assert not short.converged
    assert said(everything, "gaussian")[-1] == (
        f"gaussian posterior: not converged after {short.evaluations} evaluations, F = {short.objective:.6f}"
    )


def test_many_weights_take_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Watched(likelihood.Likelihood):
        def __init__(self, *arguments: Any, single: bool) -> None:
            asked.append(single)
            super().__init__(*arguments, single=single)

    monkeypatch.setattr(gaussian, "Likelihood", Watched)
    for limit in (3, 4):
        monkeypatch.setattr(gaussian, "SINGLE_PRECISION_FROM", limit)
        fit_gaussian(rows_of())
    assert asked == [True, False]
    assert likelihood.SINGLE_PRECISION_FROM == 200


def test_members_of_the_gaussian_have_the_tail_they_are_told() -> None:
    rows = misspecified()
    solution = solve(rows)
    fitted = fit_gaussian(rows_of(p=9))
    for n in (3, 36):
        rng = np.random.default_rng(1)
        u = rng.standard_normal((n, 9)) * np.sqrt(5 / rng.chisquare(7, (n, 1)))
        if n == 36:  # whitened: the draw has the moment asked for
            values, vectors = np.linalg.eigh(u.T @ u / n)
            u = u @ vectors @ np.diag(values**-0.5) @ vectors.T
        expected = u @ (solution.whitener @ fitted.factor).T
        np.testing.assert_allclose(draw_gaussian(fitted, solution, n, 1), expected, rtol=1e-8, atol=1e-12)
    with pytest.raises(MliuqError, match=r"^number of members is 0, expected at least 1$"):
        draw_gaussian(fitted, solution, 0, 1)
    with pytest.raises(MliuqError, match=r"^tail is 2.0 degrees of freedom, expected more than 2"):
        draw_gaussian(fitted, solution, 1, 1, tail=2.0)
    assert len(draw_gaussian(fitted, solution, 1, 1)) == 1


def test_bars_of_the_gaussian_by_hand() -> None:
    found = fit_gaussian(rows_of())
    z, kind = np.random.default_rng(1).normal(size=(4, 3)), np.array([0, 1, 1, 2], np.int8)
    spread = np.sqrt(np.einsum("rp,pq,rq->r", z, found.factor @ found.factor.T, z))
    np.testing.assert_allclose(found.spread(z), spread)
    floor = np.array([found.noise.energy, found.noise.force, found.noise.force, 0.0])
    np.testing.assert_allclose(found.std(z, kind), np.sqrt(spread**2 + floor**2))
    assert floor[:3].min() > 0.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"e": np.zeros(10)}, "every left-out residual is zero, there is no misfit to learn from"),
        ({"e": np.full(10, np.inf)}, "expected finite rows and residuals, found NaN or infinity"),
        ({"z": np.full((10, 2), np.nan)}, "expected finite rows and residuals, found NaN or infinity"),
        ({"z": np.eye(10, 2)}, "expected rows that depend on the weights, found a row of zeros"),
        (
            {"config": np.zeros(10, np.int64)},
            "expected rows of at least 2 configurations, found 1: .* fit without error bars: --posterior ensemble",
        ),
        ({"config": np.zeros(9, np.int64)}, r"10 rows with \(10,\) residuals, \(10,\) kinds and \(9,\) configurations"),
        ({"e": np.ones(9)}, r"10 rows with \(9,\) residuals"),
    ],
)
def test_rows_that_teach_nothing(change: dict[str, Any], says: str) -> None:
    good = {"z": np.ones((10, 2)), "e": np.ones(10), "kind": np.zeros(10, np.int8), "config": np.arange(10)}
    with pytest.raises(MliuqError, match=rf"^gaussian posterior: {says}"):
        fit_gaussian(LeftOutRows(**(good | change)))


@pytest.mark.parametrize("name", ["prior", "fit_metric", "tolerance"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, np.nan])
def test_settings_of_the_gaussian_are_numbers_above_zero(name: str, value: float) -> None:
    with pytest.raises(MliuqError, match=rf"^gaussian posterior: {name} is {value}, expected a number above zero$"):
        fit_gaussian(rows_of(), GaussianSettings(**{name: value}))
    assert GaussianSettings() == GaussianSettings(None, 3.0, 1e-3)


# --- rows left out, folds, refits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_config", [4, 15])
def test_rows_lie_as_far_as_the_other_configurations_say(per_config: int) -> None:
    """Fewer rows in a configuration than weights, and more; some of them not chosen."""
    rows = misspecified(n_configs=12, per_config=per_config, rows_per_block=40)
    solution, statistics = fit(rows)
    settings = LeftOutSettings(selection=Selection(leverage_percentile=40.0))
    data = left_out_rows(rows, solution, statistics, settings)
    chosen = settings.selection.mask(rows.table, statistics)
    x, table = matrix(rows), rows.table
    distance, error = np.zeros(len(table)), np.zeros(len(table))
    for c in range(12):
        own = table.config == c
        a = x[~own].T @ (table.w[~own][:, None] * x[~own])
        distance[own] = np.einsum("rp,rp->r", x[own], np.linalg.solve(a, x[own].T).T)
        error[own] = table.y[own] - x[own] @ np.linalg.solve(a, x[~own].T @ (table.w[~own] * table.y[~own]))
    np.testing.assert_allclose(np.sum(data.z**2, axis=1), distance[chosen], rtol=1e-5)
    np.testing.assert_allclose(data.e, error[chosen], rtol=1e-5, atol=1e-6 * np.abs(error).max())
    np.testing.assert_array_equal(data.kind, table.kind[chosen])
    np.testing.assert_array_equal(data.config, table.config[chosen])
    plain = left_out_rows(rows, solution, statistics, LeftOutSettings(selection=settings.selection, fitted=False))
    np.testing.assert_allclose(plain.z, (x @ solution.whitener)[chosen], rtol=1e-10)


def test_configurations_that_are_all_needed_cannot_be_left_out() -> None:
    rows = misspecified(n_configs=2, per_config=7)
    with pytest.raises(MliuqError, match=r"^gaussian posterior: every configuration is needed to determine"):
        left_out_rows(rows, *fit(rows))


def test_cross_fitting_by_hand(everything: pytest.LogCaptureFixture) -> None:
    data = rows_of(p=4)
    settings = GaussianSettings(prior=0.3)
    found = cross_fitted(data, settings, folds=3, seed=2)
    fold = folds_of(data.config, 3, 2)
    for k in range(3):
        own = fit_gaussian(data.take(fold != k), settings)
        np.testing.assert_array_equal(found.spread[fold == k], own.spread(data.z[fold == k]))
        np.testing.assert_array_equal(found.floor[fold == k], own.noise.of(data.kind[fold == k]))
    np.testing.assert_array_equal(found.error, data.e)
    np.testing.assert_array_equal(found.kind, data.kind)
    assert said(everything, "calibration") == [f"calibration: fold {k} of 3" for k in (1, 2, 3)]
    usual, same = cross_fitted(data), cross_fitted(data, None, folds=5, seed=0)
    assert usual.source == same.source
    np.testing.assert_array_equal(usual.spread, same.spread)
    sizes = np.bincount(folds_of(np.arange(11), 3, 0))
    assert sorted(sizes) == [3, 4, 4]
    with pytest.raises(MliuqError, match=r"^calibration: number of folds is 1, expected at least 2$"):
        folds_of(np.arange(11), 1, 0)
    with pytest.raises(MliuqError, match=r"^calibration: expected at least 12 configurations, found 11$"):
        folds_of(np.arange(11), 12, 0)


def test_a_fit_without_some_rows_by_parts() -> None:
    rows, steps = with_stress(rows_per_block=50), Steps()
    out = rows.table.config % 4 == 1
    settings, options = PosteriorSettings(members=20, calibration_source="left-out"), RefitSettings(2.0, None, 4, 3)
    found = left_out(rows, out, settings, options, n_configurations=38, progress=steps)
    rest = SubsetRows(rows, ~out)
    solution = solve(rest, ridge=2.0)
    statistics = examine(rest, solution)
    loco = np.where(rest.table.config < 38, statistics.loco, np.nan)
    own = build_posterior(
        rest, solution, RowStatistics(statistics.residual, statistics.leverage, loco),
        PosteriorSettings(members=20, calibrate=False), seed=3,
    )  # fmt: skip
    np.testing.assert_array_equal(found.posterior.moves, own.moves)
    assert found.posterior.noise == own.noise
    assert found.posterior.held_out is None
    np.testing.assert_array_equal(found.at, np.flatnonzero(out))
    x, table = matrix(rows)[out], rows.table
    np.testing.assert_allclose(found.held_out.error, table.y[out] - x @ solution.theta, rtol=1e-9)
    np.testing.assert_allclose(found.held_out.spread, np.sqrt(np.mean((x @ own.moves.T) ** 2, axis=1)), rtol=1e-9)
    np.testing.assert_array_equal(found.held_out.floor, [own.noise[KINDS[k]] for k in table.kind[out]])
    np.testing.assert_array_equal(found.held_out.kind, table.kind[out])
    assert {stage for stage, _, _ in steps} == {"solve", "examine"}


def test_refits_keep_the_prior_of_the_fit() -> None:
    rows = misspecified(n_configs=30)
    prior = Protection(np.triu(np.random.default_rng(0).normal(size=(10, 10))), axes=np.eye(9)[:, :1], spread=np.eye(9))
    out = rows.table.config < 6
    found = left_out(
        rows, out, PosteriorSettings("ensemble", members=5), RefitSettings(protection=prior), n_configurations=30
    )
    rest = SubsetRows(rows, ~out)
    solution = solve(rest, prior=prior.triangle)
    own = build_posterior(
        rest, solution, examine(rest, solution), PosteriorSettings("ensemble", members=5), seed=0, protection=prior
    )
    np.testing.assert_array_equal(found.posterior.moves, own.moves)
    np.testing.assert_allclose(found.held_out.error, rows.table.y[out] - matrix(rows)[out] @ solution.theta, rtol=1e-9)


def test_refits_say_which_fold_they_are_at(everything: pytest.LogCaptureFixture) -> None:
    rows, steps = misspecified(n_configs=24), Steps()
    settings = PosteriorSettings("hypercube", members=10)
    found = refitted(rows, settings, progress=steps)
    assert found.source == "residuals of 5 refits, each without one fold of the configurations (seed 0)"
    stages = list(dict.fromkeys(stage for stage, _, _ in steps))
    assert stages == [f"fold {k}/5: {part}" for k in range(1, 6) for part in ("solve", "examine", "gram", "bounds")]
    assert {(done, total) for _, done, total in steps} == {(1, 1)}
    assert said(everything, "refits") == [f"calibration: fold {k} of 5" for k in range(1, 6)]
    assert RefitSettings() == RefitSettings(0.0, None, 5, 0, Protection())
    with pytest.raises(MliuqError, match=r"^calibration by refits: number of members is 0, expected at least 1$"):
        refitted(rows, PosteriorSettings(members=0))
    assert refitted(rows, PosteriorSettings("hypercube", members=1)).error.shape == found.error.shape


def test_folds_of_refits_are_joined_in_order() -> None:
    parts = [
        HeldOut(np.full(2, i), np.full(2, 10 + i), np.full(2, 20 + i), np.full(2, i, np.int8), "part", np.arange(2))
        for i in range(2)
    ]
    joined = HeldOut.joined(parts, "all")
    for name, values in (("error", [0, 0, 1, 1]), ("spread", [10, 10, 11, 11]), ("floor", [20, 20, 21, 21])):
        assert getattr(joined, name).tolist() == values
    assert joined.kind.tolist() == [0, 0, 1, 1]
    assert joined.source == "all"
    assert joined.config is not None
    assert joined.config.tolist() == [0, 1, 0, 1]
    unknown = HeldOut(*(np.zeros(2) for _ in range(3)), np.zeros(2, np.int8), "part")
    assert HeldOut.joined([*parts, unknown], "all").config is None
