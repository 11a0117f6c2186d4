"""Files a little unlike a model file: a mutator that knows its structure.

`python tests/model/mutants.py N [SEED]` compares both readers on N of them, within 1 GiB of memory.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import os
import random
import resource
import sys
import tempfile
import time
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

MEMORY = 1 << 30  # bytes that reading may take
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where files are written a million times

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


_QUOTED = json.dumps(_RAW).strip('"')
_UNQUOTED = [(json.dumps(n), n.removeprefix(_RAW)) for n in NASTY if isinstance(n, str) and n.startswith(_RAW)]


def text_of(value: Any) -> str:
    """JSON text in which marked strings stand unquoted."""
    text = json.dumps(value)
    if _QUOTED in text:
        for quoted, raw in _UNQUOTED:
            text = text.replace(quoted, raw)
    return text


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container with every key or index in it."""
    found, waiting = [], [value]
    while waiting:
        inside = waiting.pop()
        for key, item in inside.items() if type(inside) is dict else enumerate(inside):
            found.append((inside, key))
            if type(item) is dict or type(item) is list:
                waiting.append(item)
    return found


def changed(tree: Any, rng: random.Random) -> None:
    """One change somewhere in a tree."""
    all_places = places(tree)
    if not all_places:
        return
    where, key = rng.choice(all_places)
    match rng.randrange(6):
        case 0 | 1 | 2:
            where[key] = copy.deepcopy(rng.choice(NASTY))
        case 3:
            del where[key]
        case 4 if isinstance(where, dict):
            where[str(key) + "x"] = where.pop(key)
        case 4:
            where.append(copy.deepcopy(where[key]))
        case 5:
            other, name = rng.choice(all_places)
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


def reshaped(header: dict[str, Any], data: bytes, rng: random.Random) -> bytes:
    """Change arrays and lay them end to end again, so that their shapes are what a reader has to judge."""
    arrays = {
        name: np.frombuffer(data[slice(*entry["data_offsets"])]).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }
    for _ in range(rng.randrange(1, 5)):
        name = rng.choice(sorted(arrays))
        other = rng.choice(sorted({*NAMES, *arrays}))
        match rng.randrange(7):
            case 0 if len(arrays) > 1:
                del arrays[name]
            case 1:
                arrays[other] = arrays[name]
            case 2:
                arrays[name] = arrays[name].reshape(rng.sample(arrays[name].shape, arrays[name].ndim))
            case 3:
                arrays[name] = arrays[name][: rng.randrange(3)] if arrays[name].ndim else arrays[name]
            case 4:
                arrays[name] = (
                    arrays[name][..., 0] if 0 not in arrays[name].shape and arrays[name].ndim else arrays[name]
                )
            case 5:
                arrays[name] = arrays[name][..., None] if rng.randrange(2) else arrays[name].ravel()
            case 6 if arrays[name].size:
                arrays[name] = arrays[name].copy()
                arrays[name].flat[rng.randrange(arrays[name].size)] = rng.choice((-1.0, -0.0, 0.5, 2.0, 1e308, np.nan))
    end, parts = 0, []
    for name in [name for name in header if name != "__metadata__"]:
        del header[name]
    for name, array in arrays.items():
        header[name] = {"dtype": "F64", "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
        parts.append(array.tobytes())
    return b"".join(parts)


def mutants(content: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless mutants of a model file: of its arrays, its header, its metadata, their text, and its bytes."""
    while True:
        header, data = split(content)
        header["__metadata__"].pop("checksum", None)
        metadata = json.loads(header["__metadata__"]["mliuq"])
        kind = rng.randrange(13)
        if kind > 9:
            changed_data = reshaped(header, bytes(data), rng)
            if kind == 12:
                changed(metadata, rng)
                header["__metadata__"]["mliuq"] = text_of(metadata)
            yield join(header if kind < 12 else text_of(header).encode("utf-8", "surrogatepass"), changed_data)
            continue
        for _ in range(rng.randrange(1, 4)):
            changed(header if kind < 3 else metadata, rng)
        if isinstance(header.get("__metadata__"), dict) and "mliuq" in header["__metadata__"] and kind >= 3:
            header["__metadata__"]["mliuq"] = text_of(metadata)
        try:
            head = bytearray(text_of(header).encode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError):  # a tree that holds itself
            continue
        if kind == 9:
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(head))
                if rng.randrange(2):
                    head[at] = rng.randrange(256)
                else:
                    del head[at : at + rng.randrange(1, 6)]
        yield join(bytes(head), bytes(data))


def whole(fuzzed: bytes) -> bytes:
    """The model file that an input of the C++ fuzz target stands for: two bytes of header length, header, arrays."""
    return int.from_bytes(fuzzed[:2], "little").to_bytes(8, "little") + fuzzed[2:]


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


def small_files(rng: random.Random, folder: Path) -> Iterator[bytes]:
    """Endless mutants of all seeds in turn."""
    streams = []
    for model in seeds():
        model.save(folder / "seed.mliuq")
        streams.append(mutants((folder / "seed.mliuq").read_bytes(), rng))
    return itertools.chain.from_iterable(zip(*streams, strict=True))


def main() -> int:
    """Compare both readers; what they disagree about, or what is no error of the package, is kept where this runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", type=int, nargs="?", default=0, help="of mutants of small model files")
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--corpus", type=Path, nargs="*", default=(), help="folders of inputs of the C++ fuzz target")
    arguments = parser.parse_args()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    count = taken = disagreed = 0
    slowest = 0.0
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        path = Path(folder) / "m.mliuq"
        kept = (whole(file.read_bytes()) for place in arguments.corpus for file in sorted(place.iterdir()))
        made = itertools.islice(small_files(random.Random(arguments.seed), Path(folder)), arguments.number)
        for content in itertools.chain(kept, made):
            path.write_bytes(content)
            started = time.process_time()
            try:
                python, core = verdicts(path)
            except BaseException:
                Path("fault.mliuq").write_bytes(content)
                raise
            slowest = max(slowest, time.process_time() - started)
            count += 1
            taken += python and core
            if python != core:
                disagreed += 1
                if disagreed <= 20:
                    Path(f"disagreement-{disagreed}.mliuq").write_bytes(content)
    print(f"{count} files: both readers took {taken}, disagreed about {disagreed}; {slowest:.2f} s at most for one")
    return int(disagreed > 0)


if __name__ == "__main__":
    sys.exit(main())
