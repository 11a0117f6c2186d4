"""Pictures of results: estimates as points with error bars, curves as fans. Colours of Okabe and Ito."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mliuq.propagation.results import Curve, Estimate, PropertyResult

COLUMN = 3.4  # inches: a column of a journal's page
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
INK, BAND = "#222222", "#888888"
SHARES = (0.6827, 0.9545)
MOST_PANELS = 12

STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "svg.fonttype": "none",
    "svg.hashsalt": "mliuq",
}


def draw(result: PropertyResult) -> dict[str, bytes]:
    """The picture as PNG and SVG, by ending."""
    figure = picture(result)
    drawn = {}
    for ending, metadata in (("png", None), ("svg", {"Date": None})):
        buffer = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            figure.savefig(buffer, format=ending, dpi=300, metadata=metadata)
        drawn[ending] = buffer.getvalue()
    return drawn


def picture(result: PropertyResult) -> Figure:
    """Curves first, then a panel for each quantity; failures in words beneath."""
    quantities = list(dict.fromkeys(e.quantity for e in result.estimates))
    groups = [[e for e in result.estimates if e.quantity == q] for q in quantities]
    panels: list[Curve | list[Estimate]] = [*result.curves, *_merged(groups)]
    panels = panels[:MOST_PANELS]
    rows = max(len(panels), 1)
    with matplotlib.rc_context(STYLE):
        heights = [2.3 if isinstance(p, Curve) else 0.85 + 0.17 * len(p) for p in panels] or [1.0]
        figure = Figure(figsize=(COLUMN, sum(heights) + 0.3), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        for axes, panel in zip(grid, panels, strict=False):
            if isinstance(panel, Curve):
                _fan(axes, panel)
            else:
                _bars(axes, panel)
        if result.curves:
            # One legend for all fans, above the first, where it lies over no curve.
            grid[0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.12), ncols=3, columnspacing=1.0, handlelength=1.2)
        words = _failures(result)
        if words:
            figure.supxlabel(words, fontsize=7, color=COLOURS[1], x=0.02, ha="left")
    return figure


def _merged(groups: Sequence[list[Estimate]]) -> list[list[Estimate]]:
    """Quantities of a single object and one unit share a panel."""
    merged: list[list[Estimate]] = []
    for group in groups:
        last = merged[-1] if merged else []
        alike = {(e.object, e.unit) for e in (*last, *group)}
        if last and len(group) == 1 and len(alike) == 1 and group[0].unit:
            last.extend(group)
        else:
            merged.append(list(group))
    return merged


def _fan(axes: Axes, curve: Curve) -> None:
    """A curve with the bands that hold 68 % and 95 % of the members."""
    best = curve.best.reshape(len(curve.x), -1)
    for share, alpha in zip(reversed(SHARES), (0.18, 0.34), strict=True):
        low, high = (edge.reshape(len(curve.x), -1) for edge in curve.band(share))
        for k in range(best.shape[1]):
            axes.fill_between(
                curve.x, low[:, k], high[:, k], color=COLOURS[0], alpha=alpha, linewidth=0,
                label=f"{share:.0%} of members" if k == 0 else None,
            )  # fmt: skip
    for k in range(best.shape[1]):
        axes.plot(curve.x, best[:, k], color=INK, linewidth=1.0, label="best fit" if k == 0 else None)
    axes.set(xlabel=curve.x_label, ylabel=curve.y_label, xlim=(curve.x[0], curve.x[-1]))
    axes.set_title(_short(curve.object), loc="left")
    if curve.ticks:
        axes.set_xticks(list(curve.ticks.values()), list(curve.ticks))
        axes.grid(axis="x", linewidth=0.5)


def _bars(axes: Axes, group: Sequence[Estimate]) -> None:
    """Points with ± err, and the members' range as a thin line behind them."""
    shared = len({e.object for e in group}) == 1 and len(group) > 1
    labels = [_short(e.quantity if shared else e.object) for e in group]
    for k, e in enumerate(group):
        if e.reason:
            axes.text(
                0.02, k, "no number: " + e.reason, transform=axes.get_yaxis_transform(), fontsize=6.5, va="center"
            )
            continue
        axes.plot([e.low, e.high], [k, k], color=BAND, linewidth=0.8, zorder=1)
        axes.errorbar(
            e.value, k, xerr=e.err, fmt="o", markersize=3.2, color=COLOURS[0], elinewidth=2.0, capsize=0, zorder=2
        )
    axes.set_yticks(range(len(group)), labels)
    axes.set_ylim(len(group) - 0.5, -0.5)
    unit = f" ({group[0].unit})" if group[0].unit else ""
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel((group[0].object if shared else group[0].quantity) + unit)
    if all(e.reason for e in group):
        axes.set_xticks([])


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else name[: most // 2] + "…" + name[-most // 2 + 1 :]


def _failures(result: PropertyResult) -> str:
    """How many members failed for which object."""
    counts: dict[str, int] = {}
    for failure in result.failures:
        counts[failure.object] = counts.get(failure.object, 0) + 1
    total = len(result.members)
    return "\n".join(f"{name}: {n} of {total} members failed" for name, n in counts.items())
