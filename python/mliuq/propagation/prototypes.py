"""Crystal structures by name: ``bcc``, ``C15:TaW``, or any structure file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols, covalent_radii, reference_states
from ase.formula import Formula
from ase.spacegroup import crystal

from mliuq.errors import MliuqError
from mliuq.readers import read_structures


@dataclass(frozen=True)
class Prototype:
    """A crystal structure: space group, orbits (fractional), axial ratio and angle γ of its conventional cell."""

    spacegroup: int
    orbits: tuple[tuple[float, float, float], ...]
    c_a: float = 1.0
    gamma: float = 90.0
    setting: int = 1


_HEXAGONAL = 120.0
_THIRD = (1 / 3, 2 / 3)

#: Coordinates as tabulated for W, β-W, σ-CrFe, α-Mn (χ), Fe7W6 (μ), MgZn2, MgCu2, MgNi2, AlB2 (ω) and C.
PROTOTYPES: dict[str, Prototype] = {
    "bcc": Prototype(229, ((0, 0, 0),)),
    "fcc": Prototype(225, ((0, 0, 0),)),
    "hcp": Prototype(194, ((*_THIRD, 0.25),), c_a=1.633, gamma=_HEXAGONAL),
    "dhcp": Prototype(194, ((0, 0, 0), (*_THIRD, 0.25)), c_a=3.266, gamma=_HEXAGONAL),
    "A15": Prototype(223, ((0, 0, 0), (0.25, 0, 0.5))),
    "sigma": Prototype(
        136,
        ((0, 0, 0), (0.3981, 0.3981, 0), (0.4632, 0.1316, 0), (0.7376, 0.0653, 0), (0.1823, 0.1823, 0.2524)),
        c_a=0.52,
    ),
    "chi": Prototype(217, ((0, 0, 0), (0.317, 0.317, 0.317), (0.356, 0.356, 0.042), (0.089, 0.089, 0.278))),
    "mu": Prototype(
        166,
        ((0, 0, 0), (0.5, 0.5, 0.59), (0, 0, 0.167), (0, 0, 0.346), (0, 0, 0.448)),
        c_a=5.42,
        gamma=_HEXAGONAL,
    ),
    "C14": Prototype(194, ((*_THIRD, 0.062), (0, 0, 0), (0.8305, 0.661, 0.25)), c_a=1.633, gamma=_HEXAGONAL),
    "C15": Prototype(227, ((0.125, 0.125, 0.125), (0.5, 0.5, 0.5)), setting=2),
    "C36": Prototype(
        194,
        ((0, 0, 0.094), (*_THIRD, 0.84417), (*_THIRD, 0.12514), (0.5, 0, 0), (0.16429, 0.32858, 0.25)),
        c_a=3.266,
        gamma=_HEXAGONAL,
    ),
    "omega": Prototype(191, ((0, 0, 0), (*_THIRD, 0.5)), c_a=0.612, gamma=_HEXAGONAL),
    "sc": Prototype(221, ((0, 0, 0),)),
    "diamond": Prototype(227, ((0, 0, 0),)),
}


def prototype(name: str, symbols: str, *, volume: float | None = None, cubic: bool = False) -> Atoms:
    """Build a structure.

    Parameters
    ----------
    name : str
        One of `PROTOTYPES`.
    symbols : str
        ``W``, or as many elements as the prototype has orbits (``WTa`` for A15: W on 2a, Ta on 6c).
    volume : float, optional
        Å³/atom; by default that of the elements' own crystals.
    cubic : bool
        The conventional cell instead of the primitive one.

    Raises
    ------
    MliuqError
        For an unknown name or a wrong number of elements.
    """
    if name not in PROTOTYPES:
        raise MliuqError(f"prototype is {name!r}, expected one of {' '.join(PROTOTYPES)}")
    kind = PROTOTYPES[name]
    elements = re.findall("[A-Z][a-z]?", symbols)
    if "".join(elements) != symbols or not set(elements) <= set(chemical_symbols):
        raise MliuqError(f"prototype {name}: {symbols!r} is not a row of chemical symbols")
    if len(elements) == 1:
        elements = elements * len(kind.orbits)
    if len(elements) != len(kind.orbits):
        raise MliuqError(
            f"prototype {name}: {symbols!r} names {len(elements)} elements, expected 1 or {len(kind.orbits)}"
        )
    atoms = crystal(
        elements,
        list(kind.orbits),
        spacegroup=kind.spacegroup,
        setting=kind.setting,
        cellpar=[4.0, 4.0, 4.0 * kind.c_a, 90, 90, kind.gamma],
        primitive_cell=not cubic,
        onduplicates="error",
    )
    plain = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    wanted = volume if volume is not None else float(np.mean([atomic_volume(s) for s in plain.symbols]))
    plain.set_cell(plain.cell * np.cbrt(wanted * len(plain) / plain.get_volume()), scale_atoms=True)
    plain.wrap(eps=1e-9)
    return plain


def atomic_volume(symbol: str) -> float:
    """Å³/atom of the element's crystal, or of close-packed spheres of its covalent radius where ASE tabulates none."""
    number = atomic_numbers[symbol]
    state: dict[str, Any] = reference_states[number] or {}
    a = state.get("a")
    kind = state.get("symmetry")
    if a is not None and kind in ("bcc", "fcc", "diamond", "sc"):
        return float(a**3 / {"bcc": 2, "fcc": 4, "diamond": 8, "sc": 1}[kind])
    if a is not None and kind == "hcp":
        return float(a**3 * state["c/a"] * np.sqrt(3) / 4)
    return float(4 * np.sqrt(2) * covalent_radii[number] ** 3)


def structure(name: str, element: str, *, cubic: bool = False) -> tuple[str, Atoms]:
    """What a command line calls a structure: a prototype, ``prototype:symbols``, or a file.

    Returns
    -------
    tuple of (str, Atoms)
        A short name and the structure, the last one of a file.
    """
    head, _, symbols = name.partition(":")
    if head in PROTOTYPES:
        return name, prototype(head, symbols or element, cubic=cubic)
    path = Path(name)
    if not path.is_file():
        raise MliuqError(f"structure {name!r} is neither a file nor one of {' '.join(PROTOTYPES)}")
    atoms = read_structures(path)[-1]
    return path.stem, Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def composition(atoms: Atoms) -> str:
    """Reduced formula, the same for any number of formula units."""
    return str(Formula.from_list(sorted(atoms.get_chemical_symbols())).reduce()[0])
