"""The rows that labelling a structure would add to a fit, in the metric of that fit.

With A = RᵀR of the fit and the weights w it gives to rows, z = √w x R⁻¹ is a new row in coordinates where A = 1: its
leverage is ‖z‖², and the factor after labelling has 1 + ZᵀZ in place of 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular

from mliuq.descriptor.bispectrum import atomic_rows, descriptors, design_rows
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError, in_range
from mliuq.model import Model
from mliuq.regression.rows import KINDS, Floats, Ints
from mliuq.regression.weights import LARGEST, WeightSettings
from mliuq.toml import from_mapping

#: What labels are called here and in ASE, in the order of `KINDS`.
LABELS = ("energy", "forces", "stress")


@dataclass(frozen=True)
class LabelRows:
    """Makes the rows that labels bring.

    Attributes
    ----------
    params : the descriptor
    factor : (n, n) R of the fit
    weights : weight of a squared residual of energy (per atom), force component, stress component; 0: no such label
    threads : of the core, 0 for what OpenMP would take
    """

    params: SnapParams
    factor: Floats
    weights: tuple[float, float, float]
    threads: int = 0

    def whitened(self, structures: Sequence[Atoms]) -> list[Floats]:
        """Return z = √w x R⁻¹ of every structure's labels: energy, forces (atom by atom), stress."""
        energy, forces, stress = (weight > 0.0 for weight in self.weights)
        designs = design_rows(
            structures, self.params, energy=energy, forces=forces, stress=stress, threads=self.threads or None
        )
        return [
            self._white(x * np.sqrt(self._row_weights(len(atoms)))[:, None])
            for atoms, x in zip(structures, designs, strict=True)
        ]

    def of_combination(self, structures: Sequence[Atoms], coefficients: Sequence[float]) -> Floats:
        """Return the row (1, n) of Σ c_i E_i, whitened; E_i are energies of cells."""
        designs = design_rows(structures, self.params, forces=False, threads=self.threads or None)
        row = sum(c * len(a) * x for c, a, x in zip(coefficients, structures, designs, strict=True))
        return self._white(np.asarray(row))

    def force_rows(self, z: Floats, n_atoms: int) -> Floats | None:
        """Return those of a structure's whitened rows that are forces, (n_atoms, 3, n); None without."""
        first = int(self.weights[0] > 0.0)
        return z[first : first + 3 * n_atoms].reshape(n_atoms, 3, -1) if self.weights[1] > 0.0 else None

    def of_atoms(self, atoms: Atoms) -> Floats:
        """Return the whitened rows of the energies of single atoms, (n_atoms, n), of weight one."""
        d, element = rows_of_atoms(atoms, self.params)
        whole = np.zeros((len(atoms), self.params.n_elements, d.shape[1]))
        whole[np.arange(len(atoms)), element] = d
        return self._white(whole.reshape(len(atoms), -1))

    def _white(self, x: Floats) -> Floats:
        return np.asarray(solve_triangular(self.factor, x.T, trans="T", check_finite=False).T)

    def _row_weights(self, n_atoms: int) -> Floats:
        counts = [count for count, weight in zip((1, 3 * n_atoms, 6), self.weights, strict=True) if weight > 0.0]
        return np.repeat([weight for weight in self.weights if weight > 0.0], counts)


def rows_of_atoms(atoms: Atoms, params: SnapParams) -> tuple[Floats, Ints]:
    """Return the rows d (n_atoms, P) of energies of single atoms, and the index of each one's element."""
    d = atomic_rows(descriptors(atoms, params), params.quadraticflag)
    return d, np.asarray(params.index_of(list(atoms.symbols)), dtype=np.int64)


def factor_of(model: Model) -> Floats:
    """Return R of a model's fit.

    Raises
    ------
    MliuqError
        for a model that does not carry it.
    """
    factor = model.arrays.get("extrapolation.factor")
    if factor is None:
        raise MliuqError(
            'the model does not carry the factor of its fit (array "extrapolation.factor"): expected one fitted with '
            "posterior.extrapolation = true"
        )
    return factor


def fitted_weights(model: Model) -> tuple[float, float, float]:
    """Return the weights that the fit of a model gives to an energy, a force component, a stress component.

    Those of groups of configurations are left aside: nobody knows yet which group a new structure will be in.  Under
    the near-equilibrium weighting these are the means, under which both kinds have equal sums.

    Raises
    ------
    MliuqError
        for a model whose file does not say.
    """
    fit: Any = model.metadata.get("fit")
    try:
        settings = from_mapping(WeightSettings, fit["settings"]["weights"], "fit.settings.weights of the model")
        constants: Mapping[str, float] = fit["balance"]["constants"]
        found = [
            float(constants[kind])
            if getattr(settings, kind) == "auto" and kind in constants
            else _constant(settings, kind)
            for kind in KINDS
        ]
        if settings.near_equilibrium is not None and min(found[:2]) > 0.0:
            rows = fit["rows"]
            found[:2] = [rows["force"] / rows["energy"], 1.0]
        weights = (float(found[0]), float(found[1]), float(found[2]))
    except (KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise MliuqError(
            "the model does not say how its fit weighed energies and forces (metadata fit.settings.weights and "
            "fit.balance), expected one that mliuq has fitted, or weights="
        ) from error
    return weights


def _constant(settings: WeightSettings, kind: str) -> float:
    value = getattr(settings, kind)
    return 1.0 if value == "auto" else float(value)


def weights_of_labels(
    model: Model, rows: Sequence[str], weights: Mapping[str, float] | None
) -> tuple[float, float, float]:
    """Return the weight of each kind of label, 0 for those not in `rows`; `weights` replaces what the fit gave.

    Raises
    ------
    MliuqError
        for unknown names, weights that are no positive numbers, or labels that the fit does not look at.
    """
    if isinstance(rows, str) or not rows or (unknown := set(rows) - set(LABELS)):
        found = rows if isinstance(rows, str) or not rows else sorted(unknown)[0]
        raise MliuqError(f"rows has {found!r}, expected some of {', '.join(LABELS)}")
    if weights is None:
        found_weights = fitted_weights(model)
    else:
        if unknown := set(weights) - set(LABELS):
            raise MliuqError(f"weights has {sorted(unknown)[0]!r}, expected some of {', '.join(LABELS)}")
        for name, value in weights.items():
            in_range(f"weight of {name}", value, 0.0, LARGEST)
        energy, forces, stress = (float(weights.get(name, 0.0)) for name in LABELS)
        found_weights = (energy, forces, stress)
    energy, forces, stress = (w if name in rows else 0.0 for name, w in zip(LABELS, found_weights, strict=True))
    if not max(energy, forces, stress) > 0.0:
        raise MliuqError(f"the fit gives no weight to {' and '.join(rows)}: labels of that kind would teach it nothing")
    return energy, forces, stress
