"""A file is a model to both readers or to none."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from mliuq import MliuqError, Model
from mliuq.model import model_file
from mutants import mutants, seeds, verdicts, whole

CORPUS = Path(__file__).parents[2] / "cpp" / "fuzz" / "corpus" / "model_file"


def test_mutants(tmp_path: Path) -> None:
    path = tmp_path / "m.mliuq"
    found = []
    for model in seeds():
        model.save(path)
        for mutant in islice(mutants(path.read_bytes(), random.Random(1)), 120):
            path.write_bytes(mutant)
            found.append(verdicts(path))
    assert all(python == core for python, core in found)
    assert 20 < sum(python for python, _ in found) < 580


def test_corpus(tmp_path: Path) -> None:
    """What fuzzing found worth keeping: two bytes of header length, header, arrays."""
    path, seeds = tmp_path / "m.mliuq", sorted(CORPUS.iterdir())
    assert len(seeds) > 10
    for seed in seeds:
        path.write_bytes(whole(seed.read_bytes()))
        python, core = verdicts(path)
        assert python == core, seed.name


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ({"thresholds": {"force_err": [0.2, 0.1]}}, "force_err is .* expected two numbers in order"),
        ({"thresholds": {"force_err": [True, 1.0]}}, "expected two numbers in order"),
        ({"thresholds": {"force_err": 0.1}}, "expected two numbers in order"),
        ({"thresholds": 0.1}, "thresholds is 0.1, expected an object"),
        ({"conformal": []}, "conformal is .* expected an object"),
        ({"rows": 3}, "rows is 3, expected an object"),
        ({"groups": 3}, "groups is 3, expected an object"),
    ],
)
def test_what_only_some_commands_read_of_a_calibration(
    calibration: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Is refused on loading, not by a trace much later."""
    whole = seeds()[0]
    with pytest.raises(MliuqError, match=message):
        replace(whole, calibration=calibration)
    path = tmp_path / "m.mliuq"
    whole.save(path)
    arrays, metadata = model_file.read(path)
    model_file.write(path, arrays, {**metadata, "calibration": calibration})
    assert verdicts(path) == (False, False)


def test_null_in_a_calibration_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    path = tmp_path / "m.mliuq"
    whole = replace(seeds()[0], calibration={"alpha_force": None, "rows": None}, noise={"force": None, "energy": 0.1})
    whole.save(path)
    assert verdicts(path) == (True, True)
    loaded = Model.load(path)
    assert (loaded.calibration, loaded.noise) == ({}, {"energy": 0.1})
