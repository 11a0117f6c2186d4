"""What a fingerprint, a key or a boundary tells apart, and rows that must not count."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from linear_problems import matrix, misspecified
from mliuq.readers.keys import Keys
from mliuq.regression import ArrayRows
from mliuq.regression.computed import fingerprint
from mliuq.regression.loco import RowStatistics, without_given
from mliuq.regression.solver import solve
from mliuq.regression.targets import read_targets


def pair(symbols: str = "WMo", shift: float = 0.0, cell: float = 4.0, pbc: bool = True) -> Atoms:
    return Atoms(symbols, [[0.0, 0.0, shift], [1.0, 1.0, 1.0]], cell=[cell, 4.0, 4.0], pbc=pbc)


def test_a_fingerprint_tells_structures_apart() -> None:
    kinds = [pair(), pair("MoW"), pair("W2"), pair(shift=1e-12), pair(cell=4.1), pair(pbc=False), pair()[[1, 0]]]
    assert len({fingerprint([atoms]) for atoms in kinds}) == len(kinds)
    assert fingerprint([pair()]) == fingerprint([pair()])
    assert fingerprint([pair()], {"rcutfac": 4.7}) != fingerprint([pair()], {"rcutfac": 4.2})
    assert fingerprint([pair()], b"1") != fingerprint([pair()], b"2") != fingerprint([pair()])
    assert fingerprint([pair(), pair("W2")]) != fingerprint([pair("W2"), pair()])


def test_results_of_a_calculator_come_before_info_and_arrays() -> None:
    atoms = pair()
    atoms.info["energy"] = 2.0
    atoms.arrays["forces"] = np.full((2, 3), 2.0)
    found = read_targets([atoms], Keys())[0]
    assert found.energy == 2.0
    np.testing.assert_array_equal(found.forces, 2.0)
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.full((2, 3), 1.0))
    found = read_targets([atoms], Keys())[0]
    assert found.energy == 1.0
    np.testing.assert_array_equal(found.forces, 1.0)
    other = read_targets([atoms], Keys(energy="energy", forces="forces"), (True, False, False))[0]
    assert (other.energy, other.forces) == (1.0, None)


def test_given_energies_begin_right_behind_the_last_configuration() -> None:
    table = misspecified(n_configs=4, per_config=3).table
    given = without_given(RowStatistics(*(np.arange(12.0) for _ in range(3))), table, 3)
    np.testing.assert_array_equal(np.isnan(given.loco), table.config >= 3)
    np.testing.assert_array_equal(given.leverage, np.arange(12.0))


@pytest.mark.parametrize("ridge", [0.0, 2.0])
def test_rows_of_weight_zero_leave_the_noise_variance_alone(ridge: float) -> None:
    rows = misspecified(n_configs=10)
    x, table = matrix(rows), rows.table
    padded = ArrayRows(
        np.concatenate([x, x]),
        np.concatenate([table.y, 5.0 + table.y]),
        np.concatenate([table.w, np.zeros_like(table.w)]),
        np.concatenate([table.kind, table.kind]),
        np.concatenate([table.config, 10 + table.config]),
    )
    alone, both = solve(rows, ridge=ridge), solve(padded, ridge=ridge)
    assert both.noise_variance == pytest.approx(alone.noise_variance, rel=1e-9)
    residual = table.y - x @ alone.theta
    a = x.T @ (table.w[:, None] * x)
    effective = np.trace(np.linalg.solve(a + ridge * np.eye(len(a)), a))
    expected = np.sum(table.w * residual**2) / (len(table.y) - effective)
    assert alone.noise_variance == pytest.approx(expected, rel=1e-6)
