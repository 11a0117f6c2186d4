"""The guard: which dynamics it works with, what it saves, when and how it halts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.md.andersen import Andersen
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.nvtberendsen import NVTBerendsen
from ase.md.verlet import VelocityVerlet
from ase.optimize import (
    BFGS,
    FIRE,
    LBFGS,
    BFGSLineSearch,
    CellAwareBFGS,
    GoodOldQuasiNewton,
    GPMin,
    MDMin,
    ODE12r,
)
from ase.optimize.precon import PreconFIRE, PreconLBFGS
from ase.optimize.sciopt import SciPyFminBFGS, SciPyFminCG
from mliuq import MLIUQCalculator, MliuqError, Model, UncertaintyGuard, UncertaintyHalt
from systems import PARAMS, random_atoms, random_model


class Scripted(EMT):
    """EMT whose error bars are what a test says, by the number of evaluations at new positions."""

    implemented_properties = [*EMT.implemented_properties, "forces_err", "energies_err", "energy_err", "stress_err"]  # noqa: RUF012

    def __init__(self, bar: Callable[[int], float]) -> None:
        super().__init__()
        self.bar = bar
        self.evaluations = -1

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = ("energy",), changes: Sequence[str] = all_changes
    ) -> None:
        super().calculate(atoms, properties, changes)
        self.evaluations += bool(changes)
        value = self.bar(self.evaluations)
        n = len(self.atoms)
        forces_err = np.full((n, 3), 0.1 * value)
        forces_err[2] = value * np.array([2.0, 3.0, -6.0]) / 7.0
        self.results |= {
            "forces_err": forces_err,
            "energies_err": value * (np.arange(n) + 1) / n,
            "energy_err": value,
            "stress_err": value * np.array([0.1, 0.1, 0.1, 1.0, 0.1, 0.1]),
        }


def copper(bar: Callable[[int], float]) -> Atoms:
    atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
    atoms.rattle(0.08, seed=3)
    rng = np.random.default_rng(0)
    atoms.set_momenta(rng.normal(scale=np.sqrt(300 * units.kB * 63.5), size=(len(atoms), 3)))
    atoms.calc = Scripted(bar)
    return atoms


FS = units.fs
KINDS: dict[str, Callable[[Atoms], Any]] = {
    "verlet": lambda a: VelocityVerlet(a, 2 * FS),
    "langevin": lambda a: Langevin(a, 2 * FS, temperature_K=300, friction=0.01 / FS, fixcm=False),
    "bussi": lambda a: Bussi(a, 2 * FS, temperature_K=300, taut=100 * FS),
    "andersen": lambda a: Andersen(a, 2 * FS, temperature_K=300, andersen_prob=0.1),
    "berendsen": lambda a: NVTBerendsen(a, 2 * FS, temperature_K=300, taut=100 * FS),
    "BFGS": lambda a: BFGS(a, logfile=None),
    "LBFGS": lambda a: LBFGS(a, logfile=None),
    "FIRE": lambda a: FIRE(a, logfile=None),
    "MDMin": lambda a: MDMin(a, logfile=None),
    "line search": lambda a: BFGSLineSearch(a, logfile=None),
    "GPMin": lambda a: GPMin(a, logfile=None, update_hyperparams=False),
    "old quasi-Newton": lambda a: GoodOldQuasiNewton(a, logfile=None),
    "ODE12r": lambda a: ODE12r(a, logfile=None),
    "SciPy CG": lambda a: SciPyFminCG(a, logfile=None),
    "SciPy BFGS": lambda a: SciPyFminBFGS(a, logfile=None),
    "precon LBFGS": lambda a: PreconLBFGS(a, precon=None, logfile=None),
    "precon FIRE": lambda a: PreconFIRE(a, precon=None, logfile=None),
    "cell": lambda a: FIRE(FrechetCellFilter(a), logfile=None),
    "cell-aware": lambda a: CellAwareBFGS(FrechetCellFilter(a, exp_cell_factor=1.0), logfile=None),
}


def run(dyn: Any, steps: int = 60) -> Any:
    """Run a dynamics, or an optimiser towards forces it will not reach in as many steps."""
    if "optimize" in type(dyn).__module__:
        return dyn.run(fmax=1e-12, steps=steps)
    return dyn.run(steps)


class TestEveryDynamics:
    @pytest.mark.parametrize("kind", KINDS)
    def test_it_halts_by_an_exception(self, kind: str, tmp_path: Path) -> None:
        atoms = copper(lambda n: 0.1 * n)
        guard = UncertaintyGuard(KINDS[kind](atoms), atoms, save=0.25, halt=0.45, file=tmp_path / "u.xyz")
        with pytest.raises(UncertaintyHalt, match="forces_err of atom 2") as caught:
            run(guard.dyn)
        halt = caught.value
        assert halt.reading.value > 0.45
        assert halt.reading.value == pytest.approx(0.1 * atoms.calc.evaluations)
        assert halt.step == guard.dyn.nsteps
        frames = read(tmp_path / "u.xyz", ":")
        assert len(frames) == guard.saved >= 1
        assert frames[-1].info["guard"] == "halt"
        np.testing.assert_allclose(frames[-1].positions, atoms.positions, atol=1e-7)

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_stops_softly(self, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        atoms = copper(lambda n: 0.1 * n)
        dyn = KINDS[kind](atoms)
        guard = UncertaintyGuard(dyn, atoms, halt=0.45, file=tmp_path / "u.xyz", action="stop")
        with caplog.at_level(logging.WARNING):
            assert not run(dyn)
        assert guard.halted is not None
        assert guard.halted in caplog.text
        assert guard.reading is not None
        at = dyn.nsteps
        assert at < 20
        atoms.calc.bar = lambda n: 0.0
        run(dyn, steps=3)
        assert dyn.nsteps > at, "a run that was stopped can be taken up again"

    def test_a_dynamics_that_does_not_stop_gets_the_exception(self, tmp_path: Path) -> None:
        class Stubborn(VelocityVerlet):
            def run(self, steps: int = 50) -> bool:
                for _ in range(steps):
                    self.step()
                    self.nsteps += 1
                    self.call_observers()
                return True

        atoms = copper(lambda n: 1.0 if n == 3 else 0.1)
        guard = UncertaintyGuard(Stubborn(atoms, FS), atoms, halt=0.5, file=tmp_path / "u.xyz", action="stop")
        with pytest.raises(UncertaintyHalt):
            run(guard.dyn)
        assert guard.dyn.nsteps <= 5

    @pytest.mark.parametrize("kind", ["verlet", "BFGS"])
    def test_every_so_many_steps(self, kind: str, tmp_path: Path) -> None:
        atoms = copper(lambda n: 1.0)
        dyn = KINDS[kind](atoms)
        guard = UncertaintyGuard(dyn, atoms, save=0.5, file=tmp_path / "u.xyz", every=3)
        run(dyn, steps=10)
        assert [f.info["step"] for f in read(tmp_path / "u.xyz", ":")] == [0, 3, 6, 9]
        assert guard.saved == guard.above == 4


class TestThresholds:
    def values(self, tmp_path: Path, sequence: list[float], **options: Any) -> tuple[UncertaintyGuard, list[Atoms]]:
        atoms = copper(lambda n: sequence[min(n, len(sequence) - 1)])
        file = tmp_path / "u.xyz"
        guard = UncertaintyGuard(VelocityVerlet(atoms, FS), atoms, file=file, **options)
        guard.dyn.run(len(sequence) - 1)
        return guard, read(file, ":") if file.exists() else []

    def test_below_nothing_happens(self, tmp_path: Path) -> None:
        guard, frames = self.values(tmp_path, [0.1, 0.5, 0.2], save=0.5, halt=1.0)
        assert not frames
        assert guard.above == 0
        assert guard.halted is None
        assert guard.reading is not None
        assert guard.reading.value == pytest.approx(0.2)

    def test_saved_frames_know_why(self, tmp_path: Path) -> None:
        guard, frames = self.values(tmp_path, [0.1, 0.6, 0.2, 0.7], save=0.5)
        assert [f.info["step"] for f in frames] == [1, 3]
        assert [f.info["guard_value"] for f in frames] == pytest.approx([0.6, 0.7])
        assert {f.info["guard_quantity"] for f in frames} == {"forces_err"}
        assert guard.saved == 2
        last = guard.atoms
        np.testing.assert_allclose(frames[-1].get_forces(), last.get_forces(), atol=1e-6)
        np.testing.assert_allclose(frames[-1].arrays["forces_err"], last.calc.results["forces_err"], atol=1e-7)
        np.testing.assert_allclose(frames[-1].info["stress_err"], last.calc.results["stress_err"])
        np.testing.assert_allclose(frames[-1].get_momenta(), last.get_momenta(), atol=1e-7)

    def test_at_most_max_saved(self, tmp_path: Path) -> None:
        guard, frames = self.values(tmp_path, [1.0] * 6, save=0.5, max_saved=2)
        assert [f.info["step"] for f in frames] == [0, 1]
        assert guard.above == 6

    def test_exploded_frames_are_not_kept(self, tmp_path: Path) -> None:
        guard, frames = self.values(tmp_path, [0.6, 50.0, 0.7], save=0.5, upper=10.0)
        assert [f.info["step"] for f in frames] == [0, 2]
        assert guard.above == 3

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    @pytest.mark.parametrize("options", [{"save": 0.5}, {"halt": 0.5}, {"save": 0.5, "halt": 1.0}])
    def test_what_is_not_finite_halts(self, bad: float, options: dict[str, float], tmp_path: Path) -> None:
        with pytest.raises(UncertaintyHalt, match=r"step 2: forces_err of atom 0 .* is not finite"):
            self.values(tmp_path, [0.1, 0.1, bad], **options)
        assert not (tmp_path / "u.xyz").exists()

    def test_the_message(self, tmp_path: Path) -> None:
        with pytest.raises(
            UncertaintyHalt,
            match=r"step 1: forces_err of atom 2 \(Cu\) is 1.234 eV/Å, above the threshold to halt of 1 eV/Å; "
            r"worst atoms: 2 1.234, 0 0.2137, 1 0.2137; 1 saved to .*u.xyz",
        ):
            self.values(tmp_path, [0.1, 1.234], halt=1, worst=3)

    @pytest.mark.parametrize(
        ("quantity", "says"),
        [
            ("energies_err", "energies_err of atom 7 .* is 2 eV, .* of 1 eV; worst atoms: 7 2, 6 1.75,"),
            ("energy_err", "energy_err of the cell is 2 eV, above the threshold to halt of 1 eV;"),
            ("stress_err", "stress_err of component yz is 2 eV/Å³,"),
        ],
    )
    def test_other_quantities(self, quantity: str, says: str, tmp_path: Path) -> None:
        with pytest.raises(UncertaintyHalt, match=says):
            self.values(tmp_path, [0.1, 2.0], quantity=quantity, halt=1.0)

    def test_ten_atoms_are_named_unless_told_otherwise(self, tmp_path: Path) -> None:
        atoms = copper(lambda n: 1.0).repeat((2, 1, 1))
        atoms.calc = Scripted(lambda n: 1.0)
        guard = UncertaintyGuard(VelocityVerlet(atoms, FS), atoms, halt=0.5, file=tmp_path / "u.xyz")
        with pytest.raises(UncertaintyHalt) as caught:
            guard.dyn.run(1)
        assert len(caught.value.reading.worst(10)) == 10
        assert str(caught.value).partition("worst atoms:")[2].partition(";")[0].count(",") == 9


class TestFiles:
    def test_a_guards_file_is_replaced_or_appended_to(self, tmp_path: Path) -> None:
        file = tmp_path / "u.xyz"
        for append, count in ((False, 3), (False, 3), (True, 6)):
            atoms = copper(lambda n: 1.0)
            UncertaintyGuard(VelocityVerlet(atoms, FS), atoms, save=0.5, file=file, append=append).dyn.run(2)
            assert len(read(file, ":")) == count
        UncertaintyGuard(VelocityVerlet(atoms, FS), atoms, save=0.5, file=file)
        assert not file.exists()

    def test_no_other_file_is(self, tmp_path: Path) -> None:
        atoms = copper(lambda n: 1.0)
        data = tmp_path / "train.xyz"
        write(data, copper(lambda n: 1.0))
        before = data.read_bytes()
        with pytest.raises(MliuqError, match="exists and is not what a guard saved"):
            UncertaintyGuard(VelocityVerlet(atoms, FS), atoms, save=0.5, file=data)
        assert data.read_bytes() == before
        (tmp_path / "link.xyz").symlink_to(data)
        for name, says in (("link.xyz", "exists and is"), (".", "it is a folder"), ("nowhere/u.xyz", "does not exist")):
            with pytest.raises(MliuqError, match=says):
                UncertaintyGuard(VelocityVerlet(atoms, FS), atoms, save=0.5, file=tmp_path / name)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({}, "no threshold"),
            ({"save": 0.0}, "save is 0.0"),
            ({"halt": -1.0}, "halt is -1.0"),
            ({"halt": np.nan}, "halt is nan"),
            ({"halt": True}, "halt is True"),
            ({"halt": "high"}, "halt is 'high'"),
            ({"save": 2.0, "halt": 1.0}, "save is 2, expected at most halt, 1"),
            ({"halt": "auto"}, "carries no thresholds for forces_err"),
            ({"halt": 1.0, "every": 0}, "every is 0"),
            ({"halt": 1.0, "max_saved": -1}, "max_saved is -1"),
            ({"halt": 1.0, "worst": 0}, "worst is 0"),
            ({"halt": 1.0, "upper": 0.5}, "upper is 0.5"),
            ({"halt": 1.0, "action": "pray"}, "action is 'pray'"),
            ({"halt": 1.0, "quantity": "forces"}, "quantity is 'forces', expected one of forces_err, energies_err"),
            ({"halt": 1.0, "quantity": "forces_std"}, "quantity is 'forces_std', expected one of"),
        ],
    )
    def test_options(self, options: dict[str, Any], says: str, tmp_path: Path) -> None:
        atoms = copper(lambda n: 0.0)
        dyn = VelocityVerlet(atoms, FS)
        with pytest.raises(MliuqError, match=says):
            UncertaintyGuard(dyn, atoms, file=tmp_path / "u.xyz", **options)
        assert not dyn.observers

    def test_things_that_are_not_dynamics_or_have_no_bars(self, tmp_path: Path) -> None:
        atoms = copper(lambda n: 0.0)
        with pytest.raises(MliuqError, match="dyn is a Atoms"):
            UncertaintyGuard(atoms, atoms, halt=1.0, file=tmp_path / "u.xyz")
        atoms.calc = EMT()
        with pytest.raises(MliuqError, match=r"has none to watch \(calculator EMT\)"):
            UncertaintyGuard(VelocityVerlet(atoms, FS), atoms, halt=1.0, file=tmp_path / "u.xyz")


class TestModels:
    """With a model's own bars."""

    @pytest.fixture
    def crystal(self) -> Atoms:
        params = PARAMS["linear"]
        base = random_model(params, members=5, seed=2, zbl=(2.0, 4.0), noise=True, factor=True)
        stored = {**(base.calibration or {}), "thresholds": {"energy_err": [0.0201, 0.5], "force_err": [0.3, 1.0]}}
        model = Model(
            params, 0.05 * base.theta, 0.05 * base.members, base.zbl, base.noise, calibration=stored, arrays=base.arrays
        )
        atoms = random_atoms(("W",), 6, 5.2 * np.eye(3), closest=2.2, seed=1)
        rng = np.random.default_rng(0)
        atoms.set_momenta(rng.normal(scale=np.sqrt(900 * units.kB * 183.84), size=(len(atoms), 3)))
        atoms.calc = MLIUQCalculator(model)
        return atoms

    def test_a_run_is_not_changed_by_its_guard(self, crystal: Atoms, tmp_path: Path) -> None:
        alone = crystal.copy()
        alone.calc = MLIUQCalculator(crystal.calc.model)
        VelocityVerlet(alone, FS).run(20)
        guard = UncertaintyGuard(
            VelocityVerlet(crystal, FS), crystal, quantity="energies_err", save=1e-9, file=tmp_path / "u.xyz", every=4
        )
        guard.dyn.run(20)
        np.testing.assert_allclose(crystal.positions, alone.positions, atol=1e-12)
        frames = read(tmp_path / "u.xyz", ":")
        assert len(frames) == 6
        fresh = frames[3].copy()
        fresh.calc = MLIUQCalculator(crystal.calc.model)
        worst = fresh.calc.get_property("energies_err", fresh)
        assert frames[3].info["guard_value"] == pytest.approx(worst.max(), rel=1e-5)
        np.testing.assert_allclose(frames[3].arrays["energies_err"], worst, atol=1e-6)
        for name in ("energies_std", "energies_min", "energies_max", "extrapolation"):
            np.testing.assert_allclose(
                frames[3].arrays[name], fresh.calc.get_property(name, fresh), rtol=1e-4, atol=1e-6
            )
        for name in ("energy_std", "energy_min", "energy_max", "energy_err"):
            assert frames[3].info[name] == pytest.approx(fresh.calc.get_property(name, fresh), rel=1e-5), name
        assert "energy_comm" not in frames[3].info

    def test_forces_are_watched_unless_told_otherwise(self, crystal: Atoms, tmp_path: Path) -> None:
        guard = UncertaintyGuard(VelocityVerlet(crystal, FS), crystal, save="auto", file=tmp_path / "u.xyz", every=2)
        assert (guard.quantity, guard.unit, guard.save, guard.halt) == ("forces_err", "eV/Å", 0.3, None)
        guard.save = 1e-9
        guard.dyn.run(2)
        kept = read(tmp_path / "u.xyz")
        fresh = kept.copy()
        fresh.calc = MLIUQCalculator(crystal.calc.model)
        size = np.linalg.norm(fresh.calc.get_property("forces_err", fresh), axis=1)
        assert guard.reading is not None
        assert guard.reading.atom == size.argmax()
        assert guard.reading.value == pytest.approx(size.max(), rel=1e-5)
        assert len({round(float(value), 6) for value in size}) > 1, "all atoms alike: nothing was tested"
        for name in ("forces_std", "forces_err", "forces_min", "forces_max"):
            np.testing.assert_allclose(kept.arrays[name], fresh.calc.get_property(name, fresh), rtol=1e-4, atol=1e-6)
        for name in ("stress_std", "stress_err", "stress_min", "stress_max"):
            np.testing.assert_allclose(kept.info[name], fresh.calc.get_property(name, fresh), rtol=1e-4, atol=1e-8)

    def test_thresholds_of_the_model(self, crystal: Atoms, tmp_path: Path) -> None:
        def guard(**options: Any) -> UncertaintyGuard:
            return UncertaintyGuard(VelocityVerlet(crystal, FS), crystal, file=tmp_path / "u.xyz", **options)

        assert guard(quantity="energies_err", save="auto", halt="auto").save == 0.0201
        assert guard(quantity="energies_err", save="auto", halt="auto").halt == 0.5
        mixed = guard(quantity="energies_err", save="auto", halt=0.7)
        assert (mixed.save, mixed.halt) == (0.0201, 0.7)
        with pytest.raises(MliuqError, match=r"no thresholds for energy_err \(it has energy_err, force_err\)"):
            guard(quantity="energy_err", halt="auto")  # energy_err of a model file is that of an atom
        with pytest.raises(MliuqError, match="no thresholds for extrapolation"):
            guard(quantity="extrapolation", halt="auto")

    def test_a_cell_without_volume(self, crystal: Atoms, tmp_path: Path) -> None:
        crystal.set_pbc(False)
        crystal.set_cell(None)
        guard = UncertaintyGuard(
            VelocityVerlet(crystal, FS), crystal, quantity="extrapolation", save=1e-12, file=tmp_path / "u.xyz"
        )
        guard.dyn.run(1)
        assert len(read(tmp_path / "u.xyz", ":")) == 2
