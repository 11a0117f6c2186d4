"""Uncertainties in LAMMPS: against numpy on the descriptors of stock `compute sna/atom`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from runner import evaluate, run, structure
from safetensors.numpy import load_file

Make = Callable[..., Path]
Structures = Callable[..., dict[str, Atoms]]

M = 40
ALL_COLUMNS = "energy_std energy_min energy_max energy_err"
CALIBRATION: dict[str, Any] = {
    "noise": {"energy": 0.013, "force": 0.1, "stress": 0.001},
    "calibration": {"alpha_energy": 1.7, "alpha_force": 1.0, "alpha_stress": 1.0},
}
SNA = {
    "Ta06A": "compute b all sna/atom 4.67637 0.99363 6 0.5 1 rmin0 0 bzeroflag 0\n",
    "Mo_Zuo_JPCA2020.quadratic": "compute b all sna/atom 5.2 0.99363 6 0.5 1 rmin0 0 bzeroflag 0 quadraticflag 1\n",
}


def pair_lines(model: Path, *elements: str) -> str:
    return f"pair_style mliuq\npair_coeff * * {model} {' '.join(elements)}\n"


def committee_energies(model: Path, B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per-atom energies of the best fit (N,) and of every member (M, N), one element, from descriptors (N, P-1)."""
    arrays = load_file(model)
    D = np.hstack([np.ones((len(B), 1)), B])
    return D @ arrays["theta"][0], arrays["members"][:, 0] @ D.T


@pytest.mark.parametrize("name", SNA)
@pytest.mark.parametrize("ranks", [1, 2])
def test_spreads_equal_numpy(name: str, ranks: int, make_model: Make, structures: Structures, tmp_path: Path) -> None:
    element = name[:2]
    atoms = structures(element)["triclinic"]
    model = make_model(name, M, **CALIBRATION)
    after = f"{SNA[name]}compute u all mliuq/atom energy_max energy_std energy_err energy_min\ncompute g all mliuq\n"
    after += "thermo_style custom step c_g\n"
    numbers = " ".join(f"$({value}:%.17g)" for value in ["c_g", *(f"c_g[{k}]" for k in range(1, 6))])
    action = f'run 0\nprint "{numbers}" file g.txt'
    state = evaluate(
        atoms,
        pair_lines(model, element),
        tmp_path,
        elements=[element],
        ranks=ranks,
        after=after,
        action=action,
        columns="c_u[*] c_b[*]",
    )
    most, std, err, least = state.columns[:, :4].T
    best, members = committee_energies(model, state.columns[:, 4:])
    np.testing.assert_allclose(state.energies, best, rtol=1e-9)
    expected_std = np.sqrt(np.mean((members - best) ** 2, axis=0))
    np.testing.assert_allclose(std, expected_std, rtol=1e-8)
    np.testing.assert_allclose(least, members.min(axis=0), rtol=1e-9)
    np.testing.assert_allclose(most, members.max(axis=0), rtol=1e-9)
    np.testing.assert_allclose(err, np.hypot(1.7 * expected_std, 0.013), rtol=1e-8)

    cell = np.loadtxt(tmp_path / "g.txt")
    totals = members.sum(axis=1)
    cell_std = np.sqrt(np.mean((totals - best.sum()) ** 2))
    expected = [
        cell_std,
        totals.min(),
        totals.max(),
        expected_std.max(),
        state.ids[np.argmax(expected_std)],
        np.hypot(1.7 * cell_std, 0.013 * len(atoms)),
    ]
    np.testing.assert_allclose(cell, expected, rtol=1e-8)


def test_repulsion_moves_the_extremes_with_the_energy(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures("Ta")["rattled"]
    plain = make_model("Ta06A", M)
    repulsive = make_model("Ta06A", M, file="repulsive.mliuq", zbl={"inner": 4.0, "outer": 4.8})
    after = f"compute u all mliuq/atom {ALL_COLUMNS}\n"
    common = {"elements": ["Ta"], "after": after, "columns": "c_u[*]"}
    without = evaluate(atoms, pair_lines(plain, "Ta"), tmp_path / "without", **common)
    found = evaluate(atoms, pair_lines(repulsive, "Ta"), tmp_path / "with", **common)
    shift = found.energies - without.energies
    assert shift.min() > 0.1
    np.testing.assert_allclose(found.columns[:, 0], without.columns[:, 0], rtol=1e-10)
    np.testing.assert_allclose(found.columns[:, 1] - without.columns[:, 1], shift, rtol=1e-8)
    np.testing.assert_allclose(found.columns[:, 2] - without.columns[:, 2], shift, rtol=1e-8)


@pytest.mark.parametrize("members", [M, 0])
def test_extrapolation_is_the_leverage(members: int, make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures("Ta")["rattled"]
    model = make_model("Ta06A", members, file=f"factor-{members}.mliuq", factor=True)
    after = SNA["Ta06A"] + "compute u all mliuq/atom extrapolation\n"
    state = evaluate(atoms, pair_lines(model, "Ta"), tmp_path, elements=["Ta"], after=after, columns="c_u c_b[*]")
    R = load_file(model)["extrapolation.factor"]
    D = np.hstack([np.ones((len(atoms), 1)), state.columns[:, 1:]])
    expected = np.sum(np.linalg.solve(R.T, D.T) ** 2, axis=0)
    np.testing.assert_allclose(state.columns[:, 0], expected, rtol=1e-8)


def test_group_and_single_column(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures("Ta")["rattled"]
    model = make_model("Ta06A", M)
    after = "group some id 3 5:9\ncompute u some mliuq/atom energy_std\ncompute v all mliuq/atom energy_std\n"
    state = evaluate(atoms, pair_lines(model, "Ta"), tmp_path, elements=["Ta"], after=after, columns="c_u c_v")
    inside = np.isin(state.ids, [3, 5, 6, 7, 8, 9])
    assert np.array_equal(state.columns[inside, 0], state.columns[inside, 1])
    assert np.all(state.columns[~inside, 0] == 0.0)
    assert np.all(state.columns[:, 1] > 0.0)


def test_spreads_of_every_route_agree_along_a_run(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    """Announced (thermo), announced by `fix pair`'s trigger, and asked for afterwards (fix pair without trigger)."""
    atoms = structures("Ta")["rattled"]
    model = make_model("Ta06A", M, **CALIBRATION)
    script = (
        structure(atoms, tmp_path, ["Ta"])
        + pair_lines(model, "Ta")
        + f"compute u all mliuq/atom {ALL_COLUMNS}\n"
        + "fix p all pair 2 mliuq energy_std 1 energy_min 1 energy_max 1 energy_err 1\n"
        + "fix q all pair 2 mliuq energy_std 0 energy_min 0 energy_max 0 energy_err 0\n"
        + "velocity all create 600 7\nfix 1 all nve\n"
        + "dump d all custom 2 d.txt id c_u[*] f_p[*] f_q[*]\ndump_modify d sort id format float %.17g\n"
        + "run 6\n"
    )
    for ranks in (1, 2):
        output = run(script, tmp_path, ranks=ranks)
        assert output.returncode == 0, output.text
        frames = (tmp_path / "d.txt").read_text().split("ITEM: ATOMS")[1:]
        assert len(frames) == 4
        previous = None
        for frame in frames:
            table = np.array([line.split() for line in frame.splitlines()[1 : 1 + len(atoms)]], float)
            computed, triggered, asked = table[:, 1:5], table[:, 5:9], table[:, 9:13]
            assert (computed[:, 0] > 0).all()
            np.testing.assert_allclose(triggered, computed, rtol=1e-12)
            np.testing.assert_allclose(asked, computed, rtol=1e-12)
            assert previous is None or not np.allclose(previous, computed, rtol=1e-6)
            previous = computed


def test_fix_halt_stops_where_the_model_no_longer_knows(
    make_model: Make, structures: Structures, tmp_path: Path
) -> None:
    atoms = structures("Ta")["rattled"]
    model = make_model("Ta06A", M)
    script = (
        structure(atoms, tmp_path, ["Ta"])
        + pair_lines(model, "Ta")
        + "compute g all mliuq\nvariable m equal c_g[3]\n"
        + "thermo_style custom step c_g c_g[3] c_g[4]\nthermo 1\n"
        + "fix 1 all deform 1 x erate -0.5 remap x\n"
        + "fix stop all halt 1 v_m > {threshold} error {mode}\nrun 100\n"
        + 'print "AFTER $(step) $(v_m:%.10g)"\n'
    )
    values = evaluate(
        atoms,
        pair_lines(model, "Ta"),
        tmp_path / "start",
        elements=["Ta"],
        after="compute u all mliuq/atom energy_std\n",
        columns="c_u",
    )
    threshold = 1.05 * values.columns.max()
    for ranks in (1, 2):
        output = run(script.format(threshold=threshold, mode="soft"), tmp_path, ranks=ranks)
        assert output.returncode == 0, output.text
        step, value = next(line.split()[1:] for line in output.text.splitlines() if line.startswith("AFTER"))
        assert 0 < int(step) < 100
        assert threshold < float(value) < 1.1 * threshold
    output = run(script.format(threshold=threshold, mode="hard"), tmp_path)
    assert output.returncode != 0
    assert "Fix halt condition" in output.text


def test_forces_do_not_depend_on_who_asks(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    atoms = structures("Ta")["triclinic"]
    model = make_model("Ta06A", M)
    plain = evaluate(atoms, pair_lines(model, "Ta"), tmp_path / "plain", elements=["Ta"])
    after = f"compute u all mliuq/atom {ALL_COLUMNS}\ncompute g all mliuq\nfix a all ave/atom 1 1 1 c_u[*]\n"
    asked = evaluate(atoms, pair_lines(model, "Ta"), tmp_path / "asked", elements=["Ta"], after=after)
    np.testing.assert_allclose(asked.forces, plain.forces, rtol=0, atol=1e-12 * np.abs(plain.forces).max())
    assert asked.energy == pytest.approx(plain.energy, rel=1e-14)


def test_uncertainty_while_minimizing(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    """A minimizer evaluates forces several times a step: the spread must belong to the step's final positions."""
    atoms = structures("Ta")["rattled"]
    model = make_model("Ta06A", M, file="minimize.mliuq", zbl={"inner": 4.0, "outer": 4.8})
    after = "compute u all mliuq/atom energy_std\n"
    common = {"elements": ["Ta"], "columns": "c_u"}
    print_u = "thermo_style custom step pe c_m\nthermo 1\n"
    action = "minimize 0 0 5 50"
    more = after + "compute m all reduce sum c_u\n" + print_u
    found = evaluate(atoms, pair_lines(model, "Ta"), tmp_path / "min", after=more, action=action, **common)
    again = atoms.copy()
    again.positions = found.positions
    expected = evaluate(again, pair_lines(model, "Ta"), tmp_path / "again", after=after, **common)
    np.testing.assert_allclose(found.energies, expected.energies, rtol=1e-9)
    np.testing.assert_allclose(found.columns, expected.columns, rtol=1e-9)


def test_computes_and_pair_styles_come_and_go(make_model: Make, structures: Structures, tmp_path: Path) -> None:
    """Nobody keeps a pointer to a compute or a pair style that the script has deleted."""
    pair = pair_lines(make_model("Ta06A", M), "Ta")
    script = structure(structures("Ta")["rattled"], tmp_path, ["Ta"]) + pair
    script += "fix 1 all nve\nthermo_style custom step pe\nthermo 1\n"
    script += "compute u all mliuq/atom energy_std\ncompute g all mliuq\nfix a all ave/atom 1 1 1 c_u\nrun 2\n"
    script += "unfix a\nuncompute u\nrun 2\nrun 4 every 2 'print hello'\n"
    script += pair + "run 1\nthermo_style custom step pe c_g\nrun 1\n"
    script += "pair_style none\nuncompute g\n" + pair + "thermo_style custom step pe\nrun 1\n"
    output = run(script, tmp_path)
    assert output.returncode == 0, output.text
