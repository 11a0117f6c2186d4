"""The properties as functions: a model and what to compute in, an answer with error bars out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path as FilePath
from typing import Literal, TypedDict, Unpack

from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.model import Model
from mliuq.propagation import prototypes
from mliuq.propagation.barriers import Barrier, vacancy_hop
from mliuq.propagation.deformation_paths import PATHS, Path
from mliuq.propagation.driver import Progress, propagate
from mliuq.propagation.elasticity import Elastic
from mliuq.propagation.equation_of_state import EquationOfState
from mliuq.propagation.free_surfaces import Surfaces
from mliuq.propagation.phonon_bands import Phonons
from mliuq.propagation.point_defects import Defects
from mliuq.propagation.results import PropertyResult
from mliuq.propagation.settings import PropagationSettings
from mliuq.propagation.stacking_faults import StackingFaults
from mliuq.propagation.user_defined import Custom

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


def phonons(
    model: Model,
    structures: Structures = ("bcc",),
    *,
    element: str | None = None,
    size: int = 4,
    displacement: float = 0.01,
    points: int = 120,
    mesh: int = 9,
    **run: Unpack[Run],
) -> PropertyResult:
    """Phonon bands, densities of states, imaginary modes; needs phonopy, see `Phonons`."""
    return propagate(Phonons(named(structures, model, element), size, displacement, points, mesh), model, **run)


def defects(
    model: Model,
    kinds: Sequence[str] = ("vacancy",),
    *,
    host: str | Atoms = "bcc",
    element: str | None = None,
    size: int = 3,
    volumes: bool = True,
    **run: Unpack[Run],
) -> PropertyResult:
    """Formation energies and volumes of point defects; see `Defects`."""
    name, crystal = _host(host, model, element)
    return propagate(Defects(crystal, name.partition(":")[0], tuple(kinds), size, volumes), model, **run)


def surfaces(
    model: Model,
    planes: Sequence[tuple[int, int, int] | str] = ("110", "100", "111"),
    *,
    host: str | Atoms = "bcc",
    element: str | None = None,
    layers: int = 8,
    vacuum: float = 6.0,
    **run: Unpack[Run],
) -> PropertyResult:
    """Energies of free surfaces; see `Surfaces`."""
    _, crystal = _host(host, model, element)
    return propagate(Surfaces(crystal, [miller(p) for p in planes], layers, vacuum), model, **run)


def gsf(
    model: Model,
    lattice: str = "bcc",
    *,
    plane: tuple[int, int, int] | str = "110",
    direction: tuple[int, int, int] | str = "1-11",
    element: str | None = None,
    layers: int = 6,
    points: int = 11,
    across: int = 1,
    **run: Unpack[Run],
) -> PropertyResult:
    """Generalised stacking fault energies, a line or (``across``) a surface; see `StackingFaults`."""
    symbol = element_of(model, element)
    fault = StackingFaults(symbol, lattice, miller(plane), miller(direction), layers, points, across)
    return propagate(fault, model, **run)


def neb(
    model: Model,
    ends: tuple[Atoms, Atoms] | None = None,
    *,
    host: str | Atoms = "bcc",
    element: str | None = None,
    size: int = 3,
    images: int = 5,
    fmax: float = 0.01,
    **run: Unpack[Run],
) -> PropertyResult:
    """Barrier of a path between two structures; without ``ends`` that of the vacancy hop in ``host``; see `Barrier`."""
    if ends is not None:
        return propagate(Barrier(ends[0], ends[1], images=images, fmax=fmax), model, **run)
    _, crystal = _host(host, model, element)
    first, last = vacancy_hop(crystal, size)
    return propagate(Barrier(first, last, crystal, size, images, fmax), model, **run)


def custom(
    model: Model,
    structures: Structures,
    function: str,
    *,
    element: str | None = None,
    relax: Literal["cell", "atoms", "none"] = "cell",
    **run: Unpack[Run],
) -> PropertyResult:
    """Whatever ``module:function`` computes of a structure and a calculator; see `Custom`."""
    return propagate(Custom(named(structures, model, element), function, relax), model, **run)


def miller(text: str | tuple[int, int, int]) -> tuple[int, int, int]:
    """Indices of a plane or direction from text such as 110, 1-11 or "1 -1 10"."""
    if isinstance(text, tuple):
        return text
    found = re.findall(r"-?\d+" if " " in text else r"-?\d", text)
    if len(found) != 3 or re.sub(r"[-\d ]", "", text):
        raise MliuqError(f"Miller indices are {text!r}, expected three whole numbers as in 110, 1-11 or '1 -1 10'")
    return int(found[0]), int(found[1]), int(found[2])


def _host(host: str | Atoms, model: Model, element: str | None) -> tuple[str, Atoms]:
    """The conventional cell of a crystal that defects or surfaces are made in."""
    structures: Structures = {"host": host} if isinstance(host, Atoms) else (host,)
    ((name, atoms),) = named(structures, model, element, cubic=True).items()
    return name, atoms
