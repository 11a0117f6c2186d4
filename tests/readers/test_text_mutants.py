"""Every reader on texts a little unlike what it knows: it takes them or says in one line why not."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from mliuq.errors import MliuqError
from text_mutants import Reader, bounded, readers, try_reader, verdict


@pytest.mark.parametrize("name", list(readers()))
def test_mutants_are_taken_or_refused(name: str, tmp_path: Path) -> None:
    faults: list[str] = []
    counts = try_reader(readers()[name], 40, 1, lambda what, files: faults.append(what), str(tmp_path))
    assert not faults
    assert counts["refused"] > 5


def test_the_files_themselves_are_taken(tmp_path: Path) -> None:
    for name, reader in readers().items():
        for file, content in reader.files.items():
            (tmp_path / file).write_bytes(content)
        if reader.files:
            assert verdict(reader, tmp_path) == "taken", name


def _hang(folder: Path) -> None:
    while True:
        pass


def _fill(folder: Path) -> None:
    try:
        bytearray(1 << 31)
    except MemoryError as error:
        raise MliuqError("cannot be read: MemoryError") from error


def _long(folder: Path) -> None:
    raise ValueError("no error of the package")


@pytest.mark.parametrize(("read", "says"), [(_hang, "takes longer"), (_fill, "takes memory"), (_long, "ValueError")])
def test_what_is_not_allowed_is_seen(read, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("text_mutants.SECONDS", 0.2)
    with bounded():
        assert says in verdict(Reader({}, read), tmp_path)
    assert signal.getsignal(signal.SIGPROF) == signal.SIG_DFL


def test_a_message_stays_short() -> None:
    text = str(MliuqError("start " + "x" * 5000 + "\x1b" * 2000 + " end"))
    assert len(text) == 2000
    assert text.startswith("start x")
    assert text.endswith(" end")
    assert str(MliuqError("x" * 2000)) == "x" * 2000
