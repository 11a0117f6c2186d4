"""Which frames of a round are labelled, and as what: chosen, and carved where they are too large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.ase.calculator import MLIUQCalculator
from mliuq.learning.settings import LearnSettings
from mliuq.model import Model
from mliuq.readers.fingerprints import fingerprints


def choose(
    pool: Sequence[Atoms], known: Sequence[Atoms], model: Model, settings: LearnSettings, n: int, round_index: int
) -> tuple[list[Atoms], list[dict[str, Any]]]:
    """Return the batch, and for each of it why it was chosen, as plain values."""
    new = np.flatnonzero(~np.isin(fingerprints(pool), fingerprints(known)))
    rng = np.random.default_rng([settings.seed, round_index])
    if settings.select.criterion == "random":
        chosen = [int(i) for i in rng.permutation(new)[:n]]
        return [pool[i] for i in chosen], [{"frame": i, "reason": "random"} for i in chosen]
    calculator = MLIUQCalculator(model, threads=1)
    scores = []
    for i in map(int, new):
        sizes = np.linalg.norm(calculator.get_property("forces_err", pool[i].copy()), axis=1)
        scores.append((float(sizes.max()), i, int(sizes.argmax())))
    best = sorted(scores, key=lambda found: -found[0])[:n]
    facts = [{"frame": i, "score": s, "atom": a, "reason": f"forces_err {s:.4g} eV/Å"} for s, i, a in best]
    return [pool[i] for _, i, _ in best], facts
