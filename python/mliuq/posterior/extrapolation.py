"""How far an atom is from the data: Mahalanobis distance and the D-optimality grade γ.

Both are unit-free and know nothing of energies.  With A = RᵀR of the fit, dᵀA⁻¹d = ‖R⁻ᵀd‖² is the local prediction
rigidity's inverse.  The active set of an element is the square matrix of atomic rows d of (nearly) largest volume; an
atom's grade is

    γ = max_j |d · active⁻¹|_j

so that γ ≤ `tolerance` on the training set, and γ > 1 means extrapolation: swapping the atom in would enlarge the
volume by γ (Podryabinkin & Shapeev, Comput. Mater. Sci. 140, 171 (2017); Goreinov et al., MaxVol, 2010).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
from scipy.linalg import solve_triangular

from mliuq.errors import MliuqError
from mliuq.regression.rows import Floats, Ints

log = logging.getLogger(__name__)

_START = 1e-6  # volume of a direction no atom has explored yet, relative to the spread of the data
_CANDIDATES = 1024  # rows of largest grade that are exchanged before the grades of all are computed again


def mahalanobis(d: Floats, factor: Floats) -> Floats:
    """Return √(dᵀA⁻¹d) of rows `d` (n, P), with A = RᵀR given by its factor R (P, P)."""
    return np.asarray(np.linalg.norm(solve_triangular(factor, d.T, trans="T"), axis=0))


class ActiveSet:
    """Selects the active set of one element from a stream of atomic rows.

    Directions that no atom has shown start with a tiny volume, so that the first atom to show one is taken, and a set
    that stays incomplete (fewer atoms than weights) grades atoms along unseen directions as far away.

    Parameters
    ----------
    rows : (P, P) set to go on from; the stream begins with nothing when absent
    """

    def __init__(self, n_weights: int, *, tolerance: float = 1.1, rows: Floats | None = None) -> None:
        if not tolerance > 1.0:
            raise MliuqError(f"tolerance of the active set is {tolerance}, expected a number above 1")
        self.tolerance = tolerance
        self.rows: Floats = np.zeros((n_weights, n_weights)) if rows is None else rows.copy()
        self._scale: Floats | None = None if rows is None else _spread(rows)

    def update(self, d: Floats, max_rounds: int = 50) -> None:
        """Exchange rows until no row of `d` (n, P) exceeds the tolerance."""
        if not len(d):
            return
        if self._scale is None:
            self._scale = _spread(d)
            self.rows = np.diag(_START * self._scale)
        for _ in range(max_rounds):
            # Solved in units of the columns' spread: γ does not change, the conditioning does.
            c: Floats = np.asarray(np.linalg.solve((self.rows / self._scale).T, (d / self._scale).T).T, np.float64)
            if np.abs(c).max() <= self.tolerance * (1.0 + 1e-6):
                return
            self._exchange_all(c, d, max_rounds)
        log.warning("active set: stopped after %d rounds with a grade of %.3g", max_rounds, float(np.abs(c).max()))

    def _exchange_all(self, c: Floats, d: Floats, max_rounds: int) -> None:
        """Exchange rows until c = d · rows⁻¹ is within the tolerance; c is overwritten.

        Candidates are looked through one exchange at a time; all rows follow once for a whole batch.  With slots J
        taken over by rows I,  c ← c − c_J (c_IJ)⁻¹ (c_I − 1_J).
        """
        for _ in range(max_rounds):
            gamma = np.abs(c).max(axis=1)
            if gamma.max() <= self.tolerance:
                return
            worst = np.argsort(-gamma, kind="stable")[:_CANDIDATES]
            taken = self._exchange_some(c[worst])
            slots, new = np.array(list(taken)), worst[list(taken.values())]
            step = c[new]
            step[np.arange(len(slots)), slots] -= 1.0
            c -= c[:, slots] @ np.linalg.solve(c[np.ix_(new, slots)], step)
            self.rows[slots] = d[new]

    def _exchange_some(self, c: Floats) -> dict[int, int]:
        """Return which row of c takes which slot: greedily by largest grade, by rank-one updates; overwrites c."""
        taken: dict[int, int] = {}
        for _ in range(len(c)):
            i, j = divmod(int(np.argmax(np.abs(c))), c.shape[1])
            pivot = c[i, j]
            if abs(pivot) <= self.tolerance:
                break
            taken[j] = i
            step = c[i].copy()
            step[j] -= 1.0
            c -= np.outer(c[:, j], step / pivot)
        return taken


def _spread(d: Floats) -> Floats:
    """Root mean square of each column, 1 for columns of zeros."""
    scale = np.sqrt(np.mean(d**2, axis=0))
    return np.asarray(np.where(scale == 0.0, 1.0, scale))


def select_active_sets(
    atoms: Iterable[tuple[Floats, Ints]], n_elements: int, n_weights: int, *, tolerance: float = 1.1
) -> Floats:
    """Return the active sets of all elements, shape (n_elements, P, P), from batches of (rows (n, P), element (n,))."""
    sets = [ActiveSet(n_weights, tolerance=tolerance) for _ in range(n_elements)]
    for d, element in atoms:
        for index, active in enumerate(sets):
            active.update(d[element == index])
    return np.stack([active.rows for active in sets])
