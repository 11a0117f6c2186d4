"""Rows as a fit sees them that never saw their configuration: what error bars are learned from.

For a row of configuration c both the residual and the metric are those of the other configurations.  With
A_c̄ = A − X_cᵀWX_c and Z_c the weighted whitened rows of c,

    z = (1 − Z_cᵀZ_c)^(-½) Wᵀx,      so that  ‖z‖² = xᵀ A_c̄⁻¹ x:

the row lies as far from the data of the others as a new configuration lies from all data.  In the metric of all data it
looks closer than it is, and error bars learned from it come out too wide (rms z of energies and forces on held-out
tungsten, 496 weights from 3000 rows: 0.83 and 0.88; without its own configuration 0.96 and 1.05).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mliuq.errors import MliuqError
from mliuq.posterior.predict import Predictions, spread_of
from mliuq.posterior.selection import Selection
from mliuq.regression.distributed import Progress, Team
from mliuq.regression.loco import RowStatistics
from mliuq.regression.rows import KINDS, Floats, Ints, RowSource, atoms_of
from mliuq.regression.solver import Solution

_WHOLE = 1 - 1e-10  # leverage of a combination of rows that no other configuration determines


@dataclass(frozen=True)
class LeftOutSettings:
    """Which rows are taken.

    Attributes
    ----------
    rows_per_kind : at most so many rows of each kind, drawn at random: bounds memory and time of all that follows;
        0 for 20,000, or 8,000 beyond 1000 weights
    seed : of that draw
    selection : which rows may enter
    fitted : whether the weights were fitted to the rows; residuals of weights that were not are errors as they stand,
        and no configuration has shaped the metric it is seen in
    """

    rows_per_kind: int = 0
    seed: int = 0
    selection: Selection = field(default_factory=Selection)
    fitted: bool = True

    def validate(self) -> None:
        """Raise MliuqError for settings that make no sense."""
        if self.rows_per_kind < 0:
            raise MliuqError(f"rows_per_kind is {self.rows_per_kind}, expected a number not below zero")

    def limit(self, n_weights: int) -> int:
        """Largest number of rows of a kind for so many weights."""
        return self.rows_per_kind or (20_000 if n_weights <= 1000 else 8_000)


@dataclass(frozen=True)
class LeftOutRows:
    """Whitened rows z (n, rank) in the metric of the others, left-out residuals e, kinds, configurations (n,) each.

    `atom` is that of a force, −1 for others, where it is known.
    """

    z: Floats
    e: Floats
    kind: NDArray[np.int8]
    config: Ints
    atom: Ints | None = None

    def take(self, rows: NDArray[np.bool_]) -> LeftOutRows:
        """The rows of a mask (n,)."""
        atom = None if self.atom is None else self.atom[rows]
        return LeftOutRows(self.z[rows], self.e[rows], self.kind[rows], self.config[rows], atom)


def left_out_rows(
    rows: RowSource, solution: Solution, statistics: RowStatistics, settings: LeftOutSettings | None = None
) -> LeftOutRows:
    """Gather left-out rows in one pass over the design.

    Rows of negligible leverage or weight zero, and those whose configuration the others do not determine, are left out.

    Raises
    ------
    MliuqError
        if no row remains.
    """
    settings = settings or LeftOutSettings()
    settings.validate()
    table = rows.table
    chosen = settings.selection.mask(table, statistics) & np.isfinite(statistics.loco)
    rng, limit = np.random.default_rng(settings.seed), settings.limit(rows.n_weights)
    for kind in range(len(KINDS)):
        candidates = np.flatnonzero(chosen & (table.kind == kind))
        if candidates.size > limit:
            chosen[candidates] = False
            chosen[rng.choice(candidates, limit, replace=False)] = True
    if not chosen.any():
        raise MliuqError(
            "gaussian posterior: every configuration is needed to determine the weights, none can be left out:"
            " add configurations or fit fewer weights"
        )
    z = np.empty((int(chosen.sum()), solution.whitener.shape[1]))
    filled = 0
    for index in range(rows.n_blocks):
        at = rows.span(index)
        if chosen[at].any():
            whitened = rows.design(index) @ solution.whitener
            part = (
                _left_out(whitened, table.w[at], table.config[at], chosen[at])
                if settings.fitted
                else whitened[chosen[at]]
            )
            z[filled : filled + len(part)] = part
            filled += len(part)
    atom = atoms_of(table.kind, table.config)
    return LeftOutRows(z, statistics.loco[chosen], table.kind[chosen], table.config[chosen], atom[chosen])


def predict_left_out(
    rows: RowSource,
    solution: Solution,
    left_out: Floats,
    moves: Floats,
    *,
    team: Team | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """Predict each row as the fit without its configuration does, spread included, in one pass.

    A posterior is moves u in coordinates where A⁻¹ = WWᵀ is the unit matrix, δ = Wu.  Without configuration c the same
    u move a row by z·u, with z as above: what a refit states whose S is the same.  In the metric of all data a row is
    held by itself, and where its leverage is near one, x·δ is far smaller than the error to be expected of it.  With
    weighted moves m of the rows of c and their hat block H, these are (1 − H)^(-½) m.

    Parameters
    ----------
    left_out : (n,) residual of each row without its configuration
    moves : (M, P) members minus best fit

    Returns
    -------
    Predictions
        NaN where the other configurations do not determine the row.
    """
    team, table = team or Team(), rows.table
    share = team.share(rows.n_blocks)

    def parts() -> Iterator[Floats]:
        for done, index in enumerate(share, start=1):
            x, at = rows.block(index).x, rows.span(index)
            moved = _freed(x @ moves.T, x @ solution.whitener, np.sqrt(table.w[at]), table.config[at])
            yield np.column_stack([*spread_of(moved), np.linalg.norm(x, axis=1)])
            if progress:
                progress("left out", done, len(share))

    std, least, most, size = team.gather(np.concatenate([np.zeros((0, 4)), *parts()])).T.copy()
    mean = table.y - left_out
    std[np.isnan(mean)] = np.nan
    return Predictions(table.y, mean, std, mean + least, mean + most, table.kind, table.config, size)


def _freed(moved: Floats, z: Floats, root: Floats, config: Ints) -> Floats:
    """Moves (n, M) of the rows of whole configurations as they are without their own hold, through the smaller side.

    With s = (1 − h)^½ for the leverages h: (1 − h)^(-½) = 1 + h / (s (1 + s)).
    """
    freed = moved.copy()
    for first, end in _configurations(config):
        at = slice(first, end)
        weighted, own = z[at] * root[at, None], root[at, None] * moved[at]
        wide = len(weighted) <= z.shape[1]
        leverage, axes = np.linalg.eigh(weighted @ weighted.T if wide else weighted.T @ weighted)
        s = np.sqrt(1.0 - np.minimum(leverage, _WHOLE))
        left = z[at] @ weighted.T if wide else z[at]
        freed[at] += left @ ((axes / (s * (1.0 + s))) @ (axes.T @ (own if wide else weighted.T @ own)))
    return freed


def _configurations(config: Ints) -> Iterable[tuple[int, int]]:
    """Where each configuration begins and ends."""
    return pairwise([0, *(np.flatnonzero(np.diff(config)) + 1).tolist(), len(config)])


def _left_out(z: Floats, w: Floats, config: Ints, chosen: NDArray[np.bool_]) -> Floats:
    """Rows `chosen` of a block of whole configurations, each in the metric of the others."""
    parts = []
    for first, end in _configurations(config):
        if chosen[first:end].any():
            own, leverage = _own_axes(z[first:end] * np.sqrt(w[first:end])[:, None])
            row = z[first:end][chosen[first:end]]
            parts.append(row + ((row @ own) * ((1 - leverage) ** -0.5 - 1)) @ own.T)
    return np.concatenate(parts)


def _own_axes(weighted: Floats) -> tuple[Floats, Floats]:
    """Orthonormal axes (rank, k) of the weighted rows of one configuration and the leverage along each."""
    n, rank = weighted.shape
    if n <= rank:
        leverage, left = np.linalg.eigh(weighted @ weighted.T)
        keep = leverage > 1e-12
        leverage, axes = leverage[keep], weighted.T @ left[:, keep] / np.sqrt(leverage[keep])
    else:
        leverage, axes = np.linalg.eigh(weighted.T @ weighted)
    return np.asarray(axes), np.clip(leverage, 0.0, _WHOLE)
