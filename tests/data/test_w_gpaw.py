"""The shipped tungsten set is what its README says, and its script makes sets of that kind."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from mliuq.readers import read_structures
from vesin import ase_neighbor_list as neighbor_list


@pytest.fixture(scope="module")
def script(tungsten: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_w_gpaw", tungsten.parent / "make_w_gpaw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_counts_and_ranges(tungsten: Path) -> None:
    structures = read_structures(tungsten)
    assert len(structures) == 367
    assert sum(map(len, structures)) == 1177
    classes = Counter(atoms.info["config_type"] for atoms in structures)
    readme = (tungsten.parent / "README.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `(\w+)` \| (\d+) \| [^|]+\| ([\d.]+)–([\d.]+) \| ([\d.]+)–([\d.]+) \|$", readme, re.MULTILINE
    )
    assert {name: int(count) for name, count, *_ in rows} == classes
    for name, _, *limits in rows:
        volume, shortest = [], []
        for atoms in structures:
            if atoms.info["config_type"] == name:
                volume.append(atoms.get_volume() / len(atoms))
                shortest.append(neighbor_list("id", atoms, 4.0)[1].min())
        found = [min(volume), max(volume), min(shortest), max(shortest)]
        np.testing.assert_allclose(found, [float(limit) for limit in limits], atol=0.06)


def test_labels_are_physical(tungsten: Path) -> None:
    structures = read_structures(tungsten)
    per_atom = [atoms.get_potential_energy() / len(atoms) for atoms in structures]
    assert min(per_atom) == pytest.approx(-11.2425, abs=1e-3)
    assert structures[int(np.argmin(per_atom))].info["config_type"] == "bcc"
    for atoms in structures:
        assert np.abs(atoms.get_forces().sum(axis=0)).max() < 5e-3
        assert atoms.get_potential_energy() <= atoms.info["e0"]  # free energy below that of zero width


def test_candidates_are_what_the_readme_promises(script: ModuleType) -> None:
    found = script.candidates(n_diverse=30, seed=0)
    assert Counter(a.info["config_type"] for a in found) == {"diverse": 30, **script.CRYSTAL_COUNTS}
    for atoms in found:
        assert script.shortest_distance(atoms) > 1.9
        assert 2 <= len(atoms) <= 8
    again = script.candidates(n_diverse=30, seed=0)
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(found, again, strict=True))


def test_farthest_points_are_far(script: ModuleType) -> None:
    points = np.array([[0.0], [0.1], [5.0], [5.1], [10.0]])
    assert script.farthest_points(points, 3) == [4, 0, 2]


def test_selection_takes_the_asked_numbers(script: ModuleType) -> None:
    pool = script.candidates(n_diverse=20, seed=1)
    chosen = script.select(pool, seed=1)
    counts = Counter(a.info["config_type"] for a in chosen)
    assert counts == {name: n for name, n in (script.SELECTED | {"diverse": 20}).items() if n}
    assert len({a.info["id"] for a in chosen}) == len(chosen)
