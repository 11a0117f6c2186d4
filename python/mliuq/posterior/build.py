"""One door to all posteriors: from a fit to members, and to what the model file keeps beside them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mliuq.posterior.calibration import HeldOut, cross_fitted
from mliuq.posterior.corrections import Corrections
from mliuq.posterior.ensemble import draw_corrections
from mliuq.posterior.gaussian import FEW_CONFIGURATIONS, GaussianSettings, draw_gaussian, fit_gaussian
from mliuq.posterior.hypercube import fit_hypercube
from mliuq.posterior.left_out import LeftOutSettings, left_out_rows
from mliuq.posterior.settings import PosteriorSettings
from mliuq.regression.distributed import Progress, Team
from mliuq.regression.loco import RowStatistics
from mliuq.regression.protection import Protection
from mliuq.regression.rows import Floats, RowSource
from mliuq.regression.solver import Solution

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Posterior:
    """Members as moves about the best fit.

    Attributes
    ----------
    moves : (M, P)
    noise : floors in eV/atom, eV/Å, eV/Å^3 by kind; empty where the posterior has none
    arrays : what describes the posterior beyond its members
    facts : plain values for the model's metadata
    held_out : errors and spreads to calibrate on, where the posterior brings its own
    """

    moves: Floats
    noise: Mapping[str, float] = field(default_factory=dict)
    arrays: Mapping[str, Floats] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    held_out: HeldOut | None = None


def build_posterior(
    rows: RowSource,
    solution: Solution,
    statistics: RowStatistics,
    settings: PosteriorSettings,
    *,
    seed: int,
    protection: Protection | None = None,
    team: Team | None = None,
    progress: Progress | None = None,
) -> Posterior:
    """Fit the posterior that `settings` names and draw its members.

    Along what the prior of `protection` holds, members have its spread; how they share energy between atoms where no
    row can tell is in the arrays, too.
    """
    log.info("%s posterior, %d members", settings.kind, settings.members)
    posterior = _of_rows(rows, solution, statistics, settings, seed, team or Team(), progress)
    if protection is None:
        return posterior
    moves = protection.applied(posterior.moves, solution.factor, seed)
    shared = protection.shared(len(moves), seed)
    arrays = {} if shared is None else {"sharing.moves": shared.moves, "sharing.coefficients": shared.coefficients}
    return replace(posterior, moves=moves, arrays={**posterior.arrays, **arrays})


def _of_rows(
    rows: RowSource,
    solution: Solution,
    statistics: RowStatistics,
    settings: PosteriorSettings,
    seed: int,
    team: Team,
    progress: Progress | None,
) -> Posterior:
    if settings.kind == "gaussian":
        # The likelihood sees a bounded number of rows: one rank fits, all get the result.
        own = _gaussian(rows, solution, statistics, settings, seed) if team.rank == 0 else None
        posterior = team.broadcast(own)
        assert posterior is not None
        return posterior
    chosen = settings.selection.mask(rows.table, statistics)
    corrections = Corrections(rows, solution, statistics, chosen, team, progress)
    facts: dict[str, Any] = {"kind": settings.kind, "rows": len(corrections)}
    if settings.kind == "ensemble":
        return Posterior(draw_corrections(corrections, settings.members, seed), facts=facts)
    box = fit_hypercube(
        corrections, mode_threshold=settings.mode_threshold, percentile_clipping=settings.percentile_clipping
    )
    arrays = {"posterior.axes": box.axes, "posterior.lo": box.lo, "posterior.hi": box.hi}
    facts |= {"axes": len(box.lo), "sampler": settings.sampler}
    return Posterior(box.sample(settings.members, seed, settings.sampler), arrays=arrays, facts=facts)


def _gaussian(
    rows: RowSource, solution: Solution, statistics: RowStatistics, settings: PosteriorSettings, seed: int
) -> Posterior:
    options = GaussianSettings(prior=settings.prior or None)
    data = left_out_rows(rows, solution, statistics, LeftOutSettings(seed=seed, selection=settings.selection))
    fitted = fit_gaussian(data, options)
    moves = (
        draw_gaussian(fitted, solution, settings.members, seed) if settings.members else np.zeros((0, rows.n_weights))
    )
    floors = {"energy": fitted.noise.energy, "force": fitted.noise.force, "stress": fitted.noise.stress}
    facts = {"kind": "gaussian", "rows": len(data.e), "prior": fitted.prior, "converged": fitted.converged}
    held_out = None
    wanted = settings.calibrate and not settings.refits(len(rows.table), rows.n_weights)
    if wanted and len(np.unique(data.config)) >= FEW_CONFIGURATIONS:
        held_out = cross_fitted(data, options, folds=settings.calibration_folds, seed=seed)
    return Posterior(moves, floors, {"posterior.factor": solution.whitener @ fitted.factor}, facts, held_out)
