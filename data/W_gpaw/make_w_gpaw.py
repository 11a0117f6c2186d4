"""Make a tungsten training set like W_gpaw.xyz.gz: candidates, farthest-point selection, DFT with GPAW.

    python make_w_gpaw.py candidates -o candidates.xyz
    python make_w_gpaw.py select candidates.xyz -o selected.xyz
    python make_w_gpaw.py label selected.xyz -o W_new.xyz          # hours; may be stopped and started again

The first two steps take a minute; the third needs GPAW (written for 22.8) with the PAW set-up W.6.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import iread, read, write
from numpy.typing import NDArray
from vesin import ase_neighbor_list as neighbor_list

REFERENCE_VOLUME = 16.1  # Å³/atom, bcc tungsten
CRYSTAL_VOLUMES = {
    "bcc": 16.1,
    "fcc": 16.5,
    "hcp": 16.5,
    "dhcp": 16.5,
    "a15": 16.3,
    "omega": 16.6,
    "sc": 18.0,
    "diamond": 26.0,
}
CRYSTAL_COUNTS = {"bcc": 60, "fcc": 40, "hcp": 30, "dhcp": 30, "a15": 20, "omega": 40, "sc": 20, "diamond": 20}
SELECTED = {"diverse": 223, "bcc": 45, "omega": 26, "fcc": 21, "dhcp": 18, "hcp": 14, "sc": 12, "diamond": 8, "a15": 0}

DFT_SETTINGS: dict[str, Any] = {
    "mode": {"name": "pw", "ecut": 300},
    "xc": "PBE",
    "setups": {"W": "6"},
    "kpts": {"density": 2.5, "gamma": True},
    "occupations": {"name": "fermi-dirac", "width": 0.1},
    "convergence": {"energy": 1e-4, "density": 1e-4},  # eV and electrons, per valence electron
    "symmetry": {"point_group": False, "time_reversal": True},
}


def shortest_distance(atoms: Atoms) -> float:
    """Shortest interatomic distance in Å, images included."""
    _, distances = neighbor_list("id", atoms, 3.5)
    return float(distances.min()) if len(distances) else np.inf


def push_apart(atoms: Atoms, distance: float, steps: int = 200) -> bool:
    """Move atoms along soft-sphere forces until no two are nearer than `distance`; False when they do not get there."""
    for _ in range(steps):
        i, d, vectors = neighbor_list("idD", atoms, distance)
        if len(d) == 0:
            return True
        if d.min() < 1e-6:
            return False
        shifts = np.zeros((len(atoms), 3))
        np.add.at(shifts, i, -0.55 * ((distance - d) / d)[:, None] * vectors)
        atoms.positions += np.clip(shifts, -0.5, 0.5)
    return shortest_distance(atoms) >= distance


def random_cell(rng: np.random.Generator) -> Atoms | None:
    """One candidate of class `diverse`, or None when its atoms do not fit."""
    n = int(rng.integers(2, 9))
    volume = n * REFERENCE_VOLUME * np.exp(rng.uniform(np.log(0.78), np.log(1.6)))
    lengths = np.exp(rng.normal(0.0, 0.25, 3))
    angles = rng.uniform(60.0, 120.0, 3)
    atoms = Atoms(f"W{n}", cell=[*lengths, *angles], pbc=True, scaled_positions=rng.random((n, 3)))
    if atoms.get_volume() < 0.3 * float(np.prod(lengths)):  # a sliver: its images would touch
        return None
    atoms.set_cell(atoms.cell * (volume / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
    return atoms if push_apart(atoms, float(rng.uniform(1.95, 2.5))) else None


def ideal_crystal(name: str) -> Atoms:
    """A small cell of a crystal at its reference volume."""
    if name in ("bcc", "fcc", "diamond", "sc"):
        atoms = bulk("W", name, a=3.0, cubic=name != "sc")
        if name == "sc":
            atoms = atoms.repeat((2, 1, 1))
        if name == "diamond":
            atoms = bulk("W", name, a=3.0).repeat((2, 1, 1))
    elif name in ("hcp", "dhcp"):
        stacking = {"hcp": "AB", "dhcp": "ABAC"}[name]
        sites = {"A": (0, 0), "B": (1 / 3, 2 / 3), "C": (2 / 3, 1 / 3)}
        scaled = [(*sites[layer], k / len(stacking)) for k, layer in enumerate(stacking)]
        atoms = Atoms(
            f"W{len(scaled)}", cell=[1, 1, 0.8165 * len(stacking), 90, 90, 120], scaled_positions=scaled, pbc=True
        )
    elif name == "omega":
        scaled = [(0, 0, 0), (1 / 3, 2 / 3, 0.5), (2 / 3, 1 / 3, 0.5)]
        atoms = Atoms("W3", cell=[1, 1, 0.61, 90, 90, 120], scaled_positions=scaled, pbc=True)
    elif name == "a15":
        scaled = [(0, 0, 0), (0.5, 0.5, 0.5), (0.25, 0.5, 0), (0.75, 0.5, 0),
                  (0, 0.25, 0.5), (0, 0.75, 0.5), (0.5, 0, 0.25), (0.5, 0, 0.75)]  # fmt: skip
        atoms = Atoms("W8", cell=[1, 1, 1], scaled_positions=scaled, pbc=True)
    else:
        raise ValueError(f"unknown crystal {name!r}; expected one of {', '.join(CRYSTAL_VOLUMES)}")
    scale = (CRYSTAL_VOLUMES[name] * len(atoms) / atoms.get_volume()) ** (1 / 3)
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    return atoms


def distorted_crystal(name: str, rng: np.random.Generator) -> Atoms | None:
    """One candidate of a crystal class: volume, strain and displacements at random."""
    atoms = ideal_crystal(name)
    if name == "bcc" and rng.random() < 0.5:
        atoms = atoms.repeat((2, 1, 1))
    strain = np.eye(3) * rng.uniform(0.82, 1.35) ** (1 / 3)
    strain = strain @ (np.eye(3) + rng.normal(0.0, rng.choice([0.01, 0.03, 0.06]), (3, 3)))
    atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
    atoms.positions += rng.normal(0.0, 1.0, (len(atoms), 3)) * rng.choice([0.0, 0.05, 0.12, 0.22])
    return atoms if shortest_distance(atoms) > 1.9 else None


def candidates(n_diverse: int, seed: int) -> list[Atoms]:
    """All candidates, each with `config_type` and `id`."""
    rng = np.random.default_rng(seed)
    makers: list[tuple[str, int, Callable[[], Atoms | None]]] = [("diverse", n_diverse, lambda: random_cell(rng))]
    for name, count in CRYSTAL_COUNTS.items():
        makers.append((name, count, lambda name=name: distorted_crystal(name, rng)))  # type: ignore[misc]
    found: list[Atoms] = []
    for name, count, make in makers:
        for atoms in _accepted(make, count):
            atoms.wrap()
            atoms.info.update(config_type=name, id=len(found))
            found.append(atoms)
    return found


def _accepted(make: Callable[[], Atoms | None], count: int) -> Iterator[Atoms]:
    made = 0
    while made < count:
        atoms = make()
        if atoms is not None:
            made += 1
            yield atoms


def farthest_points(features: NDArray[np.float64], count: int) -> list[int]:
    """Indices of `count` rows, each as far as can be from those before it; the first is farthest from the mean."""
    chosen = [int(np.argmax(np.linalg.norm(features - features.mean(0), axis=1)))]
    nearest = np.linalg.norm(features - features[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[chosen[-1]], axis=1))
    return chosen


def fingerprints(structures: list[Atoms]) -> NDArray[np.float64]:
    """Mean and spread of the bispectrum of each configuration, scaled to unit variance."""
    import mliuq

    params = mliuq.SnapParams(elements=["W"], radii=[0.5], weights=[1.0], twojmax=6, rcutfac=4.7)
    rows = []
    for atoms in structures:
        bispectrum = mliuq.descriptors(atoms, params)
        rows.append(np.concatenate([bispectrum.mean(0), bispectrum.std(0)]))
    table = np.asarray(rows)
    return (table - table.mean(0)) / (table.std(0) + 1e-12)


def select(structures: list[Atoms], seed: int) -> list[Atoms]:
    """Half of each class by farthest-point sampling, half at random."""
    rng = np.random.default_rng(seed)
    features = fingerprints(structures)
    classes = np.array([atoms.info["config_type"] for atoms in structures])
    chosen: list[int] = []
    for name, count in SELECTED.items():
        members = np.flatnonzero(classes == name)
        count = min(count, len(members))
        if count == 0:
            continue
        far = members[farthest_points(features[members], (count + 1) // 2)]
        rest = np.setdiff1d(members, far)
        chosen += [*far, *rng.choice(rest, count - len(far), replace=False)]
    return [structures[i] for i in chosen]


def label(atoms: Atoms, log: Path) -> Atoms:
    """Energy, forces and stress of one configuration by GPAW."""
    from ase.calculators.singlepoint import SinglePointCalculator
    from gpaw import GPAW  # type: ignore[import-not-found]

    work = atoms.copy()
    work.calc = GPAW(**DFT_SETTINGS, txt=str(log))
    labelled = atoms.copy()
    labelled.calc = SinglePointCalculator(
        labelled,
        energy=work.get_potential_energy(force_consistent=True),
        forces=work.get_forces(),
        stress=work.get_stress(),
    )
    labelled.info["e0"] = work.get_potential_energy()
    return labelled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["candidates", "select", "label"])
    parser.add_argument("input", nargs="?", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--n-diverse", type=int, default=650)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.step == "candidates":
        write(args.output, candidates(args.n_diverse, args.seed))
        return
    if args.input is None:
        parser.error(f"{args.step} needs the file of the step before")
    if args.step == "select":
        write(args.output, select(read(args.input, ":"), args.seed))
        return
    done = {int(atoms.info["id"]) for atoms in iread(args.output)} if args.output.exists() else set()
    for atoms in iread(args.input):
        if int(atoms.info["id"]) not in done:
            write(args.output, label(atoms, args.output.with_suffix(".gpaw.txt")), append=True)


if __name__ == "__main__":
    main()
