"""The search by a made-up judge, its files read back, and one candidate judged by hand."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from mliuq import MliuqError, SnapParams
from mliuq.fitting.data import FitData
from mliuq.fitting.settings import FitSettings
from mliuq.regression.loco import RowStatistics
from mliuq.regression.rows import ArrayRows
from mliuq.tuning import TuneResult, TuneSettings, curve, files, search, trial, tune
from mliuq.tuning.curve import LearningCurve, learning_curve
from mliuq.tuning.files import columns, curve_picture, facts, last_round, pareto_picture, table, write_result
from mliuq.tuning.settings import REACH, nearest_distance
from mliuq.tuning.trial import Candidate, Trial, measured_cost, with_groups
from systems import PARAMS, random_model

KINDS = ("energy", "force", "stress")


def labelled(atoms: Atoms, energy: float, **info: Any) -> Atoms:
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=0.1 * np.sin(atoms.positions))
    atoms.info |= info
    return atoms


def tungsten(n: int, symbols: str = "W2", seed: int = 0) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    made = []
    for k in range(n):
        atoms = bulk("W", "bcc", 3.0 + 0.4 * rng.random(), cubic=True)
        atoms.symbols = symbols
        atoms.rattle(0.1, seed=k)
        made.append(labelled(atoms, -10.0 + rng.normal(), config_type="abc"[k % 3]))
    return made


SETTINGS = FitSettings().updated({"data.test_fraction": 0.2, "seed": 3, "posterior.members": 0})
ALL = SETTINGS.updated({"data.test_fraction": 0.0})


def score_of(candidate: Candidate) -> float:
    """The best is 2J = 4, 4.2 Å; radii near 0.45, weights near 0.75, group b ten times."""
    score = abs(candidate.rcut - 4.2) + 0.1 * abs(candidate.twojmax - 4) + 0.05 * candidate.quadratic
    if candidate.radii:
        score += sum(abs(r - w) for r, w in zip(candidate.radii, (0.45, 0.5), strict=True)) - 0.5
    if candidate.weights:
        score += sum(abs(r - w) for r, w in zip(candidate.weights, (1.0, 0.75), strict=True)) - 0.5
    for group, factor in candidate.groups:
        score += -0.3 if (group, factor) == ("b", 10.0) else 0.2
    return score


class Judge:
    """Scores by `score_of`, and what was asked."""

    def __init__(self, cost: float = 10.0, seconds: float = 0.5) -> None:
        self.asked: list[tuple[Candidate, int, dict[str, Any]]] = []
        self.data: list[FitData] = []
        self.cost, self.seconds = cost, seconds

    def __call__(
        self, candidate: Candidate, data: FitData, elements: Any, settings: FitSettings, **options: Any
    ) -> Trial:
        self.asked.append((candidate, len(data.train), options))
        self.data.append(data)
        cost = self.cost * candidate.twojmax if options["timed"] else float("nan")
        constants = options["constants"] or {"energy": 30.0, "force": 2.0}
        score = score_of(candidate)
        return Trial(
            candidate, len(data.train), {"energy": 0.01, "force": 0.1}, score, 0.01, constants, 7, self.seconds, cost
        )


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    made = Judge()
    monkeypatch.setattr(search, "judge", made)
    return made


class TestHalving:
    OPTIONS = TuneSettings(twojmax=(2, 4), quadratic=(2,), rcut=(3.8, 4.0, 4.2))

    def test_rounds(self, judge: Judge) -> None:
        structures = tungsten(400)
        told: list[Any] = []
        result = tune(structures, SETTINGS, self.OPTIONS, progress=lambda *said: told.append(said))
        n = len(result.data.train)
        assert n + len(result.data.held_out) == 400
        assert 300 < n < 340
        sizes = [n // 4, n // 2, n]
        rounds = [[c for c, size, _ in judge.asked if size == wanted] for wanted in sizes]
        every = [Candidate(j, r, q) for j, q in ((2, False), (4, False), (2, True)) for r in (3.8, 4.0, 4.2)]
        assert rounds[0] == every
        halves = [Candidate(j, r, q) for j, q in ((2, False), (4, False), (2, True)) for r in (4.0, 4.2)]
        assert sorted(rounds[1], key=repr) == sorted(halves, key=repr)
        assert rounds[1] == sorted(halves, key=score_of), "the best first, while time lasts"
        assert rounds[2] == [Candidate(4, 4.2), Candidate(2, 4.2), Candidate(2, 4.2, True)]
        assert [len(r) for r in rounds] == [9, 6, 3]
        for _, size, options in judge.asked:
            assert options == {"whole_classes": False, "constants": None, "timed": size == n}
        assert [(done, of) for stage, done, of in told] == [
            *((k, 9) for k in range(1, 10)), *((k, 6) for k in range(1, 7)), *((k, 3) for k in range(1, 4)),
        ]  # fmt: skip
        assert told[0][0] == f"round 1 of 3, {n // 4} configurations: linear 2J=2 3.8 Å"
        assert told[-1][0] == f"round 3 of 3, {n} configurations: quadratic 2J=2 4.2 Å"
        assert result.chosen.candidate == Candidate(4, 4.2)
        assert len(result.trials) == 18
        assert [t.candidate for t in result.front] == [Candidate(2, 4.2), Candidate(4, 4.2)]
        assert result.complete
        assert (result.settings.snap.twojmax, result.settings.snap.rcut) == (4, 4.2)
        assert result.settings.snap.elements == ("W",)
        assert result.settings.seed == 3

    def test_fewer_configurations_are_among_the_more(self, judge: Judge) -> None:
        result = tune(tungsten(300), ALL, TuneSettings(twojmax=(2,), quadratic=(), rcut=(4.0,)))
        of_size = {len(data.train): data for data in judge.data}
        assert list(of_size) == [75, 150, 300]
        places = {id(atoms): k for k, atoms in enumerate(result.data.train)}
        chosen = [[places[id(a)] for a in data.train] for data in of_size.values()]
        assert chosen[0] == sorted(chosen[0]), "in the order of the data"
        assert set(chosen[0]) < set(chosen[1]) < set(chosen[2])
        assert chosen[0] == sorted(np.random.default_rng(3).permutation(300)[:75].tolist())
        assert all(data.held_out == () for data in judge.data)

    @pytest.mark.parametrize(("n", "sizes"), [(40, [40]), (60, [60]), (100, [60, 100]), (130, [60, 65, 130])])
    def test_small_sets_have_fewer_rounds(self, n: int, sizes: list[int], judge: Judge) -> None:
        tune(tungsten(n), ALL, TuneSettings(twojmax=(2,), quadratic=(), rcut=(4.0,)))
        assert [size for _, size, _ in judge.asked] == sizes

    def test_a_budget(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        clock = [0.0]
        monkeypatch.setattr(search.time, "monotonic", lambda: clock[0])

        class Slow(Judge):
            def __call__(self, *given: Any, **options: Any) -> Trial:
                found = super().__call__(*given, **options)
                clock[0] += 10.0
                return replace(found, seconds=10.0)

        judge = Slow()
        monkeypatch.setattr(search, "judge", judge)
        options = TuneSettings(twojmax=(2,), quadratic=(), rcut=(3.8, 4.0, 4.2, 4.4), budget=45.0)
        with caplog.at_level(logging.WARNING):
            result = tune(tungsten(100), ALL, options)
        # four on 60 configurations take 40 s; on 100 one takes 16.7 s, beyond the budget
        assert [size for _, size, _ in judge.asked] == [60] * 4
        assert not result.complete
        assert result.chosen.configurations == 60
        assert caplog.messages == ["the budget was over before all configurations were looked at: 60 of 100"]
        clock[0] = 0.0
        assert tune(tungsten(100), ALL, replace(options, budget=57.0)).chosen.configurations == 100
        clock[0] = 0.0
        assert tune(tungsten(100), ALL, replace(options, budget=80.0)).complete

    def test_what_is_quick_is_tried_although_the_slow_was_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = [0.0]
        monkeypatch.setattr(search.time, "monotonic", lambda: clock[0])

        class Slow(Judge):
            def __call__(self, candidate: Candidate, *given: Any, **options: Any) -> Trial:
                seconds = 30.0 if candidate.twojmax == 4 else 1.0
                clock[0] += seconds
                return replace(super().__call__(candidate, *given, **options), seconds=seconds)

        judge = Slow()
        monkeypatch.setattr(search, "judge", judge)
        options = TuneSettings(twojmax=(4, 2), quadratic=(), rcut=(4.0, 4.2), budget=50.0)
        result = tune(tungsten(50), ALL, options)
        assert [c.twojmax for c, _, _ in judge.asked] == [4, 2, 2]
        assert not result.complete

    def test_the_cost_allowed(self, judge: Judge) -> None:
        options = TuneSettings(twojmax=(2, 4), quadratic=(), rcut=(4.2,))
        assert tune(tungsten(50), ALL, options).chosen.candidate.twojmax == 4
        for limit in (20.0, 39.0):
            cheap = tune(tungsten(50), ALL, replace(options, max_cost=limit))
            assert cheap.chosen.candidate.twojmax == 2
            assert cheap.settings.snap.twojmax == 2
            assert [t.candidate.twojmax for t in cheap.front] == [2, 4], "the front shows all"
        assert tune(tungsten(50), ALL, replace(options, max_cost=40.0)).chosen.candidate.twojmax == 4
        with pytest.raises(
            MliuqError,
            match=r"^no candidate takes at most 19 µs per atom: the cheapest takes 20 \(linear 2J=2 4.2 Å\)$",
        ):
            tune(tungsten(50), ALL, replace(options, max_cost=19.0))

    def test_nothing_is_determined(self, monkeypatch: pytest.MonkeyPatch) -> None:
        judge = Judge()
        monkeypatch.setattr(search, "judge", lambda *g, **o: replace(judge(*g, **o), score=np.inf))
        with pytest.raises(MliuqError, match=r"^no candidate is determined by the data: expected more configurations"):
            tune(tungsten(50), ALL, self.OPTIONS)

    def test_whole_classes_are_asked_for(self, judge: Judge) -> None:
        tune(tungsten(50), ALL, TuneSettings(twojmax=(2,), quadratic=(), rcut=(4.0,), left_out="classes"))
        assert judge.asked[0][2]["whole_classes"] is True

    def test_given_tests_are_held_out(self, judge: Judge) -> None:
        result = tune(
            tungsten(50), {"seed": 1}, TuneSettings(twojmax=(2,), quadratic=(), rcut=(4.0,)), test=tungsten(5)
        )
        assert (len(result.data.train), len(result.data.held_out)) == (50, 5)
        assert result.settings.seed == 1

    def test_defaults(self, judge: Judge) -> None:
        result = tune(tungsten(30))
        assert len(result.data.held_out) > 0
        assert {c.family for c, _, _ in judge.asked} == {(4, False), (6, False), (8, False), (4, True), (6, True)}
        nearest = nearest_distance(result.data.train)
        assert sorted({c.rcut for c, _, _ in judge.asked}) == [round(nearest * reach, 1) for reach in REACH]
        with pytest.raises(MliuqError, match="nothing to tune"):
            tune(tungsten(3), ALL, TuneSettings(twojmax=(), quadratic=()))
        with pytest.raises(MliuqError, match="ridge"):
            tune(tungsten(3), FitSettings().updated({"solver.ridge": -1.0}))


class TestElementsAndGroups:
    def test_radii_and_weights_one_at_a_time(self, judge: Judge) -> None:
        told: list[str] = []
        options = TuneSettings(twojmax=(4,), quadratic=(), rcut=(4.2,))
        structures = tungsten(40, "WBe")
        result = tune(structures, ALL, options, progress=lambda stage, *_: told.append(stage))
        assert result.settings.snap.elements == ("W", "Be") or result.settings.snap.elements == ("Be", "W")
        stages = list(dict.fromkeys(stage.split(":")[0] for stage in told[1:]))
        first, second = result.settings.snap.elements
        assert stages == [f"{name} of {e}" for name in ("radii", "weights") for e in (first, second)]
        tried = [c for c, _, _ in judge.asked[1:]]
        assert [c.radii for c in tried[:4]] == [(0.4, 0.5), (0.45, 0.5), (0.5, 0.4545), (0.5, 0.4)]
        # from the best of these, (0.45, 0.5): the second element's steps, the largest stays 0.5
        assert [c.radii for c in tried[4:8]] == [
            tuple(round(0.5 * v / max(values), 4) for v in values)
            for values in ((0.45, 0.5 * step) for step in (0.8, 0.9, 1.1, 1.25))
        ]
        assert [c.weights for c in tried[8:12]] == [(0.5, 1.0), (0.75, 1.0), (1.33, 1.0), (2.0, 1.0)]
        assert all(c.radii == (0.45, 0.5) for c in tried[8:])
        assert [c.weights[1] for c in tried[12:]] == [0.5, 0.75, 1.33, 2.0]
        assert result.chosen.candidate.radii == (0.45, 0.5)
        assert result.chosen.candidate.weights == (1.0, 0.75)
        assert {size for _, size, _ in judge.asked} == {40}
        assert len(judge.asked) == 17
        assert (result.settings.snap.radii, result.settings.snap.weights) == ((0.45, 0.5), (1.0, 0.75))
        assert result.chosen in result.front

    def test_they_start_from_those_given(self, judge: Judge) -> None:
        settings = ALL.updated({
            "snap.elements": ("Be", "W"), "snap.radii": (0.3, 0.5), "snap.weights": (0.4, 1.0),
        })  # fmt: skip
        tune(tungsten(40, "WBe"), settings, TuneSettings(twojmax=(4,), quadratic=(), rcut=(4.2,)))
        assert judge.asked[1][0].radii == (0.24, 0.5)
        assert judge.asked[9][0].weights == (0.2, 1.0)

    def test_not_asked_not_tried(self, judge: Judge) -> None:
        options = TuneSettings(twojmax=(4,), quadratic=(), rcut=(4.2,), elements=False)
        tune(tungsten(40, "WBe"), ALL, options)
        assert len(judge.asked) == 1
        judge.asked.clear()
        tune(tungsten(40), ALL, TuneSettings(twojmax=(4,), quadratic=(), rcut=(4.2,)))
        assert len(judge.asked) == 1, "one element has nothing to vary"

    def test_groups_at_the_constants_of_the_best(self, judge: Judge) -> None:
        told: list[str] = []
        options = TuneSettings(twojmax=(4,), quadratic=(), rcut=(4.2,), groups=True)
        settings = ALL.updated({"weights.stress": 5.0})
        result = tune(tungsten(40), settings, options, progress=lambda stage, *_: told.append(stage))
        fixed = {"stress": 5.0, "energy": 30.0, "force": 2.0}
        tried = [(c.groups, o["constants"]) for c, _, o in judge.asked[1:]]
        assert tried == [
            ((("a", 0.1),), fixed), ((("a", 10.0),), fixed), ((("b", 0.1),), fixed), ((("b", 10.0),), fixed),
            ((("b", 10.0), ("c", 0.1)), fixed), ((("b", 10.0), ("c", 10.0)), fixed),
        ]  # fmt: skip
        assert [stage.split(":")[0] for stage in told[1:]] == [f"group {g}" for g in "aabbcc"]
        assert result.chosen.candidate.groups == (("b", 10.0),)
        assert result.chosen.constants == fixed
        weights = result.settings.weights
        assert (weights.energy, weights.force, weights.stress) == (30.0, 2.0, 5.0)
        assert (weights.groups["b"].energy, weights.groups["b"].force) == (300.0, 20.0)
        judge.asked.clear()
        one = [labelled(a, -1.0, config_type="a") for a in tungsten(40)]
        tune(one, ALL, options)
        assert len(judge.asked) == 1, "one group has none to be weighed against"
        judge.asked.clear()
        keyed = tungsten(40)
        for k, atoms in enumerate(keyed):
            atoms.info["mine"] = k % 2
        tune(keyed, ALL.updated({"data.group_key": "mine"}), options)
        assert [c.groups[0][0] for c, _, _ in judge.asked[1:]] == ["0", "0", "1", "1"]


class TestJournal:
    OPTIONS = TuneSettings(twojmax=(2, 4), quadratic=(), rcut=(4.0, 4.2))

    def test_trials_are_kept(self, judge: Judge, tmp_path: Path) -> None:
        journal, structures = tmp_path / "trials.jsonl", tungsten(80)
        whole = tune(structures, ALL, self.OPTIONS, journal=journal)
        lines = journal.read_text(encoding="utf-8").splitlines()
        assert len(lines) == len(judge.asked) == len(whole.trials)
        entry = json.loads(lines[0])
        assert list(entry) == ["search", "key", "trial"]
        assert len(entry["search"]) == 16
        assert entry["key"] == f"{judge.asked[0][0]!r} on 60 with []"
        assert Trial.from_mapping(entry["trial"]).candidate == judge.asked[0][0]
        judge.asked.clear()
        told: list[Any] = []
        again = tune(structures, ALL, self.OPTIONS, journal=journal, progress=lambda *said: told.append(said))
        assert judge.asked == []
        assert again.chosen == whole.chosen
        assert len(told) == len(lines)
        # Half a line at the end is what a killed search was writing; elsewhere it is damage.
        journal.write_text("\n".join(lines[:3]) + "\n" + lines[3][:50])
        tune(structures, ALL, self.OPTIONS, journal=journal)
        assert len(judge.asked) == len(lines) - 3
        for damage in ("{", "[]", '{"search": "x"}', lines[0].replace('"key"', '"kee"')):
            journal.write_text(damage + "\n" + lines[0] + "\n")
            with pytest.raises(MliuqError, match=r"trials.jsonl: line 1 is damaged \(.*\); remove the file$"):
                tune(structures, ALL, self.OPTIONS, journal=journal)

    @pytest.mark.parametrize("change", ["data", "settings", "left_out"])
    def test_other_searches_are_refused(self, change: str, judge: Judge, tmp_path: Path) -> None:
        journal, structures = tmp_path / "trials.jsonl", tungsten(20)
        tune(structures, ALL, self.OPTIONS, journal=journal)
        options = replace(self.OPTIONS, left_out="classes") if change == "left_out" else self.OPTIONS
        settings = ALL.updated({"snap.rmin0": 0.1}) if change == "settings" else ALL
        with pytest.raises(
            MliuqError, match=r"trials.jsonl: holds trials of other data or settings; give another folder or remove the"
        ):
            tune(structures[change == "data" :], settings, options, journal=journal)
        more = replace(self.OPTIONS, twojmax=(2, 4, 6), budget=100.0, max_cost=1e9)
        judge.asked.clear()
        tune(structures, ALL, more, journal=journal)
        assert {c.twojmax for c, _, _ in judge.asked} == {6}, "what was judged is not judged again"

    def test_constants_are_part_of_the_key(self) -> None:
        c = Candidate(2, 4.0)
        assert search._key(c, 5, {"b": 2.0, "a": 1.0}) == f"{c!r} on 5 with [('a', 1.0), ('b', 2.0)]"
        assert search._key(c, 5, None) == f"{c!r} on 5 with []"


# --- candidates ------------------------------------------------------------------------------------------------------


class TestCandidates:
    def test_what_they_change(self) -> None:
        plain = Candidate(4, 4.2)
        assert plain.changes(["W"]) == {
            "snap.twojmax": 4, "snap.rcut": 4.2, "snap.quadratic": False, "snap.elements": ("W",),
        }  # fmt: skip
        full = Candidate(6, 4.75, True, (0.5, 0.4), (1.0, 0.75), (("a", 0.1), ("b", 10.0)))
        assert full.changes(["W", "Be"]) == {
            "snap.twojmax": 6, "snap.rcut": 4.75, "snap.quadratic": True, "snap.elements": ("W", "Be"),
            "snap.radii": (0.5, 0.4), "snap.weights": (1.0, 0.75),
        }  # fmt: skip
        assert plain.describe() == "linear 2J=4 4.2 Å"
        assert full.describe() == "quadratic 2J=6 4.75 Å R=0.5/0.4 w=1/0.75 a×0.1 b×10"
        assert (plain.family, full.family) == ((4, False), (6, True))

    def test_trials_as_plain_values_and_back(self) -> None:
        full = Candidate(6, 4.75, True, (0.5, 0.4), (1.0, 0.75), (("a", 0.1), ("b", 10.0)))
        made = Trial(full, 30, {"energy": 0.1}, -2.0, 0.2, {"energy": 3.0}, 31, 1.5, 12.0)
        assert Trial.from_mapping(json.loads(json.dumps(made.to_mapping()))) == made
        for change in ({"score": "x"}, {"rmse": {"energy": "x"}}, {"constants": {"energy": None}}):
            with pytest.raises(TypeError, match=r"(score|energy) is ('x'|None), expected a number"):
                Trial.from_mapping({**made.to_mapping(), **change})
        bare = Trial(Candidate(2, 4.0), 5, {}, 1.0, 0.1)
        assert (bare.constants, bare.weights, bare.seconds) == ({}, 0, 0.0)
        assert np.isnan(bare.cost)

    def test_weights_of_groups(self) -> None:
        settings = ALL.updated({"weights.energy": 30.0, "weights.force": 2.0, "weights.stress": 0.0})
        assert with_groups(settings, Candidate(2, 4.0), None) == settings
        changed = with_groups(settings, Candidate(2, 4.0), {"energy": 50.0})
        assert (changed.weights.energy, changed.weights.force, changed.weights.groups) == (50.0, 2.0, {})
        grouped = with_groups(settings, Candidate(2, 4.0, groups=(("a", 0.1),)), {"energy": 50.0}).weights
        assert (grouped.groups["a"].energy, grouped.groups["a"].force) == (5.0, 0.2)
        assert grouped.groups["a"].stress != 0.1, "what is not fitted stays so"
        free = with_groups(ALL.updated({"weights.force": 2.0}), Candidate(2, 4.0, groups=(("a", 10.0),)), None).weights
        assert free.groups["a"].force == 20.0

    def test_elements_are_those_of_the_fit(self) -> None:
        assert set(trial.elements_of(ALL, tungsten(2, "WBe"))) == {"W", "Be"}
        assert trial.elements_of(ALL.updated({"snap.elements": ("Ta", "W", "Be")}), tungsten(2, "WBe"))[0] == "Ta"

    @pytest.mark.parametrize("kind", ["energy", "force", "both"])
    def test_errors_by_hand(self, kind: str) -> None:
        """RMSE weighted by measure; the score's standard error by the scatter over what was left out."""
        rng = np.random.default_rng(0)
        kinds = {"energy": [0, 0, 0, 0], "force": [1, 1, 1, 1], "both": [0, 1, 0, 1]}[kind]
        config = np.array([0, 0, 1, 2])
        y = rng.normal(size=4)
        rows = ArrayRows(np.ones((4, 1)), y, np.ones(4), np.array(kinds), config)
        order = rows.order
        left = rng.normal(size=4)
        measure = np.array([1.0, 2.0, 0.5, 1.5])
        statistics = RowStatistics(**{
            **dict.fromkeys(RowStatistics.__dataclass_fields__, left), "loco": left[order],
        })  # fmt: skip
        found, score, error = trial._errors(rows.table, statistics, measure[order], np.ones(4, bool))
        expected, influence, converged = {}, np.zeros(3), {"energy": 5e-4, "force": 1e-2}
        for k in sorted(set(kinds)):
            at = np.array(kinds) == k
            mean = (measure[at] * left[at] ** 2).sum() / measure[at].sum()
            expected[KINDS[k]] = np.sqrt(mean)
            for unit in range(3):
                own = at & (config == unit)
                total = (mean + converged[KINDS[k]] ** 2) * measure[at].sum()
                influence[unit] += 0.5 * ((measure[own] * left[own] ** 2).sum() - mean * measure[own].sum()) / total
        assert found == pytest.approx(expected)
        assert score == pytest.approx(sum(np.log(np.hypot(v, converged[name])) for name, v in expected.items()))
        assert error == pytest.approx(np.sqrt((influence**2).sum()))
        lost = replace(statistics, loco=np.where(np.arange(4) < 3, np.nan, left[order]))
        assert trial._errors(rows.table, lost, measure[order], np.ones(4, bool))[1:] == (np.inf, np.inf)
        half = replace(statistics, loco=np.where(np.arange(4) % 4 < 2, np.nan, left[order]))
        if kind != "both":  # half of them will do
            assert np.isfinite(trial._errors(rows.table, half, measure[order], np.ones(4, bool))[1])
        perfect = replace(statistics, loco=np.zeros(4))
        _, score, error = trial._errors(rows.table, perfect, measure[order], np.ones(4, bool))
        assert score == pytest.approx(sum(np.log(converged[name]) for name in expected))
        assert error == 0.0

    def test_rounding_of_forces_that_symmetry_makes_zero_chooses_nothing(self) -> None:
        table = ArrayRows(
            np.ones((4, 1)), np.zeros(4), np.ones(4), np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
        ).table
        scores = []
        for energy, force in ((0.010, 1e-7), (0.011, 1e-9)):
            left = np.array([energy, force, -energy, -force])
            statistics = RowStatistics(left, np.full(4, 0.1), left)
            scores.append(trial._errors(table, statistics, np.ones(4), np.ones(4, bool))[1])
        assert scores[0] < scores[1] - 0.05

    def test_costs_are_of_a_structure_of_median_density(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = random_model(PARAMS["linear"])
        seen: list[Atoms] = []
        made = trial.Neighbours
        monkeypatch.setattr(trial, "Neighbours", lambda atoms, *rest: seen.append(atoms.copy()) or made(atoms, *rest))
        clock = iter(np.cumsum([0, 5.0, 1, 4.0, 1, 3.0, 1, 6.0, 1, 7.0]))
        monkeypatch.setattr(trial.time, "perf_counter", lambda: next(clock))
        cells = [bulk("W", "bcc", a, cubic=True) for a in (2.9, 3.0, 3.1, 3.2, 3.3)]
        small = bulk("W", "bcc", 2.0)
        cost = measured_cost(model, [cells[3], small, *cells[:3], cells[4]])
        (atoms,) = seen
        assert len(atoms) == 2 * 5**3, "about 250 atoms"
        assert atoms.cell[0, 0] == pytest.approx(5 * 3.1)
        assert cost == pytest.approx(1e6 * 3.0 / 250), "the quickest of five"
        monkeypatch.undo()
        monkeypatch.setattr(trial, "Neighbours", lambda atoms, *rest: seen.append(atoms.copy()) or made(atoms, *rest))
        assert measured_cost(model, [Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.5]])]) > 0.0
        assert len(seen[-1]) == 2, "in the open nothing is repeated"
        assert measured_cost(random_model(SnapParams(("W",), twojmax=1, rcutfac=3.0)), [cells[2].repeat(6)]) > 0.0
        assert len(seen[-1]) == 432, "what is large is taken as it is"
        assert cells[2].cell[0, 0] == pytest.approx(3.1)

    def test_a_judged_candidate(self) -> None:
        structures = tungsten(30)
        data = tune.__globals__["choose_data"](structures, [], ALL.snap.params(structures), ALL)
        candidate = Candidate(2, 4.0)
        found = trial.judge(candidate, data, ("W",), ALL)
        assert found.candidate == candidate
        assert found.configurations == 30
        assert set(found.rmse) == {"energy", "force"}
        assert found.score == pytest.approx(
            np.log(np.hypot(found.rmse["energy"], 5e-4) * np.hypot(found.rmse["force"], 0.01))
        )
        assert found.weights == SnapParams(("W",), twojmax=2, rcutfac=4.0).n_weights
        assert np.isnan(found.cost)
        assert 0 < found.seconds < 60
        assert found.constants["energy"] > 0.0
        told: list[Any] = []
        given = {"energy": 20.0, "force": 1.0}
        timed = trial.judge(
            candidate, data, ("W",), ALL, constants=given, timed=True, progress=lambda *said: told.append(said)
        )
        assert timed.cost > 0.0
        fixed = trial.judge(candidate, data, ("W",), ALL.updated({f"weights.{k}": v for k, v in given.items()}))
        assert timed.rmse == pytest.approx(fixed.rmse)
        weighed = trial.judge(replace(candidate, groups=(("a", 1e-3),)), data, ("W",), ALL, constants=given)
        assert abs(weighed.rmse["energy"] / timed.rmse["energy"] - 1) > 1e-6
        by_class = trial.judge(candidate, data, ("W",), ALL, whole_classes=True, constants=given)
        assert by_class.rmse["energy"] != pytest.approx(timed.rmse["energy"], rel=1e-6)


# --- the learning curve ----------------------------------------------------------------------------------------------


def test_parts_of_a_learning_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    judge, told = Judge(), []

    def judged(candidate: Candidate, data: FitData, elements: Any, settings: FitSettings, **options: Any) -> Trial:
        found = judge(candidate, data, elements, settings, **{"timed": False, "constants": None, **options})
        k = len(judge.asked)
        return replace(found, rmse={"energy": 1.0 / len(data.train), "force": float(k)})

    monkeypatch.setattr(curve, "judge", judged)
    structures = tungsten(88)
    data = tune.__globals__["choose_data"](structures, [], ALL.snap.params(structures), ALL)
    data = replace(data, held_out=tungsten(2))
    found = learning_curve(
        Candidate(2, 4.0), data, ("W",), ALL, whole_classes=True, progress=lambda *said: told.append(said)
    )
    assert found.configurations == [11, 22, 44, 88]
    assert [size for _, size, _ in judge.asked] == [11] * 3 + [22] * 2 + [44] * 2 + [88]
    assert all(options["whole_classes"] for _, _, options in judge.asked)
    assert all(part.held_out == () for part in judge.data)
    assert told == [("learning curve", k, 8) for k in range(1, 9)]
    assert found.rmse["energy"] == pytest.approx([1 / 11, 1 / 22, 1 / 44, 1 / 88])
    assert found.rmse["force"] == pytest.approx([np.sqrt(v) for v in (14 / 3, 41 / 2, 85 / 2, 64)])
    assert found.law["energy"] == pytest.approx((1.0, 1.0))
    rng = np.random.default_rng(3)
    places = {id(atoms): k for k, atoms in enumerate(data.train)}
    for part in judge.data:
        size = len(part.train)
        assert [places[id(a)] for a in part.train] == sorted(rng.permutation(88)[:size].tolist())
    judge.asked.clear()
    few = learning_curve(Candidate(2, 4.0), replace(data, train=data.train[:20]), ("W",), ALL)
    assert few.configurations == [10, 20], "no part of fewer than ten"
    assert not any(options["whole_classes"] for _, _, options in judge.asked)
    assert learning_curve(Candidate(2, 4.0), replace(data, train=data.train[:5]), ("W",), ALL).configurations == [5]
    assert np.isnan(curve.power_law([10, 20], [np.inf, 1.0])).all()
    assert curve.power_law([10, 20, 40], [1.0, np.inf, 0.25]) == pytest.approx((10.0, 1.0))


# --- settings --------------------------------------------------------------------------------------------------------


def test_errors_count_alike_whatever_constants_groups_have(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    errors = trial._errors
    monkeypatch.setattr(trial, "_errors", lambda *given: seen.append(given) or errors(*given))
    groups = {"a": {"energy": 50.0, "force": 3.0}, "b": {"force": 0.0}}
    settings = ALL.updated({"weights.energy": 7.0, "weights.force": 2.0, "weights.groups": groups})
    trial.judge(Candidate(2, 4.2), FitData(tungsten(12), (), {}), ("W",), settings)
    ((table, _, measure, _),) = seen
    counted = table.w > 0.0
    assert counted.sum() == 12 * 1 + 8 * 6
    np.testing.assert_allclose(measure, counted)


def test_settings() -> None:
    assert asdict(TuneSettings()) == {
        "twojmax": (4, 6, 8), "quadratic": (4, 6), "rcut": (), "elements": True, "groups": False,
        "left_out": "configurations", "budget": 600.0, "max_cost": 0.0,
    }  # fmt: skip
    for inside in (
        {"twojmax": (1, 24)}, {"quadratic": (1, 24)}, {"rcut": (0.5, 100.0)}, {"budget": 0.0}, {"max_cost": 0.0},
        {"twojmax": ()}, {"quadratic": ()}, {"budget": 1e9, "max_cost": 1e9}, {"left_out": "classes"},
    ):  # fmt: skip
        TuneSettings(**inside).validate()
    for key, outside in (
        ("2J", {"twojmax": (0,)}), ("2J", {"quadratic": (25,)}), ("rcut", {"rcut": (0.49,)}),
        ("rcut", {"rcut": (101.0,)}),
        ("budget", {"budget": -0.1}), ("max_cost", {"max_cost": -0.1}), ("budget", {"budget": np.inf}),
    ):  # fmt: skip
        with pytest.raises(MliuqError, match=f"^{key} is "):
            TuneSettings(**outside).validate()
    with pytest.raises(MliuqError, match=r"^nothing to tune: expected 2J of linear or of quadratic candidates, found"):
        TuneSettings(twojmax=(), quadratic=()).validate()
    with pytest.raises(MliuqError, match=r"^left_out is 'x', expected 'configurations' or 'classes'$"):
        TuneSettings(left_out="x").validate()  # type: ignore[arg-type]
    assert REACH == (1.4, 1.55, 1.7, 1.85, 2.0, 2.15, 2.3)


def test_nearest_neighbours() -> None:
    line = Atoms("W4", positions=[[0, 0, 0], [0, 0, 2.0], [0, 0, 4.5], [0, 0, 8.5]], cell=[30, 30, 30], pbc=True)
    assert nearest_distance([line]) == pytest.approx(np.median([2.0, 2.0, 2.5, 4.0]))
    assert nearest_distance([bulk("W", "bcc", 3.2)]) == pytest.approx(3.2 * np.sqrt(3) / 2)
    assert nearest_distance([Atoms("W", cell=[5.9, 20, 20], pbc=True)]) == pytest.approx(5.9)
    with pytest.raises(
        MliuqError, match=r"^no atom of the data has a neighbour within 6 Å: there is no cutoff to tune$"
    ):
        nearest_distance([Atoms("W", cell=[6.1, 20, 20], pbc=True)])
    # Of very many a hundred are looked at, evenly: here every second.
    mixed = [bulk("W", "bcc", 3.0 if k % 2 else 3.2) for k in range(200)]
    assert nearest_distance(mixed) == pytest.approx(3.2 * np.sqrt(3) / 2)
    assert nearest_distance([bulk("W", "bcc", 3.0), *mixed[:2:2]]) == pytest.approx(3.1 * np.sqrt(3) / 2)
    lone = Atoms("W3", positions=[[0, 0, 0], [0, 0, 2.0], [15, 15, 15]], cell=[30, 30, 30], pbc=True)
    assert nearest_distance([lone]) == pytest.approx(2.0), "an atom without neighbours does not count"


# --- files -----------------------------------------------------------------------------------------------------------


def made(twojmax: int, quadratic: bool, score: float, cost: float, n: int = 40, **rmse: float) -> Trial:
    errors = {"energy": 0.01 * twojmax, "force": 0.1 * twojmax, **rmse}
    return Trial(Candidate(twojmax, 4.2, quadratic), n, errors, score, 0.05, {"energy": 3.0}, 15, 1.0, cost)


BEST, FAST, SLOW, LOST = (
    made(4, False, -3.0, 20.0), made(2, False, -1.0, 5.0), made(6, True, -2.0, 90.0), made(8, True, np.inf, 50.0),
)  # fmt: skip
FIRST = made(2, False, -0.5, np.nan, n=20)


@pytest.fixture
def result() -> TuneResult:
    data = FitData.__new__(FitData)
    object.__setattr__(data, "held_out", [1, 2, 3])
    settings = ALL.updated(BEST.candidate.changes(("W",)))
    return TuneResult(BEST, [FIRST, SLOW, BEST, FAST, LOST], [FAST, BEST], settings, data, complete=False)


CURVE = LearningCurve([10, 20, 40], {"energy": [0.04, 0.02, 0.01], "force": [0.4, 0.3, 0.2]},
                      {"energy": (0.4, 1.0), "force": (1.26, 0.5)})  # fmt: skip


class TestFiles:
    def test_the_table(self, result: TuneResult) -> None:
        lines = table(result, CURVE).splitlines()
        assert [k for k, line in enumerate(lines) if not line] == [1, 3, 10, 13, 15, 21]
        assert lines[0] == "# Candidates by left-out errors"
        assert lines[2].startswith("Root mean square errors on 40 configurations, each by a fit without it;")
        assert lines[4:10] == [
            "| candidate | energy meV/atom | force eV/Å | ± % | weights | µs/atom |",
            "|---|---|---|---|---|---|",
            "| **linear 2J=4 4.2 Å** | 40 | 0.4 | 5 | 15 | 20 |",
            "| quadratic 2J=6 4.2 Å | 60 | 0.6 | 5 | 15 | 90 |",
            "| linear 2J=2 4.2 Å * | 20 | 0.2 | 5 | 15 | 5 |",
            "| quadratic 2J=8 4.2 Å | 80 | 0.8 | 5 | 15 | 50 |",
        ]
        assert lines[11] == "5 trials; 3 configurations were held out and not looked at."
        assert lines[12] == "The budget ended before all that was planned had been tried."
        assert lines[14:] == [
            "## Learning curve",
            "",
            "| configurations | energy | force |",
            "|---|---|---|",
            "| 10 | 40 meV/atom | 0.4 eV/Å |",
            "| 20 | 20 meV/atom | 0.3 eV/Å |",
            "| 40 | 10 meV/atom | 0.2 eV/Å |",
            "",
            "energy: error ∝ n^(−1.000)",
            "force: error ∝ n^(−0.500)",
        ]
        short = table(replace(result, complete=True), None)
        assert "budget" not in short
        assert "Learning" not in short
        assert short.endswith("not looked at.\n")

    def test_rows(self, result: TuneResult) -> None:
        head, rows = columns([made(4, True, 0.0, 2.0, stress=0.5), FAST])
        assert head == (
            "candidate", "energy meV/atom", "force eV/Å", "stress eV/Å³", "± %", "weights", "µs/atom",
        )  # fmt: skip
        assert rows[0] == ["quadratic 2J=4 4.2 Å", 40.0, 0.4, 0.5, 5.0, 15, 2.0]
        assert rows[1][3] is None
        assert last_round(result) == [BEST, SLOW, FAST, LOST]

    def test_facts(self, result: TuneResult) -> None:
        found = json.loads(json.dumps(facts(result, CURVE)))
        assert list(found) == ["search", "chosen", "front", "trials", "held_out", "complete", "learning_curve"]
        assert found["search"] == "mliuq tune"
        assert Trial.from_mapping(found["chosen"]) == BEST
        assert [Trial.from_mapping(t) for t in found["front"]] == [FAST, BEST]
        assert [t["cost"] for t in found["trials"]] == [None, 90.0, 20.0, 5.0, 50.0]
        assert found["trials"][4]["score"] is None
        assert (found["held_out"], found["complete"]) == (3, False)
        assert found["learning_curve"] == {
            "configurations": [10, 20, 40], "rmse": CURVE.rmse, "law": {"energy": [0.4, 1.0], "force": [1.26, 0.5]},
        }  # fmt: skip
        assert facts(result, None)["learning_curve"] is None

    def test_the_front_is_drawn(self, result: TuneResult) -> None:
        figure = pareto_picture(result)
        left, right = figure.axes
        assert figure.get_size_inches().tolist() == pytest.approx([9.2, 3.8])
        for axes, kind, unit, factor in ((left, "energy", "meV/atom", 1e3), (right, "force", "eV/Å", 1.0)):
            assert axes.get_ylabel() == f"left-out {kind} RMSE, {unit}"
            assert axes.get_xlabel() == "µs per atom, one thread"
            assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
            groups = {c.get_label(): c for c in axes.containers}
            assert set(groups) == {"linear, with its 2J", "quadratic, with its 2J"}
            beside = {t.get_text(): t.xy for t in axes.texts}
            assert beside == {
                str(t.candidate.twojmax): (t.cost, pytest.approx(factor * t.rmse[kind])) for t in (BEST, FAST, SLOW)
            }
            for label, trials in (("linear, with its 2J", [BEST, FAST]), ("quadratic, with its 2J", [SLOW])):
                points, _, (bars,) = groups[label].lines
                assert list(points.get_xdata()) == [t.cost for t in trials]
                y = np.array([factor * t.rmse[kind] for t in trials])
                np.testing.assert_allclose(points.get_ydata(), y)
                edges = np.array([[segment[0][1], segment[1][1]] for segment in bars.get_segments()])
                np.testing.assert_allclose(edges, np.stack([y - y * 0.025, y + y * 0.025], 1))
            lines = {line.get_label(): line for line in axes.lines}
            np.testing.assert_allclose(lines["front"].get_xdata(), [5.0, 20.0])
            np.testing.assert_allclose(lines["front"].get_ydata(), [factor * t.rmse[kind] for t in (FAST, BEST)])
            star = lines["chosen: linear 2J=4 4.2 Å"]
            assert (list(star.get_xdata()), list(star.get_ydata())) == ([20.0], [factor * BEST.rmse[kind]])
            assert star.get_linestyle() == "None"
            texts = [t.get_text() for t in axes.get_legend().get_texts()]
            assert texts == [
                "front", "chosen: linear 2J=4 4.2 Å", "linear, with its 2J", "quadratic, with its 2J",
            ]  # fmt: skip
            assert axes.yaxis.get_major_formatter()(0.05, 0) == "0.05"
            assert {1.0, 1.5, 2.0, 3.0, 5.0, 7.0} <= set(np.round(axes.xaxis.get_major_locator().tick_values(1, 8), 9))
            assert {1.2, 2.5, 4.0, 6.0, 8.0} <= set(np.round(axes.yaxis.get_major_locator().tick_values(1, 8), 9))
            assert axes.xaxis.get_minor_formatter()(3.0) == ""
        alone = pareto_picture(replace(result, chosen=replace(BEST, rmse={"force": 0.4})))
        assert len(alone.axes) == 1

    def test_the_curve_is_drawn(self) -> None:
        figure = curve_picture(CURVE)
        for axes, (kind, errors) in zip(figure.axes, CURVE.rmse.items(), strict=True):
            factor, unit = (1e3, "meV/atom") if kind == "energy" else (1.0, "eV/Å")
            points, law = axes.lines
            np.testing.assert_allclose(points.get_xydata(), np.stack([[10, 20, 40], factor * np.array(errors)], 1))
            assert points.get_linestyle() == "None"
            a, b = CURVE.law[kind]
            np.testing.assert_allclose(law.get_ydata(), factor * a * np.array([10.0, 20, 40]) ** -b)
            assert law.get_label() == f"∝ n^(−{b:.2f})"
            assert (axes.get_xlabel(), axes.get_ylabel()) == ("configurations", f"left-out {kind} RMSE, {unit}")
            assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert figure.get_size_inches().tolist() == pytest.approx([9.2, 3.8])

    def test_what_is_written(self, result: TuneResult, tmp_path: Path) -> None:
        names = ["fit.toml", "tune.json", "tune.md", "pareto.png"]
        assert [p.name for p in write_result(result, None, tmp_path)] == names
        assert [p.name for p in write_result(result, CURVE, tmp_path)] == [*names, "curve.png"]
        text = (tmp_path / "fit.toml").read_text(encoding="utf-8")
        assert text == f"# The choice of mliuq tune: linear 2J=4 4.2 Å\n{result.settings.to_toml()}"
        stored = (tmp_path / "tune.json").read_text(encoding="utf-8")
        assert json.loads(stored) == json.loads(json.dumps(facts(result, CURVE)))
        assert stored.startswith('{\n  "search": "mliuq tune",\n')
        assert stored.endswith("}\n")
        assert "Å" not in stored or "\\u" not in stored
        assert (tmp_path / "tune.md").read_text(encoding="utf-8") == table(result, CURVE)
        for name in ("pareto.png", "curve.png"):
            head = (tmp_path / name).read_bytes()[:24]
            assert head.startswith(b"\x89PNG")
            assert int.from_bytes(head[16:20], "big") == pytest.approx(150 * 9.2, abs=1)
        files.check_folder(tmp_path)  # its own may be replaced

    def test_folders(self, tmp_path: Path, result: TuneResult) -> None:
        files.check_folder(tmp_path / "new" / "deeper")
        plain = tmp_path / "plain"
        plain.write_text("x")
        with pytest.raises(MliuqError, match=r"plain: is a file, expected the name of a folder"):
            files.check_folder(plain)
        with pytest.raises(MliuqError):
            files.check_folder(plain / "below")
        for name, what in (
            ("fit.toml", "settings of mliuq tune"), ("tune.json", "a result of mliuq tune"),
            ("tune.md", "a table of mliuq tune"), ("pareto.png", "a picture"), ("curve.png", "a picture"),
            ("trials.jsonl", "a journal of mliuq tune"),
        ):  # fmt: skip
            folder = tmp_path / name.replace(".", "-")
            folder.mkdir()
            (folder / name).write_text("mine")
            with pytest.raises(MliuqError, match=f"{name}.* not {what}"):
                files.check_folder(folder)
            with pytest.raises(MliuqError, match=name):
                files.check_folder(folder, [folder / name])
        journal = tmp_path / "journal"
        journal.mkdir()
        for sound in ("", '{"search": "x"}\n'):
            (journal / "trials.jsonl").write_text(sound)
            files.check_folder(journal)
        write_result(result, None, journal)
        with pytest.raises(MliuqError, match=r"fit\.toml"):
            files.check_folder(journal, [journal / "fit.toml"])
