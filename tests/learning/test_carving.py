"""Carving: the environment of one atom stays, the rest is nothing new."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bcc100, bulk
from mliuq import MliuqError, Model
from mliuq.learning import carve, carving
from mliuq.learning.surroundings import Surroundings


@pytest.fixture(scope="module")
def model(tungsten: Path) -> Model:
    """A short cutoff: small cells."""
    from mliuq.readers import read_structures

    settings = {
        "snap.twojmax": 4, "snap.rcut": 3.6, "posterior.members": 32, "posterior.calibrate": False,
        "data.test_fraction": 0.0,
    }  # fmt: skip
    return mliuq.fit(read_structures(tungsten)[::2], settings=settings)


def crystal(size: int = 6) -> tuple[Atoms, int]:
    """A warm crystal with an atom far off its site."""
    atoms = bulk("W", a=3.17, cubic=True) * (size, size, size)
    atoms.rattle(0.08, seed=1)
    atoms.positions[100] += (0.9, 0.5, 0.2)
    atoms.positions += (5.0, -3.0, 11.0)
    return atoms, 100


def slab() -> tuple[Atoms, int]:
    """A surface with an adatom; not periodic along its normal."""
    atoms = bcc100("W", (5, 5, 6), a=3.17, vacuum=6.0)
    atoms.pbc = (True, True, False)
    atoms.rattle(0.05, seed=2)
    top = int(atoms.positions[:, 2].argmax())
    adatom = Atoms("W", [atoms.positions[top] + (1.585, 1.585, 1.6)])
    return atoms + adatom, len(atoms)


def disordered() -> tuple[Atoms, int]:
    atoms = bulk("W", a=3.17, cubic=True) * (6, 6, 6)
    atoms.rattle(0.45, seed=3)
    return atoms, 7


def bars(atoms: Atoms, model: Model) -> np.ndarray:
    return np.linalg.norm(mliuq.evaluate(model, atoms, ["forces_err"])["forces_err"], axis=1)


def neighbours(atoms: Atoms, centre: int, radius: float) -> np.ndarray:
    """Vectors to all atoms within a radius, sorted, by another neighbour list."""
    from ase.neighborlist import neighbor_list

    i, vectors = neighbor_list("iD", atoms, radius)
    found = vectors[i == centre]
    return found[np.lexsort(found.round(6).T)]


@pytest.mark.parametrize(("make", "share"), [(crystal, 0.9), (slab, 1.3), (disordered, 1.3)])
def test_the_environment_stays_and_the_rest_is_known(make, share: float, model: Model) -> None:
    """Below the bar of the centre where the rest is a crystal; where it is not, it is little better known."""
    atoms, centre = make()
    save = share * bars(atoms, model)[centre]
    carved = carve(atoms, centre, model, save=save, steps=40)
    cutoff = model.params.cutoff
    before, after = (mliuq.descriptors(a, model.params)[k] for a, k in ((atoms, centre), (carved, 0)))
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-10 * np.abs(before).max())
    np.testing.assert_allclose(neighbours(carved, 0, cutoff), neighbours(atoms, centre, cutoff), atol=1e-10)
    kept = carved.arrays["carve_kept"] == 1
    assert kept.sum() == 1 + len(neighbours(atoms, centre, cutoff))
    size = bars(carved, model)
    assert size[~kept].max() < save
    assert carved.info["carve_rest_err"] == pytest.approx(size[~kept].max())
    assert carved.info["carve_kept_err"] == pytest.approx(size[kept].max())
    assert carved.pbc.all()
    assert len(carved) < 0.5 * len(atoms)


def test_a_crystal_is_cut_along_its_lattice(model: Model) -> None:
    """Four lattice constants and no hole: as many atoms as the volume holds."""
    atoms, centre = crystal()
    around = Surroundings.of(atoms, centre, 20.0)
    assert around.spacing == pytest.approx(2.74, abs=0.2)
    np.testing.assert_array_equal(around.positions[0], 0.0)
    best = around.cells(2 * 3.6 + around.spacing, 3)[0]
    lattice = best @ np.linalg.inv(0.5 * 3.17 * np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]))
    np.testing.assert_allclose(lattice, np.rint(lattice), atol=0.2)
    carved = carve(atoms, centre, model, save=100.0)
    assert carved.get_volume() / len(carved) == pytest.approx(3.17**3 / 2, rel=0.05)


def test_cells_hold_the_sphere(model: Model) -> None:
    for make in (crystal, slab, disordered):
        atoms, centre = make()
        around = Surroundings.of(atoms, centre, 15.0)
        cells = around.cells(9.0, 4)
        assert 1 <= len(cells) <= 4
        for cell in cells:
            heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
            assert heights.min() >= 9.0 - 1e-9
            corners = [(np.array(c) - 0.5) @ cell for c in np.ndindex(2, 2, 2)]
            assert max(map(np.linalg.norm, corners)) < 1.5 * 9.0, "beyond is nothing to fill it with"


def test_surroundings_are_the_neighbours_of_another_list() -> None:
    skewed = bulk("W", a=3.17) * (2, 2, 2)
    skewed.rattle(0.1, seed=4)
    for atoms, centre in ((skewed, 3), slab()):
        around = Surroundings.of(atoms, centre, 7.0)
        own = around.positions[1:]
        own = own[np.lexsort(own.round(6).T)]
        np.testing.assert_allclose(own, neighbours(atoms, centre, 7.0), atol=1e-9)


def test_elements_stay_and_go_to_their_own_places(model: Model) -> None:
    """A crystal of two elements is cut into one of the same composition."""
    atoms = bulk("CsCl", "cesiumchloride", a=3.2) * (8, 8, 8)
    around = Surroundings.of(atoms, 0, 16.0)
    cell = around.cells(10.0, 1)[0]
    filled = carving._filled(around, cell, 4.0)
    assert filled.symbols[0] == "Cs"
    assert filled.symbols.count("Cs") == filled.symbols.count("Cl")
    assert len(filled) == round(filled.get_volume() / 3.2**3) * 2


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Atoms, int]]:
    """What relaxations begin with, and their steps; they are not done."""
    seen: list[tuple[Atoms, int]] = []

    def relaxed(start: Atoms, keep: float, calculator: object, steps: int) -> Atoms:
        seen.append((start.copy(), steps))
        return start

    monkeypatch.setattr(carving, "_relaxed", relaxed)
    return seen


def test_trials_steps_and_rattle_arrive(model: Model, starts: list[tuple[Atoms, int]]) -> None:
    atoms, centre = crystal()
    for options in ({}, {"trials": 3, "steps": 7}, {"rattle": 0.02}, {"seed": 5}):
        with pytest.raises(MliuqError, match=f"best of {options.get('trials', 6)} trials"):
            carve(atoms, centre, model, save=1e-6, **options)
    by_default, fewer, calm, other = starts[:6], starts[6:9], starts[9:15], starts[15:]
    assert [steps for _, steps in by_default] == [100] * 6
    assert [steps for _, steps in fewer] == [7] * 3
    first = [run[0][0].positions for run in (by_default, fewer, calm, other)]
    assert all(np.array_equal(first[0], one) for one in first)
    free = by_default[0][0].arrays["carve_kept"] == 0

    def moves(run: list[tuple[Atoms, int]]) -> np.ndarray:
        return run[1][0].positions - run[0][0].positions

    assert moves(by_default)[free].std() == pytest.approx(0.1, rel=0.2)
    np.testing.assert_allclose(moves(calm), 0.2 * moves(by_default), atol=1e-12)
    assert not np.allclose(moves(other), moves(by_default))
    assert not moves(other)[~free].any()
    assert not np.array_equal(by_default[-1][0].cell.array, by_default[0][0].cell.array)


def test_more_can_be_kept(model: Model) -> None:
    atoms, centre = crystal(7)
    carved = carve(atoms, centre, model, save=100.0, keep=4.6, trials=1, steps=0)
    assert carved.arrays["carve_kept"].sum() == 1 + len(neighbours(atoms, centre, 4.6))
    np.testing.assert_allclose(neighbours(carved, 0, 4.6), neighbours(atoms, centre, 4.6), atol=1e-10)


def test_relaxing_calms_the_rest(model: Model) -> None:
    atoms, centre = disordered()
    still, calm = (carve(atoms, centre, model, save=100.0, trials=1, steps=n) for n in (0, 40))
    kept = still.arrays["carve_kept"] == 1
    np.testing.assert_array_equal(still.positions[kept], calm.positions[kept])
    forces = [np.abs(mliuq.evaluate(model, a)["forces"][~kept]).mean() for a in (still, calm)]
    assert forces[1] < 0.7 * forces[0]


def test_the_wall_pushes_as_its_energy_says(model: Model) -> None:
    atoms = bulk("W", a=3.17, cubic=True) * 3
    free = np.arange(1, len(atoms))
    atoms.rattle(0.2, seed=6)
    atoms.calc = carving._Walled(mliuq.MLIUQCalculator(model), 3.6, free)
    bare = mliuq.evaluate(model, atoms)
    assert atoms.get_potential_energy() > bare["energy"] + 1.0
    forces = atoms.get_forces()
    atom = int(np.abs(forces - bare["forces"]).max(axis=1).argmax())
    step = 1e-4
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.calc = carving._Walled(mliuq.MLIUQCalculator(model), 3.6, free)
        moved.positions[atom, 0] += sign * step
        energies.append(moved.get_potential_energy())
    assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(forces[atom, 0], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"centre": -1}, "centre is -1"),
        ({"centre": 9999}, "expected an atom from 0 to"),
        ({"save": 0.0}, "save is 0"),
        ({"save": np.nan}, "save is nan"),
        ({"keep": 1.0}, "expected at least the cutoff"),
        ({"trials": 0}, "trials is 0"),
        ({"steps": -1}, "steps is -1"),
        ({"rattle": -0.1}, "rattle is -0.1"),
    ],
)
def test_bad_input_to_carve_is_one_error(options: dict[str, object], message: str, model: Model) -> None:
    atoms, centre = crystal(4)
    with pytest.raises(MliuqError, match=message):
        carve(**{"atoms": atoms, "centre": centre, "model": model, "save": 1.0, **options})


def test_small_structures_are_labelled_as_they_are(model: Model) -> None:
    with pytest.raises(MliuqError, match="label it as it is"):
        carve(bulk("W", cubic=True) * 2, 0, model, save=100.0)
    with pytest.raises(MliuqError, match="nothing to carve"):
        carve(Atoms("W"), 0, model, save=1.0)


def test_carving_needs_members_and_the_whole_potential(model: Model) -> None:
    atoms, centre = crystal(4)
    with pytest.raises(MliuqError, match="no members"):
        carve(atoms, centre, replace(model, members=None), save=1.0)
    beside = replace(model, metadata={"fit": {"settings": {"data": {"reference": "pair_style zbl 1 2"}}}})
    with pytest.raises(MliuqError, match="reference potential"):
        carve(atoms, centre, beside, save=1.0)
