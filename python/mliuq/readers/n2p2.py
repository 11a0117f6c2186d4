"""n2p2's `input.data` (also RuNNer's): one configuration from `begin` to `end`.

    begin
    comment …
    lattice ax ay az                                      three lines, or none for a molecule
    atom    x y z element charge energy fx fy fz
    energy  E
    charge  Q
    end

The format has no units: people write eV and Å as well as hartree and bohr.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.readers.dialect import Dialect
from mliuq.readers.results import attach
from mliuq.readers.units import ENERGY, LENGTH


def read_n2p2(text: str, dialect: Dialect) -> list[Atoms]:
    """Read all configurations.

    Raises
    ------
    MliuqError
        without a unit of length, or for a line that cannot be one (with its number).
    """
    if dialect.length_unit is None:
        raise MliuqError(
            "n2p2 files do not say their units: expected --length-unit angstrom (and eV) or --length-unit bohr (and "
            "hartree); --energy-unit for other pairs"
        )
    length = LENGTH[dialect.length_unit]
    energy = ENERGY[dialect.energy_unit or ("eV" if dialect.length_unit == "angstrom" else "hartree")]
    found: list[Atoms] = []
    lines: list[tuple[int, list[str]]] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "begin":
            lines = []
        elif words[0] == "end" and lines is not None:
            found.append(_configuration(lines, length, energy))
            lines = None
        elif lines is not None:
            lines.append((number, words))
        else:
            raise MliuqError(f"line {number}: {words[0]!r} outside a configuration, expected 'begin'")
    if lines is not None:
        raise MliuqError("the last configuration has no 'end': the file is cut off")
    return found


def _configuration(lines: list[tuple[int, list[str]]], length: float, energy: float) -> Atoms:
    lattice, positions, symbols, forces, total, comment = [], [], [], [], None, ""
    for number, words in lines:
        try:
            if words[0] == "lattice":
                lattice.append([float(x) for x in words[1:4]])
            elif words[0] == "atom":
                positions.append([float(x) for x in words[1:4]])
                symbols.append(words[4])
                forces.append([float(x) for x in words[7:10]])
                if len(forces[-1]) != 3:
                    raise ValueError("expected x y z element charge energy fx fy fz")
            elif words[0] == "energy":
                total = float(words[1])
            elif words[0] == "comment":
                comment = " ".join(words[1:])
        except (ValueError, IndexError) as error:
            raise MliuqError(f"line {number}: {' '.join(words)!r} cannot be read: {error}") from error
    if len(lattice) not in (0, 3):
        raise MliuqError(f"line {lines[0][0]}: a configuration has {len(lattice)} lattice vectors, expected 3 or none")
    cell = length * np.array(lattice) if lattice else None
    atoms = Atoms(symbols, positions=length * np.array(positions).reshape(-1, 3), cell=cell, pbc=bool(lattice))
    if comment:
        atoms.info["comment"] = comment
    forces_ = energy / length * np.array(forces).reshape(-1, 3)
    return attach(atoms, energy=None if total is None else energy * total, forces=forces_)
