"""Labels needed to reach a force error: chosen by `mliuq select` against drawn at random, from the same dynamics.

    python benchmarks/active_learning.py                       # five seeds, some 40 minutes on one thread
    python benchmarks/active_learning.py --seeds 1 --labels 30 # a look

Copper, the EAM of Mishin et al. (2001) as the reference.  For each seed, dynamics of its own makes a pool: 200 frames
of the crystal at 300 to 1200 K, and eight each of a vacancy, a surface, an interstitial and the melt.  Every way begins
with the same four frames of the crystal at 300 K and takes three labels at a time, refitting after each batch
(`mliuq.fit`, linear 2J = 8).  The test set is the same for all: 24 frames of each environment from dynamics of other
seeds, 48 of the crystal.

The target of an environment is 1.2 times the force RMSE of the fit to the whole pool.  "Needed" is the number of labels
from which on the error stays below it; where it never does, one batch more than were made counts.  Random draws are
repeated, and their median is the seed's.
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
from mliuq.fitting.data import FitData, held_out_rows
from mliuq.fitting.settings import FitSettings
from mliuq.learning import select
from mliuq.regression.rows import KINDS

RARE = ("vacancy", "surface", "interstitial", "melt")
FIRST, BATCH, SLACK = 4, 3, 1.2
SETTINGS = FitSettings().updated(
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
Errors = dict[str, float]


class TestSet:
    """Force rows of the test set, made once."""

    def __init__(self, structures: Sequence[Atoms]) -> None:
        rows = held_out_rows(FitData((), structures, {}), SETTINGS.snap.params(structures), None, SETTINGS)
        force = rows.table.kind == KINDS.index("force")
        self._x = np.concatenate([rows.block(index).x for index in range(rows.n_blocks)])[force]
        self._y = rows.table.y[force]
        self._kind = np.array([atoms.info["config_type"] for atoms in structures])[rows.table.config[force]]

    def errors(self, model: mliuq.Model) -> Errors:
        """Force RMSE (eV/Å) of every environment."""
        square = (self._x @ model.theta.ravel() - self._y) ** 2
        return {kind: float(np.sqrt(square[self._kind == kind].mean())) for kind in ("bulk", *RARE)}


def curve(pool: Sequence[Atoms], test: TestSet, criterion: str, labels: int, seed: int) -> list[Errors]:
    """Errors after FIRST, FIRST + BATCH, … labels."""
    first = [i for i, atoms in enumerate(pool) if atoms.info["config_type"] == "bulk"][:FIRST]  # coldest first
    known = [pool[i] for i in first]
    rest = [atoms for i, atoms in enumerate(pool) if i not in first]
    order = np.random.default_rng(seed).permutation(len(rest))
    found = []
    while True:
        model = mliuq.fit(known, settings=SETTINGS)
        found.append(test.errors(model))
        if len(known) >= labels:
            return found
        if criterion == "random":
            known = [pool[i] for i in first] + [rest[i] for i in order[: len(known) - FIRST + BATCH]]
        else:
            chosen = select(rest, model, BATCH, criterion=criterion, known=known, threads=1)
            known = known + [rest[i] for i in chosen.indices]


def needed(found: Sequence[Errors], kind: str, target: float) -> float:
    """Labels from which on the error stays below the target; one batch more than there were where it does not."""
    above = [i for i, error in enumerate(found) if error[kind] > target]
    return FIRST + BATCH * (above[-1] + 1 if above else 0)


def dynamics(folder: Path, name: str, seed: int, frames: dict[str, int], apart: int) -> list[Atoms]:
    """Frames of every environment, kept in a file for the next time."""
    file = folder / f"{name}.xyz"
    if not file.is_file():
        write(file, [a for kind, n in frames.items() for a in trajectory(kind, n, seed, apart=apart)])
    return list(read(file, ":"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--labels", type=int, default=46)
    parser.add_argument("--draws", type=int, default=3, help="random orders for each seed")
    parser.add_argument("--criteria", nargs="+", default=["information", "maxvol"])
    parser.add_argument("--folder", type=Path, default=Path("active_learning"), help="for dynamics and errors")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    options.folder.mkdir(exist_ok=True)
    test = TestSet(dynamics(options.folder, "test", 1000, {"bulk": 48} | dict.fromkeys(RARE, 24), 50))
    ratios: dict[tuple[str, str], list[float]] = {}
    counts: dict[tuple[str, str], list[float]] = {}
    for seed in range(options.seeds):
        pool = dynamics(options.folder, f"pool_{seed}", seed, {"bulk": 200} | dict.fromkeys(RARE, 8), 25)
        best = test.errors(mliuq.fit(pool, settings=SETTINGS))
        runs = {name: [curve(pool, test, name, options.labels, seed)] for name in options.criteria}
        runs["random"] = [curve(pool, test, "random", options.labels, 100 * seed + k) for k in range(options.draws)]
        kept = {"seed": seed, "whole pool": best, **runs}
        (options.folder / f"errors_{seed}.json").write_text(json.dumps(kept, indent=1))
        for kind in ("bulk", *RARE):
            for name, curves in runs.items():
                count = float(np.median([needed(found, kind, SLACK * best[kind]) for found in curves]))
                counts.setdefault((kind, name), []).append(count)
            for name in options.criteria:
                ratio = counts[kind, "random"][-1] / counts[kind, name][-1]
                ratios.setdefault((kind, name), []).append(ratio)
        show(counts, ratios, options.criteria)


def show(
    counts: dict[tuple[str, str], list[float]], ratios: dict[tuple[str, str], list[float]], criteria: Sequence[str]
) -> None:
    """Print the table of the seeds so far."""
    print(f"\nseeds: {len(counts['bulk', 'random'])}")
    print("| environment | random | " + " | ".join(f"{c} | ratio" for c in criteria) + " |")
    print("|---|---|" + "---|---|" * len(criteria))
    for kind in ("bulk", *RARE):
        cells = [spread(counts[kind, "random"])]
        for name in criteria:
            cells += [spread(counts[kind, name]), spread(ratios[kind, name])]
        print(f"| {kind} | " + " | ".join(cells) + " |", flush=True)


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{np.median(values):.3g} ({min(values):.3g}–{max(values):.3g})"


if __name__ == "__main__":
    main()
