"""What a model keeps to tell how far an atom is from its training data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms

from mliuq.descriptor.bispectrum import atomic_rows, descriptors
from mliuq.descriptor.params import SnapParams
from mliuq.fitting.settings import FitSettings
from mliuq.model.density import FEWEST
from mliuq.model.novelty import ACTIVE_SET, ELEMENT, ENVIRONMENTS
from mliuq.posterior.extrapolation import select_active_sets
from mliuq.regression.distributed import Progress
from mliuq.regression.rows import Floats, Ints
from mliuq.regression.solver import Solution

_BATCH = 8192  # atoms whose rows are looked at together for the active set
_DRAWN = 4  # environments looked at for each one stored: symmetry makes many of them alike
_ALIKE = 0.01  # standard deviations in every component within which environments are the same


def extrapolation_arrays(
    structures: Sequence[Atoms],
    params: SnapParams,
    solution: Solution,
    settings: FitSettings,
    progress: Progress | None = None,
) -> dict[str, Floats]:
    """Return the factor of A, the active sets and a sample of environments, as far as the settings want them."""
    if not settings.posterior.extrapolation:
        return {}
    sample = _Sample(structures, params, settings.posterior.environments, settings.seed)
    seen = _batches(structures, params, sample, progress)
    rows = ((atomic_rows(b, params.quadraticflag), element) for b, element in seen)
    active = select_active_sets(rows, params.n_elements, params.n_weights)
    return {
        "extrapolation.factor": np.ascontiguousarray(solution.factor),
        ACTIVE_SET: active,
        **sample.arrays(),
    }


class _Sample:
    """Environments drawn at random, for each element about `_DRAWN` times as many as are wanted in the end."""

    def __init__(self, structures: Sequence[Atoms], params: SnapParams, limit: int, seed: int) -> None:
        self._limit, self._n_elements = limit, params.n_elements
        self._rng = np.random.default_rng(seed)
        element = np.concatenate([params.index_of(list(atoms.symbols)) for atoms in structures])
        self._chosen = np.zeros(len(element), dtype=np.bool_)
        for index in range(params.n_elements):
            own = np.flatnonzero(element == index)
            self._chosen[self._rng.permutation(own)[: _DRAWN * limit]] = True
        self._b: list[Floats] = []
        self._element: list[Ints] = []
        self._passed = 0

    def take(self, b: Floats, element: Ints) -> None:
        """Keep those of the next atoms that were drawn."""
        chosen = self._chosen[self._passed : self._passed + len(b)]
        self._passed += len(b)
        self._b.append(b[chosen])
        self._element.append(element[chosen])

    def arrays(self) -> dict[str, Floats]:
        """Environments that differ, as many as wanted; none where an element has too few for a density."""
        if not self._limit:
            return {}
        b, element = np.concatenate(self._b), np.concatenate(self._element)
        parts = [_differing(b[element == index]) for index in range(self._n_elements)]
        parts = [part[np.sort(self._rng.permutation(len(part))[: self._limit])] for part in parts]
        if min(map(len, parts)) < FEWEST:
            return {}
        counts = [len(part) for part in parts]
        return {
            ENVIRONMENTS: np.concatenate(parts),
            ELEMENT: np.repeat(np.arange(len(parts)), counts).astype(np.float64),
        }


def _differing(b: Floats) -> Floats:
    """Return the rows of b (n, K) without those that are there before, in their order."""
    spread = b.std(axis=0) if len(b) else np.zeros(b.shape[1])
    coarse = np.round(b / np.where(spread > 0.0, _ALIKE * spread, 1.0))
    return b[np.sort(np.unique(coarse, axis=0, return_index=True)[1])]


def _batches(
    structures: Sequence[Atoms], params: SnapParams, sample: _Sample, progress: Progress | None
) -> Iterator[tuple[Floats, Ints]]:
    """Descriptors and indices of elements of all atoms, some thousands at a time; the sample sees them pass."""
    waiting: list[Atoms] = []
    for done, atoms in enumerate(structures, start=1):
        waiting.append(atoms)
        if sum(map(len, waiting)) >= _BATCH or done == len(structures):
            b = np.concatenate([descriptors(a, params) for a in waiting])
            element = np.concatenate([params.index_of(list(a.symbols)) for a in waiting])
            sample.take(b, element)
            yield b, element
            waiting = []
            if progress:
                progress("active set", done, len(structures))
