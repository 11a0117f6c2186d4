"""What a calculator has computed survives ASE's writers."""

from __future__ import annotations

from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.io import Trajectory, read, write
from mliuq.errors import MliuqError
from systems import PARAMS, random_model, structure


@pytest.fixture
def evaluated() -> Atoms:
    params = PARAMS["linear"]
    atoms = structure("triclinic", params)
    atoms.info["config_type"], atoms.arrays["site"] = "bcc", np.arange(len(atoms))
    atoms.calc = mliuq.MLIUQCalculator(random_model(params, members=6, noise=True, factor=True))
    atoms.get_potential_energy()
    atoms.calc.get_property("energy_comm", atoms)
    atoms.calc.get_property("extrapolation", atoms)
    return atoms


def test_everything_is_kept_and_nothing_is_computed(evaluated: Atoms) -> None:
    frozen = mliuq.results_to_arrays(evaluated)
    results = evaluated.calc.results
    assert len(results) > 10
    for name, value in results.items():
        place = frozen.calc.results if name in all_properties else {**frozen.info, **frozen.arrays}
        np.testing.assert_array_equal(place[name], value)
    for name in ("energies_std", "energies_err", "extrapolation"):
        assert name in frozen.arrays
    for name in ("energy_std", "energy_err", "energy_comm"):
        assert name in frozen.info
    assert (frozen.info["config_type"], frozen.arrays["site"].tolist()) == ("bcc", list(range(6)))
    assert not {"energy_std", "energies_std"} & {*evaluated.info, *evaluated.arrays}, "the structure itself stays"


def test_extended_xyz_brings_it_back(evaluated: Atoms, tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", mliuq.results_to_arrays(evaluated))
    found, results = read(tmp_path / "a.xyz"), evaluated.calc.results
    assert found.get_potential_energy() == pytest.approx(results["energy"])
    np.testing.assert_allclose(found.get_forces(), results["forces"], atol=1e-7)
    np.testing.assert_allclose(found.arrays["energies_std"], results["energies_std"], atol=1e-7)
    np.testing.assert_allclose(found.info["energy_comm"], results["energy_comm"])
    assert found.info["energy_err"] == pytest.approx(results["energy_err"])


def test_trajectories_keep_bars_in_info(evaluated: Atoms, tmp_path: Path) -> None:
    with Trajectory(tmp_path / "a.traj", "w") as trajectory:
        trajectory.write(mliuq.results_to_arrays(evaluated, per_atom="info"))
    found, results = read(tmp_path / "a.traj"), evaluated.calc.results
    assert found.get_potential_energy() == results["energy"]
    for name in ("energy_std", "energies_std", "energies_err", "energy_comm", "extrapolation"):
        np.testing.assert_array_equal(found.info[name], results[name])


def test_results_of_others_and_none_are_refused(evaluated: Atoms) -> None:
    evaluated.positions[0] += 0.1
    with pytest.raises(MliuqError, match="belong to other positions"):
        mliuq.results_to_arrays(evaluated)
    evaluated.calc = None
    with pytest.raises(MliuqError, match="no results"):
        mliuq.results_to_arrays(evaluated)
