"""Error bars of every posterior on held-out configurations: one table per data set and kind of row.

    python benchmarks/posteriors.py data/W_gpaw/W_gpaw.xyz.gz           # 2J=8, 4.7 Å, linear, five folds
    python benchmarks/posteriors.py Mo.xyz.gz W.xyz.gz --every 4        # every fourth configuration
    python benchmarks/posteriors.py Ta.xyz.gz --zbl 4.0 4.8 --rcut 4.676
    python benchmarks/posteriors.py Mo.xyz.gz --twojmax 6 --quadratic --folds 3 --methods constant gaussian

    python benchmarks/posteriors.py W.xyz.gz --energy-weight auto       # the balance that `mliuq fit` chooses

    python benchmarks/posteriors.py Mo.xyz.gz --leave-class-out         # folds are whole classes (config_type)

Nested cross-validation: configurations are split into folds; for each fold the weights, the posterior and its
calibration (with `--energy-weight auto` the balance too) come from the other folds alone, and the fold's own rows are
predicted.  Held-out rows of all folds are then
judged together, rows of negligible leverage (zero by symmetry) left out.  All methods see the same weights, rows and
splits.

    raw         what the posterior says by itself (with its noise floor, if it has one)
    calibrated  scaled by α from training configurations: K-fold refits (gaussian), or
                leave-one-configuration-out residuals (all others)

Columns: rms z and its range over folds; coverage at 1σ and 2σ (%); references outside the envelope of 500 members (%);
ENCE; miscalibration area; CRPS (meV/atom, meV/Å) and its change against calibrated constant width (%); rms z of the
worst config_type and its number of rows.

With `--leave-class-out` every class is predicted by what was fitted and calibrated without it: rms z of all rows, and
of the classes of ten rows or more for which it is largest and smallest; then rms z of every class, how many independent
errors those of the class are worth (by the correlations that the Gaussian posterior states) and where rms z of honest
bars lies in nine cases of ten for so many.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mliuq.descriptor.settings import SnapSettings
from mliuq.judging import metrics
from mliuq.posterior.baselines import bag, rescale_to_residuals
from mliuq.posterior.calibration import PRIOR, HeldOut, calibrate, cross_fitted
from mliuq.posterior.corrections import Corrections
from mliuq.posterior.ensemble import draw_corrections
from mliuq.posterior.gaussian import draw_gaussian, fit_gaussian
from mliuq.posterior.hypercube import fit_hypercube
from mliuq.posterior.left_out import left_out_rows
from mliuq.posterior.refits import refitted
from mliuq.posterior.selection import Selection
from mliuq.posterior.settings import PosteriorSettings
from mliuq.readers import read_structures
from mliuq.regression.balance import choose_balance
from mliuq.regression.loco import RowStatistics, examine
from mliuq.regression.problem import build_rows
from mliuq.regression.rows import ENERGY, FORCE, ArrayRows, Floats
from mliuq.regression.solver import Solution, solve
from mliuq.regression.weights import WeightSettings
from numpy.typing import NDArray

MEMBERS = 500
SEED = 0
FEW = 10  # rows of a class below which its rms z is that of a handful of errors
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Fold:
    """Training configurations with their fit, and the rows to predict."""

    rows: ArrayRows
    solution: Solution
    statistics: RowStatistics
    chosen: Mask  #: training rows that posteriors and calibration may use
    x: Floats  #: held-out rows
    kind: NDArray[np.int8]

    @property
    def train(self) -> Floats:
        return np.concatenate([block.x for block in self.rows.blocks()])


@dataclass(frozen=True)
class Bars:
    """What a method says of the held-out rows, and on what it is calibrated."""

    spread: Floats
    floor: Floats
    calibrate_on: HeldOut
    envelope: tuple[Floats, Floats] | None = None
    prior: float = 0.0  #: rows that the belief in the raw bars counts for
    shift: Floats | None = None  #: (n, M) moves of the predictions, where correlations between rows mean something


def from_moves(fold: Fold, moves: Floats) -> Bars:
    """Spread and envelope of members, calibrated on left-out residuals of the training rows."""
    shift = fold.x @ moves.T
    spread = np.sqrt(np.mean(shift**2, axis=1))
    own = np.sqrt(np.mean((fold.train @ moves.T) ** 2, axis=1))
    return Bars(spread, np.zeros_like(spread), residuals(fold, own), (shift.min(axis=1), shift.max(axis=1)))


def residuals(fold: Fold, spread: Floats) -> HeldOut:
    table, at = fold.rows.table, fold.chosen
    return HeldOut(fold.statistics.loco[at], spread[at], np.zeros(at.sum()), table.kind[at], "left-out residuals")


def constant(fold: Fold) -> Bars:
    table = fold.rows.table
    width = np.zeros(3)
    for kind in (ENERGY, FORCE):
        width[kind] = metrics.rmse(fold.statistics.loco[fold.chosen & (table.kind == kind)])
    return Bars(width[fold.kind], np.zeros(len(fold.x)), residuals(fold, width[table.kind]))


def popsregression(fold: Fold) -> Bars:
    """The package with its defaults (hypercube of the upper half of leverages), epistemic part included."""
    from popsregression import POPSRegression

    table = fold.rows.table
    np.random.seed(SEED)  # noqa: NPY002 (it draws from the global generator)
    peer = POPSRegression().fit(fold.train, table.y, sample_weight=table.w)
    mean, std, high, low = peer.predict(fold.x, return_std=True, return_bounds=True)
    own = peer.predict(fold.train, return_std=True)[1]
    # Its prior moves the best fit a little; the errors judged are those of the common best fit.
    return Bars(std, np.zeros_like(std), residuals(fold, own), (low - mean, high - mean))


def hypercube(fold: Fold) -> Bars:
    corrections = Corrections(fold.rows, fold.solution, fold.statistics, fold.chosen)
    return from_moves(fold, fit_hypercube(corrections).sample(MEMBERS, SEED, "uniform"))


def ensemble(fold: Fold) -> Bars:
    corrections = Corrections(fold.rows, fold.solution, fold.statistics, fold.chosen)
    return from_moves(fold, draw_corrections(corrections, MEMBERS, SEED))


def bayesian_ridge(fold: Fold) -> Bars:
    """What ordinary regression believes of its weights: σ² xᵀA⁻¹x, σ² from the residuals."""
    sigma = np.sqrt(fold.solution.noise_variance)
    spread, own = (sigma * np.linalg.norm(x @ fold.solution.whitener, axis=1) for x in (fold.x, fold.train))
    return Bars(spread, np.zeros_like(spread), residuals(fold, own), (-3 * spread, 3 * spread))


def bagging(fold: Fold) -> Bars:
    return from_moves(fold, bag(fold.rows, fold.solution, 5, SEED))


def bagging_rescaled(fold: Fold) -> Bars:
    moves = bag(fold.rows, fold.solution, 5, SEED)
    return from_moves(fold, rescale_to_residuals(fold.rows, fold.statistics, moves))


def gaussian(fold: Fold) -> Bars:
    return gaussian_bars(fold, refitted(fold.rows, PosteriorSettings(members=MEMBERS)))


def gaussian_left_out(fold: Fold) -> Bars:
    """The same posterior, calibrated without refits."""
    return gaussian_bars(fold, cross_fitted(left_out_rows(fold.rows, fold.solution, fold.statistics)))


def gaussian_bars(fold: Fold, calibrate_on: HeldOut) -> Bars:
    posterior = fit_gaussian(left_out_rows(fold.rows, fold.solution, fold.statistics))
    shift = fold.x @ draw_gaussian(posterior, fold.solution, MEMBERS, SEED).T
    spread = np.sqrt(np.mean(shift**2, axis=1))
    envelope = (shift.min(axis=1), shift.max(axis=1))
    return Bars(spread, posterior.noise.of(fold.kind), calibrate_on, envelope, PRIOR, shift)


METHODS: dict[str, Callable[[Fold], Bars]] = {
    "constant": constant,
    "bayesian-ridge": bayesian_ridge,
    "bagging": bagging,
    "bagging-rescaled": bagging_rescaled,
    "ensemble": ensemble,
    "hypercube": hypercube,
    "popsregression": popsregression,
    "gaussian": gaussian,
    "gaussian-left-out": gaussian_left_out,
}


@dataclass(frozen=True)
class Judged:
    """Held-out rows of all folds under one method, raw or calibrated."""

    error: Floats
    std: Floats
    envelope: tuple[Floats, Floats] | None
    kind: NDArray[np.int8]
    fold: NDArray[np.int64]
    label: NDArray[np.str_]
    worth: dict[tuple[str, int], float]  #: independent errors of a class and kind that is a fold of its own


def cross_validate(
    rows: ArrayRows, labels: Sequence[str], names: Sequence[str], folds: int, *, balance: bool = False
) -> dict[str, Judged]:
    """Run every method on every fold; no folds: on every class. `balance`: choose the constant of energies anew."""
    table = rows.table
    x = np.concatenate([block.x for block in rows.blocks()])
    configs, index = np.unique(table.config, return_inverse=True)
    label = np.asarray(labels)[table.config]
    if folds:
        fold_of = (np.random.default_rng(SEED).permutation(len(configs)) % folds)[index]
    else:
        classes, fold_of = np.unique(label, return_inverse=True)
        folds = len(classes)
    collected: dict[str, list[Judged]] = {}
    for k in range(folds):
        train, test = fold_of != k, fold_of == k
        fit = ArrayRows(x[train], table.y[train], table.w[train], table.kind[train], table.config[train])
        w = table.w
        if balance:
            constants = np.where(table.kind == ENERGY, np.nan, 1.0)
            found = choose_balance(fit, constants[train], seed=SEED)
            w = found.applied(table, np.isnan(constants))
            fit = ArrayRows(x[train], table.y[train], w[train], table.kind[train], table.config[train])
            print(f"  fold {k + 1}/{folds} energy weight {found.constants['energy']:g}", flush=True)
        solution = solve(fit)
        statistics = examine(fit, solution)
        chosen = Selection().mask(fit.table, statistics) & np.isfinite(statistics.loco)
        leverage = w[test] * np.sum((x[test] @ solution.whitener) ** 2, axis=1)
        test = np.flatnonzero(test)[leverage > 1e-4 * statistics.leverage.mean()]
        fold = Fold(fit, solution, statistics, chosen, x[test], table.kind[test])
        error = table.y[test] - x[test] @ solution.theta
        for name in names:
            start = time.perf_counter()
            bars = METHODS[name](fold)
            calibration = calibrate(bars.calibrate_on, prior=bars.prior)
            stds = {
                "raw": np.hypot(bars.spread, bars.floor),
                "calibrated": calibration.error_bars(bars.spread, bars.floor, fold.kind),
            }
            if name == "constant":  # conformal: the half-width that held 68.27 % of the training errors
                stds["calibrated"] = (
                    stds["raw"]
                    * np.array(
                        [
                            calibration.conformal[kind]["0.6827"] * getattr(calibration, f"alpha_{kind}")
                            for kind in ("energy", "force")
                        ]
                    )[fold.kind]
                )
            for how, std in stds.items():
                where = np.full(len(test), k)
                part = Judged(
                    error, std, bars.envelope, fold.kind, where, label[test], worth_of(bars, fold, label[test])
                )
                collected.setdefault(f"{name}, {how}", []).append(part)
            print(f"  fold {k + 1}/{folds} {name}: {time.perf_counter() - start:.1f} s", flush=True)
    return {name: joined(parts) for name, parts in collected.items()}


def worth_of(bars: Bars, fold: Fold, label: NDArray[np.str_]) -> dict[tuple[str, int], float]:
    """Independent errors that those of each kind are worth, where the rows are one class (at most 1000 of them)."""
    if bars.shift is None or len(np.unique(label)) > 1:
        return {}
    found = {}
    for kind in np.unique(fold.kind):
        at = np.random.default_rng(SEED).permutation(np.flatnonzero(fold.kind == kind))[:1000]
        covariance = bars.shift[at] @ bars.shift[at].T / bars.shift.shape[1] + np.diag(bars.floor[at] ** 2)
        found[str(label[0]), int(kind)] = metrics.independent(covariance)
    return found


def joined(parts: Sequence[Judged]) -> Judged:
    envelope = None
    if parts[0].envelope is not None:
        low, high = (np.concatenate([p.envelope[i] for p in parts if p.envelope]) for i in (0, 1))
        envelope = (low, high)
    error, std, kind, fold, label = (
        np.concatenate([getattr(p, name) for p in parts]) for name in ("error", "std", "kind", "fold", "label")
    )
    worth = {key: value for part in parts for key, value in part.worth.items()}
    return Judged(error, std, envelope, kind, fold, label, worth)


def table_of(results: dict[str, Judged], kind: int) -> list[str]:
    """Lines of a Markdown table."""
    lines = [
        "| method | rms z (folds) | 1σ | 2σ | envelope | ENCE | area | CRPS | change | worst class |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    base = None
    if "constant, calibrated" in results:
        judged = results["constant, calibrated"]
        base = metrics.crps(judged.error[judged.kind == kind], judged.std[judged.kind == kind])
    for name, judged in results.items():
        at = judged.kind == kind
        envelope = None if judged.envelope is None else (judged.envelope[0][at], judged.envelope[1][at])
        s = metrics.summarize(judged.error[at], judged.std[at], envelope=envelope)
        z = judged.error[at] / judged.std[at]
        by_fold = [metrics.rmse(z[judged.fold[at] == k]) for k in np.unique(judged.fold)]
        by_class = {c: metrics.rmse(z[judged.label[at] == c]) for c in np.unique(judged.label[at])}
        worst = max(by_class, key=lambda c: by_class[c])
        outside = "" if np.isnan(s.envelope) or name.endswith("calibrated") else f"{100 * s.envelope:.2f}"
        change = "" if base is None else f"{100 * (s.crps / base - 1):+.1f}"
        lines.append(
            f"| {name} | {s.rms_z:.2f} ({min(by_fold):.2f}–{max(by_fold):.2f}) | {100 * s.coverage_1:.1f} |"
            f" {100 * s.coverage_2:.1f} | {outside} | {s.ence:.3f} | {s.area:.3f} | {1000 * s.crps:.2f} | {change} |"
            f" {by_class[worst]:.2f} {worst} ({int((judged.label[at] == worst).sum())}) |"
        )
    return lines


def class_tables_of(results: dict[str, Judged], kind: int) -> list[str]:
    """Lines of two Markdown tables: all classes together, and rms z of every class, each left out as a whole."""
    lines = [
        "| method | rms z | largest | smallest | 1σ | 2σ | CRPS | change |",
        "|---|---|---|---|---|---|---|---|",
    ]
    base, columns = None, {}
    if "constant, calibrated" in results:
        judged = results["constant, calibrated"]
        base = metrics.crps(judged.error[judged.kind == kind], judged.std[judged.kind == kind])
    for name, judged in results.items():
        at = judged.kind == kind
        error, std, label = judged.error[at], judged.std[at], judged.label[at]
        classes, counts = np.unique(label, return_counts=True)
        by_class = {c: metrics.rms_z(error[label == c], std[label == c]) for c in classes}
        columns[name] = by_class
        enough = {c: by_class[c] for c in classes[counts >= FEW]}
        largest, smallest = max(enough, key=enough.__getitem__), min(enough, key=enough.__getitem__)
        crps = metrics.crps(error, std)
        change = "" if base is None else f"{100 * (crps / base - 1):+.1f}"
        within = " | ".join(f"{100 * metrics.coverage(error, std, k):.1f}" for k in (1.0, 2.0))
        lines.append(
            f"| {name} | {metrics.rms_z(error, std):.2f} | {enough[largest]:.2f} {largest} |"
            f" {enough[smallest]:.2f} {smallest} | {within} | {1000 * crps:.2f} | {change} |"
        )
    shown = [name for name in columns if name.endswith("calibrated") or name == "gaussian, raw"]
    lines += ["", f"| class (rows) | {' | '.join(shown)} | independent | honest |", "|---|" + "---|" * (len(shown) + 2)]
    worth = {key: value for judged in results.values() for key, value in judged.worth.items()}
    for c, count in zip(classes, counts, strict=True):
        own = worth.get((c, kind))
        span = " | " if own is None else "{:.1f} | {:.2f}–{:.2f}".format(own, *metrics.rms_z_range(own))
        lines.append(f"| {c} ({count}) | {' | '.join(f'{columns[name][c]:.2f}' for name in shown)} | {span} |")
    return lines


def load(
    path: Path, snap: SnapSettings, *, every: int = 1, zbl: Sequence[float] = (), energy_weight: float | str = 0.0
) -> tuple[ArrayRows, list[str]]:
    """Rows of a data set and the config_type of every configuration; energy weight 0: equal sums."""
    structures = read_structures(path)[::every]
    forces = sum(3 * len(atoms) for atoms in structures)
    constant = "auto" if energy_weight == "auto" else float(energy_weight) or forces / len(structures)
    weights = WeightSettings(energy=constant)
    repulsion = (zbl[0], zbl[1]) if zbl else None
    computed = build_rows(structures, snap.params(structures), zbl=repulsion, weights=weights)
    table = computed.table
    x = np.concatenate([computed.design(b) for b in range(computed.n_blocks)])
    labels = [str(atoms.info.get("config_type", "all")) for atoms in structures]
    return ArrayRows(x, table.y, table.w, table.kind, table.config), labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--twojmax", type=int, default=8)
    parser.add_argument("--rcut", type=float, default=4.7, help="Å")
    parser.add_argument("--quadratic", action="store_true")
    parser.add_argument("--zbl", type=float, nargs=2, default=(), metavar=("INNER", "OUTER"))
    parser.add_argument("--energy-weight", default=0.0, help="0: equal sums of energy and force weights; auto: chosen")
    parser.add_argument("--every", type=int, default=1, help="take every n-th configuration")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--leave-class-out", action="store_true", help="folds are the classes (config_type)")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    options = parser.parse_args()
    for path in options.data:
        snap = SnapSettings(twojmax=options.twojmax, rcut=options.rcut, quadratic=options.quadratic)
        rows, labels = load(path, snap, every=options.every, zbl=options.zbl, energy_weight=options.energy_weight)
        title = f"{path.name}: {len(labels)} configurations, {len(rows.table)} rows, {rows.n_weights} weights"
        print(title, flush=True)
        folds = 0 if options.leave_class_out else options.folds
        results = cross_validate(rows, labels, options.methods, folds, balance=options.energy_weight == "auto")
        tables = class_tables_of if options.leave_class_out else table_of
        for kind, name in ((ENERGY, "energies"), (FORCE, "forces")):
            print(f"\n### {name}, {title}\n")
            print("\n".join(tables(results, kind)), flush=True)


if __name__ == "__main__":
    main()
