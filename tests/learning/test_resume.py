"""Kill -9 at every file that a loop writes: it goes on, calculates no finished label again, and ends the same."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mliuq.errors import MliuqError
from mliuq.learning import frames_files, learn
from mliuq.outputs import SCRATCH
from processes import heed_signals

SMALL: dict[str, Any] = {"start__copies": 2, "stop__rounds": 1, "explore__seeds": 1}


def run_until_new_write(settings: Any, folder: Path, seen: Path) -> int:
    """Run a loop in a child that is killed when it is about to give a file a name it was not killed at before.

    Returns the status of the child; `seen` keeps the names.
    """
    child = os.fork()
    if child == 0:
        given = os.replace
        before = seen.read_text().splitlines() if seen.exists() else []

        def replace(source: Any, target: Any) -> None:
            name = str(Path(target).relative_to(folder))
            if name not in before:
                seen.write_text("\n".join([*before, name]))
                os.kill(os.getpid(), signal.SIGKILL)
            given(source, target)

        os.replace = replace
        try:
            learn(settings, folder)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def test_a_loop_killed_at_every_write_ends_like_one_that_was_not(setting_up, made, tmp_path) -> None:
    settings = setting_up(**SMALL)
    learn(settings, tmp_path / "whole")
    (tmp_path / "made.txt").unlink()
    cut = tmp_path / "cut"
    finished: dict[str, int] = {}
    while (status := run_until_new_write(settings, cut, tmp_path / "killed_at.txt")) != 0:
        assert os.WIFSIGNALED(status), "a resumed loop failed"
        begun = Counter(made())
        for label, count in finished.items():
            assert begun[label] == count, f"{label} was on disk and calculated again"
        labels = cut.glob("round_*/labelling/*.xyz")
        finished = {name: begun[name] for name in (f"{p.parts[-3]}/labelling/{p.stem}" for p in labels)}
    stages = [
        "md/000/facts.json",
        "frames.xyz",
        "batch.xyz",
        "labelling/000.xyz",
        "labels.xyz",
        "fit.state",
        "model.mliuq",
        "log.json",
    ]
    killed_at = set((tmp_path / "killed_at.txt").read_text().splitlines())
    assert {"learn.toml", *(f"round_001/{name}" for name in stages)} <= killed_at
    for index in range(2):
        one, other = (tmp_path / name / f"round_{index:03d}" for name in ("whole", "cut"))
        assert (one / "model.mliuq").read_bytes() == (other / "model.mliuq").read_bytes()
        assert (one / "batch.xyz").read_bytes() == (other / "batch.xyz").read_bytes()
        pairs = list(zip(*(frames_files.read(folder / "labels.xyz") for folder in (one, other)), strict=True))
        assert pairs
        for a, b in pairs:
            np.testing.assert_array_equal(a.positions, b.positions)
            np.testing.assert_array_equal(a.get_forces(), b.get_forces())
            assert a.get_potential_energy() == b.get_potential_energy()
    assert (tmp_path / "whole" / "learn.md").read_bytes() == (cut / "learn.md").read_bytes()


def test_a_loop_removes_what_a_killed_one_left_in_finished_stages(setting_up, tmp_path) -> None:
    settings = setting_up(**SMALL)
    learn(settings, tmp_path / "loop")
    left = tmp_path / "loop" / "round_001" / f"{SCRATCH}1-x"
    left.mkdir()
    os.utime(left, (0, 0))
    learn(settings, tmp_path / "loop")
    assert not left.exists()


def test_an_interrupted_loop_ends_what_it_has_started(setting_up, made, tmp_path) -> None:
    """Ctrl-C while calculations hang: gone in a moment, without an outcome, and nothing goes on."""
    settings = setting_up(",".join(f"hang:{i}" for i in range(6)), label__workers=2)
    (tmp_path / "settings.toml").write_text(settings.to_toml())
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mliuq", "learn", str(tmp_path / "settings.toml"), "-o", str(out)]
    loop = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed_signals)
    while len(made()) < 2:
        assert loop.poll() is None, loop.stderr.read()
        time.sleep(0.05)
    with pytest.raises(MliuqError, match="another loop is at work"):
        learn(settings, out)
    loop.send_signal(signal.SIGINT)
    _, said = loop.communicate(timeout=60)
    assert (loop.returncode, said.strip()) == (130, "mliuq: error: interrupted")
    assert not list((out / "round_000" / "labelling").glob("*.json"))
    assert not [line for line in command_lines() if str(out) in line]


def command_lines() -> list[str]:
    """Those of all processes of this machine."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                found.append((entry / "cmdline").read_bytes().decode(errors="replace"))
    return found
