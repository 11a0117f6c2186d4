"""The driver: what it stores and reads again, whom it asks, and how it says what went wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from mliuq import propagation
from mliuq.descriptor.params import SnapParams
from mliuq.model import Model
from mliuq.propagation import Failure, Found, Line, Measurement, Noise, PropagationSettings, Value, driver
from mliuq.propagation.calculator import WeightsCalculator, weights_of
from mliuq.propagation.relax import RelaxationError
from systems import PARAMS, random_model

X = np.array([1.0, 2.0])


@pytest.fixture(scope="module")
def model() -> Model:
    found = random_model(PARAMS["linear"], members=6, noise=True)
    return replace(found, metadata={"seed": 17}, arrays={"x": np.ones(2)})


class Weight(propagation.Property):
    """First weights, as values and as a curve; calculators and starts are kept."""

    name = "weight"

    def __init__(self, fail: Callable[[float], Exception | None] = lambda weight: None) -> None:
        self.seen: list[tuple[Any, Any, Any]] = []
        self.fail = fail

    def describe(self) -> dict[str, Any]:
        return {"what": "first weights"}

    def measure(self, calculator, settings, start) -> Measurement:
        self.seen.append((calculator, settings, start))
        weight = calculator.model.theta[0]
        if start is not None and (error := self.fail(float(weight[0]))):
            raise error
        values = {
            ("a", "first"): Value(float(weight[0]), "eV", Noise(2.0, 3.0), "energy"),
            ("a", "second"): Value(float(weight[1]), "GPa", Noise(0.0, 0.5), "force"),
            ("b", "third"): Value(float(weight[2]), "Å", Noise(1.0, 0.0), "stress"),
        }
        lines = {"a line": Line(X, weight[:2] * X, "x (Å)", "y (eV)", {"Γ": 1.0})}
        return Measurement(values, lines, {"a": "structure"}, {} if start is None else {"c": "no c here"})


def test_the_result_says_what_was_computed(model: Model) -> None:
    prop = Weight()
    settings = PropagationSettings(members=3, seed=2, steps=5)
    found = propagation.propagate(prop, model, settings)
    chosen = settings.choose(6)
    assert found.property == "weight"
    assert found.members == chosen
    assert found.settings == {"what": "first weights", **settings.to_mapping()}
    assert found.model == {
        "fingerprint": driver.fingerprint(model), "elements": ["W"], "members": 6, "seed": 17,
    }  # fmt: skip
    assert found.comparisons == {"spearman": {}}
    assert found.failures == [Failure(m, "c", "no c here") for m in chosen]
    scale = model.error_scale
    assert len({scale.alpha_energy, scale.alpha_force, scale.alpha_stress}) == 3
    for index, (name, quantity, unit, alpha, floor) in enumerate([
        ("a", "first", "eV", scale.alpha_energy, np.hypot(2 * scale.noise_energy, 3 * scale.noise_stress)),
        ("a", "second", "GPa", scale.alpha_force, 0.5 * scale.noise_stress),
        ("b", "third", "Å", scale.alpha_stress, scale.noise_energy),
    ]):  # fmt: skip
        estimate = found.estimates[index]
        assert (estimate.object, estimate.quantity, estimate.unit) == (name, quantity, unit)
        assert estimate.best == model.theta[0, index]
        np.testing.assert_array_equal(estimate.members, model.members[chosen, 0, index])
        assert (estimate.alpha, estimate.floor) == pytest.approx((alpha, floor), rel=1e-15)
    (curve,) = found.curves
    assert (curve.object, curve.x_label, curve.y_label, curve.ticks) == ("a line", "x (Å)", "y (eV)", {"Γ": 1.0})
    np.testing.assert_array_equal(curve.x, X)
    np.testing.assert_array_equal(curve.best, model.theta[0, :2] * X)
    np.testing.assert_array_equal(curve.members, model.members[chosen, 0, :2] * X)
    (best, asked, none), *others = prop.seen
    assert none is None
    assert asked is settings
    assert best.members is None
    for (calculator, asked, start), member in zip(others, chosen, strict=True):
        assert asked is settings
        assert start.structures == {"a": "structure"}
        np.testing.assert_array_equal(calculator.model.theta, model.members[member])


def test_seeds_of_fits_are_said(model: Model) -> None:
    for metadata, seed in (
        ({"fit": {"seed": 5}}, 5),
        ({"fit": None}, None),
        ({}, None),
        ({"seed": 0, "fit": {"seed": 1}}, 0),
    ):
        found = propagation.propagate(Weight(), replace(model, metadata=metadata))
        assert found.model["seed"] == seed


def test_defaults_of_a_run(model: Model) -> None:
    prop = Weight()
    assert propagation.propagate(prop, model).settings == {
        "what": "first weights",
        **PropagationSettings().to_mapping(),
    }
    assert len(prop.seen) == 7
    assert {calculator._threads for calculator, _, _ in prop.seen} == {0}
    prop = Weight()
    propagation.propagate(prop, model, threads=2)
    assert {calculator._threads for calculator, _, _ in prop.seen} == {2}


class Here(Executor):
    """Runs what it is given at once, and keeps what that was."""

    def __init__(self) -> None:
        self.threads: list[Any] = []

    def submit(self, fn, /, *args, **kwargs) -> Future:
        self.threads.append(args[-1])
        future: Future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.parametrize(("threads", "each"), [(None, 1), (3, 3)])
def test_executors_take_members_on_one_thread_each(model: Model, threads: int | None, each: int) -> None:
    pool, prop = Here(), Weight()
    found = propagation.propagate(prop, model, executor=pool, threads=threads)
    assert pool.threads == [threads, *[each] * 6], "the best fit, alone, on all there are"
    assert prop.seen[0][0]._threads == (threads or 0)
    assert [calculator._threads for calculator, _, _ in prop.seen[1:]] == [each] * 6
    np.testing.assert_array_equal(found["a", "first"].members, model.members[:, 0, 0])


@pytest.mark.parametrize("executor", [None, Here()])
def test_progress_is_told(model: Model, executor: Executor | None) -> None:
    told: list[Any] = []
    settings = PropagationSettings(members=3)
    propagation.propagate(Weight(), model, settings, executor=executor, progress=lambda *said: told.append(said))
    assert told == [("weight: best fit", 0, None), *(("weight", k, 3) for k in (1, 2, 3))]


@pytest.mark.parametrize(
    "error", [mliuq.MliuqError("one"), np.linalg.LinAlgError("two"), FloatingPointError("three"), RelaxationError("x")]
)
def test_a_member_that_fails_fails_for_every_object(model: Model, error: Exception) -> None:
    bad = model.members[2, 0, 0]
    found = propagation.propagate(
        Weight(lambda w: error if w == bad else None), model, PropagationSettings(max_failed=0.2)
    )
    assert [f for f in found.failures if f.member == 2] == [Failure(2, "a", str(error)), Failure(2, "b", str(error))]
    for estimate in found.estimates:
        np.testing.assert_array_equal(np.isnan(estimate.members), np.arange(6) == 2)
    np.testing.assert_array_equal(np.isnan(found.curves[0].members), np.outer(np.arange(6) == 2, [True, True]))
    with pytest.raises(ZeroDivisionError):
        propagation.propagate(Weight(lambda w: ZeroDivisionError()), model)


def test_as_many_failures_as_allowed(model: Model) -> None:
    def failing(*members: int) -> Weight:
        bad = {float(model.members[m, 0, 0]) for m in members}
        return Weight(lambda w: mliuq.MliuqError("no") if w in bad else None)

    half = PropagationSettings(max_failed=0.5)
    assert propagation.propagate(failing(0, 1, 2), model, half)["a", "first"].reason == ""
    assert propagation.propagate(failing(0, 1, 2, 3), model, half)["a", "first"].reason == (
        "4 of 6 members failed, more than the 50% allowed"
    )
    none = propagation.propagate(failing(*range(6)), model, PropagationSettings(max_failed=1.0))
    assert {e.reason for e in none.estimates} == {"all 6 members failed"}


def test_a_best_fit_that_fails_ends_it(model: Model) -> None:
    class Lost(Weight):
        def measure(self, calculator, settings, start) -> Measurement:
            return Measurement(failures={"a": "not stable", "b": "no minimum"})

    with pytest.raises(
        mliuq.MliuqError, match=r"^weight: the best fit itself failed \(a: not stable; b: no minimum\)$"
    ):
        propagation.propagate(Lost(), model)


class TestFingerprint:
    def test_it_tells_models_apart(self, model: Model) -> None:
        print_ = driver.fingerprint(model)
        assert len(print_) == 64
        assert print_ == driver.fingerprint(replace(model, metadata={"other": 1}, noise={}))
        other = SnapParams(("W",), twojmax=6, rcutfac=4.3)
        assert model.params == SnapParams(("W",), twojmax=6, rcutfac=4.2)
        changed = [
            replace(model, theta=model.theta + 1e-12), replace(model, members=model.members + 1e-12),
            replace(model, members=None), replace(model, zbl=(1.0, 2.0)), replace(model, params=other),
            replace(model, params=replace(model.params, elements=("Ta",))),
        ]  # fmt: skip
        assert len({print_, *map(driver.fingerprint, changed)}) == 7


class TestCheckpoints:
    def interrupted(self, model: Model, path: Path, done: int) -> None:
        class Interrupted(Weight):
            def measure(self, calculator, settings, start) -> Measurement:
                if len(self.seen) > done:
                    raise KeyboardInterrupt
                return super().measure(calculator, settings, start)

        with pytest.raises(KeyboardInterrupt):
            propagation.propagate(Interrupted(), model, checkpoint=path)

    def test_it_holds_all_of_a_member(self, model: Model, tmp_path: Path) -> None:
        path = tmp_path / "members.jsonl"
        self.interrupted(model, path, 2)
        head, *lines = path.read_text(encoding="utf-8").splitlines()
        assert json.loads(head) == {
            "property": {"what": "first weights"}, "propagation": PropagationSettings().of_one_member(),
            "model": driver.fingerprint(model),
        }  # fmt: skip
        assert [json.loads(line)["member"] for line in lines] == [0, 1]
        assert json.loads(lines[1]) == {
            "member": 1,
            "values": [
                ["a", "first", model.members[1, 0, 0], "eV", 2.0, 3.0, "energy"],
                ["a", "second", model.members[1, 0, 1], "GPa", 0.0, 0.5, "force"],
                ["b", "third", model.members[1, 0, 2], "Å", 1.0, 0.0, "stress"],
            ],
            "lines": [["a line", [1.0, 2.0], (model.members[1, 0, :2] * X).tolist(), "x (Å)", "y (eV)"]],
            "failures": {"c": "no c here"},
        }
        (found,) = [driver._from_plain(json.loads(lines[1]))]
        assert found.values["b", "third"] == Value(model.members[1, 0, 2], "Å", Noise(1.0, 0.0), "stress")
        assert found.failures == {"c": "no c here"}
        line = found.lines["a line"]
        assert (line.x_label, line.y_label) == ("x (Å)", "y (eV)")
        np.testing.assert_array_equal(line.x, X)
        np.testing.assert_array_equal(line.y, model.members[1, 0, :2] * X)

    @pytest.mark.parametrize("tail", ["", '{"member": 4, "val', '{"member": 4}'])
    def test_a_run_that_goes_on_ends_as_one_that_was_not_stopped(self, model: Model, tmp_path: Path, tail: str) -> None:
        path = tmp_path / "members.jsonl"
        whole = propagation.propagate(Weight(), model)
        self.interrupted(model, path, 3)
        with path.open("a") as stream:
            stream.write(tail)
        told: list[Any] = []
        prop = Weight()
        again = propagation.propagate(prop, model, checkpoint=path, progress=lambda *said: told.append(said))
        assert json.dumps(again.to_mapping()) == json.dumps(whole.to_mapping())
        assert len(prop.seen) == 4, "the best fit and what was missing"
        assert told[1:] == [("weight", k, 6) for k in (4, 5, 6)]
        assert not path.exists()

    def test_stopped_again(self, model: Model, tmp_path: Path) -> None:
        """Half a line is not glued to what comes after it."""
        path = tmp_path / "members.jsonl"
        self.interrupted(model, path, 2)
        with path.open("a") as stream:
            stream.write('{"member": 4, "val')
        self.interrupted(model, path, 2)
        assert [json.loads(line)["member"] for line in path.read_text().splitlines()[1:]] == [0, 1, 2, 3]

    def test_other_calculations_are_refused(self, model: Model, tmp_path: Path) -> None:
        path = tmp_path / "members.jsonl"
        self.interrupted(model, path, 2)
        text = path.read_text()
        for other, settings, damage in (
            (replace(model, theta=model.theta + 1e-9), None, lambda text: text),
            (model, PropagationSettings(fmax=1e-3), lambda text: text),
            (model, None, lambda text: "no JSON\n" + text),
        ):
            path.write_text(damage(text))
            with pytest.raises(
                mliuq.MliuqError, match=r"members.jsonl holds members of another calculation \(model or"
            ):
                propagation.propagate(Weight(), other, settings, checkpoint=path)
        path.write_text(text)
        fewer = propagation.propagate(Weight(), model, PropagationSettings(members=3, seed=1), checkpoint=path)
        assert len(fewer.members) == 3, "how many members there are is not asked of one"


class Objects(propagation.ObjectProperty):
    """Objects a, b, c; what fails, fails as told."""

    name = "objects"

    def __init__(self, failing: dict[str, set[float]]) -> None:
        self.failing = failing
        self.seen: list[tuple[str, Any]] = []

    def objects(self) -> list[str]:
        return ["a", "b", "c"]

    def describe(self) -> dict[str, Any]:
        return {}

    def one(self, name, calculator, settings, before) -> Found:
        weight = float(calculator.model.theta[0, 0])
        self.seen.append((name, before))
        if weight in self.failing.get(name, set()):
            raise RelaxationError(f"{name} fell apart")
        lines = {"": Line(X, weight * X, "x", "y"), "more": Line(X, X, "x", "z")}
        return Found({"w": Value(weight, "eV"), "v": Value(2 * weight, "")}, f"relaxed {name}", lines)


def test_objects_fail_one_by_one(model: Model) -> None:
    best, first = float(model.theta[0, 0]), float(model.members[0, 0, 0])
    prop = Objects({"a": {best}, "c": {first}})
    found = propagation.propagate(prop, model, PropagationSettings(members=6, max_failed=0.3))
    assert found.failures == [Failure(-1, "a", "a fell apart"), Failure(0, "c", "c fell apart")]
    assert prop.seen[:3] == [("a", None), ("b", None), ("c", None)]
    assert prop.seen[3:5] == [("b", "relaxed b"), ("c", "relaxed c")], "what failed for the best fit is not tried again"
    assert [(e.object, e.quantity) for e in found.estimates] == [("b", "w"), ("b", "v"), ("c", "w"), ("c", "v")]
    assert [c.object for c in found.curves] == ["b", "b more", "c", "c more"]
    assert found["c", "v"].failed == 1
    assert found["b", "v"].members[1] == 2 * model.members[1, 0, 0]
    np.testing.assert_array_equal(found.curves[0].members[1], model.members[1, 0, 0] * X)
    assert found.curves[1].y_label == "z"


class TestCalculator:
    def test_one_weight_vector_and_nothing_else(self, model: Model) -> None:
        best, member = weights_of(model), weights_of(model, 4)
        np.testing.assert_array_equal(best.theta, model.theta)
        np.testing.assert_array_equal(member.theta, model.members[4])
        for found in (best, member):
            assert (found.members, dict(found.arrays), dict(found.metadata)) == (None, {}, {})
        np.testing.assert_array_equal(weights_of(replace(model, members=None), 1).theta, model.theta)

    def test_numbers_are_those_of_the_ase_door(self) -> None:
        model = random_model(PARAMS["binary"], members=3)
        atoms = bulk("W", "bcc", 3.1, cubic=True)
        atoms.rattle(0.1, seed=1)
        calculator = WeightsCalculator(weights_of(model, 2))
        peer = mliuq.MLIUQCalculator(weights_of(model, 2))
        assert set(calculator.implemented_properties) == {"energy", "free_energy", "energies", "forces", "stress"}
        for change in (None, "positions", "cell", "numbers", "pbc", "fewer"):
            if change == "positions":
                atoms.positions[0, 1] += 0.2
            elif change == "cell":
                atoms.set_cell(atoms.cell.array * 1.01)
            elif change == "numbers":
                atoms.numbers[1] = 4
            elif change == "pbc":
                atoms.pbc = (True, True, False)
            elif change == "fewer":
                atoms = atoms[:1]
                atoms.pbc = True
            for name in calculator.implemented_properties:
                np.testing.assert_allclose(
                    calculator.get_property(name, atoms), peer.get_property(name, atoms), rtol=1e-12, atol=1e-12
                )
        with pytest.raises(mliuq.MliuqError, match="Ta"):
            calculator.get_property("energy", Atoms("Ta", cell=atoms.cell, pbc=True))
        open_ = Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.5]])
        assert calculator.get_property("energy", open_) == pytest.approx(peer.get_property("energy", open_))
        assert "stress" not in calculator.results, "no volume, no stress"

    def test_nothing_is_evaluated_twice(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        calculator = WeightsCalculator(weights_of(model), threads=2, skin=0.7)
        atoms = bulk("W", "bcc", 3.1, cubic=True)
        atoms.calc = calculator
        before = calculator.get_property("energies", atoms)
        lists = []
        made = mliuq.propagation.calculator.Neighbours
        monkeypatch.setattr(
            "mliuq.propagation.calculator.Neighbours", lambda *given: lists.append(given[2:]) or made(*given)
        )
        asked: list[Any] = []
        potential = calculator._potential

        class Counted:
            cutoff = potential.cutoff

            def evaluate(self, structure, threads):
                asked.append(threads)
                return potential.evaluate(structure, threads=threads)

        calculator._potential = Counted()
        assert calculator.get_property("energies", atoms) is not None
        np.testing.assert_array_equal(atoms.get_potential_energies(), before)
        atoms.get_forces()
        assert asked == []
        atoms.positions[0, 0] += 0.01
        atoms.get_forces()
        assert asked == [2]
        assert lists == [], "the neighbour list is followed within its skin"
        atoms.positions[0, 0] += 0.5
        atoms.get_forces()
        assert lists == [(potential.cutoff, 0.7)]

    def test_defaults(self, model: Model) -> None:
        plain = WeightsCalculator(weights_of(model))
        assert (plain._threads, plain._skin, plain.members) == (0, 0.5, None)
        followed = WeightsCalculator(weights_of(model), members=model.members)
        assert followed.members is model.members


@pytest.mark.parametrize("engine", ["resampling", "implicit", "both"])
def test_engines_are_told_what_to_follow(model: Model, engine: str, tmp_path: Path) -> None:
    told: list[Any] = []
    prop, pool = Weight(), Here()
    settings = PropagationSettings(members=3, seed=2, engine=engine, steps=7)
    checkpoint = tmp_path / "members.jsonl"
    found = propagation.propagate(
        prop, model, settings, executor=pool, threads=2, checkpoint=checkpoint, progress=lambda *said: told.append(said)
    )
    bests = [(calculator, asked) for calculator, asked, start in prop.seen if start is None]
    engines = ["resampling", "implicit"] if engine == "both" else [engine]
    assert [asked.engine for _, asked in bests] == engines
    assert {asked.steps for _, asked, _ in prop.seen} == {7}
    for (calculator, _), name in zip(bests, engines, strict=True):
        if name == "implicit":
            np.testing.assert_array_equal(calculator.members, model.members[settings.choose(6)])
        else:
            assert calculator.members is None
    assert found.settings["engine"] == engine
    assert ("implicit" in found.comparisons) == (engine == "both")
    if engine == "both":
        assert [line["rms"] for line in found.comparisons["implicit"]] == [0.0, 0.0, 0.0]
        assert "spearman" in found.comparisons
    assert pool.threads == [2] * 4 * len(engines)
    assert len(told) == 4 * len(engines)
    assert {calculator._threads for calculator, _, _ in prop.seen} == {2}
