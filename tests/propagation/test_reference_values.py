"""Reference values a sheet is held against: read from JSON, or following from structures; and combinations' corners."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.units import GPa
from mliuq import MLIUQCalculator, compare
from mliuq.propagation import Estimate, combination
from mliuq.propagation.calculator import WeightsCalculator, weights_of
from mliuq.propagation.reference import judged, read_reference, summary
from systems import PARAMS, random_model


def birch(v: Any, v0: float, e0: float, b0: float, b1: float) -> Any:
    f = (v0 / v) ** (2 / 3)
    return e0 + 9 * v0 * b0 / 16 * ((f - 1) ** 3 * b1 + (f - 1) ** 2 * (6 - 4 * f))


def labelled(atoms: Atoms, kind: str, energy: float, stress: Any = None, **info: Any) -> Atoms:
    atoms.info |= {"config_type": kind, **info}
    named = {} if stress is None else {"stress": np.asarray(stress)}
    atoms.calc = SinglePointCalculator(atoms, energy=energy, **named)
    return atoms


def curve(kind: str, atoms: Atoms, known: tuple[float, float, float, float], n: int = 7) -> list[Atoms]:
    made = []
    for v in known[0] * np.linspace(0.95, 1.05, n):
        scaled = atoms.copy()
        scaled.set_cell(scaled.cell.array * np.cbrt(v * len(atoms) / atoms.get_volume()), scale_atoms=True)
        made.append(labelled(scaled, kind, len(atoms) * birch(v, *known)))
    return made


def strained(strain: float, c11: float, c12: float) -> Atoms:
    atoms = bulk("W", "bcc", 3.2)
    stress = np.array([c11 * strain, c12 * strain * 0.9, c12 * strain * 1.1, 0, 0, 0]) * GPa + 0.01
    return labelled(atoms, "elastic_c11", -3.0, stress, strain=strain)


KNOWN = {"bcc": (16.0, -3.0, 1.9, 4.2), "hcp": (16.5, -2.8, 1.7, 4.6)}


def test_structures_give_equations_of_state_and_elastic_constants(tmp_path: Path) -> None:
    frames = [
        *curve("eos_bcc", bulk("W", "bcc", 3.2), KNOWN["bcc"]),
        *curve("eos_hcp", bulk("W", "hcp", a=2.8, c=4.5), KNOWN["hcp"]),
        *curve("eos_few", bulk("W", "fcc", 4.0), KNOWN["bcc"], n=4),
        *curve("other", bulk("W", "fcc", 4.0), KNOWN["bcc"]),
        *(strained(s, c11, 200.0) for s, c11 in ((0.02, 400.0), (-0.02, 400.0), (0.01, 500.0), (-0.01, 520.0))),
        strained(0.005, 600.0, 100.0),  # without its opposite
        labelled(bulk("W"), "elastic_c11", -3.0, np.zeros(6)),  # without a strain
    ]
    plain = bulk("W")
    plain.calc = SinglePointCalculator(plain, energy=-1.0)
    write(tmp_path / "set.extxyz", [*frames, plain])
    found = dict(read_reference(tmp_path / "set.extxyz"))
    expected = {}
    for name, (v0, e0, b0, b1) in KNOWN.items():
        expected |= {
            (name, "volume"): v0, (name, "energy"): e0, (name, "bulk modulus"): b0 / GPa,
            (name, "bulk modulus derivative"): b1,
        }  # fmt: skip
    expected["hcp", "formation energy"] = 0.2
    expected |= {("bcc", "C11"): 510.0, ("bcc", "C12"): 200.0, ("bcc", "C'"): 155.0}
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-4), key
    assert type(found["bcc", "energy"]) is float
    exact = curve("eos_bcc", bulk("W", "bcc", 3.2), KNOWN["bcc"], n=5)
    write(tmp_path / "five.extxyz", exact)
    assert ("bcc", "volume") in read_reference(tmp_path / "five.extxyz")


def test_values_of_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    path.write_text(json.dumps({"bcc": {"volume": 16, "C11": "500.5"}, "hcp": {"energy": -3.5}}), encoding="utf-8")
    assert read_reference(path) == {("bcc", "volume"): 16.0, ("bcc", "C11"): 500.5, ("hcp", "energy"): -3.5}
    for wrong in ("[1]", '{"bcc": 3}', '{"bcc": {"volume": [1]}}', '{"bcc": {"volume": "x"}}', "nothing"):
        path.write_text(wrong)
        with pytest.raises(mliuq.MliuqError, match=r'reference.json: expected \{"object": \{"quantity": number\}\} \('):
            read_reference(path)
    path.write_text("{}")
    with pytest.raises(mliuq.MliuqError, match=r"reference.json: no reference values, expected config_type eos_NAME"):
        read_reference(path)
    (tmp_path / "bad.xyz").write_text("no atoms")
    with pytest.raises(mliuq.MliuqError, match=r"bad.xyz: cannot be read: \w+: "):
        read_reference(tmp_path / "bad.xyz")
    falling = [labelled(bulk("W", "bcc", a), "eos_bcc", -(a**3)) for a in np.linspace(3.1, 3.3, 6)]
    write(tmp_path / "flat.extxyz", falling)
    with pytest.raises(mliuq.MliuqError, match=r"^left the basin"):
        read_reference(tmp_path / "flat.extxyz")


def estimate(best: float, members: list[float], **options: Any) -> Estimate:
    return Estimate("x", "volume", "Å³", best, np.array(members), **options)


def test_how_a_reference_stands() -> None:
    one = estimate(1.0, [0.0, 2.0, 1.0], alpha=2.0)
    std = np.sqrt(2 / 3)
    assert judged(one, 2.0) == (pytest.approx(1.0 / (2 * std)), True)
    assert judged(one, 0.0) == (pytest.approx(-1.0 / (2 * std)), True)
    assert judged(one, 2.5)[1] is False
    assert judged(one, -0.5)[1] is False
    z, inside = judged(estimate(1.0, [1.0, 1.0]), 1.0)
    assert np.isnan(z)
    assert inside is True
    other = estimate(5.0, [4.0, 5.0, 6.0])
    found = summary([(one, 2.0), (other, 8.0)])
    assert found == {
        "count": 2,
        "mean_abs_error_over_std": pytest.approx((1 / std + 3 / std) / 2),
        "rms_z": pytest.approx(np.sqrt(((1 / (2 * std)) ** 2 + (3 / std) ** 2) / 2)),
        "inside": 0.5,
    }
    assert type(found["inside"]) is float


# --- combinations ----------------------------------------------------------------------------------------------------


def test_combinations_name_every_quantity() -> None:
    model = random_model(PARAMS["linear"], members=6, noise=True)
    a, b = bulk("W", "bcc", 3.1, cubic=True), bulk("W", "fcc", 4.0)
    found = compare(a, b, coefficients=[0.5, -2.0], model=model)
    energies, errs, comm = [], [], []
    for atoms in (a, b):
        atoms = atoms.copy()
        atoms.calc = MLIUQCalculator(model)
        energies.append(atoms.get_potential_energy())
        errs.append(atoms.calc.results["energy_err"])
        each = [WeightsCalculator(weights_of(model, m)).get_property("energy", atoms) for m in range(6)]
        comm.append(np.array(each))
    np.testing.assert_allclose(found.energies, energies, rtol=1e-12)
    np.testing.assert_allclose(found.energies_err, errs, rtol=1e-12)
    np.testing.assert_allclose(found.energy_comm, 0.5 * comm[0] - 2 * comm[1], rtol=1e-10)
    assert found.independent_err == pytest.approx(np.hypot(0.5 * errs[0], 2 * errs[1]), rel=1e-12)
    assert found.noise == pytest.approx(model.error_scale.noise_energy * np.hypot(0.5 * 2, 2 * 1), rel=1e-12)
    assert found.coefficients == (0.5, -2.0)
    assert all(type(c) is float for c in found.coefficients)
    assert compare(a, b, model=model, threads=2).energy == pytest.approx(compare(a, b, model=model).energy, rel=1e-12)
    assert compare(a, coefficients=[2], model=model, per_atom=True).energy == pytest.approx(energies[0])
    assert compare(a, b, model=model, per_atom=True).coefficients == (0.5, -1.0)
    with pytest.raises(mliuq.MliuqError, match=r"^structure 1 of 2: the structure has no atoms"):
        compare(Atoms(cell=[5, 5, 5], pbc=True), a, model=model, per_atom=True)


def test_threads_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(PARAMS["linear"], members=2)
    asked: list[dict[str, Any]] = []
    potential = model.potential()

    class Kept:
        cutoff = potential.cutoff

        def evaluate(self, structure: Any, **options: Any) -> Any:
            asked.append(options)
            return potential.evaluate(structure, **options)

    monkeypatch.setattr(type(model), "potential", lambda self: Kept())
    a, b = bulk("W", "bcc", 3.1), bulk("W", "fcc", 4.0)
    compare(a, b, model=model, threads=3)
    compare(a, b, model=model)
    same = {"forces": False, "virial": False, "spreads": True, "committee": True}
    assert asked == [{**same, "threads": 3}] * 2 + [{**same, "threads": 0}] * 2


def test_what_cannot_be_combined() -> None:
    model = random_model(PARAMS["binary"], members=3)
    w, be = bulk("W", "bcc", 3.2), bulk("Be", "hcp", a=2.3, c=3.6)
    for call, message in (
        (lambda: compare(model=model), "nothing to compare, expected at least one structure"),
        (lambda: compare(w, be), r"no model to compare by: give model=, or a structure with an MLIUQCalculator"),
        (lambda: compare(w, model=replace(model, members=None)),
         r"the model has no members: energies cannot be compared with an error \(fit with members\)"),
        (lambda: compare(w, be, w, model=model), "coefficients are missing, expected 3, one for each structure"),
        (lambda: compare(w, coefficients=[1, 2], model=model),
         r"2 coefficients, expected 1, one for each structure \(references find theirs\)"),
        (lambda: compare(w, coefficients=[np.inf], model=model), r"coefficients are \[inf\], expected finite numbers"),
        (lambda: compare(be, reference=w, model=model), "the references W do not balance Be: 2 atoms remain"),
        (lambda: compare(w, reference=[w, w.repeat(2)], model=model),
         "the references W, W8 balance the structures in more than one way: leave some out"),
        (lambda: compare(w, reference=bulk("Ta"), model=model), "the references Ta do not balance W: 1 atoms remain"),
        (lambda: compare(w, bulk("Ta"), model=model), "structure 2 of 2: "),
    ):  # fmt: skip
        with pytest.raises(mliuq.MliuqError, match=f"^{message}"):
            call()


def test_models_of_calculators_must_be_one() -> None:
    model = random_model(PARAMS["linear"], members=3)
    assert model.members is not None
    a, b, c = bulk("W", "bcc", 3.2), bulk("W", "fcc", 4.0), bulk("W", "hcp", a=2.8, c=4.5)
    c.calc = SinglePointCalculator(c, energy=1.0)
    a.calc = MLIUQCalculator(model)
    copies: list[tuple[Callable[[], mliuq.Model], bool]] = [
        (lambda: replace(model, members=model.members.copy(), theta=model.theta.copy()), True),
        (lambda: replace(model, theta=model.theta + 1e-9), False),
        (lambda: replace(model, members=model.members + 1e-9), False),
        (lambda: replace(model, members=None), False),
        (lambda: replace(model, params=replace(model.params, rcutfac=4.3)), False),
    ]
    for make, same in copies:
        other = make()
        b.calc = MLIUQCalculator(other)
        if same:
            assert combination._model_of([a, c, b]) is model
        else:
            for order in ([a, b], [b, a]):
                with pytest.raises(mliuq.MliuqError, match=r"^the structures' calculators have different models: give"):
                    combination._model_of(order)
    none = replace(model, members=None)
    a.calc = b.calc = MLIUQCalculator(none)
    assert combination._model_of([a, b]) is none


def test_coefficients_of_balance_are_cleared_of_rounding() -> None:
    w = bulk("W", "bcc", 3.2, cubic=True)
    other = bulk("W", "fcc", 4.0)
    merged = combination._merged([w, other, w.copy(), w], np.array([0.1, 1.0, 0.2, -0.3 + 1e-14]))
    np.testing.assert_array_equal(merged, [0.0, 1.0, 0.0, 0.0])
    merged = combination._merged([w, other, w.copy(), other], np.array([1.0, 1e-11, 2.0, 3.0]))
    np.testing.assert_allclose(merged, [3.0, 3.0 + 1e-11, 0.0, 0.0], rtol=1e-15)
    kept = np.array([1.0, 2.0])
    np.testing.assert_array_equal(combination._merged([w, w], kept), [3.0, 0.0])
    np.testing.assert_array_equal(kept, [1.0, 2.0])
    np.testing.assert_array_equal(combination._merged([w, other], np.array([1.0, 2e-12])), [1.0, 2e-12])
    np.testing.assert_array_equal(combination._merged([w, other], np.array([1.0, 5e-13])), [1.0, 0.0])
