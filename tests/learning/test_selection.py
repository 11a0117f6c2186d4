"""Selection: what a batch tells is what refits with it say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from mliuq import MliuqError, Model
from mliuq.descriptor.bispectrum import atomic_rows, descriptors, design_rows
from mliuq.learning import Selection, select
from mliuq.learning.label_rows import LABELS, fitted_weights
from scipy.optimize import lsq_linear
from systems import PARAMS, random_model

WEIGHTS = {"energy": 40.0, "forces": 1.0}
SETTINGS = {
    "snap.twojmax": 2,
    "snap.rcut": 4.2,
    "snap.elements": ["W"],
    "weights.energy": WEIGHTS["energy"],
    "weights.force": WEIGHTS["forces"],
    "solver.ridge": 1e-6,
    "data.test_fraction": 0.0,
    "posterior.kind": "ensemble",
    "posterior.calibrate": False,
    "posterior.members": 32,
}


def shaken(n: int, seed: int, *, amplitude: float = 0.2, size: int = 1, spread: float = 0.05) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        atoms = bulk("W", a=3.17 * (1 + rng.uniform(-spread, spread)), cubic=True) * (size, 1, 1)
        atoms.positions += rng.normal(scale=amplitude, size=atoms.positions.shape)
        found.append(atoms)
    return found


def labelled(structures: Sequence[Atoms], seed: int = 0) -> list[Atoms]:
    """Values of no meaning: A does not depend on them."""
    rng = np.random.default_rng(seed)
    found = []
    for atoms in structures:
        copy = atoms.copy()
        copy.calc = SinglePointCalculator(copy, energy=rng.normal(), forces=rng.normal(size=(len(copy), 3)))
        found.append(copy)
    return found


def fit(structures: Sequence[Atoms]) -> Model:
    return mliuq.fit(labelled(structures), settings=SETTINGS)


def factor(model: Model) -> np.ndarray:
    return model.arrays["extrapolation.factor"]


def log_det(model: Model) -> float:
    """½ ln det A."""
    return float(np.log(np.abs(np.diag(factor(model)))).sum())


@pytest.fixture(scope="module")
def known() -> list[Atoms]:
    return shaken(12, 0)


@pytest.fixture(scope="module")
def model(known: list[Atoms]) -> Model:
    return fit(known)


@pytest.fixture(scope="module")
def pool() -> list[Atoms]:
    return shaken(5, 1, amplitude=0.35, spread=0.1)


@pytest.fixture(scope="module")
def region() -> list[Atoms]:
    return shaken(2, 2, spread=0.3)


def refits(known: list[Atoms], pool: list[Atoms]) -> list[Model]:
    return [fit([*known, atoms]) for atoms in pool]


def variances(model: Model, structures: Sequence[Atoms]) -> np.ndarray:
    """tᵀA⁻¹t of all energies and forces."""
    x = np.concatenate(design_rows(structures, model.params))
    return np.sum(np.linalg.solve(factor(model).T, x.T) ** 2, axis=0)


def test_information_is_what_refits_gain(known: list[Atoms], model: Model, pool: list[Atoms]) -> None:
    gains = np.array([log_det(refit) - log_det(model) for refit in refits(known, pool)])
    assert np.ptp(gains) > 0.1
    found = [choice for choice in select(pool, model, 1).choices]
    assert found[0].index == gains.argmax()
    assert found[0].score == pytest.approx(gains.max(), rel=1e-8)
    alone = [select([atoms], model, 1).choices[0].score for atoms in pool]
    np.testing.assert_allclose(alone, gains, rtol=1e-8)


def test_a_batch_is_that_of_refits_one_by_one(known: list[Atoms], model: Model, pool: list[Atoms]) -> None:
    found = select(pool, model, 5)
    now, left = model, set(range(5))
    for step, choice in enumerate(found.choices):
        gains = {
            i: log_det(fit([*known, *(pool[k] for k in found.indices[:step]), pool[i]])) - log_det(now) for i in left
        }
        assert choice.index == max(gains, key=lambda i: gains[i])
        assert choice.score == pytest.approx(gains[choice.index], rel=1e-8)
        now = fit([*known, *(pool[k] for k in found.indices[: step + 1])])
        left.remove(choice.index)


def test_mean_information_is_that_of_refits(
    known: list[Atoms], model: Model, pool: list[Atoms], region: list[Atoms]
) -> None:
    before = variances(model, region)
    gains = [0.5 * np.log(before / variances(refit, region)).mean() for refit in refits(known, pool)]
    found = select(pool, model, 2, criterion="mean_information", region=region)
    assert found.indices[0] == int(np.argmax(gains))
    assert found.choices[0].score == pytest.approx(max(gains), rel=1e-8)
    now = fit([*known, pool[found.indices[0]]])
    before = variances(now, region)
    gains = [
        0.5 * np.log(before / variances(fit([*known, pool[found.indices[0]], atoms]), region)).mean()
        if i != found.indices[0]
        else -1.0
        for i, atoms in enumerate(pool)
    ]
    assert found.indices[1] == int(np.argmax(gains))
    assert found.choices[1].score == pytest.approx(max(gains), rel=1e-8)


def test_property_is_the_variance_that_refits_take_away(
    known: list[Atoms], model: Model, pool: list[Atoms], region: list[Atoms]
) -> None:
    weight = np.concatenate([[WEIGHTS["energy"], *[WEIGHTS["forces"]] * (3 * len(atoms))] for atoms in region])
    before = weight @ variances(model, region)
    shares = [1.0 - weight @ variances(refit, region) / before for refit in refits(known, pool)]
    found = select(pool, model, 1, criterion="property", target=region)
    assert found.indices == (int(np.argmax(shares)),)
    assert found.choices[0].score == pytest.approx(max(shares), rel=1e-8)


def test_property_of_a_combination_is_the_variance_that_refits_take_away(
    known: list[Atoms], model: Model, pool: list[Atoms], region: list[Atoms]
) -> None:
    c = [1.0, -0.5]
    row = sum(
        ci * len(atoms) * x
        for ci, atoms, x in zip(c, region, design_rows(region, model.params, forces=False), strict=True)
    )

    def variance(fitted: Model) -> float:
        return float(np.sum(np.linalg.solve(factor(fitted).T, row.T) ** 2))

    shares = [1.0 - variance(refit) / variance(model) for refit in refits(known, pool)]
    found = select(pool, model, 1, criterion="property", target=region, coefficients=c)
    assert found.indices == (int(np.argmax(shares)),)
    assert found.choices[0].score == pytest.approx(max(shares), rel=1e-8)
    other = select(pool, model, 1, criterion="property", target=region, coefficients=[1.0, 1.0])
    assert other.choices[0].score != pytest.approx(found.choices[0].score, rel=1e-3)


def test_a_propagated_property_is_the_combination_it_is(model: Model, pool: list[Atoms], region: list[Atoms]) -> None:
    """What members say of a combination of energies leads to the row that makes it."""
    c = [1.0, -0.5]
    by_rows = select(pool, model, 5, criterion="property", target=region, coefficients=c)
    row = sum(
        ci * len(atoms) * x
        for ci, atoms, x in zip(c, region, design_rows(region, model.params, forces=False), strict=True)
    )
    values = (model.members.reshape(32, -1) @ row.T)[:, 0] + 7.0
    values[3] = np.nan
    found = select(pool, model, 5, criterion="property", values=values)
    assert found.indices == by_rows.indices
    assert [a.score for a in found.choices] == pytest.approx([b.score for b in by_rows.choices], rel=1e-5)
    twice = select(pool, model, 5, criterion="property", values=[values, -1e3 * values])
    assert [a.score for a in twice.choices] == pytest.approx([b.score for b in by_rows.choices], rel=1e-5)


def test_a_property_that_is_not_linear_is_named(
    model: Model, pool: list[Atoms], caplog: pytest.LogCaptureFixture
) -> None:
    select(pool, model, 1, criterion="property", values=np.random.default_rng(0).normal(size=32))
    assert "is not linear in the weights" in caplog.text


def test_maxvol_makes_the_largest_volume(model: Model, pool: list[Atoms]) -> None:
    """Every atom of every structure in every place of the active set, by determinants."""
    active = model.arrays["extrapolation.active_set"][0]
    scale = np.abs(active).max(axis=0)
    volume = np.linalg.slogdet(active / scale)[1]
    best: list[np.ndarray] = []
    for atoms in pool:
        d = atomic_rows(descriptors(atoms, model.params), False)
        ratios = []
        for row, place in product(d, range(len(active))):
            swapped = active.copy()
            swapped[place] = row
            ratios.append(np.exp(np.linalg.slogdet(swapped / scale)[1] - volume))
        best.append(np.reshape(ratios, (len(atoms), -1)).max(axis=1))
    found = select(pool, model, 1, criterion="maxvol").choices[0]
    assert found.index == int(np.argmax([ratios.max() for ratios in best]))
    assert found.score == pytest.approx(best[found.index].max(), rel=1e-6)
    assert found.score == pytest.approx(best[found.index][found.atom], rel=1e-6)


def test_maxvol_sees_what_it_has_taken(model: Model, pool: list[Atoms]) -> None:
    twin = pool[0].copy()
    twin.rattle(1e-3, seed=1)
    far = [pool[0], twin, *shaken(3, 5)]
    found = select(far, model, 2, criterion="maxvol", similar=0.0)
    assert set(found.indices) != {0, 1}


def test_forces_err_is_the_calculators(model: Model, pool: list[Atoms]) -> None:
    sizes = [np.linalg.norm(mliuq.evaluate(model, atoms, ["forces_err"])["forces_err"], axis=1) for atoms in pool]
    found = select(pool, model, 5, criterion="forces_err")
    assert list(found.indices) == np.argsort([-size.max() for size in sizes]).tolist()
    for choice in found.choices:
        assert choice.score == pytest.approx(sizes[choice.index].max(), rel=1e-9)
        assert choice.atom == sizes[choice.index].argmax()
    assert found.unit == "eV/Å"


def test_representation_is_what_is_missing(known: list[Atoms], model: Model) -> None:
    """Five candidates, every score from the definition: design rows, a Gram matrix, bounded least squares."""
    labelled = known[:2]
    # Four atoms in the candidates: the forces on two are opposite, and neither says more.
    pool = shaken(4, 8, size=2) + shaken(1, 9, amplitude=0.4, size=2) + shaken(40, 8)[4:]
    candidates, everything = pool[:5], [*labelled, *pool]
    x = [design_rows([atoms], model.params, energy=False)[0][:, 1:] for atoms in everything]
    root = np.linalg.inv(np.linalg.cholesky(sum(one.T @ one for one in x)))
    gram = np.array([root @ one.T @ one @ root.T for one in x])
    taken = [0, 1]
    found = select(candidates, model, 3, criterion="representation", known=labelled, region=pool)
    for choice in found.choices:
        columns = gram[taken].reshape(len(taken), -1).T
        whole = np.eye(len(root))
        w = lsq_linear(columns, whole.ravel(), bounds=(1.0, np.inf), method="bvls", tol=1e-14).x
        missing = whole - np.tensordot(w, gram[taken], 1)
        scores = [np.sum(gram[2 + i] * missing) / np.linalg.norm(gram[2 + i]) / np.sqrt(len(root)) for i in range(5)]
        left = [i for i in range(5) if 2 + i not in taken]
        assert choice.index == max(left, key=lambda i: scores[i])
        assert choice.score == pytest.approx(scores[choice.index], rel=1e-7)
        rows = x[2 + choice.index] @ root.T
        of_atoms = np.sum((rows @ missing) * rows, axis=1).reshape(-1, 3).sum(axis=1)
        assert choice.atom == int(of_atoms.argmax())
        assert choice.reason.startswith(f"{100 * choice.score:.3g} % of the pool")
        taken.append(2 + choice.index)
    assert found.unit == "share"
    again = select(candidates, model, 3, criterion="representation", known=labelled, region=[*pool, *labelled])
    assert again == found, "labelled structures in the region count once"


def test_representation_is_of_the_pool_and_those_known(model: Model) -> None:
    """What is common comes first, copies or not; what labels stand for is not asked for again."""
    common, rare = shaken(40, 10), shaken(2, 11, amplitude=0.4)
    pool = [*rare, *common]
    assert select(pool, model, 1, criterion="representation").indices[0] >= 2
    assert select(pool, model, 1, criterion="representation", known=common[:20]).indices[0] < 2
    by_energy = [
        select(pool, model, 1, criterion="representation", rows=rows).choices[0] for rows in (["energy"], LABELS)
    ]
    assert by_energy[0].atom is None
    assert by_energy[0].score != by_energy[1].score
    last = select([bulk("W", cubic=True), *common[:4]], model, 5, criterion="representation").choices[-1]
    assert (last.index, last.score) == (0, pytest.approx(0.0, abs=1e-9))


def test_representation_draws_its_candidates(model: Model) -> None:
    pool = shaken(30, 12)
    one, again, other = (
        select(pool, model, 4, criterion="representation", shortlist=5, seed=seed).indices for seed in (0, 0, 1)
    )
    assert one == again
    assert len({*one, *other}) > 5, "one draw for all seeds"
    assert len(select(pool, model, 7, criterion="representation", shortlist=5).indices) == 7


def test_what_the_fit_knew_must_be_given(
    known: list[Atoms], model: Model, pool: list[Atoms], caplog: pytest.LogCaptureFixture
) -> None:
    select(pool, model, 1, criterion="representation", known=known)
    assert not caplog.text
    select(pool, model, 1, criterion="representation", known=known[2:])
    assert "2 of the 12 configurations of the fit are not among those known" in caplog.text


def test_random_is_the_seeds(model: Model) -> None:
    pool = shaken(20, 3)
    one, again, other = (select(pool, model, 5, criterion="random", seed=seed).indices for seed in (0, 0, 1))
    assert one == again != other


def all_criteria(region: list[Atoms]) -> list[dict[str, object]]:
    return [
        {},
        {"criterion": "mean_information", "region": region},
        {"criterion": "property", "target": region},
        {"criterion": "representation"},
        {"criterion": "representation", "region": region},
        {"criterion": "maxvol"},
        {"criterion": "forces_err"},
        {"criterion": "random"},
    ]


def test_blocks_of_any_size_choose_the_same(model: Model, region: list[Atoms]) -> None:
    pool = shaken(11, 4, spread=0.1)
    for options in all_criteria(region):
        one = select(pool, model, 4, **options)
        assert len(set(one.indices)) == 4
        for block in (1, 3, 100):
            assert select(pool, model, 4, block=block, **options) == one


def test_every_label_counts_as_the_fit_weighs_it(model: Model, pool: list[Atoms]) -> None:
    assert fitted_weights(model) == (40.0, 1.0, 0.0)

    def score(**options: object) -> float:
        return select(pool[:1], model, 1, **options).choices[0].score

    both = score()
    assert both == pytest.approx(score(weights=WEIGHTS), rel=1e-12)
    assert score(rows=["energy"]) < both > score(rows=["forces"])
    assert score(weights={**WEIGHTS, "energy": 4e4}) > both
    assert score(rows=["energy", "forces", "stress"]) == both, "the fit has no stress"
    assert score(weights={**WEIGHTS, "stress": 1e4}, rows=["energy", "forces", "stress"]) > both


def test_balance_of_the_fit_weighs_labels(known: list[Atoms]) -> None:
    settings = {**SETTINGS, "weights.energy": "auto"}
    chosen = mliuq.fit(labelled(known), settings=settings)
    assert fitted_weights(chosen) == (chosen.metadata["fit"]["balance"]["constants"]["energy"], 1.0, 0.0)
    near = mliuq.fit(labelled(known), settings={**SETTINGS, "weights.near_equilibrium": {}})
    assert fitted_weights(near) == (6.0, 1.0, 0.0), "two atoms: six components for each energy"


def test_the_worst_atom_is_named(model: Model) -> None:
    atoms = bulk("W", a=3.17, cubic=True) * (2, 2, 2)
    atoms.rattle(0.02, seed=0)
    atoms.positions[7] += (0.9, 0.2, 0.1)
    near = atoms.get_distances(7, np.arange(len(atoms)), mic=True) < 3.2
    for options in ({}, {"rows": ["energy"]}, {"criterion": "maxvol"}, {"criterion": "forces_err"}):
        choice = select([atoms], model, 1, **options).choices[0]
        assert near[choice.atom]
        assert f"atom {choice.atom}" in choice.reason


def test_duplicates_are_passed_over(model: Model, known: list[Atoms], pool: list[Atoms]) -> None:
    moved = pool[0].copy()
    moved.positions += 0.4
    moved.wrap()
    turned = pool[0].copy()
    turned.rotate(30, "z", rotate_cell=True)
    repeated = pool[0] * (1, 2, 1)
    doubled = [pool[0], pool[0].copy(), moved, turned, repeated, known[3].copy(), pool[1]]
    for options in ({"criterion": "random"}, {"criterion": "forces_err"}, {}):
        found = select(doubled, model, 7, **options)
        assert len(found.indices) == 2
        assert 6 in found.indices
        assert found.identical == 2, "a copy, and one that the model was fitted to"
        assert found.similar == 3
    assert len(select(doubled, model, 7, similar=0.0).indices) == 5
    assert select(doubled, model, 7, known=[pool[1]], similar=0.0).identical == 3
    assert select(doubled, model, 7, known=[turned]).indices == (6,)


def test_similar_is_a_distance(model: Model, pool: list[Atoms]) -> None:
    near = pool[0].copy()
    near.rattle(0.02, seed=2)
    assert select([pool[0], near], model, 2).similar == 0
    assert select([pool[0], near], model, 2, similar=0.5).similar == 1


def test_one_atom_among_many_makes_a_structure_of_its_own(model: Model) -> None:
    atoms = bulk("W", a=3.17, cubic=True) * 6
    atoms.rattle(0.05, seed=0)
    other_draw, defect, shaken_a_little = bulk("W", a=3.17, cubic=True) * 6, atoms.copy(), atoms.copy()
    other_draw.rattle(0.05, seed=1)
    defect.positions[11] += (0.5, 0.2, 0.1)
    shaken_a_little.rattle(2e-4, seed=2)
    found = select([atoms, other_draw, defect, shaken_a_little], model, 4, criterion="random")
    assert found.similar == 1
    assert {1, 2} < set(found.indices)


def test_a_shortlist_holds_the_best_by_themselves(model: Model, region: list[Atoms]) -> None:
    pool = shaken(12, 6, spread=0.1)
    alone = [select([atoms], model, 1, criterion="property", target=region).choices[0].score for atoms in pool]
    found = select(pool, model, 3, criterion="property", target=region, shortlist=3)
    assert set(found.indices) == set(np.argsort(alone)[-3:])
    assert found != select(pool, model, 3, criterion="property", target=region)


def test_what_is_kept_of_a_shortlist_changes_nothing(
    model: Model, region: list[Atoms], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = shaken(8, 7, spread=0.1)
    one = select(pool, model, 4, criterion="mean_information", region=region)
    monkeypatch.setattr("mliuq.learning.queue.BLOCK_NUMBERS", 700)
    assert select(pool, model, 4, criterion="mean_information", region=region) == one


def test_alloys_have_sets_and_energies_of_their_own() -> None:
    params = PARAMS["binary"]
    both = random_model(params, factor=True)
    atoms = bulk("W", a=3.2, cubic=True)
    mixed = Atoms("WBe", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=atoms.cell, pbc=True)
    found = select([atoms, mixed], both, 2, weights=WEIGHTS)
    assert sorted(found.indices) == [0, 1]
    assert select([mixed], both, 1, weights={"energy": 1.0}, rows=["energy"]).choices[0].atom in (0, 1)


def test_progress_is_told(model: Model, pool: list[Atoms]) -> None:
    told: list[tuple[str, int, int]] = []
    select(pool, model, 2, block=2, progress=lambda *what: told.append(what))
    assert ("looking through the pool", 5, 5) in told
    assert ("choosing", 2, 2) in told


def test_a_pool_may_be_any_iterable(model: Model, pool: list[Atoms]) -> None:
    assert select((atoms for atoms in pool), model, 2) == select(pool, model, 2)


def test_a_small_pool_gives_what_it_has(model: Model, pool: list[Atoms], caplog: pytest.LogCaptureFixture) -> None:
    assert len(select(pool, model, 9).indices) == 5
    assert "9 structures were asked for" in caplog.text


BAD: dict[str, tuple[dict[str, object], str]] = {
    "n": ({"n": 0}, "n is 0, expected at least 1"),
    "one structure": ({"pool": bulk("W", cubic=True)}, "pool is one Atoms, expected a list"),
    "no structure": ({"pool": [bulk("W"), "W"]}, r"pool\[1\] is str"),
    "no known": ({"known": bulk("W")}, "known is one Atoms"),
    "one region": ({"criterion": "mean_information", "region": bulk("W")}, "region is one Atoms"),
    "one target": ({"criterion": "property", "target": bulk("W")}, "target is one Atoms"),
    "no list": ({"pool": 3}, "pool is 3, expected a list"),
    "block": ({"block": 0}, "block is 0"),
    "shortlist": ({"shortlist": 0}, "shortlist is 0, expected at least 1"),
    "similar": ({"similar": 1.5}, "similar is 1.5"),
    "criterion": ({"criterion": "best"}, "criterion is 'best', expected one of information"),
    "no region": ({"criterion": "mean_information"}, "needs region"),
    "no target": ({"criterion": "property"}, "needs target"),
    "empty target": ({"criterion": "property", "target": []}, "needs target"),
    "both": ({"criterion": "property", "target": [bulk("W")], "values": np.zeros(32)}, "not both"),
    "idle values": ({"values": np.zeros(32)}, "values is given, but the criterion is 'information'"),
    "members": ({"criterion": "property", "values": np.zeros(31)}, "expected .properties, 32 members"),
    "few values": ({"criterion": "property", "values": [*np.arange(5.0), *[np.nan] * 27]}, "has 5 values"),
    "constant": ({"criterion": "property", "values": np.ones(32)}, "the same by every member"),
    "empty region": ({"criterion": "representation", "region": []}, "region is empty"),
    "rigid": ({"criterion": "representation", "pool": [bulk("W", cubic=True)]}, "no forces that depend on the weights"),
    "idle region": ({"region": [bulk("W")]}, "region is given, but the criterion is 'information'"),
    "idle coefficients": ({"coefficients": [1.0]}, "coefficients are given without target"),
    "coefficients": (
        {"criterion": "property", "target": [bulk("W")], "coefficients": [1.0, 2.0]},
        "expected 1 finite numbers",
    ),
    "rows": ({"rows": ["forces", "charges"]}, "rows has 'charges'"),
    "row": ({"rows": "forces"}, "rows has 'forces'"),
    "no rows": ({"rows": []}, "expected some of energy"),
    "weights": ({"weights": {"charge": 1.0}}, "weights has 'charge'"),
    "weight": ({"weights": {"energy": -1.0}}, "weight of energy is -1"),
    "no weight": ({"rows": ["stress"]}, "no weight to stress"),
    "element": ({"pool": [bulk("W", cubic=True), bulk("Cu")]}, "pool: configuration 1"),
    "silent": ({"criterion": "property", "target": [Atoms("W")], "rows": ["forces"]}, "every row of target is zero"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_error(case: str, model: Model, pool: list[Atoms]) -> None:
    options, message = BAD[case]
    given = {"pool": pool, "model": model, "n": 1, **options}
    with pytest.raises(MliuqError, match=message):
        select(**given)


@pytest.mark.parametrize(
    ("criterion", "message"),
    [("information", "extrapolation.factor"), ("maxvol", "extrapolation.active_set"), ("forces_err", "no members")],
)
def test_a_model_that_lacks_what_is_needed_says_so(
    criterion: str, message: str, model: Model, pool: list[Atoms]
) -> None:
    bare = replace(model, members=None, arrays={})
    with pytest.raises(MliuqError, match=message):
        select(pool, bare, 1, criterion=criterion)


def test_a_model_of_unknown_fit_asks_for_weights(model: Model, pool: list[Atoms]) -> None:
    with pytest.raises(MliuqError, match="how its fit weighed"):
        select(pool, replace(model, metadata={}), 1)


def test_a_selection_knows_its_order() -> None:
    assert Selection((), "random", "", 0, 0).indices == ()
