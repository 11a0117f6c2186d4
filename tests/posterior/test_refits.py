"""K-fold refits: errors and spreads of fits that never saw the configurations they predict."""

from __future__ import annotations

import numpy as np
import pytest
from linear_problems import matrix, misspecified
from mliuq.errors import MliuqError
from mliuq.posterior.calibration import calibrate, folds_of
from mliuq.posterior.refits import RefitSettings, refitted
from mliuq.posterior.settings import PosteriorSettings
from mliuq.regression import ArrayRows
from mliuq.regression.row_cache import DiskRows
from mliuq.regression.rows import SubsetRows

ALL = 10_000  # members: every correction
NAMES = ("error", "spread", "floor", "kind", "config")


def by_hand(rows: ArrayRows, folds: int, seed: int, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Errors of normal-equation refits and root mean square shifts of all their POPS corrections, fold after fold."""
    x, table = matrix(rows), rows.table
    fold = folds_of(table.config, folds, seed)
    errors, spreads = [], []
    for k in range(folds):
        fit, out = fold != k, fold == k
        w = table.w[fit]
        a = x[fit].T @ (w[:, None] * x[fit]) + ridge * np.eye(x.shape[1])
        theta = np.linalg.solve(a, x[fit].T @ (w * table.y[fit]))
        moves = np.linalg.solve(a, x[fit].T).T
        moves *= ((table.y[fit] - x[fit] @ theta) / np.sum(moves * x[fit], axis=1))[:, None]
        errors.append(table.y[out] - x[out] @ theta)
        spreads.append(np.sqrt(np.mean((x[out] @ moves.T) ** 2, axis=1)))
    return np.concatenate(errors), np.concatenate(spreads)


@pytest.mark.parametrize("ridge", [0.0, 3.0])
def test_equal_refits_by_hand(ridge):
    rows = misspecified(rows_per_block=40)
    posterior = PosteriorSettings(kind="ensemble", members=ALL, negligible_leverage=0.0)
    found = refitted(rows, posterior, RefitSettings(ridge=ridge, folds=4, seed=3))
    error, spread = by_hand(rows, 4, 3, ridge)
    np.testing.assert_allclose(found.error, error, rtol=1e-6, atol=1e-8 * np.abs(error).max())
    np.testing.assert_allclose(found.spread, spread, rtol=1e-6)
    assert len(found.error) == len(rows.table)
    assert "4 refits" in found.source


@pytest.mark.parametrize("kind", ["gaussian", "hypercube"])
def test_a_fold_does_not_know_its_own_targets(kind):
    rows = misspecified()
    table, settings = rows.table, RefitSettings(folds=3, seed=1)
    own = folds_of(table.config, 3, 1) == 0
    push = np.where(own, 40.0 * np.std(table.y), 0.0)
    moved = ArrayRows(matrix(rows), table.y + push, table.w, table.kind, table.config)
    first, second = (refitted(r, PosteriorSettings(kind=kind, members=60), settings) for r in (rows, moved))
    n = int(own.sum())  # no leverage of these rows is negligible: the fold comes first
    np.testing.assert_array_equal(second.spread[:n], first.spread[:n])
    np.testing.assert_array_equal(second.floor[:n], first.floor[:n])
    np.testing.assert_allclose(second.error[:n] - first.error[:n], push[own], rtol=1e-9)
    assert np.median(second.spread[n:] / first.spread[n:]) > 2


def test_rows_may_be_cut_into_any_blocks_and_kept_anywhere(tmp_path):
    whole, cut = misspecified(), misspecified(rows_per_block=10)
    kept = DiskRows(cut, tmp_path, "made up")
    reference, *others = (refitted(r, PosteriorSettings(members=60)) for r in (whole, cut, kept))
    for other in others:
        for name in NAMES:
            np.testing.assert_allclose(getattr(other, name), getattr(reference, name), rtol=1e-2)
    assert kept.n_finished == cut.n_blocks > 20


def test_a_subset_keeps_the_blocks_and_asks_for_no_empty_one():
    """Were blocks cut anew, ranks would have to compute rows that others hold."""
    rows, asked = misspecified(rows_per_block=10), []
    view = SubsetRows(rows, np.arange(len(rows.table)) % 14 < 7)
    design = rows.design
    rows.design = lambda index: (asked.append(index), design(index))[1]
    blocks = [view.block(index) for index in range(view.n_blocks)]
    assert view.n_blocks == rows.n_blocks
    assert sorted(asked) == [index for index, block in enumerate(blocks) if len(block.y)]
    assert 0 in {len(block.y) for block in blocks}
    np.testing.assert_array_equal(np.concatenate([b.x for b in blocks]), matrix(misspecified())[view._rows])


def test_given_energies_belong_to_every_fit():
    rows = misspecified(n_configs=41)
    found = refitted(rows, PosteriorSettings(members=60), n_configurations=40)
    assert len(found.error) == 40 * 7
    everything = refitted(rows, PosteriorSettings(members=60))
    assert len(everything.error) == 41 * 7


def test_rows_the_others_do_not_determine_are_left_out():
    rows = misspecified(p=5)
    x = np.column_stack([matrix(rows), np.zeros(len(rows.table))])
    x[rows.table.config == 3, 5] = 1.0
    table = rows.table
    indispensable = ArrayRows(x, table.y, table.w, table.kind, table.config)
    found = refitted(indispensable, PosteriorSettings(kind="ensemble", members=60))
    assert len(found.error) == len(table) - 7
    assert np.isfinite(found.error).all()


def test_rows_of_weight_zero_are_not_calibrated_on():
    rows = misspecified()
    table = rows.table
    w = np.where(folds_of(table.config, 5, 0) == 2, 0.0, table.w)  # a whole fold
    found = refitted(ArrayRows(matrix(rows), table.y, w, table.kind, table.config), PosteriorSettings(members=60))
    assert len(found.error) == np.count_nonzero(w) < len(table)


def test_honest_spreads_are_left_alone():
    """Calibrated on refits, a posterior whose bars hold on new data gets α near one."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2400, 4)) * rng.lognormal(0, 0.5, (2400, 1))
    y = x @ np.ones(4) + np.sum(x * rng.standard_normal(x.shape), axis=1)
    rows = ArrayRows(x, y, kind=np.arange(2400) % 2, config=np.arange(2400) // 4)
    found = calibrate(refitted(rows, PosteriorSettings()))
    assert found.alpha_energy == pytest.approx(1.0, abs=0.1)
    assert found.alpha_force == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("members", "folds", "configs", "says"),
    [
        (0, 3, 20, "number of members is 0"),
        (10, 1, 20, "number of folds is 1"),
        (10, 8, 7, "at least 8 configurations, found 7"),
        (10, 2, 3, "without fold 1 of 2: gaussian posterior: .* posterior.calibration_source = 'left-out'"),
    ],
)
def test_impossible_refits_are_named(members, folds, configs, says):
    with pytest.raises(MliuqError, match=says):
        refitted(misspecified(n_configs=configs), PosteriorSettings(members=members), RefitSettings(folds=folds))
