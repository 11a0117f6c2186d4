"""Faults put into the package one at a time, to see which of them the tests notice: `make mutants`.

A seeded draw of mutants over the rooms of the package; for each, the tests that execute the mutated line, quickest
first, until one fails. The mutations themselves are mutmut's. Runs in a copy of the project.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import importlib
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
import tomllib
import traceback
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import libcst as cst
import pytest
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators
from working_copy import ONE_THREAD, ROOT, environment, link_compiled, refreshed_copy

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
#: Rooms of tests of the single files at the bottom.
OF_GROUND = ("tests/core/test_ground.py", "tests/core/test_package.py", "tests/outputs/")
#: Tests of what runs when modules are imported.
OF_EVERY_MODULE = "tests/core/test_every_module.py"
#: Tests that start another program for each look at the package: too slow to be run for mutants.
NOT_RUN = ("lammps", "docs")
#: What a run of tests imports beside the package: imported once, then forked.
PRELOADED = (
    "numpy", "scipy.linalg", "scipy.optimize", "scipy.stats", "ase.io", "ase.build", "ase.optimize", "typer", "vesin",
    "typer.testing", "rich.progress", "hypothesis", "matplotlib.figure", "threadpoolctl", "safetensors",
)  # fmt: skip
TOOL_FAILED = 99
KILLED, SURVIVED, UNREACHED, EQUAL = "killed", "survived", "unreached", "equivalent"


@dataclass(frozen=True)
class Mutant:
    """One change of one expression or statement, and where the lines are that tell which tests run it."""

    room: str
    file: str
    line: int
    old: str
    new: str
    code: str
    lines: frozenset[int]


def room_of(file: str) -> str:
    """Rooms are folders; the single files at the bottom are one room."""
    return file.split("/")[0] if "/" in file else "ground"


class Places(cst.CSTVisitor):
    """Everything that can be mutated: not annotations, imports, decorators, texts for people and looks."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        self.found: list[tuple[cst.CSTNode, list[cst.CSTNode], frozenset[int]]] = []
        self.around: list[tuple[cst.CSTNode, CodeRange]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Annotation | cst.Import | cst.ImportFrom | cst.Decorator) or _is_for_people(node):
            return False
        if isinstance(node, cst.FunctionDef) and any(_is_overload(decorator) for decorator in node.decorators):
            return False  # read by mypy alone
        where = self.get_metadata(PositionProvider, node, None)
        if isinstance(node, cst.FunctionDef | cst.ClassDef | cst.SimpleStatementLine):
            self.around.append((node, where))
        mutated = [
            new
            for kind, operator in mutation_operators
            if isinstance(node, kind)
            for new in operator(node)
            if not _changes_looks(node, new)
        ]
        if mutated and where is not None:
            self.found.append((node, mutated, self._telling(where)))
        return True

    def on_leave(self, node: cst.CSTNode) -> None:
        if self.around and self.around[-1][0] is node:
            self.around.pop()

    def _telling(self, where: CodeRange) -> frozenset[int]:
        """Lines whose execution tells that the node's value matters.

        Within a function the node's own and its statement's first; for a default of a parameter the function's; for
        what runs at import the class's, or none: any line of the file.
        """
        functions = [(n, r) for n, r in self.around if isinstance(n, cst.FunctionDef)]
        if functions:
            inner, span = functions[-1]
            body = inner.body.body[0] if inner.body.body else inner
            first = self.get_metadata(PositionProvider, body, span).start.line
            if where.start.line >= first:
                statement = (
                    self.around[-1][1].start.line if isinstance(self.around[-1][0], cst.SimpleStatementLine) else 0
                )
                return frozenset({*range(where.start.line, where.end.line + 1), statement})
            return frozenset(range(first, span.end.line + 1))
        classes = [r for n, r in self.around if isinstance(n, cst.ClassDef)]
        return frozenset(range(classes[0].start.line, classes[0].end.line + 1)) if classes else frozenset()


#: Arguments that say how a figure looks, or what help says.
_HELP_AND_LOOKS = frozenset((
    "help", "metavar", "epilog", "figsize", "layout", "color", "facecolor", "edgecolor", "ecolor", "alpha", "s", "lw",
    "linewidth", "ls", "linestyle", "marker", "ms", "markersize", "fontsize", "fontweight", "frameon", "loc", "ha",
    "va", "rotation", "zorder", "dpi", "cmap", "elinewidth", "capsize", "width", "height", "pad",
))  # fmt: skip


def _is_for_people(node: cst.CSTNode) -> bool:
    """Docstrings, sentences and help; `isinstance` and `len`, whose mutants stop every test, as mutmut does."""
    if isinstance(node, cst.SimpleString):
        return len(node.value.split()) >= 3 or node.value.startswith(('"""', 'r"""'))
    if isinstance(node, cst.Arg) and node.keyword is not None:
        return node.keyword.value in _HELP_AND_LOOKS
    if isinstance(node, cst.Expr):
        return isinstance(node.value, cst.SimpleString)
    if isinstance(node, cst.If):
        return isinstance(node.test, cst.Name) and node.test.value == "TYPE_CHECKING"
    if isinstance(node, cst.Assign) and isinstance(node.targets[0].target, cst.Name):
        return node.targets[0].target.value == "__all__" or _is_name_of_a_type(node.targets[0].target.value, node.value)
    if isinstance(node, cst.AnnAssign) and isinstance(node.target, cst.Name):
        return node.target.value == "STYLE"  # of matplotlib
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Name):
        return node.func.value in ("isinstance", "len", "cast", "TypeVar", "NewType")
    return False


def _is_overload(decorator: cst.Decorator) -> bool:
    return isinstance(decorator.decorator, cst.Name) and decorator.decorator.value == "overload"


def _changes_looks(node: cst.CSTNode, new: cst.CSTNode) -> bool:
    """Whether a call was mutated in an argument of help or looks alone."""
    if not (isinstance(node, cst.Call) and isinstance(new, cst.Call)):
        return False
    changed = [arg for arg in node.args if all(arg is not kept for kept in new.args)]
    return bool(changed) and all(_is_for_people(arg) for arg in changed)


def drawn_mutants(package: Path, seed: int, number: int, rooms: Collection[str], least: int = 10) -> list[Mutant]:
    """`least` mutants from each room, the rest of `number` by the rooms' sizes; their order keeps to these shares."""
    places: dict[str, list[tuple[str, cst.Module, Any]]] = defaultdict(list)
    for path in sorted(package.rglob("*.py")):
        file = str(path.relative_to(package))
        if rooms and room_of(file) not in rooms:
            continue
        wrapper = MetadataWrapper(cst.parse_module(path.read_text(encoding="utf-8")), unsafe_skip_copy=True)
        visitor = Places()
        wrapper.visit(visitor)
        places[room_of(file)] += [(file, wrapper.module, place) for place in visitor.found]
    every = sum(map(len, places.values()))
    spare = max(0, number - least * len(places))
    ranked: list[tuple[float, Mutant]] = []
    for room, here in sorted(places.items()):
        generator = random.Random(f"{seed} {room}")
        share = min(len(here), round(least + spare * len(here) / every))
        for index, (file, module, (node, choices, lines)) in enumerate(generator.sample(here, share)):
            changed = module.deep_replace(node, generator.choice(choices))
            mutant = _mutant(room, file, module.code, changed.code, lines)  # type: ignore[attr-defined]
            ranked.append(((index + 1) / share, mutant))
    return [mutant for _, mutant in sorted(ranked, key=lambda pair: (pair[0], pair[1].room))][:number]


def _mutant(room: str, file: str, old: str, new: str, lines: frozenset[int]) -> Mutant:
    before, after = old.split("\n"), new.split("\n")
    steps = [s for s in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes() if s[0] != "equal"]
    a, b, c, d = steps[0][1], steps[-1][2], steps[0][3], steps[-1][4]
    texts = ("\n".join(line.strip() for line in part) for part in (before[a:b], after[c:d]))
    return Mutant(room, file, a + 1, *texts, code=new, lines=lines)


def _is_name_of_a_type(name: str, value: cst.BaseExpression) -> bool:
    """`Array = NDArray[np.float64]`: only mypy reads it; a Literal's texts are also read when programs run."""
    written = cst.Module([]).code_for_node(value)
    return name[0].isupper() and not name.isupper() and "Literal" not in written and "(" not in written


@dataclass
class Executions:
    """Which tests execute what, as `executed_lines.py` found for every room of tests."""

    seconds: dict[str, float]
    fixtures: dict[str, list[str]]
    fixture_seconds: dict[str, float]
    lines: dict[str, dict[str, set[int]]]

    @classmethod
    def of(cls, copy: Path, work: Path) -> Executions:
        """Measured once for every state of a file of tests; lines of the package that moved since are followed."""
        found = cls({}, {}, {}, {})
        sources = _sources(copy)
        common = _digest(copy, *sorted((copy / "tests").glob("*.py")))
        for room in sorted(p for p in (copy / "tests").iterdir() if p.is_dir() and p.name not in NOT_RUN):
            beside = _digest(copy, *(p for p in sorted(room.rglob("*.py")) if not p.name.startswith("test_")))
            kept = {
                str(file.relative_to(copy)): work
                / "executions"
                / f"{file.stem}-{_key(common, beside, _digest(copy, file))}.json"
                for file in sorted(room.rglob("test_*.py"))
            }
            absent = [file for file, out in kept.items() if not out.is_file()]
            if absent:
                cls._measure(copy, work, absent, sources)
                for file in absent:
                    (work / "executions").mkdir(exist_ok=True)
                    (work / "measuring" / f"{Path(file).stem}.json").replace(kept[file])
            for out in kept.values():
                found._add(json.loads(out.read_text(encoding="utf-8")), sources)
        return found

    @staticmethod
    def _measure(copy: Path, work: Path, files: list[str], sources: dict[str, list[str]]) -> None:
        print(f"measuring what {len(files)} files of {Path(files[0]).parent} execute", flush=True)
        (work / "measuring").mkdir(exist_ok=True)
        program = [sys.executable, "tests/faults/executed_lines.py", str(work / "measuring"), *files]
        with (work / "measuring" / "log").open("w", encoding="utf-8") as log:
            status = subprocess.run(
                program, cwd=copy, env=environment(copy), stdout=log, stderr=log, check=False
            ).returncode
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            raise SystemExit(
                f"what tests execute could not be measured (status {status}): {work / 'measuring' / 'log'}"
            )
        for file in files:
            out = work / "measuring" / f"{Path(file).stem}.json"
            out.write_text(
                json.dumps({**json.loads(out.read_text(encoding="utf-8")), "sources": sources}), encoding="utf-8"
            )

    def _add(self, file: dict[str, Any], sources: dict[str, list[str]]) -> None:
        moved = {name: _moved(old, sources.get(name, [])) for name, old in file["sources"].items()}
        self.fixture_seconds |= {name: fixture["seconds"] for name, fixture in file["fixtures"].items()}
        for test, measured in file["tests"].items():
            self.seconds[test], self.fixtures[test] = measured["seconds"], measured["fixtures"]
            self.lines[test] = lines = defaultdict(set)
            for part in (measured, *(file["fixtures"][name] for name in measured["fixtures"])):
                for name, numbers in part["lines"].items():
                    lines[name].update(new for n in numbers if (new := moved[name](n)))

    def choose(self, mutant: Mutant, budget: float) -> tuple[list[str], float]:
        """Tests that execute the mutant, quickest first, for `budget` seconds; and what they will take.

        Of what runs at import, or was not there when lines were measured: tests that execute anything of the file,
        those of its room, and those of every module.
        """
        own = OF_GROUND if mutant.room == "ground" else (f"tests/{mutant.room}/",)
        reached = [test for test, lines in self.lines.items() if lines.get(mutant.file, set()) & mutant.lines]
        if not reached:
            reached = [test for test, lines in self.lines.items() if lines.get(mutant.file) or test.startswith(own)]
            reached += [test for test in self.lines if test.startswith(OF_EVERY_MODULE) and test not in reached]
        chosen, spent, made = [], 0.0, set()
        for test in sorted(reached, key=lambda t: (self.cost(t, set()), not t.startswith(own))):
            cost = self.cost(test, made)
            if chosen and spent + cost > budget:
                continue
            chosen.append(test)
            made.update(self.fixtures[test])
            spent += cost
        return chosen, spent

    def cost(self, test: str, made: set[str]) -> float:
        return self.seconds[test] + sum(self.fixture_seconds.get(f, 0.0) for f in self.fixtures[test] if f not in made)


def _sources(copy: Path) -> dict[str, list[str]]:
    """Lines of every file of the package, shortened to what tells them apart."""
    package = copy / "python" / "mliuq"
    return {
        str(path.relative_to(package)): [
            f"{zlib.crc32(line.encode()):x}" for line in path.read_text(encoding="utf-8").split("\n")
        ]
        for path in sorted(package.rglob("*.py"))
    }


def _moved(old: list[str], new: list[str]) -> Callable[[int], int]:
    """Where a line (from 1) of an earlier state of a file is now; 0 where it is no more."""
    if old == new:
        return lambda line: line
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    now = {a + i + 1: b + i + 1 for a, b, size in blocks for i in range(size)}
    return lambda line: now.get(line, 0)


def _key(*parts: str) -> str:
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def _digest(copy: Path, *paths: Path) -> str:
    """Of names within the copy and contents: what is measured serves every copy."""
    files = sorted(f for path in paths for f in (path.rglob("*") if path.is_dir() else [path]))
    text = hashlib.sha256()
    for file in files:
        if file.suffix in (".py", ".so", ".toml") and file.is_file():
            text.update(f"{file.relative_to(copy)}".encode() + file.read_bytes())
    return text.hexdigest()


class Chosen:
    """A pytest plugin that keeps the chosen tests, in the given order, and says which of them failed."""

    def __init__(self, tests: list[str]) -> None:
        self.place = {test: index for index, test in enumerate(tests)}
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self.place), key=lambda item: self.place[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = report.nodeid


def try_tests(copy: Path, tests: list[str], limit: float, log: Path) -> tuple[str, str]:
    """Run tests in a forked child until one fails: outcome, and what noticed."""
    child = os.fork()
    if child == 0:
        try:
            _run_tests(copy, tests, log)
        except BaseException:
            traceback.print_exc()
        os._exit(TOOL_FAILED)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.05)
    else:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return KILLED, f"the limit of {limit:.0f} s"
    code = os.waitstatus_to_exitcode(status)
    if code == pytest.ExitCode.OK:
        return SURVIVED, ""
    if code < 0:
        return KILLED, f"signal {-code}"
    said = log.read_text(encoding="utf-8", errors="replace")
    if code in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED) and "noticed by " in said:
        return KILLED, said.rsplit("noticed by ", 1)[1].strip()
    if code == pytest.ExitCode.USAGE_ERROR and "while loading conftest" in said:
        return KILLED, "an import"
    raise SystemExit(f"tests did not run (status {code}, {log}):\n{said[-3000:]}")


def _run_tests(copy: Path, tests: list[str], log: Path) -> NoReturn:
    os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.chdir(copy)
    plugin = Chosen(tests)
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
    options = ["-x", "-q", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist"]
    # What is imported already, pytest cannot rewrite the assertions of, and warns.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    status = pytest.main([*files, *options], plugins=[plugin])
    if status in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED):
        print(f"\nnoticed by {plugin.failed or 'an import'}", flush=True)
    os._exit(int(status))


def is_equivalent(mutant: Mutant) -> bool:
    """Whether a mutant changes nothing a user could see: listed one by one or by kind; the list says why."""
    listed = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))
    if any((mutant.file, mutant.old, mutant.new) == (m["file"], m["old"], m["new"]) for m in listed["mutant"]):
        return True
    for kind in listed["kind"]:
        old, new = (re.sub(kind["pattern"], kind["same"], text) for text in (mutant.old, mutant.new))
        if old == new:
            return True
    return False


class Trial:
    """Mutants one after the other in the copy that belongs to this process."""

    copy: Path
    log: Path
    runs: Executions
    budget: float
    checked: bool

    @classmethod
    def begin(cls, copies: Any, runs: Executions, budget: float) -> None:
        cls.copy, cls.runs, cls.budget, cls.checked = copies.get(), runs, budget, False
        cls.log = cls.copy.with_suffix(".log")
        os.environ.update(environment(cls.copy))
        sys.path.insert(0, str(cls.copy / "python"))
        sys.dont_write_bytecode = True
        if "mliuq" in sys.modules:
            raise SystemExit("mliuq must not be imported before the mutants are")

    @classmethod
    def of(cls, mutant: Mutant) -> dict[str, Any]:
        """Outcome of a mutant."""
        about = {k: v for k, v in asdict(mutant).items() if k not in ("code", "lines")}
        if is_equivalent(mutant):
            return {**about, "outcome": EQUAL}
        tests, seconds = cls.runs.choose(mutant, cls.budget)
        if not tests:
            return {**about, "outcome": UNREACHED}
        if not cls.checked:  # a fault of the tool must not count as a fault noticed
            cls.checked = True
            if try_tests(cls.copy, tests, 600, cls.log)[0] != SURVIVED:
                raise SystemExit(f"tests fail without a mutant ({cls.log}): {tests[:3]} …")
        path = cls.copy / "python" / "mliuq" / mutant.file
        kept, times = path.read_bytes(), path.stat()
        start = time.monotonic()
        try:
            path.write_text(mutant.code, encoding="utf-8")
            outcome, by = try_tests(cls.copy, tests, 60 + 6 * seconds, cls.log)
        finally:
            path.write_bytes(kept)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        return {**about, "outcome": outcome, "by": by, "tests": len(tests), "seconds": time.monotonic() - start}


def trials(copies: list[Path], runs: Executions, mutants: list[Mutant], budget: float) -> Iterator[dict[str, Any]]:
    """Outcome of every mutant, in their order; a process for each copy."""
    for name in PRELOADED:
        importlib.import_module(name)
    forked = multiprocessing.get_context("fork")
    waiting = forked.SimpleQueue()
    for copy in copies:
        waiting.put(copy)
    with ProcessPoolExecutor(len(copies), forked, initializer=Trial.begin, initargs=(waiting, runs, budget)) as pool:
        yield from pool.map(Trial.of, mutants)


def table(outcomes: Iterable[dict[str, Any]]) -> str:
    """Scores per room, as Markdown."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for found in outcomes:
        for room in (found["room"], "all"):
            counts[room][found["outcome"]] += 1
    lines = ["| room | mutants | noticed | equivalent | survive | noticed, % |", "|---|---:|---:|---:|---:|---:|"]
    for room in (*sorted(set(counts) - {"all"}), "all"):
        c = counts[room]
        left = c[SURVIVED] + c[UNREACHED]
        rate = 100 * c[KILLED] / max(1, c[KILLED] + left)
        lines.append(f"| {room} | {c.total()} | {c[KILLED]} | {c[EQUAL]} | {left} | {rate:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rooms", nargs="*", help="rooms of the package; all when none is named")
    parser.add_argument("--number", type=int, default=300, help="mutants to draw (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default 0)")
    parser.add_argument("--budget", type=float, default=30.0, help="seconds of tests for one mutant (default 30)")
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried side by side (default 1)")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "mutants", help="folder for copy and results")
    parser.add_argument("--list", action="store_true", help="print the mutants and stop")
    given = parser.parse_args()
    if not sys.flags.warn_default_encoding:  # files read or written without saying how fail the tests
        options = ["-X", "warn_default_encoding", "-W", "ignore::EncodingWarning"]
        os.execv(sys.executable, [sys.executable, *options, *sys.argv])
    work = given.work.resolve()
    copies = [refreshed_copy(work / f"tree-{job}") for job in range(1, given.jobs + 1)]
    mutants = drawn_mutants(copies[0] / "python" / "mliuq", given.seed, given.number, given.rooms)
    if given.list:
        for m in mutants:
            print(f"{m.file}:{m.line}\n  - {m.old}\n  + {m.new}")
        return
    for copy in copies:
        link_compiled(copy)
    runs = Executions.of(copies[0], work)
    os.environ.update(ONE_THREAD)
    results = work / f"seed-{given.seed}{''.join('-' + room for room in given.rooms)}.jsonl"
    outcomes = []
    with results.open("w", encoding="utf-8") as file:
        for found in trials(copies, runs, mutants, given.budget):
            outcomes.append(found)
            print(json.dumps(found), file=file, flush=True)
            mark = {KILLED: ".", EQUAL: "="}.get(found["outcome"])
            shown = f"\n{found['outcome']} {found['file']}:{found['line']}\n  - {found['old']}\n  + {found['new']}\n"
            print(mark or shown.replace("\n", "\n    "), end="", flush=True)
    print(f"\n\n{table(outcomes)}\n\n{results}")


if __name__ == "__main__":
    main()
