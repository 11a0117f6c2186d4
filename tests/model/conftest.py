"""Model files to read, and to damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mliuq import Model
from safetensors_parts import join, split
from systems import PARAMS, random_model

Damage = Callable[[dict[str, Any], bytearray], None]


@pytest.fixture(scope="session")
def model() -> Model:
    """A model with everything a file may hold."""
    made = random_model(PARAMS["binary"], members=3, zbl=(1.5, 3.0), factor=True, noise=True)
    extra = {"posterior.axes": np.eye(made.theta.size)[:, :2], "posterior.lo": -np.ones(2), "posterior.hi": np.ones(2)}
    extra |= {"sharing.moves": np.ones((1, *made.theta.shape)), "sharing.coefficients": np.full((3, 1), 1e-3)}
    metadata = {"seed": 7, "posterior": {"kind": "hypercube"}, "fit": {"λ": 1e-300, "name": 'a "b" \\ é 𝄞'}}
    return Model(
        made.params, made.theta, made.members, made.zbl, made.noise, made.calibration, made.arrays | extra, metadata
    )


@pytest.fixture
def saved(model: Model, tmp_path: Path) -> Path:
    path = tmp_path / "model.mliuq"
    model.save(path)
    return path


@pytest.fixture
def damaged(saved: Path) -> Callable[[Damage], Path]:
    """The saved file after a function changed its header (with the metadata decoded) and its arrays."""

    def damage(change: Damage) -> Path:
        header, data = split(saved.read_bytes())
        header["__metadata__"]["mliuq"] = json.loads(header["__metadata__"]["mliuq"])
        change(header, data)
        outer = header.get("__metadata__")
        if isinstance(outer, dict):
            outer.pop("checksum", None)  # the damage is to be seen by what it does
        if isinstance(outer, dict) and isinstance(inner := outer.get("mliuq"), dict):
            outer["mliuq"] = json.dumps(inner)
        saved.write_bytes(join(header, data))
        return saved

    return damage
