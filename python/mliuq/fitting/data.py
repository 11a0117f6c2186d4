"""Which configurations are fitted, which are held out, and what is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ase import Atoms

from mliuq.descriptor.params import SnapParams
from mliuq.fitting.settings import FitSettings
from mliuq.regression.computed import ComputedRows
from mliuq.regression.problem import build_rows, isolated_atom_energies, split
from mliuq.regression.weights import WeightSettings


@dataclass(frozen=True)
class FitData:
    """Configurations of a fit.

    Attributes
    ----------
    train, held_out : what is fitted, what judges the fit (may be empty)
    one_body : energy (eV) of an isolated atom of each element, where it is not fitted
    """

    train: Sequence[Atoms]
    held_out: Sequence[Atoms]
    one_body: dict[str, float]


def choose_data(
    structures: Sequence[Atoms], held_out: Sequence[Atoms], params: SnapParams, settings: FitSettings
) -> FitData:
    """Take isolated atoms out where they give one-body energies, and hold out a share where no test set is given."""
    one_body = dict(settings.solver.one_body)
    if settings.solver.isolated_atoms:
        found, alone = isolated_atom_energies(structures, params, settings.data.keys)
        one_body = {**found, **one_body}
        structures = [atoms for i, atoms in enumerate(structures) if i not in set(alone)]
    if held_out:
        return FitData(structures, held_out, one_body)
    train, held_out = split(structures, settings.data.test_fraction, settings.seed)
    return FitData(train, held_out, one_body)


def training_rows(
    data: FitData, params: SnapParams, zbl: tuple[float, float] | None, settings: FitSettings
) -> ComputedRows:
    """Return the rows to fit, given one-body energies behind the last configuration."""
    return _rows(data.train, params, zbl, settings, settings.weights, data.one_body)


def held_out_rows(
    data: FitData, params: SnapParams, zbl: tuple[float, float] | None, settings: FitSettings
) -> ComputedRows:
    """Return the rows that judge the fit, all of a kind alike."""
    energy, force, stress = map(float, settings.weights.wanted())
    return _rows(data.held_out, params, zbl, settings, WeightSettings(energy, force, stress), None)


def _rows(
    structures: Sequence[Atoms],
    params: SnapParams,
    zbl: tuple[float, float] | None,
    settings: FitSettings,
    weights: WeightSettings,
    one_body: dict[str, float] | None,
) -> ComputedRows:
    return build_rows(
        structures,
        params,
        zbl=zbl,
        keys=settings.data.keys,
        weights=weights,
        one_body=one_body,
        skip_missing=settings.data.skip_missing,
        threads=settings.solver.threads,
    )
