"""Energy along deformation paths: Bain, trigonal, orthorhombic, hexagonal, and between any two structures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from mliuq.errors import MliuqError, in_range
from mliuq.propagation.coordinates import deformed
from mliuq.propagation.property import Found, ObjectProperty, describe_atoms
from mliuq.propagation.prototypes import prototype
from mliuq.propagation.relax import relax
from mliuq.propagation.results import Line, Noise, Value
from mliuq.propagation.settings import PropagationSettings

Array = NDArray[np.float64]


def _tetragonal(a: float, symbol: str, p: float) -> Atoms:
    """c/a = p: bcc at 1, fcc at √2."""
    cubic = bulk(symbol, "bcc", a=a, cubic=True)
    return deformed(cubic, np.diag([p ** (-1 / 3), p ** (-1 / 3), p ** (2 / 3)]))


def _trigonal(a: float, symbol: str, p: float) -> Atoms:
    """Stretch along [111] by p at constant volume: bcc at 1, sc at 2, fcc at 4."""
    n = np.full(3, 1 / np.sqrt(3))
    across = p ** (-1 / 3)
    return deformed(bulk(symbol, "bcc", a=a), across * np.eye(3) + (p ** (2 / 3) - across) * np.outer(n, n))


def _orthorhombic(a: float, symbol: str, p: float) -> Atoms:
    """Stretch along [001] by p, along [110] by 1/p: bcc at 1 and, turned, at √2."""
    n = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
    z = np.array([0.0, 0.0, 1.0])
    gradient = np.eye(3) + (p - 1) * np.outer(z, z) + (1 / p - 1) * np.outer(n, n)
    return deformed(bulk(symbol, "bcc", a=a), gradient)


def _hexagonal(a: float, symbol: str, p: float) -> Atoms:
    """(110) planes of bcc (p = 0) sheared and shuffled into the basal planes of ideal hcp (p = 1)."""
    ratios = (1 - p) * np.array([1.0, np.sqrt(2), np.sqrt(2)]) + p * np.array([1.0, np.sqrt(3), np.sqrt(8 / 3)])
    lengths = ratios * np.cbrt(2 * a**3 / np.prod(ratios))
    shift = 0.5 - p / 6
    fractional = [(0, 0, 0), (0.5, 0.5, 0), (0, shift, 0.5), (0.5, shift + 0.5, 0.5)]
    return Atoms(symbol * 4, scaled_positions=fractional, cell=np.diag(lengths), pbc=True)


#: name → (structure at path coordinate p from a and symbol, first p, last p, what p is)
PATHS: dict[str, tuple[Callable[[float, str, float], Atoms], float, float, str]] = {
    "bain": (_tetragonal, 0.8, 1.8, "c/a"),
    "trigonal": (_trigonal, 0.8, 5.0, "stretch along [111]"),
    "orthorhombic": (_orthorhombic, 1.0, np.sqrt(2), "stretch along [001]"),
    "hexagonal": (_hexagonal, 0.0, 1.0, "share of the way to hcp"),
}


@dataclass(frozen=True, eq=False)
class Path(ObjectProperty):
    """Energy per atom along paths, counted from each member's own relaxed start.

    Attributes
    ----------
    paths : some of `PATHS`, for ``element``
    between : name → (first, last), structures of the same atoms in the same order; cell vectors and fractional
        coordinates (nearest images) go straight from each member's own relaxed first to its own relaxed last
    element : of the named paths
    points : of each path
    """

    paths: Sequence[str] = ()
    between: Mapping[str, tuple[Atoms, Atoms]] | None = None
    element: str = ""
    points: int = 41
    name: str = "path"

    def __post_init__(self) -> None:
        in_range("points", self.points, 3, np.inf)
        if not self.paths and not self.between:
            raise MliuqError(f"path: nothing to compute, expected some of {', '.join(PATHS)} or two structures")
        for name in self.paths:
            if name not in PATHS:
                raise MliuqError(f"path is {name!r}, expected one of {', '.join(PATHS)}")
        if self.paths and not self.element:
            raise MliuqError("path: element is missing")
        for name, (first, last) in (self.between or {}).items():
            if not np.array_equal(first.numbers, last.numbers):
                raise MliuqError(
                    f"path {name}: {first.symbols} and {last.symbols}, expected the same atoms in the same order"
                )

    def describe(self) -> dict[str, Any]:
        """Settings as plain data."""
        between = {k: [describe_atoms(a) for a in pair] for k, pair in (self.between or {}).items()}
        return {"paths": list(self.paths), "between": between, "element": self.element, "points": self.points}

    def objects(self) -> list[str]:
        """The paths."""
        return [*self.paths, *(self.between or {})]

    def one(self, name: str, calculator: Calculator, settings: PropagationSettings, before: Any) -> Found:
        """One path by one weight vector."""
        known = before or [None] * len(self._ends(name))
        ends = [
            relax(atoms, calculator, settings, cell="free", start=start)
            for atoms, start in zip(self._ends(name), known, strict=True)
        ]
        grid, structures = self._along(name, [end.atoms for end in ends])
        energies = []
        for atoms in structures:
            atoms.calc = calculator
            energies.append(atoms.get_potential_energy() / len(atoms))
        height = np.array(energies) - ends[0].energy / len(ends[0].atoms)
        label = PATHS[name][3] if name in PATHS else "share of the way"
        noise = Noise(energy=np.sqrt(2.0))
        values = {
            "highest energy": Value(float(height.max()), "eV/atom", noise),
            "energy at the end": Value(float(height[-1]), "eV/atom", noise),
        }
        return Found(values, ends, {"": Line(grid, height, label, "energy (eV/atom)")})

    def _ends(self, name: str) -> Sequence[Atoms]:
        if name in PATHS:
            return (prototype("bcc", self.element),)
        assert self.between is not None
        return self.between[name]

    def _along(self, name: str, ends: Sequence[Atoms]) -> tuple[Array, list[Atoms]]:
        if name in PATHS:
            make, low, high, _ = PATHS[name]
            a = np.cbrt(2 * ends[0].get_volume() / len(ends[0]))
            grid = np.linspace(low, high, self.points)
            return grid, [make(float(a), self.element, float(p)) for p in grid]
        first, last = ends
        move = last.get_scaled_positions(wrap=False) - first.get_scaled_positions(wrap=False)
        move -= np.round(move) * first.pbc
        grid = np.linspace(0.0, 1.0, self.points)
        structures = []
        for p in grid:
            atoms = first.copy()
            atoms.set_cell((1 - p) * first.cell.array + p * last.cell.array)
            atoms.set_scaled_positions(first.get_scaled_positions(wrap=False) + p * move)
            structures.append(atoms)
        return grid, structures
