"""What a model keeps to tell how far an atom is from its training data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.descriptor.bispectrum import atomic_rows, descriptors
from mliuq.descriptor.params import SnapParams
from mliuq.fitting.settings import FitSettings
from mliuq.posterior.extrapolation import select_active_sets
from mliuq.regression.distributed import Progress
from mliuq.regression.rows import Floats
from mliuq.regression.solver import Solution

_BATCH = 8192  # atoms whose rows are looked at together for the active set


def extrapolation_arrays(
    structures: Sequence[Atoms],
    params: SnapParams,
    solution: Solution,
    settings: FitSettings,
    progress: Progress | None = None,
) -> dict[str, Floats]:
    """Return the factor of A and the active sets, where the settings want them."""
    if not settings.posterior.extrapolation:
        return {}

    def batches() -> Iterable[tuple[Floats, Any]]:
        waiting: list[Atoms] = []
        for done, atoms in enumerate(structures, start=1):
            waiting.append(atoms)
            if sum(map(len, waiting)) >= _BATCH or done == len(structures):
                b = np.concatenate([descriptors(a, params) for a in waiting])
                element = np.concatenate([params.index_of(list(a.symbols)) for a in waiting])
                yield atomic_rows(b, params.quadraticflag), element
                waiting = []
                if progress:
                    progress("active set", done, len(structures))

    active = select_active_sets(batches(), params.n_elements, params.n_weights)
    return {"extrapolation.factor": np.ascontiguousarray(solution.factor), "extrapolation.active_set": active}
