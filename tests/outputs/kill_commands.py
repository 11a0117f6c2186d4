"""Kill -9 at random moments of every command that writes.

`python tests/outputs/kill_commands.py [COMMAND…] [--kills N] [--seed S] [--pictures]` runs each command whole, then
kills it N times (runs that end before their moment do not count): every second time before a random one of its changes
of files, otherwise at a random time. After every kill

- the inputs are what they were;
- whatever stands under its own name is what was there before, what a whole run writes, or reads as a whole file;
- the next run ends well, writes all its files, and leaves no temporary ones, those of the killed run included.

Commands run in a fork of this process, which has imported all they need: no time is lost, and few kills hit imports.
Pictures are blank unless asked for: drawing, most of the time of some commands, goes on in memory.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from matplotlib.figure import Figure
from mliuq import Model
from mliuq.cli import main as mliuq
from mliuq.outputs import SCRATCH

MORSE = Path(__file__).resolve().parents[1] / "learning" / "morse.py"
FIT = ["--twojmax", "2", "--rcut", "4.5", "--members", "8", "--threads", "1"]


@dataclass(frozen=True)
class Command:
    """A command and what is known of its files.

    Attributes
    ----------
    words : what follows `mliuq`, in a folder with the inputs
    growing : names (patterns) of files that a run appends to, whose last line or frame may be cut
    changed : words instead, for the earlier run whose files are replaced; None for folders that a run goes on with
    """

    words: tuple[str, ...]
    growing: str = r"\A\Z"
    changed: tuple[str, ...] | None = None


def commands() -> dict[str, Command]:
    def replacing(words: str, changed: str, growing: str = r"\A\Z") -> Command:
        return Command(tuple(words.split()), growing, tuple(changed.split()))

    fit = f"fit data.xyz -o out/W.mliuq {' '.join(FIT)}"
    few = ["--twojmax", "2", "--quadratic", "none", "--rcut", "4.0,4.5", "--budget", "60s", "--seed", "1"]
    return {
        "export": replacing("export M.mliuq -o out/E", "export M.mliuq -o out/E --member 1"),
        "eval": replacing("eval M.mliuq held.xyz -o out/o.xyz", "eval M.mliuq few.xyz -o out/o.xyz"),
        "eval db": replacing("eval M.mliuq held.xyz -o out/o.db", "eval M.mliuq few.xyz -o out/o.db"),
        "select": replacing("select pool.xyz M.mliuq -n 3 -o out/b.xyz", "select pool.xyz M.mliuq -n 2 -o out/b.xyz"),
        "calibrate": replacing("calibrate M.mliuq held.xyz -o out/C.mliuq", "export M.mliuq -o out/unused"),
        "fit": replacing(
            f"{fit} --set solver.rows=disk --set solver.cache=out/rows",
            f"{fit} --posterior hypercube --set solver.rows=disk --set solver.cache=out/rows",
        ),
        "adopt": replacing("adopt S.snapcoeff data.xyz -o out/A.mliuq", "adopt S.snapcoeff held.xyz -o out/A.mliuq"),
        "report": replacing("report M.mliuq held.xyz -o out/report", "report M.mliuq few.xyz -o out/report"),
        "md": Command(
            ("md", "M.mliuq", "start.xyz", "-o", "out/run", "--steps", "40", "--every", "4", "--temperature", "300",
             "--ensemble", "nvt", "--save", "1e-6", "--halt", "10", "--threads", "1"),
            growing=r".*\.(xyz|csv|log|traj)",
        ),
        "propagate": Command(
            ("propagate", "eos", "M.mliuq", "fcc", "--element", "Cu", "-o", "out/p", "--members", "3", "--points", "7"),
            growing=r".*\.jsonl",
        ),
        "tune": Command(("tune", "data.xyz", "-o", "out/tune", *few), growing=r".*\.jsonl"),
        "learn": Command(("learn", "learn.toml", "-o", "out/learn"), growing=r".*\.(jsonl|log|txt|xyz)"),
        "verify": replacing("verify M.mliuq -o out/verify", "export M.mliuq -o out/unused"),
    }  # fmt: skip


def prepare(folder: Path) -> None:
    """The inputs of all commands."""
    rng = np.random.default_rng(0)
    structures = []
    for k in range(16):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell * (1 + 0.02 * rng.normal()), scale_atoms=True)
        atoms.rattle(0.12, seed=k)
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        structures.append(atoms)
    write(folder / "data.xyz", structures[:10])
    write(folder / "held.xyz", structures[10:])
    write(folder / "few.xyz", structures[10:13])
    write(folder / "pool.xyz", structures)
    write(folder / "start.xyz", bulk("Cu", cubic=True))
    shutil.copy(MORSE, folder)
    (folder / "learn.toml").write_text(
        "\n".join(
            f"{key} = {json.dumps(value)}"
            for key, value in {
                "seed": 3,
                "start.structures": ["start.xyz"],
                "start.strains": [-0.02, 0.02],
                "start.rattle": 0.2,
                "start.copies": 3,
                "explore.temperatures": [900.0],
                "explore.seeds": 1,
                "explore.steps": 30,
                "explore.every": 5,
                "explore.timestep": 2.0,
                "explore.save": 0.09,
                "explore.halt": 0.2,
                "select.n": 2,
                "label.command": f"{sys.executable} -I {{here}}/morse.py none {{input}} {{output}}",
                "label.retries": 0,
                "stop.rounds": 1,
                "fit.snap.twojmax": 2,
                "fit.snap.rcut": 4.5,
                "fit.posterior.members": 8,
            }.items()
        )
    )
    (folder / "out").mkdir()
    (folder / "tmp").mkdir()
    before = Path.cwd()
    os.chdir(folder)
    try:
        for words in (["fit", "data.xyz", "-o", "M.mliuq", *FIT], ["export", "M.mliuq", "-o", "S"]):
            if run_once(words, folder).status != 0:
                raise SystemExit(f"mliuq {' '.join(words)} failed")
    finally:
        os.chdir(before)


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes
    ----------
    status : exit status; −9 when it was killed
    actions : what it did to files before
    seconds : its time
    output : what it said
    modules : what it had imported, if it ended by itself
    """

    status: int
    actions: int
    seconds: float
    output: str = ""
    modules: tuple[str, ...] = ()


_BLANK = {
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'></svg>\n",
    "png": base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
    ),
}


def blank(figure: Figure, target: IO[Any], *, format: str, **options: object) -> None:
    """What stands for `Figure.savefig`: a picture of nothing."""
    content = _BLANK[format]
    target.write(content.decode() if isinstance(target, io.TextIOBase) else content)


_CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod")


def _watched(event: str, arguments: tuple[object, ...]) -> bool:
    """Whether an audit event is about to change a file."""
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR) != 0
        return writes or (isinstance(mode, str) and mode[:1] in "wax")
    return event in _CHANGES or event == "sqlite3.connect"


def run_once(words: list[str], folder: Path, action: int = 0, after: float = 0.0, pictures: bool = False) -> Ended:
    """Run a command in a fork; kill it before its `action`-th change of a file, or `after` so many seconds."""
    log, count = folder / "tmp" / "log", folder / "tmp" / "count"
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.chdir(folder)
            os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
            handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            done = 0

            def watch(event: str, arguments: tuple[object, ...]) -> None:
                nonlocal done
                if _watched(event, arguments):
                    done += 1
                    if done == action:
                        os.killpg(0, signal.SIGKILL)

            sys.addaudithook(watch)
            if not pictures:
                Figure.savefig = blank
            status = mliuq(words)
            sys.stdout.flush()
            facts = json.dumps({"actions": done, "modules": list(sys.modules)})
            os.write(os.open(count, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), facts.encode())
        except BaseException as error:
            os.write(2, repr(error).encode())
            status = 77
        os._exit(status)
    status = None
    while status is None:
        found, raw = os.waitpid(child, os.WNOHANG)
        if found:
            status = os.waitstatus_to_exitcode(raw)
        elif after and time.monotonic() - started > after:
            with suppress(ProcessLookupError):  # not yet a group of its own
                os.killpg(child, signal.SIGKILL)
            os.kill(child, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        else:
            time.sleep(0.001)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it has started goes with it
    facts = json.loads(count.read_text()) if count.exists() else {"actions": 0, "modules": []}
    count.unlink(missing_ok=True)
    output = log.read_text(errors="replace") if log.exists() else ""
    return Ended(status, facts["actions"], time.monotonic() - started, output, tuple(facts["modules"]))


Files = dict[str, str]


def files(folder: Path) -> Files:
    """Hashes of all files under their own names."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(SCRATCH) for part in relative.parts):
            found[str(relative)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def left_over(folder: Path) -> list[str]:
    """Temporary files and folders."""
    kept = {"log", "count"}
    hidden = [str(path.relative_to(folder)) for path in (folder / "out").rglob(".*")]
    return hidden + [path.name for path in (folder / "tmp").iterdir() if path.name not in kept]


def _whole_xyz(path: Path) -> bool:
    return len(read(path, ":", format="extxyz")) > 0


def _whole_database(path: Path) -> bool:
    return bool(sqlite3.connect(path).execute("pragma integrity_check").fetchone() == ("ok",))


WHOLE: dict[str, Callable[[Path], object]] = {
    ".mliuq": Model.load,
    ".json": lambda path: json.loads(path.read_text()),
    ".toml": lambda path: tomllib.loads(path.read_text()),
    ".html": lambda path: path.read_text().rstrip().endswith("</html>"),
    ".svg": lambda path: path.read_text().rstrip().endswith("</svg>"),
    ".png": lambda path: path.read_bytes().endswith(b"IEND\xaeB`\x82"),
    ".npz": lambda path: dict(np.load(path)),
    ".xyz": _whole_xyz,
    ".db": _whole_database,
    ".safetensors": lambda path: path.stat().st_size > 8,
    ".csv": lambda path: path.read_text().endswith("\n"),
    ".md": lambda path: path.read_text().endswith("\n"),
    ".f64": lambda path: path.stat().st_size % 8 == 0,
}


def is_whole(path: Path, growing: bool) -> bool:
    """Whether a file reads; of one that grows, all but its last line or frame."""
    if growing:
        return True  # what becomes of it is for the next run to show
    try:
        return WHOLE.get(path.suffix, lambda _: False)(path) is not False
    except Exception:
        return False


@dataclass
class Tally:
    """What came of the kills of one command."""

    kills: int = 0
    finished: int = 0
    faults: list[str] = field(default_factory=list)


def _reset(folder: Path, master: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(master, folder)


def _aged(folder: Path) -> None:
    """Make what a killed run has left old enough to be removed."""
    for place in (folder / "out", folder / "tmp"):
        for path in place.rglob(f"{SCRATCH}*"):
            os.utime(path, (0, 0))


def try_command(
    name: str, kills: int, seed: int, base: Path, say: Callable[[str], None] = print, pictures: bool = False
) -> Tally:
    """Kill a command so many times and judge what is left."""
    run = partial(run_once, pictures=pictures)
    command, rng, tally = commands()[name], np.random.default_rng(seed), Tally()
    inputs, former = base / "inputs", base / "former"
    if not inputs.exists():
        inputs.mkdir(parents=True)
        prepare(inputs)
    given = {path: value for path, value in files(inputs).items() if not path.startswith("tmp/")}
    _reset(former, inputs)
    if command.changed is not None:
        ended = run(list(command.changed), former)
        if ended.status != 0:
            raise SystemExit(f"{name}: the earlier run failed: {ended.output}")
    whole, folder = base / "whole", base / "killed"
    known: dict[str, set[str]] = {path: {value} for path, value in files(former).items()}
    timed = []
    for _ in range(2):
        _reset(whole, former)
        ended = run(list(command.words), whole)
        if ended.status != 0:
            raise SystemExit(f"{name}: the whole run failed: {ended.output}")
        timed.append(ended)
        for module in ended.modules:  # in this process, so that no fork spends its time on them
            with suppress(Exception):
                importlib.import_module(module)
        for path, value in files(whole).items():
            known.setdefault(path, set()).add(value)
    wanted = {path for path in files(whole) if path.startswith("out/")}
    for k in range(2 * kills):
        if tally.kills == kills:
            break
        _reset(folder, former)
        if k % 2:
            ended = run(list(command.words), folder, action=int(rng.integers(1, timed[0].actions + 1)))
        else:
            ended = run(list(command.words), folder, after=float(rng.uniform(0, min(t.seconds for t in timed))))
        if ended.status != -signal.SIGKILL:
            tally.finished += 1
            if ended.status != 0:
                tally.faults.append(f"kill {k}: ended with {ended.status}: {ended.output[-300:]}")
            continue
        tally.kills += 1
        left = files(folder)
        for path, value in left.items():
            if path in given and value != given[path]:
                tally.faults.append(f"kill {k}: {path}, an input, has changed")
            if path.startswith("out/") and value not in known.get(path, set()):
                growing = re.fullmatch(command.growing, path) is not None
                if not is_whole(folder / path, growing):
                    tally.faults.append(f"kill {k}: {path} is neither what it was nor whole")
        _aged(folder)
        goes_on = name == "md" and (folder / "out/run/checkpoint.npz").exists()
        if name == "md" and not goes_on:
            shutil.rmtree(folder / "out/run", ignore_errors=True)  # it says so: nothing to go on from
        again = run([*command.words, *(["--restart"] if goes_on else [])], folder)
        if again.status != 0:
            tally.faults.append(f"kill {k}: the next run ended with {again.status}: {again.output[-500:]}")
        elif missing := wanted - set(files(folder)):
            tally.faults.append(f"kill {k}: the next run wrote no {', '.join(sorted(missing))}")
        elif there := left_over(folder):
            tally.faults.append(f"kill {k}: the next run left {', '.join(there)}")
    say(f"{name:10} {tally.kills:5} kills, {tally.finished} runs ended before, {len(tally.faults)} faults")
    for fault in tally.faults[:10]:
        say(f"    {fault}")
    return tally


def main() -> int:
    every = commands()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="*", default=list(every), help=", ".join(every))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", action="store_true", help="draw them")
    options = parser.parse_args()
    faults = 0
    with tempfile.TemporaryDirectory() as base:
        for name in options.command:
            faults += len(try_command(name, options.kills, options.seed, Path(base), print, options.pictures).faults)
            sys.stdout.flush()
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
