"""Which test executes which line of the package: `python executed_lines.py OUT TEST_FILE...` in a copy of the project.

Tests get a coverage context each, and so does every fixture of wider scope than a test: what such a fixture executes
counts for every test that uses it, not only for the one it happened to be made for. Programs that tests start count
for the test that starts them.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

#: What pytest adds to a test's name in PYTEST_CURRENT_TEST.
_PHASE = re.compile(r" \((setup|call|teardown)\)$")


class ExecutedLines:
    """A pytest plugin that names coverage contexts, and keeps seconds and fixtures of every test that passes."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.measured = measured
        self.current = [""]
        self.seconds: dict[str, float] = defaultdict(float)
        self.fixtures: dict[str, list[str]] = {}
        self.failed: set[str] = set()
        self.inside = 0.0

    def _enter(self, context: str) -> None:
        self.current.append(context)
        self.measured.switch_context(context)

    def _leave(self) -> None:
        self.current.pop()
        self.measured.switch_context(self.current[-1])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._enter(item.nodeid)
        try:
            return (yield)
        finally:
            self._leave()
            wide = [d[-1] for d in item._fixtureinfo.name2fixturedefs.values() if d[-1].scope != "function"]
            self.fixtures[item.nodeid] = sorted({f"{d.baseid}::{d.argname}" for d in wide})

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[object]:
        if fixturedef.scope == "function":
            return (yield)
        name = f"{fixturedef.baseid}::{fixturedef.argname}"
        self._enter(name)
        start, before = time.perf_counter(), self.inside
        try:
            return (yield)
        finally:
            spent = time.perf_counter() - start
            self.seconds[name] += spent - (self.inside - before)
            self.inside = before + spent
            self._leave()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.when == "setup":
            self.seconds[report.nodeid] -= self.inside
            self.inside = 0.0
        if not report.passed:
            self.failed.add(report.nodeid)


def measure(out: Path, files: list[str]) -> int:
    """Run files of tests (of the copy that is the working folder); write what each executes to `out`/NAME.json."""
    package = Path.cwd() / "python" / "mliuq"
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        # Programs that tests start: Python reads sitecustomize, coverage its settings, with the test's name in them.
        (Path(scratch) / "sitecustomize.py").write_text("import coverage\ncoverage.process_startup()\n")
        rc = Path(scratch) / "rc"
        rc.write_text(
            f"[run]\ndata_file = {data}\nparallel = true\ncontext = ${{PYTEST_CURRENT_TEST-}}\ninclude = {package}/*\n"
        )
        os.environ["PYTHONPATH"] = os.pathsep.join([scratch, os.environ["PYTHONPATH"]])
        measured = coverage.Coverage(data_file=str(data), data_suffix=True, config_file=False, include=[f"{package}/*"])
        plugin = ExecutedLines(measured)
        measured.start()
        os.environ["COVERAGE_PROCESS_START"] = str(rc)
        status = pytest.main([*files, "-q", "-p", "no:cacheprovider", "-p", "no:xdist"], plugins=[plugin])
        measured.stop()
        measured.save()
        lines = _lines_by_context(data, package)
    for file in files:
        tests = {
            test: {"seconds": plugin.seconds[test], "fixtures": fixtures, "lines": lines.get(test, {})}
            for test, fixtures in plugin.fixtures.items()
            if test.startswith(f"{file}::") and test not in plugin.failed
        }
        used = {fixture for test in tests.values() for fixture in test["fixtures"]}
        fixtures = {name: {"seconds": plugin.seconds.get(name, 0.0), "lines": lines.get(name, {})} for name in used}
        (out / f"{Path(file).stem}.json").write_text(json.dumps({"tests": tests, "fixtures": fixtures}))
    return int(status)


def _lines_by_context(data: Path, package: Path) -> dict[str, dict[str, list[int]]]:
    together = coverage.Coverage(data_file=str(data), config_file=False)
    together.combine([str(data.parent)])
    found = together.get_data()
    lines: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for name in found.measured_files():
        for line, contexts in found.contexts_by_lineno(name).items():
            for context in contexts:
                lines[_PHASE.sub("", context)][str(Path(name).relative_to(package))].append(line)
    return lines


if __name__ == "__main__":
    sys.exit(measure(Path(sys.argv[1]), sys.argv[2:]))
