"""Small linear problems shared by the regression and posterior tests."""

from __future__ import annotations

import numpy as np
from mliuq.regression import ENERGY, FORCE, ArrayRows


def misspecified(n_configs: int = 40, per_config: int = 7, p: int = 9, seed: int = 0, **options: object) -> ArrayRows:
    """Rows of a linear model for data it cannot describe: one energy and some forces per configuration."""
    rng = np.random.default_rng(seed)
    n = n_configs * per_config
    x = rng.normal(size=(n, p)) * 10.0 ** rng.uniform(-2, 2, size=p)
    y = x @ rng.normal(size=p) + np.sin(3.0 * x[:, 0] / np.std(x[:, 0])) * np.std(x @ np.ones(p))
    kind = np.where(np.arange(n) % per_config == 0, ENERGY, FORCE)
    w = np.where(kind == ENERGY, 50.0, 1.0) * rng.uniform(0.5, 2.0, size=n)
    return ArrayRows(x, y, w, kind, np.arange(n) // per_config, **options)  # type: ignore[arg-type]


def matrix(rows: ArrayRows) -> np.ndarray:
    return np.concatenate([block.x for block in rows.blocks()])
