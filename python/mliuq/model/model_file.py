"""Reading and writing NAME.mliuq: a safetensors file with one JSON text of metadata (docs/reference/model-file.md)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mliuq.errors import MliuqError
from mliuq.inputs import refuse_streams
from mliuq.model import container, strict_json
from mliuq.outputs import STANDARD_OUTPUT, Kind, check_output, is_stream, write_files

FORMAT_VERSION = 1
METADATA_KEY = "mliuq"
#: What must be an object, or null, where it is there.
SECTIONS = ("snap", "zbl", "noise", "calibration", "units", "fit", "posterior", "data", "software")

MODEL_FILE = Kind("a model file", lambda head: head[8:9] == b"{" and METADATA_KEY.encode() in head)
"""What an existing file has to be for a model to replace it."""

Array = NDArray[np.float64]


def check_model(path: Path, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse a model file that must not or cannot be written, before any work is done.

    Raises
    ------
    MliuqError
        for a name that does not end in .mliuq, and whatever `check_output` refuses.
    """
    if path.suffix != ".mliuq" and (path == STANDARD_OUTPUT or not is_stream(path)):
        raise MliuqError(f"{path}: expected a name that ends in .mliuq")
    check_output(path, inputs=inputs, kind=MODEL_FILE)


def write(path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, Any]) -> None:
    """Write a model file, whole or not at all.

    Equal content gives equal bytes. Bytes of a file name that are no text are kept as escapes.

    Raises
    ------
    MliuqError
        For an array or a number that is not finite, metadata that the readers would refuse, or a path that cannot be
        written.
    """
    target = Path(path)
    for name, array in arrays.items():
        if not np.all(np.isfinite(array)):
            raise MliuqError(f'{target}: array "{name}" holds values that are not finite, refusing to write')
    try:
        text = json.dumps(_texts_whole({"format_version": FORMAT_VERSION, **metadata}), sort_keys=True, allow_nan=False)
        strict_json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise MliuqError(f"{target}: metadata cannot be stored: {error}") from error
    write_files({target: container.pack(arrays, text)})


def _texts_whole(value: Any) -> Any:
    """Plain values with every string fit for UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_texts_whole(key): _texts_whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_texts_whole(item) for item in value]
    return value


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read arrays and metadata of a model file.

    Raises
    ------
    MliuqError
        For a missing, truncated, damaged or foreign file, another format version, or an array that is not float64 and
        finite.
    """
    source = Path(path)
    refuse_streams(source)
    if not source.is_file():
        raise MliuqError(f"{source}: no such file, expected a .mliuq model file")
    try:
        arrays, texts = container.unpack(source)
    except OSError as error:
        raise MliuqError(f"{source}: cannot be read: {error.strerror or error}") from error
    if METADATA_KEY not in texts:
        raise MliuqError(f"{source}: a safetensors file without mliuq metadata, expected a .mliuq model file")
    return arrays, _parse(source, texts[METADATA_KEY])


def _parse(source: Path, text: str) -> dict[str, Any]:
    try:
        metadata = strict_json.loads(text)
    except ValueError as error:
        raise MliuqError(f"{source}: metadata is not valid JSON: {error}") from error
    if not isinstance(metadata, dict):
        raise MliuqError(f"{source}: metadata is {type(metadata).__name__}, expected an object")
    version = metadata.get("format_version")
    if version != FORMAT_VERSION or type(version) is not int:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        hint = "; this model needs a newer mliuq" if newer else ""
        raise MliuqError(f"{source}: format_version is {version!r:.200}, expected {FORMAT_VERSION}{hint}")
    for key in ("elements", "snap"):
        if key not in metadata:
            raise MliuqError(f'{source}: key "{key}" is missing')
    for key in SECTIONS:
        if not isinstance(metadata.get(key), dict | None):
            raise MliuqError(f"{source}: {key} is {metadata[key]!r:.200}, expected an object")
    seed = metadata.get("seed")
    if not isinstance(seed, int | float | None) or isinstance(seed, bool):
        raise MliuqError(f"{source}: seed is {seed!r:.200}, expected a number")
    return metadata
