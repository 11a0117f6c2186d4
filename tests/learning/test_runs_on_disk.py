"""One run of exploration: what it is made with, what it leaves, by ASE and by a LAMMPS that is a script of a line."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read
from mliuq import Model
from mliuq.ase.calculator import MLIUQCalculator
from mliuq.errors import MliuqError
from mliuq.learning import exploring, frames_files, lammps_runs
from mliuq.learning.exploring import Run, RunFacts, planned_runs, run_one, strained
from mliuq.learning.folder import Round, json_bytes, read_json
from mliuq.learning.lammps_runs import QUANTITIES, lammps_input, run_lammps
from mliuq.learning.processes import Stopping
from mliuq.learning.settings import ExploreSettings, LearnSettings
from systems import PARAMS, random_model

QUICK = ExploreSettings(steps=12, every=4, timestep=1.0, save=1e-9, halt=1e9, max_saved=2, pool="trajectory")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "W.mliuq"
    random_model(replace(PARAMS["plain"], twojmax=2), members=8, noise=True).save(path)
    return path


def start() -> Atoms:
    atoms = bulk("W", cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


# the plan of a round -----------------------------------------------------------------------------------------------


def test_runs_of_a_round_are_all_there_in_order() -> None:
    settings = LearnSettings().updated({
        "seed": 5, "start.structures": ("s",), "label.command": "c", "start.strains": (0.0, 0.1),
        "explore.temperatures": (300.0, 600.0), "explore.pressures": (0.0, 2.0), "explore.seeds": 2,
    })  # fmt: skip
    runs = planned_runs(settings, 2, 3)
    kinds = [(run.start, run.strain, run.temperature, run.pressure) for run in runs]
    expected = [(i, j, t, p) for i in range(2) for j in range(2) for t in (300.0, 600.0) for p in (0.0, 2.0)]
    assert kinds == [kind for kind in expected for _ in range(2)]
    for index, run in enumerate(runs):
        assert run.index == index
        state = np.random.SeedSequence([5, 3, index]).generate_state(1)[0]
        assert run.seed == int(state) % 900_000_000 + 1
    assert runs[5].describe() == "run 5: start 0, strain 0, 600 K, 0 GPa"
    assert replace(runs[5], pressure=None).describe() == "run 5: start 0, strain 0, 600 K"


def test_six_components_of_strain() -> None:
    atoms = start()
    xx, yy, zz, yz, xz, xy = e = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06)
    found = strained(atoms, e)
    tensor = np.array([[1 + xx, xy / 2, xz / 2], [xy / 2, 1 + yy, yz / 2], [xz / 2, yz / 2, 1 + zz]])
    np.testing.assert_allclose(found.cell.array, atoms.cell.array @ tensor)
    np.testing.assert_allclose(found.get_scaled_positions(), atoms.get_scaled_positions())
    np.testing.assert_allclose(strained(atoms, 0.1).cell.array, 1.1 * atoms.cell.array)
    assert atoms == start()


# ASE -----------------------------------------------------------------------------------------------------------------


def test_a_run_leaves_its_facts_and_frames(model: Path, tmp_path: Path) -> None:
    """Every reading is made again from the frames; those the guard saved come first."""
    run = Run(4, 1, 0, 900.0, None, 11)
    run_one(run, start(), model, QUICK, tmp_path)
    facts, frames = read_json(tmp_path / "facts.json"), frames_files.read(tmp_path / "frames.xyz")
    calculator = MLIUQCalculator(Model.load(model))
    values = [np.linalg.norm(calculator.get_property("forces_err", atoms), axis=1).max() for atoms in frames]
    assert [atoms.info["step"] for atoms in frames] == [0, 4, 8, 12]
    assert [atoms.info.get("guard") for atoms in frames] == ["save", "save", None, None]
    np.testing.assert_allclose([atoms.info["guard_value"] for atoms in frames], values, rtol=1e-5)
    for atoms in frames:
        assert (atoms.info["run"], atoms.info["temperature"]) == (4, 900.0)
        assert set(atoms.info) <= {"run", "temperature", "step", "guard", "guard_value"}
        assert set(atoms.arrays) == {"numbers", "positions"}
        assert atoms.calc is None
    assert facts == {
        "run": {"index": 4, "start": 1, "strain": 0, "temperature": 900.0, "pressure": None, "seed": 11},
        "steps": 12, "halted": None, "largest": pytest.approx(max(values), rel=1e-5), "saved": 2,
    }  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["facts.json", "frames.xyz"]


def test_a_run_that_halts_says_where(model: Path, tmp_path: Path) -> None:
    run_one(Run(0, 0, 0, 900.0, None, 11), start(), model, replace(QUICK, halt=1e-6, pool="saved"), tmp_path)
    facts, (frame,) = read_json(tmp_path / "facts.json"), frames_files.read(tmp_path / "frames.xyz")
    assert facts["steps"] == 0
    assert facts["largest"] == pytest.approx(frame.info["guard_value"])
    assert facts["halted"] == f"step 0: forces_err {facts['largest']:.4g} eV/Å above halt 1e-06" or (
        "forces_err" in facts["halted"] and "; " not in facts["halted"]
    )
    assert facts["halted"].startswith("step 0")


def test_a_run_that_breaks_down_says_so(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = exploring.dynamics

    def dynamics(atoms: Any, ensemble: Any, rng: Any) -> Any:
        dyn = made(atoms, ensemble, rng)

        def fail() -> None:
            if dyn.nsteps == 6:
                raise MliuqError("atoms 0 and 1 lie on top of each other")

        dyn.attach(fail, interval=1)
        return dyn

    monkeypatch.setattr(exploring, "dynamics", dynamics)
    run_one(Run(0, 0, 0, 900.0, None, 11), start(), model, QUICK, tmp_path)
    facts = read_json(tmp_path / "facts.json")
    assert (facts["halted"], facts["steps"]) == ("step 6: atoms 0 and 1 lie on top of each other", 6)
    assert facts["largest"] > 0.0


def test_a_run_gives_up_when_told_to(model: Path, tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Stopping):
        run_one(Run(0, 0, 0, 900.0, None, 11), start(), model, QUICK, tmp_path, stop)
    assert not (tmp_path / "facts.json").exists()


def test_what_dynamics_and_guard_are_made_with(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Velocities too: those of the seed at the temperature; the run is that of the same seed and another of another."""
    given: dict[str, Any] = {}
    velocities, guard = exploring.give_velocities, exploring.UncertaintyGuard

    def give_velocities(atoms: Any, ensemble: Any, rng: Any) -> None:
        assert rng.bit_generator.state == np.random.default_rng(ensemble.seed).bit_generator.state
        velocities(atoms, ensemble, rng)
        given.update(momenta=atoms.get_momenta(), ensemble=ensemble, threads=atoms.calc._threads)

    def made(dyn: Any, atoms: Any, **named: Any) -> Any:
        given.update(named)
        return guard(dyn, atoms, **named)

    monkeypatch.setattr(exploring, "give_velocities", give_velocities)
    monkeypatch.setattr(exploring, "UncertaintyGuard", made)
    found = []
    for seed in (11, 11, 12):
        run_one(Run(0, 0, 0, 900.0, 3.0, seed), start(), model, QUICK, tmp_path)
        found.append((given["momenta"], frames_files.read(tmp_path / "frames.xyz")[-1].positions))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert not np.allclose(found[0][0], found[2][0])
    ensemble = given["ensemble"]
    assert (ensemble.ensemble, ensemble.pressure, ensemble.temperature, ensemble.seed) == ("npt", 3.0, 900.0, 12)
    assert given["threads"] == 1
    named = {key: given[key] for key in ("file", "worst", "upper", "save", "halt", "every", "max_saved", "quantity")}
    assert named == {
        "file": tmp_path / "saved.xyz", "worst": 3, "upper": None, "save": 1e-9, "halt": 1e9, "every": 4,
        "max_saved": 2,
        "quantity": "forces_err",
    }  # fmt: skip
    run_one(Run(0, 0, 0, 900.0, None, 11), start(), model, replace(QUICK, upper=7.0), tmp_path)
    assert given["upper"] == 7.0
    assert (given["ensemble"].ensemble, given["ensemble"].pressure) == ("nvt", 0.0)


def test_runs_of_a_round_are_made_once(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = LearnSettings().updated({
        "start.structures": ("s",), "label.command": "c", "start.strains": (0.0, 0.1), "explore.seeds": 1,
        "explore.steps": 9, "explore.workers": 2,
    })  # fmt: skip
    made: list[Any] = []

    def run_one(run: Run, atoms: Atoms, path: Path, explore: Any, folder: Path, stop: Event) -> None:
        made.append((run.index, atoms.get_volume(), path, explore, folder.name, stop.is_set()))
        facts = RunFacts(run, 9, None, math.nan if run.index else 0.5, 1)
        frames = [bulk("W") for _ in range(1 + run.index)]
        (folder / "frames.xyz").write_bytes(frames_files.to_bytes(frames))
        (folder / "facts.json").write_bytes(json_bytes(facts.to_mapping()))

    monkeypatch.setattr(exploring, "run_one", run_one)
    where = Round(tmp_path, 3)
    (where.md / "000").mkdir(parents=True)
    (where.md / "000" / "halfway").touch()
    told: list[Any] = []
    facts, frames = exploring.explore(settings, [start()], model, where, lambda *what: told.append(what))
    v = start().get_volume()
    expected = [(0, v, model, settings.explore, "000", False), (1, v * 1.1**3, model, settings.explore, "001", False)]
    assert sorted(made) == [(a, pytest.approx(b), *rest) for a, b, *rest in expected]
    assert [one.run for one in facts] == planned_runs(settings, 1, 3)
    assert facts[0].largest == 0.5
    assert math.isnan(facts[1].largest)
    assert facts[1].to_mapping()["largest"] is None
    assert (facts[1].steps, facts[1].halted, facts[1].saved) == (9, None, 1)
    assert len(frames) == 3
    assert told == [("round 3: runs", 1, 2), ("round 3: runs", 2, 2)]
    assert not (where.md / "000" / "halfway").exists(), "what was killed is made anew"
    again, _ = exploring.explore(settings, [start()], model, where)
    assert [one.run for one in again] == [one.run for one in facts]
    assert len(made) == 2


def test_thresholds_are_numbers(model: Path) -> None:
    loaded = replace(Model.load(model), calibration={"thresholds": {"forces_err": [0.5, 2.0]}})
    plain = ExploreSettings()
    assert exploring.check_quantity_and_thresholds(loaded, start(), plain) == (0.25, 0.75)
    with pytest.raises(MliuqError, match="quantity"):
        exploring.check_quantity_and_thresholds(loaded, start(), replace(plain, quantity="nonsense"))
    with pytest.raises(MliuqError, match="grade"):
        exploring.check_quantity_and_thresholds(loaded, start(), replace(plain, quantity="grade"))


# LAMMPS -------------------------------------------------------------------------------------------------------------


def test_the_whole_input() -> None:
    """Every line of it, as the manual of LAMMPS spells them; ps and bar from fs and GPa."""
    atoms = start()
    atoms.pbc = (True, False, True)
    settings = ExploreSettings(steps=25, every=5, timestep=2.0, thermostat_time=50.0, barostat_time=400.0, max_saved=7)
    text = lammps_input(Run(0, 0, 0, 650.0, None, 17), atoms, Path("/m/W.mliuq"), ["W", "Be"], settings)
    assert text == (
        "units metal\natom_style atomic\natom_modify map array\nboundary p s p\nbox tilt large\nread_data start.data\n"
        'pair_style mliuq\npair_coeff * * "/m/W.mliuq" W Be\n'
        "velocity all create 650.0 17 mom yes rot no dist gaussian\ntimestep 0.002\n"
        "fix move all nve\nfix bath all langevin 650.0 650.0 0.05 17\n"
        "fix watch all mliuq/guard 5 force_err save 0.25 halt 0.75 file saved.xyz max 7 worst 3 action soft\n"
        "thermo 2\nrun 25\n"
        'print "$(step) $(f_watch[1]) $(f_watch[3]) $(f_watch[4])" file result.txt\n'
    )
    held = replace(settings, pool="trajectory", upper=9.0, save="auto", halt="auto", steps=5)
    lines = lammps_input(Run(0, 0, 0, 650.0, 2.0, 17), atoms, Path("/m/W.mliuq"), ["W", "Be"], held).splitlines()
    assert lines[10:17] == [
        "fix move all npt temp 650.0 650.0 0.05 iso 20000.0 20000.0 0.4",
        "fix watch all mliuq/guard 5 force_err save auto halt auto limit 9.0 file saved.xyz max 7 worst 3 action soft",
        "dump pass all custom 5 pass.dump id type element x y z",
        "dump_modify pass element W Be",
        "thermo 1",
        "run 5",
        'print "$(step) $(f_watch[1]) $(f_watch[3]) $(f_watch[4])" file result.txt',
    ]
    for name, there in QUANTITIES.items():
        text = lammps_input(Run(0, 0, 0, 1.0, None, 1), atoms, Path("m"), ["W"], replace(settings, quantity=name))
        assert f"mliuq/guard 5 {there} save" in text
    assert QUANTITIES == {
        "forces_err": "force_err", "forces_std": "force_std", "energies_err": "energy_err",
        "energies_std": "energy_std", "extrapolation": "extrapolation",
    }  # fmt: skip
    with pytest.raises(MliuqError) as caught:
        lammps_input(Run(0, 0, 0, 1.0, None, 1), atoms, Path("m"), ["W"], replace(settings, quantity="grade"))
    assert str(caught.value) == (
        "explore.quantity is 'grade', expected one of forces_err, forces_std, energies_err, energies_std, "
        "extrapolation in LAMMPS"
    )


DUMP = "".join(
    f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 3\n0 3\n0 3\n"
    f"ITEM: ATOMS id type element x y z\n1 1 W 0.{step} 0 0\n"
    for step in (0, 5, 10)
)


class Program:
    """A LAMMPS that leaves files and a screen and ends with a status."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[dict[str, Any]] = []
        self.files: dict[str, str] = {}
        self.screen, self.status = "Step\n", 0
        monkeypatch.setattr(lammps_runs, "run_program", self)
        monkeypatch.setattr(lammps_runs.shutil, "which", lambda word: None if word == "none" else word)

    def __call__(self, words: list[str], folder: Path, log: Path, **named: Any) -> int | None:
        self.calls.append({"words": words, "folder": folder, "log": log, **named})
        for name, text in self.files.items():
            (folder / name).write_text(text)
        log.write_text(self.screen)
        return self.status


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    return Program(monkeypatch)


LAMMPS = ExploreSettings(engine="lammps", steps=20, every=5, lammps="mpirun -n 2 lmp", time_limit=33.0)
RUN = Run(3, 0, 0, 300.0, None, 9)


def saved(*values: tuple[int, float]) -> str:
    frames = []
    for step, value in values:
        atoms = bulk("W")
        atoms.info |= {"step": step, "value": value}
        frames.append(atoms)
    return frames_files.to_bytes(frames).decode()


def test_a_run_of_lammps(model: Path, tmp_path: Path, program: Program) -> None:
    program.files = {"saved.xyz": saved((5, 0.5)), "result.txt": "20 0.25 1 0\n", "pass.dump": DUMP}
    stop = Event()
    pooled = replace(LAMMPS, pool="trajectory")
    steps, halted, largest, frames = run_lammps(RUN, start(), model, pooled, tmp_path, stop)
    assert (steps, halted, largest) == (20, None, 0.5)
    assert [frame.info["step"] for frame in frames] == [5, 0, 10], "what was saved is not there twice"
    assert [frame.info.get("guard") for frame in frames] == ["save", None, None]
    assert frames[0].info["guard_value"] == 0.5
    np.testing.assert_allclose([frame.positions[0, 0] for frame in frames[1:]], [0.0, 0.10])
    (call,) = program.calls
    assert call == {
        "words": ["command", "mpirun", "-n", "2", "lmp", "-in", "in.lammps", "-log", "none"], "folder": tmp_path,
        "log": tmp_path / "screen.txt", "time_limit": 33.0, "stop": stop, "environment": {"OMP_NUM_THREADS": "1"},
    }  # fmt: skip
    text = (tmp_path / "in.lammps").read_text()
    assert text == lammps_input(RUN, start(), model.resolve(), ("W",), pooled)
    data = read(tmp_path / "start.data", format="lammps-data", atom_style="atomic", units="metal")
    np.testing.assert_allclose(data.positions, start().positions, atol=1e-6)
    assert "Masses" in (tmp_path / "start.data").read_text()
    assert len(run_lammps(RUN, start(), model, LAMMPS, tmp_path, stop)[3]) == 1, "the guard's alone"


def test_the_order_of_elements_is_the_models(tmp_path: Path, program: Program) -> None:
    path = tmp_path / "m.mliuq"
    random_model(PARAMS["binary"], members=2).save(path)
    program.files = {"result.txt": "20 0.25 1 0\n"}
    run_lammps(RUN, Atoms("BeW", positions=[[0, 0, 0], [2, 2, 2]], cell=[5, 5, 5]), path, LAMMPS, tmp_path, Event())
    lines = (tmp_path / "start.data").read_text().splitlines()
    at = next(i for i, one in enumerate(lines) if one.startswith("Atoms"))
    assert [one.split()[1] for one in lines[at + 1 :] if one.strip()] == ["2", "1"]


HALT = "WARNING: Fix mliuq/guard: step 15: force_err 1.5 eV/A above halt, the run ends (src)\n"
#: What LAMMPS leaves → steps, what is said of a halt, the largest value.
ENDS: dict[str, tuple[dict[str, Any], tuple[int, str | None, float]]] = {
    "whole": ({"files": {"result.txt": "20 0.25 1 0"}}, (20, None, 0.25)),
    "halted": ({"files": {"result.txt": "15 1.5 1 0"}, "screen": f"Step\nFix mliuq/guard on\n{HALT}"},
               (15, HALT.strip(), 1.5)),
    "saved": ({"files": {"result.txt": "15 1.5 1 0", "saved.xyz": saved((10, 2.5))}, "screen": f"Step\n{HALT}"},
              (15, HALT.strip(), 2.5)),
    "a warning": ({"files": {"result.txt": "20 0.25 1 0"}, "screen": "WARNING: Fix mliuq/guard: saved\nStep\n"},
                  (20, None, 0.25)),
    "short": ({"files": {"result.txt": "19 0.25 1 0"}}, (19, "step 19: LAMMPS ended the run", 0.25)),
    "time": ({"files": {"saved.xyz": saved((5, 0.5), (10, 0.25))}, "status": None, "screen": ""},
             (10, "LAMMPS ended: after 33 s", 0.5)),
    "error": ({"status": 1, "screen": "  Step Temp\nERROR: Lost atoms\nERROR: two\n"},
              (0, "LAMMPS ended: ERROR: Lost atoms", math.nan)),
    "status": ({"status": 7, "screen": "Step \n"}, (0, "LAMMPS ended: status 7", math.nan)),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS)
def test_how_a_run_of_lammps_ends(case: str, model: Path, tmp_path: Path, program: Program) -> None:
    leaves, expected = ENDS[case]
    for name, value in leaves.items():
        setattr(program, name, value)
    found = run_lammps(RUN, start(), model, LAMMPS, tmp_path, Event())[:3]
    np.testing.assert_equal(found, expected)


def test_a_lammps_that_does_not_begin(model: Path, tmp_path: Path, program: Program) -> None:
    program.status, program.screen = 1, "LAMMPS\nERROR: Unknown pair style\nStep"
    with pytest.raises(MliuqError) as caught:
        run_lammps(RUN, start(), model, LAMMPS, tmp_path, Event())
    assert str(caught.value) == f"{tmp_path}: LAMMPS ended before the first step: ERROR: Unknown pair style"
    with pytest.raises(MliuqError) as caught:
        run_lammps(RUN, start(), model, replace(LAMMPS, lammps="none -x"), tmp_path, Event())
    assert str(caught.value) == "explore.lammps: 'none' cannot be started: no such program"


def test_the_engine_decides(model: Path, tmp_path: Path, program: Program) -> None:
    program.files = {"saved.xyz": saved((5, 0.5)), "result.txt": "20 0.25 1 0\n"}
    run_one(RUN, start(), model, LAMMPS, tmp_path)
    facts = read_json(tmp_path / "facts.json")
    assert (facts["steps"], facts["saved"], facts["largest"]) == (20, 1, 0.5)
    (frame,) = frames_files.read(tmp_path / "frames.xyz")
    assert frame.info == {"run": 3, "temperature": 300.0, "step": 5, "guard": "save", "guard_value": 0.5}
