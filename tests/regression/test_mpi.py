"""Ranks: the same model at any number of them, and no orphan when one dies."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
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
data, kind, keep, out, ranks = sys.argv[1:5] + [int(sys.argv[5])]
settings = {"snap.twojmax": 4, "posterior.members": 50, "posterior.kind": kind, "solver.rows": keep}
team = world()
assert team.size == ranks, f"{team.size} ranks, expected {ranks}"
model = mliuq.fit(read_structures(data)[::3], settings=settings, team=team)
if team.rank == 0:
    model.save(out)
"""


def mpirun() -> str:
    """The launcher beside the MPI library of `environment`."""
    pytest.importorskip("mpi4py")
    library = environment().get("MPI4PY_LIBMPI")
    beside = str(Path(library).parents[1] / "bin") if library else str(Path(sys.executable).parent)
    found = shutil.which("mpirun", path=beside)
    if found is None:
        pytest.skip("no mpirun")
    return found


def environment() -> dict[str, str]:
    """One thread a rank, and the MPI of the `mpich` wheel wherever it is installed."""
    found = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files("mpich") or ():
            if file.name == "libmpi.so.12":
                found["MPI4PY_LIBMPI"] = str(Path(str(file.locate())).resolve())
    return found


@pytest.mark.parametrize(("kind", "keep"), [("hypercube", "memory"), ("gaussian", "disk"), ("ensemble", "recompute")])
def test_same_model_at_any_number_of_ranks(tmp_path, kind, keep):
    launcher = mpirun()
    models = []
    for ranks in (1, 2, 3) if kind == "hypercube" else (1, 2):
        out = tmp_path / f"{ranks}.mliuq"
        command = [launcher, "-n", str(ranks), sys.executable, "-c", FIT, str(DATA), kind, keep, str(out), str(ranks)]
        subprocess.run(command, check=True, timeout=300, env=environment(), cwd=tmp_path)
        models.append(mliuq.Model.load(out))
    for model in models[1:]:
        np.testing.assert_allclose(model.theta, models[0].theta, rtol=1e-10)
        np.testing.assert_allclose(model.members, models[0].members, rtol=1e-10)
        assert "5 refits" in model.calibration["source"]
        for name in ("alpha_energy", "alpha_force"):
            assert model.calibration[name] == pytest.approx(models[0].calibration[name], rel=1e-8)


def test_command_line_on_two_ranks(tmp_path):
    program = [sys.executable, "-c", "from mliuq.cli import main; main()", "fit", str(DATA)]
    options = ["--twojmax", "2", "--members", "20", "--json", "-o"]
    done = [
        subprocess.run(
            [*launcher, *program, *options, str(tmp_path / name)],
            check=True, timeout=300, env=environment(), capture_output=True, text=True,
        )
        for launcher, name in (([], "serial.mliuq"), ([mpirun(), "-n", "2"], "ranks.mliuq"))
    ]  # fmt: skip
    assert [run.stdout.count('"model"') for run in done] == [1, 1]
    serial, ranks = (mliuq.Model.load(tmp_path / name) for name in ("serial.mliuq", "ranks.mliuq"))
    np.testing.assert_allclose(ranks.members, serial.members, rtol=1e-10)


def test_bad_data_ends_every_rank(tmp_path):
    command = [mpirun(), "-n", "2", sys.executable, "-c", "import mliuq; mliuq.fit([])"]
    done = subprocess.run(command, timeout=120, env=environment(), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "the data set is empty" in done.stderr


def test_ranks_that_do_not_see_each_other_are_an_error(tmp_path):
    alone = {**environment(), "PMI_SIZE": "2"}
    command = [sys.executable, "-c", "from mliuq.regression.distributed import world; world()"]
    pytest.importorskip("mpi4py")
    done = subprocess.run(command, timeout=120, env=alone, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    ours = "started as one of 2 MPI ranks" in done.stderr
    assert ours or "PMI" in done.stderr, done.stderr  # some MPIs refuse before anyone can ask how many they see


def test_killed_fit_leaves_no_model_and_resumes(tmp_path):
    """Killed with rows half done: no model, no half block; the same command then finishes from the cache."""
    out, cache = tmp_path / "W.mliuq", tmp_path / "rows"
    script = FIT.replace('"solver.rows": keep', f'"solver.cache": {str(cache)!r}')
    command = [sys.executable, "-c", script, str(DATA), "hypercube", "", str(out), "1"]
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
    whole = [sys.executable, "-c", FIT, str(DATA), "hypercube", "recompute", str(straight), "1"]
    subprocess.run(whole, check=True, timeout=300, env=environment(), cwd=tmp_path)
    np.testing.assert_array_equal(mliuq.Model.load(out).members, mliuq.Model.load(straight).members)
