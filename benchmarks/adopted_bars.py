"""Error bars of published potentials adopted with few configurations, judged on the rest of the set.

    python benchmarks/adopted_bars.py Ta06A.snapcoeff:Ta.xyz.gz:zbl=4.0,4.8 W.snapcoeff:W.xyz.gz:zbl=4.0,4.8:every=4 \
        Mo_Chen_PRM2017.snapcoeff:Mo.xyz.gz

Configurations to adopt with are drawn at random, once for each seed; `mliuq.adopt` with its default settings; every
other configuration is predicted.  Rows that are zero by symmetry are left out.

Columns: root mean square error of the potential on the rest (after the shift of its zero of energy), and of the refit
on configurations left out of it, both as the mean over draws; share of the squared error that is a bias; rms of
error/err, median over draws, range, and how many draws lie within 0.8–1.25; coverage of ±1 and ±2 err.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
from mliuq import Model
from mliuq.fitting.adopt import run_adopt
from mliuq.judging import metrics
from mliuq.judging.errortable import predicted_error
from mliuq.posterior.predict import predict
from mliuq.readers import read_structures
from mliuq.regression.rows import KINDS
from mliuq.report.rows import reference_rows

GOOD = (0.8, 1.25)


def options_of(text: str) -> tuple[Path, Path, dict[str, str]]:
    potential, data, *extra = text.split(":")
    return Path(potential), Path(data), dict(item.split("=") for item in extra)


def judge(case: str, number: int, seeds: int, settings: dict[str, object]) -> None:
    potential, data, extra = options_of(case)
    structures = read_structures(data)[:: int(extra.get("every", 1))]
    radii = tuple(float(r) for r in extra["zbl"].split(",")) if "zbl" in extra else None
    zbl = None if radii is None else (radii[0], radii[1])
    published = Model.from_snap(potential)
    rows = reference_rows(Model(published.params, published.theta, zbl=zbl), structures).rows
    found: dict[int, list[list[float]]] = {0: [], 1: []}
    for seed in range(seeds):
        chosen = np.random.default_rng(seed).choice(len(structures), number, replace=False)
        result = run_adopt(published, [structures[i] for i in sorted(chosen)], settings, zbl=zbl)
        model = result.model
        theta = model.theta.ravel()
        assert model.members is not None
        p = predict(rows, theta, model.members.reshape(model.n_members, -1) - theta)
        bars = predicted_error(p, model.noise or {}, model.calibration)
        rest = ~np.isin(p.config, chosen) & metrics.informative(p.kind, p.size)
        for kind, lines in found.items():
            at = rest & (p.kind == kind)
            error, bar = (p.y - p.mean)[at], bars[at]
            bias = next(line for line in result.bias if line.kind == KINDS[kind])
            z = metrics.rms_z(error, bar)
            inside = [metrics.coverage(error, bar, k) for k in (1.0, 2.0)]
            lines.append([metrics.rmse(error), bias.refitted, bias.removable, z, *inside])
    for kind, lines in found.items():
        values = np.array(lines)
        z, mean = values[:, 3], values.mean(axis=0)
        good = int(np.sum((z >= GOOD[0]) & (z <= GOOD[1])))
        unit, factor = (("meV/atom", 1e3), ("eV/Å", 1.0))[kind]
        cells = (
            f"{potential.stem}, {len(structures)}", f"{KINDS[kind]} {unit}", f"{factor * mean[0]:.3g}",
            f"{factor * mean[1]:.3g}", f"{100 * np.median(values[:, 2]):.0f}",
            f"{np.median(z):.2f} ({z.min():.2f}–{z.max():.2f})", f"{good} of {seeds}",
            f"{100 * mean[4]:.0f}, {100 * mean[5]:.0f}",
        )  # fmt: skip
        print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", metavar="POTENTIAL:DATA[:zbl=INNER,OUTER][:every=N]")
    parser.add_argument("--number", type=int, default=50, help="configurations to adopt with")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--energy-weight", default="auto")
    options = parser.parse_args()
    logging.getLogger("mliuq").setLevel(logging.ERROR)
    weight = options.energy_weight
    settings = {"weights.energy": weight if weight == "auto" else float(weight), "solver.threads": 1}
    print("| potential, set | | RMSE | refit | bias % | rms z (range) | within 0.8–1.25 | ±1, ±2 err % |")
    print("|---|---|---|---|---|---|---|---|")
    for case in options.cases:
        judge(case, options.number, options.seeds, settings)


if __name__ == "__main__":
    main()
