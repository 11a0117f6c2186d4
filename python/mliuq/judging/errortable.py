"""Error tables: how large errors are and what the error bars had promised, by set, kind and group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.judging import metrics
from mliuq.posterior.predict import Predictions
from mliuq.regression.rows import KINDS, Floats


@dataclass(frozen=True)
class ErrorLine:
    """Errors of one kind of row over one set or group; eV/atom, eV/Å, eV/Å^3.

    Attributes
    ----------
    of : "train", "left out" (leave-one-configuration-out), "class out" (the whole group left out) or "test"
    kind, group : "energy", "force" or "stress"; "all" or a config_type
    rows : number of rows
    mae, rmse : mean absolute and root mean square error
    outside : fraction of references outside the members' envelope
    mean_z : mean |error|/std over the members' raw std, rows that vanish by symmetry left out
    rms_z : root mean square of error/predicted error, calibrated and with noise floor: 1 is honest
    independent : how many independent errors those of the group are worth (`metrics.independent`)
    """

    of: str
    kind: str
    group: str
    rows: int
    mae: float
    rmse: float
    outside: float | None = None
    mean_z: float | None = None
    rms_z: float | None = None
    independent: float | None = None

    def to_mapping(self) -> dict[str, Any]:
        """Return the line as plain values; what does not apply is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def error_lines(
    of: str,
    predictions: Predictions,
    predicted_error: Floats,
    *,
    groups: Sequence[str | None] | None = None,
) -> list[ErrorLine]:
    """Return one line for each kind of row, and one for each kind and group if groups are given.

    Parameters
    ----------
    of : name of the set
    predictions : of its rows; those predicted to be NaN are left out
    predicted_error : (n,) calibrated error bars
    groups : group of each configuration
    """
    error = predictions.y - predictions.mean
    names = np.array(["" if g is None else str(g) for g in groups or []], dtype=object)
    live = metrics.informative(predictions.kind, predictions.size)
    lines = []
    for kind, kind_name in enumerate(KINDS):
        of_kind = (predictions.kind == kind) & np.isfinite(error)
        lines += _line(of, kind_name, "all", of_kind, live, predictions, error, predicted_error)
        for name in sorted(set(names)) if len(set(names)) > 1 else ():
            own = of_kind & (names[predictions.config] == name)
            lines += _line(of, kind_name, name or "none", own, live, predictions, error, predicted_error)
    return lines


def predicted_error(
    predictions: Predictions, noise: Mapping[str, float], calibration: Mapping[str, Any] | None
) -> Floats:
    """Return ((α·std)² + floor²)^½ of every row (energies per atom)."""
    alpha = np.array([(calibration or {}).get(f"alpha_{kind}", 1.0) for kind in KINDS])
    floor = np.array([noise.get(kind, 0.0) for kind in KINDS])
    return np.asarray(np.hypot(alpha[predictions.kind] * predictions.std, floor[predictions.kind]))


def error_table(
    train: Predictions,
    left_out: Predictions,
    test: Predictions | None,
    train_structures: Sequence[Atoms],
    test_structures: Sequence[Atoms],
    noise: Mapping[str, float],
    calibration: Mapping[str, Any] | None,
    group_key: str,
) -> list[ErrorLine]:
    """Return errors on the data fitted, on configurations left out of it, and on the test set if there is one."""
    groups = [atoms.info.get(group_key) for atoms in train_structures]
    sets = [("train", train, groups), ("left out", left_out, groups)]
    if test is not None:
        sets.append(("test", test, [atoms.info.get(group_key) for atoms in test_structures]))
    lines: list[ErrorLine] = []
    for of, p, names in sets:
        lines += error_lines(of, p, predicted_error(p, noise, calibration), groups=names)
    return lines


def _line(
    of: str,
    kind: str,
    group: str,
    at: Any,
    live: Any,
    p: Predictions,
    error: Floats,
    predicted: Floats,
) -> list[ErrorLine]:
    if not at.any():
        return []
    e, std = error[at], p.std[at]
    line = ErrorLine(of, kind, group, int(at.sum()), metrics.mae(e), metrics.rmse(e))
    if not std.any():
        return [line]
    judged = live[at]
    spread = judged & (std > 0.0)
    honest = judged & (predicted[at] > 0.0)
    return [
        ErrorLine(
            *(line.of, line.kind, line.group, line.rows, line.mae, line.rmse),
            outside=metrics.envelope_violation(p.y[at][judged], p.low[at][judged], p.high[at][judged])
            if judged.any()
            else None,
            mean_z=metrics.mean_abs_z(e[spread], std[spread]) if spread.any() else None,
            rms_z=metrics.rms_z(e[honest], predicted[at][honest]) if honest.any() else None,
        )
    ]
