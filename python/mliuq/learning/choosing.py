"""Which frames of a round are labelled, and cells carved out of those too large for that."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.ase.calculator import MLIUQCalculator
from mliuq.errors import MliuqError
from mliuq.learning.carving import carve
from mliuq.learning.selection import select
from mliuq.learning.settings import LearnSettings
from mliuq.model import Model

log = logging.getLogger(__name__)


def choose(
    pool: Sequence[Atoms],
    known: Sequence[Atoms],
    model: Model,
    settings: LearnSettings,
    n: int,
    round_index: int,
    *,
    save: float,
    region: Sequence[Atoms] | None = None,
    target: Sequence[Atoms] | None = None,
) -> tuple[list[Atoms], list[dict[str, Any]]]:
    """Return the batch, and for each frame chosen why, as plain values.

    Parameters
    ----------
    save : eV/Å; the bar that forces outside of what a carved cell is about may have
    """
    wanted = settings.select
    seed = int(np.random.SeedSequence([settings.seed, round_index]).generate_state(1)[0])
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
        seed=seed,
        threads=1,
    )
    batch, facts = [], []
    for choice in found.choices:
        atoms, why_not = pool[choice.index].copy(), None
        if wanted.max_atoms and len(atoms) > wanted.max_atoms:
            atoms, why_not = _carved(atoms, choice.atom, model, wanted.max_atoms, save, seed)
        facts.append(asdict(choice) | {"atoms": len(atoms), "left_out": why_not})
        if why_not is None:
            atoms.info |= {"select_score": choice.score, "select_reason": choice.reason}
            batch.append(atoms)
        else:
            log.warning("frame %d is not labelled: %s", choice.index, why_not)
    return batch, facts


def _carved(
    atoms: Atoms, centre: int | None, model: Model, max_atoms: int, save: float, seed: int
) -> tuple[Atoms, str | None]:
    """A cell about the atom that speaks for a frame, or the frame and why there is none."""
    if centre is None:
        calculator = MLIUQCalculator(model, threads=1)
        centre = int(np.linalg.norm(calculator.get_property("forces_err", atoms), axis=1).argmax())
    try:
        cell = carve(atoms, centre, model, save=save, seed=seed, threads=1)
    except MliuqError as error:
        return atoms, str(error)
    if len(cell) > max_atoms:
        return atoms, f"the cell about atom {centre} has {len(cell)} atoms, expected at most {max_atoms}"
    cell.info |= {name: value for name, value in atoms.info.items() if name not in cell.info}
    return cell, None
