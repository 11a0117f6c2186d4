"""Points in the unit cube: seeded, for any number of points and dimensions."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy.stats import qmc

from mliuq.errors import MliuqError
from mliuq.regression.rows import Floats

Sampler = Literal["uniform", "sobol", "latin", "halton"]
SAMPLERS: tuple[Sampler, ...] = ("uniform", "sobol", "latin", "halton")


def unit_points(sampler: str, n: int, dimensions: int, seed: int) -> Floats:
    """Return `n` points in [0, 1)^dimensions.

    Sobol points come from the balanced sequence of the next power of two, of which the first `n` are taken.

    Raises
    ------
    MliuqError
        for an unknown sampler, or one that does not reach so many dimensions.
    """
    if sampler not in SAMPLERS:
        raise MliuqError(f"sampler is {sampler!r}, expected one of {', '.join(SAMPLERS)}")
    rng = np.random.default_rng(seed)
    if sampler == "uniform" or dimensions == 0:
        return rng.random((n, dimensions))
    if sampler == "latin":
        return np.asarray(qmc.LatinHypercube(dimensions, rng=rng).random(n))
    if sampler == "halton":
        return np.asarray(qmc.Halton(dimensions, rng=rng).random(n))
    if dimensions > qmc.Sobol.MAXDIM:
        raise MliuqError(f"sobol points have at most {qmc.Sobol.MAXDIM} dimensions, the posterior has {dimensions}")
    return np.asarray(qmc.Sobol(dimensions, rng=rng).random_base2(math.ceil(math.log2(max(n, 1))))[:n])
