"""The zero of energy of a potential against that of data.

Reference methods agree on differences, not on the energy of an atom: isolated, spherical or that of a pseudopotential.
Energies per atom that are off by one constant for each element are no error of the potential; no force or difference
feels them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from mliuq.descriptor.params import SnapParams
from mliuq.regression.rows import ENERGY, Floats, RowTable

TIMES = 5.0  # median errors that energies must be off by in common to be measured from another zero
_ROUNDS = 100
_FLAT = 0.1  # median errors within which the absolute value is rounded off
_ROUNDING = 1e-9  # eV


def shift_of_zero(structures: Sequence[Atoms], params: SnapParams, table: RowTable) -> tuple[Floats, bool]:
    """Return the shift (n_elements,) of atoms' energies, eV, that residuals share, and whether it is another zero.

    Least absolute deviations of residual energies per atom from what compositions make of it (one element: their
    median): strongly compressed cells, where a potential may be off by electronvolts, do not move it.  What
    compositions leave open is as alike between elements as can be.

    Parameters
    ----------
    table : rows whose y are residuals; configurations beyond `structures` are not looked at
    """
    at = np.flatnonzero((table.kind == ENERGY) & (table.config < len(structures)))
    if not len(at):
        return np.zeros(params.n_elements), False
    share = np.zeros((len(at), params.n_elements))
    for row, config in enumerate(table.config[at]):
        element = np.asarray(params.index_of(list(structures[config].symbols)))
        share[row] = np.bincount(element, minlength=params.n_elements) / len(element)
    y = table.y[at]
    middle = float(np.median(y))
    shift, scatter = np.full(params.n_elements, middle), 0.0
    for _ in range(_ROUNDS):
        rest = np.abs(y - share @ shift)
        scatter = float(np.median(rest))
        pull = np.maximum(rest, max(_FLAT * scatter, _ROUNDING)) ** -0.5
        new = middle + np.linalg.lstsq(share * pull[:, None], (y - middle) * pull, rcond=1e-6)[0]
        settled = np.abs(new - shift).max() < _ROUNDING
        shift = new
        if settled:
            break
    common = float(np.median(np.abs(share @ shift)))
    return np.asarray(shift), bool(common > TIMES * scatter)
