"""Bispectrum descriptors, their derivatives, and the design rows a fit is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, overload

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mliuq.core import Descriptor, RowBuilder
from mliuq.descriptor.neighbours import pack
from mliuq.descriptor.params import SnapParams

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DescriptorDerivatives:
    """∂B/∂r, one entry per pair of a centre and an atom its descriptor depends on.

    Attributes
    ----------
    centre, atom : ndarray of shape (n_pairs,)
        Atom indices; a centre is paired with itself too, and periodic images of one atom are summed, so that moving
        atom ``a`` changes ``B[centre]`` by ``values · δr_a`` summed over the entries with ``atom == a``.
    values : ndarray of shape (n_pairs, 3, K)
        ∂B_k(centre)/∂r_x(atom), 1/Å.
    """

    centre: NDArray[np.int32]
    atom: NDArray[np.int32]
    values: Array


@overload
def descriptors(
    atoms: Atoms, params: SnapParams, *, derivatives: Literal[False] = False, kernel: str = ""
) -> Array: ...
@overload
def descriptors(
    atoms: Atoms, params: SnapParams, *, derivatives: Literal[True], kernel: str = ""
) -> tuple[Array, DescriptorDerivatives]: ...
def descriptors(
    atoms: Atoms, params: SnapParams, *, derivatives: bool = False, kernel: str = ""
) -> Array | tuple[Array, DescriptorDerivatives]:
    """Bispectrum components of every atom, as LAMMPS's ``compute sna/atom``.

    Parameters
    ----------
    atoms : ase.Atoms
        Any cell.
    params : SnapParams
        The descriptor.
    derivatives : bool
        Return ∂B/∂r as well.
    kernel : str
        Forces an instruction set, see `Model.potential`.

    Returns
    -------
    B : ndarray of shape (N, K)
        Unit-free; the isolated atom is subtracted when ``bzeroflag`` is set.
    derivatives : DescriptorDerivatives
        On request.

    Raises
    ------
    MliuqError
        For an empty structure, unknown elements, positions that are not finite, atoms on top of each other.

    References
    ----------
    A. P. Bartók et al., Phys. Rev. B 87, 184115 (2013); A. P. Thompson et al., J. Comput. Phys. 285, 316 (2015).
    """
    B, centre, atom, values = _descriptor(params, kernel).compute(pack(atoms, params), derivatives)
    return (B, DescriptorDerivatives(centre, atom, values)) if derivatives else B


# Making a kernel tabulates its coupling coefficients: milliseconds that small structures should not pay each time.
@lru_cache(maxsize=8)
def _descriptor(params: SnapParams, kernel: str) -> Descriptor:
    return Descriptor(params.core, kernel)


@lru_cache(maxsize=8)
def _row_builder(params: SnapParams) -> RowBuilder:
    return RowBuilder(params.core)


def design_rows(
    structures: Iterable[Atoms],
    params: SnapParams,
    *,
    energy: bool = True,
    forces: bool = True,
    stress: bool = False,
    threads: int | None = None,
) -> list[Array]:
    """Design rows of structures: what energies, forces and stress are linear in.

    Parameters
    ----------
    structures : iterable of ase.Atoms
        Configurations; threads run over them.
    params : SnapParams
        The descriptor; ``quadraticflag`` adds the quadratic features.
    energy, forces, stress : bool
        Which rows, in this order: one energy row (features summed over atoms, divided by N), 3N force rows
        (atom-major, 1/Å), six stress rows (Voigt xx yy zz yz xz xy, ASE's sign, 1/Å³).
    threads : int, optional
        Default: what OpenMP would take.

    Returns
    -------
    list of ndarray of shape (n_rows, n_elements * P)
        Per structure; columns element by element: constant, B_1 … B_K, quadratic features in LAMMPS's order.

    Raises
    ------
    MliuqError
        As `descriptors`; for stress rows also when the structure has no volume.
    """
    packed = [pack(atoms, params) for atoms in structures]
    return _row_builder(params).build(packed, energy=energy, forces=forces, stress=stress, threads=threads or 0)


def atomic_rows(b: NDArray[np.float64], quadratic: bool) -> NDArray[np.float64]:
    """Return the rows d with e_i = d_i·θ_element from the bispectrum.

    Parameters
    ----------
    b : (n_atoms, K) bispectrum
    quadratic : append the products in LAMMPS's order, ½ on the diagonal

    Returns
    -------
    (n_atoms, P) with P = 1 + K, or 1 + K + K(K + 1)/2
    """
    parts = [np.ones((len(b), 1)), b]
    if quadratic:
        i, j = np.triu_indices(b.shape[1])
        parts.append(b[:, i] * b[:, j] * np.where(i == j, 0.5, 1.0))
    return np.concatenate(parts, axis=1)
