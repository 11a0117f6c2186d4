"""Values of properties, one weight vector at a time, against computations of a few lines with ASE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, surface
from ase.calculators.calculator import Calculator, all_changes
from ase.units import GPa, J, m
from mliuq import propagation
from mliuq.propagation import PropagationSettings, Value
from mliuq.propagation.calculator import WeightsCalculator, weights_of
from mliuq.propagation.coordinates import deformed, strain_matrix
from mliuq.propagation.deformation_paths import PATHS
from mliuq.propagation.deformation_paths import Path as Deformation
from mliuq.propagation.elasticity import Elastic, _averages, distinct, stiffness
from mliuq.propagation.equation_of_state import (
    GRID,
    BirchMurnaghan,
    EquationOfState,
    _lowest,
    _noise_gains,
    _relax_volume,
)
from mliuq.propagation.free_surfaces import JOULES, Surfaces
from mliuq.propagation.point_defects import DEFECTS, DUMBBELLS, SITES, Defects, bulk_modulus
from mliuq.propagation.property import relax_built
from mliuq.propagation.prototypes import prototype
from mliuq.propagation.relax import RelaxationError, Relaxed, relax
from mliuq.propagation.stacking_faults import StackingFaults, _dip, faulted


@pytest.fixture
def potential(tame: mliuq.Model) -> WeightsCalculator:
    return WeightsCalculator(weights_of(tame))


SETTINGS = PropagationSettings(fmax=1e-5)


class Energies(Calculator):
    """Energy, forces and stress from a function of the volume per atom alone: analytic equations of state."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE's

    def __init__(self, energy: Callable[[float, Atoms], float]) -> None:
        super().__init__()
        self.energy = energy

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        n, v, h = len(atoms), atoms.get_volume() / len(atoms), 1e-4
        slope = (self.energy(v + h, atoms) - self.energy(v - h, atoms)) / (2 * h)
        energy = n * self.energy(v, atoms)
        stress = np.array([slope, slope, slope, 0, 0, 0])
        self.results = {"energy": energy, "free_energy": energy, "forces": np.zeros((n, 3)), "stress": stress}


def birch(v: Any, v0: float, e0: float, b0: float, b1: float) -> Any:
    """The textbook's form (Birch 1947), eV and Å³."""
    f = (v0 / v) ** (2 / 3)
    return e0 + 9 * v0 * b0 / 16 * ((f - 1) ** 3 * b1 + (f - 1) ** 2 * (6 - 4 * f))


#: structure → V0, E0, B0 (eV/Å³), B0'
KNOWN = {"a": (16.0, -3.0, 1.2, 4.2), "b": (17.0, -2.9, 1.0, 5.0), "c": (15.0, -2.5, 0.8, 3.5)}


def known_energy(v: float, atoms: Atoms) -> float:
    return float(birch(v, *KNOWN["abc"[len(atoms) - 1]]))


def boxes(*names: str, symbol: str = "W") -> dict[str, Atoms]:
    """Cubes of 1, 2 and 3 atoms, near the volumes that `known_energy` gives them."""
    made = {}
    for name in names:
        n = "abc".index(name) + 1
        places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]][:n]
        made[name] = Atoms(f"{symbol}{n}", scaled_positions=places, cell=[np.cbrt(n * 15.5)] * 3, pbc=True)
    return made


class TestEquationsOfState:
    @pytest.mark.parametrize("how", ["all", "volume"])
    def test_values_of_a_known_curve(self, how: Any) -> None:
        prop = EquationOfState(boxes("a", "b", "c"), relax=how)
        settings = PropagationSettings(fmax=1e-7)
        found = prop.measure(Energies(known_energy), settings, None)
        for name, (v0, e0, b0, b1) in KNOWN.items():
            values = {quantity: found.values[name, quantity] for quantity in (
                "energy", "volume", "bulk modulus", "bulk modulus derivative")}  # fmt: skip
            assert values["energy"].number == pytest.approx(e0, abs=1e-7)
            assert values["volume"].number == pytest.approx(v0, rel=1e-5)
            assert values["bulk modulus"].number == pytest.approx(b0 / GPa, rel=1e-4)
            assert values["bulk modulus derivative"].number == pytest.approx(b1, rel=1e-3)
            assert [v.unit for v in values.values()] == ["eV/atom", "Å³/atom", "GPa", ""]
            assert {v.kind for v in values.values()} == {"energy"}
            assert values["energy"].noise == propagation.Noise(energy=1.0)
            volumes = values["volume"].number * np.linspace(0.94, 1.06, 7)
            gains = _noise_gains(volumes, birch(volumes, *KNOWN[name]))
            for quantity in ("volume", "bulk modulus", "bulk modulus derivative"):
                expected = gains[quantity.replace(" ", "_").replace("modulus_der", "der")]
                assert values[quantity].noise.energy == pytest.approx(expected.energy, rel=1e-3)
            formation = found.values.get((name, "formation energy"))
            if name == "a":
                assert formation is None, "the lowest is what others count from"
            else:
                assert formation.number == pytest.approx(e0 + 3.0, abs=1e-7)
                assert (formation.unit, formation.noise.energy) == ("eV/atom", np.sqrt(2))
            line = found.lines[name]
            np.testing.assert_allclose(line.x, np.linspace(0.94, 1.06, GRID) * values["volume"].number)
            np.testing.assert_allclose(line.y, birch(line.x, *KNOWN[name]) + 3.0, atol=1e-6)
            assert (line.x_label, line.y_label) == ("volume (Å³/atom)", "energy (eV/atom)")
        assert found.structures["reference"] == "a"
        assert not found.failures
        assert GRID == 41

    def test_members_are_counted_from_their_own_reference_on_the_best_fits_grid(self) -> None:
        prop = EquationOfState(boxes("a", "b"), reference="b", relax="volume", span=0.1, points=9)
        best = prop.measure(Energies(known_energy), SETTINGS, None)
        assert best.structures["reference"] == "b"
        other = Energies(lambda v, atoms: known_energy(v * 0.98, atoms) - 0.1 * len(atoms))
        found = prop.measure(other, SETTINGS, best)
        assert found.values["a", "volume"].number == pytest.approx(16.0 / 0.98, rel=1e-6)
        assert found.values["a", "energy"].number == pytest.approx(-3.1, abs=1e-9)
        assert found.values["a", "formation energy"].number == pytest.approx(-3.1 + 3.1, abs=1e-9)
        assert ("b", "formation energy") not in found.values
        np.testing.assert_array_equal(found.lines["a"].x, best.lines["a"].x)
        np.testing.assert_allclose(found.lines["a"].x, np.linspace(0.9, 1.1, GRID) * 16.0, rtol=1e-6)
        np.testing.assert_allclose(found.lines["a"].y, birch(0.98 * found.lines["a"].x, *KNOWN["a"]) + 3.0, atol=2e-5)

    def test_only_like_compositions_are_compared(self) -> None:
        structures = {**boxes("a", "b"), "other": boxes("c", symbol="Ta")["c"]}
        prop = EquationOfState(structures, relax="volume")
        found = prop.measure(Energies(known_energy), SETTINGS, None)
        assert set(found.lines) == {"a", "b"}
        assert ("other", "energy") in found.values
        assert ("other", "formation energy") not in found.values
        # The first structure's composition is that of the reference, whatever lies lower.
        swapped = EquationOfState({"other": structures["other"], **boxes("a")}, relax="volume")
        assert swapped.measure(Energies(known_energy), SETTINGS, None).structures["reference"] == "other"

    def test_failures(self) -> None:
        def energy(v: float, atoms: Atoms) -> float:
            return float(v) if len(atoms) == 2 else known_energy(v, atoms)

        prop = EquationOfState(boxes("a", "b", "c"), relax="volume")
        best = prop.measure(Energies(known_energy), SETTINGS, None)
        broken = prop.measure(Energies(energy), SETTINGS, None)
        stable = "left the basin: no volume from 0.74 to 1.5 of the start's is stable"
        assert broken.failures == {"b": stable}
        assert set(broken.structures) == {"a", "c", "reference"}
        member = prop.measure(Energies(known_energy), SETTINGS, broken)
        assert not member.failures, "what failed for the best fit is not tried again"
        assert {name for name, _ in member.values} == {"a", "c"}
        assert prop.measure(Energies(energy), SETTINGS, best).failures == {"b": stable}
        by_b = EquationOfState(boxes("a", "b", "c"), reference="b", relax="volume")
        lost = by_b.measure(Energies(energy), SETTINGS, by_b.measure(Energies(known_energy), SETTINGS, None))
        assert lost.failures == {
            "b": stable, "a": "the reference b failed", "c": "the reference b failed",
        }  # fmt: skip
        none = by_b.measure(Energies(energy), SETTINGS, None)
        assert none.failures == {"b": stable}, "the best fit says so once"
        assert not none.lines

    def test_the_reference_is_the_lowest_of_its_composition(self) -> None:
        atoms = {"x": Atoms("W"), "y": Atoms("W2"), "z": Atoms("Ta")}
        values = {("x", "energy"): Value(1.0, ""), ("y", "energy"): Value(0.5, ""), ("z", "energy"): Value(0.0, "")}
        assert _lowest({**values, ("x", "volume"): Value(-1.0, "")}, atoms) == "y"
        assert _lowest({}, atoms) == ""

    def test_shapes_relax_at_every_volume(self, potential: WeightsCalculator) -> None:
        prop = EquationOfState({"hcp": prototype("hcp", "W")}, span=0.08, points=5)
        found = prop.measure(potential, SETTINGS, None)
        at = found.structures["hcp"].atoms
        volumes, energies = at.get_volume() * np.linspace(0.92, 1.08, 5), []
        for v in volumes:
            scaled = at.copy()
            scaled.set_cell(scaled.cell.array * np.cbrt(v / at.get_volume()), scale_atoms=True)
            energies.append(relax(scaled, potential, SETTINGS, cell="isochoric").energy / 2)
        curve = BirchMurnaghan.fit(volumes / 2, np.array(energies))
        assert found.values["hcp", "bulk modulus"].number == pytest.approx(curve.bulk_modulus / GPa, rel=1e-5)
        # The reference's energies keep its shape: another curve.
        at.calc = potential
        stiffer = prop.measure(potential, SETTINGS, found)
        assert stiffer.values["hcp", "energy"].number == pytest.approx(found.values["hcp", "energy"].number, abs=1e-9)

    def test_an_order_and_ranks_are_added(self) -> None:
        estimates = [
            propagation.Estimate(name, "energy", "", k, np.array([k, k + 1.0]))
            for k, name in enumerate(("a", "b", "c"))
        ]
        compared = EquationOfState(boxes("a")).compare(estimates)
        assert set(compared) == {"spearman", "order"}
        assert compared["order"]["members"] == 2


class TestBirchMurnaghan:
    def test_derivative_is_that_of_the_curve(self) -> None:
        """B′ = dB/dP by differences of B(V) = V E″ and P(V) = −E′ of the fitted curve."""
        v = np.linspace(14.5, 17.5, 7)
        curve = BirchMurnaghan.fit(v, birch(v, 16.1, -11.0, 1.9, 4.3) + 0.002 * np.sin(v))
        h = 1e-3

        def e(x: float) -> float:
            return float(curve.energy(np.array([x]))[0])

        def pressure(x: float) -> float:
            return -(e(x + h) - e(x - h)) / (2 * h)

        def modulus(x: float) -> float:
            return x * (e(x + h) - 2 * e(x) + e(x - h)) / h**2

        v0, step = curve.volume, 0.02
        assert pressure(v0) == pytest.approx(0.0, abs=1e-6)
        assert curve.bulk_modulus == pytest.approx(modulus(v0), rel=1e-4)
        slope = (modulus(v0 + step) - modulus(v0 - step)) / (pressure(v0 + step) - pressure(v0 - step))
        assert curve.bulk_derivative == pytest.approx(slope, rel=1e-3)

    @pytest.mark.parametrize("v0", [12.0, 13.6, 19.0, 21.0])
    def test_a_minimum_far_outside_is_none(self, v0: float) -> None:
        v = np.linspace(14.5, 17.5, 7)
        e = birch(v, v0, -1.0, 1.0, 4.0)
        if 0.9 * 14.5 < v0 < 1.1 * 17.5:
            assert BirchMurnaghan.fit(v, e).volume == pytest.approx(v0, rel=1e-4)
        else:
            with pytest.raises(RelaxationError, match=r"^left the basin: the energy has no minimum near the relaxed"):
                BirchMurnaghan.fit(v, e)

    @pytest.mark.parametrize("shape", [lambda v: -((v - 16) ** 2), lambda v: v, lambda v: 0 * v, lambda v: v**-2])
    def test_curves_without_a_minimum(self, shape: Callable[[Any], Any]) -> None:
        v = np.linspace(14.5, 17.5, 7)
        with pytest.raises(RelaxationError, match="left the basin"):
            BirchMurnaghan.fit(v, shape(v))

    def test_noise_moves_what_is_fitted(self) -> None:
        v = 16.0 * np.linspace(0.94, 1.06, 7)
        e = birch(v, *KNOWN["a"])
        gains, h = _noise_gains(v, e), 1e-5
        fields = {"volume": 1.0, "bulk_modulus": GPa, "bulk_derivative": 1.0}
        for field, unit in fields.items():
            slopes = []
            for k in range(7):
                up, down = (BirchMurnaghan.fit(v, e + s * h * np.eye(7)[k]) for s in (1, -1))
                slopes.append((getattr(up, field) - getattr(down, field)) / (2 * h * unit))
            assert gains[field].energy == pytest.approx(np.linalg.norm(slopes), rel=1e-4)
            assert gains[field].stress == 0.0


class TestVolumesAlone:
    @pytest.mark.parametrize("v0", [12.0, 15.5, 22.0])
    def test_the_whole_range_is_searched(self, v0: float) -> None:
        atoms = boxes("a")["a"]
        at = _relax_volume(atoms, Energies(lambda v, _: float(birch(v, v0, -2.0, 1.0, 4.0))), None)
        assert at.atoms.get_volume() == pytest.approx(v0, rel=1e-6)
        assert at.energy == pytest.approx(-2.0, abs=1e-9)
        assert at.atoms.calc is None
        np.testing.assert_allclose(at.atoms.get_scaled_positions(), atoms.get_scaled_positions())

    @pytest.mark.parametrize("v0", [11.0, 24.0])
    def test_beyond_it_there_is_none(self, v0: float) -> None:
        with pytest.raises(RelaxationError, match=r"^left the basin: no volume from 0.74 to 1.5"):
            _relax_volume(boxes("a")["a"], Energies(lambda v, _: float(birch(v, v0, -2.0, 1.0, 4.0))), None)

    def test_members_stay_near_and_of_two_the_nearer_one_counts(self) -> None:
        atoms = boxes("a")["a"]
        start = Relaxed(atoms, 0.0)
        volume = atoms.get_volume()

        def wells(near: float, far: float) -> Energies:
            """Two minima, at ln(V/V0) of `near` and `far`."""
            return Energies(lambda v, _: float(
                (np.log(v / volume) - near) ** 2 * (np.log(v / volume) - far) ** 2))  # fmt: skip

        for near, far in ((0.1, -0.2), (-0.1, 0.3)):
            for given in (None, start):
                at = _relax_volume(atoms, wells(near, far), given)
                assert np.log(at.atoms.get_volume() / volume) == pytest.approx(near, abs=1e-5)
        asked: list[float] = []

        def counted(v: float, _: Atoms) -> float:
            asked.append(v)
            return float(birch(v, volume * 1.01, -2.0, 1.0, 4.0))

        elsewhere = atoms.copy()
        elsewhere.set_cell(atoms.cell.array * 2.0)
        at = _relax_volume(elsewhere, Energies(counted), start)
        assert at.atoms.get_volume() == pytest.approx(volume * 1.01, rel=1e-6)
        assert np.abs(np.log(np.array(asked) / volume)).max() < 0.061, "near the best fit's volume first"


class Hooke(Calculator):
    """A crystal of one atom whose stress is C ε of its cell, of whatever C."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE's

    def __init__(self, cell: np.ndarray, C: np.ndarray) -> None:
        super().__init__()
        self.cell, self.C = cell, C

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        F = np.linalg.solve(self.cell, atoms.cell.array)
        e = 0.5 * (F + F.T) - np.eye(3)
        voigt = np.array([e[0, 0], e[1, 1], e[2, 2], 2 * e[1, 2], 2 * e[0, 2], 2 * e[0, 1]])
        stress = self.C @ voigt
        energy = 0.5 * voigt @ stress * np.linalg.det(self.cell)
        self.results = {"energy": energy, "free_energy": energy, "forces": np.zeros((len(atoms), 3)), "stress": stress}


def symmetric(**entries: float) -> np.ndarray:
    """A (6, 6) matrix of entries named by indices from 1: c12=…"""
    C = np.zeros((6, 6))
    for name, value in entries.items():
        i, j = int(name[1]) - 1, int(name[2]) - 1
        C[i, j] = C[j, i] = value
    return C


CUBIC = symmetric(
    **dict.fromkeys(("c11", "c22", "c33"), 500.0), **dict.fromkeys(("c12", "c13", "c23"), 200.0),
    **dict.fromkeys(("c44", "c55", "c66"), 150.0),
)  # fmt: skip
#: hexagonal: C11 C12 C13 C33 C44, C66 = (C11 − C12)/2
HEXAGONAL = symmetric(
    c11=160.0, c22=160.0, c33=180.0, c12=90.0, c13=66.0, c23=66.0, c44=46.0, c55=46.0, c66=35.0
)  # fmt: skip
GENERAL = np.random.default_rng(5).normal(size=(6, 6))
GENERAL = GENERAL @ GENERAL.T * 20 + np.diag([300.0, 250, 200, 90, 80, 70])


class TestElasticConstants:
    def test_those_of_a_linear_crystal(self) -> None:
        cell = np.array([[3.0, 0.2, 0.1], [0.0, 3.1, -0.2], [0.3, 0.1, 2.9]])
        atoms = Atoms("W", cell=cell, pbc=True)
        prop = Elastic({"x": atoms}, strain=0.01)
        found = prop.one("x", Hooke(cell, GENERAL * GPa), SETTINGS, None)
        C = {f"C{i + 1}{j + 1}": GENERAL[i, j] for i in range(6) for j in range(i, 6)}
        assert set(C) | {"bulk modulus", "shear modulus", "C'"} == set(found.values)
        for name, number in C.items():
            assert found.values[name].number == pytest.approx(number, rel=1e-9)
        for value in found.values.values():
            assert (value.unit, value.kind) == ("GPa", "force")
            assert value.noise.energy == 0.0
            assert value.noise.stress == pytest.approx(1 / (np.sqrt(2) * 0.01 * GPa))
        assert found.lines == {}
        at, wanted = found.relaxed
        assert len(wanted) == 21
        lopsided = GENERAL.copy()
        lopsided[0, 3] += 10.0
        again = prop.one("x", Hooke(cell, lopsided * GPa), SETTINGS, (at, [(0, 3), (4, 4)]))
        assert again.values["C14"].number == pytest.approx(GENERAL[0, 3] + 5.0, rel=1e-9), "the mean of both entries"
        assert set(again.values) == {"C14", "C55", "bulk modulus", "shear modulus", "C'"}, "as the best fit says"
        assert again.relaxed[1] == [(0, 3), (4, 4)]

    def test_atoms_relax_in_every_strained_cell(self, potential: WeightsCalculator) -> None:
        prop = Elastic({"hcp": prototype("hcp", "W")})
        tight = PropagationSettings(fmax=1e-7)
        found = prop.one("hcp", potential, tight, None)
        at = found.relaxed[0]
        stress = []
        for sign in (1, -1):
            strained = deformed(at.atoms, np.eye(3) + strain_matrix(sign * 0.005 * np.array([1.0, 0, 0, 0, 0, 0])))
            strained.calc = potential
            clamped = strained.get_stress()
            relaxed = relax(strained, potential, tight).atoms
            relaxed.calc = potential
            stress.append((clamped, relaxed.get_stress()))
        clamped, relaxed = (np.array(stress[0]) - np.array(stress[1])) / (0.01 * GPa)
        assert found.values["C11"].number == pytest.approx(relaxed[0], rel=1e-5)
        assert abs(clamped[0] / relaxed[0] - 1) > 5e-5

    @pytest.mark.parametrize(
        ("C", "names"),
        [
            (CUBIC, "11 12 44"),
            (HEXAGONAL, "11 12 13 33 44 66"),
            (np.diag([500.0, 499.5, 480, 150, 150.5, 0.5]), "11 33 44"),
            (symmetric(c11=500.0, c12=0.9, c14=30.0, c24=30.2, c56=30.0, c45=20.0, c66=500.0), "11 14 45 56 66"),
            (symmetric(c11=500.0, c12=1.1, c44=499.5, c45=-499.5, c46=499.4), "11 12 44 45 46"),
        ],
    )
    def test_entries_that_are_zero_or_said_before_are_left_out(self, C: np.ndarray, names: str) -> None:
        assert [f"{i + 1}{j + 1}" for i, j in distinct(C)] == names.split()

    def test_averages_of_a_polycrystal(self) -> None:
        cubic = _averages(CUBIC)
        assert cubic["bulk modulus"] == pytest.approx(300.0)
        assert cubic["C'"] == pytest.approx(150.0)
        voigt = (500.0 - 200.0 + 3 * 150.0) / 5
        reuss = 5 * 300.0 * 150.0 / (4 * 150.0 + 3 * 300.0)
        assert cubic["shear modulus"] == pytest.approx((voigt + reuss) / 2)
        softer = _averages(CUBIC - np.diag([0, 0, 0, 50.0, 50, 50]))
        voigt, reuss = (300.0 + 300.0) / 5, 5 * 300.0 * 100.0 / (400.0 + 900.0)
        assert softer["shear modulus"] == pytest.approx((voigt + reuss) / 2)
        # Any crystal: averages over all rotations of stiffness (Voigt) and compliance (Reuss), by full tensors.
        average = _averages(GENERAL)
        places = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
        index = {(i, j): k for k, (i, j) in enumerate(places)} | {(j, i): k for k, (i, j) in enumerate(places)}

        def tensor(matrix: np.ndarray, factor: float) -> np.ndarray:
            full = np.empty((3, 3, 3, 3))
            for i, j, k, n in np.ndindex(3, 3, 3, 3):
                shear = factor ** ((i != j) + (k != n))
                full[i, j, k, n] = matrix[index[i, j], index[k, n]] / shear
            return full

        C, S = tensor(GENERAL, 1.0), tensor(np.linalg.inv(GENERAL), 2.0)
        voigt_bulk, voigt_trace = np.einsum("iijj", C) / 9, np.einsum("ijij", C)
        voigt_shear = (voigt_trace - 3 * voigt_bulk) / 10
        reuss_bulk = 1 / np.einsum("iijj", S)
        reuss_shear = 10 / (4 * (np.einsum("ijij", S) - np.einsum("iijj", S) / 3))
        assert average["bulk modulus"] == pytest.approx((voigt_bulk + reuss_bulk) / 2)
        assert average["shear modulus"] == pytest.approx((voigt_shear + reuss_shear) / 2)
        assert average["C'"] == pytest.approx((GENERAL[0, 0] + GENERAL[1, 1] - 2 * GENERAL[0, 1]) / 4)

    def test_a_crystal_that_a_strain_lowers_has_no_averages(self) -> None:
        negative = CUBIC - np.diag([0, 0, 0, 150.01, 150.01, 150.01])
        assert _averages(negative) == {"bulk modulus": pytest.approx(300.0), "C'": pytest.approx(150.0)}
        barely = _averages(negative + np.diag([0, 0, 0, 0.02, 0.02, 0.02]))
        assert barely["shear modulus"] == pytest.approx((500.0 - 200.0) / 10, rel=2e-3), "Reuss's bound ends at zero"
        assert set(_averages(HEXAGONAL - np.diag([0, 0, 0, 400.0, 400.0, 0]))) == {"C'"}, "Voigt's and Reuss's differ"
        flat = CUBIC.copy()
        flat[:3, :3] = 300.0  # C' = 0: the compliance does not exist
        assert _averages(flat) == {"bulk modulus": pytest.approx(300.0), "C'": 0.0}

    def test_members_without_an_average_are_counted_and_named(self) -> None:
        cell = np.eye(3) * 3.0
        prop = Elastic({"x": Atoms("W", cell=cell, pbc=True)})
        soft = CUBIC - np.diag([0, 0, 0, 200.0, 200.0, 200.0])
        best, other = (prop.measure(Hooke(cell, c * GPa), SETTINGS, None) for c in (CUBIC, soft))
        assert best.failures == {}
        assert other.failures == {"x shear modulus": "mechanically unstable"}
        assert ("x", "shear modulus") not in other.values
        assert other.values["x", "C44"].number == pytest.approx(-50.0)

    def test_one_atom_is_not_relaxed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        atoms = Atoms("W", cell=np.eye(3) * 3, pbc=True)
        at = Relaxed(atoms, 0.0)
        monkeypatch.setattr("mliuq.propagation.elasticity.relax", lambda *_, **__: pytest.fail("relaxed"))
        found = stiffness(at, Hooke(atoms.cell.array, CUBIC), SETTINGS, 0.01)
        np.testing.assert_allclose(found, CUBIC, atol=1e-9)


class TestPaths:
    def test_heights_are_counted_from_the_start(self, potential: WeightsCalculator) -> None:
        prop = Deformation(["bain"], element="W", points=5)
        found = prop.one("bain", potential, SETTINGS, None)
        (end,) = found.relaxed
        a = np.cbrt(2 * end.atoms.get_volume())
        expected = []
        for p in np.linspace(0.8, 1.8, 5):
            atoms = PATHS["bain"][0](a, "W", p)
            atoms.calc = potential
            expected.append(atoms.get_potential_energy() / 2 - end.energy)
        line = found.lines[""]
        np.testing.assert_allclose(line.x, np.linspace(0.8, 1.8, 5))
        np.testing.assert_allclose(line.y, expected, atol=1e-10)
        assert (line.x_label, line.y_label) == ("c/a", "energy (eV/atom)")
        assert set(found.values) == {"highest energy", "energy at the end"}
        assert found.values["highest energy"].number == pytest.approx(max(expected), abs=1e-10)
        assert found.values["energy at the end"].number == pytest.approx(expected[-1], abs=1e-10)
        for value in found.values.values():
            assert (value.unit, value.kind) == ("eV/atom", "energy")
            assert (value.noise.energy, value.noise.stress) == (np.sqrt(2), 0.0)
        trigonal = Deformation(["trigonal"], element="W", points=3).one("trigonal", potential, SETTINGS, None)
        assert trigonal.lines[""].x_label == "stretch along [111]"

    def test_between_two_relaxed_structures(self, potential: WeightsCalculator) -> None:
        pair = (prototype("bcc", "W", cubic=True).repeat((1, 1, 2)), prototype("fcc", "W", cubic=True))
        prop = Deformation(between={"there": pair}, points=3)
        found = prop.one("there", potential, SETTINGS, None)
        ends = [relax(atoms, potential, SETTINGS, cell="free") for atoms in pair]
        line = found.lines[""]
        assert line.x_label == "share of the way"
        assert line.y[0] == pytest.approx(0.0, abs=1e-9)
        assert line.y[-1] == pytest.approx((ends[1].energy - ends[0].energy) / 4, abs=1e-6)
        assert abs(line.y[-1]) > 1e-3
        again = prop.one("there", potential, SETTINGS, found.relaxed)
        np.testing.assert_allclose(again.lines[""].y, line.y, atol=1e-6)


class TestDefects:
    @pytest.mark.parametrize(
        ("kind", "name", "count", "distance"),
        [
            ("bcc", "tetrahedral", 4, np.sqrt(5) / 4),
            ("bcc", "octahedral", 2, 0.5),
            ("bcc", "crowdion", 2, np.sqrt(3) / 4),
            ("fcc", "tetrahedral", 4, np.sqrt(3) / 4),
            ("fcc", "octahedral", 6, 0.5),
            ("fcc", "crowdion", 2, np.sqrt(2) / 4),
        ],
    )
    def test_interstitials_sit_among_their_neighbours(self, kind: str, name: str, count: int, distance: float) -> None:
        crystal = bulk("W", kind, 3.0, cubic=True)
        cell = Defects(crystal, kind, (name,), size=2).build(name, crystal)
        assert len(cell) == 8 * len(crystal) + 1
        assert cell[:-1] == crystal.repeat(2)
        assert str(cell.symbols[-1]) == "W"
        distances = np.sort(cell.get_distances(-1, range(len(cell) - 1), mic=True))
        np.testing.assert_allclose(distances[:count], 3.0 * distance)
        assert distances[count] > 3.0 * distance * 1.1

    @pytest.mark.parametrize(("name", "way"), [("111", (1, 1, 1)), ("110", (1, 1, 0)), ("100", (1, 0, 0))])
    def test_dumbbells_share_a_place(self, name: str, way: tuple[int, int, int]) -> None:
        crystal = bulk("W", "bcc", 3.0, cubic=True)
        near = 3.0 * np.sqrt(3) / 2
        cell = Defects(crystal, "bcc", (name,), size=2).build(name, crystal)
        assert len(cell) == 17
        unit = np.array(way) / np.linalg.norm(way)
        np.testing.assert_allclose(cell.positions[0], -0.4 * near * unit, atol=1e-12)
        np.testing.assert_allclose(cell.positions[-1], 0.4 * near * unit, atol=1e-12)
        assert cell[1:-1] == crystal.repeat(2)[1:]
        assert DUMBBELLS[name] == way
        assert str(cell.symbols[-1]) == "W"

    def test_vacancies_lie_next_to_each_other(self) -> None:
        crystal = bulk("W", "bcc", 3.0, cubic=True)
        prop = Defects(crystal, "bcc", size=3)
        assert prop.build("vacancy", crystal) == crystal.repeat(3)[1:]
        left = prop.build("divacancy", crystal)
        assert len(left) == 52
        whole = crystal.repeat(3)
        gone = [k for k, atom in enumerate(whole) if not np.isclose(left.positions, atom.position).all(axis=1).any()]
        assert gone[0] == 0
        assert whole.get_distance(*gone, mic=True) == pytest.approx(3.0 * np.sqrt(3) / 2)
        assert DEFECTS == ("vacancy", "divacancy", "111", "110", "100", "tetrahedral", "octahedral", "crowdion")
        assert {kind: list(sites) for kind, sites in SITES.items()} == {
            "bcc": list(DEFECTS[5:]),
            "fcc": list(DEFECTS[5:]),
        }

    def test_the_nearest_need_not_come_next(self) -> None:
        crystal = bulk("W", "bcc", 3.0, cubic=True).repeat((2, 1, 1))[[0, 2, 1, 3]]
        whole = crystal.repeat(2)
        assert whole.get_distance(0, 1, mic=True) == pytest.approx(3.0)
        left = Defects(crystal, "bcc", size=2).build("divacancy", crystal)
        gone = [k for k, atom in enumerate(whole) if not np.isclose(left.positions, atom.position).all(axis=1).any()]
        assert whole.get_distance(*gone, mic=True) == pytest.approx(3.0 * np.sqrt(3) / 2)

    def test_every_member_lacks_the_same_neighbour(self) -> None:
        crystal = bulk("W", "bcc", 3.0, cubic=True)
        prop = Defects(crystal, "bcc", size=3)
        rng = np.random.default_rng(0)
        left = [prop.build("divacancy", crystal).get_scaled_positions()]
        for _ in range(8):
            there = crystal.copy()
            there.set_cell(there.cell.array * (1 + 1e-3 * rng.standard_normal()), scale_atoms=True)
            there.positions += 1e-13 * rng.standard_normal((2, 3))
            left.append(prop.build("divacancy", there).get_scaled_positions())
            np.testing.assert_allclose((left[-1] - left[0] + 0.5) % 1.0, 0.5, atol=1e-9)

    def test_values(self, potential: WeightsCalculator) -> None:
        host = prototype("bcc", "W", cubic=True)
        prop = Defects(host, "bcc", ("divacancy",), size=2)
        found = prop.one("divacancy", potential, SETTINGS, None)
        crystal = relax(host, potential, SETTINGS, cell="free")
        at = relax(prop.build("divacancy", crystal.atoms), potential, SETTINGS)
        energy, volume = found.values["formation energy"], found.values["formation volume"]
        assert energy.number == pytest.approx(at.energy - 14 * crystal.energy / 2, abs=1e-6)
        assert abs(energy.number) > 0.5
        assert (energy.unit, energy.kind, energy.noise.energy) == ("eV", "energy", pytest.approx(np.sqrt(2) * 14))
        at.atoms.calc = potential
        pressure = -at.atoms.get_stress()[:3].mean()
        v0 = crystal.atoms.get_volume()
        slope = []
        for factor in (0.999, 1.001):
            scaled = crystal.atoms.copy()
            scaled.set_cell(scaled.cell.array * factor ** (1 / 3), scale_atoms=True)
            scaled.calc = potential
            slope.append(scaled.get_stress()[:3].mean())
        modulus = (slope[1] - slope[0]) / 0.002
        assert bulk_modulus(crystal, potential) == pytest.approx(modulus, rel=1e-3)
        assert volume.number == pytest.approx(2 * v0 / 2 + pressure * 8 * v0 / modulus, rel=1e-3)
        assert abs(volume.number - v0) > 0.1
        assert (volume.unit, volume.kind, volume.noise) == ("Å³", "energy", propagation.Noise())
        assert found.lines == {}
        without = Defects(host, "bcc", ("divacancy",), size=2, volumes=False)
        again = without.one("divacancy", potential, SETTINGS, found.relaxed)
        assert list(again.values) == ["formation energy"]
        assert again.values["formation energy"].number == pytest.approx(energy.number, abs=1e-6)

    def test_the_modulus_is_the_compression_of_a_known_crystal(self) -> None:
        at = Relaxed(boxes("a")["a"], 0.0)
        at.atoms.set_cell(np.eye(3) * np.cbrt(16.0))
        assert bulk_modulus(at, Energies(known_energy)) == pytest.approx(1.2, rel=1e-4)
        two = Relaxed(boxes("b")["b"], 0.0)
        two.atoms.set_cell(np.eye(3) * np.cbrt(34.0), scale_atoms=True)
        assert bulk_modulus(two, Energies(known_energy)) == pytest.approx(1.0, rel=1e-4)
        assert two.atoms.get_volume() == pytest.approx(34.0)


def test_members_start_from_the_displacements_of_the_best_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    built = Atoms("W2", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[3, 4, 5], pbc=True)
    moved = built.copy()
    moved.positions += [[0.1, 0.2, 0.3], [0.0, 2.1, -0.1]]
    mine = Atoms("W2", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[6, 8, 10], pbc=True)
    asked: list[Any] = []
    monkeypatch.setattr(
        "mliuq.propagation.property.relax", lambda *given, **named: asked.append((given, named)) or "relaxed"
    )
    before = (built, Relaxed(moved, 0.0))
    calculator = Energies(known_energy)
    assert relax_built(mine, calculator, SETTINGS, before) == "relaxed"
    assert relax_built(mine, calculator, SETTINGS, None) == "relaxed"
    ((atoms, given, settings), named), (cold, nothing) = asked
    assert given is calculator
    assert settings is SETTINGS
    assert named["start"] is before[1]
    assert atoms is named["guess"]
    np.testing.assert_allclose(atoms.positions - mine.positions, [[0.2, 0.4, 0.6], [0.0, 4.2, -0.2]], atol=1e-12)
    assert (cold, nothing) == ((mine, calculator, SETTINGS), {})


class TestSurfaces:
    def test_values(self, potential: WeightsCalculator) -> None:
        assert pytest.approx(J / m**2) == JOULES
        host = prototype("fcc", "W", cubic=True)
        prop = Surfaces(host, [(1, 1, 1), (1, 0, 0)], layers=3, vacuum=5.0)
        found = prop.one("111", potential, SETTINGS, None)
        crystal = relax(host, potential, SETTINGS, cell="free")
        a = crystal.atoms.cell.lengths()[0]
        slab = relax(fcc111("W", (1, 1, 3), a=a, vacuum=5.0, periodic=True), potential, SETTINGS)
        area = 2 * a**2 * np.sqrt(3) / 4
        excess = slab.energy - 3 * crystal.energy / 4
        (value,) = found.values.values()
        assert list(found.values) == ["surface energy"]
        assert value.number == pytest.approx(excess / area * (m**2 / J), abs=1e-4)
        assert value.number > 0.1
        built = found.relaxed[1]
        assert built == surface(crystal.atoms, (1, 1, 1), 3, vacuum=5.0, periodic=True)
        double = 2 * np.linalg.norm(np.cross(built.cell[0], built.cell[1]))
        noise = np.sqrt(2) * len(built) / double * (m**2 / J)
        assert (value.unit, value.kind, value.noise.energy) == ("J/m²", "energy", pytest.approx(noise))
        assert found.lines == {}
        again = prop.one("111", potential, SETTINGS, found.relaxed)
        assert again.values["surface energy"].number == pytest.approx(value.number, abs=1e-6)
        np.testing.assert_allclose(again.relaxed[2].atoms.positions, found.relaxed[2].atoms.positions, atol=1e-3)


class TestStackingFaults:
    @pytest.mark.parametrize(
        ("lattice", "plane", "direction", "cells"),
        [("bcc", (1, 1, 0), (1, -1, 1), 2), ("fcc", (1, 1, 1), (1, -1, 0), 4), ("bcc", (1, 1, 2), (1, 1, -1), 2)],
    )
    def test_blocks(self, lattice: str, plane: Any, direction: Any, cells: int) -> None:
        prop = StackingFaults("W", lattice, plane, direction, layers=3)
        assert prop._cells() == cells
        block = prop.block(3.0)
        assert block.cell.angles() == pytest.approx([90, 90, 90])
        assert block.get_volume() / len(block) == pytest.approx(27.0 / cells)
        # One period along the direction: the shortest lattice vector that points there, or twice that.
        assert block.cell[0, 0] % (3.0 * np.linalg.norm(direction) / 2) == pytest.approx(0.0, abs=1e-9)
        np.testing.assert_allclose(np.diag(np.diag(block.cell.array)), block.cell.array, atol=1e-12)
        one = StackingFaults("W", lattice, plane, direction, layers=2).block(3.0)
        assert block.cell[2, 2] == pytest.approx(1.5 * one.cell[2, 2])
        assert block.pbc.all()
        assert block.calc is None
        assert set(block.arrays) == {"numbers", "positions"}

    def test_one_fault_in_a_tilted_cell(self) -> None:
        block = StackingFaults("W", "fcc", (1, 1, 1), (1, -1, 0), layers=2).block(4.0)
        atoms = faulted(block, 0.3, 0.2)
        np.testing.assert_allclose(atoms.positions, block.positions)
        cell = block.cell.array
        np.testing.assert_allclose(atoms.cell.array, [cell[0], cell[1], cell[2] + 0.3 * cell[0] + 0.2 * cell[1]])
        (constraint,) = atoms.constraints
        np.testing.assert_array_equal(constraint.index, range(len(block)))
        np.testing.assert_allclose(constraint.dir, [0, 0, 1])
        assert not block.constraints

    @pytest.mark.parametrize(
        ("gamma", "dip"),
        [
            ([0, 2, 1, 3, 0.5, 2, 0], 4),
            ([0, 1, 2, 1, 0], None),
            ([3, 1, 2], 1),
            ([0, 1, 1, 2], None),
            ([1, 2, 0], None),
        ],
    )
    def test_dips(self, gamma: list[float], dip: int | None) -> None:
        assert _dip(np.array(gamma)) == dip

    def test_values(self, potential: WeightsCalculator) -> None:
        loose = PropagationSettings(fmax=1e-3)
        prop = StackingFaults("W", "fcc", (1, 1, 1), (1, 1, -2), layers=2, points=4)
        found = prop.one("", potential, loose, None)
        line = found.lines[""]
        crystal, shifts, stable = found.relaxed
        block = prop.block(float(np.cbrt(4 * crystal.atoms.get_volume())))
        area = block.cell[0, 0] * block.cell[1, 1]
        gamma = []
        for x in (0, 1 / 3, 2 / 3, 1):
            atoms = relax(faulted(block, x, 0.0), potential, loose)
            gamma.append(atoms.energy / area * (m**2 / J))
            moved = (atoms.atoms.positions - block.positions)[:, 2] / block.cell[2, 2]
            np.testing.assert_allclose(shifts[len(gamma) - 1, 0], moved, atol=1e-9)
            np.testing.assert_allclose(atoms.atoms.positions[:, :2], block.positions[:, :2])
        np.testing.assert_allclose(line.y, np.array(gamma) - gamma[0], atol=1e-9)
        np.testing.assert_allclose(line.x, [0, 1 / 3, 2 / 3, 1])
        assert (line.x_label, line.y_label) == ("shift (periods)", "energy (J/m²)")
        assert found.values["unstable fault energy"].number == pytest.approx(line.y.max(), abs=1e-12)
        noise = np.sqrt(2) * len(block) / area * (m**2 / J)
        for value in found.values.values():
            assert (value.unit, value.kind, value.noise.energy) == ("J/m²", "energy", pytest.approx(noise))
        # A member starts from the best fit's displacements and is asked for the same dip.
        again = prop.one("", potential, loose, (crystal, shifts, 2))
        assert again.values["stable fault energy"].number == pytest.approx(line.y[2], abs=1e-5)
        assert again.relaxed[2] == 2
        np.testing.assert_allclose(again.lines[""].y, line.y, atol=1e-5)
        assert ("stable fault energy" in found.values) == (stable is not None)

    def test_surfaces_of_two_shifts(self, potential: WeightsCalculator, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Atoms] = []

        def unrelaxed(atoms: Atoms, calculator: Any, settings: Any, **named: Any) -> Relaxed:
            asked.append(atoms.copy())
            atoms = atoms.copy()
            atoms.calc = potential
            return Relaxed(atoms, atoms.get_potential_energy())

        monkeypatch.setattr("mliuq.propagation.stacking_faults.relax", unrelaxed)
        prop = StackingFaults("W", "bcc", (1, 1, 0), (1, -1, 1), layers=2, points=3, across=3)
        found = prop.one("", potential, SETTINGS, None)
        gamma = found.lines[""].y
        assert gamma.shape == (3, 3)
        crystal, *blocks = asked
        assert crystal == prototype("bcc", "W")
        block = prop.block(float(np.cbrt(2 * crystal.get_volume())))
        for atoms, (x, y) in zip(blocks, [(x, y) for x in (0, 0.5, 1) for y in (0, 0.5, 1)], strict=True):
            np.testing.assert_allclose(atoms.cell.array, faulted(block, x, y).cell.array)
        assert found.values["unstable fault energy"].number == gamma.max()
        assert gamma[0, 0] == 0.0
        assert gamma[2, 2] == pytest.approx(0.0, abs=1e-9)
        assert abs(gamma[1, 1]) > 0.01
        bump = {index: np.full(len(block), 0.01) for index in np.ndindex(3, 3)}
        asked.clear()
        prop.one("", potential, SETTINGS, (Relaxed(crystal, 0.0), bump, None))
        for atoms in asked[1:]:
            np.testing.assert_allclose((atoms.positions - block.positions)[:, 2], 0.01 * block.cell[2, 2])
