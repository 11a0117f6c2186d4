"""Positions, cells and atomic numbers of any kind of number give what the same values give in double precision."""

from __future__ import annotations

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from systems import PARAMS, random_model


@pytest.mark.parametrize("kind", ["float32", ">f8", ">f4", "float16", "int64", "longdouble"])
def test_positions_of_any_kind_of_number(kind: str) -> None:
    model = random_model(PARAMS["linear"], members=3, zbl=(1.0, 2.0))
    atoms = bulk("W", a=4.0, cubic=True).repeat((2, 1, 1))
    atoms.rattle(0.1, seed=1)
    atoms.arrays["positions"] = atoms.positions.astype(kind)
    atoms.arrays["numbers"] = atoms.numbers.astype(">i4")
    plain = Atoms(atoms.symbols, cell=atoms.cell, pbc=True)
    for a in (atoms, plain):
        a.calc = mliuq.MLIUQCalculator(model)
    for _ in range(2):  # the second with the neighbour list of the first
        plain.positions = atoms.positions.astype(float)
        assert atoms.get_potential_energy() == pytest.approx(plain.get_potential_energy(), rel=1e-12)
        np.testing.assert_allclose(atoms.get_forces(), plain.get_forces(), atol=1e-10)
        atoms.arrays["positions"] = (atoms.positions * 1.01).astype(kind)
    plain.positions = atoms.positions.astype(float)
    np.testing.assert_allclose(
        mliuq.descriptors(atoms, model.params), mliuq.descriptors(plain, model.params), atol=1e-10
    )
