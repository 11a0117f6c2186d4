"""The lists of `make faults` and `make mutants` name lines that are there: what has moved on would be tried in vain."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def listed(name: str) -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads((ROOT / "tests" / "faults" / name).read_text(encoding="utf-8"))


def test_faults_of_the_core_can_be_put() -> None:
    faults = listed("core_faults.toml")["fault"]
    assert len(faults) >= 40
    for fault in faults:
        text = (ROOT / "cpp" / "src" / fault["file"]).read_text(encoding="utf-8")
        assert text.count(fault["old"]) == 1, fault
        assert fault["new"] != fault["old"]


def test_equivalent_mutants_are_of_lines_that_are_there() -> None:
    for mutant in listed("equivalent.toml")["mutant"]:
        lines = (ROOT / "python" / "mliuq" / mutant["file"]).read_text(encoding="utf-8").splitlines()
        stripped = "\n".join(line.strip() for line in lines)
        assert mutant["old"] in stripped, mutant
        assert mutant["new"] != mutant["old"]
        assert mutant["why"]
