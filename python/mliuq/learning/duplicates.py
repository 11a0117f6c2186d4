"""Which structures would teach the same thing twice.

Identical: the same species, positions, cell and periodicity to 1e-4 Å (`mliuq.readers.fingerprints`).  Nearly so:
however turned, moved, renumbered or repeated, the share of each element and the least, mean and largest value over its
atoms of every bispectrum component, one vector s, are nearly the same,

    ‖s − s'‖ ≤ tolerance · ‖s'‖.

The extremes see one atom among thousands that is somewhere new, which a mean does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from mliuq.descriptor.bispectrum import descriptors
from mliuq.descriptor.params import SnapParams
from mliuq.regression.rows import Floats


def signature(atoms: Atoms, params: SnapParams) -> Floats:
    """Return s, shape (n_elements · (1 + 3K),)."""
    b = descriptors(atoms, params)
    element = np.asarray(params.index_of(list(atoms.symbols)))
    parts = []
    for index in range(params.n_elements):
        own = b[element == index]
        values = [own.min(axis=0), own.mean(axis=0), own.max(axis=0)] if len(own) else [np.zeros(3 * b.shape[1])]
        parts += [np.array([len(own) / len(b)]), *values]
    return np.concatenate(parts)


class Seen:
    """Structures that are known, to compare others with."""

    def __init__(self, structures: Sequence[Atoms], params: SnapParams, tolerance: float) -> None:
        self._params, self._tolerance = params, tolerance
        self._signatures = [signature(atoms, params) for atoms in structures] if tolerance > 0.0 else []

    def holds(self, atoms: Atoms) -> bool:
        """Whether a structure is nearly one of those known; it is one of them from now on."""
        if not self._tolerance > 0.0:
            return False
        own = signature(atoms, self._params)
        for other in self._signatures:
            if np.linalg.norm(own - other) <= self._tolerance * np.linalg.norm(other):
                return True
        self._signatures.append(own)
        return False
