"""The numbers of the report as plain data: what metrics.json holds and the tables show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mliuq.judging import metrics
from mliuq.model.environments import Environments
from mliuq.report.environments import groups_of
from mliuq.report.predictions import Predictions, labels_of

#: Rows a class needs before ratios such as rms z say anything.
MIN_ROWS = 3
WORST = 10


@dataclass(frozen=True)
class JudgedSet:
    """The structures judged, one entry per configuration."""

    source: str
    names: list[str]
    classes: list[str]
    sizes: list[int]
    symbols: list[list[str]]
    environments: Environments | None

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class WorstConfiguration:
    """One of the configurations with the largest errors of a kind.

    `error` is the largest |reference − predicted| among its rows, `stated` the error bar of that row.
    """

    index: int
    name: str
    config_type: str
    n_atoms: int
    error: float
    stated: float

    @property
    def z(self) -> float:
        """Error in units of the error bar."""
        return self.error / self.stated


def overall(p: Predictions) -> dict[str, dict[str, Any]]:
    """Every metric, raw and (where there is one) calibrated."""
    found = {"raw": asdict(metrics.summarize(p.error, p.raw, envelope=p.envelope))}
    if p.calibrated is not None:
        found["calibrated"] = asdict(metrics.summarize(p.error, p.calibrated, envelope=p.envelope))
    return found


def by_element(p: Predictions, judged: JudgedSet) -> dict[str, dict[str, Any]]:
    """As `by_class`, for the elements that forces act on; empty for other kinds and for a single element."""
    if not judged.symbols or np.any(p.atom < 0):
        return {}
    labels = [judged.symbols[c][a] for c, a in zip(p.config, p.atom, strict=True)]
    return by_label(p, labels) if len(set(labels)) > 1 else {}


def by_class(p: Predictions, of_config: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Every metric of the stated error bars for each class with at least `MIN_ROWS` rows."""
    return by_label(p, labels_of(p, of_config))


def by_label(p: Predictions, of_row: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Every metric of the stated error bars for each label with at least `MIN_ROWS` rows."""
    labels = np.asarray(of_row)
    names, counts = np.unique(labels, return_counts=True)
    keep = np.isin(labels, names[counts >= MIN_ROWS])
    if not keep.any():
        return {}
    lower, upper = p.envelope
    summaries = metrics.by_class(
        p.error[keep], p.best[keep], labels[keep].tolist(), envelope=(lower[keep], upper[keep])
    )
    return {name: asdict(summary) for name, summary in summaries.items()}


def intervals(p: Predictions) -> dict[str, dict[str, float]]:
    """Stated intervals by level: half-width in error bars, and the fraction of references they hold."""
    return {f"{level:g}": {"width": p.width(level), "held": float(np.mean(p.held(level)))} for level in p.widths}


def by_environment(p: Predictions, environments: Environments | None) -> dict[str, dict[str, float]]:
    """How honest bars and nine-in-ten intervals are in each group of `mliuq.report.environments`."""
    if environments is None:
        return {}
    held, found = p.held(0.9), {}
    for name, at in groups_of(p, environments).items():
        found[name] = {
            "rows": int(at.sum()),
            "configurations": len(np.unique(p.config[at])),
            "rmse": metrics.rmse(p.error[at]),
            "sharpness": metrics.sharpness(p.best[at]),
            "rms_z": metrics.rms_z(p.error[at], p.best[at]),
            "held": float(np.mean(held[at])),
        }
    return found


def worst(p: Predictions, test: JudgedSet, count: int = WORST) -> list[WorstConfiguration]:
    """Configurations with the largest single error, worst first."""
    size = np.abs(p.error)
    order = np.argsort(-size, kind="stable")
    _, first = np.unique(p.config[order], return_index=True)
    rows = order[np.sort(first)[:count]]
    return [
        WorstConfiguration(
            index=int(c),
            name=test.names[c],
            config_type=test.classes[c],
            n_atoms=test.sizes[c],
            error=float(size[row]),
            stated=float(p.best[row]),
        )
        for row, c in zip(rows, p.config[rows], strict=True)
    ]


def all_numbers(predictions: Sequence[Predictions], test: JudgedSet, model_facts: dict[str, Any]) -> dict[str, Any]:
    """What metrics.json holds."""
    return {
        "model": model_facts,
        "test_set": {"source": test.source, "configurations": len(test), "atoms": sum(test.sizes)},
        "quantities": {
            p.kind: {
                "unit": p.unit,
                "rows": len(p.y),
                "rows_zero_by_symmetry": p.n_left_out,
                "all_rows": {"rows": len(p.y) + p.n_left_out, "mae": p.mae_of_all, "rmse": p.rmse_of_all},
                **overall(p),
                "by_config_type": by_class(p, test.classes),
                "by_element": by_element(p, test),
                "intervals": intervals(p),
                "by_environment": by_environment(p, test.environments),
                "worst": [asdict(w) | {"z": w.z} for w in worst(p, test)],
            }
            for p in predictions
        },
    }
