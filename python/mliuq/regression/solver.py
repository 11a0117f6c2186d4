"""Weighted ridge regression by blocked QR.

    θ* = argmin Σ_r w_r (x_r·θ − y_r)² + λ‖θ‖²

Each block of √w [x y] is folded into a triangle with LAPACK's ``dtpqrt``, triangles are joined pairwise (TSQR; Demmel
et al., SIAM J. Sci. Comput. 34, A206 (2012)), and everything afterwards happens on one small triangle R.  The normal
equations XᵀWX are never formed: qSNAP design matrices have condition numbers near 1e8 and would lose every digit.

With A = XᵀWX + λI, the solution carries a *whitener* W, A⁻¹ = W Wᵀ.  In z = Wᵀx the posterior of an ordinary linear
regression is round: leverage is w‖z‖², the epistemic variance of a prediction is σ²‖z‖².  If R is rank-deficient, W
spans the combinations of weights that the data determine and A⁻¹ stands for the pseudo-inverse.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import lapack, qr, solve_triangular, svd

from mliuq.errors import MliuqError
from mliuq.regression.distributed import Progress, Team
from mliuq.regression.evidence import Evidence, maximise_evidence
from mliuq.regression.rows import Floats, RowSource, RowTable

log = logging.getLogger(__name__)

_PANEL = 128  # columns factored at a time; fastest of 32, 64, 128 for 1600 columns


@dataclass(frozen=True)
class Solution:
    """Best-fit weights and the metric around them.

    Attributes
    ----------
    theta : (P,) best-fit weights
    factor : (P, P) upper triangular R with A = RᵀR; combinations of weights the data leave open carry the smallest
        curvature that the others were judged by, so that R can always be inverted
    whitener : (P, rank) W with A⁻¹ = W Wᵀ
    ridge : λ
    rank : number of combinations of weights that the rows determine; P for a healthy fit
    condition : ratio of largest to smallest singular value of the column-scaled R
    undetermined : columns that take part in the undetermined combinations, largest first; empty if rank is P
    noise_variance : variance of a residual of weight one: 1/α of the evidence, or χ²/(n − effective parameters)
    chi2 : Σ w r² at the solution
    effective_parameters : Σ of weighted leverages, the trace of the hat matrix
    """

    theta: Floats
    factor: Floats
    whitener: Floats
    ridge: float
    rank: int
    condition: float
    undetermined: tuple[int, ...]
    noise_variance: float
    chi2: float
    effective_parameters: float


def solve(
    rows: RowSource,
    *,
    ridge: float | Literal["evidence"] = 0.0,
    evidence: Evidence | None = None,
    rcond: float | None = None,
    prior: Floats | None = None,
    quiet: bool = False,
    team: Team | None = None,
    progress: Progress | None = None,
) -> Solution:
    """Fit weights to rows.

    Parameters
    ----------
    rows : the linear problem
    ridge : λ of the loss, or ``"evidence"`` to maximise the evidence as scikit-learn's BayesianRidge does
    evidence : hyperpriors and stopping rule of the evidence maximisation, and weights that it leaves free
    rcond : singular values of the column-scaled R below this fraction of the largest are taken as zero; P·2.2e-16 when
        absent
    prior : (P + 1, P + 1) triangular factor of rows [x y] that are fitted along but are no data
    quiet : say nothing of a rank that is deficient: a fit on the way
    team : ranks to share the blocks with
    progress : called as ``progress("solve", done, total)``

    Raises
    ------
    MliuqError
        for a negative ridge or when no combination of weights is determined at all.
    """
    if ridge != "evidence" and not (np.isfinite(ridge) and ridge >= 0.0):
        raise MliuqError(f"ridge is {ridge}, expected a number not below zero or 'evidence'")
    triangle = triangularise(rows, team or Team(), progress)
    return solve_triangle(triangle, rows.table, ridge=ridge, evidence=evidence, rcond=rcond, prior=prior, quiet=quiet)


def solve_triangle(
    triangle: Floats,
    table: RowTable,
    *,
    ridge: float | Literal["evidence"] = 0.0,
    evidence: Evidence | None = None,
    rcond: float | None = None,
    prior: Floats | None = None,
    quiet: bool = False,
) -> Solution:
    """Do what `solve` does from the triangular factor (P + 1, P + 1) of the weighted rows, and their table."""
    p = len(triangle) - 1
    factor, qty, chi2_floor = triangle[:p, :p], triangle[:p, p], float(triangle[p, p] ** 2)
    noise: float | None = None
    free: tuple[int, ...] = ()
    if ridge == "evidence":
        evidence = evidence or Evidence()
        ridge, noise = maximise_evidence(factor, qty, chi2_floor, table.y, table.w, evidence)
        free = evidence.free
    beside = [] if prior is None else [prior]
    if ridge > 0.0:
        beside.append(np.sqrt(ridge) * np.delete(np.eye(p, p + 1), free, axis=0))
    reduced = np.column_stack([factor, qty])
    if beside:
        reduced = np.asarray(qr(np.concatenate([reduced, *beside]), mode="r")[0])
    return _from_triangle(reduced[:p, :p], reduced[:p, p], triangle, float(ridge), noise, rcond, table, quiet)


def triangularise(rows: RowSource, team: Team, progress: Progress | None = None, stage: str = "solve") -> Floats:
    """Return the upper triangular factor of √w [x y], shape (P + 1, P + 1)."""
    share = team.share(rows.n_blocks)

    def leaves() -> Iterator[Floats]:
        for done, index in enumerate(share, start=1):
            block = rows.block(index)
            yield _fold(np.zeros((block.x.shape[1] + 1,) * 2, order="F"), _weighted(block.x, block.y, block.w), 0)
            if progress:
                progress(stage, done, len(share))

    triangle = team.reduce(share.start, leaves(), lambda a, b: _fold(a, b, a.shape[0]))
    if triangle is None:
        raise MliuqError("no rows to fit")
    return np.triu(triangle)


def stacked(parts: Sequence[tuple[float, Floats]]) -> Floats:
    """Return the triangular factor of rows given by (constant of their weights, triangular factor)."""
    rows = np.concatenate([np.sqrt(constant) * triangle for constant, triangle in parts])
    return np.asarray(qr(rows, mode="r")[0][: rows.shape[1]])


def _weighted(x: Floats, y: Floats, w: Floats) -> Floats:
    root = np.sqrt(w)
    columns = np.empty((x.shape[1] + 1, len(y))).T  # column-major, as LAPACK wants it
    np.multiply(x, root[:, None], out=columns[:, :-1])
    columns[:, -1] = y * root
    return columns


def _fold(triangle: Floats, block: Floats, height: int) -> Floats:
    """Return R of [triangle; block]; the last `height` rows of block are upper trapezoidal."""
    folded, _, _, info = lapack.dtpqrt(
        height, min(_PANEL, len(triangle)), triangle, block, overwrite_a=1, overwrite_b=1
    )
    if info:
        raise MliuqError(f"LAPACK dtpqrt failed with info = {info}")
    return np.asarray(folded)


def _from_triangle(
    r: Floats,
    qty: Floats,
    data: Floats,
    ridge: float,
    noise: float | None,
    rcond: float | None,
    table: RowTable,
    quiet: bool,
) -> Solution:
    p = r.shape[1]
    scale = np.linalg.norm(r, axis=0)
    scale[scale == 0.0] = 1.0
    u, s, vt = svd(r / scale)
    keep = s > (p * np.finfo(float).eps if rcond is None else rcond) * s[0]
    rank = int(keep.sum())
    if s[0] == 0.0 or rank == 0:
        raise MliuqError("every row of the design matrix is zero: no weight is determined by the data")
    undetermined: tuple[int, ...] = ()
    if rank == p:
        factor = r
        whitener = solve_triangular(r / scale, np.eye(p)) / scale[:, None]
        theta = solve_triangular(r / scale, qty) / scale
    else:
        whitener = vt[:rank].T / s[:rank] / scale[:, None]
        theta = whitener @ (u[:, :rank].T @ qty)
        factor = np.asarray(qr(np.where(keep, s, s[rank - 1])[:, None] * vt * scale, mode="r")[0])
        share = np.sum(vt[rank:] ** 2, axis=0)
        undetermined = tuple(int(k) for k in np.argsort(-share, kind="stable") if share[k] > 0.01)
        log.log(
            logging.DEBUG if quiet else logging.WARNING,
            "the rows determine %d of %d combinations of weights; undetermined ones are set to zero (columns %s)",
            rank, p, ", ".join(map(str, undetermined[:8])) + (", …" if len(undetermined) > 8 else ""),
        )  # fmt: skip
    residual = data[:p, :p] @ theta - data[:p, p]
    chi2 = float(residual @ residual + data[p, p] ** 2)
    effective = float(np.sum((data[:p, :p] @ whitener) ** 2))
    freedom = float(np.count_nonzero(table.w)) - effective
    if noise is None:
        noise = chi2 / freedom if freedom > 0.5 else 0.0
    return Solution(
        theta, factor, whitener, ridge, rank, float(s[0] / s[rank - 1]), undetermined, noise, chi2, effective
    )
