"""FitSNAP's tantalum example (Thompson et al. 2015) from the configurations alone."""

from __future__ import annotations

import gzip
import io
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from mliuq import SnapParams
from mliuq.descriptor import zbl
from mliuq.descriptor.bispectrum import design_rows

PARAMS = SnapParams(("Ta",), twojmax=6, rcutfac=4.67637, bzeroflag=False)
ZBL = (4.0, 4.8)
BAR = 1.0 / 1602176.634  # eV/Å³


@pytest.fixture(scope="module")
def structures(shared_data: Path) -> list[Atoms]:
    with gzip.open(shared_data / "Ta_JCP2014.xyz.gz", "rt") as stream:
        return read(io.StringIO(stream.read()), ":", format="extxyz")


@pytest.fixture(scope="module")
def rows(structures: list[Atoms], tantalum: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our design matrix and targets in FitSNAP's order: all energies, all forces, all stresses (bar)."""
    blocks = design_rows(structures, PARAMS, stress=True)
    parts: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {0: [], 1: [], 2: []}
    for atoms, block in zip(structures, blocks, strict=True):
        core = zbl.evaluate(atoms, *ZBL)
        assert core.stress is not None
        energy = (atoms.get_potential_energy() - core.energy) / len(atoms)
        parts[0].append((block[:1], np.array([energy])))
        parts[1].append((block[1:-6], (atoms.get_forces() - core.forces).ravel()))
        parts[2].append((-block[-6:] / BAR, -(atoms.get_stress() - core.stress) / BAR))
    order = dict.fromkeys(tantalum["config_index"][tantalum["row_type"] == 0])
    x, y = zip(*(parts[kind][config] for kind in parts for config in order), strict=True)
    return {"x": np.concatenate(x), "y": np.concatenate(y)}


def test_design_matrix(rows: dict[str, np.ndarray], tantalum: dict[str, np.ndarray]) -> None:
    expected, kind = tantalum["descriptors"], tantalum["row_type"]
    for k in (0, 1, 2):
        # FitSNAP converts pressure with LAMMPS's rounded constant (seven digits), we with CODATA's.
        tolerance = 1e-9 if k < 2 else 1e-7
        scale = np.abs(expected[kind == k]).max()
        np.testing.assert_allclose(rows["x"][kind == k], expected[kind == k], rtol=0, atol=tolerance * scale)


def test_error_table(rows: dict[str, np.ndarray], tantalum: dict[str, np.ndarray], shared_data: Path) -> None:
    w, kind, config = tantalum["weights"], tantalum["row_type"], tantalum["config_index"]
    theta = np.linalg.lstsq(w[:, None] * rows["x"], w * rows["y"], rcond=None)[0]
    error = rows["x"] @ theta - rows["y"]
    mae = [np.abs(error[kind == k]).mean() for k in (0, 1, 2)]
    assert mae[0] == pytest.approx(0.112787, abs=5e-7)
    assert mae[1] == pytest.approx(0.0757576, abs=5e-8)
    assert mae[2] == pytest.approx(68338.6, rel=1e-5)
    groups = np.array([str(name).split("/")[0] for name in tantalum["config_names"]])
    table = re.findall(
        r"^\| (\w+) \| \d+ \| \S+ \| \S+ \| \S+ \| (\S+) \| (\S+) \| (\S+) \| (\S+) \| (\S+) \|",
        (shared_data / "Ta_JCP2014.md").read_text(),
        re.MULTILINE,
    )
    assert len(table) == 12
    for group, *published in table:
        members = np.flatnonzero(groups == group)
        assert len(members), group
        found = []
        for k in (0, 1):
            e = error[(kind == k) & np.isin(config, members)]
            found += [np.abs(e).mean(), np.sqrt((e**2).mean())]
        found.append(np.abs(error[(kind == 2) & np.isin(config, members)]).mean())
        for ours, theirs in zip(found, map(float, published), strict=True):
            if theirs > 1e-12:  # forces that are zero by symmetry are rounding on either side
                assert ours == pytest.approx(theirs, rel=1e-4), group
