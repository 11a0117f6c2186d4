"""What is said of outputs, and what the system is asked for."""

from __future__ import annotations

import errno
import logging
import os
import stat
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mliuq import outputs
from mliuq.errors import MliuqError
from mliuq.outputs import Kind, check_output, is_stream, scratch, write_files, written_whole

NUMBERS = Kind("a file of numbers", lambda head: head[:1].isdigit())


def said(function: Any, *given: Any, **named: Any) -> str:
    with pytest.raises(MliuqError) as caught:
        function(*given, **named)
    return str(caught.value)


def test_refusals_name_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, numbers = tmp_path / "data", tmp_path / "numbers"
    data.write_text("words")
    numbers.write_text("1")
    cannot = "cannot be written:"
    assert said(check_output, tmp_path) == f"{tmp_path}: {cannot} it is a folder, expected the name of a file"
    away = tmp_path / "away" / "a"
    assert said(check_output, away) == f"{away}: {cannot} folder {away.parent} does not exist"
    assert said(check_output, data, inputs=[str(numbers), str(data)]) == (
        f"{data}: is one of the inputs ({data}), expected another name to write to"
    )
    assert said(check_output, data, kind=NUMBERS) == (
        f"{data}: exists and is not a file of numbers: not replaced; give another name or remove it"
    )
    check_output(data)
    check_output(data, kind=NUMBERS, force=True)
    check_output(numbers, kind=NUMBERS, force=True)
    (tmp_path / "empty").touch()
    check_output(tmp_path / "empty", kind=NUMBERS)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert said(check_output, data) == f"{data}: {cannot} it is read-only"
    check_output(tmp_path / "new")  # what is not there is not read-only


def test_an_output_in_a_folder_that_is_read(tmp_path: Path) -> None:
    inside, outside = tmp_path / "folder" / "deep" / "a", tmp_path / "b"
    inside.parent.mkdir(parents=True)
    check_output(inside, inputs=[tmp_path / "folder"])  # not there yet: nothing that is read
    inside.touch()
    outside.touch()
    (tmp_path / "link").symlink_to("folder")
    for given in (tmp_path / "folder", tmp_path / "link"):
        assert "is one of the inputs" in said(check_output, inside, inputs=[given])
    check_output(outside, inputs=[tmp_path / "folder", tmp_path / "none"])


def test_the_first_four_kilobytes_tell_a_kind(tmp_path: Path) -> None:
    path, heads = tmp_path / "long", []
    path.write_bytes(bytes(10000))
    check_output(path, kind=Kind("x", lambda head: bool(heads.append(head)) or True))
    assert [len(head) for head in heads] == [4096]
    missing = tmp_path / "none"
    assert said(outputs._matches, missing, NUMBERS) == f"{missing}: cannot be read: No such file or directory"


def test_a_path_that_cannot_be_looked_at(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 300)
    assert said(is_stream, path) == f"{path}: cannot be written: File name too long"


def test_open_files_behind_links(tmp_path: Path) -> None:
    me = os.getpid()
    assert outputs._open_file(Path("/proc/self/fd/1")) == (f"/proc/{me}/fd", "1")
    assert outputs._open_file(Path("/dev/fd/2")) == (f"/proc/{me}/fd", "2")
    (tmp_path / "a").symlink_to("/dev/fd/2")
    (tmp_path / "b").symlink_to("a")
    assert outputs._open_file(tmp_path / "b") == (f"/proc/{me}/fd", "2")
    assert outputs._open_file(tmp_path / "c") is None
    (tmp_path / "loop").symlink_to("loop")
    assert outputs._open_file(tmp_path / "loop") is None
    previous = "/dev/fd/2"
    for index in range(45):
        (tmp_path / f"l{index}").symlink_to(previous)
        previous = f"l{index}"
    assert outputs._open_file(tmp_path / "l37") == (f"/proc/{me}/fd", "2")
    assert outputs._open_file(tmp_path / "l40") is None, "Linux gives up, too"


def test_an_open_file_of_ones_own_goes_on_where_it_was(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        log.write("before ")
        log.flush()
        write_files({Path(f"/dev/fd/{log.fileno()}"): b"content"})
        log.write(" after")
    assert (tmp_path / "log").read_text() == "before content after"


def test_what_is_written_is_logged_and_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mliuq.outputs")
    flushed: list[Path] = []
    monkeypatch.setattr(outputs, "_flush", flushed.append)
    a, b = tmp_path / "a", tmp_path / "b"
    write_files({a: b"1", b: b"2"})
    assert caplog.messages == [f"wrote {a}, {b}"]
    assert [path.name for path in flushed[:2]] == ["a", "b"]
    assert flushed[2:] == [tmp_path]
    with written_whole(a, Path("/dev/null")) as drafts:
        assert [draft.name for draft in drafts] == ["a", "null"]
        assert drafts[0].parent.parent == tmp_path
        assert drafts[1].parent.parent == Path(tempfile.gettempdir())
        for draft in drafts:
            assert draft.parent.name.startswith(f".mliuq-{os.getpid()}-")
            draft.touch()
    assert not any(draft.parent.exists() for draft in drafts)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_no_more_is_named(code: int, tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"

    def fill(error: OSError) -> None:
        with written_whole(a, b):
            raise error

    assert said(fill, OSError(code, "the words")) == f"{a} and {b}: cannot be written: the words"
    with pytest.raises(OSError, match="other words") as caught:
        fill(OSError(errno.EINVAL, "other words"))
    assert not isinstance(caught.value, MliuqError)


def test_a_name_that_cannot_be_taken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(source: Any, target: Any) -> None:
        raise OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(os, "replace", replace)
    assert said(write_files, {tmp_path / "a": b""}) == f"{tmp_path / 'a'}: cannot be written: busy"

    def broken(source: Any, target: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(BrokenPipeError):
        write_files({tmp_path / "a": b""})


def test_where_no_folder_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdtemp(**named: Any) -> str:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    assert said(check_output, tmp_path / "a") == f"{tmp_path / 'a'}: cannot be written: read-only"
    with pytest.raises(MliuqError, match=rf"^{tempfile.gettempdir()}: cannot be written: read-only$"), scratch():
        pass


def test_what_is_left_behind_goes_after_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs.time, "time", lambda: 1000.0)
    for name, age in ((".mliuq-1-a", 60.5), (".mliuq-1-b", 59.5), ("other", 500.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").touch()
        os.utime(tmp_path / name, (1000.0 - age, 1000.0 - age))
    (tmp_path / ".mliuq-file").touch()
    os.utime(tmp_path / ".mliuq-file", (0, 0))
    outputs.remove_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mliuq-1-b", ".mliuq-file", "other"]
    outputs.remove_abandoned(tmp_path / "none")


def test_only_one_holds_a_folder(tmp_path: Path) -> None:
    with outputs._locked(tmp_path) as first, outputs._locked(tmp_path) as second:
        assert (first, second) == (True, False)
    with outputs._locked(tmp_path) as again:
        assert again is True
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError), outputs._locked(tmp_path / "link"):  # noqa: PT011
        pass


def test_owner_and_mode_are_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft of another owner than the file that it replaces."""
    draft, changed = tmp_path / "draft", []
    draft.touch()
    old: Any = SimpleNamespace(stat=lambda: SimpleNamespace(st_uid=os.getuid(), st_gid=54321, st_mode=0o100640))
    monkeypatch.setattr(os, "chown", lambda *given: changed.append(given))
    outputs._take_mode(draft, old)
    assert changed == [(draft, os.getuid(), 54321)]
    assert stat.S_IMODE(draft.stat().st_mode) == 0o640
    outputs._take_mode(draft, draft)
    assert len(changed) == 1

    def refused(*given: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refused)
    outputs._take_mode(draft, old)


def test_standard_output_is_flushed_in_order(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print("before")
    write_files({outputs.STANDARD_OUTPUT: b"content\n"})
    print("after", flush=True)
    assert capfdbinary.readouterr().out == b"before\ncontent\nafter\n"
