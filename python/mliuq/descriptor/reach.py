"""Distances of neighbours in a data set, and the cutoff of a fit that names none.

A neighbour at the distance r weighs ½ (1 + cos(π r/r_c)), next to nothing close to the cutoff. Where a whole shell of
neighbours lies there, as in tantalum (4.67 Å) with the cutoff that serves tungsten (4.7 Å), the forces it makes are in
no row: no weights can follow them, and no bar of forces knows of them (docs/explanations/error-bars.md has the
figures). A cutoff is therefore looked for that reaches over the third shell of a metal and ends where no shell is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mliuq.descriptor.neighbours import neighbour_pairs, refuse_unknown_elements
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError

#: Cutoff (Å) where the data do not ask for a longer one.
SHORTEST = SnapParams.rcutfac
#: Least cutoff in distances of nearest neighbours: over the third shell of bcc (1.63).
_REACH = 1.7
#: A shell from the first to the second of these, in cutoffs, fades away.
_FADING = (0.965, 1.02)
#: How many times more neighbours than on average over the sphere make a shell.
_CROWDED = 1.5
_STEP = 0.1  # Å between cutoffs tried
_LONGEST = 1.3  # times the least one
_FAR = 6.0  # Å within which the nearest neighbour is looked for
_SAMPLE = 100  # structures looked at
_RADIUS = 0.5  # of an element that has none of its own

Radii = Mapping[str, float]


def thinned(structures: Iterable[Atoms]) -> list[Atoms]:
    """Return structures picked evenly from any number of them, gone through once: all of a few, else 50 to 100."""
    kept: list[Atoms] = []
    stride = 1
    for index, atoms in enumerate(structures):
        if index % stride == 0:
            kept.append(atoms)
            if len(kept) > _SAMPLE:
                kept, stride = kept[::2], 2 * stride
    return kept


def nearest_distance(structures: Iterable[Atoms]) -> float:
    """Return the median over atoms of the distance to the nearest neighbour, Å.

    Raises
    ------
    MliuqError
        if no atom has a neighbour.
    """
    nearest = _nearest(thinned(structures), {})
    if nearest is None:
        raise MliuqError(f"no atom of the data has a neighbour within {_FAR:g} Å: there is no cutoff to tune")
    return nearest


def default_cutoff(structures: Iterable[Atoms], radii: Radii | None = None) -> float:
    """Return the cutoff of a fit to these structures, Å for elements of radius 0.5 (LAMMPS's rcutfac).

    It is 4.7 Å or, where that is more, 1.7 distances of nearest neighbours, and from there on, in steps of 0.1 Å, the
    first at which there is no shell of neighbours.

    Parameters
    ----------
    structures : those to fit; what cannot be fitted is passed over
    radii : R of elements that have one of their own
    """
    sample, radii = thinned(structures), radii or {}
    nearest = _nearest(sample, radii)
    return SHORTEST if nearest is None else clear_cutoff(sample, max(SHORTEST, _rounded_up(_REACH * nearest)), radii)


def clear_cutoff(structures: Iterable[Atoms], least: float, radii: Radii | None = None) -> float:
    """Return the first cutoff from `least` on (Å) at which no shell of neighbours lies, or `least` if there is none."""
    distances = _distances(thinned(structures), _LONGEST * _FADING[1] * least, radii or {})
    for cutoff in (least, *np.arange(_rounded_up(least), _LONGEST * least, _STEP).round(6).tolist()):
        if not _is_crowded(distances, cutoff):
            return float(cutoff)
    return least


def shell_at(structures: Iterable[Atoms], cutoff: float, radii: Radii | None = None) -> bool:
    """Return whether a shell of neighbours lies at a cutoff (Å)."""
    return _is_crowded(_distances(thinned(structures), _FADING[1] * cutoff, radii or {}), cutoff)


def _rounded_up(cutoff: float) -> float:
    """To the next of the steps."""
    return round(float(np.ceil(round(cutoff / _STEP, 6))) * _STEP, 6)


def _is_crowded(sorted_distances: NDArray[np.float64], cutoff: float) -> bool:
    first, last = np.searchsorted(sorted_distances, [share * cutoff for share in _FADING])
    inside = np.searchsorted(sorted_distances, cutoff)
    return bool(last - first > _CROWDED * inside * (_FADING[1] ** 3 - _FADING[0] ** 3))


def _nearest(structures: Iterable[Atoms], radii: Radii) -> float | None:
    found = []
    for atoms, pairs, distances in _neighbours(structures, _FAR, radii):
        nearest = np.full(len(atoms), np.inf)
        np.minimum.at(nearest, pairs[:, 0], distances)
        found.append(nearest[np.isfinite(nearest)])
    every = np.concatenate(found) if found else np.empty(0)
    return float(np.median(every)) if len(every) else None


def _distances(structures: Iterable[Atoms], reach: float, radii: Radii) -> NDArray[np.float64]:
    found = [distances for _, _, distances in _neighbours(structures, reach, radii)]
    return np.sort(np.concatenate(found)) if found else np.empty(0)


def _neighbours(
    structures: Iterable[Atoms], reach: float, radii: Radii
) -> Iterable[tuple[Atoms, NDArray[np.int64], NDArray[np.float64]]]:
    """Neighbours of every atom within reach, distances divided by R_a + R_b; structures that have none are left out."""
    for atoms in structures:
        try:
            refuse_unknown_elements(atoms)
            symbols, of_atom = np.unique(atoms.get_chemical_symbols(), return_inverse=True)
            radius = np.array([radii.get(symbol, _RADIUS) for symbol in symbols.tolist()])
            pairs, distances = neighbour_pairs(atoms, 2.0 * reach * float(radius.max(initial=0.0)))
        except MliuqError:
            continue  # the fit refuses it and says where it is
        distances = distances / radius[of_atom[pairs]].sum(axis=1)
        inside = distances < reach
        if inside.any():
            yield atoms, pairs[inside], distances[inside]
