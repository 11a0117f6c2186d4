"""A loop of seconds: four atoms of copper, 2J = 2, Morse pairs as the reference."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from ase.io import write
from mliuq.learning.settings import LearnSettings

MORSE = Path(__file__).with_name("morse.py")
BASE: dict[str, Any] = {
    "seed": 3,
    "start.structures": ["start.xyz"],
    "start.strains": [-0.02, 0.02],
    "start.rattle": 0.2,
    "start.copies": 3,
    "explore.temperatures": [900.0],
    "explore.seeds": 1,
    "explore.steps": 60,
    "explore.every": 5,
    "explore.timestep": 2.0,
    "explore.save": 0.09,
    "explore.halt": 0.2,
    "select.n": 2,
    "select.criterion": "information",
    "label.retries": 0,
    "label.time_limit": 60.0,
    "stop.rounds": 2,
    "fit.snap.twojmax": 2,
    "fit.snap.rcut": 4.5,
    "fit.posterior.members": 16,
}


@pytest.fixture
def setting_up(tmp_path: Path) -> Callable[..., LearnSettings]:
    """Make a place with start and reference; settings of a loop there, with changes."""
    write(tmp_path / "start.xyz", bulk("Cu", cubic=True))
    shutil.copy(MORSE, tmp_path)
    (tmp_path / "learn.toml").write_text("")

    def settings(faults: str = "none", **changes: Any) -> LearnSettings:
        command = f"{sys.executable} -I {{here}}/morse.py {faults} {{input}} {{output}}"
        dotted = {key.replace("__", "."): value for key, value in changes.items()}
        return LearnSettings.from_toml(tmp_path / "learn.toml", {**BASE, "label.command": command, **dotted})

    return settings


@pytest.fixture
def made(tmp_path: Path) -> Callable[[], list[str]]:
    """The calculations that the reference has begun, as round/labelling/index."""

    def read() -> list[str]:
        file = tmp_path / "made.txt"
        lines = file.read_text().splitlines() if file.is_file() else []
        return ["/".join(Path(line).parts[-5:-2]) for line in lines]

    return read
