"""Models and structures that several rooms test on: small, random, seeded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from mliuq import Model, SnapParams

#: Descriptors that differ in everything a .snapparam file can say.
PARAMS: dict[str, SnapParams] = {
    "linear": SnapParams(("W",), twojmax=6, rcutfac=4.2),
    "quadratic": SnapParams(("W",), twojmax=4, rcutfac=4.2, quadraticflag=True),
    "binary": SnapParams(("W", "Be"), twojmax=5, rcutfac=4.6, rmin0=0.4, radii=(0.5, 0.42), weights=(1.0, 0.7)),
    "chem": SnapParams(("W", "Be"), twojmax=3, rcutfac=4.2, chemflag=True, bnormflag=True, radii=(0.5, 0.45)),
    "chem all": SnapParams(("W", "Be"), twojmax=2, chemflag=True, wselfallflag=True, bzeroflag=False),
    "chem quadratic": SnapParams(("W", "Be"), twojmax=2, rcutfac=4.2, chemflag=True, quadraticflag=True),
    "inner": SnapParams(("W",), twojmax=4, rcutfac=4.2, switchinnerflag=True, sinner=(2.0,), dinner=(0.5,)),
    "plain": SnapParams(("W",), twojmax=4, rcutfac=4.2, switchflag=False, bzeroflag=False, rfac0=0.9),
}


def random_model(
    params: SnapParams,
    *,
    members: int = 0,
    seed: int = 0,
    zbl: tuple[float, float] | None = None,
    factor: bool = False,
    noise: bool = False,
) -> Model:
    """Random weights of a size that gives energies of a few eV per atom; members scattered lopsidedly about them."""
    rng = np.random.default_rng(seed)
    shape = (params.n_elements, params.n_weights)
    k = params.n_components
    size = np.full(shape[1], 0.05 / np.sqrt(k))
    size[0] = 3.0
    size[1 + k :] = 2e-4 / k
    theta = size * rng.normal(size=shape)
    total = theta.size
    arrays = {}
    if factor:
        arrays["extrapolation.factor"] = np.triu(rng.normal(size=(total, total))) + 10.0 * np.eye(total)
    return Model(
        params,
        theta,
        members=theta + 0.1 * size * (0.5 + rng.normal(size=(members, *shape))) if members else None,
        zbl=zbl,
        noise={"energy": 0.02, "force": 0.1, "stress": 0.001} if noise else None,
        calibration={"alpha_energy": 1.5, "alpha_force": 1.2, "alpha_stress": 1.1} if noise else None,
        arrays=arrays,
    )


def random_atoms(
    elements: Sequence[str],
    n: int,
    cell: Sequence[Sequence[float]],
    pbc: Sequence[bool] | bool = True,
    *,
    seed: int = 0,
    closest: float = 1.7,
) -> Atoms:
    """Random positions, no two atoms or images nearer than ``closest`` Å; elements take turns."""
    rng = np.random.default_rng(seed)
    matrix = np.asarray(cell, dtype=float)
    periodic = np.broadcast_to(pbc, 3)
    shifts = np.array([s for s in np.ndindex(5, 5, 5)]) - 2
    shifts = shifts[(shifts[:, ~periodic] == 0).all(axis=1)] @ matrix
    positions = np.empty((0, 3))
    for _ in range(20_000):
        if len(positions) == n:
            break
        trial = rng.uniform(size=3) @ matrix
        images = (positions[:, None] + shifts).reshape(-1, 3)
        if not len(images) or np.linalg.norm(images - trial, axis=1).min() > closest:
            positions = np.vstack([positions, trial])
    assert len(positions) == n, "the cell is too small for so many atoms"
    symbols = [elements[i % len(elements)] for i in range(n)]
    return Atoms(symbols, positions=positions, cell=matrix, pbc=periodic)


#: Kinds of cells: name -> (atoms, cell, pbc). "tiny" and "sliver" are thinner than any cutoff used here.
CELLS: dict[str, tuple[int, list[list[float]], tuple[bool, bool, bool]]] = {
    "cube": (8, [[5.4, 0, 0], [0, 5.4, 0], [0, 0, 5.4]], (True, True, True)),
    "triclinic": (6, [[5.6, 0.3, -0.2], [1.7, 4.9, 0.4], [-1.1, 0.9, 5.2]], (True, True, True)),
    "left-handed": (6, [[1.7, 4.9, 0.4], [5.6, 0.3, -0.2], [-1.1, 0.9, 5.2]], (True, True, True)),
    "tiny": (1, [[2.3, 0, 0], [0.5, 2.6, 0], [-0.4, 0.7, 2.4]], (True, True, True)),
    "sliver": (3, [[12.0, 0, 0], [0, 2.4, 0], [3.0, 0, 4.0]], (True, True, True)),
    "slab": (6, [[4.5, 0, 0], [0.8, 4.7, 0], [0.5, 0.5, 9.0]], (True, True, False)),
    "wire": (5, [[9.0, 0, 0], [0, 9.0, 0], [0.3, 0.2, 4.4]], (False, False, True)),
    "cluster": (7, [[7.0, 0, 0], [0, 7.0, 0], [0, 0, 7.0]], (False, False, False)),
}


def structure(kind: str, params: SnapParams, seed: int = 0) -> Atoms:
    """One of CELLS filled with the model's elements."""
    n, cell, pbc = CELLS[kind]
    return random_atoms(params.elements, n, cell, pbc, seed=seed)


def separated_atoms(
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
