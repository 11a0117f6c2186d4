"""The properties as functions: a model and what to compute in, an answer with error bars out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path as FilePath
from typing import Literal, TypedDict, Unpack

from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.model import Model
from mliuq.propagation import prototypes
from mliuq.propagation.deformation_paths import PATHS, Path
from mliuq.propagation.driver import Progress, propagate
from mliuq.propagation.elasticity import Elastic
from mliuq.propagation.equation_of_state import EquationOfState
from mliuq.propagation.results import PropertyResult
from mliuq.propagation.settings import PropagationSettings

Structures = Sequence[str] | Mapping[str, Atoms]

PHASES = ("bcc", "fcc", "hcp", "dhcp", "A15", "sigma", "chi", "mu", "C14", "C15", "C36", "omega", "sc", "diamond")


class Run(TypedDict, total=False):
    """What all functions take besides, see `propagate`."""

    settings: PropagationSettings | None
    executor: Executor | None
    threads: int | None
    checkpoint: FilePath | None
    progress: Progress | None


def element_of(model: Model, element: str | None) -> str:
    """The element asked for, or the model's only one."""
    if element is None:
        if len(model.params.elements) > 1:
            raise MliuqError(f"element is missing, expected one of {' '.join(model.params.elements)}")
        return model.params.elements[0]
    return element


def named(structures: Structures, model: Model, element: str | None, *, cubic: bool = False) -> dict[str, Atoms]:
    """Structures by name: prototypes, ``prototype:symbols``, files, or Atoms under names of their own."""
    if isinstance(structures, Mapping):
        found = dict(structures)
    else:
        pairs = [prototypes.structure(name, element_of(model, element), cubic=cubic) for name in structures]
        found = dict(pairs)
        if len(found) < len(pairs):
            raise MliuqError(f"two structures have one name: {' '.join(name for name, _ in pairs)}")
    for atoms in found.values():
        model.params.index_of(atoms.get_chemical_symbols())
    return found


def eos(
    model: Model,
    structures: Structures = ("bcc", "fcc", "hcp"),
    *,
    element: str | None = None,
    reference: str | None = None,
    relax: Literal["all", "volume"] = "all",
    span: float = 0.06,
    points: int = 7,
    **run: Unpack[Run],
) -> PropertyResult:
    """Equations of state: energy, volume, bulk modulus and its derivative; formation energies between structures.

    Parameters
    ----------
    model : Model
        With members.
    structures : sequence of str, or mapping of str to Atoms
        Names of prototypes (``bcc``, ``C15:TaW``) or files; or structures under names of your own.
    element : str, optional
        Of prototypes named without symbols; the model's only element by default.
    reference, relax, span, points
        See `EquationOfState`.
    **run
        ``settings``, ``executor``, ``threads``, ``checkpoint``, ``progress``: see `propagate`.
    """
    prop = EquationOfState(named(structures, model, element), reference, relax, span, points)
    return propagate(prop, model, **run)


def phases(
    model: Model,
    structures: Structures = PHASES,
    *,
    element: str | None = None,
    reference: str | None = None,
    relax: Literal["all", "volume"] = "all",
    span: float = 0.06,
    points: int = 7,
    **run: Unpack[Run],
) -> PropertyResult:
    """Like `eos`, of all prototypes: formation energies, their rank correlations, and how sure the order is."""
    prop = EquationOfState(named(structures, model, element), reference, relax, span, points, name="phases")
    return propagate(prop, model, **run)


def elastic(
    model: Model,
    structures: Structures = ("bcc",),
    *,
    element: str | None = None,
    strain: float = 0.005,
    **run: Unpack[Run],
) -> PropertyResult:
    """Elastic constants C_ij (GPa) of conventional cells, and Hill's averages; see `Elastic`."""
    return propagate(Elastic(named(structures, model, element, cubic=True), strain), model, **run)


def path(
    model: Model,
    paths: Sequence[str] = tuple(PATHS),
    *,
    between: Mapping[str, tuple[Atoms, Atoms]] | None = None,
    element: str | None = None,
    points: int = 41,
    **run: Unpack[Run],
) -> PropertyResult:
    """Energy along deformation paths, and straight lines between structures; see `Path`."""
    symbol = element_of(model, element) if paths else ""
    return propagate(Path(tuple(paths), between, symbol, points), model, **run)
