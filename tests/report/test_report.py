"""The report: numbers recomputed from the calculator and numpy, a page that stands alone, hostile names."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from mliuq.errors import MliuqError
from mliuq.model import Model
from mliuq.posterior.predict import predict as plain_predict
from mliuq.readers import read_structures
from mliuq.report import describe_structures, predict, reference_rows, write, write_report
from mliuq.report.numbers import MIN_ROWS, worst
from mliuq.report.predictions import KINDS

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Collects tags, ids and what the page would fetch; fails on tags that do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href") and not (value or "").startswith(("#", "data:")):
                self.fetched.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take the time of a report."""
    monkeypatch.setattr(write, "draw", lambda p, groups: {})


@pytest.fixture(scope="module")
def written(small_model: Path, held_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    model, structures = mliuq.Model.load(small_model), read_structures(held_out)
    judged = describe_structures(structures, held_out.name)
    write_report(model, reference_rows(model, structures), judged, folder, name="W.mliuq")
    return folder


def test_numbers_equal_those_of_the_calculator(written: Path, small_model: Path, held_out: Path) -> None:
    numbers = json.loads((written / "metrics.json").read_text(encoding="utf-8"))
    calculator = mliuq.MLIUQCalculator(small_model)
    errors, bars, names, spreads = [], [], [], []
    for atoms in read_structures(held_out):
        reference = atoms.get_potential_energy()
        names.append(str(atoms.info["id"]))
        atoms.calc = calculator
        errors.append((reference - atoms.get_potential_energy()) / len(atoms))
        bars.append(calculator.results["energy_err"] / len(atoms))
        spreads.append(calculator.results["energy_std"] / len(atoms))
    error, bar = np.array(errors), np.array(bars)
    energy = numbers["quantities"]["energy"]
    stated = energy.get("calibrated", energy["raw"])
    assert energy["rows"] == len(error)
    assert stated["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-9)
    assert stated["rms_z"] == pytest.approx(np.sqrt(np.mean((error / bar) ** 2)), rel=1e-9)
    assert stated["coverage_1"] == pytest.approx(np.mean(np.abs(error) <= bar))
    noise = Model.load(small_model).noise or {}
    raw = np.hypot(np.array(spreads), noise.get("energy", 0.0))
    assert energy["raw"]["rms_z"] == pytest.approx(np.sqrt(np.mean((error / raw) ** 2)), rel=1e-9)
    assert energy["raw"]["rms_z"] != pytest.approx(stated["rms_z"], rel=1e-3), "or raw and calibrated say the same"
    order = np.argsort(-np.abs(error), kind="stable")[:10]
    assert [w["index"] for w in energy["worst"]] == order.tolist()
    assert [w["name"] for w in energy["worst"]] == [names[i] for i in order]
    assert energy["worst"][0]["error"] == pytest.approx(np.abs(error).max(), rel=1e-9)


def test_forces_and_stress_are_judged_by_what_the_calculator_shows(small_model: Path, held_out: Path) -> None:
    model, structures = Model.load(small_model), read_structures(held_out)[:12]
    calculator = mliuq.MLIUQCalculator(model)
    rows = reference_rows(model, structures, stress=True)
    theta = model.theta.ravel()
    plain = plain_predict(rows.rows, theta, model.members.reshape(model.n_members, -1) - theta)
    for found in predict(model, rows)[1:]:
        of = {"force": "forces", "stress": "stress"}[found.kind]
        compared = 0
        for config, atoms in enumerate(structures):
            at = np.flatnonzero(found.config == config)
            if len(at) != np.size(calculator.get_property(of, atoms)):
                continue  # symmetry makes some components zero: they are left out
            compared += 1
            by_numpy = plain.of_kind(KINDS[found.kind])
            by_numpy = by_numpy.where(by_numpy.config == config)
            for values, suffix, expected in (
                (found.prediction, "", by_numpy.mean),
                (found.spread, "_std", by_numpy.std),
                (found.lower, "_min", by_numpy.low),
                (found.upper, "_max", by_numpy.high),
                (found.best, "_err", None),
            ):
                shown = np.ravel(calculator.get_property(of + suffix, atoms))
                np.testing.assert_allclose(values[at], shown, rtol=1e-10, atol=1e-10)
                if expected is not None:
                    np.testing.assert_allclose(values[at], expected, rtol=1e-10, atol=1e-10)
        assert compared > 3


def test_equal_reports_are_equal_bit_for_bit(written: Path, small_model: Path, held_out: Path, tmp_path: Path) -> None:
    model, structures = mliuq.Model.load(small_model), read_structures(held_out)
    judged = describe_structures(structures, held_out.name)
    write_report(model, reference_rows(model, structures), judged, tmp_path / "again", name="W.mliuq")
    for name in ("index.html", "metrics.json"):
        assert (tmp_path / "again" / name).read_bytes() == (written / name).read_bytes(), name


def test_classes_hold_all_rows(written: Path, held_out: Path) -> None:
    numbers = json.loads((written / "metrics.json").read_text(encoding="utf-8"))
    structures = read_structures(held_out)
    energies = Counter(str(atoms.info["config_type"]) for atoms in structures)
    told = {name: group["count"] for name, group in numbers["quantities"]["energy"]["by_config_type"].items()}
    assert told == {name: n for name, n in energies.items() if n >= MIN_ROWS}
    forces = numbers["quantities"]["force"]
    assert sum(group["count"] for group in forces["by_config_type"].values()) == forces["rows"]


def test_page_stands_alone_and_is_well_formed(written: Path) -> None:
    text = (written / "index.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert not page.open
    assert page.fetched == []
    assert "script" not in page.tags
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") == 14
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert sorted(p.name for p in written.iterdir()) == ["index.html", "metrics.json"]
    for sentinel in ("#010203", "#0d0e0f", "#101112"):
        assert sentinel not in text


@pytest.mark.usefixtures("without_pictures")
def test_names_from_data_cannot_inject(small_model: Path, held_out: Path, tmp_path: Path) -> None:
    model, structures = mliuq.Model.load(small_model), read_structures(held_out)
    for atoms in structures:
        atoms.info["config_type"] = "<script>alert(1)</script>"
        atoms.info["name"] = 'a"><img src=x>'
    judged = describe_structures(structures, "<b>data</b>")
    write_report(model, reference_rows(model, structures), judged, tmp_path, name="<i>W</i>")
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    for tag in ("<script", "<img", "<b>data", "<i>W"):
        assert tag not in text


def test_raw_and_calibrated_differ_by_alpha_only(small_model: Path, held_out: Path) -> None:
    model = mliuq.Model.load(small_model)
    scaled = dataclasses.replace(model, noise=None, calibration={"alpha_energy": 2.0, "alpha_force": 3.0})
    energy, force = predict(scaled, reference_rows(scaled, read_structures(held_out)))
    assert energy.calibrated is not None
    assert force.calibrated is not None
    np.testing.assert_allclose(energy.calibrated, 2.0 * energy.raw)
    np.testing.assert_allclose(force.calibrated, 3.0 * force.raw)
    np.testing.assert_array_equal(energy.raw, energy.spread)
    bare = dataclasses.replace(model, calibration=None)
    assert all(p.calibrated is None for p in predict(bare, reference_rows(bare, read_structures(held_out))))


@pytest.mark.usefixtures("without_pictures")
def test_stress_has_its_own_section(small_model: Path, held_out: Path, tmp_path: Path) -> None:
    model, structures = mliuq.Model.load(small_model), read_structures(held_out)[:20]
    rows = reference_rows(model, structures, stress=True)
    numbers = write_report(model, rows, describe_structures(structures, "data"), tmp_path)
    assert set(numbers["quantities"]) == {"energy", "force", "stress"}
    assert '<h2 id="stress">' in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_repulsion_is_part_of_the_parity_but_not_of_the_error(small_model: Path, held_out: Path) -> None:
    model, structures = mliuq.Model.load(small_model), read_structures(held_out)
    with_zbl = dataclasses.replace(model, zbl=(3.0, 4.0))
    energy = predict(with_zbl, reference_rows(with_zbl, structures))[0]
    plain = predict(model, reference_rows(model, structures))[0]
    np.testing.assert_allclose(energy.y, plain.y, rtol=1e-12)
    calculator = mliuq.MLIUQCalculator(with_zbl)
    for atoms, value in zip(structures[:5], energy.prediction, strict=False):
        atoms.calc = calculator
        assert value == pytest.approx(atoms.get_potential_energy() / len(atoms), rel=1e-10)


@pytest.mark.usefixtures("without_pictures")
def test_two_structures_are_enough_and_none_is_an_error(small_model: Path, held_out: Path, tmp_path: Path) -> None:
    model, structures = mliuq.Model.load(small_model), read_structures(held_out)[:2]
    numbers = write_report(model, reference_rows(model, structures), describe_structures(structures, "two"), tmp_path)
    assert numbers["quantities"]["energy"]["rows"] == 2
    for atoms in structures:
        atoms.calc = None
    with pytest.raises(MliuqError, match="no rows"):
        reference_rows(model, structures)


def test_model_without_ensemble_is_refused(small_model: Path, held_out: Path) -> None:
    model = dataclasses.replace(mliuq.Model.load(small_model), members=None)
    rows = reference_rows(model, read_structures(held_out)[:3])
    with pytest.raises(MliuqError, match="no ensemble"):
        predict(model, rows)


@pytest.mark.usefixtures("without_pictures")
def test_forces_are_judged_by_element_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    params = mliuq.SnapParams(elements=("W", "Be"), twojmax=2, rcutfac=4.0)
    theta = rng.normal(size=(2, params.n_weights))
    model = mliuq.Model(params, theta, theta + 0.1 * rng.normal(size=(20, 2, params.n_weights)))
    structures = []
    for _ in range(4):
        atoms = bulk("W", cubic=True, a=3.2).repeat((2, 1, 1))
        atoms.symbols[::2] = "Be"
        atoms.rattle(0.1, rng=rng)
        forces = rng.normal(size=(len(atoms), 3))
        forces[atoms.symbols == "Be"] *= 1e3  # what is said of the elements must differ
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=forces)
        structures.append(atoms)
    judged = describe_structures(structures, "two elements")
    facts = write_report(model, reference_rows(model, structures), judged, tmp_path)["quantities"]
    assert facts["energy"]["by_element"] == {}
    assert set(facts["force"]["by_element"]) == {"Be", "W"}
    assert sum(group["count"] for group in facts["force"]["by_element"].values()) == facts["force"]["rows"]
    assert facts["force"]["by_element"]["Be"]["mae"] > 50 * facts["force"]["by_element"]["W"]["mae"]
    assert "By element" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_worst_configurations_and_the_bars_they_were_promised(small_model: Path, held_out: Path) -> None:
    """Against the calculator: the largest error of each configuration, and the calibrated bar of that row."""
    model = Model.load(small_model)
    model = dataclasses.replace(model, calibration={**model.calibration, "alpha_energy": 4.0, "alpha_force": 3.0})
    structures = read_structures(held_out)
    judged = describe_structures(structures, "held out")
    energies = next(p for p in predict(model, reference_rows(model, structures)) if p.kind == "energy")
    found = worst(energies, judged)
    errors, bars = [], []
    for atoms in structures:
        reference = atoms.get_potential_energy()
        atoms.calc = mliuq.MLIUQCalculator(model)
        errors.append(abs(reference - atoms.get_potential_energy()) / len(atoms))
        bars.append(atoms.calc.results["energy_err"] / len(atoms))
    order = np.argsort(errors)[::-1][: len(found)]
    assert [w.index for w in found] == list(order)
    np.testing.assert_allclose([w.error for w in found], np.array(errors)[order], rtol=1e-7)
    np.testing.assert_allclose([w.stated for w in found], np.array(bars)[order], rtol=1e-7)
    assert [w.n_atoms for w in found] == [len(structures[i]) for i in order]
