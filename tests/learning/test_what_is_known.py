"""What a loop begins with, whatever files call it, and the errors it is judged by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.units import GPa
from mliuq.errors import MliuqError
from mliuq.learning import loop
from mliuq.learning.folder import LearnFolder
from mliuq.learning.knowledge import Beginning, errors_on, fit_settings, read_beginning
from mliuq.learning.settings import LearnSettings
from systems import PARAMS, random_model


def labelled(n: int, seed: int) -> list[Atoms]:
    """Values under names of their own, stress in kbar of compression."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(n):
        atoms = bulk("W", cubic=True)
        atoms.rattle(0.1, seed=seed + index)
        atoms.info |= {"E": float(rng.normal()), "S": rng.normal(size=6), "kind": f"k{index % 2}", "x": 1}
        atoms.arrays["F"] = rng.normal(size=(2, 3))
        found.append(atoms)
    return found


@pytest.fixture
def settings(tmp_path: Path) -> LearnSettings:
    write(tmp_path / "train.xyz", labelled(3, 0), format="extxyz")
    write(tmp_path / "test.xyz", labelled(2, 9), format="extxyz")
    for name, n in (("start", 2), ("region", 3)):
        structures = [bulk("Ta") for _ in range(n)]
        for atoms in structures:
            atoms.info["x"] = 1
            atoms.calc = SinglePointCalculator(atoms, energy=1.0)
        write(tmp_path / f"{name}.xyz", structures, format="extxyz")
    changes = {
        "start.structures": ["start.xyz"], "select.region": ["region.xyz"], "select.criterion": "mean_information",
        "label.command": "c", "fit.data.train": ["train.xyz"], "fit.data.test": ["test.xyz"],
        "fit.data.energy_key": "E",
        "fit.data.forces_key": "F", "fit.data.stress_key": "S", "fit.data.group_key": "kind",
        "fit.data.stress_unit": "kbar", "fit.data.stress_sign": "compression", "fit.weights.stress": 2.0, "fit.seed": 4,
    }  # fmt: skip
    (tmp_path / "l.toml").write_text("")
    return LearnSettings.from_toml(tmp_path / "l.toml", changes)


def test_values_come_under_ases_names(settings: LearnSettings) -> None:
    found = read_beginning(settings)
    assert [len(getattr(found, name)) for name in ("train", "test", "starts", "region", "target")] == [3, 2, 2, 3, 0]
    for atoms, source in zip((*found.train, *found.test), (*labelled(3, 0), *labelled(2, 9)), strict=True):
        assert atoms.info == {"kind": source.info["kind"]}
        assert set(atoms.arrays) == {"numbers", "positions"}
        np.testing.assert_allclose(atoms.positions, source.positions, atol=1e-7)
        np.testing.assert_allclose(atoms.cell.array, source.cell.array, atol=1e-7)
        assert atoms.pbc.all()
        assert set(atoms.calc.results) == {"energy", "forces", "stress"}
        assert atoms.get_potential_energy() == pytest.approx(source.info["E"])
        np.testing.assert_allclose(atoms.get_forces(), source.arrays["F"], atol=1e-7)
        np.testing.assert_allclose(atoms.get_stress(), -source.info["S"] * GPa / 10, atol=1e-7)
    for atoms in (*found.starts, *found.region):
        assert (atoms.info, atoms.calc) == ({}, None)


def test_settings_of_the_fits(settings: LearnSettings) -> None:
    found = fit_settings(settings, read_beginning(settings))
    expected = settings.fit.updated({
        "data.train": (), "data.test": (), "data.energy_key": "energy", "data.forces_key": "forces",
        "data.stress_key": "stress", "data.stress_unit": "eV/A3", "data.stress_sign": "tension",
        "snap.elements": ("Ta", "W"),
    })  # fmt: skip
    assert found == expected
    assert (found.seed, found.data.group_key) == (4, "kind")
    named = settings.updated({"fit.snap.elements": ("W", "Ta", "Re")})
    assert fit_settings(named, read_beginning(settings)).snap.elements == ("W", "Ta", "Re")
    parts: Any = [[bulk(name)] for name in ("Cu", "Ag", "Au", "Pt", "Pd")]
    assert fit_settings(settings, Beginning(*parts)).snap.elements == ("Ag", "Au", "Cu"), "of what runs and is known"


def test_errors_on_the_test_set(settings: LearnSettings) -> None:
    """Against the calculator: errors and predicted errors by kind and group, one group without a name."""
    model = random_model(PARAMS["plain"], members=5, noise=True)
    beginning = read_beginning(settings)
    fit = fit_settings(settings, beginning).updated({"snap.elements": ("W",)})
    test = beginning.test
    del test[1].info["kind"]
    assert errors_on(model, [], fit) == []
    lines = {(line["kind"], line["group"]): line for line in errors_on(model, test, fit)}
    assert set(lines) == {(k, g) for k in ("energy", "force", "stress") for g in ("all", "k0", "none")}
    calculator = mliuq.MLIUQCalculator(model)
    for group, structures in (("all", test), ("k0", test[:1]), ("none", test[1:])):
        for kind, name in (("energy", "energy"), ("force", "forces"), ("stress", "stress")):
            errors, bars = [], []
            for atoms in structures:
                n = len(atoms) if kind == "energy" else 1
                reference = atoms.calc.results[name]
                errors.append(np.ravel((reference - calculator.get_property(name, atoms.copy())) / n))
                bars.append(np.ravel(calculator.get_property(f"{name}_err", atoms.copy()) / n))
            line = lines[kind, group]
            assert line["of"] == "test"
            assert line["rows"] == sum(map(len, errors))
            assert line["rmse"] == pytest.approx(np.sqrt(np.mean(np.concatenate(errors) ** 2)), rel=1e-6)
            if kind != "energy":  # whose floor is that of an atom, not of a cell's share
                predicted = np.sqrt(np.mean(np.concatenate(bars) ** 2))
                assert line["predicted"] == pytest.approx(predicted, rel=1e-6)
            assert line["predicted"] > 0.0


def test_what_may_change_while_a_loop_is_interrupted(settings: LearnSettings, tmp_path: Path) -> None:
    free = {
        "stop.rounds": 3, "stop.labels": 4, "label.retries": 9, "label.command": "d", "explore.workers": 3,
        "explore.lammps": "x", "explore.time_limit": 9.0,
    }  # fmt: skip
    for key, value in free.items():
        loop.check_same(settings, settings.updated({key: value}), tmp_path)
    for key, value, old in (
        ("seed", 3, 0), ("rebalance", False, True), ("start.rattle", 0.3, 0.1), ("explore.steps", 5, 10000),
        ("select.n", 3, 10), ("fit.snap.twojmax", 4, 8),
    ):  # fmt: skip
        with pytest.raises(MliuqError) as caught:
            loop.check_same(settings, settings.updated({key: value}), tmp_path)
        assert str(caught.value) == (
            f"{tmp_path}: the loop there has {key} = {old!r}, found {value!r}: expected the same, or another folder"
        )
    with pytest.raises(MliuqError, match=r"has fit\.snap\.zbl = \[\], found \[1\.0, 2\.0\]"):
        loop.check_same(settings, settings.updated({"fit.snap.zbl": (1.0, 2.0)}), tmp_path)


def test_a_loop_begins_from_its_folder(
    settings: LearnSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = LearnFolder(tmp_path / "deep" / "loop")
    first = loop.begin(settings, folder)
    assert LearnSettings.from_toml(folder.settings) == settings
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "learn.toml", "region.xyz", "starts.xyz", "target.xyz", "test.xyz", "train.xyz",
    ]  # fmt: skip
    monkeypatch.setattr(loop, "read_beginning", None)
    changed = settings.updated({"stop.rounds": 3})
    again = loop.begin(changed, folder)
    assert LearnSettings.from_toml(folder.settings) == changed
    for name in ("train", "test", "starts", "region", "target"):
        one, other = getattr(first, name), getattr(again, name)
        assert [len(atoms) for atoms in one] == [len(atoms) for atoms in other]
    folder.settings.unlink()
    (folder.path / "round_000").mkdir()
    with pytest.raises(MliuqError) as caught:
        loop.begin(settings, folder)
    assert str(caught.value) == f"{folder.path}: holds rounds but no learn.toml, expected a folder of its own"
