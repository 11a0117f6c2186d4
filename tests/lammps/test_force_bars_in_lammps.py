"""Bars of forces and stress in LAMMPS: those of ASE, of members in stock SNAP, on any number of ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from mliuq import MLIUQCalculator, Model, SnapParams
from runner import evaluate
from systems import PARAMS, random_model, structure

ATOM = "force_std force_err fx_std fy_std fz_std fx_err fy_err fz_err"
CELL = ["c_g"] + [f"c_g[{k}]" for k in range(1, 16)]


def read(atoms: Atoms, model: Path, elements: list[str], folder: Path, ranks: int = 1) -> tuple[np.ndarray, ...]:
    """Columns of ATOM (N, 8), of CELL, and the committee."""
    n = Model.load(model).n_members
    committee = " ".join(f"$(c_m[{k + 1}]:%.17g)" for k in range(n))
    state = evaluate(
        atoms,
        f"pair_style mliuq\npair_coeff * * {model} {' '.join(elements)}",
        folder,
        elements=elements,
        ranks=ranks,
        after=f"compute u all mliuq/atom {ATOM}\ncompute g all mliuq\ncompute m all mliuq/committee\n",
        action=f'run 0\nprint "{" ".join(f"$({c}:%.17g)" for c in CELL)}" file g.txt\nprint "{committee}" file m.txt',
        columns="c_u[*]",
    )
    return state.columns, np.loadtxt(folder / "g.txt"), np.atleast_1d(np.loadtxt(folder / "m.txt"))


@pytest.mark.parametrize("cell", ["triclinic", "tiny", "slab"])
@pytest.mark.parametrize("kind", ["linear", "quadratic", "binary", "chem"])
def test_equal_to_ase(kind: str, cell: str, tmp_path: Path) -> None:
    model = random_model(PARAMS[kind], members=9, zbl=(1.5, 3.0), noise=True)
    model.save(tmp_path / "model.mliuq")
    atoms = structure(cell, model.params)
    check(atoms, model, *read(atoms, tmp_path / "model.mliuq", list(model.params.elements), tmp_path))


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("kind", ["linear", "quadratic", "binary", "chem", "chem quadratic"])
def test_any_number_of_ranks(kind: str, ranks: int, tmp_path: Path) -> None:
    """Every atom lies near a border: its rows come from centres of several ranks, and by several images."""
    model = random_model(PARAMS[kind], members=9, zbl=(1.5, 3.0), noise=True)
    model.save(tmp_path / "model.mliuq")
    atoms = structure("cube", model.params).repeat((2, 1, 1))
    atoms.rattle(0.05, seed=1)
    check(atoms, model, *read(atoms, tmp_path / "model.mliuq", list(model.params.elements), tmp_path, ranks))


@pytest.mark.parametrize("ranks", [1, 2])
def test_more_rows_than_a_tile_holds(ranks: int, tmp_path: Path) -> None:
    """6441 weights per element: 64 MiB hold the rows of 217 atoms, images among them."""
    params = SnapParams(("W", "Be"), twojmax=4, rcutfac=3.4, chemflag=True, quadraticflag=True)
    assert params.n_weights == 6441
    model = random_model(params, members=3, noise=True)
    model.save(tmp_path / "model.mliuq")
    atoms = structure("cube", params).repeat((2, 1, 1))
    atoms.rattle(0.05, seed=1)
    check(atoms, model, *read(atoms, tmp_path / "model.mliuq", list(params.elements), tmp_path, ranks))


def check(atoms: Atoms, model: Model, of_atoms: np.ndarray, of_cell: np.ndarray, committee: np.ndarray) -> None:
    calc = MLIUQCalculator(model)
    get = lambda name: calc.get_property(name, atoms)  # noqa: E731
    std, err = get("forces_std"), get("forces_err")
    # Positions reach LAMMPS with 16 digits, in a cell turned to its own axes: components are compared where it is not.
    size = np.linalg.norm(err, axis=1)
    np.testing.assert_allclose(of_atoms[:, 0], np.linalg.norm(std, axis=1), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(of_atoms[:, 1], size, rtol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(of_atoms[:, 2:5], axis=1), of_atoms[:, 0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(of_atoms[:, 5:8], axis=1), of_atoms[:, 1], rtol=1e-12)
    upright = np.allclose(atoms.cell.array, np.tril(atoms.cell.array)) and atoms.cell.array[0, 0] > 0.0
    if upright:
        np.testing.assert_allclose(of_atoms[:, 2:5], std, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(of_atoms[:, 5:8], err, rtol=1e-8)
    assert of_cell[0] == pytest.approx(get("energy_std"), rel=1e-8)
    assert of_cell[6] == pytest.approx(size.max(), rel=1e-8)
    assert size[int(of_cell[7]) - 1] == pytest.approx(size.max(), rel=1e-8)
    np.testing.assert_allclose(committee, get("energy_comm"), rtol=1e-9)
    bar = 1e-5 / units.Pascal
    scale = model.error_scale
    pressures = -get("stress_comm")[:, :3].mean(axis=1) + get("stress")[:3].mean()
    pressure_std = np.sqrt(np.mean(pressures**2))
    pressure_err = np.hypot(scale.alpha_stress * pressure_std, scale.noise_stress / np.sqrt(3.0))
    # LAMMPS's bar and ASE's pascal come from constants of different years.
    np.testing.assert_allclose(of_cell[8:10], bar * np.array([pressure_std, pressure_err]), rtol=1e-6)
    if upright:
        np.testing.assert_allclose(of_cell[10:16], bar * get("stress_err"), rtol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "quadratic", "chem"])
def test_members_through_stock_snap(kind: str, tmp_path: Path) -> None:
    """Exported members, evaluated one by one by LAMMPS's own `pair_style snap`, give the bars of forces."""
    model = random_model(PARAMS[kind], members=4)
    model.save(tmp_path / "model.mliuq")
    atoms = structure("cube", model.params)
    elements = list(model.params.elements)
    of_atoms, *_ = read(atoms, tmp_path / "model.mliuq", elements, tmp_path)
    forces = []
    for member in [None, *range(model.n_members)]:
        model.to_snap(tmp_path / "stock", member=member)
        pair = f"pair_style snap\npair_coeff * * {tmp_path}/stock.snapcoeff {tmp_path}/stock.snapparam"
        forces.append(evaluate(atoms, f"{pair} {' '.join(elements)}", tmp_path, elements=elements).forces)
    std = np.sqrt(np.mean((np.array(forces[1:]) - forces[0]) ** 2, axis=0))
    assert std.max() > 1e-3
    np.testing.assert_allclose(of_atoms[:, 2:5], std, rtol=1e-8, atol=1e-8 * std.max())


def test_fix_pair_reads_the_error_of_forces(tmp_path: Path) -> None:
    """`fix pair` reads force_err by the pair style's own door."""
    model = random_model(PARAMS["linear"], members=5, noise=True)
    model.save(tmp_path / "model.mliuq")
    atoms = structure("cube", model.params)
    state = evaluate(
        atoms,
        f"pair_style mliuq\npair_coeff * * {tmp_path}/model.mliuq W",
        tmp_path,
        elements=["W"],
        after="fix p all pair 1 mliuq force_err 1\ncompute u all mliuq/atom force_err\n",
        action="run 0",
        columns="f_p c_u",
    )
    expected = np.linalg.norm(MLIUQCalculator(model).get_property("forces_err", atoms), axis=1)
    np.testing.assert_allclose(state.columns[:, 1], expected, rtol=1e-8)
    np.testing.assert_allclose(state.columns[:, 0], expected, rtol=1e-8)


def test_within_hybrid_on_two_ranks(tmp_path: Path) -> None:
    """The pair style communicates for itself, with buffers that the hybrid style has room for."""
    model = random_model(PARAMS["quadratic"], members=5, noise=True)
    model.save(tmp_path / "model.mliuq")
    atoms = structure("cube", model.params).repeat((2, 1, 1))
    atoms.rattle(0.05, seed=1)
    state = evaluate(
        atoms,
        f"pair_style hybrid/overlay zero 4.0 mliuq\npair_coeff * * zero\npair_coeff * * mliuq {tmp_path}/model.mliuq W",
        tmp_path,
        elements=["W"],
        ranks=2,
        after="compute u all mliuq/atom force_std\n",
        action="run 0",
        columns="c_u",
    )
    expected = np.linalg.norm(MLIUQCalculator(model).get_property("forces_std", atoms), axis=1)
    np.testing.assert_allclose(state.columns[:, 0], expected, rtol=1e-8)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_list_of_quantities_of_the_cell(ranks: int, tmp_path: Path) -> None:
    """The vector has what is listed, in that order, and equals the whole vector's."""
    names = "energy_min energy_max max_energy_std max_energy_std_id energy_err max_force_err max_force_err_id "
    names += (
        "pressure_std pressure_err stress_err_xx stress_err_yy stress_err_zz stress_err_yz stress_err_xz stress_err_xy"
    )
    random_model(PARAMS["linear"], members=5, noise=True).save(tmp_path / "model.mliuq")
    order = np.random.default_rng(1).permutation(15)
    listed = " ".join(names.split()[k] for k in order)
    computes = "compute g all mliuq\ncompute h all mliuq " + listed + "\n"
    lone = "".join(f"compute c{k} all mliuq {name}\n" for k, name in enumerate(names.split()))
    columns = [f"c_g[{k + 1}]" for k in order] + [f"c_h[{k + 1}]" for k in range(15)] + [f"c_c{k}[1]" for k in order]
    evaluate(
        structure("cube", PARAMS["linear"]).repeat((2, 1, 1)),
        f"pair_style mliuq\npair_coeff * * {tmp_path}/model.mliuq W",
        tmp_path,
        elements=["W"],
        ranks=ranks,
        after=computes + lone,
        action=f'run 0\nprint "{" ".join(f"$({c}:%.17g)" for c in columns[::-1])}" file g.txt',
    )
    lone_values, found, expected = np.loadtxt(tmp_path / "g.txt").reshape(3, 15)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(lone_values, expected)
    assert (expected > 0).sum() >= 12
