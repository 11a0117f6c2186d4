"""Input that is odd but right works; input that is wrong gets one clear error, and the next call works again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from mliuq import MLIUQCalculator, MliuqError, Model, SnapParams, descriptors
from mliuq.core import Descriptor, RowBuilder, available_kernels, default_kernel, default_plan, evaluate_zbl
from mliuq.descriptor.bispectrum import design_rows
from mliuq.descriptor.neighbours import pack
from systems import PARAMS, random_model, structure


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model(PARAMS["binary"], members=4, noise=True)


def energy(model: Model, atoms: Atoms) -> float:
    atoms.calc = MLIUQCalculator(model)
    return atoms.get_potential_energy()


@pytest.mark.parametrize("kind", [k for k in PARAMS if PARAMS[k].bzeroflag])
@pytest.mark.parametrize("pbc", [False, True])
def test_isolated_atoms_have_the_constant_as_energy(kind: str, pbc: bool) -> None:
    model = random_model(PARAMS[kind], members=3)
    for element, symbol in enumerate(model.params.elements):
        atoms = Atoms([symbol], positions=[[1.0, 2.0, 3.0]], cell=[30.0, 30.0, 30.0] if pbc else None, pbc=pbc)
        assert energy(model, atoms) == pytest.approx(model.theta[element, 0], rel=1e-13)
        np.testing.assert_array_equal(atoms.get_forces(), 0.0)
        constants = model.members[:, element, 0]
        assert atoms.calc.results["energy_min"] == pytest.approx(constants.min(), rel=1e-12)
        assert atoms.calc.results["energy_max"] == pytest.approx(constants.max(), rel=1e-12)
        if pbc:
            np.testing.assert_array_equal(atoms.get_stress(), 0.0)


def test_far_apart_is_the_sum_of_constants(model: Model) -> None:
    # Coordinates of 1e7 Å: whatever bins a neighbour list makes, it must not make them all.
    atoms = Atoms("WBeW", positions=[[0, 0, 0], [1e7, 0, 0], [0, -1e7, 3e6]])
    assert energy(model, atoms) == pytest.approx(2 * model.theta[0, 0] + model.theta[1, 0], rel=1e-12)


@pytest.mark.parametrize("length", [1e3, 1e5, 1e7])
def test_huge_cells(model: Model, length: float) -> None:
    pair = Atoms("WBe", positions=[[0, 0, 0], [1.4, 1.1, 0.9]])
    expected = energy(model, pair)
    pair.set_cell(length * np.eye(3))
    pair.pbc = True
    pair.positions[1] -= [length, 0, 0]  # across the wall
    assert energy(model, pair) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("cells", [10, 10_000, 10_000_000, 10**13])
def test_atoms_far_outside_their_cell(model: Model, cells: int) -> None:
    """Unwrapped trajectories drift: right as long as a double can say where the atom is, an error beyond."""
    atoms = structure("triclinic", model.params)
    expected = energy(model, atoms)
    atoms.positions[2] += cells * atoms.cell[0]
    if cells <= 10_000:
        assert energy(model, atoms) == pytest.approx(expected, rel=1e-8)
        return
    try:
        assert energy(model, atoms) == pytest.approx(expected, rel=1e-5)
    except MliuqError as error:
        assert "wrap the positions" in str(error)  # noqa: PT017


def test_dense_lattices_count_every_image() -> None:
    model = random_model(SnapParams(("W",), twojmax=2, rcutfac=4.2))
    atoms = Atoms("W", cell=0.8 * np.eye(3), pbc=True)
    n = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3), axis=-1).reshape(-1, 3)
    cluster = Atoms(f"W{len(n)}", positions=0.8 * n)
    centre = int(np.flatnonzero((n == 0).all(axis=1))[0])
    cluster.calc = MLIUQCalculator(model)
    assert energy(model, atoms) == pytest.approx(cluster.get_potential_energies()[centre], rel=1e-11)


def test_stress_needs_a_volume(model: Model) -> None:
    atoms = Atoms("W2", positions=[[0, 0, 0], [2, 0, 0]])
    atoms.calc = MLIUQCalculator(model)
    with pytest.raises(PropertyNotImplementedError, match="stress needs a cell with a volume"):
        atoms.get_stress()
    with pytest.raises(PropertyNotImplementedError, match="stress needs a cell with a volume"):
        atoms.get_stresses()
    assert np.isfinite(atoms.get_potential_energy())
    with pytest.raises(MliuqError, match="stress rows need a cell with a volume"):
        design_rows([atoms], model.params, stress=True)


def spoil(atoms: Atoms, how: str) -> Atoms:
    if how == "empty":
        return Atoms(cell=atoms.cell, pbc=True)
    if how == "foreign element":
        atoms.symbols[3] = "Ne"
    elif how == "no element":
        atoms.symbols[3] = "X"
    elif how in ("nan", "inf"):
        atoms.positions[2, 1] = float(how)
    elif how == "same place":
        atoms.positions[1] = atoms.positions[4]
    elif how == "almost the same place":
        atoms.positions[1] = atoms.positions[4] + 1e-5
    elif how == "same place, one cell over":
        atoms.positions[1] = atoms.positions[4] + atoms.cell[0] - 2 * atoms.cell[1]
    elif how == "zero cell":
        atoms.set_cell(np.zeros((3, 3)))
    elif how == "zero vector":
        atoms.set_cell(atoms.cell.array * [[1.0], [0.0], [1.0]])
    elif how == "flat cell":
        atoms.set_cell([atoms.cell[0], atoms.cell[1], atoms.cell[0] + atoms.cell[1]])
    elif how == "nan cell":
        atoms.cell[1, 1] = np.nan
    return atoms


WRONG = {
    "empty": "the structure has no atoms, expected at least one",
    "foreign element": "atom 3 .* is Ne, expected one of the model's elements: W Be",
    "no element": "atom 3 .* is X, expected one of the model's elements: W Be",
    "nan": r"atom 2 \(counted from 0\) has position \[.*nan.*\], expected finite numbers",
    "inf": r"atom 2 \(counted from 0\) has position \[.*inf.*\], expected finite numbers",
    "same place": r"atoms 1 and 4 \(counted from 0\) are 0.00e\+00 Å apart, expected more than 0.001 Å",
    "almost the same place": r"atoms 1 and 4 \(counted from 0\) are 1.73e-05 Å apart, expected more than 0.001 Å",
    "same place, one cell over": r"atoms 1 and 4 \(counted from 0\) are .* Å apart, expected more than 0.001 Å",
    "zero cell": "cell vector 0 is 0 Å long, expected at least 0.1 Å in a periodic direction",
    "zero vector": "cell vector 1 is 0 Å long, expected at least 0.1 Å in a periodic direction",
    "flat cell": "the periodic cell vectors .* are linearly dependent",
    "nan cell": "the cell is .*nan.*, expected finite numbers",
}


@pytest.mark.parametrize("how", WRONG)
def test_wrong_structures_are_named_and_forgotten(model: Model, how: str) -> None:
    good = structure("triclinic", model.params)
    expected = energy(model, good.copy())
    bad = spoil(good.copy(), how)
    calc = MLIUQCalculator(model)
    for _ in range(2):  # the second time must not find half a result of the first
        good.calc = bad.calc = calc
        assert good.get_potential_energy() == expected
        for ask in (bad.get_potential_energy, bad.get_forces, bad.get_stress):
            with pytest.raises(MliuqError, match=WRONG[how]):
                ask()
    assert good.get_potential_energy() == expected
    for function in (lambda: descriptors(bad, model.params), lambda: design_rows([good, bad], model.params)):
        with pytest.raises(MliuqError, match=WRONG[how]):
            function()


def test_thin_sheets_of_cells_do_not_take_forever(model: Model) -> None:
    # Vectors of ordinary length whose difference is 0.01 Å: 300 images fit where one was meant.
    atoms = Atoms("W", cell=[[10.0, 0, 0], [10.0, 0.01, 0], [0, 0, 10.0]], pbc=True)
    assert np.isfinite(energy(model, atoms))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skin": -0.1}, "skin is -0.1, expected a number of at least 0 Å"),
        ({"skin": float("nan")}, "skin is nan"),
        ({"skin": float("inf")}, "skin is inf"),
        ({"threads": 0}, "threads is 0, expected at least 1"),
        ({"threads": -3}, "threads is -3, expected at least 1"),
        ({"kernel": "fast"}, "kernel is 'fast', expected one that this machine runs: reference"),
        ({"precision": "half"}, "precision is 'half', expected 'double' or 'single'"),
    ],
)
def test_bad_options(model: Model, options: dict, message: str) -> None:
    with pytest.raises(MliuqError, match=message):
        MLIUQCalculator(model, **options)


def test_unknown_kernel_in_the_environment(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIUQ_KERNEL", "mmx")
    with pytest.raises(MliuqError, match="environment variable MLIUQ_KERNEL is 'mmx', expected one"):
        MLIUQCalculator(model)
    monkeypatch.setenv("MLIUQ_KERNEL", "reference")
    assert model.potential().kernel == "reference"


def test_unknown_plan_in_the_environment(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIUQ_PLAN", "fastest")
    for kernel in ("", "reference", "baseline"):
        with pytest.raises(MliuqError, match="MLIUQ_PLAN is 'fastest', expected recursion, polynomial or measured"):
            model.potential(kernel=kernel)
    for plan in ("recursion", "polynomial"):
        monkeypatch.setenv("MLIUQ_PLAN", plan)
        assert model.potential(kernel="baseline").kernel == f"baseline double {plan}"
        assert default_plan() == ("none" if default_kernel() == "reference" else plan)
    monkeypatch.setenv("MLIUQ_PLAN", "measured")
    chosen = [model.potential(kernel="baseline").kernel for _ in range(5)]
    assert chosen[0] in ("baseline double recursion", "baseline double polynomial")
    assert len(set(chosen)) == 1  # measured once in a process


@pytest.mark.parametrize(
    ("twojmax", "plan"), [(2, "recursion"), (3, "recursion"), (4, "polynomial"), (8, "polynomial")]
)
def test_the_plan_is_the_same_in_every_run(twojmax: int, plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By twojmax alone: what a measurement chose would differ in its last bits from run to run."""
    monkeypatch.delenv("MLIUQ_PLAN", raising=False)
    model = random_model(SnapParams(("W",), twojmax=twojmax))
    assert model.potential(kernel="baseline").kernel == f"baseline double {plan}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"twojmax": -1}, "twojmax is -1, expected 0 to 24"),
        ({"twojmax": 25}, "twojmax is 25, expected 0 to 24"),
        ({"twojmax": 8.5}, "twojmax is 8.5"),
        ({"twojmax": 10**30}, "twojmax is 10"),
        ({"rcutfac": 0.0}, "rcutfac is 0.0.*, expected a positive number"),
        ({"rcutfac": float("nan")}, "rcutfac is nan, expected a positive number"),
        ({"rcutfac": float("inf")}, "rcutfac is inf, expected a positive number"),
        ({"rcutfac": "4.7"}, "rcutfac is '4.7'"),
        ({"rfac0": 0.0}, "rfac0 is 0.0.*, expected more than 0"),
        ({"rfac0": 1.01}, "rfac0 is 1.01.*, expected more than 0 and at most 1"),
        ({"rmin0": -1.0}, "rmin0 is -1.0.*, expected a number of at least 0"),
        ({"rmin0": 9.0}, "rmin0 is 9.0.*, expected less than the cutoff of W"),
        ({"radii": (0.5,)}, "radii has 1 values, expected one per element .2."),
        ({"radii": (0.5, -0.5)}, "radius of Be is -0.5.*, expected a positive number"),
        ({"weights": (1.0, float("nan"))}, "weight of Be is not a finite number"),
        ({"elements": ()}, "no elements given"),
        ({"elements": "W"}, "elements is the string 'W', expected a sequence of symbols"),
        ({"elements": ("W", "W")}, "element W is given twice"),
        ({"elements": ("W", "")}, "element 2 has an empty name"),
        ({"switchflag": 2}, "switchflag is 2, expected 0 or 1"),
        ({"chemflag": "yes"}, "chemflag is 'yes', expected 0 or 1"),
        ({"switchinnerflag": True}, "sinner has 0 values, expected one per element"),
        ({"sinner": (1.0, 1.0), "dinner": (1.0, 1.0)}, "expected only with switchinnerflag 1"),
        (
            {"switchinnerflag": 1, "sinner": (1.0, 1.0), "dinner": (0.0, 1.0)},
            "dinner of W is 0.0.*, expected a positive",
        ),
        ({"elements": tuple(f"E{i}" for i in range(2000)), "chemflag": True}, "expected a model of at most 50 million"),
        (
            {"elements": ("W", "Be", "C"), "twojmax": 24, "quadraticflag": 1, "chemflag": 1},
            "expected a model of at most 50",
        ),
    ],
)
def test_bad_parameters_name_key_value_and_what_is_allowed(change: dict, message: str) -> None:
    with pytest.raises(MliuqError, match=message):
        SnapParams(**({"elements": ("W", "Be")} | change))


@pytest.mark.parametrize("zbl", [(0.0, 1.0), (2.0, 1.0), (1.0, 1.0), (-1.0, 2.0), (1.0, np.inf), (np.nan, 2.0)])
def test_bad_ranges_of_nuclear_repulsion(zbl: tuple[float, float]) -> None:
    params = PARAMS["linear"]
    with pytest.raises(MliuqError, match=r"expected .*0 < inner < outer"):
        Model(params, np.zeros((1, params.n_weights)), zbl=zbl)


def test_nuclear_repulsion_needs_elements_of_the_periodic_table() -> None:
    params = SnapParams(("Aa",), twojmax=0)
    with pytest.raises(MliuqError, match="'Aa' is not a chemical symbol"):
        Model(params, np.zeros((1, 2)), zbl=(1.0, 2.0)).potential()


def test_structures_of_another_model_are_refused(model: Model) -> None:
    two = SnapParams(("W", "Be"), twojmax=2)
    structure = pack(Atoms("WBe", positions=[[0, 0, 0], [0, 0, 2.5]]), two)
    one = random_model(SnapParams(("W",), twojmax=2), members=2)
    refused = pytest.raises(MliuqError, match="packed for another model")
    for kernel in available_kernels():
        with refused:
            one.potential(kernel=kernel).evaluate(structure)
        with refused:
            RowBuilder(one.params.core, kernel).build([structure])
        with refused:
            Descriptor(one.params.core, kernel).compute(structure)
    with refused:
        evaluate_zbl(["W"], 1.0, 2.0, structure)
    with pytest.raises(MliuqError, match="found None"):
        RowBuilder(one.params.core).build([None])  # type: ignore[list-item]


def test_threads_without_bound_are_refused(model: Model) -> None:
    structure = pack(Atoms("W", positions=[[0, 0, 0]]), model.params)
    with pytest.raises(MliuqError, match="threads is 100000, expected at most"):
        model.potential().evaluate(structure, threads=100_000)


def test_spreads_of_a_damaged_member_are_an_error() -> None:
    """One flipped bit of an exponent: 1e154 squared is beyond the largest number."""
    made = random_model(SnapParams(("W",), twojmax=2), members=4)
    members = made.members.copy()
    members[2, 0, 2] = 1e155
    atoms = Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.5]])
    atoms.calc = MLIUQCalculator(replace(made, members=members))
    with pytest.raises(MliuqError, match=r"spread of the energy of atom 0 .* over the members is std (inf|-?nan)"):
        atoms.get_potential_energy()


def test_messages_are_one_line_that_prints() -> None:
    hostile = "a\x1b[2J\n\x7f\x9b\u202e\ud800 Å é €"
    assert str(MliuqError(hostile)) == r"a\x1b[2J\n\x7f\x9b\u202e\ud800 Å é €"
    with pytest.raises(MliuqError) as caught:
        SnapParams(("W",), **{"rcutfac": "\x1b]0;title\x07"})
    assert str(caught.value).isprintable()
