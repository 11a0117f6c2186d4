"""Which rows enter a posterior; option names and meaning as in popsregression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mliuq.errors import MliuqError
from mliuq.regression.loco import RowStatistics
from mliuq.regression.rows import RowTable


@dataclass(frozen=True)
class Selection:
    """Rows that enter the posterior.

    Attributes
    ----------
    leverage_percentile : only rows whose weighted leverage reaches this percentile (0 … 100) of all rows;
        popsregression up to 0.4
    minimum_relative_error : only rows whose weighted residual reaches this fraction of the root mean square of all;
        popsregression from 0.5
    negligible_leverage : rows whose weighted leverage is below this fraction of the mean are always left out: rows that
        vanish by symmetry have x ≈ 0, and the move A⁻¹x r/h that "fits" them is huge and means nothing
    """

    leverage_percentile: float = 0.0
    minimum_relative_error: float = 0.0
    negligible_leverage: float = 1e-4

    def validate(self) -> None:
        """Refuse options out of range."""
        if not 0.0 <= self.leverage_percentile < 100.0:
            raise MliuqError(f"leverage_percentile is {self.leverage_percentile}, expected a number in [0, 100)")
        for name in ("minimum_relative_error", "negligible_leverage"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0.0):
                raise MliuqError(f"{name} is {getattr(self, name)}, expected a number not below zero")

    def mask(self, table: RowTable, statistics: RowStatistics) -> NDArray[np.bool_]:
        """Return which rows enter, shape (n,).

        Raises
        ------
        MliuqError
            if no row is left.
        """
        self.validate()
        h = statistics.leverage
        chosen = (h > 0.0) & (h >= self.negligible_leverage * h.mean())
        if self.leverage_percentile > 0.0:
            chosen &= h >= np.percentile(h, self.leverage_percentile)
        if self.minimum_relative_error > 0.0:
            weighted = np.sqrt(table.w) * np.abs(statistics.residual)
            chosen &= weighted >= self.minimum_relative_error * np.sqrt(np.mean(weighted**2))
        if not chosen.any():
            raise MliuqError(f"no row is left for the posterior by {self}")
        return np.asarray(chosen)
