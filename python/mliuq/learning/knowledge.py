"""What is known: reference values under ASE's names and units, whatever the files call them, and the fits to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from mliuq.fitting.data import FitData, held_out_rows
from mliuq.fitting.settings import FitSettings
from mliuq.judging.errortable import error_lines, predicted_error
from mliuq.learning.settings import LearnSettings
from mliuq.model import Model
from mliuq.posterior.predict import predict
from mliuq.readers import read_structures
from mliuq.readers.keys import Keys
from mliuq.regression.rows import KINDS
from mliuq.regression.targets import read_targets

_PLAIN = Keys()


@dataclass(frozen=True)
class Beginning:
    """What a loop begins with: training data, test set, starts of runs, structures of interest."""

    train: list[Atoms]
    test: list[Atoms]
    starts: list[Atoms]
    region: list[Atoms]
    target: list[Atoms]


def read_beginning(settings: LearnSettings) -> Beginning:
    """Read what the settings name.

    Raises
    ------
    MliuqError
        for files that cannot be read, and structures without values.
    """
    data = settings.fit.data
    train, test = (_with_plain_values(paths, settings.fit) for paths in (data.train, data.test))
    named = (settings.start.structures, settings.select.region, settings.select.target)
    others = ([_bare(a) for a in read_structures(paths, data.dialect)] if paths else [] for paths in named)
    return Beginning(train, test, *others)


def fit_settings(settings: LearnSettings, beginning: Beginning) -> FitSettings:
    """Settings of every fit of the loop: values as `read_beginning` names them, the same elements in all rounds."""
    elements = settings.fit.snap.elements or tuple(
        sorted({s for part in (beginning.train, beginning.test, beginning.starts) for a in part for s in a.symbols})
    )
    return settings.fit.updated(
        {
            "data.train": (),
            "data.test": (),
            "data.energy_key": _PLAIN.energy,
            "data.forces_key": _PLAIN.forces,
            "data.stress_key": _PLAIN.stress,
            "data.stress_unit": _PLAIN.stress_unit,
            "data.stress_sign": _PLAIN.stress_sign,
            "snap.elements": elements,
        }
    )


def errors_on(model: Model, test: Sequence[Atoms], settings: FitSettings) -> list[dict[str, Any]]:
    """Errors and error bars on the test set, one line for each kind of value and group, as plain values.

    `predicted` is the root mean square of the predicted errors: honest where it is near `rmse`.
    """
    if not test:
        return []
    rows = held_out_rows(FitData((), test, {}), model.params, model.zbl, settings)
    theta = model.theta.ravel()
    moves = None if model.members is None else model.members.reshape(model.n_members, -1) - theta
    found = predict(rows, theta, moves)
    bars = predicted_error(found, model.noise or {}, model.calibration)
    groups = [atoms.info.get(settings.data.group_key) for atoms in test]
    names = np.array(["" if group is None else str(group) for group in groups], dtype=object)[found.config]
    lines = []
    for line in error_lines("test", found, bars, groups=groups):
        at = found.kind == KINDS.index(line.kind)
        if line.group != "all":
            at &= names == ("" if line.group == "none" else line.group)
        lines.append(line.to_mapping() | {"predicted": float(np.sqrt(np.mean(bars[at] ** 2)))})
    return lines


def _with_plain_values(paths: Sequence[str], settings: FitSettings) -> list[Atoms]:
    if not paths:
        return []
    data, wanted = settings.data, settings.weights.wanted()
    structures = read_structures(paths, data.dialect)
    found = []
    for atoms, target in zip(
        structures, read_targets(structures, data.keys, wanted, skip_missing=data.skip_missing), strict=True
    ):
        copy = _bare(atoms)
        if data.group_key in atoms.info:
            copy.info[data.group_key] = atoms.info[data.group_key]
        values = dict(zip(("energy", "forces", "stress"), target.values, strict=True))
        copy.calc = SinglePointCalculator(copy, **{name: value for name, value in values.items() if value is not None})
        found.append(copy)
    return found


def _bare(atoms: Atoms) -> Atoms:
    return Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
