"""The battery passes on sound models, and every check fails on a model or a wrapper spoilt on purpose for it."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from mliuq import MliuqError, Model, SnapParams, descriptors
from mliuq.cli import main
from mliuq.verification import CHECKS, Certificate, Check, Evaluation, Outcome, Subject, verify, write_certificate
from systems import random_model


def pushing_back(params: SnapParams, *, members: int = 4) -> Model:
    """A model that binds and pushes back: attraction by one component, repulsion by its square and ZBL."""
    made = random_model(params, members=members)
    zbl = (1.2, 2.4)
    theta = 0.02 * made.theta
    theta[:, 0] = -4.0
    theta[:, 1] = 0.02
    noise = {"energy": 0.01, "force": 0.1, "stress": 0.001}
    if not members:
        return Model(params, theta, zbl=zbl, noise=noise)
    # Members agree about the crystal at rest, where the data would be, and part from there.
    moves = (0.2 * np.abs(theta) + 1e-3) * np.random.default_rng(0).normal(size=(members, *theta.shape))
    known = np.concatenate([[1.0], descriptors(bulk("W", "bcc", a=3.16), params)[0]])
    moves -= 0.98 * (moves @ known)[..., None] * known / (known @ known)
    return Model(params, theta, theta + moves, zbl=zbl, noise=noise)


@pytest.fixture(scope="module")
def model() -> Model:
    return pushing_back(SnapParams(("W",), twojmax=2, rcutfac=4.2))


@pytest.fixture(scope="module")
def certificate(model: Model) -> Certificate:
    return verify(model, name="sound.mliuq")


def test_a_sound_model_passes(certificate: Certificate) -> None:
    failed = [(check.name, outcome) for check, outcome in certificate.outcomes if outcome.grade == "F"]
    assert not failed
    assert certificate.passed
    grades = {check.name: outcome.grade for check, outcome in certificate.outcomes}
    assert set(grades.values()) <= {"P", "N"}
    assert [name for name, grade in grades.items() if grade == "N"] in ([], ["LAMMPS"])


class Spoilt(Subject):
    """A model whose evaluations pass through a fault."""

    def __init__(self, model: Model, fault: Callable[[Evaluation, Atoms, int, int], Evaluation]) -> None:
        super().__init__(model)
        self._fault, self._calls = fault, 0

    def evaluate(self, atoms: Atoms, *, threads: int = 1, committee: bool = False) -> Evaluation:
        self._calls += 1
        found = super().evaluate(atoms, threads=threads, committee=committee)
        return self._fault(found, atoms, threads, self._calls)


LEAK: list[mmap.mmap] = []


def leaking(found: Evaluation, atoms: Atoms, threads: int, calls: int) -> Evaluation:
    pages = mmap.mmap(-1, 1 << 18)  # not from the heap, where earlier tests may have left room
    pages.write(b"x" * len(pages))
    LEAK.append(pages)
    return found


def off(found: Evaluation, energy: float) -> Evaluation:
    return replace(found, energy=found.energy + energy)


def bars(found: Evaluation, **changed: object) -> Evaluation:
    return replace(found, bars={**found.bars, **changed})


def pair_distance(atoms: Atoms) -> float:
    return float(np.linalg.norm(atoms.positions[1] - atoms.positions[0])) if len(atoms) == 2 else np.inf


def jump(found: Evaluation, atoms: Atoms, *_: int) -> Evaluation:
    return off(found, 0.5 if not atoms.pbc.any() and pair_distance(atoms) < 3.1 else 0.0)


def step_at_cutoff(found: Evaluation, atoms: Atoms, *_: int) -> Evaluation:
    """Forces that end abruptly at 4.2 Å, with the energy that belongs to them."""
    if atoms.pbc.any() or not (r := pair_distance(atoms)) < 4.2:
        return found
    along = (atoms.positions[1] - atoms.positions[0]) / r
    return replace(found, energy=found.energy + 0.1 * (r - 4.2), forces=found.forces - 0.1 * np.array([-along, along]))


def drifting(found: Evaluation, atoms: Atoms, threads: int, calls: int) -> Evaluation:
    return off(found, 1e-4 * calls) if len(atoms) > 8 else found


def collapsing(found: Evaluation, atoms: Atoms, *_: int) -> Evaluation:
    dense = len(atoms) / max(atoms.get_volume(), 1e-9) if atoms.pbc.all() else 0.0
    return off(bars(found, energy_std=1e-3 * len(atoms)), -1e4 if dense > 0.3 else 0.0)


#: name of the check -> what is done to every evaluation
FAULTS: dict[str, Callable[[Evaluation, Atoms, int, int], Evaluation]] = {
    "species": lambda f, a, t, c: replace(f, forces=0.0 * f.forces),
    "permutation": lambda f, a, t, c: off(f, 1e-5 * float(a.positions[0, 0] % 1.0)),
    "periodic images": lambda f, a, t, c: off(f, 1e-6 * float(a.positions[:, 0].sum())),
    "translation": lambda f, a, t, c: off(f, 1e-6 * float(a.positions[:, 2].max())),
    "rotation": lambda f, a, t, c: replace(f, forces=f.forces * [1.0, 1.0, 1.0001]),
    "inversion": lambda f, a, t, c: off(f, 1e-5 * float(np.linalg.det(a.cell.array) > 0)),
    "forces": lambda f, a, t, c: replace(f, forces=1.0001 * f.forces),
    "dimer": jump,
    "history": lambda f, a, t, c: off(f, 1e-12 * c),
    "memory": leaking,
    "threads": lambda f, a, t, c: off(f, 1e-3 * (t > 2)),
    "units": lambda f, a, t, c: replace(f, stress=None if f.stress is None else 160.21766 * f.stress),
    "stress": lambda f, a, t, c: replace(f, stress=None if f.stress is None else f.stress * [1, 1, 1, 1, 2, 1]),
    "cutoff": step_at_cutoff,
    "separated parts": lambda f, a, t, c: off(f, 1e-4 * len(a) ** 2),
    "supercell": lambda f, a, t, c: off(f, 1e-4 * len(a) ** 2),
    "energy drift": drifting,
    "repulsion": collapsing,
    "LAMMPS": lambda f, a, t, c: off(f, 1e-4),
    "bars": lambda f, a, t, c: bars(f, energies_std=-np.asarray(f.bars["energies_std"])),
    "bars of supercells": lambda f, a, t, c: bars(f, energy_std=0.1 * len(a) ** 0.5),
    "bond scan": lambda f, a, t, c: bars(f, energy_std=1e-3 * len(a)),
}


def test_every_check_has_its_fault() -> None:
    assert FAULTS.keys() == {check.name for check in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_each_check_fails_on_what_was_spoilt_for_it(check: Check, model: Model, certificate: Certificate) -> None:
    sound = dict((c.name, outcome) for c, outcome in certificate.outcomes)[check.name]
    if sound.grade == "N":
        pytest.skip(sound.note)
    found = verify(Spoilt(model, FAULTS[check.name]), checks=[check])
    LEAK.clear()
    outcome = found.outcomes[0][1]
    assert outcome.grade == "F", outcome
    assert not found.passed


@pytest.mark.parametrize("fault", [("energy_std", np.nan), ("energy_min", np.inf), ("energy_err", -1.0)])
def test_bars_that_are_no_bars(model: Model, fault: tuple[str, float]) -> None:
    check = next(check for check in CHECKS if check.name == "bars")
    spoilt = Spoilt(model, lambda f, a, t, c: bars(f, **{fault[0]: fault[1]}))
    assert verify(spoilt, checks=[check]).outcomes[0][1].grade == "F"


def test_nan_passes_no_check(model: Model) -> None:
    def nan(found: Evaluation, atoms: Atoms, threads: int, calls: int) -> Evaluation:
        return replace(found, energy=np.nan, forces=np.nan * found.forces, stress=np.full(6, np.nan))

    quick = [c for c in CHECKS if c.name not in ("memory", "energy drift", "LAMMPS", "bond scan", "bars of supercells")]
    found = verify(Spoilt(model, nan), checks=quick)
    assert [(c.name, o.grade) for c, o in found.outcomes if o.grade != "F"] == []


def test_a_collapse_that_the_bar_announces_passes(model: Model) -> None:
    def warned(found: Evaluation, atoms: Atoms, threads: int, calls: int) -> Evaluation:
        dense = len(atoms) / atoms.get_volume() if atoms.pbc.all() else 0.0
        return bars(collapsing(found, atoms, threads, calls), energy_std=(1e-3 + (dense > 0.2)) * len(atoms))

    check = next(check for check in CHECKS if check.name == "repulsion")
    outcome = verify(Spoilt(model, warned), checks=[check]).outcomes[0][1]
    assert outcome.grade == "P"
    assert "fold before" in outcome.note


def test_two_elements_and_no_members() -> None:
    params = SnapParams(("Cu", "Ni"), twojmax=2, rcutfac=4.0, radii=(0.5, 0.48))
    quick = [c for c in CHECKS if c.name not in ("memory", "energy drift", "LAMMPS", "threads")]
    found = verify(pushing_back(params, members=0), checks=quick)
    grades = {check.name: outcome for check, outcome in found.outcomes}
    assert {name for name, outcome in grades.items() if outcome.grade == "N"} == {c.name for c in quick if c.bars}
    assert [(n, o.figure, o.note) for n, o in grades.items() if o.grade == "F"] == []
    assert found.elements == ("Cu", "Ni")


def test_a_refusal_is_a_failure(model: Model) -> None:
    def refuse(found: Evaluation, atoms: Atoms, threads: int, calls: int) -> Evaluation:
        raise MliuqError("no")

    found = verify(Spoilt(model, refuse), checks=CHECKS[:2])
    assert {outcome.note for _, outcome in found.outcomes} == {"refused: no"}


def test_a_cutoff_without_switching_is_seen() -> None:
    rough = Model(
        SnapParams(("W",), twojmax=2, rcutfac=4.2, switchflag=False), np.array([[-4.0, 0.5, 0.1, 0.1, 0.1, 0.1]])
    )
    outcome = verify(rough, checks=[c for c in CHECKS if c.name == "cutoff"]).outcomes[0][1]
    assert outcome.grade == "F"
    assert outcome.figure == -1


def test_certificate_is_equal_bit_for_bit(certificate: Certificate, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_certificate(certificate, tmp_path / name)
    for file in ("index.html", "certificate.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    page = (tmp_path / "a" / "index.html").read_text()
    assert page.count("<svg") == sum(1 for _, o in certificate.outcomes if o.curves)
    assert "sound.mliuq" in page
    facts = json.loads((tmp_path / "a" / "certificate.json").read_text())
    assert facts["passed"]
    assert [c["name"] for c in facts["checks"]] == [c.name for c in CHECKS]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "index.html").write_text("mine")
    with pytest.raises(MliuqError, match="not replaced"):
        write_certificate(certificate, tmp_path / "c")
    evil = replace(certificate, name="<script>x</script>", outcomes=((CHECKS[0], Outcome("F", np.nan, 1, "", "<b>")),))
    write_certificate(evil, tmp_path / "d")
    assert "<script>" not in (tmp_path / "d" / "index.html").read_text()


def test_command(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.mliuq"
    model.save(path)
    assert main(["verify", str(path), "-o", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"]
    assert (tmp_path / "out" / "index.html").exists()
    theta = model.theta.copy()
    theta[:, 1] = -0.02
    soft = Model(model.params, theta)  # a published potential used without the repulsion it needs
    soft.to_snap(tmp_path / "soft")
    assert main(["verify", str(tmp_path / "soft.snapcoeff")]) == 1
    shown = capsys.readouterr().out
    assert "repulsion failed" in shown
    main(["verify", str(tmp_path / "soft.snapcoeff"), "--zbl", "1.2", "2.4", "--json"])
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["LAMMPS"]["grade"] == "N" or checks["LAMMPS"]["note"] == "pair_style mliuq"
    assert checks["cutoff"]["grade"] == "P"
