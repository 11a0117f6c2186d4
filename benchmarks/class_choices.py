"""Would whole classes left out make better bars? Nested selection over classes and data sets.

    python benchmarks/class_choices.py data/W_gpaw/W_gpaw.xyz.gz Mo.xyz.gz W.xyz.gz,every=8 \\
        Ta.xyz.gz,rcut=4.676,zbl=4.0:4.8

Candidates for how S of the Gaussian posterior is fitted, all with the same weights and left-out rows:

    default         left-out configurations alone
    classes         three parts in ten of the likelihood from rows of whole classes left out (closed form, in the metric
                    of the other classes), each class alike
    clusters        the same with ten clusters of configurations (k-means of whitened energy rows) in place of classes
    prior 4, 10     a wider prior: 4 or 10 rows in each direction, not 1.5
    classes, α      the default, all bars times one factor for each kind, fitted to classes left out of the training
                    classes, each class alike (never below one)
    + A⁻¹           the default with a variance τ xᵀA⁻¹x added, τ for each kind fitted in the same way
    α(xᵀA⁻¹x)       the default times (xᵀA⁻¹x/h)^γ where that is above one, h the 90 % quantile over left-out training
                    rows, γ for each kind fitted in the same way

Every candidate predicts every class by a fit to the others, and five random folds.  Scores: nats per row (Gaussian),
mean of energies and forces, mean over classes of ten rows or more.  A candidate is in order where CRPS of the random
folds is within 1 % of the default's.  "By other classes": for each class what the other classes of its set prefer; "by
other sets": what the three other sets prefer.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from mliuq.descriptor.settings import SnapSettings
from mliuq.judging import metrics
from mliuq.posterior.calibration import folds_of
from mliuq.posterior.gaussian import PRIOR_ROWS, GaussianSettings, fit_gaussian, prior_axes
from mliuq.posterior.left_out import LeftOutRows, LeftOutSettings, left_out_rows
from mliuq.posterior.likelihood import Likelihood, maximise
from mliuq.regression.loco import examine
from mliuq.regression.rows import ENERGY, FORCE, ArrayRows, Floats, Ints, SubsetRows
from mliuq.regression.solver import solve
from numpy.typing import NDArray
from posterior_choices import parse
from posteriors import FEW, load
from scipy.cluster.vq import kmeans2

ROWS = 2000  # of a kind
PART = 0.3  # of the likelihood, from classes
CLUSTERS = 10
Kinds = NDArray[np.int8]
Bars = Callable[[Floats, Kinds], Floats]  # predicted errors of whitened rows


@dataclass(frozen=True)
class Fit:
    """Weights and left-out rows of some configurations."""

    rows: ArrayRows
    classes: Ints  #: of each row
    out: NDArray[np.bool_]

    @cached_property
    def rest(self) -> SubsetRows:
        return SubsetRows(self.rows, ~self.out)

    @cached_property
    def solution(self):
        return solve(self.rest, quiet=True)

    @cached_property
    def statistics(self):
        return examine(self.rest, self.solution)

    @cached_property
    def data(self) -> LeftOutRows:
        return left_out_rows(self.rest, self.solution, self.statistics, LeftOutSettings(rows_per_kind=ROWS))

    @cached_property
    def whitened(self) -> Floats:
        return np.concatenate([b.x for b in self.rest.blocks()]) @ self.solution.whitener

    def clusters(self) -> Ints:
        """Cluster of each row: configurations with like energy rows."""
        table = self.rest.table
        configs, index = np.unique(table.config, return_inverse=True)
        energy = np.zeros((len(configs), self.whitened.shape[1]))
        at = table.kind == ENERGY
        energy[index[at]] = self.whitened[at]
        return np.asarray(kmeans2(energy, CLUSTERS, seed=0, minit="++")[1])[index]

    def units_out(self, unit: Ints) -> LeftOutRows:
        """Rows of whole units in the metric of the others, with the unit as their configuration."""
        table, rng, parts = self.rest.table, np.random.default_rng(1), []
        live = self.statistics.leverage >= 1e-4 * self.statistics.leverage.mean()
        for u in np.unique(unit):
            own = unit == u
            z, w, r = self.whitened[own], table.w[own], self.statistics.residual[own]
            leverage, axes = np.linalg.eigh(z.T @ (w[:, None] * z))
            if leverage.max() > 1 - 1e-9:
                continue
            step = axes @ ((axes.T @ (z.T @ (w * r))) / (1 - leverage))
            at = np.flatnonzero(own & live)
            at = np.concatenate([rng.permutation(at[table.kind[at] == k])[: ROWS // 3] for k in (ENERGY, FORCE)])
            z = self.whitened[at]
            moved = z + ((z @ axes) * ((1 - leverage) ** -0.5 - 1)) @ axes.T
            parts.append(
                LeftOutRows(moved, self.statistics.residual[at] + z @ step, table.kind[at], np.full(len(at), u))
            )
        columns = zip(*((p.z, p.e, p.kind, p.config) for p in parts), strict=True)
        return LeftOutRows(*map(np.concatenate, columns))

    def predict(self, bars: Bars) -> tuple[Floats, Floats, Kinds]:
        """Error, predicted error and kind of the rows left out."""
        table, x = self.rows.table, np.concatenate([b.x for b in self.rows.blocks()])[self.out]
        z = x @ self.solution.whitener
        live = table.w[self.out] * np.sum(z**2, axis=1) > 1e-4 * self.statistics.leverage.mean()
        kind = table.kind[self.out][live]
        return (table.y[self.out] - x @ self.solution.theta)[live], bars(z[live], kind), kind


def bars_of(factor: Floats, floors: Floats) -> Bars:
    return lambda z, kind: np.hypot(np.linalg.norm(z @ factor, axis=1), floors[kind])


def plain(fit: Fit, prior: float = PRIOR_ROWS) -> Bars:
    found = fit_gaussian(fit.data, GaussianSettings(prior=prior * fit.data.z.shape[1] / len(fit.data.z)))
    return bars_of(found.factor, np.array([found.noise.energy, found.noise.force, found.noise.stress]))


def of_units(fit: Fit, unit: Ints) -> Bars:
    """S fitted to left-out configurations and, in part, to left-out units."""
    data, more = fit.data, fit.units_out(unit)
    q = 0.5 / np.bincount(data.kind)[data.kind]
    alike = np.zeros(len(more.e))
    for kind in (ENERGY, FORCE):
        at = more.kind == kind
        share = 1.0 / np.bincount(more.config[at])[more.config[at]]
        alike[at] = 0.5 * share / share.sum()
    axes = prior_axes(data.z, q / (np.bincount(data.kind, q * data.e**2) / np.bincount(data.kind, q))[data.kind], 3.0)
    joined = Likelihood(
        np.concatenate([data.z, more.z]) @ axes,
        np.concatenate([data.e, more.e]),
        np.concatenate([(1 - PART) * q, PART * alike]),
        np.concatenate([data.kind, more.kind]).astype(np.int64),
        PRIOR_ROWS * data.z.shape[1] / len(data.z),
    )
    best = maximise(joined, tolerance=1e-3)
    return bars_of(axes @ best.factor, best.floors)


def widened(fit: Fit, how: Callable[[Floats, Floats, float], Floats], grid: Floats) -> Bars:
    """The default, widened by the parameter of the grid that whole classes left out make most likely, kind by kind.

    how : (bars, xᵀA⁻¹x over its 90 % quantile, parameter) → bars
    """
    base, more, data = plain(fit), fit.units_out(fit.classes[~fit.out]), fit.data
    far = np.array([np.quantile(np.sum(data.z[data.kind == k] ** 2, axis=1), 0.9) for k in (ENERGY, FORCE)])
    best = np.zeros(2)
    for kind in (ENERGY, FORCE):
        at = more.kind == kind
        bar, reach = base(more.z[at], more.kind[at]), np.sum(more.z[at] ** 2, axis=1) / far[kind]
        alike = 1.0 / np.bincount(more.config[at])[more.config[at]]
        cost = []
        for value in grid:
            v = how(bar, reach, value) ** 2
            cost.append(np.sum(alike * (np.log(v) + more.e[at] ** 2 / v)))
        best[kind] = grid[int(np.argmin(cost))]

    def bars(z: Floats, kind: Kinds) -> Floats:
        return how(base(z, kind), np.sum(z**2, axis=1) / far[kind], best[kind])

    return bars


def scaled(fit: Fit) -> Bars:
    return widened(fit, lambda bar, reach, alpha: alpha * bar, np.geomspace(1.0, 5.0, 60))


def grown(fit: Fit) -> Bars:
    unit = np.mean(plain(fit)(fit.data.z, fit.data.kind) ** 2)  # eV²: τ in parts of the mean squared bar
    return widened(
        fit, lambda bar, reach, tau: np.sqrt(bar**2 + tau * unit * reach), np.r_[0.0, np.geomspace(1e-8, 10.0, 90)]
    )


def stretched(fit: Fit) -> Bars:
    return widened(fit, lambda bar, reach, gamma: bar * np.maximum(reach, 1.0) ** gamma, np.linspace(0.0, 1.0, 51))


CANDIDATES: dict[str, Callable[[Fit], Bars]] = {
    "default": plain,
    "classes": lambda fit: of_units(fit, fit.classes[~fit.out]),
    "clusters": lambda fit: of_units(fit, fit.clusters()),
    "prior 4": lambda fit: plain(fit, 4.0),
    "prior 10": lambda fit: plain(fit, 10.0),
    "classes, α": scaled,
    "+ A⁻¹": grown,
    "α(xᵀA⁻¹x)": stretched,
}


def study(rows: ArrayRows, labels: Sequence[str]):
    """Predictions of every class and of five folds by every candidate."""
    names, of_config = np.unique(labels, return_inverse=True)
    classes = of_config[rows.table.config]
    fold = folds_of(rows.table.config, 5, 0)
    by_class = [Fit(rows, classes, classes == c) for c in range(len(names))]
    by_fold = [Fit(rows, classes, fold == k) for k in range(5)]
    return names, {
        n: ([f.predict(CANDIDATES[n](f)) for f in by_class], [f.predict(CANDIDATES[n](f)) for f in by_fold])
        for n in CANDIDATES
    }


def nats(part: tuple[Floats, Floats, Kinds]) -> float:
    """Score of a class; NaN for one with few rows of every kind."""
    error, bar, kind = part
    scores = [metrics.nll(error[kind == k], bar[kind == k]) for k in (ENERGY, FORCE) if (kind == k).sum() >= FEW]
    return float(np.mean(scores)) if scores else float("nan")


def crps(parts: Sequence[tuple[Floats, Floats, Kinds]]) -> Floats:
    error, bar, kind = map(np.concatenate, zip(*parts, strict=True))
    return np.array([metrics.crps(error[kind == k], bar[kind == k]) for k in (ENERGY, FORCE)])


def line(parts, base) -> str:
    """Pooled rms z and the largest and smallest of a class, and CRPS against the default (%), both kinds."""
    cells, change = [], 100 * (crps(parts) / crps(base) - 1)
    for kind in (ENERGY, FORCE):
        z = [e[k == kind] / b[k == kind] for e, b, k in parts]
        enough = [metrics.rmse(part) for part in z if len(part) >= FEW]
        cells.append(f"{metrics.rmse(np.concatenate(z)):.2f} ({min(enough):.2f}–{max(enough):.2f}) {change[kind]:+.1f}")
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=parse, metavar="FILE[,every=N][,rcut=Å][,zbl=INNER:OUTER]")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    scores, in_order, found = {}, {}, {}
    head = "energies: rms z (classes), CRPS % | forces: rms z (classes), CRPS % | random folds: CRPS %"
    for path, extra in arguments.data:
        snap = SnapSettings(twojmax=8, rcut=float(extra.get("rcut", 4.7)))
        zbl = [float(r) for r in extra["zbl"].split(":")] if "zbl" in extra else []
        name = path.name.split(".")[0]
        _, found[name] = study(*load(path, snap, every=int(extra.get("every", 1)), zbl=zbl))
        base = found[name]["default"]
        scores[name] = np.array([[nats(part) for part in found[name][c][0]] for c in CANDIDATES])
        costs = np.array([crps(found[name][c][1]) / crps(base[1]) - 1 for c in CANDIDATES])
        in_order[name] = np.all(costs <= 0.01, axis=1)
        print(f"\n| {name} | nats per row | {head} |\n|---|---|---|---|---|")
        for c, score, cost in zip(CANDIDATES, scores[name], costs, strict=True):
            gain = np.nanmean(score - scores[name][0])
            spent = ", ".join(f"{100 * part:+.1f}" for part in cost)
            print(f"| {c} | {gain:+.3f} | {line(found[name][c][0], base[0])} | {spent} |", flush=True)
    print(f"\n| | picks | {head.rsplit(' | ', 1)[0]} |\n|---|---|---|---|")
    for name, by_class in scores.items():
        picks = []
        for c in range(by_class.shape[1]):
            rest = np.nanmean(np.delete(by_class - by_class[0], c, axis=1), axis=1)
            picks.append(int(np.argmin(np.where(in_order[name], rest, np.inf))))
        parts = [found[name][list(CANDIDATES)[pick]][0][c] for c, pick in enumerate(picks)]
        listed = ", ".join(sorted({list(CANDIDATES)[pick] for pick in picks}))
        print(f"| {name}, by other classes | {listed} | {line(parts, found[name]['default'][0])} |")
        others = [n for n in scores if n != name] or [name]
        gains = np.mean([np.nanmean(scores[n] - scores[n][0], axis=1) for n in others], axis=0)
        pick = list(CANDIDATES)[int(np.argmin(np.where(np.all([in_order[n] for n in others], axis=0), gains, np.inf)))]
        print(f"| {name}, by other sets | {pick} | {line(found[name][pick][0], found[name]['default'][0])} |")


if __name__ == "__main__":
    main()
