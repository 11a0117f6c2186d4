"""Children of a process whose threads have run work, however they were started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mliuq import SnapParams
from systems import random_model

SCRIPT = """
import multiprocessing, sys
import numpy as np
from ase.build import bulk
from mliuq import MLIUQCalculator, MliuqError, Model, SnapParams
from mliuq.core import RowBuilder
from mliuq.descriptor.neighbours import pack

def energy(path):
    atoms = bulk("W", a=3.2, cubic=True).repeat(5)
    atoms.calc = MLIUQCalculator(path, threads=2)
    return atoms.get_potential_energy()

def rows(_):
    params = SnapParams(("W",), twojmax=2)
    structures = [pack(bulk("W", a=a, cubic=True), params) for a in (3.1, 3.2, 3.3)]
    return float(sum(np.abs(block).sum() for block in RowBuilder(params.core).build(structures, threads=2)))

if __name__ == "__main__":
    how, path = sys.argv[1:]
    for work in (energy, rows):
        here = work(path)
        with multiprocessing.get_context(how).Pool(2) as pool:
            there = pool.map_async(work, [path] * 3).get(timeout=60)
        np.testing.assert_allclose(there, here, rtol=1e-12)
        assert abs(here) > 1.0
    print("worked")
"""


@pytest.mark.parametrize("how", ["fork", "forkserver", "spawn"])
def test_children_evaluate_and_build_rows(how: str, tmp_path: Path) -> None:
    model = tmp_path / "m.mliuq"
    random_model(SnapParams(("W",), twojmax=2, rcutfac=3.6), members=3).save(model)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script), how, str(model)], capture_output=True, text=True, timeout=120)
    assert done.stdout == "worked\n", done.stderr
