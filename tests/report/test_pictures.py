"""What the pictures show, read back from the figures: points, lines, bars, limits, labels with units."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mliuq.judging import metrics
from mliuq.report import along_run as run
from mliuq.report import figures, theme
from mliuq.report.predictions import Predictions
from scipy.stats import norm


def made(n: int = 200, kind: str = "force", seed: int = 0, **change: Any) -> Predictions:
    """Rows with errors of their own size, raw bars too small by a factor of two."""
    rng = np.random.default_rng(seed)
    spread = rng.lognormal(-2.0, 0.7, n)
    y = rng.normal(size=n)
    prediction = y + 2.0 * spread * rng.normal(size=n)
    found = Predictions(
        kind=kind, unit="eV/Å", y=y, prediction=prediction, spread=spread, raw=np.hypot(spread, 0.01),
        calibrated=np.hypot(2.0 * spread, 0.01), lower=prediction - 1.5 * spread, upper=prediction + 2.5 * spread,
        deviations=np.ravel(spread[:, None] * rng.normal(size=(n, 5))), config=np.arange(n) // 9,
        atom=np.arange(n) % 9 // 3, n_left_out=3, mae_of_all=0.123, rmse_of_all=0.234,
        widths={0.6827: 1.1, 0.9: 1.7, 0.9545: 2.3},
    )  # fmt: skip
    return replace(found, **change)


def drawn(function: Callable[[Predictions], Figure], p: Predictions) -> Axes:
    with matplotlib.rc_context(rc=figures.STYLE):
        (axes,) = function(p).axes
    return axes


def data(axes: Axes, index: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = axes.lines[index].get_data()
    return np.asarray(x), np.asarray(y)


def bars(axes: Axes, index: int = 0) -> np.ndarray:
    """Segments of an error bar, (n, 2 ends, 2)."""
    return np.array(axes.containers[index][2][0].get_segments())


def labels(axes: Axes) -> tuple[str, str]:
    return axes.get_xlabel(), axes.get_ylabel()


def legend(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.figure.legends[0].get_texts()]  # type: ignore[union-attr]


def colours(axes: Axes) -> list[Any]:
    return [line.get_color() for line in axes.lines]


# --- one by one ------------------------------------------------------------------------------------------------------


def test_parity() -> None:
    p = made()
    axes = drawn(figures.parity, p)
    segments = bars(axes)
    np.testing.assert_allclose(segments[:, 0], np.column_stack([p.y, p.prediction - p.best]))
    np.testing.assert_allclose(segments[:, 1], np.column_stack([p.y, p.prediction + p.best]))
    points = next(line for line in axes.lines if line.get_marker() == "o")
    np.testing.assert_array_equal(points.get_xdata(), p.y)
    np.testing.assert_array_equal(points.get_ydata(), p.prediction)
    assert points.get_linestyle() == "None"
    diagonal: Any = axes.lines[-1]
    low, high = min(p.y.min(), p.prediction.min()), max(p.y.max(), p.prediction.max())
    assert (diagonal.get_slope(), diagonal.get_xy1()) == (1.0, pytest.approx((low, low)))
    pad = 0.03 * (high - low)
    assert axes.get_xlim() == axes.get_ylim() == pytest.approx((low - pad, high + pad))
    assert labels(axes) == ("reference force (eV/Å)", "predicted force (eV/Å)")
    assert not points.get_rasterized()


@pytest.mark.parametrize(("n", "shown", "bitmap"), [(1500, 1500, False), (1501, 1501, True), (4100, 4000, True)])
def test_many_points_are_thinned_and_become_a_bitmap(n: int, shown: int, bitmap: bool) -> None:
    p = made(n)
    axes = drawn(figures.parity, p)
    x = data(axes, 0)[0]
    assert len(x) == shown
    assert len(np.unique(x)) == shown, "each point once"
    assert np.isin(x, p.y).all()
    assert bool(axes.lines[0].get_rasterized()) == bool(axes.containers[0][2][0].get_rasterized()) == bitmap
    order = np.searchsorted(np.sort(p.y), x)
    assert len(order) == shown
    np.testing.assert_array_equal(
        x, p.y if n == shown else p.y[np.sort(np.random.default_rng(0).choice(n, 4000, replace=False))]
    )


@pytest.mark.parametrize("calibrated", [True, False])
def test_histogram_of_errors(calibrated: bool) -> None:
    p = made(400)
    p = p if calibrated else replace(p, calibrated=None)
    axes = drawn(figures.error_histogram, p)
    reach = 1.3 * np.quantile(np.abs(p.error), 0.995)
    assert axes.get_xlim() == pytest.approx((-reach, reach))
    actual, said = (patch.get_data() for patch in axes.patches)  # type: ignore[attr-defined]
    for found, values in ((actual, p.error), (said, p.deviations)):
        assert len(found.values) == 29, "1.5 √400 edges"
        np.testing.assert_allclose(found.edges, np.linspace(-reach, reach, 30))
        counts = [np.sum((values >= a) & (values < b)) for a, b in zip(found.edges, found.edges[1:], strict=False)]
        width = 2 * reach / 29
        np.testing.assert_allclose(
            found.values, np.array(counts) / (len(values) * width), atol=1.01 / len(values) / width
        )
        assert found.values.sum() * width == pytest.approx(1.0, abs=0.02)
    assert axes.patches[0].get_fill()
    assert not axes.patches[1].get_fill()
    x, y = data(axes, 0)
    np.testing.assert_allclose(x, np.linspace(-reach, reach, 241))
    sigma = p.calibrated if p.calibrated is not None else p.raw
    exact = norm.pdf(x[:, None], scale=sigma).mean(axis=1)
    np.testing.assert_allclose(y, exact, rtol=0.1)
    assert legend(axes) == ["actual", "members alone", "stated σ, " + ("calibrated" if calibrated else "raw")]
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] == pytest.approx(0.4 / (400 * 2 * reach / 29))
    assert labels(axes) == ("reference − predicted force (eV/Å)", "density (1/(eV/Å))")
    alone = drawn(figures.error_histogram, replace(p, deviations=np.zeros(0)))
    assert len(alone.patches) == 1
    for n, edges in ((30, 21), (4000, 81)):
        assert len(drawn(figures.error_histogram, made(n)).patches[0].get_data().edges) == edges  # type: ignore[attr-defined]


def test_density_of_few_bars_is_exact() -> None:
    x, std = np.linspace(-1.0, 1.0, 7), np.array([0.1, 0.5, 0.2])
    np.testing.assert_allclose(figures._mixture(x, std), norm.pdf(x[:, None], scale=std).mean(axis=1), rtol=1e-12)
    many = np.repeat(std, 100)
    np.testing.assert_allclose(figures._mixture(x, many), norm.pdf(x[:, None], scale=std).mean(axis=1), rtol=1e-3)


def test_errors_against_bars() -> None:
    p = made()
    axes = drawn(figures.predicted_against_actual, p)
    x, y = data(axes, 0)
    size = np.abs(p.error)
    floor = np.quantile(size, 0.01)
    np.testing.assert_array_equal(x, p.calibrated)
    np.testing.assert_allclose(y, np.maximum(size, floor))
    assert not axes.lines[0].get_rasterized()
    assert drawn(figures.predicted_against_actual, made(1501)).lines[0].get_rasterized()
    low, high = 0.9 * x.min(), 1.1 * x.max()
    for index, k, style in ((1, 1, "-"), (2, 2, "--")):
        line = data(axes, index)
        np.testing.assert_allclose(line[0], [low, high])
        np.testing.assert_allclose(line[1], [k * low, k * high])
        assert axes.lines[index].get_linestyle() == style
    assert legend(axes) == ["|error| = σ", "|error| = 2σ"]
    assert axes.get_xlim() == pytest.approx((low, high))
    assert axes.get_ylim() == pytest.approx((0.8 * floor, 1.2 * max(size.max(), 2 * high)))
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert labels(axes) == ("stated error bar σ (eV/Å)", "|error| (eV/Å)")
    exact = drawn(figures.predicted_against_actual, replace(p, prediction=p.y))
    np.testing.assert_allclose(data(exact, 0)[1], 1e-12)


def test_ticks_of_logarithmic_axes() -> None:
    axes = drawn(figures.predicted_against_actual, made())
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        ticks = axis.get_major_locator().tick_values(low, high)
        mantissas = {f"{tick / 10 ** np.floor(np.log10(tick) + 1e-9):.3g}" for tick in ticks}
        assert mantissas == ({"1"} if high / low > 300 else {"1", "2", "5"})
        assert axis.get_major_formatter()(0.05, None) == "0.05"
        assert axis.get_minor_formatter()(0.05, None) == ""
        minor = axis.get_minor_locator().tick_values(low, high)
        assert len({f"{tick / 10 ** np.floor(np.log10(tick) + 1e-9):.3g}" for tick in minor}) == 9
    wide = drawn(figures.predicted_against_actual, made(calibrated=np.geomspace(1e-3, 1.0, 200)))
    ticks = wide.xaxis.get_major_locator().tick_values(*wide.xaxis.get_view_interval())
    np.testing.assert_allclose(np.log10(ticks), np.round(np.log10(ticks)), atol=1e-9)


@pytest.mark.parametrize("calibrated", [True, False])
def test_reliability(calibrated: bool) -> None:
    p = made(400)
    p = p if calibrated else replace(p, calibrated=None)
    axes = drawn(figures.reliability_diagram, p)
    ends = []
    series = [(p.raw, theme.RAW, "s"), (p.calibrated, theme.CALIBRATED, "o")][: 1 + calibrated]
    for index, (std, colour, marker) in enumerate(series):
        assert std is not None
        bins = np.array_split(np.argsort(std, kind="stable"), 10)
        predicted = np.array([np.sqrt(np.mean(std[b] ** 2)) for b in bins])
        actual = np.array([np.sqrt(np.mean(p.error[b] ** 2)) for b in bins])
        scatter = actual / np.sqrt(2 * 39)
        x, y = data(axes, index)
        np.testing.assert_allclose(x, predicted)
        np.testing.assert_allclose(y, actual)
        np.testing.assert_allclose(bars(axes, index)[:, :, 1], np.column_stack([actual - scatter, actual + scatter]))
        assert (axes.lines[index].get_color(), axes.lines[index].get_marker()) == (colour, marker)
        ends += [*predicted, *(actual - scatter), *(actual + scatter)]
    low, high = 0.85 * min(ends), 1.15 * max(ends)
    assert axes.get_xlim() == axes.get_ylim() == pytest.approx((low, high))
    np.testing.assert_allclose(data(axes, -1), [[low, high], [low, high]])
    assert legend(axes) == ["raw", "calibrated"][: 1 + calibrated]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert labels(axes) == ("stated error bar, rms of bin (eV/Å)", "actual error, rms of bin (eV/Å)")
    assert axes.xaxis.get_minor_formatter()(0.05, None) == axes.yaxis.get_minor_formatter()(0.05, None) == ""


@pytest.mark.parametrize(("n", "bins"), [(30, 5), (150, 10), (900, 20)])
def test_histogram_of_the_integral_transform(n: int, bins: int) -> None:
    p = made(n)
    axes = drawn(figures.pit_histogram, p)
    band, *steps = axes.patches
    scatter = 2 * np.sqrt(n / bins * (1 - 1 / bins)) / (n / bins)
    box = band.get_extents().transformed(axes.transData.inverted())
    assert (box.y0, box.y1) == pytest.approx((1 - scatter, 1 + scatter))
    assert p.calibrated is not None
    for patch, std, colour in zip(steps, (p.raw, p.calibrated), (theme.RAW, theme.CALIBRATED), strict=True):
        found = patch.get_data()  # type: ignore[attr-defined]
        counts = np.bincount((norm.cdf(p.error / std) * bins).astype(int), minlength=bins)
        np.testing.assert_allclose(found.values, counts * bins / n)
        np.testing.assert_allclose(found.edges, np.linspace(0.0, 1.0, bins + 1))
        assert matplotlib.colors.to_hex(patch.get_edgecolor()) == colour
    np.testing.assert_array_equal(data(axes, 0)[1], [1.0, 1.0])
    assert legend(axes) == ["raw", "calibrated"]
    assert (axes.get_xlim(), axes.get_ylim()[0]) == ((0.0, 1.0), 0.0)
    assert labels(axes) == ("probability integral transform", "rows, relative to flat")


def test_coverage() -> None:
    p = made()
    axes = drawn(figures.coverage_curve, p)
    assert p.calibrated is not None
    for index, std in enumerate((p.raw, p.calibrated)):
        x, y = data(axes, index)
        np.testing.assert_allclose(x, np.linspace(0.0, 1.0, 101))
        inside = np.abs(p.error / std)[:, None] <= norm.ppf(0.5 + 0.5 * x[:-1])
        np.testing.assert_allclose(y[:-1], inside.mean(axis=0))
    assert colours(axes)[:2] == [theme.RAW, theme.CALIBRATED]
    np.testing.assert_array_equal(data(axes, 2), [[0, 1], [0, 1]])
    assert [data(axes, index)[0][0] for index in (3, 4)] == [0.6827, 0.9545]
    assert {axes.lines[index].get_linestyle() for index in (3, 4)} == {":"}
    assert [(t.get_text(), t.get_position()) for t in axes.texts] == [
        ("±1σ", pytest.approx((0.6707, 0.03))), ("±2σ", pytest.approx((0.9425, 0.03))),
    ]  # fmt: skip
    assert axes.get_xlim() == axes.get_ylim() == (0.0, 1.0)
    assert legend(axes) == ["raw", "calibrated"]
    assert labels(axes) == ("fraction promised", "fraction inside")


@pytest.mark.parametrize("held", [0.95, 0.3])
def test_groups_by_environment(held: float) -> None:
    groups = {"strained": {"held": 0.8, "configurations": 9.0}, "close pairs": {"held": held, "configurations": 4.0}}
    axes = figures.environments(groups).axes[0]
    np.testing.assert_array_equal(data(axes, 0), [[held, 0.8], [0, 1]])
    scatter = np.sqrt(0.09 / np.array([4.0, 9.0]))
    np.testing.assert_allclose(bars(axes)[:, :, 0], np.array([held, 0.8])[:, None] + scatter[:, None] * [-1, 1])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["close pairs", "strained"]
    assert list(axes.get_yticks()) == [0, 1]
    np.testing.assert_array_equal(data(axes, -1)[0], [0.9, 0.9])
    assert axes.get_xlim() == pytest.approx((0.5 if held > 0.5 else 0.13, 1.02))
    assert axes.get_ylim() == pytest.approx((-0.6, 1.6))
    assert axes.get_xlabel() == "fraction inside intervals of 90 %"


def test_all_pictures_of_a_kind() -> None:
    p = made(40)
    names = ["parity", "histogram", "predicted_actual", "reliability", "pit", "coverage"]
    assert list(figures.draw(p)) == list(figures.draw(p, {})) == [entry[0] for entry in figures.FIGURES] == names
    whole = figures.draw(p, {"strained": {"held": 0.8, "configurations": 9.0}})
    assert list(whole) == [*names, "environments"]
    for name, function in zip(names, [entry[3] for entry in figures.FIGURES], strict=True):
        assert labels(whole[name].axes[0]) == labels(drawn(function, p))
        assert whole[name].get_facecolor()[3] == 0.0, "drawn in the page's style: no ground of its own"
        assert not whole[name].axes[0].spines["top"].get_visible()
        assert not whole[name].axes[0].spines["right"].get_visible()
        assert whole[name].axes[0].xaxis.get_gridlines()[0].get_visible()
        assert tuple(whole[name].get_size_inches()) == (4.6, 3.7)
    assert metrics.ROWS_PER_BIN == 40


# --- of a run --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("save", "halt"), [(0.5, 2.0), (None, None), (0.25, None), (None, 3.0)])
@pytest.mark.parametrize("unit", ["eV/Å", ""])
def test_picture_of_a_run(save: float | None, halt: float | None, unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Figure] = []
    monkeypatch.setattr(run, "to_svg_file", lambda figure: (kept.append(figure), "svg")[1])
    time, value, temperature = (
        np.array([0.0, 500.0, 1500.0]),
        np.array([0.1, 0.4, 0.2]),
        np.array([300.0, 310.0, 290.0]),
    )
    options = {"quantity": "force_err", "unit": unit, "save": save, "halt": halt}
    assert run.along_run(time, value, temperature, **options) == "svg"  # type: ignore[arg-type]
    above, below = kept[0].axes
    np.testing.assert_array_equal(data(above, 0), [[0.0, 0.5, 1.5], value])
    np.testing.assert_array_equal(data(below, 0), [[0.0, 0.5, 1.5], temperature])
    thresholds = [(save, "--", "save"), (halt, "-", "halt")]
    expected = [(t, style, f"{name}: {t:.3g}") for t, style, name in thresholds if t is not None]
    assert [(line.get_ydata()[0], line.get_linestyle(), line.get_label()) for line in above.lines[1:]] == expected  # type: ignore[index]
    assert (
        [text.get_text() for text in above.legend_.get_texts()] == [e[2] for e in expected]
        if expected
        else above.legend_ is None
    )
    assert above.get_ylabel() == ("force_err, largest (eV/Å)" if unit else "force_err, largest")
    assert labels(below) == ("time (ps)", "temperature (K)")
    assert (above.get_ylim()[0], below.get_ylim()[0]) == (0.0, 0.0)
    assert above.get_shared_x_axes().joined(above, below)
    assert tuple(kept[0].get_size_inches()) == pytest.approx((1.5 * 4.6, 1.2 * 3.7))
    assert below.xaxis.get_ticklabels()[0].get_color() == theme.INK


def test_file_of_a_run_is_a_picture() -> None:
    text = run.along_run(np.arange(3.0), np.ones(3), np.ones(3), quantity="force_std", unit="eV/Å")
    assert text.startswith("<?xml")
    assert "force_std, largest (eV/Å)" in text
    assert "#0d0e0f" not in text
    assert "#1f6fb4" in text


# --- colours ---------------------------------------------------------------------------------------------------------


def test_colours_of_page_and_file() -> None:
    day, night = theme.css_variables(dark=False), theme.css_variables(dark=True)
    assert (
        day
        == "--ink: #1c2126; --muted: #68717a; --grid: #e3e6e9; --band: #c9ced3; --calibrated: #1f6fb4; --raw: #c4551b;"
    )
    assert (
        night
        == "--ink: #e8eaed; --muted: #9aa4ae; --grid: #31373d; --band: #4a5259; --calibrated: #5aa9e6; --raw: #f0915a;"
    )
    p = made(40)
    figure = figures.draw(p)["reliability"]
    inline, file = theme.to_inline_svg(figure, "force: reliability", "force-reliability"), theme.to_svg_file(figure)
    assert inline.startswith("<svg")
    head = inline[: inline.index(">")]
    assert 'role="img" aria-label="force: reliability"' in head
    assert 'width="100%"' in head
    assert not re.search(r"\bheight=", head)
    assert "viewBox" in head
    assert "<metadata>" not in inline
    assert "<dc:date>" not in file
    ids = re.findall(r'\bid="([^"]+)"', inline)
    assert len(ids) > 10
    assert all(name.startswith("force-reliability-") for name in ids)
    used = re.findall(r'xlink:href="#([^"]+)"', inline) + re.findall(r"url\(#([^)]+)\)", inline)
    assert len(used) > 5
    assert set(used) <= set(ids)
    assert "var(--calibrated)" in inline
    for sentinel, (name, colour, _) in theme.PALETTE.items():
        assert sentinel not in inline + file
        assert (f"var({name})" in inline) == (colour in file), name
    assert "reliability" not in file
    assert theme.to_inline_svg(figure, "a", "b") == theme.to_inline_svg(figure, "a", "b")


def test_bitmaps_have_colours_of_the_light_page() -> None:
    p = made(1600)
    figure = figures.draw(p)["parity"]
    theme.to_svg_file(figure)
    axes = figure.axes[0]
    blue = "#1f6fb4"
    assert matplotlib.colors.to_hex(axes.lines[0].get_color()) == blue  # type: ignore[arg-type]
    assert matplotlib.colors.to_hex(axes.containers[0][2][0].get_color()[0]) == blue
    assert axes.lines[-1].get_color() == theme.INK, "what stays a vector follows the page"
