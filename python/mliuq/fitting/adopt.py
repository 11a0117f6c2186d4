"""``mliuq.adopt``: a published potential and a user's data in, the same potential with error bars out."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.descriptor.params import SnapParams
from mliuq.descriptor.settings import SnapSettings
from mliuq.errors import MliuqError
from mliuq.fitting.calibrating import calibration_of
from mliuq.fitting.checks import refuse_impossible, warn_of_leaks
from mliuq.fitting.data import (
    FitData,
    choose_data,
    configurations,
    training_constants,
    training_rows,
    warn_of_odd_values,
)
from mliuq.fitting.extrapolation import extrapolation_arrays
from mliuq.fitting.provenance import provenance
from mliuq.fitting.settings import FitSettings
from mliuq.fitting.zero_of_energy import shift_of_zero
from mliuq.judging.errortable import ErrorLine, error_lines, predicted_error
from mliuq.judging.metrics import rmse
from mliuq.model import Model
from mliuq.posterior.adopted import MANY_CONFIGURATIONS, build_adopted
from mliuq.posterior.predict import predict
from mliuq.readers.fingerprints import fingerprints
from mliuq.regression.balance import CONVERGED, choose_balance
from mliuq.regression.blas import blas_threads
from mliuq.regression.distributed import Progress, Team
from mliuq.regression.loco import examine
from mliuq.regression.problem import kept_rows
from mliuq.regression.protection import Protection, displaced_rows, protect
from mliuq.regression.rows import KINDS, Floats, ResidualRows, ReweightedRows, RowSource, RowTable
from mliuq.regression.solver import Solution, solve_triangle, triangularise
from mliuq.toml import to_mapping

log = logging.getLogger(__name__)

ENERGY_ZERO = ("auto", "shift", "keep")


@dataclass(frozen=True)
class BiasLine:
    """How much of the error of one kind a refit to the same data would remove; eV/atom, eV/Å, eV/Å³.

    Attributes
    ----------
    kind : "energy", "force" or "stress"
    rows : number of rows
    rmse : root mean square error of the potential
    refitted : that of configurations left out of a refit to the others
    removable : share of the mean squared error that the refit removes, 0 where it is no better
    """

    kind: str
    rows: int
    rmse: float
    refitted: float
    removable: float


@dataclass(frozen=True)
class AdoptResult:
    """An adopted potential with everything known about it.

    Attributes
    ----------
    model : the potential with its posterior
    energy_shift : eV added to the energy of an atom of each element; empty where energies were left alone
    bias : a line for each kind of value
    errors : the error table, by kind and group
    """

    model: Model
    energy_shift: Mapping[str, float]
    bias: Sequence[BiasLine]
    errors: Sequence[ErrorLine]


def adopt(
    potential: Model | str | os.PathLike[str],
    structures: Iterable[Atoms],
    settings: FitSettings | Mapping[str, Any] | None = None,
    *,
    zbl: tuple[float, float] | None = None,
    energy_zero: str = "auto",
    progress: Progress | None = None,
) -> Model:
    """Give a published potential error bars learned from data; its weights stay as they are.

    Parameters
    ----------
    potential : NAME.snapcoeff (with NAME.snapparam beside it), NAME.mliuq, or a model
    structures : configurations with reference energies and forces; some fifty are enough
    settings : as `mliuq.fit` takes them: [data], [weights], [posterior] and seed; the descriptor is the potential's
    zbl : inner and outer radius (Å) of a ZBL repulsion that the potential stands on
    energy_zero : "shift" the energies of atoms to the zero of the data, "keep" them, or "auto": shift where energies
        are off in common by more than five median errors.  Forces and differences do not feel it
    progress : called as ``progress(stage, done, total)``

    Raises
    ------
    MliuqError
        for a potential or data that cannot be used, and data that lack an element of the potential.

    Examples
    --------
    >>> model = mliuq.adopt("Ta06A.snapcoeff", ase.io.read("Ta.xyz", ":"), zbl=(4.0, 4.8))  # doctest: +SKIP
    """
    return run_adopt(potential, structures, settings, zbl=zbl, energy_zero=energy_zero, progress=progress).model


def run_adopt(
    potential: Model | str | os.PathLike[str],
    structures: Iterable[Atoms],
    settings: FitSettings | Mapping[str, Any] | None = None,
    *,
    zbl: tuple[float, float] | None = None,
    energy_zero: str = "auto",
    name: str = "",
    progress: Progress | None = None,
) -> AdoptResult:
    """Do what `adopt` does and return everything known about it; `name` is what its metadata calls the potential."""
    if energy_zero not in ENERGY_ZERO:
        raise MliuqError(f"energy_zero is {energy_zero!r}, expected one of {', '.join(ENERGY_ZERO)}")
    if not isinstance(settings, FitSettings):
        settings = FitSettings().updated(settings or {})
    if settings.data.represent:
        raise MliuqError("data.represent is given, but the weights of a published potential stay: expected none")
    model = potential if isinstance(potential, Model) else _read(Path(potential))
    if not isinstance(potential, Model):
        name = name or Path(potential).name
    train = configurations(structures, "structures")
    if not train:
        raise MliuqError("the data set is empty: expected at least one configuration")
    params, zbl = model.params, zbl or settings.snap.repulsion or model.zbl
    if missing := [e for e in params.elements if not any(e in atoms.symbols for atoms in train)]:
        raise MliuqError(
            f"the data hold no {missing[0]}, an element of the potential: its error bars cannot be learned from them"
        )
    settings = settings.updated(
        {
            "snap": to_mapping(SnapSettings.of(params, zbl)),
            "data.test_fraction": 0.0,
            "data.reference": settings.data.reference or model.reference,
        }
    )
    refuse_impossible(params, settings)
    with blas_threads(params.n_elements * params.n_weights):
        return _adopt(model, name, train, settings, zbl, energy_zero, progress)


def _read(path: Path) -> Model:
    return Model.load(path) if path.suffix == ".mliuq" else Model.from_snap(path)


def _adopt(
    published: Model,
    name: str,
    structures: Sequence[Atoms],
    settings: FitSettings,
    zbl: tuple[float, float] | None,
    energy_zero: str,
    progress: Progress | None,
) -> AdoptResult:
    params, seed = published.params, settings.seed
    data = choose_data(structures, [], params, settings)
    n = len(data.train)
    warn_of_leaks(data)
    theta = published.theta.copy()
    with kept_rows(training_rows(data, params, zbl, settings), data.train, params, settings.solver, Team()) as rows:
        warn_of_odd_values(data, params, zbl, settings)
        shift, other = shift_of_zero(data.train, params, ResidualRows(rows, theta.ravel()).table)
        shifted = energy_zero == "shift" or (energy_zero == "auto" and other)
        if shifted:
            theta[:, 0] += shift
        _say_shift(dict(zip(params.elements, shift, strict=True)), other, energy_zero)
        left = ResidualRows(rows, theta.ravel())
        constants = training_constants(data, left.table, settings)
        balance = choose_balance(left, constants, n_configurations=n, seed=seed, progress=progress)
        balanced = ReweightedRows(left, balance.applied(left.table, np.isnan(constants)))
        refit, _ = _moves(balanced, data, params, settings, progress, strengthen=True)
        bias = _bias(left.table, examine(balanced, refit, progress=progress).loco)
        even = ReweightedRows(left, _even_weights(left.table))
        metric, protection = _moves(even, data, params, settings, progress, strengthen=False)
        if protection.triangle is not None:
            log.warning(
                "the data leave %.1f of %d weights open: error bars along them are guesses, which more kinds of"
                " structures settle", protection.lent, rows.n_weights,
            )  # fmt: skip
        statistics = examine(even, metric, progress=progress)
        posterior = build_adopted(
            even, metric, statistics.leverage, settings.posterior, seed=seed, protection=protection
        )
        trained = predict(rows, theta.ravel(), posterior.moves, progress=progress)
    few = n < MANY_CONFIGURATIONS
    calibration = calibration_of(
        *(posterior.held_out, trained, None, posterior, settings), structures=data.train, few=few
    )
    groups = [atoms.info.get(settings.data.group_key) for atoms in data.train]
    errors = error_lines("data", trained, predicted_error(trained, posterior.noise, calibration), groups=groups)
    energy_shift = dict(zip(params.elements, map(float, shift), strict=True)) if shifted else {}
    metadata = provenance(settings, (), balance, metric, protection, even, posterior, data, errors)
    metadata["fit"]["adopted"] = {"potential": name, "energy_shift": energy_shift, "bias": [asdict(b) for b in bias]}
    shape = (-1, params.n_elements, params.n_weights)
    adopted = Model(
        params=params,
        theta=theta,
        members=theta + posterior.moves.reshape(shape) if len(posterior.moves) else None,
        zbl=zbl,
        noise=dict(posterior.noise) or None,
        calibration=calibration,
        arrays={
            **posterior.arrays,
            **extrapolation_arrays(data.train, params, metric, settings, progress),
            "data.fingerprints": fingerprints(data.train),
        },
        metadata=metadata,
    )
    log.info("%s adopted with %d configurations", name, n)
    return AdoptResult(adopted, energy_shift, bias, errors)


def _moves(
    rows: RowSource,
    data: FitData,
    params: SnapParams,
    settings: FitSettings,
    progress: Progress | None,
    *,
    strengthen: bool,
) -> tuple[Solution, Protection]:
    """Fit moves about the published weights: no move where the data say nothing.

    `strengthen` the prior to where left-out errors are least, for weights to predict with; their metric asks what the
    data determine.
    """
    solver = settings.solver
    triangle, rcond = triangularise(rows, Team(), progress), solver.rcond or None
    if solver.ridge != "auto":
        return solve_triangle(triangle, rows.table, ridge=solver.ridge, rcond=rcond, quiet=True), Protection()
    displaced = displaced_rows(data.train, params, rows.table, seed=settings.seed, threads=solver.threads)
    protection = protect(
        *(rows, triangle, displaced), n_configurations=len(data.train), rcond=rcond, seed=settings.seed,
        strengthen=strengthen,
    )  # fmt: skip
    return solve_triangle(triangle, rows.table, rcond=rcond, prior=protection.triangle, quiet=True), protection


def _even_weights(table: RowTable) -> Floats:
    """Return the weights (n,) of the rows in the metric: 1/(rms_k n_k^½), with the rms error and the number of a kind.

    Nothing is fitted, so that no kind has a claim to count more.  This is the geometric mean of all values alike and of
    kinds that have the same say for their errors; with either alone error bars of energies depend more on the draw of
    the configurations (rms z of tantalum and molybdenum within 0.8–1.25 in 20 and 19 draws of 24, and in 22 between
    them), and with the balance that a refit would choose still more.
    """
    w = np.ones(len(table))
    for kind in range(len(KINDS)):
        if (at := table.kind == kind).any():
            w[at] = 1.0 / (max(rmse(table.y[at]), CONVERGED[kind]) * np.sqrt(at.sum()))
    return np.asarray(w / w.mean())


def _say_shift(shift: Mapping[str, float], other: bool, energy_zero: str) -> None:
    """Warn of another zero of energy, and of what is done about it."""
    said = ", ".join(f"{element} {value:+.4f} eV" for element, value in shift.items())
    if energy_zero == "shift":
        log.info("energies of atoms are shifted to the zero of the data: %s", said)
    elif other and energy_zero == "auto":
        log.warning(
            "the potential's energies have another zero than the data: those of atoms are shifted (%s); forces and"
            " differences stay", said,
        )  # fmt: skip
    elif other:
        log.warning("the potential's energies have another zero than the data (%s): kept, and part of the error", said)


def _bias(table: RowTable, left_out: Floats) -> list[BiasLine]:
    lines = []
    for code, name in enumerate(KINDS):
        at = (table.kind == code) & np.isfinite(left_out)
        if not at.any():
            continue
        own, refitted = rmse(table.y[at]), rmse(left_out[at])
        removable = max(0.0, 1.0 - (refitted / own) ** 2) if own > 0.0 else 0.0
        lines.append(BiasLine(name, int(at.sum()), own, refitted, removable))
    return lines
