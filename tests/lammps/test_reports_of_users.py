"""Analogues of what users of other styles reported: docs/explanations/tested.md lists all reports and tests."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, make_supercell
from mliuq import Model
from runner import LMP, mpirun, potentials_folder, run, structure
from systems import PARAMS, random_model

BARS = "compute u all mliuq/atom force_err energy_std\ncompute m all reduce max c_u[1] c_u[2]\ncompute g all mliuq\n"
READ = "thermo_style custom step pe c_m[1] c_m[2] c_g\nrun {}\n"
PRINT = "print 'READ $(pe/atoms:%.13g) $(c_m[1]:%.13g) $(c_m[2]:%.13g) $(c_g/atoms:%.13g)'\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports") / "W.mliuq"
    random_model(PARAMS["linear"], members=7, noise=True).save(path)
    return path


def values(text: str) -> np.ndarray:
    return np.array([line.split()[1:] for line in text.splitlines() if line.startswith("READ")], float)


def test_perfect_lattice_in_a_primitive_triclinic_cell(model: Path, tmp_path: Path) -> None:
    """Tilts of exactly half a side, turned and off by the last bit: half lists lost pairs at the border."""
    primitive = bulk("W", "fcc", a=4.0)
    cells = [primitive * (6, 6, 6)]
    cells.append(cells[0].copy())
    cells[1].set_cell(np.nextafter(cells[0].cell.array, np.inf), scale_atoms=True)
    cells.append(make_supercell(primitive, [[-3, 3, 3], [3, -3, 3], [3, 3, -3]]))  # the same lattice in a cube
    script = ""
    for k, atoms in enumerate(cells):
        load = structure(atoms, tmp_path / str(k), ["W"]).replace("structure.data", f"{k}/structure.data")
        script += (
            f"clear\nbox tilt large\n{load}pair_style mliuq\npair_coeff * * {model} W\n{BARS}{READ.format(0)}{PRINT}"
        )
    for ranks in (1, 2):
        output = run(script, tmp_path, ranks=ranks)
        assert output.returncode == 0, output.text
        found = values(output.text)
        np.testing.assert_allclose(found[:, [0, 2, 3]], np.tile(found[2, [0, 2, 3]], (3, 1)), rtol=1e-9)


def test_suffix_of_accelerators(model: Path, tmp_path: Path) -> None:
    """`-sf omp -pk omp 2`: the style has no variant of that suffix and runs as it is, on any number of ranks."""
    atoms = bulk("W", cubic=True).repeat(2)
    atoms.rattle(0.1, seed=1)
    script = structure(atoms, tmp_path, ["W"]) + f"pair_style mliuq\npair_coeff * * {model} W\n{BARS}fix 1 all nve\n"
    (tmp_path / "in.lammps").write_text(script + READ.format(3) + PRINT)
    found = []
    for ranks, words in ((1, []), (1, ["-sf", "omp", "-pk", "omp", "2"]), (2, ["-sf", "omp", "-pk", "omp", "1"])):
        command = [str(mpirun()), "-n", str(ranks), *LMP, "-in", "in.lammps", "-log", "none", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        found.append(values(done.stdout)[0])
    np.testing.assert_allclose(found[1:], [found[0], found[0]], rtol=1e-9)


def test_small_cluster_in_a_large_periodic_box(model: Path, tmp_path: Path) -> None:
    """Twelve atoms heated until some fly off and see nobody: empty ranks and isolated atoms have bars, too."""
    atoms = bulk("W", cubic=True).repeat(2)[:12]
    atoms.set_cell([30.0, 20.0, 20.0])
    script = "processors * 1 1\n" + structure(atoms, tmp_path, ["W"]) + f"pair_style mliuq\npair_coeff * * {model} W\n"
    script += BARS + "fix g all mliuq/guard 5 energy_err halt 1e9\nvelocity all create 1 7 loop geom\n"
    script += "set atom 12 x 25.0 y 10.0 z 10.0\nfix 1 all nvt temp 1 3000 0.1\n" + READ.format(40) + PRINT
    found = []
    for ranks in (1, 3):
        output = run(script, tmp_path, ranks=ranks)
        assert output.returncode == 0, output.text
        found.append(values(output.text)[0])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


@pytest.mark.parametrize("style", ["diagonalstyle 3", "diagonalstyle 0"])
def test_parameter_files_of_before_2019(style: str, tmp_path: Path, make_model: Callable[..., Path]) -> None:
    """`diagonalstyle 3`, the only one there is, may stand in a file; LAMMPS itself refuses the word."""
    base = potentials_folder() / "Ta06A"
    param = tmp_path / "old.snapparam"
    param.write_text(Path(f"{base}.snapparam").read_text() + f"\n{style}\n")
    if style.endswith("3"):
        np.testing.assert_array_equal(
            Model.from_snap(f"{base}.snapcoeff", param).theta, Model.load(make_model("Ta06A")).theta
        )
    else:
        with pytest.raises(ValueError, match="diagonalstyle"):
            Model.from_snap(f"{base}.snapcoeff", param)
