"""Potential × box × hybrid × action, on 1, 2 and 4 ranks, against the ASE door.

The table is an orthogonal array: every pair of entries of any two columns occurs. Every row runs on 1 and 2 ranks, half
of them, with every entry of every column, on 4: that takes long where there are fewer cores. All rows of a number of
ranks run in one LAMMPS process, one after the other, between `clear` and `clear`. With MLIUQ_WHOLE_MATRIX=1 every
combination runs on 1, 2 and 4 ranks.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from mliuq import MLIUQCalculator, Model
from runner import run, structure
from systems import PARAMS, random_model
from systems import structure as filled

POTENTIALS = ("linear", "quadratic", "binary", "chem")
BOXES = ("cube", "triclinic", "slab")
HYBRIDS = ("plain", "hybrid", "hybrid/overlay")
ACTIONS = ("run", "minimize", "restart")
RANKS = (1, 2, 4)
STEPS = 6
WHOLE = os.environ.get("MLIUQ_WHOLE_MATRIX") == "1"
NKTV2P = 1.6021765e6  # bar Å³ per eV in LAMMPS's metal units
BARS = "energy_std energy_min energy_max energy_err force_std force_err"
QUANTITIES = {"energy_err": "energies_err", "force_err": "forces_err", "energy_std": "energies_std"}  # LAMMPS, ASE
MINIMISE = "minimize 0 0 4 20\n"


@dataclass(frozen=True)
class Row:
    potential: str
    box: str
    hybrid: str
    action: str

    @property
    def name(self) -> str:
        return f"{self.potential}-{self.box}-{self.hybrid.replace('/', '-')}-{self.action}"

    @property
    def ranks(self) -> tuple[int, ...]:
        even = (POTENTIALS.index(self.potential) + BOXES.index(self.box)) % 2 == 0
        return RANKS if even or WHOLE else RANKS[:2]


TABLE = [
    Row(POTENTIALS[p], BOXES[b], HYBRIDS[(p + b) % 3], ACTIONS[(p + 2 * b) % 3]) for p, b in product(range(4), range(3))
]
if WHOLE:
    TABLE = [Row(*entries) for entries in product(POTENTIALS, BOXES, HYBRIDS, ACTIONS)]


def test_the_table_covers_every_pair() -> None:
    columns = {"potential": POTENTIALS, "box": BOXES, "hybrid": HYBRIDS, "action": ACTIONS}
    for one, other in product(columns, columns):
        if one < other:
            found = {(getattr(row, one), getattr(row, other)) for row in TABLE}
            assert found == set(product(columns[one], columns[other]))
    for name, entries in columns.items():
        assert {getattr(row, name) for row in TABLE if 4 in row.ranks} == set(entries)


@dataclass(frozen=True)
class Expected:
    quantity: str  #: the guarded one
    steps: list[int]  #: that the run takes, the last one included
    saved: list[int]
    save: float
    halt: float
    halts: bool


class Case:
    """A row with its model, its atoms and the lines of its input."""

    def __init__(self, row: Row, folder: Path) -> None:
        self.row = row
        self.folder = folder
        params = PARAMS[row.potential]
        self.model = folder / f"{row.potential}.mliuq"
        random_model(params, members=7, zbl=(1.5, 3.0), noise=True).save(self.model)
        self.elements = list(params.elements)
        atoms = filled(row.box, params, seed=3)
        cell = atoms.cell.standard_form()[0]  # LAMMPS's axes
        if row.box == "slab":
            cell[2, :2] = 0.0  # an open side stands upright
        atoms.set_cell(cell, scale_atoms=True)
        atoms = atoms.repeat((2, 1, 1))
        atoms.rattle(0.05, seed=1)
        if row.box == "slab":
            atoms.center(vacuum=1.0, axis=2)
        if row.hybrid == "hybrid":  # atoms of another style, invisible to this one
            atoms.symbols[::4] = "He"
            self.elements.append("He")
        self.atoms = atoms
        self.load = structure(atoms, folder / row.name, self.elements).replace(
            "structure.data", f"{row.name}/structure.data"
        )
        self.load = re.sub(r"boundary (.*) m\n", r"boundary \1 s\n", self.load)

    @property
    def pair(self) -> str:
        names = " ".join("NULL" if element == "He" else element for element in self.elements)
        if self.row.hybrid == "plain":
            return f"pair_style mliuq\npair_coeff * * {self.model} {names}\n"
        text = f"pair_style {self.row.hybrid} zero 4.0 mliuq\n"
        if self.row.hybrid == "hybrid":
            text += f"pair_coeff * {len(self.elements)} zero\n"
        else:
            text += "pair_coeff * * zero\n"
        return f"{text}pair_coeff * * mliuq {self.model} {names}\n"

    def actions(self) -> list[str]:
        """What is run; between two entries the process starts anew from a restart file."""
        dynamics = "timestep 0.001\nfix move all nve\n"
        warm = "velocity all create 900 7 loop geom\n"
        if self.row.action == "minimize":
            return [MINIMISE]
        if self.row.action == "run":
            return [warm + dynamics + f"run {STEPS}\n"]
        return [warm + dynamics + f"run {STEPS // 2}\n", dynamics + f"run {STEPS - STEPS // 2}\n"]

    def unguarded(self) -> str:
        dump = f"dump d all custom 1 {self.row.name}.dump id xu yu zu\ndump_modify d sort id format float %.17g\n"
        head = "clear\n" + self.load + self.pair + dump
        whole = self.actions()[0].replace(f"run {STEPS // 2}\n", f"run {STEPS}\n")
        return head + whole

    def guarded(self, expected: Expected, frames: str) -> str:
        guard = f"fix g all mliuq/guard 1 {expected.quantity} save {expected.save!r} halt {expected.halt!r} "
        guard += f"file {frames} worst 3 "
        guard += "limit 1e9 action continue\n"
        text = "clear\n" + self.load
        for k, action in enumerate(self.actions()):
            if k > 0:
                text += "write_restart again.bin\nclear\natom_modify map array\nread_restart again.bin\n"
            text += self.pair + guard + action
        text += f"print 'GUARD {self.row.name} $(step) $(f_g[1]:%.10g) $(f_g[2]) $(f_g[3]) $(f_g[4])'\nunfix g\n"
        text += f"compute u all mliuq/atom {BARS}\ncompute g all mliuq\ncompute p all pe/atom pair\n"
        text += "compute v all stress/atom NULL virial\nthermo_style custom step pe c_g\nrun 0\n"
        text += f"print 'CELL {self.row.name} $(pe:%.17g) $(c_g:%.17g) $(c_g[5]:%.17g)'\n"
        columns = "id xu yu zu fx fy fz c_p c_v[*] c_u[*]"
        return text + f"write_dump all custom {frames}.end {columns} modify sort id format float %.17g\n"

    def by_ase(self, positions: np.ndarray) -> tuple[MLIUQCalculator, Atoms, np.ndarray]:
        """A calculator, the atoms that the model sees, and which of all they are."""
        atoms = self.atoms.copy()
        atoms.positions = positions
        seen = np.array([symbol != "He" for symbol in atoms.symbols])
        return MLIUQCalculator(Model.load(self.model)), atoms[seen], seen

    def largest(self, quantity: str, positions: np.ndarray) -> float:
        calc, atoms, _ = self.by_ase(positions)
        values = calc.get_property(QUANTITIES[quantity], atoms)
        return float(np.linalg.norm(values, axis=1).max() if values.ndim == 2 else values.max())


def expectation(case: Case) -> Expected:
    """From the ASE door on the positions of an unguarded run: where it is to halt, and what is to be saved.

    Watched is the first quantity that rises, above all it was before, at some step after the first.
    """
    text = (case.folder / f"{case.row.name}.dump").read_text()
    positions = {}
    for block in text.split("ITEM: TIMESTEP\n")[1:]:
        rows = block.split("ITEM: ATOMS id xu yu zu\n")[1].splitlines()
        positions[int(block.split()[0])] = np.loadtxt(rows)[:, 1:]
    first = STEPS // 2 + 1 if case.row.action == "restart" else 1
    for quantity in QUANTITIES:
        values = {step: case.largest(quantity, positions[step]) for step in sorted(positions)}
        steps = list(values)
        records = [step for step in steps if step >= first and values[step] > max(values[s] for s in steps if s < step)]
        if records:
            break
    halt = 1.0000001 * max(values.values())
    if records:
        halt = values[records[-1]] * 0.9999999
        steps = [step for step in steps if step <= records[-1]]
    save = 0.5 * (min(values[s] for s in steps) + max(values[s] for s in steps))
    return Expected(quantity, steps, [s for s in steps if values[s] > save], save, halt, bool(records))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Case, Expected]]:
    folder = tmp_path_factory.mktemp("matrix")
    made = [Case(row, folder) for row in TABLE]
    output = run("".join(case.unguarded() for case in made), folder, timeout=1800)
    assert output.returncode == 0, output.text
    return [(case, expectation(case)) for case in made]


@pytest.fixture(scope="module")
def outputs(cases: list[tuple[Case, Expected]]) -> dict[int, str]:
    texts = {}
    for ranks in RANKS:
        script = "".join(c.guarded(e, f"{c.row.name}.{ranks}.xyz") for c, e in cases if ranks in c.row.ranks)
        output = run(script, cases[0][0].folder, ranks=ranks, timeout=1800)
        assert output.returncode == 0, output.text
        texts[ranks] = output.text
    return texts


@pytest.mark.parametrize("ranks", RANKS)
def test_equal_to_ase(ranks: int, cases: list[tuple[Case, Expected]], outputs: dict[int, str]) -> None:
    """Energy, forces, virial and every bar, where each row ended: to 1e-10."""
    for case, _ in cases:
        if ranks not in case.row.ranks:
            continue
        table = np.loadtxt(case.folder / f"{case.row.name}.{ranks}.xyz.end", skiprows=9)
        calc, atoms, seen = case.by_ase(table[:, 1:4])
        results = {name: calc.get_property(name, atoms) for name in ("energy", "forces", "energies", "stress")}
        bars = [calc.get_property(f"energies_{kind}", atoms) for kind in ("std", "min", "max", "err")]
        bars += [np.linalg.norm(calc.get_property(f"forces_{kind}", atoms), axis=1) for kind in ("std", "err")]
        (cell,) = re.findall(rf"^CELL {re.escape(case.row.name)} (.*)", outputs[ranks], flags=re.MULTILINE)
        virial = -table[seen, 8:14].sum(axis=0)[[0, 1, 2, 5, 4, 3]] / NKTV2P
        for what, found, expected in (
            ("energy", float(cell.split()[0]), results["energy"]),
            ("energy_std", float(cell.split()[1]), calc.get_property("energy_std", atoms)),
            ("energy_err", float(cell.split()[2]), calc.get_property("energy_err", atoms)),
            ("forces", table[seen, 4:7], results["forces"]),
            ("energies", table[seen, 7], results["energies"]),
            ("virial", virial, -results["stress"] * atoms.get_volume()),
            *((name, table[seen, 14 + k], bars[k]) for k, name in enumerate(BARS.split())),
        ):
            size = np.abs(expected).max()
            assert size > 1e-6, (case.row, what)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * size, err_msg=f"{case.row} {what}")
        assert not table[~seen, 4:].any(), "another style's atoms"


def test_guard_does_not_depend_on_ranks(cases: list[tuple[Case, Expected]], outputs: dict[int, str]) -> None:
    """Step of the halt, frames and worst atoms: as the ASE door foresees, the same on 1, 2 and 4 ranks."""
    assert sum(expected.halts for _, expected in cases) >= 4
    halts = {n: [s for s in text.splitlines() if s.startswith("Fix mliuq/guard")] for n, text in outputs.items()}
    assert halts[1] == halts[2]
    assert len(halts[1]) == sum(expected.halts for _, expected in cases)
    assert set(halts[4]) <= set(halts[1])
    assert len(halts[4]) == sum(expected.halts for case, expected in cases if 4 in case.row.ranks)
    for case, expected in cases:
        names = {n: case.folder / f"{case.row.name}.{n}.xyz" for n in case.row.ranks}
        frames = {n: read(name, ":") for n, name in names.items()} if expected.saved else {}
        for ranks in case.row.ranks:
            (line,) = re.findall(rf"^GUARD {re.escape(case.row.name)} (.*)", outputs[ranks], flags=re.MULTILINE)
            step, _, _, n_saved, n_above = (float(word) for word in line.split())
            assert (step, n_saved, n_above) == (expected.steps[-1], len(expected.saved), len(expected.saved)), case.row
        for ranks, found in frames.items():
            assert [frame.info["step"] for frame in found] == expected.saved, (case.row, ranks)
            for one, other in zip(frames[1], found, strict=True):
                np.testing.assert_allclose(one.positions, other.positions, rtol=0, atol=1e-9)
                assert one.info["atom"] == other.info["atom"]
