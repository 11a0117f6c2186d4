"""From weighted rows to weights: what the data leave open is held by a prior, and said in words."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError
from mliuq.fitting.checks import judge_rank
from mliuq.fitting.settings import FitSettings
from mliuq.regression.distributed import Team
from mliuq.regression.evidence import Evidence
from mliuq.regression.protection import Protection, displaced_rows, protect
from mliuq.regression.rows import KINDS, Floats, RowSource, RowTable
from mliuq.regression.solver import Solution, solve_triangle

log = logging.getLogger(__name__)

_LEAST = 0.25  # share of the combinations of weights that must be held by something


def solve_protected(
    rows: RowSource,
    triangle: Floats,
    structures: Sequence[Atoms],
    params: SnapParams,
    settings: FitSettings,
    team: Team,
) -> tuple[Solution, Protection]:
    """Fit the weights, under `solver.ridge = "auto"` with the prior that protects where it is needed.

    A ridge of largest evidence shrinks all weights but the one-body energies, whose zero means nothing.

    `triangle` is that of the weighted rows.

    Raises
    ------
    MliuqError
        where neither data nor prior determine most of the weights, as with a cutoff below the nearest distance.
    """
    solver = settings.solver
    rcond = solver.rcond or None
    if solver.ridge != "auto":
        free = tuple(range(0, rows.n_weights, params.n_weights)) if solver.ridge == "evidence" else ()  # one-body
        solution = solve_triangle(
            triangle, rows.table, ridge=solver.ridge, evidence=Evidence(free=free), rcond=rcond, quiet=True
        )
        judge_rank(solution, params)
        return solution, Protection(free=free)
    displaced = displaced_rows(structures, params, rows.table, seed=settings.seed, threads=solver.threads)
    protection = protect(
        rows, triangle, displaced, n_configurations=len(structures), rcond=rcond, seed=settings.seed, team=team
    )
    solution = solve_triangle(triangle, rows.table, rcond=rcond, prior=protection.triangle, quiet=True)
    if solution.rank < _LEAST * rows.n_weights:
        raise MliuqError(
            f"the data determine {solution.rank} of {rows.n_weights} combinations of weights, and displaced copies of"
            f" the structures no more: expected neighbours of most atoms within the cutoff of {params.cutoff:g} Å;"
            " give a larger rcut or more kinds of structures"
        )
    if protection.triangle is not None:
        log.warning(
            "the data leave %.1f of %d weights open (%s): a prior on forces of displaced structures holds them; do not"
            " trust the model where its error bars are wide",
            protection.lent, rows.n_weights, "; ".join(what_is_missing(structures, rows.table)),
        )  # fmt: skip
    elif solution.rank < rows.n_weights and any(k % params.n_weights == 0 for k in solution.undetermined):
        log.warning(
            "%s: the smallest weights are taken; energies of other compositions, and how a cell's energy is split"
            " between its atoms, mean nothing (one-body energies settle it: --one-body)",
            "; ".join(what_is_missing(structures, rows.table)),
        )
    return solution, protection


def what_is_missing(structures: Sequence[Atoms], table: RowTable) -> list[str]:
    """Return in words what the data do not show."""
    missing = [f"no {name} seen" for k, name in enumerate(("energies", "forces")) if not np.any(table.kind == k)]
    forces = table.y[table.kind == KINDS.index("force")]
    if len(forces) and np.abs(forces).max() < 1e-3:
        missing.append("every force seen is zero by symmetry")
    elements = sorted({symbol for atoms in structures for symbol in atoms.symbols})
    compositions = {tuple(round(atoms.symbols.count(e) / len(atoms), 6) for e in elements) for atoms in structures}
    if len(elements) > 1 and len(compositions) == 1:
        missing.append("one composition: how energy is shared between elements is a guess")
    elif len(elements) > len(compositions):
        missing.append("fewer compositions than elements")
    if len(structures) < 20:
        missing.append(f"only {len(structures)} configuration{'s' if len(structures) > 1 else ''}")
    return missing or ["too few kinds of structures for so many weights"]
