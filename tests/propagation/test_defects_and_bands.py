"""Defects, surfaces, faults, barriers, phonons and users' own functions against independent computations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bcc110, bulk
from ase.optimize import BFGS
from mliuq import propagation
from mliuq.propagation import PropagationSettings
from mliuq.propagation.barriers import vacancy_hop
from mliuq.propagation.calculator import WeightsCalculator, weights_of
from mliuq.propagation.coordinates import hessian
from mliuq.propagation.functions import miller
from mliuq.propagation.point_defects import DEFECTS, Defects
from mliuq.propagation.prototypes import prototype
from mliuq.propagation.stacking_faults import StackingFaults

TWO = PropagationSettings(members=2, fmax=1e-5, max_failed=0.6)


@pytest.fixture(scope="session")
def calm(tame: mliuq.Model) -> mliuq.Model:
    """Members nearer still: what is tested here is the same for any weights that hold a crystal together."""
    return replace(tame, members=tame.theta + 0.2 * (tame.members - tame.theta))


def lattice(model: mliuq.Model, member: int, kind: str) -> tuple[float, float]:
    """Lattice constant and energy per atom of a cubic crystal, by eos of that member."""
    found = propagation.eos(model, [kind], settings=PropagationSettings(fmax=1e-8))
    per_cell = {"bcc": 2, "fcc": 4}[kind]
    volume, energy = (float(found[kind, quantity].members[member]) for quantity in ("volume", "energy"))
    return float(np.cbrt(per_cell * volume)), energy


def relaxed(atoms: Atoms, model: mliuq.Model, member: int) -> Atoms:
    atoms.calc = mliuq.MLIUQCalculator(weights_of(model, member))
    assert BFGS(atoms, logfile=None).run(fmax=1e-4, steps=300)
    return atoms


def test_vacancy_on_the_members_own_lattice(calm: mliuq.Model) -> None:
    found = propagation.defects(calm, ["vacancy"], host="fcc", size=2, settings=TWO)
    member = found.members[0]
    a, per_atom = lattice(calm, member, "fcc")
    cell = bulk("W", "fcc", a, cubic=True).repeat(2)
    del cell[5]
    expected = relaxed(cell, calm, member).get_potential_energy() - 31 * per_atom
    energy = found["vacancy", "formation energy"]
    assert energy.members[0] == pytest.approx(expected, abs=1e-4)
    assert energy.floor == pytest.approx(np.sqrt(2) * 31 * calm.error_scale.noise_energy)
    # Formation volume by letting the cell go where its pressure drives it, instead of by linear elasticity.
    from mliuq.propagation.relax import relax

    free = relax(cell, WeightsCalculator(weights_of(calm, member)), PropagationSettings(fmax=1e-5), cell="free")
    volume = free.atoms.get_volume() - 31 * a**3 / 4
    assert found["vacancy", "formation volume"].members[0] == pytest.approx(volume, abs=0.15 * a**3 / 4)


def test_every_defect_adds_or_removes_its_atom() -> None:
    for kind in ("bcc", "fcc"):
        host = prototype(kind, "W", cubic=True)
        perfect = len(host) * 8
        for name in DEFECTS:
            cell = Defects(host, kind, (name,), size=2).build(name, host)
            extra = {"vacancy": -1, "divacancy": -2}.get(name, 1)
            assert len(cell) == perfect + extra, name
            distances = cell.get_all_distances(mic=True)
            assert distances[distances > 0].min() > 1.2, name
    assert Defects(host, "fcc", ("111",), size=2).describe()["size"] == 2


@pytest.mark.parametrize(("kind", "name"), [("hcp", "octahedral"), ("bcc", "hole")])
def test_defects_that_have_no_site_are_refused(kind: str, name: str) -> None:
    with pytest.raises(mliuq.MliuqError, match="expected"):
        Defects(prototype(kind, "W", cubic=True), kind, (name,))


def test_surface_energy(calm: mliuq.Model) -> None:
    options = {"host": "bcc", "layers": 4, "vacuum": 6.0, "settings": replace(TWO, fmax=1e-4)}
    found = propagation.surfaces(calm, ["110"], **options)
    member = found.members[0]
    a, per_atom = lattice(calm, member, "bcc")
    slab = relaxed(bcc110("W", (1, 1, 4), a=a, vacuum=6.0, periodic=True), calm, member)
    area = 2 * np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    expected = (slab.get_potential_energy() - 4 * per_atom) / area / (units.J / units.m**2)
    assert found["110", "surface energy"].members[0] == pytest.approx(expected, abs=1e-4)
    assert found.settings["layers"] == 4
    assert found.settings["vacuum"] == 6.0


def test_gamma_lines_begin_and_end_in_the_crystal(calm: mliuq.Model) -> None:
    fault = StackingFaults("W", "fcc", (1, 1, 1), (1, -1, 0), layers=2)
    block = fault.block(4.0)
    assert block.cell.angles() == pytest.approx([90, 90, 90])
    calculator = WeightsCalculator(weights_of(calm))
    block.calc = calculator
    crystal = bulk("W", "fcc", 4.0)
    crystal.calc = calculator
    assert block.get_potential_energy() / len(block) == pytest.approx(crystal.get_potential_energy(), abs=1e-9)
    found = propagation.gsf(
        calm, "fcc", plane="111", direction="1-10", layers=2, points=5, settings=replace(TWO, fmax=1e-3)
    )
    (curve,) = found.curves
    for gamma in (curve.best, *curve.members):
        assert gamma[0] == 0
        assert gamma[-1] == pytest.approx(0.0, abs=1e-5)
        assert gamma[1] == pytest.approx(gamma[-2], abs=1e-4)  # mirror images
        assert gamma[1:-1].max() > 0.01
    assert found[curve.object, "unstable fault energy"].best == pytest.approx(curve.best.max())
    surface = propagation.gsf(
        calm, "fcc", plane="111", direction="1-10", layers=2, points=3, across=3, settings=replace(TWO, fmax=1e-2)
    )
    assert surface.curves[0].best.shape == (3, 3)


def test_barrier_of_the_vacancy_hop(calm: mliuq.Model) -> None:
    found = propagation.neb(calm, host="fcc", size=1, images=3, fmax=0.02, settings=replace(TWO, fmax=1e-4))
    (curve,) = found.curves
    barrier = found["path", "barrier"]
    for k in range(2):
        assert barrier.members[k] == pytest.approx(curve.members[k].max())
        assert barrier.members[k] == pytest.approx(found["path", "reverse barrier"].members[k], abs=1e-4)
        member = found.members[k]
        a, _ = lattice(calm, member, "fcc")
        # In this cell the half-way point is a saddle by symmetry: the atom in the middle of its hop.
        first, last = vacancy_hop(bulk("W", "fcc", a, cubic=True), 1)
        middle = first.copy()
        middle.positions = 0.5 * (first.positions + last.positions)
        top = hold(middle, calm, member)
        start = relaxed(first, calm, member)
        assert barrier.members[k] == pytest.approx(top - start.get_potential_energy(), abs=2e-3)


def hold(atoms: Atoms, model: mliuq.Model, member: int) -> float:
    """Energy of the saddle next to a structure, by Newton's method."""
    atoms.calc = mliuq.MLIUQCalculator(weights_of(model, member))
    for _ in range(15):
        omega, axes = np.linalg.eigh(hessian(atoms, "fixed"))
        flat = np.abs(omega) < 1e-3
        step = np.where(flat, 0.0, (axes.T @ atoms.get_forces().ravel()) / np.where(flat, 1.0, omega))
        atoms.positions += (axes @ step).reshape(-1, 3)
        if np.abs(atoms.get_forces()).max() < 1e-5:
            break
    return float(atoms.get_potential_energy())


def test_ends_of_a_path_must_fit() -> None:
    first = bulk("W", "bcc", 3.2, cubic=True)
    with pytest.raises(mliuq.MliuqError, match="same atoms"):
        propagation.neb(None, (first, first.repeat(2)))  # type: ignore[arg-type]
    with pytest.raises(mliuq.MliuqError, match="one cell"):
        propagation.neb(None, (first, bulk("W", "bcc", 3.3, cubic=True)))  # type: ignore[arg-type]


def test_frequencies_are_those_of_the_supercells_hessian(calm: mliuq.Model) -> None:
    """A mesh of 2 × 2 × 2 holds exactly the modes of a supercell of 2 × 2 × 2 cells."""
    pytest.importorskip("phonopy")
    found = propagation.phonons(calm, ["fcc"], size=2, mesh=2, points=60, displacement=1e-3, settings=TWO)
    member = found.members[0]
    a, _ = lattice(calm, member, "fcc")
    cell = bulk("W", "fcc", a).repeat(2)
    cell.calc = WeightsCalculator(weights_of(calm, member))
    omega2 = np.linalg.eigvalsh(hessian(cell, "fixed")) / cell.get_masses()[0]
    highest = np.sqrt(omega2.max() * units._e / units._amu) * 1e10 / (2 * np.pi) / 1e12
    assert found["fcc", "highest frequency"].members[0] == pytest.approx(highest, rel=2e-3)
    bands, dos = found.curves
    assert bands.members.shape == (2, len(bands.x), 3)
    assert {"Γ", "X", "L"} <= {tick.strip() for tick in bands.ticks}
    inside = np.trapezoid(dos.best, dos.x)
    assert inside == pytest.approx(3.0, rel=0.05) or found["fcc", "share of imaginary modes"].best > 0
    assert found.comparisons["imaginary"]["fcc"] == np.sum(found["fcc", "share of imaginary modes"].members > 0)


def test_users_own_functions(calm: mliuq.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users_pressure.py").write_text(
        "def pressure(atoms, calculator):\n"
        "    assert atoms.calc is calculator\n"
        "    return {'pressure': (-atoms.get_stress()[:3].mean(), 'eV/Å³'), 'atoms': len(atoms)}\n"
        "def broken(atoms, calculator):\n"
        "    raise KeyError('no such thing')\n"
        "def wrong(atoms, calculator):\n"
        "    return {'x': 'y'}\n"
    )
    monkeypatch.chdir(tmp_path)
    crystal = {"squeezed": bulk("W", "bcc", 3.0)}
    found = propagation.custom(calm, crystal, "users_pressure:pressure", relax="none", settings=TWO)
    atoms = crystal["squeezed"].copy()
    atoms.calc = mliuq.MLIUQCalculator(weights_of(calm, found.members[1]))
    estimate = found["squeezed", "pressure"]
    assert estimate.unit == "eV/Å³"
    assert estimate.members[1] == pytest.approx(-atoms.get_stress()[:3].mean(), abs=1e-10)
    assert propagation.custom(calm, ["fcc"], "users_pressure:pressure", settings=TWO)[
        "fcc", "pressure"
    ].best == pytest.approx(0.0, abs=1e-5)
    for function, message in (
        ("users_pressure:broken", "no such thing"),
        ("users_pressure:wrong", "expected a number"),
        ("users_pressure:nothing", "nothing"),
        ("users_pressure", "expected module:function"),
        ("nowhere:f", "nowhere"),
    ):
        with pytest.raises(mliuq.MliuqError, match=message):
            propagation.custom(calm, crystal, function, relax="none", settings=TWO)


def test_miller_indices() -> None:
    assert miller("110") == (1, 1, 0)
    assert miller("1-11") == (1, -1, 1)
    assert miller("1 -1 10") == (1, -1, 10)
    for wrong in ("11", "1111", "1a0", ""):
        with pytest.raises(mliuq.MliuqError, match="three whole numbers"):
            miller(wrong)


def test_engines_agree_on_barrier_and_vacancy(calm: mliuq.Model) -> None:
    """Saddle point and vacancy follow the weights and each member's own lattice, without relaxing."""
    near = replace(calm, members=calm.theta + 0.5 * (calm.members - calm.theta))
    both = PropagationSettings(members=4, fmax=1e-5, engine="both")
    barrier = propagation.neb(near, host="fcc", size=1, images=3, fmax=0.02, settings=both)
    vacancy = propagation.defects(near, ["vacancy"], host="fcc", size=2, volumes=False, settings=both)
    for found in (barrier, vacancy):
        for line in found.comparisons["implicit"]:
            assert line["members"] == 4
            assert line["std"] > 1e-5
            assert line["rms"] < 0.04, line
