"""Structures kept as numbers are the structures they were."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError, compare_atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import write
from mliuq.readers import read_structures
from mliuq.readers.kept import KeptStructures, chosen, joined
from mliuq.readers.origin import Origin, origin_of
from mliuq.readers.structures import each_structure


def structure(seed: int = 0) -> Atoms:
    """One with all that files hold."""
    rng = np.random.default_rng(seed)
    atoms = Atoms("WBeW", positions=rng.normal(size=(3, 3)), cell=rng.normal(size=(3, 3)), pbc=(True, False, True))
    atoms.arrays["magmoms"] = rng.normal(size=3)
    atoms.arrays["tags"] = np.arange(3)
    atoms.arrays["names"] = np.array(["a", "bé", "c"])
    atoms.info = {"config_type": "a group", "virial": rng.normal(size=(3, 3)), "list": [1, 2]}
    atoms.calc = SinglePointCalculator(
        atoms, energy=-1.5, forces=rng.normal(size=(3, 3)), stress=rng.normal(size=6), magmom=2
    )
    return atoms


def same(one: Atoms, other: Atoms) -> None:
    assert not compare_atoms(one, other, tol=0.0)
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        assert array.dtype == other.arrays[name].dtype
        np.testing.assert_array_equal(array, other.arrays[name])
    assert repr(one.info) == repr(other.info)
    assert (one.calc is None) == (other.calc is None)
    if one.calc is not None:
        assert one.calc.results.keys() == other.calc.results.keys()
        for name, value in one.calc.results.items():
            np.testing.assert_array_equal(value, other.calc.results[name])
    assert origin_of(one) == origin_of(other)


def test_they_come_back_as_they_were() -> None:
    given = [structure(), Atoms("W"), bulk("Cu"), structure(3)]
    kept = KeptStructures(iter(given))
    assert len(kept) == 4
    for one, other in zip(given, kept, strict=True):
        same(one, other)
    same(given[-1], kept[-1])
    same(given[3], kept[2:][1])
    same(given[3], chosen(kept, [1, 3])[1])
    same(given[0], joined(kept[1:], kept)[3])
    assert isinstance(joined(kept, kept[:1]), KeptStructures)
    assert joined([given[0]], kept)[1] == given[0]
    assert chosen(given, [2]) == [given[2]]
    with pytest.raises(IndexError):
        kept[4]


def test_values_are_those_of_these_atoms_only() -> None:
    (atoms,) = KeptStructures([structure()])
    assert atoms.get_potential_energy() == -1.5
    atoms.positions[0, 0] += 0.1
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_potential_energy()


def test_what_is_done_to_one_is_not_kept() -> None:
    kept = KeptStructures([structure()])
    kept[0].positions[:] = 0.0
    kept[0].info["list"].append(3)
    same(structure(), kept[0])


def test_what_is_more_than_numbers_is_kept_whole() -> None:
    calculating, fixed, moved = bulk("Cu"), structure(), structure()
    calculating.calc = EMT()
    fixed.set_constraint(FixAtoms([0]))
    moved.positions += 0.1
    others = structure()
    others.arrays["things"] = np.array([None, 1, "a"], dtype=object)
    for atoms in (calculating, fixed, moved, others):
        assert KeptStructures([atoms])[0] is atoms


def test_they_know_their_files(tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", [structure(k) for k in range(3)], write_results=True)
    read, kept = read_structures(tmp_path / "a.xyz"), KeptStructures(each_structure(tmp_path / "a.xyz"))
    for one, other in zip(read, kept, strict=True):
        same(one, other)
    assert origin_of(kept[2]) == Origin(str(tmp_path / "a.xyz"), 2)
    assert kept.know_their_origin
    assert not joined(kept, KeptStructures([structure()])).know_their_origin  # type: ignore[attr-defined]


def test_they_take_a_tenth_of_the_memory(tmp_path: Path) -> None:
    frames = []
    for seed in range(300):
        frame = bulk("Cu").repeat((2, 1, 1))
        frame.rattle(0.1, seed=seed)
        frame.calc = SinglePointCalculator(frame, energy=1.0 * seed, forces=np.full((2, 3), 0.1 * seed))
        frames.append(frame)
    write(tmp_path / "a.xyz", frames)
    sizes = []
    KeptStructures(each_structure(tmp_path / "a.xyz"))  # what is imported on the way
    for read in (read_structures, lambda path: KeptStructures(each_structure(path))):
        tracemalloc.start()
        found = read(tmp_path / "a.xyz")
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0] / len(found))
        tracemalloc.stop()
    assert sizes[1] < 0.15 * sizes[0], sizes
