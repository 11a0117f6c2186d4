"""DeePMD's folders: `type.raw`, `type_map.raw` and `set.*/{box,coord,energy,force,virial}.npy` (eV, Å; virial −V·σ)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mliuq.errors import MliuqError
from mliuq.readers.dialect import Dialect
from mliuq.readers.origin import Origin, with_origin
from mliuq.readers.results import attach


def deepmd_systems(folder: Path) -> list[Path]:
    """Folders at or below `folder` that hold a system, in the order of their names."""
    found = [Path(here) for here, _, files in os.walk(folder, followlinks=True) if "type.raw" in files]
    return sorted(found)


def read_deepmd(system: Path, dialect: Dialect, group: str | None = None) -> list[Atoms]:
    """All frames of one system, set after set; `group` becomes their `config_type`.

    Raises
    ------
    MliuqError
        for a missing or misshapen array, with its name.
    """
    types = [int(t) for t in (system / "type.raw").read_text(encoding="utf-8").split()]
    names = _element_names(system, dialect)
    periodic = not (system / "nopbc").exists()
    structures: list[Atoms] = []
    for folder in sorted(system.glob("set.*")):
        coordinates = _array(folder / "coord.npy", (-1, len(types), 3))
        if coordinates is None:
            raise MliuqError(f"{folder / 'coord.npy'}: no such file, expected the positions of a DeePMD set")
        n = len(coordinates)
        box = _array(folder / "box.npy", (n, 3, 3)) if periodic else None
        if periodic and box is None:
            raise MliuqError(f"{folder / 'box.npy'}: no such file, expected the cells of a periodic DeePMD set")
        energy, force = _array(folder / "energy.npy", (n,)), _array(folder / "force.npy", (n, len(types), 3))
        virial, real = _array(folder / "virial.npy", (n, 3, 3)), _array(folder / "real_atom_types.npy", (n, len(types)))
        for i in range(n):
            own = types if real is None else [int(t) for t in real[i]]
            elements = names.elements(own, 0)
            atoms = Atoms(elements, positions=coordinates[i], cell=None if box is None else box[i], pbc=periodic)
            if group is not None:
                atoms.info["config_type"] = group
            attach(
                atoms,
                energy=None if energy is None else float(energy[i]),
                forces=None if force is None else force[i],
                stress=None if virial is None or box is None else -virial[i] / atoms.get_volume(),
            )
            structures.append(with_origin(atoms, Origin(str(system), len(structures), units_known=True)))
    if not structures:
        raise MliuqError(f"{system}: a DeePMD system without set.*/coord.npy")
    return structures


def _element_names(system: Path, dialect: Dialect) -> Dialect:
    """The elements that the system names; those of the user where it names none."""
    path = system / "type_map.raw"
    return Dialect(types=tuple(path.read_text(encoding="utf-8").split())) if path.exists() else dialect


def _array(path: Path, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    if not path.exists():
        return None
    try:
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64).reshape(shape)
    except (ValueError, OSError, EOFError) as error:
        raise MliuqError(f"{path}: cannot be read as an array of shape {shape}: {error}") from error
