"""A model: descriptor parameters, best-fit weights, posterior members, nuclear repulsion, calibration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mliuq.core import ErrorScale, ModelFile, Potential, read_snap_files, validate_zbl
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError
from mliuq.model import model_file
from mliuq.model.calibration import LARGEST_SCALE, checked_calibration, is_scale
from mliuq.model.novelty import Novelty, check_arrays
from mliuq.model.snap_export import write_snap

Array = NDArray[np.float64]

UNITS = {"energy": "eV", "length": "angstrom", "force": "eV/angstrom", "stress": "eV/angstrom^3"}
_OWN_KEYS = ("format_version", "elements", "snap", "zbl", "noise", "calibration", "units")
_BOX = ("posterior.axes", "posterior.lo", "posterior.hi")
_SHARING = ("sharing.moves", "sharing.coefficients")
_SCALES = ("energy", "force", "stress")


@dataclass(frozen=True, eq=False)
class Model:
    """What a NAME.mliuq file holds. Immutable; ``dataclasses.replace`` makes variants.

    Parameters
    ----------
    params : SnapParams
        The descriptor.
    theta : ndarray of shape (n_elements, P)
        Best-fit weights, eV per unit of each feature, in LAMMPS's order.
    members : ndarray of shape (M, n_elements, P), optional
        Weights sampled from the posterior.
    zbl : tuple of (float, float), optional
        Inner and outer distance of the screened nuclear repulsion this model adds, Å.
    noise : mapping, optional
        Noise floors ``energy`` (eV/atom), ``force`` (eV/Å), ``stress`` (eV/Å³).
    calibration : mapping, optional
        ``alpha_energy``, ``alpha_force``, ``alpha_stress`` and where they come from.
    arrays : mapping of str to ndarray
        Everything else the file carries (posterior box, extrapolation data).
    metadata : mapping
        Settings, seed, data fingerprint, software; plain JSON.

    Raises
    ------
    MliuqError
        For arrays of the wrong shape or with values that are not finite.
    """

    params: SnapParams
    theta: Array
    members: Array | None = None
    zbl: tuple[float, float] | None = None
    noise: Mapping[str, float] | None = None
    calibration: Mapping[str, Any] | None = None
    arrays: Mapping[str, Array] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (self.params.n_elements, self.params.n_weights)
        theta = np.ascontiguousarray(self.theta, dtype=np.float64)
        if theta.shape != shape:
            raise MliuqError(f'array "theta" has shape {theta.shape}, expected {shape}')
        object.__setattr__(self, "theta", theta)
        if self.members is not None:
            members = np.ascontiguousarray(self.members, dtype=np.float64)
            if members.ndim != 3 or members.shape[1:] != shape or len(members) == 0:
                raise MliuqError(f'array "members" has shape {members.shape}, expected (M, {shape[0]}, {shape[1]})')
            object.__setattr__(self, "members", members)
        for name, array in (("theta", self.theta), ("members", self.members)):
            if array is not None and not np.all(np.isfinite(array)):
                raise MliuqError(f'array "{name}" holds values that are not finite')
        if self.zbl is not None:
            inner, outer = (float(r) for r in self.zbl)
            validate_zbl(inner, outer)
            object.__setattr__(self, "zbl", (inner, outer))
        factor = self.arrays.get("extrapolation.factor")
        total = shape[0] * shape[1]
        if factor is not None and factor.shape != (total, total):
            raise MliuqError(f'array "extrapolation.factor" has shape {factor.shape}, expected {(total, total)}')
        if any(name in self.arrays for name in _BOX):
            found = [self.arrays[name].shape if name in self.arrays else None for name in _BOX]
            axes = found[0]
            if axes is None or len(axes) != 2 or axes[0] != total or found[1:] != [axes[1:2]] * 2:
                raise MliuqError(f"arrays {', '.join(_BOX)} have shapes {found}, expected ({total}, r), (r,), (r,)")
        if any(name in self.arrays for name in _SHARING):
            found = [self.arrays[name].shape if name in self.arrays else None for name in _SHARING]
            moves = found[0]
            if moves is None or moves != (*moves[:1], *shape) or 0 in moves or found[1] != (self.n_members, moves[0]):
                raise MliuqError(
                    f"arrays {', '.join(_SHARING)} have shapes {found}, expected (s, {shape[0]}, {shape[1]}), "
                    f"({self.n_members}, s)"
                )
        check_arrays(self.params, self.arrays)
        if self.calibration is not None:
            object.__setattr__(self, "calibration", checked_calibration(self.calibration))
        if self.noise is not None:
            object.__setattr__(self, "noise", {key: value for key, value in self.noise.items() if value is not None})
        _ = self.error_scale  # refuses noise and calibration that are not numbers of at least 0

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what was made of them in C++ is made again."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def n_members(self) -> int:
        """Number of posterior members, 0 without a posterior."""
        return 0 if self.members is None else len(self.members)

    @property
    def reference(self) -> str:
        """The reference potential that the fit took off its data, as the fit was told; empty without.

        The model gives its own part: who wants the whole adds this potential (`mliuq.reference`).
        """
        table: Any = self.metadata
        for key in ("fit", "settings", "data", "reference"):
            table = table.get(key) if isinstance(table, Mapping) else None
        return table if isinstance(table, str) else ""

    @cached_property
    def error_scale(self) -> ErrorScale:
        """Calibration α and noise floors as the core takes them (α = 1 and no floor where the model has none)."""
        scale = ErrorScale()
        for kind in _SCALES:
            for prefix, source, key, default in (
                ("alpha", self.calibration, f"alpha_{kind}", 1.0),
                ("noise", self.noise, kind, 0.0),
            ):
                value = (source or {}).get(key)
                value = default if value is None else value
                if not is_scale(value):
                    raise MliuqError(f"{prefix} of {kind} is {value!r}, expected a number from 0 to {LARGEST_SCALE:g}")
                setattr(scale, f"{prefix}_{kind}", float(value))
        return scale

    @cached_property
    def evaluator(self) -> Potential:
        """`potential` with its defaults, made once and shared: calls from several threads wait for each other."""
        return self.potential()

    @cached_property
    def novelty(self) -> Novelty:
        """Grade and density of environments, made once and shared."""
        return Novelty(self.params, self.arrays)

    @property
    def _box(self) -> tuple[Array, Array, Array] | None:
        """Axes and bounds of a hypercube posterior."""
        if _BOX[0] not in self.arrays:
            return None
        axes, lo, hi = (self.arrays[name] for name in _BOX)
        return axes, lo, hi

    @property
    def _sharing(self) -> tuple[Array, Array] | None:
        """How members share energy between atoms, which bars of single atoms leave out."""
        if _SHARING[0] not in self.arrays:
            return None
        moves, coefficients = (self.arrays[name] for name in _SHARING)
        return moves, coefficients

    def potential(self, *, kernel: str = "", precision: str = "double") -> Potential:
        """The C++ evaluator of this model.

        Parameters
        ----------
        kernel : str
            "reference", "baseline", "avx2" or "avx512" (ARM: "sve256" or "sve512"); empty for the widest this
            machine runs (or ``MLIUQ_KERNEL``).
        precision : {"double", "single"}
            Of descriptors and forces; energies are summed in double either way.
        """
        empty = np.empty(0)
        file = ModelFile(
            self.params.core,
            self.theta,
            empty if self.members is None else self.members,
            self.arrays.get("extrapolation.factor", empty),
            self._box,
            self._sharing,
            self.zbl,
            self.error_scale,
        )
        return Potential(file, kernel, precision)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a model file; equal models give equal bytes. The name is replaced only once the file is whole."""
        arrays = dict(self.arrays) | {"theta": self.theta}
        if self.members is not None:
            arrays["members"] = self.members
        metadata = dict(self.metadata) | {
            "elements": list(self.params.elements),
            "snap": self.params.to_metadata(),
            "zbl": None if self.zbl is None else {"inner": self.zbl[0], "outer": self.zbl[1]},
            "noise": None if self.noise is None else dict(self.noise),
            "calibration": None if self.calibration is None else dict(self.calibration),
            "units": UNITS,
        }
        model_file.write(path, arrays, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Read a model file.

        Raises
        ------
        MliuqError
            Naming the file, the key, what was expected and what was found.
        """
        arrays, metadata = model_file.read(path)
        if "theta" not in arrays:
            raise MliuqError(f'{path}: array "theta" is missing')
        zbl: dict[str, Any] | None = metadata.get("zbl")
        if zbl is not None:
            for key in ("inner", "outer"):
                if not isinstance(zbl.get(key), Real) or isinstance(zbl.get(key), bool):
                    raise MliuqError(f"{path}: zbl.{key} is {zbl.get(key)!r}, expected a number (Å)")
        try:
            return cls(
                params=SnapParams.from_metadata(metadata["elements"], metadata["snap"]),
                theta=arrays.pop("theta"),
                members=arrays.pop("members", None),
                zbl=None if zbl is None else (zbl["inner"], zbl["outer"]),
                noise=metadata.get("noise"),
                calibration=metadata.get("calibration"),
                arrays=arrays,
                metadata={key: value for key, value in metadata.items() if key not in _OWN_KEYS},
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise MliuqError(f"{path}: {error}") from error

    @classmethod
    def from_snap(cls, coeff: str | os.PathLike[str], param: str | os.PathLike[str] | None = None) -> Model:
        """Read a published potential (no posterior).

        Parameters
        ----------
        coeff, param : path
            The .snapcoeff and .snapparam files; ``param`` defaults to the name of ``coeff`` with its ending changed.
        """
        coeff_path = Path(coeff)
        param_path = coeff_path.with_suffix(".snapparam") if param is None else Path(param)
        core, theta = read_snap_files(str(coeff_path), str(param_path))
        return cls(SnapParams.from_core(core), theta)

    def to_snap(
        self, stem: str | os.PathLike[str], *, member: int | None = None, force: bool = False
    ) -> tuple[Path, Path]:
        """Write STEM.snapcoeff, STEM.snapparam and STEM.snap for stock LAMMPS.

        Parameters
        ----------
        stem : path
            Name without ending.
        member : int, optional
            Posterior member to write instead of the best fit, 0 to M − 1.
        force : bool
            Replace files of these names that mliuq did not write.

        Returns
        -------
        tuple of Path
            Coefficients and parameters. Nuclear repulsion is not part of them but of STEM.snap, the lines to include
            in an input: `pair_style snap`, or `hybrid/overlay zbl … snap`.

        Raises
        ------
        MliuqError
            For a member that is not there, files from elsewhere without `force`, or a place that cannot be written.
        """
        theta = self.theta
        if member is not None:
            if self.members is None:
                raise MliuqError(f"member is {member}, but the model has no ensemble: only the best fit can be written")
            if not 0 <= member < self.n_members:
                raise MliuqError(f"member is {member}, expected 0 to {self.n_members - 1} ({self.n_members} members)")
            theta = self.members[member]
        what = "best fit" if member is None else f"member {member}"
        return write_snap(Path(stem), self.params, theta, self.zbl, what=what, force=force, reference=self.reference)[
            :2
        ]
