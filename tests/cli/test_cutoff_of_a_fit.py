"""`mliuq fit` says which cutoff it found in the data where it was given none."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from mliuq import Model
from mliuq.cli import main

SAID = "Å, by the distances of neighbours in the data"


def crystal(symbol: str, a: float, seed: int) -> Atoms:
    atoms = bulk(symbol, "bcc", a=a, cubic=True).repeat(2)
    atoms.rattle(0.05, seed=seed)
    atoms.calc = LennardJones(sigma=0.8 * a, epsilon=0.5, rc=8.0)
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.mark.parametrize(
    ("symbol", "a", "options", "cutoff", "said"),
    [
        ("Ta", 3.30, [], 4.9, True),
        ("Ta", 3.30, ["--rcut", "auto"], 4.9, True),
        ("Ta", 3.30, ["--rcut", "5.2"], 5.2, False),
        ("W", 3.18, [], 4.7, True),
    ],
)
def test_what_a_fit_says(
    symbol: str,
    a: float,
    options: list[str],
    cutoff: float,
    said: bool,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "data.xyz", [crystal(symbol, a, seed) for seed in range(8)])
    few = ["--twojmax", "2", "--members", "10", "--energy-weight", "1"]
    assert main(["fit", str(tmp_path / "data.xyz"), "-o", str(tmp_path / "X.mliuq"), *few, *options]) == 0
    assert (f"cutoff {cutoff:g} {SAID}" in " ".join(capfd.readouterr().out.split())) == said
    assert Model.load(tmp_path / "X.mliuq").params.rcutfac == cutoff


def test_a_cutoff_that_is_no_number(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "data.xyz", [crystal("W", 3.18, 0)])
    assert main(["fit", str(tmp_path / "data.xyz"), "-o", str(tmp_path / "X.mliuq"), "--rcut", "long"]) == 1
    assert "snap: rcut is 'long', expected a number or one of 'auto'" in " ".join(capfd.readouterr().err.split())
    assert not (tmp_path / "X.mliuq").exists()
