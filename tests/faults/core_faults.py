"""The faults of core_faults.toml put into the C++ core one at a time: which does ctest notice? `make faults`.

Runs in a copy of the project; `--python` asks the Python tests of the core as well, on a copy of the package.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from working_copy import ROOT, environment, refreshed_copy

FAULTS = Path(__file__).with_name("core_faults.toml")
#: Rooms of tests that see the core through Python.
PYTHON_TESTS = ("tests/core", "tests/descriptor", "tests/model", "tests/ase")


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False)


def build(copy: Path, *, python: bool) -> str:
    """Build the copy; what the compiler said if it failed."""
    folder = copy / "build" / "faults"
    if not (folder / "build.ninja").is_file():
        launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if "CCACHE_DIR" in os.environ else []
        options = [
            "-DMLIUQ_BUILD_TESTS=ON",
            "-DMLIUQ_BUILD_LAMMPS=OFF",
            f"-DMLIUQ_BUILD_PYTHON={'ON' if python else 'OFF'}",
        ]
        options += [f"-DPython_EXECUTABLE={sys.executable}", *launcher]
        done = run("cmake", "-S", copy, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", *options, cwd=copy)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
    done = run("cmake", "--build", folder, "-j", "1", cwd=copy)
    return "" if done.returncode == 0 else done.stdout[-3000:]


def noticed_by_ctest(copy: Path) -> str:
    """The first suite that fails, or nothing."""
    done = run("ctest", "--test-dir", copy / "build" / "faults", "--stop-on-failure", "--timeout", "900", cwd=copy)
    failed = [line for line in done.stdout.splitlines() if "***" in line]
    return failed[0].split(":", 1)[1].split()[0] if failed else ""


def noticed_by_python(copy: Path) -> str:
    """The first test that fails, or nothing."""
    for built in (copy / "build" / "faults" / "python").rglob("_core*.so"):
        link = copy / "python" / "mliuq" / built.name
        link.unlink(missing_ok=True)
        link.symlink_to(built)
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = run(sys.executable, "-m", "pytest", *PYTHON_TESTS, *options, cwd=copy, env=environment(copy))
    if done.returncode == 0:
        return ""
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split()[1] if failed else f"status {done.returncode}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="faults of these source files alone, by name")
    parser.add_argument("--python", action="store_true", help="the Python tests of the core, too")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "faults" / "tree", help="folder of the copy")
    given = parser.parse_args()
    copy = refreshed_copy(given.work.resolve())
    faults = tomllib.loads(FAULTS.read_text(encoding="utf-8"))["fault"]
    faults = [f for f in faults if not given.files or Path(f["file"]).name in given.files]
    for fault in faults:  # all before any is tried
        if (copy / "cpp" / "src" / fault["file"]).read_text().count(fault["old"]) != 1:
            raise SystemExit(f"{fault['file']}: expected once: {fault['old']}")
    if said := build(copy, python=given.python):
        raise SystemExit(said)
    for noticed in (noticed_by_ctest, *([noticed_by_python] if given.python else [])):
        if suite := noticed(copy):
            raise SystemExit(f"{suite} fails without a fault")
    counts = {"ctest": 0, "python": 0}
    for fault in faults:
        path = copy / "cpp" / "src" / fault["file"]
        good = path.read_text(encoding="utf-8")
        try:
            path.write_text(good.replace(fault["old"], fault["new"]), encoding="utf-8")
            if said := build(copy, python=given.python):
                raise SystemExit(f"{fault['file']}: does not compile: {fault['new']}\n{said}")
            found = {"ctest": noticed_by_ctest(copy)}
            if given.python:
                found["python"] = noticed_by_python(copy)
        finally:
            path.write_text(good, encoding="utf-8")
        for tests, by in found.items():
            counts[tests] += bool(by)
        print(f"{fault['file']}: {fault['old']}  ->  {fault['new']}", flush=True)
        print("    " + ", ".join(f"{tests}: {by or 'NOT NOTICED'}" for tests, by in found.items()), flush=True)
    build(copy, python=given.python)
    print(f"\n{len(faults)} faults; noticed by ctest: {counts['ctest']}", end="")
    print(f"; by the Python tests: {counts['python']}" if given.python else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
