"""One evaluation that keeps nothing: safe from any number of threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ase import Atoms

from mliuq.ase.calculator import MLIUQCalculator
from mliuq.errors import MliuqError
from mliuq.model import Model


def evaluate(
    model: str | os.PathLike[str] | Model,
    atoms: Atoms,
    properties: Sequence[str] = ("energy",),
    *,
    threads: int | None = None,
) -> dict[str, Any]:
    """Energies, forces, stress and their spreads of one structure, as a new dictionary.

    Nothing is kept between calls and ``atoms`` is not touched, so that threads may call it with one model. For a
    trajectory the calculator is faster: it keeps its neighbour list.

    Parameters
    ----------
    model : str, path or Model
        A Model is better where many structures are evaluated: a file is read each time.
    atoms : ase.Atoms
    properties : sequence of str
        What is asked for beyond what every evaluation gives (`MLIUQCalculator`): ``energy_comm``, ``extrapolation``, …
    threads : int, optional
        OpenMP threads of this call.

    Raises
    ------
    MliuqError
        As `MLIUQCalculator`, and for one name in place of several.
    """
    if isinstance(properties, str):
        raise MliuqError(f"properties is the string {properties!r}, expected a sequence of names")
    loaded = model if isinstance(model, Model) else Model.load(model)
    calculator = MLIUQCalculator(loaded, threads=threads, skin=0.0, potential=loaded.evaluator)
    structure = atoms.copy()
    found = {name: calculator.get_property(name, structure) for name in properties}
    return {**calculator.results, **found}
