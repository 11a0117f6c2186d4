"""The HTML of the report: one file, no scripts, no outside resources."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mliuq.judging import metrics
from mliuq.report.figures import ENVIRONMENTS, FIGURES
from mliuq.report.numbers import MIN_ROWS, JudgedSet, WorstConfiguration
from mliuq.report.predictions import UNITS, Predictions
from mliuq.report.theme import css_variables

GENERATOR = '<meta name="generator" content="mliuq">'
"""What a page that may be replaced by another report is known by."""

TITLES = {"energy": "Energies", "force": "Forces", "stress": "Stress"}
ROWS_ARE = {"energy": "energies per atom", "force": "force components", "stress": "stress components"}

#: Metric, heading, what an honest model shows, explanation.
METRICS: tuple[tuple[str, str, str, str], ...] = (
    ("mae", "MAE", "", "mean |error|"),
    ("rmse", "RMSE", "", "root mean square error"),
    ("sharpness", "mean error bar", "", "root mean square of the stated σ"),
    ("rms_z", "rms z", "1", "root mean square of error/σ; above 1 overconfident"),
    ("mean_abs_z", "mean |z|", "0.80", "mean of |error|/σ"),
    ("coverage_1", "inside ±1σ", "68.3 %", "fraction of rows whose error is below σ"),
    ("coverage_2", "inside ±2σ", "95.4 %", "fraction of rows whose error is below 2σ"),
    (
        "envelope",
        "outside all members",
        "≈ 0",
        "fraction of references beyond the smallest or largest member (members carry no noise)",
    ),
    ("ence", "ENCE", "→ 0", "mean relative distance of the reliability diagram from its diagonal"),
    ("area", "miscalibration area", "0", "area between coverage curve and diagonal"),
    ("crps", "CRPS", "", "proper score, in the unit of the quantity; smaller is better"),
    ("nll", "NLL", "", "mean negative log likelihood; smaller is better"),
    ("spearman", "rank correlation", "", "Spearman(σ, |error|)"),
    ("auc", "AUC, worst 10 %", "", "chance that a large error carries a larger σ than an ordinary one"),
)
FRACTIONS = {"coverage_1", "coverage_2", "envelope"}
CLASS_COLUMNS = ("mae", "rmse", "sharpness", "rms_z", "coverage_1", "coverage_2", "envelope")

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --panel: #f6f7f8; --line: #dfe3e6; %(light)s }
@media (prefers-color-scheme: dark) { :root { --page: #15181b; --panel: #1c2024; --line: #31373d; %(dark)s } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 1.5rem clamp(0.9rem, 3vw, 2.5rem) 4rem; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: 0.4rem 0 0.2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 0.6rem; border-top: 1px solid var(--line); padding-top: 1.2rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 0.4rem; }
p { margin: 0.4rem 0; max-width: 75ch; }
.facts { color: var(--muted); overflow-wrap: anywhere; }
.verdict { font-size: 1.05rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 0.6rem; margin: 1rem 0; }
.tile { background: var(--panel); border-radius: 8px; padding: 0.6rem 0.8rem; }
.tile b { display: block; font-size: 1.35rem; font-weight: 600; line-height: 1.3; }
.tile span { color: var(--muted); font-size: 0.85rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%%, 330px), 1fr)); gap: 1.2rem 1.4rem; margin: 1rem 0; }
figure { margin: 0; min-width: 0; }
figure svg { display: block; height: auto; }
figcaption { font-size: 0.87rem; color: var(--muted); }
figcaption b { color: var(--ink); }
.wide { overflow-x: auto; margin: 0.5rem 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
th, td { padding: 0.28rem 0.7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.text, th.text { text-align: left; }
thead th { color: var(--muted); font-weight: 500; vertical-align: bottom; }
td.why { color: var(--muted); text-align: left; white-space: normal; min-width: 16rem; }
@media (max-width: 640px) { td.why { white-space: nowrap; } }
a { color: var(--calibrated); }
nav { margin: 0.6rem 0; display: flex; gap: 1rem; flex-wrap: wrap; }
@media print { body { background: none; } h2 { break-before: page; } figure { break-inside: avoid; } }
"""


def render(
    predictions: Sequence[Predictions],
    test: JudgedSet,
    numbers: Mapping[str, Any],
    worst: Mapping[str, Sequence[WorstConfiguration]],
    pictures: Mapping[str, Mapping[str, str]],
    files: Mapping[str, Mapping[str, str]],
    *,
    title: str,
    facts: str,
) -> str:
    """The whole page.

    Parameters
    ----------
    numbers : what metrics.json holds
    pictures : kind -> figure name -> inline SVG
    files : kind -> figure name -> stand-alone SVG, offered for download
    """
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="facts">{escape(facts)}</p>',
        f'<p class="facts">Judged on {escape(test.source)}: {len(test)} configurations, {sum(test.sizes)} atoms.</p>',
        "<nav>" + " ".join(f'<a href="#{p.kind}">{TITLES[p.kind]}</a>' for p in predictions) + "</nav>",
    ]
    for p in predictions:
        body += _section(p, test, numbers["quantities"][p.kind], worst[p.kind], pictures[p.kind], files[p.kind])
    body += [_classes_out(numbers["model"].get("classes_out") or []), _reading()]
    style = STYLE % {"light": css_variables(dark=False), "dark": css_variables(dark=True)}
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"{GENERATOR}\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def verdict(p: Predictions, summary: Mapping[str, Any]) -> str:
    """One sentence on whether the stated error bars can be taken at their word."""
    z = float(summary["rms_z"])
    if z > 1.2:
        judgement = f"too narrow: errors are {z:.2f} times what is stated"
    elif z < 0.85:
        judgement = f"too wide: errors are {z:.2f} of what is stated"
    else:
        judgement = f"of the right size: errors are {z:.2f} times what is stated"
    which = "Calibrated" if p.calibrated is not None else "Raw"
    inside = {level: 100 * float(np.mean(p.held(level))) for level in (0.6827, 0.9545)}
    return (
        f"{which} error bars of {ROWS_ARE[p.kind]} are {judgement}; "
        f"intervals of 68 % (±{p.width(0.6827):.2f}σ) hold {inside[0.6827]:.0f} % of the references, "
        f"those of 95 % (±{p.width(0.9545):.2f}σ) {inside[0.9545]:.0f} %."
    )


def _section(
    p: Predictions,
    test: JudgedSet,
    numbers: Mapping[str, Any],
    worst: Sequence[WorstConfiguration],
    pictures: Mapping[str, str],
    files: Mapping[str, str],
) -> list[str]:
    stated = numbers.get("calibrated", numbers["raw"])
    left_out = (
        f", {p.n_left_out} more are zero by symmetry and left out of everything but that MAE" if p.n_left_out else ""
    )
    tiles = [
        (_quantity(numbers["all_rows"]["mae"]), f"MAE of all rows, {p.unit}"),
        (_quantity(stated["sharpness"]), f"stated error bar (rms), {p.unit}"),
        (f"{stated['rms_z']:.2f}", "rms z (honest: 1)"),
        (f"{100 * stated['coverage_1']:.0f} %", "inside ±1σ (68 %)"),
        (f"{100 * stated['coverage_2']:.0f} %", "inside ±2σ (95 %)"),
        (f"{100 * stated['envelope']:.1f} %", "outside all members"),
    ]
    cells = "".join(f'<div class="tile"><b>{value}</b><span>{escape(label)}</span></div>' for value, label in tiles)
    parts = [
        f'<h2 id="{p.kind}">{TITLES[p.kind]}</h2>',
        f'<p class="verdict">{escape(verdict(p, stated))}</p>',
        f'<p class="facts">{len(p.y)} {ROWS_ARE[p.kind]}{left_out}.</p>',
        f'<div class="tiles">{cells}</div>',
        '<div class="figures">',
    ]
    shown = [entry[:3] for entry in FIGURES] + [ENVIRONMENTS]
    for name, heading, reading in (entry for entry in shown if entry[0] in pictures):
        data = base64.b64encode(files[name].encode()).decode("ascii")
        link = f'<a download="{p.kind}_{name}.svg" href="data:image/svg+xml;base64,{data}">SVG</a>'
        parts.append(
            f"<figure>{pictures[name]}<figcaption><b>{escape(heading)}.</b> {escape(reading)} {link}</figcaption></figure>"
        )
    parts += [
        "</div>",
        _metrics_table(numbers),
        _class_table(p, numbers["by_config_type"], "config_type"),
        _class_table(p, numbers["by_element"], "element"),
        _environment_table(p, numbers["by_environment"]),
        _worst_table(p, worst),
    ]
    return parts


def _metrics_table(numbers: Mapping[str, Any]) -> str:
    columns = [name for name in ("raw", "calibrated") if name in numbers]
    rows = []
    for key, heading, honest, why in METRICS:
        values = "".join(f"<td>{_cell(key, numbers[column][key])}</td>" for column in columns)
        rows.append(f'<tr><td>{heading}</td>{values}<td>{honest}</td><td class="why">{escape(why)}</td></tr>')
    head = "".join(f"<th>{column}</th>" for column in columns)
    for level, stated in numbers["intervals"].items():
        rows.append(
            f"<tr><td>inside {100 * float(level):.4g} % intervals</td>"
            + "<td>–</td>" * (len(columns) - 1)
            + f"<td>{100 * stated['held']:.1f} %</td><td>{100 * float(level):.4g} %</td>"
            f'<td class="why">±{stated["width"]:.2f} error bars, what `interval` states</td></tr>'
        )
    return (
        "<h3>Metrics</h3>"
        f'<div class="wide"><table><thead><tr><th></th>{head}<th>honest</th><th></th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _class_table(p: Predictions, classes: Mapping[str, Mapping[str, Any]], what: str) -> str:
    if not classes:
        return ""
    headings = {key: heading for key, heading, _, _ in METRICS}
    head = "".join(f"<th>{headings[key]}</th>" for key in CLASS_COLUMNS)
    rows = [
        f"<tr><td>{escape(name)}</td><td>{summary['count']}</td>"
        + "".join(f"<td>{_cell(key, summary[key])}</td>" for key in CLASS_COLUMNS)
        + "</tr>"
        for name, summary in classes.items()
    ]
    return (
        f"<h3>By {what} ({escape(p.unit)})</h3>"
        f'<div class="wide"><table><thead><tr><th>{what}</th><th>rows</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f'<p class="facts">Those with fewer than {MIN_ROWS} rows are left out.</p>'
    )


def _environment_table(p: Predictions, groups: Mapping[str, Mapping[str, float]]) -> str:
    if not groups:
        return ""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{group['rows']}</td><td>{group['configurations']}</td>"
        f"<td>{_quantity(group['rmse'])}</td><td>{_quantity(group['sharpness'])}</td><td>{_quantity(group['rms_z'])}</td>"
        f"<td>{100 * group['held']:.1f} %</td></tr>"
        for name, group in groups.items()
    )
    return (
        f"<h3>By environment ({escape(p.unit)})</h3>"
        '<div class="wide"><table><thead><tr><th>group</th><th>rows</th><th>configurations</th><th>RMSE</th>'
        "<th>mean error bar</th><th>rms z</th><th>inside 90 % intervals</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
        '<p class="facts">Undercoordinated: at most 0.8 of the usual number of near neighbours. Close pairs: nearest '
        "neighbour below 0.9 of the usual distance. Strained: volume per atom more than 5 % off the median. High forces: "
        "the largest tenth. Energies and stress: configurations with a tenth of such atoms.</p>"
    )


def _classes_out(lines: Sequence[Mapping[str, Any]]) -> str:
    """What the fit said of whole classes of its training data under fits without them."""
    if not lines:
        return ""
    rows = []
    for line in lines:
        worth = line.get("independent")
        span = "–" if worth is None else "{:.2f} … {:.2f}".format(*metrics.rms_z_range(worth))
        rows.append(
            f'<tr><td>{escape(str(line["group"]))}</td><td class="text">{TITLES[line["kind"]]}, {UNITS[line["kind"]]}</td>'
            f"<td>{line['rows']}</td><td>{_quantity(line['rmse'])}</td><td>{_cell('rms_z', line.get('rms_z'))}</td>"
            f"<td>{_cell('independent', worth)}</td><td>{span}</td></tr>"
        )
    return (
        '<h2 id="classes-out">Training classes left out</h2>'
        "<p>Errors on each class of the training data under a fit to the other classes: how the model does on what it "
        "has never seen. With error bars fitted anew, too (--classes-out bars): rms z, how many independent errors "
        "those of the class are worth, and where rms z of honest bars lies in nine cases of ten for so many.</p>"
        '<div class="wide"><table><thead><tr><th>class</th><th class="text"></th><th>rows</th><th>RMSE</th><th>rms z</th>'
        f"<th>independent</th><th>honest</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _worst_table(p: Predictions, worst: Sequence[WorstConfiguration]) -> str:
    rows = [
        f'<tr><td>{escape(w.name)}</td><td>{w.index}</td><td class="text">{escape(w.config_type)}</td><td>{w.n_atoms}</td>'
        f"<td>{_quantity(w.error)}</td><td>{_quantity(w.stated)}</td><td>{w.z:.1f}</td></tr>"
        for w in worst
    ]
    what = "largest " if p.kind != "energy" else ""
    return (
        f"<h3>The {len(worst)} configurations with the largest errors</h3>"
        '<div class="wide"><table><thead><tr><th>name</th><th>index in file</th><th class="text">class</th><th>atoms</th>'
        f"<th>{what}|error|, {escape(p.unit)}</th><th>stated σ</th><th>|error|/σ</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _reading() -> str:
    return (
        "<h2>How to read this</h2>"
        "<p>An error bar σ is the error to expect of one number: of many like it, 68 % should lie within ±σ of the reference and 95 % "
        "within ±2σ. <b>Raw</b> is the spread of the ensemble about the best fit, with the fitted noise floor where the posterior has one. "
        "<b>Calibrated</b> multiplies the spread by the factor stored in the model, found on data the fit did not use. "
        "Shaded bands and vertical lines on points show the scatter that honest error bars would have with this many rows.</p>"
        "<p>The page judges the model on these structures. On structures of another kind it says little: watch the "
        "extrapolation measures there.</p>"
    )


def _cell(key: str, value: float | None) -> str:
    if value is None or value != value:
        return "–"
    return f"{100 * value:.1f} %" if key in FRACTIONS else _quantity(value)


def _quantity(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
