"""Error bars of fits to few rows for each weight, on random subsets of a training pool, judged on a fixed test set.

    python benchmarks/little_data.py                                    # generated, and energies of data/W_gpaw
    python benchmarks/little_data.py --copper Cu_ACE_energies_pops.npz  # and popsregression's own example

    generated   300 random cosines of six variables, the faster the smaller; the 35 slowest are fitted
    tungsten    energies of data/W_gpaw, SNAP with 2J = 6 (31 weights); a third of the configurations are the test set
    copper      35 leading principal components of the 267 ACE features of the pool of 700 energies, 300 to judge

Weights by least squares, and under the ridge of largest evidence, one-body energies left free.  rms z of the test set,
its median over subsets, the range over all of them and over the first five, and the share within 0.7-1.4: bars as they
come (raw), scaled by α of refits without each of five folds alone, and by the α that a fit takes, in which the belief
in the raw bars counts for 50 rows.  Errors: median root mean square of the test set.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from mliuq.descriptor.settings import SnapSettings
from mliuq.judging import metrics
from mliuq.posterior.calibration import PRIOR, calibrate
from mliuq.posterior.gaussian import fit_gaussian
from mliuq.posterior.left_out import LeftOutRows, left_out_rows
from mliuq.posterior.refits import RefitSettings, refitted
from mliuq.posterior.settings import PosteriorSettings
from mliuq.regression.evidence import Evidence
from mliuq.regression.loco import examine
from mliuq.regression.protection import Protection
from mliuq.regression.rows import ENERGY, ArrayRows, Floats, Ints
from mliuq.regression.solver import Solution, solve

SHIPPED = Path(__file__).resolve().parents[1] / "data" / "W_gpaw" / "W_gpaw.xyz.gz"
RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
GOAL = (0.7, 1.4)
WEIGHTS: dict[str, float | Literal["evidence"]] = {"least squares": 0.0, "evidence": "evidence"}


@dataclass(frozen=True)
class Problem:
    """Energies to fit and to judge by."""

    x: Floats
    y: Floats
    x_test: Floats
    y_test: Floats
    one_body: tuple[int, ...] = ()  #: columns of one-body energies


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
    return Problem(x[pool], y[pool], x[test], y[test], one_body=(0,))


def copper(path: Path, weights: int = 35) -> Problem:
    data = np.load(path)
    axes = np.linalg.svd(data["A_train_E"], full_matrices=False)[2][:weights].T
    return Problem(data["A_train_E"] @ axes, data["y_train_E"], data["A_test_E"] @ axes, data["y_test_E"])


@dataclass(frozen=True)
class Bars:
    """What a fit to one subset states of the test set, and what it knows of itself.

    Attributes
    ----------
    error, spread, near : (n_test,) errors, spreads without floor, xᵀA⁻¹x
    floor : σ_E
    alpha_refits, alpha : α of refits alone, and with the belief
    solution, left_out, leverage : of the fit
    """

    error: Floats
    spread: Floats
    near: Floats
    floor: float
    alpha_refits: float
    alpha: float
    solution: Solution
    left_out: LeftOutRows
    leverage: Floats

    def rms_z(self, alpha: float) -> float:
        return metrics.rms_z(self.error, np.hypot(alpha * self.spread, self.floor))


def subset(problem: Problem, ratio: float, seed: int) -> Ints:
    """The rows of one subset."""
    return np.random.default_rng(seed).permutation(len(problem.y))[: round(ratio * problem.x.shape[1])]


def fitted(problem: Problem, chosen: Ints, ridge: float | Literal["evidence"]) -> Bars:
    n = len(chosen)
    rows = ArrayRows(problem.x[chosen], problem.y[chosen], kind=np.full(n, ENERGY), config=np.arange(n))
    solution = solve(rows, ridge=ridge, evidence=Evidence(free=problem.one_body), quiet=True)
    statistics = examine(rows, solution)
    left_out = left_out_rows(rows, solution, statistics)
    posterior = fit_gaussian(left_out)
    held_out = refitted(rows, PosteriorSettings(), RefitSettings(ridge, protection=Protection(free=problem.one_body)))
    z = problem.x_test @ solution.whitener
    return Bars(
        problem.y_test - problem.x_test @ solution.theta, posterior.spread(z), np.sum(z**2, axis=1),
        posterior.noise.energy, *(calibrate(held_out, prior=prior).alpha_energy for prior in (0.0, PRIOR)),
        solution, left_out, statistics.leverage,
    )  # fmt: skip


def cell(z: Floats) -> str:
    """Median, range, range of the first five, share within the goal."""
    few = f"; {z[:5].min():.2f}–{z[:5].max():.2f}" if len(z) > 5 else ""
    inside = f"; {100 * np.mean((z >= GOAL[0]) & (z <= GOAL[1])):.0f} %" if len(z) > 5 else ""
    return f"{np.median(z):.2f} ({z.min():.2f}–{z.max():.2f}{few}{inside})" if len(z) > 1 else f"{z[0]:.2f}"


def problems_of(arguments: argparse.Namespace) -> dict[str, Problem]:
    made = {"generated": generated, "tungsten": tungsten}
    if arguments.copper:
        made["copper"] = lambda: copper(arguments.copper)
    return {name: make() for name, make in made.items() if name in arguments.only}


def options(description: str | None, ratios: Sequence[float]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copper", type=Path)
    parser.add_argument("--subsets", type=int, default=50)
    parser.add_argument("--only", nargs="+", default=["generated", "tungsten", "copper"])
    parser.add_argument("--ratios", nargs="+", type=float, default=ratios)
    return parser


def main() -> None:
    arguments = options(__doc__, RATIOS).parse_args()
    logging.disable(logging.WARNING)
    for name, problem in problems_of(arguments).items():
        print(f"\n| {name}: rows for each weight | weights | error | raw | α of refits | calibrated |\n{'|---' * 6}|")
        for ratio in arguments.ratios:
            if ratio * problem.x.shape[1] > len(problem.y):
                break
            subsets = arguments.subsets if ratio * problem.x.shape[1] < 0.9 * len(problem.y) else 1
            for label, ridge in WEIGHTS.items():
                bars = [fitted(problem, subset(problem, ratio, seed), ridge) for seed in range(subsets)]
                error = np.median([metrics.rmse(b.error) for b in bars])
                scaled = [[b.rms_z(a) for a in (1.0, b.alpha_refits, b.alpha)] for b in bars]
                cells = " | ".join(cell(z) for z in np.array(scaled).T)
                print(f"| {ratio:g} | {label} | {error:.3f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
