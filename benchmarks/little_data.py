"""Error bars of fits to few rows for each weight, on random subsets of a training pool, judged on a fixed test set.

    python benchmarks/little_data.py                                    # generated, and energies of data/W_gpaw
    python benchmarks/little_data.py --copper Cu_ACE_energies_pops.npz  # and popsregression's own example

    generated   300 random cosines of six variables, the faster the smaller; the 35 slowest are fitted
    tungsten    energies of data/W_gpaw, SNAP with 2J = 6 (31 weights); a third of the configurations are the test set
    copper      35 leading principal components of the 267 ACE features of the pool of 700 energies, 300 to judge

rms z of the test set, its median over subsets and the range: bars as they come (raw), scaled by α of refits without
each of five folds alone, and by the α that a fit takes, in which the belief in the raw bars counts for 50 rows.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mliuq.descriptor.settings import SnapSettings
from mliuq.judging import metrics
from mliuq.posterior.calibration import PRIOR, calibrate
from mliuq.posterior.gaussian import fit_gaussian
from mliuq.posterior.left_out import left_out_rows
from mliuq.posterior.refits import refitted
from mliuq.posterior.settings import PosteriorSettings
from mliuq.regression.loco import examine
from mliuq.regression.rows import ENERGY, ArrayRows, Floats
from mliuq.regression.solver import solve

SHIPPED = Path(__file__).resolve().parents[1] / "data" / "W_gpaw" / "W_gpaw.xyz.gz"
RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0, 20.0)


@dataclass(frozen=True)
class Problem:
    """Energies to fit and to judge by."""

    x: Floats
    y: Floats
    x_test: Floats
    y_test: Floats


def generated(weights: int = 35, terms: int = 300, pool: int = 700, test: int = 300) -> Problem:
    rng = np.random.default_rng(0)
    variables = rng.standard_normal((pool + test, 6))
    frequency = rng.standard_normal((6, terms))
    frequency = frequency[:, np.argsort(np.sum(frequency**2, axis=0))] * np.linspace(0.05, 1.0, terms)
    features = np.cos(variables @ frequency + rng.uniform(0, 2 * np.pi, terms))
    y = features @ (rng.standard_normal(terms) / np.arange(1, terms + 1))
    return Problem(features[:pool, :weights], y[:pool], features[pool:, :weights], y[pool:])


def tungsten() -> Problem:
    from posteriors import load

    rows, _ = load(SHIPPED, SnapSettings(twojmax=6, rcut=4.7))
    at = rows.table.kind == ENERGY
    x, y = np.concatenate([block.x for block in rows.blocks()])[at], rows.table.y[at]
    order = np.random.default_rng(0).permutation(len(y))
    test, pool = order[: len(y) // 3], order[len(y) // 3 :]
    return Problem(x[pool], y[pool], x[test], y[test])


def copper(path: Path, weights: int = 35) -> Problem:
    data = np.load(path)
    axes = np.linalg.svd(data["A_train_E"], full_matrices=False)[2][:weights].T
    return Problem(data["A_train_E"] @ axes, data["y_train_E"], data["A_test_E"] @ axes, data["y_test_E"])


def rms_z(problem: Problem, ratio: float, seed: int) -> list[float]:
    """Of raw bars, bars scaled by α of refits alone and bars as a fit states them, for one subset."""
    n = round(ratio * problem.x.shape[1])
    chosen = np.random.default_rng(seed).permutation(len(problem.y))[:n]
    rows = ArrayRows(problem.x[chosen], problem.y[chosen], kind=np.full(n, ENERGY), config=np.arange(n))
    solution = solve(rows, quiet=True)
    fitted = fit_gaussian(left_out_rows(rows, solution, examine(rows, solution)))
    error = problem.y_test - problem.x_test @ solution.theta
    spread, floor = fitted.spread(problem.x_test @ solution.whitener), fitted.noise.energy
    held_out, found = refitted(rows, PosteriorSettings()), [metrics.rms_z(error, np.hypot(spread, floor))]
    for prior in (0.0, PRIOR):
        alpha = calibrate(held_out, prior=prior).alpha_energy
        found.append(metrics.rms_z(error, np.hypot(alpha * spread, floor)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copper", type=Path)
    parser.add_argument("--subsets", type=int, default=12)
    parser.add_argument("--only", nargs="+", default=["generated", "tungsten", "copper"])
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    problems = {"generated": generated, "tungsten": tungsten}
    if arguments.copper:
        problems["copper"] = lambda: copper(arguments.copper)
    for name in [name for name in problems if name in arguments.only]:
        problem = problems[name]()
        print(f"\n| {name}: rows for each weight | raw | α of refits | calibrated |\n|---|---|---|---|", flush=True)
        for ratio in RATIOS:
            if ratio * problem.x.shape[1] > len(problem.y):
                break
            subsets = arguments.subsets if ratio * problem.x.shape[1] < 0.9 * len(problem.y) else 1
            found = np.array([rms_z(problem, ratio, seed) for seed in range(subsets)]).T
            cells = (f"{np.median(z):.2f} ({z.min():.2f}–{z.max():.2f})" for z in found)
            print(f"| {ratio:g} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
