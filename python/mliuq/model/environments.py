"""Groups of environments: bars may hold on average and not where atoms are few, close or pushed.

What a group is depends on structures alone, on no model and no error. With d_i the distance of atom i to its nearest
neighbour and n_i the number of its neighbours within 1.35 times the median d of its structure (14 in bcc, 12 in fcc,
expanded or not):

    undercoordinated   n_i at most 0.8 of what is usual for its element (surfaces; not next to a vacancy)
    close pairs        d_i below 0.9 of what is usual for its element
    strained           configurations periodic in all directions whose volume per atom is more than 5 % off what is
                       usual, those with a tenth of undercoordinated atoms or more aside

Rows of energies and stress belong to a group where a tenth of the atoms of their configuration do or more. Usual are
the medians of some structures: those looked at, or those that a model was fitted to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mliuq.descriptor.neighbours import neighbour_distances
from mliuq.errors import MliuqError
from mliuq.model.calibration import is_scale

Mask = NDArray[np.bool_]
Array = NDArray[np.float64]
Ints = NDArray[np.int64]

REACH = 6.0  # Å: an atom with no neighbour within it stands alone
SHELL = 1.35
FEW = 0.8
CLOSE = 0.9
STRAIN = 0.05
SHARE = 0.1
REST = "none of these"


@dataclass(frozen=True)
class Usual:
    """Medians that environments are compared with.

    Attributes
    ----------
    nearest, neighbours : d (Å) and n by element; an element that is not there belongs to no group
    volume : per atom (Å³); 0 where no structure has one
    """

    nearest: Mapping[str, float]
    neighbours: Mapping[str, float]
    volume: float

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for the model file."""
        return asdict(self)

    @classmethod
    def of(cls, calibration: Mapping[str, Any] | None) -> Usual | None:
        """What a model's calibration compares with; None where it has no quantiles of groups.

        Raises
        ------
        MliuqError
            as `from_mapping`.
        """
        stored = ((calibration or {}).get("groups") or {}).get("usual")
        return None if stored is None else cls.from_mapping(stored)

    @classmethod
    def from_mapping(cls, stored: Any) -> Usual:
        """Read what a model file holds.

        Raises
        ------
        MliuqError
            for anything else.
        """
        try:
            nearest, neighbours = (dict(stored[name].items()) for name in ("nearest", "neighbours"))
            volume = stored["volume"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MliuqError(
                f"calibration.groups.usual is {stored!r:.200}, expected nearest and neighbours by element, and volume"
            ) from error
        for value in (*nearest.values(), *neighbours.values(), volume):
            if not is_scale(value):
                raise MliuqError(f"calibration.groups.usual holds {value!r:.200}, expected numbers of at least 0")
        return cls(nearest, neighbours, volume)


@dataclass(frozen=True)
class Environments:
    """Groups of atoms and configurations.

    Attributes
    ----------
    undercoordinated, close : masks of the atoms (N,) of every configuration
    strained : mask of the configurations
    usual : what they were compared with
    """

    undercoordinated: Sequence[Mask]
    close: Sequence[Mask]
    strained: Mask
    usual: Usual = Usual({}, {}, 0.0)

    def groups(self, config: Ints, atom: Ints) -> dict[str, Mask]:
        """Rows (n,) of each group, by configuration and atom, −1 for those of whole configurations; see `REST` too."""
        found = {
            "undercoordinated": _rows(self.undercoordinated, config, atom),
            "close pairs": _rows(self.close, config, atom),
            "strained": np.asarray(self.strained[config], dtype=np.bool_),
        }
        return with_rest(found)


def with_rest(groups: Mapping[str, Mask]) -> dict[str, Mask]:
    """Return the groups and the rows of none."""
    return {**groups, REST: ~np.any(list(groups.values()), axis=0)}


def environments_of(structures: Sequence[Atoms], usual: Usual | None = None) -> Environments:
    """Look at the surroundings of every atom; see the head of the module.

    Parameters
    ----------
    usual : what to compare with; the medians of these structures when absent
    """
    if not structures:
        return Environments([], [], np.zeros(0, np.bool_))
    surroundings = [_surroundings(atoms) for atoms in structures]
    symbols = [list(atoms.get_chemical_symbols()) for atoms in structures]
    if usual is None:
        nearest, neighbours = (_medians(symbols, [found[k] for found in surroundings]) for k in (0, 1))
    else:
        nearest, neighbours = dict(usual.nearest), dict(usual.neighbours)
    under, close = [], []
    for (distance, count), elements in zip(surroundings, symbols, strict=True):
        under.append(count <= FEW * np.array([neighbours.get(element, -1.0) for element in elements]))
        close.append(distance < CLOSE * np.array([nearest.get(element, 0.0) for element in elements]))
    volume = np.array([_volume(atoms, mask) for atoms, mask in zip(structures, under, strict=True)])
    dense = np.isfinite(volume)
    if usual is None:
        usual = Usual(nearest, neighbours, float(np.median(volume[dense])) if dense.any() else 0.0)
    strained = np.zeros(len(structures), np.bool_)
    if usual.volume > 0.0:
        strained[dense] = np.abs(volume[dense] / usual.volume - 1.0) > STRAIN
    return Environments(under, close, strained, usual)


def _rows(masks: Sequence[Mask], config: Ints, atom: Ints) -> Mask:
    """Rows of the atoms of the masks, or of configurations with enough of them."""
    first = np.cumsum([0, *map(len, masks)])
    enough = np.array([mask.mean() >= SHARE for mask in masks], dtype=np.bool_)
    of_atom = np.concatenate([np.zeros(0, np.bool_), *masks])
    return np.where(atom >= 0, of_atom[first[config] + np.maximum(atom, 0)], enough[config])


def _medians(symbols: Sequence[Sequence[str]], values: Sequence[Array]) -> dict[str, float]:
    """Median of the values of the atoms by element; left out where most atoms stand alone."""
    element, value = np.concatenate([np.array(s, dtype=object) for s in symbols]), np.concatenate(values)
    found = {str(symbol): float(np.median(value[element == symbol])) for symbol in sorted(set(element))}
    return {symbol: median for symbol, median in found.items() if np.isfinite(median)}


def _surroundings(atoms: Atoms) -> tuple[Array, Array]:
    """Distance to the nearest neighbour and number of neighbours in the first shells of every atom, (N,) each."""
    i, distance = neighbour_distances(atoms, REACH)
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
