"""Thresholds that a guard takes by itself: how uncertain forces are in what the model has learned from.

Of every training configuration the largest force spread of an atom (root of the sum of squares of the components):
save above the 90 % quantile, halt above the largest. (Whoever asks leaves out configurations in which every force is
zero by symmetry.) The predicted error is a monotone function of the spread,

    err² = α² std² + 3 σ_F²        for the three components of an atom together,

so thresholds of it follow from those of the spread, also when a model is calibrated anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mliuq.posterior.predict import Predictions
from mliuq.regression.rows import FORCE

SAVE_QUANTILE = 0.9


def spread_thresholds(trained: Predictions) -> tuple[float, float] | None:
    """Thresholds of ``force_std``, eV/Å: to save, to halt; None without forces or spreads.

    Configurations that lack some components of their forces are left out.
    """
    force = trained.kind == FORCE
    config, std = trained.config[force], trained.std[force]
    order = np.argsort(config, kind="stable")  # rows of a configuration: x, y, z of atom 0, of atom 1, …
    _, starts, counts = np.unique(config[order], return_index=True, return_counts=True)
    largest = [
        np.linalg.norm(std[order[start : start + count]].reshape(-1, 3), axis=1).max()
        for start, count in zip(starts, counts, strict=True)
        if count % 3 == 0
    ]
    if not largest or not max(largest) > 0.0:
        return None
    return float(np.quantile(largest, SAVE_QUANTILE)), float(max(largest))


def guard_thresholds(spreads: tuple[float, float], alpha: float, floor: float) -> dict[str, Any]:
    """What the model file keeps: thresholds of ``force_std`` and, with α and noise floor of forces, ``force_err``."""
    return {
        "force_std": [float(value) for value in spreads],
        "force_err": [float(np.hypot(alpha * value, np.sqrt(3.0) * floor)) for value in spreads],
    }
