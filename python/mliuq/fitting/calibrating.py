"""Which errors calibrate the bars of a fit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.fitting.data import UNITS, the_first
from mliuq.fitting.settings import FitSettings
from mliuq.judging.metrics import informative
from mliuq.model.environments import Usual, environments_of
from mliuq.posterior.build import Posterior
from mliuq.posterior.calibration import PRIOR, HeldOut, calibrate
from mliuq.posterior.gaussian import FEW_CONFIGURATIONS
from mliuq.posterior.predict import Predictions
from mliuq.posterior.refits import RefitSettings, refitted
from mliuq.posterior.thresholds import guard_thresholds, spread_thresholds
from mliuq.regression.distributed import Progress, Team
from mliuq.regression.protection import Protection
from mliuq.regression.rows import FORCE, KINDS, RowSource

log = logging.getLogger(__name__)


def refit_errors(
    rows: RowSource,
    settings: FitSettings,
    protection: Protection,
    n_configurations: int,
    team: Team,
    progress: Progress | None,
) -> HeldOut | None:
    """Errors of K-fold refits where the settings want them and there are configurations enough."""
    options = settings.posterior
    if not options.calibrate or not options.members or not options.refits(len(rows.table), rows.n_weights):
        return None
    config = rows.table.config
    if len(np.unique(config[config < n_configurations])) < max(FEW_CONFIGURATIONS, options.calibration_folds):
        return None
    refits = refit_settings(settings, protection)
    found = refitted(rows, options, refits, n_configurations=n_configurations, team=team, progress=progress)
    return found if len(found.error) else None  # no fold's rows are determined by the others


def refit_settings(settings: FitSettings, protection: Protection) -> RefitSettings:
    """How weights are fitted without some of the configurations."""
    solver = settings.solver
    return RefitSettings(
        0.0 if solver.ridge == "auto" else solver.ridge,
        solver.rcond or None,
        settings.posterior.calibration_folds,
        settings.seed,
        protection,
    )


def calibration_of(
    held_out: HeldOut | None,
    predictions: Predictions,
    unseen: Predictions | None,
    posterior: Posterior,
    settings: FitSettings,
    *,
    structures: Sequence[Atoms] | None = None,
    few: bool = False,
    say: bool = True,
) -> dict[str, Any] | None:
    """Calibrate to rows held out; without any, to those left out unless the posterior has learned from them.

    Given the structures, intervals are found for their groups of environments, too, and those whose errors do not count
    are named, unless the caller is one of many who would `say` the same.
    """
    if not settings.posterior.calibrate or not settings.posterior.members:
        return None
    if held_out is None and unseen is not None and posterior.facts["kind"] != "gaussian" and len(posterior.moves):
        error, std, kind = unseen.y - unseen.mean, unseen.std, unseen.kind
        rows = np.isfinite(error) & (std > 0.0) & informative(kind, unseen.size)
        floor = np.array([posterior.noise.get(name, 0.0) for name in KINDS])[kind]
        source = "leave-one-configuration-out residuals"
        if rows.any():
            config = unseen.config[rows]
            held_out = HeldOut(error[rows], std[rows], floor[rows], kind[rows], source, config)
    if held_out is None:
        log.warning("error bars are not calibrated: too few configurations whose rows the others determine")
        return None
    if say and structures is not None and not few:  # few count all
        warn_of_doubtful(held_out, structures, settings.data.group_key)
    prior = PRIOR if posterior.facts["kind"] == "gaussian" and not few else 0.0
    found = calibrated(held_out, structures or (), few=few, prior=prior)
    spreads = spread_thresholds(_felt(predictions))
    if spreads is not None:
        found["thresholds"] = guard_thresholds(spreads, found["alpha_force"], posterior.noise.get("force", 0.0))
    return found


def calibrated(
    held_out: HeldOut, structures: Sequence[Atoms], usual: Usual | None = None, *, few: bool = False, prior: float = 0.0
) -> dict[str, Any]:
    """Calibrate, with quantiles for each group of environments of the structures that the rows belong to.

    Parameters
    ----------
    structures : by the configurations of the rows; none, for rows of unknown configurations: no groups
    usual : what makes the groups; the medians of the structures when absent
    """
    if not len(structures) or held_out.config is None or held_out.atom is None:
        return calibrate(held_out, few=few, prior=prior).to_mapping()
    environments = environments_of(structures, usual)
    groups = environments.groups(held_out.config, held_out.atom)
    found = calibrate(held_out, few=few, prior=prior, groups=groups).to_mapping()
    if "groups" in found:
        found["groups"]["usual"] = environments.usual.to_mapping()
    return found


def _felt(predictions: Predictions) -> Predictions:
    """The rows of configurations in which some force is not zero by symmetry: spreads of the others tell nothing."""
    told = informative(predictions.kind, predictions.size) & (predictions.kind == FORCE)
    return predictions.where(np.isin(predictions.config, predictions.config[told]))


def warn_of_doubtful(held_out: HeldOut, structures: Sequence[Atoms], group_key: str) -> None:
    """Name the configurations whose energy or stress is too many bars off to count in α, in one warning."""
    times, config = held_out.doubtful(), held_out.config
    if config is None or not times.any():
        return
    worst = {int(config[row]): int(row) for row in np.argsort(times, kind="stable") if times[row]}
    order = sorted(worst.values(), key=lambda row: -times[row])
    said = []
    for row in order:
        kind = KINDS[held_out.kind[row]]
        off = f"{kind} off by {abs(held_out.error[row]):.3g} {UNITS[kind]}, {times[row]:.0f} error bars"
        said.append((int(config[row]), off))
    log.warning(
        "%d far outside the error bars and not counted in their calibration (computed otherwise, or at the end of the"
        " data): %s",
        len(said), the_first(said, structures, group_key),
    )  # fmt: skip
