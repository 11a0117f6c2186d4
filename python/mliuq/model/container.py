"""The container of a model file: safetensors (length, JSON header, raw arrays), end to end and under a checksum.

The checksum is the CRC-32 of header and arrays, the header taken with zeros for the checksum itself; it stands in the
header's `__metadata__`, where other readers of safetensors pass it by.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mliuq.errors import MliuqError
from mliuq.model import strict_json

Array = NDArray[np.float64]

_LARGEST_HEADER = 100_000_000
_MOST_DIMENSIONS = 16
_NO_CHECKSUM = "crc32:00000000"
_TEXTS = ("mliuq", "checksum", "format")


def pack(arrays: Mapping[str, Array], text: str) -> bytes:
    """Bytes of a file that holds these arrays and one text; equal content gives equal bytes."""
    header: dict[str, Any] = {"__metadata__": {"checksum": _NO_CHECKSUM, "mliuq": text}}
    data: list[bytes] = []
    end = 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], dtype="<f8")
        header[name] = {"dtype": "F64", "shape": list(arrays[name].shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
        data.append(array.tobytes())
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    checksum = zlib.crc32(head)
    for part in data:
        checksum = zlib.crc32(part, checksum)
    head = head.replace(_NO_CHECKSUM.encode(), f"crc32:{checksum:08x}".encode(), 1)
    return b"".join([len(head).to_bytes(8, "little"), head, *data])


def unpack(source: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays and texts of a file.

    Raises
    ------
    MliuqError
        For a file of another kind, a truncated or damaged one, or an array that is not float64 and finite.
    """
    with source.open("rb") as stream:
        try:
            return _unpack(source, stream)
        except MemoryError:
            raise MliuqError(f"{source}: not enough memory to read it") from None


def _unpack(source: Path, stream: BinaryIO) -> tuple[dict[str, Array], dict[str, str]]:
    size = stream.seek(0, 2)
    stream.seek(0)
    length = int.from_bytes(stream.read(8), "little")
    if size < 8 or length > _LARGEST_HEADER or length > size - 8:
        raise MliuqError(
            f"{source}: not a .mliuq model file: its header claims {length} bytes, the file has {size} (truncated?)"
        )
    head = stream.read(length)
    try:
        header = strict_json.loads(head.decode())
    except ValueError as error:
        raise MliuqError(f"{source}: the header is not valid JSON: {error}") from error
    if not isinstance(header, dict):
        raise MliuqError(f"{source}: the header is {header!r:.200}, expected an object")
    texts = _texts(source, header.pop("__metadata__", {}))
    table = {name: _entry(source, name, entry, size) for name, entry in header.items()}
    end = 0
    for name, (_, begin, stop) in sorted(table.items(), key=lambda item: item[1][1:]):
        if begin != end:
            raise MliuqError(
                f'{source}: array "{name}" begins at byte {begin} of the data, expected {end}, '
                "where the one before it ends"
            )
        end = stop
    if end != size - 8 - length:
        raise MliuqError(
            f"{source}: truncated or damaged: the header promises {end} bytes of arrays, the file has "
            f"{size - 8 - length}"
        )
    data = np.fromfile(stream, dtype=np.uint8, count=end)
    if len(data) != end:
        raise MliuqError(f"{source}: reading its arrays failed: another process is changing it")
    arrays = {name: data[begin:stop].view("<f8").reshape(shape) for name, (shape, begin, stop) in table.items()}
    for name, array in arrays.items():
        if not np.all(np.isfinite(array)):
            raise MliuqError(f'{source}: array "{name}" holds values that are not finite')
    _check(source, head, data, texts.get("checksum"))
    return arrays, texts


def _texts(source: Path, metadata: Any) -> dict[str, str]:
    """Unknown names are refused: "chdcksum" must not stand for a file without a checksum."""
    if not isinstance(metadata, dict):
        raise MliuqError(f"{source}: __metadata__ is {metadata!r:.200}, expected an object")
    for key, text in metadata.items():
        if key not in _TEXTS:
            raise MliuqError(f'{source}: __metadata__ has a key "{key[:200]}", expected mliuq and checksum')
        if not isinstance(text, str):
            raise MliuqError(f"{source}: __metadata__.{key} is {text!r:.200}, expected a text")
    return metadata


def _entry(source: Path, name: str, entry: Any, size: int) -> tuple[tuple[int, ...], int, int]:
    """Shape, begin and end of an array."""
    where = f'{source}: array "{name[:200]}"'
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise MliuqError(f"{where} is described by {entry!r:.200}, expected dtype, shape and data_offsets")
    if entry["dtype"] != "F64":
        raise MliuqError(f"{where} has type {entry['dtype']!r:.200}, expected F64")
    shape, offsets = entry["shape"], entry["data_offsets"]
    for key, values in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(values, list) or not all(type(v) is int and 0 <= v < 2**53 for v in values):
            raise MliuqError(f"{where}: {key} is {values!r:.200}, expected whole numbers")
    if len(shape) > _MOST_DIMENSIONS:
        raise MliuqError(f"{where} has {len(shape)} dimensions, expected at most {_MOST_DIMENSIONS}")
    if math.prod(filter(None, shape)) > size:
        raise MliuqError(f"{where} has shape {tuple(shape)!r:.200}, more than the file holds")
    if len(offsets) != 2 or offsets[1] - offsets[0] != 8 * math.prod(shape):
        raise MliuqError(f"{where} spans bytes {offsets!r:.200}, expected {8 * math.prod(shape)} bytes")
    return tuple(shape), offsets[0], offsets[1]


def _check(source: Path, head: bytes, data: NDArray[np.uint8], stated: str | None) -> None:
    if stated is None:
        return
    quoted = f'"{stated}"'.encode()
    if len(stated) != len(_NO_CHECKSUM) or not stated.startswith("crc32:") or quoted not in head:
        raise MliuqError(f"{source}: checksum is {stated!r:.200}, expected crc32: and eight hexadecimal digits")
    bare = head.replace(quoted, f'"{_NO_CHECKSUM}"'.encode(), 1)
    found = f"crc32:{zlib.crc32(data.data, zlib.crc32(bare)):08x}"
    if found != stated:
        raise MliuqError(f"{source}: damaged: the checksum of its content is {found}, the file says {stated}")
