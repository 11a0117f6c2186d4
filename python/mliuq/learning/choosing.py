"""Which frames of a round are labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.learning.selection import select
from mliuq.learning.settings import LearnSettings
from mliuq.model import Model


def choose(
    pool: Sequence[Atoms],
    known: Sequence[Atoms],
    model: Model,
    settings: LearnSettings,
    n: int,
    round_index: int,
    *,
    region: Sequence[Atoms] | None = None,
    target: Sequence[Atoms] | None = None,
) -> tuple[list[Atoms], list[dict[str, Any]]]:
    """Return the batch, and for each of it why it was chosen, as plain values."""
    wanted = settings.select
    found = select(
        pool,
        model,
        n,
        criterion=wanted.criterion,
        rows=wanted.rows,
        region=region,
        target=target,
        known=known,
        similar=wanted.similar,
        seed=int(np.random.SeedSequence([settings.seed, round_index]).generate_state(1)[0]),
        threads=1,
    )
    batch = []
    for choice in found.choices:
        atoms = pool[choice.index].copy()
        atoms.info |= {"select_score": choice.score, "select_reason": choice.reason}
        batch.append(atoms)
    return batch, [asdict(choice) for choice in found.choices]
