"""What each reader gives and says, by parts: keys, limits, names, places, units, texts of errors."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import logging
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, GPa, Hartree
from mliuq.errors import MliuqError
from mliuq.readers import bounds, read_structures, units
from mliuq.readers.dialect import Dialect
from mliuq.readers.extended_xyz import read_extended_xyz
from mliuq.readers.fingerprints import fingerprints, others_than
from mliuq.readers.fitsnap import fitsnap_files
from mliuq.readers.indexed_xyz import IndexedXyz, frames_of
from mliuq.readers.keys import Keys, advice, carried, methods, named, offered
from mliuq.readers.n2p2 import read_n2p2
from mliuq.readers.origin import Origin, describe, numbered, origin_of, with_origin
from mliuq.readers.pymatgen_json import read_pymatgen
from mliuq.readers.results import attach
from mliuq.readers.settings import DataSettings

XYZ = '2\nLattice="4 0 0 0 4 0 0 0 5" Properties=species:S:1:pos:R:3 energy={}\nW 0 0 0\nBe 1 1 {}\n'


def xyz(n: int) -> str:
    return "".join(XYZ.format(-1.0 - i, 1.0 + i) for i in range(n))


@pytest.fixture(autouse=True)
def every_text_says_its_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine takes texts for must not matter."""

    def asked(encoding: Any, stacklevel: int = 2) -> Any:
        assert encoding is not None
        return encoding

    monkeypatch.setattr(io, "text_encoding", asked)


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "opener"), [(".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)])
def test_compressed_files_may_grow_fiftyfold_or_to_16_mib(ending: str, opener: Any, tmp_path: Path) -> None:
    path = tmp_path / f"a.xyz{ending}"
    for size, refused in ((1 << 24, False), ((1 << 24) + 1, True)):
        with opener(path, "wb") as stream:
            stream.write(b"0" * size)
        if refused:
            packed = path.stat().st_size
            says = rf"^{packed} compressed bytes grow to more than 16777216, expected text of atoms \(less than 50"
            with pytest.raises(MliuqError, match=says):
                bounds.open_text(path)
        else:
            assert len(bounds.open_text(path).read()) == size


def test_growth_counts_from_the_size_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_LEAST_LIMIT", 10)
    path = tmp_path / "a.xyz.gz"
    path.write_bytes(gzip.compress(b"0" * 1000, mtime=0))
    limit = 50 * path.stat().st_size
    path.write_bytes(gzip.compress(b"0" * limit, mtime=0))
    assert limit <= 50 * path.stat().st_size
    assert bounds.open_text(path).read(3) == "000"


@pytest.mark.parametrize(
    ("text", "says"),
    [("2\nc\nW 0 0 0\nW 0 0 1\n99999\n", r"^configuration 1 claims 99999 atoms, the file has 26 bytes$"),
     ("1" * 60 + "\n", r"^configuration 0 claims 1{40} atoms, the file has 61 bytes$"),
     ("29\n" + "x" * 25, r"^configuration 0 claims 29 atoms, the file has 28 bytes$")],
)  # fmt: skip
def test_counts_of_atoms_that_no_file_holds(text: str, says: str) -> None:
    with pytest.raises(MliuqError, match=says):
        bounds.refuse_absurd_counts(io.StringIO(text))


@pytest.mark.parametrize(
    "text", [xyz(3), "2\nc\nW 0 0 0\n", "28\n" + "x" * 25, "", "words\n99999\n", xyz(1) + "\n999999"]
)
def test_counts_that_are_not_absurd_leave_the_text_at_its_beginning(text: str) -> None:
    stream = io.StringIO(text)
    bounds.refuse_absurd_counts(stream)
    assert stream.read() == text


# --- names -----------------------------------------------------------------------------------------------------------


def carrying(*names: str) -> Atoms:
    atoms = Atoms("W2", [[0, 0, 0], [2, 0, 0]])
    for name in names:
        atoms.info[name] = 1.0
    return atoms


def test_names_of_values() -> None:
    assert Keys() == Keys("energy", "forces", "stress", "config_type", "eV/A3", "tension")
    for prefix in ("REF", "REF_"):
        assert named(prefix) == {"energy_key": "REF_energy", "forces_key": "REF_forces", "stress_key": "REF_stress"}
    atoms = carrying("b", "a")
    atoms.arrays["c"] = np.zeros(2)
    assert carried(atoms) == ["a", "b", "c"]
    atoms.calc = SinglePointCalculator(atoms, energy=1.0)
    assert carried(atoms) == ["a", "b", "c", "energy"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("energy", "energy"), ("REF_energy", "energy"), ("energy_pbe", "energy"), ("Energy", "energy"),
     ("dft-energy", "energy"), ("my.energy", "energy"), ("my energy", "energy"), ("myenergy", None),
     ("energyx", None), ("force", "forces"), ("forces", "forces"), ("F_forces", "forces"), ("stress", "stress"),
     ("virial", "stress"), ("virials", "stress"), ("REF_VIRIAL", "stress"), ("free_energy", None),
     ("energy_std", None), ("energy_min", None), ("energy_max", None), ("energy_err", None), ("energy_comm", None),
     ("energy_weight", None), ("energy_key", None), ("energy_unit", None), ("energy_per_atom", None),
     ("energy_STD", None), ("std_energy", "energy"), ("energy_std_x", "energy")],
)  # fmt: skip
def test_what_looks_like_a_value(name: str, kind: str | None) -> None:
    assert offered(carrying(name)) == ({kind: [name]} if kind else {})


def test_methods_and_advice() -> None:
    assert methods(carrying("REF_energy", "REF_forces", "b_energy", "b_force", "c_energy", "d_Energy", "d_forces")) == [
        "REF", "b", "d",
    ]  # fmt: skip
    assert advice({}) == ""
    assert advice({"energy": ["A_energy", "B"], "forces": ["A_forces"]}) == "found A_energy, B, A_forces: use --keys A"
    assert advice({"energy": ["E", "e"], "forces": ["F"]}) == "found E, e, F: use --energy-key E --forces-key F"
    assert advice({"energy": ["A_energy"], "forces": ["B_forces"]}) == (
        "found A_energy, B_forces: use --energy-key A_energy --forces-key B_forces"
    )


# --- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "word"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (10, "10th"), (11, "11th"), (12, "12th"), (13, "13th"),
     (14, "14th"), (21, "21st"), (22, "22nd"), (23, "23rd"), (100, "100th"), (101, "101st"), (111, "111th"),
     (112, "112th"), (113, "113th")],
)  # fmt: skip
def test_places_as_people_count(n: int, word: str) -> None:
    assert describe(Atoms(), n - 1) == f"configuration {n - 1} (the {word})"


def test_descriptions_name_file_index_and_group() -> None:
    atoms = Atoms("W", info={"config_type": "bcc", "kind": 7})
    known = with_origin(atoms, Origin("a.xyz", 4))
    assert describe(known, 9) == "a.xyz: configuration 4 (the 5th, bcc)"
    assert describe(known, 9, "kind") == "a.xyz: configuration 4 (the 5th, 7)"
    assert describe(atoms, 9, "none") == "configuration 9 (the 10th)"
    assert origin_of(atoms) is None
    first, second = numbered([atoms, known])
    assert origin_of(first) == Origin(None, 0, False)
    assert second is known
    assert first.info is atoms.info


def test_files_know_where_and_in_which_units(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.xyz").write_text(xyz(2), encoding="utf-8")
    (tmp_path / "b.json").write_text(json.dumps(FITSNAP), encoding="utf-8")
    with caplog.at_level(logging.INFO, "mliuq"):
        found = read_structures([tmp_path / "a.xyz", str(tmp_path / "b.json")])
    origins = [origin_of(atoms) for atoms in found]
    assert origins == [
        Origin(str(tmp_path / "a.xyz"), 0), Origin(str(tmp_path / "a.xyz"), 1),
        Origin(str(tmp_path / "b.json"), 0, True), Origin(str(tmp_path / "b.json"), 1, True),
    ]  # fmt: skip
    assert [(r.name, r.getMessage()) for r in caplog.records] == [
        ("mliuq.readers.structures", f"{tmp_path / 'a.xyz'}: 2 configurations"),
        ("mliuq.readers.structures", f"{tmp_path / 'b.json'}: 2 configurations"),
    ]


# --- formats ---------------------------------------------------------------------------------------------------------

ENTRY: dict[str, Any] = {"AtomTypes": ["W"], "Positions": [[0, 0, 0]], "Lattice": (3 * np.eye(3)).tolist()}
FITSNAP: dict[str, Any] = {"Dataset": {"Data": [ENTRY, {**ENTRY, "Energy": -2, "Forces": [[1, 2, 3]]}]}}


def test_fitsnap_with_some_of_the_values(tmp_path: Path) -> None:
    path = tmp_path / "set" / "W_1.json"
    path.parent.mkdir()
    path.write_text(json.dumps(FITSNAP), encoding="utf-8")
    bare, whole = read_structures(path)
    assert bare.calc is None
    assert whole.calc.results["energy"] == -2.0
    np.testing.assert_array_equal(whole.calc.results["forces"], [[1.0, 2.0, 3.0]])
    assert bare.info == {"name": "W_1", "config_type": "set"}
    assert bare.pbc.all()
    stress = np.diag([1.0, 2.0, 3.0])
    for dataset, factor in (
        ({}, 1e-4),
        ({"StressStyle": "GPa"}, 1.0),
        ({"PressureStyle": "kB", "StressStyle": "GPa"}, 0.1),
    ):
        path.write_text(
            json.dumps({"Dataset": {**dataset, "Data": [{**ENTRY, "Stress": stress.tolist()}]}}), encoding="utf-8"
        )
        (found,) = read_structures(path)
        np.testing.assert_allclose(found.calc.results["stress"][:3], -factor * GPa * np.arange(1.0, 4.0))
    path.write_text(
        json.dumps({"Dataset": {"PressureStyle": "Pa", "Data": [{**ENTRY, "Stress": [[1]]}]}}), encoding="utf-8"
    )
    with pytest.raises(MliuqError, match=r"W_1.json: stress is in 'Pa', expected one of eV/A3, GPa, kbar, bar, kB$"):
        read_structures(path)
    path.write_text(json.dumps({"Dataset": {}}), encoding="utf-8")
    with pytest.raises(MliuqError, match=r"^[^:]*W_1.json: not a FitSNAP configuration: the key 'Data' is missing$"):
        read_structures(path)


def test_order_of_fitsnap_files(tmp_path: Path) -> None:
    for name in ("A_10.json", "A_2.json", "B/x.json", "A_2/y.json", "a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in fitsnap_files(tmp_path)]
    assert found == ["A_2/y.json", "A_2.json", "A_10.json", "B/x.json"]


def n2p2(body: str) -> list[Atoms]:
    return read_n2p2(f"# comment\n\nbegin\n{body}end\n", Dialect(length_unit="angstrom"))


def test_n2p2_by_parts() -> None:
    atom = "atom 1 2 3 W 0.1 0.2 4 5 6\n"
    (found,) = n2p2(f"comment two words\n{atom}energy 7\ncharge 0\n")
    assert found.info == {"comment": "two words"}
    assert not found.pbc.any()
    assert found.calc.results["energy"] == 7.0
    np.testing.assert_array_equal(found.positions, [[1, 2, 3]])
    np.testing.assert_array_equal(found.calc.results["forces"], [[4, 5, 6]])
    (bare,) = n2p2(atom)
    assert bare.info == {}
    assert "energy" not in bare.calc.results
    (bohr,) = read_n2p2(
        f"begin\nlattice 3 0 0\nlattice 0 4 0\nlattice 0 0 5\n{atom}energy 7\nend", Dialect(length_unit="bohr")
    )
    np.testing.assert_allclose(bohr.cell.array, Bohr * np.diag([3, 4, 5]))
    np.testing.assert_allclose(bohr.calc.results["forces"], Hartree / Bohr * np.array([[4, 5, 6]]))
    assert bohr.calc.results["energy"] == pytest.approx(7 * Hartree)
    assert bohr.pbc.all()
    with pytest.raises(MliuqError, match=r"^n2p2 files do not say their units: .*--energy-unit for other pairs$"):
        read_n2p2("begin\nend\n", Dialect())
    for text, says in (
        (f"{atom}", r"^line 1: 'atom' outside a configuration, expected 'begin'$"),
        (f"begin\n{atom}", r"^the last configuration has no 'end': the file is cut off$"),
        (f"begin\nlattice 1 0 0\n{atom}end", r"^line 2: a configuration has 1 lattice vectors, expected 3 or none$"),
        (
            "begin\natom 1 2 3 W 0 0 1 2\nend",
            r"^line 2: 'atom 1 2 3 W 0 0 1 2' cannot be read: expected x y z element",
        ),
        ("begin\nenergy\nend", r"^line 2: 'energy' cannot be read: list index out of range$"),
        ("end", r"^line 1: 'end' outside a configuration"),
    ):
        with pytest.raises(MliuqError, match=says):
            read_n2p2(text, Dialect(length_unit="angstrom"))


MTP = """BEGIN_CFG
 Size
    2
 Supercell
  4.0 0.0 0.0
  0.0 5.0 0.0
{third} AtomData:  id type cartes_x cartes_y cartes_z {columns}
   1 0 0.1 0.2 0.3 {one}
   2 1 1.0 1.0 1.0 {two}
{rest}END_CFG
"""


def mtp(tmp_path: Path, **parts: str) -> list[Atoms]:
    values = {"third": "  0.0 0.0 6.0\n", "columns": "fx fy fz", "one": "1 2 3", "two": "4 5 6", "rest": "", **parts}
    (tmp_path / "a.cfg").write_text(MTP.format(**values), encoding="utf-8")
    return read_structures(tmp_path / "a.cfg", Dialect(types=("W", "Be")))


def test_mtp_by_parts(tmp_path: Path) -> None:
    values = " Energy\n -3.5\n Stress: xx yy zz yz xz xy\n 1 2 3 4 5 6\n"
    (found,) = mtp(tmp_path, rest=f"{values} Feature  a b c\n Feature   key\tval ue\n Feature x\n")
    assert found.get_chemical_symbols() == ["W", "Be"]
    assert found.calc.results["energy"] == -3.5
    np.testing.assert_array_equal(found.calc.results["forces"], [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_allclose(found.calc.results["stress"], np.arange(1.0, 7.0) / 120.0)
    assert found.info == {"a": "b c", "key": "val ue"}
    (other,) = mtp(tmp_path, rest=" PlusStress:  xy xx yy zz xz yz\n 6 1 2 3 5 4\n")
    np.testing.assert_allclose(other.calc.results["stress"], -np.arange(1.0, 7.0) / 120.0)
    assert "energy" not in other.calc.results
    (slab,) = mtp(
        tmp_path, third="", columns="", one="", two="", rest=" PlusStress:  xx yy zz yz xz xy\n 1 2 3 4 5 6\n"
    )
    assert slab.pbc.tolist() == [True, True, False]
    assert slab.calc is None, "no volume, no stress; no forces"
    np.testing.assert_array_equal(slab.cell.array, np.diag([4.0, 5.0, 0.0]))
    for parts, says in (
        ({"one": "1 2"}, r"a.cfg: the configuration at line 1 cannot be read: zip\(\) argument 2 is"),
        (
            {"columns": "gx gy gz", "rest": " Energy\n much\n"},
            r"could not convert string to float: 'much'",
        ),
        ({"rest": " Stress: xx\n 1\n"}, r"the configuration at line 1 cannot be read: 'yy'$"),
        ({"rest": " Energy\n"}, r"the configuration at line 1 cannot be read: it ends too early$"),
    ):
        with pytest.raises(MliuqError, match=says):
            mtp(tmp_path, **parts)
    text = MTP.format(third="", columns="", one="", two="", rest="")
    (tmp_path / "a.cfg").write_text("junk\nEND_CFG\n" + text + text[:-8], encoding="utf-8")
    with pytest.raises(MliuqError, match=r"the configuration at line 13 has no END_CFG: the file is cut off$"):
        read_structures(tmp_path / "a.cfg", Dialect(types=("W", "Be")))


def deepmd(folder: Path, types: str = "0 1", **arrays: Any) -> Path:
    (folder / "set.000").mkdir(parents=True, exist_ok=True)
    (folder / "type.raw").write_text(types, encoding="utf-8")
    for name, array in {"coord": np.arange(6.0), "box": np.diag([5.0, 6.0, 7.0]), **arrays}.items():
        if array is not None:
            np.save(folder / "set.000" / f"{name}.npy", np.asarray(array, float).reshape(1, -1))
    return folder


def test_deepmd_by_parts(tmp_path: Path) -> None:
    told = Dialect(types=("W", "Be"))
    virial = np.arange(9.0).reshape(3, 3) + np.arange(9.0).reshape(3, 3).T
    (found,) = read_structures(deepmd(tmp_path / "a", energy=[-1.5], force=np.arange(6.0), virial=virial), told)
    assert found.calc.results["energy"] == -1.5
    np.testing.assert_array_equal(found.calc.results["forces"], np.arange(6.0).reshape(2, 3))
    np.testing.assert_allclose(found.calc.results["stress"], -virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / 210.0)
    assert origin_of(found) == Origin(str(tmp_path / "a"), 0, units_known=True)
    assert found.info == {}
    (mixed,) = read_structures(deepmd(tmp_path / "b", real_atom_types=[1, 1]), told)
    assert mixed.get_chemical_symbols() == ["Be", "Be"]
    assert mixed.calc is None
    folder = deepmd(tmp_path / "c")
    np.save(folder / "set.000" / "force.npy", np.zeros(5))
    with pytest.raises(MliuqError, match=r"force.npy: cannot be read as an array of shape \(1, 2, 3\): cannot reshape"):
        read_structures(folder, told)
    (folder / "set.000" / "coord.npy").unlink()
    with pytest.raises(MliuqError, match=r"coord.npy: no such file, expected the positions of a DeePMD set$"):
        read_structures(folder, told)
    (folder / "set.000" / "box.npy").unlink()
    for file in (folder / "set.000").iterdir():
        file.unlink()
    (folder / "set.000").rmdir()
    with pytest.raises(MliuqError, match=r"c: a DeePMD system without set.\*/coord.npy$"):
        read_structures(folder, told)
    empty = deepmd(tmp_path / "d", box=None)
    with pytest.raises(MliuqError, match=r"box.npy: no such file, expected the cells of a periodic DeePMD set$"):
        read_structures(empty, told)


def test_elements_of_types() -> None:
    told = Dialect(types=("W", "Be"))
    assert told.elements([1, 2, 1], 1) == ["W", "Be", "W"]
    assert told.elements([0, 1], 0) == ["W", "Be"]
    for types, first, bad in (([1, 3], 1, 3), ([0, 1], 1, 0), ([-1, 0], 0, -1), ([2], 0, 2)):
        with pytest.raises(MliuqError, match=rf"^an atom has type {bad}, but --types W,Be names 2 types from {first}$"):
            told.elements(types, first)
    with pytest.raises(MliuqError, match=r"^atoms have types but no elements: expected --types, such as --types W,Be$"):
        Dialect().elements([1], 1)
    for name in ("Q", "X"):
        with pytest.raises(MliuqError, match=rf"^types are W,{name}: '{name}' is not an element$"):
            Dialect(types=("W", name)).validate()
    assert Dialect() == Dialect((), None, None)


def test_values_of_a_database_go_where_they_belong(tmp_path: Path) -> None:
    atoms = Atoms("W6", np.arange(18.0).reshape(6, 3), cell=[20] * 3, pbc=True)
    data = {
        "stress": np.arange(6.0), "virial": list(range(6)), "charge": np.arange(6.0), "F": np.ones((6, 3)),
        "three": [1, 2, 3], "positions": np.zeros((6, 3)), "note": "text", "none": None, "scalar": np.array(3.0),
        "taken": 1,
    }  # fmt: skip
    with ase.db.connect(tmp_path / "a.db") as database:
        database.write(atoms, data=data, taken=2)
    (found,) = read_structures(tmp_path / "a.db")
    assert set(found.arrays) == {"numbers", "positions", "charge", "F", "stress", "virial"} - {"stress", "virial"}
    np.testing.assert_array_equal(found.positions, atoms.positions)
    np.testing.assert_array_equal(found.arrays["charge"], np.arange(6.0))
    np.testing.assert_array_equal(found.info["three"], [1, 2, 3])
    assert isinstance(found.info["three"], np.ndarray)
    assert (found.info["note"], found.info["taken"], float(found.info["scalar"])) == ("text", 2, 3.0)
    assert "none" not in found.info


def pymatgen(**record: Any) -> list[Atoms]:
    sites = [{"species": [{"element": "Fe3+", "occu": 1}], "abc": [0.5, 0.25, 0.0]}]
    structure = {"lattice": {"matrix": np.diag([2.0, 4.0, 5.0]).tolist(), "pbc": [True, True, False]}, "sites": sites}
    return read_pymatgen([{"structure": structure, **record}, structure])


def test_pymatgen_by_parts(caplog: pytest.LogCaptureFixture) -> None:
    found, bare = pymatgen(energy=-1, outputs={"forces": [[1, 2, 3]]}, config_type="b")
    assert found.get_chemical_symbols() == ["Fe"]
    np.testing.assert_allclose(found.positions, [[1.0, 1.0, 0.0]])
    assert found.pbc.tolist() == [True, True, False]
    assert found.calc.results["energy"] == -1.0
    np.testing.assert_array_equal(found.calc.results["forces"], [[1, 2, 3]])
    assert found.info == {"config_type": "b"}
    assert (bare.calc, bare.info) == (None, {})
    assert pymatgen(group="g", config_type="c")[0].info == {"config_type": "g"}
    assert pymatgen(group=3, config_type="c")[0].info == {"config_type": "c"}
    assert pymatgen(uncorrected_total_energy=2.0, energy=None)[0].calc.results["energy"] == 2.0
    assert pymatgen(energy=1.0, uncorrected_total_energy=2.0)[0].calc.results["energy"] == 1.0
    full = np.arange(9.0).reshape(3, 3)
    for name in ("stress", "virial_stress"):
        six = pymatgen(**{name: full.tolist()})[0].calc.results["stress"]
        np.testing.assert_allclose(six, -0.1 * GPa * (0.5 * (full + full.T))[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])
    six = pymatgen(virial_stress=[1, 2, 3, 4, 5, 6])[0].calc.results["stress"]
    np.testing.assert_allclose(six, -0.1 * GPa * np.array([1, 2, 3, 6, 5, 4]))
    assert not caplog.messages
    odd = pymatgen(stress=[1, 2, 3, 4, 5, 6], energy=0.0)[0]
    assert (set(odd.calc.results), odd.info) == ({"energy"}, {})
    assert [(r.name, r.getMessage()) for r in caplog.records] == [(
        "mliuq.readers.pymatgen_json",
        "the stress of 1 structures has six numbers in an order that nobody says: left out",
    )]  # fmt: skip
    shared = {"species": [{"element": "Fe", "occu": 0.5}], "abc": [0, 0, 0], "label": "Fe1"}
    lattice = {"matrix": np.eye(3).tolist()}
    with pytest.raises(MliuqError, match=r"^site Fe1 is occupied partly: \[.*0.5.*\], expected one element$"):
        read_pymatgen({"lattice": lattice, "sites": [shared]})
    assert read_pymatgen({"lattice": lattice, "sites": [{"species": [{"element": "W"}], "abc": [0, 0, 0]}]})[
        0
    ].pbc.all()


def test_json_that_is_none_of_these(tmp_path: Path) -> None:
    for text, says in (
        ('{"a": 1}', r"a.json: JSON of an unknown kind: expected FitSNAP's \(a key 'Dataset'\)"),
        ("{\n[", r"a.json: not JSON: Expecting property name enclosed in double quotes: line 2 column 1"),
        ('{"ids": [1], "next": 2}', "JSON of an unknown kind"),
    ):
        (tmp_path / "a.json").write_text(text, encoding="utf-8")
        with pytest.raises(MliuqError, match=says):
            read_structures(tmp_path / "a.json")
    for lines, read in ((9, True), (10, False)):
        (tmp_path / "a.json").write_text("header\n" * lines + json.dumps(FITSNAP), encoding="utf-8")
        if read:
            assert len(read_structures(tmp_path / "a.json")) == 2
        else:
            with pytest.raises(MliuqError, match="not JSON: Expecting value"):
                read_structures(tmp_path / "a.json")


def test_results_attached() -> None:
    atoms = Atoms("W")
    assert attach(atoms, energy=None) is atoms
    assert atoms.calc is None
    full = np.arange(9.0).reshape(3, 3)
    attach(atoms, energy=1.0, forces=None, stress=full.tolist())
    assert set(atoms.calc.results) == {"energy", "stress"}
    np.testing.assert_array_equal(atoms.calc.results["stress"], [0, 4, 8, 6, 4, 2])
    np.testing.assert_array_equal(attach(atoms, stress=np.arange(6.0)).calc.results["stress"], np.arange(6.0))


def test_units_are_those_of_the_tables() -> None:
    """Against CODATA figures, not against the same constants of ASE."""
    assert (
        pytest.approx({"eV/A3": 1.0, "GPa": 1 / 160.21766, "kbar": 1 / 1602.1766, "bar": 1 / 1602176.6})
        == units.PRESSURE
    )
    assert pytest.approx({"angstrom": 1.0, "bohr": 0.529177}, rel=1e-5) == units.LENGTH
    assert pytest.approx({"eV": 1.0, "hartree": 27.21139}, rel=1e-5) == units.ENERGY
    assert units.VOIGT == ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))


@pytest.mark.parametrize(
    ("line", "comes"),
    [('stress="1 2 3 4 5 6"', [1, 2, 3, 4, 5, 6]), ("stress={1 2 3 4 5 6}", [1, 2, 3, 4, 5, 6]),
     ("stress = '1,2,3,4,5,6'", [1, 2, 3, 4, 5, 6]), ('stress="1 6 5 6 2 4 5 4 3"', [1, 2, 3, 4, 5, 6])],
)  # fmt: skip
def test_stress_of_extended_xyz(line: str, comes: list[float]) -> None:
    text = f'1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3 {line} my_stress="1 2 3 4 5 6"\nW 0 0 0\n'
    (found,) = read_extended_xyz(io.StringIO(text))
    np.testing.assert_array_equal(found.calc.results["stress"], comes)
    np.testing.assert_array_equal(found.info["my_stress"], [1, 2, 3, 4, 5, 6])


def test_what_ase_alone_can_read_is_in_units_it_knows(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.traj", Atoms("W"))
    (found,) = read_structures(tmp_path / "a.traj")
    assert origin_of(found) == Origin(str(tmp_path / "a.traj"), 0, units_known=True)


# --- large files -----------------------------------------------------------------------------------------------------


def test_frames_are_read_where_they_begin(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(xyz(4) + "\nwhat follows an empty line", encoding="utf-8")
    frames = IndexedXyz(path)
    assert len(frames) == 4
    assert [atoms.get_potential_energy() for atoms in frames] == [-1.0, -2.0, -3.0, -4.0]
    assert [atoms.positions[1, 2] for atoms in frames[1:3]] == [2.0, 3.0]
    assert frames[-1].positions[1, 2] == 4.0
    assert origin_of(frames[2]) == Origin(str(path), 2)
    with pytest.raises(IndexError):
        frames[4]
    assert isinstance(frames_of(path), IndexedXyz)
    for ending in (".extxyz", ".exyz"):
        (tmp_path / f"a{ending}").write_text(xyz(1), encoding="utf-8")
        assert isinstance(frames_of(tmp_path / f"a{ending}"), IndexedXyz)
    (tmp_path / "a.xyz.gz").write_bytes(gzip.compress(xyz(2).encode()))
    assert len(frames_of(tmp_path / "a.xyz.gz")) == 2
    (tmp_path / "input.data").write_text("begin\natom 0 0 0 W 0 0 0 0 0\nend\n", encoding="utf-8")
    assert len(frames_of(tmp_path / "input.data", Dialect(length_unit="bohr"))) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [("", r"a.xyz: holds no configurations$"),
     ("two\n", r"a.xyz: configuration 0 begins with b'two', expected a number of atoms$"),
     ("1" * 19 + "\n", r"a.xyz: configuration 0 begins with b'1{19}', expected a number of atoms$"),
     (xyz(1) + "3\nc\nW 0 0 0\n", r"a.xyz: configuration 1 claims 3 atoms, the file ends before$"),
     ("9" * 18 + "\n", r"a.xyz: configuration 0 claims 9{18} atoms, the file ends before$")],
)  # fmt: skip
def test_frames_that_are_none(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text(text, encoding="utf-8")
    with pytest.raises(MliuqError, match=says):
        frames_of(tmp_path / "a.xyz")


def test_a_frame_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text(xyz(1) + xyz(1).replace("W 0 0 0", "W 0 0 x"), encoding="utf-8")
    frames = IndexedXyz(tmp_path / "a.xyz")
    assert len(frames[0]) == 2
    with pytest.raises(MliuqError, match=r"a.xyz: configuration 1: cannot be read: \w+: .*x"):
        frames[1]
    with pytest.raises(MliuqError, match=r"none.xyz: cannot be read: No such file or directory$"):
        IndexedXyz(tmp_path / "none.xyz")


# --- the same configuration ------------------------------------------------------------------------------------------


def test_fingerprints_are_whole_numbers_of_52_bits_that_change_with_what_a_structure_is() -> None:
    atoms = Atoms("WBe", [[0, 0, 0], [1.5, 1, -1e-9]], cell=[4, 4, 4], pbc=True)
    variants: list[Callable[[Atoms], None]] = [
        lambda a: a.positions.__setitem__((1, 0), 1.5002), lambda a: a.cell.__setitem__((0, 1), 2e-4),
        lambda a: a.symbols.__setitem__(0, "Be"), lambda a: a.set_pbc([True, True, False]),
    ]  # fmt: skip
    changed = []
    for change in variants:
        copy = atoms.copy()
        change(copy)
        changed.append(copy)
    numbers = fingerprints([atoms, *changed])
    assert len(set(numbers)) == 5
    assert np.all((numbers >= 0) & (numbers < 2.0**52) & (numbers == np.floor(numbers)))
    assert numbers.max() > 2.0**50
    near = atoms.copy()
    near.positions[1] = 1.50004, 1.0, 0.0
    near.info["energy"] = 3.0
    assert fingerprints([near])[0] == numbers[0]
    assert fingerprints([]).shape == (0,)
    assert others_than([changed[0], near, changed[1]], [atoms]) == [0, 2]
    assert others_than([], [atoms]) == []


# --- settings --------------------------------------------------------------------------------------------------------


def test_defaults_of_the_data_table() -> None:
    assert DataSettings() == DataSettings(
        (), (), (), 0.1, "energy", "forces", "stress", "config_type", "eV/A3", "tension", (), None, None, "", False
    )
    assert DataSettings().keys == Keys()
    told = DataSettings(
        energy_key="e", forces_key="f", stress_key="s", group_key="g", stress_unit="GPa", stress_sign="compression",
        types=("W",), length_unit="bohr", energy_unit="eV",
    )  # fmt: skip
    assert told.keys == Keys("e", "f", "s", "g", "GPa", "compression")
    assert told.dialect == Dialect(("W",), "bohr", "eV")
    assert DataSettings().reference_potential(["W"]) is None
    kept = {"fit": {"settings": {"data": {"reference": "pair_style none", "forces_key": "f", "stress_key": "s"}}}}
    assert DataSettings.of_fit(kept) == DataSettings(reference="pair_style none", forces_key="f", stress_key="s")


@pytest.mark.parametrize(
    ("change", "says"),
    [({"test_fraction": 1.0}, "data.test_fraction is 1.0, expected a number from 0 to below 1"),
     ({"test_fraction": -0.1}, "data.test_fraction is -0.1, expected"), ({"types": ("Q",)}, "types are Q: 'Q'"),
     ({"energy_key": ""}, "data.energy_key is empty, expected a name"), ({"forces_key": " "}, "data.forces_key is"),
     ({"stress_key": ""}, "data.stress_key is empty"), ({"group_key": ""}, "data.group_key is empty")],
)  # fmt: skip
def test_data_tables_that_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(MliuqError, match=f"^{re.escape(says)}"):
        DataSettings().updated(change)
    with pytest.raises(MliuqError, match="reference"):
        DataSettings(reference="no command at all").validate()


def test_a_folder_of_other_files_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("1\n\nW 0 0 0\n", encoding="utf-8")
    with pytest.raises(MliuqError, match=r"a folder without .json files .* name the files in it$"):
        read_structures(tmp_path)
