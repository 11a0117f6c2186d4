"""Forces and stress against differences of the energy, and how smooth the energy is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms

from mliuq.verification.outcome import Curve, Outcome, at_least, at_most
from mliuq.verification.scenes import Scenes
from mliuq.verification.subject import Floats, Subject

_DISTANCE, _ENERGY = "distance (Å)", "energy (eV)"


def forces(subject: Subject, scenes: Scenes) -> Outcome:
    """Forces against central differences of the energy along six random directions of all atoms.

    Of three steps the best one counts: where a neighbour crosses the cutoff, the second derivative has a step.
    """
    atoms = scenes.rattled()
    found = subject.evaluate(atoms).forces
    rng = np.random.default_rng(3)
    worst = 0.0
    for _ in range(6):
        direction = rng.normal(size=found.shape)
        expected = -float((found * direction).sum())
        slopes = [_slope(lambda h: _moved(subject, atoms, h * direction), h) for h in (1e-4, 2e-5, 4e-6)]  # noqa: B023
        worst = _larger(worst, min(abs(slope - expected) for slope in slopes) / float(np.linalg.norm(found)))
    return at_most(worst, 1e-6, "relative")


def stress(subject: Subject, scenes: Scenes) -> Outcome:
    """Stress against central differences of the energy along the six strains."""
    atoms = scenes.rattled()
    found = subject.evaluate(atoms).stress
    assert found is not None
    volume = atoms.get_volume()
    worst = 0.0
    for v, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        strain = np.zeros((3, 3))
        strain[i, j] += 0.5
        strain[j, i] += 0.5
        slopes = [_slope(lambda h: _strained(subject, atoms, h * strain), h) for h in (1e-5, 2e-6)]  # noqa: B023
        worst = _larger(worst, min(abs(s / volume - found[v]) for s in slopes) / max(np.abs(found).max(), 1e-3))
    return at_most(worst, 1e-5, "relative")


def units(subject: Subject, scenes: Scenes) -> Outcome:
    """Stress is energy per volume, and forces energy per length: the work of swelling a cluster and a cell."""
    cell, cluster = scenes.rattled(), scenes.cluster()
    found = subject.evaluate(cell).stress
    assert found is not None
    swelling = _slope(lambda h: _strained(subject, cell, h * np.eye(3)), 1e-5)
    of_cell = abs(swelling - found[:3].sum() * cell.get_volume()) / max(abs(swelling), 1e-2)
    growth = _slope(lambda h: _moved(subject, cluster, h * cluster.positions), 1e-5)
    work = float((subject.evaluate(cluster).forces * cluster.positions).sum())
    of_cluster = abs(growth + work) / max(abs(growth), 1e-2)
    return at_most(_larger(of_cell, of_cluster), 1e-5, "relative", "eV, Å, eV/Å, eV/Å³")


def dimer(subject: Subject, scenes: Scenes) -> Outcome:
    """The energy of each pair, from 0.7 of the distance at rest to beyond the cutoff, changes as its forces say."""
    step, worst, curves = 0.01, 0.0, []
    for a, b in scenes.pairs():
        distances = np.arange(0.7 * scenes.rest[1], subject.cutoff + 0.3, step)
        energies, pulls = np.array([_pair(subject, scenes, a, b, r) for r in distances]).T
        explained = -0.5 * step * (pulls[1:] + pulls[:-1])
        scale = max(float(np.ptp(energies)), 1e-6)
        worst = _larger(worst, float(np.abs(np.diff(energies) - explained).max()) / scale)
        curves.append(Curve(f"{a}-{b}", distances.tolist(), energies.tolist(), _DISTANCE, _ENERGY))
    return at_most(worst, 2e-3, "of the curve's height", curves=curves)


def cutoff(subject: Subject, scenes: Scenes) -> Outcome:
    """How many derivatives of a pair's energy are continuous where it is switched off: forces must be.

    SNAP's cosine leaves the second derivative a step, in LAMMPS, too; the note says how high.
    """
    least, step = 2, 0.0
    for a, b in scenes.pairs():
        for at in subject.pair_cutoffs(a, b):
            smooth, height = _smoothness(subject, scenes, a, b, at)
            least, step = min(least, smooth), max(step, height)
    note = "energy jumps" if least < 0 else f"step of the second derivative {step:.2g} eV/Å²"
    return at_least(least, 1, "continuous derivatives", note)


def _smoothness(subject: Subject, scenes: Scenes, a: str, b: str, at: float) -> tuple[int, float]:
    """Continuous derivatives of the energy at a distance (−1: not even the energy), and the step of the second."""
    h = 1e-5
    near, far = ([_pair(subject, scenes, a, b, at + side * k * h) for side in (-1, 1)] for k in (1, 2))
    # Both sides carried on to the distance itself: a step remains, curvature leaves h² of it.
    energy, force = (abs(2 * (near[1][q] - near[0][q]) - (far[1][q] - far[0][q])) for q in (0, 1))
    slopes = [-(far[k][1] - near[k][1]) / (side * h) for k, side in enumerate((-1, 1))]
    height = abs(slopes[1] - slopes[0])
    if not energy <= 1e-8 * max(1.0, abs(near[0][0])):
        return -1, height
    if not force <= 1e-6 + 1e-4 * abs(near[0][1]):
        return 0, height
    return (2 if height <= 1e-2 * float(np.abs(slopes).max()) + 1e-6 else 1), height


def _pair(subject: Subject, scenes: Scenes, a: str, b: str, distance: float) -> tuple[float, float]:
    """Energy (eV) and force along the pair, away from the other (eV/Å)."""
    atoms = scenes.pair(a, b, distance)
    found = subject.evaluate(atoms)
    return found.energy, float(found.forces[1] @ (atoms.positions[1] / distance))


def _moved(subject: Subject, atoms: Atoms, by: Floats) -> float:
    moved = atoms.copy()
    moved.positions += by
    return subject.evaluate(moved).energy


def _strained(subject: Subject, atoms: Atoms, strain: Floats) -> float:
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return subject.evaluate(strained).energy


def _slope(energy: Callable[[float], float], h: float) -> float:
    """Central difference of fourth order."""
    return float((8.0 * (energy(h) - energy(-h)) - (energy(2 * h) - energy(-2 * h))) / (12.0 * h))


def _larger(a: float, b: float) -> float:
    """Maximum that never drops NaN."""
    return a if np.isnan(a) or a > b else float(b)
