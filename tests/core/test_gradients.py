"""Forces and stress against finite differences, and against the design rows a fit is made of."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from finite_differences import check_forces, check_gradient, check_stress
from mliuq import MLIUQCalculator, Model, SnapParams
from mliuq.descriptor.bispectrum import descriptors, design_rows
from systems import CELLS, PARAMS, random_atoms, random_model, structure


def away_from_kinks(
    kind: str, params: SnapParams, zbl: tuple[float, float] = (0.0, 0.0), closest: float = 1.7
) -> Atoms:
    """A structure no pair of which stands where a switching begins or ends: second derivatives jump there.

    Seeds and small changes of the cell are tried until one fits.
    """
    radii = [a + b for a in params.radii for b in params.radii]
    kinks = np.array([params.rcutfac * r for r in radii] + list(zbl) + [params.rmin0])
    if params.switchinnerflag:
        kinks = np.concatenate([kinks, np.add(params.sinner, params.dinner), np.subtract(params.sinner, params.dinner)])
    n, cell, pbc = CELLS[kind]
    for seed in range(300):
        atoms = random_atoms(params.elements, n, np.asarray(cell) * (1 + 3e-3 * seed), pbc, seed=seed, closest=closest)
        r = neighbor_list("d", atoms, kinks.max() + 0.1)
        if np.abs(r[:, None] - kinks).min() > 0.012:
            return atoms
    raise AssertionError("no such structure found")


def energy_of(model: Model):
    calculator = MLIUQCalculator(model, skin=0.0)

    def energy(atoms: Atoms) -> float:
        atoms.calc = calculator
        return atoms.get_potential_energy()

    return energy


def check_all(model: Model, atoms: Atoms) -> None:
    energy = energy_of(model)
    atoms.calc = MLIUQCalculator(model)
    if len(atoms) > 1:
        check_forces(energy, atoms, atoms.get_forces())
    else:
        # A lattice of one atom: forces vanish by symmetry, all of the gradient is in the stress.
        np.testing.assert_allclose(atoms.get_forces(), 0.0, atol=1e-12)
    if atoms.pbc.all():
        check_stress(energy, atoms, atoms.get_stress())


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", ["linear", "quadratic", "binary"])
def test_gradients_in_every_cell(kind: str, cell: str) -> None:
    check_all(random_model(PARAMS[kind]), away_from_kinks(cell, PARAMS[kind]))


@pytest.mark.parametrize("kind", [k for k in PARAMS if k not in ("linear", "quadratic", "binary", "plain")])
def test_gradients_of_every_descriptor(kind: str) -> None:
    check_all(random_model(PARAMS[kind]), away_from_kinks("triclinic", PARAMS[kind]))


def test_gradients_without_switching() -> None:
    # No neighbour may cross the cutoff, where this energy jumps: a cluster smaller than the cutoff.
    params = PARAMS["plain"]
    atoms = random_atoms(params.elements, 4, 1.9 * np.eye(3), False, closest=1.2)
    check_all(random_model(params), atoms)


@pytest.mark.parametrize("zbl", [(1.0, 2.0), (2.0, 3.5), (3.0, 5.5)])
def test_gradients_with_nuclear_repulsion(zbl: tuple[float, float]) -> None:
    params = PARAMS["binary"]
    model = random_model(params, zbl=zbl)
    atoms = away_from_kinks("triclinic", params, zbl, closest=1.3)
    check_all(model, atoms)
    bare, whole = energy_of(random_model(params))(atoms.copy()), energy_of(model)(atoms.copy())
    assert whole > bare + 0.1, "the repulsion adds nothing here"


def test_gradients_at_short_distance_where_repulsion_is_steep() -> None:
    model = random_model(PARAMS["linear"], zbl=(1.0, 2.0))
    atoms = Atoms("W2", positions=[[0, 0, 0], [0.3, 0.4, 0.3]])
    atoms.calc = MLIUQCalculator(model)
    check_forces(energy_of(model), atoms, atoms.get_forces(), h=3e-4)


@pytest.mark.parametrize("cell", ["triclinic", "tiny", "slab", "cluster"])
@pytest.mark.parametrize("kind", ["linear", "quadratic", "binary", "chem quadratic"])
def test_design_rows_times_weights_are_energy_forces_and_stress(kind: str, cell: str) -> None:
    params = PARAMS[kind]
    model, atoms = random_model(params), structure(cell, params, seed=1)
    atoms.calc = MLIUQCalculator(model)
    (rows,) = design_rows([atoms], params, stress=bool(atoms.pbc.all()))
    values = rows @ model.theta.ravel()
    n = len(atoms)
    assert values[0] * n == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    forces = atoms.get_forces().ravel()
    np.testing.assert_allclose(values[1 : 1 + 3 * n], forces, rtol=0, atol=1e-11 * max(1.0, np.abs(forces).max()))
    if atoms.pbc.all():
        check_gradient(values[1 + 3 * n :], atoms.get_stress(), rtol=1e-11, smallest=1e-6)


@pytest.mark.parametrize("cell", ["tiny", "triclinic", "cluster"])
@pytest.mark.parametrize("kind", ["linear", "chem"])
def test_descriptor_derivatives(kind: str, cell: str) -> None:
    params = PARAMS[kind]
    atoms = away_from_kinks(cell, params)
    rng = np.random.default_rng(1)
    step = rng.uniform(-1.0, 1.0, size=(len(atoms), 3))
    B, d = descriptors(atoms, params, derivatives=True)
    np.testing.assert_allclose(B, descriptors(atoms, params), rtol=0, atol=1e-12 * np.abs(B).max())
    found = np.zeros_like(B)
    np.add.at(found, d.centre, np.einsum("pxk,px->pk", d.values, step[d.atom]))
    # All atoms moved alike: nothing changes. That is also all a lattice of one atom can do.
    together = np.zeros_like(B)
    np.add.at(together, d.centre, d.values.sum(axis=1))
    np.testing.assert_allclose(together, 0.0, atol=1e-10 * np.abs(B).max())
    if len(atoms) == 1:
        return
    weights, h = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}, 1e-3
    expected = np.zeros_like(B)
    for n, w in weights.items():
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions += sign * n * h * step
            expected += sign * w / h * descriptors(moved, params)
    check_gradient(found, expected, rtol=1e-7)


class TestHarness:
    """What the harness must refuse."""

    def test_zero_gradients(self) -> None:
        with pytest.raises(AssertionError, match="trivially zero"):
            check_gradient(np.zeros((3, 3)), np.zeros((3, 3)))

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_values_that_are_not_finite(self, bad: float) -> None:
        with pytest.raises(AssertionError, match="not finite"):
            check_gradient([1.0, bad], [1.0, bad])

    def test_forces_off_by_one_in_a_million(self) -> None:
        model, atoms = random_model(PARAMS["linear"]), away_from_kinks("triclinic", PARAMS["linear"])
        atoms.calc = MLIUQCalculator(model)
        forces = atoms.get_forces()
        with pytest.raises(AssertionError, match="forces"):
            check_forces(energy_of(model), atoms, forces * (1 + 1e-6))
        with pytest.raises(AssertionError, match="stress"):
            check_stress(energy_of(model), atoms, atoms.get_stress() * (1 + 1e-6))
