"""Groups of environments by what a model finds usual, and the intervals of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bcc100, bulk
from mliuq import MLIUQCalculator, MliuqError
from mliuq.model.environments import REST, Environments, Usual, environments_of
from mliuq.model.quantiles import conformal_widths
from mliuq.report import predict, reference_rows
from systems import PARAMS, random_model

FORCE = {"0.5": 1.0, "0.9": 2.0}
GROUPS = {"undercoordinated": {"0.5": 1.5, "0.9": 4.0}, "close pairs": {"0.5": 3.0}, REST: {"0.5": 0.5, "0.9": 1.0}}
STORED: dict[str, Any] = {"conformal": {"force": FORCE, "energy": FORCE}, "groups": {"conformal": {"force": GROUPS}}}


def slab() -> Atoms:
    found = bcc100("W", (1, 1, 6), a=3.18, vacuum=8.0)
    found.pbc = True
    return found


def crystals() -> list[Atoms]:
    found = [bulk("W", a=3.18 * (1 + 0.002 * seed), cubic=True).repeat(2) for seed in range(5)]
    for seed, atoms in enumerate(found):
        atoms.rattle(0.03, seed=seed)
    return found


def masks(**rows: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name.replace("_", " "): np.isin(np.arange(4), at) for name, at in rows.items()}


def test_the_largest_of_a_rows_groups_counts() -> None:
    groups = masks(undercoordinated=(0, 1), close_pairs=(1,), strained=(2,), none_of_these=(3,))
    np.testing.assert_allclose(conformal_widths(STORED, "force", 0.5, groups), [1.5, 3.0, 1.0, 0.5])
    np.testing.assert_allclose(conformal_widths(STORED, "force", 0.7, groups), [2.75, 3.0, 1.5, 0.75])
    np.testing.assert_allclose(conformal_widths(STORED, "force", 0.9, groups), [4.0, 4.0, 2.0, 1.0])
    np.testing.assert_allclose(conformal_widths(STORED, "energy", 0.9, groups), 2.0)
    wide = {name: np.tile(rows, (3, 1)) for name, rows in groups.items()}
    assert conformal_widths(STORED, "force", 0.9, wide).shape == (3, 4)
    with pytest.raises(MliuqError, match=r"expected at most 0\.9"):
        conformal_widths(STORED, "force", 0.95, groups)
    bad = {**STORED, "groups": {"conformal": {"force": {"close pairs": {"0.5": "x"}}}}}
    with pytest.raises(MliuqError, match=r"calibration\.groups\.conformal\.force\.close pairs is"):
        conformal_widths(bad, "force", 0.5, groups)


@pytest.mark.parametrize("value", [-1.0, np.nan, "1", True, np.inf])
def test_what_is_usual_is_a_number(value: Any) -> None:
    for stored in (
        {"nearest": {"W": value}, "neighbours": {"W": 14.0}, "volume": 16.0},
        {"nearest": {"W": 2.7}, "neighbours": {"W": value}, "volume": 16.0},
        {"nearest": {"W": 2.7}, "neighbours": {"W": 14.0}, "volume": value},
    ):
        with pytest.raises(MliuqError, match=r"calibration\.groups\.usual holds .*, expected numbers of at least 0"):
            Usual.from_mapping(stored)


def test_one_structure_is_judged_as_among_those_a_model_has_seen() -> None:
    squeezed = bulk("W", a=3.18 * 0.85, cubic=True).repeat(2)
    together = environments_of([*crystals(), slab(), squeezed])
    usual = Usual.from_mapping(together.usual.to_mapping())
    assert usual == together.usual
    for index, atoms in ((5, slab()), (6, squeezed)):
        alone = environments_of([atoms], usual)
        for name in ("undercoordinated", "close"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(together, name)[index])
        assert alone.strained[0] == together.strained[index]
    assert together.undercoordinated[5].sum() == 2
    assert together.close[6].all()
    assert together.strained[6]
    assert not environments_of([slab()]).strained[0]
    other = environments_of([bulk("Cu", cubic=True).repeat(2)], usual)
    assert not any(np.concatenate([*other.undercoordinated, *other.close]))


def test_rows_of_atoms_and_of_whole_configurations() -> None:
    few, none = np.array([True] + 19 * [False]), np.zeros(4, np.bool_)
    found = Environments([none, few], [none, ~few], np.array([True, False])).groups(
        np.array([0, 0, 1, 1, 1]), np.array([3, -1, 0, 1, -1])
    )
    assert {name: list(np.flatnonzero(rows)) for name, rows in found.items()} == {
        "undercoordinated": [2], "close pairs": [3, 4], "strained": [0, 1], REST: [],
    }  # fmt: skip


@pytest.mark.parametrize("stored", [3, {}, {"nearest": {}, "neighbours": {}}, {"nearest": 1}])
def test_what_is_usual_must_be_numbers(stored: Any) -> None:
    with pytest.raises(MliuqError, match=r"calibration\.groups\.usual is .* expected nearest and neighbours"):
        Usual.from_mapping(stored)


def test_intervals_of_the_calculator_and_of_reports() -> None:
    """Atoms of surfaces have their own, those of the model's data without groups the one of all."""
    base = random_model(PARAMS["linear"], members=6, noise=True)
    symbol = base.params.elements[0]
    atoms = slab()
    atoms.symbols = [symbol] * len(atoms)
    frames = [*crystals(), atoms]
    for frame in frames:
        frame.symbols = [symbol] * len(frame)
    usual = environments_of(frames[:5]).usual.to_mapping()
    quantiles = {"force": FORCE, "energy": FORCE, "stress": FORCE}
    groups = {"usual": usual, "conformal": {"force": GROUPS, "energy": GROUPS}}
    model = replace(base, calibration={"alpha_force": 1.0, "conformal": quantiles, "groups": groups})
    atoms.calc = MLIUQCalculator(model)
    forces, error = (atoms.calc.get_property(name, atoms) for name in ("forces", "forces_err"))
    low, high = atoms.calc.interval("forces", 0.9)
    outer = environments_of(frames).undercoordinated[5]
    assert 0 < outer.sum() < len(atoms)
    width = np.where(outer, 4.0, 1.0)[:, None]
    np.testing.assert_allclose(high - forces, width * error, rtol=1e-9)
    np.testing.assert_allclose(forces - low, width * error, rtol=1e-9)
    low, high = atoms.calc.interval("energy", 0.9)
    assert high - low == pytest.approx(2 * 4.0 * atoms.calc.get_property("energy_err", atoms))
    low, high = atoms.calc.interval("stress", 0.9)
    np.testing.assert_allclose(high - low, 2 * 2.0 * atoms.calc.get_property("stress_err", atoms), rtol=1e-9)

    for frame in frames:
        frame.calc = MLIUQCalculator(base)
        frame.get_forces()
    energy, force = predict(model, reference_rows(model, frames, threads=1))
    np.testing.assert_allclose(energy.own_widths[0.9], [1.0] * 5 + [4.0])
    of_slab = force.config == 5
    np.testing.assert_allclose(force.own_widths[0.9][of_slab], np.where(outer[force.atom[of_slab]], 4.0, 1.0))
    assert force.width(0.9) == 1.0
    wrong = replace(force, prediction=force.y - 3.0 * force.best)
    np.testing.assert_array_equal(wrong.held(0.9), force.own_widths[0.9] == 4.0)
    plain = predict(replace(model, calibration={"conformal": quantiles}), reference_rows(model, frames, threads=1))[1]
    assert not plain.own_widths
    assert plain.width(0.9) == 2.0
