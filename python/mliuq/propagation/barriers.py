"""Barriers: minimum energy paths, each member's own, by ASE's NEB; the vacancy hop."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic
from ase.mep import NEB
from ase.optimize.ode import ode12r
from ase.optimize.sciopt import OptimizerConvergenceError
from numpy.typing import NDArray

from mliuq.errors import MliuqError, in_range
from mliuq.propagation.calculator import WeightsCalculator
from mliuq.propagation.continuation import Curvature
from mliuq.propagation.coordinates import hessian
from mliuq.propagation.implicit import DENSE_ATOMS, FLAT, respond
from mliuq.propagation.property import Found, ObjectProperty, describe_atoms
from mliuq.propagation.relax import RelaxationError, Relaxed, relax
from mliuq.propagation.results import Line, Noise, Value
from mliuq.propagation.settings import PropagationSettings
from mliuq.propagation.symmetry import KeepsSymmetry, Symmetry, symmetry_of

PATH_TO_TOP = 5.0  # fmax of the path, in units of that of its highest image


@dataclass(frozen=True, eq=False)
class Barrier(ObjectProperty):
    """Energy along a minimum energy path, whose highest image climbs.

    Attributes
    ----------
    initial, final : ends of the path, the same atoms in the same order and one cell; relaxed at that cell by every
        member
    host : crystal whose relaxed lattice the cell follows, size³ of its cells (None: the cell is as given)
    size : see `vacancy_hop`
    images : between the ends
    fmax : of the highest image, eV/Å; the path about it is relaxed to five times that
    """

    initial: Atoms
    final: Atoms
    host: Atoms | None = None
    size: int = 1
    images: int = 5
    fmax: float = 0.01
    name: str = "neb"

    def __post_init__(self) -> None:
        in_range("images", self.images, 1, 99)
        in_range("neb fmax", self.fmax, 1e-6, 1.0)
        if not np.array_equal(self.initial.numbers, self.final.numbers):
            raise MliuqError("neb: the ends differ in their atoms, expected the same atoms in the same order")
        if not np.allclose(self.initial.cell.array, self.final.cell.array):
            raise MliuqError("neb: the ends differ in their cells, expected one cell")

    def objects(self) -> tuple[str, ...]:
        """The one path."""
        return ("path",)

    def describe(self) -> dict[str, Any]:
        """Settings as plain data."""
        return {
            "initial": describe_atoms(self.initial),
            "final": describe_atoms(self.final),
            "host": None if self.host is None else describe_atoms(self.host),
            "size": self.size,
            "images": self.images,
            "neb_fmax": self.fmax,
        }

    def one(self, name: str, calculator: Calculator, settings: PropagationSettings, before: Any) -> Found:
        """The path by one weight vector.

        A member whose path does not converge between the structures that the best fit's become is tried once more
        between those that it relaxes to from the best fit's.
        """
        try:
            return self._path(calculator, settings, before)
        except RelaxationError:
            if before is None:
                raise
        crystal, ends, images, _, symmetry = before
        plain = [replace(end, curvature=None) for end in ends]
        lattice = None if crystal is None else replace(crystal, curvature=None)
        return self._path(calculator, settings, (lattice, plain, images, None, symmetry))

    def _path(self, calculator: Calculator, settings: PropagationSettings, before: Any) -> Found:
        crystal = None
        initial, final = self.initial, self.final
        if self.host is not None:
            crystal = relax(self.host, calculator, settings, cell="free", start=before[0] if before else None)
            cell = crystal.atoms.cell.array * self.size
            initial, final = (_on(atoms, cell) for atoms in (initial, final))
        if before is None:
            ends = [relax(atoms, calculator, settings) for atoms in (initial, final)]
            images = [ends[0].atoms, *(ends[0].atoms.copy() for _ in range(self.images)), ends[1].atoms]
            NEB(images, method="improvedtangent").interpolate(mic=True)
            symmetry = _of_path(images[0], images[-1])
        else:
            _, ends_before, images_before, saddle_before, symmetry = before
            fresh = [_on(atoms, initial.cell.array) for atoms in images_before]
            ends = [
                relax(guess, calculator, settings, start=end, guess=guess)
                for guess, end in zip((fresh[0], fresh[-1]), ends_before, strict=True)
            ]
            if saddle_before is not None:
                energy = _of_member(saddle_before, initial.cell.array, calculator, settings)
                if energy is not None:
                    return Found(_values([ends[0].energy, energy, ends[1].energy], len(initial)), None, {})
            images = [ends[0].atoms, *fresh[1:-1], ends[1].atoms]
        energies = _converge(images, calculator, self.fmax, settings.steps, symmetry)
        k = int(np.argmax(energies))
        saddle = None
        if before is None and settings.engine == "implicit":
            saddle = _saddle(images[k], calculator, symmetry)
            energies[k] = saddle.at.energy
        kept = [_bare(atoms, e) for atoms, e in zip(images, energies, strict=True)]
        x = np.linspace(0.0, 1.0, len(images))
        line = Line(x, energies - energies[0], "reaction coordinate", "energy (eV)")
        return Found(_values(energies, len(initial)), (crystal, ends, kept, saddle, symmetry), {"": line})


def vacancy_hop(crystal: Atoms, size: int) -> tuple[Atoms, Atoms]:
    """Ends of the hop of a vacancy to a nearest neighbour, in a supercell of size³ cells."""
    cell = crystal.repeat(size)
    distances = cell.get_distances(0, range(len(cell)), mic=True)
    distances[0] = np.inf
    mover = int(np.argmin(distances))
    vector = cell.get_distance(mover, 0, mic=True, vector=True)
    final = cell.copy()
    final.positions[mover] += vector
    del cell[0], final[0]
    return cell, final


def _on(atoms: Atoms, cell: Any) -> Atoms:
    """The structure in another cell, fractional coordinates kept."""
    copy: Atoms = atoms.copy()
    copy.set_cell(cell, scale_atoms=True)
    return copy


def _bare(atoms: Atoms, energy: float) -> Atoms:
    copy: Atoms = atoms.copy()
    copy.info["energy"] = float(energy)
    return copy


def _of_path(first: Atoms, last: Atoms) -> Symmetry | None:
    """The symmetry that all of a straight path has: that of a point of it, if it leaves the path's direction alone."""
    moves, _ = find_mic(last.positions - first.positions, first.cell, first.pbc)
    between = first.copy()
    between.positions += 0.37 * moves
    symmetry = symmetry_of(between)
    return symmetry if symmetry is not None and symmetry.holds(first, between) else None


def _values(energies: Any, n: int) -> dict[str, Value]:
    noise = Noise(energy=np.sqrt(2.0) * n)
    return {
        "barrier": Value(float(max(energies) - energies[0]), "eV", noise),
        "reverse barrier": Value(float(max(energies) - energies[-1]), "eV", noise),
    }


def _converge(
    images: list[Atoms], calculator: Calculator, fmax: float, steps: int, symmetry: Symmetry | None = None
) -> Any:
    """Relax the path, then let its highest image climb between its neighbours; return the energies.

    Were all images to move while one climbs, or for long, they would slide down paths that have minima of their own.
    """
    images[0], images[-1] = images[0].copy(), images[-1].copy()
    for atoms in images:
        atoms.calc = calculator
        if symmetry is not None:
            atoms.set_constraint(KeepsSymmetry(symmetry))
    reached = _descend(images, PATH_TO_TOP * fmax, steps)
    top = int(np.argmax([atoms.get_potential_energy() for atoms in images]))
    has_saddle = 0 < top < len(images) - 1
    if reached and has_saddle:
        reached = _descend(images[top - 1 : top + 2], fmax, steps, climb=True)
    energies = np.array([atoms.get_potential_energy() for atoms in images])
    for atoms in images:
        atoms.calc = None
        if symmetry is not None:
            atoms.set_constraint()
    if not reached:
        raise RelaxationError(f"not converged: the path after {steps} steps")
    if not has_saddle:
        raise RelaxationError("left the basin: the path has no saddle point")
    return energies


def _descend(images: list[Atoms], fmax: float, steps: int, *, climb: bool = False) -> bool:
    """Whether the images between the ends converge by ASE's adaptive integrator of their motion.

    Forces of a path have no energy, which minimisers built on one (BFGS) take amiss. (S. Makri, C. Ortner, J. R.
    Kermode, J. Chem. Phys. 150, 094109 (2019).)  ASE's own NEBOptimizer overlooks the climbing image and the last step.
    """
    neb = NEB(images, climb=climb, method="improvedtangent", allow_shared_calculator=True)

    def forces(places: NDArray[np.float64]) -> NDArray[np.float64]:
        neb.set_positions(places.reshape(-1, 3))
        return np.ravel(neb.get_forces())

    def largest(found: NDArray[np.float64], places: NDArray[np.float64]) -> float:
        return float(np.linalg.norm(found.reshape(-1, 3), axis=1).max())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            start = np.ravel(neb.get_positions())
            options = {"rtol": 0.1, "C1": 1e-2, "C2": 2.0, "verbose": 0}  # those of ASE's paths
            found = ode12r(forces, start, fmax=fmax, steps=steps, residual=largest, **options)
        except OptimizerConvergenceError:
            return False
    return found is not None


@dataclass(frozen=True, eq=False)
class Saddle:
    """The best fit's saddle point, and the unit displacement (N, 3) downhill on both sides."""

    at: Relaxed
    way: NDArray[np.float64]


def _saddle(atoms: Atoms, calculator: Calculator, symmetry: Symmetry | None) -> Saddle:
    """The saddle point next to the climbing image, by Newton's method, and how it follows the weights.

    Members keep its own symmetry, which may be more than the path's: then the way over it is odd and drops out.
    """
    at = atoms.copy()
    at.calc = calculator
    if len(at) > DENSE_ATOMS:
        raise MliuqError(f"implicit: a saddle point of {len(at)} atoms, expected at most {DENSE_ATOMS}")
    kept = np.eye(3 * len(at)) if symmetry is None else symmetry.displacements
    H = hessian(at, "fixed", directions=kept)
    omega, axes = np.linalg.eigh(H)
    stiff = np.abs(omega) > FLAT
    basis = (kept @ axes)[:, stiff]
    for _ in range(20):
        pull = basis.T @ at.get_forces().ravel()
        if np.abs(pull).max() < 1e-6:
            break
        at.positions += (basis @ (pull / omega[stiff])).reshape(-1, 3)
    assert isinstance(calculator, WeightsCalculator)
    assert calculator.members is not None
    own = symmetry_of(at)
    full = None if symmetry is not None else H
    response = respond(at, calculator, calculator.members, hessian=None if own else full, symmetry=own)
    curvature = Curvature(calculator.model.theta, response.basis, response.softness)
    energy = float(at.get_potential_energy())
    at.calc = None
    return Saddle(Relaxed(at, energy, None, response, None, own, curvature), basis[:, 0].reshape(-1, 3))


def _of_member(saddle: Saddle, cell: Any, calculator: Calculator, settings: PropagationSettings) -> float | None:
    """Energy of the saddle point that the best fit's has become; None where it is none any more, or has ended."""
    top = _on(saddle.at.atoms, cell)
    try:
        found = relax(top, calculator, settings, start=saddle.at, guess=top)
    except RelaxationError:
        return None
    if not settings.corrections:
        return found.energy
    slopes = []
    for step in (1e-3, -1e-3):
        near = found.atoms.copy()
        near.positions += step * saddle.way
        near.calc = calculator
        slopes.append(float(np.sum(near.get_forces() * saddle.way)))
    return found.energy if slopes[0] > slopes[1] else None
