"""An update is the fit of all data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mliuq
import numpy as np
import pytest
import safetensors.numpy
from ase import Atoms
from mliuq import MliuqError
from mliuq.fitting.past import triangle_of
from mliuq.learning import FitState, UpdatedFit, updated_fit
from mliuq.model import container
from mliuq.readers import read_structures
from mliuq.regression.distributed import Team
from mliuq.regression.rows import ArrayRows
from mliuq.regression.solver import solve, solve_triangle, triangularise

SETTINGS: dict[str, Any] = {"snap.twojmax": 2, "posterior.members": 40, "posterior.calibration_folds": 3}


@pytest.fixture(scope="module")
def data(tungsten: Path) -> list[Atoms]:
    return read_structures(tungsten)[::6]


@pytest.fixture(scope="module")
def first(data: list[Atoms]) -> UpdatedFit:
    return updated_fit(data[:40], SETTINGS)


@pytest.fixture(scope="module")
def updated(data: list[Atoms], first: UpdatedFit) -> UpdatedFit:
    return updated_fit(data, SETTINGS, state=first.state)


def frozen(state: FitState, **more: Any) -> dict[str, Any]:
    weights = {f"weights.{kind}": value for kind, value in state.constants.items()}
    return {**SETTINGS, **weights, "data.test_fraction": 0.0, **more}


def test_an_update_is_the_fit_of_all(data: list[Atoms], first: UpdatedFit, updated: UpdatedFit) -> None:
    assert updated.reused == len(first.state.past.y) > 0
    assert set(first.state.constants) == {"energy"}
    whole = mliuq.fit(data, settings=frozen(first.state))
    new = updated.model

    def near(a: Any, b: Any, tolerance: float) -> None:
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())

    near(new.theta, whole.theta, 1e-8)
    factor, other = (m.arrays["extrapolation.factor"] for m in (new, whole))
    near(factor.T @ factor, other.T @ other, 1e-8)
    near(new.arrays["extrapolation.active_set"], whole.arrays["extrapolation.active_set"], 1e-8)
    near(new.members, whole.members, 1e-5)
    for kind in ("energy", "force"):
        assert new.noise[kind] == pytest.approx(whole.noise[kind], rel=1e-4)
        assert new.calibration[f"alpha_{kind}"] == pytest.approx(whole.calibration[f"alpha_{kind}"], rel=1e-4)
    assert new.metadata["data"] == whole.metadata["data"]
    np.testing.assert_array_equal(new.arrays["data.fingerprints"], whole.arrays["data.fingerprints"])


def test_posterior_and_calibration_are_made_anew(first: UpdatedFit, updated: UpdatedFit) -> None:
    one, other = first.model, updated.model
    assert one.noise != other.noise
    assert one.calibration["alpha_force"] != other.calibration["alpha_force"]
    assert not np.allclose(one.arrays["posterior.factor"], other.arrays["posterior.factor"])


def test_old_rows_are_not_folded_in_again(data: list[Atoms], first: UpdatedFit, monkeypatch: Any) -> None:
    counted = []

    def counting(rows: Any, *arguments: Any) -> Any:
        counted.append(len(rows.table))
        return triangularise(rows, *arguments)

    monkeypatch.setattr("mliuq.fitting.past.triangularise", counting)
    again = updated_fit(data[:45], SETTINGS, state=first.state)
    assert counted == [len(again.state.past.y) - len(first.state.past.y)]
    counted.clear()
    same = updated_fit(data[:40], SETTINGS, state=first.state)
    assert counted == []
    np.testing.assert_array_equal(same.model.theta, first.model.theta)


def test_many_updates_are_one(data: list[Atoms], first: UpdatedFit, updated: UpdatedFit) -> None:
    state = first.state
    for n in (44, 50, len(data)):
        last = updated_fit(data[:n], {**SETTINGS, "posterior.calibrate": False}, state=state)
        state = last.state
    scale = np.abs(updated.model.theta).max()
    np.testing.assert_allclose(last.model.theta, updated.model.theta, rtol=0, atol=1e-9 * scale)


def test_a_state_comes_back_from_its_file(first: UpdatedFit, data: list[Atoms], tmp_path: Path) -> None:
    path = tmp_path / "fit.state"
    first.state.save(path)
    back = FitState.load(path)
    back.save(tmp_path / "again.state")
    assert path.read_bytes() == (tmp_path / "again.state").read_bytes()
    assert (back.configurations, back.identity, back.constants, back.rcut) == (
        first.state.configurations, first.state.identity, dict(first.state.constants), 4.7
    )  # fmt: skip
    quick = {**SETTINGS, "posterior.members": 0}
    one, other = (updated_fit(data[:43], quick, state=state).model for state in (first.state, back))
    np.testing.assert_array_equal(one.theta, other.theta)
    from safetensors.numpy import load_file

    np.testing.assert_array_equal(load_file(path)["triangle"], first.state.past.triangle)


def test_constants_are_kept_until_they_are_asked_for(data: list[Atoms], first: UpdatedFit, updated: UpdatedFit) -> None:
    assert updated.state.constants == first.state.constants
    assert updated.model.metadata["fit"]["settings"]["weights"]["energy"] == first.state.constants["energy"]
    anew = updated_fit(data, SETTINGS, state=first.state, rebalance=True)
    by_fit = mliuq.fit(data, settings={**SETTINGS, "data.test_fraction": 0.0})
    assert anew.state.constants == by_fit.metadata["fit"]["balance"]["constants"]
    assert anew.state.constants != first.state.constants
    assert anew.reused == 0
    np.testing.assert_allclose(anew.model.theta, by_fit.theta, rtol=1e-8)


def test_other_weights_fold_all_in_again(data: list[Atoms], first: UpdatedFit) -> None:
    for change in ({"weights.force": 3.0}, {"weights.near_equilibrium": {}}):
        settings = {**frozen(first.state), **change, "posterior.members": 0}
        found = updated_fit(data[:45], settings, state=first.state)
        assert found.reused == 0
        np.testing.assert_allclose(found.model.theta, mliuq.fit(data[:45], settings=settings).theta, rtol=1e-8)


def test_given_one_body_energies_weigh_as_in_the_fit_of_all(data: list[Atoms]) -> None:
    """Their weight grows with the data: they are no part of what is kept."""
    settings = {**SETTINGS, "solver.one_body": {"W": -1.0}, "posterior.members": 0}
    begun = updated_fit(data[:40], settings)
    new = updated_fit(data[:48], settings, state=begun.state)
    assert new.reused == len(begun.state.past.y)
    whole = mliuq.fit(data[:48], settings={**frozen(begun.state), **{k: settings[k] for k in settings}, **{
        f"weights.{k}": v for k, v in begun.state.constants.items()
    }})  # fmt: skip
    np.testing.assert_allclose(new.model.theta, whole.theta, rtol=0, atol=1e-8 * np.abs(whole.theta).max())
    assert new.model.theta[0, 0] == pytest.approx(-1.0, abs=1e-6)


def test_a_test_set_judges_and_is_not_fitted(data: list[Atoms], first: UpdatedFit) -> None:
    quick = {**SETTINGS, "posterior.members": 0, "data.test_fraction": 0.3}
    told: list[str] = []
    found = updated_fit(data[:42], quick, state=first.state, test=data[42:], progress=lambda s, *_: told.append(s))
    assert found.model.metadata["data"]["configurations"] == 42
    assert found.model.metadata["data"]["held_out"] == len(data) - 42
    assert told


def test_triangles_in_parts_are_that_of_all() -> None:
    """Ill-conditioned rows, in three parts; against one solution."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8)) * 10.0 ** np.linspace(0, -6, 8)
    x[:, 7] = x[:, 6] * (1 + 1e-3 * rng.normal(size=300))
    y, w, config = rng.normal(size=300), rng.uniform(0.5, 2.0, 300), np.arange(300) // 5

    def rows(n: int) -> ArrayRows:
        return ArrayRows(x[:n], y[:n], w[:n], config=config[:n], rows_per_block=35)

    past = None
    for n in (100, 170, 300):
        triangle, past = triangle_of(rows(n), 100, past, Team())
    whole = solve(rows(300))
    found = solve_triangle(triangle, rows(300).table)
    np.testing.assert_allclose(found.theta, whole.theta, rtol=1e-8)
    np.testing.assert_allclose(np.abs(found.factor), np.abs(whole.factor), rtol=1e-8)


def test_what_does_not_begin_with_the_state_is_one_error(data: list[Atoms], first: UpdatedFit) -> None:
    moved = data[3].copy()
    moved.calc = data[3].calc
    moved.positions[0, 0] += 1e-9
    for structures in (data[:39], data[1:45], [*data[:3], moved, *data[4:45]]):
        with pytest.raises(MliuqError, match="do not begin with the 40 of the state"):
            updated_fit(structures, SETTINGS, state=first.state)
    with pytest.raises(MliuqError, match="or the descriptor"):
        updated_fit(data[:45], {**SETTINGS, "snap.twojmax": 4}, state=first.state)


def test_the_cutoff_found_at_first_is_kept(
    data: list[Atoms], first: UpdatedFit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mliuq.descriptor.settings.default_cutoff", lambda *_: 5.1)
    quick = {**SETTINGS, "posterior.members": 0}
    assert updated_fit(data[:43], quick, state=first.state).model.params.rcutfac == 4.7
    anew = updated_fit(data[:40], quick)
    assert anew.model.params.rcutfac == anew.state.rcut == 5.1
    assert updated_fit(data[:43], quick, state=anew.state).model.params.rcutfac == 5.1
    with pytest.raises(MliuqError, match="or the descriptor"):
        updated_fit(data[:43], {**quick, "snap.rcut": 4.7}, state=anew.state)
    # States written before cutoffs followed the data know none: it was 4.7 Å.
    path = tmp_path / "fit.state"
    first.state.save(path)
    arrays, texts = container.unpack(path)
    metadata = json.loads(texts["mliuq"])
    del metadata["rcut"]
    path.write_bytes(container.pack(arrays, json.dumps(metadata)))
    assert FitState.load(path).rcut == 4.7
    path.write_bytes(container.pack(arrays, json.dumps(metadata | {"rcut": "auto"})))
    with pytest.raises(MliuqError, match="expected constants, configurations, identity and rcut"):
        FitState.load(path)


def test_a_file_that_is_no_state_is_one_error(first: UpdatedFit, tmp_path: Path) -> None:
    path = tmp_path / "state"
    with pytest.raises(MliuqError, match="cannot be read"):
        FitState.load(path)
    first.model.save(tmp_path / "W.mliuq")
    with pytest.raises(MliuqError, match="of another kind"):
        FitState.load(tmp_path / "W.mliuq")
    first.state.save(path)
    with pytest.raises(MliuqError, match="format_version is None"):
        mliuq.Model.load(path)
    whole = path.read_bytes()
    arrays, texts = container.unpack(path)
    other = json.dumps(json.loads(texts["mliuq"]) | {"kind": "another"})
    more = arrays | {"more": np.ones(1)}
    for changed in (container.pack(arrays, other), container.pack(more, texts["mliuq"]), safetensors.numpy.save(more)):
        path.write_bytes(changed)
        with pytest.raises(MliuqError, match="of another kind, expected the state of a fit"):
            FitState.load(path)
    path.write_bytes(whole[:-8])
    with pytest.raises(MliuqError, match="truncated"):
        FitState.load(path)
    path.write_bytes(whole[:-3] + b"xyz")
    with pytest.raises(MliuqError):
        FitState.load(path)
    short = replace(first.state.past, w=first.state.past.w[:-1])
    replace(first.state, past=short).save(path)
    with pytest.raises(MliuqError, match="arrays have shapes"):
        FitState.load(path)
    replace(first.state, constants={"charge": 1.0}).save(path)
    with pytest.raises(MliuqError, match="metadata is"):
        FitState.load(path)
