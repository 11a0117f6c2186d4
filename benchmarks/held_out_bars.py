"""Error bars that the calculator states for configurations that no fit has seen: energies, forces, stress.

    python benchmarks/held_out_bars.py data/W_gpaw/W_gpaw.xyz.gz --stress
    python benchmarks/held_out_bars.py Mo.xyz.gz Ta.xyz.gz --every 2
    python benchmarks/held_out_bars.py Ta.xyz.gz --zbl 4.0 4.8 --rcut 4.67637 --twojmax 6

Configurations are dealt into folds; each fold is predicted by `mliuq.fit` of the others with its default settings
(`--stress`: stress weights chosen along), through `MLIUQCalculator`: energy_err, forces_err, stress_err and the
members' smallest and largest values.  Rows that are zero by symmetry are left out and counted.

Columns: rows (and how many were left out); rms of error/err over all and its range over folds; coverage of ±1 and
±2 err; references outside of the members; coverage of `calculator.interval(…, level=0.9)`; all of it for single values:
an energy, a component of a force, a component of stress.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import mliuq
import numpy as np
from ase import Atoms
from mliuq.core import RowBuilder
from mliuq.descriptor.neighbours import pack
from mliuq.judging import metrics
from mliuq.readers import read_structures
from mliuq.regression.rows import KINDS

QUANTITIES = ("energy", "forces", "stress")
LEVEL = 0.9
# Columns of what is collected for each row.
KIND, FOLD, NORM, ERROR, ERR, INSIDE, HELD = range(7)


def rows_of(atoms: Atoms, calculator: mliuq.MLIUQCalculator, quantities: Sequence[str], fold: int) -> np.ndarray:
    """One line for each reference value of `atoms`, shape (rows, 7)."""
    model, reference = calculator.model, atoms.calc.results
    structure = pack(atoms, model.params)
    design = RowBuilder(model.params.core).build([structure], stress="stress" in quantities)[0]
    norms = np.linalg.norm(design, axis=1)
    n = len(atoms)
    place = {"energy": slice(0, 1), "forces": slice(1, 1 + 3 * n), "stress": slice(1 + 3 * n, 7 + 3 * n)}
    found = []
    for kind, name in enumerate(QUANTITIES):
        if name not in quantities or name not in reference:
            continue
        value, err, low, high = (
            np.ravel(calculator.get_property(key, atoms))
            for key in (name, *(f"{name}_{k}" for k in ("err", "min", "max")))
        )
        y = np.ravel(reference[name])
        ends = [np.ravel(end) for end in calculator.interval(name, LEVEL, atoms)]
        found.append(
            np.column_stack(
                [
                    np.full(y.size, kind), np.full(y.size, fold), norms[place[name]], y - value, err,
                    (low <= y) & (y <= high), (ends[0] <= y) & (y <= ends[1]),
                ]
            )
        )  # fmt: skip
    return np.concatenate(found)


def predict(structures: Sequence[Atoms], arguments: argparse.Namespace) -> np.ndarray:
    """Lines of all configurations, each by the fit without its fold."""
    fold = np.random.default_rng(0).permutation(len(structures)) % arguments.folds
    quantities = QUANTITIES if arguments.stress else QUANTITIES[:2]
    settings = {"snap.twojmax": arguments.twojmax, "snap.quadratic": arguments.quadratic}
    if arguments.rcut:
        settings["snap.rcut"] = arguments.rcut
    if arguments.stress:
        settings["weights.stress"] = "auto"
    lines = []
    for k in range(arguments.folds):
        train = [atoms for atoms, f in zip(structures, fold, strict=True) if f != k]
        model = mliuq.fit(train, settings=settings | {"data.test_fraction": 0.0}, zbl=arguments.zbl)
        calculator = mliuq.MLIUQCalculator(model)
        for atoms, f in zip(structures, fold, strict=True):
            if f == k:
                lines.append(rows_of(atoms, calculator, quantities, k))
    return np.concatenate(lines)


def judge(lines: np.ndarray) -> list[str]:
    """A line of the table for each kind."""
    live = metrics.informative(lines[:, KIND].astype(np.int8), lines[:, NORM])
    table = []
    for kind, name in enumerate(KINDS):
        own = lines[(lines[:, KIND] == kind) & live]
        if not len(own):
            continue
        z = own[:, ERROR] / own[:, ERR]
        folds = [np.sqrt(np.mean(np.square(z[own[:, FOLD] == k]))) for k in np.unique(own[:, FOLD])]
        left_out = int(np.sum((lines[:, KIND] == kind) & ~live))
        cells = (
            name, f"{len(own)} ({left_out})", f"{np.sqrt(np.mean(z**2)):.2f} ({min(folds):.2f}–{max(folds):.2f})",
            f"{100 * np.mean(np.abs(z) <= 1):.1f}, {100 * np.mean(np.abs(z) <= 2):.1f}",
            f"{100 * np.mean(own[:, INSIDE] == 0):.2f}", f"{100 * np.mean(own[:, HELD]):.1f}",
        )  # fmt: skip
        table.append("| " + " | ".join(cells) + " |")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--twojmax", type=int, default=8)
    parser.add_argument("--rcut", type=float, help="Å; that of the defaults without it")
    parser.add_argument("--quadratic", action="store_true")
    parser.add_argument("--zbl", nargs=2, type=float)
    parser.add_argument("--stress", action="store_true", help="fit and judge stress too")
    parser.add_argument("--every", type=int, default=1, help="take every n-th configuration")
    parser.add_argument("--folds", type=int, default=5)
    arguments = parser.parse_args()
    for path in arguments.data:
        structures = read_structures(path)[:: arguments.every]
        print(f"\n{path.name}, {len(structures)} configurations\n")
        print("| | rows (left out) | rms z (folds) | ±1, ±2 err % | outside members % | 90 % interval |")
        print("|---|---|---|---|---|---|")
        for line in judge(predict(structures, arguments)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
