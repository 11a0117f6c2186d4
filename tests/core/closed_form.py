"""SNAP with twojmax 0, where the bispectrum is a product of densities, written from the definition in plain numpy.

With one level u⁰ = 1, so that U_μ(i) = [self] + Σ_{j in μ} s_ij with s = w_j f_c(r) f_in(r), and B_{κλμ} = U_κ U_λ U_μ
(minus its value for the lone atom with bzeroflag). Neighbours come from ASE's own list.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from mliuq import SnapParams
from numpy.typing import NDArray

Array = NDArray[np.float64]


def switching(params: SnapParams, r: Array, a: NDArray[np.int64], b: NDArray[np.int64]) -> tuple[Array, Array]:
    """s(r) and ds/dr for neighbours of element b around centres of element a, zero beyond the pair's cutoff."""
    radii, weights = np.array(params.radii), np.array(params.weights)
    cutoff = params.rcutfac * (radii[a] + radii[b])
    outer, d_outer = np.ones_like(r), np.zeros_like(r)
    if params.switchflag:
        rate = np.pi / (cutoff - params.rmin0)
        phase = np.clip(rate * (r - params.rmin0), 0.0, np.pi)
        outer, d_outer = 0.5 * (1 + np.cos(phase)), -0.5 * rate * np.sin(phase)
    inner, d_inner = np.ones_like(r), np.zeros_like(r)
    if params.switchinnerflag:
        centre = 0.5 * (np.array(params.sinner)[a] + np.array(params.sinner)[b])
        width = 0.5 * (np.array(params.dinner)[a] + np.array(params.dinner)[b])
        phase = np.clip(0.5 * np.pi * (1 + (r - centre) / width), 0.0, np.pi)
        inner, d_inner = 0.5 * (1 - np.cos(phase)), 0.25 * np.pi / width * np.sin(phase)
    inside = np.where(r < cutoff, weights[b], 0.0)
    return inside * outer * inner, inside * (d_outer * inner + outer * d_inner)


def evaluate(params: SnapParams, theta: Array, atoms: Atoms) -> tuple[Array, Array, Array]:
    """Energies (N,), forces (N, 3) and the virial −dE/dstrain (3, 3) of a twojmax 0 model."""
    assert params.twojmax == 0
    element = np.array(params.index_of(atoms.get_chemical_symbols()))
    i, j, D, r = neighbor_list("ijDd", atoms, params.cutoff)
    s, ds = switching(params, r, element[i], element[j])
    n, n_elements = len(atoms), params.n_elements
    channels = n_elements if params.chemflag else 1
    channel = element if params.chemflag else np.zeros_like(element)
    has_self = np.ones((n, channels), dtype=bool)
    if params.chemflag and not params.wselfallflag:
        has_self = channel[:, None] == np.arange(channels)
    U = has_self.astype(float)
    np.add.at(U, (i, channel[j]), s)

    zero = np.einsum("ia,ib,ic->iabc", has_self, has_self, has_self) * params.bzeroflag
    B = (np.einsum("ia,ib,ic->iabc", U, U, U) - zero).reshape(n, -1)
    k = B.shape[1]
    beta, alpha = theta[:, 1 : 1 + k], np.zeros((n_elements, k, k))
    if params.quadraticflag:
        for e in range(n_elements):
            alpha[e][np.triu_indices(k)] = theta[e, 1 + k :]
            alpha[e] += np.triu(alpha[e], 1).T
    slope = beta[element] + np.einsum("ikl,il->ik", alpha[element], B)
    energies = theta[element, 0] + np.einsum("ik,ik->i", beta[element], B)
    energies += 0.5 * np.einsum("ik,ikl,il->i", B, alpha[element], B)

    slope = slope.reshape(n, channels, channels, channels)
    dU = (  # ∂e_i/∂U_μ
        np.einsum("imbc,ib,ic->im", slope, U, U)
        + np.einsum("iamc,ia,ic->im", slope, U, U)
        + np.einsum("iabm,ia,ib->im", slope, U, U)
    )
    pull = (dU[i, channel[j]] * ds / r)[:, None] * D  # ∂e_i/∂r_j
    forces = np.zeros((n, 3))
    np.add.at(forces, i, pull)
    np.add.at(forces, j, -pull)
    return energies, forces, -np.einsum("px,py->xy", D, pull)
