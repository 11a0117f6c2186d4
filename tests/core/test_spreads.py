"""Spreads over the members, extrapolation and the committee, against plain numpy on the design features."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from mliuq import MLIUQCalculator, MliuqError, Model, SnapParams, descriptors
from mliuq.descriptor.neighbours import pack
from mliuq.descriptor.zbl import evaluate as zbl_energy
from systems import PARAMS, random_model, structure

# (descriptor, members): P < M and P > M, where the second moment is kept as one factor or the other; one member; and
# P > 512, where the factor is never made.
CASES = [
    ("linear", 1),
    ("linear", 7),
    ("linear", 150),
    ("quadratic", 3),
    ("quadratic", 300),
    ("binary", 40),
    ("chem", 90),
    ("chem quadratic", 20),
]


def features(model: Model, atoms: Atoms) -> np.ndarray:
    """D of every atom in the columns of its element, (N, n_elements * P), LAMMPS's order."""
    B = descriptors(atoms, model.params)
    columns = [np.ones((len(B), 1)), B]
    if model.params.quadraticflag:
        k = B.shape[1]
        columns += [B[:, i : i + 1] * B[:, j : j + 1] * (0.5 if i == j else 1.0) for i in range(k) for j in range(i, k)]
    D = np.hstack(columns)
    out = np.zeros((len(D), model.theta.size))
    for atom, element in enumerate(model.params.index_of(atoms.get_chemical_symbols())):
        out[atom, element * D.shape[1] : (element + 1) * D.shape[1]] = D[atom]
    return out


def close(found: np.ndarray | float, expected: np.ndarray | float, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12, equal_nan=False)


@pytest.mark.parametrize("zbl", [None, (2.0, 4.5)], ids=["", "zbl"])
@pytest.mark.parametrize("cell", ["triclinic", "tiny", "cluster"])
@pytest.mark.parametrize(("kind", "members"), CASES)
def test_against_numpy(kind: str, members: int, cell: str, zbl: tuple[float, float] | None) -> None:
    model = random_model(PARAMS[kind], members=members, seed=5, zbl=zbl, factor=True, noise=True)
    atoms = structure(cell, model.params, seed=4)
    n = len(atoms)
    D = features(model, atoms)
    best = D @ model.theta.ravel()
    of_members = D @ model.members.reshape(members, -1).T  # (N, M)
    assert of_members.std() > 1e-3 or members == 1

    calc = MLIUQCalculator(model)
    atoms.calc = calc
    energy, energies = atoms.get_potential_energy(), atoms.get_potential_energies()
    repulsion = 0.0 if zbl is None else zbl_energy(atoms, *zbl).energy
    close(energy, best.sum() + repulsion)
    own = energies - best  # the repulsion of each atom: no member moves it
    close(own.sum(), repulsion)
    if zbl is None:
        np.testing.assert_allclose(own, 0.0, atol=1e-11)

    r = calc.results
    std = np.sqrt(np.mean((of_members - best[:, None]) ** 2, axis=1))
    close(r["energies_std"], std)
    close(r["energies_min"], of_members.min(axis=1) + own)
    close(r["energies_max"], of_members.max(axis=1) + own)
    close(r["energies_err"], np.hypot(1.5 * std, 0.02))
    totals = of_members.sum(axis=0)
    total_std = np.sqrt(np.mean((totals - best.sum()) ** 2))
    close(r["energy_std"], total_std)
    close(r["energy_min"], totals.min() + repulsion)
    close(r["energy_max"], totals.max() + repulsion)
    close(r["energy_err"], np.hypot(1.5 * total_std, n * 0.02))
    assert calc.get_property("energy_comm", atoms).shape == (members,)
    close(calc.get_property("energy_comm", atoms), totals + repulsion)

    R = model.arrays["extrapolation.factor"]
    close(calc.get_property("extrapolation", atoms), np.sum(np.linalg.solve(R.T, D.T) ** 2, axis=0), 1e-8)


def test_more_weights_than_a_factor_is_made_for() -> None:
    params = PARAMS["chem quadratic"]
    assert params.n_weights > 512
    model = random_model(params, members=params.n_weights + 5, seed=1)
    atoms = structure("triclinic", params)
    best, of_members = features(model, atoms) @ model.theta.ravel(), None
    of_members = features(model, atoms) @ model.members.reshape(len(model.members), -1).T
    atoms.calc = MLIUQCalculator(model)
    atoms.get_potential_energy()
    close(atoms.calc.results["energies_std"], np.sqrt(np.mean((of_members - best[:, None]) ** 2, axis=1)))


def test_std_is_about_the_best_fit_not_about_the_mean_of_the_members() -> None:
    params = PARAMS["linear"]
    theta = random_model(params).theta
    members = np.repeat((theta + np.eye(1, params.n_weights))[None], 4, axis=0)  # all a constant 1 eV above
    atoms = structure("triclinic", params)
    atoms.calc = MLIUQCalculator(Model(params, theta, members=members))
    atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.calc.results["energies_std"], 1.0, rtol=1e-12)
    assert atoms.calc.results["energy_std"] == pytest.approx(len(atoms), rel=1e-12)


def test_members_equal_to_the_best_fit_have_no_spread() -> None:
    params = PARAMS["quadratic"]
    theta = random_model(params).theta
    atoms = structure("triclinic", params)
    atoms.calc = MLIUQCalculator(Model(params, theta, members=np.stack([theta] * 3)))
    energy = atoms.get_potential_energy()
    r = atoms.calc.results
    assert r["energy_std"] == 0.0
    np.testing.assert_array_equal(r["energies_std"], 0.0)
    close([r["energy_min"], r["energy_max"]], [energy, energy])
    close(r["energies_min"], r["energies"])
    assert r["energy_err"] == 0.0


def test_each_member_as_a_model_of_its_own_gives_its_entry_of_the_committee() -> None:
    model = random_model(PARAMS["binary"], members=4, zbl=(1.5, 3.0))
    atoms = structure("slab", model.params)
    atoms.calc = MLIUQCalculator(model)
    committee = atoms.calc.get_property("energy_comm", atoms)
    for member, expected in zip(model.members, committee, strict=True):
        atoms.calc = MLIUQCalculator(Model(model.params, member, zbl=model.zbl))
        assert atoms.get_potential_energy() == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("ask", ["spreads", "committee"])
def test_models_without_members_say_so(ask: str) -> None:
    params = PARAMS["linear"]
    potential = random_model(params).potential()
    with pytest.raises(MliuqError, match="a model without members, expected a model fitted with a posterior"):
        potential.evaluate(pack(structure("cube", params), params), **{ask: True})


@pytest.mark.parametrize("members", [0, 3])
def test_extrapolation_without_a_factor_says_so(members: int) -> None:
    params = PARAMS["linear"]
    potential = random_model(params, members=members).potential()
    assert not potential.has_extrapolation
    with pytest.raises(MliuqError, match=r"the model file has no extrapolation\.factor"):
        potential.evaluate(pack(structure("cube", params), params), extrapolation=True)


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (np.eye(4), "expected"),
        (np.diag(np.r_[0.0, np.ones(PARAMS["linear"].n_weights - 1)]), "singular at weight 0"),
    ],
)
def test_bad_extrapolation_factors_are_refused(factor: np.ndarray, message: str) -> None:
    params = PARAMS["linear"]
    with pytest.raises(MliuqError, match=message):
        Model(
            params,
            np.zeros((1, params.n_weights)),
            members=np.zeros((1, 1, params.n_weights)),
            arrays={"extrapolation.factor": factor},
        ).potential()


def test_extrapolation_needs_the_factor_of_the_fit_alone():
    rng = np.random.default_rng(3)
    atoms = bulk("W", cubic=True).repeat(2)
    atoms.rattle(0.1, seed=3)
    params = SnapParams(["W"], twojmax=4)
    p = params.n_weights
    factor = np.triu(rng.normal(size=(p, p))) + 10.0 * np.eye(p)
    bare = Model(params, rng.normal(size=(1, p)), arrays={"extrapolation.factor": factor})
    calculator = MLIUQCalculator(bare)
    assert "extrapolation" in calculator.implemented_properties
    assert "energy_std" not in calculator.implemented_properties
    found = calculator.get_property("extrapolation", atoms)
    d = np.column_stack([np.ones(len(atoms)), descriptors(atoms, params)])
    np.testing.assert_allclose(found, np.sum(np.linalg.solve(factor.T, d.T) ** 2, axis=0), rtol=1e-9)
    with_members = dataclasses.replace(bare, members=rng.normal(size=(5, 1, p)))
    np.testing.assert_array_equal(MLIUQCalculator(with_members).get_property("extrapolation", atoms), found)
    with pytest.raises(PropertyNotImplementedError):
        MLIUQCalculator(dataclasses.replace(bare, arrays={})).get_property("extrapolation", atoms)
