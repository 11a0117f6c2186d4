"""Files a little unlike those that the readers know: a mutator of text, and what each reader must keep to.

`python tests/readers/text_mutants.py [READER…] [--number N] [--seed S]` puts N mutants before each reader. A reader
takes a file or raises `MliuqError` with one line that prints, within two seconds of processor time and 1 GiB of memory;
what does not is kept in the folder this runs in.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import resource
import signal
import string
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

sys.path += [str(Path(__file__).resolve().parents[1] / room) for room in ("", "model", "readers")]
from mliuq import MliuqError, Model
from mliuq.cli import main as command
from mliuq.fitting.settings import FitSettings
from mliuq.learning.settings import LearnSettings
from mliuq.readers import read_structures
from mliuq.readers.dialect import Dialect
from mliuq.readers.indexed_xyz import IndexedXyz
from mliuq.readers.keys import Keys
from mliuq.regression.targets import read_targets
from mutants import MEMORY, SCRATCH, small_files
from test_dialects import MASSES, dump, fitsnap, lammps_data, mlearn, mtp, n2p2, outcar, sorted_by_element, vasprun

SECONDS = 2.0
_LONGEST = 2000  # characters of a message

#: Words that readers stumble over.
WORDS = (
    b"", b"0", b"-1", b"1", b"2", b"3", b"1e999", b"-1e308", b"1e-400", b"nan", b"inf", b"-inf", b"0x10",
    b"1_000",     b"99999999999999999999", b"10000000", b"2147483648", b"9" * 5000, b"1e4", b"T", b"F", b"W", b"Be",
    b"X", b"Qq",     b"1d3", b"null", b"true", b"[]", b"{}", b"[" * 3000, b"{" * 70, b"\xff\xfe",
    b"\x1b[2J", "é𝄞\u202e".encode(), b"\0", b"\r\n",     b"\n\n", b"\t", b'"', b"'", b"=", b"#", b"<", b"&",
    b"energy=", b"Lattice=", b"pbc=", b"Properties=species:S:1:pos:R:3",     b"1/0", b"%s%n", b"{0}", b"[/red]",
    b"..", b"/etc/passwd", b"ITEM:", b"\\", b"$(id)", b"!!python/object", b"stress=",
    b"1_000_000_000", b"+1000000000", b"-1000000000", b"\x0c", b"\nVEC1 1 0 0\n",
)  # fmt: skip

_TOKEN = re.compile(rb"[A-Za-z_]+|[-+]?[\d.]+(?:[eE][-+]?\d+)?|[^\sA-Za-z_\d]")
_INSIDE = frozenset(string.ascii_letters.encode() + string.digits.encode() + b"_.+-")


def mutant(content: bytes, rng: random.Random) -> bytes:
    """A text with one to four changes: words, lines, stretches and bytes."""
    for _ in range(rng.randrange(1, 5)):
        content = _changed(content, rng)
    return content


def _changed(content: bytes, rng: random.Random) -> bytes:
    kind = rng.randrange(10)
    if kind < 5:
        token = _token(content, rng)
        if token is None:
            return rng.choice(WORDS)
        start, end = token.span()
        word = rng.choice(WORDS)
        if kind == 3:
            word = (_token(content, rng) or token).group()
        return content[:start] + word + content[start if kind == 4 else end :]
    if kind < 8:
        lines = content.splitlines(keepends=True) or [b""]
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        if kind == 5:
            del lines[at : at + rng.randrange(1, 4)]
        elif kind == 6:
            lines.insert(other, lines[at])
        else:
            lines[at], lines[other] = lines[other], lines[at]
        return b"".join(lines)
    at = rng.randrange(len(content) + 1)
    if kind == 8:
        return content[:at] if rng.randrange(4) == 0 else content[:at] + content[at + rng.randrange(1, 9) :]
    return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]


def _token(content: bytes, rng: random.Random) -> re.Match[bytes] | None:
    """One of the words, numbers and signs: the one at a random place or next to it, so that no other is looked for."""
    place = rng.randrange(len(content) + 1)
    while place > 0 and content[place - 1] in _INSIDE:
        place -= 1
    return _TOKEN.search(content, place) or _TOKEN.search(content)


@dataclass(frozen=True)
class Reader:
    """A reader and what it is given.

    Attributes
    ----------
    files : contents by name, one of which is changed each time
    read : takes the folder they are in
    """

    files: Mapping[str, bytes]
    read: Callable[[Path], Any]


def _structures() -> list[Atoms]:
    rng, found = np.random.default_rng(5), []
    for n in (3, 2):
        cell = np.tril(rng.normal(size=(3, 3))) * 0.3 + np.diag([4.0, 4.5, 5.0])
        atoms = Atoms(["W", "Be", "W"][:n], scaled_positions=rng.random((n, 3)), cell=cell, pbc=True)
        results = {"energy": rng.normal(), "forces": rng.normal(size=(n, 3)), "stress": 0.1 * rng.normal(size=6)}
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.info["config_type"] = "a group"
        found.append(atoms)
    return found


def _data(name: str, text: str | bytes, **dialect: Any) -> Reader:
    """A file of structures, read as far as a fit reads it."""

    def read(folder: Path) -> None:
        found = read_structures(folder / name, Dialect(**dialect))
        read_targets(found, Keys(), (True, True, True), skip_missing=True)

    return Reader({name: text if isinstance(text, bytes) else text.encode()}, read)


def _indexed(folder: Path) -> None:
    for atoms in IndexedXyz(folder / "a.xyz"):
        len(atoms)


def _shown(folder: Path) -> None:
    """`mliuq info` of what both readers take."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        failed = command(["info", str(folder / "m.mliuq")])
    if failed:
        raise MliuqError(err.getvalue().removesuffix("\n"))
    if not out.getvalue().replace("\n", "").isprintable():
        raise AssertionError("what is shown does not print")


def readers() -> dict[str, Reader]:
    """Every reader of text by name."""
    two = _structures()
    alike = [sorted_by_element(two[0])] * 2
    with tempfile.TemporaryDirectory() as folder:
        ase.io.write(Path(folder) / "a.xyz", two)
        xyz = (Path(folder) / "a.xyz").read_bytes()
        ase.io.write(Path(folder) / "POSCAR", two[0])
        poscar = (Path(folder) / "POSCAR").read_bytes()
    settings = FitSettings().to_mapping()
    from mliuq.toml import write_toml

    coeff = b"# DATE: 2014 UNITS: metal\n\n2 2\nW 0.5 1\n1.5\n-2e-3\nBe 0.4 0.7\n0.5\n0.25 # a comment\n"
    param = b"# words\nrcutfac 4.6\ntwojmax 0\nrfac0 0.99\nrmin0 0\nbzeroflag 0\nswitchinnerflag 1\nsinner 1 1.1\n"
    learn = b'seed = 3\n[start]\nstructures = ["b.xyz"]\nstrains = [0.0, 0.1]\n'
    learn += b'[explore]\ntemperatures = [300.0]\nsteps = 100\n[label]\ncalculator = "ase.calculators.emt:EMT"\n'
    return {
        "snap": Reader(
            {"a.snapcoeff": coeff, "a.snapparam": param + b"dinner 0.3 0.2\n"},
            lambda folder: Model.from_snap(folder / "a.snapcoeff"),
        ),
        "xyz": _data("a.xyz", xyz),
        "indexed xyz": Reader({"a.xyz": xyz}, _indexed),
        "fitsnap": _data("a.json", fitsnap(two[0])),
        "pymatgen": _data("a.json", json.dumps([mlearn(two[0])])),
        "poscar": _data("POSCAR", poscar),
        "vasprun": _data("vasprun.xml", vasprun(alike)),
        "outcar": _data("OUTCAR", outcar(alike)),
        "lammps data": _data("a.data", lammps_data(two[0], MASSES)),
        "lammps dump": _data("a.dump", dump(two, "id type x y z fx fy fz"), types=("W", "Be")),
        "n2p2": _data("input.data", n2p2(two, 1.0, 1.0), length_unit="angstrom"),
        "mtp": _data("a.cfg", mtp(two), types=("W", "Be")),
        "fit settings": Reader(
            {"fit.toml": write_toml(settings).encode()}, lambda folder: FitSettings.from_toml(folder / "fit.toml")
        ),
        "learn settings": Reader({"learn.toml": learn}, lambda folder: LearnSettings.from_toml(folder / "learn.toml")),
        "info": Reader({}, _shown),
    }


class TooLong(BaseException):
    """Nobody catches it by mistake."""


@contextmanager
def bounded() -> Iterator[None]:
    """Interrupt what takes more than `SECONDS` of processor time; refuse more than `MEMORY` on top of what there is."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong

    had, pages = resource.getrlimit(resource.RLIMIT_AS), int(Path("/proc/self/statm").read_text().split()[0])
    before = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, had[1]))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, had)


def verdict(reader: Reader, folder: Path) -> str:
    """ "taken", "refused", or what is wrong."""
    try:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            return _verdict(reader, folder)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
    except TooLong:
        return f"takes longer than {SECONDS} s"


def _verdict(reader: Reader, folder: Path) -> str:
    try:
        reader.read(folder)
    except MliuqError as error:
        text = str(error)
        if "MemoryError" in text or "Unable to allocate" in text:
            return f"takes memory: {text:.200}"
        if not text or not text.isprintable() or len(text) > _LONGEST:
            return f"a message of {len(text)} characters: {text!r:.200}"
        return "refused"
    except Exception as error:  # whatever it is, it is the finding
        return f"{type(error).__name__}: {error!s:.200}"
    return "taken"


def contents(reader: Reader, rng: random.Random, folder: Path) -> Iterator[dict[str, bytes]]:
    """Endless sets of files, one of them changed."""
    if reader.files:
        names = sorted(reader.files)
        while True:
            name = rng.choice(names)
            yield {**reader.files, name: mutant(reader.files[name], rng)}
    for content in small_files(rng, folder):
        yield {"m.mliuq": content}


def try_reader(
    reader: Reader, number: int, seed: int, fault: Callable[[str, dict[str, bytes]], None], base: str | None = None
) -> dict[str, int]:
    """Count verdicts on `number` mutants; `fault` is told of every one that is neither taken nor refused."""
    counts = {"taken": 0, "refused": 0, "faults": 0}
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=base) as name, warnings.catch_warnings(), bounded():
        warnings.simplefilter("ignore")
        folder = Path(name)
        stream = contents(reader, rng, folder)
        there: dict[str, bytes] = {}
        for _ in range(number):
            files = next(stream)
            for file, content in files.items():
                if there.get(file) is not content:
                    (folder / file).write_bytes(content)
            there = files
            found = verdict(reader, folder)
            if found not in counts:
                fault(found, files)
                found = "faults"
            counts[found] += 1
    return counts


def main() -> int:
    every = readers()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", nargs="*", default=list(every), help=", ".join(every))
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    kinds: dict[str, int] = {}
    for name in arguments.reader:

        def keep(what: str, files: dict[str, bytes], name: str = name) -> None:
            kind = f"{name}: {re.sub(r'[0-9]+', '0', what)[:100]}"
            kinds[kind] = kinds.get(kind, 0) + 1
            if kinds[kind] == 1:
                place = Path(f"fault-{name.replace(' ', '-')}-{len(kinds)}")
                place.mkdir(exist_ok=True)
                for file, content in files.items():
                    (place / file).write_bytes(content)
                print(f"{place}: {what}", flush=True)

        start = time.process_time()
        counts = try_reader(every[name], arguments.number, arguments.seed, keep, SCRATCH)
        spent = time.process_time() - start
        print(f"{name:15} {arguments.number:9} mutants: {counts} in {spent:.1f} s of processor time", flush=True)
    return int(bool(kinds))


if __name__ == "__main__":
    sys.exit(main())
