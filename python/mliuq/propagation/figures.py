"""Pictures of results: estimates as points with error bars, curves as fans. Colours of Okabe and Ito."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mliuq.propagation.results import Curve, Estimate, PropertyResult

COLUMN = 3.4  # inches: a column of a journal's page
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
INK, BAND = "#222222", "#888888"
SHARES = (0.6827, 0.9545)
MOST_BARS, MOST_CURVES = 12, 24  # panels
ABREAST = 4  # beyond so many curves two stand side by side, smaller

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
    groups = _merged([[e for e in result.estimates if e.quantity == q] for q in quantities])[:MOST_BARS]
    curves = list(result.curves)[:MOST_CURVES]
    wide = 1 if len(curves) <= ABREAST else 2
    rows = [(2.3 if wide == 1 else 1.7, curves[k : k + wide]) for k in range(0, len(curves), wide)]
    heights = [height for height, _ in rows] + [0.85 + 0.17 * len(group) for group in groups]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, sum(heights or [1.0]) + 0.3), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(max(len(heights), 1), wide, height_ratios=heights or [1.0])
        for k, (_, row) in enumerate(rows):
            for place, curve in enumerate(row):
                axes = figure.add_subplot(grid[k, place])
                _fan(axes, curve, small=wide > 1)
                if place and curve.y_label == row[0].y_label:
                    axes.set_ylabel("")
        for k, group in enumerate(groups, start=len(rows)):
            _bars(figure.add_subplot(grid[k, :]), group)
        if not heights:
            figure.add_subplot(grid[0, 0])
        if wide > 1:
            figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
        elif curves:
            # One legend for all fans, above the first, where it lies over no curve.
            _legend(figure.axes[0], 1.12, 3)
        first = next((a for a in figure.axes[len(curves) :] if a.containers), None)
        if first is not None:
            _legend(first, 1.0, 2)
        words = _failures(result) + _left_out(result)
        if words:
            figure.supxlabel("\n".join(words), fontsize=7, color=COLOURS[1], x=0.02, ha="left")
    return figure


def _legend(axes: Axes, height: float, columns: int) -> None:
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, height), ncols=columns, columnspacing=1.0, handlelength=1.2)


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


def _fan(axes: Axes, curve: Curve, *, small: bool = False) -> None:
    """A curve with the bands that hold 68 % and 95 % of the members."""
    best = curve.best.reshape(len(curve.x), -1)
    inked = np.abs(best).max(axis=1)
    for share, alpha in zip(reversed(SHARES), (0.18, 0.34), strict=True):
        low, high = (edge.reshape(len(curve.x), -1) for edge in curve.band(share))
        inked = np.maximum(inked, np.maximum(np.abs(low), np.abs(high)).max(axis=1))
        for k in range(best.shape[1]):
            axes.fill_between(
                curve.x, low[:, k], high[:, k], color=COLOURS[0], alpha=alpha, linewidth=0,
                label=f"{share:.0%} of members" if k == 0 else None,
            )  # fmt: skip
    for k in range(best.shape[1]):
        axes.plot(curve.x, best[:, k], color=INK, linewidth=1.0, label="best fit" if k == 0 else None)
    # Nothing but zeros at an end, as of densities of states: not drawn.
    seen = np.flatnonzero(inked > 1e-3 * inked.max())
    first, last = (seen[0], seen[-1]) if len(seen) else (0, len(curve.x) - 1)
    ends = curve.x[max(first - 1, 0)], curve.x[min(last + 1, len(curve.x) - 1)]
    axes.set(xlabel=curve.x_label, ylabel=curve.y_label, xlim=ends)
    axes.set_title(_short(curve.object), loc="left")
    if small:
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.tick_params(labelsize=7)
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
                0.02,
                k,
                "no number: " + e.reason.partition(",")[0],
                transform=axes.get_yaxis_transform(),
                fontsize=6.5,
                va="center",
            )
            continue
        named = None if axes.containers else ("all members", "± predicted error")
        axes.plot([e.low, e.high], [k, k], color=BAND, linewidth=0.8, zorder=1, label=named and named[0])
        axes.errorbar(
            e.value, k, xerr=e.err, fmt="o", markersize=3.2, color=COLOURS[0], elinewidth=2.0, capsize=0, zorder=2,
            label=named and named[1],
        )  # fmt: skip
    axes.set_yticks(range(len(group)), labels)
    axes.set_ylim(len(group) - 0.5, -0.5)
    unit = f" ({group[0].unit})" if group[0].unit else ""
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel((group[0].object if shared else group[0].quantity) + unit)
    if all(e.reason for e in group):
        axes.set_xticks([])


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else name[: most // 2] + "…" + name[-most // 2 + 1 :]


def _failures(result: PropertyResult) -> list[str]:
    """How many members failed for which object."""
    counts: dict[str, int] = {}
    for failure in result.failures:
        counts[failure.object] = counts.get(failure.object, 0) + 1
    total = len(result.members)
    return [f"{name}: {n} of {total} members failed" for name, n in counts.items()]


def _left_out(result: PropertyResult) -> list[str]:
    """What there was no room for."""
    more = len(result.curves) - MOST_CURVES
    return [f"{more} more curves in the JSON file"] if more > 0 else []
