"""Structures chosen so that labels can stand for a pool, by `mliuq.regression.representation`.

With labelled structures standing for as many as they can, 1 − Σ w ZᵀZ of the pool is missing.  The structure whose own
ZᵀZ points most that way is taken, the weights are found anew, and so on: matching pursuit, as coresets are built
(Campbell & Broderick, J. Mach. Learn. Res. 20, 15 (2019)).  What is common comes first; what is rare, as soon as it is
more of what is missing; oddities last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from ase import Atoms

from mliuq.descriptor.params import SnapParams
from mliuq.learning.criteria import Criterion
from mliuq.regression.representation import Overlap, Population
from mliuq.regression.rows import Floats


class Representation(Criterion[Floats]):
    """The share of what labels do not stand for yet that is like a structure."""

    unit = "share"
    falls = False
    drawn = True

    def __init__(
        self, pool: Iterable[Atoms], known: Sequence[Atoms], params: SnapParams, *, forces: bool, threads: int
    ) -> None:
        self._population = Population.of(pool, params, forces=forces, threads=threads)
        self._overlap = Overlap()
        for z in self._population.seen(known):
            self._overlap.add(z)
        self._missing = self._overlap.missing(self._population.rank)
        self._scale = float(np.sqrt(self._population.rank))

    def prepare(self, structures: Sequence[Atoms], indices: Sequence[int]) -> list[Floats]:
        """Return whitened rows."""
        return list(self._population.seen(structures))

    def score(self, prepared: Floats) -> float:
        """Return the cosine between ZᵀZ and what is missing, times the share of the pool that is missing."""
        size = float(np.linalg.norm(prepared @ prepared.T))
        return float(self._of_rows(prepared).sum()) / (size * self._scale) if size > 0.0 else 0.0

    def take(self, prepared: Floats) -> None:
        """Let a structure stand for what it can."""
        self._overlap.add(prepared)
        self._missing = self._overlap.missing(self._population.rank)

    def explain(self, atoms: Atoms, prepared: Floats, score: float) -> tuple[int | None, str]:
        """Name the atom whose rows are most like what is missing."""
        own = self._of_rows(prepared).reshape(len(atoms) if self._population.forces else 1, -1).sum(axis=1)
        atom = int(own.argmax()) if self._population.forces else None
        return atom, f"{100 * score:.3g} % of the pool is like it and has no label to stand for it"

    def _of_rows(self, z: Floats) -> Floats:
        return np.asarray(np.sum((z @ self._missing) * z, axis=1))
