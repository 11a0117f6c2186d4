"""The picture of the demonstration: the run and its threshold, and predicted against actual error."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import mliuq
import numpy as np
from ase.io import read
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from mliuq.report import predict, reference_rows

BLUE, ORANGE, GREY = "#1f6fb4", "#c4551b", "#5b646c"


def draw(out: Path, threshold: float, target: Path) -> None:
    """Write PNG and SVG from what the demonstration left in `out`."""
    plt.rcParams.update(
        {
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "svg.hashsalt": "mliuq",
        }
    )
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.4), layout="constrained")
    draw_run(left, out, threshold)
    draw_errors(right, out)
    for axes, letter in ((left, "(a)"), (right, "(b)")):
        axes.set_title(f"{letter} {axes.get_title(loc='left')}", loc="left", fontsize=10)
    figure.savefig(target, dpi=160)
    figure.savefig(target.with_suffix(".svg"), metadata={"Date": None})
    plt.close(figure)


def draw_run(axes: Axes, out: Path, threshold: float) -> None:
    """Uncertainty and volume along the run."""
    time, volume, worst = np.loadtxt(out / "run.txt", skiprows=1, usecols=(1, 3, 6), unpack=True)
    smallest = min(atoms.get_volume() / len(atoms) for atoms in read(out / "train.xyz", ":"))
    squeeze = axes.twinx()
    squeeze.plot(time, volume, color=GREY, linewidth=1.2)
    squeeze.axhline(smallest, color=GREY, linestyle=":", linewidth=1.2)
    squeeze.annotate("smallest volume in the training data", (0.0, smallest), (4, -3), textcoords="offset points",
                     color=GREY, va="top", fontsize=8.5)  # fmt: skip
    squeeze.set_ylabel("volume (Å³/atom)", color=GREY)
    squeeze.tick_params(axis="y", colors=GREY)
    squeeze.spines["right"].set(visible=True, color=GREY)
    squeeze.set_ylim(0.9 * volume.min(), volume.max() + 0.6 * (volume.max() - volume.min()))
    axes.set_zorder(squeeze.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.plot(time, worst, color=BLUE, linewidth=1.6, label="largest energy_std of an atom")
    axes.axhline(threshold, color=ORANGE, linestyle="--", label=f"threshold, {threshold:.2f} eV")
    axes.plot(time[-1], worst[-1], "o", color=ORANGE, markersize=7, label="LAMMPS halts")
    axes.set(
        xlabel="time (ps)",
        ylabel="uncertainty (eV, one atom)",
        ylim=(0, 1.45 * max(threshold, worst.max())),
        xlim=(0, None),
    )
    axes.set_title("bcc tungsten, compressed until the model no longer knows", loc="left", fontsize=10)
    axes.legend(loc="upper left", fontsize=8.5)


def draw_errors(axes: Axes, out: Path) -> None:
    """Stated error bar against the error made, for held-out energies and forces."""
    model = mliuq.Model.load(out / "W.mliuq")
    lowest, highest = np.inf, 0.0
    for p, colour, name in zip(
        reversed(predict(model, reference_rows(model, read(out / "test.xyz", ":")))),
        (BLUE, ORANGE),
        ("force components (eV/Å)", "energies (eV/atom)"),
        strict=True,
    ):
        inside = np.mean(np.abs(p.error) <= p.best)
        axes.plot(p.best, np.abs(p.error), "o", color=colour, markersize=3.5, markeredgewidth=0, alpha=0.6,
                  label=f"{name}: {inside:.0%} within ±σ")  # fmt: skip
        lowest, highest = min(lowest, p.best.min()), max(highest, p.best.max())
    line = np.array([0.8 * lowest, 1.25 * highest])
    axes.plot(line, line, color="black", linewidth=1.0, label="|error| = σ")
    axes.plot(line, 2 * line, color="black", linewidth=1.0, linestyle="--", label="|error| = 2σ")
    axes.set(xscale="log", yscale="log", xlim=line, ylim=(1e-3, 30 * highest))
    axes.set(xlabel="stated error bar σ (eV/Å; eV/atom)", ylabel="|error| on held-out data (eV/Å; eV/atom)")
    axes.set_title("Predicted against actual error", loc="left", fontsize=10)
    axes.legend(loc="upper left", fontsize=8.5)
