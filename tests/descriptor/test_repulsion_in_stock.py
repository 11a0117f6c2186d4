"""Published potentials that collapse when pressed do so in stock LAMMPS, too: the curve of the check is the same there.

`python tests/descriptor/test_repulsion_in_stock.py` prints the table of docs/how-to/verify.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import stock
from ase.data import atomic_numbers
from mliuq import Model
from mliuq.verification import Subject
from mliuq.verification.distance import repulsion
from mliuq.verification.scenes import Scenes

#: Those that fail the check, with the range of the nuclear repulsion that they are published with.
COLLAPSING: dict[str, tuple[float, float] | None] = {
    "Cu_Zuo_JPCA2020.quadratic": None,
    "Ge_Zuo_JPCA2020.quadratic": None,
    "Ni_Zuo_JPCA2020.quadratic": None,
    "Si_Zuo_JPCA2020.quadratic": None,
    "C_SNAP_2021.10.15.quadratic": None,
    "InP_JCPA2020": (4.0, 4.2),
    "Ta06A": (4.0, 4.8),
}

pytestmark = pytest.mark.stock


def curves(name: str, folder: Path) -> tuple[float, list[float], np.ndarray, np.ndarray]:
    """What the check says (eV/atom), its distances (Å), and the energies (eV/atom) of mliuq and of stock LAMMPS."""
    coeff, param = (stock.potentials() / f"{name}.{end}" for end in ("snapcoeff", "snapparam"))
    zbl = COLLAPSING[name]
    read = Model.from_snap(coeff, param)
    model = Model(read.params, read.theta, zbl=zbl)
    subject = Subject(model)
    scenes = Scenes(subject)
    outcome = repulsion(subject, scenes)
    assert outcome.figure is not None
    distances, energies = outcome.curves[0].x, np.array(outcome.curves[0].y)
    elements = model.params.elements
    files = f"{coeff} {param} {' '.join(elements)}"
    commands = ["pair_style snap", f"pair_coeff * * {files}"]
    if zbl is not None:
        commands = [f"pair_style hybrid/overlay zbl {zbl[0]} {zbl[1]} snap", f"pair_coeff * * snap {files}"]
        for i, a in enumerate(elements, 1):
            for j, b in enumerate(elements[i - 1 :], i):
                commands.append(f"pair_coeff {i} {j} zbl {atomic_numbers[a]} {atomic_numbers[b]}")
    commands.append("neigh_modify one 20000 page 400000")  # for what lies within the cutoff when pressed
    crystals = [scenes.crystal(distance=distance) for distance in distances]
    peers = stock.run([stock.Job(atoms, elements, commands) for atoms in crystals], folder)
    return outcome.figure, distances, energies, np.array([p["energy"] for p in peers]) / len(crystals[0])


@pytest.mark.parametrize("name", COLLAPSING)
def test_the_same_curve(name: str, tmp_path: Path) -> None:
    gain, _, energies, peer = curves(name, tmp_path)
    np.testing.assert_allclose(energies, peer, rtol=0, atol=1e-9 * np.abs(peer).max())
    assert peer[0] - peer.min() == pytest.approx(gain, rel=1e-6)
    assert gain > 1e-3


if __name__ == "__main__":
    print("| potential | gives way below | energy gained, mliuq | stock LAMMPS | curves differ by |")
    print("|---|---|---|---|---|")
    for name in COLLAPSING:
        with tempfile.TemporaryDirectory() as folder:
            gain, distances, energies, peer = curves(name, Path(folder))
        turn = distances[int(np.flatnonzero(np.diff(peer) < 0.0)[0])]
        apart = np.abs(energies - peer).max() / np.abs(peer).max()
        print(f"| {name} | {turn:.2f} Å | {gain:.6f} | {peer[0] - peer.min():.6f} | {apart:.1e} |")
    sys.exit()
