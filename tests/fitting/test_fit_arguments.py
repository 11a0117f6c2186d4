"""What a fit is told arrives, and what it stores is true: against the parts it is made of."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from mliuq.errors import MliuqError
from mliuq.fitting.fit import run_fit
from mliuq.fitting.settings import FitSettings
from mliuq.judging.errortable import predicted_error
from mliuq.judging.metrics import informative
from mliuq.posterior.calibration import HeldOut, calibrate
from mliuq.readers import read_structures
from mliuq.regression.computed import fingerprint
from mliuq.regression.rows import ENERGY
from mliuq.toml import write_toml

SMALL = {"snap.twojmax": 2, "posterior.members": 30, "data.test_fraction": 0.25}


@pytest.fixture(scope="module")
def structures(tungsten) -> list[Atoms]:
    return read_structures(tungsten)[::6]


def test_rows_kept_on_disk_belong_to_their_descriptor(structures, tmp_path):
    """A cache of one cutoff must not serve another, nor that of one data set another."""
    cached = {**SMALL, "solver.rows": "disk", "solver.cache": str(tmp_path)}
    expected = mliuq.fit(structures, settings=SMALL)
    for _ in range(2):  # the second time from the cache
        np.testing.assert_array_equal(mliuq.fit(structures, settings=cached).theta, expected.theta)
    for change in ({"snap.rcut": 4.2}, {"snap.rmin0": 0.3}, {"snap.wselfallflag": True}, {"seed": 1}):
        with pytest.raises(MliuqError, match="rows of other data or another descriptor"):
            mliuq.fit(structures, settings={**cached, **change})


def test_held_out_rows_all_count_alike_whatever_weights_the_fit_has(structures):
    groups = sorted({str(atoms.info["config_type"]) for atoms in structures})
    silent = {"weights.groups": {groups[0]: {"energy": 0.0, "force": 0.0}}}
    result = run_fit(structures, settings={**SMALL, **silent}, test=structures[::4])
    assert any(atoms.info["config_type"] == groups[0] for atoms in result.test_structures), "or this says nothing"
    assert len(result.test) == sum(1 + 3 * len(atoms) for atoms in result.test_structures)


def test_one_body_energies_given_come_before_those_of_isolated_atoms(structures):
    def alone(energy: float) -> Atoms:
        atoms = Atoms("W", cell=[20, 20, 20], pbc=True)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((1, 3)))
        return atoms

    data = [*structures, alone(-1.5)]
    found = mliuq.fit(data, settings={**SMALL, "solver.isolated_atoms": True})
    given = mliuq.fit(data, settings={**SMALL, "solver.isolated_atoms": True, "solver.one_body": {"W": -3.0}})
    assert found.theta[0, 0] == pytest.approx(-1.5, abs=1e-6)
    assert given.theta[0, 0] == pytest.approx(-3.0, abs=1e-6)
    assert given.metadata["fit"]["one_body"] == {"W": -3.0}


def test_metadata_tells_which_data_was_fitted_and_which_held_out(structures):
    result = run_fit(structures, settings={**SMALL, "seed": 4})
    data, train, test = result.model.metadata["data"], result.train_structures, result.test_structures
    assert data["held_out_fingerprint"] == fingerprint(test) != fingerprint(train)
    assert data["configurations"] == len(train)
    assert data["held_out"] == len(test)
    assert data["atoms"] == sum(map(len, train))
    names = [str(atoms.info["config_type"]) for atoms in train]
    assert data["groups"] == {name: names.count(name) for name in set(names)}
    assert result.model.metadata["seed"] == 4
    assert FitSettings.from_mapping(result.model.metadata["fit"]["settings"]).seed == 4


def test_metadata_tells_the_errors_of_the_table(structures):
    result = run_fit(structures, settings=SMALL)
    stored = {(e["of"], e["kind"]): e for e in result.model.metadata["fit"]["errors"]}
    for of, p in (("train", result.train), ("left out", result.left_out), ("test", result.test)):
        at = p.kind == ENERGY
        bars = predicted_error(p, result.model.noise, result.model.calibration)[at]
        error = (p.y - p.mean)[at]
        assert stored[of, "energy"]["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-12)
        assert stored[of, "energy"]["rms_z"] == pytest.approx(np.sqrt(np.mean((error / bars) ** 2)), rel=1e-9)
    left_out = result.statistics.loco[result.train.kind == ENERGY]
    assert stored["left out", "energy"]["rmse"] == pytest.approx(np.sqrt(np.nanmean(left_out**2)), rel=1e-12)
    assert np.mean(result.left_out.std**2) > np.mean(result.train.std**2)
    assert stored["left out", "energy"]["rmse"] > stored["train", "energy"]["rmse"]


def test_a_box_without_refits_is_calibrated_by_the_bars_of_rows_left_out(structures):
    box = {"posterior.kind": "hypercube", "posterior.calibration_source": "left-out", "snap.twojmax": 4}
    result = run_fit(structures, settings={**SMALL, **box})

    def alphas(p):
        error = p.y - p.mean
        rows = np.isfinite(error) & (p.std > 0.0) & informative(p.kind, p.size)
        found = calibrate(HeldOut(error[rows], p.std[rows], 0.0 * p.std[rows], p.kind[rows], "", p.config[rows]))
        return found.alpha_energy, found.alpha_force

    told = result.model.calibration
    assert (told["alpha_energy"], told["alpha_force"]) == pytest.approx(alphas(result.left_out))
    assert told["alpha_force"] < alphas(replace(result.left_out, std=result.train.std))[1]


def test_paths_in_a_file_of_settings_are_taken_from_its_folder(tmp_path):
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "fit.toml").write_text('[data]\ntrain = ["a.xyz", "b.xyz"]\ntest = ["c.xyz"]\n')
    found = FitSettings.from_toml(folder / "fit.toml").data
    assert found.train == (str(folder / "a.xyz"), str(folder / "b.xyz"))
    assert found.test == (str(folder / "c.xyz"),)


@pytest.mark.parametrize("text", ["\x01", "\x1b[2J", "a\x00b", "é\x1f", '"\\\n\t\r', "\x0b\x0c"])
def test_any_text_survives_toml(text):
    assert tomllib.loads(write_toml({"data": {"energy_key": text}})) == {"data": {"energy_key": text}}
