"""What a loop has learned, round by round: a table and a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from mliuq.ase.readings import unit_of

Log = Mapping[str, Any]

HEAD = (
    "round", "labels", "quarantined", "runs", "halted", "steps, least", "largest bar",
    "E RMSE meV/atom", "F RMSE eV/Å", "F predicted", "rms z",
)  # fmt: skip

#: Okabe and Ito's colours, told apart by all kinds of colour vision; markers differ as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def line_of(log: Log, kind: str, group: str = "all") -> Mapping[str, Any]:
    """The errors of a kind on the test set; empty without."""
    for line in log["errors"]:
        if line["kind"] == kind and line["group"] == group:
            return line  # type: ignore[no-any-return]
    return {}


def row_of(log: Log) -> tuple[object, ...]:
    """The cells of a round under `HEAD`."""
    runs = log["runs"]
    largest = [run["largest"] for run in runs if run["largest"] is not None]
    energy, force = line_of(log, "energy"), line_of(log, "force")
    return (
        log["round"],
        log["labels_spent"],
        log["quarantined"],
        len(runs),
        sum(run["halted"] is not None for run in runs),
        min((run["steps"] for run in runs), default=None),
        max(largest, default=None),
        1e3 * energy["rmse"] if energy else None,
        force.get("rmse"),
        force.get("predicted"),
        force.get("rms_z"),
    )


def table(logs: Sequence[Log]) -> str:
    """All rounds as Markdown, with the errors on every group of the test set below."""
    lines = [
        "# Rounds of mliuq learn",
        "",
        "labels: structures handed to the reference so far; errors of the model after the round on the test set;"
        " F predicted: root mean square of the predicted errors of force components.",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + "---|" * len(HEAD),
        *("| " + " | ".join(map(_cell, row_of(log))) + " |" for log in logs),
    ]
    groups = groups_of(logs)
    if groups:
        lines += ["", "## Force RMSE of the groups of the test set, eV/Å", "", "| round | " + " | ".join(groups) + " |"]
        lines.append("|" + "---|" * (len(groups) + 1))
        for log in logs:
            cells = [line_of(log, "force", group).get("rmse") for group in groups]
            lines.append(f"| {log['round']} | " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines) + "\n"


def groups_of(logs: Sequence[Log]) -> list[str]:
    """Groups of the test set."""
    return sorted({line["group"] for log in logs for line in log["errors"]} - {"all"})


def picture(logs: Sequence[Log], *, steps: int, quantity: str) -> bytes:
    """A PNG: errors on the test set, what the runs saw, how far they came."""
    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
    with matplotlib.rc_context(rc=style):  # type: ignore[arg-type]
        figure = Figure(figsize=(11.4, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        errors, bars, reached = figure.subplots(1, 3)
        _errors(errors, logs)
        _bars(bars, logs, quantity)
        _reached(reached, logs, steps)
        for letter, axes in zip("abc", (errors, bars, reached), strict=True):
            axes.set_title(f"({letter})", loc="left", fontsize=9)
            axes.grid(lw=0.4, alpha=0.4)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150)
        return buffer.getvalue()


def _errors(axes: Axes, logs: Sequence[Log]) -> None:
    judged = [log for log in logs if line_of(log, "force")]
    spent = [log["labels_spent"] for log in judged]
    for k, group in enumerate(["all", *groups_of(judged)][: len(_COLOURS)]):
        values = [line_of(log, "force", group).get("rmse", np.nan) for log in judged]
        axes.plot(
            spent, values, color=_COLOURS[k], marker=_MARKERS[k], ms=4, lw=1.8 if group == "all" else 1.0, label=group
        )
    if judged:
        predicted = [line_of(log, "force")["predicted"] for log in judged]
        axes.plot(spent, predicted, color=_COLOURS[0], lw=1.2, ls=":", label="all, predicted")
        _logarithmic(axes)
        _legend(axes)
    else:
        axes.text(0.5, 0.5, "no test set", ha="center", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
    axes.set(xlabel="labels spent", ylabel="force RMSE on the test set (eV/Å)")


def _bars(axes: Axes, logs: Sequence[Log], quantity: str) -> None:
    explored = [log for log in logs if log["runs"]]
    x = [log["round"] for log in explored]
    for name, colour, style in (("halt", _COLOURS[1], "-"), ("save", _COLOURS[1], "--")):
        axes.plot(x, [log["thresholds"][name] for log in explored], color=colour, ls=style, lw=1.2, label=name)
    for log in explored:
        largest = [run["largest"] for run in log["runs"] if run["largest"] is not None]
        axes.plot([log["round"]] * len(largest), largest, ls="none", marker="o", color=_COLOURS[0], ms=4, alpha=0.7)
    axes.plot([], [], ls="none", marker="o", color=_COLOURS[0], ms=4, label="a run")
    if explored:
        _logarithmic(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes)
    unit = unit_of(quantity)
    axes.set(xlabel="round", ylabel=f"largest {quantity} of a run" + (f" ({unit})" if unit else ""))


def _reached(axes: Axes, logs: Sequence[Log], steps: int) -> None:
    axes.axhline(steps, color=_COLOURS[6], lw=1.0, ls="--", label="wanted")
    for halted, marker, colour, label in ((True, "x", _COLOURS[1], "halted"), (False, "o", _COLOURS[0], "reached")):
        own = [
            (log["round"], run["steps"]) for log in logs for run in log["runs"] if (run["halted"] is not None) == halted
        ]
        if own:
            x, y = np.array(own).T
            axes.plot(x, np.maximum(y, 0.5), marker, color=colour, ms=5, alpha=0.8, label=label)
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_ylim(0.0, 3.0 * steps)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes)
    axes.set(xlabel="round", ylabel="steps of a run")


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes) -> None:
    """Below the axes, where no point can lie."""
    axes.legend(fontsize=7, ncol=3, loc="upper center", bbox_to_anchor=(0.5, -0.15))


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
