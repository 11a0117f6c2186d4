"""Where a model comes from: settings, data, outcome and software of its fit, as plain values for its metadata."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata as installed
from pathlib import Path
from typing import Any

import numpy as np

from mliuq.fitting.classes_out import CLASS_OUT
from mliuq.fitting.data import FitData
from mliuq.fitting.settings import FitSettings
from mliuq.judging.errortable import ErrorLine
from mliuq.posterior.build import Posterior
from mliuq.regression.balance import Balance
from mliuq.regression.computed import fingerprint
from mliuq.regression.outliers import Outlier
from mliuq.regression.protection import Protection
from mliuq.regression.rows import KINDS, Floats, RowSource
from mliuq.regression.solver import Solution


def without_folders(settings: FitSettings) -> dict[str, Any]:
    """Settings with the names of files, but not the folders of the machine that the model was made on."""
    values = settings.to_mapping()
    for key in ("train", "test", "represent"):
        values["data"][key] = [Path(path).name for path in values["data"][key]]
    values["solver"]["cache"] = Path(values["solver"]["cache"]).name
    return values


def _represents(stands_for: Floats) -> dict[str, float]:
    """How unlike each other the configurations' shares are; `worth`: as many of one share would know a mean as well."""
    return {
        "structures": float(stands_for.sum()),
        "least": float(stands_for.min()),
        "largest": float(stands_for.max()),
        "worth": float(stands_for.sum() ** 2 / np.sum(stands_for**2)),
    }


def provenance(
    settings: FitSettings,
    outliers: Sequence[Outlier],
    balance: Balance,
    solution: Solution,
    protection: Protection,
    rows: RowSource,
    posterior: Posterior,
    data: FitData,
    errors: Sequence[ErrorLine],
) -> dict[str, Any]:
    """Return what a model's metadata says of its making; the same for the same input, so no dates and no durations."""
    kinds = np.bincount(rows.table.kind, minlength=len(KINDS))
    train, test = data.train, data.held_out
    groups = Counter(str(atoms.info.get(settings.data.group_key, "")) for atoms in train)
    return {
        "fit": {
            "settings": without_folders(settings),
            "balance": asdict(balance),
            "outliers": [outlier.to_mapping() for outlier in outliers],
            "rows": {name: int(n) for name, n in zip(KINDS, kinds, strict=True)},
            "weights": rows.n_weights,
            "rank": solution.rank,
            "undetermined": list(solution.undetermined),
            "condition": solution.condition,
            "ridge": solution.ridge,
            "weights_held_by_prior": protection.lent,
            "noise_variance": solution.noise_variance,
            "effective_parameters": solution.effective_parameters,
            "one_body": data.one_body,
            "errors": [line.to_mapping() for line in errors if line.group == "all"],
            "classes_out": [line.to_mapping() for line in errors if line.of == CLASS_OUT],
        },
        "posterior": {**posterior.facts, "members": len(posterior.moves)},
        "data": {
            "fingerprint": fingerprint(train, rows.table.y.tobytes()),
            "configurations": len(train),
            "atoms": sum(map(len, train)),
            "groups": dict(sorted(groups.items())),
            **({} if data.stands_for is None else {"represents": _represents(data.stands_for)}),
            "held_out": len(test),
            "held_out_fingerprint": fingerprint(test),
        },
        "seed": settings.seed,
        "software": {
            **{name: installed.version(name) for name in ("mliuq", "numpy", "scipy", "ase")},
            "python": platform.python_version(),
        },
    }
