"""The pictures of the report, one function each: data in, matplotlib figure out.

Drawn in sentinel colours; `theme.to_inline_svg` turns these into the page's own, so that one picture serves light and
dark. Files for papers get fixed colours on white.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray
from scipy.stats import norm

from mliuq.judging import metrics
from mliuq.report.predictions import Predictions
from mliuq.report.theme import BAND, CALIBRATED, GRID, INK, MUTED, RAW

Array = NDArray[np.float64]

WIDTH, HEIGHT = 4.6, 3.7  # inches: two beside one another fill a page of text

#: Points beyond which a scatter is stored as a bitmap inside the SVG; below it stays a vector picture.
MAX_VECTOR_POINTS = 1500
#: Points beyond which a scatter is thinned (at random, seeded): more cannot be told apart on a page.
MAX_POINTS = 20_000

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "axes.titlesize": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": INK,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.facecolor": "none",
    "svg.fonttype": "none",
}


def _new() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def parity(p: Predictions) -> Figure:
    """Predicted against reference, with ±1σ error bars."""
    figure, axes = _new()
    at = _thin(len(p.y), 4000)
    raster = len(at) > MAX_VECTOR_POINTS
    x, y, bar = p.y[at], p.prediction[at], p.best[at]
    axes.errorbar(x, y, yerr=bar, fmt="none", ecolor=CALIBRATED, elinewidth=0.7, alpha=0.35, rasterized=raster)
    axes.plot(x, y, "o", color=CALIBRATED, markersize=2.6, markeredgewidth=0, rasterized=raster)
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    pad = 0.03 * (high - low)
    axes.axline((low, low), slope=1.0, color=INK, linewidth=0.9)
    axes.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad))
    axes.set(xlabel=f"reference {p.kind} ({p.unit})", ylabel=f"predicted {p.kind} ({p.unit})")
    return figure


def error_histogram(p: Predictions) -> Figure:
    """Errors that were made, against the errors the model said it would make (ensemble, and calibrated error bars)."""
    figure, axes = _new()
    reach = float(np.quantile(np.abs(p.error), 0.995)) * 1.3
    edges = np.linspace(-reach, reach, int(np.clip(np.sqrt(len(p.y)) * 1.5, 21, 81)))
    density, _ = np.histogram(p.error, edges)
    width = edges[1] - edges[0]
    axes.stairs(density / (len(p.y) * width), edges, fill=True, color=BAND, label="actual")
    said, _ = np.histogram(p.deviations, edges)
    if len(p.deviations):
        axes.stairs(said / (len(p.deviations) * width), edges, color=RAW, linewidth=1.5, label="members alone")
    fine = np.linspace(-reach, reach, 241)
    label = "stated σ, " + ("calibrated" if p.calibrated is not None else "raw")
    axes.plot(fine, _mixture(fine, p.best), color=CALIBRATED, label=label)
    axes.set_yscale("log")
    floor = 0.4 / (len(p.y) * width)
    axes.set(ylim=(floor, None), xlim=(-reach, reach))
    axes.set(xlabel=f"reference − predicted {p.kind} ({p.unit})", ylabel=f"density (1/({p.unit}))")
    _legend(figure)
    return figure


def predicted_against_actual(p: Predictions) -> Figure:
    """|error| against its error bar, row by row, with the lines |e| = σ and 2σ."""
    figure, axes = _new()
    at = _thin(len(p.y), MAX_POINTS)
    x, y = p.best[at], np.abs(p.error[at])
    floor = max(float(np.quantile(y, 0.01)), 1e-12)
    axes.plot(x, np.maximum(y, floor), "o", color=CALIBRATED, markersize=2.8, markeredgewidth=0, alpha=0.6,
              rasterized=len(at) > MAX_VECTOR_POINTS)  # fmt: skip
    low, high = float(x.min()) * 0.9, float(x.max()) * 1.1
    line = np.array([low, high])
    for k, style in ((1, "-"), (2, "--")):
        axes.plot(line, k * line, style, color=INK, linewidth=1.0, label=f"|error| = {'' if k == 1 else k}σ")
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(floor * 0.8, max(float(y.max()), 2 * high) * 1.2))
    _log_axes(axes.xaxis, axes.yaxis)
    axes.set(xlabel=f"stated error bar σ ({p.unit})", ylabel=f"|error| ({p.unit})")
    _legend(figure)
    return figure


def reliability_diagram(p: Predictions) -> Figure:
    """Root mean square error against root mean square error bar, in bins of rows with like error bars."""
    figure, axes = _new()
    ends: list[float] = []
    for std, colour, marker, label in _bars(p):
        predicted, actual, count = metrics.reliability(p.error, std)
        scatter = actual / np.sqrt(2 * np.maximum(count - 1, 1))  # standard error of a root mean square
        axes.errorbar(
            predicted, actual, yerr=scatter, fmt=marker, color=colour, markersize=5, elinewidth=1.0, label=label
        )
        ends += [*predicted, *(actual - scatter), *(actual + scatter)]
    least = min(end for end in ends if end > 0.0)
    low, high = least * 0.85, max(ends) * 1.15
    axes.plot([low, high], [low, high], color=INK, linewidth=1.0)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    _log_axes(axes.xaxis, axes.yaxis)
    axes.set(xlabel=f"stated error bar, rms of bin ({p.unit})", ylabel=f"actual error, rms of bin ({p.unit})")
    _legend(figure)
    return figure


def pit_histogram(p: Predictions) -> Figure:
    """Probability integral transform: flat for honest error bars, ∪ when too narrow, ∩ when too wide."""
    figure, axes = _new()
    bins = int(np.clip(len(p.y) // 15, 5, 20))
    edges = np.linspace(0.0, 1.0, bins + 1)
    expected = len(p.y) / bins
    scatter = 2 * np.sqrt(expected * (1 - 1 / bins)) / expected
    axes.axhspan(1 - scatter, 1 + scatter, color=BAND, alpha=0.4, linewidth=0)
    for std, colour, _, label in _bars(p):
        counts, _ = np.histogram(metrics.pit(p.error, std), edges)
        axes.stairs(counts / expected, edges, color=colour, linewidth=1.8, label=label)
    axes.axhline(1.0, color=INK, linewidth=0.9)
    axes.set(xlim=(0, 1), ylim=(0, None), xlabel="probability integral transform", ylabel="rows, relative to flat")
    _legend(figure)
    return figure


def coverage_curve(p: Predictions) -> Figure:
    """Fraction of references inside the central interval, against the fraction promised."""
    figure, axes = _new()
    for std, colour, _, label in _bars(p):
        promised, observed = metrics.coverage_curve(p.error, std)
        axes.plot(promised, observed, color=colour, label=label)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1.0)
    for k, level in ((1, 0.6827), (2, 0.9545)):
        axes.axvline(level, color=MUTED, linewidth=0.8, linestyle=":")
        axes.text(level - 0.012, 0.03, f"±{k}σ", rotation=90, ha="right", va="bottom", color=MUTED, fontsize=8.5)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="fraction promised", ylabel="fraction inside")
    _legend(figure)
    return figure


def environments(groups: Mapping[str, Mapping[str, float]]) -> Figure:
    """Fraction of references inside 90 % intervals, group by group; whiskers: scatter of so many configurations."""
    figure, axes = _new()
    names = list(groups)[::-1]
    held = np.array([groups[name]["held"] for name in names])
    scatter = np.sqrt(0.9 * 0.1 / np.array([groups[name]["configurations"] for name in names]))
    place = np.arange(len(names))
    axes.errorbar(held, place, xerr=scatter, fmt="o", color=CALIBRATED, markersize=5, elinewidth=1.0)
    axes.axvline(0.9, color=INK, linewidth=1.0)
    axes.set_yticks(place, names)
    axes.set(xlim=(min(0.5, float(np.min(held - scatter)) - 0.02), 1.0 + 0.02), ylim=(-0.6, len(names) - 0.4))
    axes.set(xlabel="fraction inside intervals of 90 %")
    return figure


def _legend(figure: Figure) -> None:
    """Above the axes: inside them a legend lies over points sooner or later."""
    figure.legend(loc="outside upper center", ncols=3, columnspacing=1.2, handlelength=1.4)


#: Name of the picture, its title and its one-line reading.
FIGURES: tuple[tuple[str, str, str, Callable[[Predictions], Figure]], ...] = (
    ("parity", "Parity", "Predicted against reference; bars are one stated σ.", parity),
    (
        "histogram",
        "Errors made and errors foretold",
        "Grey: what happened. Overconfident where the grey stands out in the tails.",
        error_histogram,
    ),
    (
        "predicted_actual",
        "Predicted against actual error",
        "About 68 % of points should lie below the full line, 95 % below the dashed one.",
        predicted_against_actual,
    ),
    (
        "reliability",
        "Reliability",
        "Bins above the diagonal are overconfident, below it cautious.",
        reliability_diagram,
    ),
    (
        "pit",
        "Probability integral transform",
        "Flat within the band is honest; ∪ too narrow, ∩ too wide.",
        pit_histogram,
    ),
    ("coverage", "Coverage", "A curve under the diagonal promises more than it holds.", coverage_curve),
)


ENVIRONMENTS = (
    "environments",
    "By environment",
    "References inside intervals of 90 %; whiskers: scatter of as many independent configurations.",
)


def _log_axes(*axes: Axis) -> None:
    """Logarithmic ticks at 1, 2, 5 with plain labels: error bars rarely span more than two decades."""
    for axis in axes:
        low, high = axis.get_view_interval()
        wide = high / low > 300
        axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(LogLocator(subs=tuple(range(1, 10))))
        axis.set_minor_formatter(NullFormatter())


def draw(p: Predictions, groups: Mapping[str, Mapping[str, float]] | None = None) -> dict[str, Figure]:
    """All pictures of one kind of quantity by name; that of groups by environment where there are some."""
    with matplotlib.rc_context(rc=STYLE):  # type: ignore[arg-type]
        found = {name: function(p) for name, _, _, function in FIGURES}
        return found | ({ENVIRONMENTS[0]: environments(groups)} if groups else {})


def _bars(p: Predictions) -> list[tuple[Array, str, str, str]]:
    bars = [(p.raw, RAW, "s", "raw")]
    if p.calibrated is not None:
        bars.append((p.calibrated, CALIBRATED, "o", "calibrated"))
    return bars


def _thin(n: int, limit: int) -> NDArray[np.int64]:
    if n <= limit:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, limit, replace=False))


def _mixture(x: Array, std: Array) -> Array:
    """Density of the errors that the error bars foretell: the mean of their Gaussians, in groups of like σ."""
    groups = np.array_split(np.sort(std), min(len(std), 200))
    sigma = np.array([np.sqrt(np.mean(np.square(group))) for group in groups])
    weight = np.array([len(group) for group in groups]) / len(std)
    return np.asarray(norm.pdf(x[:, None] / sigma) / sigma @ weight, dtype=np.float64)
