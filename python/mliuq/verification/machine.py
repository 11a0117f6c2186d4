"""What the machine must not put in: history, leaks, threads."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from mliuq.verification.outcome import Outcome, at_most, not_applicable
from mliuq.verification.scenes import Scenes
from mliuq.verification.subject import Subject

_STATM = Path("/proc/self/statm")


def history(subject: Subject, scenes: Scenes) -> Outcome:
    """A structure evaluated again after others: the same bits."""
    atoms = scenes.rattled()
    first = subject.evaluate(atoms)
    for other in (scenes.cluster(), scenes.crystal(), scenes.supercell()):
        subject.evaluate(other)
    again = subject.evaluate(atoms)
    differ = float(np.abs(again.forces - first.forces).max()) + abs(again.energy - first.energy)
    return at_most(differ, 0.0, "eV, eV/Å")


def memory(subject: Subject, scenes: Scenes) -> Outcome:
    """Memory of the process over 300 evaluations, after 50 to warm up."""
    if not _STATM.exists():
        return not_applicable("this system does not say how much memory a process has")
    structures = [scenes.rattled(), scenes.cluster(), scenes.crystal()]
    for k in range(50):
        subject.evaluate(structures[k % 3])
    before = _resident()
    for k in range(300):
        subject.evaluate(structures[k % 3])
    return at_most((_resident() - before) / 2**20, 4.0, "MiB", "grown over 300 evaluations")


def threads(subject: Subject, scenes: Scenes) -> Outcome:
    """One, two and four threads: the same energy and forces but for the order of sums."""
    n = {2: 5, 4: 4, 8: 3}[len(scenes.crystal())]  # several chunks of work
    atoms = scenes.rattled(n)
    one = subject.evaluate(atoms)
    worst = 0.0
    for count in (2, 4):
        many = subject.evaluate(atoms, threads=count)
        parts = (
            abs(many.energy - one.energy) / max(abs(one.energy), 1.0),
            float(np.abs(many.forces - one.forces).max() / max(np.abs(one.forces).max(), 1e-3)),
        )
        worst = float(np.max([worst, *parts]))  # np.max keeps NaN
    return at_most(worst, 1e-10, "relative")


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
