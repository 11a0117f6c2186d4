"""A small periodic cell around one atom of a structure too large to label.

1. Kept: everything within the cutoff of the atom, as it is; its descriptor, and so its energy in the model, stay.
2. A cell is chosen in which the kept sphere does not meet its images (`mliuq.learning.surroundings`), and filled from
   the structure from within outwards; what would come closer to another atom than 3/4 of the usual distance is left
   out.
3. The rest is relaxed by the model, the kept atoms fixed and the sphere closed by a soft wall; in further trials it is
   rattled before, or another cell is taken.
4. The cell is good when the largest predicted force error of the rest is below `save`: then the label says of nothing
   but the kept atoms what the model did not know.

What is not kept: density and composition (ions: charge), what lies beyond the cutoff (the force on the atom itself
depends on it), temperature of the rest.  Kept atoms near the edge of the sphere see other neighbours than before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.optimize import FIRE
from scipy.spatial import cKDTree

from mliuq.ase.calculator import MLIUQCalculator
from mliuq.errors import MliuqError
from mliuq.learning.surroundings import Surroundings
from mliuq.model import Model
from mliuq.regression.rows import Floats, Ints

_CLOSE = 0.75  # of the usual distance of nearest neighbours, below which atoms of the rest are left out
_WALL = 50.0  # eV/Å², stiffness of the wall around the sphere
_MARGIN = 0.2  # Å, from the sphere to where the wall begins: an atom enters under 10 eV/Å
_CALM = 0.1  # eV/Å, force at which a relaxation ends


def carve(
    atoms: Atoms,
    centre: int,
    model: Model,
    *,
    save: float,
    keep: float | None = None,
    trials: int = 6,
    steps: int = 100,
    rattle: float = 0.1,
    seed: int = 0,
    threads: int | None = None,
) -> Atoms:
    """Carve a small periodic cell around an atom.

    Parameters
    ----------
    atoms : the structure, periodic or not
    centre : the atom, from 0
    model : relaxes the rest and judges it; it needs members
    save : eV/Å, bound on the predicted force error (root of the sum of squares of the components) of every atom that is
        not kept
    keep : Å, everything so near is kept; the cutoff of the model by default, which is also the least
    trials : relaxations tried, half of them in the best cell
    steps : of a relaxation
    rattle : Å, standard deviation of the displacements before the second and later relaxations in a cell
    seed : of those
    threads : OpenMP threads

    Returns
    -------
    Atoms
        The centre first, then the other kept atoms, then the rest; ``arrays["carve_kept"]`` is 1 for kept atoms,
        ``info`` has ``carve_rest_err`` and ``carve_kept_err``, the largest predicted force error of the rest and of the
        kept atoms, eV/Å.

    Raises
    ------
    MliuqError
        where no trial gives a cell whose rest is below `save`, or the cell would hold as many atoms as the structure.
    """
    reach = model.evaluator.cutoff
    keep = reach if keep is None else keep
    _check(atoms, centre, model, save, keep, reach, trials, steps, rattle)
    near = Surroundings.of(atoms, centre, 1.0 + reach)
    length = 2.0 * keep + near.spacing
    around = Surroundings.of(atoms, centre, 1.5 * length)
    rng = np.random.default_rng(seed)
    calculator = MLIUQCalculator(model, threads=threads)
    best: Atoms | None = None
    sizes: list[int] = []
    cells = around.cells(length, 1 + trials // 2)
    for trial in range(trials):
        start = _filled(around, cells[max(0, trial - (trials - len(cells)))], keep)
        sizes.append(len(start))
        if len(start) >= len(atoms):
            continue
        if trial:
            free = start.arrays["carve_kept"] == 0
            start.positions[free] += rng.normal(scale=rattle, size=(int(free.sum()), 3))
        carved = _judged(_relaxed(start, keep, calculator, steps), keep, calculator)
        if carved is not None and (best is None or carved.info["carve_rest_err"] < best.info["carve_rest_err"]):
            best = carved
            if best.info["carve_rest_err"] < save:
                return best
    if min(sizes) >= len(atoms):
        raise MliuqError(
            f"a cell around atom {centre} takes {min(sizes)} atoms, the structure has {len(atoms)}: expected one large "
            "enough to carve from; label it as it is"
        )
    found = (
        "other atoms enter what is kept"
        if best is None
        else f"forces on the rest are known to ± {best.info['carve_rest_err']:.3g} eV/Å"
    )
    raise MliuqError(
        f"around atom {centre}: {found} in the best of {trials} trials, expected below save = {save:g} eV/Å: more "
        "trials, or label the structure as it is"
    )


def _filled(around: Surroundings, cell: Floats, keep: float) -> Atoms:
    """Fill a cell from the centre outwards; atoms a little outside it are given a place, too, where there is one."""
    positions, numbers = around.positions, around.numbers
    inverse = np.linalg.inv(cell)
    fraction = positions @ inverse
    kept = np.linalg.norm(positions, axis=1) <= keep
    margin = 0.5 * around.spacing * np.linalg.norm(inverse, axis=0)
    depth = np.max(np.abs(fraction) - 0.5 - margin, axis=1)
    inside = np.flatnonzero(kept | (depth < 0.0))
    order = inside[np.lexsort((np.max(np.abs(fraction), axis=1)[inside], ~kept[inside]))]
    wrapped = (fraction + 0.5) % 1.0 - 0.5
    shifts = np.array(list(np.ndindex(3, 3, 3))) - 1
    closest = _closest(around)
    chosen: list[int] = []
    taken = np.zeros((0, 3))
    for index in order.tolist():
        if not kept[index] and len(chosen):
            images = (taken[:, None] - wrapped[index] + shifts).reshape(-1, 3) @ cell
            distance = np.linalg.norm(images, axis=1).reshape(len(chosen), -1).min(axis=1)
            limits = [closest[frozenset((int(numbers[index]), int(numbers[k])))] for k in chosen]
            if np.any(distance < limits):
                continue
        chosen.append(index)
        taken = np.vstack([taken, wrapped[index]])
    # Kept atoms stay where they are to the last bit: nothing of theirs is wrapped.
    places = np.where(kept[chosen][:, None], positions[chosen], wrapped[chosen] @ cell)
    found = Atoms(numbers[chosen], positions=places, cell=cell, pbc=True)
    found.arrays["carve_kept"] = kept[chosen].astype(np.int64)
    return found


def _closest(around: Surroundings) -> dict[frozenset[int], float]:
    """Return the least distance for each pair of elements, Å: a share of what is usual."""
    found: dict[frozenset[int], float] = {}
    kinds = np.unique(around.numbers).tolist()
    for a in kinds:
        for b in kinds:
            own, other = (around.positions[around.numbers == z] for z in (a, b))
            usual = around.spacing
            if len(other) > 1:
                distance, _ = cKDTree(other).query(own, k=2)
                usual = float(np.median(distance[:, 1 if a == b else 0]))
            pair = frozenset((a, b))
            found[pair] = min(found.get(pair, np.inf), _CLOSE * usual)
    return found


class _Walled(Calculator):
    """A model, and a wall that keeps the rest out of the sphere around the first atom."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - an attribute of ASE's

    def __init__(self, inner: Calculator, keep: float, free: Ints) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inner, self._radius, self._free = inner, keep + _MARGIN, free

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert atoms is not None
        energy = float(self._inner.get_property("energy", atoms))
        forces = np.array(self._inner.get_property("forces", atoms))
        if len(self._free):
            away = atoms.get_distances(0, self._free, mic=True, vector=True)
            distance = np.linalg.norm(away, axis=1)
            into = np.maximum(self._radius - distance, 0.0)
            energy += float(0.5 * _WALL * np.sum(into**2))
            forces[self._free] += (_WALL * into / np.maximum(distance, 1e-9))[:, None] * away
        self.results = {"energy": energy, "forces": forces}


def _relaxed(start: Atoms, keep: float, calculator: MLIUQCalculator, steps: int) -> Atoms:
    kept = start.arrays["carve_kept"] == 1
    moved: Atoms = start.copy()
    moved.set_constraint(FixAtoms(mask=kept))
    moved.calc = _Walled(calculator, keep, np.flatnonzero(~kept))
    FIRE(moved, logfile=None, maxstep=0.1).run(fmax=_CALM, steps=steps)
    moved.set_constraint()
    return moved


def _judged(moved: Atoms, keep: float, calculator: MLIUQCalculator) -> Atoms | None:
    """Return the cell with its bars; None where the sphere did not stay as it was."""
    found: Atoms = moved.copy()
    kept = found.arrays["carve_kept"] == 1
    free = np.flatnonzero(~kept)
    if len(free) and found.get_distances(0, free, mic=True).min() <= keep:
        return None
    bars: Any = calculator.get_property("forces_err", found)
    size = np.linalg.norm(bars, axis=1)
    if not np.isfinite(size).all():
        return None
    found.info["carve_rest_err"] = float(size[~kept].max(initial=0.0))
    found.info["carve_kept_err"] = float(size[kept].max())
    return found


def _check(
    atoms: Atoms,
    centre: int,
    model: Model,
    save: float,
    keep: float,
    reach: float,
    trials: int,
    steps: int,
    rattle: float,
) -> None:
    if not 0 <= centre < len(atoms):
        raise MliuqError(f"centre is {centre}, expected an atom from 0 to {len(atoms) - 1}")
    if not model.n_members:
        raise MliuqError("the model has no members to judge a cell by: expected one fitted with members")
    if model.reference:
        raise MliuqError(
            f"the fit took the reference potential {model.reference!r} off its data: a part of the whole relaxes no "
            "structure"
        )
    if not (np.isfinite(save) and save > 0.0):
        raise MliuqError(f"save is {save}, expected a number above zero (eV/Å)")
    if not reach <= keep < np.inf:
        raise MliuqError(f"keep is {keep}, expected at least the cutoff of the model, {reach:g} Å")
    for name, value, least in (("trials", trials, 1), ("steps", steps, 0)):
        if value < least:
            raise MliuqError(f"{name} is {value}, expected at least {least}")
    if not 0.0 <= rattle < 1.0:
        raise MliuqError(f"rattle is {rattle}, expected a number from 0 to below 1 (Å)")
