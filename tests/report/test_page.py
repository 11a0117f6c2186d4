"""The page and the numbers under it, cell by cell, against computations of a few lines."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from mliuq.errors import MliuqError
from mliuq.judging import metrics
from mliuq.model import Model
from mliuq.model.environments import REST, Environments, environments_of
from mliuq.propagation.results import Estimate, Failure, PropertyResult
from mliuq.regression.rows import ArrayRows
from mliuq.report import describe_structures, reference_rows, write_report
from mliuq.report import numbers as numbers_of
from mliuq.report import predictions as predictions_of
from mliuq.report import write as writing
from mliuq.report.environments import groups_of
from mliuq.report.numbers import JudgedSet, all_numbers
from mliuq.report.page import _quantity, render, verdict
from mliuq.report.predictions import Predictions, predict
from mliuq.report.rows import ReferenceRows
from mliuq.report.sheet import matched, render_sheet, with_error
from systems import PARAMS, random_atoms, random_model


def made(kind: str = "force", n: int = 90, calibrated: bool = True, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    spread = rng.lognormal(-2.0, 0.7, n)
    y = rng.normal(size=n)
    prediction = y + spread * rng.normal(size=n)
    return Predictions(
        kind=kind, unit={"energy": "eV/atom", "force": "eV/Å", "stress": "eV/Å³"}[kind], y=y, prediction=prediction,
        spread=spread, raw=np.hypot(spread, 0.01), calibrated=np.hypot(1.5 * spread, 0.01) if calibrated else None,
        lower=prediction - 1.5 * spread, upper=prediction + 2.5 * spread, deviations=rng.normal(size=40),
        config=np.arange(n) // 9, atom=np.arange(n) % 9 // 3 if kind == "force" else np.full(n, -1), n_left_out=4,
        mae_of_all=0.1234, rmse_of_all=0.2345, widths={0.6827: 1.1, 0.9: 1.7, 0.9545: 2.3},
    )  # fmt: skip


def judged(n: int = 10) -> JudgedSet:
    around = Environments(
        [np.array([i == 0, False, False]) for i in range(n)], [np.array([False, i == 1, False]) for i in range(n)],
        np.arange(n) == 2,
    )  # fmt: skip
    return JudgedSet(
        "DFT <set>", [f"name {i}" for i in range(n)], ["bcc" if i % 3 else "liquid & gas" for i in range(n)],
        [3 + i for i in range(n)], [["W", "Be", "W"]] * n, around,
    )  # fmt: skip


def tables(page: str) -> list[list[list[str]]]:
    """Text of every cell of every table."""
    rows = [re.findall(r"<tr.*?</tr>", table, re.DOTALL) for table in re.findall(r"<table.*?</table>", page, re.DOTALL)]
    cells = [[re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL) for row in table] for table in rows]
    return [[[unescape(cell) for cell in row] for row in table] for table in cells]


def text_of(page: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "|", page))


def shown(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("calibrated", [True, False])
def test_every_number_of_the_report(calibrated: bool) -> None:
    p, test = made(calibrated=calibrated), judged()
    found = all_numbers([p], test, {"name": "W"})
    assert found["model"] == {"name": "W"}
    assert found["test_set"] == {"source": "DFT <set>", "configurations": 10, "atoms": 75}
    facts = found["quantities"]["force"]
    assert (facts["unit"], facts["rows"], facts["rows_zero_by_symmetry"]) == ("eV/Å", 90, 4)
    assert facts["all_rows"] == {"rows": 94, "mae": 0.1234, "rmse": 0.2345}
    error, sigma = p.y - p.prediction, p.raw if p.calibrated is None else p.calibrated
    outside = np.mean((p.y < p.lower) | (p.y > p.upper))
    assert ("calibrated" in facts) == calibrated
    for name, bar in (("raw", p.raw), ("calibrated", p.calibrated)):
        if bar is not None:
            z = error / bar
            assert facts[name]["rms_z"] == pytest.approx(np.sqrt(np.mean(z**2)))
            assert facts[name]["coverage_1"] == np.mean(np.abs(z) <= 1)
            assert facts[name]["coverage_2"] == np.mean(np.abs(z) <= 2)
            assert facts[name]["envelope"] == pytest.approx(outside)
            assert facts[name]["count"] == 90
    labels = {
        "by_config_type": np.array(test.classes)[p.config],
        "by_element": np.array(["W", "Be", "W"])[p.atom],
    }
    for table, own in labels.items():
        assert set(facts[table]) == set(own)
        for name in set(own):
            at = own == name
            assert facts[table][name]["count"] == at.sum()
            assert facts[table][name]["rms_z"] == pytest.approx(np.sqrt(np.mean((error / sigma)[at] ** 2)))
            assert facts[table][name]["envelope"] == pytest.approx(np.mean(((p.y < p.lower) | (p.y > p.upper))[at]))
    for level, width in p.widths.items():
        assert facts["intervals"][f"{level:g}"] == {"width": width, "held": np.mean(np.abs(error) <= width * sigma)}
    assert list(facts["intervals"]) == ["0.6827", "0.9", "0.9545"]
    largest = [np.abs(error[p.config == c]).max() for c in range(10)]
    for place, entry in zip(np.argsort(largest)[::-1], facts["worst"], strict=True):
        row = np.flatnonzero(p.config == place)[np.argmax(np.abs(error[p.config == place]))]
        assert entry == {
            "index": place, "name": f"name {place}", "config_type": test.classes[place], "n_atoms": 3 + place,
            "error": pytest.approx(largest[place]), "stated": pytest.approx(sigma[row]),
            "z": pytest.approx(largest[place] / sigma[row]),
        }  # fmt: skip
    size = np.sqrt(np.add.reduceat(p.y**2, np.arange(0, 90, 3)))
    groups = {
        "undercoordinated": (p.config == 0) & (p.atom == 0), "close pairs": (p.config == 1) & (p.atom == 1),
        "strained": p.config == 2, "high forces": np.repeat(size > np.quantile(size, 0.9), 3),
    }  # fmt: skip
    groups["none of these"] = ~np.any(list(groups.values()), axis=0)
    assert list(facts["by_environment"]) == list(groups)
    for name, at in groups.items():
        z = (error / sigma)[at]
        assert facts["by_environment"][name] == {
            "rows": at.sum(), "configurations": len(set(p.config[at])),
            "rmse": pytest.approx(np.sqrt(np.mean(error[at] ** 2))),
            "sharpness": pytest.approx(np.sqrt(np.mean(sigma[at] ** 2))),
            "rms_z": pytest.approx(np.sqrt(np.mean(z**2))), "held": np.mean(np.abs(z) <= 1.7),
        }  # fmt: skip


def test_ten_configurations_are_the_worst_and_three_rows_a_class() -> None:
    p, test = made("energy", 12), judged(12)
    p = replace(p, config=np.arange(12))
    assert len(numbers_of.worst(p, test)) == numbers_of.WORST == 10
    assert len(numbers_of.worst(p, test, 4)) == 4
    facts = all_numbers([p], replace(test, environments=None), {})["quantities"]["energy"]
    assert facts["by_element"] == facts["by_environment"] == {}
    classes = ["a", "a", "b", "b", "b", *"ccccccc"]
    assert {name: s["count"] for name, s in numbers_of.by_class(p, classes).items()} == {"b": 3, "c": 7}
    assert not numbers_of.by_class(p, list("abcdefghijkl"))
    force = replace(made(), atom=np.zeros(90, int))
    assert numbers_of.by_element(force, judged()) == {}, "one element alone"
    assert numbers_of.by_element(made(), replace(judged(), symbols=[])) == {}


def test_energies_belong_to_groups_by_a_tenth_of_the_atoms() -> None:
    p = replace(made("energy", 4), config=np.arange(4))
    ten = [np.arange(10) < k for k in (0, 1, 2, 0)]
    groups = groups_of(p, Environments(ten, [np.zeros(10, bool)] * 4, np.array([False, False, False, True])))
    assert {name: rows.tolist() for name, rows in groups.items()} == {
        "undercoordinated": [False, True, True, False], "strained": [False, False, False, True],
        REST: [True, False, False, False],
    }  # fmt: skip


def test_surroundings_at_their_limits() -> None:
    empty = environments_of([])
    assert (empty.undercoordinated, empty.close, empty.strained.tolist()) == ([], [], [])
    chain = [Atoms("W2", [[0, 0, 0], [d, 0, 0]], pbc=False) for d in (2.0, 2.0, 2.0, 1.7, 1.9, 7.0)]
    found = environments_of(chain)
    assert [mask.tolist() for mask in found.close] == [[False] * 2] * 3 + [[True] * 2, [False] * 2, [False] * 2]
    assert [mask.any() for mask in found.undercoordinated] == [False] * 5 + [True], "alone within 6 Å"
    assert not found.strained.any()
    cells = [Atoms("W", cell=[3.0, 3.0, 3.0 * f], pbc=True) for f in (1.0, 1.0, 1.0, 1.04, 1.06, 0.94)]
    assert environments_of(cells).strained.tolist() == [False] * 4 + [True] * 2


# --- predictions -----------------------------------------------------------------------------------------------------


def structures_of(model: Model, n: int = 5, stress: bool = True) -> list[Atoms]:
    """Structures whose references are the model's own values and a bit."""
    found = []
    for seed in range(n):
        atoms = random_atoms(("W", "Be"), 4 + seed % 2, 5.0 * np.eye(3), seed=seed)
        values = mliuq.evaluate(model, atoms, ("energy", "forces", "stress"))
        rng = np.random.default_rng(seed)
        results = {
            "energy": values["energy"] + rng.normal(),
            "forces": values["forces"] + rng.normal(size=(len(atoms), 3)),
        }
        if stress:
            results["stress"] = values["stress"] * (1.0 + 0.01 * rng.normal(size=6))
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.info["config_type"] = "ab"[seed % 2]
        found.append(atoms)
    return found


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take the time of a report; those that look at them are in test_pictures.py."""
    monkeypatch.setattr(writing, "draw", lambda p, groups: {})


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model(PARAMS["binary"], members=6, noise=True, zbl=(1.5, 2.5))


def test_predictions_of_every_row(model: Model) -> None:
    structures = structures_of(model)
    calls: list[tuple[str, int, int]] = []
    reference = reference_rows(model, structures, stress=True, threads=1)
    found = {p.kind: p for p in predict(model, reference, progress=lambda *step: calls.append(step))}
    assert list(found) == ["energy", "force", "stress"]
    assert calls == [("predict", 1, 1)]
    units = {"energy": "eV/atom", "force": "eV/Å", "stress": "eV/Å³"}
    names = {"energy": "energy", "force": "forces", "stress": "stress"}
    assert model.noise is not None
    assert model.calibration is not None
    for kind, p in found.items():
        parts: dict[str, list[np.ndarray]] = {key: [] for key in ("y", "f", "std", "min", "max", "comm")}
        for atoms in structures:
            n = len(atoms) if kind == "energy" else 1
            asked = [names[kind] + end for end in ("", "_std", "_min", "_max", "_comm")]
            values = mliuq.evaluate(model, atoms, tuple(asked))
            parts["y"].append(np.ravel(atoms.calc.results[names[kind]]) / n)
            for key, name in zip(("f", "std", "min", "max"), asked, strict=False):
                parts[key].append(np.ravel(values[name]) / n)
            parts["comm"].append((np.reshape(values[asked[4]], (6, -1)) - np.ravel(values[asked[0]])) / n)
        y, f, std, least, most = (np.concatenate(parts[key]) for key in ("y", "f", "std", "min", "max"))
        assert (p.unit, p.n_left_out) == (units[kind], 0)
        np.testing.assert_allclose(p.y, y, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(p.prediction, f, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(p.spread, std, rtol=1e-7, atol=1e-10)
        np.testing.assert_allclose(p.lower, least, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(p.upper, most, rtol=1e-7, atol=1e-9)
        floor, alpha = model.noise[kind], model.calibration[f"alpha_{kind}"]
        np.testing.assert_allclose(p.raw, np.sqrt(p.spread**2 + floor**2))
        np.testing.assert_allclose(p.calibrated, np.sqrt((alpha * p.spread) ** 2 + floor**2))
        assert p.mae_of_all == pytest.approx(np.mean(np.abs(y - f)))
        assert p.rmse_of_all == pytest.approx(np.sqrt(np.mean((y - f) ** 2)))
        np.testing.assert_allclose(
            np.sort(p.deviations), np.sort(np.concatenate(parts["comm"], axis=1).ravel()), atol=1e-8
        )
        rows = {"energy": 1, "stress": 6}
        count = [rows.get(kind, 3 * len(atoms)) for atoms in structures]
        np.testing.assert_array_equal(p.config, np.repeat(np.arange(5), count))
        atom = np.concatenate([np.arange(len(atoms)).repeat(3) for atoms in structures])
        np.testing.assert_array_equal(p.atom, atom if kind == "force" else -1)
        assert p.widths == pytest.approx({0.6827: 1.0, 0.9: 1.6449, 0.9545: 2.0}, rel=1e-3)
    told = replace(model, calibration={"conformal": {"energy": {"0.6": 3.0, "0.95": 5.0, "0.99": 6.0}}})
    (energy, *_) = predict(told, reference)
    assert energy.widths[0.9] == pytest.approx(3.0 + 2.0 * 0.3 / 0.35, rel=0.05)
    assert energy.calibrated == pytest.approx(energy.raw), "no factor for the kind: one"


def test_deviations_are_drawn_from_all_blocks_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(60.0).reshape(30, 2)
    kind = np.arange(30) % 2
    rows = ArrayRows(x, np.ones(30), kind=kind, config=np.arange(30) // 2, rows_per_block=4)
    moves = np.random.default_rng(0).normal(size=(3, 2))
    whole = predictions_of._pooled_deviations(rows, moves, 0)
    assert predictions_of.MAX_DEVIATIONS == 400_000
    for code in (0, 1):
        np.testing.assert_allclose(np.sort(whole[code]), np.sort((x[kind == code] @ moves.T).ravel()))
    assert whole[2].shape == (0,)
    monkeypatch.setattr(predictions_of, "MAX_DEVIATIONS", 10)
    few, again, other = (predictions_of._pooled_deviations(rows, moves, seed) for seed in (0, 0, 1))
    for code in (0, 1):
        assert len(few[code]) == 12, "four rows of three members hold ten"
        np.testing.assert_array_equal(few[code], again[code])
        assert not np.array_equal(few[code], other[code])
        known = x[kind == code] @ moves.T
        assert all(np.isclose(known, value).any() for value in few[code])


def test_models_that_cannot_be_judged(model: Model) -> None:
    reference = reference_rows(model, structures_of(model, 2), threads=1)
    with pytest.raises(MliuqError, match=r"^the model has no ensemble: nothing to judge \(expected an array 'members'"):
        predict(replace(model, members=None), reference)
    other = random_model(PARAMS["linear"], members=2)
    with pytest.raises(MliuqError, match=r"^the model has 31 weights, the rows are for 56$|^the model has \d+ weights"):
        predict(other, reference)
    rest = ArrayRows(np.zeros((6, reference.rows.n_weights)), np.ones(6))
    with pytest.raises(MliuqError, match=r"^the structures hold no energies or forces to compare with$"):
        predict(replace(model, noise=None, calibration=None), ReferenceRows(rest, np.zeros(6)))


def test_rows_zero_by_symmetry_count_in_the_errors_of_all(model: Model) -> None:
    """Forces of a crystal at rest beside those of a disordered one; a floor makes none of them live."""
    still = Atoms("WBe", [[0, 0, 0], [1.6, 1.6, 1.6]], cell=[3.2] * 3, pbc=True)
    still.calc = SinglePointCalculator(still, energy=0.0, forces=np.full((2, 3), 0.5))
    structures = [*structures_of(model, 2, stress=False), still]
    force = predict(model, reference_rows(model, structures, threads=1))[1]
    assert force.n_left_out == 6
    assert len(force.y) == 3 * 9
    moving = np.abs(force.y - force.prediction)
    assert force.mae_of_all == pytest.approx((moving.sum() + 6 * 0.5) / 33)
    assert force.rmse_of_all == pytest.approx(np.sqrt((np.sum(moving**2) + 6 * 0.25) / 33))
    assert set(force.config) == {0, 1}


def test_floor_and_factor_of_each_kind() -> None:
    model = random_model(PARAMS["linear"], members=3)
    for noise, calibration, found in (
        (None, None, (0.0, None)), ({"energy": 0.5}, None, (0.0, None)), ({"force": 0.25}, {}, (0.25, None)),
        ({"force": 0.25}, {"alpha_energy": 3.0}, (0.25, 1.0)), (None, {"alpha_force": 3.0}, (0.0, 3.0)),
    ):  # fmt: skip
        assert predictions_of._scale(replace(model, noise=noise, calibration=calibration), "force") == found


# --- page ------------------------------------------------------------------------------------------------------------


def rendered(ps: list[Predictions], test: JudgedSet, model_facts: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    facts = all_numbers(ps, test, model_facts)
    pictures = {p.kind: {"parity": f"<svg>{p.kind}</svg>", "environments": "<svg>groups</svg>"} for p in ps}
    worst = {p.kind: numbers_of.worst(p, test) for p in ps}
    files = {p.kind: {"parity": "<?xml A", "environments": "<?xml B"} for p in ps}
    return render(ps, test, facts, worst, pictures, files, title="W & co", facts="a <fact>"), facts


@pytest.mark.parametrize("calibrated", [True, False])
def test_every_cell_of_the_page(calibrated: bool) -> None:
    p, test = made(calibrated=calibrated), judged()
    lines = [
        {"group": "bcc", "kind": "energy", "rows": 7, "rmse": 0.01234, "rms_z": 1.234, "independent": 5.678},
        {"group": "<hcp>", "kind": "force", "rows": 1234, "rmse": 2345.6},
    ]
    page, facts = rendered([p], test, {"classes_out": lines})
    own = facts["quantities"]["force"]
    stated = own["calibrated" if calibrated else "raw"]
    columns = ["raw", "calibrated"] if calibrated else ["raw"]
    measures, classes, elements, groups, worst, out = tables(page)
    assert measures[0] == ["", *columns, "honest", ""]
    fractions = ("coverage_1", "coverage_2", "envelope")
    names = {
        "mae": ("MAE", ""), "rmse": ("RMSE", ""), "sharpness": ("mean error bar", ""), "rms_z": ("rms z", "1"),
        "mean_abs_z": ("mean |z|", "0.80"), "coverage_1": ("inside ±1σ", "68.3 %"),
        "coverage_2": ("inside ±2σ", "95.4 %"), "envelope": ("outside all members", "≈ 0"), "ence": ("ENCE", "→ 0"),
        "area": ("miscalibration area", "0"), "crps": ("CRPS", ""), "nll": ("NLL", ""),
        "spearman": ("rank correlation", ""), "auc": ("AUC, worst 10 %", ""),
    }  # fmt: skip

    def cell(key: str, value: float) -> str:
        return f"{100 * value:.1f} %" if key in fractions else shown(value)

    for row, (key, (heading, honest)) in zip(measures[1:15], names.items(), strict=True):
        assert row[:-1] == [heading, *(cell(key, own[column][key]) for column in columns), honest]
        assert row[-1]
    dash = ["–"] * (len(columns) - 1)
    for row, (level, width) in zip(measures[15:], (("68.27", 1.1), ("90", 1.7), ("95.45", 2.3)), strict=True):
        held = own["intervals"][f"{float(level) / 100:g}"]["held"]
        assert row == [
            f"inside {level} % intervals", *dash, f"{100 * held:.1f} %", f"{level} %",
            f"±{width:.2f} error bars, what `interval` states",
        ]  # fmt: skip
    keys = ("mae", "rmse", "sharpness", "rms_z", *fractions)
    for table, what, key in ((classes, "config_type", "by_config_type"), (elements, "element", "by_element")):
        assert table[0] == [what, "rows", *(names[k][0] for k in keys)]
        assert table[1:] == [[n, str(s["count"]), *(cell(k, s[k]) for k in keys)] for n, s in own[key].items()]
    assert groups[0] == [
        "group", "rows", "configurations", "RMSE", "mean error bar", "rms z", "inside 90 % intervals",
    ]  # fmt: skip
    assert groups[1:] == [
        [n, str(g["rows"]), str(g["configurations"]), shown(g["rmse"]), shown(g["sharpness"]), shown(g["rms_z"]),
         f"{100 * g['held']:.1f} %"]
        for n, g in own["by_environment"].items()
    ]  # fmt: skip
    assert worst[0] == ["name", "index in file", "class", "atoms", "largest |error|, eV/Å", "stated σ", "|error|/σ"]
    assert worst[1:] == [
        [w["name"], str(w["index"]), w["config_type"], str(w["n_atoms"]), shown(w["error"]), shown(w["stated"]),
         f"{w['z']:.1f}"]
        for w in own["worst"]
    ]  # fmt: skip
    low, high = metrics.rms_z_range(5.678)
    assert out == [
        ["class", "", "rows", "RMSE", "rms z", "independent", "honest"],
        ["bcc", "Energies, eV/atom", "7", "0.0123", "1.23", "5.68", f"{low:.2f} … {high:.2f}"],
        ["<hcp>", "Forces, eV/Å", "1234", "2346", "–", "–", "–"],
    ]
    text = text_of(page)
    for part in (
        "|W & co|", "|a <fact>|", "|Judged on DFT <set>: 10 configurations, 75 atoms.|",
        f"|{shown(0.1234)}||MAE of all rows, eV/Å|", f"|{shown(stated['sharpness'])}||stated error bar (rms), eV/Å|",
        f"|{stated['rms_z']:.2f}||rms z (honest: 1)|", f"|{100 * stated['coverage_1']:.0f} %||inside ±1σ (68 %)|",
        f"|{100 * stated['coverage_2']:.0f} %||inside ±2σ (95 %)|",
        f"|{100 * stated['envelope']:.1f} %||outside all members|",
        "|90 force components, 4 more are zero by symmetry and left out of everything but that MAE.|",
        "|By config_type (eV/Å)|", "|By element (eV/Å)|", "|By environment (eV/Å)|", "|Metrics|",
        "|The 10 configurations with the largest errors|", "|Those with fewer than 3 rows are left out.|",
        "|Training classes left out|", "|How to read this|", verdict(p, stated),
        "|Parity.| Predicted against reference; bars are one stated σ. |SVG|", "|By environment.| References inside",
    ):  # fmt: skip
        assert part in text, part
    assert '<a href="#force">Forces</a>' in page
    assert '<h2 id="force">Forces</h2>' in page
    assert "<title>W &amp; co</title>" in page
    assert page.startswith('<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n')
    assert page.endswith("\n</main>\n</body>\n</html>\n")
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "--ink: #1c2126" in page.partition("@media")[0]
    assert "--ink: #e8eaed" in page.partition("@media")[2]
    for name, coded in (("parity", "PD94bWwgQQ=="), ("environments", "PD94bWwgQg==")):
        assert f'<a download="force_{name}.svg" href="data:image/svg+xml;base64,{coded}">SVG</a>' in page
    assert page.index("<svg>force</svg>") < page.index("<svg>groups</svg>")
    assert "XX" not in page


def test_page_without_what_is_not_there() -> None:
    p, test = made("energy", 30), replace(judged(), environments=None, symbols=[])
    p = replace(p, config=np.arange(30) % 10, n_left_out=0)
    test = replace(test, classes=list("abcdefghij"))
    page, _ = rendered([replace(p, config=np.arange(30) // 3)], test, {})
    for absent in ("zero by symmetry and", "By element", "By environment (", "Training classes", "largest |error|"):
        assert absent not in text_of(page), absent
    assert "|30 energies per atom.|" in text_of(page)
    assert "|error|, eV/atom" in unescape(page)
    stress = made("stress")
    assert tables(rendered([stress], judged(), {})[0])[-1][0][:5] == [
        "name",
        "index in file",
        "class",
        "atoms",
        "largest |error|, eV/Å³",
    ]


@pytest.mark.parametrize(
    ("z", "says"),
    [(1.21, "too narrow: errors are 1.21 times what is stated"), (1.2, "of the right size: errors are 1.20 times what"),
     (0.85, "of the right size: errors are 0.85 times what is stated"), (0.84, "too wide: errors are 0.84 of what is")],
)  # fmt: skip
def test_verdicts(z: float, says: str) -> None:
    for p, which in ((made(), "Calibrated"), (made("energy", calibrated=False), "Raw")):
        error = np.abs(p.error)
        inside = [100 * np.mean(error <= width * p.best) for width in (1.1, 2.3)]
        of = "force components" if p.kind == "force" else "energies per atom"
        found = verdict(p, {"rms_z": z})
        assert found.startswith(f"{which} error bars of {of} are {says}")
        assert found.endswith(
            f"; intervals of 68 % (±1.10σ) hold {inside[0]:.0f} % of the references, those of 95 % (±2.30σ) "
            f"{inside[1]:.0f} %."
        )
    assert [_quantity(v) for v in (999.0, 999.9, 1000.0, -1234.5, 0.00012345)] == [
        "999",
        "1e+03",
        "1000",
        "-1234",
        "0.000123",
    ]


# --- files -----------------------------------------------------------------------------------------------------------


def test_facts_of_a_model(model: Model) -> None:
    lines = [{"group": "a"}]
    told = replace(model, metadata={"posterior": {"kind": "gaussian"}, "fit": {"classes_out": lines}})
    assert writing.model_summary(told) == {
        "elements": ["W", "Be"], "twojmax": 5, "rcutfac": 4.6, "quadratic": False, "weights": model.theta.size,
        "members": 6, "posterior": "gaussian", "noise": model.noise, "calibration": model.calibration,
        "classes_out": lines,
    }  # fmt: skip
    assert writing.describe(told) == (
        f"W Be: SNAP, 2J = 5, rcutfac 4.6 Å, {model.theta.size} weights, 6 members of the gaussian posterior,"
        " calibrated."
    )
    bare = random_model(PARAMS["quadratic"])
    assert writing.describe(bare) == (
        f"W: quadratic SNAP, 2J = 4, rcutfac 4.2 Å, {bare.theta.size} weights, 0 members, not calibrated."
    )
    facts = writing.model_summary(bare)
    assert (facts["posterior"], facts["classes_out"], facts["members"]) == (None, [], 0)


def test_names_of_structures() -> None:
    infos = [
        {"name": "a", "id": "b", "config_type": "x", "kind": 3},
        {"id": 5, "unique_id": "c"},
        {"unique_id": "d"},
        {},
    ]
    structures = []
    for n, info in enumerate(infos):
        atoms = Atoms("W" * (n + 1), np.arange(3 * n + 3).reshape(-1, 3) * 1.5)
        atoms.info = dict(info)
        structures.append(atoms)
    found = describe_structures(iter(structures), "there")
    assert (found.source, found.names, found.classes) == ("there", ["a", "5", "d", "#3"], ["x", "all", "all", "all"])
    assert found.sizes == [1, 2, 3, 4]
    assert found.symbols == [["W"] * n for n in (1, 2, 3, 4)]
    assert found.environments is not None
    assert len(found.environments.close) == len(found) == 4
    assert describe_structures(structures, "there", "kind").classes == ["3", "all", "all", "all"]


@pytest.mark.usefixtures("without_pictures")
def test_files_of_a_report(model: Model, tmp_path: Path) -> None:
    structures = structures_of(model, 4, stress=False)
    reference, test = reference_rows(model, structures, threads=1), describe_structures(structures, "four")
    calls: list[tuple[str, int, int]] = []
    out = tmp_path / "deep" / "report"
    facts = write_report(model, reference, test, out, name="é <W>", progress=lambda *step: calls.append(step))
    assert calls == [("predict", 1, 1)]
    raw = (out / "metrics.json").read_bytes()
    assert raw.startswith(b'{\n  "model": {\n    "name": "' + "é".encode())
    assert raw.endswith(b"}\n")
    assert json.loads(raw)["model"]["name"] == "é <W>" == facts["model"]["name"]
    page = text_of((out / "index.html").read_text(encoding="utf-8"))
    assert "|How far to trust é <W>|" in page
    assert f"|{writing.describe(model)}|" in page
    assert "é" in page
    write_report(model, reference, test, out, facts="said otherwise")
    assert json.loads((out / "metrics.json").read_bytes())["model"]["name"] == "model"
    assert "|said otherwise|" in text_of((out / "index.html").read_text(encoding="utf-8"))
    assert writing._finite({"a": [np.nan, (1.0, np.inf)], "b": 2}) == {"a": [None, [1.0, None]], "b": 2}


@pytest.mark.usefixtures("without_pictures")
def test_folders_that_a_report_must_not_take(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(MliuqError, match=r"file: is a file, expected the name of a folder$"):
        writing.check_report(tmp_path / "file")
    for name, text in (("metrics.json", '{"other": 1}'), ("index.html", "<html>mine</html>")):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_text(text)
        with pytest.raises(MliuqError, match=name):
            writing.check_report(folder)
    folder = tmp_path / "of-a-report"
    folder.mkdir()
    (folder / "metrics.json").write_text('{\n  "model": {}}')
    writing.check_report(folder)
    with pytest.raises(MliuqError, match=r"metrics.json"):
        writing.check_report(folder, [folder / "metrics.json"])
    structures = structures_of(model, 2, stress=False)
    reference, test = reference_rows(model, structures, threads=1), describe_structures(structures, "two")

    def failing(files: dict[Path, bytes]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_files", failing)
    with pytest.raises(MliuqError, match=r"new: cannot be made: No space left on device$"):
        write_report(model, reference, test, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with pytest.raises(MliuqError, match=r"old: cannot be made"):
        write_report(model, reference, test, tmp_path / "old")
    assert (tmp_path / "old").exists()


def test_rows_to_judge_by_say_what_is_odd(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    structures = structures_of(model)
    for atoms in structures:
        atoms.calc.results["stress"] = -10.0 * 160.2 * atoms.calc.results["stress"]
        atoms.info["energy"] = 3.0
    reference = reference_rows(model, structures, stress=True, threads=1)
    assert [r.name for r in caplog.records] == ["mliuq.report.rows"]
    assert "two different 'energy'" in caplog.text
    assert set(reference.rows.table.w) == {1.0}
    caplog.clear()
    predict(model, reference)
    (message,) = caplog.messages
    assert "times what the model predicts" in message
    assert "--stress-sign compression; the unit seems to be kbar" in message
    assert not (reference_rows(model, structures, threads=1).rows.table.kind == 2).any()
    del structures[0].calc.results["forces"]
    fewer = reference_rows(model, structures, threads=1)
    assert np.sum(fewer.rows.table.config == 0) == 1
    assert not reference_rows(replace(model, zbl=None), structures, threads=1).baseline.any()


# --- sheet -----------------------------------------------------------------------------------------------------------


def estimates() -> list[Estimate]:
    values = np.array([15.0, 17.5])
    return [
        Estimate("bcc", "volume", "Å³/atom", 16.0, values, alpha=2.0),
        Estimate("bcc", "C11 & C12", "GPa", 16.0, values, alpha=2.0),
        Estimate("fcc", "volume", "Å³/atom", 16.0, values, alpha=2.0),
        Estimate("hcp", "volume", "Å³/atom", np.nan, np.zeros(0), reason="did <not> relax"),
    ]


def result_of(
    name: str,
    found: list[Estimate],
    members: list[int],
    failures: tuple[Failure, ...] = (),
    comparisons: dict[str, Any] | None = None,
) -> PropertyResult:
    return PropertyResult(name, found, [], failures, comparisons or {}, {}, {}, members)


def test_every_cell_of_a_sheet() -> None:
    order = {"best_fit": ["bcc", "fcc"], "orders": [{"order": ["fcc", "bcc"], "share": 0.75}]}
    failures = (Failure(1, "fcc", "first <reason>"), Failure(2, "fcc", "second"), Failure(0, "hcp", "other"))
    result = result_of("phases", estimates(), [0, 1, 2], failures, {"order": order})
    other = result_of("own", [], [0])
    reference = {("bcc", "volume"): 22.0, ("bcc", "C11 & C12"): 17.0, ("hcp", "volume"): 1.0}
    page = render_sheet(
        [result, other], {"phases": "<svg/>"}, reference, title="A & B", facts="on <C>", left_out={"neb": "no <hop>"}
    )
    e = result.estimates[0]
    (head, *rows), second = tables(page)
    assert head == ["", "quantity", "value ± error", "unit", "std", "bounds", "reference", "z", "within bounds"]
    assert second == [head]
    common = [with_error(16.0, e.err), "Å³/atom", f"{e.std:.3g}", "15 … 17.5"]
    assert rows[0] == ["bcc", "volume", *common, "22", f"{(22.0 - 16.0) / e.err:+.2f}", "✗"]
    assert rows[1] == ["bcc", "C11 & C12", common[0], "GPa", *common[2:], "17", f"{1.0 / e.err:+.2f}", "✓"]
    assert rows[2] == ["fcc", "volume", *common, "–", "–", "–"]
    assert rows[3] == ["hcp", "volume", "did <not> relax"]
    assert abs(6.0 / e.err) > 2 > 1.0 / e.err
    assert page.count('class="out"') == 2
    assert 'colspan="7"' in page
    text = text_of(page)
    z = np.array([6.0, 1.0]) / e.err
    for part in (
        "|A & B|", "|on <C>|", "|Phases|", "|own|", "|Vacancy hop||Not computed: no <hop>|",
        f"|2 reference values: 50 % within the members' bounds, mean |error|/std {3.5 / e.std:.2f}, rms z"
        f" {np.sqrt(np.mean(z**2)):.2f} (honest: 1).|",
        "|Order by energy: bcc < fcc; the most frequent among members, fcc < bcc, in 75 % of them.|",
        "|fcc: 2 of 3 members failed (first: first <reason>).|", "|hcp: 1 of 3 members failed (first: other).|",
    ):  # fmt: skip
        assert part in text, part
    assert '<a href="#phases">Phases</a> <a href="#own">own</a>' in page
    assert '<h2 id="phases">' in page
    assert '<img alt="Phases, with error bars" width="420" src="data:image/svg+xml;base64,PHN2Zy8+">' in page
    assert "--ink: #1c2126" in page.partition("@media")[0]
    assert "--ink: #e8eaed" in page.partition("@media")[2]
    assert page.startswith("<!doctype html>")
    assert page.endswith("</html>\n")
    assert matched([result], reference) == [(result.estimates[0], 22.0), (result.estimates[1], 17.0)]


def test_sheet_without_references_and_with_none_that_fits() -> None:
    result = result_of("elastic", estimates(), [0])
    page = render_sheet([result], {}, title="t", facts="f")
    assert tables(page)[0][0] == ["", "quantity", "value ± error", "unit", "std", "bounds"]
    assert 'colspan="4"' in page
    assert "<img" not in page
    assert "reference values" not in page
    assert "Order by energy" not in page
    assert "Not computed" not in page
    none = render_sheet([result], {}, {("bcc", "mass"): 1.0}, title="t", facts="f")
    assert "None of the reference values belongs to a number of this sheet." in none
    assert [with_error(v, e) for v, e in ((1.0, np.inf), (1.0, np.nan), (1234.5, 0.0), (1.0, 1.0), (123.4, 10.0))] == [
        "1", "1", "1234", "1.0 ± 1.0", "123 ± 10",
    ]  # fmt: skip


def test_titles_of_a_sheet() -> None:
    titles = {
        "eos": "Equations of state", "phases": "Phases", "elastic": "Elastic constants", "path": "Deformation paths",
        "phonons": "Phonons", "defects": "Point defects", "surfaces": "Surfaces", "gsf": "Stacking faults",
        "neb": "Vacancy hop",
    }  # fmt: skip
    page = render_sheet([result_of(name, [], []) for name in titles], {}, title="t", facts="f")
    for name, title in titles.items():
        assert f'<h2 id="{name}">{title}</h2>' in page
