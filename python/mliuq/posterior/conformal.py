"""Conformal quantiles of |e|/err: how many err wide an interval must be to hold a given share of the errors.

The quantile of level p is the r-th smallest of N scores |e|/err. Were rows exchangeable, r = ⌈(N + 1)p⌉ would hold a
new error with probability ≥ p, whatever the shape of the errors (Vovk, Gammerman, Shafer 2005; Papadopoulos et al.,
ECML 2002). But errors of one configuration are alike: where few configurations bring most of the rows, the next one is
missed more often than that. So the level is calibrated itself (Loh, J. Am. Stat. Assoc. 82, 155 (1987)), on rows left
out with their configuration as in cross-conformal prediction (Vovk, Ann. Math. Artif. Intell. 74, 9 (2015)):

    u_i   share of the rows of all other configurations that have smaller scores than row i: their quantile of level p'
          holds row i where p' > u_i
    p'    the highest level at which no more rows are held than it takes to hold the share p of all
    r     ⌈N p'⌉, and not below ⌈(N + 1)p⌉; N where no level is enough, for an interval without end helps nobody

Where configurations differ no more than chance has it, p' is p but for a row or two; where all rows of a configuration
are equal, r takes ⌈np⌉ + 1 of n configurations of one size. A row counts the same in a large and in a small one: the
share promised is one of rows. Hierarchical quantiles (Dunn, Wasserman, Ramdas, J. Am. Stat. Assoc. 118, 2491 (2023);
Lee, Barber, Willett, arXiv 2306.06342) weigh configurations alike, and fall short of it where large ones err more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mliuq.regression.rows import Floats, Ints


def conformal_quantiles(score: Floats, levels: Sequence[float], config: Ints | None = None) -> dict[str, float]:
    """Level (text) → quantile; a level that needs more rows than there are is left out.

    Parameters
    ----------
    score : |e|/err of rows not seen, shape (N,)
    config : configuration of each row; absent, for a single one, or where each has one row, r = ⌈(N + 1)p⌉
    """
    n, ordered = len(score), np.sort(score)
    ranks = {level: int(np.ceil((n + 1) * level)) for level in sorted(levels)}
    ranks = {level: rank for level, rank in ranks.items() if rank <= n}
    if config is not None and 1 < len(np.unique(config)) < n:
        left_out = _left_out_ranks(score, config)
        ranks = {level: max(rank, int(left_out[int(np.ceil(n * level)) - 1])) for level, rank in ranks.items()}
    return {f"{level:g}": float(ordered[rank - 1]) for level, rank in ranks.items()}


def _left_out_ranks(score: Floats, config: Ints) -> Ints:
    """⌈N p'⌉ for the shares 1/N, 2/N … 1, shape (N,)."""
    n = len(score)
    _, own, size = np.unique(config, return_inverse=True, return_counts=True)
    below = np.searchsorted(np.sort(score), score)
    for rows in np.split(np.argsort(own, kind="stable"), np.cumsum(size)[:-1]):
        below[rows] -= np.searchsorted(np.sort(score[rows]), score[rows])
    others = n - size[own]
    order = np.argsort(below / others, kind="stable")
    u, ranks = (below / others)[order], -(-below * n // others)[order]  # ⌈N u⌉ in integers: exact
    return np.asarray(np.append(ranks, n)[np.searchsorted(u, u, side="right")])
