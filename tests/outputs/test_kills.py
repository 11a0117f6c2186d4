"""A few kills of quick commands; `python tests/outputs/kill_commands.py` does many, of all."""

from __future__ import annotations

from pathlib import Path

import pytest
from kill_commands import try_command


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kills")


@pytest.mark.parametrize("name", ["export", "fit"])
def test_kills_leave_whole_files(name: str, place: Path) -> None:
    said: list[str] = []
    tally = try_command(name, 6, 1, place, said.append)
    assert not tally.faults, said
    assert tally.kills >= 3
