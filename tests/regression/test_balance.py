"""The balance of kinds against refits with every constant tried."""

from __future__ import annotations

import numpy as np
import pytest
from linear_problems import matrix, misspecified
from mliuq.regression import ENERGY, FORCE, STRESS, ArrayRows, solve
from mliuq.regression.balance import Balance, choose_balance
from mliuq.regression.loco import examine
from mliuq.regression.rows import KINDS, ReweightedRows

FREE = np.nan


def kinds_of(n_kinds: int = 2, seed: int = 0, **options: object) -> ArrayRows:
    """Rows of weight near one; energies follow other weights than forces, so that there is something to choose."""
    rows = misspecified(seed=seed)
    x, table = matrix(rows), rows.table
    kind = np.where(np.arange(len(table)) % 7 == 6, STRESS, table.kind) if n_kinds == 3 else table.kind
    rng = np.random.default_rng(seed)
    own = {ENERGY: 0.02, FORCE: 1.0, STRESS: 1e-3}
    y = np.zeros(len(table))
    for k in np.unique(kind):
        at = kind == k
        x[at] *= own[k]
        y[at] = x[at] @ (1.0 + 0.3 * rng.normal(size=x.shape[1])) + own[k] * table.y[at] / np.std(table.y)
    return ArrayRows(x, y, rng.uniform(0.5, 2.0, size=len(y)), kind, table.config, **options)  # type: ignore[arg-type]


def cost(rows, constants, judged=slice(None), measure=None):
    """Σ ln RMSE of left-out residuals, by the plain way."""
    factor = np.array([constants.get(name, 1.0) for name in KINDS])[rows.table.kind]
    weighted = ReweightedRows(rows, rows.table.w * factor)
    left = examine(weighted, solve(weighted)).loco
    m = rows.table.w if measure is None else measure
    return sum(
        0.5 * np.log(np.average(left[at] ** 2, weights=m[at]))
        for at in (rows.table.kind == k for k in np.unique(rows.table.kind))
    )


def test_no_constant_nearby_is_better_and_errors_are_those_of_refits():
    rows = kinds_of()
    found = choose_balance(rows, np.where(rows.table.kind == ENERGY, FREE, 1.0))
    best = found.constants["energy"]
    assert set(found.constants) == {"energy"}
    assert not 0.5 < best < 2.0, "a search that starts at 1 and stays there would pass"
    assert np.log(np.prod(list(found.left_out.values()))) == pytest.approx(cost(rows, found.constants), abs=1e-7)
    for factor in 10.0 ** np.arange(-4, 5, 0.25):
        assert cost(rows, {"energy": best * factor}) >= cost(rows, found.constants) - 1e-3


def test_three_kinds_are_balanced_in_turn():
    rows = kinds_of(3)
    found = choose_balance(rows, np.full(len(rows.table), FREE))
    assert found.constants["force"] == 1.0, "one kind is the unit"
    assert set(found.constants) == set(found.left_out) == set(KINDS)
    for name in ("energy", "stress"):
        for factor in (0.1, 0.5, 2.0, 10.0):
            other = {**found.constants, name: found.constants[name] * factor}
            assert cost(rows, other) >= cost(rows, found.constants) - 1e-3


def test_rows_with_a_constant_of_their_own_keep_it():
    rows = kinds_of()
    override = (rows.table.kind == ENERGY) & (rows.table.config < 10)
    w = np.where(override, 50.0 * rows.table.w, rows.table.w)
    mixed = ArrayRows(matrix(rows), rows.table.y, w, rows.table.kind, rows.table.config)
    constants = np.where(override, 50.0, np.where(rows.table.kind == ENERGY, FREE, 1.0))
    found = choose_balance(mixed, constants)
    applied = found.applied(mixed.table, np.isnan(constants))
    np.testing.assert_array_equal(applied[override], w[override])
    other = (rows.table.kind == ENERGY) & ~override
    np.testing.assert_array_equal(applied[other], rows.table.w[other] * found.constants["energy"])

    def total(constant):
        weighted = ReweightedRows(mixed, w * np.where(other, constant, 1.0))
        left, m = examine(weighted, solve(weighted)).loco, rows.table.w
        return sum(np.log(np.average(left[rows.table.kind == k] ** 2, weights=m[rows.table.kind == k])) for k in (0, 1))

    best = found.constants["energy"]
    assert all(total(best * factor) >= total(best) - 2e-3 for factor in (0.1, 0.5, 2.0, 10.0))


def test_nothing_to_weigh_against_each_other():
    rows = kinds_of()
    assert choose_balance(rows, np.ones(len(rows.table))) == Balance()
    alone = ArrayRows(matrix(rows), rows.table.y)
    assert choose_balance(alone, np.full(len(alone.table), FREE)) == Balance({"force": 1.0})


def test_blocks_and_bits_do_not_matter():
    constants = np.where(kinds_of().table.kind == ENERGY, FREE, 1.0)
    whole, pieces = (choose_balance(kinds_of(rows_per_block=n), constants) for n in (10_000, 20))
    assert whole.constants == pieces.constants
    assert choose_balance(kinds_of(), constants) == whole


def test_configurations_that_are_given_are_not_judged():
    rows = kinds_of()
    table = rows.table
    x, y = np.vstack([matrix(rows), np.eye(rows.n_weights)[:1]]), np.append(table.y, 1e3)
    given = ArrayRows(x, y, np.append(table.w, 1e8), np.append(table.kind, ENERGY), np.append(table.config, 40))
    constants = np.where(given.table.kind == ENERGY, FREE, 1.0)
    found = choose_balance(given, constants, n_configurations=40)
    assert found.configurations == 40
    factor = found.applied(given.table, np.isnan(constants))
    weighted = ReweightedRows(given, factor)
    left = examine(weighted, solve(weighted)).loco[:-1]
    energies = table.kind == ENERGY
    expected = np.sqrt(np.average(left[energies] ** 2, weights=table.w[energies]))
    assert found.left_out["energy"] == pytest.approx(expected, rel=1e-6)


def test_many_rows_are_sampled_by_configuration(monkeypatch):
    import mliuq.regression.balance as balance

    rows = kinds_of()
    constants = np.where(rows.table.kind == ENERGY, FREE, 1.0)
    monkeypatch.setattr(balance, "NUMBERS", 140 * rows.n_weights)
    first, again, other = (choose_balance(rows, constants, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.configurations == other.configurations == 20
    assert first.left_out != other.left_out
