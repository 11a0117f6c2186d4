"""Does a given stress look like one?  Held against a stress that was predicted without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from mliuq.descriptor.params import SnapParams
from mliuq.readers.keys import Keys
from mliuq.readers.units import PRESSURE
from mliuq.regression.problem import build_rows
from mliuq.regression.rows import STRESS, Floats
from mliuq.regression.weights import WeightSettings

_CONFIGURATIONS, _ATOMS = 60, 2000  # looked at by `odd_stress`: enough to see a factor of 10
_RELATED = 0.5  # correlation from which a ratio says something
_TOO_LARGE = 3.0  # ratio of given to predicted, either way; SNAP's own stresses are within a third
#: Components xx yy zz yz xz xy as VASP orders them: xx yy zz xy yz zx.
_VASP = (0, 1, 2, 4, 5, 3)


def suspicion(
    given: Floats, predicted: Floats, keys: Keys | None = None, source: str = "energies and forces lead to"
) -> str:
    """Say what is odd about a stress, empty where nothing is.

    Parameters
    ----------
    given, predicted : (n, 6) eV/Å³ as they were read, Voigt xx yy zz yz xz xy
    keys : unit and sign they were read with, for the advice
    source : what predicted, for the message
    """
    correlation = _correlation(given, predicted)
    if abs(correlation) >= _RELATED:
        size = float(np.sqrt(np.sum(given**2) / np.sum(predicted**2)))
        sign = "" if correlation > 0 else "-"
        read = keys or Keys()
        other = "compression" if read.stress_sign == "tension" else "tension"
        hints = [f"a positive number seems to mean {other}: --stress-sign {other}"] if correlation < 0 else []
        if not 1 / _TOO_LARGE < size < _TOO_LARGE:
            units = {unit: abs(np.log(size * factor / PRESSURE[read.stress_unit])) for unit, factor in PRESSURE.items()}
            unit = min(units, key=lambda name: units[name])
            hints += [f"the unit seems to be {unit}: --stress-unit {unit}"] if units[unit] < np.log(_TOO_LARGE) else []
        elif not hints:
            return _order(given, predicted)
        advice = "; ".join(hints) or "no unit known here explains that"
        return f"the given stress is {sign}{size:.3g} times what {source} (correlation {correlation:.2f}): {advice}"
    return _order(given, predicted)


def odd_stress(structures: Sequence[Atoms], params: SnapParams, *, zbl: tuple[float, float] | None, keys: Keys) -> str:
    """Fit a few configurations to energies and forces alone and hold their stress against that fit's.

    Returns
    -------
    str
        What is odd, empty where nothing is or too little can be said.
    """
    chosen = _few(structures)
    small = replace(params, quadraticflag=False, twojmax=min(params.twojmax, 6))
    weights = WeightSettings(energy=100.0, force=1.0, stress=1.0)
    rows = build_rows(chosen, small, zbl=zbl, keys=keys, weights=weights, skip_missing=True)
    whole = build_rows(chosen, small, keys=keys, weights=weights, skip_missing=True).table.y
    x = np.concatenate([rows.design(index) for index in range(rows.n_blocks)])
    table, stress = rows.table, rows.table.kind == STRESS
    if np.count_nonzero(~stress) < x.shape[1] or np.count_nonzero(stress) < 18:
        return ""
    root = np.sqrt(table.w[~stress])
    scale = np.sqrt(np.mean((x[~stress] * root[:, None]) ** 2, axis=0)) + 1e-300
    theta = np.linalg.lstsq(x[~stress] * root[:, None] / scale, table.y[~stress] * root, rcond=1e-6)[0] / scale
    baseline = whole[stress] - table.y[stress]
    return suspicion(whole[stress].reshape(-1, 6), (x[stress] @ theta + baseline).reshape(-1, 6), keys)


def _few(structures: Sequence[Atoms]) -> list[Atoms]:
    """Configurations spread over the data set, as many as the limits allow."""
    step = max(1, len(structures) // _CONFIGURATIONS)
    chosen: list[Atoms] = []
    for atoms in structures[::step]:
        if chosen and sum(map(len, chosen)) + len(atoms) > _ATOMS:
            break
        chosen.append(atoms)
    return chosen


def _order(given: Floats, predicted: Floats) -> str:
    """Say so where the shear components agree with the prediction in another order only."""
    own, vasp = _correlation(given[:, 3:], predicted[:, 3:]), _correlation(given[:, _VASP][:, 3:], predicted[:, 3:])
    if own < _RELATED < 0.9 * vasp:
        return (
            "the shear components of the given stress seem to be in VASP's order xx yy zz xy yz zx, expected "
            "xx yy zz yz xz xy"
        )
    return ""


def _correlation(a: Floats, b: Floats) -> float:
    """Cosine of the angle between two sets of numbers, 0 where one is all zero."""
    norm = np.sqrt(np.sum(a**2) * np.sum(b**2))
    return float(np.sum(a * b) / norm) if norm > 0 else 0.0
