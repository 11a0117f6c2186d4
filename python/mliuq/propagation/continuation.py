"""Following a stationary structure from the best fit's weights to a member's.

The weights θ(t) = θ* + t δ go from the best fit's (t = 0) to a member's (t = 1), and the structure goes along: at each
t quasi-Newton steps from where the last t left it. Where the first steps do not converge fast, t takes a shorter step.
A minimum may merge with a saddle point on the way and be gone beyond: `follow` tells how far it went.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHORTEST = 1 / 256  # step of t
MOST_STEPS = 15  # at one t
SLOWEST = 0.9  # what a step leaves of the energy that is still to go, at most
FARTHEST = 0.25  # Å, of any coordinate in one step
KEPT = 0.05  # a curvature that has fallen to this share of what was expected is of another kind of structure


@dataclass(frozen=True, eq=False)
class Curvature:
    """Of a stationary point of the weights θ: inverse Hessian (r, r) along orthonormal directions V (n, r)."""

    theta: Array
    basis: Array
    softness: Array


def follow(curvature: Curvature, evaluate: Callable[[float, Array], Array], fmax: float) -> tuple[Array, float]:
    """Where a stationary point goes.

    Parameters
    ----------
    curvature : at t = 0, where the displacement is zero
    evaluate : callable
        Forces (n,) at t and a displacement (n,) of the coordinates. Raises FloatingPointError where there are none.
    fmax : largest force left on an atom (three coordinates)

    Returns
    -------
    The displacement at t = 1, and how far it went: t < 1 where the structure ends before.
    """
    basis, softness = curvature.basis, curvature.softness
    place, t, step = np.zeros(basis.shape[1]), 0.0, 1.0
    while t < 1.0:
        ahead = min(t + step, 1.0)
        found = _settle(basis, softness, place, partial(evaluate, ahead), fmax)
        if found is not None:
            place, softness = found
            t, step = ahead, 2 * step
        elif step <= SHORTEST:
            break
        else:
            step /= 2
    return basis @ place, t


def _settle(
    basis: Array, softness: Array, place: Array, evaluate: Callable[[Array], Array], fmax: float
) -> tuple[Array, Array] | None:
    """The stationary point near a place, and the inverse curvature there; None where it is not near enough."""
    try:
        pull = basis.T @ evaluate(basis @ place)
        step = softness @ pull
        left = abs(float(pull @ step))
        for _ in range(MOST_STEPS):
            if np.linalg.norm((basis @ pull).reshape(-1, 3), axis=1).max() < fmax:
                return place, softness
            if np.abs(basis @ step).max() > FARTHEST:
                return None
            place = place + step
            remaining = basis.T @ evaluate(basis @ place)
            if ratio(softness, step, pull - remaining) < KEPT:
                return None
            softness = secant(softness, step, pull - remaining)
            pull, step, before = remaining, softness @ remaining, left
            left = abs(float(pull @ step))
            if left > SLOWEST * before:
                return None
    except FloatingPointError:
        pass
    return None


def ratio(softness: Array, step: Array, change: Array) -> float:
    """Curvature along a step, from the change of forces, over what the inverse Hessian expects."""
    return float(step @ change) / float(step @ np.linalg.solve(softness, step))


def secant(softness: Array, step: Array, change: Array) -> Array:
    """Inverse Hessian that takes a change of forces to the step it came from (BFGS)."""
    curvature = float(step @ change)
    turn = np.eye(len(step)) - np.outer(step, change) / curvature
    return np.asarray(turn @ softness @ turn.T + np.outer(step, step) / curvature)
