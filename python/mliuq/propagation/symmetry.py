"""The symmetry of a structure, and the displacements and strains that keep it.

A structure that is relaxed keeps the symmetry it starts with: its forces have it too, but for rounding, which grows
along every direction in which only symmetry holds the structure, until it is another one. Moving along invariant
directions alone makes of that a rule instead of an accident.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mliuq.propagation.coordinates import CellMode, strain_matrix, voigt_strain

Array = NDArray[np.float64]

MOST_ATOMS = 250
"""Beyond it symmetry is not looked for, which takes time with the square of the number of atoms."""
PRECISION = 1e-5  # Å


@dataclass(frozen=True, eq=False)
class Symmetry:
    """Orthonormal invariant displacements (3 N, r) and strains (6, s; Voigt, engineering shears)."""

    displacements: Array
    strains: Array

    def directions(self, mode: CellMode) -> Array:
        """Of the coordinates of `coordinates`: (3 N, r) in a fixed cell, else (3 N + 6, r + s)."""
        return self.displacements if mode == "fixed" else self._with_cell

    @cached_property
    def _with_cell(self) -> Array:
        (n, r), (m, s) = self.displacements.shape, self.strains.shape
        return np.block([[self.displacements, np.zeros((n, s))], [np.zeros((m, r)), self.strains]])

    def keeps(self, strain: Array) -> bool:
        """Whether a strain (Voigt) is invariant."""
        return bool(np.abs(strain - self.strains @ (self.strains.T @ strain)).max() < 1e-8)

    def holds(self, before: Atoms, after: Atoms) -> bool:
        """Whether a structure that has this symmetry and another one differ by invariant strains and displacements."""
        stretch = np.linalg.solve(before.cell.array, after.cell.array)
        if np.abs(stretch - stretch.T).max() > 1e-8 or not self.keeps(voigt_strain(stretch - np.eye(3))):
            return False
        moves = (after.positions - before.positions @ stretch).ravel()
        return bool(np.abs(moves - self.displacements @ (self.displacements.T @ moves)).max() < 1e-6)


class KeepsSymmetry:
    """A constraint of ASE: atoms move along invariant displacements only."""

    def __init__(self, symmetry: Symmetry) -> None:
        self._ways = symmetry.displacements

    def _along(self, vectors: Array) -> Array:
        return np.reshape(self._ways @ (self._ways.T @ vectors.ravel()), (-1, 3))

    def adjust_positions(self, atoms: Atoms, new: Array) -> None:
        """Called by ASE with the positions that atoms are to take."""
        new[:] = atoms.positions + self._along(new - atoms.positions)

    def adjust_forces(self, _: Atoms, forces: Array) -> None:
        """Called by ASE with the forces that it goes by."""
        forces[:] = self._along(forces)


def symmetry_of(atoms: Atoms) -> Symmetry | None:
    """Symmetry of a crystal; None where it has none, is not periodic, is held by constraints, or is too large."""
    if len(atoms) > MOST_ATOMS or not atoms.pbc.all() or atoms.constraints:
        return None
    scaled = atoms.get_scaled_positions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = spglib.get_symmetry((atoms.cell.array, scaled, atoms.numbers), symprec=PRECISION)
    if found is None or len(found["rotations"]) < 2:
        return None
    cell, inverse = atoms.cell.array, np.linalg.inv(atoms.cell.array)
    turns = np.array([inverse @ w.T @ cell for w in found["rotations"]])  # of rows: v → v R
    tree = cKDTree(scaled % 1.0 % 1.0, boxsize=1.0)
    images = np.array(
        [
            tree.query((scaled @ w.T + shift) % 1.0 % 1.0)[1]
            for w, shift in zip(found["rotations"], found["translations"], strict=True)
        ]
    )
    fields = []
    for first in np.unique(images.min(axis=0)):  # one atom of each orbit
        goes = images[:, first]
        for vector in _invariants(turns[goes == first].mean(axis=0)):
            field = np.zeros_like(scaled)
            np.add.at(field, goes, vector @ turns)
            fields.append(field.ravel() / np.linalg.norm(field))
    axes = [voigt_strain(np.mean(turns.transpose(0, 2, 1) @ strain_matrix(e) @ turns, axis=0)) for e in np.eye(6)]
    left, sizes, _ = np.linalg.svd(np.array(axes).T)
    displacements = np.array(fields).T if fields else np.zeros((scaled.size, 0))
    return Symmetry(displacements, left[:, sizes > 1e-6])


def _invariants(average: Array) -> Array:
    """Vectors (rows) that an average over a group of rotations leaves as they are."""
    sizes, axes = np.linalg.eigh(0.5 * (average + average.T))
    return np.asarray(axes[:, sizes > 0.5].T)
