"""Error bars of forces and stress: the definition in numpy, invariances, members one by one, threads, tiles."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from finite_differences import check_forces
from mliuq import MLIUQCalculator, MliuqError, Model
from mliuq.core import RowBuilder
from mliuq.descriptor.neighbours import pack
from systems import PARAMS, random_model, structure

CASES = [("linear", 7), ("linear", 150), ("quadratic", 3), ("quadratic", 300), ("binary", 40), ("chem", 90)]
CASES += [("chem quadratic", 20), ("inner", 12)]
CELLS = ["triclinic", "tiny", "cluster", "slab"]
KINDS = ("forces", "stress")
"""what is asked of a calculator, and by which name"""


def rows(model: Model, atoms: Atoms) -> dict[str, np.ndarray]:
    """Design rows, columns (n_elements * P), from the plain kernel."""
    packed = pack(atoms, model.params)
    stress = packed.volume > 0.0
    builder = RowBuilder(model.params.core, kernel="reference")
    x = builder.build([packed], energy=True, forces=True, stress=stress)[0]
    n = 3 * len(atoms)
    found = {"energy": len(atoms) * x[:1], "forces": x[1 : 1 + n]}
    return found | {"stress": x[1 + n :]} if stress else found


def box_model(kind: str, members: int, **options: object) -> Model:
    """A model with the box of a hypercube posterior, lopsided, some axes of no width."""
    model = random_model(PARAMS[kind], members=members, noise=True, **options)  # type: ignore[arg-type]
    rng = np.random.default_rng(8)
    size = model.theta.size
    axes = np.linalg.qr(rng.normal(size=(size, min(size, 9))))[0]
    lo = 0.01 * (rng.normal(size=axes.shape[1]) - 0.5)
    hi = lo + 0.01 * np.abs(rng.normal(size=axes.shape[1])) * (np.arange(axes.shape[1]) != 2)
    box = {"posterior.axes": axes, "posterior.lo": lo, "posterior.hi": hi}
    return Model(
        model.params, model.theta, model.members, model.zbl, model.noise, model.calibration, dict(model.arrays) | box
    )


def close(found: np.ndarray, expected: np.ndarray, rtol: float = 1e-9) -> None:
    scale = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale + 1e-13, equal_nan=False)


@pytest.mark.parametrize("zbl", [None, (2.0, 4.5)], ids=["", "zbl"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("kind", "members"), CASES)
def test_against_numpy(kind: str, members: int, cell: str, zbl: tuple[float, float] | None) -> None:
    model = box_model(kind, members, seed=5, zbl=zbl)
    atoms = structure(cell, model.params, seed=4)
    atoms.calc = MLIUQCalculator(model)
    moves = (model.members - model.theta).reshape(members, -1)
    axes, lo, hi = (model.arrays[f"posterior.{name}"] for name in ("axes", "lo", "hi"))
    scale = model.error_scale
    for what, x in rows(model, atoms).items():
        best = atoms.calc.get_property(what, atoms)
        of_members = (moves @ x.T).reshape(members, *np.shape(best))
        along = x @ axes
        bounds = [np.sum(pick(lo * along, hi * along), axis=1) for pick in (np.minimum, np.maximum)]
        std = np.sqrt(np.mean(of_members**2, axis=0))
        alpha, floor = {
            "energy": (scale.alpha_energy, scale.noise_energy * len(atoms)),
            "forces": (scale.alpha_force, scale.noise_force),
            "stress": (scale.alpha_stress, scale.noise_stress),
        }[what]
        expected = {
            "std": std,
            "min": best + of_members.min(axis=0),
            "max": best + of_members.max(axis=0),
            "err": np.hypot(alpha * std, floor),
            "comm": best + of_members,
            "box_min": best + bounds[0].reshape(np.shape(best)),
            "box_max": best + bounds[1].reshape(np.shape(best)),
        }
        assert cell == "tiny" or np.abs(std).max() > 1e-6
        for suffix, value in expected.items():
            found = atoms.calc.get_property(f"{what}_{suffix}", atoms)
            assert np.shape(found) == np.shape(value)
            close(np.asarray(found), np.asarray(value))
            assert f"{what}_{suffix}" in atoms.calc.results


def test_bars_are_computed_only_when_asked_for() -> None:
    atoms = structure("triclinic", PARAMS["linear"])
    calc = atoms.calc = MLIUQCalculator(box_model("linear", 5))
    atoms.get_potential_energy()
    rare = [name for name in calc.implemented_properties if name.partition("_")[0] in KINDS and "_" in name]
    assert len(rare) == 14
    assert not set(rare) & set(calc.results)
    energy = calc.results["energy"]
    calc.get_property("forces_std", atoms)
    assert set(rare) & set(calc.results) == {"forces_std"}
    assert calc.results["energy"] == energy
    atoms.positions[0, 0] += 0.1
    assert calc.get_property("forces_std", atoms, allow_calculation=False) is None


@pytest.mark.parametrize("kind", ["linear", "quadratic", "chem"])
def test_members_one_by_one_are_the_committee(kind: str) -> None:
    model = random_model(PARAMS[kind], members=4, zbl=(1.5, 3.0))
    atoms = structure("triclinic", model.params)
    calc = MLIUQCalculator(model)
    forces, stress = calc.get_property("forces_comm", atoms), calc.get_property("stress_comm", atoms)
    energies, total = calc.get_property("energies_comm", atoms), calc.get_property("energy_comm", atoms)
    close(energies.sum(axis=1), total, 1e-10)
    close(energies.min(axis=0), calc.get_property("energies_min", atoms), 1e-12)
    close(energies.max(axis=0), calc.get_property("energies_max", atoms), 1e-12)
    for member, f, s, e in zip(model.members, forces, stress, energies, strict=True):
        atoms.calc = MLIUQCalculator(Model(model.params, member, zbl=model.zbl))
        close(f, atoms.get_forces(), 1e-10)
        close(s, atoms.get_stress(), 1e-10)
        close(e, atoms.get_potential_energies(), 1e-10)


@pytest.mark.parametrize("kind", ["linear", "quadratic", "chem"])
def test_order_of_bars_and_members(kind: str) -> None:
    model = random_model(PARAMS[kind], members=40)
    atoms = structure("slab", model.params)
    calc = MLIUQCalculator(model)
    get = {name: calc.get_property(name, atoms) for name in [*bars("forces"), "forces"]}
    assert (get["forces_std"] >= 0.0).all()
    assert (get["forces_min"] == get["forces_comm"].min(axis=0)).all()
    assert (get["forces_max"] == get["forces_comm"].max(axis=0)).all()
    shuffled = Model(model.params, model.theta, model.members[np.random.default_rng(3).permutation(40)])
    for name in ("forces_std", "forces_min", "forces_max", "stress_std"):
        close(MLIUQCalculator(shuffled).get_property(name, atoms), calc.get_property(name, atoms), 1e-12)
    scaled = Model(model.params, model.theta, model.theta + 3.0 * (model.members - model.theta))
    close(MLIUQCalculator(scaled).get_property("forces_std", atoms), 3.0 * get["forces_std"], 1e-11)
    still = MLIUQCalculator(Model(model.params, model.theta, np.stack([model.theta] * 3)))
    for name in ("forces_std", "forces_err", "stress_std"):
        assert (still.get_property(name, atoms) == 0.0).all()
    for name in ("forces_min", "forces_max"):
        assert (still.get_property(name, atoms) == still.get_property("forces", atoms)).all()


def bars(what: str) -> list[str]:
    return [f"{what}_{suffix}" for suffix in ("std", "min", "max", "err", "comm")]


@pytest.mark.parametrize("kind", ["linear", "chem quadratic"])
def test_rotated_and_repeated(kind: str) -> None:
    model = random_model(PARAMS[kind], members=30)
    atoms = structure("triclinic", model.params)
    calc = MLIUQCalculator(model)
    std, comm = calc.get_property("forces_std", atoms), calc.get_property("forces_comm", atoms)
    turned = atoms.copy()
    turned.rotate(37.0, (1.0, -2.0, 0.7), rotate_cell=True)
    R = np.linalg.solve(atoms.cell.array, turned.cell.array)
    close(calc.get_property("forces_comm", turned), comm @ R, 1e-9)
    norms = np.linalg.norm(calc.get_property("forces_std", turned), axis=1)
    close(norms, np.linalg.norm(std, axis=1), 1e-9)  # though the components changed
    assert np.abs(calc.get_property("forces_std", turned) - std).max() > 1e-3
    double = atoms.repeat((2, 1, 1))
    close(calc.get_property("forces_std", double), np.vstack([std, std]), 1e-9)
    stress = calc.get_property("stress_std", atoms)
    close(calc.get_property("stress_std", double), stress, 1e-9)
    energy = calc.get_property("energy_std", atoms)
    close(calc.get_property("energy_std", double), 2.0 * energy, 1e-9)


@pytest.mark.parametrize("kind", ["linear", "quadratic", "binary", "chem", "chem quadratic"])
def test_gradient_of_the_cell_std(kind: str) -> None:
    model = random_model(PARAMS[kind], members=25, zbl=(1.5, 3.0))
    for cell in ("triclinic", "cluster"):
        atoms = structure(cell, model.params)
        calc = MLIUQCalculator(model)
        gradient = calc.get_property("energy_std_gradient", atoms)
        assert np.abs(gradient).max() > 1e-5
        check_forces(
            lambda moved, calc=calc: float(calc.get_property("energy_std", moved)), atoms, -gradient, rtol=1e-6
        )


@pytest.mark.parametrize("kind", ["linear", "quadratic", "chem", "chem quadratic"])
def test_gradient_of_the_stds_of_atoms(kind: str) -> None:
    model = random_model(PARAMS[kind], members=25)
    atoms = structure("triclinic", model.params)
    scales = np.random.default_rng(2).normal(size=len(atoms))
    potential = model.potential()
    gradient = potential.energies_std_gradient(pack(atoms, model.params), scales)
    assert np.abs(gradient).max() > 1e-5
    calc = MLIUQCalculator(model)

    def weighted(moved: Atoms) -> float:
        return float(scales @ calc.get_property("energies_std", moved))

    check_forces(weighted, atoms, -gradient, rtol=1e-6)


def test_gradient_where_there_is_no_spread_is_zero() -> None:
    model = random_model(PARAMS["quadratic"])
    still = Model(model.params, model.theta, np.stack([model.theta] * 3))
    atoms = structure("triclinic", model.params)
    assert (MLIUQCalculator(still).get_property("energy_std_gradient", atoms) == 0.0).all()
    assert (still.potential().energies_std_gradient(pack(atoms, model.params), np.ones(len(atoms))) == 0.0).all()


@pytest.mark.parametrize("kind", ["linear", "quadratic", "chem"])
def test_threads_change_nothing(kind: str) -> None:
    model = random_model(PARAMS[kind], members=33)
    atoms = structure("triclinic", model.params).repeat((3, 3, 2))
    one, four = (MLIUQCalculator(model, threads=threads) for threads in (1, 4))
    for name in ("forces_std", "stress_std"):
        if kind != "quadratic":
            assert (one.get_property(name, atoms) == four.get_property(name, atoms)).all()
        close(one.get_property(name, atoms), four.get_property(name, atoms), 1e-12)
    for name in ("forces_min", "forces_comm", "stress_max"):  # about the best fit, whose sums go by thread
        close(one.get_property(name, atoms), four.get_property(name, atoms), 1e-12)
    gradients = [calc.get_property("energy_std_gradient", atoms) for calc in (one, four)]
    close(gradients[0], gradients[1], 1e-12)


@pytest.mark.parametrize("kind", ["linear", "chem quadratic"])
def test_tiles_change_nothing(kind: str) -> None:
    model = random_model(PARAMS[kind], members=33)
    atoms = structure("triclinic", model.params).repeat((3, 2, 1))
    potential, packed = model.potential(), pack(atoms, model.params)
    names = {"forces_std", "forces_least", "forces_comm", "strain_std"}
    whole = potential.row_spreads(packed, names)
    for tile in (1, 7, len(atoms) - 1):
        parts = potential.row_spreads(packed, names, tile=tile)
        for name in names:
            close(parts[name], whole[name], 1e-13)


def test_what_a_model_or_a_structure_cannot_give() -> None:
    params = PARAMS["linear"]
    atoms = structure("cluster", params)
    plain = random_model(params)
    with pytest.raises(MliuqError, match="without members"):
        plain.potential().row_spreads(pack(atoms, params), {"forces_std"})
    assert "forces_std" not in MLIUQCalculator(plain).implemented_properties
    assert "forces_box_min" not in MLIUQCalculator(random_model(params, members=3)).implemented_properties
    with pytest.raises(MliuqError, match="the posterior has no box"):
        random_model(params, members=3).potential().row_spreads(pack(atoms, params), {"forces_box_least"})
    atoms.cell = None
    atoms.pbc = False
    calc = MLIUQCalculator(random_model(params, members=3))
    with pytest.raises(NotImplementedError, match="a cell with a volume"):
        calc.get_property("stress_std", atoms)
    assert calc.get_property("forces_std", atoms).shape == (len(atoms), 3)


def test_sharing_of_another_shape_is_refused() -> None:
    model = random_model(PARAMS["linear"], members=2)
    moves, coefficients = np.ones((3, *model.theta.shape)), np.ones((2, 3))
    Model(
        model.params, model.theta, model.members, arrays={"sharing.moves": moves, "sharing.coefficients": coefficients}
    )
    for arrays in (
        {"sharing.moves": moves},
        {"sharing.coefficients": coefficients},
        {"sharing.moves": moves[:, :, 1:], "sharing.coefficients": coefficients},
        {"sharing.moves": moves, "sharing.coefficients": coefficients.T},
        {"sharing.moves": moves[:0], "sharing.coefficients": coefficients[:, :0]},
    ):
        with pytest.raises(MliuqError, match=r"arrays sharing\.moves, sharing\.coefficients have shapes"):
            Model(model.params, model.theta, model.members, arrays=arrays)


def test_a_box_of_another_shape_is_refused() -> None:
    model = random_model(PARAMS["linear"], members=2)
    for arrays in (
        {"posterior.axes": np.zeros((4, 2)), "posterior.lo": np.zeros(2), "posterior.hi": np.zeros(2)},
        {"posterior.axes": np.zeros((model.theta.size, 2)), "posterior.lo": np.zeros(2)},
        {"posterior.lo": np.zeros(2), "posterior.hi": np.zeros(2)},
    ):
        with pytest.raises(MliuqError, match=r"arrays posterior\.axes, posterior\.lo, posterior\.hi have shapes"):
            Model(model.params, model.theta, model.members, arrays=arrays)
