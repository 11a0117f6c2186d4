"""Intervals of the calculator and of `mliuq eval --level`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from mliuq import MLIUQCalculator, MliuqError, Model
from mliuq.cli import main
from mliuq.readers import read_structures
from systems import PARAMS, random_model, structure

QUANTITIES = {"energy": "energy", "forces": "force", "stress": "stress"}


@pytest.fixture(scope="module")
def model() -> Model:
    base = random_model(PARAMS["binary"], members=6, noise=True)
    conformal = {kind: {"0.5": 0.5 + i, "0.9": 2.0 + i} for i, kind in enumerate(QUANTITIES.values())}
    return replace(base, calibration={**(base.calibration or {}), "conformal": conformal})


def offered(calculator: MLIUQCalculator) -> list[str]:
    return [name for name in QUANTITIES if f"{name}_err" in calculator.implemented_properties]


def test_best_fit_and_quantile_times_error(model: Model) -> None:
    atoms = structure("triclinic", model.params)
    atoms.calc = MLIUQCalculator(model)
    for i, name in enumerate(QUANTITIES):
        if name not in offered(atoms.calc):
            continue
        value, error = (atoms.calc.get_property(key, atoms) for key in (name, f"{name}_err"))
        for level, width in ((0.9, 2.0 + i), (0.5, 0.5 + i), (0.7, 1.25 + i)):
            low, high = atoms.calc.interval(name, level)
            np.testing.assert_allclose(low, value - width * error, rtol=1e-12)
            np.testing.assert_allclose(high, value + width * error, rtol=1e-12)
        np.testing.assert_array_equal(atoms.calc.interval(name), atoms.calc.interval(name, 0.9, atoms))
    other = structure("cube", model.params)
    assert atoms.calc.interval("energy", 0.9, other) != atoms.calc.interval("energy", 0.9, atoms)


def test_refusals(model: Model) -> None:
    calculator = MLIUQCalculator(model)
    with pytest.raises(MliuqError, match="nothing has been evaluated"):
        calculator.interval("energy")
    atoms = structure("cube", model.params)
    for name in ("energies", "energy_std", "nonsense"):
        with pytest.raises(MliuqError, match=f"quantity is '{name}', expected one of energy, forces, stress"):
            calculator.interval(name, 0.9, atoms)
    with pytest.raises(MliuqError, match=r"expected at most 0\.9"):
        calculator.interval("energy", 0.95, atoms)
    with pytest.raises(MliuqError, match="no conformal quantiles of energy"):
        MLIUQCalculator(random_model(PARAMS["binary"], members=2)).interval("energy", 0.9, atoms)


def test_coverage_on_structures_not_seen(small_model: Path, held_out: Path) -> None:
    """Of what the fit has not seen, about as much is held as promised."""
    calculator = MLIUQCalculator(small_model)
    held: dict[str, list[np.ndarray]] = {name: [] for name in ("energy", "forces") if name in offered(calculator)}
    for atoms in read_structures(held_out):
        for name, list_ in held.items():
            low, high = calculator.interval(name, 0.8, atoms)
            reference = atoms.calc.results[name]
            list_.append(np.ravel((low <= reference) & (reference <= high)))
    for name, list_ in held.items():
        assert 0.7 < np.concatenate(list_).mean() < 0.92, name


def test_eval_writes_them(
    small_model: Path, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.xyz"
    for level in (0.9, 0.5):
        capsys.readouterr()
        assert main(["eval", str(small_model), str(held_out), "-o", str(output), "--level", str(level), "--json"]) == 0
        record = json.loads(capsys.readouterr().out)["structures"][2]
        written, atoms = read(output, 2), read_structures(held_out)[2]
        calculator = MLIUQCalculator(small_model)
        assert record["level"] == written.info["level"] == level
        for name in ("energy", "forces"):
            if name not in offered(calculator):
                continue
            for end, expected in zip(("low", "high"), calculator.interval(name, level, atoms), strict=True):
                np.testing.assert_allclose(record[f"{name}_{end}"], expected, rtol=1e-12)
                place = written.arrays if name == "forces" else written.info
                np.testing.assert_allclose(place[f"{name}_{end}"], expected, atol=1e-7)
        assert "stress_low" not in record, "the model is not calibrated for stress"
    assert main(["eval", str(small_model), str(held_out), "--level", "1.5"]) == 1
    assert "level is 1.5" in capsys.readouterr().err
