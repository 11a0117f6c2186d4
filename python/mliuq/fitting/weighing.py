"""Which rows count, and how much: outliers set aside, kinds balanced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from mliuq.fitting.data import FitData, training_constants, warn_of_outliers
from mliuq.fitting.settings import FitSettings
from mliuq.readers.kept import chosen
from mliuq.regression.balance import Balance, choose_balance
from mliuq.regression.distributed import Progress, Team
from mliuq.regression.outliers import Outlier, find_outliers
from mliuq.regression.rows import ReweightedRows, RowSource, SubsetRows


@dataclass(frozen=True)
class WeighedRows:
    """The rows of a fit with their weights.

    Attributes
    ----------
    rows : what is fitted
    balance : constants of the weights that were chosen
    outliers : configurations whose values cannot be right; not among the rows under `solver.robust`
    fitted : the training configurations that are among the rows
    """

    rows: RowSource
    balance: Balance
    outliers: Sequence[Outlier]
    fitted: Sequence[Atoms]


def weigh(rows: RowSource, data: FitData, settings: FitSettings, team: Team, progress: Progress | None) -> WeighedRows:
    """Find outliers, leave them out if asked to, and choose the weights that are left to choose."""
    n, constants = len(data.train), training_constants(data, rows.table, settings)
    outliers = find_outliers(rows, n_configurations=n, team=team, progress=progress)
    if team.rank == 0:
        warn_of_outliers(outliers, data.train, settings)
    out = {outlier.config for outlier in outliers} if settings.solver.robust else set()
    if out:
        keep = ~np.isin(rows.table.config, list(out))
        rows, constants = SubsetRows(rows, keep), constants[keep]
    balance = choose_balance(rows, constants, n_configurations=n, seed=settings.seed, team=team, progress=progress)
    weighed = ReweightedRows(rows, balance.applied(rows.table, np.isnan(constants)))
    fitted = chosen(data.train, (config for config in range(n) if config not in out))
    return WeighedRows(weighed, balance, outliers, fitted)
