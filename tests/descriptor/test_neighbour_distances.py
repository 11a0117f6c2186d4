"""Distances to neighbours against ASE's list."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from mliuq.descriptor import geometry
from mliuq.descriptor.neighbours import neighbour_distances


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("W", a=3.18),
        bulk("Cu", cubic=True).repeat((2, 1, 1)),
        Atoms("W3", [[0, 0, 0], [2.5, 0.3, 0], [30.0, 0, 0]]),
        Atoms("W2", [[0, 0, 0], [1, 2, 9]], cell=[[3, 0, 0], [2.5, 1.5, 0], [0, 0, 25]], pbc=[True, True, False]),
        Atoms("W"),
    ],
)
def test_as_ase_lists_them(atoms: Atoms) -> None:
    atoms.rattle(0.05, seed=1)
    found, expected = neighbour_distances(atoms, 6.0), neighbor_list("id", atoms, 6.0)
    for n in range(len(atoms)):
        own, of_ase = (np.sort(distance[index == n]) for index, distance in (found, expected))
        np.testing.assert_allclose(own, of_ase, rtol=1e-9)


def test_none_beyond_reach_where_the_list_looks_farther(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "_MOST_CELLS", 1)
    atoms = bulk("W", a=3.18, cubic=True).repeat(4)
    listed = geometry.listable(atoms.positions, atoms.cell.array, atoms.pbc, 4.0)
    assert geometry.list_cutoff(listed.extents, 4.0) > np.sqrt(2) * 3.18 > 4.0
    index, distance = neighbour_distances(atoms, 4.0)
    np.testing.assert_array_equal(np.bincount(index), 14)
    assert distance.max() == pytest.approx(3.18)
