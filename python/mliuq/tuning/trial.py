"""One candidate, judged: errors on what was left out, in closed form, and the time an atom takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.descriptor.neighbours import Neighbours
from mliuq.descriptor.params import SnapParams
from mliuq.fitting.data import FitData, training_constants, training_rows
from mliuq.fitting.settings import FitSettings
from mliuq.model import Model
from mliuq.regression.balance import CONVERGED, choose_balance
from mliuq.regression.balance import score as score_of
from mliuq.regression.blas import blas_threads
from mliuq.regression.distributed import Progress
from mliuq.regression.loco import RowStatistics, examine
from mliuq.regression.rows import KINDS, ArrayRows, Floats, Ints, ReweightedRows, RowTable
from mliuq.regression.solver import solve

_SEARCH_NUMBERS = 1 << 22  # of the search for the balance: a trial is one of many
_TIMED_ATOMS = 250
_TIMED_RUNS = 5


@dataclass(frozen=True)
class Candidate:
    """A descriptor to try.

    Attributes
    ----------
    twojmax, rcut, quadratic : as in `SnapSettings`
    radii, weights : of each element; those of the settings when empty
    groups : (group, factor) pairs: by how much the constants of a group's weights differ from the general ones
    """

    twojmax: int
    rcut: float
    quadratic: bool = False
    radii: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    groups: tuple[tuple[str, float], ...] = ()

    def changes(self, elements: Sequence[str]) -> dict[str, Any]:
        """Return what it changes in the settings of a fit, as dotted keys; groups aside."""
        changes: dict[str, Any] = {
            "snap.twojmax": self.twojmax,
            "snap.rcut": self.rcut,
            "snap.quadratic": self.quadratic,
            "snap.elements": tuple(elements),
        }
        if self.radii:
            changes["snap.radii"] = self.radii
        if self.weights:
            changes["snap.weights"] = self.weights
        return changes

    @property
    def family(self) -> tuple[int, bool]:
        """What sets most of its cost."""
        return (self.twojmax, self.quadratic)

    def describe(self) -> str:
        """Return a short name."""
        text = f"{'quadratic' if self.quadratic else 'linear'} 2J={self.twojmax} {self.rcut:g} Å"
        for name, values in (("R", self.radii), ("w", self.weights)):
            if values:
                text += f" {name}={'/'.join(f'{v:g}' for v in values)}"
        return text + "".join(f" {group}×{factor:g}" for group, factor in self.groups)


@dataclass(frozen=True)
class Trial:
    """A candidate's errors on left-out configurations (or classes).

    Attributes
    ----------
    candidate : what was tried
    configurations : on how many
    rmse : kind → root mean square error of left-out rows (eV/atom, eV/Å, eV/Å³)
    score : Σ_kind ln RMSE, each with what a reference is converged to, smaller is better; infinite where the data do
        not determine the weights
    uncertainty : standard error of the score, from the scatter over configurations
    constants : kind → constant of the weights
    weights : numbers fitted
    seconds : what the trial took
    cost : microseconds per atom for energy and forces on one thread; NaN where it was not measured
    """

    candidate: Candidate
    configurations: int
    rmse: dict[str, float]
    score: float
    uncertainty: float
    constants: dict[str, float] = field(default_factory=dict)
    weights: int = 0
    seconds: float = 0.0
    cost: float = float("nan")

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, values: dict[str, Any]) -> Trial:
        """Return the trial that `to_mapping` described; a TypeError for words in place of numbers."""
        numbers = {key: value for key, value in values.items() if key not in ("candidate", "rmse", "constants")}
        for key, value in [*numbers.items(), *values["rmse"].items(), *values.get("constants", {}).items()]:
            if not isinstance(value, int | float):
                raise TypeError(f"{key} is {value!r:.200}, expected a number")
        candidate = dict(values["candidate"])
        for key in ("radii", "weights"):
            candidate[key] = tuple(candidate[key])
        candidate["groups"] = tuple((str(g), float(f)) for g, f in candidate["groups"])
        return cls(**{**values, "candidate": Candidate(**candidate)})


def judge(
    candidate: Candidate,
    data: FitData,
    elements: Sequence[str],
    settings: FitSettings,
    *,
    whole_classes: bool = False,
    constants: dict[str, float] | None = None,
    timed: bool = False,
    progress: Progress | None = None,
) -> Trial:
    """Fit a candidate once and return its left-out errors.

    Parameters
    ----------
    data : configurations and given one-body energies
    elements : of the whole data set, in the order of radii and weights
    whole_classes : leave out whole classes (`config_type`) instead of single configurations
    constants : weights of the kinds, where they are known; chosen by left-out errors when absent
    timed : measure the time per atom too
    """
    start = time.perf_counter()
    settings = with_groups(settings.updated(candidate.changes(elements)), candidate, constants)
    params = settings.snap.params(data.train)
    with blas_threads(params.n_elements * params.n_weights):
        computed = training_rows(data, params, settings.snap.repulsion, settings)
        unit = training_constants(data, computed.table, settings)
        x = np.concatenate([computed.design(index) for index in range(computed.n_blocks)])
        left_out, n = _left_out_together(data, computed.table, settings.data.group_key, whole_classes)
        table = computed.table
        rows = ArrayRows(x, table.y, table.w, table.kind, left_out)
        unit = unit[rows.order]
        balance = choose_balance(
            rows, unit, n_configurations=n, seed=settings.seed, numbers=_SEARCH_NUMBERS, progress=progress
        )
        weighted = ReweightedRows(rows, balance.applied(rows.table, np.isnan(unit)))
        solution = solve(weighted, rcond=settings.solver.rcond or None, quiet=True)
        statistics = examine(weighted, solution)
    judged = rows.table.config < n
    measure = table.w[rows.order] / np.where(np.isnan(unit), 1.0, np.where(unit > 0.0, unit, 1.0))
    rmse, score, uncertainty = _errors(rows.table, statistics, measure, judged)
    model = Model(params, solution.theta.reshape(params.n_elements, -1), zbl=settings.snap.repulsion)
    return Trial(
        candidate,
        len(data.train),
        rmse,
        score,
        uncertainty,
        dict(balance.constants),
        rows.n_weights,
        time.perf_counter() - start,
        measured_cost(model, data.train) if timed else float("nan"),
    )


def with_groups(settings: FitSettings, candidate: Candidate, constants: dict[str, float] | None) -> FitSettings:
    """Return settings with these constants and the candidate's weights of groups."""
    if constants:
        settings = settings.updated({f"weights.{kind}": value for kind, value in constants.items()})
    if not candidate.groups:
        return settings
    general = {kind: getattr(settings.weights, kind) for kind in KINDS}
    groups = {
        group: {kind: factor * value for kind, value in general.items() if value != "auto" and value > 0.0}
        for group, factor in candidate.groups
    }
    return settings.updated({"weights.groups": groups})


def measured_cost(model: Model, structures: Sequence[Atoms]) -> float:
    """Return the time of energy and forces on one thread, microseconds per atom: the best of some runs.

    The structure of median density among the larger half, repeated to about 250 atoms.
    """
    sizes = np.array([len(atoms) for atoms in structures])
    large = [atoms for atoms in structures if len(atoms) >= np.median(sizes) and atoms.cell.rank == 3]
    large = large or list(structures)
    density = [len(atoms) / abs(atoms.cell.volume) if atoms.cell.rank == 3 else 0.0 for atoms in large]
    atoms = large[int(np.argsort(density)[len(density) // 2])].copy()
    if atoms.pbc.all():
        copies = max(1, round((_TIMED_ATOMS / len(atoms)) ** (1 / 3)))
        atoms = atoms.repeat(copies)
    potential = model.potential()
    structure = Neighbours(atoms, model.params, potential.cutoff).structure
    taken = []
    for _ in range(_TIMED_RUNS):
        start = time.perf_counter()
        potential.evaluate(structure, threads=1)
        taken.append(time.perf_counter() - start)
    return 1e6 * min(taken) / len(atoms)


def _left_out_together(data: FitData, table: RowTable, group_key: str, whole_classes: bool) -> tuple[Ints, int]:
    """Return what each row is left out with, and how many such units there are; given energies come behind them."""
    n = len(data.train)
    if not whole_classes:
        return table.config, n
    names = [str(atoms.info.get(group_key, "")) for atoms in data.train]
    classes, index = np.unique(names, return_inverse=True)
    given = np.arange(max(int(table.config.max()) + 1 - n, 0)) + len(classes)
    return np.concatenate([index, given])[table.config].astype(np.int64), len(classes)


def _errors(
    table: RowTable, statistics: RowStatistics, measure: Floats, judged: np.ndarray[Any, np.dtype[np.bool_]]
) -> tuple[dict[str, float], float, float]:
    """RMSE of each kind, Σ ln RMSE, and its standard error by the delta method over what was left out.

    In the sum each has what a reference is converged to (`CONVERGED`) added in squares, as in the choice of the
    balance: where every force is zero by symmetry, rounding must not choose.
    """
    known = judged & np.isfinite(statistics.loco)
    units = int(table.config[judged].max()) + 1
    rmse: dict[str, float] = {}
    errors, influence = {}, np.zeros(units)
    for kind, name in enumerate(KINDS):
        of_kind = judged & (table.kind == kind)
        at = of_kind & known
        if not of_kind.any():
            continue
        if at.sum() < 0.5 * of_kind.sum():  # the others do not determine what this one needs
            return {KINDS[k]: float("inf") for k in np.unique(table.kind[judged])}, float("inf"), float("inf")
        squares = np.bincount(table.config[at], measure[at] * statistics.loco[at] ** 2, minlength=units)
        weight = np.bincount(table.config[at], measure[at], minlength=units)
        mean = squares.sum() / weight.sum()
        rmse[name] = errors[kind] = float(np.sqrt(mean))
        influence += 0.5 * (squares - mean * weight) / (weight.sum() * (mean + CONVERGED[kind] ** 2))
    return rmse, score_of(errors), float(np.sqrt(np.sum(influence**2)))


def elements_of(settings: FitSettings, structures: Sequence[Atoms]) -> tuple[str, ...]:
    """Return the elements of a fit to these structures."""
    params: SnapParams = settings.snap.params(structures)
    return tuple(params.elements)
