"""Barriers of a known landscape, frequencies of a known Hessian, and what relaxations are told, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mliuq
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.geometry import find_mic
from mliuq import propagation
from mliuq.propagation import PropagationSettings, barriers
from mliuq.propagation.barriers import Barrier, vacancy_hop
from mliuq.propagation.calculator import WeightsCalculator, weights_of
from mliuq.propagation.coordinates import hessian
from mliuq.propagation.phonon_bands import Phonons, _smeared
from mliuq.propagation.prototypes import prototype
from mliuq.propagation.relax import RelaxationError

SETTINGS = PropagationSettings(fmax=1e-6)


@pytest.fixture
def potential(tame: mliuq.Model) -> WeightsCalculator:
    return WeightsCalculator(weights_of(tame))


class Landscape(Calculator):
    """One atom: E = a (x² − 1)² + d (x³/3 − x) + b (y − 1 + x²)² + z²: ends at x = ±1, y = 0, saddle at x = −d/4a."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012 - ASE's

    def __init__(self, a: float, d: float) -> None:
        super().__init__()
        self.a, self.d = a, d

    def along(self, x: float) -> float:
        return self.a * (x**2 - 1) ** 2 + self.d * (x**3 / 3 - x)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        x, y, z = atoms.positions[0] - 5.0
        bent = y - 1 + x**2
        energy = self.along(x) + bent**2 + z**2
        slope = [(x**2 - 1) * (4 * self.a * x + self.d) + 4 * x * bent, 2 * bent, 2 * z]
        self.results = {"energy": energy, "free_energy": energy, "forces": -np.array([slope])}


def ends() -> tuple[Atoms, Atoms]:
    places = ([4.1, 5.1, 5.1], [5.9, 5.0, 4.9])
    first, last = (Atoms("W", positions=[p], cell=[10, 10, 10], pbc=True) for p in places)
    return first, last


class TestBarriers:
    def test_heights_of_a_known_saddle(self) -> None:
        prop = Barrier(*ends(), images=3, fmax=2e-3)
        calculator = Landscape(0.6, 0.3)
        found = prop.one("path", calculator, SETTINGS, None)
        top = calculator.along(-0.3 / 2.4)
        forward, back = top - calculator.along(-1.0), top - calculator.along(1.0)
        assert found.values["barrier"].number == pytest.approx(forward, abs=2e-5)
        assert found.values["reverse barrier"].number == pytest.approx(back, abs=2e-5)
        assert forward > back + 0.1 or back > forward + 0.1
        for value in found.values.values():
            assert (value.unit, value.kind, value.noise) == ("eV", "energy", propagation.Noise(energy=np.sqrt(2.0)))
        line = found.lines[""]
        np.testing.assert_allclose(line.x, np.linspace(0, 1, 5))
        assert (line.x_label, line.y_label) == ("reaction coordinate", "energy (eV)")
        assert line.y[0] == 0.0
        assert line.y[-1] == pytest.approx(calculator.along(1.0) - calculator.along(-1.0), abs=2e-5)
        assert line.y.max() == pytest.approx(forward, abs=2e-5)
        crystal, two, images, *_ = found.relaxed
        saddle = max(images, key=lambda atoms: atoms.info["energy"])
        assert crystal is None
        assert [end.atoms.positions[0, 0] for end in two] == pytest.approx([4.0, 6.0], abs=1e-4)
        assert saddle.positions[0] == pytest.approx([5 - 0.125, 6 - 0.125**2, 5.0], abs=5e-3)
        assert saddle.info["energy"] == pytest.approx(top, abs=2e-5)
        for atoms, y in zip(images, line.y, strict=True):
            assert atoms.calc is None
            assert atoms.info["energy"] == pytest.approx(y + calculator.along(-1.0), abs=2e-5)
            assert atoms.positions[0, 2] == pytest.approx(5.0, abs=5e-3)
        other = Landscape(0.5, -0.2)
        member = prop.one("path", other, SETTINGS, found.relaxed)
        top = other.along(0.2 / 2.0)
        assert member.values["barrier"].number == pytest.approx(top - other.along(-1.0), abs=2e-5)
        assert member.values["reverse barrier"].number == pytest.approx(top - other.along(1.0), abs=2e-5)

    def test_members_start_from_the_best_fits_path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        prop, calculator = Barrier(*ends(), images=3, fmax=2e-2), Landscape(0.6, 0.3)
        found = prop.one("path", calculator, SETTINGS, None)
        asked: list[Any] = []
        converge = barriers._converge

        def kept(images: list[Atoms], *given: Any) -> Any:
            asked.append((np.array([atoms.positions[0] for atoms in images]), given))
            return converge(images, *given)

        monkeypatch.setattr(barriers, "_converge", kept)
        prop.one("path", calculator, PropagationSettings(fmax=1e-6, steps=77), found.relaxed)
        ((places, given),) = asked
        np.testing.assert_allclose(places, [atoms.positions[0] for atoms in found.relaxed[2]], atol=1e-4)
        assert given == (calculator, 2e-2, 77, None)
        np.testing.assert_array_equal(ends()[0].positions, prop.initial.positions)

    def test_images_do_not_slide_into_a_deep_minimum_on_the_way(self) -> None:
        class Well(Landscape):
            def along(self, x: float) -> float:
                return (1 - x**2) ** 2 * (1 - 3 * np.exp(-((x / 0.5) ** 2)))

            def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
                super().calculate(atoms, properties, system_changes)
                x, y, z = atoms.positions[0] - 5.0
                bent = y - 1 + x**2
                slope = (self.along(x + 1e-6) - self.along(x - 1e-6)) / 2e-6
                self.results["forces"] = -np.array([[slope + 4 * x * bent, 2 * bent, 2 * z]])

        well, images = Well(0.0, 0.0), _images(9)
        energies = barriers._converge(images, well, 2e-3, 300)
        x = np.linspace(-1, 1, 20001)
        top = int(np.argmax(energies))
        assert energies[top] == pytest.approx(max(well.along(x)), abs=1e-5)
        assert abs(images[top].positions[0, 0] - 5.0) == pytest.approx(abs(x[np.argmax(well.along(x))]), abs=1e-3)
        assert energies.min() < -1.5, "the minimum is on the path"
        images[top].calc = well
        assert np.linalg.norm(images[top].get_forces()) < 2e-3, "the climbing image has arrived, too"

    def test_a_path_has_as_many_steps_as_it_is_given(self) -> None:
        calculator, made = Landscape(0.6, 0.3), []
        for steps in (2, 300):
            images = _images(3)
            for atoms in images:
                atoms.calc = calculator
            made.append(barriers._descend(images, 2e-2, steps))
        assert made == [False, True]

    def test_paths_that_go_nowhere(self) -> None:
        with pytest.raises(RelaxationError, match=r"^not converged: the path after 5 steps$"):
            barriers._converge(_images(3), Landscape(0.6, 0.3), 1e-6, 5)

        class Slope(Calculator):
            implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012 - ASE's

            def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
                super().calculate(atoms, properties, system_changes)
                x = float(atoms.positions[0, 0])
                self.results = {"energy": x, "free_energy": x, "forces": np.array([[-1.0, 0, 0]])}

        with pytest.raises(RelaxationError, match=r"^left the basin: the path has no saddle point$"):
            barriers._converge(_images(3), Slope(), 20.0, 5)
        with pytest.raises(RelaxationError, match=r"^left the basin: the path has no saddle point$"):
            barriers._converge(_images(3)[::-1], Slope(), 20.0, 5)

    def test_the_hop_of_a_vacancy(self) -> None:
        crystal = bulk("W", "bcc", 3.0, cubic=True)
        first, last = vacancy_hop(crystal, 2)
        whole = crystal.repeat(2)
        assert len(first) == len(last) == 15
        np.testing.assert_allclose(first.positions, whole.positions[1:])
        moved = np.linalg.norm(last.positions - first.positions, axis=1)
        (mover,) = np.flatnonzero(moved)
        assert moved[mover] == pytest.approx(3.0 * np.sqrt(3) / 2)
        shift = last.positions[mover] - whole.positions[0]
        np.testing.assert_allclose(shift - np.round(shift / 6) * 6, 0.0, atol=1e-12)

    def test_cells_follow_each_members_crystal(self, potential: WeightsCalculator) -> None:
        host = prototype("fcc", "W", cubic=True)
        first, last = vacancy_hop(host, 1)
        prop = Barrier(first, last, host, 1, images=1, fmax=0.05)
        found = prop.one("path", potential, PropagationSettings(fmax=1e-4), None)
        crystal, _, images, *_ = found.relaxed
        for atoms in images:
            np.testing.assert_allclose(atoms.cell.array, crystal.atoms.cell.array, atol=1e-8)
        assert np.abs(crystal.atoms.cell.array - host.cell.array).max() > 0.01
        assert found.values["barrier"].noise.energy == pytest.approx(np.sqrt(2) * 3)

    def test_paths_that_do_not_converge_are_tried_between_ends_relaxed_anew(
        self, tame: mliuq.Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        host = prototype("fcc", "W", cubic=True)
        prop = Barrier(*vacancy_hop(host, 1), host, 1, images=1, fmax=0.05)
        settings = PropagationSettings(fmax=1e-4)
        best = prop.one("path", WeightsCalculator(weights_of(tame)), settings, None).relaxed
        near = weights_of(tame)
        near = replace(near, theta=near.theta + 0.1 * (tame.members[0] - near.theta))
        expected = prop.one("path", WeightsCalculator(near), settings, best).values["barrier"].number
        starts: list[Any] = []
        tries: list[int] = []
        converge, relaxed = barriers._converge, barriers.relax

        def fails(images: list[Atoms], *rest: Any) -> Any:
            tries.append(len(images))
            if len(tries) <= failures:
                raise RelaxationError("not converged")
            return converge(images, *rest)

        def noted(*given: Any, **named: Any) -> Any:
            starts.append(named.get("start"))
            return relaxed(*given, **named)

        monkeypatch.setattr(barriers, "_converge", fails)
        monkeypatch.setattr(barriers, "relax", noted)
        failures = 1
        again = prop.one("path", WeightsCalculator(near), settings, best).values["barrier"].number
        assert again == pytest.approx(expected, abs=1e-3)
        assert [start.curvature is None for start in starts] == [False] * 3 + [True] * 3
        assert tries == [3, 3]
        failures = 9
        with pytest.raises(RelaxationError, match="not converged"):
            prop.one("path", WeightsCalculator(near), settings, best)
        assert len(tries) == 4, "twice and no more"
        with pytest.raises(RelaxationError, match="not converged"):
            prop.one("path", WeightsCalculator(near), settings, None)
        assert len(tries) == 5, "the best fit has nothing to begin with"

    def test_what_all_of_a_path_has_in_common(self) -> None:
        """Hops along ⟨111⟩ of bcc keep three mirrors; one atom alone may not stand for its lattice's symmetry."""
        first, last = vacancy_hop(bulk("W", "bcc", 3.0, cubic=True), 2)
        found = barriers._of_path(first, last)
        assert found is not None
        ways = found.displacements
        moves = find_mic(last.positions - first.positions, first.cell)[0].ravel()
        np.testing.assert_allclose(ways @ (ways.T @ moves), moves, atol=1e-9)
        assert 3 < ways.shape[1] < 15
        first.positions[2, 0] += 0.1
        last.positions[2, 0] += 0.1
        assert barriers._of_path(first, last) is None
        assert barriers._of_path(*ends()) is None

    def test_small_helpers(self) -> None:
        values = barriers._values([1.0, 5.0, 2.0], 4)
        assert {name: value.number for name, value in values.items()} == {"barrier": 4.0, "reverse barrier": 3.0}
        atoms = Atoms("W", positions=[[1, 1, 1]], cell=[2, 2, 2])
        np.testing.assert_allclose(barriers._on(atoms, np.eye(3) * 3).positions, [[1.5, 1.5, 1.5]])
        np.testing.assert_allclose(atoms.cell.array, np.eye(3) * 2)
        bare = barriers._bare(atoms, np.float64(2.5))
        assert bare.info == {"energy": 2.5}
        assert type(bare.info["energy"]) is float
        assert not atoms.info


def _images(n: int) -> list[Atoms]:
    first, last = ends()
    made = []
    for t in np.linspace(0, 1, n + 2):
        atoms = first.copy()
        atoms.positions += t * (last.positions - first.positions)
        made.append(atoms)
    return made


# --- phonons ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bands_of_fcc(tame: mliuq.Model) -> tuple[WeightsCalculator, propagation.Found]:
    pytest.importorskip("phonopy")
    calculator = WeightsCalculator(weights_of(tame))
    prop = Phonons({"fcc": prototype("fcc", "W")}, size=2, displacement=1e-3, points=40, mesh=2)
    return calculator, prop.one("fcc", calculator, SETTINGS, None)


class TestPhonons:
    def modes(self, calculator: WeightsCalculator, cell: Atoms) -> Any:
        """q → frequencies (THz) of a crystal of one atom, from the Hessian of 2 × 2 × 2 cells; also all at once."""
        many = cell.repeat(2)
        many.calc = calculator
        H = hessian(many, "fixed").reshape(8, 3, 8, 3) / many.get_masses()[0]
        H -= np.einsum("iajb->iab", H)[:, :, None, :] * np.eye(8)[:, None, :, None]  # rows add up to nothing
        R = np.round(np.linalg.solve(cell.cell.array.T, (many.positions - many.positions[0]).T).T)
        unit = np.sqrt(units._e / units._amu) * 1e10 / (2 * np.pi) / 1e12

        def at(q: Any) -> np.ndarray:
            phase = np.exp(2j * np.pi * R @ np.asarray(q))
            omega2 = np.linalg.eigvalsh(np.einsum("ajb,j->ab", H[0], phase))
            return np.asarray(np.sign(omega2) * np.sqrt(np.abs(omega2)) * unit)

        return at, np.sort(np.concatenate([at(np.array(q) / 2) for q in np.ndindex(2, 2, 2)]))

    def test_frequencies(self, bands_of_fcc: tuple[WeightsCalculator, propagation.Found]) -> None:
        calculator, answer = bands_of_fcc
        relaxed = answer.relaxed[0].atoms
        at, every = self.modes(calculator, relaxed)
        assert answer.values["highest frequency"].number == pytest.approx(every.max(), rel=2e-3)
        points = relaxed.cell.bandpath(npoints=40).special_points
        for label in ("X", "L"):
            for k, frequency in enumerate(at(points[label])):
                assert answer.values[f"{label} {k + 1}"].number == pytest.approx(frequency, rel=3e-3, abs=0.02)
        assert not [name for name in answer.values if name.startswith("G ")], "nothing moves at Γ"
        assert {name.split()[0] for name in answer.values} == {
            "highest", "share", *(label for label in points if label != "G"),
        }  # fmt: skip
        imaginary = np.mean(every < -0.05)
        assert answer.values["share of imaginary modes"].number == pytest.approx(imaginary)
        for name, value in answer.values.items():
            assert value.unit == ("" if name.startswith("share") else "THz")
            assert (value.kind, value.noise) == ("force", propagation.Noise())

    def test_bands_and_densities(self, bands_of_fcc: tuple[WeightsCalculator, propagation.Found]) -> None:
        calculator, answer = bands_of_fcc
        at, every = self.modes(calculator, answer.relaxed[0].atoms)
        path = answer.relaxed[0].atoms.cell.bandpath(npoints=40)
        bands, density = answer.lines["bands"], answer.lines["density of states"]
        x, ticks, labels = path.get_linear_kpoint_axis()
        np.testing.assert_allclose(bands.x, x)
        np.testing.assert_allclose(bands.y[0], 0.0, atol=0.02)
        corner = int(np.argmin(np.abs(path.kpts - path.special_points["X"]).sum(axis=1)))
        np.testing.assert_allclose(bands.y[corner], at(path.special_points["X"]), atol=0.05)
        shown = [tick.rstrip() for tick in bands.ticks]
        assert "Γ" in shown
        assert "G" not in shown
        assert [position for k, position in enumerate(ticks) if k == 0 or position != ticks[k - 1]] == pytest.approx(
            list(bands.ticks.values())
        )
        jumps = [k for k in range(1, len(ticks)) if ticks[k] == ticks[k - 1]]
        assert jumps
        for k in jumps:
            assert f"{labels[k - 1]}|{labels[k]}" in shown
        assert (bands.x_label, bands.y_label) == ("wave vector (1/Å)", "frequency (THz)")
        assert (density.x_label, density.y_label) == ("frequency (THz)", "states/THz/atom")
        np.testing.assert_allclose(density.x, np.linspace(-2.0, 2.0 * every.max(), 301), rtol=2e-3)
        gauss = np.exp(-0.5 * ((density.x[:, None] - every) / 0.1) ** 2) / (0.1 * np.sqrt(2 * np.pi))
        assert np.abs(density.y - 3 * gauss.mean(axis=1)).max() < 0.2 * density.y.max()
        assert np.trapezoid(density.y, density.x) == pytest.approx(3.0, rel=0.02)

    def test_members_go_along_the_best_fits_path(
        self, tame: mliuq.Model, bands_of_fcc: tuple[WeightsCalculator, propagation.Found]
    ) -> None:
        calculator, answer = bands_of_fcc
        prop = Phonons({"fcc": prototype("fcc", "W")}, size=2, displacement=1e-3, points=40, mesh=2)
        member = prop.one("fcc", WeightsCalculator(weights_of(tame, 1)), SETTINGS, answer.relaxed)
        for name, line in answer.lines.items():
            np.testing.assert_array_equal(member.lines[name].x, line.x)
            assert member.lines[name].ticks == line.ticks
            assert np.abs(member.lines[name].y - line.y).max() > 1e-3
        again = prop.one("fcc", calculator, SETTINGS, answer.relaxed)
        for name, value in answer.values.items():
            assert again.values[name].number == pytest.approx(value.number, abs=2e-3)

    def test_densities_count_modes_by_weight(self) -> None:
        axis = np.linspace(-1, 5, 601)
        density = _smeared(np.array([1.0, 3.0]), np.array([1.0, 3.0]), axis)
        assert np.trapezoid(density, axis) == pytest.approx(3.0)
        assert np.trapezoid(density[axis > 2], axis[axis > 2]) == pytest.approx(3.0 * 3 / 4)
        assert density.max() == pytest.approx(3 * 3 / 4 / (0.1 * np.sqrt(2 * np.pi)))
        half = axis[axis > 2][density[axis > 2] > density.max() / 2]
        assert np.ptp(half) == pytest.approx(2 * np.sqrt(2 * np.log(2)) * 0.1, abs=0.02)

    def test_members_with_imaginary_modes_are_counted(self) -> None:
        def shares(name: str, *members: float) -> propagation.Estimate:
            return propagation.Estimate(name, "share of imaginary modes", "", 0.0, np.array(members))

        other = propagation.Estimate("a", "highest frequency", "THz", 1.0, np.array([1.0, 1.0, 1.0]))
        compared = Phonons({}).compare([shares("a", 0.0, 0.1, 0.2), shares("b", 0.0, 0.0, np.nan), other])
        assert compared == {"spearman": {}, "imaginary": {"a": 2, "b": 0}}
