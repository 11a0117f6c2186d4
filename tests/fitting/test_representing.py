"""Labels that stand for a pool: the fit is that of the pool."""

from __future__ import annotations

import json
from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from mliuq.cli import main
from mliuq.errors import MliuqError
from mliuq.fitting.fit import run_fit
from mliuq.learning import updated_fit
from mliuq.readers import read_structures
from mliuq.tuning import tune

SETTINGS = {
    "snap.twojmax": 2,
    "weights.energy": 100.0,
    "posterior.members": 8,
    "posterior.calibrate": False,
    "data.test_fraction": 0.0,
    "solver.ridge": 0.0,
}
COUNTS = (1, 2, 7, 30, 1, 1, 4, 2)


@pytest.fixture(scope="module")
def labelled(tungsten: Path) -> list[Atoms]:
    """Some with forces, different in kind."""
    found = [a for a in read_structures(tungsten) if np.abs(a.get_forces()).max() > 0.1]
    return found[:: len(found) // len(COUNTS)][: len(COUNTS)]


@pytest.fixture(scope="module")
def pool(labelled: list[Atoms]) -> list[Atoms]:
    """Copies, without values; not the same to the last digit, which would be one structure."""
    rng = np.random.default_rng(0)
    found = []
    for atoms, n in zip(labelled, COUNTS, strict=True):
        for k in range(n):
            copy = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
            copy.positions += 1e-3 * rng.normal(size=3) * (k > 0)
            found.append(copy)
    return found


def test_the_fit_is_that_of_weights_by_count(labelled: list[Atoms], pool: list[Atoms]) -> None:
    result = run_fit(labelled, settings=SETTINGS, represent=pool)
    for atoms, n in zip(labelled, COUNTS, strict=True):
        atoms.info["n"] = n / np.mean(COUNTS)
    counted = mliuq.fit(labelled, settings={**SETTINGS, "weights.columns": {"energy": "n", "force": "n"}})
    plain = mliuq.fit(labelled, settings=SETTINGS)
    np.testing.assert_allclose(result.model.theta, counted.theta, rtol=1e-4)
    assert np.abs(plain.theta - counted.theta).max() > 0.01 * np.abs(counted.theta).max(), "or this says nothing"
    facts = result.model.metadata["data"]["represents"]
    assert facts["structures"] == pytest.approx(sum(COUNTS), rel=1e-4)
    assert (facts["least"], facts["largest"]) == pytest.approx((1.0, 30.0), rel=1e-4)
    assert facts["worth"] == pytest.approx(sum(COUNTS) ** 2 / np.sum(np.square(COUNTS)), rel=1e-4)
    assert "represents" not in plain.metadata["data"]


def test_every_kind_of_row_has_the_factor(labelled: list[Atoms], pool: list[Atoms]) -> None:
    """One-body energies that are given belong to no configuration: they hold as before."""
    given = {**SETTINGS, "weights.stress": 10.0, "solver.one_body": {"W": -4.0}}
    for atoms, n in zip(labelled, COUNTS, strict=True):
        atoms.info["n"] = n / np.mean(COUNTS)
    columns = dict.fromkeys(("energy", "force", "stress"), "n")
    found = mliuq.fit(labelled, settings=given, represent=pool)
    np.testing.assert_allclose(
        found.theta, mliuq.fit(labelled, settings={**given, "weights.columns": columns}).theta, rtol=1e-3, atol=1e-6
    )
    assert found.theta[0, 0] == pytest.approx(-4.0, abs=1e-6)


def test_energies_alone_stand_by_energies(labelled: list[Atoms], pool: list[Atoms]) -> None:
    silent = {**SETTINGS, "weights.force": 0.0, "solver.ridge": "auto"}
    assert mliuq.fit(labelled, settings=silent, represent=pool).metadata["data"]["represents"]["least"] >= 1.0


def test_the_command_and_an_update_do_the_same(labelled: list[Atoms], pool: list[Atoms], tmp_path: Path) -> None:
    write(tmp_path / "train.xyz", labelled)
    write(tmp_path / "pool_1.xyz", pool[:20])
    write(tmp_path / "pool_2.xyz", pool[20:])
    sets = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    paths = [str(tmp_path / f"pool_{k}.xyz") for k in (1, 2)]
    wanted = ["--represent", paths[0], "--represent", paths[1]]
    assert main(["fit", str(tmp_path / "train.xyz"), "-o", str(tmp_path / "W.mliuq"), *sets, *wanted]) == 0
    model = mliuq.Model.load(tmp_path / "W.mliuq")
    expected = mliuq.fit(labelled, settings=SETTINGS, represent=pool).theta
    np.testing.assert_allclose(model.theta, expected, rtol=1e-6)
    assert model.metadata["fit"]["settings"]["data"]["represent"] == ["pool_1.xyz", "pool_2.xyz"]
    before = updated_fit(labelled[:6], SETTINGS, represent=pool)
    after = updated_fit(labelled, SETTINGS, state=before.state, represent=pool)
    assert after.reused == 0  # all stand for others now
    np.testing.assert_allclose(after.model.theta, expected, rtol=1e-8)
    assert main(["fit", str(tmp_path / "train.xyz"), "-o", paths[0], *wanted]) == 1


def test_what_cannot_be_stood_for(labelled: list[Atoms], tmp_path: Path) -> None:
    for pool, message in (
        ([], "represent is empty"),
        ([bulk("Cu", cubic=True)], "represent: .*Cu"),
        (bulk("W"), "represent is one Atoms"),
    ):
        with pytest.raises(MliuqError, match=message):
            mliuq.fit(labelled, settings=SETTINGS, represent=pool)
    asked = {**SETTINGS, "data.represent": ("pool.xyz",)}
    with pytest.raises(MliuqError, match="tune lets every configuration stand for itself"):
        tune(labelled, asked)
    with pytest.raises(MliuqError, match="weights of a published potential stay"):
        mliuq.adopt(mliuq.fit(labelled, settings=SETTINGS), labelled, asked)
