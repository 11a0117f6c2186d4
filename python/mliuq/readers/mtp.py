"""MLIP's `.cfg` (moment tensor potentials): one configuration from BEGIN_CFG to END_CFG.

`PlusStress` is the virial −V·σ in eV, as VASP's line "Total" of the forces on the cell, under the labels of its header.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.readers.dialect import Dialect
from mliuq.readers.results import attach

_VOIGT_NAMES = ("xx", "yy", "zz", "yz", "xz", "xy")


def read_mtp(text: str, dialect: Dialect) -> list[Atoms]:
    """Read all configurations.

    Raises
    ------
    MliuqError
        without the elements of the types, or for a block that cannot be read (with its line).
    """
    found = []
    for number, block in _blocks(text):
        try:
            found.append(_configuration(block, dialect))
        except (ValueError, IndexError, KeyError, StopIteration) as error:
            if isinstance(error, MliuqError):
                raise
            what = "it ends too early" if isinstance(error, StopIteration) else str(error)
            raise MliuqError(f"the configuration at line {number} cannot be read: {what}") from error
    return found


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    block: list[str] | None = None
    start = 0
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.strip()
        if word == "BEGIN_CFG":
            block, start = [], number
        elif word == "END_CFG" and block is not None:
            yield start, block
            block = None
        elif block is not None and word:
            block.append(word)
    if block is not None:
        raise MliuqError(f"the configuration at line {start} has no END_CFG: the file is cut off")


def _configuration(block: list[str], dialect: Dialect) -> Atoms:
    size, energy, stress = 0, None, None
    cell: list[list[float]] = []
    columns: dict[str, list[str]] = {}
    info: dict[str, str] = {}
    lines = iter(block)
    for line in lines:
        head, _, rest = line.partition(" ")
        if head == "Size":
            size = int(next(lines))
        elif head == "Supercell":
            cell = [[float(x) for x in row.split()] for row in _numbers(lines, block)]
        elif head == "AtomData:":
            rows = [next(lines).split() for _ in range(size)]
            columns = dict(zip(rest.split(), map(list, zip(*rows, strict=True)), strict=True))
        elif head == "Energy":
            energy = float(next(lines))
        elif head in ("PlusStress:", "Stress:"):
            named = dict(zip(rest.split(), map(float, next(lines).split()), strict=True))
            stress = (-1.0 if head == "PlusStress:" else 1.0) * np.array([named[name] for name in _VOIGT_NAMES])
        elif head == "Feature":
            key, _, value = rest.strip().partition("\t" if "\t" in rest else " ")
            info[key.strip()] = value.strip()
    return _to_atoms(cell, columns, energy, stress, info, dialect)


def _numbers(lines: Iterator[str], block: list[str]) -> list[str]:
    """The lattice vectors that follow: the lines up to the next word."""
    rows = []
    at = block.index("Supercell") + 1
    while at < len(block) and block[at][0] in "-+.0123456789":
        rows.append(next(lines))
        at += 1
    return rows


def _to_atoms(
    cell: list[list[float]],
    columns: dict[str, list[str]],
    energy: float | None,
    stress: np.ndarray[tuple[int], np.dtype[np.float64]] | None,
    info: dict[str, str],
    dialect: Dialect,
) -> Atoms:
    def triple(stem: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return np.array([columns[f"{stem}{axis}"] for axis in "xyz"], dtype=float).T

    n = len(cell)
    full = np.zeros((3, 3))
    full[:n] = np.array(cell).reshape(n, 3)
    cartesian = "cartes_x" in columns
    positions = triple("cartes_" if cartesian else "direct_")
    atoms = Atoms(
        dialect.elements([int(t) for t in columns["type"]], 0),
        positions=positions if cartesian else positions @ full,
        cell=full,
        pbc=[i < n for i in range(3)],
    )
    atoms.info.update({key: value for key, value in info.items() if key and value})
    volume = abs(float(np.linalg.det(full)))
    return attach(
        atoms,
        energy=energy,
        forces=triple("f") if "fx" in columns else None,
        stress=stress / volume if stress is not None and volume > 0.0 else None,
    )
