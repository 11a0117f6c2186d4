"""The certificate as JSON and as one self-contained page; equal certificates give equal files."""

from __future__ import annotations

import html
import io
import json
import math
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from mliuq.errors import MliuqError
from mliuq.outputs import Kind, check_output, write_files
from mliuq.verification.battery import Certificate, Check
from mliuq.verification.outcome import Outcome

_GENERATOR = '<meta name="generator" content="mliuq verify">'
_FILES = {
    "certificate.json": Kind("a certificate of mliuq", lambda head: b'"checks"' in head),
    "index.html": Kind("a page of mliuq verify", lambda head: _GENERATOR.encode() in head),
}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2126;
  background: #fff; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .3rem .6rem;
  border-bottom: 1px solid #e3e6e9; vertical-align: top; }
.P { color: #17734a; font-weight: 600; } .F { color: #b3261e; font-weight: 600; } .N { color: #68717a; }
td.number { white-space: nowrap; } figure { margin: 1.5rem 0; } svg { width: 100%; height: auto; background: #fff; }
@media (prefers-color-scheme: dark) { body { color: #e8eaed; background: #16191d; } td, th { border-color: #31373d; }
  .P { color: #5fd0a0; } .F { color: #ff8a80; } .N { color: #9aa4ae; } }
"""


def write_certificate(certificate: Certificate, folder: Path) -> dict[str, Any]:
    """Write `certificate.json` and `index.html` into a folder, made if need be; return what the first holds.

    Raises
    ------
    MliuqError
        Where the folder cannot be written, or holds other things under these names.
    """
    facts = _plain(certificate.to_mapping())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MliuqError(f"{folder}: cannot be made: {error.strerror}") from error
    for name, kind in _FILES.items():
        check_output(folder / name, kind=kind)
    text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_files({folder / "certificate.json": text.encode(), folder / "index.html": _page(certificate).encode()})
    return dict(facts)


def _page(certificate: Certificate) -> str:
    graded = [outcome.grade for _, outcome in certificate.outcomes]
    verdict = f"{graded.count('P')} passed, {graded.count('F')} failed, {graded.count('N')} do not apply"
    rows = "\n".join(_row(check, outcome) for check, outcome in certificate.outcomes)
    figures = "\n".join(
        f"<figure>{_svg(check, outcome)}<figcaption>{html.escape(check.name)}: {html.escape(check.question)}"
        "</figcaption></figure>"
        for check, outcome in certificate.outcomes
        if outcome.curves
    )
    name = html.escape(certificate.name)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{_GENERATOR}'
        f'<meta name="viewport" content="width=device-width"><title>{name}</title><style>{_STYLE}</style></head>\n'
        f'<body><h1>{name}</h1>\n<p class="{"P" if certificate.passed else "F"}">{verdict}</p>\n'
        f"<p>{html.escape(' '.join(certificate.elements))}; at rest as {certificate.lattice} with nearest neighbours "
        f"at {certificate.distance:.3f} Å.</p>\n"
        "<table><tr><th>check</th><th></th><th>found</th><th>limit</th><th></th></tr>\n"
        f"{rows}\n</table>\n{figures}\n</body></html>\n"
    )


def _row(check: Check, outcome: Outcome) -> str:
    figure, limit = ("" if v is None else f"{v:.3g}" for v in (outcome.figure, outcome.limit))
    note = html.escape(check.question) + (f" <em>{html.escape(outcome.note)}</em>" if outcome.note else "")
    return (
        f'<tr><td>{html.escape(check.name)}</td><td class="{outcome.grade}">{outcome.grade}</td>'
        f'<td class="number">{figure} {html.escape(outcome.unit)}</td><td class="number">{limit}</td>'
        f"<td>{note}</td></tr>"
    )


def _svg(check: Check, outcome: Outcome) -> str:
    panels: dict[str, list[Any]] = {}
    for curve in outcome.curves:
        panels.setdefault(curve.y_label, []).append(curve)
    figure = Figure(figsize=(4.5 * len(panels), 3.0), layout="constrained")
    for k, (label, curves) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), k + 1)
        for curve in curves:
            axes.plot(curve.x, curve.y, label=curve.label)
        axes.set_xlabel(curves[0].x_label)
        axes.set_ylabel(label)
        heights = [y for curve in curves for y in curve.y if math.isfinite(y)]
        if heights and max(map(abs, heights)) > 1e3:
            axes.set_yscale("symlog")
        if len(curves) > 1:
            axes.legend()
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": f"mliuq {check.name}", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value
