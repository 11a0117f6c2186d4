"""Estimates, curves, comparisons, files and pictures from numbers made by hand."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mliuq
import numpy as np
import pytest
from mliuq import propagation
from mliuq.core import ErrorScale
from mliuq.propagation import Curve, Estimate, Failure, Noise, PropertyResult, Value, figures
from mliuq.propagation.comparisons import agreement, orders, rank_correlations
from mliuq.propagation.figures import draw, picture
from mliuq.propagation.write import COLUMNS, to_csv, to_json
from scipy.stats import spearmanr

NAN = np.nan


def estimate(name: str, members: list[float], best: float = 0.0, quantity: str = "energy", **options: Any) -> Estimate:
    return Estimate(name, quantity, options.pop("unit", "eV"), best, np.array(members, dtype=float), **options)


GOOD = estimate("bcc", [1.0, 3.0, NAN, 2.0], 1.5, alpha=2.0, floor=0.3)
BAD = replace(GOOD, object="fcc", reason="2 of 4 members failed")
X = np.array([0.0, 1.0, 3.0])
CURVE = Curve(
    "bcc", X, np.array([0.0, 1.0, 2.0]), np.array([[0.0, 1.0, 2.0], [1.0, 3.0, 4.0], [NAN, NAN, NAN], [2.0, 2.0, 3.0]]),
    "volume (Å³/atom)", "energy (eV/atom)", {"Γ": 0.0, "X": 3.0},
)  # fmt: skip
BANDS = Curve(
    "bcc bands", X, np.stack([X, 2 * X], 1), np.stack([[X, 3 * X], [X + 1, 2 * X]]).transpose(0, 2, 1), "q", "THz"
)
RESULT = PropertyResult(
    "eos", [GOOD, BAD], [CURVE, BANDS], [Failure(2, "bcc", "collapsed"), Failure(-1, "hcp", "left")],
    {"order": {"members": 3}}, {"span": 0.06}, {"fingerprint": "ab"}, [0, 1, 2, 5],
)  # fmt: skip


class TestEstimates:
    def test_values_follow_from_the_members(self) -> None:
        assert GOOD.failed == 1
        assert GOOD.value == 1.5
        std = np.sqrt((0.5**2 + 1.5**2 + 0.5**2) / 3)
        assert GOOD.std == pytest.approx(std, rel=1e-15)
        assert GOOD.err == pytest.approx(np.sqrt((2 * std) ** 2 + 0.3**2), rel=1e-15)
        assert (GOOD.low, GOOD.high) == (1.0, 3.0)

    def test_a_reason_leaves_no_number(self) -> None:
        assert np.isnan([BAD.value, BAD.std, BAD.err, BAD.low, BAD.high]).all()
        assert (BAD.best, BAD.failed) == (1.5, 1)

    def test_defaults(self) -> None:
        plain = estimate("x", [1.0])
        assert (plain.alpha, plain.floor, plain.reason) == (1.0, 0.0, "")
        value = Value(1.0, "eV")
        assert (value.noise.energy, value.noise.stress, value.kind) == (0.0, 0.0, "energy")

    def test_the_floor_is_noise_of_both_kinds(self) -> None:
        scale = ErrorScale()
        scale.noise_energy, scale.noise_stress, scale.noise_force = 0.1, 0.02, 7.0
        assert Noise(3.0, 20.0).floor(scale) == pytest.approx(0.5, rel=1e-15)
        assert Noise().floor(scale) == 0.0

    def test_plain_values_and_back(self) -> None:
        plain = GOOD.to_mapping()
        assert {k: v for k, v in plain.items() if k not in ("members", "std", "err")} == {
            "object": "bcc", "quantity": "energy", "unit": "eV", "value": 1.5, "best_fit": 1.5, "min": 1.0, "max": 3.0,
            "failed": 1, "reason": "", "alpha": 2.0, "floor": 0.3,
        }  # fmt: skip
        assert plain["std"] == GOOD.std
        assert plain["err"] == GOOD.err
        np.testing.assert_array_equal(plain["members"], GOOD.members)
        for given in (GOOD, BAD):
            back = Estimate.from_mapping(json.loads(to_json(replace(RESULT, estimates=[given])))["estimates"][0])
            np.testing.assert_array_equal(back.members, given.members)
            assert {k: v for k, v in vars(back).items() if k != "members"} == {
                k: v for k, v in vars(given).items() if k != "members"
            }
        lost = Estimate.from_mapping({**plain, "best_fit": None})
        assert np.isnan(lost.best)


class TestCurves:
    def test_bands_hold_shares_of_the_members(self) -> None:
        rng = np.random.default_rng(0)
        curve = replace(CURVE, members=rng.normal(size=(400, 3)))
        low, high = curve.band(0.9)
        for k in range(3):
            below = np.mean(curve.members[:, k] < low[k]), np.mean(curve.members[:, k] > high[k])
            assert below == pytest.approx((0.05, 0.05), abs=0.003)
        low, high = CURVE.band(1.0)
        np.testing.assert_array_equal(low, [0, 1, 2])
        np.testing.assert_array_equal(high, [2, 3, 4])
        low, high = BANDS.band(1.0)
        np.testing.assert_array_equal(high, [[1, 0], [2, 3], [4, 9]])

    def test_without_members_the_band_is_the_best_fit(self) -> None:
        none = replace(CURVE, members=np.full((2, 3), NAN))
        for edge in none.band(0.5):
            np.testing.assert_array_equal(edge, CURVE.best)
        partly = replace(CURVE, members=np.array([[0.0, NAN, 1.0], [1.0, 2.0, 3.0]]))
        np.testing.assert_array_equal(partly.band(0.5)[0], [1, 2, 3])

    def test_plain_values_and_back(self) -> None:
        for curve in (CURVE, BANDS):
            plain = curve.to_mapping()
            assert list(plain) == ["object", "x", "best_fit", "members", "x_label", "y_label", "ticks"]
            text = json.loads(to_json(replace(RESULT, curves=[curve])))["curves"][0]
            for back in (Curve.from_mapping(plain), Curve.from_mapping(text)):
                for name in ("x", "best", "members"):
                    np.testing.assert_array_equal(getattr(back, name), getattr(curve, name))
                for name in ("object", "x_label", "y_label", "ticks"):
                    assert getattr(back, name) == getattr(curve, name)


class TestResults:
    def test_estimates_are_found_by_name(self) -> None:
        assert RESULT["fcc", "energy"] is BAD
        with pytest.raises(
            mliuq.MliuqError, match=r"^eos has no volume of bcc, expected one of: bcc energy, fcc energy"
        ):
            RESULT["bcc", "volume"]

    def test_plain_values_and_back(self) -> None:
        plain = RESULT.to_mapping()
        assert {k: plain[k] for k in ("property", "model", "settings", "used_members", "failures", "comparisons")} == {
            "property": "eos", "model": {"fingerprint": "ab"}, "settings": {"span": 0.06}, "used_members": [0, 1, 2, 5],
            "failures": [
                {"member": 2, "object": "bcc", "reason": "collapsed"},
                {"member": -1, "object": "hcp", "reason": "left"},
            ],
            "comparisons": {"order": {"members": 3}},
        }  # fmt: skip
        assert list(plain) == [
            "property", "model", "settings", "used_members", "estimates", "curves", "failures", "comparisons",
        ]  # fmt: skip
        back = PropertyResult.from_mapping(json.loads(to_json(RESULT)))
        assert to_json(back) == to_json(RESULT)
        assert [e.object for e in back.estimates] == ["bcc", "fcc"]
        assert [c.object for c in back.curves] == ["bcc", "bcc bands"]

    def test_csv_has_a_line_for_each_estimate(self) -> None:
        rows = list(csv.reader(io.StringIO(to_csv(RESULT))))
        assert rows[0] == [
            "object", "quantity", "unit", "value", "std", "err", "min", "max", "failed", "reason",
        ] == list(COLUMNS)  # fmt: skip
        assert rows[1] == ["bcc", "energy", "eV", "1.5", repr(GOOD.std), repr(GOOD.err), "1.0", "3.0", "1", ""]
        assert rows[2] == ["fcc", "energy", "eV", "", "", "", "", "", "1", "2 of 4 members failed"]
        assert "\r" not in to_csv(RESULT)
        assert to_csv(RESULT).endswith("\n")

    def test_json_is_plain(self) -> None:
        odd = replace(RESULT, comparisons={"a": (np.float64(1.5), np.int64(2), np.inf, "Å"), 3: {"x": np.bool_(True)}})
        text = to_json(odd)
        assert json.loads(text)["comparisons"] == {"a": [1.5, 2, None, "Å"], "3": {"x": True}}
        assert "Å" in text

    def test_files(self, tmp_path: Path) -> None:
        written = propagation.write_result(RESULT, tmp_path / "W.v2-eos")
        assert [p.name for p in written] == ["W.v2-eos.json", "W.v2-eos.csv", "W.v2-eos.png", "W.v2-eos.svg"]
        assert written[0].read_text(encoding="utf-8") == to_json(RESULT) + "\n"
        assert written[1].read_text(encoding="utf-8") == to_csv(RESULT)
        assert written[3].read_text(encoding="utf-8").startswith("<?xml")
        assert to_json(propagation.read_result(written[0])) == to_json(RESULT)
        for wrong in ("{}", "nothing", "[1]", '{"property": 1, "estimates": 3}'):
            written[0].write_text(wrong)
            with pytest.raises(mliuq.MliuqError, match=r"W.v2-eos.json: not a result of mliuq propagate \(\w+: "):
                propagation.read_result(written[0])


class TestComparisons:
    def test_ranks(self) -> None:
        rng = np.random.default_rng(1)
        best, members = rng.normal(size=4), rng.normal(size=(4, 5))
        members[2, 1] = NAN
        members[:, 3] = 1.0  # no order at all
        group = [estimate(f"p{k}", members[k].tolist(), best[k]) for k in range(4)]
        left_out = replace(estimate("q", [9.0] * 5, 9.0), reason="failed")
        few = [estimate(f"p{k}", members[k].tolist(), best[k], "volume") for k in range(2)]
        three = [estimate(f"p{k}", [0.0, 1.0, 2.0, k, k], best[k], "modulus") for k in range(3)]
        equal = [estimate(f"p{k}", members[k].tolist(), 1.0, "equal") for k in range(4)]
        none = [estimate(f"p{k}", [1.0] * 5, best[k], "none") for k in range(4)]
        found = rank_correlations([*group, left_out, *few, *equal, *none, *three])
        assert list(found) == ["energy", "modulus"]
        rho = [float(spearmanr(best, members[:, m]).statistic) for m in (0, 2, 4)]
        assert found["energy"] == {
            "mean": pytest.approx(np.mean(rho)), "lowest": pytest.approx(min(rho)), "members": pytest.approx(rho),
        }  # fmt: skip
        assert len(found["modulus"]["members"]) == 2

    def test_orders(self) -> None:
        table = {"a": [1, 1, 3, 1, NAN], "b": [2, 2, 2, 3, 2], "c": [3, 3, 1, 2, 3]}
        best = {"a": 2.0, "b": 1.0, "c": 3.0}
        group = [estimate(name, row, best[name]) for name, row in table.items()]
        others = [estimate("a", [0] * 5, quantity="volume"), replace(estimate("d", [0] * 5), reason="failed")]
        found = orders([*others, *group])
        assert found == {
            "members": 4,
            "best_fit": ["b", "a", "c"],
            "orders": [
                {"order": ["a", "b", "c"], "share": 0.5}, {"order": ["c", "b", "a"], "share": 0.25},
                {"order": ["a", "c", "b"], "share": 0.25},
            ],
            "lowest": {"a": 0.75, "b": 0.0, "c": 0.25},
            "below": {"a": {"b": 0.75, "c": 0.75}, "b": {"a": 0.25, "c": 0.5}, "c": {"a": 0.25, "b": 0.5}},
        }  # fmt: skip
        assert len(orders(group, top=1)["orders"]) == 1
        # Of ties the one named first; ten orders at most.
        assert orders([estimate("b", [1.0, 1.0]), estimate("a", [1.0, 1.0])])["orders"] == [
            {"order": ["b", "a"], "share": 1.0}
        ]
        rng = np.random.default_rng(0)
        assert len(orders([estimate(n, rng.normal(size=99).tolist()) for n in "abcdef"])["orders"]) == 10
        for nothing in ([], group[:1], [estimate(n, [NAN]) for n in "ab"], others):
            assert orders(nothing) == {}

    def test_engines(self) -> None:
        a = estimate("x", [1.0, 2.0, NAN, 4.0], 1.0)
        b = estimate("x", [1.5, 2.0, 3.0, NAN], 1.0)
        c, d = replace(a, quantity="volume", members=np.full(4, NAN), reason="all"), replace(b, quantity="volume")
        e, f = replace(a, quantity="none", members=np.ones(4)), replace(b, quantity="none", members=np.ones(4))
        first, second, third = agreement(replace(RESULT, estimates=[a, c, e]), replace(RESULT, estimates=[f, d, b]))
        assert first == {
            "object": "x", "quantity": "energy", "members": 2, "std": a.std, "std_implicit": b.std,
            "rms": pytest.approx(np.sqrt(0.25 / 2) / np.sqrt(1 / 2)),
        }  # fmt: skip
        assert (second["quantity"], second["members"]) == ("volume", 0)
        assert np.isnan([second["rms"], third["rms"]]).all()


class TestPictures:
    def test_what_is_drawn(self) -> None:
        figure = picture(RESULT)
        fan, bands, bars = figure.axes
        assert fan.get_xlabel() == "volume (Å³/atom)"
        assert fan.get_ylabel() == "energy (eV/atom)"
        assert fan.get_title(loc="left") == "bcc"
        assert fan.get_xlim() == (0.0, 3.0)
        np.testing.assert_array_equal(fan.lines[0].get_xydata(), np.stack([X, CURVE.best], 1))
        assert [t.get_text() for t in fan.get_xticklabels()] == ["Γ", "X"]
        np.testing.assert_array_equal(fan.get_xticks(), [0.0, 3.0])
        for area, share in zip(fan.collections, (0.9545, 0.6827), strict=True):
            edges = np.unique(area.get_paths()[0].vertices, axis=0)
            for k, x in enumerate(X):
                drawn = edges[edges[:, 0] == x, 1]
                assert (drawn.min(), drawn.max()) == pytest.approx([edge[k] for edge in CURVE.band(share)])
        legend = [t.get_text() for t in fan.get_legend().get_texts()]
        assert legend == ["95% of members", "68% of members", "best fit"]
        assert bands.get_legend() is None
        for k, line in enumerate(bands.lines):
            np.testing.assert_array_equal(line.get_ydata(), BANDS.best[:, k])
        assert len(bands.collections) == 4
        assert [t.get_text() for t in bars.get_yticklabels()] == ["bcc", "fcc"]
        assert bars.get_xlabel() == "energy (eV)"
        assert bars.get_ylim() == (1.5, -0.5)
        (container,) = bars.containers
        ((low, high),) = container.lines[2][0].get_segments()
        assert (low[0], high[0]) == pytest.approx((GOOD.value - GOOD.err, GOOD.value + GOOD.err))
        assert low[1] == high[1] == 0
        np.testing.assert_array_equal(container.lines[0].get_xydata(), [[GOOD.value, 0]])
        np.testing.assert_array_equal(bars.lines[0].get_xydata(), [[GOOD.low, 0], [GOOD.high, 0]])
        assert bars.lines[0].get_zorder() < container.lines[0].get_zorder(), "the range lies behind the point"
        (said,) = bars.texts
        assert said.get_text() == "no number: 2 of 4 members failed"
        assert said.get_position() == (0.02, 1)
        assert figure.get_supxlabel() == "bcc: 1 of 4 members failed\nhcp: 1 of 4 members failed"

    def test_quantities_of_one_object_and_unit_share_a_panel(self) -> None:
        group = [
            estimate("bcc", [1.0], quantity="C11", unit="GPa"), estimate("bcc", [1.0], quantity="C12", unit="GPa"),
            estimate("bcc", [1.0], quantity="volume", unit="Å³"), estimate("bcc", [1.0], quantity="share", unit=""),
            estimate("bcc", [1.0], quantity="number", unit=""), estimate("fcc", [1.0], quantity="density", unit="GPa"),
            estimate("fcc", [1.0], quantity="modulus", unit="GPa"), estimate("bcc", [1.0], quantity="more", unit="GPa"),
            estimate("bcc", [1.0], quantity="both", unit="GPa"), estimate("fcc", [1.0], quantity="both", unit="GPa"),
            estimate("fcc", [1.0], quantity="last", unit="GPa"),
        ]  # fmt: skip
        figure = picture(replace(RESULT, estimates=group, curves=[], failures=[]))
        panels = [([t.get_text() for t in axes.get_yticklabels()], axes.get_xlabel()) for axes in figure.axes]
        assert panels == [
            (["C11", "C12"], "bcc (GPa)"), (["bcc"], "volume (Å³)"), (["bcc"], "share"), (["bcc"], "number"),
            (["density", "modulus"], "fcc (GPa)"), (["bcc"], "more (GPa)"), (["bcc", "fcc"], "both (GPa)"),
            (["fcc"], "last (GPa)"),
        ]  # fmt: skip
        assert figure.get_supxlabel() == ""
        legends = [axes.get_legend() for axes in figure.axes]
        assert [t.get_text() for t in legends[0].get_texts()] == ["all members", "± predicted error"]
        assert not any(legends[1:])

    def test_sizes_follow_what_is_in_them(self) -> None:
        figure = picture(RESULT)
        assert figure.get_size_inches() == pytest.approx([3.4, 2 * 2.3 + (0.85 + 2 * 0.17) + 0.3])
        figure.canvas.draw()
        fan, bands, bars = (axes.get_subplotspec().get_gridspec().get_height_ratios() for axes in figure.axes)
        assert fan == bands == bars == pytest.approx([2.3, 2.3, 0.85 + 2 * 0.17])
        many = picture(
            replace(RESULT, curves=[], estimates=[replace(GOOD, quantity=f"q{k}", unit="") for k in range(14)])
        )
        assert len(many.axes) == 12
        nothing = picture(replace(RESULT, curves=[], estimates=[]))
        assert len(nothing.axes) == 1
        assert nothing.get_size_inches() == pytest.approx([3.4, 1.3])

    def test_many_curves_stand_side_by_side_and_bars_keep_their_place(self) -> None:
        names = [f"c{k}" for k in range(27)]
        many = replace(RESULT, curves=[replace(CURVE, object=name, ticks={}) for name in names])
        figure = picture(many)
        *fans, bars = figure.axes
        assert [axes.get_title(loc="left") for axes in fans] == names[:24]
        assert bars.get_xlabel() == "energy (eV)"
        places = [axes.get_subplotspec() for axes in fans]
        assert [(p.rowspan.start, p.colspan.start) for p in places] == [divmod(k, 2) for k in range(24)]
        assert list(bars.get_subplotspec().colspan) == [0, 1]
        assert [axes.get_ylabel() for axes in fans] == ["energy (eV/atom)", ""] * 12
        (legend,) = figure.legends
        assert [t.get_text() for t in legend.get_texts()] == ["95% of members", "68% of members", "best fit"]
        assert not any(axes.get_legend() for axes in fans)
        assert figure.get_supxlabel().endswith("3 more curves in the JSON file")
        assert figure.get_size_inches() == pytest.approx([3.4, 12 * 1.7 + 0.85 + 2 * 0.17 + 0.3])
        few = picture(replace(many, curves=many.curves[:4]))
        assert few.axes[0].get_subplotspec().get_gridspec().ncols == 1

    def test_ends_where_all_is_zero_are_not_drawn(self) -> None:
        x = np.arange(8.0)
        best, wide = np.zeros(8), np.zeros(8)
        best[3:5], wide[2:6] = 1.0, 0.1
        curve = replace(CURVE, x=x, best=best, members=np.stack([best, wide]), ticks={})
        (axes,) = picture(replace(RESULT, curves=[curve], estimates=[])).axes
        assert axes.get_xlim() == (1.0, 6.0)
        nothing = replace(curve, best=0 * x, members=np.zeros((2, 8)))
        (axes,) = picture(replace(RESULT, curves=[nothing], estimates=[])).axes
        assert axes.get_xlim() == (0.0, 7.0)

    def test_a_panel_without_any_number_has_no_scale(self) -> None:
        (axes,) = picture(replace(RESULT, curves=[], estimates=[BAD])).axes
        assert list(axes.get_xticks()) == []
        (axes,) = picture(replace(RESULT, curves=[], estimates=[BAD, GOOD])).axes
        assert 2 < len(axes.get_xticks()) <= 7

    def test_long_names_are_shortened_in_the_middle(self) -> None:
        name = "abcdefghijklmnopqrstuvwxyz0123"
        (axes,) = picture(replace(RESULT, curves=[replace(CURVE, object=name)], estimates=[])).axes
        assert axes.get_title(loc="left") == name[:14] + "…" + name[-13:]
        assert figures._short(name[:28]) == name[:28]
        assert len(figures._short(name[:29])) == 28

    def test_a_column_of_a_page_in_small_type_without_a_frame(self) -> None:
        fan, _, bars = picture(RESULT).axes
        assert fan.xaxis.label.get_size() == fan.yaxis.label.get_size() == bars.xaxis.label.get_size() == 8
        assert fan.title.get_size() == 8.5
        assert fan.get_xticklabels()[0].get_size() == bars.get_yticklabels()[0].get_size() == 7.5
        assert {t.get_size() for t in fan.get_legend().get_texts()} == {7}
        assert not fan.get_legend().get_frame_on()
        shown = {side: spine.get_visible() for side, spine in fan.spines.items()}
        assert shown == {"left": True, "bottom": True, "top": False, "right": False}
        assert {spine.get_linewidth() for spine in fan.spines.values()} == {0.7}
        assert fan.get_legend()._ncols == 3

    def test_bytes(self) -> None:
        once, twice = draw(RESULT), draw(RESULT)
        assert once == twice, "no date, no random names"
        assert list(once) == ["png", "svg"]
        assert once["png"].startswith(b"\x89PNG")
        width, height = (int.from_bytes(once["png"][k : k + 4], "big") for k in (16, 20))
        assert (width, height) == pytest.approx((300 * 3.4, 300 * (2 * 2.3 + 0.85 + 2 * 0.17 + 0.3)), abs=1)
        text = once["svg"].decode()
        assert "volume (Å³/atom)" in text, "text stays text"
        assert "<dc:date>" not in text
