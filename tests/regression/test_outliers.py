"""One bad configuration: named, and under `robust` without a trace."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from mliuq.fitting.fit import run_fit
from mliuq.readers import read_structures

SETTINGS = {"snap.twojmax": 4, "posterior.members": 60, "data.test_fraction": 0.0}


def dimer() -> Atoms:
    """As in a data set of water: not converged."""
    atoms = Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.3]], cell=[12, 12, 12], pbc=True)
    atoms.info["config_type"] = "dimer"
    atoms.calc = SinglePointCalculator(atoms, energy=-558.0, forces=np.zeros((2, 3)))
    return atoms


def changed(atoms: Atoms, energy: float = 0.0, force: float = 0.0) -> Atoms:
    found, forces = atoms.copy(), atoms.get_forces().copy()
    forces[0, 0] += force
    found.calc = SinglePointCalculator(found, energy=atoms.get_potential_energy() + energy * len(atoms), forces=forces)
    return found


@pytest.fixture(scope="module")
def structures(tungsten):
    return read_structures(tungsten)[::3]


@pytest.fixture(scope="module")
def clean(structures):
    return run_fit(structures, settings=SETTINGS)


def test_clean_data_have_none(clean):
    assert clean.outliers == []
    assert clean.model.metadata["fit"]["outliers"] == []


def test_an_unconverged_dimer_is_named_and_robust_fits_do_not_feel_it(structures, clean, caplog):
    with caplog.at_level(logging.WARNING):
        spoilt = run_fit([*structures, dimer()], settings=SETTINGS)
    (found,) = spoilt.outliers
    assert (found.config, found.kind) == (len(structures), "energy")
    assert found.value == pytest.approx(-279.0)
    assert found.error < -200.0
    assert spoilt.model.metadata["fit"]["outliers"][0]["config"] == found.config
    assert "dimer" in caplog.text
    assert "energy -279 eV/atom" in caplog.text
    assert "--robust leaves them out" in caplog.text
    robust = run_fit([*structures, dimer()], settings={**SETTINGS, "solver.robust": True})
    assert [o.config for o in robust.outliers] == [found.config]
    assert robust.balance.constants == clean.balance.constants
    np.testing.assert_allclose(robust.model.theta, clean.model.theta, rtol=1e-6)
    for alpha in ("alpha_energy", "alpha_force"):
        assert robust.model.calibration[alpha] == pytest.approx(clean.model.calibration[alpha], rel=0.25)
    assert len(robust.train) == len(clean.train), "its rows are not fitted"
    line = next(e for e in robust.errors if e.of == "train" and e.kind == "energy" and e.group == "all")
    assert line.rmse < 1.0
    worse = next(e for e in spoilt.errors if e.of == "left out" and e.kind == "energy" and e.group == "all")
    assert worse.rmse > 10.0


@pytest.mark.parametrize("change", [{"energy": 40.0}, {"force": 120.0}])
def test_one_wrong_value_among_right_ones_is_found(structures, change):
    at = 7
    result = run_fit(
        [*structures[:at], changed(structures[at], **change), *structures[at + 1 :]],
        settings={**SETTINGS, "solver.robust": True, "posterior.members": 0, "posterior.kind": "ensemble"},
    )
    (found,) = result.outliers
    assert (found.config, found.kind) == (at, next(iter(change)))
    assert abs(found.error) == pytest.approx(next(iter(change.values())), rel=0.4)


@pytest.mark.parametrize("weight", [0.0, 1e-8])
def test_what_is_to_be_met_less_well_is_no_outlier(structures, weight):
    settings = {
        **SETTINGS,
        "posterior.members": 0,
        "weights.energy": 100.0,
        "weights.groups": {"dimer": {"energy": weight}},
    }
    assert run_fit([*structures, dimer()], settings=settings).outliers == []
    settings["weights.groups"] = {"dimer": {"energy": 100.0}}
    assert len(run_fit([*structures, dimer()], settings=settings).outliers) == 1
