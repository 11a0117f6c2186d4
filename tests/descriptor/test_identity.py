"""Two structures are one when nothing of them differs by a bit."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from mliuq.descriptor.identity import identical


def test_a_copy_is_the_same() -> None:
    atoms = bulk("W", cubic=True)
    atoms.info["name"] = "is not looked at"
    assert identical(atoms, bulk("W", cubic=True))


@pytest.mark.parametrize("what", ["numbers", "positions", "cell", "pbc", "length"])
def test_any_bit_tells_them_apart(what: str) -> None:
    atoms, other = bulk("W", cubic=True), bulk("W", cubic=True)
    if what == "numbers":
        other.numbers[1] = 4
    elif what == "positions":
        other.positions[1, 2] = np.nextafter(other.positions[1, 2], 9.0)
    elif what == "cell":
        other.cell[2, 2] = np.nextafter(other.cell[2, 2], 9.0)
    elif what == "pbc":
        other.pbc[0] = False
    else:
        del other[1]
    assert not identical(atoms, other)
    assert not identical(other, atoms)
