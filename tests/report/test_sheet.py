"""The sheet of properties: references, z, marks, and what failed."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.units import GPa
from mliuq.cli import main
from mliuq.propagation.reference import judged, read_reference, summary
from mliuq.propagation.results import Estimate, Failure, PropertyResult
from mliuq.report.sheet import TITLES, matched, render_sheet, with_error


def test_a_sheet_of_two_parts(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = tmp_path / "dft.json"
    reference.write_text(json.dumps({"bcc": {"volume": 16.4, "C11": 575}, "fcc": {"formation energy": 99.0}}))
    words = ["propagate", "all", str(small_model), "--phase", "bcc", "--phase", "fcc", "-o", str(tmp_path / "sheet")]
    words += ["--part", "phases", "--part", "elastic", "--members", "6", "--max-failed", "0.6", "--crystal", "fcc"]
    assert main([*words, "--reference", str(reference), "--fmax", "0.001", "--seed", "3"]) == 0
    page = (tmp_path / "sheet" / "index.html").read_text()
    found = json.loads((tmp_path / "sheet" / "W-phases.json").read_text())
    assert (found["settings"]["seed"], found["settings"]["fmax"], found["settings"]["reference"]) == (3, 1e-3, "fcc")
    assert len(found["used_members"]) == 6
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "Elastic constants" in page
    assert "Phonons" not in page
    volume = next(e for e in found["estimates"] if (e["object"], e["quantity"]) == ("bcc", "volume"))
    z = (16.4 - volume["value"]) / volume["err"]
    assert f">{z:+.2f}<" in page
    assert "reference values: " in page
    assert "index.html" in capsys.readouterr().out


VOLUME = Estimate("bcc", "volume", "Å³/atom", 16.0, np.array([15.0, 17.0]), alpha=2.0)
MODULUS = Estimate("bcc", "bulk <modulus>", "GPa", 300.0, np.array([310.0, 320.0]), floor=3.0)
NONE = Estimate("A & B", "energy", "eV", 1.0, np.array([np.nan, 1.0]), reason="it <collapses>")
PHASES = PropertyResult(
    "phases", [VOLUME, MODULUS, NONE], [],
    [Failure(3, "A & B", "too <near>"), Failure(5, "A & B", "other"), Failure(4, "hcp", "lost")],
    {"order": {"best_fit": ["bcc", "A & B"], "orders": [{"order": ["A & B", "bcc"], "share": 0.625}]}}, {}, {},
    list(range(8)),
)  # fmt: skip
OTHER = PropertyResult("own thing", [replace(VOLUME, object="fcc", unit="a < b")], [], [], {}, {}, {}, [0])


def cells(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    return [[unescape(cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)] for row in rows]


def test_every_cell_of_a_sheet() -> None:
    reference = {("bcc", "volume"): 18.5, ("bcc", "bulk <modulus>"): 315.0, ("hcp", "volume"): 1.0}
    page = render_sheet(
        [PHASES, OTHER], {"phases": "<svg>é</svg>"}, reference, title="W & co", facts="a <fact>",
        left_out={"gsf": "no <crystal>", "melting": "unknown"},
    )  # fmt: skip
    assert page.startswith('<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" ')
    assert "<title>W &amp; co</title>\n<style>" in page
    assert page.endswith("\n</main>\n</body>\n</html>\n")
    assert "--ink: #1c2126" in page.partition("@media")[0]
    assert "--ink: #e8eaed" in page.partition("@media")[2]
    assert "td.reason {" in page
    assert '<h1>W &amp; co</h1>\n<p class="facts">a &lt;fact&gt;</p>\n<p>Each number: ' in page
    assert '<nav><a href="#phases">Phases</a> <a href="#own thing">own thing</a></nav>' in page
    z = [(18.5 - 16.0) / 2.0, (315.0 - 300.0) / MODULUS.err]
    raw = [2.5 / 1.0, 15.0 / MODULUS.std]
    assert (
        '<p class="verdict">2 reference values: 50 % within the members\' bounds, mean |error|/std '
        f"{np.mean(raw):.2f}, rms z {np.sqrt(np.mean(np.square(z))):.2f} (honest: 1).</p>"
    ) in page
    head = ["", "quantity", "value ± error", "unit", "std", "bounds", "reference", "z", "within bounds"]
    assert cells(page) == [
        head,
        ["bcc", "volume", "16.0 ± 2.0", "Å³/atom", "1", "15 … 17", "18.5", "+1.25", "✗"],
        ["bcc", "bulk <modulus>", "300 ± 16", "GPa", "15.8", "310 … 320", "315", f"{z[1]:+.2f}", "✓"],
        ["A & B", "energy", "it <collapses>"],
        head,
        ["fcc", "volume", "16.0 ± 2.0", "a < b", "1", "15 … 17", "–", "–", "–"],
    ]
    assert '<td class="reason" colspan="7">' in page
    assert '<td class="out">✗</td>' in page
    assert '<td class="out">+' not in page
    assert '<tr><td>bcc</td><td class="text">volume</td>' in page
    assert '<h2 id="phases">Phases</h2>\n<div class="wide"><table><thead><tr><th></th>' in page
    assert "</thead><tbody><tr><td>bcc</td>" in page
    assert "</tr><tr>" in page
    assert page.count("</tr></tbody></table></div>") == 2
    assert (
        "<p>Order by energy: bcc &lt; A &amp; B; the most frequent among members, A &amp; B &lt; bcc, in 62 % of "
        "them.</p>"
    ) in page
    assert "<p>A &amp; B: 2 of 8 members failed (first: too &lt;near&gt;).</p>" in page
    assert "<p>hcp: 1 of 8 members failed (first: lost).</p>" in page
    data = base64.b64encode("<svg>é</svg>".encode()).decode()
    picture = f'<figure><img alt="Phases, with error bars" width="420" src="data:image/svg+xml;base64,{data}"></figure>'
    assert page.count("<figure>") == page.count(picture) == 1
    assert '<h2>Stacking faults</h2><p class="verdict">Not computed: no &lt;crystal&gt;</p>' in page
    assert '<h2>melting</h2><p class="verdict">Not computed: unknown</p>' in page
    assert "XX" not in page
    far = render_sheet([PHASES], {}, {("bcc", "volume"): 11.9}, title="t", facts="f")
    assert '<td>11.9</td><td class="out">-2.05</td><td class="out">✗</td>' in far
    edge = render_sheet([PHASES], {}, {("bcc", "volume"): 12.0}, title="t", facts="f")
    assert '<td>12</td><td>-2.00</td><td class="out">✗</td>' in edge
    assert "Not computed" not in far
    alien = render_sheet([PHASES], {}, {("A & B", "energy"): 1.0}, title="t", facts="f")
    assert '<p class="verdict">None of the reference values belongs to a number of this sheet.</p>' in alien
    plain = render_sheet([PHASES, replace(OTHER, comparisons={"order": {}})], {}, title="t", facts="f")
    assert cells(plain)[0] == head[:6]
    assert cells(plain)[1] == ["bcc", "volume", "16.0 ± 2.0", "Å³/atom", "1", "15 … 17"]
    assert '<td class="reason" colspan="4">' in plain
    assert "reference" not in plain.partition("</style>")[2]
    assert plain.count("Order by energy") == 1
    assert matched([PHASES, OTHER], reference) == [(VOLUME, 18.5), (MODULUS, 315.0)]
    assert list(TITLES.values()) == [
        "Equations of state", "Phases", "Elastic constants", "Deformation paths", "Phonons", "Point defects",
        "Surfaces", "Stacking faults", "Vacancy hop",
    ]  # fmt: skip


def test_parts_that_fail_say_why(small_model: Path, tmp_path: Path) -> None:
    words = ["propagate", "all", str(small_model), "--part", "defects", "--crystal", "nonsense", "-o", str(tmp_path)]
    assert main([*words, "--members", "2"]) == 0
    assert "Not computed: structure" in (tmp_path / "index.html").read_text()


def test_wrong_parts_are_refused(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["propagate", "all", str(small_model), "--part", "melting", "-o", str(tmp_path)]) == 1
    assert "part is 'melting'" in capsys.readouterr().err


def test_references_follow_from_structures(tmp_path: Path) -> None:
    """Energies of a Birch–Murnaghan curve and stress of known elastic constants come back."""
    structures = []
    for name, e0, v0 in (("bcc", -11.0, 16.0), ("fcc", -10.5, 16.5)):
        for ratio in np.linspace(0.9, 1.1, 7):
            volume = v0 * ratio
            f = ratio ** (-2 / 3) - 1
            energy = e0 + 9 * v0 * 1.9 / 16 * (f**3 * 4.0 + f**2 * (6 - 4 * (f + 1)))
            atoms = bulk("W", name, np.cbrt({"bcc": 2, "fcc": 4}[name] * volume))
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
            atoms.info["config_type"] = f"eos_{name}"
            structures.append(atoms)
    for strain in (-0.02, -0.01, 0.01, 0.02):
        atoms = bulk("W", "bcc", 3.2, cubic=True)
        stress = np.array([500.0, 200.0, 200.0, 0, 0, 0]) * GPa * strain * (1 + 100 * strain**2)
        atoms.calc = SinglePointCalculator(atoms, energy=-22.0, stress=stress)
        atoms.info.update(config_type="elastic_c11", strain=strain)
        structures.append(atoms)
    write(tmp_path / "dft.xyz", structures)
    found = read_reference(tmp_path / "dft.xyz")
    assert found["bcc", "volume"] == pytest.approx(16.0, rel=1e-5)
    assert found["bcc", "bulk modulus"] == pytest.approx(1.9 / GPa, rel=1e-3)
    assert found["bcc", "bulk modulus derivative"] == pytest.approx(4.0, rel=1e-2)
    assert found["fcc", "formation energy"] == pytest.approx(0.5, abs=1e-6)
    assert ("bcc", "formation energy") not in found
    assert found["bcc", "C11"] == pytest.approx(500 * 1.01, rel=1e-6), "the smallest pair of strains"
    assert found["bcc", "C'"] == pytest.approx(150 * 1.01, rel=1e-6)


@pytest.mark.parametrize("text", ["[]", "{", '{"bcc": 3}', '{"bcc": {"volume": "large"}}', "{}"])
def test_references_that_are_none_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "dft.json").write_text(text)
    with pytest.raises(mliuq.MliuqError, match="expected"):
        read_reference(tmp_path / "dft.json")


def test_judging_against_a_reference() -> None:
    e = Estimate("bcc", "volume", "Å³/atom", 16.0, np.array([15.0, 17.0]), alpha=2.0)
    assert judged(e, 18.0) == (1.0, False)
    assert judged(e, 16.5) == (0.25, True)
    facts = summary([(e, 18.0), (e, 16.0)])
    assert facts == {
        "count": 2,
        "mean_abs_error_over_std": pytest.approx(1.0),
        "rms_z": pytest.approx(np.sqrt(0.5)),
        "inside": 0.5,
    }


def test_digits_follow_the_error() -> None:
    assert with_error(3.4049, 0.213) == "3.40 ± 0.21"
    assert with_error(304.57, 28.4) == "305 ± 28"
    assert with_error(16.4343, 0.00123) == "16.4343 ± 0.0012"
    assert with_error(5.0, 0.0) == "5"
    assert re.fullmatch(r"-0\.1234 ± 0\.0021", with_error(-0.12341, 0.0021))
