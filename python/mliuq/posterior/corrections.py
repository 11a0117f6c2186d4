"""Pointwise optimal corrections (Swinburne & Perez, Mach. Learn.: Sci. Technol. 6, 015008 (2025)).

    δ_r = A⁻¹ x_r · r_r / h_r,    h_r = x_rᵀ A⁻¹ x_r

is the move of the weights, smallest in loss, after which row r is fitted exactly: x_r·(θ* + δ_r) = y_r.  With z = Wᵀx_r
it reads δ_r = W z · r_r / ‖z‖², which keeps that identity to rounding however ill-conditioned A is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mliuq.regression.distributed import Progress, Team
from mliuq.regression.loco import RowStatistics
from mliuq.regression.rows import Floats, RowSource
from mliuq.regression.solver import Solution


@dataclass(frozen=True)
class Corrections:
    """The corrections of chosen rows, streamed block by block and never held together.

    Attributes
    ----------
    rows, solution, statistics : the fit
    chosen : (n,) rows that enter the posterior
    """

    rows: RowSource
    solution: Solution
    statistics: RowStatistics
    chosen: NDArray[np.bool_]
    team: Team = field(default_factory=Team)
    progress: Progress | None = None

    def __len__(self) -> int:
        return int(np.count_nonzero(self.chosen))

    def block(self, index: int) -> Floats:
        """Return the corrections of the chosen rows of block `index`, shape (n, P)."""
        return np.asarray(self._whitened(index) @ self.solution.whitener.T)

    def all(self) -> Floats:
        """Return every correction, shape (len(self), P): for small problems only."""
        parts = [self.block(i) for i in self.team.share(self.rows.n_blocks)]
        return self.team.gather(np.concatenate([np.zeros((0, self.rows.n_weights)), *parts]))

    def gram(self) -> Floats:
        """Return Σ δδᵀ, shape (P, P)."""
        share = self.team.share(self.rows.n_blocks)

        def parts() -> Iterator[Floats]:
            for done, index in enumerate(share, start=1):
                u = self._whitened(index)
                yield u.T @ u
                self._report("gram", done, len(share))

        inner = self.team.reduce(share.start, parts(), np.add)
        assert inner is not None  # a row source without blocks has been refused
        w = self.solution.whitener
        gram = w @ inner @ w.T
        return np.asarray(0.5 * (gram + gram.T))

    def project(self, axes: Floats, stage: str = "project") -> Iterator[Floats]:
        """Yield δ·axes for the chosen rows of each of this rank's blocks, shape (n, n_axes)."""
        inner = self.solution.whitener.T @ axes
        share = self.team.share(self.rows.n_blocks)
        for done, index in enumerate(share, start=1):
            yield np.asarray(self._whitened(index) @ inner)
            self._report(stage, done, len(share))

    def _whitened(self, index: int) -> Floats:
        """Return z r/‖z‖² of the chosen rows of a block, shape (n, rank)."""
        at = self.rows.span(index)
        chosen = self.chosen[at]
        if not chosen.any():
            return np.zeros((0, self.solution.whitener.shape[1]))
        z = self.rows.block(index).x[chosen] @ self.solution.whitener
        z *= (self.statistics.residual[at][chosen] / np.einsum("rp,rp->r", z, z))[:, None]
        return np.asarray(z)

    def _report(self, stage: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(stage, done, total)
