"""Configurations whose reference values cannot be right, found before they spoil what depends on them.

One unconverged dimer at −279 eV/atom pulls weights, balance, posterior and calibration with it, and then its own error
bar covers it.  It is therefore looked for in a fit of its own, with kinds of rows weighed by their medians, by

    t_r = |e_r| / [1.48 median|e| (1 + h_r/median h)^½]

over the rows of its kind: left-out residuals e against what is usual, with room for rows far from the others (leverage
h), and for rows that weigh less than the usual ones, which are meant to be met less well.  On data sets of tungsten,
molybdenum and tantalum as they are t stayed below 40 (strongly compressed tantalum); a dimer at −279 eV/atom had 1500
and more, an energy off by 5 eV/atom 160 and more where a model is good to 50 meV/atom (26 where to 200), a force off by
50 eV/Å 87 and more.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mliuq.regression.balance import CONVERGED
from mliuq.regression.distributed import Progress, Team
from mliuq.regression.loco import examine
from mliuq.regression.rows import FORCE, KINDS, Floats, ReweightedRows, RowSource, RowTable
from mliuq.regression.solver import solve

ABSURD = 60.0  # t from which a row is named
SIZE = 100.0  # and its error in units of what a reference is converged to: 0.05 eV/atom, 1 eV/Å
NEGLIGIBLE = 1e-4  # of the mean leverage: rows zero by symmetry are not what is usual
_ROUNDS = 4  # of fits in which rows far off pull less, weight ∝ 1/|e| beyond `_BEND` (Huber), so that none hides
_BEND = 3.0
_SUSPECT = 15.0  # without a row this far off (leverage aside) the first fit is enough
_FEWEST = 10  # rows of a kind that tell what is usual


@dataclass(frozen=True)
class Outlier:
    """The worst row of a configuration.

    Attributes
    ----------
    config : index of the configuration
    kind : "energy", "force" or "stress"
    value, error : reference value and left-out error, eV/atom, eV/Å or eV/Å³
    times : t, the error in what is usual
    """

    config: int
    kind: str
    value: float
    error: float
    times: float

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def find_outliers(
    rows: RowSource, *, n_configurations: int, team: Team | None = None, progress: Progress | None = None
) -> list[Outlier]:
    """Return the configurations with a row that cannot be right, worst first.

    Parameters
    ----------
    rows : weighted within their kinds; the balance between kinds is this search's own
    n_configurations : configurations from this number on (given one-body energies) are not judged
    """
    table = rows.table
    w = table.w * _by_medians(table)[table.kind]
    pull = np.ones(len(table))
    for left in reversed(range(_ROUNDS)):
        weighted = ReweightedRows(rows, w * pull)
        solution = solve(weighted, quiet=True, team=team, progress=progress)
        statistics = examine(weighted, solution, team=team, progress=progress)
        usual = _usual(table, statistics.loco, statistics.leverage)
        with np.errstate(invalid="ignore"):
            times = np.nan_to_num(np.abs(statistics.loco) / usual[:, 0])
        if not left or times.max() <= _SUSPECT:
            break
        pull = 1.0 / np.maximum(1.0, times / _BEND)
    with np.errstate(invalid="ignore"):
        times = np.nan_to_num(np.abs(statistics.loco) / usual[:, 1])
    large = np.abs(np.nan_to_num(statistics.loco)) > SIZE * np.array(CONVERGED)[table.kind]
    found: dict[int, Outlier] = {}
    bad = np.flatnonzero((times > ABSURD) & large & (table.config < n_configurations))
    for row in bad[np.argsort(-times[bad], kind="stable")]:
        config, kind = int(table.config[row]), KINDS[table.kind[row]]
        value, error = float(table.y[row]), float(statistics.loco[row])
        found.setdefault(config, Outlier(config, kind, value, error, float(times[row])))
    return list(found.values())


def _by_medians(table: RowTable) -> Floats:
    """Return constants of the kinds under which their usual spread weighs alike."""
    constants = np.ones(len(KINDS))
    for kind in range(len(KINDS)):
        y = table.y[table.kind == kind]
        if len(y):
            spread = np.median(np.abs(y - np.median(y))) if kind != FORCE else np.median(np.abs(y))
            constants[kind] = 1.0 / (len(y) * max(float(spread), CONVERGED[kind]) ** 2)
    return constants


def _usual(table: RowTable, error: Floats, leverage: Floats) -> Floats:
    """Return (n, 2) usual errors of rows: by kind and weight, and with room for leverage; infinite where unknown."""
    usual = np.full((len(error), 2), np.inf)
    felt: NDArray[np.bool_] = np.isfinite(error) & (leverage > NEGLIGIBLE * leverage.mean())
    for kind in range(len(KINDS)):
        at, every = felt & (table.kind == kind), table.kind == kind
        if at.sum() >= _FEWEST:
            median = max(1.4826 * float(np.median(np.abs(error[at]))), CONVERGED[kind])
            with np.errstate(divide="ignore"):
                less = np.sqrt(np.median(table.w[at]) / table.w[every])
            usual[every, 0] = median * np.maximum(1.0, less)
            usual[every, 1] = usual[every, 0] * np.sqrt(1.0 + leverage[every] / np.median(leverage[at]))
    return usual
