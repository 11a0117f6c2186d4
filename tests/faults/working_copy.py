"""A copy of the project in which faults are put: whatever kills a run, none stays in the tree that is worked on."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


def refreshed_copy(to: Path) -> Path:
    """Files that git knows or would add, as they are now, in `to`; files of an earlier copy that are no more go."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout.decode().split("\0")  # fmt: skip
    kept = {name for name in names if name and (ROOT / name).is_file()}
    for folder in ("python", "tests", "cpp"):
        for old in (to / folder).rglob("*"):
            if old.is_file() and not old.is_symlink() and str(old.relative_to(to)) not in kept:
                old.unlink()
    for name in kept:
        if not (to / name).is_file() or (to / name).read_bytes() != (ROOT / name).read_bytes():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)  # as new: what was built with a fault that was left in is built again
    return to


def link_compiled(to: Path) -> None:
    """Give the package of a copy the compiled core and the LAMMPS plugin of the package installed here."""
    spec = importlib.util.find_spec("mliuq")
    if spec is None or spec.origin is None:
        raise SystemExit("mliuq is not installed here: its compiled core is what mutants of the package run with")
    installed = Path(spec.origin).parent
    for built in (*installed.glob("_core*.so"), *installed.glob("lammps_plugin/*.so")):
        link = to / "python" / "mliuq" / built.relative_to(installed)
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(built.resolve())


def environment(copy: Path, **more: str) -> dict[str, str]:
    """Environment whose Python, commands and their children import the package of the copy."""
    paths = [str(copy / "python"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1", **more}
