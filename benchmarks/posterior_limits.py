"""How much sharper could error bars of the same best fit be?

    python benchmarks/posterior_limits.py data/W_gpaw/W_gpaw.xyz.gz Mo.xyz.gz W.xyz.gz,every=4 \
        Ta.xyz.gz,zbl=4.0:4.8,rcut=4.676

Changes of CRPS against calibrated constant width (%), on the outer folds of posteriors.py:

    gaussian   the Gaussian posterior, calibrated
    boosted    its variance times a factor that gradient boosting learns (gamma deviance of e²/v) from what is known
               of a row beforehand: stated variance, spread, leverage, predicted force and energy, nearest distance,
               density and its scatter, volume, number of atoms; calibrated
    right      error bars that are right: if e ~ N(0, σ²) given σ, then ⟨CRPS⟩ = ⟨σ⟩/√π and ⟨|e|⟩ = ⟨σ⟩(2/π)^½, so that
               CRPS = MAE/√2 whatever the widths.  Less is possible only for errors that, given σ, are flatter than a
               Gaussian
    oracle     σ = |e|: every error known in advance

Boosting and calibration learn from refits of weights and posterior within the training configurations.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from mliuq.judging import metrics
from mliuq.posterior.calibration import alpha_by_likelihood, alpha_by_quantile, folds_of
from mliuq.posterior.gaussian import fit_gaussian
from mliuq.posterior.left_out import left_out_rows
from mliuq.readers import read_structures
from mliuq.regression.loco import examine
from mliuq.regression.rows import ENERGY, FORCE, ArrayRows, Floats, Ints, RowTable
from mliuq.regression.solver import solve
from posterior_choices import parse, rows_of
from posteriors import SEED
from sklearn.ensemble import HistGradientBoostingRegressor

FOLDS = 5
FEW = 500  # rows: smaller trees below


@dataclass(frozen=True)
class HeldOut:
    """Rows not fitted: kind, configuration, error, stated standard deviation and features (n, 13)."""

    kind: np.ndarray
    config: Ints
    error: Floats
    std: Floats
    features: Floats

    def of(self, kind: int) -> HeldOut:
        at = self.kind == kind
        return HeldOut(self.kind[at], self.config[at], self.error[at], self.std[at], self.features[at])


def surroundings(structures: Sequence[Atoms], table: RowTable) -> Floats:
    """Nearest distance and density around the row's atom (mean of all for energies), and those of its cell, (n, 7)."""
    found = np.zeros((len(table), 7))
    for config, atoms in enumerate(structures):
        i, distance = neighbor_list("id", atoms, 5.0)
        nearest = np.full(len(atoms), 5.0)
        np.minimum.at(nearest, i, distance)
        density = np.bincount(i, np.exp(-((distance / 3.0) ** 2)), minlength=len(atoms))
        local = np.column_stack([nearest, density])
        volume = atoms.get_volume() / len(atoms) if atoms.cell.rank == 3 else 0.0
        own = np.flatnonzero(table.config == config)
        found[own, 2:] = nearest.min(), density.mean(), density.std(), volume, len(atoms)
        found[own[table.kind[own] == ENERGY], :2] = local.mean(axis=0)
        found[own[table.kind[own] == FORCE], :2] = np.repeat(local, 3, axis=0)
    return found


def hold_out(x: Floats, table: RowTable, static: Floats, train: np.ndarray, out: np.ndarray) -> HeldOut:
    """Fit weights and posterior to `train` and predict the rows `out`, those of negligible leverage left out."""
    fit = ArrayRows(x[train], table.y[train], table.w[train], table.kind[train], table.config[train])
    solution = solve(fit)
    statistics = examine(fit, solution)
    posterior = fit_gaussian(left_out_rows(fit, solution, statistics))
    kind, config, mean, z = table.kind[out], table.config[out], x[out] @ solution.theta, x[out] @ solution.whitener
    force, energy = np.zeros(len(mean)), np.zeros(len(mean))
    for c in np.unique(config):
        rows = config == c
        size = np.linalg.norm(mean[rows & (kind == FORCE)].reshape(-1, 3), axis=1)
        force[rows & (kind == FORCE)] = np.repeat(size, 3)
        force[rows & (kind == ENERGY)] = size.mean()
        energy[rows] = mean[rows & (kind == ENERGY)].sum()
    leverage, std = np.sum(z**2, axis=1), posterior.std(z, kind)
    live = table.w[out] * leverage > 1e-4 * statistics.leverage.mean()
    with np.errstate(divide="ignore"):
        logs = np.log([std, posterior.spread(z), leverage]).T
    features = np.column_stack([logs, force, np.abs(mean), energy, static[out]])
    return HeldOut(kind[live], config[live], (table.y[out] - mean)[live], std[live], features[live])


def boosted(known: HeldOut, new: HeldOut) -> Floats:
    """Calibrated error bars of `new`: the stated ones times a factor learned on `known`."""
    few = len(known.error) < FEW
    machine = HistGradientBoostingRegressor(
        loss="gamma",
        learning_rate=0.05,
        max_iter=60 if few else 150,
        max_leaf_nodes=4 if few else 12,
        min_samples_leaf=15 if few else 60,
        l2_regularization=5.0,
        random_state=SEED,
    )
    target = np.maximum(known.error**2, 1e-4 * np.mean(known.error**2)) / known.std**2
    fold, factor = folds_of(known.config, FOLDS, 1), np.empty(len(target))
    for k in range(FOLDS):
        machine.fit(known.features[fold != k], target[fold != k])
        factor[fold == k] = machine.predict(known.features[fold == k])
    alpha = calibration(known, known.std * np.sqrt(factor))
    machine.fit(known.features, target)
    return np.asarray(alpha * new.std * np.sqrt(machine.predict(new.features)))


def calibration(known: HeldOut, std: Floats) -> float:
    find = alpha_by_quantile if known.kind[0] == FORCE else alpha_by_likelihood
    return find(known.error, std, np.zeros_like(std))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=parse, metavar="FILE[,every=N][,rcut=Å][,zbl=INNER:OUTER]")
    parser.add_argument("--twojmax", type=int, default=8)
    options = parser.parse_args()
    print("| set | rows | gaussian | boosted | right | oracle |\n|---|---|---|---|---|---|")
    for path, extra in options.data:
        rows = rows_of(path, extra, options.twojmax)
        x, table = np.concatenate([block.x for block in rows.blocks()]), rows.table
        static = surroundings(read_structures(path)[:: int(extra.get("every", 1))], table)
        outer = folds_of(table.config, FOLDS, SEED)
        found: dict[int, list[Floats]] = {ENERGY: [], FORCE: []}
        for k in range(FOLDS):
            inner = np.full(len(table), -1)
            inner[outer != k] = folds_of(table.config[outer != k], FOLDS, SEED)
            parts = [hold_out(x, table, static, (outer != k) & (inner != j), inner == j) for j in range(FOLDS)]
            refits = HeldOut(
                *(
                    np.concatenate([getattr(p, name) for p in parts])
                    for name in ("kind", "config", "error", "std", "features")
                )
            )
            new = hold_out(x, table, static, outer != k, outer == k)
            for kind, collected in found.items():
                known, own = refits.of(kind), new.of(kind)
                width = np.full(len(own.error), np.quantile(np.abs(known.error), 0.6827))
                collected.append(
                    np.stack([own.error, width, calibration(known, known.std) * own.std, boosted(known, own)])
                )
        for kind, name in ((ENERGY, "energies"), (FORCE, "forces")):
            error, width, gaussian, learned = np.concatenate(found[kind], axis=1)
            base = metrics.crps(error, width)
            scores = [metrics.crps(error, std) for std in (gaussian, learned)]
            scores += [metrics.mae(error) / np.sqrt(2), metrics.crps(error, np.maximum(np.abs(error), 1e-12))]
            changes = " | ".join(f"{100 * (score / base - 1):+.1f}" for score in scores)
            print(f"| {path.name.split('.')[0]} | {name} | {changes} |", flush=True)


if __name__ == "__main__":
    main()
