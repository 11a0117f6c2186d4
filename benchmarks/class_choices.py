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
    α(density)      the default times (r/r0)^γ where r > r0: r the distance that the density of training environments
                    around the atom stands for (the sparsest atom of a configuration, for energies), r0 the usual one
                    among them; γ of either sign for each kind fitted in the same way
    α by group      the default times a factor for each kind and group of environments (undercoordinated, close pairs,
                    strained, none of these) fitted in the same way, one where fewer than two classes have ten rows

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
from mliuq.readers import read_structures
from mliuq.regression.loco import examine
from mliuq.regression.rows import ENERGY, FORCE, ArrayRows, Floats, Ints, SubsetRows
from mliuq.regression.solver import solve
from numpy.typing import NDArray
from posterior_choices import parse
from posteriors import FEW, load
from row_surroundings import Surroundings
from scipy.cluster.vq import kmeans2

ROWS = 2000  # of a kind
PART = 0.3  # of the likelihood, from classes
CLUSTERS = 10
Kinds = NDArray[np.int8]
Bars = Callable[[Floats, Kinds, Ints], Floats]  # predicted errors of whitened rows, their kinds and places in the table
Measure = Callable[[Floats, Kinds, Ints, Ints], Floats]  # of whitened rows, kinds, places, other rows of the fit


@dataclass(frozen=True)
class Fit:
    """Weights and left-out rows of some configurations."""

    rows: ArrayRows
    classes: Ints  #: of each row
    out: NDArray[np.bool_]
    around: Surroundings

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
    def default(self) -> Bars:
        return plain(self)

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

    def units_out(self, unit: Ints) -> tuple[LeftOutRows, Ints]:
        """Rows of whole units in the metric of the others, the unit as their configuration, and places in `rest`."""
        table, rng, parts, places = self.rest.table, np.random.default_rng(1), [], []
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
            places.append(at)
            parts.append(
                LeftOutRows(moved, self.statistics.residual[at] + z @ step, table.kind[at], np.full(len(at), u))
            )
        columns = zip(*((p.z, p.e, p.kind, p.config) for p in parts), strict=True)
        return LeftOutRows(*map(np.concatenate, columns)), np.concatenate(places)

    def predict(self, bars: Bars) -> tuple[Floats, Floats, Kinds]:
        """Error, predicted error and kind of the rows left out."""
        table, x = self.rows.table, np.concatenate([b.x for b in self.rows.blocks()])[self.out]
        z = x @ self.solution.whitener
        live = table.w[self.out] * np.sum(z**2, axis=1) > 1e-4 * self.statistics.leverage.mean()
        kind = table.kind[self.out][live]
        own = np.flatnonzero(self.out)[live]
        return (table.y[own] - (x @ self.solution.theta)[live]), bars(z[live], kind, own), kind


def bars_of(factor: Floats, floors: Floats) -> Bars:
    return lambda z, kind, row: np.hypot(np.linalg.norm(z @ factor, axis=1), floors[kind])


def plain(fit: Fit, prior: float = PRIOR_ROWS) -> Bars:
    found = fit_gaussian(fit.data, GaussianSettings(prior=prior * fit.data.z.shape[1] / len(fit.data.z)))
    return bars_of(found.factor, np.array([found.noise.energy, found.noise.force, found.noise.stress]))


def of_units(fit: Fit, unit: Ints) -> Bars:
    """S fitted to left-out configurations and, in part, to left-out units."""
    data, (more, _) = fit.data, fit.units_out(unit)
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


def widened(fit: Fit, how: Callable[[Floats, Floats, float], Floats], grid: Floats, measure: Measure) -> Bars:
    """The default, widened by the parameter of the grid that whole classes left out make most likely, kind by kind.

    how : (bars, measure, parameter) → bars
    """
    base, told, best = fit.default, classes_left_out(fit, measure), np.zeros(2)
    for kind in (ENERGY, FORCE):
        at = told.rows.kind == kind
        bar, found = base(told.rows.z[at], told.rows.kind[at], told.place[at]), told.measured[at]
        cost = [told.cost(at, how(bar, found, value)) for value in grid]
        best[kind] = grid[int(np.argmin(cost))]

    def bars(z: Floats, kind: Kinds, row: Ints) -> Floats:
        return how(base(z, kind, row), measure(z, kind, row, np.flatnonzero(~fit.out)), best[kind])

    return bars


@dataclass(frozen=True)
class ClassesLeftOut:
    """Rows of the training classes, each class left out, with a measure of them that has not seen the class either."""

    rows: LeftOutRows
    place: Ints
    measured: Floats

    def cost(self, at: NDArray[np.bool_], bar: Floats) -> float:
        """Score of bars of rows `at`, each class alike."""
        alike = 1.0 / np.bincount(self.rows.config[at])[self.rows.config[at]]
        return float(np.sum(alike * (2 * np.log(bar) + (self.rows.e[at] / bar) ** 2)))


def classes_left_out(fit: Fit, measure: Measure) -> ClassesLeftOut:
    classes = fit.classes[~fit.out]
    rows, place = fit.units_out(classes)
    place, measured = np.flatnonzero(~fit.out)[place], np.zeros(len(place))
    for c in np.unique(rows.config):
        at, others = rows.config == c, np.flatnonzero(~fit.out & (fit.classes != c))
        measured[at] = measure(rows.z[at], rows.kind[at], place[at], others)
    return ClassesLeftOut(rows, place, measured)


def leverage_of(fit: Fit) -> Measure:
    """xᵀA⁻¹x over its 90 % quantile on left-out training rows of the kind."""
    size = np.sum(fit.data.z**2, axis=1)
    far = np.array([np.quantile(size[fit.data.kind == k], 0.9) for k in (ENERGY, FORCE)])
    return lambda z, kind, row, others: np.sum(z**2, axis=1) / far[kind]


def scaled(fit: Fit) -> Bars:
    return widened(fit, lambda bar, reach, alpha: alpha * bar, np.geomspace(1.0, 5.0, 60), leverage_of(fit))


def grown(fit: Fit) -> Bars:
    own = np.arange(len(fit.data.e))
    unit = np.mean(fit.default(fit.data.z, fit.data.kind, own) ** 2)  # eV²: τ in parts of the mean squared bar
    return widened(
        fit, lambda bar, reach, tau: np.sqrt(bar**2 + tau * unit * reach), np.r_[0.0, np.geomspace(1e-8, 10.0, 90)],
        leverage_of(fit),
    )  # fmt: skip


def stretched(fit: Fit) -> Bars:
    return widened(fit, beyond, np.linspace(0.0, 1.0, 51), leverage_of(fit))


def beyond(bar: Floats, reach: Floats, gamma: float | Floats) -> Floats:
    return np.asarray(bar * np.maximum(reach, 1.0) ** gamma)


def by_density(fit: Fit) -> Bars:
    def sparse(z: Floats, kind: Kinds, row: Ints, others: Ints) -> Floats:
        return fit.around.distance(row, others)

    return widened(fit, beyond, np.linspace(-1.0, 2.0, 61), sparse)


def by_group(fit: Fit) -> Bars:
    base = fit.default
    told = classes_left_out(fit, lambda z, kind, row, others: fit.around.group(row).astype(np.float64))
    factors, grid = np.ones((2, Surroundings.GROUPS)), np.geomspace(0.2, 5.0, 81)
    for kind, group in np.ndindex(factors.shape):
        at = (told.rows.kind == kind) & (told.measured == group)
        if np.sum(np.bincount(told.rows.config[at]) >= FEW) >= 2:
            bar = base(told.rows.z[at], told.rows.kind[at], told.place[at])
            factors[kind, group] = grid[int(np.argmin([told.cost(at, alpha * bar) for alpha in grid]))]
    return lambda z, kind, row: factors[kind, fit.around.group(row)] * base(z, kind, row)


CANDIDATES: dict[str, Callable[[Fit], Bars]] = {
    "default": lambda fit: fit.default,
    "classes": lambda fit: of_units(fit, fit.classes[~fit.out]),
    "clusters": lambda fit: of_units(fit, fit.clusters()),
    "prior 4": lambda fit: plain(fit, 4.0),
    "prior 10": lambda fit: plain(fit, 10.0),
    "classes, α": scaled,
    "+ A⁻¹": grown,
    "α(xᵀA⁻¹x)": stretched,
    "α(density)": by_density,
    "α by group": by_group,
}


def study(rows: ArrayRows, labels: Sequence[str], around: Surroundings):
    """Predictions of every class and of five folds by every candidate."""
    names, of_config = np.unique(labels, return_inverse=True)
    classes = of_config[rows.table.config]
    fold = folds_of(rows.table.config, 5, 0)
    by_class = [Fit(rows, classes, classes == c, around) for c in range(len(names))]
    by_fold = [Fit(rows, classes, fold == k, around) for k in range(5)]
    return names, {
        n: ([f.predict(candidate(f)) for f in by_class], [f.predict(candidate(f)) for f in by_fold])
        for n, candidate in CANDIDATES.items()
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
        every = int(extra.get("every", 1))
        rows, labels = load(path, snap, every=every, zbl=zbl)
        _, found[name] = study(rows, labels, Surroundings.of(read_structures(path)[::every], snap, rows.table))
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
