"""Against a closed form: twojmax 0 in plain numpy over ASE's neighbour list, and how energies meet the cutoff."""

from __future__ import annotations

import itertools

import closed_form
import numpy as np
import pytest
from ase import Atoms
from mliuq import MLIUQCalculator, SnapParams
from systems import random_atoms, random_model

FORMS = {
    "plain": {},
    "no zero": {"bzeroflag": False},
    "normed": {"bnormflag": True},
    "rmin0": {"rmin0": 1.9, "rfac0": 0.7},
    "no switching": {"switchflag": False},
    "inner": {"switchinnerflag": True, "sinner": (2.6, 2.2), "dinner": (0.7, 0.3)},
    "quadratic": {"quadraticflag": True},
    "chem": {"chemflag": True},
    "chem, self in all": {"chemflag": True, "wselfallflag": True},
    "chem, no zero": {"chemflag": True, "bzeroflag": False},
    "chem, quadratic": {"chemflag": True, "quadraticflag": True},
}


def params_of(rcutfac: float = 4.4, **form: object) -> SnapParams:
    return SnapParams(("W", "Be"), twojmax=0, rcutfac=rcutfac, radii=(0.5, 0.43), weights=(1.0, -0.6), **form)


def check(params: SnapParams, atoms: Atoms, seed: int = 0) -> None:
    model = random_model(params, seed=seed)
    energies, forces, virial = closed_form.evaluate(params, model.theta, atoms)
    atoms.calc = MLIUQCalculator(model)
    np.testing.assert_allclose(atoms.get_potential_energies(), energies, rtol=1e-11, atol=1e-11, equal_nan=False)
    scale = max(np.abs(forces).max(), 1e-3)
    np.testing.assert_allclose(atoms.get_forces(), forces, rtol=0, atol=1e-11 * scale, equal_nan=False)
    if atoms.cell.rank == 3:
        found = -atoms.get_stress(voigt=False) * atoms.get_volume()
        np.testing.assert_allclose(found, virial, rtol=0, atol=1e-11 * np.abs(virial).max(), equal_nan=False)


@pytest.mark.parametrize("form", FORMS)
def test_every_form(form: str) -> None:
    params = params_of(**FORMS[form])
    atoms = random_atoms(params.elements, 7, [[5.6, 0.3, -0.2], [1.7, 4.9, 0.4], [-1.1, 0.9, 5.2]])
    check(params, atoms)


SHAPES = {
    "cube": np.diag([4.0, 4.0, 4.0]),
    "triclinic": np.array([[4.1, 0.2, 0.0], [1.9, 3.9, 0.3], [-1.2, 1.7, 4.2]]),
    "left-handed": np.array([[1.9, 3.9, 0.3], [4.1, 0.2, 0.0], [-1.2, 1.7, 4.2]]),
    "flat": np.array([[6.0, 0.0, 0.0], [0.0, 7.0, 0.0], [1.0, 0.0, 2.1]]),
    "sheared": np.array([[3.0, 0.0, 0.0], [13.0, 3.2, 0.0], [-7.0, 9.0, 4.0]]),
    "long": np.array([[2.3, 0.0, 0.0], [0.0, 2.4, 0.0], [0.0, 0.0, 19.0]]),
}


@pytest.mark.parametrize(
    "pbc", list(itertools.product([False, True], repeat=3)), ids=lambda p: "".join("fp"[x] for x in p)
)
@pytest.mark.parametrize("shape", SHAPES)
def test_neighbours_equal_ase(shape: str, pbc: tuple[bool, bool, bool]) -> None:
    atoms = random_atoms(("W", "Be"), 3, SHAPES[shape], True, closest=1.4)
    atoms.pbc = pbc
    atoms.positions[1] += 2 * atoms.cell[0] - 3 * atoms.cell[2]  # outside the cell
    for rcutfac in (1.7, 4.4, 9.1):
        check(params_of(rcutfac), atoms)


@pytest.mark.parametrize(
    ("cell", "pbc"),
    [
        (np.zeros((3, 3)), (False, False, False)),
        (np.diag([3.1, 0.0, 0.0]), (True, False, False)),
        (np.array([[3.1, 0.0, 0.0], [0.0, 0.0, 0.0], [0.5, 0.3, 2.9]]), (True, False, True)),
    ],
    ids=["no cell", "one vector", "two vectors"],
)
def test_cells_with_missing_vectors(cell: np.ndarray, pbc: tuple[bool, bool, bool]) -> None:
    atoms = Atoms("WBeW", positions=[[0, 0, 0], [1.5, 0.4, 1.1], [0.2, 2.0, -0.4]], cell=cell, pbc=pbc)
    check(params_of(), atoms)


class TestCutoff:
    """E(r) of a dimer: 2 β0 + 2 β1 ((1 + s)³ − 1), s = ½(1 + cos π(r − rmin0)/(R − rmin0))."""

    RMIN0, CUTOFF = 0.7, 4.4

    def dimer(self, twojmax: int = 0, **options: object):
        params = SnapParams(("W",), twojmax=twojmax, rcutfac=self.CUTOFF, rmin0=self.RMIN0, **options)
        model = random_model(params, seed=3)
        calculator = MLIUQCalculator(model, skin=0.0)

        def at(r: float) -> tuple[float, float]:
            atoms = Atoms("W2", positions=[[0, 0, 0], [r * 0.6, 0, r * 0.8]])
            atoms.calc = calculator
            return atoms.get_potential_energy(), atoms.get_forces()[0] @ [0.6, 0, 0.8]

        return model, at

    def test_energy_and_two_derivatives(self) -> None:
        model, at = self.dimer()
        beta0, beta1 = model.theta[0]
        rate = np.pi / (self.CUTOFF - self.RMIN0)
        for r in np.linspace(0.9, self.CUTOFF - 1e-3, 23):
            s, ds, dds = (
                0.5 * (1 + np.cos(rate * (r - self.RMIN0))),
                -0.5 * rate * np.sin(rate * (r - self.RMIN0)),
                -0.5 * rate**2 * np.cos(rate * (r - self.RMIN0)),
            )
            energy, slope = at(r)
            h = 1e-4
            curvature = (at(r + h)[1] - at(r - h)[1]) / (2 * h)
            assert energy == pytest.approx(2 * beta0 + 2 * beta1 * ((1 + s) ** 3 - 1), rel=1e-12)
            assert slope == pytest.approx(6 * beta1 * (1 + s) ** 2 * ds, rel=1e-10, abs=1e-12)
            exact = 6 * beta1 * (2 * (1 + s) * ds**2 + (1 + s) ** 2 * dds)
            assert curvature == pytest.approx(exact, abs=1e-5 * abs(beta1))

    @pytest.mark.parametrize("options", [{}, {"twojmax": 6}, {"twojmax": 4, "quadraticflag": True}])
    def test_energy_and_force_meet_zero_and_curvature_its_limit(self, options: dict) -> None:
        """s and s' vanish at the cutoff and s'' = ½ rate² there, so E ~ c ½ s''(0) ε², F ~ c s''(0) ε, and no more."""
        model, at = self.dimer(**options)
        lone = 2 * model.theta[0, 0]
        ratios = []
        for gap in (1e-2, 1e-3, 1e-4):
            energy, slope = at(self.CUTOFF - gap)
            ratios.append([(energy - lone) / gap**2, -slope / (2 * gap)])
        energy_ratio, slope_ratio = ratios[1]
        assert abs(slope_ratio) > 1e-4, "trivially zero"
        assert ratios[2][1] == pytest.approx(slope_ratio, rel=1e-2)
        assert ratios[0][1] == pytest.approx(slope_ratio, rel=1e-1)
        assert energy_ratio == pytest.approx(slope_ratio, rel=1e-2)
        if not options:
            rate = np.pi / (self.CUTOFF - self.RMIN0)
            assert ratios[2][1] == pytest.approx(2 * 3 * model.theta[0, 1] * rate**2 / 4, rel=1e-3)
        for r in (self.CUTOFF, self.CUTOFF + 1e-12, self.CUTOFF + 0.3):
            energy, slope = at(r)
            assert energy == pytest.approx(lone, rel=1e-14)
            assert slope == pytest.approx(0.0, abs=1e-14)

    def test_inner_switching_is_smooth_too(self) -> None:
        _, at = self.dimer(4, switchinnerflag=True, sinner=(2.0,), dinner=(0.6,))
        for edge in (1.4, 2.6):
            below, above = at(edge - 1e-6), at(edge + 1e-6)
            assert above[0] - below[0] == pytest.approx(2e-6 * above[1], abs=1e-10)
            assert below[1] == pytest.approx(above[1], abs=1e-4)
        inside = at(1.2)
        assert inside[1] == pytest.approx(0.0, abs=1e-14), "inside the inner switching the neighbour is not seen"
