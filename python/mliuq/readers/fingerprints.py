"""Which configurations are the same: a number for each, made of what it is and not of where it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

_DIGITS = 4  # of Å: more than any file format rounds off, less than configurations of one data set differ by


def fingerprints(structures: Sequence[Atoms]) -> NDArray[np.float64]:
    """Return a 52-bit number for each configuration, exact in a double, from species, positions, cell and periodicity.

    Equal numbers mean the same configuration to 1e-4 Å, read from any file (two that differ meet with a chance of
    2e-16); its energy is not part of it.
    """
    return np.array([_fingerprint(atoms) for atoms in structures], dtype=np.float64)


def others_than(structures: Sequence[Atoms], known: Sequence[Atoms]) -> list[int]:
    """Return the places of structures that are none of those known."""
    return [int(i) for i in np.flatnonzero(~np.isin(fingerprints(structures), fingerprints(known)))]


def _fingerprint(atoms: Atoms) -> float:
    digest = hashlib.sha256(atoms.numbers.astype("<i8").tobytes() + atoms.pbc.tobytes())
    for lengths in (atoms.positions, atoms.cell.array):
        digest.update((np.round(lengths, _DIGITS) + 0.0).astype("<f8").tobytes())  # + 0.0: no negative zero
    return float(int.from_bytes(digest.digest()[:7]) >> 4)
