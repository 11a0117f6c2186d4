"""Nested selection of the choices behind the Gaussian posterior: what the training data alone would have picked.

    python benchmarks/posterior_choices.py data/W_gpaw/W_gpaw.xyz.gz Mo.xyz.gz W.xyz.gz,every=4 \
        Ta.xyz.gz,zbl=4.0:4.8,rcut=4.676

Outer folds as in posteriors.py.  Within the training configurations of an outer fold, as many inner folds are predicted
by weights and posterior fitted to the others, and every candidate of every choice is scored there, the other choices at
their defaults.  The winners predict the outer fold, beside the defaults and beside the winners of all *other* data
sets.  No outer row is looked at before its prediction is made.

Scores of the inner folds (smaller is better):

    prior, metric, rows   ½ ln 2πv + ½ e²/v in nats per row, v the predicted variance, the mean of energies and forces
    alpha                 the same for forces only, v calibrated on the other inner folds
    source                the same for both, v calibrated on the configurations fitted to: refits without each of so
                          many folds of them, or left-out residuals
    tails                 references outside the members, relative to what is allowed (energies 0.5 %, forces 1 %), the
                          worse of both kinds; of all that are allowed, the one nearest to a Gaussian wins

`gain` is the inner score of the default minus that of the pick; its standard error is over inner folds of all outer
folds, which share data: it is a lower bound.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from mliuq.descriptor.settings import SnapSettings
from mliuq.judging import metrics
from mliuq.posterior.calibration import (
    FORCE_COVERAGE,
    HeldOut,
    alpha_by_likelihood,
    alpha_by_quantile,
    calibrate,
    cross_fitted,
    folds_of,
)
from mliuq.posterior.gaussian import (
    PRIOR_ROWS,
    TAIL,
    GaussianPosterior,
    GaussianSettings,
    draw_gaussian,
    fit_gaussian,
)
from mliuq.posterior.left_out import LeftOutRows, LeftOutSettings, left_out_rows
from mliuq.regression.loco import examine
from mliuq.regression.rows import ENERGY, FORCE, ArrayRows, Floats, Ints, RowSource, SubsetRows
from mliuq.regression.solver import solve
from posteriors import MEMBERS, SEED, load

ALLOWED = {ENERGY: 0.005, FORCE: 0.01}  # share of references outside the members
Pick = Mapping[str, float | str]

ALPHAS: dict[str, Callable[[Floats, Floats, Floats], float]] = {
    "1σ and 2σ": alpha_by_quantile,
    "1σ": lambda e, s, f: alpha_by_quantile(e, s, f, coverage=FORCE_COVERAGE[:1]),
    "2σ": lambda e, s, f: alpha_by_quantile(e, s, f, coverage=FORCE_COVERAGE[1:]),
    "likelihood": alpha_by_likelihood,
}
LEFT_OUT = "left-out"
DEFAULT: Pick = {
    "prior": PRIOR_ROWS,
    "metric": 3.0,
    "rows": 20000,
    "tails": TAIL,
    "alpha": "1σ and 2σ",
    "source": "5 folds",
}
OF_POSTERIOR = ("prior", "metric", "rows")  # choices that a posterior depends on; the others act on its predictions
CANDIDATES: dict[str, tuple[float | str, ...]] = {
    "prior": (0.1, 0.25, 0.6, 1.5, 4.0, 10.0),  # rows in each direction
    "metric": (0.1, 1.0, 3.0, 10.0, 100.0),  # parts of the metric of the fit
    "rows": (1000, 3000, 8000, 20000),  # per kind
    "tails": (4.0, 5.0, 7.0, 10.0, 20.0, np.inf),  # degrees of freedom
    "alpha": tuple(ALPHAS),
    "source": (LEFT_OUT, "3 folds", "5 folds", "10 folds"),
}


@dataclass(frozen=True)
class Split:
    """A fit to some configurations and the rows of the others, those of negligible leverage left out."""

    fitted: RowSource
    x: Floats
    y: Floats
    w: Floats
    kind: Ints
    parts: dict[int, list[Split]] = field(default_factory=dict)
    posteriors: dict[tuple[float | str, ...], GaussianPosterior] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: RowSource, out: np.ndarray) -> Split:
        x, table = np.concatenate([block.x for block in rows.blocks()]), rows.table
        return cls(SubsetRows(rows, ~out), x[out], table.y[out], table.w[out], table.kind[out])

    @cached_property
    def fit(self):
        solution = solve(self.fitted)
        return solution, examine(self.fitted, solution)

    def folds(self, n: int) -> list[Split]:
        """The configurations fitted, without each of n folds; every one is fitted once, whatever asks for it."""
        if n not in self.parts:
            fold = folds_of(self.fitted.table.config, n, SEED)
            self.parts[n] = [Split.of(self.fitted, fold == k) for k in range(n)]
        return self.parts[n]

    def posterior(self, pick: Pick) -> GaussianPosterior:
        key = tuple(pick[name] for name in OF_POSTERIOR)
        if key not in self.posteriors:
            self.posteriors[key] = fit_gaussian(*self.left_out(pick))
        return self.posteriors[key]

    def left_out(self, pick: Pick) -> tuple[LeftOutRows, GaussianSettings]:
        """What the posterior of a pick is fitted to, and how."""
        data = left_out_rows(self.fitted, *self.fit, LeftOutSettings(rows_per_kind=int(pick["rows"])))
        prior = float(pick["prior"]) * data.z.shape[1] / len(data.z)
        return data, GaussianSettings(prior=prior, fit_metric=float(pick["metric"]))

    def calibration(self, pick: Pick) -> HeldOut:
        """Rows to calibrate on, none of them held out here."""
        source = str(pick["source"])
        if source == LEFT_OUT:
            return cross_fitted(*self.left_out(pick), seed=SEED)
        return HeldOut.joined([split.predict(pick)[0] for split in self.folds(int(source.split()[0]))], source)

    def predict(self, pick: Pick, tails: Sequence[float] = ()) -> tuple[HeldOut, dict[float, np.ndarray]]:
        """Errors, spreads and floors of the rows held out, and which lie outside members of each tail."""
        solution, statistics = self.fit
        posterior = self.posterior(pick)
        z = self.x @ solution.whitener
        live = self.w * np.sum(z**2, axis=1) > 1e-4 * statistics.leverage.mean()
        error, kind = (self.y - self.x @ solution.theta)[live], self.kind[live]
        outside = {}
        for tail in tails:
            shift = self.x[live] @ draw_gaussian(posterior, solution, MEMBERS, SEED, tail=tail).T
            outside[tail] = (error < shift.min(axis=1)) | (error > shift.max(axis=1))
        return HeldOut(error, posterior.spread(z[live]), posterior.noise.of(kind), kind, "held out"), outside


@dataclass(frozen=True)
class Outer:
    """Outer fold k of a data set: inner folds to choose by, and the rows to predict."""

    rows: ArrayRows
    folds: int
    k: int
    seen: dict[tuple[float | str, ...], list[HeldOut]] = field(default_factory=dict)

    @cached_property
    def whole(self) -> Split:
        return Split.of(self.rows, folds_of(self.rows.table.config, self.folds, SEED) == self.k)

    @property
    def inner(self) -> list[Split]:
        return self.whole.folds(self.folds)

    def refits(self, pick: Pick) -> list[HeldOut]:
        key = tuple(pick[name] for name in OF_POSTERIOR)
        if key not in self.seen:
            self.seen[key] = [split.predict(pick)[0] for split in self.inner]
        return self.seen[key]

    @cached_property
    def members(self) -> list[tuple[HeldOut, dict[float, np.ndarray]]]:
        """Inner folds at the defaults with the rows outside members of each tail."""
        return [split.predict(DEFAULT, [float(tail) for tail in CANDIDATES["tails"]]) for split in self.inner]

    def scores(self, choice: str, value: float | str) -> Floats:
        """Score of one candidate on each inner fold."""
        if choice == "tails":
            return np.array([excess(h, outside[float(value)]) for h, outside in self.members])
        pick = {**DEFAULT, choice: value}
        refits = self.refits(pick)
        if choice == "source":
            stds = [calibrated(h, split.calibration(pick)) for h, split in zip(refits, self.inner, strict=True)]
            return np.array([gaussian_score(h.error, std, h.kind) for h, std in zip(refits, stds, strict=True)])
        if choice == "alpha":
            return np.array(
                [
                    gaussian_score(h.error, calibrated(h, others(refits, j), str(value)), h.kind, (FORCE,))
                    for j, h in enumerate(refits)
                ]
            )
        return np.array([gaussian_score(h.error, np.hypot(h.spread, h.floor), h.kind) for h in refits])

    def predict(self, pick: Pick) -> Predicted:
        tail = float(pick["tails"])
        held_out, outside = self.whole.predict(pick, [tail])
        std = calibrated(held_out, self.whole.calibration(pick), str(pick["alpha"]))
        return Predicted(held_out.error, np.hypot(held_out.spread, held_out.floor), std, outside[tail], held_out.kind)


@dataclass(frozen=True)
class Predicted:
    """Rows of outer folds: error, error bars before and after calibration, outside the members, kind."""

    error: Floats
    raw: Floats
    calibrated: Floats
    outside: np.ndarray
    kind: Ints


def calibrated(held_out: HeldOut, on: HeldOut, alpha: str = str(DEFAULT["alpha"])) -> Floats:
    """Error bars of `held_out` with α from `on`, that of forces by the rule named."""
    found, at = calibrate(on), on.kind == FORCE
    found = replace(found, alpha_force=ALPHAS[alpha](np.abs(on.error[at]), on.spread[at], on.floor[at]))
    return found.error_bars(held_out.spread, held_out.floor, held_out.kind)


def gaussian_score(error: Floats, std: Floats, kind: Ints, kinds: Sequence[int] = (ENERGY, FORCE)) -> float:
    return float(np.mean([metrics.nll(error[kind == of], std[kind == of]) for of in kinds]))


def excess(h: HeldOut, outside: np.ndarray) -> float:
    """Share of references outside the members over the share allowed, the worse of energies and forces."""
    return max(float(outside[h.kind == kind].mean()) / share for kind, share in ALLOWED.items())


def others(parts: Sequence[HeldOut], j: int) -> HeldOut:
    return HeldOut.joined([part for i, part in enumerate(parts) if i != j], "refits")


def best(scores: Mapping[str, Floats]) -> Pick:
    """The candidate of each choice with the smallest mean score; scores (candidates, …) of each choice."""
    won = {c: CANDIDATES[c][winner(c, s.reshape(len(s), -1).mean(axis=1))] for c, s in scores.items()}
    return {**DEFAULT, **won}


def winner(choice: str, score: Floats) -> int:
    """Where the smallest of the scores of a choice stands; the default wins a tie, or the last tail that is allowed."""
    if choice == "tails":
        allowed = np.flatnonzero(score <= 1.0)
        return int(allowed[-1] if len(allowed) else np.argmin(score))
    default = CANDIDATES[choice].index(DEFAULT[choice])
    return default if score[default] <= score.min() else int(np.argmin(score))


def outer_line(name: str, how: str, folds: Sequence[Predicted], base: Sequence[Predicted]) -> str:
    cells = []
    for kind in (ENERGY, FORCE):
        e, raw, cal, out, reference = (
            np.concatenate([getattr(p, part)[p.kind == kind] for p in of])
            for of, part in (
                (folds, "error"),
                (folds, "raw"),
                (folds, "calibrated"),
                (folds, "outside"),
                (base, "calibrated"),
            )
        )
        change = metrics.crps(e, cal) / metrics.crps(e, reference) - 1
        within = [100 * metrics.coverage(e, cal, k) for k in (1.0, 2.0)]
        cells.append(
            f"{metrics.rms_z(e, raw):.2f} | {metrics.rms_z(e, cal):.2f} | {within[0]:.1f}, {within[1]:.1f} |"
            f" {100 * out.mean():.2f} | {metrics.ence(e, cal):.3f} | {100 * change:+.2f}"
        )
    return f"| {name} | {how} | {' | '.join(cells)} |"


def parse(text: str) -> tuple[Path, dict[str, str]]:
    path, *options = text.split(",")
    return Path(path), dict(option.split("=", 1) for option in options)


def rows_of(path: Path, extra: Mapping[str, str], twojmax: int, *, quadratic: bool = False) -> ArrayRows:
    """Rows of a data set named on the command line."""
    snap = SnapSettings(twojmax=twojmax, rcut=float(extra.get("rcut", 4.7)), quadratic=quadratic)
    zbl = [float(r) for r in extra["zbl"].split(":")] if "zbl" in extra else []
    return load(path, snap, every=int(extra.get("every", 1)), zbl=zbl)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=parse, metavar="FILE[,every=N][,rcut=Å][,zbl=INNER:OUTER]")
    parser.add_argument("--twojmax", type=int, default=8)
    parser.add_argument("--quadratic", action="store_true")
    parser.add_argument("--folds", type=int, default=5, help="outer, and inner")
    parser.add_argument("--choices", nargs="+", default=list(CANDIDATES), choices=list(CANDIDATES))
    options = parser.parse_args()
    grid = {choice: CANDIDATES[choice] for choice in options.choices}
    sets: dict[str, ArrayRows] = {}
    outers: dict[str, list[Outer]] = {}
    scores: dict[str, dict[str, Floats]] = {}
    predicted: dict[str, dict[str, list[Predicted]]] = {}
    for path, extra in options.data:
        start = time.perf_counter()
        name = path.name.split(".")[0]
        sets[name] = rows_of(path, extra, options.twojmax, quadratic=options.quadratic)
        found, predicted[name] = [], {"default": [], "nested": [], "other sets": []}
        outers[name] = [Outer(sets[name], options.folds, k) for k in range(options.folds)]
        for k, outer in enumerate(outers[name]):
            found.append({c: np.array([outer.scores(c, v) for v in values]) for c, values in grid.items()})
            pick = best(found[-1])
            predicted[name]["default"].append(outer.predict(DEFAULT))
            predicted[name]["nested"].append(outer.predict(pick))
            print(f"{name} fold {k + 1}: {dict(pick)}", flush=True)
        scores[name] = {c: np.stack([f[c] for f in found], axis=1) for c in grid}  # (candidates, outer, inner)
        size = f"{len(sets[name].table)} rows, {sets[name].n_weights} weights"
        print(f"{name}: {size}, {time.perf_counter() - start:.0f} s", flush=True)
        for choice, values in grid.items():
            against = scores[name][choice] - scores[name][choice][values.index(DEFAULT[choice])]
            error = against.std(axis=(1, 2)) / np.sqrt(against[0].size)
            pairs = zip(values, against.mean(axis=(1, 2)), error, strict=True)
            print(f"  {choice}: " + ", ".join(f"{v} {1000 * m:+.1f}±{1000 * s:.1f}" for v, m, s in pairs))
    print("\n| choice | default | " + " | ".join(sets) + " |\n|---|---|" + "---|" * len(sets))
    elsewhere: dict[str, Pick] = {}
    for name in sets:
        rest = [scores[other] for other in sets if other != name] or [scores[name]]
        elsewhere[name] = best({c: np.mean([s[c].mean(axis=(1, 2)) for s in rest], axis=0) for c in grid})
    for choice, values in grid.items():
        cells = []
        for name in sets:
            own = scores[name][choice]
            won = [winner(choice, own[:, k].mean(axis=1)) for k in range(options.folds)]
            picks = [values[i] for i in won]
            gain = own[values.index(DEFAULT[choice])] - own[won, np.arange(options.folds)]
            se = gain.std() / np.sqrt(gain.size)
            listed = ", ".join(f"{p:g}" if isinstance(p, float | int) else p for p in picks)
            other = elsewhere[name][choice]
            other = f"{other:g}" if isinstance(other, float | int) else other
            cells.append(f"{listed}; gain {gain.mean():.4f} ± {se:.4f}; others: {other}")
        print(f"| {choice} | {DEFAULT[choice]} | {' | '.join(cells)} |")
    columns = "rms z | calibrated | ±1σ, ±2σ % | envelope % | ENCE | CRPS %"
    print(f"\n| set | choices | energies: {columns} | forces: {columns} |\n|---|---|" + "---|" * 12)
    for name in sets:
        predicted[name]["other sets"] = [outer.predict(elsewhere[name]) for outer in outers[name]]
        for how, folds in predicted[name].items():
            print(outer_line(name, how, folds, predicted[name]["default"]), flush=True)


if __name__ == "__main__":
    main()
