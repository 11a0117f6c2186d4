"""The implicit engine: derivatives of relaxed structures by the weights, energies to second order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import GPa
from finite_differences import check_gradient, derivative
from mliuq import propagation
from mliuq.descriptor.params import SnapParams
from mliuq.propagation import PropagationSettings, implicit
from mliuq.propagation.calculator import WeightsCalculator, weights_of
from mliuq.propagation.coordinates import deformed, strain_matrix
from mliuq.propagation.implicit import respond
from mliuq.propagation.point_defects import BulkModuli, bulk_modulus
from mliuq.propagation.prototypes import prototype
from mliuq.propagation.relax import Relaxed, relax

TIGHT = PropagationSettings(fmax=1e-9, steps=1000)


def along(model: mliuq.Model, member: int) -> Callable[[float], mliuq.Model]:
    """Weights a share t of the way from the best fit to a member."""
    assert model.members is not None
    step = model.members[member] - model.theta
    return lambda t: replace(weights_of(model), theta=model.theta + t * step)


def vacancy(model: mliuq.Model) -> Atoms:
    """A 2 × 2 × 2 cell of fcc without an atom, in the best fit's crystal."""
    at = relax(prototype("fcc", "W", cubic=True), WeightsCalculator(weights_of(model)), TIGHT, cell="free")
    cell = at.atoms.repeat(2)
    del cell[0]
    return cell


@pytest.fixture(scope="module")
def hcp(tame: mliuq.Model) -> tuple[Relaxed, implicit.Response]:
    calculator = WeightsCalculator(weights_of(tame))
    at = relax(prototype("hcp", "W"), calculator, TIGHT, cell="free")
    return at, respond(at.atoms, calculator, tame.members, cell="free", tolerance=0.0)


@pytest.fixture(scope="module")
def hole(tame: mliuq.Model) -> tuple[Relaxed, implicit.Response]:
    calculator = WeightsCalculator(weights_of(tame))
    at = relax(vacancy(tame), calculator, TIGHT)
    return at, respond(at.atoms, calculator, tame.members, tolerance=0.0)


def test_cells_follow_the_weights(tame: mliuq.Model, hcp: tuple[Relaxed, implicit.Response]) -> None:
    """dcell/dθ, all of it: a and c of hcp move by different shares."""
    at, response = hcp
    path = along(tame, 1)

    def cell(t: float) -> np.ndarray:
        again = relax(at.atoms, WeightsCalculator(path(t)), TIGHT, cell="free", start=at)
        return np.array([again.atoms.cell.lengths()[0], again.atoms.cell.lengths()[2]])

    h = 0.02
    expected = (8 * (cell(h) - cell(-h)) - (cell(2 * h) - cell(-2 * h))) / (12 * h)
    _, moves = response.predict(path(1.0).theta.ravel())
    strain = moves[-6:] / len(at.atoms)
    found = at.atoms.cell.lengths()[[0, 2]] * strain[[0, 2]]
    check_gradient(found, expected, rtol=1e-4, what="dcell/dθ")
    assert abs(strain[0] / strain[2] - 1) > 1e-2, "not an isotropic strain"


def test_atoms_follow_the_weights(tame: mliuq.Model, hole: tuple[Relaxed, implicit.Response]) -> None:
    """dX*/dθ of the neighbours of a vacancy."""
    at, response = hole
    path = along(tame, 0)

    def positions(t: float) -> np.ndarray:
        again = relax(at.atoms, WeightsCalculator(path(t)), TIGHT, start=at).atoms.positions
        return np.asarray(again - again.mean(axis=0))

    h = 0.05
    expected = (8 * (positions(h) - positions(-h)) - (positions(2 * h) - positions(-2 * h))) / (12 * h)
    _, moves = response.predict(path(1.0).theta.ravel())
    check_gradient(moves.reshape(-1, 3), expected, rtol=1e-3, what="dX*/dθ")


@pytest.mark.parametrize("which", ["hcp", "hole"])
def test_energies_are_right_to_second_order(which: str, tame: mliuq.Model, request: pytest.FixtureRequest) -> None:
    """The error of the energy falls as t³, where the energy itself and its relaxation do not vanish."""
    at, response = request.getfixturevalue(which)
    path = along(tame, 2)
    cell = "free" if which == "hcp" else "fixed"
    errors, relaxed = [], []
    for t in (0.4, 0.2):
        weights = path(t)
        energy, _ = response.predict(weights.theta.ravel())
        errors.append(relax(at.atoms, WeightsCalculator(weights), TIGHT, cell=cell, start=at).energy - energy)
        relaxed.append(energy - response.energy - response.energy_row @ (weights.theta.ravel() - response.theta))
    assert relaxed[1] < 0, "relaxing lowers the energy"
    assert relaxed[0] / relaxed[1] == pytest.approx(4.0, rel=1e-6)
    assert abs(errors[0]) < 0.3 * abs(relaxed[0])
    assert errors[0] / errors[1] == pytest.approx(8.0, rel=0.35)


def test_an_imposed_strain_enters_like_weights(tame: mliuq.Model, hole: tuple[Relaxed, implicit.Response]) -> None:
    at, response = hole
    path = along(tame, 3)
    errors = []
    for t in (0.4, 0.2):
        voigt = t * 0.02 * np.array([1.0, 0.5, -0.3, 0.4, 0.2, -0.6])
        stretch = np.eye(3) + strain_matrix(voigt)
        guess = deformed(at.atoms, stretch)
        again = relax(at.atoms, WeightsCalculator(path(t)), TIGHT, start=at, guess=guess)
        energy, moves = response.predict(path(t).theta.ravel(), voigt)
        errors.append(again.energy - energy)
        inner = again.atoms.positions @ np.linalg.inv(stretch) - at.atoms.positions
        inner -= inner.mean(axis=0)
        np.testing.assert_allclose(moves.reshape(-1, 3), inner, atol=0.25 * np.abs(inner).max())
    assert errors[0] / errors[1] == pytest.approx(8.0, rel=0.4)


@pytest.fixture(scope="module")
def pair(tame: mliuq.Model) -> tuple[Relaxed, implicit.Response]:
    """Two vacancies that leave little symmetry."""
    cell = vacancy(tame)
    del cell[5]
    calculator = WeightsCalculator(weights_of(tame))
    at = relax(cell, calculator, TIGHT)
    return at, respond(at.atoms, calculator, tame.members)


def relaxation(response: implicit.Response, members: np.ndarray) -> np.ndarray:
    """What relaxing lowers the energy of each member by, as the response has it."""
    linear = response.energy + (members.reshape(len(members), -1) - response.theta) @ response.energy_row
    return linear - [response.predict(theta.ravel())[0] for theta in members]


def test_large_cells_in_a_space_that_members_share(
    tame: mliuq.Model, pair: tuple[Relaxed, implicit.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few directions of all; what they leave out of the energy is stated, is no gain, and shrinks as asked."""
    at, dense = pair
    monkeypatch.setattr(implicit, "DENSE_ATOMS", 0)
    expected = relaxation(dense, tame.members)
    for tolerance in (0.1, 1e-5):
        few = respond(at.atoms, WeightsCalculator(weights_of(tame)), tame.members, tolerance=tolerance)
        assert few.directions < dense.directions / 3
        missing = expected - relaxation(few, tame.members)
        assert (missing > -1e-5 * expected).all()
        assert 0.0 < few.error <= tolerance
        assert missing.sum() / expected.sum() < 3 * few.error + 2e-5, "what differences of forces cost"
        np.testing.assert_allclose(few.basis.T @ few.basis, np.eye(few.directions), atol=1e-10)
    for member in range(3):
        moves, known = (r.predict(tame.members[member].ravel())[1] for r in (few, dense))
        np.testing.assert_allclose(moves, known, atol=5e-3 * np.abs(known).max())


def test_a_structure_that_is_not_solved_says_so(
    tame: mliuq.Model, pair: tuple[Relaxed, implicit.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(implicit, "DENSE_ATOMS", 0)
    monkeypatch.setattr(implicit, "MOST_DIRECTIONS", 2)
    with pytest.raises(mliuq.MliuqError, match=r"missing after [23] directions, expected 1e-05"):
        respond(pair[0].atoms, WeightsCalculator(weights_of(tame)), tame.members, tolerance=1e-5)


def test_predicted_stress_is_the_slope_of_the_predicted_energy(
    tame: mliuq.Model, hole: tuple[Relaxed, implicit.Response]
) -> None:
    response = hole[1]
    theta = tame.members[1].ravel()
    voigt = 0.01 * np.array([1.0, 0.5, -0.3, 0.4, 0.2, -0.6])
    expected = [derivative(lambda t, k=k: response.predict(theta, voigt + t * np.eye(6)[k])[0], 1e-3) for k in range(6)]
    check_gradient(response.slope(theta, voigt), np.array(expected), rtol=1e-6, what="dE/dε")


def test_the_stress_of_a_cell_that_is_held_is_predicted(
    tame: mliuq.Model, hole: tuple[Relaxed, implicit.Response]
) -> None:
    at, response = hole
    start = replace(at, response=response)
    settings = replace(TIGHT, engine="implicit", corrections=0)
    errors = []
    for t in (0.2, 0.1):
        calculator = WeightsCalculator(along(tame, 0)(t))
        guess = deformed(at.atoms, (1 + 0.05 * t) * np.eye(3))
        predicted = relax(at.atoms, calculator, settings, start=start, guess=guess)
        again = relax(at.atoms, calculator, TIGHT, start=at, guess=guess).atoms
        again.calc = calculator
        assert predicted.stress is not None
        errors.append(np.abs(predicted.stress - again.get_stress()).max() / np.abs(again.get_stress()).max())
    assert errors[0] < 0.1
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.3), "relative to a stress that is of first order"


@pytest.mark.parametrize("which", ["hcp", "hole", "strained"])
def test_corrections_end_at_what_relaxes(
    which: str, tame: mliuq.Model, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a member that is far away, where second order is far off."""
    monkeypatch.setattr(implicit, "SETTLED", 0.0)
    monkeypatch.setattr(implicit, "ASTRAY", np.inf)
    monkeypatch.setattr(implicit, "LOST", np.inf)
    at, response = request.getfixturevalue("hcp" if which == "hcp" else "hole")
    start = replace(at, response=response)
    calculator = WeightsCalculator(along(tame, 0)(2.0 if which == "strained" else 4.0))
    guess = deformed(at.atoms, 1.01 * np.eye(3)) if which == "strained" else None
    cell = "free" if which == "hcp" else "fixed"
    again = relax(at.atoms, calculator, TIGHT, cell=cell, start=at, guess=guess)
    errors = []
    for corrections in (0, 1, 2, 12):
        settings = replace(TIGHT, engine="implicit", corrections=corrections)
        found = relax(at.atoms, calculator, settings, cell=cell, start=start, guess=guess)
        assert (found.stress is None) == (corrections > 0 or cell == "free")
        errors.append(abs(found.energy - again.energy))
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[3] < 1e-8 * abs(again.energy)
    np.testing.assert_allclose(found.atoms.cell.lengths(), again.atoms.cell.lengths(), rtol=1e-5)
    shift = found.atoms.positions - again.atoms.positions
    np.testing.assert_allclose(shift - shift.mean(axis=0), 0.0, atol=1e-4)


def test_lattice_constant_of_two_weights_in_closed_form() -> None:
    """E(a) = β0 + β1 B1(a) + β2 B2(a): da/dβk = −B'k/E″, and bulk moduli and energies follow."""
    params = SnapParams(("W",), twojmax=1, rcutfac=4.7)
    assert params.n_components == 2

    def B(a: float) -> np.ndarray:
        return mliuq.descriptors(bulk("W", "bcc", a), params)[0]

    # Weights that put the minimum at 3.2 Å: β1 B1' + β2 B2' = 0 there, and E″ > 0.
    a0 = 3.2
    slope = np.array([derivative(lambda t, k=k: B(a0 + t)[k], 1e-3) for k in range(2)])
    curve = np.array([derivative(lambda t, k=k: derivative(lambda s: B(a0 + t + s)[k], 1e-3), 1e-3) for k in range(2)])
    beta = np.array([slope[1], -slope[0]])
    beta *= 30.0 / (beta @ curve)
    theta = np.array([[-3.0, *beta]])
    moves = 0.01 * np.array([[0.0, 0.0, 0.02], [0.0, 0.01, 0.0], [0.05, -0.01, 0.01]]) * np.abs(beta).max()
    model = mliuq.Model(params, theta, members=theta + moves[:, None, :])
    found = propagation.eos(
        model, ["bcc"], settings=PropagationSettings(engine="implicit", corrections=0, fmax=1e-8, max_failed=1.0)
    )
    stiffness = beta @ curve
    assert found["bcc", "volume"].best == pytest.approx(a0**3 / 2, rel=1e-6)
    da = -(moves[:, 1:] @ slope) / stiffness
    np.testing.assert_allclose(found["bcc", "volume"].members, a0**3 / 2 * (1 + da / a0) ** 3, rtol=1e-6)
    energy = theta[0, 0] + beta @ B(a0) + moves[:, 0] + moves[:, 1:] @ B(a0)
    np.testing.assert_allclose(
        found["bcc", "energy"].members, energy - 0.5 * (moves[:, 1:] @ slope) ** 2 / stiffness, rtol=1e-8
    )
    # V E″(V) at the minimum: a E″(a) × (da/dV)² V, V = a³/2
    narrow = propagation.eos(model, ["bcc"], span=0.002, settings=PropagationSettings(fmax=1e-9, max_failed=1.0))
    assert narrow["bcc", "bulk modulus"].best == pytest.approx(
        stiffness * (2 / (3 * a0**2)) ** 2 * a0**3 / 2 / GPa, rel=1e-4
    )


def test_bulk_moduli_of_members_follow_from_rows(tame: mliuq.Model) -> None:
    calculator = WeightsCalculator(weights_of(tame))
    crystal = relax(prototype("bcc", "W", cubic=True), calculator, TIGHT, cell="free")
    moduli = BulkModuli.of(crystal, tame.params)
    for member, factor in ((0, 1.0), (1, 0.93), (2, 1.06)):
        weights = weights_of(tame, member)
        there = replace(crystal, atoms=deformed(crystal.atoms, np.cbrt(factor) * np.eye(3)))
        expected = bulk_modulus(there, WeightsCalculator(weights))
        found = moduli.at(there.atoms.get_volume(), weights.theta.ravel())
        assert found == pytest.approx(expected, rel=1e-5 if factor == 1.0 else 2e-2)


def test_formation_volumes_by_both_engines(tame: mliuq.Model) -> None:
    near = replace(tame, members=tame.theta + 0.1 * (tame.members - tame.theta))
    found = propagation.defects(
        near, host="fcc", size=2, settings=PropagationSettings(engine="both", corrections=0, fmax=1e-6)
    )
    for line in found.comparisons["implicit"]:
        assert line["std_implicit"] == pytest.approx(line["std"], rel=0.1)
        assert 0 < line["rms"] < 0.1


@pytest.mark.parametrize("lost", ["at the end", "at once", "between atoms"])
def test_members_that_corrections_lead_astray_relax(
    lost: str, tame: mliuq.Model, hole: tuple[Relaxed, implicit.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    at, response = hole
    calculator = WeightsCalculator(along(tame, 0)(4.0))
    if lost == "at the end":
        monkeypatch.setattr(implicit, "ASTRAY", 1e-6)
    elif lost == "at once":
        monkeypatch.setattr(implicit, "LOST", 1e-6)
        monkeypatch.setattr(implicit, "ASTRAY", 2e-6)
        monkeypatch.setattr(implicit, "SETTLED", 0.0)
    else:
        response = replace(response, basis=0.0 * response.basis, softness=np.nan * response.softness)
    settings = replace(TIGHT, engine="implicit", corrections=2)
    found = relax(at.atoms, calculator, settings, start=replace(at, response=response))
    again = relax(at.atoms, calculator, TIGHT, start=at)
    assert found.energy == pytest.approx(again.energy, abs=1e-10)
    np.testing.assert_allclose(found.atoms.positions, again.atoms.positions, atol=1e-9)


def test_corrections_end_when_nothing_is_left(hole: tuple[Relaxed, implicit.Response], tame: mliuq.Model) -> None:
    """A parabola is solved at the second of ten steps."""
    _, response = hole
    stiff = 2.0 * np.linalg.inv(response.softness)
    pull = response.pull(tame.members[0].ravel())
    places: list[np.ndarray] = []

    def evaluate(u: np.ndarray) -> tuple[float, np.ndarray]:
        y = response.basis.T @ u
        places.append(y)
        return float(0.5 * y @ stiff @ y - pull @ y), response.basis @ (pull - stiff @ y)

    found = implicit.correct(response, evaluate, pull, 10)
    assert found is not None
    exact = np.linalg.solve(stiff, pull)
    assert len(places) == 2
    np.testing.assert_allclose(response.basis.T @ found[1], exact, rtol=1e-6, atol=1e-9)
    assert found[0] == pytest.approx(-0.5 * pull @ exact, rel=1e-9)


def test_there_is_nothing_to_correct_where_nothing_moves(hole: tuple[Relaxed, implicit.Response]) -> None:
    _, response = hole
    still = np.zeros(response.basis.shape[1])
    found = implicit.correct(response, lambda u: (3.0 + u @ u, np.zeros_like(u)), still, 4)
    assert found is not None
    assert found[0] == 3.0
    assert not found[1].any()


@pytest.mark.parametrize("corrections", [0, 2])
def test_both_engines_are_compared(corrections: int, tame: mliuq.Model) -> None:
    near = replace(tame, members=tame.theta + 0.1 * (tame.members - tame.theta))
    settings = PropagationSettings(engine="both", corrections=corrections, fmax=1e-6)
    found = propagation.eos(near, ["bcc", "fcc"], settings=settings)
    lines = {(x["object"], x["quantity"]): x for x in found.comparisons["implicit"]}
    assert set(lines) == {(e.object, e.quantity) for e in found.estimates}
    for line in lines.values():
        assert line["members"] == near.n_members
        assert line["std_implicit"] == pytest.approx(line["std"], rel=0.1)
        assert 0 < line["rms"] < (0.002 if corrections else 0.1)
    assert found.settings["engine"] == "both"
