"""``mliuq.fit``: structures in, a model with error bars out."""

from __future__ import annotations

import logging
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata as installed
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.bispectrum import descriptors
from mliuq.calibration import HeldOut, calibrate
from mliuq.errors import MliuqError
from mliuq.errortable import ErrorLine, error_lines
from mliuq.metrics import informative
from mliuq.model import Model
from mliuq.params import SnapParams
from mliuq.posterior.build import Posterior, build_posterior
from mliuq.posterior.extrapolation import atomic_rows, select_active_sets
from mliuq.posterior.predict import Predictions, predict
from mliuq.regression.computed import fingerprint
from mliuq.regression.distributed import Progress, Team, world
from mliuq.regression.loco import RowStatistics, examine
from mliuq.regression.problem import build_rows, isolated_atom_energies, kept_rows, snap_params
from mliuq.regression.rows import KINDS, Floats, RowSource, RowTable
from mliuq.regression.solver import Solution, solve
from mliuq.settings import FitSettings

log = logging.getLogger(__name__)

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
        return _run(list(structures), params, settings, test, zbl, progress if team.rank == 0 else None, team)
    except BaseException as error:
        if team.size > 1:  # the other ranks would wait for this one forever
            log.error("rank %d failed: %s: %s", team.rank, type(error).__name__, error)
            team.abort()
        raise


def _run(
    structures: list[Atoms],
    params: SnapParams | None,
    settings: FitSettings,
    test: Iterable[Atoms] | None,
    zbl: tuple[float, float] | None,
    progress: Progress | None,
    team: Team,
) -> FitResult:
    keys, weights, skip = settings.data.keys, settings.weights, settings.data.skip_missing
    if not structures:
        raise MliuqError("the data set is empty: expected at least one configuration")
    params = params or snap_params(settings.snap, [*structures, *(test := list(test or ()))])
    zbl = zbl or (tuple(settings.snap.zbl) if settings.snap.zbl else None)  # type: ignore[assignment]
    one_body = dict(settings.solver.one_body)
    if settings.solver.isolated_atoms:
        found, alone = isolated_atom_energies(structures, params, keys)
        one_body = {**found, **one_body}
        structures = [atoms for i, atoms in enumerate(structures) if i not in set(alone)]
    train, held_out = (
        (structures, list(test)) if test else split(structures, settings.data.test_fraction, settings.seed)
    )

    options = {"zbl": zbl, "keys": keys, "skip_missing": skip, "threads": settings.solver.threads}
    computed = build_rows(train, params, weights=weights, one_body=one_body, **options)  # type: ignore[arg-type]
    with kept_rows(computed, train, params, settings.solver, team) as rows:
        solver = settings.solver
        solution = solve(rows, ridge=solver.ridge, rcond=solver.rcond or None, team=team, progress=progress)
        statistics = _without_given(examine(rows, solution, team=team, progress=progress), rows.table, len(train))
        posterior = build_posterior(
            rows, solution, statistics, settings.posterior, seed=settings.seed, team=team, progress=progress
        )
        predictions = _of(predict(rows, solution.theta, posterior.moves, team=team, progress=progress), len(train))
    statistics = RowStatistics(
        *(a[: len(predictions)] for a in (statistics.residual, statistics.leverage, statistics.loco))
    )
    calibration = _calibrate(predictions, statistics, posterior, settings)
    tested = None
    if held_out:
        test_rows = build_rows(held_out, params, weights=replace(weights, groups={}, columns={}), **options)  # type: ignore[arg-type]
        tested = predict(test_rows, solution.theta, posterior.moves, team=team, progress=progress, stage="test")

    errors = _error_table(predictions, statistics, tested, train, held_out, posterior, calibration, keys.group)
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
        metadata=_metadata(settings, solution, rows, posterior, train, held_out, errors, one_body, keys.group),
    )
    return FitResult(model, solution, statistics, predictions, tested, train, held_out, errors)


def split(structures: Sequence[Atoms], fraction: float, seed: int) -> tuple[list[Atoms], list[Atoms]]:
    """Return training and held-out configurations, each in the order of the data; at least one is held out if any.

    Raises
    ------
    MliuqError
        if holding out would leave nothing to fit.
    """
    n_test = int(np.ceil(fraction * len(structures) - 1e-9))
    if n_test >= len(structures):
        raise MliuqError(
            f"holding out {fraction:g} of {len(structures)} configuration(s) leaves none to fit; "
            "give more data, a test set, or data.test_fraction = 0"
        )
    out = set(np.random.default_rng(seed).permutation(len(structures))[:n_test].tolist())
    return (
        [atoms for i, atoms in enumerate(structures) if i not in out],
        [atoms for i, atoms in enumerate(structures) if i in out],
    )


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


def _without_given(statistics: RowStatistics, table: RowTable, n: int) -> RowStatistics:
    """Mark given one-body energies (configurations behind the n-th): leaving one out says nothing about the fit."""
    return replace(statistics, loco=np.where(table.config < n, statistics.loco, np.nan))


def _of(predictions: Predictions, n: int) -> Predictions:
    """Return the rows of the first n configurations."""
    end = int(np.searchsorted(predictions.config, n))
    names = ("y", "mean", "std", "low", "high", "kind", "config")
    return Predictions(*(getattr(predictions, name)[:end] for name in names))


def _calibrate(
    predictions: Predictions, statistics: RowStatistics, posterior: Posterior, settings: FitSettings
) -> dict[str, Any] | None:
    """Calibrate to left-out residuals, with cross-fitted spreads where the posterior has learned from them."""
    if not settings.posterior.calibrate or not settings.posterior.members:
        return None
    held_out = posterior.held_out
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


def predicted_error(
    predictions: Predictions, noise: Mapping[str, float], calibration: Mapping[str, Any] | None
) -> Floats:
    """Return ((α·std)² + floor²)^½ of every row (energies per atom)."""
    alpha = np.array([(calibration or {}).get(f"alpha_{kind}", 1.0) for kind in KINDS])
    floor = np.array([noise.get(kind, 0.0) for kind in KINDS])
    return np.asarray(np.hypot(alpha[predictions.kind] * predictions.std, floor[predictions.kind]))


def _error_table(
    train: Predictions,
    statistics: RowStatistics,
    test: Predictions | None,
    train_structures: Sequence[Atoms],
    test_structures: Sequence[Atoms],
    posterior: Posterior,
    calibration: Mapping[str, Any] | None,
    group_key: str,
) -> list[ErrorLine]:
    groups = [atoms.info.get(group_key) for atoms in train_structures]
    bars = predicted_error(train, posterior.noise, calibration)
    lines = error_lines("train", train, bars, groups=groups)
    lines += error_lines("left out", train, bars, error=statistics.loco, groups=groups)
    if test is not None:
        bars = predicted_error(test, posterior.noise, calibration)
        lines += error_lines("test", test, bars, groups=[atoms.info.get(group_key) for atoms in test_structures])
    return lines


def _metadata(
    settings: FitSettings,
    solution: Solution,
    rows: RowSource,
    posterior: Posterior,
    train: Sequence[Atoms],
    test: Sequence[Atoms],
    errors: Sequence[ErrorLine],
    one_body: Mapping[str, float],
    group_key: str,
) -> dict[str, Any]:
    kinds = np.bincount(rows.table.kind, minlength=len(KINDS))
    groups = Counter(str(atoms.info.get(group_key, "")) for atoms in train)
    return {
        "fit": {
            "settings": settings.to_mapping(),
            "rows": {name: int(n) for name, n in zip(KINDS, kinds, strict=True)},
            "weights": rows.n_weights,
            "rank": solution.rank,
            "undetermined": list(solution.undetermined),
            "condition": solution.condition,
            "ridge": solution.ridge,
            "noise_variance": solution.noise_variance,
            "effective_parameters": solution.effective_parameters,
            "one_body": dict(one_body),
            "errors": [line.to_mapping() for line in errors if line.group == "all"],
        },
        "posterior": {**posterior.facts, "members": len(posterior.moves)},
        "data": {
            "fingerprint": fingerprint(train, rows.table.y.tobytes()),
            "configurations": len(train),
            "atoms": sum(map(len, train)),
            "groups": dict(sorted(groups.items())),
            "held_out": len(test),
            "held_out_fingerprint": fingerprint(test),
        },
        "seed": settings.seed,
        "software": {
            **{name: installed.version(name) for name in ("mliuq", "numpy", "scipy", "ase")},
            "python": platform.python_version(),
        },
    }
