"""Ranks: the same model at any number of them, and no orphan when one dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mliuq
import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[2] / "data" / "W_gpaw" / "W_gpaw.xyz.gz"

FIT = """
import sys, mliuq
from mliuq.readers import read_structures
from mliuq.regression.distributed import world
from mliuq.regression import rows
rows.block_rows = lambda n: 200  # many blocks, so that there is something to share
import mliuq.regression.computed as computed
computed.block_rows = rows.block_rows
data, kind, keep, out = sys.argv[1:]
settings = {"snap.twojmax": 4, "posterior.members": 50, "posterior.kind": kind, "solver.rows": keep}
model = mliuq.fit(read_structures(data)[::3], settings=settings)
if world().rank == 0:
    model.save(out)
"""


def mpirun() -> str:
    pytest.importorskip("mpi4py")
    import mpi4py

    bases = [Path(sys.executable).parent, Path(mpi4py.__file__).resolve().parents[4] / "bin"]
    found = shutil.which("mpirun", path=os.pathsep.join([*map(str, bases), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip("no mpirun")
    return found


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@pytest.mark.parametrize(("kind", "keep"), [("hypercube", "memory"), ("gaussian", "disk"), ("ensemble", "recompute")])
def test_same_model_at_any_number_of_ranks(tmp_path, kind, keep):
    launcher = mpirun()
    models = []
    for ranks in (1, 2, 3) if kind == "hypercube" else (1, 2):
        out = tmp_path / f"{ranks}.mliuq"
        command = [launcher, "-n", str(ranks), sys.executable, "-c", FIT, str(DATA), kind, keep, str(out)]
        subprocess.run(command, check=True, timeout=300, env=environment(), cwd=tmp_path)
        models.append(mliuq.Model.load(out))
    for model in models[1:]:
        np.testing.assert_allclose(model.theta, models[0].theta, rtol=1e-10)
        np.testing.assert_allclose(model.members, models[0].members, rtol=1e-10)


def test_bad_data_ends_every_rank(tmp_path):
    command = [mpirun(), "-n", "2", sys.executable, "-c", "import mliuq; mliuq.fit([])"]
    done = subprocess.run(command, timeout=120, env=environment(), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "the data set is empty" in done.stderr


def test_killed_fit_leaves_no_model_and_resumes(tmp_path):
    """Killed with rows half done: no model, no half block; the same command then finishes from the cache."""
    out, cache = tmp_path / "W.mliuq", tmp_path / "rows"
    script = FIT.replace('"solver.rows": keep', f'"solver.cache": {str(cache)!r}')
    command = [sys.executable, "-c", script, str(DATA), "hypercube", "", str(out)]
    process = subprocess.Popen(command, env=environment(), cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not list(cache.glob("block-*.f64")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    finished = {path: path.stat().st_mtime_ns for path in cache.glob("block-*.f64")}
    assert finished
    subprocess.run(command, check=True, timeout=300, env=environment(), cwd=tmp_path)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    straight = tmp_path / "straight.mliuq"
    whole = [sys.executable, "-c", FIT, str(DATA), "hypercube", "recompute", str(straight)]
    subprocess.run(whole, check=True, timeout=300, env=environment(), cwd=tmp_path)
    np.testing.assert_array_equal(mliuq.Model.load(out).members, mliuq.Model.load(straight).members)
