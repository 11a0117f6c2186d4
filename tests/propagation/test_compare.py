"""Combinations of energies: what cancels, what adds up, what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from mliuq import MLIUQCalculator, MliuqError, Model, compare
from mliuq.cli import main
from mliuq.core import RowBuilder
from mliuq.descriptor.neighbours import pack
from mliuq.readers import read_structures
from systems import PARAMS, random_model, structure


@pytest.fixture(scope="module")
def model() -> Model:
    return random_model(PARAMS["binary"], members=7, noise=True)


def cells(*kinds: str, seed: int = 0) -> list[Atoms]:
    return [structure(kind, PARAMS["binary"], seed=seed + i) for i, kind in enumerate(kinds)]


def member_energies(model: Model, atoms: Atoms) -> np.ndarray:
    """Energy of every member from its weights and the design row."""
    row = RowBuilder(model.params.core).build([pack(atoms, model.params)], forces=False)[0][0]
    assert model.members is not None
    return model.members.reshape(model.n_members, -1) @ row * len(atoms)


class TestDefinition:
    def test_equals_the_definition_from_design_rows(self, model: Model) -> None:
        structures = cells("cube", "slab", "triclinic")
        c = np.array([0.7, -1.3, 0.25])
        found = compare(*structures, coefficients=c, model=model)
        members = sum(ci * member_energies(model, atoms) for ci, atoms in zip(c, structures, strict=True))
        best = sum(ci * energy_of(model, atoms) for ci, atoms in zip(c, structures, strict=True))
        assert found.energy == pytest.approx(best, rel=1e-10)
        np.testing.assert_allclose(found.energy_comm, members, rtol=1e-9)
        std = np.sqrt(np.mean((members - best) ** 2))
        assert found.energy_std == pytest.approx(std, rel=1e-9)
        assert (found.energy_min, found.energy_max) == pytest.approx((members.min(), members.max()), rel=1e-9)
        floor = 0.02 * np.sqrt(np.sum((c * [len(a) for a in structures]) ** 2))
        assert found.noise == pytest.approx(floor, rel=1e-12)
        assert found.energy_err == pytest.approx(np.hypot(1.5 * std, floor), rel=1e-9)

    def test_one_structure_is_what_the_calculator_says(self, model: Model) -> None:
        (atoms,) = cells("cube")
        found = compare(atoms, model=model)
        atoms.calc = MLIUQCalculator(model)
        atoms.get_potential_energy()
        for name in ("energy", "energy_std", "energy_min", "energy_max", "energy_err"):
            assert getattr(found, name) == pytest.approx(atoms.calc.results[name], rel=1e-10), name
        assert found.independent_err == pytest.approx(found.energy_err, rel=1e-10)

    def test_two_structures_are_subtracted(self, model: Model) -> None:
        a, b = cells("cube", "slab")
        found = compare(a, b, model=model)
        assert found.coefficients == (1.0, -1.0)
        assert found.energy == pytest.approx(energy_of(model, a) - energy_of(model, b), rel=1e-10)
        back = compare(b, a, model=model)
        assert back.energy == pytest.approx(-found.energy)
        assert (back.energy_min, back.energy_max) == pytest.approx((-found.energy_max, -found.energy_min))
        assert back.energy_err == pytest.approx(found.energy_err)

    def test_errors_of_like_cells_cancel_noise_does_not(self, model: Model) -> None:
        (a,) = cells("cube")
        b = a.copy()
        b.positions[0, 0] += 1e-6
        found = compare(a, b, model=model)
        n = len(a)
        assert found.energy_std < 1e-4 * found.energies_err[0]
        assert found.energy_err == pytest.approx(np.sqrt(2) * n * 0.02, rel=1e-3)
        assert found.independent_err == pytest.approx(np.sqrt(2) * found.energies_err[0], rel=1e-4)
        assert found.independent_err > 3 * found.energy_err

    def test_identical_structures_are_one(self, model: Model) -> None:
        a, b = cells("cube", "slab")
        zero = compare(a, a.copy(), model=model)
        assert zero.energy == zero.energy_err == zero.energy_std == zero.energy_min == zero.energy_max == 0.0
        twice = compare(a, b, a.copy(), coefficients=[1, -1, 1], model=model)
        once = compare(a, b, coefficients=[2, -1], model=model)
        assert twice.energy_err == pytest.approx(once.energy_err, rel=1e-12)
        for change in ("positions", "cell", "numbers", "pbc"):
            other = a.copy()
            if change == "positions":
                other.positions[:] += 1e-9
            elif change == "cell":
                other.set_cell(other.cell * (1 + 1e-12))
            elif change == "numbers":
                other.symbols[0], other.symbols[1] = other.symbols[1], other.symbols[0]
            else:
                other.pbc = (True, True, False)
            assert compare(a, other, model=model).energy_err >= 0.02 * np.sqrt(2) * len(a) * 0.999, change


def energy_of(model: Model, atoms: Atoms) -> float:
    atoms = atoms.copy()
    atoms.calc = MLIUQCalculator(model)
    return float(atoms.get_potential_energy())


class TestReferences:
    def test_a_vacancy_is_balanced_by_the_crystal(self) -> None:
        model = random_model(PARAMS["linear"], members=5, noise=True)
        crystal = bulk("W", a=3.2, cubic=True)
        vacancy = crystal.repeat(2)
        del vacancy[0]
        found = compare(vacancy, reference=crystal, model=model)
        assert found.coefficients == pytest.approx((1.0, -7.5))
        by_hand = compare(vacancy, crystal, coefficients=[1, Fraction(-15, 2)], model=model)
        assert found.energy == pytest.approx(by_hand.energy)
        assert found.energy_err == pytest.approx(by_hand.energy_err)
        scaled = compare(vacancy, coefficients=[0.25], reference=[crystal], model=model)
        assert scaled.energy_err == pytest.approx(0.25 * found.energy_err)

    def test_a_compound_by_its_elements_per_atom(self, model: Model) -> None:
        (compound,) = cells("triclinic")
        n_w, n_be = (compound.get_chemical_symbols().count(e) for e in ("W", "Be"))
        phases = [bulk("Be", a=2.3, c=3.6), bulk("W", a=3.2)]
        found = compare(compound, reference=phases, per_atom=True, model=model)
        n = len(compound)
        assert found.coefficients == pytest.approx((1 / n, -n_be / 2 / n, -n_w / n))
        whole = compare(compound, reference=phases, model=model)
        assert found.energy == pytest.approx(whole.energy / n)
        assert found.energy_err == pytest.approx(whole.energy_err / n)

    def test_one_body_energies_drop_out(self, model: Model) -> None:
        """Balanced combinations do not depend on β0, nor do their errors."""
        (compound,) = cells("cube")
        phases = [bulk("Be", a=2.3, c=3.6), bulk("W", a=3.2)]
        rng = np.random.default_rng(0)
        assert model.members is not None
        theta, members = model.theta.copy(), model.members.copy()
        theta[:, 0] += rng.normal(size=2)
        members[:, :, 0] += 5.0 * rng.normal(size=(model.n_members, 2))
        other = Model(model.params, theta, members=members, noise=model.noise, calibration=model.calibration)
        a, b = (compare(compound, reference=phases, model=m) for m in (model, other))
        assert a.energy == pytest.approx(b.energy, abs=1e-8)
        np.testing.assert_allclose(a.energy_comm, b.energy_comm, atol=1e-8)
        assert a.independent_err != pytest.approx(b.independent_err, rel=1e-2)

    def test_references_that_do_not_balance(self, model: Model) -> None:
        (compound,) = cells("cube")
        tungsten = bulk("W", a=3.2)
        with pytest.raises(MliuqError, match=r"the references W do not balance Be: \S+ atoms remain"):
            compare(compound, reference=tungsten, model=model)
        with pytest.raises(MliuqError, match="in more than one way"):
            compare(tungsten, reference=[tungsten, bulk("W", a=3.2, cubic=True)], model=model)


class TestRefusals:
    def test_coefficients(self, model: Model) -> None:
        a, b, c = cells("cube", "slab", "tiny")
        with pytest.raises(MliuqError, match="coefficients are missing, expected 3"):
            compare(a, b, c, model=model)
        with pytest.raises(MliuqError, match="3 coefficients, expected 2"):
            compare(a, b, coefficients=[1, -1, 1], model=model)
        with pytest.raises(MliuqError, match="expected finite numbers"):
            compare(a, b, coefficients=[1, np.nan], model=model)
        with pytest.raises(MliuqError, match="expected finite numbers"):
            compare(a, b, coefficients=[1, Fraction(10) ** 400], model=model)
        with pytest.raises(MliuqError, match="the combination is not a finite number"):
            compare(a, b, coefficients=[1e308, 1e308], model=model)
        with pytest.raises(MliuqError, match="at least one structure"):
            compare(model=model)

    def test_models(self, model: Model) -> None:
        a, b = cells("cube", "slab")
        with pytest.raises(MliuqError, match="no model to compare by"):
            compare(a, b)
        with pytest.raises(MliuqError, match="no members"):
            compare(a, b, model=random_model(PARAMS["binary"]))
        a.calc = MLIUQCalculator(model)
        from_one = compare(a, b)
        b.calc = MLIUQCalculator(model)
        assert compare(a, b).energy == from_one.energy
        b.calc = MLIUQCalculator(random_model(PARAMS["binary"], members=7, seed=3))
        with pytest.raises(MliuqError, match="different models"):
            compare(a, b)
        assert compare(a, b, model=model).energy == from_one.energy

    def test_a_model_that_is_a_part_of_the_whole(self, model: Model) -> None:
        part = replace(model, metadata={"fit": {"settings": {"data": {"reference": "pair_style zbl 4 5"}}}})
        with pytest.raises(MliuqError, match="took the reference potential 'pair_style zbl 4 5' off its data"):
            compare(*cells("cube", "slab"), model=part)

    def test_a_structure_that_cannot_be_evaluated_is_named(self, model: Model) -> None:
        a, b = cells("cube", "slab")
        b.symbols[1] = "Mo"
        with pytest.raises(MliuqError, match=r"structure 2 of 2: atom 1 .* is Mo"):
            compare(a, b, model=model)
        nowhere = Atoms(numbers=[500])
        with pytest.raises(MliuqError, match=r"^structure 2 of 2: an atomic number is 500, expected a number from 0"):
            compare(*cells("cube"), reference=nowhere, model=model)


class TestCommand:
    @pytest.fixture
    def files(self, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Atoms]:
        monkeypatch.chdir(tmp_path)
        model.save("m.mliuq")
        structures = cells("cube", "slab", "triclinic")
        for name, atoms in zip("abc", structures, strict=True):
            write(f"{name}.xyz", atoms, format="extxyz")
        write("two.xyz", structures[:2], format="extxyz")
        write("be.xyz", bulk("Be", a=2.3, c=3.6), format="extxyz")
        write("w.xyz", bulk("W", a=3.2), format="extxyz")
        return [read_structures(f"{name}.xyz")[0] for name in ("a", "b", "c", "be", "w")]

    def json(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
        capsys.readouterr()
        assert main(["compare", "m.mliuq", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    @pytest.mark.parametrize(
        ("arguments", "options"),
        [
            (["a.xyz", "b.xyz"], {}),
            (["a.xyz", "b.xyz", "--coefficients", "1", "-1"], {}),
            (
                ["--coefficients", "-1/2", "3e-1", "--per-atom", "a.xyz", "b.xyz"],
                {"coefficients": [-0.5, 0.3], "per_atom": True},
            ),
            (["two.xyz@0", "two.xyz@-1"], {}),
        ],
    )
    def test_equals_the_function(
        self, arguments: list[str], options: dict, files: list[Atoms], model: Model, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found = self.json(capsys, *arguments)
        expected = asdict(compare(*files[:2], model=model, **options))
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-12, err_msg=name)
        assert found["unit"] == ("eV/atom" if options.get("per_atom") else "eV")

    def test_references(self, files: list[Atoms], model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        found = self.json(capsys, "c.xyz", "--reference", "w.xyz", "--reference", "be.xyz")
        expected = compare(files[2], reference=[files[4], files[3]], model=model)
        assert found["energy_err"] == pytest.approx(expected.energy_err, rel=1e-12)
        assert found["coefficients"] == pytest.approx(expected.coefficients)

    def test_the_table(self, files: list[Atoms], model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["compare", "m.mliuq", "a.xyz", "b.xyz"]) == 0
        text = capsys.readouterr().out
        expected = compare(*files[:2], model=model)
        assert f"{expected.energy:.6g} ± {expected.energy_err:.3g} eV\n" in text
        assert f"{expected.energies[0]:.6f}" in text
        assert f"{expected.independent_err:.4g}" in text

    @pytest.mark.parametrize(
        ("arguments", "status", "says"),
        [
            (["a.xyz", "b.xyz", "c.xyz"], 1, "coefficients are missing"),
            (["a.xyz", "b.xyz", "--coefficients"], 2, "--coefficients"),
            (["a.xyz", "b.xyz", "--coefficients", "one"], 2, "--coefficients"),
            (["a.xyz", "b.xyz", "--coefficients", "1e-999999999"], 2, "--coefficients"),
            (["two.xyz"], 1, "two.xyz: holds 2 configurations"),
            (["two.xyz@5"], 1, "two.xyz holds 2 configurations"),
            (["two.xyz@x"], 1, "two.xyz@x"),
            (["missing.xyz"], 1, "missing.xyz"),
            (["a.xyz", "--reference", "w.xyz"], 1, "do not balance Be"),
            ([], 2, "structures"),
        ],
    )
    def test_refusals(
        self, arguments: list[str], status: int, says: str, files: list[Atoms], capsys: pytest.CaptureFixture[str]
    ) -> None:
        del files
        assert main(["compare", "m.mliuq", *arguments]) == status
        message = capsys.readouterr().err
        assert message.startswith("mliuq: error: ")
        assert message.count("\n") == 1
        assert says in message
