"""Time and peak memory of quadratic fits with posterior, against the number of configurations, and beside the peers.

    python benchmarks/fit_scale.py                     # up to 7000 configurations, the peers on 250 and 500
    python benchmarks/fit_scale.py --configs 7000 --peers-up-to 0

Every fit runs in a process of its own, on the same made-up data (synthetic_metal.py): quadratic SNAP, 2J = 8, 1596
weights.  Peak memory is the process's largest resident set; CPU s counts all cores, data making included, and tells on
a busy machine what the wall clock does not.  mliuq streams its rows; popsregression and FitSNAP hold the whole design
matrix, popsregression gets it ready-made (`rows` is the time mliuq needs to make it).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SETTINGS = {
    "snap.quadratic": True,
    "data.test_fraction": 0.0,
    "posterior.kind": "hypercube",
    "posterior.calibration_source": "left-out",  # the peers do not calibrate
}


def fit_with_mliuq(n_configs: int, changes: dict[str, Any]) -> dict[str, Any]:
    from mliuq.fitting.fit import run_fit
    from synthetic_metal import make

    structures = make(n_configs)
    stages: dict[str, float] = {}
    start = last = time.perf_counter()

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        stages[stage] = stages.get(stage, 0.0) + now - last
        last = now
        print(json.dumps({"stage": stage, "done": done, "total": total}), flush=True)

    result = run_fit(structures, settings={**SETTINGS, **changes}, progress=progress)
    seconds = time.perf_counter() - start
    lines = {(line.of, line.kind): line for line in result.errors if line.group == "all"}
    return {
        "atoms": sum(map(len, structures)),
        "rows": len(result.train),
        "seconds": seconds,
        "stages": stages | {"rest": start + seconds - last},
        "energy MAE": lines["left out", "energy"].mae,
        "force MAE": lines["left out", "force"].mae,
    }


def fit_with_popsregression(n_configs: int, changes: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    from mliuq.fitting.settings import FitSettings
    from mliuq.regression.problem import build_rows
    from popsregression import POPSRegression
    from synthetic_metal import make

    structures = make(n_configs)
    params = FitSettings().updated({**SETTINGS, **changes}).snap.params(structures)
    start = time.perf_counter()
    rows = build_rows(structures, params)
    x, table = np.concatenate([block.x for block in rows.blocks()]), rows.table
    made = time.perf_counter()
    POPSRegression(leverage_percentile=0.0, resample_density=500 / len(x)).fit(x, table.y, sample_weight=table.w)
    end = time.perf_counter()
    stages = {"rows": made - start, "fit": end - made}
    return {"atoms": sum(map(len, structures)), "rows": len(x), "seconds": end - start, "stages": stages}


def fit_with_fitsnap(n_configs: int, changes: dict[str, Any]) -> dict[str, Any]:
    from fitsnap_peer import fit
    from synthetic_metal import make

    structures = make(n_configs)
    start = time.perf_counter()
    rows = fit(structures)
    seconds = time.perf_counter() - start
    return {"atoms": sum(map(len, structures)), "rows": rows, "seconds": seconds, "stages": {"fit": seconds}}


PROGRAMS = {"mliuq": fit_with_mliuq, "popsregression": fit_with_popsregression, "fitsnap3": fit_with_fitsnap}


def child(program: str, n_configs: int, changes: dict[str, Any]) -> None:
    sys.path.insert(0, str(HERE))
    found = PROGRAMS[program](n_configs, changes)
    used = resource.getrusage(resource.RUSAGE_SELF)
    found |= {"peak MiB": used.ru_maxrss / 1024, "cpu": used.ru_utime + used.ru_stime}
    print(json.dumps(found), flush=True)


def measure(program: str, n_configs: int, changes: dict[str, Any]) -> dict[str, Any] | None:
    """Run one fit in a process of its own behind a progress bar."""
    from rich.progress import Progress

    command = [sys.executable, __file__, "--child", program, "--configs", str(n_configs), "--set", json.dumps(changes)]
    last: dict[str, Any] = {}
    with Progress(transient=True) as bar, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        task = bar.add_task(f"{program} {n_configs}", total=None)
        for text in process.stdout or ():
            if not text.startswith("{"):
                continue
            last = json.loads(text)
            if "stage" in last:
                bar.update(task, description=f"{program} {n_configs}: {last['stage']}", completed=last["done"])
                bar.update(task, total=last["total"])
    return last if process.returncode == 0 and "seconds" in last else None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--configs", type=int, nargs="+", default=[250, 500, 3500, 7000])
    parser.add_argument("--peers-up-to", type=int, default=500, help="largest size for popsregression and fitsnap3")
    parser.add_argument("--set", default="{}", help="JSON of changed settings")
    parser.add_argument("--child", choices=PROGRAMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    changes = json.loads(arguments.set)
    if arguments.child:
        child(arguments.child, arguments.configs[0], changes)
        return
    print(f"{'':16s}{'configs':>8s}{'atoms':>8s}{'rows':>9s}{'time s':>9s}{'CPU s':>9s}{'peak MiB':>10s}   stages, s")
    for n_configs in arguments.configs:
        for program in PROGRAMS if n_configs <= arguments.peers_up_to else ["mliuq"]:
            found = measure(program, n_configs, changes)
            if found is None:
                print(f"{program:16s}{n_configs:8d}  did not finish", flush=True)
                continue
            numbers = f"{found['atoms']:8d}{found['rows']:9d}{found['seconds']:9.1f}{found['cpu']:9.1f}"
            numbers += f"{found['peak MiB']:10.0f}"
            stages = ", ".join(f"{name} {seconds:.0f}" for name, seconds in found["stages"].items())
            print(f"{program:16s}{n_configs:8d}{numbers}   {stages}", flush=True)


if __name__ == "__main__":
    main()
