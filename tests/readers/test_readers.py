"""Readers give the same structures whatever the file, and say which file is wrong."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa
from mliuq.errors import MliuqError
from mliuq.readers import read_structures


@pytest.fixture
def structures() -> list[Atoms]:
    rng = np.random.default_rng(0)
    out = []
    for i in range(3):
        atoms = bulk("W", cubic=True)
        atoms.rattle(0.1, seed=i)
        atoms.info["config_type"] = f"group {i}"
        stress = rng.normal(size=6)
        atoms.calc = SinglePointCalculator(atoms, energy=-20.0 - i, forces=rng.normal(size=(2, 3)), stress=stress)
        out.append(atoms)
    return out


def assert_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-7)
        np.testing.assert_allclose(a.cell.array, b.cell.array, atol=1e-12)
        assert a.get_potential_energy() == pytest.approx(b.get_potential_energy())
        np.testing.assert_allclose(a.get_forces(), b.get_forces(), atol=1e-7)
        np.testing.assert_allclose(a.get_stress(), b.get_stress(), atol=1e-7)
        assert a.info["config_type"] == b.info["config_type"]


@pytest.mark.parametrize(("suffix", "opener"), [("", open), (".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)])
def test_extended_xyz(tmp_path, structures, suffix, opener):
    plain = tmp_path / "plain.xyz"
    ase.io.write(plain, structures)
    packed = tmp_path / f"data.extxyz{suffix}"
    with opener(packed, "wb") as stream:
        stream.write(plain.read_bytes())
    assert_same(read_structures(packed), structures)


def test_ase_database(tmp_path, structures):
    path = tmp_path / "data.db"
    with ase.db.connect(path) as database:
        for atoms in structures:
            database.write(atoms, config_type=atoms.info["config_type"])
    assert_same(read_structures(path), structures)


def test_fitsnap_folder(tmp_path, structures):
    for i, atoms in enumerate(structures):
        stress = atoms.get_stress(voigt=False)
        data = {
            "Positions": atoms.positions.tolist(), "Lattice": atoms.cell.array.tolist(), "NumAtoms": 2,
            "AtomTypes": ["W", "W"], "Energy": atoms.get_potential_energy(), "Forces": atoms.get_forces().tolist(),
            "Stress": (-stress / GPa * 1e4).tolist(),
        }  # fmt: skip
        folder = tmp_path / atoms.info["config_type"]
        folder.mkdir()
        dataset = {"Dataset": {"Data": [data], "PressureStyle": "bar", "Label": "x"}}
        (folder / f"W_{i + 9}.json").write_text("# made by a test\n" + json.dumps(dataset))
    found = read_structures(tmp_path)
    assert_same(found, structures)
    assert [atoms.info["name"] for atoms in found] == ["W_9", "W_10", "W_11"]


def test_several_files_in_order(tmp_path, structures):
    paths = []
    for i, atoms in enumerate(structures):
        paths.append(tmp_path / f"{i}.xyz")
        ase.io.write(paths[-1], atoms)
    assert_same(read_structures(reversed(paths)), structures[::-1])


def test_tantalum_keeps_its_groups(shared_data):
    structures = read_structures(shared_data / "Ta_JCP2014.xyz.gz")
    assert len(structures) == 363
    assert len({atoms.info["config_type"] for atoms in structures}) == 12


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.xyz", None, "no such file"),
        ("empty.xyz", "", "empty.xyz: "),
        ("rubbish.xyz", "this is\nnot a structure\n", "rubbish.xyz: cannot be read"),
        ("cut.xyz", "2\n\nW 0 0 0\n", "cut.xyz: cannot be read"),
        ("broken.xyz.gz", "not gzip", "broken.xyz.gz: cannot be read"),
        ("folder/x.json", "{", "x.json: not JSON"),
        ("folder/x.json", '{"Dataset": {"Data": [{}]}}', "the key 'AtomTypes' is missing"),
        ("folder/x.txt", "", "without .json files"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    with pytest.raises(MliuqError, match=message):
        read_structures(path.parent if path.parent != tmp_path else path)


def test_no_files():
    with pytest.raises(MliuqError, match="no data files"):
        read_structures([])


@pytest.mark.parametrize(("style", "factor"), [("bar", 1e-4), ("kB", 0.1), ("kbar", 0.1), ("GPa", 1.0)])
def test_pressure_units_of_fitsnap(tmp_path, style, factor):
    pressure = np.array([[1.0, 0.4, 0.5], [0.4, 2.0, 0.6], [0.5, 0.6, 3.0]])
    data = {"AtomTypes": ["W"], "Positions": [[0, 0, 0]], "Lattice": (3 * np.eye(3)).tolist(), "Energy": -1.0,
            "Forces": [[0, 0, 0]], "Stress": pressure.tolist()}  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps({"Dataset": {"PressureStyle": style, "Data": [data]}}))
    found = read_structures(tmp_path)[0].get_stress()
    np.testing.assert_allclose(found, -factor * GPa * np.array([1.0, 2.0, 3.0, 0.6, 0.5, 0.4]), rtol=1e-12)
