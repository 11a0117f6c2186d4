"""Reference values are those that were asked for, of the structure they are taken from, in one unit and sign."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa
from mliuq.errors import MliuqError
from mliuq.fitting import run_fit
from mliuq.readers.keys import Keys
from mliuq.readers.origin import Origin, describe, numbered, with_origin
from mliuq.readers.units import PRESSURE
from mliuq.regression.stress_check import suspicion
from mliuq.regression.targets import doubts, read_targets

ALL = (True, True, True)
SMALL = {"snap.twojmax": 2, "posterior.members": 5, "posterior.extrapolation": False}


def copper(seed: int = 0) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell.array * (1 + 0.02 * np.random.default_rng(seed).normal(size=(3, 3))), scale_atoms=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


def with_values(prefix: str = "", stress: bool = True, seed: int = 0) -> Atoms:
    """Copper with random values in `info` and `arrays`."""
    rng, atoms = np.random.default_rng(seed), copper(seed)
    atoms.info[f"{prefix}energy"] = rng.normal()
    atoms.arrays[f"{prefix}forces"] = rng.normal(size=(4, 3))
    if stress:
        atoms.info[f"{prefix}stress"] = rng.normal(size=6)
    return atoms


def with_emt(n: int) -> list[Atoms]:
    structures = [copper(seed) for seed in range(n)]
    for atoms in structures:
        atoms.calc = EMT()
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    return structures


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        (("REF_energy", "REF_forces"), "found REF_energy, REF_forces: use --keys REF"),
        (("dft_energy", "dft_force"), "use --energy-key dft_energy --forces-key dft_force"),
        (("DFT_energy", "DFT_forces"), "use --keys DFT"),
        (("Energy",), "found Energy: use --energy-key Energy"),
        (("energy_pbe", "forces_pbe"), "use --energy-key energy_pbe --forces-key forces_pbe"),
    ],
)
def test_what_is_there_is_offered(names: tuple[str, ...], advice: str) -> None:
    atoms = copper()
    atoms.info[names[0]] = 1.0
    for name in names[1:]:
        atoms.arrays[name] = np.zeros((4, 3))
    with pytest.raises(MliuqError, match="no energy under the key 'energy'") as caught:
        read_targets([atoms], Keys())
    assert advice in str(caught.value)
    with pytest.raises(MliuqError, match="found") as caught:
        read_targets([atoms], Keys(), skip_missing=True)
    assert names[0] in str(caught.value)


def test_numbers_about_energies_are_not_offered() -> None:
    atoms = copper()
    atoms.info |= {"energy_std": 0.1, "energy_err": 0.2, "energy_weight": 3.0, "free_energy": 1.0}
    with pytest.raises(MliuqError, match="it carries energy_err, energy_std, energy_weight, free_energy"):
        read_targets([atoms], Keys())


def test_a_structure_without_the_method_asked_for_does_not_fall_back_to_the_other() -> None:
    both, one = with_values("REF_", seed=1), copper()
    both.info["energy"], one.info["energy"] = -1.0, -2.0
    both.arrays["forces"] = one.arrays["forces"] = np.ones((4, 3))
    keys = Keys("REF_energy", "REF_forces", "REF_stress")
    assert read_targets([both], keys)[0].energy == both.info["REF_energy"]
    with pytest.raises(MliuqError, match="no energy under the key 'REF_energy'; found energy, forces"):
        read_targets([both, one], keys)
    kept = read_targets([both, one], keys, skip_missing=True)
    assert (kept[1].energy, kept[1].forces) == (None, None)
    assert "carries values of two methods: 'energy' is taken, not 'REF_energy'" in "".join(
        doubts([one, both], Keys(), ALL)
    )
    assert doubts([both], keys, ALL) == []


def test_of_two_values_under_one_name_the_calculator_s_counts_and_the_other_is_named() -> None:
    atoms = with_values()
    atoms.calc = SinglePointCalculator(atoms, energy=atoms.info["energy"], forces=atoms.arrays["forces"])
    energy = atoms.info["energy"]
    assert doubts([atoms], Keys(), (True, True, False)) == []
    atoms.info["energy"] += 1.0
    assert read_targets([atoms], Keys())[0].energy == energy
    (message,) = doubts([atoms], Keys(), (True, True, False))
    assert "two different 'energy': that in atoms.calc.results is taken, not that in atoms.info" in message


# --- stress ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["virial", "virials"])
@pytest.mark.parametrize("prefix", ["", "REF_"])
@pytest.mark.parametrize("shape", [(6,), (9,), (3, 3)])
def test_a_virial_is_minus_stress_times_volume(name: str, prefix: str, shape: tuple[int, ...]) -> None:
    atoms = with_values(prefix)
    stress = atoms.info.pop(f"{prefix}stress")
    full = -atoms.get_volume() * stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    atoms.info[f"{prefix}{name}"] = full.reshape(shape) if shape != (6,) else -atoms.get_volume() * stress
    for key in (f"{prefix}stress", f"{prefix}{name}"):  # found in place of a stress, and asked for by name
        keys = Keys(f"{prefix}energy", f"{prefix}forces", key, stress_unit="GPa")  # its unit is eV whatever a stress's
        np.testing.assert_allclose(read_targets([atoms], keys, ALL)[0].stress, stress, rtol=1e-12)


def test_virial_needs_a_volume() -> None:
    atoms = with_values(stress=False)
    atoms.info["virial"] = np.zeros(6)
    atoms.cell = None
    with pytest.raises(MliuqError, match="'virial' cannot be a stress without a cell"):
        read_targets([atoms], Keys(), ALL)


@pytest.mark.parametrize(("unit", "factor"), [("eV/A3", 1.0), ("GPa", 1 / GPa), ("kbar", 10 / GPa), ("bar", 1e4 / GPa)])
@pytest.mark.parametrize(("sign", "s"), [("tension", 1.0), ("compression", -1.0)])
def test_units_and_signs(unit: str, factor: float, sign: str, s: float) -> None:
    atoms = with_values()
    stress = atoms.info["stress"].copy()
    atoms.info["stress"] = s * factor * stress
    keys = Keys(stress_unit=unit, stress_sign=sign)  # type: ignore[arg-type]
    np.testing.assert_allclose(read_targets([atoms], keys, ALL)[0].stress, stress, rtol=1e-12)
    converted = with_origin(atoms, Origin("x.json", 0, units_known=True))
    np.testing.assert_array_equal(read_targets([converted], keys, ALL)[0].stress, atoms.info["stress"])


def test_stress_and_virial_that_disagree_are_reported() -> None:
    atoms = with_values()
    atoms.info["virial"] = -atoms.get_volume() * atoms.info["stress"]
    assert doubts([atoms], Keys(), ALL) == []
    atoms.info["stress"] = atoms.info["stress"] * 10 / GPa
    (message,) = doubts([atoms], Keys(), ALL)
    assert "'stress' is 1602 times what 'virial' says" in message


@pytest.mark.parametrize(
    ("factor", "says"),
    [
        (1.0, ""),
        (-1.0, "--stress-sign compression"),
        (1 / GPa, "--stress-unit GPa"),
        (-10 / GPa, "--stress-unit kbar"),
        (1e4 / GPa, "--stress-unit bar"),
        (30.0, "no unit known here"),
    ],
)
def test_a_fit_is_told_of_a_stress_in_other_units(factor: float, says: str, caplog: pytest.LogCaptureFixture) -> None:
    structures = with_emt(12)
    for atoms in structures:
        results = atoms.calc.results
        atoms.calc = SinglePointCalculator(
            atoms, energy=results["energy"], forces=results["forces"], stress=factor * results["stress"]
        )
    with caplog.at_level(logging.WARNING, "mliuq.fitting.data"):
        run_fit(structures, settings={**SMALL, "weights.stress": 1.0, "posterior.calibrate": False})
    messages = [r.message for r in caplog.records if r.name == "mliuq.fitting.data"]
    assert bool(messages) == bool(says)
    assert says in "".join(messages)


@pytest.mark.parametrize("true", ["eV/A3", "GPa", "kbar", "bar"])
@pytest.mark.parametrize("said", ["eV/A3", "GPa", "kbar", "bar"])
@pytest.mark.parametrize(("sign", "other"), [("tension", "compression"), ("compression", "tension")])
def test_the_advice_counts_from_what_was_said(true: str, said: str, sign: str, other: str) -> None:
    stress = np.random.default_rng(0).normal(size=(20, 6))
    read = -stress * PRESSURE[said] / PRESSURE[true]
    message = suspicion(read, 1.3 * stress, Keys(stress_unit=said, stress_sign=sign))  # type: ignore[arg-type]
    assert f"--stress-sign {other}" in message
    assert (f"--stress-unit {true}" in message) == (true != said)
    assert ("--stress-unit" in message) == (true != said)


def test_vasp_order_of_the_shear_is_noticed() -> None:
    given = np.random.default_rng(0).normal(size=(40, 6))
    assert suspicion(given, given) == ""
    assert "VASP's order" in suspicion(given[:, [0, 1, 2, 5, 3, 4]], given)


# --- whose result ----------------------------------------------------------------------------------------------------


def test_a_shared_calculator_is_refused() -> None:
    shared, structures = EMT(), [copper(seed) for seed in range(3)]
    for atoms in structures:
        atoms.calc = shared
        atoms.get_forces()
    with pytest.raises(MliuqError, match=r"configuration 0 \(the 1st\): its energy was computed at other .*positions"):
        read_targets(structures, Keys())
    assert read_targets(structures[2:], Keys())[0].energy == structures[2].get_potential_energy()


@pytest.mark.parametrize("change", ["positions", "cell", "numbers"])
def test_a_result_of_before_the_move_is_refused(change: str) -> None:
    atoms = with_emt(1)[0]
    if change == "positions":
        atoms.positions[2, 1] += 1e-3
    elif change == "cell":
        atoms.cell[0, 0] += 1e-3
    else:
        atoms.numbers[1] = 47
    with pytest.raises(MliuqError, match=f"computed at other {change}"):
        read_targets([atoms], Keys())


def test_moments_and_charges_change_no_result() -> None:
    atoms = with_emt(1)[0]
    atoms.set_initial_magnetic_moments([1.0] * 4)
    read_targets([atoms], Keys())


# --- where -----------------------------------------------------------------------------------------------------------


def test_places_are_counted_from_both_ends_of_habit() -> None:
    atoms = copper()
    assert [describe(atoms, i)[-10:].split("the ")[1] for i in (0, 1, 2, 3, 10, 20, 111)] == [
        "1st)", "2nd)", "3rd)", "4th)", "11th)", "21st)", "112th)",
    ]  # fmt: skip
    known = with_origin(atoms, Origin("a.xyz", 14))
    atoms.info["config_type"] = "bcc"
    assert describe(known, 3) == "a.xyz: configuration 14 (the 15th, bcc)"


def test_an_error_counts_configurations_before_any_is_held_out() -> None:
    structures = with_emt(20)
    structures[15].calc = None
    with pytest.raises(MliuqError, match=r"configuration 15 \(the 16th\) has no energy"):
        run_fit(structures, settings={**SMALL, "data.test_fraction": 0.3, "seed": 1})
    assert numbered(structures)[15] is not structures[15], "the caller's structures are left as they are"
    assert not hasattr(structures[15], "_mliuq_origin")
