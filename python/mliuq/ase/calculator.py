"""The ASE door: energies, forces, stress and their error bars."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Collection, Sequence
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from numpy.typing import NDArray

from mliuq.ase.intervals import interval, surroundings
from mliuq.core import PackedStructure, Potential
from mliuq.descriptor.bispectrum import descriptors
from mliuq.descriptor.neighbours import Neighbours
from mliuq.errors import MliuqError
from mliuq.model import Model
from mliuq.model.bars import FORCE_BARS, FORCE_BOUNDS, STRESS_BARS, STRESS_BOUNDS, row_bars

_PLAIN = ["energy", "free_energy", "energies", "forces", "stress", "stresses"]
_SPREADS = [
    "energy_std",
    "energy_min",
    "energy_max",
    "energy_err",
    "energies_std",
    "energies_min",
    "energies_max",
    "energies_err",
]
_ENERGY_BOUNDS = ["energy_box_min", "energy_box_max", "energies_box_min", "energies_box_max"]
_ROWS = [*FORCE_BARS, *STRESS_BARS]
_ON_REQUEST = ["energy_comm", "energies_comm", "energy_std_gradient", *_ROWS]
_OF_BOX = [*_ENERGY_BOUNDS, *FORCE_BOUNDS, *STRESS_BOUNDS]
_OF_MODEL = ("grade", "density")
_NO_EFFECT = ("initial_charges", "initial_magmoms")


class MLIUQCalculator(Calculator):
    """ASE calculator of a mliuq model.

    Every evaluation gives energies, forces, stress and, for a model with members, the spreads of the energies; what
    costs more is computed when asked for by ``get_property``. Units are ASE's: eV, Å, eV/Å³, Voigt xx yy zz yz xz xy.

    Parameters
    ----------
    model : str, path or Model
        A NAME.mliuq file or a model.
    threads : int, optional
        OpenMP threads; default: what OpenMP would take (``OMP_NUM_THREADS``).
    skin : float
        Extra reach of the neighbour list, Å: it is made anew once an atom has moved by half of it.
    kernel, precision : str
        See `Model.potential`.
    potential : Potential, optional
        An evaluator of this model that others use, too (`Model.evaluator`), instead of one of its own.

    Notes
    -----
    Result keys beside ASE's own (M members, N atoms):

    - ``energy_std``, ``energies_std`` (N,): root second moment over the posterior about the best fit, uncalibrated
    - ``energy_min``, ``energy_max``, ``energies_min``, ``energies_max`` (N,): extremes over the members
    - ``energy_err``, ``energies_err`` (N,): predicted error, sqrt((α std)² + floor²)
    - ``energy_comm`` (M,), ``energies_comm`` (M, N): energy and per-atom energies by every member, on request
    - ``forces_std``, ``forces_min``, ``forces_max``, ``forces_err`` (N, 3), ``forces_comm`` (M, N, 3): the same of
      force components, eV/Å, on request
    - ``stress_std``, ``stress_min``, ``stress_max``, ``stress_err`` (6,), ``stress_comm`` (M, 6): of stress, eV/Å³, on
      request
    - ``energy_box_min``, ``energies_box_min``, ``forces_box_min``, ``stress_box_min`` and ``…_max``: bounds over the
      whole box of a hypercube posterior, not over its members only, on request
    - ``energy_std_gradient`` (N, 3): ∂ energy_std / ∂ positions, eV/Å, on request
    - ``extrapolation`` (N,): dᵀA⁻¹d of each atom, unit-free distance from the training data, on request
    - ``grade`` (N,): D-optimality grade γ of each atom, above 1 outside of what the active set spans, on request
    - ``density`` (N,): ln of the density of training environments around each atom in descriptor space, 0 as usual,
      negative where they are sparser, on request

    Threads of Python may share a calculator: each ``get_…`` call is made by one at a time and returns what belongs to
    the atoms it was given. ``results`` is the last one's; `mliuq.evaluate` keeps nothing and has no such trap.

    Raises
    ------
    MliuqError
        For unknown elements, empty structures, positions that are not finite, atoms on top of each other.
    """

    implemented_properties = _PLAIN + _SPREADS + _ON_REQUEST + _OF_BOX + ["extrapolation", "grade", "density"]
    ignored_changes = set(_NO_EFFECT)  # noqa: RUF012 - an attribute of ASE's

    def __init__(
        self,
        model: str | os.PathLike[str] | Model,
        *,
        threads: int | None = None,
        skin: float = 1.0,
        kernel: str = "",
        precision: str = "double",
        potential: Potential | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model if isinstance(model, Model) else Model.load(model)
        if self.model.reference:
            warnings.warn(
                f"the fit of this model had the reference potential {self.model.reference!r}: the calculator gives the "
                "model's own part, ase.calculators.mixing.SumCalculator adds the other",
                stacklevel=2,
            )
        if not (np.isfinite(skin) and skin >= 0.0):
            raise MliuqError(f"skin is {skin}, expected a number of at least 0 Å")
        if threads is not None and threads < 1:
            raise MliuqError(f"threads is {threads}, expected at least 1")
        self._kernel = {"kernel": kernel, "precision": precision}
        self._potential = self.model.potential(**self._kernel) if potential is None else potential
        self._threads = threads or 0
        self._skin = skin
        self._neighbours: Neighbours | None = None
        self._alone = threading.RLock()
        self._features: NDArray[np.float64] | None = None
        self.implemented_properties = list(_PLAIN)
        if self._potential.has_members:
            self.implemented_properties += [*_SPREADS, *_ON_REQUEST]
            if self._potential.has_box:
                self.implemented_properties += _OF_BOX
        if self._potential.has_extrapolation:
            self.implemented_properties.append("extrapolation")
        if self.model.novelty.has_grade:
            self.implemented_properties.append("grade")
        if self.model.novelty.has_density:
            self.implemented_properties.append("density")

    def results_of(self, atoms: Atoms, names: Collection[str]) -> dict[str, Any]:
        """Evaluate several properties in one pass, where `get_property` would make a pass for each bar of forces.

        Parameters
        ----------
        names : of `implemented_properties`; those that need a volume are left out for a structure without

        Raises
        ------
        MliuqError
            For a name that is not among the implemented ones.
        """
        for name in names:
            if name not in self.implemented_properties:
                raise MliuqError(f"property is {name!r}, expected one of {', '.join(self.implemented_properties)}")
        wanted = [name for name in names if not (atoms.cell.rank < 3 and name.startswith("stress"))]
        with self._alone:
            if changes := self.check_state(atoms):
                self.reset()
            if missing := [name for name in wanted if name not in self.results]:
                self.calculate(atoms, missing, changes)
            return {name: self.results[name] for name in wanted}

    def interval(self, quantity: str, level: float = 0.9, atoms: Atoms | None = None) -> tuple[Any, Any]:
        """Ends of the interval that holds the reference value with probability `level`.

        Best fit ± q·err, with the predicted error err and the conformal quantile q of |error|/err that the model's
        calibration found at this level; it supposes structures like those calibrated on, not a shape of the errors.

        Parameters
        ----------
        quantity : {"energy", "forces", "stress"}
        level : float
            Above 0 and below 1: the share of single values (a component of one force, one energy) to be held.
        atoms : Atoms, optional
            Default: those of the last evaluation.

        Returns
        -------
        low, high : floats, or ndarrays of the quantity's shape

        Raises
        ------
        MliuqError
            For a model that is not calibrated for `quantity`, or not up to `level`.
        """
        atoms = self.evaluated() if atoms is None else atoms
        return interval(self, quantity, level, atoms, surroundings(self.model, atoms))

    def evaluated(self) -> Atoms:
        """Return the structure evaluated last.

        Raises
        ------
        MliuqError
            Before the first.
        """
        atoms: Atoms | None = self.atoms
        if atoms is None:
            raise MliuqError("nothing has been evaluated yet, expected atoms=")
        return atoms

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what C++ holds: copies and other processes make their own."""
        return {
            key: value for key, value in self.__dict__.items() if key not in ("_potential", "_neighbours", "_alone")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._potential = self.model.potential(**self._kernel)
        self._neighbours = None
        self._alone = threading.RLock()

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """See ASE; one thread at a time."""
        with self._alone:
            return super().get_property(name, atoms, allow_calculation)

    def calculate_properties(self, atoms: Atoms, properties: Sequence[str]) -> Any:
        """See ASE; one thread at a time."""
        with self._alone:
            return super().calculate_properties(atoms, properties)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Evaluate the model; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        held = cast(Atoms, self.atoms)  # a copy of what `calculate` was given
        if self._neighbours is None or not self._neighbours.follow(held):
            self._neighbours = Neighbours(held, self.model.params, self._potential.cutoff, self._skin)
        structure = self._neighbours.structure
        if structure.volume <= 0.0 and any(name.startswith("stress") for name in properties):
            raise PropertyNotImplementedError("stress needs a cell with a volume, this structure has none")
        rows = [name for name in properties if name in _ROWS or (name in _OF_BOX and name not in _ENERGY_BOUNDS)]
        # Bars asked of positions whose energy and forces are known leave those alone.
        if not self.results or not set(properties) <= {*self.results, *rows, *_OF_MODEL, "energy_std_gradient"}:
            self._evaluate(structure, properties)
        if rows:
            self.results.update(
                row_bars(
                    self._potential,
                    structure,
                    rows,
                    forces=self.results["forces"],
                    stress=self.results.get("stress"),
                    scale=self.model.error_scale,
                    threads=self._threads,
                )
            )
        if "energy_std_gradient" in properties:
            assert self._features is not None
            self.results["energy_std_gradient"] = self._potential.energy_std_gradient(
                structure, self._features, threads=self._threads
            )

        if not set(_OF_MODEL).isdisjoint(properties):
            self._add_novelty(held, properties)

    def _add_novelty(self, atoms: Atoms, properties: Sequence[str]) -> None:
        """Put grade and density into the results, from descriptors alone."""
        model = self.model
        b, element = descriptors(atoms, model.params), np.asarray(model.params.index_of(list(atoms.symbols)))
        if "grade" in properties:
            self.results["grade"] = model.novelty.grade(b, element)
        if "density" in properties:
            self.results["density"] = model.novelty.density(b, element)

    def _evaluate(self, structure: PackedStructure, properties: Sequence[str]) -> None:
        """Put energies, forces, stress and all that comes with the descriptors into the results."""
        has_members = self._potential.has_members
        raw = self._potential.evaluate(
            structure,
            spreads=has_members,
            committee="energy_comm" in properties,
            atom_committee="energies_comm" in properties,
            extrapolation="extrapolation" in properties,
            atom_virials="stresses" in properties,
            box=not set(_ENERGY_BOUNDS).isdisjoint(properties),
            threads=self._threads,
        )
        self._features = raw.pop("features", None)
        virial, atom_virials = raw.pop("virial"), raw.pop("atom_virials", None)
        if structure.volume > 0.0:
            raw["stress"] = -virial / structure.volume
            if atom_virials is not None:
                raw["stresses"] = -atom_virials / structure.volume
        if has_members:
            scale = self.model.error_scale
            raw["energies_err"] = np.hypot(scale.alpha_energy * raw["energies_std"], scale.noise_energy)
        self.results.update(raw, free_energy=raw["energy"])
