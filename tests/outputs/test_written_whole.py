"""Files written whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mliuq.errors import MliuqError
from mliuq.outputs import (
    SCRATCH,
    STANDARD_OUTPUT,
    Kind,
    check_output,
    is_stream,
    remove_abandoned,
    write_files,
    written_whole,
)

NUMBERS = Kind("a file of numbers", lambda head: head[:1].isdigit())


def left_over(folder: Path) -> list[Path]:
    return list(folder.rglob(f"{SCRATCH}*"))


def test_a_file_appears_whole_and_alone(tmp_path: Path) -> None:
    with written_whole(tmp_path / "new") as (draft,):
        draft.write_bytes(b"12")
        assert not (tmp_path / "new").exists()
        assert stat.S_IMODE(draft.parent.stat().st_mode) == 0o700, "nobody can place a link where the draft grows"
    assert (tmp_path / "new").read_bytes() == b"12"
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_changes_when_the_work_fails(tmp_path: Path, failure: type[BaseException]) -> None:
    names = [tmp_path / "a", tmp_path / "b"]
    names[0].write_text("old")
    with pytest.raises(failure), written_whole(*names) as drafts:  # noqa: PT012
        drafts[0].write_text("new")
        raise failure
    assert names[0].read_text() == "old"
    assert not names[1].exists()
    assert not left_over(tmp_path)


def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    """But not what a living one is writing, however old."""
    program = """
import sys, time
from pathlib import Path
from mliuq.outputs import written_whole
with written_whole(Path(sys.argv[1])) as (draft,):
    draft.write_text("half")
    print(draft.parent, flush=True)
    time.sleep(60)
"""
    writers = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path / name], stdout=subprocess.PIPE, text=True)
        for name in ("killed", "alive")
    ]
    folders = [Path(writer.stdout.readline().strip()) for writer in writers if writer.stdout]
    writers[0].kill()
    writers[0].wait()
    write_files({tmp_path / "a": b""})
    assert all(folder.exists() for folder in folders), "the young may be on their way to their lock"
    for folder in folders:
        os.utime(folder, (0, 0))
    write_files({tmp_path / "b": b""})
    assert [folder.exists() for folder in folders] == [False, True]
    writers[1].kill()
    for writer in writers:
        writer.communicate()


def test_what_is_left_below_a_folder_is_removed_on_request(tmp_path: Path) -> None:
    deep = tmp_path / "round" / "run" / f"{SCRATCH}1-x"
    deep.mkdir(parents=True)
    (deep / "half").touch()
    os.utime(deep, (0, 0))
    remove_abandoned(tmp_path)
    assert deep.exists()
    remove_abandoned(tmp_path, below=True)
    assert not deep.exists()
    assert deep.parent.exists()


def test_several_files_appear_together(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    write_files({tmp_path / "a": b"1", tmp_path / "other" / "b": b"2"})
    assert (tmp_path / "a").read_bytes() + (tmp_path / "other" / "b").read_bytes() == b"12"
    with pytest.raises(MliuqError, match="b: cannot be written"):
        write_files({tmp_path / "a": b"3", tmp_path / "a" / ".." / "other" / "b": b"4"} | _unwritable(tmp_path))
    assert (tmp_path / "a").read_bytes() == b"1"
    assert not left_over(tmp_path)


def _unwritable(folder: Path) -> dict[Path, bytes]:
    (folder / "full").symlink_to("/sys/b" if os.geteuid() == 0 else "/b")
    return {folder / "full": b"5"}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_modes_are_kept(tmp_path: Path, mode: int) -> None:
    name = tmp_path / "file"
    name.write_text("old")
    name.chmod(mode)
    write_files({name: b"new"})
    assert (name.read_text(), stat.S_IMODE(name.stat().st_mode)) == ("new", mode)


def test_a_new_file_obeys_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_files({tmp_path / "file": b""})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@pytest.mark.parametrize("exists", [True, False])
def test_links_are_followed(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "target", tmp_path / "link"
    if exists:
        target.write_text("old")
    link.symlink_to("far/target")
    check_output(link)
    write_files({link: b"new"})
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_pipes_and_devices_are_written_to(tmp_path: Path) -> None:
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    check_output(pipe)
    write_files({pipe: b"content"})
    reader.join()
    assert found == [b"content"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    write_files({Path("/dev/null"): b"content"})
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(MliuqError, match="/dev/full: cannot be written: No space left"):
        write_files({Path("/dev/full"): b"content"})


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/proc/self/fd/1", "link"])
def test_standard_output_keeps_what_else_is_said(tmp_path: Path, name: str) -> None:
    """Also where standard output is a file with a name: replacing it would lose all that is written later."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    program = f"""
from pathlib import Path
from mliuq.outputs import check_output, is_stream, write_files
print("before")
assert is_stream(Path({name!r}))
check_output(Path({name!r}))
write_files({{Path({name!r}): b"content\\n"}})
print("after")
"""
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", program], stdout=log, cwd=tmp_path, check=True)
    assert (tmp_path / "log").read_text().split() == ["before", "content", "after"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "log"]


def test_files_are_not_streams(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "absent", tmp_path):
        assert not is_stream(path)
    assert is_stream(STANDARD_OUTPUT)


def test_what_must_not_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    data, linked, numbers = tmp_path / "data", tmp_path / "linked", tmp_path / "numbers"
    data.write_text("words")
    linked.symlink_to(data)
    os.link(data, tmp_path / "hard")
    numbers.write_text("1")
    inside = tmp_path / "folder" / "part.json"
    inside.touch()
    for path, message, options in (
        (tmp_path / "folder", "it is a folder", {}),
        (tmp_path / "absent" / "file", "folder .*absent does not exist", {}),
        (data, "is one of the inputs", {"inputs": [data]}),
        (linked, "is one of the inputs", {"inputs": [numbers, data]}),
        (data, "is one of the inputs", {"inputs": [linked]}),
        (tmp_path / "hard", "is one of the inputs", {"inputs": [data]}),
        (inside, "is one of the inputs", {"inputs": [tmp_path / "folder"]}),
        (data, "exists and is not a file of numbers", {"kind": NUMBERS}),
    ):
        with pytest.raises(MliuqError, match=message):
            check_output(path, **options)  # type: ignore[arg-type]
    check_output(data, kind=NUMBERS, force=True)
    check_output(numbers, inputs=[data, "absent"], kind=NUMBERS)
    assert data.read_text() == "words"
    assert not left_over(tmp_path)


def test_a_loop_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(MliuqError, match="a: cannot be written"):
        check_output(tmp_path / "a")


def test_what_cannot_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        with pytest.raises(MliuqError, match="cannot be written"):
            check_output(Path("/sys/model"))
        return
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(MliuqError, match="cannot be written: Permission denied"):
        check_output(tmp_path / "closed" / "file")
    (tmp_path / "file").touch(mode=0o400)
    with pytest.raises(MliuqError, match="read-only"):
        check_output(tmp_path / "file")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_what_was_there(small_disk: Path) -> None:
    names = {small_disk / "a": b"new a", small_disk / "b": bytes(100_000)}
    for name in names:
        name.write_text("old")
    with pytest.raises(MliuqError, match=r"a and .*b: cannot be written: No space left on device"):
        write_files(names)
    assert [name.read_text() for name in names] == ["old", "old"]
    assert sorted(p.name for p in small_disk.iterdir()) == ["a", "b"]
