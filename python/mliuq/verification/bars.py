"""Bars: never negative, in order, what the members say, growing with the cell and where the data end."""

from __future__ import annotations

import numpy as np

from mliuq.errors import MliuqError
from mliuq.verification.outcome import Curve, Outcome, at_least, at_most
from mliuq.verification.scenes import Scenes
from mliuq.verification.subject import Subject


def consistent(subject: Subject, scenes: Scenes) -> Outcome:
    """Every bar finite, not negative, in order, and that of the cell recomputed from the energies of the members."""
    worst, faults = 0.0, []
    for atoms in (scenes.rattled(), scenes.cluster(), scenes.crystal()):
        found = subject.evaluate(atoms, committee=True)
        bars = found.bars
        members = np.asarray(bars["energy_comm"])
        expected = {
            "energy_std": float(np.sqrt(np.mean((members - found.energy) ** 2))),
            "energy_min": float(members.min()),
            "energy_max": float(members.max()),
        }
        for key, value in expected.items():
            worst = float(np.max([worst, abs(float(bars[key]) - value) / max(abs(expected["energy_std"]), 1e-6)]))
        for of in ("energy", "energies"):
            values = [np.asarray(bars[f"{of}_{key}"]) for key in ("std", "min", "max")]
            sound = all(np.isfinite(v).all() for v in values) and (values[0] >= 0.0).all()
            if not (sound and (values[1] <= values[2]).all()):
                faults.append(of)
        if not float(bars["energy_err"]) >= 0.0:
            faults.append("energy_err")
    note = f"not sound: {', '.join(sorted(set(faults)))}" if faults else ""
    return at_most(np.inf if faults else worst, 1e-6, "relative", note)


def size(subject: Subject, scenes: Scenes) -> Outcome:
    """A cell repeated eightfold: eight times the bar, for copies of an atom err alike; bars of atoms stay."""
    atoms = scenes.rattled(1)
    one, eight = subject.evaluate(atoms).bars, subject.evaluate(atoms.repeat(2)).bars
    spread = float(one["energy_std"])
    of_cell = abs(float(eight["energy_std"]) - 8.0 * spread) / max(8.0 * spread, 1e-9)
    per_atom = np.abs(np.asarray(eight["energies_std"]).reshape(8, -1) - np.asarray(one["energies_std"])).max()
    return at_most(float(np.max([of_cell, per_atom / max(np.abs(one["energies_std"]).max(), 1e-9)])), 1e-7, "relative")


def bond_scan(subject: Subject, scenes: Scenes) -> Outcome:
    """The bar of a crystal from 0.5 to 1.6 of its distance at rest grows to both sides: the model is blind to neither.

    The figure is the bar (energy_std per atom) at the worse end (0.5 to 0.7, 1.3 to 1.6) over the bar at rest.
    """
    scales = np.arange(0.5, 1.601, 0.05)
    distances = scales * scenes.rest[1]
    bars, energies = np.full(len(scales), np.nan), np.full(len(scales), np.nan)
    for k, distance in enumerate(distances):
        atoms = scenes.crystal(distance=float(distance))
        try:
            found = subject.evaluate(atoms)
        except MliuqError:
            continue
        bars[k], energies[k] = float(found.bars["energy_std"]) / len(atoms), found.energy / len(atoms)
    at_rest = bars[np.argmin(np.abs(scales - 1.0))]
    ends = {"short": bars[scales < 0.701], "long": bars[scales > 1.299]}
    growth = {name: float(np.nanmax(end)) / at_rest for name, end in ends.items()}
    worse = min(growth, key=lambda name: growth[name])
    x = distances.tolist()
    curves = [
        Curve("energy_std", x, bars.tolist(), "nearest neighbours (Å)", "energy_std (eV/atom)"),
        Curve("energy", x, energies.tolist(), "nearest neighbours (Å)", "energy (eV/atom)"),
    ]
    note = f"short {growth['short']:.1f}, long {growth['long']:.1f}"
    return at_least(growth[worse], 2.0, "times the bar at rest", note, curves)
