"""JSON as the C++ core takes it, so that a file is a model to both readers or to none."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

_MOST_VALUES = 1_000_000
_DEEPEST = 64


def loads(text: str) -> Any:
    """Parse one JSON value.

    Keys are given once, numbers are finite and no smaller than the smallest double, strings hold whole characters,
    nesting goes at most 64 deep and there are at most a million values.

    Raises
    ------
    ValueError
        Saying what is not so.
    """
    try:
        value = json.loads(
            text, parse_constant=_refuse, parse_float=_float, parse_int=_integer, object_pairs_hook=_unique
        )
    except RecursionError:
        raise ValueError(f"nested deeper than {_DEEPEST}") from None
    for number, (item, depth) in enumerate(_walk(value, 0), 1):
        if number > _MOST_VALUES:
            raise ValueError(f"more than {_MOST_VALUES} values")
        if depth > _DEEPEST:
            raise ValueError(f"nested deeper than {_DEEPEST}")
        if isinstance(item, str):
            _whole(item)
    return value


def _walk(value: Any, depth: int) -> Iterator[tuple[Any, int]]:
    """Every value with its depth, without recursion."""
    waiting = [(value, depth)]
    while waiting:
        item, level = waiting.pop()
        yield item, level
        if level <= _DEEPEST and isinstance(item, dict | list):
            inner = item.values() if isinstance(item, dict) else item
            waiting += [(child, level + 1) for child in inner]


def _refuse(digits: str) -> float:
    raise ValueError(f"{digits[:200]} is not a finite number")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        _refuse(digits)
    if value == 0.0 and digits.lower().partition("e")[0].strip("-0."):
        raise ValueError(f"{digits[:200]} is smaller than the smallest number")
    return value


def _integer(digits: str) -> int:
    if not math.isfinite(float(digits)):
        _refuse(digits)
    return int(digits)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        _whole(key)
        if key in found:
            raise ValueError(f'key "{key[:200]}" is given twice')
        found[key] = value
    return found


def _whole(text: str) -> None:
    """Refuse half a surrogate pair: no UTF-8 text holds one."""
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError("a string holds half a surrogate pair")
