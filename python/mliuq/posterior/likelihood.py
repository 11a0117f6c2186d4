"""Maximum of the regularised likelihood behind the Gaussian posterior.

Left-out residuals e_r are modelled as independent N(0, v_r) with

    v_r = z_rᵀ S z_r + σ²_kind(r),          z_r = Wᵀx_r  (coordinates where A⁻¹ = I)

and S, σ minimise

    F = ½ Σ_r q_r [ln v_r + e_r²/v_r] + (λ/P) [½ ln|S| + ½ s0 tr S⁻¹],       Σ q = 1,     s0 = Σ q e²/‖z‖².

s0 is the best isotropic S (S = s0·1 without floors).  The prior draws S towards it with the weight of a fraction λ/P of
the data in each direction.  Expectation–maximisation would iterate

    S ← [Σ q (m mᵀ + C) + (λ/P) s0] / (1 + λ/P),     m = S z e/v,   C = S − S z zᵀS/v

(`expectation`); started from S ∝ 1 without floors its first m is z e/‖z‖², the POPS correction in these coordinates.
It converges slowly; here S = s0 (B M)(B M)ᵀ with M lower triangular, L-BFGS over M and ln σ, and every few
iterations B M becomes the new B, so that M stays near 1 and the problem well scaled.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

Floats = NDArray[np.float64]
SomeFloats = NDArray[Any]  # float32 or float64

log = logging.getLogger(__name__)

ROUND = 30  # L-BFGS iterations between two changes of B: 2-4 times fewer evaluations in all than without changing it
MAX_ROUNDS = 20
FLOOR_RANGE = (1e-6, 3.0)  # a noise floor, in root mean square residuals of its kind
FLOOR_START = 0.3
PANEL = 128  # columns of a triangular product taken at a time
SINGLE_PRECISION_FROM = 200  # weights: beyond, products of the rows are taken in float32 (F keeps six digits)


@dataclass(frozen=True)
class Maximum:
    """S = factor·factorᵀ (lower triangular), noise floor of each kind present, and how it was reached."""

    factor: Floats
    floors: Floats
    objective: float
    evaluations: int
    converged: bool


class Likelihood:
    """F of the module's head for given rows, and its gradient.

    Parameters
    ----------
    z : (n, P) whitened rows, none of them zero
    e : (n,) left-out residuals
    q : (n,) weights, sum 1
    group : (n,) 0 … G−1, the noise floor each row uses
    prior : λ
    single : take products of the rows in float32
    """

    def __init__(
        self, z: Floats, e: Floats, q: Floats, group: NDArray[np.int64], prior: float, *, single: bool = False
    ):
        leverage = np.einsum("rp,rp->r", z, z)
        self.s0 = float(np.sum(q * e**2 / leverage))
        self.e2, self.q, self.group, self.size = e**2, q, group, z.shape[1]
        self.pull = prior / self.size
        self.scale2 = np.bincount(group, q * self.e2) / np.bincount(group, q)
        self._z: SomeFloats = np.asarray(z * np.sqrt(self.s0), dtype=np.float32 if single else np.float64)
        self._lower = np.tril_indices(self.size)
        self._panels = [slice(k, min(k + PANEL, self.size)) for k in range(0, self.size, PANEL)]
        self.rebase(np.eye(self.size))

    def rebase(self, base: Floats) -> None:
        """Make B the lower triangular `base`, in units of s0^½."""
        self.base = base
        self._rows: SomeFloats = self._z @ base.astype(self._z.dtype)
        self._inverse = solve_triangular(base, np.eye(self.size), lower=True)
        self._log_det = float(np.sum(np.log(np.diag(base))))

    def pack(self, m: Floats, log_floors: Floats) -> Floats:
        """Parameter vector of M (P, P) and ln(σ/root mean square e) of each group."""
        return np.concatenate([m[self._lower], log_floors])

    def unpack(self, parameters: Floats) -> tuple[Floats, Floats]:
        """M and ln(σ/root mean square e) from a parameter vector."""
        m = np.zeros((self.size, self.size))
        m[self._lower] = parameters[: len(self._lower[0])]
        return m, parameters[len(self._lower[0]) :]

    def variances(self, m: Floats, floor2: Floats) -> tuple[Floats, SomeFloats]:
        """v_r, and the rows z_r B M that give it."""
        u, m = np.empty_like(self._rows), m.astype(self._rows.dtype)
        for columns in self._panels:  # M is lower triangular
            u[:, columns] = self._rows[:, columns.start :] @ m[columns.start :, columns]
        return np.einsum("rp,rp->r", u, u).astype(np.float64) + floor2[self.group], u

    def __call__(self, parameters: Floats) -> tuple[float, Floats]:
        """F and dF/dparameters."""
        m, log_floors = self.unpack(parameters)
        floor2 = self.scale2 * np.exp(2 * log_floors)
        v, u = self.variances(m, floor2)
        inverse = solve_triangular(m, np.eye(self.size), lower=True)
        whole = inverse @ self._inverse  # (B M)⁻¹
        value = 0.5 * float(np.sum(self.q * (np.log(v) + self.e2 / v)))
        value += self.pull * (float(np.sum(np.log(np.abs(np.diag(m))))) + self._log_det + 0.5 * float(np.sum(whole**2)))
        slope = 0.5 * self.q * (1 - self.e2 / v) / v  # dF/dv
        u *= slope[:, None].astype(u.dtype)
        gradient = np.zeros_like(m)
        for columns in self._panels:
            gradient[columns.start :, columns] = 2 * (self._rows[:, columns.start :].T @ u[:, columns])
        gradient += self.pull * (inverse.T - inverse.T @ (whole @ whole.T))
        return value, self.pack(gradient, 2 * floor2 * np.bincount(self.group, slope, len(floor2)))


def maximise(likelihood: Likelihood, *, tolerance: float) -> Maximum:
    """Minimise F from S = s0·1 until a round of L-BFGS lowers it by less than `tolerance` (nats per unit of q)."""
    log_floors = np.full(len(likelihood.scale2), np.log(FLOOR_START))
    free = len(likelihood.pack(likelihood.base, log_floors)) - len(log_floors)
    bounds = [(None, None)] * free + [(np.log(FLOOR_RANGE[0]), np.log(FLOOR_RANGE[1]))] * len(log_floors)
    best, evaluations, converged = np.inf, 0, False
    for _ in range(MAX_ROUNDS):
        found = minimize(
            likelihood,
            likelihood.pack(np.eye(likelihood.size), log_floors),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": ROUND, "maxcor": 20, "ftol": 0.01 * tolerance, "gtol": 0.0},
        )
        m, log_floors = likelihood.unpack(np.asarray(found.x, dtype=np.float64))
        likelihood.rebase(_positive_diagonal(likelihood.base @ m))
        evaluations += int(found.nfev)
        converged, best = bool(best - found.fun < tolerance), float(found.fun)
        log.debug("gaussian posterior: F = %.6f after %d evaluations", best, evaluations)
        if converged:
            break
    floors = np.sqrt(likelihood.scale2) * np.exp(log_floors)
    return Maximum(likelihood.base * np.sqrt(likelihood.s0), floors, best, evaluations, converged)


def expectation(z: Floats, e: Floats, factor: Floats, floors2: Floats | float) -> tuple[Floats, Floats]:
    """E-step: mean m_r of the move that left residual e_r, shape (n, P), and the variance v_r of the residual."""
    spread = z @ factor
    v = np.einsum("rp,rp->r", spread, spread) + floors2
    return (spread @ factor.T) * (e / v)[:, None], np.asarray(v)


def _positive_diagonal(lower: Floats) -> Floats:
    return np.asarray(lower * np.sign(np.diag(lower)))
