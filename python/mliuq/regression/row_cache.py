"""Rows computed once and kept: in memory, on disk, or not at all.

A fit with posterior goes over its rows four times or more.  On disk every block is one file, there as a whole or not at
all, so that a fit killed after hours finds its finished blocks again.  A manifest says which rows a folder
holds; rows of other data or other descriptors are never mixed up.  Weights are not part of the cache: they may be tuned
freely.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

from mliuq.errors import MliuqError
from mliuq.outputs import make_folder, write_files, written_whole
from mliuq.regression.rows import Floats, RowSource

_MANIFEST = "rows.json"


class MemoryRows(RowSource):
    """Keeps every block of another source in memory once it has been computed."""

    def __init__(self, source: RowSource) -> None:
        self._source = source
        self.table, self.n_weights = source.table, source.n_weights
        self._kept: dict[int, Floats] = {}

    def design(self, index: int) -> Floats:
        """See `RowSource.design`."""
        if index not in self._kept:
            self._kept[index] = self._source.design(index)
        return self._kept[index]


class DiskRows(RowSource):
    """Keeps every block of another source in a folder.

    Parameters
    ----------
    source : where rows come from when the folder does not have them
    folder : made if absent; may be shared by the ranks of one fit
    fingerprint : identifies data and descriptor

    Raises
    ------
    MliuqError
        if the folder holds rows of something else, or a damaged block.
    """

    def __init__(self, source: RowSource, folder: str | Path, fingerprint: str) -> None:
        self._source = source
        self.table, self.n_weights = source.table, source.n_weights
        self.folder = Path(folder)
        make_folder(self.folder)
        mine = {"fingerprint": fingerprint, "n_rows": len(self.table), "n_weights": self.n_weights}
        mine["starts"] = [int(start) for start in self.table.starts]
        manifest = self.folder / _MANIFEST
        if not manifest.exists():
            write_files({manifest: json.dumps(mine).encode()})
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))
        except OSError as error:
            raise MliuqError(f"{manifest}: cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise MliuqError(f"{manifest}: damaged ({error}); remove the folder") from error
        if not isinstance(found, dict):
            raise MliuqError(f"{manifest}: damaged (holds no object); remove the folder")
        if found != mine:
            raise MliuqError(
                f"{self.folder}: holds rows of other data or another descriptor (fingerprint "
                f"{found.get('fingerprint')}, expected {fingerprint}); give another folder or remove this one"
            )

    def path(self, index: int) -> Path:
        """Return the file of block `index`."""
        return self.folder / f"block-{index:06d}.f64"

    @property
    def n_finished(self) -> int:
        """Number of blocks that are already on disk."""
        return sum(self.path(index).exists() for index in range(self.n_blocks))

    def design(self, index: int) -> Floats:
        """See `RowSource.design`."""
        path, span = self.path(index), self.span(index)
        shape = (span.stop - span.start, self.n_weights)
        if path.exists():
            return self._read(path, shape)
        x = np.ascontiguousarray(self._source.design(index))
        if x.shape != shape:
            raise MliuqError(f"block {index} has shape {x.shape}, expected {shape}")
        with written_whole(path) as (draft,), draft.open("wb") as stream:
            x.tofile(stream)
            np.array([_checksum(x)]).tofile(stream)
        return x

    def _read(self, path: Path, shape: tuple[int, int]) -> Floats:
        """Read a block: its numbers, then their checksum as one more."""
        x = np.fromfile(path)  # read, not mapped: pages of a mapping would count as this process's memory
        expected = shape[0] * shape[1]
        if x.size != expected + 1:
            raise MliuqError(f"{path}: holds {x.size} numbers, expected {expected} and a checksum; remove the file")
        if x[-1] != _checksum(x[:-1]):
            raise MliuqError(
                f"{path}: damaged: its numbers do not have the checksum that follows them; remove the file"
            )
        return x[:-1].reshape(shape)


def _checksum(x: Floats) -> float:
    """CRC-32 of the numbers: every 32-bit whole number is a double."""
    return float(zlib.crc32(x.data))
