"""Why ±1σ holds too few energies and ±2σ too many: errors drawn from the posterior itself, and S fitted to them again.

    python benchmarks/energy_shape.py data/W_gpaw/W_gpaw.xyz.gz Mo.xyz.gz W.xyz.gz,every=8 \\
        Ta.xyz.gz,rcut=4.676,zbl=4.0:4.8

For each of five folds the posterior of the other configurations is taken as the truth.  Moves δ ~ N(0, S) are drawn

    alone       for every configuration: errors of different configurations are independent
    by class    for every config_type: configurations of a class err alike

errors z·δ + noise of left-out training rows and of the fold follow, S and floors are fitted to the former anew and
predict the latter.  What bars do to errors that are drawn alone is due to S being fitted to few of them; what more they
do to errors by class is due to their being alike.  Beside it the errors that there are.  Energies: rms z, ±1σ, ±2σ (%).
"""

from __future__ import annotations

import argparse
import logging

import numpy as np
from mliuq.descriptor.settings import SnapSettings
from mliuq.judging import metrics
from mliuq.posterior.calibration import folds_of
from mliuq.posterior.gaussian import GaussianPosterior, GaussianSettings, fit_gaussian
from mliuq.posterior.left_out import LeftOutRows, LeftOutSettings, left_out_rows
from mliuq.regression.loco import examine
from mliuq.regression.rows import ENERGY, ArrayRows, Floats, Ints, SubsetRows
from mliuq.regression.solver import solve
from posterior_choices import parse
from posteriors import load

ROWS = LeftOutSettings(rows_per_kind=3000)  # of forces: they are not what is looked at


def errors_of(truth: GaussianPosterior, data: LeftOutRows, unit: Ints, draws: Floats, noise: Floats) -> Floats:
    """Errors of rows whose weights are off by the draw of their unit, and that are noisy."""
    move = draws @ truth.factor.T
    return np.einsum("rp,rp->r", data.z, move[unit]) + truth.noise.of(data.kind) * noise


def energies(posterior: GaussianPosterior, data: LeftOutRows, error: Floats) -> Floats:
    return (error / posterior.std(data.z, data.kind))[data.kind == ENERGY]


def study(rows: ArrayRows, labels: list[str], folds: int, repeats: int, prior: float | None) -> dict[str, Floats]:
    """z of energies of all folds: of the errors there are, and of errors drawn alone and by class."""
    table, rng = rows.table, np.random.default_rng(0)
    x = np.concatenate([block.x for block in rows.blocks()])
    classes = np.unique(labels, return_inverse=True)[1]
    fold = folds_of(table.config, folds, 0)
    found: dict[str, list[Floats]] = {"as they are": [], "alone": [], "by class": []}
    for k in range(folds):
        rest = SubsetRows(rows, fold != k)
        solution = solve(rest, quiet=True)
        statistics = examine(rest, solution)
        seen = left_out_rows(rest, solution, statistics, ROWS)
        settings = GaussianSettings(prior=None if prior is None else prior * seen.z.shape[1] / len(seen.z))
        truth = fit_gaussian(seen, settings)
        at = (fold == k) & (table.kind == ENERGY)
        new = LeftOutRows(
            x[at] @ solution.whitener, table.y[at] - x[at] @ solution.theta, table.kind[at], table.config[at]
        )
        found["as they are"].append(energies(truth, new, new.e))
        for how, unit in (("alone", np.arange(len(classes))), ("by class", classes)):
            for _ in range(repeats):
                draws = rng.standard_normal((int(unit.max()) + 1, seen.z.shape[1]))
                own, other = (
                    errors_of(truth, data, unit[data.config], draws, rng.standard_normal(len(data.e)))
                    for data in (seen, new)
                )
                again = fit_gaussian(LeftOutRows(seen.z, own, seen.kind, seen.config), settings)
                found[how].append(energies(again, new, other))
    return {how: np.concatenate(parts) for how, parts in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=parse, metavar="FILE[,every=N][,rcut=Å][,zbl=INNER:OUTER]")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--prior", type=float, help="rows in each direction; the default of the posterior when absent")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    print("| | as they are | drawn alone | drawn by class |\n|---|---|---|---|")
    for path, extra in arguments.data:
        snap = SnapSettings(twojmax=8, rcut=float(extra.get("rcut", 4.7)))
        zbl = [float(r) for r in extra["zbl"].split(":")] if "zbl" in extra else []
        rows, labels = load(path, snap, every=int(extra.get("every", 1)), zbl=zbl)
        cells = []
        for z in study(rows, labels, arguments.folds, arguments.repeats, arguments.prior).values():
            within = ", ".join(f"{100 * np.mean(np.abs(z) <= k):.0f}" for k in (1, 2))
            cells.append(f"{metrics.rmse(z):.2f}; {within}")
        print(f"| {path.name.split('.')[0]} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
