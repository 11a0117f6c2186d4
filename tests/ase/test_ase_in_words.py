"""The ASE door in detail: defaults, refusals word by word, readings by hand, what dynamics are made with."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.verlet import VelocityVerlet
from mliuq import MLIUQCalculator, MliuqError, Model, UncertaintyGuard, UncertaintyHalt
from mliuq.ase import checkpoint, frames, guard, intervals, md, readings
from mliuq.ase.ensembles import ENSEMBLES, EnsembleSettings, dynamics, give_velocities, restore, state_of
from mliuq.ase.md import GuardSettings, RunSettings, run_md
from mliuq.ase.readings import Reading
from systems import PARAMS, random_atoms, random_model


def said(function: Any, *given: Any, **named: Any) -> str:
    with pytest.raises(MliuqError) as caught:
        function(*given, **named)
    return str(caught.value)


class Fixed(Calculator):
    """Gives what a test says."""

    implemented_properties = ["energy", "forces", "forces_err", "energies_std", "energy_err", "stress_std", "grade"]  # noqa: RUF012

    def __init__(self, **values: Any) -> None:
        super().__init__()
        self.values = values

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3)), **self.values}


def three(**values: Any) -> Atoms:
    atoms = Atoms("WBeW", positions=[[0, 0, 0], [0, 0, 2], [0, 2, 0]], cell=[8, 8, 8], pbc=True)
    atoms.calc = Fixed(**values)
    return atoms


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model(replace(PARAMS["plain"], twojmax=2), members=8, noise=True)


# readings -----------------------------------------------------------------------------------------------------------


def test_a_reading_of_atoms() -> None:
    found = readings.read(three(forces_err=[[0, 0, 1], [3, 0, 4], [0, 2, 0]]), "forces_err")
    assert (found.quantity, found.unit, found.value, found.where, found.atom) == (
        "forces_err", "eV/Å", 5.0, "atom 1 (Be)", 1,
    )  # fmt: skip
    np.testing.assert_array_equal(found.per_atom, [1.0, 5.0, 2.0])
    assert found.worst(2) == [1, 2]
    assert found.worst(9) == [1, 2, 0]
    found = readings.read(three(energies_std=[0.5, 0.25, 0.125]), "energies_std")
    assert (found.unit, found.value, found.where, found.atom) == ("eV", 0.5, "atom 0 (W)", 0)
    found = readings.read(three(grade=[0.5, np.nan, 0.75]), "grade")
    assert (found.unit, found.where, found.atom) == ("", "atom 1 (Be)", 1)
    assert math.isnan(found.value)
    assert found.worst(2) == [1, 2], "what is no number first"


def test_a_reading_of_the_cell() -> None:
    found = readings.read(three(energy_err=0.5), "energy_err")
    assert found == Reading("energy_err", "eV", 0.5, "the cell", None, None)
    assert found.worst(3) == []
    for index, name in enumerate(("xx", "yy", "zz", "yz", "xz", "xy")):
        values = np.full(6, 0.25)
        values[index] = -0.75
        found = readings.read(three(stress_std=values), "stress_std")
        assert found == Reading("stress_std", "eV/Å³", 0.75, f"component {name}", None, None)
    assert math.isnan(readings.read(three(stress_std=[0, 1, np.inf, 0, 0, 0]), "stress_std").value)
    assert math.isnan(readings.read(three(energy_err=np.nan), "energy_err").value)


def test_quantities_to_watch() -> None:
    units_of = {
        "energy_std": "eV", "energy_err": "eV", "energies_std": "eV", "energies_err": "eV", "forces_std": "eV/Å",
        "forces_err": "eV/Å", "stress_std": "eV/Å³", "stress_err": "eV/Å³", "extrapolation": "", "grade": "",
    }  # fmt: skip
    assert {name: readings.unit_of(name) for name in units_of} == units_of
    for name in ("density", "energy", "energy_min", "forces_max", "forces_comm", "x"):
        assert readings.unit_of(name) is None
    offered = "forces_err, energies_std, energy_err, stress_std, grade"
    for name in ("energy", "forces_std", "density"):
        assert said(readings.check_quantity, three(), name) == (
            f"quantity is {name!r}, expected one of {offered} (calculator Fixed)"
        )
    plain = bulk("Cu")
    assert said(readings.read, plain, "forces_err") == (
        "quantity is 'forces_err', has none to watch (calculator NoneType)"
    )
    plain.calc = EMT()
    assert said(readings.read, plain, "forces_err") == "quantity is 'forces_err', has none to watch (calculator EMT)"
    assert readings.check_quantity(three(), "stress_std") == "eV/Å³"


# the guard -----------------------------------------------------------------------------------------------------------


def watching(atoms: Atoms, folder: Path, **named: Any) -> UncertaintyGuard:
    return UncertaintyGuard(VelocityVerlet(atoms, 1.0), atoms, file=folder / "u.xyz", **named)


def test_defaults_of_the_guard() -> None:
    parameters = inspect.signature(UncertaintyGuard).parameters
    assert said(UncertaintyGuard, None, None).startswith("dyn is a NoneType")
    RunSettings(3).validate()
    expected = {
        "quantity": "forces_err", "save": None, "halt": None, "file": "uncertain.xyz", "every": 1, "max_saved": 200,
        "upper": None, "worst": 10, "action": "raise", "append": False,
    }  # fmt: skip
    assert {name: parameters[name].default for name in expected} == expected
    assert GuardSettings() == GuardSettings("forces_err", None, None, 200, None)
    assert RunSettings(3) == RunSettings(
        3, 10, EnsembleSettings("nve", None, 0.0, 1.0, 100.0, 1000.0, 0), GuardSettings()
    )


def test_what_makes_no_guard(tmp_path: Path) -> None:
    atoms = three(forces_err=np.ones((3, 3)))

    def refused(**named: Any) -> str:
        return said(watching, atoms, tmp_path, **named)

    assert said(UncertaintyGuard, 3, atoms, save=1.0) == "dyn is a int, expected an ASE dynamics or optimiser"
    assert refused() == "the guard has no threshold, expected save, halt or both"
    for name, least in (("every", 1), ("max_saved", 0), ("worst", 1)):
        for value in (least - 1, 1.5):
            expected = f"{name} is {value!r}, expected an integer of at least {least}"
            assert refused(save=1.0, **{name: value}) == expected
        watching(atoms, tmp_path, save=1.0, **{name: least})
    for value in (0.0, -1.0, math.inf, math.nan, True, "x"):
        assert refused(save=value) == f'save is {value!r}, expected a number above 0 or "auto"'
        assert refused(halt=value) == f'halt is {value!r}, expected a number above 0 or "auto"'
    assert refused(save=2.0, halt=1.0) == "save is 2, expected at most halt, 1"
    watching(atoms, tmp_path, save=1.0, halt=1.0)
    assert refused(save=1.0, halt=9.0, upper=1.0) == "upper is 1.0, expected more than the threshold 1"
    assert refused(halt=9.0, upper=9.0) == "upper is 9.0, expected more than the threshold 9"
    assert refused(save=1.0, action="wait") == 'action is \'wait\', expected "raise" or "stop"'
    assert refused(save="auto") == "the model carries no thresholds for forces_err (it has none): give numbers"


def test_thresholds_that_the_model_carries(tmp_path: Path) -> None:
    atoms = three(forces_err=np.ones((3, 3)))
    atoms.calc.model = SimpleNamespace(calibration={"thresholds": {"force_err": [0.5, 2.0], "energy_std": [0.1, 0.2]}})
    for save, halt, expected in (
        ("auto", "auto", (0.5, 2.0)), ("auto", None, (0.5, None)), (None, "auto", (None, 2.0)),
        (0.25, "auto", (0.25, 2.0)), ("auto", 3, (0.5, 3.0)),
    ):  # fmt: skip
        assert guard.thresholds(atoms, "forces_err", save, halt) == expected
    assert guard.stored_thresholds(atoms, "energies_std") == (0.1, 0.2)
    for name in ("energy_std", "stress_std", "grade"):
        assert said(guard.stored_thresholds, atoms, name) == (
            f"the model carries no thresholds for {name} (it has energy_std, force_err): give numbers"
        )


def test_what_a_halt_says(tmp_path: Path) -> None:
    values = np.array([[0, 0, 1.0], [3, 0, 4], [0, 2, 0]])
    atoms = three(forces_err=values)
    watched = watching(atoms, tmp_path, save=0.5, halt=4.0, worst=2)
    watched.dyn.nsteps = 7
    with pytest.raises(UncertaintyHalt) as caught:
        watched()
    assert str(caught.value) == (
        "step 7: forces_err of atom 1 (Be) is 5 eV/Å, above the threshold to halt of 4 eV/Å; worst atoms: 1 5, 2 2; "
        f"1 saved to {tmp_path / 'u.xyz'}"
    )
    assert (caught.value.step, caught.value.threshold, caught.value.reading.value) == (7, 4.0, 5.0)
    assert (watched.saved, watched.above, watched.halted) == (1, 1, str(caught.value))
    (kept,) = mliuq_frames(tmp_path / "u.xyz")
    assert {name: kept.info[name] for name in ("step", "guard", "guard_quantity", "guard_value")} == {
        "step": 7, "guard": "halt", "guard_quantity": "forces_err", "guard_value": 5.0,
    }  # fmt: skip
    np.testing.assert_allclose(kept.arrays["forces_err"], values)
    atoms.calc = Fixed(energy_err=np.nan)
    watched = watching(atoms, tmp_path, quantity="energy_err", save=0.5)
    with pytest.raises(UncertaintyHalt) as caught:
        watched()
    assert str(caught.value) == "step 0: energy_err of the cell is not finite (eV)"
    assert caught.value.threshold == math.inf
    assert not (tmp_path / "u.xyz").exists(), "what is not finite is not saved"
    atoms.calc = Fixed(grade=np.array([1.0, np.inf, 2.0]))
    watched = watching(atoms, tmp_path, quantity="grade", halt=0.5)
    with pytest.raises(UncertaintyHalt) as caught:
        watched()
    assert str(caught.value) == "step 0: grade of atom 1 (Be) is not finite (no unit); worst atoms: 1 inf, 2 2, 0 1"
    atoms.calc = Fixed(grade=np.array([1.0, 0.0, 2.0]))
    watched = watching(atoms, tmp_path, quantity="grade", halt=0.5, max_saved=0)
    assert "grade of atom 2 (W) is 2, above the threshold to halt of 0.5; worst" in said(watched)


def mliuq_frames(path: Path) -> list[Atoms]:
    import ase.io

    return list(ase.io.read(path, ":"))


def test_thresholds_are_passed_not_met(tmp_path: Path) -> None:
    """A value as large as a threshold is not above it; beyond `upper`, and after `max_saved`, nothing is saved."""
    atoms = three(energy_err=1.0)
    for save, halt, above, saved in ((1.0, 2.0, 0, 0), (0.5, 1.0, 1, 1), (0.5, None, 1, 1)):
        watched = watching(atoms, tmp_path, quantity="energy_err", save=save, halt=halt)
        watched()
        assert (watched.above, watched.saved, watched.halted) == (above, saved, None)
        assert watched.reading is not None
        assert watched.reading.value == 1.0
    watched = watching(atoms, tmp_path, quantity="energy_err", save=0.5, upper=1.0)
    watched()
    assert (watched.above, watched.saved) == (1, 1)
    watched = watching(atoms, tmp_path, quantity="energy_err", save=0.5, upper=0.75, max_saved=2)
    watched()
    assert (watched.above, watched.saved) == (1, 0)
    watched = watching(atoms, tmp_path, quantity="energy_err", save=0.5, max_saved=2)
    for _ in range(4):
        watched()
    assert (watched.above, watched.saved, len(mliuq_frames(tmp_path / "u.xyz"))) == (4, 2, 2)


def test_files_of_others_are_not_replaced(tmp_path: Path) -> None:
    atoms = three(energy_err=1.0)
    named = {"quantity": "energy_err", "save": 0.5}
    watching(atoms, tmp_path, **named)()
    assert len(mliuq_frames(tmp_path / "u.xyz")) == 1
    again = watching(atoms, tmp_path, append=True, **named)
    again()
    assert len(mliuq_frames(tmp_path / "u.xyz")) == 2
    watching(atoms, tmp_path, **named)
    assert not (tmp_path / "u.xyz").exists()
    (tmp_path / "u.xyz").write_text("words")
    assert "exists and is not what a guard saved" in said(watching, atoms, tmp_path, **named)
    watching(atoms, tmp_path, append=True, **named)


# ensembles -----------------------------------------------------------------------------------------------------------


def ensemble(**changes: Any) -> EnsembleSettings:
    made = replace(EnsembleSettings("npt", 300.0), **changes)
    made.validate()
    return made


def test_what_makes_no_ensemble() -> None:
    assert ENSEMBLES == ("nve", "nvt", "npt")
    for changes, message in (
        ({"ensemble": "nph"}, "ensemble is 'nph', expected one of nve, nvt, npt"),
        ({"temperature": None}, "temperature is missing, npt needs one (K)"),
        ({"temperature": -0.5}, "temperature is -0.5, expected a number from 0 to 1e+06"),
        ({"temperature": 1000000.5}, "temperature is 1000000.5, expected a number from 0 to 1e+06"),
        ({"pressure": 1000000.5}, "pressure is 1000000.5, expected a number from -1e+06 to 1e+06"),
        ({"pressure": -1000000.5}, "pressure is -1000000.5, expected a number from -1e+06 to 1e+06"),
        ({"ensemble": "nvt", "pressure": 2.0}, "pressure is 2.0 GPa, expected none for nvt: only npt holds one"),
        ({"timestep": 0.0}, "timestep is 0.0, expected a number above 0 (fs)"),
        ({"thermostat_time": math.inf}, "thermostat_time is inf, expected a number above 0 (fs)"),
        ({"barostat_time": math.nan}, "barostat_time is nan, expected a number above 0 (fs)"),
        ({"seed": -1}, "seed is -1, expected an integer of at least 0"),
    ):
        assert said(ensemble, **changes) == message
    ensemble(temperature=0.0, pressure=1e6, seed=0, timestep=1e-9)
    ensemble(temperature=1e6, pressure=-1e6)
    ensemble(ensemble="nve", temperature=None)
    for name, least in (("steps", 0), ("every", 1)):
        bad = replace(RunSettings(5), **{name: least - 1})
        assert said(bad.validate) == f"{name} is {least - 1}, expected at least {least}"
        replace(RunSettings(5), **{name: least}).validate()


def test_velocities_are_maxwell_and_boltzmanns() -> None:
    atoms = bulk("W", cubic=True) * (5, 5, 5)
    settings = EnsembleSettings("nve", 600.0)
    assert give_velocities(atoms, settings, np.random.default_rng(3)) is True
    width = np.sqrt(atoms.get_masses()[0] * units.kB * 600.0)
    expected = width * np.random.default_rng(3).standard_normal((len(atoms), 3))
    still = expected - expected.mean(axis=0)
    kept = np.sqrt(np.sum(expected**2) / np.sum(still**2))  # what is taken off the sum is given back as heat
    np.testing.assert_allclose(atoms.get_momenta(), kept * still, rtol=1e-9, atol=1e-12)
    before = atoms.get_momenta()
    assert give_velocities(atoms, settings, np.random.default_rng(4)) is False
    np.testing.assert_array_equal(atoms.get_momenta(), before)
    assert said(give_velocities, bulk("W"), EnsembleSettings(), np.random.default_rng(0)) == (
        "the start has no velocities, expected some, or a temperature to draw them at"
    )
    from ase.constraints import FixAtoms

    held = bulk("W", cubic=True)
    held.set_constraint(FixAtoms([0]))
    give_velocities(held, settings, np.random.default_rng(3))
    assert np.abs(held.get_momenta()[1]).min() > 0.0
    assert not held.get_momenta()[0].any()


def test_what_dynamics_are_made_with() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    rng = np.random.default_rng(0)
    settings = EnsembleSettings("nvt", 500.0, 0.0, 2.0, 50.0, 400.0, 3)
    verlet = dynamics(atoms, replace(settings, ensemble="nve"), rng)
    assert (type(verlet), verlet.dt) == (VelocityVerlet, 2.0 * units.fs)
    langevin = dynamics(atoms, settings, rng)
    assert (type(langevin), langevin.dt, langevin.rng) == (Langevin, 2.0 * units.fs, rng)
    assert (langevin.temp, langevin.fix_com) == (500.0 * units.kB, False)
    assert langevin.fr == pytest.approx(1.0 / (50.0 * units.fs))
    barostat: Any = dynamics(atoms, replace(settings, ensemble="npt", pressure=3.0), rng)
    with pytest.warns(UserWarning, match="heuristic P_mass"):
        by_hand = LangevinBAOAB(
            atoms, 2.0 * units.fs, temperature_K=500.0, externalstress=-3.0 * units.GPa, hydrostatic=True,
            T_tau=50.0 * units.fs, P_tau=400.0 * units.fs, rng=rng,
        )  # fmt: skip
    compared = [name for name, value in vars(by_hand).items() if isinstance(value, int | float | np.ndarray)]
    assert len(compared) > 5
    for name in compared:
        np.testing.assert_array_equal(getattr(barostat, name), getattr(by_hand, name), err_msg=name)
    assert barostat.rng is rng
    atoms.pbc = (True, True, False)
    assert said(dynamics, atoms, replace(settings, ensemble="npt"), rng) == (
        "pbc is [True, True, False], npt needs a cell that is periodic in all directions"
    )


def test_the_state_of_dynamics_comes_back() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    rng = np.random.default_rng(5)
    dyn = dynamics(atoms, EnsembleSettings("npt", 300.0), rng)
    dyn.nsteps, dyn.p_eps, dyn.force_eps = 17, 0.25, 0.5
    state = json.loads(json.dumps(state_of(dyn, rng)))
    assert state == {"step": 17, "random": rng.bit_generator.state, "barostat": {"p_eps": 0.25, "force_eps": 0.5}}
    other_rng = np.random.default_rng(6)
    other = dynamics(atoms, EnsembleSettings("npt", 300.0), other_rng)
    restore(other, other_rng, state)
    assert (other.nsteps, other.p_eps, other.force_eps) == (17, 0.25, 0.5)
    assert other_rng.random() == rng.random()
    assert state_of(dynamics(atoms, EnsembleSettings(), rng), rng)["barostat"] == {}


# checkpoints and runs ------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    atoms = random_atoms(["W", "Be"], 4, [[5, 0.1, 0], [0, 5, 0], [0.2, 0, 5]], (True, False, True))
    atoms.set_momenta(np.random.default_rng(0).normal(size=(4, 3)))
    checkpoint.save(path, atoms, {"a": [1, None]})
    other = Atoms(atoms.numbers, positions=np.zeros((4, 3)))
    assert checkpoint.load(path, other) == {"a": [1, None]} == checkpoint.facts_of(path)
    for name in ("positions", "pbc"):
        np.testing.assert_array_equal(getattr(other, name), getattr(atoms, name))
    np.testing.assert_array_equal(other.cell.array, atoms.cell.array)
    np.testing.assert_array_equal(other.get_momenta(), atoms.get_momenta())
    assert (
        said(checkpoint.load, path, Atoms("W4"))
        == f"{path}: holds {other.get_chemical_formula()}, expected the atoms of the start, W4"
    )
    assert said(checkpoint.facts_of, tmp_path / "none") == (
        f"{tmp_path / 'none'}: no such file, there is no run to go on with"
    )
    whole = path.read_bytes()
    for content in (b"words", whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        assert said(checkpoint.facts_of, path).startswith(f"{path}: not a checkpoint of a run, or damaged: ")
    np.savez(path, numbers=[1], facts=np.array("{}"))
    assert said(checkpoint.facts_of, path).startswith(f"{path}: not a checkpoint of a run, or damaged: ")


def test_files_of_a_run(model: Model, tmp_path: Path) -> None:
    assert (md.TRAJECTORY, md.TABLE, md.UNCERTAIN, md.CHECKPOINT) == (
        "trajectory.xyz", "run.csv", "uncertain.xyz", "checkpoint.npz",
    )  # fmt: skip
    atoms = bulk("W", cubic=True)
    atoms.rattle(0.02, seed=0)
    atoms.calc = MLIUQCalculator(model)
    settings = RunSettings(4, 2, EnsembleSettings("nve", 300.0, timestep=0.5), GuardSettings(save=1e-9, halt=1e9))
    told: list[Any] = []
    summary = run_md(atoms, settings, tmp_path / "run", progress=lambda *what: told.append(what))
    assert (summary.steps, summary.halted, summary.saved, summary.save, summary.halt) == (4, None, 3, 1e-9, 1e9)
    assert [(step, total) for _, step, total in told] == [(0, 4), (2, 4), (4, 4)]
    frames_kept = mliuq_frames(tmp_path / "run" / "trajectory.xyz")
    head, *rows = (tmp_path / "run" / "run.csv").read_text().splitlines()
    assert head == (
        "step,time_fs,energy_eV,energy_err_eV,kinetic_energy_eV,temperature_K,volume_A3,pressure_GPa,forces_err,atom"
    )
    for kept, row, (stage, step, _) in zip(frames_kept, rows, told, strict=True):
        cells = row.split(",")
        assert stage == f"forces_err {float(cells[8]):.3g} eV/Å"
        assert (kept.info["step"], kept.info["time_fs"]) == (step, 0.5 * step)
        assert (int(cells[0]), float(cells[1])) == (step, 0.5 * step)
        assert float(cells[4]) == pytest.approx(kept.get_kinetic_energy(), rel=1e-6)
        assert {"energy_err", "stress_err"} <= set(kept.info)
        assert {"energies_err", "forces_err"} <= set(kept.arrays)
        assert not {name for name in (*kept.info, *kept.arrays) if name.endswith(("_std", "_min", "_max"))}
    facts = checkpoint.facts_of(tmp_path / "run" / "checkpoint.npz")
    assert facts["saved"] == 3
    assert facts["state"]["step"] == 4
    assert facts["sizes"] == {
        name: (tmp_path / "run" / name).stat().st_size for name in ("trajectory.xyz", "run.csv", "uncertain.xyz")
    }
    assert md.read_settings(tmp_path / "run") == settings

    again = bulk("W", cubic=True)
    again.calc = atoms.calc
    folder = tmp_path / "run"
    assert said(run_md, again, settings, folder) == (
        f"{folder / 'trajectory.xyz'}: exists: go on with that run (restart), or give another folder"
    )
    faster = replace(settings, ensemble=replace(settings.ensemble, timestep=2.0))
    assert said(run_md, again, faster, folder, restart=True) == (
        f"timestep is 2.0, expected 0.5, as in the run in {folder} so far"
    )
    other = replace(settings, guard=replace(settings.guard, quantity="energies_err"))
    assert said(run_md, again, other, folder, restart=True) == (
        f"quantity is energies_err, expected forces_err, as in the run in {folder} so far"
    )
    table = folder / "run.csv"
    size = table.stat().st_size
    with table.open("a") as stream:
        stream.write("half a li")
    summary = run_md(again, replace(settings, steps=6), folder, restart=True)
    assert (summary.steps, summary.saved) == (6, 4)
    lines = table.read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "0", "2", "4", "6"]
    table.write_bytes(table.read_bytes()[:size])
    facts = checkpoint.facts_of(folder / "checkpoint.npz")
    assert said(run_md, again, replace(settings, steps=8), folder, restart=True) == (
        f"{table}: has {size} bytes, expected at least the {facts['sizes']['run.csv']} of the checkpoint"
    )


# the calculator ------------------------------------------------------------------------------------------------------


def test_what_a_calculator_offers(model: Model) -> None:
    plain = ["energy", "free_energy", "energies", "forces", "stress", "stresses"]
    assert MLIUQCalculator(replace(model, members=None)).implemented_properties == plain
    bars = ("std", "min", "max", "err")
    rows = {f"{of}_{bar}" for of in ("energy", "energies", "forces", "stress") for bar in bars}
    on_request = {"energy_comm", "energies_comm", "forces_comm", "stress_comm", "energy_std_gradient"}
    offered = MLIUQCalculator(model).implemented_properties
    assert len(offered) == len(set(offered))
    assert set(offered) == {*plain, *rows, *on_request}
    boxes = {f"{of}_box_{end}" for of in ("energy", "energies", "forces", "stress") for end in ("min", "max")}
    assert set(MLIUQCalculator.implemented_properties) == {*offered, *boxes, "extrapolation", "grade", "density"}
    assert MLIUQCalculator.ignored_changes == {"initial_charges", "initial_magmoms"}
    with_factor = random_model(PARAMS["plain"], factor=True)
    assert MLIUQCalculator(with_factor).implemented_properties == [*plain, "extrapolation"]


def test_what_makes_no_calculator(model: Model) -> None:
    for value in (-0.5, math.nan, math.inf):
        assert said(MLIUQCalculator, model, skin=value) == f"skin is {value}, expected a number of at least 0 Å"
    MLIUQCalculator(model, skin=0.0)
    assert said(MLIUQCalculator, model, threads=0) == "threads is 0, expected at least 1"
    assert MLIUQCalculator(model)._threads == 0
    assert MLIUQCalculator(model, threads=1)._threads == 1
    assert MLIUQCalculator(model)._skin == 1.0
    metadata = {"fit": {"settings": {"data": {"reference": "mine:calc"}}}}
    with pytest.warns(UserWarning, match="SumCalculator") as caught:
        MLIUQCalculator(replace(model, metadata=metadata))
    assert str(caught[0].message) == (
        "the fit of this model had the reference potential 'mine:calc': the calculator gives the model's own part, "
        "ase.calculators.mixing.SumCalculator adds the other"
    )
    assert caught[0].filename == __file__
    calculator = MLIUQCalculator(model)
    assert said(calculator.interval, "energy") == "nothing has been evaluated yet, expected atoms="
    assert said(calculator.results_of, bulk("W"), ["energy", "x"]) == (
        f"property is 'x', expected one of {', '.join(calculator.implemented_properties)}"
    )
    shared = model.evaluator
    assert MLIUQCalculator(model, potential=shared)._potential is shared


def test_one_pass_for_several_properties(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = bulk("W", cubic=True)
    atoms.rattle(0.1, seed=0)
    calculator = MLIUQCalculator(model)
    calls: list[Any] = []
    made = calculator.calculate

    def calculate(atoms: Any, properties: Any, changes: Any) -> None:
        calls.append(list(properties))
        made(atoms, properties, changes)

    monkeypatch.setattr(calculator, "calculate", calculate)
    names = ["energy", "forces_std", "stress_err"]
    found = calculator.results_of(atoms, names)
    assert list(found) == names
    assert calls == [names]
    other = MLIUQCalculator(model)
    for name in names:
        np.testing.assert_allclose(found[name], other.get_property(name, atoms), rtol=1e-10, atol=1e-14)
    calculator.results_of(atoms, ["energy", "forces_std", "forces_min"])
    assert calls[1:] == [["forces_min"]], "what is there is not made again"
    atoms.positions[0, 0] += 0.1
    moved = calculator.results_of(atoms, ["energy"])
    assert moved["energy"] != found["energy"]
    cluster = Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.5]])
    assert list(calculator.results_of(cluster, ["stress", "energy", "stress_std"])) == ["energy"]
    flat = Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.5]], cell=[9, 9, 0], pbc=(True, True, False))
    assert list(calculator.results_of(flat, ["stress", "energy"])) == ["energy"]


# frames and intervals -------------------------------------------------------------------------------------------------


def test_names_of_bars() -> None:
    for of in ("energy", "energies", "forces", "stress"):
        for what in ("std", "min", "max", "err", "box_min", "box_max", "comm"):
            assert frames.is_bar(f"{of}_{what}")
    for name in ("extrapolation", "grade", "density"):
        assert frames.is_bar(name)
    for name in ("energy", "stresses_std", "energy_low", "energy_std_gradient", "x_std", "forces_commx"):
        assert not frames.is_bar(name)


def test_where_results_are_kept(model: Model) -> None:
    atoms = bulk("W", cubic=True)
    atoms.rattle(0.1, seed=0)
    atoms.calc = MLIUQCalculator(model)
    committees = frames.committees_of(atoms)
    assert set(committees) == {"energy_comm", "energies_comm", "forces_comm", "stress_comm"}
    bars = frames.bars_of(atoms)
    assert not set(committees) & set(bars)
    assert "energy_std_gradient" not in bars
    atoms.calc.get_property("energy_std_gradient", atoms)
    found = frames.frame(atoms, [*bars, *committees])
    assert set(found.calc.results) == {"energy", "energies", "forces", "stress"}
    of_atoms = {name for name in (*bars, *committees) if name.startswith(("energies", "forces"))}
    assert set(found.arrays) == {"numbers", "positions", *of_atoms}
    assert set(found.info) == {name for name in (*bars, *committees) if name.startswith(("energy", "stress"))}
    assert type(found.info["energy_std"]) is float
    np.testing.assert_array_equal(found.arrays["forces_comm"][1, 3:6], atoms.calc.results["forces_comm"][1, 1])
    np.testing.assert_array_equal(found.arrays["energies_comm"][1], atoms.calc.results["energies_comm"][:, 1])
    assert found.info["energy_comm"] is not atoms.calc.results["energy_comm"], "a copy"
    kept = frames.results_to_arrays(atoms)
    assert "energy_std_gradient" in kept.arrays
    in_info = frames.results_to_arrays(atoms, per_atom="info")
    assert set(in_info.arrays) == {"numbers", "positions"}
    assert set(in_info.info) == {*kept.info, *kept.arrays} - {"numbers", "positions"}
    cluster = Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.5]])
    cluster.calc = atoms.calc
    assert "stress" not in frames.frame(cluster, ["stress_err", "energy_err"]).calc.results
    other = bulk("Cu")
    other.calc = EMT()
    assert set(frames.frame(other, ["forces_err"]).calc.results) == {"energy", "energies", "forces", "stress"}
    assert said(frames.results_to_arrays, bulk("W")) == (
        "the structure has no results: compute some first, as by atoms.get_potential_energy()"
    )
    other.get_potential_energy()
    other.positions += 0.1
    other.set_cell(other.cell * 1.1)
    assert said(frames.results_to_arrays, other) in (
        f"the results belong to other {changed}: compute them anew"
        for changed in ("cell and positions", "positions and cell")
    )


def test_a_reference_is_added(model: Model) -> None:
    from mliuq.reference import ReferenceValues

    atoms = bulk("W", cubic=True)
    atoms.rattle(0.1, seed=0)
    atoms.calc = MLIUQCalculator(model)
    names = [*frames.bars_of(atoms), *frames.committees_of(atoms)]
    plain, shifted = (frames.frame(atoms, names) for _ in range(2))
    plain.info["energy_low"] = shifted.info["energy_low"] = 1.0
    forces, stress = np.arange(6.0).reshape(2, 3), np.arange(6.0)
    frames.add_reference(shifted, ReferenceValues(energy=10.0, forces=forces, stress=stress))
    shift = {"energy": 10.0, "forces": forces, "stress": stress}
    moves = ("", "_min", "_max", "_low", "_comm")
    for name, value in {**plain.info, **plain.arrays, **plain.calc.results}.items():
        of, _, what = name.partition("_")
        place = {**shifted.info, **shifted.arrays, **shifted.calc.results}
        if of == "energies" and what not in ("std", "err"):
            assert name not in place, "no shares of energy"
        elif of in shift and f"_{what}".rstrip("_") in moves:
            by = np.tile(forces, 8) if name == "forces_comm" else shift[of]
            np.testing.assert_allclose(place[name], value + by, err_msg=name)
        else:
            np.testing.assert_array_equal(place[name], value, err_msg=name)


def test_intervals_word_by_word(model: Model) -> None:
    quantiles = {"energy": {"0.9": 2.0}, "force": {"0.9": 3.0}, "stress": {"0.9": 4.0}}
    calibrated = replace(model, calibration={**(model.calibration or {}), "conformal": quantiles})
    calculator = MLIUQCalculator(calibrated)
    atoms = bulk("W", cubic=True)
    atoms.rattle(0.1, seed=0)
    for name, width in (("energy", 2.0), ("forces", 3.0), ("stress", 4.0)):
        low, high = calculator.interval(name, atoms=atoms)
        value, err = calculator.get_property(name, atoms), calculator.get_property(f"{name}_err", atoms)
        np.testing.assert_allclose(low, value - width * err)
        np.testing.assert_allclose(high, value + width * err)
    found = intervals.intervals_of(calculator, 0.9)
    assert list(found) == [f"{name}_{end}" for name in ("energy", "forces", "stress") for end in ("low", "high")]
    np.testing.assert_allclose(found["stress_high"], high)
    assert said(calculator.interval, "energies", 0.9, atoms) == (
        "quantity is 'energies', expected one of energy, forces, stress: others have no references"
    )
    for calibration in (None, {}, {"conformal": {}}, {"conformal": None}):
        bare = MLIUQCalculator(replace(model, calibration=calibration))
        assert said(intervals.intervals_of, bare, 0.9) == (
            "the model carries no conformal quantiles: calibrate it (mliuq calibrate)"
        )
    cluster = Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.5]])
    calculator.get_property("energy", cluster)
    assert list(intervals.intervals_of(calculator, 0.9)) == ["energy_low", "energy_high", "forces_low", "forces_high"]
