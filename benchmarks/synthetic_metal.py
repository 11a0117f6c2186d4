"""Made-up training data of any size: small metal cells with energies and forces of a Finnis-Sinclair potential."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from vesin import NeighborList

CUTOFF, WELL, EMBEDDING = 4.4, 2.2, 1.9  # Å, eV, eV: tungsten-like


def label(atoms: Atoms) -> Atoms:
    """Attach energy and forces of E = Σ pairs φ(r) − c Σ_i ρ_i^½ with Gaussian-tapered φ and ρ."""
    neighbours = NeighborList(cutoff=CUTOFF, full_list=True)
    i, j, r, d = neighbours.compute(atoms.positions, atoms.cell.array, atoms.pbc, "ijDd")
    taper, dtaper = (1 - d / CUTOFF) ** 2, -2 * (1 - d / CUTOFF) / CUTOFF
    repulsion, drepulsion = WELL * np.exp(-2.8 * (d - 2.6)), -2.8 * WELL * np.exp(-2.8 * (d - 2.6))
    density, ddensity = np.exp(-1.1 * (d - 2.6)), -1.1 * np.exp(-1.1 * (d - 2.6))
    n = len(atoms)
    rho = np.bincount(i, density * taper, n)
    energy = 0.5 * np.sum(repulsion * taper) - EMBEDDING * np.sum(np.sqrt(rho))
    slope = -0.5 * EMBEDDING / np.sqrt(np.maximum(rho, 1e-12))
    pull = drepulsion * taper + repulsion * dtaper + (slope[i] + slope[j]) * (ddensity * taper + density * dtaper)
    forces = np.zeros((n, 3))
    np.add.at(forces, i, (pull / d)[:, None] * r)
    atoms.calc = SinglePointCalculator(atoms, energy=float(energy), forces=forces)
    return atoms


def make(n_configs: int, seed: int = 0) -> list[Atoms]:
    """Return `n_configs` strained, rattled bcc, fcc and hcp cells of 2 to 12 atoms, 5.9 on average."""
    rng = np.random.default_rng(seed)
    lattices = [
        bulk("W", "bcc", a=3.18, cubic=True),
        bulk("W", "fcc", a=4.0, cubic=True),
        bulk("W", "hcp", a=2.83, c=4.6),
    ]
    structures = []
    for _ in range(n_configs):
        repeat = rng.permutation([1, 1, rng.choice([1, 2, 3], p=[0.20, 0.42, 0.38])])
        atoms = lattices[rng.integers(3)].repeat(repeat)
        while len(atoms) > 12:
            atoms = lattices[0].repeat(repeat)
        strain = np.eye(3) * rng.uniform(0.92, 1.1) + rng.normal(scale=0.03, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += rng.normal(scale=rng.choice([0.02, 0.1, 0.25]), size=atoms.positions.shape)
        structures.append(label(atoms))
    return structures
