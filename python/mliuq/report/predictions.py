"""Predictions and error bars of a model for every row of a data set, kind by kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from mliuq.errors import MliuqError
from mliuq.judging import metrics
from mliuq.model import Model
from mliuq.model.environments import Environments, Usual, environments_of
from mliuq.model.quantiles import conformal_quantile, conformal_widths
from mliuq.posterior.predict import predict as posterior_predict
from mliuq.regression.distributed import Progress
from mliuq.regression.rows import ENERGY, FORCE, STRESS, RowSource, atoms_of
from mliuq.report.rows import ReferenceRows, warn_of_odd_stress

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

UNITS = {"energy": "eV/atom", "force": "eV/Å", "stress": "eV/Å³"}
KINDS = {"energy": ENERGY, "force": FORCE, "stress": STRESS}

#: Of the intervals judged: ±1σ and ±2σ of a Gaussian, and nine of ten.
LEVELS = (0.6827, 0.9, 0.9545)

#: Member deviations kept for histograms: enough for smooth tails, small beside the predictions themselves.
MAX_DEVIATIONS = 400_000


@dataclass(frozen=True)
class Predictions:
    """Rows of one kind (energies per atom, force components or stress components), zero-by-symmetry rows left out.

    Attributes
    ----------
    kind, unit : what the numbers are
    y, prediction : (n,) reference and best fit
    spread : (n,) root of the second moment of the members about the best fit
    raw : (n,) error bar before calibration, sqrt(spread² + noise²)
    calibrated : (n,) error bar after calibration, sqrt((α spread)² + noise²); None for a model without calibration
    lower, upper : (n,) smallest and largest member
    deviations : (k,) member minus best fit, pooled over rows and thinned to at most `MAX_DEVIATIONS`
    config : (n,) index of the configuration in the data set
    atom : (n,) index of a force's atom in its configuration, −1 for energies and stress
    n_left_out : rows left out because symmetry makes them zero
    mae_of_all, rmse_of_all : errors over all rows, those left out included
    widths : level → half-width, in units of `best`, of the interval that is stated to hold a reference with this
        probability: the model's conformal quantile, or that of a Gaussian where the model has none
    own_widths : level → (n,) the same of each row, where the model has quantiles by group of environments
    """

    kind: str
    unit: str
    y: Array
    prediction: Array
    spread: Array
    raw: Array
    calibrated: Array | None
    lower: Array
    upper: Array
    deviations: Array
    config: Ints
    atom: Ints
    n_left_out: int
    mae_of_all: float
    rmse_of_all: float
    widths: Mapping[float, float] = field(default_factory=dict)
    own_widths: Mapping[float, Array] = field(default_factory=dict)

    @property
    def error(self) -> Array:
        """Reference minus prediction, the sign of `mliuq.judging.metrics`."""
        return self.y - self.prediction

    @property
    def best(self) -> Array:
        """The error bar a user is told: calibrated where there is a calibration, raw otherwise."""
        return self.raw if self.calibrated is None else self.calibrated

    def held(self, level: float) -> NDArray[np.bool_]:
        """Which references lie in their intervals of this level, shape (n,)."""
        width = self.own_widths.get(level, self.widths[level])
        return np.asarray(np.abs(self.error) <= width * self.best)

    def width(self, level: float) -> float:
        """Half-width of the interval of this level in error bars, the median where rows have their own."""
        return float(np.median(self.own_widths.get(level, self.widths[level])))

    @property
    def envelope(self) -> tuple[Array, Array]:
        """Smallest and largest member minus the best fit, as `mliuq.judging.metrics.summarize` takes it."""
        return self.lower - self.prediction, self.upper - self.prediction


def predict(
    model: Model, reference: ReferenceRows, *, seed: int = 0, progress: Progress | None = None
) -> list[Predictions]:
    """Predictions of every row, streamed block by block; kinds without rows are left out.

    Raises
    ------
    MliuqError
        when the model has no members or its weights do not match the rows.
    """
    if model.members is None:
        raise MliuqError("the model has no ensemble: nothing to judge (expected an array 'members' in the model file)")
    rows, baseline = reference.rows, reference.baseline
    theta = model.theta.ravel()
    if theta.size != rows.n_weights:
        raise MliuqError(f"the model has {theta.size} weights, the rows are for {rows.n_weights}")
    moves = model.members.reshape(model.n_members, -1) - theta

    def spreads(x: Array) -> tuple[Array, Array, Array]:
        """What the doors show: by the core."""
        found = model.evaluator.spreads_of_rows(x, {"std", "least", "most"})
        return found["std"], found["least"], found["most"]

    whole = posterior_predict(rows, theta, moves, spreads=spreads, progress=progress)
    warn_of_odd_stress(whole, reference)
    pooled = _pooled_deviations(rows, moves, seed)

    surroundings, atoms = _surroundings(model, reference), atoms_of(whole.kind, whole.config)
    judged = metrics.informative(whole.kind, whole.size)
    found: list[Predictions] = []
    for name, code in KINDS.items():
        mask = whole.kind == code
        if not mask.any():
            continue
        spread = whole.std[mask]
        noise, alpha = _scale(model, name)
        live = judged[mask] & (np.hypot(spread, noise) > 0.0)
        if not live.any():
            continue
        at = np.flatnonzero(mask)[live]
        error = whole.y[mask] - whole.mean[mask]
        spread = spread[live]
        config = whole.config[at]
        atom = atoms[at]
        groups = None if surroundings is None else surroundings.groups(config, atom)
        found.append(
            Predictions(
                kind=name,
                unit=UNITS[name],
                y=whole.y[at] + baseline[at],
                prediction=whole.mean[at] + baseline[at],
                spread=spread,
                raw=np.sqrt(np.square(spread) + noise**2),
                calibrated=None if alpha is None else np.sqrt(np.square(alpha * spread) + noise**2),
                lower=whole.low[at] + baseline[at],
                upper=whole.high[at] + baseline[at],
                deviations=pooled[code],
                config=config,
                atom=atom,
                n_left_out=int((~live).sum()),
                mae_of_all=metrics.mae(error),
                rmse_of_all=metrics.rmse(error),
                widths={level: _width(model, name, level) for level in LEVELS},
                own_widths=_own_widths(model, name, groups),
            )
        )
    if not found:
        raise MliuqError("the structures hold no energies or forces to compare with")
    return found


def _pooled_deviations(rows: RowSource, moves: Array, seed: int) -> dict[int, Array]:
    """Member minus best fit by kind, over rows of blocks drawn at random until there are `MAX_DEVIATIONS` of each."""
    rng = np.random.default_rng(seed)
    pools: dict[int, list[Array]] = {code: [] for code in KINDS.values()}
    room = dict.fromkeys(pools, MAX_DEVIATIONS)
    for index in rng.permutation(rows.n_blocks):
        if not any(room[code] > 0 and (rows.table.kind[rows.span(index)] == code).any() for code in pools):
            continue
        block = rows.block(index)
        for code, pool in pools.items():
            at = np.flatnonzero(block.kind == code)
            at = rng.permutation(at)[: -(-max(room[code], 0) // len(moves))]
            pool.append((moves @ block.x[at].T).ravel())
            room[code] -= pool[-1].size
    return {code: np.concatenate([np.zeros(0), *pool]) for code, pool in pools.items()}


def labels_of(predictions: Predictions, of_config: Sequence[str]) -> list[str]:
    """The label of each row, given one label per configuration."""
    return [of_config[index] for index in predictions.config]


def _width(model: Model, kind: str, level: float) -> float:
    """Half-width of an interval in predicted errors; that of a Gaussian where there are no quantiles up to it."""
    try:
        return conformal_quantile(model.calibration, kind, level)
    except MliuqError:
        return float(norm.ppf(0.5 + 0.5 * level))


def _surroundings(model: Model, reference: ReferenceRows) -> Environments | None:
    """Groups of the structures by what was usual where the model was fitted; None without quantiles of them."""
    if not len(reference.structures) or (usual := Usual.of(model.calibration)) is None:
        return None
    return environments_of(reference.structures, usual)


def _own_widths(model: Model, kind: str, groups: Mapping[str, NDArray[np.bool_]] | None) -> dict[float, Array]:
    """Half-widths of every row by its groups, at the levels that the model has quantiles for."""
    found = {}
    for level in LEVELS if groups is not None else ():
        try:
            found[level] = conformal_widths(model.calibration, kind, level, groups or {})
        except MliuqError:
            continue
    return found


def _scale(model: Model, kind: str) -> tuple[float, float | None]:
    """Noise floor and calibration factor of a kind; factor None where the model was never calibrated."""
    noise = (model.noise or {}).get(kind) or 0.0
    if not model.calibration:
        return float(noise), None
    return float(noise), float(model.calibration.get(f"alpha_{kind}") or 1.0)
