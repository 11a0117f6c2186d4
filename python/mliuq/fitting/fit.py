"""``mliuq.fit``: structures in, a model with error bars out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ase import Atoms

from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError
from mliuq.fitting.calibrating import calibration_of, refit_errors
from mliuq.fitting.checks import refuse_impossible, warn_of_leaks, warn_of_shell
from mliuq.fitting.classes_out import class_out_lines
from mliuq.fitting.data import (
    choose_data,
    configurations,
    held_out_rows,
    representing,
    training_rows,
    warn_of_odd_values,
)
from mliuq.fitting.extrapolation import extrapolation_arrays
from mliuq.fitting.past import Past, triangle_of
from mliuq.fitting.provenance import provenance
from mliuq.fitting.settings import FitSettings
from mliuq.fitting.solving import solve_protected
from mliuq.fitting.weighing import weigh
from mliuq.judging.errortable import ErrorLine, error_table
from mliuq.model import Model
from mliuq.posterior.build import build_posterior
from mliuq.posterior.left_out import predict_left_out
from mliuq.posterior.predict import Predictions, predict
from mliuq.readers.fingerprints import fingerprints
from mliuq.regression.balance import Balance
from mliuq.regression.blas import blas_threads
from mliuq.regression.distributed import Progress, Team, world
from mliuq.regression.loco import RowStatistics, examine, without_given
from mliuq.regression.outliers import Outlier
from mliuq.regression.problem import kept_rows
from mliuq.regression.protection import Protection
from mliuq.regression.rows import Floats
from mliuq.regression.solver import Solution

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """A fit with everything a report is made of.

    Attributes
    ----------
    model : the model
    outliers : configurations whose values cannot be right; left out under `solver.robust`, fitted otherwise
    balance : constants of the weights that were chosen
    protection : the prior on what the data leave open
    solution, statistics : best fit and per-row residuals, leverages, left-out residuals of the training rows
    train, test : predictions; test is None when nothing was held out
    left_out : predictions of the training rows, each without its configuration
    train_structures, test_structures : the configurations that the rows' `config` counts
    errors : the error table
    past : what a fit of these configurations and more may begin with
    """

    model: Model
    outliers: Sequence[Outlier]
    balance: Balance
    protection: Protection
    solution: Solution
    statistics: RowStatistics
    train: Predictions
    left_out: Predictions
    test: Predictions | None
    train_structures: Sequence[Atoms]
    test_structures: Sequence[Atoms]
    errors: Sequence[ErrorLine]
    past: Past


def fit(
    structures: Iterable[Atoms],
    params: SnapParams | None = None,
    settings: FitSettings | Mapping[str, Any] | None = None,
    *,
    test: Iterable[Atoms] | None = None,
    represent: Iterable[Atoms] | None = None,
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
    represent : structures, without values, that those to be fitted stand for (`mliuq.regression.representation`): the
        pool that labels were chosen from.  Weights are multiplied by how many each stands for
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
    return run_fit(
        structures, params, settings, test=test, represent=represent, zbl=zbl, progress=progress, team=team
    ).model


def run_fit(
    structures: Iterable[Atoms],
    params: SnapParams | None = None,
    settings: FitSettings | Mapping[str, Any] | None = None,
    *,
    test: Iterable[Atoms] | None = None,
    represent: Iterable[Atoms] | None = None,
    zbl: tuple[float, float] | None = None,
    progress: Progress | None = None,
    team: Team | None = None,
    past: Past | None = None,
) -> FitResult:
    """Do what `fit` does and return everything known about the fit.

    `past` is what a fit of the first configurations left; nothing but the time it takes depends on it.
    """
    if not isinstance(settings, FitSettings):
        settings = FitSettings().updated(settings or {})
    settings.validate()
    team = team or world()
    try:
        train, held_out = configurations(structures, "structures"), configurations(test or (), "test")
        population = None if represent is None else configurations(represent, "represent")
        if not train:
            raise MliuqError("the data set is empty: expected at least one configuration")
        params = params or settings.snap.params(chain(train, held_out))
        refuse_impossible(params, settings)
        with blas_threads(params.n_elements * params.n_weights):
            shown = progress if team.rank == 0 else None
            return _fit(train, params, settings, held_out, population, zbl, shown, team, past)
    except BaseException as error:
        if team.size > 1:  # the other ranks would wait for this one forever
            log.error("rank %d failed: %s: %s", team.rank, type(error).__name__, error)
            team.abort()
        raise


def _fit(
    structures: Sequence[Atoms],
    params: SnapParams,
    settings: FitSettings,
    held_out: Sequence[Atoms],
    population: Sequence[Atoms] | None,
    zbl: tuple[float, float] | None,
    progress: Progress | None,
    team: Team,
    past: Past | None,
) -> FitResult:
    zbl = zbl or settings.snap.repulsion
    data = choose_data(structures, held_out, params, settings)
    if population is not None:
        data = representing(data, population, params, settings)
    n, solver = len(data.train), settings.solver
    log.info(
        "%d configurations to fit, %d held out, %d weights", n, len(data.held_out), params.n_elements * params.n_weights
    )
    if team.rank == 0:
        warn_of_leaks(data)
    with kept_rows(training_rows(data, params, zbl, settings), data.train, params, solver, team) as computed:
        if team.rank == 0:
            warn_of_odd_values(data, params, zbl, settings)
        weighed = weigh(computed, data, settings, team, progress)
        rows = weighed.rows
        triangle, kept = triangle_of(rows, n, past, team, progress)
        solution, protection = solve_protected(rows, triangle, data.train, params, settings, team)
        log.info("%d rows: rank %d, condition number %.3g", len(rows.table), solution.rank, solution.condition)
        statistics = without_given(examine(rows, solution, team=team, progress=progress), rows.table, n)
        posterior = build_posterior(
            rows,
            solution,
            statistics,
            settings.posterior,
            seed=settings.seed,
            protection=protection,
            team=team,
            progress=progress,
        )
        trained = predict(rows, solution.theta, posterior.moves, team=team, progress=progress).of_first(n)
        left_out = predict_left_out(rows, solution, statistics.loco, posterior.moves, team=team, progress=progress)
        left_out = left_out.of_first(n)
        if team.rank == 0 and len(posterior.moves):
            warn_of_shell(left_out, params, data.train)
        unseen = refit_errors(rows, settings, protection, n, team, progress) or posterior.held_out
        statistics = statistics.first(len(trained))
        calibration = calibration_of(
            unseen, trained, left_out, posterior, settings, structures=data.train, say=team.rank == 0
        )
        groups = [atoms.info.get(settings.data.group_key) for atoms in data.train]
        classes = class_out_lines(rows, solution, groups, protection, calibration, settings, team, progress)
    tested = None
    if data.held_out:
        others = held_out_rows(data, params, zbl, settings)
        tested = predict(others, solution.theta, posterior.moves, team=team, progress=progress, stage="test")
    table = error_table(
        *(trained, left_out, tested, data.train, data.held_out, posterior.noise, calibration, settings.data.group_key)
    )
    model = Model(
        params=params,
        theta=_by_element(solution.theta, params),
        members=_by_element(solution.theta + posterior.moves, params) if len(posterior.moves) else None,
        zbl=zbl,
        noise=dict(posterior.noise) or None,
        calibration=calibration,
        arrays={
            **_shaped(posterior.arrays, params),
            **extrapolation_arrays(weighed.fitted, params, solution, settings, progress),
            "data.fingerprints": fingerprints(data.train),
        },
        metadata=provenance(
            settings, weighed.outliers, weighed.balance, solution, protection, rows, posterior, data, [*table, *classes]
        ),
    )
    return FitResult(
        model,
        weighed.outliers,
        weighed.balance,
        protection,
        solution,
        statistics,
        trained,
        left_out,
        tested,
        data.train,
        data.held_out,
        [*table, *classes],
        kept,
    )


def _shaped(arrays: Mapping[str, Floats], params: SnapParams) -> dict[str, Floats]:
    """The posterior's arrays as the model file has them."""
    return {name: _by_element(array, params) if name == "sharing.moves" else array for name, array in arrays.items()}


def _by_element(weights: Floats, params: SnapParams) -> Floats:
    """(…, n_elements · P) as (…, n_elements, P); a single vector stays without a leading axis."""
    shape = (params.n_elements, params.n_weights)
    return weights.reshape(shape if weights.ndim == 1 else (-1, *shape))
