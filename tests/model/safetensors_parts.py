"""The two parts of a safetensors file, taken apart and put together without the library."""

from __future__ import annotations

import json
from typing import Any


def split(content: bytes) -> tuple[dict[str, Any], bytearray]:
    """Header and arrays of a safetensors file."""
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), bytearray(content[8 + size :])


def join(header: dict[str, Any] | bytes, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(data)
