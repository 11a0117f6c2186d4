"""What labels of a structure would tell: about all weights, about a region, about a property.

The linear-Gaussian model of the fit gives it before any label is there.  With whitened rows Z of a structure
(`mliuq.learning.label_rows`), A becomes A' = Rᵀ(1 + ZᵀZ)R, and with Z = U diag(s) Vᵀ, f = s²/(1 + s²), the variance of
a whitened row t (in units of the variance of a residual of weight one) falls

    from ‖t‖²    to tᵀ(1 + ZᵀZ)⁻¹t = ‖t‖² − Σ_i f_i (t·v_i)².

- `Information`, nats:  ½ ln det A'/A = ½ Σ ln(1 + s²), the information gain about the weights.  Unlike the largest row
  dᵀA⁻¹d it knows that rows of one structure repeat each other, and it is submodular: what others have told is not told
  again, and the greedy batch is within 1 − 1/e of the best (Nemhauser et al., Math. Program. 14, 265 (1978)).
- `MeanInformation`, nats:  mean over the rows of a region of ½ ln(variance before / after), the mean marginal
  information gain (MacKay, Neural Comput. 4, 590 (1992)).
- `PropertyVariance`, share:  by how much Σ_t ‖t‖² falls, t the rows of a target, each weighted as the fit would, or the
  one row of a combination of energies.

Structures taken are folded into a triangular factor L, 1 + Σ ZᵀZ = LᵀL, as a fit folds in rows; every row is then seen
as z L⁻¹.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular, svd

from mliuq.errors import MliuqError
from mliuq.learning.criteria import Criterion
from mliuq.learning.label_rows import LabelRows
from mliuq.regression.rows import Floats
from mliuq.regression.solver import stacked

_SILENT = 1e-12  # variance of a row of a region, of the mean, below which it is zero by symmetry
_ROUNDING = 1e-14  # of a variance: what may be left of it


class _Linear(Criterion[Floats]):
    """What the criteria of the linear model share: whitened rows, and the factor of what has been taken."""

    def __init__(self, rows: LabelRows) -> None:
        self._rows = rows
        self._taken = np.eye(len(rows.factor))

    def prepare(self, structures: Sequence[Atoms], indices: Sequence[int]) -> list[Floats]:
        """Return the whitened rows of labels."""
        return self._rows.whitened(structures)

    def take(self, prepared: Floats) -> None:
        """Fold the rows of a structure into the factor."""
        self._taken = stacked([(1.0, self._taken), (1.0, prepared)])

    def explain(self, atoms: Atoms, prepared: Floats, score: float) -> tuple[int | None, str]:
        """Name the atom whose force (without forces: whose energy) says most by itself."""
        of_atom = self._rows.force_rows(prepared, len(atoms))
        if of_atom is None:
            of_atom = self._rows.of_atoms(atoms)[:, None]
        own = self._of_rows(self._now(of_atom.reshape(-1, of_atom.shape[-1])))
        atom = int(own.reshape(len(atoms), -1).sum(axis=1).argmax())
        return atom, f"{self._words(score)}, most of it from atom {atom}"

    def _now(self, z: Floats) -> Floats:
        """Return rows in coordinates where all that is known by now is 1."""
        return np.asarray(solve_triangular(self._taken, z.T, trans="T", check_finite=False).T)

    @abstractmethod
    def _of_rows(self, z: Floats) -> Floats:
        """Return what single rows (n, P) say, to compare atoms by."""

    @abstractmethod
    def _words(self, score: float) -> str: ...


class Information(_Linear):
    """Information gain about the weights."""

    unit = "nats"

    def score(self, prepared: Floats) -> float:
        """Return ½ ln det(1 + ZᵀZ)."""
        s = svd(self._now(prepared), compute_uv=False, check_finite=False)
        return float(0.5 * np.log1p(s**2).sum())

    def _of_rows(self, z: Floats) -> Floats:
        return np.asarray(np.sum(z**2, axis=1))

    def _words(self, score: float) -> str:
        return f"tells {score:.3g} nats about the weights"


class _OfTarget(_Linear):
    """What is told about some rows, (m, P)."""

    falls = False

    def __init__(self, rows: LabelRows, target: Floats, what: str) -> None:
        super().__init__(rows)
        variance = np.sum(target**2, axis=1)
        if not variance.any():
            raise MliuqError(f"every row of {what} is zero: there is nothing to learn about it")
        self._target = target[variance > _SILENT * variance.mean()]
        self._before = np.sum(self._target**2, axis=1)
        self._seen = self._target

    def take(self, prepared: Floats) -> None:
        """See `Criterion.take`."""
        super().take(prepared)
        self._seen = self._now(self._target)
        self._before = np.sum(self._seen**2, axis=1)

    def _gone(self, prepared: Floats) -> Floats:
        """Return how much of the variance of each row of the target a structure takes away."""
        _, s, vt = svd(self._now(prepared), full_matrices=False, check_finite=False)
        return np.asarray((self._seen @ vt.T) ** 2 @ (s**2 / (1.0 + s**2)))


class MeanInformation(_OfTarget):
    """Mean marginal information gain over the rows of a region."""

    unit = "nats"

    def score(self, prepared: Floats) -> float:
        """Return the mean of ½ ln(before / after)."""
        left = np.maximum(1.0 - self._gone(prepared) / self._before, _ROUNDING)
        return float(-0.5 * np.log(left).mean())

    def _of_rows(self, z: Floats) -> Floats:
        return np.asarray((z @ self._seen.T) ** 2 @ (1.0 / self._before) / (1.0 + np.sum(z**2, axis=1)))

    def _words(self, score: float) -> str:
        return f"tells {score:.3g} nats about a row of the region"


class PropertyVariance(_OfTarget):
    """Share of the squared bars of a property that labels would take away."""

    unit = "share of the squared bar"

    def score(self, prepared: Floats) -> float:
        """Return 1 − Σ after / Σ before, of what is left by now."""
        return float(self._gone(prepared).sum() / self._before.sum())

    def _of_rows(self, z: Floats) -> Floats:
        return np.asarray(np.sum((z @ self._seen.T) ** 2, axis=1) / (1.0 + np.sum(z**2, axis=1)))

    def _words(self, score: float) -> str:
        return f"takes {100 * score:.3g} % off the squared bar of the property"
