"""How a round chooses, and in which order a pool is looked at."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from mliuq import Model
from mliuq.errors import MliuqError
from mliuq.learning import choosing, queue
from mliuq.learning.duplicates import Seen, signature
from mliuq.learning.information import Information, MeanInformation, PropertyVariance
from mliuq.learning.selection import Choice, Selection
from mliuq.learning.settings import LearnSettings
from systems import PARAMS, random_model

CHANGES: dict[str, Any] = {
    "seed": 7, "start.structures": ("s",), "label.command": "c", "select.similar": 0.25, "select.rows": ("forces",),
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model(replace(PARAMS["plain"], twojmax=2), members=6, noise=True)


def cells(*sizes: int) -> list[Atoms]:
    found = []
    for index, n in enumerate(sizes):
        atoms = bulk("W", cubic=True) * (n, 1, 1)
        atoms.rattle(0.05 * (index + 1), seed=index)
        atoms.info["step"] = index
        found.append(atoms)
    return found


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `select` was asked, and its answer: the second of the pool, then the first."""
    given: dict[str, Any] = {}

    def select(pool: Any, model: Any, n: int, **named: Any) -> Selection:
        given.update(named, pool=pool, model=model, n=n)
        return Selection((Choice(1, 0.5, 3, "why"), Choice(0, 0.25, None, "drawn")), "random", "", 0, 0)

    monkeypatch.setattr(choosing, "select", select)
    return given


def test_what_a_round_asks_for(model: Model, chosen: dict[str, Any]) -> None:
    settings, pool, known = LearnSettings().updated(CHANGES), cells(1, 2), cells(1)
    batch, facts = choosing.choose(pool, known, model, settings, 5, 3, save=0.5)
    state = int(np.random.SeedSequence([7, 3]).generate_state(1)[0])
    assert chosen == {
        "pool": pool, "model": model, "n": 5, "criterion": "information", "rows": ("forces",), "region": None,
        "target": None, "known": known, "similar": 0.25, "seed": state, "threads": 1,
    }  # fmt: skip
    assert [len(atoms) for atoms in batch] == [4, 2]
    assert [atoms.info for atoms in batch] == [
        {"step": 1, "select_score": 0.5, "select_reason": "why"},
        {"step": 0, "select_score": 0.25, "select_reason": "drawn"},
    ]
    assert "select_score" not in pool[0].info
    assert facts == [
        {"index": 1, "score": 0.5, "atom": 3, "reason": "why", "atoms": 4, "left_out": None},
        {"index": 0, "score": 0.25, "atom": None, "reason": "drawn", "atoms": 2, "left_out": None},
    ]
    region, target = cells(1), cells(2)
    choosing.choose(pool, known, model, settings, 5, 4, region=region, target=target, save=0.5)
    assert (chosen["region"], chosen["target"]) == (region, target)
    assert chosen["seed"] != state


def test_large_frames_are_carved_about_their_atom(
    model: Model, chosen: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = LearnSettings().updated(CHANGES | {"select.max_atoms": 3})
    pool = cells(2, 2)
    asked: list[Any] = []

    def carve(atoms: Atoms, centre: int, model: Model, **named: Any) -> Atoms:
        asked.append((atoms.info["step"], centre, named))
        if len(asked) == 1:
            raise MliuqError("no cell")
        cell = atoms[:3].copy()
        cell.info = {"carve_rest_err": 0.5, "step": "its own"}
        return cell

    monkeypatch.setattr(choosing, "carve", carve)
    caplog.set_level(logging.WARNING)
    batch, facts = choosing.choose(pool, [], model, settings, 2, 3, save=0.75)
    named = {"save": 0.75, "seed": chosen["seed"], "threads": 1}
    from mliuq import evaluate

    worst = int(np.linalg.norm(evaluate(model, pool[0], ["forces_err"])["forces_err"], axis=1).argmax())
    assert asked == [(1, 3, named), (0, worst, named)], "without an atom, the one of the largest bar"
    assert [fact["left_out"] for fact in facts] == ["no cell", None]
    assert [fact["atoms"] for fact in facts] == [4, 3]
    (cell,) = batch
    assert cell.info == {"carve_rest_err": 0.5, "step": "its own", "select_score": 0.25, "select_reason": "drawn"}
    assert caplog.messages == ["frame 1 is not labelled: no cell"]
    monkeypatch.setattr(choosing, "carve", lambda atoms, *given, **named: atoms.copy())
    _, facts = choosing.choose(pool, [], model, settings, 2, 3, save=0.5)
    assert facts[0]["left_out"] == "the cell about atom 3 has 4 atoms, expected at most 3"
    batch, _ = choosing.choose(
        cells(1, 1), [], model, LearnSettings().updated(CHANGES | {"select.max_atoms": 2}), 2, 3, save=0.5
    )
    assert len(batch) == 2, "as many atoms as may be"


# the queue ------------------------------------------------------------------------------------------------------------


class Judge:
    """Scores are what a test says; what is prepared is the place and an array of a size."""

    falls = True

    def __init__(self, scores: dict[int, list[float]], size: int = 1) -> None:
        self.scores, self.size, self.prepared = scores, size, []

    def prepare(self, structures: list[Atoms], indices: list[int]) -> list[Any]:
        assert len(structures) == len(indices)
        self.prepared.append(list(indices))
        return [np.full(self.size, index) for index in indices]

    def score(self, prepared: Any) -> float:
        own = self.scores[int(prepared[0])]
        return own.pop(0) if len(own) > 1 else own[0]


def blocks(judge: Any, sizes: list[int], size: int, per_atom: int = 3) -> queue.Blocks:
    return queue.Blocks([Atoms(f"W{n}") for n in sizes], judge, size, per_atom)


def test_blocks_are_bounded_by_structures_and_by_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "BLOCK_NUMBERS", 12)
    for sizes, size, expected in (
        ([1] * 5, 2, [[0, 1], [2, 3], [4]]),
        ([1] * 5, 9, [[0, 1, 2, 3], [4]]),  # 4 · 3 numbers fill a block
        ([2, 3, 1, 4, 5, 1], 9, [[0], [1, 2], [3], [4], [5]]),
        ([], 9, []),
    ):
        judge = Judge({})
        found = blocks(judge, sizes, size).prepared(np.arange(len(sizes)))
        assert [places for places, _ in found] == expected == judge.prepared
    judge = Judge({})
    assert blocks(judge, [1] * 5, 3).one(3)[0] == 3
    assert [places for places, _ in blocks(judge, [1] * 5, 2).prepared(np.array([4, 1, 2]))] == [[4, 1], [2]]


def test_the_structure_that_cannot_be_evaluated_is_named() -> None:
    class Failing(Judge):
        def prepare(self, structures: list[Atoms], indices: list[int]) -> list[Any]:
            if 2 in indices:
                raise MliuqError("odd")
            return super().prepare(structures, indices)

    with pytest.raises(MliuqError, match=r"^pool: configuration 2.*: odd$"):
        list(blocks(Failing({}), [1] * 4, 9).prepared(np.arange(4)))


def taken(found: queue.Queue, n: int) -> list[tuple[int, float]]:
    order = []
    for _ in range(n):
        best = found.best()
        assert best is not None
        index, score, one = best
        assert one[0] == index
        order.append((index, score))
        found.taken()
    assert found.best() is None or n < 4
    return order


def test_scores_that_fall_are_made_again_as_few_as_need_be() -> None:
    judge: Any = Judge({0: [5.0], 1: [1.0, 0.5], 2: [7.0], 3: [6.0, 2.0, 1.5]})
    start = np.array([5.0, 4.0, 7.0, 6.5])
    found = queue.Lazy(np.arange(4), start, judge, blocks(judge, [1] * 4, 9))
    assert taken(found, 4) == [(2, 7.0), (3, 6.0), (0, 5.0), (1, 1.0)], "that of 1 at its turn alone"
    assert [len(one) for one in judge.prepared] == [1] * len(judge.prepared)
    ties: Any = Judge({i: [1.0] for i in range(4)})
    found = queue.Lazy(np.arange(4), np.ones(4), ties, blocks(ties, [1] * 4, 9))
    assert [index for index, _ in taken(found, 4)] == [0, 1, 2, 3]


def test_a_shortlist_scores_all_it_has_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "BLOCK_NUMBERS", 10)
    judge: Any = Judge({0: [3.0, 9.0], 1: [2.0, 1.0], 2: [0.0], 3: [4.0], 4: [8.0, 8.5]}, size=4)
    start = np.array([3.0, 2.0, 0.0, 4.0, 5.0])
    found = queue.Shortlist(np.arange(5), start, judge, blocks(judge, [1] * 5, 9), 4)
    assert found.best()[:2] == (4, 5.0)  # type: ignore[index]
    found.taken()
    assert judge.prepared == [[4], [0, 1, 3]]
    assert sorted(found._kept) == [0, 1], "8 of 10 numbers are used, 4 more do not fit"
    assert found._room == 2
    assert found.best()[:2] == (3, 4.0)  # type: ignore[index]
    found.taken()
    assert found.best()[:2] == (0, 9.0)  # type: ignore[index]
    found.taken()
    assert found.best()[:2] == (1, 1.0)  # type: ignore[index]
    found.taken()
    assert found.best() is None
    assert judge.prepared[2:] == [[3]], "what is kept is not prepared again"
    tuples: Any = Judge({0: [1.0]})
    held = queue.Shortlist(np.arange(1), np.ones(1), tuples, blocks(tuples, [1], 9), 1)
    held._keep(0, (np.zeros(6), np.zeros(4)))
    assert held._room == 0
    assert 0 in held._kept
    held._keep(1, np.zeros(1))
    assert 1 not in held._kept


# duplicates ---------------------------------------------------------------------------------------------------------


def test_a_signature_is_shares_and_extremes() -> None:
    from mliuq import descriptors

    params = PARAMS["binary"]
    atoms = Atoms("W2Be", positions=[[0, 0, 0], [0, 0, 2.5], [0, 2.5, 0]], cell=[6, 6, 6], pbc=True)
    b = descriptors(atoms, params)
    w, be = b[:2], b[2:]
    parts = [[2 / 3], w.min(axis=0), w.mean(axis=0), w.max(axis=0), [1 / 3], be[0], be[0], be[0]]
    np.testing.assert_allclose(signature(atoms, params), np.concatenate(parts))
    alone = signature(atoms[:2], params)
    assert len(alone) == len(np.concatenate(parts))
    assert not alone[1 + 3 * b.shape[1] :].any()


def test_how_near_is_the_same() -> None:
    params = replace(PARAMS["plain"], twojmax=2)
    first, second = cells(1, 1)
    s, t = signature(first, params), signature(second, params)
    distance = float(np.linalg.norm(t - s) / np.linalg.norm(s))
    for tolerance, same in ((1.001 * distance, True), (0.999 * distance, False)):
        seen = Seen([first], params, tolerance)
        assert seen.holds(second) is same
        assert seen.holds(second) is True, "it is known from now on"
    never = Seen([first], params, 0.0)
    assert not never.holds(first)
    assert not never.holds(first)


def test_what_single_rows_say_by_their_formulas() -> None:
    """Of which the largest names the atom: |z|²; Σ_t (z·t)² / (1 + |z|²), over |t|² for a region."""
    rng = np.random.default_rng(0)
    z, target = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    size = np.array([row @ row for row in z])
    np.testing.assert_allclose(Information._of_rows(Information.__new__(Information), z), size)
    for kind in (MeanInformation, PropertyVariance):
        criterion = kind.__new__(kind)
        criterion._seen, criterion._before = target, np.array([t @ t for t in target])
        share = criterion._before if kind is MeanInformation else np.ones(4)
        expected = [sum((row @ t) ** 2 / s for t, s in zip(target, share, strict=True)) / (1 + row @ row) for row in z]
        np.testing.assert_allclose(criterion._of_rows(z), expected)
