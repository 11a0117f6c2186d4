"""Error bars of forces and stress of one structure: linear functionals of the weights, from the core's design rows.

For f = x·θ, over members θ_m about the best fit θ*:

    *_std   sqrt(mean_m (x·(θ_m − θ*))²)          *_comm  f* + x·(θ_m − θ*), members first
    *_min, *_max  extremes of *_comm               *_err   sqrt((α std)² + floor²)
    *_box_min, *_box_max  extremes of x·θ over the whole box of a hypercube posterior, in closed form
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from mliuq.core import ErrorScale, PackedStructure, Potential
from mliuq.errors import MliuqError

Array = NDArray[np.float64]

_OVER_MEMBERS = ("std", "min", "max", "err", "comm")
_OVER_BOX = ("box_min", "box_max")

#: Result keys by kind; those of the box need a hypercube posterior.
FORCE_BARS = tuple(f"forces_{what}" for what in _OVER_MEMBERS)
STRESS_BARS = tuple(f"stress_{what}" for what in _OVER_MEMBERS)
FORCE_BOUNDS = tuple(f"forces_{what}" for what in _OVER_BOX)
STRESS_BOUNDS = tuple(f"stress_{what}" for what in _OVER_BOX)

#: What the core computes for each, as moves about the best fit.
_MOVE = {
    "std": "std",
    "err": "std",
    "min": "least",
    "max": "most",
    "comm": "comm",
    "box_min": "box_least",
    "box_max": "box_most",
}


def row_bars(
    potential: Potential,
    structure: PackedStructure,
    names: Collection[str],
    *,
    forces: Array,
    stress: Array | None,
    scale: ErrorScale,
    threads: int = 0,
) -> dict[str, Array]:
    """Compute bars of forces (eV/Å) and stress (eV/Å³, Voigt xx yy zz yz xz xy), all in one pass over the atoms.

    Parameters
    ----------
    names : of `FORCE_BARS`, `FORCE_BOUNDS`, `STRESS_BARS`, `STRESS_BOUNDS`
    forces : (N, 3) of the best fit
    stress : (6,) of the best fit; None for a structure without volume
    scale : calibration and noise floors

    Returns
    -------
    dict of ndarray
        By name; forces (N, 3), stress (6,), committees with the members first.

    Raises
    ------
    MliuqError
        For a model without members, bounds of a posterior without box, stress without volume.
    """
    wanted = {name: name.partition("_")[::2] for name in names}
    if stress is None and any(kind == "stress" for kind, _ in wanted.values()):
        raise MliuqError("stress needs a cell with a volume, this structure has none")
    unit = {"forces": 1.0, "stress": structure.volume}
    core = {"forces": "forces", "stress": "strain"}
    moves = potential.row_spreads(
        structure, {f"{core[kind]}_{_MOVE[what]}" for kind, what in wanted.values()}, threads=threads
    )
    best = {"forces": forces, "stress": np.zeros(6) if stress is None else stress}
    factors = {"forces": (scale.alpha_force, scale.noise_force), "stress": (scale.alpha_stress, scale.noise_stress)}
    bars: dict[str, Array] = {}
    for name, (kind, what) in wanted.items():
        move = moves[f"{core[kind]}_{_MOVE[what]}"] / unit[kind]
        if what == "err":
            alpha, floor = factors[kind]
            bars[name] = np.hypot(alpha * move, floor)
        else:
            bars[name] = move if what == "std" else best[kind] + move
    return bars
