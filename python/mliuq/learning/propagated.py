"""Properties that were propagated through the members, as rows of the linear model.

A property f of relaxed structures, elastic constants, barriers, … depends on the weights near the best fit as

    f(θ) − f* ≈ g·(θ − θ*),

and its value by every member gives g: least squares of f_m on θ_m, both less their means, in the metric of the fit (of
the g that explain the members alike, the one to which the fit lends least variance).  With R of the fit, A = RᵀR, the
whitened row t = R⁻ᵀg is found at once, from f_m = t·(R θ_m).
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import ArrayLike

from mliuq.errors import MliuqError
from mliuq.learning.label_rows import factor_of
from mliuq.model import Model
from mliuq.regression.rows import Floats

log = logging.getLogger(__name__)

_FEWEST = 10  # members that tell a property
_LINEAR = 0.5  # share of the members' variance that must be linear, where there are members enough to see it


def rows_of_values(values: ArrayLike, model: Model) -> Floats:
    """Return the whitened rows (k, P) of properties, each scaled to ‖t‖ = 1 so that all have the same say.

    Parameters
    ----------
    values : (M,) or (k, M) by every member of `model`, NaN where a member has none

    Raises
    ------
    MliuqError
        for another number of members, too few values, or a property on which all members agree.
    """
    if model.members is None:
        raise MliuqError("the model has no members: expected one fitted with members, whose values these are")
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if table.ndim != 2 or table.shape[1] != model.n_members or not len(table):
        raise MliuqError(f"values have shape {np.shape(values)}, expected (properties, {model.n_members} members)")
    moves = (model.members.reshape(model.n_members, -1) - model.theta.ravel()) @ factor_of(model).T
    return np.stack([_row(own, moves, index) for index, own in enumerate(table)])


def _row(values: Floats, moves: Floats, index: int) -> Floats:
    known = np.isfinite(values)
    if known.sum() < _FEWEST:
        raise MliuqError(f"property {index} (counted from 0) has {known.sum()} values, expected at least {_FEWEST}")
    u, v = moves[known], values[known]
    u, v = u - u.mean(axis=0), v - v.mean()
    if not np.linalg.norm(v) > 1e-12 * np.linalg.norm(values[known]):
        raise MliuqError(f"property {index} (counted from 0) is the same by every member: there is nothing to learn")
    row = np.asarray(np.linalg.lstsq(u, v, rcond=1e-10)[0])
    left = float(np.sum((v - u @ row) ** 2) / np.sum(v**2))
    if len(v) > 2 * len(row) and left > 1.0 - _LINEAR:
        log.warning(
            "property %d (counted from 0) is not linear in the weights: %.0f %% of its spread is left",
            index,
            100 * left,
        )
    return np.asarray(row / np.linalg.norm(row))
