"""Linear combinations of the energies of several structures, with the error that remains in the combination.

ΔE = Σ_i c_i E_i is linear in the weights, so its spread follows from the members' own combinations: errors that the
structures share cancel in every member before the spread is taken.

    std² = ⟨(ΔE_m − ΔE)²⟩_m     about the best fit      min, max: extremes of ΔE_m
    err² = (α std)² + Σ_i (c_i N_i σ_E)²                 α, σ_E: calibration and noise floor of energies per atom

The noise of the reference (convergence, smearing) is another draw in every cell: floors add in squares, they do not
cancel. Structures that are identical (same elements, positions, cell) are one: their coefficients are added first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mliuq.descriptor.identity import identical
from mliuq.descriptor.neighbours import pack, refuse_unknown_elements
from mliuq.errors import MliuqError
from mliuq.model import Model

Array = NDArray[np.float64]
Coefficient = float | Fraction


@dataclass(frozen=True)
class Comparison:
    """A combination ΔE = Σ c_i E_i of energies and how far to trust it; M members, n structures, references last.

    Attributes
    ----------
    energy : float
        ΔE by the best fit, eV (eV/atom where the coefficients say so).
    energy_std, energy_min, energy_max : float
        Root second moment of the members' ΔE about the best fit, uncalibrated; their extremes.
    energy_err : float
        Predicted error of ΔE: calibrated spread and noise floor.
    energy_comm : ndarray of shape (M,)
        ΔE by every member.
    noise : float
        The part of `energy_err` that is noise of the reference.
    independent_err : float
        What the error would be if the structures' errors had nothing in common; for comparison only.
    coefficients : tuple of float
        c_i, those found for the references included.
    energies, energies_err : ndarray of shape (n,)
        Energy of each structure and its own predicted error, eV.
    """

    energy: float
    energy_std: float
    energy_min: float
    energy_max: float
    energy_err: float
    energy_comm: Array
    noise: float
    independent_err: float
    coefficients: tuple[float, ...]
    energies: Array
    energies_err: Array


def compare(
    *structures: Atoms,
    coefficients: Sequence[Coefficient] | None = None,
    reference: Atoms | Sequence[Atoms] | None = None,
    per_atom: bool = False,
    model: Model | None = None,
    threads: int | None = None,
) -> Comparison:
    """Combine the energies of structures linearly, errors that they share cancelled.

    Parameters
    ----------
    *structures : Atoms
        At least one.
    coefficients : sequence of float or Fraction, optional
        One for each structure. Default: 1 for one structure, (1, −1) for two: E(a) − E(b).
    reference : Atoms or sequence of Atoms, optional
        Phases that the atoms of the structures are taken from or given to, such as the perfect crystal, or one phase
        for each element: they enter with the coefficients at which every element balances, Σ c_i n_i(element) = 0.
    per_atom : bool
        Divide the coefficient of each structure by its number of atoms (before references balance them).
    model : Model, optional
        Default: that of the structures' `MLIUQCalculator`.
    threads : int, optional
        OpenMP threads.

    Returns
    -------
    Comparison

    Raises
    ------
    MliuqError
        For no model, one without members or one fitted to what a reference potential left, coefficients that do not
        fit the structures, references that cannot balance them or do so in more than one way, and structures that the
        model cannot evaluate.
    """
    if not structures:
        raise MliuqError("nothing to compare, expected at least one structure")
    references = [reference] if isinstance(reference, Atoms) else list(reference or ())
    everything = [*structures, *references]
    model = _model_of(everything) if model is None else model
    if not model.n_members:
        raise MliuqError("the model has no members: energies cannot be compared with an error (fit with members)")
    if model.reference:
        raise MliuqError(
            f"the fit took the reference potential {model.reference!r} off its data: the model's energies are a part "
            "of the whole, and are not compared without the rest"
        )
    for i, atoms in enumerate(everything):
        with _named(i, everything):
            refuse_unknown_elements(atoms)
    given = _checked(coefficients, len(structures))
    if per_atom:
        given = given / [max(len(atoms), 1) for atoms in structures]
    c = np.concatenate([given, _balance(structures, given, references)])

    potential = model.potential()
    energies = np.empty(len(everything))
    comm = np.empty((len(everything), model.n_members))
    own_err = np.empty(len(everything))
    for i, atoms in enumerate(everything):
        with _named(i, everything):
            structure = pack(atoms, model.params, potential.cutoff)
        found = potential.evaluate(
            structure, forces=False, virial=False, spreads=True, committee=True, threads=threads or 0
        )
        energies[i], comm[i], own_err[i] = found["energy"], found["energy_comm"], found["energy_err"]

    scale = model.error_scale
    c_once = _merged(everything, c)
    with np.errstate(over="ignore", invalid="ignore"):
        energy, members = float(c_once @ energies), c_once @ comm
        std = float(np.sqrt(np.mean(np.square(members - energy))))
        noise = float(np.linalg.norm(c_once * [len(atoms) for atoms in everything])) * scale.noise_energy
    if not (np.isfinite(members).all() and np.isfinite([energy, std, noise]).all()):
        raise MliuqError(
            f"the combination is not a finite number: coefficients are {c.tolist()!s:.200}, energies in eV are "
            f"{energies.tolist()!s:.200}"
        )
    return Comparison(
        energy=energy,
        energy_std=std,
        energy_min=float(members.min()),
        energy_max=float(members.max()),
        energy_err=float(np.hypot(scale.alpha_energy * std, noise)),
        energy_comm=members,
        noise=noise,
        independent_err=float(np.linalg.norm(c_once * own_err)),
        coefficients=tuple(map(float, c)),
        energies=energies,
        energies_err=own_err,
    )


def _model_of(structures: Sequence[Atoms]) -> Model:
    """The model of the structures' calculators; those that have one must have the same."""
    models = [found for atoms in structures if isinstance(found := getattr(atoms.calc, "model", None), Model)]
    if not models:
        raise MliuqError("no model to compare by: give model=, or a structure with an MLIUQCalculator")
    first = models[0]
    for other in models[1:]:
        same = other is first or (
            other.params == first.params
            and np.array_equal(other.theta, first.theta)
            and (other.members is first.members or _equal(other.members, first.members))
        )
        if not same:
            raise MliuqError("the structures' calculators have different models: give the one to compare by as model=")
    return first


def _equal(a: Array | None, b: Array | None) -> bool:
    return a is not None and b is not None and np.array_equal(a, b)


def _checked(coefficients: Sequence[Coefficient] | None, n: int) -> Array:
    if coefficients is None:
        if n > 2:
            raise MliuqError(f"coefficients are missing, expected {n}, one for each structure")
        return np.array([1.0, -1.0][:n])
    try:
        values = np.array([float(c) for c in coefficients])
    except OverflowError:  # of a fraction
        raise MliuqError(f"coefficients are {coefficients!s:.200}, expected finite numbers") from None
    if len(values) != n:
        raise MliuqError(f"{len(values)} coefficients, expected {n}, one for each structure (references find theirs)")
    if not np.all(np.isfinite(values)):
        raise MliuqError(f"coefficients are {values.tolist()}, expected finite numbers")
    return values


@contextmanager
def _named(i: int, structures: Sequence[Atoms]) -> Iterator[None]:
    """Say of which structure an error is."""
    try:
        yield
    except MliuqError as error:
        raise MliuqError(f"structure {i + 1} of {len(structures)}: {error}") from error


def _balance(structures: Sequence[Atoms], given: Array, references: Sequence[Atoms]) -> Array:
    """Coefficients of the references at which every element balances, shape (number of references,)."""
    if not references:
        return np.empty(0)
    everything = [*structures, *references]
    elements = sorted({symbol for atoms in everything for symbol in atoms.get_chemical_symbols()})
    counts = np.array([[atoms.get_chemical_symbols().count(e) for atoms in everything] for e in elements], dtype=float)
    sums, phases = counts[:, : len(structures)] @ given, counts[:, len(structures) :]
    found, _, rank, _ = np.linalg.lstsq(phases, -sums, rcond=None)
    if rank < len(references):
        formulas = ", ".join(atoms.get_chemical_formula() for atoms in references)
        raise MliuqError(f"the references {formulas} balance the structures in more than one way: leave some out")
    left = sums + phases @ found
    worst = int(np.abs(left).argmax())
    if abs(left[worst]) > 1e-9 * max(float(np.abs(counts[:, : len(structures)] @ np.abs(given)).max()), 1e-300):
        formulas = ", ".join(atoms.get_chemical_formula() for atoms in references)
        raise MliuqError(f"the references {formulas} do not balance {elements[worst]}: {left[worst]:.6g} atoms remain")
    return np.asarray(found)


def _merged(structures: Sequence[Atoms], c: Array) -> Array:
    """Coefficients with those of identical structures added up in the first of them."""
    merged = c.copy()
    for i, atoms in enumerate(structures):
        for j, earlier in enumerate(structures[:i]):
            if atoms is earlier or identical(atoms, earlier):
                merged[j] += merged[i]
                merged[i] = 0.0
                break
    merged[np.abs(merged) < 1e-12 * np.abs(c).max()] = 0.0  # what rounding leaves of coefficients found by balance
    return merged
