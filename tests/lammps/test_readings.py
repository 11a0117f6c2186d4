"""An uncertainty belongs to the positions at which it is read, whatever was evaluated in between."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from runner import Output, run, structure

Make = Callable[..., Path]
Structures = Callable[..., dict[str, Atoms]]

MOVE = "displace_atoms all random 0.1 0.1 0.1 {seed}\n"


@pytest.fixture
def start(make_model: Make, structures: Structures, tmp_path: Path) -> str:
    script = structure(structures("Ta")["rattled"], tmp_path, ["Ta"])
    script += f"pair_style mliuq\npair_coeff * * {make_model('Ta06A', 20)} Ta\n"
    return script + "compute u all mliuq/atom energy_std\ncompute g all mliuq\nthermo_style custom step pe c_g\n"


def printed(output: Output, word: str = "READ") -> list[float]:
    assert output.returncode == 0, output.text
    return [float(value) for value in re.findall(rf"^{word} (\S+)", output.text, flags=re.MULTILINE)]


def dumped(path: Path) -> np.ndarray:
    return np.loadtxt(path, skiprows=9)


@pytest.mark.parametrize("ranks", [1, 2])
def test_others_evaluate_in_between(ranks: int, start: str, tmp_path: Path) -> None:
    """Strained and displaced copies evaluated by other commands, then the cell as it was."""
    script = start + "compute fep all fep/ta 300 xy 1.05\nrun 0\nprint 'READ $(c_g:%.15g)'\n"
    script += "write_dump all custom before.txt id c_u modify sort id format float %.15g\n"
    script += (
        "thermo_style custom step c_fep[1] c_g\nthermo_modify format float %.15g\nrun 0\nprint 'READ $(c_g:%.15g)'\n"
    )
    script += "dynamical_matrix all regular 0.01 file matrix.txt\nprint 'READ $(c_g:%.15g)'\n"
    script += "write_dump all custom after.txt id c_u modify sort id format float %.15g\n"
    reference, strained, displaced = printed(run(script, tmp_path, ranks=ranks))
    assert reference > 0.01
    assert strained == pytest.approx(reference, rel=1e-10)
    assert displaced == pytest.approx(reference, rel=1e-10)
    np.testing.assert_allclose(dumped(tmp_path / "after.txt"), dumped(tmp_path / "before.txt"), rtol=1e-10)


@pytest.mark.parametrize("ranks", [1, 2])
def test_forces_switched_off(ranks: int, start: str, tmp_path: Path) -> None:
    """`pair_modify compute no`: nothing was evaluated, and what is read belongs to where the atoms are now."""
    script = start + "run 0\nprint 'READ $(c_g:%.15g)'\npair_modify compute no\n" + MOVE.format(seed=7)
    script += "run 0\nprint 'READ $(c_g:%.15g)'\npair_modify compute yes\nrun 0\nprint 'READ $(c_g:%.15g)'\n"
    before, off, on = printed(run(script, tmp_path, ranks=ranks))
    assert off == pytest.approx(on, rel=1e-10)
    assert abs(on - before) > 1e-3


def test_rejected_moves(start: str, tmp_path: Path) -> None:
    """Trial insertions of `fix gcmc` are evaluated and thrown away on the step whose uncertainty is read."""
    script = start + "fix mc all gcmc 1 0 0 1 29494 300 -50.0 0.5 full_energy overlap_cutoff 1.0\n"
    script = script.replace("c_g\n", "c_g\nthermo 1\nthermo_modify lost ignore\n", 1)
    script = (
        script.replace("gcmc 1 0 0", "gcmc 1 5 0") + "fix 1 all nve\ntimestep 0.0\nrun 3\nprint 'READ $(c_g:%.15g)'\n"
    )
    script += "unfix mc\nrun 0\nprint 'READ $(c_g:%.15g)'\n"
    inside, again = printed(run(script, tmp_path))
    assert inside == pytest.approx(again, rel=1e-10)


@pytest.mark.parametrize(
    "change",
    [
        "group some id 1:20\ndelete_atoms group some compress no\n",
        "create_atoms 1 random 1 4711 NULL\n",
        "create_atoms 1 random 300000 4711 NULL\n",
        "displace_atoms all move 3 0 0\n",
        "change_box all x scale 1.3 remap\n",
        "reset_atoms id\n",
    ],
)
@pytest.mark.parametrize("ranks", [1, 2])
def test_changed_atoms_are_refused(change: str, ranks: int, start: str, tmp_path: Path) -> None:
    read = "write_dump all custom d.txt id c_u\nprint 'READ $(c_g)'\n"
    output = run(start + "run 0\n" + change + read, tmp_path, ranks=ranks)
    assert output.returncode > 0, output.text
    (error,) = output.errors
    assert "neighbour list does not describe" in error
    assert "use run 0 first" in error
    again = run(start + "run 0\n" + read + (change if "300000" not in change else "") + "run 0\n" + read, tmp_path)
    assert len(printed(again)) == 2


def test_another_model_is_another_value(start: str, make_model: Make, tmp_path: Path) -> None:
    """Values are kept per pair style: a new one that was evaluated as often is not taken for the old one."""
    model = make_model("Ta06A", 21)
    other = f"pair_style mliuq\npair_coeff * * {model} Ta\n"
    read = "run 0\nprint 'READ $(c_g:%.15g)'\n"
    first, second = printed(run(start + read + other + read, tmp_path))
    (direct,) = printed(run(re.sub(r"pair_style.*\npair_coeff.*\n", other, start) + read, tmp_path))
    assert second == pytest.approx(direct, rel=1e-12)
    assert abs(first - second) > 1e-6


def test_choice_among_several(start: str, make_model: Make, tmp_path: Path) -> None:
    """`pair K` says whose uncertainty is read; without it several are an error."""
    models = make_model("Ta06A", 20), make_model("Ta06A", 21)
    head = start.split("pair_style")[0]
    read = "run 0\nprint 'READ $(c_g:%.15g)'\n"
    alone = []
    for model in models:
        text = f"{head}pair_style mliuq\npair_coeff * * {model} Ta\ncompute g all mliuq\n{read}"
        alone += printed(run(text, tmp_path))
    both = f"{head}pair_style hybrid/overlay mliuq mliuq\n"
    both += "".join(f"pair_coeff * * mliuq {k} {model} Ta\n" for k, model in enumerate(models, 1))
    script = (
        both + "compute g all mliuq pair 1\ncompute h all mliuq pair 2\ncompute u all mliuq/atom energy_std pair 2\n"
    )
    script += "compute m all reduce max c_u\nrun 0\n"
    script += "".join(f"print 'READ $({value}:%.15g)'\n" for value in ("c_g", "c_h", "c_h[3]", "c_m"))
    found = printed(run(script, tmp_path))
    assert found[:2] == pytest.approx(alone, rel=1e-10)
    assert found[2] == pytest.approx(found[3], rel=1e-12)
    for line, words in {
        "compute g all mliuq": ["keyword pair", "from 1 to 2"],
        "compute g all mliuq pair 3": ["pair 3", "2 pair styles"],
        "compute u all mliuq/atom energy_std pair 0": ["at least 1", "0"],
        "compute u all mliuq/atom pair 1 energy_std": ["end of the line"],
    }.items():
        output = run(f"{both}{line}\nrun 0\n", tmp_path)
        (error,) = output.errors
        assert all(word in error for word in words), error


@pytest.mark.parametrize(
    ("action", "warns"),
    [
        ("minimize 0 0 3 20", True),
        ("run 0\ndisplace_atoms all random 0.1 0.1 0.1 5\nrun 0", True),
        ("fix 1 all nve\nrun 3\nrun 3", False),
    ],
)
def test_fix_pair_warns_where_it_is_stale(action: str, warns: bool, start: str, tmp_path: Path) -> None:
    script = start + f"fix p all pair 1 mliuq energy_std 1\nfix a all ave/atom 1 1 1 f_p\n{action}\n"
    for ranks in (1, 2):
        output = run(script, tmp_path, ranks=ranks)
        assert output.returncode == 0, output.text
        assert output.text.count("Read them by compute mliuq/atom instead") == int(warns)


@pytest.mark.parametrize("ranks", [1, 2])
def test_spread_that_is_no_number_is_an_error(ranks: int, start: str, make_model: Make, tmp_path: Path) -> None:
    """NaN compares false with every threshold: it must not reach one."""
    broken = make_model("Ta06A", 20, file="overflow.mliuq", overflow=True)
    script = re.sub(r"pair_coeff.*\n", f"pair_coeff * * {broken} Ta\n", start) + "run 0\n"
    output = run(script, tmp_path, ranks=ranks)
    assert output.returncode > 0
    (error,) = output.errors
    assert "step 0" in error
    assert "finite number" in error
    assert "damaged or absurd" in error


def test_no_array_is_too_short(start: str, tmp_path: Path) -> None:
    """LAMMPS itself holds on to values it has already read between two runs; they must at least be there."""
    read = "write_dump all custom d.txt id c_u\n"
    output = run(start + "run 0\n" + read + "create_atoms 1 random 300000 4711 NULL\n" + read, tmp_path)
    assert output.returncode == 0, output.text


def test_unread_bars_are_not_made(start: str, tmp_path: Path) -> None:
    """A compute that merely exists costs no evaluation on the steps of thermo output; one that is read does, ahead."""
    dynamics = "fix 1 all nve\nthermo 1\nrun 40\n"
    quiet = start.replace("step pe c_g", "step pe") + dynamics + "print 'READ $(c_g:%.15g)'\n"
    loud = start + dynamics + "print 'READ $(c_g:%.15g)'\n"
    (late,), (early,) = printed(run(quiet, tmp_path)), printed(run(loud, tmp_path))
    assert late == pytest.approx(early, rel=1e-10)
