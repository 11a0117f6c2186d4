"""Labels needed to reach a force error: chosen by `mliuq select` against drawn at random, from the same dynamics.

    python benchmarks/active_learning.py               # linear form, five seeds: 16 minutes beside other work
    python benchmarks/active_learning.py --quadratic   # 496 weights: an hour
    python benchmarks/active_learning.py --seeds 10 --ways representation:represent   # another seed, a look
    python benchmarks/active_learning.py --known       # what a choice would need that knew labels and test set

Copper, the EAM of Mishin et al. (2001) as the reference.  For each seed, dynamics of its own makes a pool: 200 frames
of the crystal at 300 to 1200 K, and eight each of a vacancy, a surface, an interstitial and the melt.  The test set is
the same for all: 24 frames of each environment from dynamics of other seeds, 48 of the crystal.

Every way begins with the same two frames of the crystal at 300 K.  The linear form (2J = 8, 56 weights) is fitted anew
after every label, the quadratic one (2J = 6, 496 weights) after every fourth: a count says no more than the steps it is
made in, and a beginning that is common to all ways hides a ratio.  Frames are chosen in one batch, each as if those
before it were labelled.  "way:represent" fits with the pool as `represent`.

The target of an environment is `--slack` times the force RMSE of the fit to the whole pool.  "Needed" is the number of
labels from which on the error stays below it; where it never does, one step more than were made counts.  Random draws
are repeated, and their median is the seed's.  "all rare" needs all four rare environments below their targets.

Rows of the pool are made once, and fits go through the solver with them; the last fit of every way is compared with
that of `mliuq.fit`.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import mliuq
import numpy as np
from ase import Atoms
from ase.io import read, write
from copper_eam import trajectory
from mliuq.fitting.data import FitData, held_out_rows, training_rows
from mliuq.fitting.settings import FitSettings
from mliuq.fitting.solving import solve_protected
from mliuq.learning import select
from mliuq.regression.distributed import Team
from mliuq.regression.representation import Overlap, Population
from mliuq.regression.rows import KINDS, ArrayRows, Floats
from mliuq.regression.solver import triangularise

RARE = ("vacancy", "surface", "interstitial", "melt")
ENVIRONMENTS = ("bulk", *RARE)
FIRST = 2
WAYS = ("information", "representation:represent", "information:represent")
LINEAR = FitSettings().updated(
    {
        "snap.twojmax": 8,
        "snap.rcut": 4.6,
        "weights.energy": 1000.0,
        "weights.force": 1.0,
        "posterior.members": 0,
        "posterior.calibrate": False,
        "data.test_fraction": 0.0,
        "solver.threads": 1,
    }
)
QUADRATIC = LINEAR.updated({"snap.twojmax": 6, "snap.quadratic": True})
Errors = dict[str, float]


class TestSet:
    """Force rows of the test set, made once."""

    def __init__(self, structures: Sequence[Atoms], settings: FitSettings) -> None:
        rows = held_out_rows(FitData((), structures, {}), settings.snap.params(structures), None, settings)
        force = rows.table.kind == KINDS.index("force")
        self._x = np.concatenate([rows.block(index).x for index in range(rows.n_blocks)])[force]
        self._y = rows.table.y[force]
        self._kind = np.array([atoms.info["config_type"] for atoms in structures])[rows.table.config[force]]

    def errors(self, theta: Floats) -> Errors:
        """Force RMSE (eV/Å) of every environment."""
        square = (self._x @ theta - self._y) ** 2
        return {kind: float(np.sqrt(square[self._kind == kind].mean())) for kind in ENVIRONMENTS}


class Pool:
    """Frames with their rows, made once."""

    def __init__(self, frames: Sequence[Atoms], settings: FitSettings) -> None:
        self.frames, self.settings = frames, settings
        self.params = settings.snap.params(frames)
        rows = training_rows(FitData(frames, (), {}), self.params, None, settings)
        self._x, self._table = np.concatenate([rows.block(i).x for i in range(rows.n_blocks)]), rows.table
        self._at = [np.flatnonzero(self._table.config == i) for i in range(len(frames))]
        population = Population.of(frames, self.params, threads=1)
        self.z = list(population.seen(frames))

    def theta(self, labelled: Sequence[int], stands_for: Floats | None = None) -> Floats:
        """Best-fit weights of what `mliuq.fit` makes of these frames."""
        at = np.concatenate([self._at[i] for i in labelled])
        config = np.repeat(np.arange(len(labelled)), [len(self._at[i]) for i in labelled])
        factor = 1.0 if stands_for is None else (stands_for / stands_for.mean())[config]
        rows = ArrayRows(self._x[at], self._table.y[at], factor * self._table.w[at], self._table.kind[at], config)
        known = [self.frames[i] for i in labelled]
        return solve_protected(rows, triangularise(rows, Team()), known, self.params, self.settings, Team())[0].theta

    def fitted(self, labelled: Sequence[int], represent: bool) -> mliuq.Model:
        """What `mliuq.fit` makes of these frames."""
        known = [self.frames[i] for i in labelled]
        return mliuq.fit(known, settings=self.settings, represent=self.frames if represent else None)

    def first(self) -> list[int]:
        """What every way begins with."""
        crystal = [i for i, atoms in enumerate(self.frames) if atoms.info["config_type"] == "bulk"]
        return crystal[:FIRST]  # those at 300 K come first

    def chosen(self, criterion: str, labels: int, seed: int) -> list[int]:
        """Frames in the order they are labelled."""
        order = self.first()
        if criterion == "random":
            rest = [int(i) for i in np.random.default_rng(seed).permutation(len(self.frames)) if i not in order]
            return order + rest[: labels - len(order)]
        model, known = self.fitted(order, False), [self.frames[i] for i in order]
        found = select(self.frames, model, labels - len(order), criterion=criterion, known=known, threads=1)  # type: ignore[arg-type]
        return order + list(found.indices)

    def curve(self, way: str, test: TestSet, labels: int, step: int, seed: int) -> list[Errors]:
        """Errors after FIRST, FIRST + step, … labels."""
        criterion, _, represent = way.partition(":")
        order = self.chosen(criterion, labels, seed)
        overlap, found = Overlap(), []
        for n in range(1, len(order) + 1):
            overlap.add(self.z[order[n - 1]])
            if n >= FIRST and (n - FIRST) % step == 0:
                theta, last = self.theta(order[:n], overlap.weights() if represent else None), n
                found.append(test.errors(theta))
        same = test.errors(self.fitted(order[:last], bool(represent)).theta.ravel())
        for kind, error in found[-1].items():
            np.testing.assert_allclose(error, same[kind], rtol=1e-6)
        return found

    def fewest(self, test: TestSet, kind: str, target: float) -> int:
        """Labels that a greedy choice would need that knew all labels and the test set: no choice can hope for less."""
        order = self.first()
        while test.errors(self.theta(order))[kind] > target:
            left = [i for i in range(len(self.frames)) if i not in order]
            order.append(min(left, key=lambda i: test.errors(self.theta([*order, i]))[kind]))
        return len(order)


def needed(found: Sequence[Errors], kinds: Sequence[str], targets: Errors, step: int) -> int:
    """Labels from which on errors stay below their targets; one step more than there were where they do not."""
    above = [i for i, error in enumerate(found) if any(error[kind] > targets[kind] for kind in kinds)]
    return FIRST + step * (above[-1] + 1 if above else 0)


def dynamics(folder: Path, name: str, seed: int, frames: dict[str, int], apart: int) -> list[Atoms]:
    """Frames of every environment, kept in a file for the next time."""
    file = folder / f"{name}.xyz"
    if not file.is_file():
        write(file, [a for kind, n in frames.items() for a in trajectory(kind, n, seed, apart=apart)])
    return list(read(file, ":"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--quadratic", action="store_true", help="2J = 6 and quadratic, for linear 2J = 8")
    parser.add_argument("--labels", type=int, help="60, or 90 for the quadratic form")
    parser.add_argument("--draws", type=int, default=5, help="random orders for each seed")
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    parser.add_argument("--known", action="store_true", help="only this: the fewest labels, were all of them known")
    parser.add_argument("--slack", type=float, nargs="+", default=[1.2, 1.1])
    parser.add_argument("--folder", type=Path, default=Path("active_learning"), help="for dynamics and errors")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    options.folder.mkdir(exist_ok=True)
    settings, step = (QUADRATIC, 4) if options.quadratic else (LINEAR, 1)
    labels = options.labels or (90 if options.quadratic else 60)
    test = TestSet(dynamics(options.folder, "test", 1000, {"bulk": 48} | dict.fromkeys(RARE, 24), 50), settings)
    seeds: list[dict[str, list[list[Errors]]]] = []
    for seed in options.seeds:
        frames = dynamics(options.folder, f"pool_{seed}", seed, {"bulk": 200} | dict.fromkeys(RARE, 8), 25)
        pool = Pool(frames, settings)
        whole = test.errors(pool.theta(range(len(pool.frames))))
        if options.known:
            for slack in options.slack:
                fewest = {kind: pool.fewest(test, kind, slack * whole[kind]) for kind in ENVIRONMENTS}
                print(f"seed {seed}, target {slack:g} times the error of the whole pool: {fewest}", flush=True)
            continue
        runs = {way: [pool.curve(way, test, labels, step, seed)] for way in options.ways}
        runs["random"] = [pool.curve("random", test, labels, step, 100 * seed + k) for k in range(options.draws)]
        seeds.append(runs | {"whole pool": [[whole]]})
        form = "quadratic" if options.quadratic else "linear"
        (options.folder / f"errors_{form}_{seed}.json").write_text(json.dumps(seeds[-1], indent=1))
        for slack in options.slack:
            show(seeds, options.ways, slack, step)


def show(seeds: Sequence[dict[str, list[list[Errors]]]], ways: Sequence[str], slack: float, step: int) -> None:
    """Print the table of the seeds so far."""
    print(f"\nseeds: {len(seeds)}, target {slack:g} times the error of the whole pool")
    print("| environment | random | " + " | ".join(f"`{way}` | ratio" for way in ways) + " |")
    print("|---|---|" + "---|---|" * len(ways))
    for name, kinds in {**{kind: (kind,) for kind in ENVIRONMENTS}, "all rare": RARE}.items():
        counts = {way: [] for way in ("random", *ways)}
        for runs in seeds:
            targets = {kind: slack * error for kind, error in runs["whole pool"][0][0].items()}
            for way, found in counts.items():
                found.append(float(np.median([needed(curve, kinds, targets, step) for curve in runs[way]])))
        cells = [spread(counts["random"])]
        for way in ways:
            cells += [spread(counts[way]), spread(np.divide(counts["random"], counts[way]))]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def spread(values: Sequence[float] | Floats) -> str:
    """Median and range."""
    return f"{np.median(values):.3g} ({min(values):.3g}–{max(values):.3g})"


if __name__ == "__main__":
    main()
