"""What a label or a run of LAMMPS is made in: a process of its own, which the loop may kill.

    python worker.py calculator MODULE:NAME INPUT OUTPUT [FOLDER …]
    python worker.py command    WORD …

The first evaluates the structure of INPUT and writes it with energy, forces and, where there is one, stress.  The
second runs a command.  Both end with everything they have started when the process that started them is gone.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any


def die_with(parent: int) -> None:
    """End this process group once `parent` is no longer the parent."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def evaluate(name: str, source: str, target: str, folders: list[str]) -> None:
    """Evaluate a structure with an ASE calculator."""
    sys.path[:0] = folders
    import ase.io
    from ase.calculators.singlepoint import SinglePointCalculator

    module, _, attribute = name.partition(":")
    found: Any = getattr(importlib.import_module(module), attribute)
    is_calculator = hasattr(found, "get_property") and not isinstance(found, type)
    atoms: Any = ase.io.read(source, format="extxyz")
    atoms.calc = found if is_calculator else found()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    if atoms.cell.rank == 3:
        try:
            results["stress"] = atoms.get_stress()
        except (NotImplementedError, RuntimeError) as error:  # ASE: PropertyNotImplementedError
            print(f"no stress: {error}", file=sys.stderr)
    atoms.calc = SinglePointCalculator(atoms, **results)
    ase.io.write(target, atoms, format="extxyz")


def main(arguments: list[str]) -> int:
    """Do what the arguments say and return the exit status."""
    die_with(os.getppid())
    what, *words = arguments
    if what == "command":
        try:
            status = subprocess.run(words, stdin=subprocess.DEVNULL).returncode
            if status < 0:  # end as the command did
                os.kill(os.getpid(), -status)
            return status
        except OSError as error:
            print(f"{words[0]}: cannot be started: {error.strerror}", file=sys.stderr)
            return 127
    name, source, target, *folders = words
    evaluate(name, source, target, folders)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
