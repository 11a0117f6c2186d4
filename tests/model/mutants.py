"""Files a little unlike a model file: a mutator that knows its structure.

`python tests/model/mutants.py N [SEED]` compares both readers on N of them.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mliuq import MliuqError, Model
from mliuq.core import read_model_file
from safetensors_parts import join, split

_RAW = "\0raw\0"  # marks text that goes into JSON unquoted

#: What stands where something else is expected; text behind the mark is written as it is.
NASTY: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 0.0, -0.0, 1.0, 4.0, 8, 1e-300, 5e-324, 1e300, 0.5, 2**31, 2**53, 2**53 + 1, 10**19,
    10**308, "", "W", "Be", "x\x1b[2J", "é𝄞", "\0", [], {}, [[]], [0], [0.5], [True], [None], ["W"], {"a": 1}, [0, 8],
    *(_RAW + text for text in (
        "1e-400", "-1e-400", "0e-999", "1e999", "1E5", "1e2", "8.0", "80e-1", "01", "1.", ".5", "-", "+1", "NaN",
        "Infinity", "9" * 309, "9" * 310, "-0", r'"\ud800"', r'"\udc00x"', r'"\ud834\udd1e"', r'"\u0000"', '"\x7f"',
        "[" * 60 + "]" * 60, "[" * 64 + "]" * 64, "[" * 66 + "]" * 66, '{"a":1,"a":2}', "tru", "1 2", '"\t"',
    )),
)  # fmt: skip


def text_of(value: Any) -> str:
    """JSON text in which marked strings stand unquoted."""
    text = json.dumps(value)
    for nasty in NASTY:
        if isinstance(nasty, str) and nasty.startswith(_RAW):
            text = text.replace(json.dumps(nasty), nasty.removeprefix(_RAW))
    return text


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with every key or index in it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def changed(tree: Any, rng: np.random.Generator) -> None:
    """One change somewhere in a tree."""
    all_places = list(places(tree))
    if not all_places:
        return
    where, key = all_places[rng.integers(len(all_places))]
    match rng.integers(6):
        case 0 | 1 | 2:
            where[key] = copy.deepcopy(NASTY[rng.integers(len(NASTY))])
        case 3:
            del where[key]
        case 4 if isinstance(where, dict):
            where[str(key) + "x"] = where.pop(key)
        case 4:
            where.append(copy.deepcopy(where[key]))
        case 5:
            other, name = all_places[rng.integers(len(all_places))]
            if name in other if isinstance(other, dict) else name < len(other):
                where[key] = copy.deepcopy(other[name])


def mutants(content: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Endless mutants of a model file: of its header, its metadata, their text, and its bytes."""
    while True:
        header, data = split(content)
        header["__metadata__"].pop("checksum", None)
        metadata = json.loads(header["__metadata__"]["mliuq"])
        kind = rng.integers(10)
        for _ in range(rng.integers(1, 4)):
            changed(header if kind < 3 else metadata, rng)
        if isinstance(header.get("__metadata__"), dict) and "mliuq" in header["__metadata__"] and kind >= 3:
            header["__metadata__"]["mliuq"] = text_of(metadata)
        try:
            head = bytearray(text_of(header).encode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError):  # a tree that holds itself
            continue
        if kind == 9:
            for _ in range(rng.integers(1, 4)):
                at = int(rng.integers(len(head)))
                if rng.integers(2):
                    head[at] = int(rng.integers(256))
                else:
                    del head[at : at + int(rng.integers(1, 6))]
        yield join(bytes(head), bytes(data))


def verdicts(path: Path) -> tuple[bool, bool]:
    """Whether Python and C++ take a file; anything but an Error is a fault."""
    taken = []
    for read in (Model.load, lambda p: read_model_file(str(p))):
        try:
            read(path)
            taken.append(True)
        except MliuqError:
            taken.append(False)
    return taken[0], taken[1]


def main() -> int:
    """Compare both readers on many mutants of a small model file; write those they disagree about beside it."""
    from systems import PARAMS, random_model

    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    taken = disagreed = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.mliuq"
        random_model(PARAMS["binary"], members=2, zbl=(1.5, 3.0), noise=True).save(path)
        stream = mutants(path.read_bytes(), np.random.default_rng(seed))
        for _ in range(count):
            mutant = next(stream)
            path.write_bytes(mutant)
            python, core = verdicts(path)
            taken += python and core
            if python != core:
                disagreed += 1
                if disagreed <= 20:
                    Path(f"disagreement-{disagreed}.mliuq").write_bytes(mutant)
    print(f"{count} mutants: both readers took {taken}, disagreed about {disagreed}")
    return int(disagreed > 0)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
