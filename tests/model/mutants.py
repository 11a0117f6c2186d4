"""Files a little unlike a model file: a mutator that knows its structure.

`python tests/model/mutants.py N [SEED]` compares both readers on N of them.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mliuq import MliuqError, Model
from mliuq.core import read_model_file
from safetensors_parts import join, split

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from systems import PARAMS, random_model

NAMES = ("theta", "members", "x", "posterior.axes", "posterior.lo", "posterior.hi", "sharing.moves")
NAMES += ("sharing.coefficients", "extrapolation.factor", "extrapolation.active_set")
NAMES += ("density.environments", "density.element", "data.fingerprints")

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


def seeds() -> list[Model]:
    """Models that hold, among them, everything a file may hold."""
    whole = random_model(PARAMS["binary"], members=2, zbl=(1.5, 3.0), noise=True)
    total, shape = whole.theta.size, whole.theta.shape
    components = PARAMS["binary"].n_components
    box = {"posterior.axes": np.eye(total)[:, :2], "posterior.lo": -np.ones(2), "posterior.hi": np.ones(2)}
    sharing = {"sharing.moves": np.ones((1, *shape)), "sharing.coefficients": np.full((2, 1), 1e-3)}
    novelty = {
        "extrapolation.active_set": np.stack([np.eye(shape[1])] * 2),
        "density.environments": np.ones((3, components)),
        "density.element": np.array([0.0, 1.0, 1.0]),
        "data.fingerprints": np.array([1.0, 2.0**52 - 1]),
    }
    calibration = {
        "alpha_energy": 1.5,
        "thresholds": {"force_err": [0.1, 0.2], "force_std": [0.0, 0.0]},
        "conformal": {"energy": {"0.9": 1.63}},
        "rows": {"energy": 3},
    }
    metadata = {
        "seed": 7,
        "posterior": {"kind": "hypercube"},
        "fit": {"classes_out": [{"of": "a"}], "settings": {"data": {"reference": "zbl.mliuq"}}},
    }
    return [
        whole,
        replace(whole, arrays=box | sharing, calibration=calibration, metadata=metadata),
        replace(whole, members=None, arrays=novelty, metadata=metadata),
        random_model(PARAMS["chem quadratic"]),
        random_model(PARAMS["inner"], members=1, factor=True),
    ]


def reshaped(header: dict[str, Any], data: bytes, rng: np.random.Generator) -> bytes:
    """Change arrays and lay them end to end again, so that their shapes are what a reader has to judge."""
    arrays = {
        name: np.frombuffer(data[slice(*entry["data_offsets"])]).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }
    for _ in range(rng.integers(1, 5)):
        name = str(rng.choice(sorted(arrays)))
        other = str(rng.choice(sorted({*NAMES, *arrays})))
        match rng.integers(7):
            case 0 if len(arrays) > 1:
                del arrays[name]
            case 1:
                arrays[other] = arrays[name]
            case 2:
                arrays[name] = arrays[name].reshape(rng.permutation(arrays[name].shape))
            case 3:
                arrays[name] = arrays[name][: rng.integers(3)] if arrays[name].ndim else arrays[name]
            case 4:
                arrays[name] = (
                    arrays[name][..., 0] if 0 not in arrays[name].shape and arrays[name].ndim else arrays[name]
                )
            case 5:
                arrays[name] = arrays[name][..., None] if rng.integers(2) else arrays[name].ravel()
            case 6 if arrays[name].size:
                arrays[name] = arrays[name].copy()
                arrays[name].flat[rng.integers(arrays[name].size)] = rng.choice((-1.0, -0.0, 0.5, 2.0, 1e308, np.nan))
    end, parts = 0, []
    for name in [name for name in header if name != "__metadata__"]:
        del header[name]
    for name, array in arrays.items():
        header[name] = {"dtype": "F64", "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
        parts.append(array.tobytes())
    return b"".join(parts)


def mutants(content: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Endless mutants of a model file: of its arrays, its header, its metadata, their text, and its bytes."""
    while True:
        header, data = split(content)
        header["__metadata__"].pop("checksum", None)
        metadata = json.loads(header["__metadata__"]["mliuq"])
        kind = rng.integers(13)
        if kind > 9:
            changed_data = reshaped(header, bytes(data), rng)
            if kind == 12:
                changed(metadata, rng)
                header["__metadata__"]["mliuq"] = text_of(metadata)
            yield join(header if kind < 12 else text_of(header).encode("utf-8", "surrogatepass"), changed_data)
            continue
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
    """Compare both readers on many mutants of small model files; write those they disagree about where this runs."""
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    taken = disagreed = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.mliuq"
        rng = np.random.default_rng(seed)
        streams = []
        for model in seeds():
            model.save(path)
            streams.append(mutants(path.read_bytes(), rng))
        for k in range(count):
            mutant = next(streams[k % len(streams)])
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
    sys.exit(main())
