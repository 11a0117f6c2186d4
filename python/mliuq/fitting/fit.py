"""``mliuq.fit``: structures in, a model with error bars out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from threadpoolctl import threadpool_limits

from mliuq.descriptor.bispectrum import descriptors
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError
from mliuq.fitting.provenance import provenance
from mliuq.fitting.settings import FitSettings
from mliuq.judging.errortable import ErrorLine, error_table
from mliuq.judging.metrics import informative
from mliuq.model import Model
from mliuq.posterior.build import Posterior, build_posterior
from mliuq.posterior.calibration import HeldOut, calibrate
from mliuq.posterior.extrapolation import atomic_rows, select_active_sets
from mliuq.posterior.gaussian import FEW_CONFIGURATIONS
from mliuq.posterior.predict import Predictions, predict
from mliuq.posterior.refits import RefitSettings, refitted
from mliuq.regression.distributed import Progress, Team, world
from mliuq.regression.loco import RowStatistics, examine, without_given
from mliuq.regression.problem import build_rows, isolated_atom_energies, kept_rows, snap_params, split
from mliuq.regression.rows import KINDS, Floats, RowSource
from mliuq.regression.solver import Solution, solve
from mliuq.regression.weights import WeightSettings

log = logging.getLogger(__name__)

_SMALL = 300  # weights
_BATCH = 8192  # atoms whose rows are looked at together for the active set


@dataclass(frozen=True)
class FitResult:
    """A fit with everything a report is made of.

    Attributes
    ----------
    model : the model
    solution, statistics : best fit and per-row residuals, leverages, left-out residuals of the training rows
    train, test : predictions; test is None when nothing was held out
    train_structures, test_structures : the configurations that the rows' `config` counts
    errors : the error table
    """

    model: Model
    solution: Solution
    statistics: RowStatistics
    train: Predictions
    test: Predictions | None
    train_structures: Sequence[Atoms]
    test_structures: Sequence[Atoms]
    errors: Sequence[ErrorLine]


def fit(
    structures: Iterable[Atoms],
    params: SnapParams | None = None,
    settings: FitSettings | Mapping[str, Any] | None = None,
    *,
    test: Iterable[Atoms] | None = None,
    zbl: tuple[float, float] | None = None,
    progress: Progress | None = None,
    team: Team | None = None,
) -> Model:
    """Fit a SNAP potential and its posterior.

    Parameters
    ----------
    structures : training configurations with reference energies and forces (see `settings.data` for their names)
    params : the descriptor; from `settings.snap` and the elements of the data when absent
    settings : all other choices; a mapping of dotted keys (``{"weights.energy": 100.0}``) changes the defaults
    test : held-out configurations; without them `settings.data.test_fraction` of `structures` is held out
    zbl : inner and outer radius (Å) of a ZBL repulsion; overrides `settings.snap.zbl`
    progress : called as ``progress(stage, done, total)``
    team : MPI ranks to share the work with; those of the launching mpirun when absent

    Returns
    -------
    Model
        The same for the same input and seed, bit for bit; at any number of ranks on one kind of machine.

    Raises
    ------
    MliuqError
        for data or settings that cannot be fitted.

    Examples
    --------
    >>> model = mliuq.fit(ase.io.read("W.xyz", ":"), settings={"snap.twojmax": 6})  # doctest: +SKIP
    >>> model.save("W.mliuq")  # doctest: +SKIP
    """
    return run_fit(structures, params, settings, test=test, zbl=zbl, progress=progress, team=team).model


def run_fit(
    structures: Iterable[Atoms],
    params: SnapParams | None = None,
    settings: FitSettings | Mapping[str, Any] | None = None,
    *,
    test: Iterable[Atoms] | None = None,
    zbl: tuple[float, float] | None = None,
    progress: Progress | None = None,
    team: Team | None = None,
) -> FitResult:
    """Do what `fit` does and return everything known about the fit."""
    if not isinstance(settings, FitSettings):
        settings = FitSettings().updated(settings or {})
    settings.validate()
    team = team or world()
    try:
        train, held_out = list(structures), list(test or ())
        if not train:
            raise MliuqError("the data set is empty: expected at least one configuration")
        params = params or snap_params(settings.snap, [*train, *held_out])
        # Threads of BLAS cost more than they bring on small matrices: forty times the time on a machine that is busy.
        one = threadpool_limits(1, user_api="blas") if params.n_elements * params.n_weights < _SMALL else nullcontext()
        with one:
            return _fit(train, params, settings, held_out, zbl, progress if team.rank == 0 else None, team)
    except BaseException as error:
        if team.size > 1:  # the other ranks would wait for this one forever
            log.error("rank %d failed: %s: %s", team.rank, type(error).__name__, error)
            team.abort()
        raise


def _fit(
    structures: list[Atoms],
    params: SnapParams,
    settings: FitSettings,
    held_out: list[Atoms],
    zbl: tuple[float, float] | None,
    progress: Progress | None,
    team: Team,
) -> FitResult:
    keys, solver = settings.data.keys, settings.solver
    if zbl is None and settings.snap.zbl:
        zbl = (settings.snap.zbl[0], settings.snap.zbl[1])
    one_body = dict(solver.one_body)
    if solver.isolated_atoms:
        found, alone = isolated_atom_energies(structures, params, keys)
        one_body = {**found, **one_body}
        structures = [atoms for i, atoms in enumerate(structures) if i not in set(alone)]
    train = structures
    if not held_out:
        train, held_out = split(structures, settings.data.test_fraction, settings.seed)

    make = partial(
        build_rows, params=params, zbl=zbl, keys=keys, skip_missing=settings.data.skip_missing, threads=solver.threads
    )
    with kept_rows(make(train, weights=settings.weights, one_body=one_body), train, params, solver, team) as rows:
        solution = solve(rows, ridge=solver.ridge, rcond=solver.rcond or None, team=team, progress=progress)
        statistics = without_given(examine(rows, solution, team=team, progress=progress), rows.table, len(train))
        posterior = build_posterior(
            rows, solution, statistics, settings.posterior, seed=settings.seed, team=team, progress=progress
        )
        predictions = _of(predict(rows, solution.theta, posterior.moves, team=team, progress=progress), len(train))
        held_out_rows = _refits(rows, settings, len(train), team, progress) or posterior.held_out
    statistics = RowStatistics(
        *(a[: len(predictions)] for a in (statistics.residual, statistics.leverage, statistics.loco))
    )
    calibration = _calibrate(held_out_rows, predictions, statistics, posterior, settings)
    tested = None
    if held_out:
        energy, force, stress = map(float, settings.weights.wanted())
        even = WeightSettings(energy, force, stress)
        tested = predict(
            make(held_out, weights=even), solution.theta, posterior.moves, team=team, progress=progress, stage="test"
        )

    errors = error_table(predictions, statistics, tested, train, held_out, posterior.noise, calibration, keys.group)
    arrays = dict(posterior.arrays)
    if settings.posterior.extrapolation:
        arrays |= extrapolation_arrays(train, params, solution, progress)
    shape = (params.n_elements, params.n_weights)
    model = Model(
        params=params,
        theta=solution.theta.reshape(shape),
        members=(solution.theta + posterior.moves).reshape(-1, *shape) if len(posterior.moves) else None,
        zbl=zbl,
        noise=dict(posterior.noise) or None,
        calibration=calibration,
        arrays=arrays,
        metadata=provenance(settings, solution, rows, posterior, train, held_out, errors, one_body, keys.group),
    )
    return FitResult(model, solution, statistics, predictions, tested, train, held_out, errors)


def extrapolation_arrays(
    structures: Sequence[Atoms], params: SnapParams, solution: Solution, progress: Progress | None = None
) -> dict[str, Floats]:
    """Return the factor of A and the active sets: what tells how far an atom is from the data."""

    def batches() -> Iterable[tuple[Floats, Any]]:
        waiting: list[Atoms] = []
        for done, atoms in enumerate(structures, start=1):
            waiting.append(atoms)
            if sum(map(len, waiting)) >= _BATCH or done == len(structures):
                b = np.concatenate([descriptors(a, params) for a in waiting])
                element = np.concatenate([params.index_of(list(a.symbols)) for a in waiting])
                yield atomic_rows(b, params.quadraticflag), element
                waiting = []
                if progress:
                    progress("active set", done, len(structures))

    active = select_active_sets(batches(), params.n_elements, params.n_weights)
    return {"extrapolation.factor": np.ascontiguousarray(solution.factor), "extrapolation.active_set": active}


def _of(predictions: Predictions, n: int) -> Predictions:
    """Return the rows of the first n configurations."""
    end = int(np.searchsorted(predictions.config, n))
    names = ("y", "mean", "std", "low", "high", "kind", "config")
    return Predictions(*(getattr(predictions, name)[:end] for name in names))


def _refits(
    rows: RowSource, settings: FitSettings, n_configurations: int, team: Team, progress: Progress | None
) -> HeldOut | None:
    """Errors of K-fold refits where the settings want them and there are configurations enough."""
    options = settings.posterior
    if not options.calibrate or not options.members or not options.refits(len(rows.table), rows.n_weights):
        return None
    config = rows.table.config
    if len(np.unique(config[config < n_configurations])) < max(FEW_CONFIGURATIONS, options.calibration_folds):
        return None
    refits = RefitSettings(
        settings.solver.ridge, settings.solver.rcond or None, options.calibration_folds, settings.seed
    )
    return refitted(rows, options, refits, n_configurations=n_configurations, team=team, progress=progress)


def _calibrate(
    held_out: HeldOut | None,
    predictions: Predictions,
    statistics: RowStatistics,
    posterior: Posterior,
    settings: FitSettings,
) -> dict[str, Any] | None:
    """Calibrate to rows held out; without any, to left-out residuals unless the posterior has learned from them."""
    if not settings.posterior.calibrate or not settings.posterior.members:
        return None
    if held_out is None and posterior.facts["kind"] != "gaussian" and len(posterior.moves):
        std, kind = predictions.std, predictions.kind
        rows = np.isfinite(statistics.loco) & (std > 0.0) & informative(statistics.leverage)
        floor = np.array([posterior.noise.get(name, 0.0) for name in KINDS])[kind]
        source = "leave-one-configuration-out residuals"
        held_out = HeldOut(statistics.loco[rows], std[rows], floor[rows], kind[rows], source) if rows.any() else None
    if held_out is None:
        log.warning("error bars are not calibrated: too few configurations that can be left out")
        return None
    return calibrate(held_out).to_mapping()
