"""Atoms and cell as one set of coordinates, for optimisers, Hessians and implicit derivatives alike."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.filters import Filter
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

Array = NDArray[np.float64]
CellMode = Literal["fixed", "free", "isochoric"]

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_HALF = np.array([1.0, 1.0, 1.0, 0.5, 0.5, 0.5])


def strain_matrix(voigt: Array) -> Array:
    """Symmetric strain (3, 3) of its Voigt form xx yy zz yz xz xy, shears counted twice as engineers do."""
    strain = np.zeros((3, 3))
    for value, half, (i, j) in zip(voigt, _HALF, _VOIGT, strict=True):
        strain[i, j] = strain[j, i] = half * value
    return strain


def voigt_strain(strain: Array) -> Array:
    """Inverse of `strain_matrix`, of the symmetric part."""
    both = strain + strain.T
    return np.array([both[i, j] * (0.5 if i == j else 1.0) for i, j in _VOIGT])


def deformed(atoms: Atoms, gradient: Array) -> Atoms:
    """A copy whose cell vectors and positions (rows) are multiplied by a deformation gradient."""
    copy: Atoms = atoms.copy()
    copy.set_cell(atoms.cell.array @ gradient)
    copy.positions = atoms.positions @ gradient
    return copy


class CellCoordinates(Filter):
    """Positions before strain, and symmetric strain of a reference cell.

    Coordinates are the N positions in the reference cell (Å), then the six strains (Voigt, engineering shears) times
    N Å, as two rows; forces are their negative energy derivatives exactly, so that any optimiser of ASE, Newton's
    method and finite differences may be used. With ``isochoric`` the deformation is divided by the cube root of its
    determinant: the volume stays that of the reference.

    Rotations are not among the coordinates; translations are.
    """

    def __init__(self, atoms: Atoms, mode: CellMode = "free") -> None:
        super().__init__(atoms, indices=range(len(atoms)))
        self._cell = atoms.cell.array.copy()
        self._inner = atoms.positions.copy()
        self._strain = np.zeros(6)
        self._isochoric = mode == "isochoric"
        self._scale = float(len(atoms))

    @property
    def gradient(self) -> Array:
        """Deformation gradient F: rows of the cell are those of the reference times F."""
        stretch = np.eye(3) + strain_matrix(self._strain)
        return stretch / np.cbrt(np.linalg.det(stretch)) if self._isochoric else stretch

    def __len__(self) -> int:
        return len(self._inner) + 2

    def get_positions(self) -> Array:
        """The coordinates, shape (N + 2, 3)."""
        return np.vstack([self._inner, (self._strain * self._scale).reshape(2, 3)])

    def set_positions(self, positions: Array, **_: Any) -> None:
        """Move the atoms and the cell."""
        self._inner = np.array(positions[:-2])
        self._strain = np.ravel(positions[-2:]) / self._scale
        gradient = self.gradient
        self.atoms.set_cell(self._cell @ gradient)
        self.atoms.set_positions(self._inner @ gradient)

    def get_forces(self, *_: Any, **__: Any) -> Array:
        """Negative derivatives of the energy, shape (N + 2, 3).

        With F = G (free) or G / det(G)^(1/3) (isochoric), G = 1 + strain: ∂E/∂x0 = ∂E/∂x Fᵀ and
        dE = V tr(σ G⁻¹ dG), σ without its trace when isochoric.
        """
        forces = np.empty((len(self), 3))
        forces[:-2] = self.atoms.get_forces() @ self.gradient.T
        stress = voigt_6_to_full_3x3_stress(self.atoms.get_stress())
        if self._isochoric:
            stress = stress - np.trace(stress) / 3 * np.eye(3)
        slope = self.atoms.get_volume() * np.linalg.inv(np.eye(3) + strain_matrix(self._strain)) @ stress
        slope = 0.5 * (slope + slope.T)
        forces[-2:] = -np.array([slope[i, j] for i, j in _VOIGT]).reshape(2, 3) / self._scale
        return forces


def coordinates(atoms: Atoms, mode: CellMode) -> Atoms | CellCoordinates:
    """What an optimiser of ASE moves: the atoms, or the atoms and the cell."""
    return atoms if mode == "fixed" else CellCoordinates(atoms, mode)


class Invariant(Filter):
    """Coordinates that move along given orthonormal directions (n, r) only; forces are projected on them."""

    def __init__(self, target: Atoms | CellCoordinates, directions: Array) -> None:
        super().__init__(target if isinstance(target, Atoms) else target.atoms, indices=range(len(target)))
        self._target = target
        self._directions = directions

    def __len__(self) -> int:
        return len(self._target)

    def get_positions(self) -> Array:
        """Those of the target."""
        return np.asarray(self._target.get_positions())

    def set_positions(self, positions: Array, **_: Any) -> None:
        """Move the target as far as the directions allow."""
        here = self.get_positions()
        self._target.set_positions(here + self._along(positions - here))

    def get_forces(self, *_: Any, **__: Any) -> Array:
        """Of the target, projected."""
        return self._along(self._target.get_forces())

    def _along(self, vectors: Array) -> Array:
        return np.reshape(self._directions @ (self._directions.T @ np.ravel(vectors)), (-1, 3))


def hessian(atoms: Atoms, mode: CellMode, step: float = 1e-3, directions: Array | None = None) -> Array:
    """Second derivatives of the energy by central differences of forces, symmetrised, shape (n, n) of 3 N (+ 6).

    With orthonormal directions (n, r) those along them, shape (r, r). Atoms bring a calculator; they end where they
    were. Costs 2 n (2 r) evaluations.
    """
    target = coordinates(atoms, mode)
    x = np.array(target.get_positions())
    V = np.eye(x.size) if directions is None else directions
    columns = np.empty((V.shape[1], V.shape[1]))
    for k, way in enumerate(V.T):
        move = step * way.reshape(-1, 3)
        target.set_positions(x + move)
        ahead = target.get_forces().copy()
        target.set_positions(x - move)
        columns[k] = V.T @ np.ravel(target.get_forces() - ahead) / (2 * step)
    target.set_positions(x)
    return 0.5 * (columns + columns.T)
