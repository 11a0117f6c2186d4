"""Intervals on held-out configurations, whole and by environment, as `mliuq report` shows them.

    python benchmarks/environments.py data/W_gpaw/W_gpaw.xyz.gz Mo.xyz.gz W.xyz.gz,every=8 \\
        Ta.xyz.gz,rcut=4.676,zbl=4.0:4.8

Five folds; every configuration is predicted by `mliuq.fit` of the others with its defaults (balance, posterior,
calibration). Two tables: bars and conformal intervals of energies and forces over all sets, and nine-in-ten intervals
of each group of `mliuq.report.environments`, with the standard error of the share. `--one-quantile` takes that of all
rows in place of those of the groups that the model was fitted to; `--seed` deals other folds.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import mliuq
import numpy as np
from mliuq.judging import metrics
from mliuq.model.environments import Environments, environments_of
from mliuq.readers import read_structures
from mliuq.report import reference_rows
from mliuq.report.environments import groups_of
from mliuq.report.predictions import LEVELS, predict
from numpy.typing import NDArray


@dataclass(frozen=True)
class Rows:
    """Held-out rows of one kind: error/err, inside the interval of each level, configuration, groups."""

    z: NDArray[np.float64]
    held: NDArray[np.bool_]  #: (levels, n)
    config: NDArray[np.int64]
    groups: Mapping[str, NDArray[np.bool_]]


def held_out(path: Path, options: Mapping[str, str], folds: int, *, seed: int, one_quantile: bool) -> dict[str, Rows]:
    """Predict every fold by a fit of the others; rows by kind."""
    structures = read_structures(path)[:: int(options.get("every", 1))]
    settings = {"snap.rcut": float(options.get("rcut", 4.7)), "data.test_fraction": 0.0, "solver.threads": 1}
    zbl = tuple(float(r) for r in options["zbl"].split(":")) if "zbl" in options else None
    fold = np.random.default_rng(seed).permutation(len(structures)) % folds
    surroundings = environments_of(structures)
    parts: dict[str, list[Rows]] = {}
    for k in range(folds):
        rest = [atoms for atoms, f in zip(structures, fold, strict=True) if f != k]
        out = [int(i) for i in np.flatnonzero(fold == k)]
        model = mliuq.fit(rest, settings=settings, zbl=zbl)  # type: ignore[arg-type]
        own = Environments(
            [surroundings.undercoordinated[i] for i in out],
            [surroundings.close[i] for i in out],
            surroundings.strained[out],
        )
        if one_quantile:
            model = replace(model, calibration={k: v for k, v in (model.calibration or {}).items() if k != "groups"})
        for p in predict(model, reference_rows(model, [structures[i] for i in out])):
            held = np.stack([p.held(level) for level in LEVELS])
            part = Rows(p.error / p.best, held, np.array(out)[p.config], groups_of(p, own))
            parts.setdefault(p.kind, []).append(part)
    return {kind: joined(found) for kind, found in parts.items()}


def joined(parts: list[Rows]) -> Rows:
    names = list(dict.fromkeys(name for part in parts for name in part.groups))
    groups = {n: np.concatenate([p.groups.get(n, np.zeros(len(p.z), np.bool_)) for p in parts]) for n in names}
    return Rows(
        np.concatenate([p.z for p in parts]),
        np.concatenate([p.held for p in parts], axis=1),
        np.concatenate([p.config for p in parts]),
        groups,
    )


def cell(held: NDArray[np.bool_], config: NDArray[np.int64]) -> str:
    """Share of rows held in % ± its standard error, configurations as independent witnesses, and how many they are."""
    own = np.unique(config, return_inverse=True)[1]
    off = np.bincount(own, held - held.mean())
    return f"{100 * held.mean():.1f} ± {100 * np.sqrt(np.sum(off**2)) / len(held):.1f} ({len(off)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="FILE[,every=N][,rcut=Å][,zbl=INNER:OUTER]")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one-quantile", action="store_true")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    found = {}
    for text in arguments.data:
        name, *options = text.split(",")
        found[Path(name).name.split(".")[0]] = held_out(
            Path(name),
            dict(option.split("=", 1) for option in options),
            arguments.folds,
            seed=arguments.seed,
            one_quantile=arguments.one_quantile,
        )
    for kind in ("energy", "force"):
        print(f"\n| {kind} | rows | rms z | ±1σ, ±2σ % | in intervals of 68.27, 90, 95.45 % |\n|---|---|---|---|---|")
        everything = {name: rows[kind] for name, rows in found.items()}
        everything["all sets"] = Rows(
            np.concatenate([r.z for r in everything.values()]),
            np.concatenate([r.held for r in everything.values()], axis=1),
            np.zeros(0, np.int64),
            {},
        )
        for name, rows in everything.items():
            within = ", ".join(f"{100 * np.mean(np.abs(rows.z) <= k):.1f}" for k in (1, 2))
            held = ", ".join(f"{100 * share:.1f}" for share in rows.held.mean(axis=1))
            print(f"| {name} | {len(rows.z)} | {metrics.rmse(rows.z):.2f} | {within} | {held} |")
    for kind in ("energy", "force"):
        names = list(dict.fromkeys(n for rows in found.values() for n in rows[kind].groups))
        print(f"\n| {kind}: % in 90 % intervals (configurations) | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
        for name, rows in ((name, sets[kind]) for name, sets in found.items()):
            cells = []
            for group in names:
                at = rows.groups.get(group, np.zeros(len(rows.z), np.bool_))
                cells.append(cell(rows.held[LEVELS.index(0.9)][at], rows.config[at]) if at.any() else "–")
            print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
