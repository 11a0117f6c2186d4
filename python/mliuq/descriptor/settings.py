"""The `[snap]` table of a fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Literal

from ase import Atoms

from mliuq.descriptor.neighbours import refuse_unknown_elements
from mliuq.descriptor.params import SnapParams
from mliuq.descriptor.reach import default_cutoff, thinned
from mliuq.errors import MliuqError

#: Names here of what SNAP calls otherwise.
_NAMES = {"rcutfac": "rcut", "quadraticflag": "quadratic"}


@dataclass(frozen=True)
class SnapSettings:
    """The descriptor; names as in LAMMPS, lists in the order of `elements`.

    Attributes
    ----------
    twojmax : 2J
    rcut : LAMMPS's rcutfac: the cutoff in Å of elements of radius 0.5; "auto": of the data (`mliuq.descriptor.reach`)
    elements : chemical symbols; those of the data, in alphabetical order, when empty
    radii, weights : R and w of each element; 0.5 and 1 when empty
    quadratic : energy terms quadratic in the bispectrum
    zbl : inner and outer radius (Å) of the ZBL repulsion that is subtracted before the fit and added after it; empty
        for none
    """

    twojmax: int = SnapParams.twojmax
    rcut: float | Literal["auto"] = "auto"
    elements: tuple[str, ...] = ()
    radii: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    quadratic: bool = SnapParams.quadraticflag
    zbl: tuple[float, ...] = ()
    rfac0: float = SnapParams.rfac0
    rmin0: float = SnapParams.rmin0
    switchflag: bool = SnapParams.switchflag
    bzeroflag: bool = SnapParams.bzeroflag
    bnormflag: bool = SnapParams.bnormflag
    chemflag: bool = SnapParams.chemflag
    wselfallflag: bool = SnapParams.wselfallflag
    switchinnerflag: bool = SnapParams.switchinnerflag
    sinner: tuple[float, ...] = ()
    dinner: tuple[float, ...] = ()

    @classmethod
    def of(cls, params: SnapParams, zbl: tuple[float, float] | None = None) -> SnapSettings:
        """Return the settings that give these parameters."""
        own = {_NAMES.get(f.name, f.name): getattr(params, f.name) for f in fields(SnapParams)}
        return cls(**own, zbl=zbl or ())

    @property
    def repulsion(self) -> tuple[float, float] | None:
        """Inner and outer radius (Å) of the ZBL repulsion, None for none."""
        return (self.zbl[0], self.zbl[1]) if self.zbl else None

    def validate(self) -> None:
        """Refuse values out of range."""
        if self.zbl and not (len(self.zbl) == 2 and 0.0 < self.zbl[0] < self.zbl[1]):
            raise MliuqError(f"snap.zbl is {list(self.zbl)}, expected two radii in Å, 0 < inner < outer")
        for name in ("radii", "weights"):
            values = getattr(self, name)
            if values and len(values) != len(self.elements):
                raise MliuqError(f"snap.{name} has {len(values)} entries for {len(self.elements)} elements")

    def params(self, structures: Iterable[Atoms]) -> SnapParams:
        """Return the descriptor; its elements and cutoff are those of the structures unless the settings name them.

        Raises
        ------
        MliuqError
            for a value out of range.
        """
        own = {f.name: getattr(self, _NAMES.get(f.name, f.name)) for f in fields(SnapParams)}
        if not self.elements or self.rcut == "auto":
            seen: set[str] = set()
            sample = thinned(_noting(structures, seen))
            own["elements"] = self.elements or sorted(seen)
            if self.rcut == "auto":
                own["rcutfac"] = default_cutoff(sample, dict(zip(self.elements, self.radii, strict=False)))
        return SnapParams(**own)


def _noting(structures: Iterable[Atoms], elements: set[str]) -> Iterator[Atoms]:
    """The structures as they come, while their elements are noted."""
    for atoms in structures:
        refuse_unknown_elements(atoms)
        elements.update(atoms.symbols)
        yield atoms
