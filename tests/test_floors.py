"""The floors of the package: every import runs down, and the page on architecture tells the truth about it."""

from __future__ import annotations

import ast
from pathlib import Path

import mliuq
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "explanations" / "architecture.md"


def table() -> dict[str, set[str]]:
    """What each room may import, top floor first, as the page says."""
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return {cells[1].strip(" `"): {room for room in cells[3].replace(" ", "").split(",") if room} for cells in rows}


def rooms() -> set[str]:
    package = ROOT / "python" / "mliuq"
    return {p.stem for p in package.iterdir() if (p.is_dir() and list(p.glob("*.py"))) or p.suffix == ".py"} - {
        "__init__",
        "__main__",
    }


def imports(room: str) -> dict[str, set[str]]:
    """The rooms that a room's files import, and the files that do."""
    home = ROOT / "python" / "mliuq" / room
    found: dict[str, set[str]] = {}
    for file in sorted(home.rglob("*.py")) if home.is_dir() else [home.with_suffix(".py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: a relative import"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                package, *rest = name.split(".")
                if package == "mliuq" and rest and rest[0] != "_core":
                    target = mliuq._HOME.get(rest[0], name).split(".")[1]
                    found.setdefault(target, set()).add(file.name)
    return {target: files for target, files in found.items() if target in rooms() and target != room}


def test_the_page_names_every_room() -> None:
    assert set(table()) == rooms()


def test_every_allowed_import_runs_down() -> None:
    order = list(table())
    for room, allowed in table().items():
        assert allowed <= set(order[order.index(room) + 1 :]), room


@pytest.mark.parametrize("room", sorted(table()))
def test_a_room_imports_only_what_the_page_allows(room: str) -> None:
    for target, files in imports(room).items():
        assert target in table()[room], f"{room} ({', '.join(sorted(files))}) imports {target}"


def test_imports_are_seen() -> None:
    """Fitting does import the posterior, and the command line the calculator."""
    assert "posterior" in imports("fitting")
    assert "ase" in imports("cli"), "names of the package count as imports of the rooms they come from"
