"""A fit says where its cutoff ends on a shell of neighbours and its forces show it."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from mliuq import SnapParams
from mliuq.fitting.checks import warn_of_shell
from mliuq.fitting.fit import run_fit
from mliuq.posterior.predict import Predictions
from mliuq.regression.rows import ENERGY, FORCE

TANTALUM = [bulk("Ta", "bcc", a=3.30)]


def left_out(outside: int, of: int = 1000, faint: int = 0) -> Predictions:
    """Forces, so many of them outside of members that reach from −1 to 1, and a hundred energies far outside."""
    y = np.zeros(of + 100)
    y[:outside] = np.where(np.arange(outside) % 2, 1.5, -1.5)
    y[of:] = 9.0
    size = np.ones(of + 100)
    size[:faint] = 1e-5
    kind = np.where(np.arange(of + 100) < of, FORCE, ENERGY).astype(np.int8)
    one = np.ones(of + 100)
    return Predictions(y, 0 * one, one, -one, one, kind, np.arange(of + 100), size)


@pytest.mark.parametrize(
    ("predictions", "cutoff", "said"),
    [
        (left_out(30), 4.7, True),
        (left_out(10), 4.7, False),  # one of a hundred is what members leave outside
        (left_out(30, faint=25), 4.7, False),  # zero by symmetry, and not what is meant
        (left_out(30), 4.9, False),
        (left_out(30), 4.4, False),
        (left_out(0, of=0), 4.7, False),
    ],
)
def test_what_is_said(predictions: Predictions, cutoff: float, said: bool, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_shell(predictions, SnapParams(("Ta",), rcutfac=cutoff), TANTALUM)
    assert [record.getMessage() for record in caplog.records] == [
        "3.0 % of the force components lie outside of all members, and a shell of neighbours lies at the cutoff (rcut "
        "4.7 Å), where no weights can follow its forces: expected 4.9 Å or more"
    ] * said


def test_cutoffs_are_those_of_radii(caplog: pytest.LogCaptureFixture) -> None:
    """Radii of 0.6 Å bring the shell of 4.7 Å to 3.9."""
    warn_of_shell(left_out(30), SnapParams(("Ta",), rcutfac=3.9, radii=(0.6,)), TANTALUM)
    (record,) = caplog.records
    assert record.getMessage().endswith("(rcut 3.9 Å), where no weights can follow its forces: expected 4.1 Å or more")


def shaken(n: int) -> list[Atoms]:
    found = []
    for k in range(n):
        atoms = bulk("Ta", "bcc", a=3.30, cubic=True).repeat(2)
        atoms.rattle(0.02 + 0.002 * k, seed=k)
        atoms.calc = LennardJones(sigma=2.6, epsilon=0.5, rc=8.0)
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        found.append(atoms)
    return found


def test_a_fit_asks_with_its_left_out_forces(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """With members that leave no room every force lies outside: said at 4.7 Å, not at the cutoff of the data."""
    settings = {"snap.twojmax": 2, "posterior.members": 20, "posterior.calibration_folds": 2, "weights.energy": 1.0}
    seen: list[Predictions] = []

    def keep(predictions: Predictions, *more: object) -> None:
        seen.append(predictions)
        warn_of_shell(Predictions(**{**vars(predictions), "low": predictions.mean, "high": predictions.mean}), *more)

    monkeypatch.setattr("mliuq.fitting.fit.warn_of_shell", keep)
    structures = shaken(8)
    with caplog.at_level(logging.WARNING, "mliuq.fitting.checks"):
        auto = run_fit(structures, settings=settings)
        assert auto.model.params.rcutfac == 4.9
        assert "shell" not in caplog.text
        run_fit(structures, settings=settings | {"snap.rcut": 4.7})
        assert "a shell of neighbours lies at the cutoff (rcut 4.7 Å)" in caplog.text
        run_fit(structures, settings=settings | {"snap.rcut": 4.7, "posterior.members": 0})
    assert len(seen) == 2, "a fit without members has no bars to judge"
    assert set(np.unique(seen[0].config)) == set(range(len(auto.train_structures)))
