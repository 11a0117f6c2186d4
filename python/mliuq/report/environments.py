"""Groups of rows by what surrounds the atoms: bars may hold on average and not where atoms are few, close or pushed.

What a group is depends on the structures judged alone, on no model and no error. With d_i the distance of atom i to its
nearest neighbour and n_i the number of its neighbours within 1.35 times the median d of its structure (14 in bcc, 12 in
fcc, expanded or not):

    undercoordinated   n_i at most 0.8 of the median n of its element (surfaces; not next to a vacancy)
    close pairs        d_i below 0.9 of the median d of its element
    strained           configurations periodic in all directions whose volume per atom is more than 5 % off the median,
                       those with a tenth of undercoordinated atoms or more aside
    high forces        atoms whose reference force is among the largest tenth

Rows of energies and stress belong to a group where a tenth of the atoms of their configuration do or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from mliuq.report.predictions import Predictions

Mask = NDArray[np.bool_]
Array = NDArray[np.float64]

REACH = 6.0  # Å: an atom with no neighbour within it stands alone
SHELL = 1.35
FEW = 0.8
CLOSE = 0.9
STRAIN = 0.05
SHARE = 0.1
REST = "none of these"


@dataclass(frozen=True)
class Environments:
    """Groups of atoms and configurations.

    Attributes
    ----------
    undercoordinated, close : masks of the atoms (N,) of every configuration
    strained : mask of the configurations
    """

    undercoordinated: Sequence[Mask]
    close: Sequence[Mask]
    strained: Mask


def environments_of(structures: Sequence[Atoms]) -> Environments:
    """Look at the surroundings of every atom; see the head of the module."""
    surroundings = [_surroundings(atoms) for atoms in structures]
    symbols = [np.array(atoms.get_chemical_symbols(), dtype=object) for atoms in structures]
    if not structures:
        return Environments([], [], np.zeros(0, np.bool_))
    nearest, count = (np.concatenate([s[k] for s in surroundings]) for k in (0, 1))
    element, starts = np.concatenate(symbols), np.cumsum([len(atoms) for atoms in structures])[:-1]
    few, close = np.zeros(len(element), np.bool_), np.zeros(len(element), np.bool_)
    for symbol in set(element):
        own = element == symbol
        few[own] = count[own] <= FEW * np.median(count[own])
        close[own] = nearest[own] < CLOSE * np.median(nearest[own])
    under = np.split(few, starts)
    volume = np.array([_volume(atoms, mask) for atoms, mask in zip(structures, under, strict=True)])
    dense = np.isfinite(volume)
    strained = np.zeros(len(structures), np.bool_)
    if dense.any():
        strained[dense] = np.abs(volume[dense] / np.median(volume[dense]) - 1.0) > STRAIN
    return Environments(under, np.split(close, starts), strained)


def groups_of(p: Predictions, environments: Environments) -> dict[str, Mask]:
    """Rows (n,) of each group, and of none; a row may be in several. Groups without rows are left out."""
    groups = {
        "undercoordinated": _rows(p, environments.undercoordinated),
        "close pairs": _rows(p, environments.close),
        "strained": environments.strained[p.config],
    }
    if p.kind == "force":
        _, atom = np.unique(np.column_stack([p.config, p.atom]), axis=0, return_inverse=True)
        size = np.sqrt(np.bincount(atom.ravel(), p.y**2))
        groups["high forces"] = (size > np.quantile(size, 1.0 - SHARE))[atom.ravel()]
    groups[REST] = ~np.any(list(groups.values()), axis=0)
    return {name: rows for name, rows in groups.items() if rows.any()}


def _rows(p: Predictions, masks: Sequence[Mask]) -> Mask:
    """Rows of the atoms of the masks, or of configurations with enough of them."""
    if p.kind == "force":
        return np.array([masks[c][a] for c, a in zip(p.config, p.atom, strict=True)], dtype=np.bool_)
    enough = np.array([mask.mean() >= SHARE for mask in masks], dtype=np.bool_)
    return np.asarray(enough[p.config])


def _surroundings(atoms: Atoms) -> tuple[Array, Array]:
    """Distance to the nearest neighbour and number of neighbours in the first shells of every atom, (N,) each."""
    i, distance = neighbor_list("id", atoms, REACH)
    nearest = np.full(len(atoms), np.inf)
    np.minimum.at(nearest, i, distance)
    bound = nearest[np.isfinite(nearest)]
    shell = SHELL * float(np.median(bound)) if bound.size else 0.0
    return nearest, np.bincount(i[distance <= shell], minlength=len(atoms)).astype(np.float64)


def _volume(atoms: Atoms, undercoordinated: Mask) -> float:
    """Volume per atom (Å³); NaN where it says nothing: not periodic, or with surfaces."""
    if not atoms.pbc.all() or undercoordinated.mean() >= SHARE:
        return float("nan")
    return float(atoms.get_volume() / len(atoms))
