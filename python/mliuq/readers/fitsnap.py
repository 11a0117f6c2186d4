"""FitSNAP's JSON training sets: one configuration per file, one sub-folder per group."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.readers.origin import Origin, with_origin
from mliuq.readers.results import attach
from mliuq.readers.units import PRESSURE

#: FitSNAP's names of units of pressure.
_STYLES = {**PRESSURE, "kB": PRESSURE["kbar"]}


def fitsnap_files(folder: Path) -> list[Path]:
    """All `.json` below a folder, links followed, in the order of their names (A15_2 before A15_10)."""
    return sorted(_walk(folder, frozenset()), key=lambda path: [_natural(part) for part in path.parts])


def read_fitsnap(data: Mapping[str, Any], path: Path, root: Path | None = None) -> list[Atoms]:
    """Configurations of one parsed file.

    Parameters
    ----------
    root : the folder that was asked for; groups (`config_type`) are folders below it, `strain/set1` for nested ones.
        A file in the root itself, or asked for by name, belongs to the group of its folder's name.

    Raises
    ------
    MliuqError
        for what is not a FitSNAP configuration, or a stress in an unknown unit.
    """
    folder = path.parent if root is None or path.parent == root else path.parent.relative_to(root)
    group = (folder.resolve().name or None) if folder == path.parent else folder.as_posix()
    try:
        dataset = data["Dataset"]
        return [
            with_origin(_to_atoms(entry, dataset, path, group), Origin(str(path), index, units_known=True))
            for index, entry in enumerate(dataset["Data"])
        ]
    except KeyError as error:
        raise MliuqError(f"{path}: not a FitSNAP configuration: the key {error} is missing") from error


def _to_atoms(data: Mapping[str, Any], dataset: Mapping[str, Any], path: Path, group: str | None) -> Atoms:
    atoms = Atoms(data["AtomTypes"], positions=data["Positions"], cell=np.asarray(data["Lattice"], float), pbc=True)
    atoms.info["name"] = path.stem
    if group is not None:
        atoms.info["config_type"] = group
    stress = None
    if "Stress" in data:
        style = str(dataset.get("PressureStyle", dataset.get("StressStyle", "bar")))
        if style not in _STYLES:
            raise MliuqError(f"{path}: stress is in {style!r}, expected one of {', '.join(_STYLES)}")
        stress = -_STYLES[style] * np.asarray(data["Stress"], dtype=float)  # positive under compression
    energy = float(data["Energy"]) if "Energy" in data else None
    return attach(atoms, energy=energy, forces=data.get("Forces"), stress=stress)


def _walk(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    here = os.path.realpath(folder)
    if here in above:  # a link that leads back up
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, above | {here})
        elif entry.suffix == ".json":
            yield entry


def _natural(name: str) -> list[tuple[bool, int | str]]:
    """Sort key that puts A15_2 before A15_10."""
    return [(True, int(part)) if part.isdigit() else (False, part) for part in re.split(r"(\d+)", name)]
