"""Atoms far apart and atoms too near."""

from __future__ import annotations

import numpy as np

from mliuq.errors import MliuqError
from mliuq.verification.outcome import Curve, Outcome, at_most
from mliuq.verification.scenes import Scenes
from mliuq.verification.subject import Subject

_WARNED = 5.0  # times the bar at rest: what a threshold set from the training data would catch


def extensivity(subject: Subject, scenes: Scenes) -> Outcome:
    """Two clusters beyond each other's reach: energies add up, forces stay."""
    one = scenes.cluster()
    other = one.copy()
    other.rotate(50, (1, 2, 3))
    other.positions += [3.0 * subject.cutoff + 12.0, 0, 0]
    a, b, both = subject.evaluate(one), subject.evaluate(other), subject.evaluate(one + other)
    energy = abs(both.energy - a.energy - b.energy) / max(abs(a.energy), 1.0)
    forces = np.abs(both.forces - np.vstack([a.forces, b.forces])).max() / max(np.abs(a.forces).max(), 1e-3)
    return at_most(float(np.max([energy, forces])), 1e-9, "relative")


def supercell(subject: Subject, scenes: Scenes) -> Outcome:
    """A cell repeated: the energy per atom stays."""
    atoms = scenes.rattled(1)
    one, eight = subject.evaluate(atoms), subject.evaluate(atoms.repeat(2))
    return at_most(abs(eight.energy - 8.0 * one.energy) / max(abs(8.0 * one.energy), 1.0), 1e-9, "relative")


def repulsion(subject: Subject, scenes: Scenes) -> Outcome:
    """A crystal pressed to 0.4 of its distance at rest pushes back, or its bar has grown fivefold before it gives way.

    The figure is the energy gained by collapsing, below the energy at rest.
    """
    scales = np.arange(1.0, 0.395, -0.02)
    distances = scales * scenes.rest[1]
    energies, bars = [], []
    for distance in distances:
        atoms = scenes.crystal(distance=float(distance))
        try:
            found = subject.evaluate(atoms)
        except MliuqError:
            break
        energies.append(found.energy / len(atoms))
        bars.append(float(found.bars.get("energy_std", np.nan)) / len(atoms))
    energy, bar, x = np.array(energies), np.array(bars), distances[: len(energies)].tolist()
    curves = [Curve("energy", x, energy.tolist(), "nearest neighbours (Å)", "energy (eV/atom)")]
    if subject.has_bars:
        curves.append(Curve("energy_std", x, bar.tolist(), "nearest neighbours (Å)", "energy_std (eV/atom)"))
    gain = float(max(energy[0] - energy.min(), 0.0))
    turns = np.flatnonzero(np.diff(energy) < 0.0)
    note = f"pushes back down to {x[turns[0]]:.2f} Å" if len(turns) else f"pushes back down to {x[-1]:.2f} Å, the last"
    warned = subject.has_bars and len(turns) > 0 and bar[turns[0]] > _WARNED * bar[0]
    if gain > 1e-3 and warned:
        note += f"; it collapses below, but the bar has grown {bar[turns[0]] / bar[0]:.1f}-fold before"
        return Outcome("P", gain, 1e-3, "eV/atom", note, tuple(curves))
    return at_most(gain, 1e-3, "eV/atom", note + ("; it collapses below" if gain > 1e-3 else ""), curves)
