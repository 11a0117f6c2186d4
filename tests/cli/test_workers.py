"""Processes that share members: they never wait for threads of their parent, and end when it does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from processes import heed_signals

pytest.importorskip("phonopy")

FORKED = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import mliuq
from mliuq import propagation
few = propagation.PropagationSettings(members=2, max_failed=1.0)
with ProcessPoolExecutor(2, get_context("fork")) as pool:
    found = propagation.phonons(mliuq.Model.load(sys.argv[1]), ["bcc"], size=1, settings=few, executor=pool)
print(found.estimates[0].value)
"""


def run(words: list[str], seconds: float = 120.0) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=True).stdout


def test_phonons_by_two_processes_equal_those_by_one(small_model: Path, tmp_path: Path) -> None:
    # phonopy starts threads in whatever process asks it for bands
    common = ["bcc", "--element", "W", "--size", "1", "--members", "2", "--max-failed", "1"]
    found = []
    for workers in ("1", "2"):
        where = tmp_path / workers
        words = ["propagate", "phonons", str(small_model), *common, "--workers", workers, "-o", str(where)]
        run([sys.executable, "-m", "mliuq", *words])
        found.append(json.loads((where / "W-phonons.json").read_text()))
    for one, two in zip(found[0]["estimates"], found[1]["estimates"], strict=True):
        np.testing.assert_allclose(np.array(two["members"], float), np.array(one["members"], float), rtol=1e-6)


def test_an_executor_that_forks_does_not_wait_for_threads_of_the_best_fit(small_model: Path) -> None:
    assert np.isfinite(float(run([sys.executable, "-c", FORKED, str(small_model)])))


SLOW = """
import os, time
from pathlib import Path

def slow(atoms, calculator):
    place = Path("seen")
    if not place.exists():
        place.mkdir()
        return {"one": 1.0}
    (place / str(os.getpid())).touch()
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_command(number: signal.Signals, small_model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SLOW)
    words = ["propagate", "custom", str(small_model), "bcc", "--element", "W", "--function", "mine:slow"]
    words += ["--relax", "none", "--workers", "2", "-o", "p"]
    command = subprocess.Popen(
        [sys.executable, "-m", "mliuq", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_signals,
    )
    try:
        wait(lambda: len(list(tmp_path.glob("seen/*"))) == 2)
        workers = [int(path.name) for path in tmp_path.glob("seen/*")]
        assert command.pid not in workers
        if number == signal.SIGINT:  # as a terminal does it
            os.killpg(command.pid, number)
        else:
            command.send_signal(number)
        wait(lambda: command.poll() is not None)
        wait(lambda: not any(is_running(pid) for pid in workers))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
        said = command.communicate()[1]
    if number != signal.SIGKILL:
        assert command.returncode == 128 + number
        word = "interrupted" if number == signal.SIGINT else "terminated"
        assert said == f"mliuq: error: {word}\n"


def wait(until: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
