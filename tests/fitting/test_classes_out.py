"""What a fit says of classes it has not seen: against fits without them."""

from __future__ import annotations

from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase import Atoms
from mliuq.errors import MliuqError
from mliuq.fitting.fit import FitResult, run_fit
from mliuq.readers import read_structures
from mliuq.report import describe_structures, reference_rows, write_report

DATA = Path(__file__).resolve().parents[2] / "data" / "W_gpaw" / "W_gpaw.xyz.gz"
SMALL = {
    "snap.twojmax": 2,
    "posterior.members": 400,
    "weights.energy": 100.0,
    "data.test_fraction": 0.0,
    "posterior.calibrate": False,
    "solver.rows": "memory",
}


@pytest.fixture(scope="module")
def tungsten() -> list[Atoms]:
    structures = read_structures(DATA)[::3]
    kept = [a for a in structures if a.info["config_type"] in ("diverse", "bcc", "fcc", "omega")]
    assert len({a.info["config_type"] for a in kept}) == 4
    return kept


@pytest.fixture(scope="module")
def judged(tungsten: list[Atoms]) -> FitResult:
    return run_fit(tungsten, settings={**SMALL, "posterior.classes_out": "bars"})


def lines(result: FitResult) -> dict[tuple[str, str], dict[str, float]]:
    return {(e.group, e.kind): e.to_mapping() for e in result.errors if e.of == "class out"}


def test_errors_and_bars_are_those_of_fits_without_the_class(tungsten: list[Atoms], judged: FitResult) -> None:
    found = lines(judged)
    assert len(found) == 8
    for name in ("bcc", "diverse"):
        rest = [a for a in tungsten if a.info["config_type"] != name]
        out = [a for a in tungsten if a.info["config_type"] == name]
        fitted = run_fit(rest, settings=SMALL, test=out)
        test, noise = fitted.test, fitted.model.noise
        assert test is not None
        assert noise is not None
        for kind, kind_name in enumerate(("energy", "force")):
            own = test.kind == kind
            error = (test.y - test.mean)[own]
            line = found[name, kind_name]
            assert line["rows"] == len(error)
            assert line["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-8)
            assert line["mae"] == pytest.approx(np.mean(np.abs(error)), rel=1e-8)
            std = np.hypot(test.std[own], noise[kind_name])
            live = test.size[own] > 0.05 * np.median(test.size[own])  # some are zero by symmetry
            assert line["rms_z"] == pytest.approx(np.sqrt(np.mean((error / std)[live] ** 2)), rel=0.05)


def test_rows_of_a_class_are_worth_as_many_errors_as_their_correlations_say(judged: FitResult) -> None:
    for line in lines(judged).values():
        assert 1.0 <= line["independent"] < 0.5 * line["rows"]


def test_each_setting_arrives(tungsten: list[Atoms], judged: FitResult) -> None:
    errors = lines(run_fit(tungsten, settings=SMALL))
    for key, line in lines(judged).items():
        assert errors[key] == {k: v for k, v in line.items() if k not in ("rms_z", "independent")}
    assert lines(run_fit(tungsten, settings={**SMALL, "posterior.classes_out": "none"})) == {}
    with pytest.raises(MliuqError, match="classes_out"):
        run_fit(tungsten, settings={**SMALL, "posterior.classes_out": "some"})


def test_structures_without_classes_have_no_table(tungsten: list[Atoms]) -> None:
    plain = [Atoms(a) for a in tungsten]
    for atoms, source in zip(plain, tungsten, strict=True):
        atoms.calc = source.calc
        atoms.info = {}
    assert lines(run_fit(plain, settings=SMALL)) == {}
    for index, atoms in enumerate(plain):
        atoms.info["config_type"] = f"id {index}"  # a name for each is no class
    assert lines(run_fit(plain, settings=SMALL)) == {}


def test_bars_that_cannot_be_had_are_named(tungsten: list[Atoms], caplog: pytest.LogCaptureFixture) -> None:
    """All but one configuration in one class: the other has no posterior of its own, and the fit goes on."""
    few = [a for a in tungsten if a.info["config_type"] == "diverse"][:30]
    for atoms in few:
        atoms.info["config_type"] = "most"
    few[7].info["config_type"] = "rest"
    found = lines(run_fit(few, settings={**SMALL, "posterior.classes_out": "bars"}))
    for atoms in few:
        atoms.info["config_type"] = "diverse"
    assert "rms_z" in found["rest", "force"]
    assert all("rms_z" not in line for (group, _), line in found.items() if group == "most")
    assert "bars on most when it is left out" in caplog.text


def test_report_shows_what_the_fit_found(judged: FitResult, tungsten: list[Atoms], tmp_path: Path) -> None:
    judged.model.save(tmp_path / "W.mliuq")
    model = mliuq.Model.load(tmp_path / "W.mliuq")
    structures = tungsten[:5]
    numbers = write_report(
        model, reference_rows(model, structures), describe_structures(structures, "five"), tmp_path / "report"
    )
    assert {(e["group"], e["kind"]): e for e in numbers["model"]["classes_out"]} == lines(judged)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    table = page[page.index("Training classes left out") :]
    for (group, _), line in lines(judged).items():
        assert f"<td>{group}</td>" in table
        assert f"<td>{line['rmse']:.3g}</td><td>{line['rms_z']:.3g}</td>" in table
