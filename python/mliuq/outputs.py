"""Files that are written whole or not at all.

What is made grows in a folder of its own beside its target, `.mliuq-PID-…`, closed to others, and takes its name when
it is complete and on the disk: a reader never meets half a file, an error, a signal or a full disk leaves the old one.
What a killed process leaves is removed by the next that writes there.
Links are followed, file modes kept.  Devices, pipes and open files (`/dev/stdout`) are written to, never replaced.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mliuq.errors import MliuqError

log = logging.getLogger(__name__)

SCRATCH = ".mliuq-"
"""How the names of scratch folders begin; what a killed process leaves behind bears it too, then the process's id."""

STANDARD_OUTPUT = Path("-")

_YOUNG = 60.0  # seconds
_HEAD = 4096  # bytes a file is recognised by
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@dataclass(frozen=True)
class Kind:
    """What a file that may be replaced looks like.

    Attributes
    ----------
    name : for messages, as in "expected a model file"
    matches : whether the first bytes of a file are of this kind
    """

    name: str
    matches: Callable[[bytes], bool]


def is_stream(path: Path) -> bool:
    """Whether a path is a device, a pipe or an open file of a process rather than a file with a name."""
    try:
        if path == STANDARD_OUTPUT or _open_file(path) is not None:
            return True
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        raise MliuqError(f"{path}: cannot be written: {error.strerror}") from error
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_output(
    path: Path, *, inputs: Iterable[str | os.PathLike[str]] = (), kind: Kind | None = None, force: bool = False
) -> None:
    """Refuse an output that cannot or must not be written; to be asked before any work is done for it.

    Parameters
    ----------
    path : the output
    inputs : files and folders read by the same command
    kind : what an existing file has to be for it to be replaced; `force` replaces any

    Raises
    ------
    MliuqError
        for a folder, a place that cannot be written, one of the inputs, or a file of another kind.
    """
    if is_stream(path):
        return
    target = _target(path)
    if target.is_dir():
        raise MliuqError(f"{path}: cannot be written: it is a folder, expected the name of a file")
    for given in map(Path, inputs):
        if _within(target, given):
            raise MliuqError(f"{path}: is one of the inputs ({given}), expected another name to write to")
    if target.exists():
        if not os.access(target, os.W_OK):
            raise MliuqError(f"{path}: cannot be written: it is read-only")
        if kind is not None and not force and not _matches(target, kind):
            raise MliuqError(f"{path}: exists and is not {kind.name}: not replaced; give another name or remove it")
    with scratch(target):  # read-only folders and file systems refuse here
        pass


def make_folder(path: Path) -> None:
    """Make a folder for outputs, and those above it.

    Raises
    ------
    MliuqError
        where it cannot be made, such as where a file has its name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise MliuqError(f"{path}: is a file, expected the name of a folder") from None
    except OSError as error:
        raise MliuqError(f"{path}: cannot be made: {error.strerror}") from error


@contextmanager
def written_whole(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Give a path to write to for each output; all take their names when the block ends well, none when it does not.

    Raises
    ------
    MliuqError
        for what cannot be written, a full disk for example.
    """
    targets = [None if is_stream(path) else _target(path) for path in paths]
    with ExitStack() as stack:
        drafts = tuple(
            stack.enter_context(scratch(target)) / (path.name if target is None else target.name)
            for path, target in zip(paths, targets, strict=True)
        )
        try:
            yield drafts
            for draft, target in zip(drafts, targets, strict=True):
                _flush(draft)
                if target is not None and target.exists():
                    _take_mode(draft, target)
        except OSError as error:
            if error.errno not in _CANNOT_WRITE:
                raise
            raise MliuqError(f"{' and '.join(map(str, paths))}: cannot be written: {error.strerror}") from error
        for path, draft, target in zip(paths, drafts, targets, strict=True):
            try:
                if target is None:
                    _pour(draft, path)
                else:
                    os.replace(draft, target)
            except BrokenPipeError:
                raise
            except OSError as error:
                raise MliuqError(f"{path}: cannot be written: {error.strerror}") from error
        log.info("wrote %s", ", ".join(map(str, paths)))
        for folder in {target.parent for target in targets if target is not None}:
            _flush(folder)


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write several files that appear together; see `written_whole`."""
    with written_whole(*contents) as drafts:
        for draft, content in zip(drafts, contents.values(), strict=True):
            draft.write_bytes(content)


def _target(path: Path) -> Path:
    """Return the file behind links, in a folder that exists."""
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise MliuqError(f"{path}: cannot be written: folder {target.parent} does not exist")
    return target


def _open_file(path: Path) -> tuple[str, str] | None:
    """Return folder and number when a path leads, over any number of links, to an open file of a process."""
    for _ in range(40):  # as many links as Linux follows
        folder = os.path.realpath(path.parent)
        if re.fullmatch(r"/proc/.+/fd|/dev/fd", folder):
            return folder, path.name
        if not path.is_symlink():
            return None
        path = path.parent / os.readlink(path)
    return None


def _within(target: Path, given: Path) -> bool:
    """Whether a file is, or lies in, what was given to read."""
    try:
        if given.is_dir():
            return target.exists() and target.is_relative_to(os.path.realpath(given))
        return os.path.samefile(target, given)
    except OSError:
        return False


def _matches(target: Path, kind: Kind) -> bool:
    try:
        with target.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise MliuqError(f"{target}: cannot be read: {error.strerror}") from error
    return not head or kind.matches(head)


@contextmanager
def scratch(target: Path | None = None) -> Iterator[Path]:
    """Make a folder beside a target (without one: where temporary files go) and remove it in the end.

    Its lock says that its owner lives: the system releases it with the process, however that ends.
    """
    parent = Path(tempfile.gettempdir()) if target is None else target.parent
    remove_abandoned(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-", dir=parent))
    except OSError as error:
        raise MliuqError(f"{target or parent}: cannot be written: {error.strerror}") from error
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder where nobody else does; False where somebody does, or locks are unknown."""
    handle = os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
        except OSError:
            held = False
        yield held
    finally:
        os.close(handle)


def remove_abandoned(parent: Path, *, below: bool = False) -> None:
    """Remove what killed processes have left, old enough not to be on the way between its making and its lock.

    `below`: in all folders of `parent`, too, for work that goes on without writing to each of them again.
    """
    with suppress(OSError):
        for folder in list(parent.rglob(f"{SCRATCH}*") if below else parent.glob(f"{SCRATCH}*")):
            with suppress(OSError):
                if folder.lstat().st_mtime < time.time() - _YOUNG:
                    with _locked(folder) as abandoned:
                        if abandoned:
                            shutil.rmtree(folder)


def _flush(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _take_mode(draft: Path, target: Path) -> None:
    """Give a new file the owner and mode of the one it replaces, as far as the system allows."""
    old, new = target.stat(), draft.stat()
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        with suppress(OSError):
            os.chown(draft, old.st_uid, old.st_gid)
    os.chmod(draft, stat.S_IMODE(old.st_mode))


def _pour(draft: Path, path: Path) -> None:
    """Copy a finished file into a stream."""
    sys.stdout.flush()
    with draft.open("rb") as source:
        if path == STANDARD_OUTPUT:
            shutil.copyfileobj(source, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        folder, number = _open_file(path) or ("", "")
        own = folder.split("/")[2:3] == [str(os.getpid())] and number.isdecimal()
        handle = os.dup(int(number)) if own else os.open(path, os.O_WRONLY | os.O_APPEND)
        with os.fdopen(handle, "wb") as sink:
            shutil.copyfileobj(source, sink)
