"""A tungsten model that relaxes: members near the best fit, so that every one of them has its own bcc, fcc and hcp."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mliuq
import pytest

MEMBERS = 12


@pytest.fixture(scope="session")
def tame(small_model: Path) -> mliuq.Model:
    """The quick tungsten fit with 12 members, their distance from the best fit a tenth of the posterior's."""
    model = mliuq.Model.load(small_model)
    assert model.members is not None
    return replace(model, members=model.theta + 0.1 * (model.members[:MEMBERS] - model.theta))


@pytest.fixture(scope="session")
def tame_file(tame: mliuq.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tame") / "W.mliuq"
    tame.save(path)
    return path
