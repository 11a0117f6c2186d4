"""FitSNAP's JSON training sets: one configuration per file, one sub-folder per group."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa

from mliuq.errors import MliuqError

_PRESSURE = {"bar": 1e-4 * GPa, "kB": 0.1 * GPa, "kbar": 0.1 * GPa, "GPa": GPa}


def read_fitsnap_folder(folder: Path) -> list[Atoms]:
    """Read every `.json` below `folder`, in the order of their names; `config_type` is the name of the sub-folder.

    Raises
    ------
    MliuqError
        for a folder without JSON files, or one that is not a FitSNAP configuration.
    """
    files = sorted(folder.rglob("*.json"), key=lambda path: [_natural(part) for part in path.parts])
    if not files:
        raise MliuqError(f"{folder}: a folder without .json files is not a FitSNAP training set")
    return [atoms for path in files for atoms in _read_file(path, folder)]


def _read_file(path: Path, folder: Path) -> list[Atoms]:
    lines = path.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))  # FitSNAP writes a comment on top
    try:
        dataset = json.loads(text)["Dataset"]
        return [_to_atoms(data, dataset, path, folder) for data in dataset["Data"]]
    except json.JSONDecodeError as error:
        raise MliuqError(f"{path}: not JSON: {error}") from error
    except KeyError as error:
        raise MliuqError(f"{path}: not a FitSNAP configuration: the key {error} is missing") from error


def _to_atoms(data: dict[str, Any], dataset: dict[str, Any], path: Path, folder: Path) -> Atoms:
    atoms = Atoms(data["AtomTypes"], positions=data["Positions"], cell=np.asarray(data["Lattice"], float), pbc=True)
    atoms.info["name"] = path.stem
    if path.parent != folder:
        atoms.info["config_type"] = path.parent.name
    results: dict[str, Any] = {}
    if "Energy" in data:
        results["energy"] = float(data["Energy"])
    if "Forces" in data:
        results["forces"] = np.asarray(data["Forces"], dtype=float)
    if "Stress" in data:
        style = str(dataset.get("PressureStyle", dataset.get("StressStyle", "bar")))
        if style not in _PRESSURE:
            raise MliuqError(f"{path}: stress is in {style!r}, expected one of {', '.join(_PRESSURE)}")
        pressure = np.asarray(data["Stress"], dtype=float)  # positive under compression
        results["stress"] = -_PRESSURE[style] * pressure[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)]
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _natural(name: str) -> list[Any]:
    """Sort key that puts A15_2 before A15_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
