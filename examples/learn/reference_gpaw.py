"""GPAW as the reference: `calculator` for an environment that has both, a command for one of GPAW's own.

command = "/opt/gpaw/bin/python {here}/reference_gpaw.py {input} {output}"
"""

from __future__ import annotations

import sys
from typing import Any

from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write


def calculator() -> Any:
    """PBE with plane waves; converge cutoff and k-points for your material before you trust a label."""
    from gpaw import GPAW

    return GPAW(
        mode={"name": "pw", "ecut": 400.0},  # eV
        xc="PBE",
        kpts={"density": 3.0, "gamma": True},
        occupations={"name": "fermi-dirac", "width": 0.1},
        convergence={"energy": 1e-5, "density": 1e-5},
        symmetry={"point_group": False},
        txt="gpaw.txt",
    )


def main(source: str, target: str) -> None:
    """Read a structure, write it with its energy and forces."""
    atoms: Any = read(source)
    atoms.calc = calculator()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    atoms.calc = SinglePointCalculator(atoms, **results)
    write(target, atoms, format="extxyz")


if __name__ == "__main__":
    main(*sys.argv[1:])
