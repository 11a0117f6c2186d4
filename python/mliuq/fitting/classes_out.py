"""What a fit says of whole classes it has not seen: errors and error bars of every config_type left out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mliuq.errors import MliuqError
from mliuq.fitting.calibrating import refit_settings
from mliuq.fitting.settings import FitSettings
from mliuq.judging import metrics
from mliuq.judging.errortable import ErrorLine
from mliuq.posterior.refits import Unseen, left_out
from mliuq.regression.classes_out import class_out_residuals
from mliuq.regression.distributed import Progress, Team
from mliuq.regression.protection import Protection
from mliuq.regression.rows import KINDS, Floats, Ints, RowSource, SubsetRows
from mliuq.regression.solver import Solution

log = logging.getLogger(__name__)

CLASS_OUT = "class out"
_NUMBERS = 1 << 26  # in the matrices of all classes (512 MiB)
_CORRELATED = 1000  # rows of a class and kind whose correlations are looked at


def class_out_lines(
    rows: RowSource,
    solution: Solution,
    groups: Sequence[str | None],
    protection: Protection,
    calibration: Mapping[str, Any] | None,
    settings: FitSettings,
    team: Team,
    progress: Progress | None = None,
) -> list[ErrorLine]:
    """Return one line for each class and kind of row, or none where configurations have no classes.

    Errors are those of the fit without the class, in closed form. Under `posterior.classes_out = "bars"` weights and
    posterior are fitted anew without each class, and rms z says how honest their bars are on it, with the factors of
    `calibration` (which have seen the class, as one of many). Rows of negligible leverage count for neither.

    Parameters
    ----------
    groups : config_type of each configuration; rows of others (given one-body energies) are part of every fit
    """
    wanted, n = settings.posterior.classes_out, len(groups)
    names, of_config = np.unique(["none" if g is None else str(g) for g in groups], return_inverse=True)
    if wanted == "none" or not 1 < len(names) <= n // 2:
        return []
    if len(names) * rows.n_weights**2 > _NUMBERS:
        log.info("%d classes, %d weights: leaving classes out would take too much memory", len(names), rows.n_weights)
        return []
    group = np.where(rows.table.config < n, of_config[np.minimum(rows.table.config, n - 1)], -1)
    error = class_out_residuals(rows, solution, group, team=team, progress=progress)
    lines = []
    for c, name in enumerate(names):
        unseen = None
        if wanted == "bars" and settings.posterior.members:
            try:
                unseen = left_out(
                    rows, group == c, settings.posterior, refit_settings(settings, protection),
                    n_configurations=n, team=team, progress=progress,
                )  # fmt: skip
            except MliuqError as failure:
                log.warning("nothing can be said of bars on %s when it is left out: %s", name, failure)
        for kind, kind_name in enumerate(KINDS):
            at = (group == c) & (rows.table.kind == kind) & np.isfinite(error)
            if at.any():
                e = error[at]
                line = ErrorLine(CLASS_OUT, kind_name, str(name), len(e), metrics.mae(e), metrics.rmse(e))
                lines.append(line if unseen is None else _with_bars(line, kind, unseen, calibration, rows, settings))
    return lines


def _with_bars(
    line: ErrorLine,
    kind: int,
    unseen: Unseen,
    calibration: Mapping[str, Any] | None,
    rows: RowSource,
    settings: FitSettings,
) -> ErrorLine:
    """The line with rms z of the rows that the fit without them predicted, and how many errors they are worth."""
    held_out = unseen.held_out
    own = held_out.kind == kind
    alpha = float((calibration or {}).get(f"alpha_{KINDS[kind]}", 1.0))
    std = np.hypot(alpha * held_out.spread[own], held_out.floor[own])
    if not std.size or not std.min() > 0.0:
        return line
    shown = np.random.default_rng(settings.seed).permutation(unseen.at[own])[:_CORRELATED]
    shifts = alpha * _design(rows, np.sort(shown)) @ unseen.posterior.moves.T
    covariance = shifts @ shifts.T / len(unseen.posterior.moves) + held_out.floor[own][0] ** 2 * np.eye(len(shown))
    return replace(line, rms_z=metrics.rms_z(held_out.error[own], std), independent=metrics.independent(covariance))


def _design(rows: RowSource, at: Ints) -> Floats:
    """The design of a few rows (k, P)."""
    mask = np.zeros(len(rows.table), dtype=np.bool_)
    mask[at] = True
    some = SubsetRows(rows, mask)
    return np.concatenate([some.design(index) for index in range(some.n_blocks)])
