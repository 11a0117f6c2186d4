"""Settings of a loop: their defaults are those of the reference page, their limits and refusals are exact."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from mliuq.errors import MliuqError
from mliuq.learning.settings import LearnSettings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "learn-settings.md"
FLAT: dict[str, Any] = {"start.structures": ("s.xyz",), "label.command": "calc"}


def settings(**changes: Any) -> LearnSettings:
    return LearnSettings().updated(FLAT | {key.replace("__", "."): value for key, value in changes.items()})


def refusal(changes: dict[str, Any]) -> str:
    with pytest.raises(MliuqError) as caught:
        LearnSettings().updated(FLAT | changes)
    return str(caught.value)


def test_defaults_are_those_of_the_reference_page() -> None:
    """Every key of the page, and every field: the tests of a fit look at the tables of the fit."""
    table = tomllib.loads(re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1])
    table["label"]["calculator"], table["start"]["structures"] = "", []  # of the example alone
    settings()  # which are valid, these and those of the tests
    found = LearnSettings().to_mapping()
    assert found["fit"]["data"]["test_fraction"] == 0.0
    assert table["label"] | {"command": "", "python_path": []} == found["label"]
    for name in ("start", "explore", "select", "stop"):
        assert table[name] == found[name]
    assert (table["seed"], table["rebalance"]) == (found["seed"], found["rebalance"])
    for name in ("data", "snap"):
        assert table["fit"][name] == {key: found["fit"][name][key] for key in table["fit"][name]}


#: Setting → least and largest number that it may be; infinite: any above.
LIMITS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31),
    "start.rattle": (0.0, 5.0),
    "start.copies": (1, math.inf),
    "explore.seeds": (1, math.inf),
    "explore.steps": (1, math.inf),
    "explore.every": (1, math.inf),
    "explore.max_saved": (1, math.inf),
    "explore.workers": (1, math.inf),
    "explore.timestep": (1e-6, 1e9),
    "explore.thermostat_time": (1e-6, 1e9),
    "explore.barostat_time": (1e-6, 1e9),
    "explore.save": (1e-12, math.inf),
    "explore.halt": (1e-12, math.inf),
    "explore.time_limit": (0.0, math.inf),
    "select.n": (1, math.inf),
    "select.max_atoms": (0, math.inf),
    "label.time_limit": (0.0, math.inf),
    "label.retries": (0, 1000),
    "label.workers": (1, math.inf),
    "stop.rounds": (0, math.inf),
    "stop.labels": (1, math.inf),
}


def beyond(limit: float, towards: float) -> float:
    """The next number of the same type."""
    if isinstance(limit, int):
        return limit + (1 if towards > 0 else -1)
    return math.nextafter(limit, towards)


@pytest.mark.parametrize("key", LIMITS)
def test_limits(key: str) -> None:
    low, high = LIMITS[key]
    far = high if math.isfinite(high) else 10**9 if isinstance(low, int) else 1e300
    for value in (low, far):
        made: Any = settings(**{key.replace(".", "__"): value})
        for part in key.split("."):
            made = getattr(made, part)
        assert made == value
    for value in (beyond(low, -math.inf), *([beyond(high, math.inf)] if math.isfinite(high) else [])):
        assert refusal({key: value}) == f"{key} is {value}, expected a number from {low:g} to {high:g}"


@pytest.mark.parametrize(
    ("key", "low", "high"),
    [("start.strains", -0.5, 1.0), ("explore.temperatures", 0.0, 1e6), ("explore.pressures", -1e6, 1e6)],
)
def test_limits_of_lists(key: str, low: float, high: float) -> None:
    settings(**{key.replace(".", "__"): [low, high]})
    for value in (beyond(low, -math.inf), beyond(high, math.inf)):
        message = f"{key} is {value}, expected a number from {low:g} to {high:g}"
        assert refusal({key: [low, value]}) == message
        if key == "start.strains":
            assert refusal({key: [[0.0, 0.0, 0.0, 0.0, 0.0, value]]}) == message


def test_similar_is_below_one() -> None:
    settings(select__similar=0.0)
    settings(select__similar=math.nextafter(1.0, 0.0))
    for value in (1.0, -0.1):
        assert refusal({"select.similar": value}) == f"select.similar is {value}, expected a number from 0 to below 1"


@pytest.mark.parametrize("name", ["min_distance", "max_force", "max_energy"])
def test_limits_of_belief(name: str) -> None:
    for value in (0.0, 0.5, math.inf):
        settings(**{f"label__{name}": value})
    for value in (math.nextafter(0.0, -1.0), math.nan):
        assert refusal({f"label.{name}": value}) == f"label.{name} is {value}, expected a number of at least 0"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no starts": ({"start.structures": ()}, "start.structures is empty, expected files with structures the runs begin"
                  " from"),
    "no strains": ({"start.strains": ()}, "start.strains is empty, expected [0.0] for none"),
    "strain": ({"start.strains": [[0.1, 0.2]]}, "start.strains has [0.1, 0.2], expected one number or six (Voigt)"),
    "no temperature": ({"explore.temperatures": ()}, "explore.temperatures is empty, expected at least one (K)"),
    "no rows": ({"select.rows": ()}, "select.rows is empty, expected some of energy, forces, stress"),
    "idle region": (
        {"select.region": ["r"]}, "select.region goes with select.criterion 'mean_information', found 'information'",
    ),
    "no region": (
        {"select.criterion": "mean_information"},
        "select.region goes with select.criterion 'mean_information', found 'mean_information'",
    ),
    "idle target": (
        {"select.target": ["r"]}, "select.target goes with select.criterion 'property', found 'information'",
    ),
    "no target": (
        {"select.criterion": "property"}, "select.target goes with select.criterion 'property', found 'property'",
    ),
    "stands for files": (
        {"fit.data.represent": ["p"]},
        "fit.data.represent is given: labels stand for what the runs see under select.represent",
    ),
    "no reference": ({"label.command": ""}, "label: expected either calculator (module:name) or command"),
    "two references": ({"label.calculator": "a:b"}, "label: expected either calculator (module:name) or command"),
    "no module": (
        {"label.command": "", "label.calculator": "name"}, "label.calculator is 'name', expected module:name",
    ),
    "two colons": (
        {"label.command": "", "label.calculator": "a:b:c"}, "label.calculator is 'a:b:c', expected module:name",
    ),
    "carving": (
        {"select.max_atoms": 9, "explore.quantity": "extrapolation"},
        "select.max_atoms is 9, but explore.quantity 'extrapolation': cells are carved where forces_err is watched",
    ),
    "part": (
        {"fit.data.reference": "pair_style zbl 1 2; pair_coeff 1 1 29 29"},
        "fit.data.reference is given: the loop runs the model alone, expected none",
    ),
    "table": ({"seed.value": 3}, "settings: seed.value: seed is no table"),
    "unknown": ({"select.m": 3}, "settings: select: unknown key 'm', expected one of n, criterion, similar, rows,"
                " region, target, represent, max_atoms"),
    "fit": ({"fit.seed": -1}, "seed is -1, expected a number from 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    changes, message = REFUSED[case]
    found = refusal(changes)
    assert found.startswith(message) if case == "fit" else found == message


def test_thresholds_may_be_the_models_own() -> None:
    made = settings(explore__save="auto", explore__halt="auto", select__max_atoms=9)
    assert (made.explore.save, made.explore.halt) == ("auto", "auto")
    settings(explore__quantity="extrapolation")  # without cells, anything is watched


def test_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    keys = ("fit.data.train", "fit.data.test", "start.structures", "select.region", "label.python_path")
    file = tmp_path / "deep" / "loop.toml"
    file.parent.mkdir()
    (tmp_path / "deep" / "link.toml").symlink_to(file)
    made = LearnSettings.from_toml(_written(file, "select.criterion='mean_information'", keys))
    for key in keys:
        assert _get(made, key) == (str(file.parent.resolve() / "a"), "/b"), key
    made = LearnSettings.from_toml(_written(file, "select.criterion='property'", ("start.structures", "select.target")))
    assert made.select.target == (str(file.parent.resolve() / "a"), "/b")
    assert made.label.python_path == (str(file.parent.resolve()),)
    assert LearnSettings.from_toml(str(file), {"select.n": 3, "fit.seed": 4}).select.n == 3
    assert LearnSettings.from_toml(file, {"select.target": ("c",)}).select.target == (str(file.parent.resolve() / "c"),)
    file.write_text("label = 3\n")
    with pytest.raises(MliuqError, match=r"loop\.toml: label: found 3, expected a table"):
        LearnSettings.from_toml(file)
    file.write_text("start.structures = [1]\nlabel.command='c'\n")
    with pytest.raises(MliuqError, match=r"loop\.toml: start: structures is 1, expected a text"):
        LearnSettings.from_toml(file)
    file.write_text("fit = 3\nlabel.command='c'\n")
    with pytest.raises(MliuqError, match=r"loop\.toml: fit: found 3, expected a table"):
        LearnSettings.from_toml(file)
    file.write_text("fit.data = 3\nlabel.command='c'\n")
    with pytest.raises(MliuqError, match=r"loop\.toml: fit: data: found 3, expected a table"):
        LearnSettings.from_toml(file)
    file.write_text("label.command='c'\nstart=1")
    with pytest.raises(MliuqError, match=rf"^{re.escape(str(file))}: select\.n: select is no table$"):
        LearnSettings.from_toml(_text(file, "select = 1"), {"select.n": 3})


def _text(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def _written(file: Path, first: str, keys: tuple[str, ...]) -> Path:
    return _text(file, "\n".join([first, "label.command='c'", *(f"{key} = ['a', '/b']" for key in keys)]))


def _get(made: Any, key: str) -> Any:
    for part in key.split("."):
        made = getattr(made, part)
    return made


def test_what_is_labelled_is_fitted_unless_said_otherwise(tmp_path: Path) -> None:
    base = {"start": {"structures": ["s"]}, "label": {"command": "c"}}
    assert LearnSettings.from_mapping(base).fit.data.test_fraction == 0.0
    made = LearnSettings.from_mapping({**base, "fit": {"data": {"test_fraction": 0.2, "energy_key": "E"}, "seed": 3}})
    assert (made.fit.data.test_fraction, made.fit.data.energy_key, made.fit.seed) == (0.2, "E", 3)
    assert LearnSettings.from_mapping({**base, "fit": {"seed": 3}}).fit.data.test_fraction == 0.0
    with pytest.raises(MliuqError, match=r"^here: unknown key 'x'"):
        LearnSettings.from_mapping({**base, "x": 1}, "here")
    with pytest.raises(MliuqError, match=r"^settings: unknown key 'x'"):
        LearnSettings.from_mapping({**base, "x": 1})
    text = _text(tmp_path / "a.toml", made.to_toml())
    assert LearnSettings.from_toml(text) == made.updated({"start.structures": (str(tmp_path / "s"),),
                                                          "label.python_path": (str(tmp_path),)})  # fmt: skip
