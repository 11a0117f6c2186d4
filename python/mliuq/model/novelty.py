"""How far atoms are from the environments a model has learned from: D-optimality grade and density.

Both are unit-free and know nothing of energies.  The grade of a row d of an atom of element e is γ = max_j |d·a⁻¹|_j
with the active set a of the element, the training rows of (nearly) largest volume: γ ≤ 1 inside of what they span,
above it extrapolation (Podryabinkin & Shapeev, Comput. Mater. Sci. 140, 171 (2017)).  For the density see
`mliuq.model.density`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mliuq.descriptor.bispectrum import atomic_rows
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError
from mliuq.model.density import FEWEST, EnvironmentDensity

Array = NDArray[np.float64]

ACTIVE_SET = "extrapolation.active_set"
ENVIRONMENTS = "density.environments"
ELEMENT = "density.element"


def grade(d: Array, active: Array) -> Array:
    """Return γ of rows `d` (n, P) with respect to an active set (P, P).

    Raises
    ------
    MliuqError
        for an active set without volume.
    """
    scale = np.abs(active).max(axis=0)  # γ does not change, the conditioning does
    scale[scale == 0.0] = 1.0
    try:
        return np.asarray(np.abs(np.linalg.solve((active / scale).T, (d / scale).T)).max(axis=0))
    except np.linalg.LinAlgError:
        raise MliuqError("the active set of the model has no volume: there is no grade") from None


def check_arrays(params: SnapParams, arrays: Mapping[str, Array]) -> None:
    """Refuse arrays of the wrong shape, as the reader in C++ does.

    Raises
    ------
    MliuqError
        naming the array, what was expected and found.
    """
    sets, shape = arrays.get(ACTIVE_SET), (params.n_elements, params.n_weights, params.n_weights)
    if sets is not None and sets.shape != shape:
        raise MliuqError(f'array "{ACTIVE_SET}" has shape {sets.shape}, expected {shape}')
    environments, element = arrays.get(ENVIRONMENTS), arrays.get(ELEMENT)
    if (environments is None) != (element is None):
        there, missing = (ENVIRONMENTS, ELEMENT) if element is None else (ELEMENT, ENVIRONMENTS)
        raise MliuqError(f'array "{missing}" is missing, expected beside "{there}"')
    if environments is None or element is None:
        return
    n = len(environments) if environments.ndim else 0
    if environments.shape != (n, params.n_components):
        raise MliuqError(
            f'array "{ENVIRONMENTS}" has shape {environments.shape}, expected (any, {params.n_components})'
        )
    if element.shape != (n,):
        raise MliuqError(f'array "{ELEMENT}" has shape {element.shape}, expected ({n},)')
    if not np.isin(element, np.arange(params.n_elements)).all():
        raise MliuqError(
            f'array "{ELEMENT}" holds a value that is no index of an element, 0 to {params.n_elements - 1}'
        )


class Novelty:
    """Grades and densities by the arrays of a model.

    Attributes
    ----------
    has_grade, has_density : whether the model carries what they need
    """

    def __init__(self, params: SnapParams, arrays: Mapping[str, Array]) -> None:
        self._params, self._arrays = params, arrays
        self.has_grade = ACTIVE_SET in arrays
        counts = np.bincount(arrays.get(ELEMENT, np.zeros(0)).astype(np.int64), minlength=params.n_elements)
        self.has_density = bool((counts >= FEWEST).all())

    @cached_property
    def densities(self) -> list[EnvironmentDensity]:
        """The density of each element's environments."""
        environments, element = self._arrays[ENVIRONMENTS], self._arrays[ELEMENT]
        return [EnvironmentDensity(environments[element == index]) for index in range(self._params.n_elements)]

    def grade(self, b: Array, element: NDArray[np.int64]) -> Array:
        """γ of atoms (N,) from their descriptors (N, K) and indices of elements (N,)."""
        d, found = atomic_rows(b, self._params.quadraticflag), np.empty(len(b))
        for index in np.unique(element):
            found[element == index] = grade(d[element == index], self._arrays[ACTIVE_SET][index])
        return found

    def density(self, b: Array, element: NDArray[np.int64]) -> Array:
        """Logarithm (N,) of the density of training environments, relative to what is usual among themselves."""
        found = np.empty(len(b))
        for index in np.unique(element):
            found[element == index] = self.densities[index](b[element == index])
        return found
