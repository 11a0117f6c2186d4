"""A sheet of properties with error bars as one HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from mliuq.propagation.reference import judged, summary
from mliuq.propagation.results import Estimate, PropertyResult
from mliuq.report.page import STYLE
from mliuq.report.theme import css_variables

TITLES = {
    "eos": "Equations of state",
    "phases": "Phases",
    "elastic": "Elastic constants",
    "path": "Deformation paths",
    "phonons": "Phonons",
    "defects": "Point defects",
    "surfaces": "Surfaces",
    "gsf": "Stacking faults",
    "neb": "Vacancy hop",
}
OWN_STYLE = """
figure img { display: block; max-width: 100%; background: #fff; border-radius: 6px; padding: 6px; }
td.out { color: var(--raw); font-weight: 600; }
td.reason { white-space: normal; text-align: left; color: var(--raw); }
"""


def render_sheet(
    results: Sequence[PropertyResult],
    pictures: Mapping[str, str],
    reference: Mapping[tuple[str, str], float] | None = None,
    *,
    title: str,
    facts: str,
    left_out: Mapping[str, str] | None = None,
) -> str:
    """The whole page.

    Parameters
    ----------
    results : what was computed, in the order of the page
    pictures : property → SVG text
    reference : values by (object, quantity), for the columns reference, z and within bounds
    left_out : property → why it is not there
    """
    body = [f"<h1>{escape(title)}</h1>", f'<p class="facts">{escape(facts)}</p>']
    body.append(
        "<p>Each number: the best fit's ± the error to expect, from the spread of the members, each on its own relaxed "
        "structure. Bounds: smallest and largest member.</p>"
    )
    body.append("<nav>" + " ".join(f'<a href="#{r.property}">{_title(r)}</a>' for r in results) + "</nav>")
    if reference:
        body.append(_verdict(results, reference))
    for result in results:
        body += _section(result, pictures.get(result.property, ""), reference)
    for name, reason in (left_out or {}).items():
        body.append(f'<h2>{escape(TITLES.get(name, name))}</h2><p class="verdict">Not computed: {escape(reason)}</p>')
    style = STYLE % {"light": css_variables(dark=False), "dark": css_variables(dark=True)} + OWN_STYLE
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def matched(
    results: Sequence[PropertyResult], reference: Mapping[tuple[str, str], float]
) -> list[tuple[Estimate, float]]:
    """Estimates that have a number and a reference."""
    return [
        (e, reference[e.object, e.quantity])
        for result in results
        for e in result.estimates
        if (e.object, e.quantity) in reference and not e.reason
    ]


def _verdict(results: Sequence[PropertyResult], reference: Mapping[tuple[str, str], float]) -> str:
    pairs = matched(results, reference)
    if not pairs:
        return '<p class="verdict">None of the reference values belongs to a number of this sheet.</p>'
    facts = summary(pairs)
    return (
        f'<p class="verdict">{facts["count"]} reference values: {100 * facts["inside"]:.0f} % within the members\' '
        f"bounds, mean |error|/std {facts['mean_abs_error_over_std']:.2f}, rms z {facts['rms_z']:.2f} (honest: 1).</p>"
    )


def _title(result: PropertyResult) -> str:
    return TITLES.get(result.property, result.property)


def _section(result: PropertyResult, picture: str, reference: Mapping[tuple[str, str], float] | None) -> list[str]:
    head = "<th></th><th class='text'>quantity</th><th>value ± error</th><th>unit</th><th>std</th><th>bounds</th>"
    if reference:
        head += "<th>reference</th><th>z</th><th>within bounds</th>"
    rows = [_row(e, reference) for e in result.estimates]
    parts = [
        f'<h2 id="{result.property}">{escape(_title(result))}</h2>',
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>',
    ]
    order = result.comparisons.get("order") or {}
    if order:
        likely = order["orders"][0]
        parts.append(
            f"<p>Order by energy: {escape(' < '.join(order['best_fit']))}; the most frequent among members, "
            f"{escape(' < '.join(likely['order']))}, in {100 * likely['share']:.0f} % of them.</p>"
        )
    counts: dict[str, int] = {}
    for failure in result.failures:
        counts[failure.object] = counts.get(failure.object, 0) + 1
    for name, n in counts.items():
        first = next(f.reason for f in result.failures if f.object == name)
        parts.append(f"<p>{escape(name)}: {n} of {len(result.members)} members failed (first: {escape(first)}).</p>")
    if picture:
        data = base64.b64encode(picture.encode()).decode("ascii")
        alt = escape(f"{_title(result)}, with error bars")
        parts.append(f'<figure><img alt="{alt}" width="420" src="data:image/svg+xml;base64,{data}"></figure>')
    return parts


def _row(e: Estimate, reference: Mapping[tuple[str, str], float] | None) -> str:
    name = f'<tr><td>{escape(e.object)}</td><td class="text">{escape(e.quantity)}</td>'
    if e.reason:
        return name + f'<td class="reason" colspan="{7 if reference else 4}">{escape(e.reason)}</td></tr>'
    cells = (
        f"<td>{with_error(e.value, e.err)}</td><td>{escape(e.unit)}</td><td>{e.std:.3g}</td>"
        f"<td>{e.low:.4g} … {e.high:.4g}</td>"
    )
    if reference:
        value = reference.get((e.object, e.quantity))
        if value is None:
            cells += "<td>–</td><td>–</td><td>–</td>"
        else:
            z, inside = judged(e, value)
            far = ' class="out"' if abs(z) > 2 else ""
            mark = "<td>✓</td>" if inside else '<td class="out">✗</td>'
            cells += f"<td>{value:.4g}</td><td{far}>{z:+.2f}</td>{mark}"
    return name + cells + "</tr>"


def with_error(value: float, err: float) -> str:
    """A number with as many digits as its error deserves: two of the error's own."""
    if not (np.isfinite(err) and err > 0):
        return f"{value:.4g}"
    digits = max(0, 1 - int(np.floor(np.log10(err))))
    return f"{value:.{digits}f} ± {err:.{digits}f}"
