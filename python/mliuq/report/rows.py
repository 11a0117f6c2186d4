"""Rows of structures to judge a model by, and what the model adds to them by itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms

from mliuq.model import Model
from mliuq.posterior.predict import Predictions
from mliuq.readers.keys import Keys
from mliuq.reference import ReferencePotential
from mliuq.regression.problem import build_rows
from mliuq.regression.referenced import less_reference
from mliuq.regression.row_cache import MemoryRows
from mliuq.regression.rows import STRESS, Floats, RowSource
from mliuq.regression.stress_check import suspicion
from mliuq.regression.targets import doubts
from mliuq.regression.weights import WeightSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReferenceRows:
    """Rows to predict.

    Attributes
    ----------
    rows : references without nuclear repulsion and reference potential, as weights are linear in them
    baseline : (n,) nuclear repulsion and reference potential of each row, 0 for a model without
    keys : what the references were read with
    structures : that the rows are of, by their configurations
    """

    rows: RowSource
    baseline: Floats
    keys: Keys = field(default_factory=Keys)
    structures: Sequence[Atoms] = ()


def reference_rows(
    model: Model,
    structures: Sequence[Atoms],
    *,
    stress: bool = False,
    keys: Keys | None = None,
    reference: ReferencePotential | None = None,
    threads: int = 0,
) -> ReferenceRows:
    """Rows of energies and forces, and of stress if asked for, all of weight one.

    A structure may lack some of them; rows are made of those there are.

    `reference` is the potential that the fit of the model had been given; its part is in the baseline.

    Raises
    ------
    MliuqError
        when no structure has any.
    """
    weights = WeightSettings(stress=1.0 if stress else 0.0)
    options = {"keys": keys, "weights": weights, "skip_missing": True, "threads": threads}
    left = structures if reference is None else less_reference(structures, reference, keys or Keys(), weights.wanted())
    rows = build_rows(left, model.params, zbl=model.zbl, **options)  # type: ignore[arg-type]
    for message in doubts(structures, keys or Keys(), weights.wanted()):
        log.warning(message)
    baseline = np.zeros(len(rows.table))
    if model.zbl is not None or reference is not None:
        whole = build_rows(structures, model.params, **options)  # type: ignore[arg-type]
        baseline = whole.table.y - rows.table.y
    return ReferenceRows(MemoryRows(rows), baseline, keys or Keys(), structures)


def warn_of_odd_stress(predictions: Predictions, reference: ReferenceRows) -> None:
    """Warn where the references of a stress have another unit, sign or order than the model's stress."""
    of_stress = predictions.kind == STRESS
    baseline = reference.baseline[of_stress]
    given, predicted = ((y[of_stress] + baseline).reshape(-1, 6) for y in (predictions.y, predictions.mean))
    if message := suspicion(given, predicted, reference.keys, "the model predicts"):
        log.warning(message)
