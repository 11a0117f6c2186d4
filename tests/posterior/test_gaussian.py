"""The Gaussian posterior: its likelihood, what it recovers, what it must not depend on."""

import numpy as np
import pytest
from mliuq.errors import MliuqError
from mliuq.posterior.corrections import Corrections
from mliuq.posterior.gaussian import (
    GaussianSettings,
    draw_gaussian,
    fit_gaussian,
    prior_axes,
)
from mliuq.posterior.left_out import LeftOutRows, LeftOutSettings, left_out_rows
from mliuq.posterior.likelihood import Likelihood, expectation, maximise
from mliuq.regression.loco import examine
from mliuq.regression.rows import ENERGY, FORCE, ArrayRows
from mliuq.regression.solver import solve

TIGHT = GaussianSettings(prior=0.05, tolerance=1e-9)


def misspecified(seed: int = 0, configs: int = 60, p: int = 6, columns: np.ndarray | None = None) -> ArrayRows:
    """A cubic fitted to a wiggle: one energy and four forces a configuration, as a potential would have them."""
    rng = np.random.default_rng(seed)
    x, y, kind, config = [], [], [], []
    for c in range(configs):
        t = rng.uniform(-1, 1, 5)
        for k, at in enumerate(t):
            power = np.arange(p)
            slope = power * np.power(at, np.maximum(power - 1, 0))
            x.append(at**power if k == 0 else slope)
            y.append(np.sin(4 * at) if k == 0 else 4 * np.cos(4 * at))
            kind.append(ENERGY if k == 0 else FORCE)
            config.append(c)
    scale = np.ones(p) if columns is None else columns
    w = np.where(np.array(kind) == ENERGY, 4.0, 1.0)
    return ArrayRows(np.array(x) * scale, np.array(y), w, np.array(kind), np.array(config))


def fitted(rows: ArrayRows, settings: GaussianSettings = TIGHT):
    solution = solve(rows)
    return solution, fit_gaussian(left_out_rows(rows, solution, examine(rows, solution)), settings)


def synthetic(n: int, root: np.ndarray, floors: tuple[float, float], seed: int) -> LeftOutRows:
    """Rows whose residuals are drawn from the model itself, S = root·rootᵀ."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, len(root))) * rng.lognormal(0, 0.7, (n, 1))
    kind = (np.arange(n) % 2).astype(np.int8)
    e = np.einsum("rp,rp->r", z @ root, rng.standard_normal(z.shape)) + np.array(floors)[kind] * rng.standard_normal(n)
    return LeftOutRows(z, e, kind, np.arange(n))


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_gradient_is_the_derivative(scale):
    rng = np.random.default_rng(4)
    n, p = 40, 5
    z, e, group = rng.standard_normal((n, p)), scale * rng.standard_normal(n), np.arange(n) % 2
    likelihood = Likelihood(z, e, np.full(n, 1 / n), group, prior=0.3)
    likelihood.rebase(np.tril(rng.standard_normal((p, p)), -1) + np.diag(rng.uniform(0.5, 2, p)))
    at = likelihood.pack(np.tril(0.3 * rng.standard_normal((p, p)), -1) + np.eye(p), np.array([-1.0, 0.5]))
    step, gradient = 1e-6, likelihood(at)[1]
    central = [(likelihood(at + d)[0] - likelihood(at - d)[0]) / (2 * step) for d in step * np.eye(len(at))]
    assert np.abs(gradient).min() > 1e-6
    assert np.allclose(gradient, central, rtol=1e-6, atol=1e-8)


def test_value_is_the_formula():
    rng = np.random.default_rng(5)
    n, p, prior = 30, 4, 0.2
    z, e, q = rng.standard_normal((n, p)), rng.standard_normal(n), rng.dirichlet(np.ones(n))
    likelihood = Likelihood(z, e, q, np.zeros(n, dtype=np.int64), prior)
    base, m = np.tril(rng.standard_normal((2, p, p)), -1) + np.diag(rng.uniform(0.5, 2, p))
    likelihood.rebase(base)
    s0 = np.sum(q * e**2 / np.sum(z**2, axis=1))
    s = s0 * (base @ m) @ (base @ m).T
    v = np.einsum("rp,pk,rk->r", z, s, z) + np.sum(q * e**2) * np.exp(2 * -0.7)
    expected = 0.5 * np.sum(q * (np.log(v) + e**2 / v))
    expected += prior / p * 0.5 * (np.linalg.slogdet(s / s0)[1] + s0 * np.trace(np.linalg.inv(s)))
    assert likelihood(likelihood.pack(m, np.array([-0.7])))[0] == pytest.approx(expected, rel=1e-12)


def test_known_posterior_is_recovered():
    root = np.linalg.cholesky(np.array([[2.0, 0.8, 0.0], [0.8, 1.0, -0.3], [0.0, -0.3, 0.25]]))
    data = synthetic(40000, root, floors=(0.5, 0.2), seed=6)
    found = fit_gaussian(data, GaussianSettings(prior=1e-6, tolerance=1e-8))
    assert found.converged
    assert np.allclose(found.factor @ found.factor.T, root @ root.T, atol=0.06)
    assert found.noise.energy == pytest.approx(0.5, abs=0.03)
    assert found.noise.force == pytest.approx(0.2, abs=0.03)
    assert found.noise.stress == 0.0


def test_single_precision_finds_the_same():
    data = synthetic(3000, np.diag([1.0, 0.5, 0.1]), (0.3, 0.1), seed=7)
    q, group = np.full(3000, 1 / 3000), data.kind.astype(np.int64)
    double, single = (
        maximise(Likelihood(data.z, data.e, q, group, 0.01, single=s), tolerance=1e-6) for s in (False, True)
    )
    assert single.objective == pytest.approx(double.objective, abs=1e-5)
    assert np.allclose(single.factor @ single.factor.T, double.factor @ double.factor.T, rtol=0.02, atol=0.005)


def test_optimum_is_a_fixed_point_of_expectation_maximisation():
    rows = misspecified()
    solution = solve(rows)
    data = left_out_rows(rows, solution, examine(rows, solution))
    found = fit_gaussian(data, GaussianSettings(prior=0.05, tolerance=1e-11))
    s, p = found.factor @ found.factor.T, len(found.factor)
    q = 0.5 / np.bincount(data.kind)[data.kind]
    mean, v = expectation(data.z, data.e, found.factor, found.noise.of(data.kind) ** 2)
    moment = mean.T @ (q[:, None] * mean) + s * q.sum() - (data.z @ s).T @ ((q / v)[:, None] * (data.z @ s))
    variance = np.bincount(data.kind, data.e**2) / np.bincount(data.kind)
    axes = prior_axes(data.z, q / variance[data.kind], GaussianSettings().fit_metric)
    s0 = np.sum(q * data.e**2 / np.sum((data.z @ axes) ** 2, axis=1))
    pull = found.prior / p
    assert np.allclose((moment + pull * s0 * axes @ axes.T) / (1 + pull), s, rtol=1e-2, atol=1e-3 * np.abs(s).max())


def test_corrections_are_the_first_expectation_step():
    rows = misspecified()
    solution = solve(rows)
    statistics = examine(rows, solution)
    corrections = Corrections(rows, solution, statistics, np.ones(len(rows.table), dtype=bool)).all()
    z = np.concatenate([rows.design(b) for b in range(rows.n_blocks)]) @ solution.whitener
    mean, _ = expectation(z, statistics.residual, 0.7 * np.eye(z.shape[1]), 0.0)
    assert np.allclose(mean @ solution.whitener.T, corrections, rtol=1e-9, atol=1e-12)


def test_error_bars_hold_for_configurations_not_seen():
    solution, posterior = fitted(misspecified(seed=1, configs=150), GaussianSettings())
    unseen = misspecified(seed=2, configs=400)
    x, table = np.concatenate([unseen.design(b) for b in range(unseen.n_blocks)]), unseen.table
    error, std = table.y - x @ solution.theta, posterior.std(x @ solution.whitener, table.kind)
    for kind in (ENERGY, FORCE):
        z = (error / std)[table.kind == kind]
        assert 0.85 < np.sqrt(np.mean(z**2)) < 1.2


def test_columns_may_be_scaled_and_rows_reordered():
    columns = 10.0 ** np.array([0, 3, -4, 2, 1, -2])
    (plain, a), (scaled, b) = fitted(misspecified()), fitted(misspecified(columns=columns))
    x = misspecified(seed=9).design(0)
    reference = a.spread(x @ plain.whitener)
    assert np.allclose(b.spread((x * columns) @ scaled.whitener), reference, rtol=1e-3)
    rows = misspecified()
    table, order = rows.table, np.random.default_rng(3).permutation(len(rows.table))
    design = np.concatenate([rows.design(b) for b in range(rows.n_blocks)])[order]
    turned, c = fitted(ArrayRows(design, table.y[order], table.w[order], table.kind[order], table.config[order]))
    assert np.allclose(c.spread(x @ turned.whitener), reference, rtol=1e-3)


@pytest.mark.parametrize("n", [500, 24])
def test_members_carry_the_second_moment_exactly(n):
    solution, posterior = fitted(misspecified())
    members = draw_gaussian(posterior, solution, n, seed=3)
    root = solution.whitener @ posterior.factor
    assert np.allclose(members.T @ members / n, root @ root.T, rtol=1e-8, atol=1e-10 * np.abs(root @ root.T).max())
    assert np.array_equal(members, draw_gaussian(posterior, solution, n, seed=3))
    assert not np.array_equal(members, draw_gaussian(posterior, solution, n, seed=4))


@pytest.mark.parametrize("tail", [7.0, np.inf])
def test_fewer_members_carry_it_on_average(tail):
    solution, posterior = fitted(misspecified())
    members = np.concatenate([draw_gaussian(posterior, solution, 5, seed, tail=tail) for seed in range(8000)])
    white = members @ np.linalg.inv(solution.whitener @ posterior.factor).T
    assert np.allclose(white.T @ white / len(white), np.eye(6), atol=0.06)
    kurtosis = np.mean(white**4)
    assert kurtosis == pytest.approx(3.0, abs=0.1) if np.isinf(tail) else kurtosis > 4.0


@pytest.mark.parametrize(("n", "tail"), [(0, 7.0), (10, 2.0)])
def test_impossible_draws_are_named(n, tail):
    solution, posterior = fitted(misspecified())
    with pytest.raises(MliuqError, match="expected"):
        draw_gaussian(posterior, solution, n, 0, tail=tail)


def test_left_out_rows_are_those_of_the_other_configurations():
    rows = misspecified(configs=12)
    solution, table = solve(rows), rows.table
    data = left_out_rows(rows, solution, examine(rows, solution))
    design = np.concatenate([rows.design(b) for b in range(rows.n_blocks)])
    for c in range(12):
        others, own = table.config != c, table.config == c
        a = design[others].T @ (table.w[others][:, None] * design[others])
        theta = np.linalg.solve(a, design[others].T @ (table.w[others] * table.y[others]))
        chosen = np.array([np.any(np.isclose(data.e, e, rtol=1e-6)) for e in (table.y - design @ theta)[own]])
        gram = design[own] @ np.linalg.solve(a, design[own].T)
        ours = data.z[data.config == c]
        assert chosen.sum() == len(ours)
        assert np.allclose(ours @ ours.T, gram[np.ix_(chosen, chosen)], rtol=1e-6, atol=1e-9)


def test_rows_zero_by_symmetry_do_not_matter():
    rows = misspecified()
    table = rows.table
    design = np.concatenate([rows.design(b) for b in range(rows.n_blocks)])
    more = ArrayRows(
        np.concatenate([design, np.zeros((60, 6))]),
        np.concatenate([table.y, np.full(60, 1e-9)]),
        np.concatenate([table.w, np.ones(60)]),
        np.concatenate([table.kind, np.full(60, FORCE, dtype=np.int8)]),
        np.concatenate([table.config, np.arange(60)]),
    )
    (_, a), (_, b) = fitted(rows), fitted(more)
    assert b.noise.force == pytest.approx(a.noise.force, rel=1e-3)
    assert b.objective == pytest.approx(a.objective, abs=1e-6)


def test_prior_is_stiff_where_a_kind_with_little_leverage_asks_for_it():
    z = np.concatenate([np.eye(4), 1e-3 * np.ones((1, 4))])
    weight = np.array([1, 1, 1, 1, 1e9])
    axes = prior_axes(z, weight, fit_metric=3.0)
    widths = np.linalg.svd(axes, compute_uv=False) ** 2
    assert widths[0] == pytest.approx(1 / 3, rel=0.01)
    assert widths[-1] == pytest.approx(1 / 7, rel=0.01)


def test_energies_alone_are_enough():
    rows = misspecified(configs=80)
    design, table = np.concatenate([rows.design(b) for b in range(rows.n_blocks)]), rows.table
    only = table.kind == ENERGY
    _, posterior = fitted(ArrayRows(design[only], table.y[only], None, table.kind[only], table.config[only]))
    assert posterior.noise.force == 0.0
    assert posterior.noise.energy > 0.0


def test_a_kind_reproduced_exactly_is_left_out(caplog):
    data = synthetic(400, np.diag([1.0, 0.5]), (0.1, 0.1), seed=12)
    rounding = np.where(data.kind == ENERGY, 1e-15 * data.e, data.e)
    found = fit_gaussian(LeftOutRows(data.z, rounding, data.kind, data.config))
    alone = fit_gaussian(data.take(data.kind == FORCE))
    assert "every energy" in caplog.text
    assert np.array_equal(found.factor, alone.factor)
    assert found.noise == alone.noise


def test_row_budget_is_kept_and_seeded():
    rows = misspecified(configs=200)
    solution = solve(rows)
    statistics = examine(rows, solution)
    first, again, other = (
        left_out_rows(rows, solution, statistics, LeftOutSettings(rows_per_kind=100, seed=s)) for s in (0, 0, 1)
    )
    assert np.bincount(first.kind).tolist() == [100, 100]
    assert np.array_equal(first.z, again.z)
    assert not np.array_equal(first.z, other.z)


def test_row_budget_shrinks_where_rows_are_long():
    settings = LeftOutSettings()
    assert (settings.limit(56), settings.limit(1000), settings.limit(1596)) == (20_000, 20_000, 8_000)
    assert LeftOutSettings(rows_per_kind=5).limit(1596) == 5
    with pytest.raises(MliuqError, match="rows_per_kind is -1"):
        LeftOutSettings(rows_per_kind=-1).validate()


def test_a_single_configuration_is_refused():
    with pytest.raises(MliuqError, match="configuration"):
        fitted(misspecified(configs=1))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"e": np.zeros(10)}, "every left-out residual is zero"),
        ({"e": np.full(10, np.nan)}, "NaN"),
        ({"z": np.zeros((10, 2))}, "zeros"),
        ({"config": np.zeros(10, dtype=np.int64)}, "at least 2"),
        ({"kind": np.zeros(9, dtype=np.int8)}, "kinds"),
    ],
)
def test_bad_rows_are_named(change, says):
    good = {"z": np.ones((10, 2)), "e": np.ones(10), "kind": np.zeros(10, dtype=np.int8), "config": np.arange(10)}
    with pytest.raises(MliuqError, match=says):
        fit_gaussian(LeftOutRows(**(good | change)))


@pytest.mark.parametrize("settings", [{"prior": 0.0}, {"tolerance": -1.0}])
def test_bad_settings_are_named(settings):
    with pytest.raises(MliuqError, match=next(iter(settings))):
        GaussianSettings(**settings).validate()
