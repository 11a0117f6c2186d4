"""The prior on what data leave open: sane answers, honest bars, one warning, and no trace where data suffice."""

from __future__ import annotations

import logging
from dataclasses import replace

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.neighborlist import neighbor_list
from linear_problems import matrix, misspecified
from mliuq.errors import MliuqError
from mliuq.fitting.fit import run_fit
from mliuq.readers import read_structures
from mliuq.regression import solve
from mliuq.regression.distributed import Team
from mliuq.regression.protection import Protection
from mliuq.regression.solver import triangularise

PAIRS = {(31, 31): (0.3, 3.0), (7, 7): (0.15, 3.1), (7, 31): (2.0, 1.95)}  # depth (eV) and distance (Å)
SETTINGS = {"snap.twojmax": 4, "snap.rcut": 4.7, "data.test_fraction": 0.0, "posterior.members": 200}


def made(atoms: Atoms) -> Atoms:
    """The structure with energy and forces of Morse pairs."""
    i, j, d, vector = neighbor_list("ijdD", atoms, 6.0)
    cut, slope = 0.5 * (1 + np.cos(np.pi * d / 6)), -0.5 * np.pi / 6 * np.sin(np.pi * d / 6)
    energy, pull = np.zeros(len(d)), np.zeros(len(d))
    for pair, (depth, distance) in PAIRS.items():
        of = (np.minimum(*atoms.numbers[[i, j]]) == min(pair)) & (np.maximum(*atoms.numbers[[i, j]]) == max(pair))
        x = np.exp(-1.5 * (d[of] - distance))
        energy[of], pull[of] = depth * (x * x - 2 * x), 3 * depth * (x - x * x)
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, i, ((pull * cut + energy * slope) / d)[:, None] * vector)
    found = atoms.copy()
    found.calc = SinglePointCalculator(found, energy=0.5 * float(np.sum(energy * cut)), forces=forces)
    return found


def rattled(size: float, seed: int = 0) -> Atoms:
    atoms = bulk("GaN", "zincblende", a=4.5).repeat(2)
    atoms.positions += np.random.default_rng(seed).normal(scale=size, size=atoms.positions.shape)
    return atoms


@pytest.fixture(scope="module")
def volumes() -> list[Atoms]:
    """One crystal at thirty volumes: every force is zero."""
    return [made(bulk("GaN", "zincblende", a=4.5 * f)) for f in np.linspace(0.93, 1.07, 30)]


def test_reference_forces_are_those_of_its_energy():
    atoms, step = rattled(0.1), 1e-5
    forces = made(atoms).get_forces()
    moved = [atoms.copy() for _ in range(2)]
    for copy, sign in zip(moved, (1, -1), strict=True):
        copy.positions[3, 1] += sign * step
    energies = [made(copy).get_potential_energy() for copy in moved]
    assert forces[3, 1] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), rel=1e-5)


def test_small_displacements_are_answered_sanely_and_bars_say_unknown(volumes, caplog):
    with caplog.at_level(logging.WARNING):
        result = run_fit(volumes, settings=SETTINGS)
    assert result.protection.lent > 5.0
    assert result.model.metadata["fit"]["weights_held_by_prior"] == result.protection.lent
    assert result.solution.condition < 1e8
    said = [record.message for record in caplog.records if "open" in record.message]
    assert len(said) == 1
    assert "every force seen is zero by symmetry" in said[0]
    assert "one composition" in said[0]
    assert not any("columns" in record.message for record in caplog.records)
    calculator = mliuq.MLIUQCalculator(result.model)
    rest = rattled(0.0)
    for size in (0.01, 0.05, 0.1):
        atoms = rattled(size)
        change, members = [], []
        for structure in (atoms, rest):
            structure.calc = calculator
            change.append(structure.get_potential_energy())
            members.append(calculator.get_property("energy_comm", structure))
        atoms.calc = calculator
        n = len(atoms)
        forces = atoms.get_forces()
        assert np.abs(forces).max() < 40.0 * size, "eV/Å: stiffer than any crystal"
        answer = (change[0] - change[1]) / n
        truth = (made(atoms).get_potential_energy() - made(rest).get_potential_energy()) / n
        assert abs(answer) < 0.3
        std = np.sqrt(np.mean(((members[0] - members[1]) / n - answer) ** 2))
        assert abs(answer - truth) < 4.0 * std
    own = [abs(line.rmse) for line in result.errors if line.of == "train" and line.kind == "energy"]
    assert max(own) < 2e-3, "the data are met as before"


def test_data_that_suffice_are_fitted_as_without(tungsten):
    structures = read_structures(tungsten)[::4]
    settings = {"snap.twojmax": 4, "posterior.members": 30}
    auto, bare = (run_fit(structures, settings={**settings, "solver.ridge": ridge}) for ridge in ("auto", 0.0))
    assert auto.protection.triangle is None
    assert auto.protection.lent == 0.0
    np.testing.assert_array_equal(auto.model.theta, bare.model.theta)
    np.testing.assert_array_equal(auto.model.members, bare.model.members)


def test_what_one_composition_leaves_open_is_said_once_and_not_in_bars_of_atoms(caplog):
    crystals = [made(bulk("GaN", "zincblende", a=4.5 * f).repeat((2, 1, 1))) for f in np.linspace(0.96, 1.04, 30)]
    rng = np.random.default_rng(1)
    structures = []
    for atoms in crystals:
        atoms.positions += rng.normal(scale=0.15, size=atoms.positions.shape)
        structures.append(made(atoms))
    with caplog.at_level(logging.WARNING):
        result = run_fit(structures, settings=SETTINGS)
    assert result.solution.rank == result.model.theta.size
    assert 0.99 < result.protection.lent < 3.0
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert sum("one composition" in message for message in said) == 1
    bare = run_fit(structures, settings={**SETTINGS, "solver.ridge": 0.0})
    assert bare.solution.rank == result.solution.rank - 1
    bars = []
    for model in (result.model, bare.model):
        atoms = rattled(0.1)
        atoms.calc = mliuq.MLIUQCalculator(model)
        atoms.get_potential_energy()
        bars.append((atoms.calc.results["energies_std"].max(), atoms.calc.results["energy_std"]))
    assert bars[0][0] < 0.3 * bars[1][0], "energy shared at will between neighbours is no error"
    assert bars[0][1] == pytest.approx(bars[1][1], rel=0.1), "the cell's own bar stays"
    other = bulk("GaN", "zincblende", a=4.5, cubic=True)
    other.symbols[0] = "N"
    other.calc = mliuq.MLIUQCalculator(result.model)
    shares = {name: array for name, array in result.model.arrays.items() if name.startswith("sharing.")}
    assert shares["sharing.moves"].shape == (1, *result.model.theta.shape)
    part = np.einsum("ms,sep->mep", shares["sharing.coefficients"], shares["sharing.moves"])
    kept = replace(result.model, members=result.model.members - part, arrays={})
    for atoms, least, most in ((rattled(0.1), 0.0, 1e-3), (other, 0.5, 10.0)):
        spreads, committees = [], []
        for model in (result.model, kept):
            atoms.calc = mliuq.MLIUQCalculator(model)
            committees.append(atoms.calc.get_property("energy_comm", atoms))
            spreads.append(atoms.calc.results)
        np.testing.assert_allclose(spreads[0]["energies_std"], spreads[1]["energies_std"], rtol=1e-9)
        np.testing.assert_allclose(spreads[0]["energies_max"], spreads[1]["energies_max"], rtol=1e-9)
        of_the_split = float(np.std(committees[0] - committees[1]))
        assert least <= of_the_split < most, "eV: nobody knows it, and only another composition asks for it"
    gallium, nitrogen = (result.model.theta[k, 0] for k in range(2))
    assert abs(gallium - nitrogen) < 10.0, "the split stays near the mean energy"


def test_energies_alone(volumes, caplog):
    with caplog.at_level(logging.WARNING):
        run_fit(volumes, settings={**SETTINGS, "weights.force": 0.0})
    assert any("no forces seen" in record.message for record in caplog.records)


def test_forces_alone_leave_the_zero_of_energies_open(tungsten, caplog):
    structures = read_structures(tungsten)[::6]
    with caplog.at_level(logging.WARNING):
        result = run_fit(structures, settings={"snap.twojmax": 2, "weights.energy": 0.0, "posterior.members": 20})
    assert any("no energies seen" in record.message for record in caplog.records)
    assert result.solution.rank == result.model.theta.size


def test_a_cutoff_without_neighbours_is_an_error(tungsten):
    structures = read_structures(tungsten)[::8]
    with pytest.raises(MliuqError, match=r"determine \d of 56 .*within the cutoff of 1 Å"):
        run_fit(structures, settings={"snap.rcut": 1.0})


def test_the_prior_is_rows_fitted_along():
    rows = misspecified()
    rng = np.random.default_rng(3)
    prior = np.triu(rng.normal(size=(10, 10)))
    root = np.sqrt(rows.table.w)
    x, y = np.vstack([matrix(rows) * root[:, None], prior[:, :9]]), np.concatenate([rows.table.y * root, prior[:, 9]])
    found = solve(rows, prior=prior)
    np.testing.assert_allclose(found.theta, np.linalg.lstsq(x, y, rcond=None)[0], rtol=1e-8)
    a = x.T @ x
    np.testing.assert_allclose(found.factor.T @ found.factor, a, rtol=1e-9, atol=1e-9 * np.abs(a).max())
    hat = matrix(rows) * root[:, None] @ np.linalg.solve(a, (matrix(rows) * root[:, None]).T)
    assert found.effective_parameters == pytest.approx(np.trace(hat), rel=1e-6)
    assert triangularise(rows, Team()).shape == (10, 10)


def test_members_move_as_the_prior_says_along_what_it_holds(volumes):
    result = run_fit(volumes, settings={**SETTINGS, "posterior.members": 2000})
    protection, factor = result.protection, result.solution.factor
    moves = result.model.members.reshape(2000, -1) - result.model.theta.ravel()
    along = (moves @ factor.T) @ (factor @ protection.axes)
    spread = np.concatenate([protection.spread, protection.sharing], axis=1)
    own = (spread.T @ factor.T) @ (factor @ protection.axes)
    np.testing.assert_allclose(along.T @ along / 2000, own.T @ own, atol=0.2 * np.diag(own.T @ own).max())


def test_what_is_kept_apart_is_what_members_hold():
    rng = np.random.default_rng(4)
    axes, spread, sharing = np.eye(5)[:, :2], rng.normal(size=(5, 1)), rng.normal(size=(5, 2))
    both = Protection(axes=axes, spread=spread, sharing=sharing)
    moves, factor = rng.normal(size=(7, 5)), np.eye(5)
    shared = both.shared(7, seed=3)
    assert shared is not None
    added = both.applied(moves, factor, 3) - replace(both, sharing=None).applied(moves, factor, 3)
    np.testing.assert_allclose(added, shared.coefficients @ shared.moves, rtol=1e-10)
    assert np.abs(added).max() > 0.1
