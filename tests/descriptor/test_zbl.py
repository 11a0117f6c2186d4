"""Nuclear repulsion against ``pair_style zbl``, alone and under SNAP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import stock
from ase.data import atomic_numbers
from mliuq import MLIUQCalculator, Model
from mliuq.descriptor import zbl
from systems import separated_atoms

pytestmark = pytest.mark.stock


def pair_lines(elements: tuple[str, ...]) -> list[str]:
    z = [atomic_numbers[e] for e in elements]
    return [f"{i + 1} {j + 1} zbl {z[i]} {z[j]}" for i in range(len(z)) for j in range(i, len(z))]


def test_zbl_alone(tmp_path: Path) -> None:
    elements = ("W", "Be")
    atoms = separated_atoms(elements, 20, 12.0, seed=2, closest=0.6)
    commands = ["pair_style zbl 2.0 4.0", *(f"pair_coeff {line.replace(' zbl', '')}" for line in pair_lines(elements))]
    (peer,) = stock.run([stock.Job(atoms, elements, commands)], tmp_path)
    result = zbl.evaluate(atoms, 2.0, 4.0)
    assert result.energy == pytest.approx(peer["energy"], rel=1e-10)
    np.testing.assert_allclose(result.forces, peer["forces"], rtol=0, atol=1e-10 * np.abs(peer["forces"]).max())
    assert result.stress is not None
    virial = -result.stress * atoms.get_volume()
    np.testing.assert_allclose(virial, peer["virial"], rtol=0, atol=1e-10 * np.abs(peer["virial"]).max())


@pytest.mark.parametrize(
    ("name", "inner", "outer"), [("Ta06A", 4.0, 4.8), ("WBe_Wood_PRB2019", 4.0, 4.8), ("InP_JCPA2020", 4.0, 4.2)]
)
def test_snap_on_zbl_equals_hybrid_overlay(name: str, inner: float, outer: float, tmp_path: Path) -> None:
    coeff, param = (stock.potentials() / f"{name}.{end}" for end in ("snapcoeff", "snapparam"))
    model = replace(Model.from_snap(coeff, param), zbl=(inner, outer))
    elements = model.params.elements
    cells = [separated_atoms(elements, 18, v, seed=s, closest=1.2) for v, s in ((14.0, 1), (40.0, 2))]
    commands = [
        f"pair_style hybrid/overlay zbl {inner} {outer} snap",
        *(f"pair_coeff {line}" for line in pair_lines(elements)),
        f"pair_coeff * * snap {coeff} {param} {' '.join(elements)}",
    ]
    for atoms, peer in zip(cells, stock.run([stock.Job(a, elements, commands) for a in cells], tmp_path), strict=True):
        atoms.calc = MLIUQCalculator(model)
        np.testing.assert_allclose(
            atoms.get_potential_energies(), peer["energies"], rtol=0, atol=1e-10 * np.abs(peer["energies"]).max()
        )
        np.testing.assert_allclose(
            atoms.get_forces(), peer["forces"], rtol=0, atol=1e-10 * np.abs(peer["forces"]).max()
        )
