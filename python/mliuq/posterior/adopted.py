"""The posterior about weights that were not fitted to the data: the Gaussian of moves about a published potential.

Residuals of such weights are errors as they stand, so that nothing is left out or corrected for: δ ~ N(0, S) and the
noise floors are fitted to them directly (`mliuq.posterior.gaussian`).  Errors to calibrate on come from posteriors
fitted without a fold of the configurations; with few configurations one deal into folds says as much about the deal as
about the errors, so that variances are averaged over several.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mliuq.errors import MliuqError
from mliuq.posterior.build import Posterior
from mliuq.posterior.calibration import HeldOut, cross_fitted
from mliuq.posterior.gaussian import FEW_CONFIGURATIONS, GaussianSettings, draw_gaussian, fit_gaussian
from mliuq.posterior.left_out import LeftOutSettings, left_out_rows
from mliuq.posterior.settings import PosteriorSettings
from mliuq.regression.loco import RowStatistics
from mliuq.regression.protection import Protection
from mliuq.regression.rows import Floats, RowSource
from mliuq.regression.solver import Solution

DEALS = 2
FINER = 2
"""Folds of few configurations, in those of the settings: a posterior without a fifth of fifty knows markedly less."""
MANY_CONFIGURATIONS = 200
"""Configurations from which one deal into the folds of the settings is enough."""


def build_adopted(
    rows: RowSource,
    metric: Solution,
    leverage: Floats,
    settings: PosteriorSettings,
    *,
    seed: int,
    protection: Protection,
) -> Posterior:
    """Fit the Gaussian posterior to residuals and draw its members.

    Parameters
    ----------
    rows : the rows, y being what the potential leaves of the reference values
    metric : a fit of these rows, for the coordinates it gives; its weights are not used
    leverage : (n,) of the rows in it

    Raises
    ------
    MliuqError
        for another kind of posterior.
    """
    if settings.kind != "gaussian":
        raise MliuqError(f"posterior.kind is {settings.kind!r}: a potential is adopted with 'gaussian' only")
    options = GaussianSettings(prior=settings.prior or None)
    taken = LeftOutSettings(seed=seed, selection=settings.selection, fitted=False)
    data = left_out_rows(rows, metric, RowStatistics(rows.table.y, leverage, rows.table.y), taken)
    fitted = fit_gaussian(data, options)
    moves = np.zeros((0, rows.n_weights))
    if settings.members:
        moves = protection.applied(draw_gaussian(fitted, metric, settings.members, seed), metric.factor, seed)
    floors = {"energy": fitted.noise.energy, "force": fitted.noise.force, "stress": fitted.noise.stress}
    facts: dict[str, Any] = {"kind": "gaussian", "rows": len(data.e), "prior": fitted.prior}
    facts["converged"] = fitted.converged
    held_out, n = None, len(np.unique(data.config))
    if settings.calibrate and n >= FEW_CONFIGURATIONS:
        few = n < MANY_CONFIGURATIONS
        folds = min(n, (FINER if few else 1) * settings.calibration_folds)
        deals = DEALS if few else 1
        parts = [cross_fitted(data, options, folds=folds, seed=seed + deal) for deal in range(deals)]
        times = f" {deals} times" if deals > 1 else ""
        source = f"residuals of {n} configurations, posterior cross-fitted in {folds} folds{times} (seed {seed})"
        held_out = _averaged(parts, source)
    return Posterior(moves, floors, {"posterior.factor": metric.whitener @ fitted.factor}, facts, held_out)


def _averaged(parts: Sequence[HeldOut], source: str) -> HeldOut:
    """The same rows with variances averaged over the deals: each counts once."""
    spread, floor = (
        np.sqrt(np.mean([np.square(getattr(part, name)) for part in parts], axis=0)) for name in ("spread", "floor")
    )
    return HeldOut(parts[0].error, spread, floor, parts[0].kind, source, parts[0].config, parts[0].atom)
