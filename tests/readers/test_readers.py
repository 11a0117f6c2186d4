"""Readers give the same structures whatever the file, and say which file is wrong."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re

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
from mliuq.readers.keys import Keys
from mliuq.readers.settings import DataSettings
from mliuq.regression.targets import read_targets
from mliuq.toml import to_mapping


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


def frame(comment: str) -> str:
    return f"1\n{comment}\nCu 0.1 0.2 0.3 1.0 2.0 3.0\n"


LATTICE, PROPERTIES = 'Lattice="3 0 0 0 3 0 0 0 3"', "Properties=species:S:1:pos:R:3:forces:R:3"


@pytest.mark.parametrize("name", ["a.xyz", "a.exyz", "a.extxyz", "a@b.xyz", "a@1.xyz", "a.exyz.gz"])
def test_names_of_extended_xyz(tmp_path, structures, name):
    plain = tmp_path / "plain.xyz"
    ase.io.write(plain, structures)
    data = plain.read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert_same(read_structures(tmp_path / name), structures)


@pytest.mark.parametrize(
    "comment",
    [
        f'{LATTICE} {PROPERTIES} energy=-1.5 PBC="0 0 1"',
        f'lattice="3 0 0 0 3 0 0 0 3" properties={PROPERTIES[11:]} energy=-1.5 Pbc="F F T"',
        f'LATTICE="3 0 0 0 3 0 0 0 3" PROPERTIES={PROPERTIES[11:]} energy=-1.5 pBc="F F T" note="lattice=4"',
    ],
)
def test_extended_xyz_in_any_case(tmp_path, comment):
    (tmp_path / "a.xyz").write_text(frame(comment))
    (atoms,) = read_structures(tmp_path / "a.xyz")
    assert atoms.pbc.tolist() == [False, False, True]
    assert atoms.cell.array.tolist() == [[3, 0, 0], [0, 3, 0], [0, 0, 3]]
    assert atoms.get_forces().tolist() == [[1, 2, 3]]
    assert atoms.get_potential_energy() == -1.5
    assert not {"PBC", "Pbc", "pBc", "lattice", "LATTICE"} & set(atoms.info)


@pytest.mark.parametrize("key", ["stress", "virial"])
@pytest.mark.parametrize("numbers", ["1 2 3 4 5 6", "1 6 5 6 2 4 5 4 3"])
def test_stress_with_six_and_with_nine_numbers(tmp_path, key, numbers):
    (tmp_path / "a.xyz").write_text(frame(f'{LATTICE} {PROPERTIES} energy=-1 {key}="{numbers}"'))
    (target,) = read_targets(read_structures(tmp_path / "a.xyz"), Keys(), (True, True, True))
    expected = np.arange(1.0, 7.0) if key == "stress" else -np.arange(1.0, 7.0) / 27.0
    np.testing.assert_allclose(target.stress, expected, rtol=1e-12)


def test_errors_name_file_and_place(tmp_path):
    (tmp_path / "a.xyz").write_text(frame(f"{LATTICE} {PROPERTIES} energy=-1") * 2 + frame(f"{LATTICE} {PROPERTIES}"))
    with pytest.raises(MliuqError, match=r"a.xyz: configuration 2 \(the 3rd\) has no energy under the key 'energy'"):
        read_targets(read_structures(tmp_path / "a.xyz"), Keys())


def test_a_model_keeps_the_names_its_fit_was_told():
    settings = DataSettings(energy_key="E", stress_unit="GPa", stress_sign="compression", test_fraction=0.5)
    kept = DataSettings.of_fit({"fit": {"settings": {"data": to_mapping(settings)}}})
    assert kept.keys == settings.keys
    assert kept.test_fraction == DataSettings().test_fraction
    assert DataSettings.of_fit({}) == DataSettings.of_fit({"fit": None}) == DataSettings()
    assert kept.updated({"energy_key": "F"}).keys.energy == "F"
    with pytest.raises(MliuqError, match="stress_unit is 'Pa', expected one of 'eV/A3', 'GPa', 'kbar', 'bar'"):
        kept.updated({"stress_unit": "Pa"})
    with pytest.raises(MliuqError, match=r"data of the model: energy_key is 3"):
        DataSettings.of_fit({"fit": {"settings": {"data": {"energy_key": 3}}}})
    with pytest.raises(MliuqError, match=r"data.group_key is empty"):
        kept.updated({"group_key": " "})


@pytest.mark.parametrize(
    "counts",
    [
        "W\n2147483648",
        "W Be\n1 10000000",
        "2147483648 W\n1",
        "99999999999999999999",
        "30 ! two",
        "W\n1_000_000_000",
        "W Be\n-1000000000 +1000000000",
        "W\n" + "9" * 4000,
    ],
)
@pytest.mark.parametrize("name", ["POSCAR", "a.vasp", "CONTCAR.gz"])
def test_a_poscar_that_claims_too_many_atoms(tmp_path, counts, name):
    text = f"W \x0c of two pages\n1.0\n3 0 0\n0 3 0\n0 0 3\n{counts}\nDirect\n0 0 0\n"
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    with pytest.raises(MliuqError, match=r"claims .* atoms, the file has \d+ lines"):
        read_structures(tmp_path / name)


@pytest.mark.parametrize("numbers", ["Z", "numbers"])
def test_symbols_and_atomic_numbers_as_quip_writes_both(tmp_path, numbers):
    (tmp_path / "a.xyz").write_text(
        f'2\nLattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3:{numbers}:I:1:forces:R:3\n'
        "W 0 0 0 74 1 2 3\nBe 2 0 0 4 4 5 6\n"
    )
    (atoms,) = read_structures(tmp_path / "a.xyz")
    assert list(atoms.symbols) == ["W", "Be"]
    assert set(atoms.arrays) == {"numbers", "positions"}
    np.testing.assert_array_equal(atoms.get_forces(), [[1, 2, 3], [4, 5, 6]])


GRID = "2 1 0 0\n1 0 1 0\n1 0 0 1\n29 0 0 0 0\n"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.cube", f"c\nc\n100000000000 0 0 0\n{GRID}1 2\n", "claims 100000000000 atoms, the file has 9 lines"),
        ("a.cube", f"c\nc\n-9_000_000_000 0 0 0\n{GRID}1 2\n", "claims 9_000_000_000 atoms, the file has 9 lines"),
        ("a.cube", f"c\nc\n1 0 0 0 1000000000000\n{GRID}1 2\n", "claims 1000000000000 values at a point"),
        ("a.cube", f"c\nc\n-1 0 0 0\n{GRID}1000000000000 1\n", "the text ends before what it claims to hold"),
        ("a.gen", "100000000000 C\nCu\n1 1 0 0 0\n", "claims 100000000000 atoms, the file has 4 lines"),
        ("a.xsf", "ATOMS\n29 0 0\n" * 2, "cannot be read"),
        ("a.xsf", "ANIMSTEPS 1000000000000\nATOMS\n29 0 0 0\n", "cannot be read"),
    ],
)
def test_rarer_formats_that_claim_too_much(tmp_path, name, text, says):
    """ASE reads on after the end, makes room, or passes over the claim."""
    (tmp_path / name).write_text(text)
    with pytest.raises(MliuqError, match=f"{name}: .*{says}"):
        read_structures(tmp_path / name)


def test_a_long_poscar_finds_its_elements_in_the_files_beside_it(tmp_path):
    (tmp_path / "POTCAR").write_text("   TITEL  = PAW_PBE W_pv 06Sep2000\n")
    (tmp_path / "POSCAR").write_text("no names\n1.0\n90 0 0\n0 90 0\n0 0 90\n1100\nCartesian\n" + "1 2 3\n" * 1100)
    (atoms,) = read_structures(tmp_path / "POSCAR")
    assert str(atoms.symbols) == "W1100"


def test_cube_files_are_read_compressed_or_not(tmp_path):
    text = f"c\nc\n1 0 0 0\n{GRID}1 2\n"
    (tmp_path / "a.cube").write_text(text)
    (tmp_path / "b.cube.gz").write_bytes(gzip.compress(text.encode()))
    first, second = (read_structures(tmp_path / name)[0] for name in ("a.cube", "b.cube.gz"))
    assert first == second
    assert first.symbols[0] == "Cu"


@pytest.mark.parametrize("damage", [b"\0", b"\xff"])
def test_what_is_not_text_goes_to_no_reader_of_text(tmp_path, damage):
    """Its bounds cannot be checked: a POSCAR with a zero byte took any memory."""
    text = b"W\n1.0\n3 0 0\n0 3 0\n0 0 3\nW\n2147483648\nDirect\n0 0 0 " + damage
    for name in ("POSCAR", "OUTCAR", "a.gen"):
        (tmp_path / name).write_bytes(text)
        with pytest.raises(MliuqError, match=f"{name}: holds zero bytes or is not UTF-8, expected text"):
            read_structures(tmp_path / name)


def test_what_is_no_text_by_its_format_is_read(tmp_path):
    ase.io.write(tmp_path / "a.traj", bulk("W"))
    assert read_structures(tmp_path / "a.traj")[0] == bulk("W")


@pytest.mark.parametrize(
    ("name", "count"), [("a.data", "2147483648"), ("a.lammps-data", "2147483648"), ("a.lammps-data", "2_147_483_648")]
)
def test_lammps_data_that_claims_too_many_atoms(tmp_path, name, count):
    (tmp_path / name).write_text(f"words\n\n{count} atoms\n1 atom types\n\nMasses\n\n1 183.84\n\nAtoms\n\n")
    with pytest.raises(MliuqError, match=f"claims {count} atoms, the file has 12 lines"):
        read_structures(tmp_path / name)


@pytest.mark.parametrize("first", [" vasp.6.3.0\n", " some words\n"])
@pytest.mark.parametrize(
    "claim",
    ["   ions per type =   2147483648 1", "   ions per type =   2_147_483_648",
     " k-points NKPTS = 1000000000 k-points in BZ NKDIM = 1 number of bands NBANDS= 8",
     " k-points NKPTS = 1 k-points in BZ NKDIM = 1 number of bands NBANDS= 1_000_000_000"],
)  # fmt: skip
def test_an_outcar_that_claims_too_much(tmp_path, first, claim):
    (tmp_path / "OUTCAR").write_text(f"{first}{claim}\n   ions per type =   1\n")
    with pytest.raises(MliuqError, match=r"OUTCAR: claims [\d_]+ .*, the file has"):
        read_structures(tmp_path / "OUTCAR")


@pytest.mark.parametrize("cell", ["", "VEC1 9 0 0\nVEC2 0 9 0\nVEC3 0 0 9\n"])
@pytest.mark.parametrize("count", ["1000000000000", "1_000_000_000_000", "+1000000000000"])
def test_an_extended_xyz_that_claims_too_many_atoms(tmp_path, cell, count):
    (tmp_path / "a.xyz").write_text(f"1\n\nW 0 0 0\n{cell}{count}\n\nW 0 0 0\n")
    with pytest.raises(MliuqError, match=f"configuration 1 claims {re.escape(count)} atoms, the file has"):
        read_structures(tmp_path / "a.xyz")


@pytest.mark.parametrize("columns", ["100000003", "99999999999999999999", "1_000_000_000", "+1000000000"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_properties_that_claim_too_many_columns(tmp_path, columns, quote):
    properties = f"Properties={quote}species:S:1:pos:R:3:forces:R:{columns}{quote}"
    (tmp_path / "a.xyz").write_text(f"1\nenergy=1\nW 0 0 0\n1\n{properties} energy=-1\nW 0 0 0 1 1 1\n")
    with pytest.raises(MliuqError, match=f"Properties claims {re.escape(columns)} columns, expected at most 10000"):
        read_structures(tmp_path / "a.xyz")


@pytest.mark.parametrize("count", ["21474836483", "21_474_836_483"])
@pytest.mark.parametrize("words", ["", " (all)"])
def test_a_dump_that_claims_too_many_atoms(tmp_path, count, words):
    text = f"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS{words}\n{count}\nITEM: BOX BOUNDS pp pp pp\n0 3\n0 3\n0 3\n"
    (tmp_path / "a.dump").write_text(text + "ITEM: ATOMS id element x y z\n1 W 0 0 0\n")
    with pytest.raises(MliuqError, match=f"claims {count} atoms, the file has 11 lines"):
        read_structures(tmp_path / "a.dump")
