"""What speaks against a fit: memory it cannot have, weights its data cannot determine, test sets it has seen."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from mliuq.descriptor.params import SnapParams
from mliuq.descriptor.reach import clear_cutoff, shell_at
from mliuq.errors import MliuqError
from mliuq.fitting.data import FitData
from mliuq.fitting.settings import FitSettings
from mliuq.judging.metrics import envelope_violation, informative
from mliuq.memory import refuse_beyond_memory
from mliuq.posterior.predict import Predictions
from mliuq.readers.fingerprints import fingerprints
from mliuq.regression.rows import FORCE
from mliuq.regression.solver import Solution

log = logging.getLogger(__name__)

_ENVELOPE = 0.01  # of the references that may lie outside of 500 members
_SQUARES = 8  # matrices of P × P that exist at one time during the solution (measured: 9 for P = 1500)
_MEMBERS = 4  # arrays of M × P: drawn, moved, stored, written


def refuse_impossible(params: SnapParams, settings: FitSettings) -> None:
    """Refuse a fit whose matrices do not fit into memory, before any of them is made.

    Raises
    ------
    MliuqError
        naming what would be needed.
    """
    total = params.n_elements * params.n_weights
    form = ", quadratic" if params.quadraticflag else ""
    refuse_beyond_memory(
        8.0 * _SQUARES * total**2,
        f"the solution for {total} weights (twojmax {params.twojmax}{form}, {params.n_elements} element(s))",
        "a smaller snap.twojmax or a linear model",
    )
    members = settings.posterior.members
    refuse_beyond_memory(
        8.0 * _MEMBERS * members * total, f"{members} members of {total} weights", "fewer posterior.members"
    )


def judge_rank(solution: Solution, params: SnapParams) -> None:
    """Warn of weights the data leave open; refuse to go on where they are most of them.

    With `chemflag`, components that are equal by symmetry leave up to three weights of four open without harm.

    Raises
    ------
    MliuqError
        when the data determine less than half of the weights (a quarter with chemflag).
    """
    total = len(solution.theta)
    if solution.rank == total:
        return
    if solution.rank < total / (4 if params.chemflag else 2):
        raise MliuqError(
            f"the data determine {solution.rank} of {total} weights: expected a longer cutoff (rcutfac is "
            f"{params.rcutfac:g} Å), more or more varied configurations, a smaller twojmax, or solver.ridge above 0"
        )
    names = [f"{params.elements[k // params.n_weights]} {k % params.n_weights}" for k in solution.undetermined]
    log.warning(
        "the data determine %d of %d combinations of weights; the others are set to zero (weights that take part: %s)",
        solution.rank, total, ", ".join(names[:8]) + (", …" if len(names) > 8 else ""),
    )  # fmt: skip


def warn_of_shell(left_out: Predictions, params: SnapParams, structures: Sequence[Atoms]) -> None:
    """Warn of forces outside of all members where the cutoff ends on a shell of neighbours (`mliuq.descriptor.reach`).

    Parameters
    ----------
    left_out : rows of these structures, predicted without their configuration
    """
    forces = left_out.where(informative(left_out.kind, left_out.size)).of_kind(FORCE)
    outside = envelope_violation(forces.y, forces.low, forces.high) if len(forces) else 0.0
    cutoff, radii = params.rcutfac, dict(zip(params.elements, params.radii, strict=True))
    if outside <= _ENVELOPE or not shell_at(structures, cutoff, radii):
        return
    clear = clear_cutoff(structures, cutoff, radii)
    log.warning(
        "%.1f %% of the force components lie outside of all members, and a shell of neighbours lies at the cutoff "
        "(rcut %g Å), where no weights can follow its forces: expected %s",
        100 * outside, cutoff, f"{clear:g} Å or more" if clear > cutoff else "another cutoff",
    )  # fmt: skip


def warn_of_leaks(data: FitData) -> None:
    """Warn of configurations that are there twice, and of test configurations that are fitted, too."""
    train, held_out = fingerprints(data.train), fingerprints(data.held_out)
    for name, found in (("training", train), ("test", held_out)):
        if repeated := len(found) - len(np.unique(found)):
            log.warning("%d of %d %s configurations are there before, to 1e-4 Å", repeated, len(found), name)
    if shared := int(np.isin(held_out, train).sum()):
        log.warning(
            "%d of %d test configurations are training configurations, too: errors on them are no test",
            shared, len(held_out),
        )  # fmt: skip
