"""The learning curve: error against the number of configurations, with a power law through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mliuq.fitting.data import FitData
from mliuq.fitting.settings import FitSettings
from mliuq.regression.distributed import Progress
from mliuq.tuning.trial import Candidate, judge

_DRAWS = {8: 3, 4: 2, 2: 2, 1: 1}  # share of the data → subsets drawn
_FEWEST = 10


@dataclass(frozen=True)
class LearningCurve:
    """Left-out errors of one candidate on growing parts of the data.

    Attributes
    ----------
    configurations : of each part, ascending
    rmse : kind → error on each part (mean square over the subsets drawn)
    law : kind → (a, b) of error = a·n^(−b), least squares in logarithms
    """

    configurations: Sequence[int]
    rmse: dict[str, list[float]]
    law: dict[str, tuple[float, float]]


def learning_curve(
    candidate: Candidate,
    data: FitData,
    elements: Sequence[str],
    settings: FitSettings,
    *,
    whole_classes: bool = False,
    progress: Progress | None = None,
) -> LearningCurve:
    """Fit the candidate to an eighth, a quarter, half and all of the data and judge each by what it left out."""
    n, rng = len(data.train), np.random.default_rng(settings.seed)
    shares = {share: draws for share, draws in _DRAWS.items() if n // share >= _FEWEST or share == 1}
    total, done = sum(shares.values()), 0
    sizes: list[int] = []
    squares: dict[str, list[float]] = {}
    for share, draws in shares.items():
        of_draw: dict[str, list[float]] = {}
        for _ in range(draws):
            chosen = sorted(rng.permutation(n)[: n // share].tolist())
            part = replace(data, train=[data.train[i] for i in chosen], held_out=())
            trial = judge(candidate, part, elements, settings, whole_classes=whole_classes)
            for kind, error in trial.rmse.items():
                of_draw.setdefault(kind, []).append(error**2)
            done += 1
            if progress:
                progress("learning curve", done, total)
        sizes.append(n // share)
        for kind, values in of_draw.items():
            squares.setdefault(kind, []).append(float(np.mean(values)))
    rmse = {kind: [float(v) for v in np.sqrt(values)] for kind, values in squares.items()}
    return LearningCurve(sizes, rmse, {kind: power_law(sizes, errors) for kind, errors in rmse.items()})


def power_law(n: Sequence[int], error: Sequence[float]) -> tuple[float, float]:
    """Return (a, b) of error = a·n^(−b) by least squares in logarithms; NaN with fewer than two finite points."""
    x, y = np.log(np.asarray(n, dtype=float)), np.log(np.asarray(error, dtype=float))
    known = np.isfinite(y)
    if known.sum() < 2:
        return float("nan"), float("nan")
    slope, intercept = np.polyfit(x[known], y[known], 1)
    return float(np.exp(intercept)), float(-slope)
