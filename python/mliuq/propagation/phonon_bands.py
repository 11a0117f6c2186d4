"""Phonon bands and densities of states, by phonopy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from mliuq.errors import MliuqError, in_range
from mliuq.propagation.property import Found, ObjectProperty, describe_atoms
from mliuq.propagation.relax import relax
from mliuq.propagation.results import Line, Value
from mliuq.propagation.settings import PropagationSettings

Array = NDArray[np.float64]

IMAGINARY = -0.05  # THz: below it a frequency is imaginary, above it rounding at Γ
SMEARING = 0.1  # THz, of the density of states


@dataclass(frozen=True, eq=False)
class Phonons(ObjectProperty):
    """Bands along the Brillouin zone's path, density of states, and imaginary modes.

    Attributes
    ----------
    structures : name → primitive cell, relaxed by every member
    size : the supercell is size × size × size cells
    displacement : of the atoms, Å
    points : along the whole path
    mesh : of the density of states, mesh × mesh × mesh
    """

    structures: Mapping[str, Atoms]
    size: int = 4
    displacement: float = 0.01
    points: int = 120
    mesh: int = 9
    name: str = "phonons"

    def __post_init__(self) -> None:
        in_range("size", self.size, 1, 20)
        in_range("displacement", self.displacement, 1e-5, 0.5)
        in_range("points", self.points, 2, np.inf)
        in_range("mesh", self.mesh, 1, 200)

    def objects(self) -> Sequence[str]:
        """The structures."""
        return list(self.structures)

    def describe(self) -> dict[str, Any]:
        """Settings as plain data."""
        return {
            "structures": {name: describe_atoms(atoms) for name, atoms in self.structures.items()},
            "size": self.size,
            "displacement": self.displacement,
            "points": self.points,
            "mesh": self.mesh,
        }

    def one(self, name: str, calculator: Calculator, settings: PropagationSettings, before: Any) -> Found:
        """Bands of one structure by one weight vector."""
        at = relax(self.structures[name], calculator, settings, cell="free", start=before[0] if before else None)
        if before is None:
            path = at.atoms.cell.bandpath(npoints=self.points)
            x, ticks, labels = path.get_linear_kpoint_axis()
            marks: dict[str, float] = {}
            for position, label in zip(ticks, labels, strict=True):
                name_here = label.replace("G", "Γ")
                if marks and position == list(marks.values())[-1]:  # the path jumps from one point to another
                    before_jump = marks.popitem()[0].strip()
                    name_here = f"{before_jump}|{name_here}"
                marks[_unused(name_here, marks)] = float(position)
            grid = (path.kpts, np.asarray(x), marks, path.special_points)
        else:
            grid = before[1]
        kpts, x, marks, special = grid
        phonon = force_constants(at.atoms, calculator, self.size, self.displacement)
        bands = _frequencies(phonon, kpts)
        phonon.run_mesh([self.mesh] * 3, is_gamma_center=True)
        table = np.asarray(phonon.mesh.frequencies)
        weights = np.repeat(phonon.mesh.weights, table.shape[1]) / np.sum(phonon.mesh.weights)
        modes = table.ravel()
        axis = np.linspace(-2.0, 2.0 * modes.max(), 301) if before is None else before[2]
        values = {"highest frequency": Value(float(modes.max()), "THz", kind="force")}
        for label, q in special.items():
            if label != "G":
                for k, f in enumerate(_frequencies(phonon, [q])[0]):
                    values[f"{label} {k + 1}"] = Value(float(f), "THz", kind="force")
        share = float(weights[modes < IMAGINARY].sum() / weights.sum())
        values["share of imaginary modes"] = Value(share, "", kind="force")
        lines = {
            "bands": Line(x, bands, "wave vector (1/Å)", "frequency (THz)", marks),
            "density of states": Line(axis, _smeared(modes, weights, axis), "frequency (THz)", "states/THz/atom"),
        }
        return Found(values, (at, grid, axis), lines)

    def compare(self, estimates: Sequence[Any]) -> dict[str, Any]:
        """How many members have imaginary modes."""
        shares = {e.object: e.members for e in estimates if e.quantity == "share of imaginary modes"}
        return {
            **super().compare(estimates),
            "imaginary": {name: int(np.sum(values > 0)) for name, values in shares.items()},
        }


def force_constants(atoms: Atoms, calculator: Calculator, size: int, displacement: float) -> Any:
    """A Phonopy object with symmetrised force constants of supercells."""
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError as error:
        raise MliuqError("phonons need phonopy: pip install 'mliuq[phonons]'") from error
    unit = PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(), cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions()
    )
    phonon = Phonopy(unit, supercell_matrix=np.eye(3, dtype=int) * size, primitive_matrix=np.eye(3))
    phonon.generate_displacements(distance=displacement)
    forces = []
    for cell in phonon.supercells_with_displacements or []:
        moved = Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True)
        moved.calc = calculator
        forces.append(moved.get_forces())
    phonon.forces = forces
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    return phonon


def _frequencies(phonon: Any, q: Any) -> Array:
    phonon.run_qpoints(np.asarray(q))
    return np.asarray(phonon.qpoints.frequencies)


def _smeared(modes: Array, weights: Array, axis: Array) -> Array:
    """Density of states per atom: every mode a Gaussian, three of them in all."""
    table = np.exp(-0.5 * ((axis[:, None] - modes) / SMEARING) ** 2) / (SMEARING * np.sqrt(2 * np.pi))
    return np.asarray(3 * table @ weights / weights.sum())


def _unused(label: str, known: Mapping[str, float]) -> str:
    """A path may pass a point twice; its marks are told apart by spaces, which do not show."""
    while label in known:
        label += " "
    return label
