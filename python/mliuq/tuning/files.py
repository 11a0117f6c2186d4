"""What a search leaves behind: settings for `mliuq fit`, a table and a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mliuq.errors import MliuqError
from mliuq.outputs import Kind, check_output, write_files
from mliuq.tuning.curve import LearningCurve
from mliuq.tuning.search import TuneResult
from mliuq.tuning.trial import Trial

JOURNAL = "trials.jsonl"
_UNITS = {"energy": ("meV/atom", 1e3), "force": ("eV/Å", 1.0), "stress": ("eV/Å³", 1.0)}
_TOML_HEAD = "# The choice of mliuq tune:"
_PNG = Kind("a picture", lambda head: head.startswith(b"\x89PNG"))
_FILES = {
    "fit.toml": Kind("settings of mliuq tune", lambda head: head.startswith(_TOML_HEAD.encode())),
    "tune.json": Kind("a result of mliuq tune", lambda head: b'"search": "mliuq tune"' in head[:40]),
    "tune.md": Kind("a table of mliuq tune", lambda head: head.startswith(b"# Candidates by left-out errors")),
    "pareto.png": _PNG,
    "curve.png": _PNG,
    JOURNAL: Kind("a journal of mliuq tune", lambda head: not head or head.startswith(b'{"search": ')),
}
_TICKS, _MORE_TICKS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
_INK, _MUTED = "#1f6fb4", "#9aa4ae"


def write_result(result: TuneResult, curve: LearningCurve | None, folder: Path) -> list[Path]:
    """Write fit.toml, tune.json, tune.md and pareto.png (with a learning curve, curve.png) into an existing folder."""
    contents = {
        "fit.toml": f"{_TOML_HEAD} {result.chosen.candidate.describe()}\n{result.settings.to_toml()}".encode(),
        "tune.json": (json.dumps(facts(result, curve), indent=2, ensure_ascii=False) + "\n").encode(),
        "tune.md": table(result, curve).encode(),
        "pareto.png": _png(pareto_picture(result)),
    }
    if curve is not None:
        contents["curve.png"] = _png(curve_picture(curve))
    write_files({folder / name: content for name, content in contents.items()})
    return [folder / name for name in contents]


def check_folder(folder: Path, inputs: Sequence[Path] = ()) -> None:
    """Refuse a folder that results cannot or must not be written to, before any work is done.

    Raises
    ------
    MliuqError
        where it is no folder, cannot be written, or holds files of these names that are inputs or not of a search.
    """
    if not folder.exists():
        nearest = next(parent for parent in folder.absolute().parents if parent.exists())
        check_output(nearest / folder.name)
        return
    if not folder.is_dir():
        raise MliuqError(f"{folder}: is a file, expected the name of a folder")
    for name, kind in _FILES.items():
        check_output(folder / name, inputs=inputs, kind=kind)


def facts(result: TuneResult, curve: LearningCurve | None) -> dict[str, Any]:
    """Return everything found as plain values; what is not finite is null."""
    found = {
        "search": "mliuq tune",
        "chosen": result.chosen.to_mapping(),
        "front": [trial.to_mapping() for trial in result.front],
        "trials": [trial.to_mapping() for trial in result.trials],
        "held_out": len(result.data.held_out),
        "complete": result.complete,
        "learning_curve": None if curve is None else asdict(curve),
    }
    plain: dict[str, Any] = _finite(found)
    return plain


def last_round(result: TuneResult) -> list[Trial]:
    """Return the trials on as many configurations as the chosen one, best first."""
    n = result.chosen.configurations
    return sorted((t for t in result.trials if t.configurations == n), key=lambda t: t.score)


def columns(trials: Sequence[Trial]) -> tuple[tuple[str, ...], list[list[object]]]:
    """Return the head of the table and, for each trial, name, errors, error bar of their product in %, weights, cost.

    A kind of error that no trial has takes no column.
    """
    kinds = {kind: unit for kind, unit in _UNITS.items() if any(kind in trial.rmse for trial in trials)}
    head = ("candidate", *(f"{kind} {unit}" for kind, (unit, _) in kinds.items()), "± %", "weights", "µs/atom")
    rows: list[list[object]] = []
    for trial in trials:
        errors = [factor * trial.rmse[kind] if kind in trial.rmse else None for kind, (_, factor) in kinds.items()]
        rows.append([trial.candidate.describe(), *errors, 100.0 * trial.uncertainty, trial.weights, trial.cost])
    return head, rows


def table(result: TuneResult, curve: LearningCurve | None) -> str:
    """Return the trials of the last round as Markdown."""
    trials = last_round(result)
    head, rows = columns(trials)
    lines = [
        "# Candidates by left-out errors",
        "",
        f"Root mean square errors on {result.chosen.configurations} configurations, each by a fit without it; best"
        " product of errors first; ±: standard error of that product. *: on the front of error and cost; **chosen**.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    for trial, (name, *cells) in zip(trials, rows, strict=True):
        mark = f"**{name}**" if trial == result.chosen else f"{name} *" if trial in result.front else str(name)
        lines.append("| " + " | ".join([mark, *map(_cell, cells)]) + " |")
    lines += [
        "",
        f"{len(result.trials)} trials; {len(result.data.held_out)} configurations were held out and not looked at.",
    ]
    if not result.complete:
        lines.append("The budget ended before all that was planned had been tried.")
    if curve is not None:
        lines += ["", "## Learning curve", "", "| configurations | " + " | ".join(curve.rmse) + " |"]
        lines.append("|" + "---|" * (len(curve.rmse) + 1))
        for index, n in enumerate(curve.configurations):
            errors = [f"{_UNITS[kind][1] * values[index]:.4g} {_UNITS[kind][0]}" for kind, values in curve.rmse.items()]
            lines.append(f"| {n} | " + " | ".join(errors) + " |")
        lines += ["", *(f"{kind}: error ∝ n^(−{b:.3f})" for kind, (_, b) in curve.law.items())]
    return "\n".join(lines) + "\n"


def pareto_picture(result: TuneResult) -> Figure:
    """Draw the errors of every kind against microseconds per atom."""
    trials = [t for t in last_round(result) if np.isfinite(t.score)]
    kinds = list(result.chosen.rmse)
    figure = Figure(figsize=(4.6 * len(kinds), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, kind in zip(np.atleast_1d(figure.subplots(1, len(kinds))), kinds, strict=True):
        unit, factor = _UNITS[kind]
        for quadratic, marker in ((False, "o"), (True, "s")):
            own = [t for t in trials if t.candidate.quadratic == quadratic]
            if own:
                x, y = [t.cost for t in own], np.array([factor * t.rmse[kind] for t in own])
                bar = y * np.array([t.uncertainty / len(t.rmse) for t in own])
                label = f"{'quadratic' if quadratic else 'linear'}, with its 2J"
                axes.errorbar(x, y, bar, fmt=marker, color=_MUTED, ms=4, lw=1, label=label, zorder=1)
                for trial, at in zip(own, zip(x, y, strict=True), strict=True):
                    axes.annotate(
                        str(trial.candidate.twojmax), at, (4, 3), textcoords="offset points", fontsize=7, color=_INK
                    )
        front = list(result.front)
        axes.plot(
            [t.cost for t in front], [factor * t.rmse[kind] for t in front], color=_INK, lw=1.5, zorder=2, label="front"
        )
        axes.plot(
            result.chosen.cost, factor * result.chosen.rmse[kind], "*", color=_INK, ms=13, zorder=3,
            label=f"chosen: {result.chosen.candidate.describe()}",
        )  # fmt: skip
        axes.set(xlabel="µs per atom, one thread", ylabel=f"left-out {kind} RMSE, {unit}")
        _logarithmic(axes)
    return figure


def curve_picture(curve: LearningCurve) -> Figure:
    """Draw error against the number of configurations with the fitted power law."""
    figure = Figure(figsize=(4.6 * len(curve.rmse), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    n = np.array(curve.configurations, dtype=float)
    for axes, (kind, errors) in zip(
        np.atleast_1d(figure.subplots(1, len(curve.rmse))), curve.rmse.items(), strict=True
    ):
        unit, factor = _UNITS[kind]
        a, b = curve.law[kind]
        axes.plot(n, factor * np.array(errors), "o", color=_INK)
        axes.plot(n, factor * a * n**-b, color=_MUTED, label=f"∝ n^(−{b:.2f})")
        axes.set(xlabel="configurations", ylabel=f"left-out {kind} RMSE, {unit}")
        _logarithmic(axes)
    return figure


def _logarithmic(axes: Axes) -> None:
    axes.set(xscale="log", yscale="log")
    for axis, subs in ((axes.xaxis, _TICKS), (axes.yaxis, _MORE_TICKS)):
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(lw=0.4, alpha=0.4)
    axes.legend(fontsize=8, frameon=False)


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
