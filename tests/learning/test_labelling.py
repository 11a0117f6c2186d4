"""Whatever a reference does, every structure ends as a label or in quarantine with its reason."""

from __future__ import annotations

import os
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from mliuq.errors import MliuqError
from mliuq.learning import frames_files, learn
from mliuq.learning.folder import Round, read_json
from mliuq.learning.labelling import LabelTask, label_batch, label_one
from mliuq.learning.sanity import odd_energies, too_close
from mliuq.learning.settings import LabelSettings

REASONS = {
    "crash": r"status 3: the self-consistent field did not converge",
    "segfault": r"signal 11",
    "silent": r"no answer that can be read",
    "garbage": r"no answer that can be read",
    "nan": r"forces is not finite",
    "composition": r"AgCu3, expected Cu4",
    "moved": r"moved by 0.01 Å",
    "force": r"force on atom 0 is 1e\+04 eV/Å, expected at most 100",
    "absurd": r"energy is \+2.5e\+04 eV/atom from that of its composition, expected at most 20",
}


@pytest.fixture
def batch():
    rng = np.random.default_rng(5)
    found = []
    for _ in range(len(REASONS) + 3):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += rng.normal(scale=0.1, size=(4, 3))
        found.append(atoms)
    return found


def round_at(folder: Path) -> Round:
    folder.mkdir()
    return Round(folder, 1)


def test_every_fault_is_quarantined_with_its_reason_and_nothing_is_lost(setting_up, batch, tmp_path) -> None:
    faults = ",".join(f"{kind}:{index}" for index, kind in enumerate(REASONS, start=1))
    settings = setting_up(faults, label__workers=2).label
    labels, quarantine = label_batch(batch, [], round_at(tmp_path / "round"), settings, stress=False)
    assert len(labels) == 3
    assert len(quarantine) == len(REASONS)
    for atoms, (kind, reason) in zip(quarantine, REASONS.items(), strict=True):
        assert re.search(reason, atoms.info["reason"]), (kind, atoms.info["reason"])
    where = [*range(1, len(REASONS) + 1)]
    for atoms, index in zip(quarantine, where, strict=True):
        np.testing.assert_allclose(atoms.positions, batch[index].positions, atol=1e-8)
    for atoms, index in zip(labels, (0, len(REASONS) + 1, len(REASONS) + 2), strict=True):
        np.testing.assert_allclose(atoms.positions, batch[index].positions, atol=1e-8)
        assert np.abs(atoms.get_forces()).max() > 1e-3
    absurd = quarantine[list(REASONS).index("absurd")]
    assert absurd.get_potential_energy() > 9e4, "what was calculated is kept, too"


def test_the_label_is_the_references_energy_and_force(setting_up, batch, tmp_path) -> None:
    """Forces as differences of energies, both from labels on disk."""
    settings = setting_up().label
    step = 1e-3
    moved = [batch[0].copy() for _ in range(3)]
    moved[1].positions[2, 1] += step
    moved[2].positions[2, 1] -= step
    labels, _ = label_batch(moved, [], round_at(tmp_path / "round"), settings, stress=False)
    slope = (labels[1].get_potential_energy() - labels[2].get_potential_energy()) / (2 * step)
    assert labels[0].get_forces()[2, 1] == pytest.approx(-slope, rel=1e-4)
    assert abs(slope) > 1e-2


def test_a_calculation_that_hangs_is_ended_with_all_it_started(setting_up, batch, tmp_path) -> None:
    settings = replace(setting_up("hang:7").label, time_limit=1.0, retries=1)
    task = LabelTask(tmp_path, 7, batch[0], settings, False)
    (tmp_path / "labelling").mkdir()
    task = replace(task, folder=tmp_path / "labelling")
    label_one(task)
    facts = read_json(task.failure)
    assert facts["reason"] == "no answer within 1 s"
    assert facts["attempts"] == 2
    running = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                running.append((entry / "cmdline").read_bytes())
            except OSError:
                continue
    assert not [line for line in running if str(tmp_path).encode() in line]


@pytest.mark.parametrize("kind", ["once-crash", "once-nan"])
def test_a_fault_that_passes_costs_an_attempt(kind, setting_up, batch, made, tmp_path) -> None:
    settings = setting_up(f"{kind}:0", label__retries=1).label
    labels, quarantine = label_batch(batch[:1], [], round_at(tmp_path / "round"), settings, stress=False)
    assert (len(labels), len(quarantine)) == (1, 0)
    assert len(made()) == 2


def test_an_answer_that_is_not_believed_is_not_asked_for_again(setting_up, batch, made, tmp_path) -> None:
    settings = setting_up("moved:1", label__retries=3).label
    _, quarantine = label_batch(batch[:2], [], round_at(tmp_path / "round"), settings, stress=False)
    assert len(quarantine) == 1
    assert len(made()) == 2


def test_without_any_label_the_loop_stops_and_a_mended_reference_goes_on(setting_up, tmp_path) -> None:
    broken = setting_up(",".join(f"crash:{i}" for i in range(6)), stop__rounds=0)
    with pytest.raises(MliuqError, match=r"none of 6 structures got a label: .*did not converge; mend"):
        learn(broken, tmp_path / "out")
    result = learn(setting_up(stop__rounds=0), tmp_path / "out")
    assert result.logs[0]["labels"] == 6
    assert result.logs[0]["quarantined"] == 0


def test_structures_with_atoms_too_close_are_not_calculated(setting_up, batch, made, tmp_path) -> None:
    batch[0].positions[1] = batch[0].positions[0] + [0.0, 0.5, 0.0]
    settings = setting_up().label
    labels, quarantine = label_batch(batch[:2], [], round_at(tmp_path / "round"), settings, stress=False)
    assert (len(labels), len(quarantine)) == (1, 1)
    assert quarantine[0].info["reason"] == "atoms 0 and 1 are 0.500 Å apart, expected at least 0.8 Å"
    assert made() == ["round/labelling/001"]
    assert too_close(batch[0], 0.4) is None
    tiny = bulk("Cu").copy()
    tiny.set_cell(tiny.cell * 0.2, scale_atoms=True)
    assert "atoms 0 and 0" in str(too_close(tiny, 0.8)), "images count"


def test_odd_energies_do_not_draw_the_others_away() -> None:
    def labelled(formula: str, energy: float):
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator

        atoms = Atoms(formula)
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
        return atoms

    cells = [(3, 1), (1, 3), (2, 2), (4, 2), (5, 1), (1, 1), (6, 2)]
    known = [labelled(f"Cu{a}Ni{b}", -3.5 * a - 4.5 * b + 0.1 * a) for a, b in cells]
    new = [labelled("Cu2Ni3", -20.3), labelled("CuNi2", 1e6), labelled("CuNi2", -12.4)]
    assert set(odd_energies(known, new, 5.0)) == {1}
    assert set(odd_energies([], [*known, *new], 5.0)) == {len(known) + 1}


class Counting(ThreadPoolExecutor):
    """Counts what it is given, and sends it through a pickle as an executor of other machines does."""

    given = 0

    def submit(self, function, /, *arguments, **named):
        self.given += 1
        function, arguments = pickle.loads(pickle.dumps((function, arguments)))
        return super().submit(function, *arguments, **named)


def test_an_executor_of_the_user_is_used(setting_up, made, tmp_path) -> None:
    with Counting(2) as executor:
        result = learn(setting_up(stop__rounds=0), tmp_path / "out", executor=executor)
    assert executor.given == 6 == len(made())
    assert result.logs[0]["labels"] == 6


def test_a_calculator_is_imported_from_beside_the_settings(setting_up, batch, tmp_path) -> None:
    (tmp_path / "mine.py").write_text("from ase.calculators.emt import EMT\n")
    settings = setting_up(label__command="", label__calculator="mine:EMT").label
    assert settings.python_path == (str(tmp_path),)
    labels, _ = label_batch(batch[:1], [], round_at(tmp_path / "round"), settings, stress=True)
    from ase.calculators.emt import EMT

    batch[0].calc = EMT()
    np.testing.assert_allclose(labels[0].get_forces(), batch[0].get_forces(), atol=1e-6)
    np.testing.assert_allclose(labels[0].get_stress(), batch[0].get_stress(), atol=1e-6)


def test_a_reference_that_cannot_be_started_says_so(batch, tmp_path) -> None:
    settings = LabelSettings(command="no-such-program {input} {output}", retries=0)
    with pytest.raises(MliuqError, match="no-such-program: cannot be started: No such file"):
        label_batch(batch[:1], [], round_at(tmp_path / "round"), settings, stress=False)


def test_a_stress_is_missed_only_where_it_is_wanted(setting_up, batch, tmp_path) -> None:
    settings = setting_up().label
    assert frames_files.read(tmp_path / "start.xyz")
    with pytest.raises(MliuqError, match="the label has no stress"):
        label_batch(batch[:1], [], round_at(tmp_path / "round"), settings, stress=True)
