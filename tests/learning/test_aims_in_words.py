"""What makes no selection, word by word."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from mliuq.errors import MliuqError
from mliuq.learning.aim import CRITERIA, Aim
from mliuq.learning.label_rows import LABELS, factor_of, fitted_weights, weights_of_labels
from mliuq.learning.propagated import _row, rows_of_values
from mliuq.learning.settings import SelectSettings
from mliuq.model import Model
from mliuq.toml import from_mapping
from systems import PARAMS, random_model

AIM = Aim("information", ("energy",), None, None, None, None, None)
ONE = [bulk("W")]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "criterion": ({"criterion": "best"}, "criterion is 'best', expected one of information, mean_information, "
                  "representation, maxvol, forces_err, property, random"),
    "region": ({"region": ONE}, "region is given, but the criterion is 'information', expected 'mean_information' or "
               "'representation'"),
    "target": ({"target": ONE}, "target is given, but the criterion is 'information', expected 'property'"),
    "values": ({"values": [1.0]}, "values is given, but the criterion is 'information', expected 'property'"),
    "no region": ({"criterion": "mean_information", "region": []},
                  "criterion 'mean_information' needs region, expected at least one structure"),
    "empty region": ({"criterion": "representation", "region": []},
                     "region is empty, expected at least one structure, or none given for the pool itself"),
    "no target": ({"criterion": "property"},
                  "criterion 'property' needs target (at least one structure) or values, and not both"),
    "both": ({"criterion": "property", "target": ONE, "values": [1.0]},
             "criterion 'property' needs target (at least one structure) or values, and not both"),
    "idle": ({"coefficients": [1.0]}, "coefficients are given without target, expected the structures they belong to"),
    "two": ({"criterion": "property", "target": ONE, "coefficients": [1.0, 2.0]},
            "coefficients are [1.0, 2.0], expected 1 finite numbers, one for each structure"),
    "nan": ({"criterion": "property", "target": ONE, "coefficients": [np.inf]},
            "coefficients are [inf], expected 1 finite numbers, one for each structure"),
}  # fmt: skip


def said(function: Any, *given: Any) -> str:
    with pytest.raises(MliuqError) as caught:
        function(*given)
    return str(caught.value)


@pytest.mark.parametrize("case", REFUSED)
def test_aims_that_are_none(case: str) -> None:
    changes, message = REFUSED[case]
    assert said(replace(AIM, **changes).validate) == message
    AIM.validate()
    replace(AIM, criterion="property", target=ONE, coefficients=[0.5]).validate()
    replace(AIM, criterion="property", values=[1.0]).validate()
    replace(AIM, criterion="representation").validate()
    replace(AIM, criterion="representation", region=ONE).validate()
    assert len(CRITERIA) == 7


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model(replace(PARAMS["plain"], twojmax=2), members=12, factor=True)


def test_weights_of_labels_that_are_none(model: Model) -> None:
    assert LABELS == ("energy", "forces", "stress")
    assert weights_of_labels(model, ["forces"], {"energy": 3.0, "forces": 2.0}) == (0.0, 2.0, 0.0)
    assert weights_of_labels(model, LABELS, {"energy": 3, "stress": 0.5}) == (3.0, 0.0, 0.5)
    for rows, weights, message in (
        ("energy", None, "rows has 'energy', expected some of energy, forces, stress"),
        ([], None, "rows has [], expected some of energy, forces, stress"),
        (["energy", "b", "a"], None, "rows has 'a', expected some of energy, forces, stress"),
        (LABELS, {"force": 1.0}, "weights has 'force', expected some of energy, forces, stress"),
        (LABELS, {"energy": -0.5}, "weight of energy is -0.5, expected a number from 0 to 1e+50"),
        (LABELS, {"energy": np.inf}, "weight of energy is inf, expected a number from 0 to 1e+50"),
        (["energy", "stress"], {"forces": 1.0},
         "the fit gives no weight to energy and stress: labels of that kind would teach it nothing"),
    ):  # fmt: skip
        assert said(weights_of_labels, model, rows, weights) == message


NEAR = {"energy_scale": 2.0, "force_scale": 50.0}


@pytest.mark.parametrize(
    ("weights", "constants", "found"),
    [
        ({"energy": 3.0, "force": 2.0, "stress": 0.5}, {"energy": 9.0, "force": 9.0, "stress": 9.0}, (3.0, 2.0, 0.5)),
        ({"energy": "auto", "force": "auto", "stress": 0.5}, {"energy": 9.0, "stress": 7.0}, (9.0, 1.0, 0.5)),
        ({"energy": "auto", "force": 2.0, "stress": "auto"}, {"stress": 7.0}, (1.0, 2.0, 7.0)),
        ({"near_equilibrium": NEAR, "stress": 0.0}, {}, (60.0, 1.0, 0.0)),
        ({"near_equilibrium": NEAR, "energy": 0.0, "force": 3.0, "stress": 1.0}, {}, (0.0, 3.0, 1.0)),
        ({"near_equilibrium": NEAR, "energy": 3.0, "force": 0.0, "stress": 1.0}, {}, (3.0, 0.0, 1.0)),
    ],
)
def test_weights_that_a_fit_gave(
    model: Model, weights: dict[str, Any], constants: dict[str, float], found: tuple[float, ...]
) -> None:
    fit = {
        "settings": {"weights": weights},
        "balance": {"constants": constants},
        "rows": {"energy": 2, "force": 120, "stress": 6},
    }
    assert fitted_weights(replace(model, metadata={"fit": fit})) == found
    assert weights_of_labels(replace(model, metadata={"fit": fit}), LABELS, None) == found
    for lost in (None, {**fit, "settings": {}}, {**fit, "balance": None}):
        assert said(fitted_weights, replace(model, metadata={"fit": lost})) == (
            "the model does not say how its fit weighed energies and forces (metadata fit.settings.weights and "
            "fit.balance), expected one that mliuq has fitted, or weights="
        )


def test_models_without_a_factor(model: Model) -> None:
    assert said(factor_of, replace(model, arrays={})) == (
        'the model does not carry the factor of its fit (array "extrapolation.factor"): expected one fitted with '
        "posterior.extrapolation = true"
    )


def test_values_of_members_that_are_none(model: Model) -> None:
    few = [*np.arange(9.0), *[np.nan] * 3]
    assert said(rows_of_values, few, replace(model, members=None)) == (
        "the model has no members: expected one fitted with members, whose values these are"
    )
    assert said(rows_of_values, np.zeros(11), model) == "values have shape (11,), expected (properties, 12 members)"
    assert said(rows_of_values, np.zeros((2, 3, 12)), model) == (
        "values have shape (2, 3, 12), expected (properties, 12 members)"
    )
    assert said(rows_of_values, [np.arange(12.0), few], model) == (
        "property 1 (counted from 0) has 9 values, expected at least 10"
    )
    assert said(rows_of_values, np.full(12, 2.5), model) == (
        "property 0 (counted from 0) is the same by every member: there is nothing to learn"
    )
    enough = [*np.arange(10.0) ** 2, np.nan, np.inf]
    (row,) = rows_of_values(enough, model)
    assert np.linalg.norm(row) == pytest.approx(1.0)


@pytest.mark.parametrize("members", [12, 13])
def test_whether_a_property_is_linear_is_seen_by_twice_as_many_members_as_weights(
    members: int, caplog: pytest.LogCaptureFixture
) -> None:
    moves = np.linspace(-1.0, 1.0, members)[:, None] ** [1, 3, 5, 7, 9, 11]
    with caplog.at_level(logging.WARNING, "mliuq.learning.propagated"):
        row = _row(np.linspace(-1.0, 1.0, members) ** 2, moves, 4)
    assert np.linalg.norm(row) == pytest.approx(1.0)
    said = "property 4 (counted from 0) is not linear in the weights: 100 % of its spread is left"
    assert caplog.messages == ([said] if members == 13 else [])


def test_every_criterion_may_be_set() -> None:
    for name in CRITERIA:
        assert from_mapping(SelectSettings, {"criterion": name}, "select").criterion == name
