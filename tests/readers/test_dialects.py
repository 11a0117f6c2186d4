"""Every dialect gives the structures and values that the same data gives as extended XYZ.

The miniature files are written here by hand, from each format's description.
"""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, GPa, Hartree
from mliuq.errors import MliuqError
from mliuq.readers import read_structures
from mliuq.readers.dialect import Dialect
from mliuq.readers.keys import Keys
from mliuq.readers.origin import describe
from mliuq.regression.targets import Targets, read_targets

KBAR = 0.1 * GPa
FULL = [[0, 5, 4], [5, 1, 3], [4, 3, 2]]  # Voigt to 3 × 3


@pytest.fixture
def structures() -> list[Atoms]:
    """Three triclinic cells of tungsten and beryllium, lower triangular as LAMMPS wants them, with random values."""
    rng, found = np.random.default_rng(5), []
    for n in (3, 4, 3):
        cell = np.tril(rng.normal(size=(3, 3))) * 0.3 + np.diag([4.0, 4.5, 5.0])
        symbols = ["W", "Be", "W", "Be"][:n]
        atoms = Atoms(symbols, scaled_positions=rng.random((n, 3)), cell=cell, pbc=True)
        results = {"energy": rng.normal(), "forces": rng.normal(size=(n, 3)), "stress": 0.1 * rng.normal(size=6)}
        atoms.calc = SinglePointCalculator(atoms, **results)
        found.append(atoms)
    return found


@pytest.fixture
def cases(shared_data: Path) -> Path:
    folder = shared_data.parent / "cases" / "data"
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder}")
    return folder


def as_xyz(structures: list[Atoms], folder: Path) -> list[Atoms]:
    """The same structures by way of extended XYZ."""
    ase.io.write(folder / "same.xyz", structures, format="extxyz")
    return read_structures(folder / "same.xyz")


def assert_same(
    found: list[Atoms], expected: list[Atoms], atol: float = 1e-7, keys: Keys | None = None, stress: bool = True
) -> None:
    wanted = (True, True, stress)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.get_chemical_symbols() == b.get_chemical_symbols()
        np.testing.assert_allclose(a.positions, b.positions, atol=atol)
        np.testing.assert_allclose(a.cell.array, b.cell.array, atol=atol)
        assert a.pbc.tolist() == b.pbc.tolist()
    of_found = read_targets(found, keys or Keys(), wanted)
    of_expected = read_targets(expected, Keys(), wanted)
    for t, u in zip(of_found, of_expected, strict=True):
        for one, other in zip(t.values, u.values, strict=True):
            if other is not None:
                np.testing.assert_allclose(one, other, atol=atol)
    assert all("(the" in describe(atoms, -1) and "configuration -1" not in describe(atoms, -1) for atoms in found)


def values(atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and stress as a 3 × 3 matrix."""
    results = atoms.calc.results
    return results["energy"], results["forces"], results["stress"][FULL]


# --- FitSNAP ---------------------------------------------------------------------------------------------------------


def fitsnap(atoms: Atoms, first: str = "") -> str:
    energy, forces, stress = values(atoms)
    data = {
        "AtomTypes": atoms.get_chemical_symbols(), "Positions": atoms.positions.tolist(), "Energy": energy,
        "Lattice": atoms.cell.array.tolist(), "Forces": forces.tolist(), "Stress": (-stress / KBAR * 1e3).tolist(),
    }  # fmt: skip
    return first + json.dumps({"Dataset": {"Data": [data], "PressureStyle": "bar"}})


@pytest.mark.parametrize(
    "first", ["", "# comment\n", "header\n", "Å file of a {set}\n", "12 words\n\n# more\n", "[2020] made by {me}\n"]
)
def test_fitsnap_with_any_first_line(tmp_path: Path, structures: list[Atoms], first: str) -> None:
    for i, atoms in enumerate(structures):
        (tmp_path / f"{i}.json").write_text(fitsnap(atoms, first))
    expected = as_xyz(structures, tmp_path)
    assert_same(read_structures(tmp_path), expected)
    assert_same(read_structures(tmp_path / "1.json"), expected[1:2])


def test_groups_of_fitsnap(tmp_path: Path, structures: list[Atoms]) -> None:
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "JSON"
    for folder in (root / "bcc", root / "strain" / "set1", root / "strain" / "set2", elsewhere):
        folder.mkdir(parents=True)
        (folder / "W_1.json").write_text(fitsnap(structures[0]))
    (root / "liquid").symlink_to(elsewhere)
    (root / "loop").symlink_to(root)
    groups = [atoms.info["config_type"] for atoms in read_structures(root)]
    assert groups == ["bcc", "liquid", "strain/set1", "strain/set2"]
    assert [a.info["config_type"] for a in read_structures(root / "bcc")] == ["bcc"], "a group folder given itself"
    assert [a.info["config_type"] for a in read_structures(root / "strain")] == ["set1", "set2"]
    assert [a.info["config_type"] for a in read_structures(root / "bcc" / "W_1.json")] == ["bcc"], "a file alone"


def test_fitsnap_cases(cases: Path) -> None:
    (one,) = read_structures(cases / "one_fitsnap.json")
    np.testing.assert_allclose(one.get_stress()[:3], -29925857.27 * 1e-4 * GPa)
    assert one.get_potential_energy() == 56.26276
    (tiny,) = read_structures(cases / "fitsnap_header")
    assert (tiny.info["config_type"], tiny.get_potential_energy()) == ("g", -10.0)


# --- VASP ------------------------------------------------------------------------------------------------------------


def vasprun(structures: list[Atoms]) -> str:
    """A vasprun.xml with one ionic step for each structure (of one composition)."""
    first = structures[0]
    row = "<v>{:.10f} {:.10f} {:.10f}</v>".format
    array = lambda name, rows: f'<varray name="{name}">{"".join(row(*r) for r in rows)}</varray>'  # noqa: E731

    def structure(atoms: Atoms) -> str:
        crystal = f"<crystal>{array('basis', atoms.cell.array)}</crystal>"
        return f"<structure>{crystal}{array('positions', atoms.get_scaled_positions(wrap=False))}</structure>"

    steps = ""
    for atoms in structures:
        energy, forces, stress = values(atoms)
        energies = f'<i name="e_fr_energy">{energy - 0.5:.10f}</i><i name="e_0_energy">{energy:.10f}</i>'
        steps += (
            f"<calculation><scstep><energy>{energies}</energy></scstep>{structure(atoms)}"
            f"{array('forces', forces)}{array('stress', -stress / KBAR)}<energy>{energies}</energy></calculation>"
        )
    rows = "".join(f"<rc><c>{s}</c><c>1</c></rc>" for s in first.get_chemical_symbols())
    start = structure(first).replace("<structure>", '<structure name="initialpos">')
    return (
        '<?xml version="1.0"?><modeling><generator><i name="version" type="string">6.3.0</i></generator>'
        '<kpoints><varray name="kpointlist"><v>0 0 0</v></varray><varray name="weights"><v>1</v></varray></kpoints>'
        f'<atominfo><atoms>{len(first)}</atoms><array name="atoms"><set>{rows}</set></array></atominfo>'
        f"{start}{steps}</modeling>"
    )


@pytest.mark.parametrize("name", ["vasprun.xml", "vasprun.xml.gz", "relax_3.vasprun"])
def test_vasprun(tmp_path: Path, structures: list[Atoms], name: str) -> None:
    steps = [structures[0], structures[2]]
    text = vasprun(steps).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    found, expected = read_structures(tmp_path / name), as_xyz(steps, tmp_path)
    assert_same(found, expected)
    free = read_targets(found, Keys(energy="free_energy"))
    assert [t.energy for t in free] == pytest.approx([a.get_potential_energy() - 0.5 for a in expected])


def outcar(structures: list[Atoms]) -> str:
    """The lines of an OUTCAR that hold structures and values; atoms sorted by element."""
    first = structures[0]
    symbols, counts = zip(*((s, first.get_chemical_symbols().count(s)) for s in ("W", "Be")), strict=True)
    lines = [" vasp.6.3.0 20Jan22 complex", *(f" POTCAR:    PAW_PBE {s} 08Apr2002" for s in symbols * 2)] + [
        f"   VRHFIN ={s}: " for s in symbols
    ]
    lines += [f"   ions per type =   {' '.join(map(str, counts))}", "   ISPIN  =      1    spin polarized calculation?"]
    lines += [
        "   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS=      8"
    ]
    lines += ["  k-points in reciprocal lattice and weights:", "   0.0 0.0 0.0 1.0", ""]
    lines += ["--- Iteration      1(   1)  ---"]
    for atoms in structures:
        energy, forces, stress = values(atoms)
        six = (-stress / KBAR)[[0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]]  # XX YY ZZ XY YZ ZX
        lines += ["  in kB  " + " ".join(f"{x:.10f}" for x in six), "  external pressure = 0 kB"]
        lines += ["      direct lattice vectors                 reciprocal lattice vectors"]
        lines += [" ".join(f"{x:.12f}" for x in (*v, 0, 0, 0)) for v in atoms.cell.array] + [""]
        lines += [" POSITION                                       TOTAL-FORCE (eV/Angst)", " " + "-" * 80]
        lines += [" ".join(f"{x:.12f}" for x in (*r, *f)) for r, f in zip(atoms.positions, forces, strict=True)]
        lines += [" " + "-" * 80, "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)", " " + "-" * 80]
        lines += [f"  free  energy   TOTEN  =  {energy - 0.5:.10f} eV", ""]
        lines += [f"  energy  without entropy=  0.0  energy(sigma->0) =  {energy:.10f}"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ["OUTCAR", "OUTCAR.gz"])
def test_outcar(tmp_path: Path, structures: list[Atoms], name: str) -> None:
    steps = [sorted_by_element(structures[0]), sorted_by_element(structures[2])]
    text = outcar(steps).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert_same(read_structures(tmp_path / name), as_xyz(steps, tmp_path))


def sorted_by_element(atoms: Atoms) -> Atoms:
    order = np.argsort(-atoms.numbers, kind="stable")
    energy, forces, _ = values(atoms)
    found = atoms[order]
    found.calc = SinglePointCalculator(found, energy=energy, forces=forces[order], stress=atoms.calc.results["stress"])
    return found


# --- LAMMPS ----------------------------------------------------------------------------------------------------------


def lammps_data(atoms: Atoms, masses: str = "") -> str:
    cell = atoms.cell.array
    types = [1 + (s == "Be") for s in atoms.get_chemical_symbols()]
    lines = ["made by a test", "", f"{len(atoms)} atoms", "2 atom types", ""]
    lines += [f"0.0 {cell[i, i]:.12f} {a}lo {a}hi" for i, a in enumerate("xyz")]
    lines += [f"{cell[1, 0]:.12f} {cell[2, 0]:.12f} {cell[2, 1]:.12f} xy xz yz", "", masses, "Atoms # atomic", ""]
    lines += [
        f"{i + 1} {t} {x:.12f} {y:.12f} {z:.12f}"
        for i, (t, (x, y, z)) in enumerate(zip(types, atoms.positions, strict=True))
    ]
    return "\n".join(lines) + "\n"


MASSES = "Masses\n\n1 183.84\n2 9.0121831\n"


@pytest.mark.parametrize(
    ("types", "masses"), [(("W", "Be"), ""), ((), MASSES), (("W", "Be"), "Masses\n\n1 1.0\n2 1.0\n")]
)
@pytest.mark.parametrize("name", ["cell.data", "cell.lmp", "data.cell"])
def test_lammps_data(tmp_path: Path, structures: list[Atoms], types: tuple[str, ...], masses: str, name: str) -> None:
    (tmp_path / name).write_text(lammps_data(structures[1], masses))
    (found,) = read_structures(tmp_path / name, Dialect(types=types))
    np.testing.assert_allclose(found.positions, structures[1].positions, atol=1e-9)
    np.testing.assert_allclose(found.cell.array, structures[1].cell.array, atol=1e-9)
    assert found.get_chemical_symbols() == structures[1].get_chemical_symbols()
    assert found.pbc.all()


@pytest.mark.parametrize(
    ("types", "masses", "says"),
    [
        ((), "", "expected --types, such as --types W,Be"),
        (("W",), "", "--types W does not name it"),
        ((), "Masses\n\n1 1.5\n2 9.01\n", "mass 1.5 is no element's: expected --types"),
        (("W", "Q"), "", "'Q' is not an element"),
    ],
)
def test_lammps_data_without_elements(
    tmp_path: Path, structures: list[Atoms], types: tuple[str, ...], masses: str, says: str
) -> None:
    (tmp_path / "cell.data").write_text(lammps_data(structures[1], masses))
    with pytest.raises(MliuqError, match=says):
        read_structures(tmp_path / "cell.data", Dialect(types=types))


def dump(structures: list[Atoms], columns: str, units: str = "") -> str:
    text = ""
    for step, atoms in enumerate(structures):
        (xx, _, _), (xy, yy, _), (xz, yz, zz) = atoms.cell.array
        low, high = min(0, xy, xz, xy + xz), max(0, xy, xz, xy + xz)
        text += (
            units + f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{len(atoms)}\nITEM: BOX BOUNDS xy xz yz pp pp ff\n"
        )
        text += f"{low:.12f} {xx + high:.12f} {xy:.12f}\n{min(0, yz):.12f} {yy + max(0, yz):.12f} {xz:.12f}\n"
        text += f"0 {zz:.12f} {yz:.12f}\n"
        text += f"ITEM: ATOMS {columns}\n"
        forces = atoms.calc.results["forces"]
        for i in reversed(range(len(atoms))):  # in any order
            element = atoms.symbols[i]
            known = {"id": i + 1, "type": 1 + (element == "Be"), "element": element}
            known |= dict(zip(("x", "y", "z"), atoms.positions[i], strict=True))
            known |= dict(zip(("fx", "fy", "fz"), forces[i], strict=True))
            text += " ".join(
                f"{known[c]:.12f}" if isinstance(known[c], float) else str(known[c]) for c in columns.split()
            )
            text += "\n"
    return text


@pytest.mark.parametrize(
    ("columns", "types"),
    [
        ("id type x y z fx fy fz", ("W", "Be")),
        ("id element x y z fx fy fz", ()),
        ("id type element x y z fx fy fz", ()),
    ],
)
@pytest.mark.parametrize("units", ["", "ITEM: UNITS\nmetal\n"])
def test_lammps_dump(tmp_path: Path, structures: list[Atoms], columns: str, types: tuple[str, ...], units: str) -> None:
    (tmp_path / "run.dump").write_text(dump(structures, columns, units))
    found = read_structures(tmp_path / "run.dump", Dialect(types=types))
    targets = read_targets(found, Keys(), skip_missing=True)
    for atoms, target, expected in zip(found, targets, structures, strict=True):
        np.testing.assert_allclose(atoms.positions, expected.positions, atol=1e-9)
        np.testing.assert_allclose(atoms.cell.array, expected.cell.array, atol=1e-9)
        assert atoms.get_chemical_symbols() == expected.get_chemical_symbols()
        assert atoms.pbc.tolist() == [True, True, False]
        np.testing.assert_allclose(target.forces, expected.calc.results["forces"], atol=1e-9)
        assert target.energy is None, "a dump has no energy"


def test_lammps_dump_that_does_not_say_enough(tmp_path: Path, structures: list[Atoms]) -> None:
    path = tmp_path / "run.dump"
    path.write_text(dump(structures, "id type x y z"))
    with pytest.raises(MliuqError, match="expected --types"):
        read_structures(path)
    with pytest.raises(MliuqError, match="an atom has a type that --types W does not name"):
        read_structures(path, Dialect(types=("W",)))
    path.write_text(dump(structures, "id type x y z", "ITEM: UNITS\nreal\n"))
    with pytest.raises(MliuqError, match="units 'real', expected metal"):
        read_structures(path, Dialect(types=("W", "Be")))


def test_lammps_case(cases: Path) -> None:
    (found,) = read_structures(cases / "lammps.data", Dialect(types=("Cu", "S")))
    assert len(found) == 144
    np.testing.assert_allclose(found.positions[0], [9.5538084006653907, 0.985183600000000, 10.183853593737659])
    assert Prism(found.cell.array).is_skewed()


# --- n2p2 ------------------------------------------------------------------------------------------------------------


def n2p2(structures: list[Atoms], length: float, energy: float) -> str:
    text = ""
    for atoms in structures:
        e, forces, _ = values(atoms)
        text += "begin\ncomment made by a test\n"
        text += "".join("lattice {:.12f} {:.12f} {:.12f}\n".format(*(v / length)) for v in atoms.cell.array)
        for s, r, f in zip(atoms.symbols, atoms.positions / length, forces * length / energy, strict=True):
            text += "atom {:.12f} {:.12f} {:.12f} {} 0.0 0.0 {:.12f} {:.12f} {:.12f}\n".format(*r, s, *f)
        text += f"energy {e / energy:.12f}\ncharge 0.0\nend\n"
    return text


@pytest.mark.parametrize(
    ("dialect", "length", "energy"),
    [
        (Dialect(length_unit="angstrom"), 1.0, 1.0),
        (Dialect(length_unit="bohr"), Bohr, Hartree),
        (Dialect(length_unit="angstrom", energy_unit="hartree"), 1.0, Hartree),
        (Dialect(length_unit="bohr", energy_unit="eV"), Bohr, 1.0),
    ],
)
@pytest.mark.parametrize("name", ["input.data", "anything"])
def test_n2p2(
    tmp_path: Path, structures: list[Atoms], dialect: Dialect, length: float, energy: float, name: str
) -> None:
    (tmp_path / name).write_text(n2p2(structures, length, energy))
    assert_same(read_structures(tmp_path / name, dialect), as_xyz(structures, tmp_path), stress=False)
    with pytest.raises(MliuqError, match="do not say their units: expected --length-unit"):
        read_structures(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("begin\nlattice 1 0 0\nend\n", "line 2: a configuration has 1 lattice vectors"),
        ("begin\natom 0 0 0 Cu 0 0 1 2\nend\n", "line 2: .*expected x y z element"),
        ("begin\natom 0 0 zero Cu 0 0 1 2 3\nend\n", "line 2: .*could not convert"),
        ("begin\natom 0 0 0 Cu 0 0 1 2 3\n", "the last .* is cut off"),
        ("begin\nend\nenergy 1\n", "line 3: 'energy' outside a configuration"),
    ],
)
def test_n2p2_errors_name_the_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "input.data").write_text(text)
    with pytest.raises(MliuqError, match=f"input.data: {says}"):
        read_structures(tmp_path / "input.data", Dialect(length_unit="bohr"))


def test_n2p2_case(cases: Path) -> None:
    (first, *_) = read_structures(cases / "input.data", Dialect(length_unit="angstrom"))
    np.testing.assert_allclose(first.positions[0], [9.66279, 1.04561, 10.73808])
    assert first.symbols[0] == "S"
    np.testing.assert_allclose(first.calc.results["forces"][0], [0.107416, 0.024235, -0.891279])


# --- pymatgen --------------------------------------------------------------------------------------------------------


def pymatgen_structure(atoms: Atoms) -> dict[str, object]:
    sites = [
        {"species": [{"element": s, "occu": 1}], "abc": abc.tolist(), "xyz": xyz.tolist(), "label": s}
        for s, abc, xyz in zip(atoms.symbols, atoms.get_scaled_positions(wrap=False), atoms.positions, strict=True)
    ]
    return {"@class": "Structure", "lattice": {"matrix": atoms.cell.array.tolist()}, "sites": sites}


def mlearn(atoms: Atoms) -> dict[str, object]:
    energy, forces, stress = values(atoms)
    six = (-stress / KBAR)[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    outputs = {"energy": energy, "forces": forces.tolist(), "virial_stress": six.tolist()}
    return {"structure": pymatgen_structure(atoms), "group": "AIMD", "outputs": outputs}


def entry(atoms: Atoms) -> dict[str, object]:
    energy, forces, stress = values(atoms)
    values_ = {"energy": energy, "forces": forces.tolist(), "stress": (-stress / KBAR).tolist()}
    return {"structure": pymatgen_structure(atoms), "config_type": "AIMD", **values_}


def mptrj(atoms: Atoms) -> dict[str, object]:
    energy, forces, stress = values(atoms)
    names = {"uncorrected_total_energy": energy, "force": forces.tolist(), "stress": (-stress / KBAR).tolist()}
    return {"frame": {"structure": pymatgen_structure(atoms), "group": "AIMD", **names}}


@pytest.mark.parametrize("record", [mlearn, entry, mptrj])
@pytest.mark.parametrize("wrap", [list, lambda records: {str(i): r for i, r in enumerate(records)}])
def test_pymatgen(
    tmp_path: Path,
    structures: list[Atoms],
    record: Callable[[Atoms], dict[str, object]],
    wrap: Callable[[list[object]], object],
) -> None:
    (tmp_path / "training.json").write_text(json.dumps(wrap([record(atoms) for atoms in structures])))
    found = read_structures(tmp_path / "training.json")
    assert_same(found, as_xyz(structures, tmp_path))
    assert {atoms.info["config_type"] for atoms in found} == {"AIMD"}


def test_pymatgen_that_is_unclear(tmp_path: Path, structures: list[Atoms], caplog: pytest.LogCaptureFixture) -> None:
    record = entry(structures[0]) | {"stress": [1, 2, 3, 4, 5, 6]}
    (tmp_path / "a.json").write_text(json.dumps([record]))
    (found,) = read_structures(tmp_path / "a.json")
    assert "six numbers in an order that nobody says: left out" in caplog.text
    assert "stress" not in found.calc.results
    record["structure"]["sites"][1]["species"][0]["occu"] = 0.5  # type: ignore[index]
    (tmp_path / "a.json").write_text(json.dumps([record]))
    with pytest.raises(MliuqError, match=r"a.json: site Be is occupied partly"):
        read_structures(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[1, 2]")
    with pytest.raises(MliuqError, match="JSON of an unknown kind"):
        read_structures(tmp_path / "a.json")


# --- MTP, DeePMD -----------------------------------------------------------------------------------------------------


def mtp(structures: list[Atoms], direct: bool = False) -> str:
    text = ""
    for atoms in structures:
        energy, forces, stress = values(atoms)
        v = (-atoms.get_volume() * stress)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        columns = "direct_x direct_y direct_z" if direct else "cartes_x cartes_y cartes_z"
        rows = atoms.get_scaled_positions(wrap=False) if direct else atoms.positions
        text += f"BEGIN_CFG\n Size\n    {len(atoms)}\n Supercell\n"
        text += "".join("  {:.12f} {:.12f} {:.12f}\n".format(*row) for row in atoms.cell.array)
        text += f" AtomData:  id type       {columns}           fx          fy          fz\n"
        for i, (s, r, f) in enumerate(zip(atoms.symbols, rows, forces, strict=True)):
            text += f"  {i + 1} {int(s == 'Be')} " + " ".join(f"{x:.12f}" for x in (*r, *f)) + "\n"
        text += f" Energy\n    {energy:.12f}\n PlusStress:  xx yy zz yz xz xy\n  {' '.join(f'{x:.12f}' for x in v)}\n"
        text += " Feature   EFS_by\tVASP\nEND_CFG\n\n"
    return text


@pytest.mark.parametrize("direct", [False, True])
def test_mtp(tmp_path: Path, structures: list[Atoms], direct: bool) -> None:
    (tmp_path / "train.cfg").write_text(mtp(structures, direct))
    found = read_structures(tmp_path / "train.cfg", Dialect(types=("W", "Be")))
    assert_same(found, as_xyz(structures, tmp_path))
    assert found[0].info["EFS_by"] == "VASP"
    with pytest.raises(MliuqError, match="expected --types"):
        read_structures(tmp_path / "train.cfg")
    with pytest.raises(MliuqError, match="an atom has type 1, but --types W names 1 types from 0"):
        read_structures(tmp_path / "train.cfg", Dialect(types=("W",)))
    (tmp_path / "train.cfg").write_text(mtp(structures).replace("Size\n    3", "Size\n    300"))
    with pytest.raises(MliuqError, match="the configuration at line 1 cannot be read: it ends too early"):
        read_structures(tmp_path / "train.cfg", Dialect(types=("W", "Be")))
    (tmp_path / "train.cfg").write_text(mtp(structures)[:-12])
    with pytest.raises(MliuqError, match="no END_CFG: the file is cut off"):
        read_structures(tmp_path / "train.cfg", Dialect(types=("W", "Be")))


def test_mtp_case(cases: Path) -> None:
    (found,) = read_structures(cases / "mtp.cfg", Dialect(types=("Si",)))
    assert len(found) == 8
    assert found.get_potential_energy() == -43.39807697
    np.testing.assert_allclose(found.get_stress()[0], 0.01244 / 5.4689**3)


def write_deepmd(folder: Path, structures: list[Atoms], type_map: bool = True) -> None:
    (folder / "set.000").mkdir(parents=True)
    first = structures[0]
    (folder / "type.raw").write_text("\n".join(str(int(s == "Be")) for s in first.symbols))
    if type_map:
        (folder / "type_map.raw").write_text("W\nBe\n")
    every = [values(atoms) for atoms in structures]
    virial = [-atoms.get_volume() * stress for atoms, (_, _, stress) in zip(structures, every, strict=True)]
    arrays = {
        "coord": [atoms.positions.ravel() for atoms in structures], "energy": [e for e, _, _ in every],
        "box": [atoms.cell.array.ravel() for atoms in structures], "force": [f.ravel() for _, f, _ in every],
        "virial": [v.ravel() for v in virial],
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(folder / "set.000" / f"{name}.npy", np.array(array))


def test_deepmd(tmp_path: Path, structures: list[Atoms]) -> None:
    alike = [structures[0], structures[2]]
    write_deepmd(tmp_path / "data" / "bulk", alike)
    write_deepmd(tmp_path / "data" / "slab" / "a", structures[1:2])
    expected = as_xyz([*alike, structures[1]], tmp_path)
    found = read_structures(tmp_path / "data")
    assert_same(found, expected)
    assert [atoms.info["config_type"] for atoms in found] == ["bulk", "bulk", "slab/a"]
    assert_same(read_structures(tmp_path / "data" / "bulk"), expected[:2])
    (tmp_path / "data" / "bulk" / "type_map.raw").unlink()
    assert_same(read_structures(tmp_path / "data" / "bulk", Dialect(types=("W", "Be"))), expected[:2])
    with pytest.raises(MliuqError, match="bulk: atoms have types but no elements: expected --types"):
        read_structures(tmp_path / "data" / "bulk")
    (tmp_path / "data" / "bulk" / "set.000" / "box.npy").unlink()
    with pytest.raises(MliuqError, match=r"box.npy: no such file"):
        read_structures(tmp_path / "data" / "bulk", Dialect(types=("W", "Be")))


def test_deepmd_without_cells(tmp_path: Path, structures: list[Atoms]) -> None:
    write_deepmd(tmp_path / "m", structures[:1])
    (tmp_path / "m" / "nopbc").touch()
    (found,) = read_structures(tmp_path / "m")
    assert not found.pbc.any()
    assert "stress" not in found.calc.results


# --- databases, pickles ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data.db", "data.json"])
def test_values_beside_the_columns_of_a_database(tmp_path: Path, structures: list[Atoms], name: str) -> None:
    expected = as_xyz(structures, tmp_path)
    with ase.db.connect(tmp_path / name) as database:
        for atoms in structures:
            energy, forces, stress = values(atoms)
            bare = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
            data = {"REF_energy": energy, "REF_forces": forces, "REF_stress": stress, "note": [1, 2]}
            database.write(bare, data=data, config_type="a")
    found = read_structures(tmp_path / name)
    assert_same(found, expected, keys=Keys("REF_energy", "REF_forces", "REF_stress"))
    assert found[0].info["config_type"] == "a"


@pytest.mark.parametrize("name", ["data.pckl.gzip", "data.pkl", "frame.data", "frame.gz", "frame.gzip"])
def test_pickles_are_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    content = pickle.dumps({"energy": 1.0})
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(("gzip", "gz")) else content)
    with pytest.raises(MliuqError, match=rf"{name}: a pickle, which is not read: opening one runs.*ase.io.write"):
        read_structures(tmp_path / name)


def test_nothing_is_made_up() -> None:
    assert Targets(None, None, None).values == (None, None, None)
