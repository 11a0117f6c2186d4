"""`mliuq learn`: a model learns from its own runs until they no longer halt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mliuq.cli.console import print_json, progress_bar, say, show_table

if TYPE_CHECKING:
    from mliuq.learning.plan import Plan

EXAMPLE = "Example: mliuq learn learn.toml -o learn --dry-run     (then without --dry-run)"

_ENDS = {
    "converged": "every run reached its steps",
    "labels": "the labels allowed are spent",
    "rounds": "the rounds allowed are over",
}
_SHOWN = ("round", "labels", "bad", "halted", "steps, least", "largest bar", "E meV/atom", "F eV/Å", "rms z")
_OF_ROW = (0, 1, 2, 4, 5, 6, 7, 8, 10)


def run(
    settings: Annotated[Path, typer.Argument(help="TOML file of the loop.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the loop, made if need be.")] = Path(
        "learn"
    ),
    status: Annotated[
        bool, typer.Option("--status", help="Say how far the loop in the folder is; do nothing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done: runs, labels, expected time; do nothing.")
    ] = False,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting in place of the file's.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Let a model learn from its own runs: explore, select, label, refit, until no run halts.

    The folder gets one folder for each round (frames, batch, labels, quarantine, model, log) and learn.md, learn.png
    and model.mliuq. A loop that was stopped goes on by the same command: no label is calculated twice.
    """
    from mliuq.cli.fit import parse_settings
    from mliuq.learning.folder import LearnFolder
    from mliuq.learning.loop import learn
    from mliuq.learning.plan import plan
    from mliuq.learning.settings import LearnSettings

    chosen = LearnSettings.from_toml(settings, parse_settings(setting or []))
    if status or dry_run:
        found, logs = plan(chosen, output), LearnFolder(output).logs()
        if json:
            print_json({"folder": str(output), "plan": found.to_mapping(), "rounds": logs})
            return
        if status:
            _show(logs)
        _tell(found)
        return
    with progress_bar(quiet=json) as bar:
        result = learn(chosen, output, progress=bar)
    if json:
        print_json({"reason": result.reason, "model": str(result.model), "rounds": result.logs})
        return
    _show(result.logs)
    say(f"{_ENDS[result.reason]}; wrote {result.model}, learn.md and learn.png in {result.folder}")


def _show(logs: list[dict[str, object]]) -> None:
    from mliuq.learning.logbook import row_of

    if logs:
        show_table(_SHOWN, [[row_of(log)[i] for i in _OF_ROW] for log in logs])


def _tell(plan: Plan) -> None:
    if plan.ended is not None:
        say(f"the loop is over: {_ENDS[plan.ended]}")
        return
    rows: list[tuple[str, object, str]] = [
        ("runs to make", plan.runs_left, f"of {plan.runs}, {plan.steps} steps at most"),
        ("labels to calculate", plan.labels_left, f"of {plan.labels} at most"),
        ("this round", _time(plan.seconds), "at most"),
        ("labels left", plan.budget_left, f"in {plan.rounds_left} rounds"),
        ("the whole budget", _time(plan.seconds_in_all), "at most"),
    ]
    show_table((f"round {plan.round}: {plan.stage}", "", ""), rows)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "not measured yet"
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2.0 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
