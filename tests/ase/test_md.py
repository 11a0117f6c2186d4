"""`mliuq md`: what a run leaves, and that one cut short goes on as if it had not been."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.io import read, write
from mliuq import MLIUQCalculator, MliuqError, Model
from mliuq.ase.ensembles import EnsembleSettings, dynamics, give_velocities
from mliuq.ase.md import GuardSettings, RunSettings, read_settings, run_md
from mliuq.cli import main

ENSEMBLES = {
    "nve": EnsembleSettings("nve", temperature=900.0, timestep=2.0),
    "nvt": EnsembleSettings("nvt", temperature=900.0, timestep=2.0, seed=3),
    "npt": EnsembleSettings("npt", temperature=900.0, pressure=5.0, timestep=2.0, seed=3),
}
QUANTITY = "energies_err"


@pytest.fixture(scope="module")
def model(small_model: Path) -> Model:
    return Model.load(small_model)


def start(model: Model, rattle: float = 0.05) -> Atoms:
    atoms = bulk("W", a=3.2, cubic=True).repeat((2, 2, 1))
    atoms.rattle(rattle, seed=1)
    atoms.calc = MLIUQCalculator(model, threads=1)
    return atoms


def settings(ensemble: str, steps: int, **guard: Any) -> RunSettings:
    return RunSettings(steps, 5, ENSEMBLES[ensemble], GuardSettings(**{"quantity": QUANTITY} | guard))


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "run.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


class TestRun:
    @pytest.mark.parametrize("ensemble", ENSEMBLES)
    def test_what_it_leaves(self, ensemble: str, model: Model, tmp_path: Path) -> None:
        atoms, seen = start(model), []
        folder = tmp_path / "deep" / "run"
        run = settings(ensemble, 22, save=1e-9)
        summary = run_md(atoms, run, folder, progress=lambda *what: seen.append(what))
        frames, rows = read(folder / "trajectory.xyz", ":"), table(folder)
        steps = [0, 5, 10, 15, 20, 22]
        assert [frame.info["step"] for frame in frames] == [int(row["step"]) for row in rows] == steps
        assert [float(row["time_fs"]) for row in rows] == [2.0 * step for step in steps]
        assert [done for _, done, _ in seen] == steps
        assert all(QUANTITY in stage and stage.endswith(" eV") and total == 22 for stage, _, total in seen)
        assert (summary.steps, summary.halted, summary.saved) == (22, None, 6)
        for frame, row in zip(frames, rows, strict=True):
            fresh = frame.copy()
            fresh.calc = MLIUQCalculator(model)
            energies_err = fresh.calc.get_property(QUANTITY, fresh)
            np.testing.assert_allclose(frame.arrays[QUANTITY], energies_err, atol=1e-5)
            np.testing.assert_allclose(frame.get_forces(), fresh.get_forces(), atol=1e-5)
            assert frame.info["energy_err"] == pytest.approx(float(row["energy_err_eV"]), rel=1e-6)
            assert float(row[QUANTITY]) == pytest.approx(energies_err.max(), rel=1e-4)
            assert int(row["atom"]) == energies_err.argmax()
            assert float(row["energy_eV"]) == pytest.approx(fresh.get_potential_energy(), abs=1e-4)
            assert float(row["temperature_K"]) == pytest.approx(frame.get_temperature(), rel=1e-4)
            assert float(row["volume_A3"]) == pytest.approx(frame.get_volume(), rel=1e-6)
            stress = fresh.get_stress(include_ideal_gas=False) - kinetic(frame)
            assert float(row["pressure_GPa"]) == pytest.approx(-stress[:3].mean() / units.GPa, abs=0.01)
        assert summary.largest == pytest.approx(max(float(row[QUANTITY]) for row in rows), rel=1e-9)
        volumes = {row["volume_A3"] for row in rows}
        assert (len(volumes) > 1) == (ensemble == "npt")
        np.testing.assert_allclose(frames[-1].positions, atoms.positions, atol=1e-7)
        saved = read(folder / "uncertain.xyz", ":")
        assert [frame.info["step"] for frame in saved] == steps

    def test_the_guard_halts(self, model: Model, tmp_path: Path) -> None:
        def crystal() -> Atoms:
            return start(model, rattle=0.0)

        free = run_md(crystal(), settings("nvt", 40), tmp_path / "free")
        values = [float(row[QUANTITY]) for row in table(tmp_path / "free")]
        over = next(i for i, value in enumerate(values) if value > values[0] * 1.0001)
        threshold = max(values[:over]) * 1.00005
        assert free.halted is None
        summary = run_md(crystal(), settings("nvt", 40, halt=threshold), tmp_path / "guarded")
        assert summary.halted is not None
        assert summary.halted.startswith(f"step {5 * over}: {QUANTITY} of atom")
        assert summary.steps == 5 * over
        assert [float(row[QUANTITY]) for row in table(tmp_path / "guarded")] == pytest.approx(values[: over + 1])
        assert len(read(tmp_path / "guarded" / "uncertain.xyz", ":")) == summary.saved == 1
        again = run_md(crystal(), settings("nvt", 40, halt=threshold), tmp_path / "guarded", restart=True)
        assert again.halted == summary.halted, "what halted is read again"
        assert len(table(tmp_path / "guarded")) == over + 1
        past = run_md(crystal(), settings("nvt", 40, halt=1e3), tmp_path / "guarded", restart=True)
        assert past.halted is None
        assert [float(row[QUANTITY]) for row in table(tmp_path / "guarded")] == pytest.approx(values, rel=1e-6)

    def test_velocities(self, model: Model, tmp_path: Path) -> None:
        atoms = start(model)
        rng = np.random.default_rng(0)
        assert give_velocities(atoms, ENSEMBLES["nvt"], rng)
        drawn = atoms.get_momenta()
        assert np.abs(drawn.sum(axis=0)).max() < 1e-9
        assert 300 < atoms.get_temperature() < 1800
        assert not give_velocities(atoms, ENSEMBLES["nvt"], rng)
        np.testing.assert_array_equal(atoms.get_momenta(), drawn)
        cold = start(model)
        with pytest.raises(MliuqError, match="no velocities"):
            run_md(cold, RunSettings(1, guard=GuardSettings(QUANTITY)), tmp_path / "run")
        ends = []
        for seed in (0, 0, 1):
            atoms = start(model)
            ensemble = replace(ENSEMBLES["nvt"], seed=seed)
            run_md(atoms, RunSettings(5, 5, ensemble, GuardSettings(QUANTITY)), tmp_path / f"{len(ends)}")
            ends.append(atoms.positions)
        np.testing.assert_array_equal(ends[0], ends[1])
        assert np.abs(ends[0] - ends[2]).max() > 1e-3

    def test_settings_reach_the_dynamics(self, model: Model) -> None:
        rng = np.random.default_rng(0)
        base = EnsembleSettings("npt", 700.0, 3.0, 1.5, 50.0, 400.0)
        dyn = dynamics(start(model), base, rng)
        assert dyn.dt == pytest.approx(1.5 * units.fs)
        assert dyn.temperature_K == 700.0
        assert dyn.externalstress == pytest.approx(-3.0 * units.GPa)
        assert pytest.approx(50.0 * units.fs) == dyn.T_tau
        assert pytest.approx(400.0 * units.fs) == dyn.P_tau
        thermostat = dynamics(start(model), replace(base, ensemble="nvt", pressure=0.0), rng)
        assert thermostat.temp == pytest.approx(700.0 * units.kB)
        assert thermostat.fr == pytest.approx(1.0 / (50.0 * units.fs))
        assert dynamics(start(model), replace(base, ensemble="nve", pressure=0.0), rng).dt == dyn.dt

    def test_thermostat_and_barostat_do_their_work(self, model: Model, tmp_path: Path) -> None:
        """From a start at 10 K: the thermostat heats it up; a strong pull makes the cell swell, a push shrinks it."""
        volumes = []
        for pressure in (-30.0, 60.0):
            atoms = start(model)
            give_velocities(atoms, EnsembleSettings(temperature=10.0), np.random.default_rng(0))
            ensemble = EnsembleSettings("npt", 900.0, pressure, 2.0, 50.0, 300.0)
            run_md(atoms, RunSettings(150, 50, ensemble, GuardSettings(QUANTITY)), tmp_path / f"{pressure}")
            assert atoms.get_temperature() > 200
            volumes.append(atoms.get_volume())
        before = start(model).get_volume()
        assert volumes[1] < before < volumes[0]


def kinetic(frame: Atoms) -> np.ndarray:
    """Stress of the moving atoms, Voigt."""
    p, m = frame.get_momenta(), frame.get_masses()
    full = np.einsum("ia,ib,i->ab", p, p, 1 / m) / frame.get_volume()
    return full[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)]


class TestRestart:
    @pytest.mark.parametrize("ensemble", ENSEMBLES)
    def test_a_run_cut_short_goes_on_as_if_it_had_not_been(self, ensemble: str, model: Model, tmp_path: Path) -> None:
        whole = start(model)
        run_md(whole, settings(ensemble, 30, save=1e-9), tmp_path / "whole")
        run_md(start(model), settings(ensemble, 15, save=1e-9), tmp_path / "cut")
        # Killed while it wrote a later frame: the checkpoint of step 15 does not know of it.
        for name in ("trajectory.xyz", "run.csv", "uncertain.xyz"):
            with (tmp_path / "cut" / name).open("a") as stream:
                stream.write("8\nLattice=")
        rest = start(model)
        summary = run_md(rest, settings(ensemble, 30, save=1e-9), tmp_path / "cut", restart=True)
        assert summary.steps == 30
        assert summary.saved == 7
        np.testing.assert_allclose(rest.positions, whole.positions, atol=1e-9)
        np.testing.assert_allclose(rest.get_momenta(), whole.get_momenta(), atol=1e-8)
        np.testing.assert_allclose(rest.cell.array, whole.cell.array, atol=1e-10)
        for name in ("trajectory.xyz", "uncertain.xyz"):
            a, b = (read(tmp_path / run / name, ":") for run in ("whole", "cut"))
            assert [frame.info["step"] for frame in a] == [frame.info["step"] for frame in b] == list(range(0, 31, 5))
        for a, b in zip(table(tmp_path / "whole"), table(tmp_path / "cut"), strict=True):
            for name, value in a.items():
                assert float(b[name]) == pytest.approx(float(value), rel=1e-6, abs=1e-6), name
        done = run_md(start(model), settings(ensemble, 30, save=1e-9), tmp_path / "cut", restart=True)
        assert done.steps == 30
        assert len(table(tmp_path / "cut")) == 7

    def test_a_run_cut_short_at_its_start_saves_the_start_once(self, model: Model, tmp_path: Path) -> None:
        assert run_md(start(model), settings("nvt", 0, save=1e-9), tmp_path).saved == 1
        assert run_md(start(model), settings("nvt", 5, save=1e-9), tmp_path, restart=True).saved == 2
        assert [frame.info["step"] for frame in read(tmp_path / "uncertain.xyz", ":")] == [0, 5]

    def test_another_model_is_said(self, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        run_md(start(model), settings("nvt", 5), tmp_path)
        run_md(start(model), settings("nvt", 10), tmp_path, restart=True)
        assert "another model" not in caplog.text
        run_md(start(replace(model, theta=1.001 * model.theta)), settings("nvt", 15), tmp_path, restart=True)
        assert "the run was made with another model up to step 10: so far frames and bars" in caplog.text

    def test_refusals(self, model: Model, tmp_path: Path) -> None:
        folder, run = tmp_path / "run", settings("nvt", 5)
        with pytest.raises(MliuqError, match=r"checkpoint\.npz: no such file"):
            run_md(start(model), run, folder, restart=True)
        run_md(start(model), run, folder)
        with pytest.raises(MliuqError, match=r"trajectory\.xyz: exists: go on with that run"):
            run_md(start(model), run, folder)
        fewer = start(model)
        del fewer[0]
        with pytest.raises(MliuqError, match="holds W8, expected the atoms of the start, W7"):
            run_md(fewer, run, folder, restart=True)
        with pytest.raises(MliuqError, match=r"timestep is 1\.0, expected 2\.0"):
            run_md(start(model), replace(run, ensemble=replace(run.ensemble, timestep=1.0)), folder, restart=True)
        with pytest.raises(MliuqError, match="quantity is energies_std, expected energies_err"):
            run_md(start(model), replace(run, guard=GuardSettings("energies_std")), folder, restart=True)
        damaged = tmp_path / "damaged"
        shutil.copytree(folder, damaged)
        (damaged / "run.csv").write_text("step\n")
        with pytest.raises(MliuqError, match=r"run\.csv: has 5 bytes, expected at least"):
            run_md(start(model), run, damaged, restart=True)
        (damaged / "checkpoint.npz").write_bytes((folder / "checkpoint.npz").read_bytes()[:300])
        with pytest.raises(MliuqError, match=r"checkpoint\.npz: not a checkpoint"):
            run_md(start(model), run, damaged, restart=True)
        assert read_settings(folder) == run


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ensemble": "nph"}, "ensemble is 'nph'"),
        ({"ensemble": "nvt", "temperature": None}, "temperature is missing"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": np.nan}, "temperature is nan"),
        ({"ensemble": "nvt", "pressure": 1.0}, "pressure is 1.0 GPa, expected none for nvt"),
        ({"timestep": 0.0}, "timestep is 0.0"),
        ({"thermostat_time": -5.0}, "thermostat_time is -5.0"),
        ({"barostat_time": np.inf}, "barostat_time is inf"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_that_make_no_run(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(MliuqError, match=says):
        replace(ENSEMBLES["npt"], **changes).validate()
    for bad, message in (({"steps": -1}, "steps is -1"), ({"steps": 1, "every": 0}, "every is 0")):
        with pytest.raises(MliuqError, match=message):
            RunSettings(**bad).validate()


def test_forces_are_watched_and_kept_unless_told_otherwise(model: Model, tmp_path: Path) -> None:
    run_md(start(model), RunSettings(5, 5, ENSEMBLES["nve"]), tmp_path / "run")
    for frame, row in zip(read(tmp_path / "run" / "trajectory.xyz", ":"), table(tmp_path / "run"), strict=True):
        fresh = frame.copy()
        fresh.calc = MLIUQCalculator(model)
        err = fresh.calc.get_property("forces_err", fresh)
        np.testing.assert_allclose(frame.arrays["forces_err"], err, atol=1e-5)
        np.testing.assert_allclose(frame.info["stress_err"], fresh.calc.get_property("stress_err", fresh), rtol=1e-4)
        assert float(row["forces_err"]) == pytest.approx(np.linalg.norm(err, axis=1).max(), rel=1e-4)


def test_a_fit_stores_thresholds_of_what_it_has_seen(
    small_model: Path, tungsten_split: tuple[Path, Path], held_out: Path, tmp_path: Path
) -> None:
    """By the calculator: a tenth of the training configurations is above the first, the worst of them is the second."""

    structures = read(tungsten_split[0], ":")

    def largest(model: Model, quantity: str) -> np.ndarray:
        calculator = MLIUQCalculator(model)
        return np.array([np.linalg.norm(calculator.get_property(quantity, a), axis=1).max() for a in structures])

    model = Model.load(small_model)
    assert main(["calibrate", str(small_model), str(held_out), "-o", str(tmp_path / "again.mliuq")]) == 0
    again = Model.load(tmp_path / "again.mliuq")
    assert model.calibration is not None
    assert again.calibration is not None
    assert again.calibration["alpha_force"] != model.calibration["alpha_force"]
    for one in (model, again):
        assert one.calibration is not None
        spread = largest(one, "forces_std")
        told = spread > 0.01 * np.median(spread)  # forces that symmetry makes zero tell nothing
        assert 10 < told.sum() < len(structures)
        for name in ("err", "std"):
            values = largest(one, f"forces_{name}")[told]
            save, halt = one.calibration["thresholds"][f"force_{name}"]
            assert halt == pytest.approx(max(values), rel=1e-6)
            assert save == pytest.approx(np.quantile(values, 0.9), rel=1e-6)
    atoms = start(model)
    guarded = RunSettings(0, guard=GuardSettings(save="auto", halt="auto"), ensemble=ENSEMBLES["nve"])
    summary = run_md(atoms, guarded, tmp_path / "run")
    assert [summary.save, summary.halt] == model.calibration["thresholds"]["force_err"]


def test_the_distance_from_the_data_needs_no_members(model: Model, tmp_path: Path) -> None:
    bare = replace(model, members=None)
    run_md(start(bare), settings("nve", 5, quantity="extrapolation", save=1e-9), tmp_path / "run")
    assert {row["energy_err_eV"] for row in table(tmp_path / "run")} == {"nan"}
    assert all(float(row["extrapolation"]) > 0 for row in table(tmp_path / "run"))
    assert len(read(tmp_path / "run" / "uncertain.xyz", ":")) == 2


def test_npt_needs_a_periodic_cell(model: Model, tmp_path: Path) -> None:
    atoms = start(model)
    atoms.pbc = (True, True, False)
    with pytest.raises(MliuqError, match="npt needs a cell that is periodic"):
        run_md(atoms, settings("npt", 1), tmp_path / "run")


def test_a_cluster_has_neither_volume_nor_pressure(model: Model, tmp_path: Path) -> None:
    atoms = start(model)
    atoms.set_pbc(False)
    atoms.set_cell(None)
    run_md(atoms, settings("nve", 5), tmp_path / "run")
    assert {(row["volume_A3"], row["pressure_GPa"]) for row in table(tmp_path / "run")} == {("nan", "nan")}


class TestCommand:
    @pytest.fixture
    def here(self, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        model.save("W.mliuq")
        write("start.xyz", start(model).copy(), format="extxyz")
        return tmp_path

    def json(self, capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert main(["md", "W.mliuq", "start.xyz", *arguments, "--json"]) == status
        found = json.loads(capsys.readouterr().out)
        assert isinstance(found, dict)
        return found

    OPTIONS = (
        "--ensemble", "npt", "--temperature", "700", "--pressure", "2", "--timestep", "1.5", "--thermostat-time", "50",
        "--barostat-time", "500", "--seed", "4", "--every", "3", "--quantity", QUANTITY, "--save", "0.001", "--halt",
        "100", "--max-saved", "2", "--upper", "200",
    )  # fmt: skip

    def test_every_option_arrives(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        found = self.json(capsys, "-o", "run", "--steps", "7", *self.OPTIONS)
        run = RunSettings(
            7,
            3,
            EnsembleSettings("npt", 700.0, 2.0, 1.5, 50.0, 500.0, 4),
            GuardSettings(QUANTITY, 0.001, 100.0, 2, 200.0),
        )
        assert read_settings(here / "run") == run
        assert found["settings"]["ensemble"]["thermostat_time"] == 50.0
        assert (found["steps"], found["saved"], found["halted"], found["unit"]) == (7, 2, None, "eV")
        assert len(table(here / "run")) == 4
        svg = (here / "run" / "uncertainty.svg").read_text(encoding="utf-8")
        for text in (f"{QUANTITY}, largest (eV)", "save: 0.001", "halt: 100", "time (ps)", "temperature (K)"):
            assert text in svg
        self.json(capsys, "-o", "run", "--steps", "9", "--halt", "50", "--restart")
        again = read_settings(here / "run")
        assert again == replace(run, steps=9, guard=replace(run.guard, halt=50.0))
        assert len(table(here / "run")) == 5

    def test_a_halt_is_a_status_and_a_message(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["--temperature", "300", "--quantity", QUANTITY, "--halt", "1e-9", "--steps", "5"]
        found = self.json(capsys, "-o", "a", *arguments, status=1)
        assert str(found["halted"]).startswith("step 0: energies_err of atom")
        assert main(["md", "W.mliuq", "start.xyz", "-o", "b", *arguments]) == 1
        captured = capsys.readouterr()
        assert captured.err.startswith("mliuq: halted at step 0: energies_err of atom")
        assert "configurations saved" in captured.out
        assert (here / "b" / "uncertainty.svg").exists()

    @pytest.mark.parametrize(
        ("arguments", "status", "says"),
        [
            (["--ensemble", "nph"], 2, "nph"),
            (["--ensemble", "nvt"], 1, "temperature is missing"),
            (["--temperature", "300", "--halt", "much"], 2, "--halt"),
            (
                ["--temperature", "300", "--halt", "auto"],
                1,
                "no thresholds for energies_err (it has force_err, force_std)",
            ),
            (["--temperature", "300", "--halt", "-1"], 1, "halt is -1"),
            (["{part}"], 1, "took the reference potential 'pair_style zbl 4 5' off"),
            (["--restart"], 1, "no run to go on with"),
            ([], 1, "no velocities"),
        ],
    )
    def test_refusals(
        self, arguments: list[str], status: int, says: str, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        name = "W.mliuq"
        if "{part}" in arguments:
            whole = Model.load(name)
            name = "part.mliuq"
            facts = {"fit": {"settings": {"data": {"reference": "pair_style zbl 4 5"}}}}
            replace(whole, metadata=dict(whole.metadata) | facts).save(name)
            arguments = []
        command = ["md", name, "start.xyz", "-o", "run", "--steps", "2", "--quantity", QUANTITY]
        assert main([*command, *arguments]) == status
        message = capsys.readouterr().err
        assert message.startswith("mliuq: error: ")
        assert message.count("\n") == 1
        assert says in message
        assert not list(here.glob("run/trajectory*"))
