"""The calculator's manners: when it computes, what it keeps, what it refuses to guess."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS, FIRE
from ase.stress import voigt_6_to_full_3x3_stress
from mliuq import MLIUQCalculator, MliuqError, Model
from mliuq.descriptor.neighbours import Neighbours
from systems import PARAMS, random_atoms, random_model, structure

PLAIN = {"energy", "free_energy", "energies", "forces", "stress", "stresses"}
CHEAP = {
    "energy_std", "energy_min", "energy_max", "energy_err", "energies_std", "energies_min", "energies_max",
    "energies_err",
}  # fmt: skip
ON_REQUEST = {"energy_comm", "extrapolation"}


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model(PARAMS["binary"], members=6, factor=True, noise=True)


@pytest.fixture
def atoms(model: Model) -> Atoms:
    atoms = structure("triclinic", model.params)
    atoms.calc = MLIUQCalculator(model)
    return atoms


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[int, int]]:
    """How often anything was evaluated, and how often neighbour lists were made, since the last call."""
    calls = {"calculate": 0, "lists": 0}
    calculate, init = MLIUQCalculator.calculate, Neighbours.__init__

    def counted_calculate(*args: Any, **kwargs: Any) -> None:
        calls["calculate"] += 1
        calculate(*args, **kwargs)

    def counted_init(*args: Any, **kwargs: Any) -> None:
        calls["lists"] += 1
        init(*args, **kwargs)

    monkeypatch.setattr(MLIUQCalculator, "calculate", counted_calculate)
    monkeypatch.setattr(Neighbours, "__init__", counted_init)

    def since() -> tuple[int, int]:
        result = calls["calculate"], calls["lists"]
        calls.update(calculate=0, lists=0)
        return result

    return since


def fresh(model: Model, atoms: Atoms) -> dict[str, Any]:
    atoms = atoms.copy()
    atoms.calc = MLIUQCalculator(model, skin=0.0)
    atoms.get_forces()
    return atoms.calc.results


def check_against_fresh(model: Model, atoms: Atoms) -> None:
    atoms.get_forces()
    expected = fresh(model, atoms)
    assert atoms.calc.results.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(np.abs(value).max(), 1e-3)
        np.testing.assert_allclose(atoms.calc.results[name], value, rtol=0, atol=1e-11 * scale, err_msg=name)


class TestProperties:
    def test_a_posterior_offers_everything(self, model: Model) -> None:
        assert set(MLIUQCalculator.implemented_properties) >= PLAIN | CHEAP | ON_REQUEST
        assert set(MLIUQCalculator(model).implemented_properties) >= PLAIN | CHEAP | ON_REQUEST

    def test_a_model_without_members_offers_no_spreads(self) -> None:
        atoms = structure("cube", PARAMS["linear"])
        atoms.calc = MLIUQCalculator(random_model(PARAMS["linear"]))
        assert set(atoms.calc.implemented_properties) == PLAIN
        atoms.get_potential_energy()
        assert set(atoms.calc.results) == PLAIN - {"stresses"}
        for name in CHEAP | ON_REQUEST:
            with pytest.raises(PropertyNotImplementedError):
                atoms.calc.get_property(name, atoms)

    def test_no_factor_no_extrapolation(self) -> None:
        atoms = structure("cube", PARAMS["linear"])
        atoms.calc = MLIUQCalculator(random_model(PARAMS["linear"], members=2))
        assert "extrapolation" not in atoms.calc.implemented_properties
        assert "energy_comm" in atoms.calc.implemented_properties
        with pytest.raises(PropertyNotImplementedError):
            atoms.calc.get_property("extrapolation", atoms)

    def test_shapes_and_relations(self, model: Model, atoms: Atoms) -> None:
        n = len(atoms)
        shapes = {"energies": (n,), "forces": (n, 3), "stress": (6,), "stresses": (n, 6), "energy_comm": (6,)}
        shapes |= {name: (n,) for name in CHEAP | ON_REQUEST if name.startswith("energies") or name == "extrapolation"}
        for of, shape in (("forces", (n, 3)), ("stress", (6,))):
            shapes |= {f"{of}_{what}": shape for what in ("std", "min", "max", "err")} | {f"{of}_comm": (6, *shape)}
        shapes |= {"energy_std_gradient": (n, 3), "energies_comm": (6, n)}
        for name in atoms.calc.implemented_properties:
            value = atoms.calc.get_property(name, atoms)
            assert np.shape(value) == shapes.get(name, ()), name
            assert np.all(np.isfinite(value))
        r = atoms.calc.results
        assert r["free_energy"] == r["energy"] == pytest.approx(r["energies"].sum(), rel=1e-12)
        assert atoms.get_potential_energy(force_consistent=True) == r["energy"]
        np.testing.assert_allclose(r["stresses"].sum(axis=0), r["stress"], atol=1e-12)
        np.testing.assert_allclose(r["forces"].sum(axis=0), 0.0, atol=1e-10)
        assert r["energy_min"] <= r["energy_comm"].min() + 1e-9
        assert r["energy_max"] == pytest.approx(r["energy_comm"].max(), rel=1e-12)
        assert np.all(r["energies_min"] <= r["energies_max"])
        assert np.all(r["energies_err"] > r["energies_std"])  # α > 1 and a floor

    def test_stress_needs_a_volume_energies_do_not(self, model: Model) -> None:
        atoms = structure("cluster", model.params)
        atoms.set_cell(None)
        atoms.calc = MLIUQCalculator(model)
        energy = atoms.get_potential_energy()
        assert "stress" not in atoms.calc.results
        for name in ("stress", "stresses"):
            with pytest.raises(PropertyNotImplementedError):
                atoms.calc.get_property(name, atoms)
        assert atoms.get_potential_energy() == energy

    def test_unknown_properties(self, atoms: Atoms) -> None:
        for name in ("dipole", "magmom", "energy_sdt"):
            with pytest.raises(PropertyNotImplementedError):
                atoms.calc.get_property(name, atoms)


CHANGES: dict[str, Callable[[Atoms], Any]] = {
    "positions": lambda a: a.positions.__iadd__(0.01 * np.arange(3 * len(a)).reshape(-1, 3)),
    "one position, far": lambda a: a.positions.__setitem__(1, a.positions[1] + a.cell[0] * 2),
    "cell": lambda a: a.set_cell(a.cell * 1.01),
    "cell and atoms": lambda a: a.set_cell(a.cell * 1.01, scale_atoms=True),
    "a hair's strain": lambda a: a.set_cell(a.cell * (1 + 1e-9), scale_atoms=True),
    "one element": lambda a: a.symbols.__setitem__(0, "Be"),
    "two elements swapped": lambda a: a.set_chemical_symbols([*a.get_chemical_symbols()[::-1]]),
    "pbc": lambda a: a.set_pbc([True, False, True]),
    "no pbc": lambda a: a.set_pbc(False),
    "order": lambda a: a.set_positions(a.positions[::-1]),
    "one atom fewer": lambda a: a.pop(2),
    "one atom more": lambda a: a.append("Be"),
    "no cell": lambda a: (a.set_pbc(False), a.set_cell(None)),
}


class TestCaching:
    def test_asking_twice_computes_once(self, atoms: Atoms, count: Callable) -> None:
        atoms.get_potential_energy()
        assert count() == (1, 1)
        for ask in (atoms.get_forces, atoms.get_stress, atoms.get_potential_energies, atoms.get_potential_energy):
            ask()
        for name in CHEAP:
            atoms.calc.get_property(name, atoms)
        assert count() == (0, 0)
        assert not atoms.calc.calculation_required(atoms, ["energy", "forces", *CHEAP])
        assert atoms.calc.calculation_required(atoms, ["energy_comm"])

    def test_on_request_keys_join_the_others(self, atoms: Atoms, count: Callable) -> None:
        before = {**{k: np.copy(v) for k, v in atoms.calc.results.items()}, "energy": atoms.get_potential_energy()}
        count()
        for name in ("energy_comm", "extrapolation", "stresses"):
            atoms.calc.get_property(name, atoms)
            assert count() == (1, 0), "one evaluation, no new lists"
        for name in ("energy_comm", "extrapolation", "stresses", "forces", "energy"):
            atoms.calc.get_property(name, atoms)
        assert count() == (0, 0), "an earlier key was lost"
        assert atoms.get_potential_energy() == before["energy"]

    def test_small_steps_keep_the_lists_large_ones_do_not(self, model: Model, atoms: Atoms, count: Callable) -> None:
        atoms.get_forces()
        count()
        atoms.positions[2] += [0.3, 0.0, 0.0]
        check = atoms.get_forces()
        assert count() == (1, 0)
        np.testing.assert_allclose(check, fresh(model, atoms)["forces"], atol=1e-11)
        count()
        atoms.positions[2] += [0.21, 0.0, 0.0]  # 0.51 Å from where the lists were made
        atoms.get_forces()
        assert count() == (1, 1)

    @pytest.mark.parametrize("how", CHANGES)
    def test_every_change_of_the_structure_is_seen(self, model: Model, atoms: Atoms, how: str) -> None:
        energy = atoms.get_potential_energy()
        atoms.calc.get_property("energy_comm", atoms)
        if how == "one atom more":
            atoms.positions -= atoms.positions.min(axis=0) - 1.0
            atoms.get_potential_energy()
        CHANGES[how](atoms)
        assert atoms.calc.calculation_required(atoms, ["energy"])
        check_against_fresh(model, atoms)
        if "far" not in how:  # a lattice vector changes nothing
            assert atoms.get_potential_energy() != energy
        assert "energy_comm" not in atoms.calc.results, "a result of the old structure was kept"

    @pytest.mark.parametrize(
        "change",
        [
            lambda a: a.set_initial_charges(np.ones(len(a))),
            lambda a: a.set_initial_magnetic_moments(np.ones(len(a))),
            lambda a: a.set_masses(np.ones(len(a))),
            lambda a: a.set_momenta(np.ones((len(a), 3))),
            lambda a: a.set_tags(1),
            lambda a: a.set_constraint(FixAtoms([0])),
        ],
    )
    def test_what_does_not_matter_computes_nothing(self, atoms: Atoms, count: Callable, change: Callable) -> None:
        atoms.get_forces()
        count()
        change(atoms)
        atoms.get_forces()
        assert count() == (0, 0)

    def test_results_cannot_be_spoiled_through_what_was_returned(self, model: Model, atoms: Atoms) -> None:
        for ask in (atoms.get_forces, atoms.get_potential_energies, atoms.get_stress):
            ask()[:] = 7.0
        for name in ("energies_std", "energy_comm", "extrapolation", "stresses"):
            atoms.calc.get_property(name, atoms)[:] = 7.0
            assert not np.any(atoms.calc.get_property(name, atoms) == 7.0)
        np.testing.assert_allclose(atoms.get_forces(), fresh(model, atoms)["forces"], atol=1e-11)

    def test_results_kept_from_before_do_not_change_later(self, atoms: Atoms) -> None:
        forces, energies = atoms.calc.get_property("forces", atoms), atoms.get_potential_energies()
        kept = dict(atoms.calc.results)
        copies = forces.copy(), energies.copy(), kept["energies_std"].copy()
        atoms.rattle(0.05, seed=1)
        atoms.get_forces()
        for now, before in zip((forces, energies, kept["energies_std"]), copies, strict=True):
            np.testing.assert_array_equal(now, before)

    def test_the_calculator_does_not_touch_the_atoms(self, atoms: Atoms) -> None:
        atoms.positions[0] += 3 * atoms.cell[0]
        before = atoms.copy()
        atoms.get_forces()
        assert atoms == before
        np.testing.assert_array_equal(atoms.positions, before.positions)

    def test_one_calculator_for_several_structures(self, model: Model, count: Callable) -> None:
        calc = MLIUQCalculator(model)
        several = [structure(cell, model.params) for cell in ("cube", "slab", "cluster", "tiny")]
        for _ in range(2):
            for atoms in several:
                atoms.calc = calc
                check_against_fresh(model, atoms)

    def test_a_failed_evaluation_leaves_nothing_behind(self, model: Model, atoms: Atoms) -> None:
        atoms.get_forces()
        good = atoms.positions.copy()
        atoms.positions[0, 0] = np.nan
        with pytest.raises(MliuqError, match=r"atom 0 .* has position"):
            atoms.get_potential_energy()
        assert "energy" not in atoms.calc.results
        atoms.positions[:] = good
        check_against_fresh(model, atoms)


class TestSkin:
    @pytest.mark.parametrize("skin", [0.0, 0.3, 1.0, 3.0])
    @pytest.mark.parametrize("cell", ["triclinic", "tiny", "slab", "cluster"])
    def test_a_walk_gives_what_fresh_lists_give(self, model: Model, cell: str, skin: float) -> None:
        atoms = structure(cell, model.params, seed=3)
        atoms.calc = MLIUQCalculator(model, skin=skin)
        rng = np.random.default_rng(0)
        for _ in range(12):
            atoms.positions += rng.uniform(-0.07, 0.07, size=(len(atoms), 3))
            check_against_fresh(model, atoms)

    def test_lists_hold_up_to_half_the_skin_exactly(self, model: Model, count: Callable) -> None:
        """Two atoms that start just outside the cutoff and each move half the skin towards the other."""
        cutoff = model.params.cutoff
        atoms = Atoms("WW", positions=[[0, 0, 0], [cutoff + 0.99, 0, 0]])
        atoms.calc = MLIUQCalculator(model, skin=1.0)
        lone = atoms.get_potential_energy()
        count()
        atoms.positions += [[0.4999, 0, 0], [-0.4999, 0, 0]]
        close = atoms.get_potential_energy()
        assert count() == (1, 0)
        assert close != lone
        assert close == pytest.approx(fresh(model, atoms)["energy"], rel=1e-14)

    def test_all_atoms_moving_together_far(self, model: Model, atoms: Atoms) -> None:
        atoms.get_forces()
        for _ in range(5):
            atoms.positions += [0.4, 0.4, -0.3]
            check_against_fresh(model, atoms)

    def test_atoms_that_meet_while_the_lists_hold(self, model: Model) -> None:
        atoms = Atoms("WBe", positions=[[0, 0, 0], [0.6, 0, 0]])
        atoms.calc = MLIUQCalculator(model, skin=1.0)
        atoms.get_potential_energy()
        for gap in (0.0, 1e-5):
            atoms.positions[:] = [[0.3, 0, 0], [0.3 + gap, 0, 0]]
            with pytest.raises(MliuqError, match=r"atoms .* apart"):
                atoms.get_potential_energy()


class TestCopies:
    def test_copies_and_pickles_are_independent_and_equal(self, model: Model, atoms: Atoms) -> None:
        atoms.get_forces()
        for clone in (copy.deepcopy(atoms), pickle.loads(pickle.dumps(atoms))):
            assert clone.calc is not atoms.calc
            assert clone.get_potential_energy() == atoms.get_potential_energy()
            clone.rattle(0.1, seed=1)
            check_against_fresh(model, clone)
            check_against_fresh(model, atoms)

    def test_options_survive(self, model: Model) -> None:
        calc = copy.deepcopy(MLIUQCalculator(model, threads=3, skin=0.25, kernel="reference"))
        assert (calc._threads, calc._skin, calc._potential.kernel) == (3, 0.25, "reference")

    def test_models_pickle(self, model: Model) -> None:
        assert model.error_scale.alpha_energy == 1.5
        again = pickle.loads(pickle.dumps(model))
        assert again.params == model.params
        assert again.theta.tobytes() == model.theta.tobytes()
        assert again.error_scale.alpha_energy == 1.5


class TestMaking:
    def test_from_a_path_a_string_or_a_model(self, model: Model, atoms: Atoms, tmp_path: Path) -> None:
        path = tmp_path / "m.mliuq"
        model.save(path)
        energies = set()
        for source in (path, str(path), model):
            atoms.calc = MLIUQCalculator(source)
            energies.add(atoms.get_potential_energy())
        assert len(energies) == 1

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(MliuqError, match=r"nowhere\.mliuq: no such file"):
            MLIUQCalculator(tmp_path / "nowhere.mliuq")

    def test_written_frames_carry_the_results(self, atoms: Atoms, tmp_path: Path) -> None:
        atoms.get_forces()
        write(tmp_path / "a.xyz", atoms, format="extxyz")
        again = read(tmp_path / "a.xyz")
        assert again.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), rel=1e-7)
        np.testing.assert_allclose(again.get_forces(), atoms.get_forces(), atol=1e-6)


class TestDynamics:
    """A potential with a floor: strong repulsion near, weak random terms beyond."""

    @pytest.fixture
    def crystal(self) -> Atoms:
        params = PARAMS["linear"]
        base = random_model(params, members=3, seed=2, zbl=(2.0, 4.0))
        model = Model(params, 0.05 * base.theta, members=0.05 * base.members, zbl=base.zbl)
        atoms = random_atoms(("W",), 6, 5.2 * np.eye(3), closest=2.2, seed=1)
        atoms.calc = MLIUQCalculator(model)
        return atoms

    def test_optimisers(self, crystal: Atoms) -> None:
        start = crystal.get_potential_energy()
        with BFGS(crystal, logfile=None) as optimiser:
            assert optimiser.run(fmax=0.02, steps=200)
        assert np.linalg.norm(crystal.get_forces(), axis=1).max() < 0.02
        assert crystal.get_potential_energy() < start

    def test_cells_relax_too(self, crystal: Atoms) -> None:
        # Repulsion alone would blow the cell up: hold it by a pressure.
        with FIRE(FrechetCellFilter(crystal, scalar_pressure=0.5), logfile=None) as optimiser:
            optimiser.run(fmax=0.05, steps=400)
        pressure = -np.trace(voigt_6_to_full_3x3_stress(crystal.get_stress())) / 3
        assert pressure == pytest.approx(0.5, abs=0.02)

    def test_energy_is_conserved(self, crystal: Atoms, count: Callable) -> None:
        rng = np.random.default_rng(0)
        crystal.set_momenta(rng.normal(scale=np.sqrt(600 * units.kB * 183.84), size=(len(crystal), 3)))
        total = []
        with VelocityVerlet(crystal, 0.5 * units.fs) as dynamics:
            for _ in range(20):
                dynamics.run(10)
                total.append(crystal.get_total_energy())
        made, lists = count()
        assert lists < made / 5, "the skin saves nothing"
        kinetic = crystal.get_kinetic_energy()
        assert kinetic > 0.1
        assert np.ptp(total) < 2e-3 * kinetic
