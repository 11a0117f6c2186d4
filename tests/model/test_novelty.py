"""Grade and density: what they are, what they do not depend on, and which files carry them."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase import Atoms
from mliuq import MLIUQCalculator, MliuqError, Model
from mliuq.ase.readings import read as read_quantity
from mliuq.core import read_model_file
from mliuq.descriptor.bispectrum import atomic_rows, descriptors
from mliuq.model import model_file
from mliuq.model.density import LEAST_NEIGHBOURS, UNLIKE, EnvironmentDensity, intrinsic_dimension
from mliuq.model.novelty import ACTIVE_SET, ELEMENT, ENVIRONMENTS, grade
from mliuq.readers import read_structures
from scipy.spatial.distance import cdist
from systems import PARAMS, random_atoms, random_model

RNG = np.random.default_rng


# --- intrinsic dimension ---------------------------------------------------------------------------------------------


def two_nearest(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distance = np.sort(cdist(points, points), axis=1)
    return distance[:, 1], distance[:, 2]


def circle(rng: np.random.Generator, n: int) -> np.ndarray:
    angle = rng.uniform(0.0, 2.0 * np.pi, n)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def sphere(rng: np.random.Generator, n: int) -> np.ndarray:
    x = rng.normal(size=(n, 3))
    return x / np.linalg.norm(x, axis=1)[:, None]


def curved(rng: np.random.Generator, n: int) -> np.ndarray:
    """Three parameters in forty dimensions."""
    x = rng.uniform(size=(n, 3))
    return np.concatenate([x, np.sin(3.0 * x), x**2], axis=1) @ RNG(5).normal(size=(9, 40))


SETS = {
    "line": (1, lambda rng, n: np.outer(rng.normal(size=n), [1.0, 2.0, -1.0])),
    "circle": (1, circle),
    "sphere": (2, sphere),
    "gaussian": (5, lambda rng, n: rng.normal(size=(n, 5))),
    "curved": (3, curved),
}


@pytest.mark.parametrize("name", list(SETS))
def test_dimension_of_sets_that_have_a_known_one(name: str) -> None:
    dimension, make = SETS[name]
    assert intrinsic_dimension(*two_nearest(make(RNG(0), 2000))) == pytest.approx(dimension, rel=0.12)


def test_dimension_does_not_depend_on_density() -> None:
    x = RNG(1).uniform(size=(2000, 2))
    assert intrinsic_dimension(*two_nearest(x**3)) == pytest.approx(2.0, rel=0.12)


def test_dimension_by_the_maximum_of_the_likelihood() -> None:
    """Pareto: without the tenth left out, 1/mean ln μ; both are near d for data that obey the law."""
    mu = RNG(2).pareto(7.0, size=5000) + 1.0
    assert intrinsic_dimension(np.ones(5000), mu) == pytest.approx(1.0 / np.log(mu).mean(), rel=0.05)


# --- density ---------------------------------------------------------------------------------------------------------


def by_hand(points: np.ndarray, new: np.ndarray, dimension: float, *, itself: bool = False) -> np.ndarray:
    """Ln ρ of each point by loops over all pairs of points of unit covariance."""
    most = min(100, len(points) - 1)
    own = np.sort(cdist(points, points), axis=1)[:, 1 : most + 1]
    found = []
    for row in cdist(new, points):
        order = np.argsort(row)[int(itself) :]
        chosen = most
        for k in range(1, most + 1):
            mine, theirs = row[order[k - 1]], own[order[k - 1], k - 1]
            v, u = mine**dimension, theirs**dimension
            if -2 * k * (np.log(v) + np.log(u) - 2 * np.log(v + u) + np.log(4)) >= UNLIKE:
                chosen = k - 1
                break
        k = max(chosen, min(LEAST_NEIGHBOURS, most))
        found.append(np.log(k / (len(points) - itself)) - dimension * np.log(row[order[k - 1]]))
    return np.array(found)


@pytest.mark.parametrize("n", [7, 60, 400])
def test_density_by_hand(n: int) -> None:
    rng = RNG(n)
    points = rng.normal(size=(n, 3)) * np.where(rng.uniform(size=(n, 1)) < 0.5, 1.0, 0.2)
    new = rng.normal(size=(20, 3)) * 2.0
    unit = np.linalg.inv(np.linalg.cholesky(np.cov(points.T))).T
    density = EnvironmentDensity(points)
    own = by_hand(points @ unit, points @ unit, density.dimension, itself=True)
    expected = by_hand(points @ unit, new @ unit, density.dimension) - np.median(own)
    np.testing.assert_allclose(density(new), expected, rtol=1e-8, atol=1e-8)


def test_distances_are_those_of_scikit_learn() -> None:
    neighbours = pytest.importorskip("sklearn.neighbors")
    points, new = RNG(0).normal(size=(300, 6)), RNG(1).normal(size=(30, 6))
    density = EnvironmentDensity(points)
    tree = neighbours.NearestNeighbors(n_neighbors=100, algorithm="brute").fit(points @ density._unit)
    distance, index = tree.kneighbors(new @ density._unit)
    expected = density._log_density(distance, index, 300) - density._typical
    np.testing.assert_allclose(density(new), expected, rtol=1e-9)


def test_density_follows_the_true_one() -> None:
    rng = RNG(3)
    points, new = rng.normal(size=(2000, 2)), rng.normal(size=(400, 2)) * 1.5
    truth = -0.5 * np.sum(new**2, axis=1)
    found = EnvironmentDensity(points)(new)
    near = truth > -3.0
    assert np.std((found - truth)[near]) < 0.35
    assert np.corrcoef(found, truth)[0, 1] > 0.9
    assert EnvironmentDensity(points)(np.array([[50.0, 0.0]]))[0] < found.min() - 3.0
    points[0, 0] = 1e200
    with pytest.raises(MliuqError, match="too far apart for a density"):
        EnvironmentDensity(points)


def test_density_does_not_depend_on_units_or_turns() -> None:
    rng = RNG(4)
    points, new = rng.normal(size=(200, 4)), rng.normal(size=(10, 4))
    mix = rng.normal(size=(4, 4)) + 3.0 * np.eye(4)
    np.testing.assert_allclose(EnvironmentDensity(points @ mix)(new @ mix), EnvironmentDensity(points)(new), rtol=1e-6)


def test_environments_that_are_all_alike_have_finite_densities() -> None:
    """And those that vary in nothing but rounding."""
    same = np.ones((8, 5))
    for points in (same, same + 1e-15 * RNG(0).normal(size=(8, 5)), np.concatenate([same, same + 1.0])):
        assert np.isfinite(EnvironmentDensity(points)(np.concatenate([points, points + 3.0]))).all()


# --- grade -----------------------------------------------------------------------------------------------------------


def test_grade_is_the_growth_of_the_volume() -> None:
    """γ > 1: the largest volume any exchange of one row for the new one makes, over the volume there is."""
    rng = RNG(0)
    d, new = rng.normal(size=(14, 4)), rng.normal(size=(5, 4)) * 2.0
    best = max(combinations(range(14), 4), key=lambda rows: abs(np.linalg.det(d[list(rows)])))
    active = d[list(best)]
    volume = abs(np.linalg.det(active))
    for row, found in zip(new, grade(new, active), strict=True):
        grown = []
        for slot in range(4):
            swapped = active.copy()
            swapped[slot] = row
            grown.append(abs(np.linalg.det(swapped)) / volume)
        assert found == pytest.approx(max(grown), rel=1e-10)
    assert grade(d, active).max() <= 1.0 + 1e-12, "none of the set enlarges the largest volume"
    np.testing.assert_allclose(grade(active, active), 1.0)


def test_an_active_set_without_volume_is_an_error() -> None:
    with pytest.raises(MliuqError, match="has no volume"):
        grade(np.ones((2, 3)), np.ones((3, 3)))


# --- of a model ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(small_model: Path) -> Model:
    return Model.load(small_model)


def novelty(model: Model, atoms: Atoms) -> dict[str, np.ndarray]:
    return MLIUQCalculator(model, threads=1).results_of(atoms, ["grade", "density", "extrapolation"])


def test_a_fit_stores_environments_that_differ(fitted: Model, tungsten_split: tuple[Path, Path]) -> None:
    environments = fitted.arrays[ENVIRONMENTS]
    assert 100 < len(environments) <= 1000
    np.testing.assert_array_equal(fitted.arrays[ELEMENT], 0.0)
    train = read_structures(tungsten_split[0])
    b = np.concatenate([descriptors(atoms, fitted.params) for atoms in train])
    known = {tuple(row) for row in b}
    assert {tuple(row) for row in environments} <= known
    spread = b.std(axis=0)
    coarse = np.round(environments / (0.01 * spread))
    assert len(np.unique(coarse, axis=0)) > 0.98 * len(environments)
    inside = fitted.novelty.density(b, np.zeros(len(b), np.int64))
    assert abs(np.median(inside)) < 1.5
    assert fitted.novelty.grade(b, np.zeros(len(b), np.int64)).max() < 1.11, "the tolerance of the active set"


def test_few_environments_are_stored_where_few_are_wanted(tungsten: Path) -> None:
    structures = read_structures(tungsten)[::12]
    common = {"snap.twojmax": 2, "posterior.members": 0, "data.test_fraction": 0.0}
    some = mliuq.fit(structures, settings={**common, "posterior.environments": 20})
    assert some.arrays[ENVIRONMENTS].shape == (20, some.params.n_components)
    other = mliuq.fit(structures, settings={**common, "posterior.environments": 20, "seed": 1})
    assert not np.array_equal(some.arrays[ENVIRONMENTS], other.arrays[ENVIRONMENTS])
    for none in ({"posterior.environments": 0}, {"posterior.extrapolation": False}):
        model = mliuq.fit(structures, settings={**common, **none})
        assert ENVIRONMENTS not in model.arrays
        assert "density" not in MLIUQCalculator(model).implemented_properties


def test_far_environments_are_told_by_all_three(fitted: Model, held_out: Path) -> None:
    usual = [novelty(fitted, atoms) for atoms in read_structures(held_out)[:20]]
    squeezed = Atoms("W2", positions=[[0, 0, 0], [1.3, 0, 0]], cell=[4, 4, 4], pbc=True)
    far = novelty(fitted, squeezed)
    assert far["grade"].min() > max(found["grade"].max() for found in usual)
    assert far["density"].max() < min(found["density"].min() for found in usual)
    assert far["grade"].min() > 1.0


@pytest.mark.parametrize("change", ["translation", "rotation", "permutation", "inversion", "supercell"])
def test_invariances(fitted: Model, change: str) -> None:
    atoms = random_atoms(("W",), 6, [[5.0, 0.3, 0.0], [0.0, 5.2, 0.4], [0.2, 0.0, 5.5]], seed=2, closest=2.0)
    before, order = novelty(fitted, atoms), np.arange(6)
    if change == "translation":
        atoms.positions += [0.7, -3.1, 11.0]
    elif change == "rotation":
        atoms.rotate(37.0, (1.0, 2.0, -0.5), rotate_cell=True)
    elif change == "inversion":
        atoms.set_cell(-atoms.cell.array, scale_atoms=True)
    elif change == "supercell":
        atoms, order = atoms.repeat((1, 2, 1)), np.tile(order, 2)
    else:
        order = RNG(0).permutation(6)
        atoms = atoms[order]
    after = novelty(fitted, atoms)
    for name, values in after.items():
        np.testing.assert_allclose(values, before[name][order], rtol=1e-7, atol=1e-8)


def test_each_element_has_its_own() -> None:
    params = PARAMS["binary"]
    rng = RNG(6)
    b = [rng.normal(size=(40, params.n_components)) + shift for shift in (0.0, 30.0)]
    active = np.stack([atomic_rows(part, False)[rng.permutation(40)][: params.n_weights] for part in b])
    model = with_arrays(
        random_model(params),
        {ACTIVE_SET: active, ENVIRONMENTS: np.concatenate(b), ELEMENT: np.repeat([0.0, 1.0], 40)},
    )
    new, element = np.concatenate([b[0][:3], b[1][:3]]), np.array([0, 0, 0, 1, 1, 1])
    found = model.novelty.density(new, element)
    np.testing.assert_allclose(found, np.concatenate([EnvironmentDensity(part)(part[:3]) for part in b]))
    assert model.novelty.density(new, 1 - element).max() < found.min()
    expected = [grade(atomic_rows(new[i : i + 1], False), active[e])[0] for i, e in enumerate(element)]
    np.testing.assert_allclose(model.novelty.grade(new, element), expected, rtol=1e-8)


def test_results_stay_with_their_positions(fitted: Model) -> None:
    atoms = random_atoms(("W",), 6, 5.2 * np.eye(3), seed=2, closest=2.0)
    atoms.calc = MLIUQCalculator(fitted)
    energy = atoms.get_potential_energy()
    first = atoms.calc.get_property("density", atoms)
    assert atoms.calc.results["energy"] == energy
    atoms.positions[0] += 0.3
    assert np.abs(atoms.calc.get_property("density", atoms) - first).max() > 0.0
    assert atoms.get_potential_energy() != energy


def test_a_guard_reads_the_grade_and_refuses_the_density(fitted: Model) -> None:
    """A density is low where a guard should act."""
    atoms = random_atoms(("W",), 6, 5.2 * np.eye(3), seed=2, closest=2.0)
    atoms.calc = MLIUQCalculator(fitted)
    assert read_quantity(atoms, "grade").value == atoms.calc.get_property("grade", atoms).max()
    with pytest.raises(MliuqError, match="quantity is 'density'"):
        read_quantity(atoms, "density")


# --- files -----------------------------------------------------------------------------------------------------------


def with_arrays(model: Model, arrays: dict[str, np.ndarray]) -> Model:
    return Model(model.params, model.theta, members=model.members, arrays={**model.arrays, **arrays})


def test_a_model_with_them_comes_back(fitted: Model, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.mliuq")
    again = Model.load(tmp_path / "m.mliuq")
    for name in (ACTIVE_SET, ENVIRONMENTS, ELEMENT):
        np.testing.assert_array_equal(again.arrays[name], fitted.arrays[name])
    read_model_file(str(tmp_path / "m.mliuq"))


K, P = PARAMS["binary"].n_components, PARAMS["binary"].n_weights
GOOD = {ACTIVE_SET: np.ones((2, P, P)), ENVIRONMENTS: np.zeros((4, K)), ELEMENT: np.array([0.0, 1.0, 1.0, 0.0])}
BAD: dict[str, dict[str, np.ndarray | None]] = {
    "active set of one element": {ACTIVE_SET: np.ones((1, P, P))},
    "active set that is flat": {ACTIVE_SET: np.ones((2, P * P))},
    "environments of another descriptor": {ENVIRONMENTS: np.zeros((4, K + 1))},
    "environments that are flat": {ENVIRONMENTS: np.zeros(4 * K)},
    "environments without shape": {ENVIRONMENTS: np.array(1.0)},
    "no elements": {ELEMENT: None},
    "no environments": {ENVIRONMENTS: None},
    "elements of fewer environments": {ELEMENT: np.zeros(3)},
    "elements that are a column": {ELEMENT: np.zeros((4, 1))},
    "an element that is not there": {ELEMENT: np.array([0.0, 1.0, 2.0, 0.0])},
    "an element below zero": {ELEMENT: np.array([0.0, 1.0, -1.0, 0.0])},
    "half an element": {ELEMENT: np.array([0.0, 0.5, 1.0, 0.0])},
}


@pytest.mark.parametrize("name", ["good", *BAD])
def test_both_readers_take_the_same_files(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.mliuq"
    model = random_model(PARAMS["binary"], members=2)
    model.save(path)
    arrays, metadata = model_file.read(path)
    changes = {**GOOD, **BAD.get(name, {})}
    metadata.pop("format_version")
    model_file.write(path, {**arrays, **{key: a for key, a in changes.items() if a is not None}}, metadata)
    for reader in (Model.load, lambda p: read_model_file(str(p))):
        if name == "good":
            reader(path)
        else:
            with pytest.raises(MliuqError, match=r"extrapolation.active_set|density\.") as caught:
                reader(path)
            assert str(path) in str(caught.value)
