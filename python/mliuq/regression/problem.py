"""From structures to rows: which descriptor, which targets, how rows are kept between passes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from ase import Atoms

from mliuq.descriptor import zbl as repulsion
from mliuq.descriptor.bispectrum import design_rows
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError
from mliuq.outputs import scratch
from mliuq.readers.kept import chosen
from mliuq.readers.keys import Keys
from mliuq.readers.origin import describe
from mliuq.regression.computed import ComputedRows, fingerprint
from mliuq.regression.distributed import Team
from mliuq.regression.row_cache import DiskRows, MemoryRows
from mliuq.regression.rows import RowSource
from mliuq.regression.settings import SolverSettings
from mliuq.regression.targets import Targets, read_targets
from mliuq.regression.weights import WeightSettings, row_weights

log = logging.getLogger(__name__)

#: Weight of a given one-body energy relative to all energies together: it is met to this accuracy, and costs no digits.
_OVERWHELMING = 1e10


def build_rows(
    structures: Sequence[Atoms],
    params: SnapParams,
    *,
    zbl: tuple[float, float] | None = None,
    keys: Keys | None = None,
    weights: WeightSettings | None = None,
    one_body: Mapping[str, float] | None = None,
    skip_missing: bool = False,
    factors: Sequence[float] | None = None,
    threads: int = 0,
) -> ComputedRows:
    """Return the rows of structures: reference values minus what the model adds by itself (ZBL).

    Parameters
    ----------
    structures : configurations with reference values
    params : the descriptor
    zbl : inner and outer radius of the repulsion, Å
    keys, weights, skip_missing : see `read_targets` and `row_weights`
    one_body : energy (eV) of an isolated atom of each element.  They enter as configurations behind the last structure
        whose weight overwhelms all others, so that the fit meets them to about 1e-10 of its energy errors.
    factors : of all weights of each structure
    threads : threads that compute rows, 0 for all

    Raises
    ------
    MliuqError
        for data, weights or elements that cannot be used.
    """
    keys, weights = keys or Keys(), weights or WeightSettings()
    for index, atoms in enumerate(structures):
        try:
            params.index_of(atoms.symbols)
        except MliuqError as error:
            raise MliuqError(f"{describe(atoms, index, keys.group)}: {error}") from error
    targets = read_targets(structures, keys, weights.wanted(), skip_missing=skip_missing)
    own = row_weights(structures, targets, weights, keys)
    if factors is not None:
        own = [(f * e, f * of_atoms, f * s) for f, (e, of_atoms, s) in zip(factors, own, strict=True)]
    if zbl is not None:
        targets = [_without_zbl(atoms, target, zbl) for atoms, target in zip(structures, targets, strict=True)]
    extra: list[Atoms] = []
    if one_body:
        if missing := set(params.elements) - set(one_body):
            raise MliuqError(f"one-body energies are given, but none for {sorted(missing)[0]}")
        heavy = _OVERWHELMING * max(1.0, sum(w[0] for w in own))
        for element in params.elements:
            extra.append(Atoms(element))
            targets.append(Targets(float(one_body[element]), None, None))
            own.append((heavy, np.zeros(1), 0.0))
    compute = partial(design_rows, params=params, threads=threads or None)
    return ComputedRows(
        [*structures, *extra] if extra else structures, targets, own, compute, params.n_elements * params.n_weights
    )


def isolated_atom_energies(
    structures: Sequence[Atoms], params: SnapParams, keys: Keys
) -> tuple[dict[str, float], list[int]]:
    """Return the energies of configurations that are one atom without neighbours, by element, and where they stand."""
    alone = [i for i, atoms in enumerate(structures) if len(atoms) == 1 and _is_isolated(atoms, params.cutoff)]
    targets = read_targets([structures[i] for i in alone], keys, (True, False, False)) if alone else []
    energies: dict[str, float] = {}
    for i, target in zip(alone, targets, strict=True):
        symbol, energy = str(structures[i].symbols[0]), cast(float, target.energy)
        if abs(energies.setdefault(symbol, energy) - energy) > 1e-6:
            raise MliuqError(
                f"isolated {symbol} atoms have energies {energies[symbol]} and {energy} eV: "
                f"{describe(structures[i], i, keys.group)}"
            )
    if missing := set(params.elements) - set(energies):
        raise MliuqError(
            f"isolated-atom energies were asked for, but the data holds no isolated {sorted(missing)[0]} atom "
            f"(one atom, no image within {params.cutoff:g} Å)"
        )
    return energies, alone


def split(structures: Sequence[Atoms], fraction: float, seed: int) -> tuple[Sequence[Atoms], Sequence[Atoms]]:
    """Return training and held-out configurations, each in the order of the data; at least one is held out if any.

    Raises
    ------
    MliuqError
        if holding out would leave nothing to fit.
    """
    n_test = int(np.ceil(fraction * len(structures) - 1e-9))
    if n_test >= len(structures):
        raise MliuqError(
            f"holding out {fraction:g} of {len(structures)} configuration(s) leaves none to fit; "
            "give more data, a test set (--test), or --test-fraction 0"
        )
    out = set(np.random.default_rng(seed).permutation(len(structures))[:n_test].tolist())
    every = range(len(structures))
    return chosen(structures, (i for i in every if i not in out)), chosen(structures, (i for i in every if i in out))


@contextmanager
def kept_rows(
    rows: ComputedRows, structures: Sequence[Atoms], params: SnapParams, settings: SolverSettings, team: Team
) -> Iterator[RowSource]:
    """Keep rows between passes as the settings say; a temporary folder is gone when the context is left."""
    mebibytes = len(rows.table) * rows.n_weights * 8 / 2**20
    how = settings.rows
    if how == "auto":
        how = "disk" if settings.cache or mebibytes / team.size > settings.memory else "memory"
    log.info("%d rows of %d numbers, %.3g MiB: %s", len(rows.table), rows.n_weights, mebibytes, how)
    if how == "recompute":
        yield rows
    elif how == "memory":
        yield MemoryRows(rows)
    else:
        with scratch() as temporary:
            folder = Path(settings.cache or team.broadcast(str(temporary)))
            identity = fingerprint(structures, params.elements, params.to_metadata(), rows.table.kind.tobytes())
            if team.rank == 0:
                cached = DiskRows(rows, folder, identity)
            team.broadcast(None)  # the manifest stands before anyone reads it
            yield cached if team.rank == 0 else DiskRows(rows, folder, identity)
            team.broadcast(None)  # nobody reads any more


def _without_zbl(atoms: Atoms, target: Targets, zbl: tuple[float, float]) -> Targets:
    own = repulsion.evaluate(atoms, *zbl)
    if target.stress is not None and own.stress is None:
        raise MliuqError("a structure with a reference stress has no volume")
    return Targets(
        None if target.energy is None else target.energy - own.energy,
        None if target.forces is None else target.forces - own.forces,
        None if target.stress is None or own.stress is None else target.stress - own.stress,
    )


def _is_isolated(atoms: Atoms, cutoff: float) -> bool:
    if not atoms.pbc.any():
        return True
    shortest = np.linalg.norm(atoms.cell.minkowski_reduce()[0].array[atoms.pbc], axis=1).min()
    return bool(shortest > cutoff)
