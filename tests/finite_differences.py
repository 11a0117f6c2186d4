"""The one finite-difference harness: a gradient must be finite, equal to the differences, and not trivially zero."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

Energy = Callable[[Atoms], float]

_VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def check_gradient(
    found: ArrayLike, expected: ArrayLike, *, rtol: float = 1e-7, smallest: float = 1e-4, what: str = "gradient"
) -> None:
    """Equal to ``rtol`` of the largest entry, which must exceed ``smallest``; NaN never passes."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert np.all(np.isfinite(found)), f"{what}: not finite: {found}"
    assert np.all(np.isfinite(expected)), f"{what}: the differences are not finite: {expected}"
    largest = np.abs(expected).max()
    assert largest > smallest, f"{what}: trivially zero, at most {largest:.1e}"
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=rtol * largest, equal_nan=False, err_msg=what)


def derivative(f: Callable[[float], float], h: float) -> float:
    """f'(0) to sixth order; h trades truncation (h⁶) against rounding (1/h)."""
    weights = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
    return sum(w * (f(n * h) - f(-n * h)) for n, w in weights.items()) / h


def check_forces(energy: Energy, atoms: Atoms, forces: ArrayLike, *, h: float = 1e-3, rtol: float = 1e-7) -> None:
    """Forces along single components of some atoms and along random directions of all of them.

    A displacement of all atoms probes every component at once, single components say which one is wrong.
    """
    forces = np.asarray(forces)
    rng = np.random.default_rng(0)
    directions = []
    for atom, axis in zip(rng.permutation(len(atoms))[:3], range(3), strict=False):
        single = np.zeros_like(forces)
        single[atom, axis] = 1.0
        directions.append(single)
    directions += [d / np.abs(d).max() for d in rng.normal(size=(3, *forces.shape))]

    def moved(step: np.ndarray) -> float:
        trial = atoms.copy()
        trial.positions += step
        return energy(trial)

    found = [np.vdot(forces, d) for d in directions]
    expected = [-derivative(lambda t, d=d: moved(t * d), h) for d in directions]
    check_gradient(found, expected, rtol=rtol, what="forces")


def check_stress(energy: Energy, atoms: Atoms, stress: ArrayLike, *, h: float = 5e-4, rtol: float = 1e-7) -> None:
    """Stress (Voigt, ASE's sign) against the energy of strained cells, (1/V) dE/dstrain."""

    def strained(v: int, size: float) -> float:
        i, j = _VOIGT[v]
        strain = np.eye(3)
        strain[i, j] += size / 2
        strain[j, i] += size / 2
        trial = atoms.copy()
        trial.set_cell(atoms.cell.array @ strain, scale_atoms=False)
        trial.positions = atoms.positions @ strain
        return energy(trial)

    volume = atoms.get_volume()
    expected = [derivative(lambda t, v=v: strained(v, t), h) / volume for v in range(6)]
    check_gradient(np.asarray(stress), expected, rtol=rtol, smallest=1e-6, what="stress")
