"""Where a loop keeps what it has done: plain files, each written whole, so that what is there is finished.

learn.toml            the settings
train.xyz test.xyz    what was known at the beginning, and the fixed test set
starts.xyz            what the runs begin from
region.xyz target.xyz what labels are chosen for, where the settings name such structures
round_000/            what the beginning knew and, without any, the displaced starts
round_001/
    md/000/           one run: facts.json, frames.xyz
    runs.json         the runs of the round
    frames.xyz        their frames
    batch.xyz         those chosen; choices.json says why
    labelling/000.xyz, 000.json     a label, or why there is none; 000/ what the calculation wrote
    labels.xyz        the labels
    quarantine.xyz    what got none, each with its reason
    fit.state         the triangle of the rows, which the next fit goes on from
    model.mliuq       fitted to everything known then
    log.json          the round in numbers
model.mliuq           the last model
learn.md learn.png    a table and a picture of all rounds
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mliuq.errors import MliuqError

SETTINGS = "learn.toml"


@dataclass(frozen=True)
class Round:
    """The files of one round."""

    folder: Path
    index: int

    @property
    def md(self) -> Path:
        """Folder of the runs."""
        return self.folder / "md"

    @property
    def runs(self) -> Path:
        """What became of the runs."""
        return self.folder / "runs.json"

    @property
    def frames(self) -> Path:
        """All frames of the runs."""
        return self.folder / "frames.xyz"

    @property
    def batch(self) -> Path:
        """Those to be labelled."""
        return self.folder / "batch.xyz"

    @property
    def choices(self) -> Path:
        """Why each of the batch was chosen."""
        return self.folder / "choices.json"

    @property
    def labelling(self) -> Path:
        """Folder of the calculations."""
        return self.folder / "labelling"

    @property
    def labels(self) -> Path:
        """Structures with reference values."""
        return self.folder / "labels.xyz"

    @property
    def quarantine(self) -> Path:
        """Structures without, and why."""
        return self.folder / "quarantine.xyz"

    @property
    def state(self) -> Path:
        """What the fit leaves for the next."""
        return self.folder / "fit.state"

    @property
    def model(self) -> Path:
        """The model of everything known then."""
        return self.folder / "model.mliuq"

    @property
    def log(self) -> Path:
        """The round in numbers; there when the round is over."""
        return self.folder / "log.json"


@dataclass(frozen=True)
class LearnFolder:
    """The files of a loop."""

    path: Path

    def round(self, index: int) -> Round:
        """The files of a round, which need not be there."""
        return Round(self.path / f"round_{index:03d}", index)

    @property
    def settings(self) -> Path:
        """The settings of the loop."""
        return self.path / SETTINGS

    @property
    def beginning(self) -> tuple[Path, ...]:
        """The files of what a loop begins with, in the order of `knowledge.Beginning`."""
        names = ("train", "test", "starts", "region", "target")
        return tuple(self.path / f"{name}.xyz" for name in names)

    @property
    def model(self) -> Path:
        """The last model."""
        return self.path / "model.mliuq"

    def logs(self) -> list[dict[str, Any]]:
        """The rounds that are over, in order."""
        found: list[dict[str, Any]] = []
        while (path := self.round(len(found)).log).is_file():
            found.append(read_json(path))
        return found


def read_json(path: Path) -> Any:
    """Plain values of a file.

    Raises
    ------
    MliuqError
        for a file that cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MliuqError(f"{path}: cannot be read: {error}") from error


def json_bytes(values: Any) -> bytes:
    """Plain values as the text of a file."""
    return (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make a folder if need be and hold its lock, which the system releases with the process, however that ends.

    Raises
    ------
    MliuqError
        where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # where locks are unknown, nobody can hold one
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise MliuqError(f"{folder}: another loop is at work there") from None
        yield
    finally:
        os.close(handle)


def emptied(folder: Path) -> Path:
    """Make a folder anew."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder
