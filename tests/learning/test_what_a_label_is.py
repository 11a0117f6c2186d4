"""Labels piece by piece: what is believed, what is asked, what is left on disk, in the very words."""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from mliuq.errors import MliuqError
from mliuq.learning import frames_files, labelling, processes, worker
from mliuq.learning.folder import Round, read_json
from mliuq.learning.labelling import LabelTask, label_batch, label_one
from mliuq.learning.sanity import distrusted, odd_energies, too_close, unfinished
from mliuq.learning.settings import LabelSettings


def answered(atoms: Atoms, **results: Any) -> Atoms:
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


# what is believed ----------------------------------------------------------------------------------------------------


def test_what_is_too_close() -> None:
    pair = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.0]])
    assert too_close(pair, 2.5) == "atoms 0 and 1 are 2.000 Å apart, expected at least 2.5 Å"
    assert too_close(pair, 1.9) is None
    assert too_close(pair, 0.0) is None
    assert too_close(Atoms(), 2.5) is None
    three = Atoms("Cu3", positions=[[0, 0, 0], [0, 0, 2.0], [0, 1.5, 2.0]])
    assert too_close(three, 2.5) == "atoms 1 and 2 are 1.500 Å apart, expected at least 2.5 Å", "the nearest"
    pair.positions[1, 2] = np.inf
    assert too_close(pair, 0.0) == "positions or cell are not finite"
    cell = bulk("Cu")
    cell.cell[0, 0] = np.nan
    assert too_close(cell, 2.5) == "positions or cell are not finite"


def test_what_is_unfinished() -> None:
    atoms = bulk("Cu")
    whole = {"energy": -1.0, "forces": np.zeros((1, 3)), "stress": np.zeros(6)}
    assert unfinished(atoms, stress=False) == "the label has no energy and no forces"
    assert unfinished(atoms, stress=True) == "the label has no energy and no forces and no stress"
    assert unfinished(answered(atoms, **whole), stress=True) is None
    for name in ("energy", "forces", "stress"):
        lacking = {key: value for key, value in whole.items() if key != name}
        expected = f"the label has no {name}"
        assert unfinished(answered(atoms, **lacking), stress=True) == expected
        bad = answered(atoms, **{**whole, name: whole[name] * np.nan})
        assert unfinished(bad, stress=True) == f"the label's {name} is not finite"
        if name == "stress":
            assert unfinished(bad, stress=False) is None


def test_what_is_distrusted() -> None:
    settings = LabelSettings(max_force=3.0)
    asked = Atoms("CuAgCu", positions=[[0, 0, 0], [0, 0, 3], [0, 3, 0]], cell=[9, 9, 9], pbc=(True, True, False))
    forces = np.array([[0.0, 0.0, 0.5], [0.0, 3.0, 0.0], [1.0, 0.0, 0.0]])

    def said(change: Any = None, **results: Any) -> str | None:
        answer = asked.copy()
        if change is not None:
            change(answer)
        return distrusted(asked, answered(answer, **{"energy": 1.0, "forces": forces, **results}), settings)

    def moved(by: float) -> Any:
        return lambda a: a.positions.__setitem__((1, 2), a.positions[1, 2] + by)

    assert said() is None, "a force as large as allowed"
    assert said(lambda a: a.set_chemical_symbols("AgCuCu")) == (
        "the label has the atoms in another order, expected AgCu2"
    )
    assert said(lambda a: a.set_chemical_symbols("AgAgCu")) == "the label has Ag2Cu, expected AgCu2"
    assert said(lambda a: a.set_pbc(True)) == "the label has pbc [True, True, True], expected [True, True, False]"
    assert said(moved(0.0009)) is None
    assert said(moved(-0.0011)) == "the label has atoms or cell moved by 0.0011 Å, expected none"
    assert said(moved(9.0)) == "the label has atoms or cell moved by 9 Å, expected none", "not periodic along z"
    assert said(lambda a: a.positions.__setitem__((1, 0), -18.0)) is None, "a whole vector of the cell"
    assert said(lambda a: a.set_cell([9, 9.02, 9])) == "the label has atoms or cell moved by 0.02 Å, expected none"
    assert said(lambda a: a.positions.__setitem__((0, 0), np.nan)) == (
        "the label has atoms or cell moved by nan Å, expected none"
    )
    assert said(forces=forces[:2]) == "the label has forces of shape (2, 3), expected (3, 3)"
    assert said(forces=forces * 1.25) == "the force on atom 1 is 3.75 eV/Å, expected at most 3"
    free = Atoms("Cu", positions=[[0, 0, 0]])
    assert distrusted(free, answered(free, forces=np.zeros((1, 3))), settings) is None
    away = Atoms("Cu", positions=[[5.0, 0, 0]])
    assert distrusted(free, answered(away, forces=np.zeros((1, 3))), settings) == (
        "the label has atoms or cell moved by 5 Å, expected none"
    )


def test_how_far_off_an_energy_is() -> None:
    """Three atoms of copper at −3 eV each; one label 0.5 eV/atom above, one 0.3 eV/atom below that."""
    known = [answered(Atoms("Cu3"), energy=-9.0) for _ in range(3)] + [answered(Atoms("Cu3"), forces=np.zeros((3, 3)))]
    labels = [answered(Atoms("Cu2"), energy=-5.0), answered(Atoms("Cu2"), energy=-6.0),
              answered(Atoms("Cu2"), energy=-6.6)]  # fmt: skip
    assert odd_energies(known, labels, 0.2) == {
        0: "the energy is +0.5 eV/atom from that of its composition, expected at most 0.2",
        2: "the energy is -0.3 eV/atom from that of its composition, expected at most 0.2",
    }
    assert set(odd_energies(known, labels, 0.4)) == {0}
    assert odd_energies(known, labels, 0.51) == {}
    assert odd_energies(known, labels, math.inf) == {}
    assert odd_energies(known, [], 0.1) == {}
    two = [answered(Atoms("CuAg"), energy=-5.0), answered(Atoms("CuAg3"), energy=-9.0)]
    assert odd_energies(known, two, 1e-6) == {}, "−3 and −2 eV: one energy for each element"


# what is asked and left ---------------------------------------------------------------------------------------------


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A reference in this process: EMT, and what `run_program` was called with."""
    calls: list[dict[str, Any]] = []

    def run_program(words: list[str], folder: Path, log: Path, **named: Any) -> int:
        calls.append({"words": words, "folder": folder, "log": log, **named})
        (atoms,) = frames_files.read(Path(words[1]))
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "magmom": 1.5}
        atoms.calc = SinglePointCalculator(atoms, **results)
        Path(words[2]).write_bytes(frames_files.to_bytes([atoms]))
        log.write_text("done")
        return 0

    monkeypatch.setattr(labelling, "run_program", run_program)
    return calls


SETTINGS = LabelSettings(command="{input} {output}", time_limit=77.0, retries=2)


def task_in(folder: Path, atoms: Atoms, settings: LabelSettings = SETTINGS, *, stress: bool = False) -> LabelTask:
    return LabelTask(folder, 7, atoms, settings, stress)


def test_a_label_on_disk(reference: list[dict[str, Any]], tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    atoms.info |= {"run": 3}
    atoms.arrays["mark"] = np.arange(4)
    task, stop = task_in(tmp_path, atoms), Event()
    assert (task.label, task.failure, task.work) == (tmp_path / "007.xyz", tmp_path / "007.json", tmp_path / "007")
    assert not task.done
    seconds = label_one(task, stop)
    assert task.done
    (label,) = frames_files.read(task.label)
    atoms.calc = EMT()
    assert label.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), rel=1e-6)
    np.testing.assert_allclose(label.get_forces(), atoms.get_forces(), atol=1e-6)
    assert set(label.calc.results) == {"energy", "forces"}
    assert label.info == {"run": 3, "seconds": round(seconds, 3)}
    assert 0.0 < seconds < 60.0
    np.testing.assert_array_equal(label.arrays["mark"], atoms.arrays["mark"])
    (call,) = reference
    folder = tmp_path / "007" / "attempt_1"
    assert call == {
        "words": ["command", str(folder / "input.xyz"), str(folder / "output.xyz")],
        "folder": folder, "log": folder / "log.txt", "time_limit": 77.0, "stop": stop,
    }  # fmt: skip
    (asked,) = frames_files.read(folder / "input.xyz")
    assert asked.info == {}
    assert set(asked.arrays) == {"numbers", "positions"}
    np.testing.assert_array_equal(asked.pbc, atoms.pbc)
    np.testing.assert_allclose(asked.cell.array, atoms.cell.array)


def test_words_without_folders_are_found_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = labelling._words(LabelSettings(command="calc '{here}/a b' {input}"), Path("i"), Path("o"))
    assert words == ["command", "calc", f"{tmp_path}/a b", f"{tmp_path}/i"]
    assert labelling._words(LabelSettings(calculator="m:n"), Path("i"), Path("o")) == [
        "calculator", "m:n", f"{tmp_path}/i", f"{tmp_path}/o",
    ]  # fmt: skip


#: What a program does (a function of its folder and log that returns its status) → attempts, and what is said.
FAULTS: dict[str, tuple[Any, int, str]] = {
    "slow": (lambda folder, log: None, 3, "no answer within 77 s"),
    "status": (lambda folder, log: log.write_text("first\nlast words\n") * 0 + 3, 3,
               "the calculation ended with status 3: last words"),
    "silent": (lambda folder, log: log.write_text(" \n") * 0 + 4, 3, "the calculation ended with status 4"),
    "signal": (lambda folder, log: log.write_bytes(b"\xff") * 0 - 11, 3,
               "the calculation ended with signal 11: \ufffd"),
    "long": (lambda folder, log: log.write_text("x" * 400) * 0 + 5, 3,
             f"the calculation ended with status 5: {'x' * 300}"),
    "nothing": (lambda folder, log: 0, 3, "no answer that can be read: {folder}/output.xyz: cannot be read: "),
    "empty": (lambda folder, log: (folder / "output.xyz").write_text(""), 3,
              "0 structures in the answer, expected one"),
    "endless": (lambda folder, log: (folder / "output.xyz").write_text("1000000000000\n\nCu 0 0 0\n") * 0, 3,
                "no answer that can be read: {folder}/output.xyz: cannot be read: configuration 0 claims 1000000000000 "
                "atoms, the file has 24 bytes"),
    "bare": (lambda folder, log: (folder / "output.xyz").write_bytes(frames_files.to_bytes([bulk("Cu")])) * 0, 3,
             "the label has no energy and no forces"),
    "another": (lambda folder, log: (folder / "output.xyz").write_bytes(frames_files.to_bytes(
        [answered(bulk("Ag"), energy=0.0, forces=np.zeros((1, 3)))])) * 0, 1, "the label has Ag, expected Cu"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reason_on_disk(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    does, attempts, says = FAULTS[fault]
    folders: list[Path] = []

    def run_program(words: list[str], folder: Path, log: Path, **named: Any) -> int | None:
        log.touch()
        folders.append(folder)
        return does(folder, log)

    monkeypatch.setattr(labelling, "run_program", run_program)
    task = task_in(tmp_path, bulk("Cu"))
    seconds = label_one(task)
    assert [folder.name for folder in folders] == [f"attempt_{i + 1}" for i in range(attempts)]
    found = read_json(task.failure)
    says = says.format(folder=folders[-1])
    assert found["reason"] == says if not says.endswith(": ") else found["reason"].startswith(says)
    assert (found["attempts"], found["seconds"]) == (attempts, round(seconds, 3))
    assert not task.label.exists()
    assert task.done


def test_what_is_not_worth_a_calculation_is_not_begun(reference: list[dict[str, Any]], tmp_path: Path) -> None:
    pair = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 0.5]])
    task = task_in(tmp_path, pair)
    seconds = label_one(task)
    assert read_json(task.failure) == {
        "reason": "atoms 0 and 1 are 0.500 Å apart, expected at least 0.8 Å", "attempts": 0,
        "seconds": round(seconds, 3),
    }  # fmt: skip
    assert not reference
    assert not task.work.exists()


def test_a_batch_in_its_order(reference: list[dict[str, Any]], tmp_path: Path) -> None:
    """The second is too close, the fourth far off in energy, the third was labelled before."""
    batch = []
    for index in range(5):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=index)
        atoms.info["index"] = index
        batch.append(atoms)
    batch[1].positions[1] = batch[1].positions[0] + [0.0, 0.0, 0.1]
    where = Round(tmp_path / "round", 4)
    where.labelling.mkdir(parents=True)
    before = answered(batch[2], energy=-0.1, forces=np.zeros((4, 3)))
    (where.labelling / "002.xyz").write_bytes(frames_files.to_bytes([before]))
    odd = answered(batch[3], energy=99.0, forces=np.zeros((4, 3)))
    (where.labelling / "003.xyz").write_bytes(frames_files.to_bytes([odd]))
    told: list[Any] = []
    labels, quarantine = label_batch(
        batch, [before] * 3, where, SETTINGS, stress=False, progress=lambda *what: told.append(what)
    )
    assert [atoms.info["index"] for atoms in labels] == [0, 2, 4]
    assert labels[1].get_potential_energy() == -0.1
    assert [atoms.info["index"] for atoms in quarantine] == [1, 3]
    assert "apart" in quarantine[0].info["reason"]
    assert quarantine[0].calc is None
    assert quarantine[1].info["reason"].startswith("the energy is +24.77 eV/atom")
    assert quarantine[1].get_potential_energy() == 99.0
    assert told == [("round 4: labels", n, 5) for n in (3, 4, 5)]
    assert len(reference) == 2


def test_without_a_label_all_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelling, "run_program", lambda words, folder, log, **named: None)
    where = Round(tmp_path / "round", 4)
    with pytest.raises(MliuqError) as caught:
        label_batch([bulk("Cu")] * 2, [], where, SETTINGS, stress=False)
    assert str(caught.value) == (
        f"{where.labelling}: none of 2 structures got a label: no answer within 77 s; mend the reference and start the "
        "loop again"
    )
    assert not list(where.labelling.glob("*.json"))
    assert label_batch([], [], where, SETTINGS, stress=False) == ([], [])


# the process it is made in -----------------------------------------------------------------------------------------


class NoStress(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = ()) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": -2.5, "forces": np.full((len(atoms), 3), 0.25)}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of references, that nothing imported yet."""
    folder = tmp_path / "lib"
    folder.mkdir()
    (folder / "references_of_a_test.py").write_text(
        "from ase.calculators.emt import EMT\nfrom test_what_a_label_is import NoStress\n"
        "class Holder:\n    nested = EMT()\nready = EMT()\ndef make():\n    return NoStress()\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])
    monkeypatch.delitem(sys.modules, "references_of_a_test", raising=False)
    return folder


def test_a_reference_is_a_class_an_object_or_a_function(module: Path, tmp_path: Path, capsys: Any) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    source, target = tmp_path / "in.xyz", tmp_path / "out.xyz"
    source.write_bytes(frames_files.to_bytes([atoms]))
    atoms.calc = EMT()
    for name in ("EMT", "ready"):
        worker.evaluate(f"references_of_a_test:{name}", str(source), str(target), [str(module)])
        (found,) = frames_files.read(target)
        assert set(found.calc.results) == {"energy", "forces", "stress"}
        assert found.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), rel=1e-6)
        np.testing.assert_allclose(found.get_forces(), atoms.get_forces(), atol=1e-6)
        np.testing.assert_allclose(found.get_stress(), atoms.get_stress(), atol=1e-6)
    assert sys.path[0] == str(module)
    assert capsys.readouterr().err == ""
    worker.evaluate("references_of_a_test:make", str(source), str(target), [str(module)])
    (found,) = frames_files.read(target)
    assert set(found.calc.results) == {"energy", "forces"}
    assert found.get_potential_energy() == -2.5
    assert capsys.readouterr().err.startswith("no stress: ")
    source.write_bytes(frames_files.to_bytes([Atoms("Cu")]))
    worker.evaluate("references_of_a_test:EMT", str(source), str(target), [str(module)])
    assert set(frames_files.read(target)[0].calc.results) == {"energy", "forces"}, "no cell, no stress"


def test_the_process_does_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    parents: list[int] = []
    monkeypatch.setattr(worker, "die_with", parents.append)
    seen: list[Any] = []
    monkeypatch.setattr(worker, "evaluate", lambda *given: seen.append(given))
    assert worker.main(["calculator", "m:n", "i", "o", "a", "b"]) == 0
    assert seen == [("m:n", "i", "o", ["a", "b"])]
    assert parents == [os.getppid()]
    assert worker.main(["command", sys.executable, "-c", "import sys; sys.exit(5 + len(sys.stdin.read()))"]) == 5
    assert worker.main(["command", str(tmp_path / "none"), "x"]) == 127
    assert capsys.readouterr().err == f"{tmp_path}/none: cannot be started: No such file or directory\n"
    killed: list[Any] = []
    monkeypatch.setattr(os, "kill", lambda *given: killed.append(given))
    assert worker.main(["command", sys.executable, "-c", "import os; os.abort()"]) == -6
    assert killed == [(os.getpid(), 6)]


def test_programs_are_run_in_their_folder_and_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import os, sys; print(os.getcwd(), os.environ['MINE'], os.getsid(0)); sys.stderr.write('1')"
    words = ["command", sys.executable, "-uc", code]
    assert processes.run_program(words, tmp_path, log, environment={"MINE": "Å"}) == 0
    *printed, session, said = log.read_text(encoding="utf-8").split()
    assert (printed, said) == ([str(tmp_path), "Å"], "1")
    assert session != str(os.getsid(0)), "a session of its own, which is ended whole"
    assert processes.run_program(["command", "sh", "-c", "exit 7"], tmp_path, log) == 7
    assert processes.run_program(["command", "sh", "-c", "kill -9 $$"], tmp_path, log) == -9
    assert processes.run_program(["command", "sleep", "100"], tmp_path, log, time_limit=0.3) is None
    stop = Event()
    stop.set()
    with pytest.raises(processes.Stopping):
        processes.run_program(["command", "sleep", "100"], tmp_path, log, stop=stop)
    with processes.pool_that_stops(2) as (pool, event):
        assert pool.submit(event.is_set).result() is False
        assert pool._max_workers == 2
    assert not event.is_set()
    with pytest.raises(KeyError), processes.pool_that_stops(1) as (pool, event):
        raise KeyError
    assert event.is_set()
    with pytest.raises(RuntimeError, match=re.escape("cannot schedule new futures after shutdown")):
        pool.submit(int)
