"""What is believed of a label, and what is not calculated at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from vesin import NeighborList

from mliuq.learning.settings import LabelSettings

#: Å that positions and cell of a label may be off: what extended XYZ rounds off, and some codes more than that.
_MOVED = 1e-3


def too_close(atoms: Atoms, limit: float) -> str | None:
    """Why a structure is not worth a calculation: two atoms nearer than `limit` Å."""
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        return "positions or cell are not finite"
    if limit <= 0.0 or not len(atoms):
        return None
    i, j, d = NeighborList(cutoff=limit, full_list=False).compute(
        atoms.positions, atoms.cell.array, atoms.pbc, "ijd", copy=True
    )
    if not len(d):
        return None
    k = int(np.argmin(d))
    return f"atoms {i[k]} and {j[k]} are {d[k]:.3f} Å apart, expected at least {limit:g} Å"


def unfinished(answer: Atoms, *, stress: bool) -> str | None:
    """What an answer lacks of a label: another attempt may give it."""
    results = {} if answer.calc is None else answer.calc.results
    wanted = ["energy", "forces", *(["stress"] if stress else [])]
    if missing := [name for name in wanted if name not in results]:
        return f"the label has no {' and no '.join(missing)}"
    for name in wanted:
        if not np.isfinite(results[name]).all():
            return f"the label's {name} is not finite"
    return None


def distrusted(asked: Atoms, answer: Atoms, settings: LabelSettings) -> str | None:
    """Why a whole answer is not a label of the structure asked for: another structure, or forces that cannot be."""
    if not np.array_equal(asked.numbers, answer.numbers):
        found, wanted = answer.get_chemical_formula(), asked.get_chemical_formula()
        same = sorted(asked.numbers) == sorted(answer.numbers)
        return f"the label has {'the atoms in another order' if same else found}, expected {wanted}"
    if not np.array_equal(asked.pbc, answer.pbc):
        return f"the label has pbc {answer.pbc.tolist()}, expected {asked.pbc.tolist()}"
    moved = _largest_move(asked, answer)
    if not moved <= _MOVED:
        return f"the label has atoms or cell moved by {moved:.3g} Å, expected none"
    forces = answer.calc.results["forces"]
    if np.shape(forces) != (len(asked), 3):
        return f"the label has forces of shape {np.shape(forces)}, expected ({len(asked)}, 3)"
    size = np.linalg.norm(forces, axis=1)
    if size.max(initial=0.0) > settings.max_force:
        atom = int(np.argmax(size))
        return f"the force on atom {atom} is {size[atom]:.4g} eV/Å, expected at most {settings.max_force:g}"
    return None


def odd_energies(known: Sequence[Atoms], labels: Sequence[Atoms], limit: float) -> dict[int, str]:
    """Why labels are not believed: energies far from what their composition lets expect.

    Energies are compared with one energy for each element, fitted to all of them by least absolute deviations, which
    wrong ones do not draw away.

    Returns
    -------
    dict
        Index of the label → reason.
    """
    everything = [*known, *labels]
    if not labels or not np.isfinite(limit):
        return {}
    elements = sorted({symbol for atoms in everything for symbol in atoms.symbols})
    n = np.array([len(atoms) for atoms in everything], dtype=float)
    x = np.array([[atoms.symbols.count(e) for e in elements] for atoms in everything]) / n[:, None]
    y = np.array([atoms.calc.results.get("energy", np.nan) for atoms in everything]) / n
    usable = np.isfinite(y)
    weight = np.ones(int(usable.sum()))
    for _ in range(100):  # reweighted least squares
        root = np.sqrt(weight)
        best = np.linalg.lstsq(x[usable] * root[:, None], y[usable] * root, rcond=None)[0]
        weight = 1.0 / np.maximum(np.abs(y[usable] - x[usable] @ best), 1e-6)
    off = (y - x @ best)[len(known) :]
    return {
        index: f"the energy is {value:+.4g} eV/atom from that of its composition, expected at most {limit:g}"
        for index, value in enumerate(off)
        if abs(value) > limit
    }


def _largest_move(asked: Atoms, answer: Atoms) -> float:
    """Å, whole vectors of the cell apart."""
    cell = float(np.abs(asked.cell.array - answer.cell.array).max())
    shift = answer.positions - asked.positions
    if asked.pbc.any() and asked.cell.rank:
        whole = asked.cell.complete()
        turns = np.round(whole.scaled_positions(shift)) * asked.pbc
        shift = shift - turns @ whole.array
    return float(np.max([cell, np.abs(shift).max(initial=0.0)]))  # NaN where anything is
