"""Ridge strength by evidence maximisation (MacKay, Neural Computation 4, 415 (1992)).

The fixed point of scikit-learn's ``BayesianRidge``, run on the small factor R instead of on the design matrix: with the
singular values s of R and q = Uᵀ(Qᵀy), every quantity of the iteration is a sum over P numbers.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from scipy.linalg import orth, svd

from mliuq.regression.rows import Floats

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evidence:
    """Gamma hyperpriors of the noise precision α and the weight precision λ, the stopping rule, and what stays free.

    Attributes
    ----------
    free : weights that are not shrunk and have no part in λ: one-body energies, whose zero means nothing, as the
        intercept of ``BayesianRidge``
    """

    alpha_1: float = 1e-6
    alpha_2: float = 1e-6
    lambda_1: float = 1e-6
    lambda_2: float = 1e-6
    max_iter: int = 300
    tol: float = 1e-3
    free: tuple[int, ...] = ()


def maximise_evidence(
    factor: Floats, qty: Floats, chi2_floor: float, y: Floats, w: Floats, settings: Evidence
) -> tuple[float, float]:
    """Return (ridge λ/α, noise variance 1/α) at the fixed point.

    Parameters
    ----------
    factor, qty : (P, P) and (P,), R and Qᵀy of the weighted rows
    chi2_floor : squared length of the weighted y outside the span of the rows
    y, w : (n,) targets and weights; they give the starting point, as in scikit-learn
    """
    free = orth(factor[:, list(settings.free)])
    factor = np.delete(factor, settings.free, axis=1)
    factor, qty = factor - free @ (free.T @ factor), qty - free @ (free.T @ qty)
    _, s, vt = svd(factor, full_matrices=False)
    eigenvalues = s**2
    xty = vt @ (factor.T @ qty)
    weight = float(w.sum()) - free.shape[1]
    spread = float(np.average((y - np.average(y, weights=w)) ** 2, weights=w))
    alpha: float = 1.0 / (spread + float(np.finfo(float).eps))
    lam: float = 1.0

    def weights(ratio: float) -> Floats:
        return np.asarray(xty / (eigenvalues + ratio))  # in the basis of the right singular vectors

    previous = np.zeros_like(s)
    for iteration in range(settings.max_iter):
        theta = weights(lam / alpha)
        residual = factor @ (vt.T @ theta) - qty
        chi2 = float(residual @ residual) + chi2_floor
        gamma = float(np.sum(alpha * eigenvalues / (lam + alpha * eigenvalues)))
        lam = (gamma + 2 * settings.lambda_1) / (float(theta @ theta) + 2 * settings.lambda_2)
        alpha = (weight - gamma + 2 * settings.alpha_1) / (chi2 + 2 * settings.alpha_2)
        coefficients = vt.T @ theta
        if iteration and np.abs(previous - coefficients).sum() < settings.tol:
            break
        previous = coefficients
    else:
        log.warning("evidence maximisation stopped after %d iterations without converging", settings.max_iter)
    return lam / alpha, 1.0 / alpha
