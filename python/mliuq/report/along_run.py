"""The picture of a run: how uncertain it was, step by step, and what it was doing."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mliuq.report.figures import HEIGHT, STYLE, WIDTH
from mliuq.report.theme import CALIBRATED, INK, MUTED, RAW, to_svg_file

Array = NDArray[np.float64]


def along_run(
    time_fs: Array,
    value: Array,
    temperature: Array,
    *,
    quantity: str,
    unit: str,
    save: float | None = None,
    halt: float | None = None,
) -> str:
    """An SVG file: the quantity watched with its thresholds, above the temperature.

    Parameters
    ----------
    time_fs, value, temperature : ndarray of shape (n,)
        fs, `unit`, K.
    """
    with matplotlib.rc_context(rc=STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(1.5 * WIDTH, 1.2 * HEIGHT), layout="constrained")
        FigureCanvasAgg(figure)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        time = time_fs / 1000.0
        above.plot(time, value, color=CALIBRATED, linewidth=1.2)
        for threshold, style, name in ((save, "--", "save"), (halt, "-", "halt")):
            if threshold is not None:
                above.axhline(threshold, color=RAW, linestyle=style, linewidth=1.1, label=f"{name}: {threshold:.3g}")
        if save is not None or halt is not None:
            above.legend(loc="upper left")
        above.set(ylabel=f"{quantity}, largest ({unit})" if unit else f"{quantity}, largest", ylim=(0.0, None))
        below.plot(time, temperature, color=MUTED, linewidth=1.0)
        below.set(xlabel="time (ps)", ylabel="temperature (K)", ylim=(0.0, None))
        for axes in (above, below):
            axes.tick_params(colors=INK)
        return to_svg_file(figure)
