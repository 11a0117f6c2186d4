"""One model file, two doors: LAMMPS and ASE give the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from mliuq import MLIUQCalculator
from runner import evaluate


@pytest.mark.parametrize("cell", ["rattled", "triclinic", "tiny", "slab", "cluster", "isolated"])
@pytest.mark.parametrize("name", ["Ta06A", "Mo_Zuo_JPCA2020.quadratic"])
def test_lammps_equals_ase(
    name: str,
    cell: str,
    make_model: Callable[..., Path],
    structures: Callable[..., dict[str, Atoms]],
    tmp_path: Path,
) -> None:
    element = name[:2]
    atoms = structures(element)[cell]
    model = make_model(
        name,
        30,
        file=f"{name}-doors.mliuq",
        zbl={"inner": 4.0, "outer": 4.8},
        noise={"energy": 0.02, "force": 0.1, "stress": 0.001},
        calibration={"alpha_energy": 1.5, "alpha_force": 1.2, "alpha_stress": 1.1},
    )
    state = evaluate(
        atoms,
        f"pair_style mliuq\npair_coeff * * {model} {element}",
        tmp_path,
        elements=[element],
        after="compute u all mliuq/atom energy_std energy_min energy_max energy_err\ncompute g all mliuq\n"
        "thermo_style custom step c_g\n",
        action='run 0\nprint "$(c_g:%.17g) $(c_g[1]:%.17g) $(c_g[2]:%.17g) $(c_g[5]:%.17g)" file g.txt',
        columns="c_u[*]",
    )
    atoms.calc = MLIUQCalculator(model)
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()} | atoms.calc.results
    assert state.energy == pytest.approx(results["energy"], rel=1e-12)
    scale = max(np.abs(results["forces"]).max(), 1e-6)
    np.testing.assert_allclose(state.forces, results["forces"], rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(state.energies, results["energies"], rtol=1e-11)
    for column, key in enumerate(["energies_std", "energies_min", "energies_max", "energies_err"]):
        np.testing.assert_allclose(state.columns[:, column], results[key], rtol=1e-9, err_msg=key)
    whole = [results[key] for key in ("energy_std", "energy_min", "energy_max", "energy_err")]
    np.testing.assert_allclose(np.loadtxt(tmp_path / "g.txt"), whole, rtol=1e-9)
    if atoms.pbc.all():
        stress = -state.pressure[[0, 1, 2, 5, 4, 3]] * 1e5 * units.Pascal
        found = atoms.get_stress()
        # LAMMPS's bar and ASE's pascal come from constants of different years: 1.6021765e6 against CODATA.
        np.testing.assert_allclose(stress, found, rtol=0, atol=1e-6 * max(np.abs(found).max(), 1e-9))
