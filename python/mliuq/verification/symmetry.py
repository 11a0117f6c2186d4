"""What the energy must not depend on: names, places, directions."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from mliuq.verification.outcome import Outcome, at_most
from mliuq.verification.scenes import Scenes
from mliuq.verification.subject import Evaluation, Floats, Subject

_ROUNDING = 1e-9  # relative; sums in another order differ by 1e-12


def species(subject: Subject, scenes: Scenes) -> Outcome:
    """Every element stated can be evaluated, alone and with every other, and the numbers are finite."""
    failed = []
    for a, b in scenes.pairs():
        found = subject.evaluate(scenes.pair(a, b, scenes.rest[1]))
        if not (np.isfinite(found.energy) and np.isfinite(found.forces).all() and np.abs(found.forces).max() > 0.0):
            failed.append(f"{a}-{b}")
    return at_most(len(failed), 0, "pairs", f"no sound energy and force of {', '.join(failed)}" if failed else "")


def permutation(subject: Subject, scenes: Scenes) -> Outcome:
    """Atoms listed in another order: the same energy, forces that go along."""
    atoms = scenes.rattled()
    order = np.random.default_rng(1).permutation(len(atoms))
    before, after = subject.evaluate(atoms), subject.evaluate(atoms[order])
    return _compared(before, after, before.forces[order], before.stress)


def images(subject: Subject, scenes: Scenes) -> Outcome:
    """Atoms moved by whole cell vectors: nothing changes."""
    atoms = scenes.rattled()
    moved = atoms.copy()
    moved.positions += np.random.default_rng(2).integers(-2, 3, size=(len(atoms), 3)) @ atoms.cell.array
    before = subject.evaluate(atoms)
    return _compared(before, subject.evaluate(moved), before.forces, before.stress)


def translation(subject: Subject, scenes: Scenes) -> Outcome:
    """All atoms moved alike: nothing changes."""
    atoms = scenes.rattled()
    moved = atoms.copy()
    moved.positions += [0.123, -4.56, 7.89]
    before = subject.evaluate(atoms)
    return _compared(before, subject.evaluate(moved), before.forces, before.stress)


def rotation(subject: Subject, scenes: Scenes) -> Outcome:
    """Everything turned: the same energy, forces and stress that turn along (objectivity)."""
    return _turned(subject, scenes.rattled(), Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix())


def inversion(subject: Subject, scenes: Scenes) -> Outcome:
    """Everything mirrored at a point: the same energy, opposite forces."""
    return _turned(subject, scenes.rattled(), -np.eye(3))


def _turned(subject: Subject, atoms: Atoms, turn: Floats) -> Outcome:
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ turn.T)
    turned.positions = atoms.positions @ turn.T
    before = subject.evaluate(atoms)
    stress = None
    if before.stress is not None:
        xx, yy, zz, yz, xz, xy = before.stress
        tensor = turn @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ turn.T
        stress = tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    return _compared(before, subject.evaluate(turned), before.forces @ turn.T, stress)


def _compared(before: Evaluation, after: Evaluation, forces: Floats, stress: Floats | None) -> Outcome:
    figures = {
        "energy": abs(after.energy - before.energy) / max(abs(before.energy), 1.0),
        "forces": float(np.abs(after.forces - forces).max() / max(np.abs(forces).max(), 1e-3)),
    }
    if stress is not None and after.stress is not None:
        figures["stress"] = float(np.abs(after.stress - stress).max() / max(np.abs(stress).max(), 1e-4))
    if "energies_std" in before.bars:
        spread = float(before.bars["energy_std"])
        figures["energy_std"] = abs(float(after.bars["energy_std"]) - spread) / max(spread, 1e-6)
    worst = max(figures, key=lambda name: np.inf if np.isnan(figures[name]) else figures[name])
    return at_most(figures[worst], _ROUNDING, "relative", f"largest in {worst}")
