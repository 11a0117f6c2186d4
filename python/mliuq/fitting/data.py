"""Which configurations are fitted, which are held out, and what is known beforehand."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from ase import Atoms

from mliuq.descriptor.neighbours import refuse_unknown_elements
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError
from mliuq.fitting.settings import FitSettings
from mliuq.readers.fingerprints import others_than
from mliuq.readers.kept import KeptStructures, chosen, joined
from mliuq.readers.origin import describe, numbered
from mliuq.regression.computed import ComputedRows
from mliuq.regression.outliers import Outlier
from mliuq.regression.problem import build_rows, isolated_atom_energies, split
from mliuq.regression.referenced import less_reference
from mliuq.regression.representation import Population
from mliuq.regression.rows import Floats, RowTable
from mliuq.regression.stress_check import odd_stress
from mliuq.regression.targets import doubts
from mliuq.regression.weights import WeightSettings, row_constants

UNITS = {"energy": "eV/atom", "force": "eV/Å", "stress": "eV/Å³"}
_NAMED = 5  # configurations named one by one

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitData:
    """Configurations of a fit.

    Attributes
    ----------
    train, held_out : what is fitted, what judges the fit (may be empty)
    one_body : energy (eV) of an isolated atom of each element, where it is not fitted
    stands_for : (n,) how many structures of a population each of `train` stands for, by which its weights are
        multiplied, over their mean; None: nothing said
    """

    train: Sequence[Atoms]
    held_out: Sequence[Atoms]
    one_body: dict[str, float]
    stands_for: Floats | None = None


def configurations(structures: Iterable[Atoms], what: str) -> Sequence[Atoms]:
    """Return configurations as a list, or as they are kept.

    Raises
    ------
    MliuqError
        for anything but an iterable of Atoms, one Atoms among it.
    """
    if isinstance(structures, Atoms) or not isinstance(structures, Iterable):
        found = "one Atoms" if isinstance(structures, Atoms) else f"{structures!r}"
        raise MliuqError(f"{what} is {found}, expected a list of Atoms (or another iterable)")
    if isinstance(structures, KeptStructures):
        return structures
    listed = list(structures)
    for index, atoms in enumerate(listed):
        if not isinstance(atoms, Atoms):
            raise MliuqError(f"{what}[{index}] is {type(atoms).__name__}, expected Atoms")
        try:
            refuse_unknown_elements(atoms)
        except MliuqError as error:
            raise MliuqError(f"{what}[{index}]: {error}") from error
    return listed


def choose_data(
    structures: Sequence[Atoms], held_out: Sequence[Atoms], params: SnapParams, settings: FitSettings
) -> FitData:
    """Take the reference potential off, isolated atoms out where they give one-body energies, and hold out a share.

    Nothing is held out where there is a test set.
    """
    structures, held_out = _numbered(structures), _numbered(held_out)
    if potential := settings.data.reference_potential(params.elements):
        keys, wanted = settings.data.keys, settings.weights.wanted()
        structures, held_out = (less_reference(part, potential, keys, wanted) for part in (structures, held_out))
    one_body = dict(settings.solver.one_body)
    if settings.solver.isolated_atoms:
        found, alone = isolated_atom_energies(structures, params, settings.data.keys)
        one_body = {**found, **one_body}
        structures = chosen(structures, sorted(set(range(len(structures))).difference(alone)))
    if held_out:
        return FitData(structures, held_out, one_body)
    train, held_out = split(structures, settings.data.test_fraction, settings.seed)
    return FitData(train, held_out, one_body)


def representing(data: FitData, population: Sequence[Atoms], params: SnapParams, settings: FitSettings) -> FitData:
    """Let the training configurations stand for a population, to which they belong, and which needs no values.

    Raises
    ------
    MliuqError
        for a population with other elements, or without forces that depend on the weights.
    """
    train = data.train
    if not population:
        raise MliuqError("represent is empty, expected structures for the training configurations to stand for")
    others = others_than(population, train)
    _, forces, _ = settings.weights.wanted()
    try:
        found = Population.of(
            chain(train, (population[i] for i in others)), params, forces=forces, threads=settings.solver.threads
        )
    except MliuqError as error:
        raise MliuqError(f"represent: {error}") from error
    stands_for = found.stood_for(train)
    least, largest = stands_for.min(), stands_for.max()
    log.info("%d configurations stand for %d, each for %.3g to %.3g", len(train), found.size, least, largest)
    return replace(data, stands_for=stands_for)


def _numbered(structures: Sequence[Atoms]) -> Sequence[Atoms]:
    if isinstance(structures, KeptStructures) and structures.know_their_origin:
        return structures
    return numbered(structures)


def training_constants(data: FitData, rows: RowTable, settings: FitSettings) -> Floats:
    """Return the constant in the weight of each training row (n,), NaN where it is to be chosen.

    Given one-body energies go along with the other energies.
    """
    of_config = row_constants(data.train, settings.weights, settings.data.keys)
    given = int(rows.config.max(initial=-1)) + 1 - len(of_config)
    rest = np.full((max(given, 0), of_config.shape[1]), np.nan if settings.weights.energy == "auto" else 1.0)
    return np.asarray(np.concatenate([of_config, rest])[rows.config, rows.kind])


def training_rows(
    data: FitData, params: SnapParams, zbl: tuple[float, float] | None, settings: FitSettings
) -> ComputedRows:
    """Return the rows to fit, given one-body energies behind the last configuration."""
    factors = None if data.stands_for is None else data.stands_for / data.stands_for.mean()
    return _rows(data.train, params, zbl, settings, settings.weights, data.one_body, factors)


def held_out_rows(
    data: FitData, params: SnapParams, zbl: tuple[float, float] | None, settings: FitSettings
) -> ComputedRows:
    """Return the rows that judge the fit, all of a kind alike."""
    energy, force, stress = map(float, settings.weights.wanted())
    return _rows(data.held_out, params, zbl, settings, WeightSettings(energy, force, stress), None)


def warn_of_odd_values(
    data: FitData, params: SnapParams, zbl: tuple[float, float] | None, settings: FitSettings
) -> None:
    """Warn of values that contradict each other, or a stress that contradicts energies and forces."""
    keys, wanted = settings.data.keys, settings.weights.wanted()
    messages = doubts(joined(data.train, data.held_out), keys, wanted)
    if wanted[2]:
        messages.append(odd_stress(data.train, params, zbl=zbl, keys=keys))
    for message in filter(None, messages):
        log.warning(message)


def warn_of_outliers(outliers: Sequence[Outlier], structures: Sequence[Atoms], settings: FitSettings) -> None:
    """Name the configurations whose values cannot be right, in one warning."""
    if not outliers:
        return
    named = [
        (o.config, f"{o.kind} {o.value:.4g} {UNITS[o.kind]}, off by {o.error:.3g} ({o.times:.0f} times what is usual)")
        for o in outliers
    ]
    what = "left out" if settings.solver.robust else "fitted all the same; --robust leaves them out"
    log.warning(
        "%d with values that cannot be right, %s: %s",
        len(named), what, the_first(named, structures, settings.data.group_key),
    )  # fmt: skip


def the_first(said: Sequence[tuple[int, str]], structures: Sequence[Atoms], group_key: str) -> str:
    """What is said of configurations, the first few by name."""
    named = [f"{describe(structures[config], config, group_key)}: {what}" for config, what in said[:_NAMED]]
    more = f"; and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    return "; ".join(named) + more


def _rows(
    structures: Sequence[Atoms],
    params: SnapParams,
    zbl: tuple[float, float] | None,
    settings: FitSettings,
    weights: WeightSettings,
    one_body: dict[str, float] | None,
    factors: Floats | None = None,
) -> ComputedRows:
    return build_rows(
        structures,
        params,
        zbl=zbl,
        keys=settings.data.keys,
        weights=weights,
        one_body=one_body,
        skip_missing=settings.data.skip_missing,
        factors=None if factors is None else factors.tolist(),
        threads=settings.solver.threads,
    )
