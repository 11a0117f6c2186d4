"""SNAP parameters: what makes a bispectrum descriptor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from mliuq.core import CoreParams
from mliuq.errors import MliuqError

_FLAGS = ("switchflag", "bzeroflag", "bnormflag", "chemflag", "wselfallflag", "switchinnerflag", "quadraticflag")
_PER_ELEMENT = ("radii", "weights", "sinner", "dinner")
_DEFAULT = CoreParams()


@dataclass(frozen=True)
class SnapParams:
    """Parameters of a SNAP descriptor, named as in LAMMPS's .snapparam and .snapcoeff files.

    Parameters
    ----------
    elements : sequence of str
        Chemical symbols; their order is that of the weights.
    twojmax : int
        2J, twice the largest angular momentum (0 to 24).
    rcutfac : float
        Scale of the cutoff: elements a and b see each other within ``rcutfac * (R_a + R_b)``, Å for radii of 0.5.
    rfac0 : float
        Scale of the polar angle, θ = rfac0 π (r − rmin0)/(R_cut − rmin0).
    rmin0 : float
        Distance of polar angle zero, Å.
    switchflag, bzeroflag, bnormflag, chemflag, wselfallflag, switchinnerflag, quadraticflag : bool
        As in LAMMPS; ``quadraticflag`` makes the energy quadratic in B (qSNAP).
    radii, weights : sequence of float, optional
        Radius R and density weight w per element; 0.5 and 1 when not given.
    sinner, dinner : sequence of float, optional
        Centre and half-width of the inner switching per element, Å; required with ``switchinnerflag``.

    Raises
    ------
    MliuqError
        For a value out of range, naming key, value and what is allowed.

    References
    ----------
    A. P. Thompson et al., J. Comput. Phys. 285, 316 (2015).
    """

    elements: Sequence[str]
    twojmax: int = _DEFAULT.twojmax
    rcutfac: float = _DEFAULT.rcutfac
    rfac0: float = _DEFAULT.rfac0
    rmin0: float = _DEFAULT.rmin0
    switchflag: bool = _DEFAULT.switchflag
    bzeroflag: bool = _DEFAULT.bzeroflag
    bnormflag: bool = _DEFAULT.bnormflag
    chemflag: bool = _DEFAULT.chemflag
    wselfallflag: bool = _DEFAULT.wselfallflag
    switchinnerflag: bool = _DEFAULT.switchinnerflag
    quadraticflag: bool = _DEFAULT.quadraticflag
    radii: Sequence[float] = ()
    weights: Sequence[float] = ()
    sinner: Sequence[float] = ()
    dinner: Sequence[float] = ()

    def __post_init__(self) -> None:
        def store(key: str, value: object) -> None:
            object.__setattr__(self, key, value)

        if isinstance(self.elements, str):
            raise MliuqError(
                f"SNAP parameters: elements is the string {self.elements!r}, expected a sequence of symbols"
            )
        store("elements", tuple(str(e) for e in self.elements))
        store("radii", tuple(self.radii) or (0.5,) * len(self.elements))
        store("weights", tuple(self.weights) or (1.0,) * len(self.elements))
        for key in _PER_ELEMENT:
            store(key, tuple(float(v) for v in getattr(self, key)))
        for key in _FLAGS:
            value = getattr(self, key)
            if value not in (0, 1):
                raise MliuqError(f"SNAP parameters: {key} is {value!r}, expected 0 or 1")
            store(key, bool(value))
        self.core.validate()

    @cached_property
    def core(self) -> CoreParams:
        """The C++ twin."""
        core = CoreParams()
        for field in fields(self):
            value = getattr(self, field.name)
            try:
                setattr(core, field.name, value)
            except TypeError:
                raise MliuqError(f"SNAP parameters: {field.name} is {value!r}, expected {field.type}") from None
        return core

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: the C++ twin is made again."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        return len(self.elements)

    @property
    def n_components(self) -> int:
        """K: components of B per atom."""
        return self.core.n_components

    @property
    def n_weights(self) -> int:
        """P: weights per element of the energy model."""
        return self.core.n_weights

    @property
    def cutoff(self) -> float:
        """Largest cutoff between any two elements, Å."""
        return self.core.max_cutoff

    def index_of(self, symbols: Sequence[str]) -> list[int]:
        """Element index of each chemical symbol.

        Raises
        ------
        MliuqError
            For a symbol that is not among the elements, naming the first such atom.
        """
        table = {symbol: e for e, symbol in enumerate(self.elements)}
        try:
            return [table[symbol] for symbol in symbols]
        except KeyError as unknown:
            symbol = unknown.args[0]
            raise MliuqError(
                f"atom {list(symbols).index(symbol)} (counted from 0) is {symbol}, "
                f"expected one of the model's elements: {' '.join(self.elements)}"
            ) from None

    def to_metadata(self) -> dict[str, Any]:
        """The ``snap`` object of a model file (elements stand beside it)."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "elements"}
        for key in _FLAGS:
            values[key] = int(values[key])
        for key in _PER_ELEMENT:
            values[key] = list(values[key])
        return values

    @classmethod
    def from_metadata(cls, elements: Sequence[str], snap: Mapping[str, Any]) -> SnapParams:
        """Inverse of `to_metadata`; unknown and missing keys are errors."""
        known = {f.name for f in fields(cls)} - {"elements"}
        for key in snap:
            if key not in known:
                raise MliuqError(f"snap.{key} is not a SNAP parameter, expected one of {' '.join(sorted(known))}")
        for key in ("twojmax", "rcutfac", "radii", "weights"):
            if key not in snap:
                raise MliuqError(f'snap: key "{key}" is missing')
        for key, values in [("elements", elements), *((k, snap[k]) for k in _PER_ELEMENT if k in snap)]:
            wanted = str if key == "elements" else (int, float)
            if not isinstance(values, list | tuple) or not all(
                isinstance(value, wanted) and not isinstance(value, bool) for value in values
            ):
                kind = "symbols" if key == "elements" else "numbers"
                raise MliuqError(f"{key} is {values!r}, expected a list of {kind}")
        for key in ("radii", "weights"):
            if len(snap[key]) != len(elements):
                raise MliuqError(f"{key} has {len(snap[key])} values, expected one per element ({len(elements)})")
        for key, value in ((k, snap[k]) for k in ("twojmax", "rcutfac", "rfac0", "rmin0") if k in snap):
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise MliuqError(f"{key} is {value!r}, expected a number")
        return cls(elements=tuple(elements), **snap)

    @classmethod
    def from_core(cls, core: CoreParams) -> SnapParams:
        """From the C++ twin."""
        return cls(**{f.name: getattr(core, f.name) for f in fields(cls)})
