"""How many structures of a population each labelled one stands for.

Labels that were chosen are no sample of what the model will meet: fitted as they are, rare surroundings have more say
than they have there, and where the form cannot fit everything the common ones pay for it (the bias of active learning;
Farquhar, Gal & Rainforth, ICLR 2021).  Design rows need no labels, so the population's say is known.  With force rows
X_p of its structures (the labelled ones among them) and A = Σ_p X_pᵀX_p, whitened rows Z = X A^(-½) have
Σ_p Z_pᵀZ_p = 1, and the weights of labelled structures i are those under which their sum comes nearest to it,

    minimise ‖1 − Σ_i w_i Z_iᵀZ_i‖²_F = rank − 2 w·b + w·K w,    w_i ≥ 1,    b_i = ‖Z_i‖²_F,  K_ij = ‖Z_i Z_jᵀ‖²_F,

a least-squares problem with bounds (calibration of a sample: Deville & Särndal, J. Am. Stat. Assoc. 87, 376 (1992);
coresets: Campbell & Broderick, J. Mach. Learn. Res. 20, 15 (2019)).  A structure stands for itself at least, so that
none is paid for in vain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.linalg import qr, svd
from scipy.optimize import nnls

from mliuq.descriptor.bispectrum import design_rows
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError
from mliuq.regression.rows import BLOCK_NUMBERS, Floats
from mliuq.regression.solver import stacked

_SINGULAR = 1e-12  # relative size of a singular value of the column-scaled rows below which it is rounding
_SILENT = 1e-10  # of a column of energies (1/Å), or of its usual size, below which forces are zero by symmetry
_ALIKE = 1e-10  # added to the diagonal of K, of its mean: structures that are the same share what they stand for
_BLOCK = 256  # structures


@dataclass(frozen=True)
class Population:
    """What structures are to stand for.

    Attributes
    ----------
    params : the descriptor
    forces : whether force rows tell structures apart, or energies (per atom) do
    size : structures
    whitener : (P, rank) W, Z = X W
    silent : (P,) numbers of a row that are not larger than this are rounding
    threads : of the core, 0 for what OpenMP would take
    """

    params: SnapParams
    forces: bool
    size: int
    whitener: Floats
    silent: Floats
    threads: int = 0

    @classmethod
    def of(
        cls, structures: Iterable[Atoms], params: SnapParams, *, forces: bool = True, threads: int = 0
    ) -> Population:
        """Fold in the rows of structures, block by block; those that are to stand for them belong to them, too.

        Raises
        ------
        MliuqError
            for structures whose rows are all zero, as forces in perfect crystals are, or none.
        """
        p, size = params.n_elements * params.n_weights, 0
        triangle, largest = np.zeros((0, p)), np.zeros(p)
        for designs in _designs(structures, params, (True, forces), threads):
            for x in designs:
                np.maximum(largest, np.abs(x[0]), out=largest)
            triangle = stacked([(1.0, triangle), *((1.0, x[int(forces) :]) for x in designs)])
            size += len(designs)
        scale = np.sqrt(np.sum(triangle**2, axis=0))
        seen = scale > (_SILENT if forces else 0.0) * largest
        if not seen.any():
            what = "forces" if forces else "energies"
            raise MliuqError(
                f"the {size} structures to stand for have no {what} that depend on the weights: expected "
                "structures as they occur in runs"
            )
        _, s, vt = svd(triangle[:, seen] / scale[seen], full_matrices=False, check_finite=False)
        rank = int(np.count_nonzero(s > _SINGULAR * s[0]))
        whitener = np.zeros((p, rank))
        whitener[seen] = vt[:rank].T / s[:rank] / scale[seen][:, None]
        silent = _SILENT * scale / np.sqrt(size) if forces else np.zeros(p)
        return cls(params, forces, size, whitener, silent, threads)

    @property
    def rank(self) -> int:
        """Combinations of weights that the population's rows determine."""
        return int(self.whitener.shape[1])

    def seen(self, structures: Iterable[Atoms]) -> Iterator[Floats]:
        """Yield the whitened rows Z of every structure."""
        for rows in _designs(structures, self.params, (not self.forces, self.forces), self.threads):
            yield from (np.where(np.abs(x) > self.silent, x, 0.0) @ self.whitener for x in rows)

    def stood_for(self, structures: Sequence[Atoms]) -> Floats:
        """Return how many structures of the population each of these stands for, w."""
        overlap = Overlap()
        for z in self.seen(structures):
            overlap.add(z)
        return overlap.weights()


class Overlap:
    """K and b of structures, one after the other."""

    def __init__(self) -> None:
        self._z: list[Floats] = []
        self._k: list[list[float]] = []

    def __len__(self) -> int:
        return len(self._z)

    def add(self, z: Floats) -> None:
        """Add a structure by its whitened rows."""
        z = np.asarray(qr(z, mode="r", check_finite=False)[0][: z.shape[1]]) if len(z) > z.shape[1] else z
        self._z.append(z)
        self._k.append([float(np.sum((z @ other.T) ** 2)) for other in self._z])

    def weights(self) -> Floats:
        """Return w."""
        n = len(self._z)
        if not n:
            return np.zeros(0)
        k = np.zeros((n, n))
        for i, row in enumerate(self._k):
            k[i, : i + 1] = k[: i + 1, i] = row
        if not k.any():
            return np.ones(n)
        b = np.array([np.sum(z**2) for z in self._z]) - k.sum(axis=1)  # what is left when each stands for itself
        root = np.linalg.cholesky(k + _ALIKE * np.trace(k) / n * np.eye(n))
        return np.asarray(1.0 + nnls(root.T, np.linalg.solve(root, b))[0])

    def missing(self, rank: int) -> Floats:
        """Return 1 − Σ w ZᵀZ, (rank, rank): what the structures do not stand for."""
        left = np.eye(rank)
        for w, z in zip(self.weights(), self._z, strict=True):
            left -= w * z.T @ z
        return left


def _designs(
    structures: Iterable[Atoms], params: SnapParams, kinds: tuple[bool, bool], threads: int
) -> Iterator[list[Floats]]:
    """Yield the rows of blocks of structures: energies, forces."""
    energy, forces = kinds
    per_atom = 3 * params.n_elements * params.n_weights
    waiting: list[Atoms] = []
    numbers = 0

    def rows() -> list[Floats]:
        return design_rows(waiting, params, energy=energy, forces=forces, stress=False, threads=threads or None)

    for atoms in structures:
        more = len(atoms) * per_atom
        if waiting and (len(waiting) == _BLOCK or numbers + more > BLOCK_NUMBERS):
            yield rows()
            waiting, numbers = [], 0
        waiting.append(atoms)
        numbers += more
    if waiting:
        yield rows()
