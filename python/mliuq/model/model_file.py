"""Reading and writing NAME.mliuq: a safetensors file with one JSON text of metadata (docs/reference/model-file.md)."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mliuq.errors import MliuqError

FORMAT_VERSION = 1
METADATA_KEY = "mliuq"

Array = NDArray[np.float64]


def write(path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, Any]) -> None:
    """Write a model file under a temporary name and rename it: a killed writer never leaves half a model.

    The metadata is one JSON text with sorted keys, because the safetensors writer does not keep the order of several
    keys: equal content gives equal bytes.

    Raises
    ------
    MliuqError
        For an array or a number that is not finite, or a path that cannot be written.
    """
    target = Path(path)
    for name, array in arrays.items():
        if not np.all(np.isfinite(array)):
            raise MliuqError(f'{target}: array "{name}" holds values that are not finite, refusing to write')
    try:
        text = json.dumps({"format_version": FORMAT_VERSION, **metadata}, sort_keys=True, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise MliuqError(f"{target}: metadata cannot be stored: {error}") from error
    content = save(
        {name: np.ascontiguousarray(arrays[name], dtype=np.float64) for name in sorted(arrays)},
        metadata={METADATA_KEY: text},
    )
    write_atomically(target, content)


def write_atomically(target: Path, content: bytes) -> None:
    """Write bytes beside the target, flush them to disk, and rename."""
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    except OSError as error:
        raise MliuqError(f"{target}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise MliuqError(f"{target}: cannot be written: {error.strerror}") from error
        raise


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read arrays and metadata of a model file.

    Raises
    ------
    MliuqError
        For a missing, truncated or foreign file, another format version, or an array that is not float64 and finite.
    """
    source = Path(path)
    if not source.is_file():
        raise MliuqError(f"{source}: no such file, expected a .mliuq model file")
    arrays: dict[str, Array] = {}
    name = ""
    try:
        with safe_open(source, framework="numpy") as stream:
            header = stream.metadata() or {}
            if METADATA_KEY not in header:
                raise MliuqError(f"{source}: a safetensors file without mliuq metadata, expected a .mliuq model file")
            _refuse_repeated_names(source)
            names = list(stream.keys())
            metadata = _parse(source, header[METADATA_KEY])
            for name in names:
                arrays[name] = stream.get_tensor(name)
    except SafetensorError as error:
        raise MliuqError(f"{source}: not a .mliuq model file, or truncated: {error}") from error
    except (TypeError, ValueError, AttributeError, KeyError) as error:  # an element type numpy does not have
        if isinstance(error, MliuqError):
            raise
        raise MliuqError(f"{source}: array {name!r} has a type that is not float64: {error}") from error
    except OSError as error:
        raise MliuqError(f"{source}: cannot be read: {error}") from error
    for name, array in arrays.items():
        if array.dtype != np.float64:
            raise MliuqError(f'{source}: array "{name}" has type {array.dtype}, expected float64')
        if not np.all(np.isfinite(array)):
            raise MliuqError(f'{source}: array "{name}" holds values that are not finite')
    return arrays, metadata


def _strict_json(source: Path, what: str, text: str) -> Any:
    """JSON as the C++ reader takes it: keys once, numbers finite."""

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is not a finite number")

    def number(digits: str) -> float:
        value = float(digits)
        return value if math.isfinite(value) else refuse(digits)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f'key "{key[:200]}" is given twice')
            found[key] = value
        return found

    try:
        return json.loads(text, parse_constant=refuse, parse_float=number, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise MliuqError(f"{source}: {what} is not valid JSON: {error}") from error


def _refuse_repeated_names(source: Path) -> None:
    """Safetensors takes the last of two arrays of one name."""
    with source.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        _strict_json(source, "the header", stream.read(size).decode())


def _parse(source: Path, text: str) -> dict[str, Any]:
    metadata = _strict_json(source, "metadata", text)
    if not isinstance(metadata, dict):
        raise MliuqError(f"{source}: metadata is {type(metadata).__name__}, expected an object")
    version = metadata.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        newer = isinstance(version, int) and version > FORMAT_VERSION
        hint = "; this model needs a newer mliuq" if newer else ""
        raise MliuqError(f"{source}: format_version is {version}, expected {FORMAT_VERSION}{hint}")
    for key in ("elements", "snap"):
        if key not in metadata:
            raise MliuqError(f'{source}: key "{key}" is missing')
    return metadata
