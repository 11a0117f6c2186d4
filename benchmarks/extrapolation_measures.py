"""How well does each measure of distance from the data rank errors, beside the error bars?

    python benchmarks/extrapolation_measures.py data/W_gpaw/W_gpaw.xyz.gz
    python benchmarks/extrapolation_measures.py Mo.xyz.gz W.xyz.gz:every=12 Ta.xyz.gz:zbl=4.0,4.8:rcut=4.67637:twojmax=6

Configurations are predicted by fits that have not seen them: in folds drawn at random (in distribution), and every
class (`config_type`) of ten configurations and more by the fit to all others (out of distribution).  Ranks are taken
over all of a set together.

- forces: size of the error of the force on an atom against what is said of the atom; atoms whose force is zero by
  symmetry are left out.  σ is the root of the sum of squares of `forces_err`
- energies: error of a configuration per atom against the largest value over its atoms.  σ is `energy_err` per atom

Each cell: Spearman's rank correlation, and the area under the ROC curve for the tenth of largest errors (0.5: no better
than chance).  `density` counts with its sign turned.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import mliuq
import numpy as np
from ase import Atoms
from mliuq.judging import metrics
from mliuq.judging.errortable import predicted_error
from mliuq.posterior.predict import predict
from mliuq.readers import read_structures
from mliuq.regression.rows import ENERGY, FORCE
from mliuq.report.rows import reference_rows

FEWEST = 10
MEASURES = ("σ", "extrapolation", "grade", "density")
Lines = tuple[list[np.ndarray], list[np.ndarray]]


def options_of(text: str) -> tuple[Path, dict[str, str]]:
    path, *extra = text.split(":")
    return Path(path), dict(item.split("=") for item in extra)


def held_out(train: Sequence[Atoms], test: Sequence[Atoms], extra: dict[str, str], lines: Lines) -> None:
    """Add rows (error, σ, extrapolation, grade, −density) of energies and of forces of configurations not fitted."""
    radii = [float(r) for r in extra["zbl"].split(",")] if "zbl" in extra else None
    settings = {
        "snap.twojmax": int(extra.get("twojmax", 8)), "snap.rcut": float(extra.get("rcut", 4.7)),
        "data.test_fraction": 0.0, "posterior.calibrate": False, "solver.threads": 1,
    }  # fmt: skip
    model = mliuq.fit(train, settings=settings, zbl=None if radii is None else (radii[0], radii[1]))
    calculator, theta = mliuq.MLIUQCalculator(model, threads=1), model.theta.ravel()
    assert model.members is not None
    p = predict(reference_rows(model, test).rows, theta, model.members.reshape(model.n_members, -1) - theta)
    bars, live = predicted_error(p, model.noise or {}, None), metrics.informative(p.kind, p.size)
    for config, atoms in enumerate(test):
        found = calculator.results_of(atoms, MEASURES[1:])
        says = np.column_stack([found["extrapolation"], found["grade"], -found["density"]])
        at = p.config == config
        energy, force = at & (p.kind == ENERGY), at & (p.kind == FORCE)
        if energy.any():
            lines[0].append(np.concatenate([np.abs((p.y - p.mean)[energy]), bars[energy], says.max(axis=0)])[None])
        if force.any():
            error, bar = ((a[force].reshape(-1, 3) ** 2).sum(axis=1) ** 0.5 for a in (p.y - p.mean, bars))
            moving = live[force].reshape(-1, 3).any(axis=1)
            lines[1].append(np.column_stack([error, bar, says])[moving])


def table_of(name: str, where: str, lines: Lines) -> None:
    for kind, parts in zip(("energies", "forces"), lines, strict=True):
        rows = np.concatenate(parts)
        cells = []
        for column in range(1, 5):
            rank = metrics.spearman(rows[:, 0], rows[:, column])
            cells.append(f"{rank:.2f}, {metrics.auc_large_errors(rows[:, 0], rows[:, column]):.2f}")
        print(f"| {name} | {where} | {kind} {len(rows)} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="DATA[:every=N][:zbl=INNER,OUTER][:rcut=R][:twojmax=J]")
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    logging.getLogger("mliuq").setLevel(logging.ERROR)
    print("| set | left out | | " + " | ".join(MEASURES) + " |")
    print("|---" * 7 + "|")
    for path, extra in map(options_of, options.data):
        structures = read_structures(path)[:: int(extra.get("every", 1))]
        name = path.name.split(".")[0].split("_")[0]
        fold = np.random.default_rng(0).permutation(len(structures)) % options.folds
        inside: Lines = ([], [])
        for k in range(options.folds):
            parts = [[a for a, f in zip(structures, fold, strict=True) if bool(f == k) is out] for out in (False, True)]
            held_out(parts[0], parts[1], extra, inside)
        table_of(name, "at random", inside)
        classes = [str(atoms.info.get("config_type", "")) for atoms in structures]
        outside: Lines = ([], [])
        for one in sorted(c for c, n in Counter(classes).items() if n >= FEWEST):
            parts = [
                [a for a, c in zip(structures, classes, strict=True) if (c == one) is out] for out in (False, True)
            ]
            held_out(parts[0], parts[1], extra, outside)
        table_of(name, "by class", outside)


if __name__ == "__main__":
    main()
