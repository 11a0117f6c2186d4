"""Whether two structures are one."""

from __future__ import annotations

import numpy as np
from ase import Atoms


def identical(a: Atoms, b: Atoms) -> bool:
    """Whether elements, positions, cell and boundaries are the same to the last bit.

    ASE's `compare_atoms` and its calculators' `check_state` cost as much as evaluating a small cell.
    """
    return (
        np.array_equal(a.numbers, b.numbers)
        and np.array_equal(a.positions, b.positions)
        and np.array_equal(a.cell.array, b.cell.array)
        and np.array_equal(a.pbc, b.pbc)
    )
