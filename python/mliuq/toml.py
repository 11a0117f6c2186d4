"""Frozen dataclasses from and to nested tables, and tables to TOML text."""

from __future__ import annotations

import math
import tomllib
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from mliuq.errors import MliuqError
from mliuq.inputs import refuse_streams

T = TypeVar("T")

_LONGEST = 2**24  # bytes of a file
_LARGEST = 2**53  # beyond, whole numbers are not kept by all readers of a model file


def read_toml(path: Path) -> dict[str, Any]:
    """Return the table of a TOML file.

    Raises
    ------
    MliuqError
        for a file that cannot be read, is not TOML, or nests too deep.
    """
    refuse_streams(path)
    try:
        if (size := path.stat().st_size) > _LONGEST:
            raise MliuqError(f"{path}: has {size} bytes, expected settings (at most {_LONGEST})")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MliuqError(f"{path}: cannot be read: {error.strerror}") from error
    except MliuqError:
        raise
    except ValueError as error:
        raise MliuqError(f"{path}: not TOML: {error}") from error
    except RecursionError:
        raise MliuqError(f"{path}: tables or lists are nested too deep, expected a few levels") from None


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build a dataclass from a table, checking names and types all the way down.

    Raises
    ------
    MliuqError
        for an unknown key (with the known ones) or a value of another type.
    """
    if not isinstance(values, Mapping):
        raise MliuqError(f"{where}: found {values!r}, expected a table")
    hints = _hints(cls)  # type: ignore[arg-type]
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise MliuqError(f"{where}: unknown key {key!r}, expected one of {', '.join(known)}")
    return cls(**{key: _convert(hints[key], value, f"{where}: {key}") for key, value in values.items()})


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def to_mapping(value: Any) -> Any:
    """Return dataclasses as tables and tuples as lists; fields that are None are left out."""
    if is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in fields(value))
        return {name: to_mapping(v) for name, v in pairs if v is not None}
    if isinstance(value, Mapping):
        return {key: to_mapping(v) for key, v in value.items()}
    if isinstance(value, tuple | list):
        return [to_mapping(v) for v in value]
    return value


def write_toml(table: Mapping[str, Any], name: str = "") -> str:
    """Return a nested table as TOML text: plain values first, then sub-tables."""
    plain = [f"{_key(k)} = {_value(v)}" for k, v in table.items() if not isinstance(v, Mapping)]
    tables = any(isinstance(v, Mapping) for v in table.values())
    text = "\n".join(([f"[{name}]"] if name and (plain or not tables) else []) + plain)
    parts = [text] if text else []
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = write_toml(value, f"{name}.{_key(key)}" if name else _key(key))
            parts += [inner.rstrip("\n")] if inner.strip() else []
    return "\n\n".join(parts) + "\n" if parts else ""


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert_union([a for a in arguments if a is not type(None)], value, where)
    if origin is Literal:
        if value not in arguments:
            raise MliuqError(f"{where} is {value!r}, expected one of {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, list | tuple):
            raise MliuqError(f"{where} is {value!r}, expected a list")
        return tuple(_convert(arguments[0], item, where) for item in value)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise MliuqError(f"{where} is {value!r}, expected a table")
        return {str(key): _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if is_dataclass(hint):
        return from_mapping(hint, value, where)  # type: ignore[arg-type]
    if type(value) is int and abs(value) > _LARGEST:
        raise MliuqError(f"{where} is {str(value)[:40] if abs(value) < 10**4000 else 'enormous'}, expected at most 2⁵³")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        expected = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[hint]
        raise MliuqError(f"{where} is {value!r}, expected {expected}")
    return value


def _convert_union(choices: list[Any], value: Any, where: str) -> Any:
    failures = []
    for choice in choices:
        try:
            return _convert(choice, value, where)
        except MliuqError as error:
            failures.append(str(error).partition("expected ")[2])
    if len(choices) == 1:
        return _convert(choices[0], value, where)
    raise MliuqError(f"{where} is {value!r}, expected {' or '.join(failures)}")


def _key(key: str) -> str:
    return key if key and all(c.isascii() and (c.isalnum() or c in "_-") for c in key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = "".join(
            {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(c, c)
            if ord(c) >= 32 or c in "\n\t\r"
            else f"\\u{ord(c):04x}"
            for c in value
        )
        return f'"{escaped}"'
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    raise MliuqError(f"{value!r} cannot be written as TOML")
