"""The corrections themselves as posterior."""

from __future__ import annotations

import numpy as np

from mliuq.posterior.corrections import Corrections
from mliuq.regression.rows import Floats


def draw_corrections(corrections: Corrections, n: int | None, seed: int) -> Floats:
    """Return corrections of `n` distinct chosen rows drawn at random, in row order, shape (n, P).

    All are returned when `n` is None or there are fewer than `n`.
    """
    rows, total = corrections.rows, len(corrections)
    picked = np.arange(total)
    if n is not None and n < total:
        picked = np.sort(np.random.default_rng(seed).choice(total, size=n, replace=False))
    chosen = np.zeros_like(corrections.chosen)
    chosen[np.flatnonzero(corrections.chosen)[picked]] = True
    return Corrections(rows, corrections.solution, corrections.statistics, chosen, corrections.team).all()
