"""Rows, weights, solver, balance, outliers and prior by parts: formulas of a few lines, texts, steps, limits."""

from __future__ import annotations

import logging
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from linear_problems import matrix, misspecified
from mliuq.descriptor import zbl
from mliuq.descriptor.bispectrum import atomic_rows, descriptors, design_rows
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError
from mliuq.readers.keys import Keys
from mliuq.regression import (
    ENERGY,
    FORCE,
    KINDS,
    STRESS,
    ArrayRows,
    distributed,
    outliers,
    problem,
    protection,
    solve,
    stress_check,
    targets,
)
from mliuq.regression import balance as balancing
from mliuq.regression import rows as rows_of
from mliuq.regression.balance import Balance, choose_balance
from mliuq.regression.classes_out import class_out_residuals
from mliuq.regression.computed import ComputedRows
from mliuq.regression.distributed import MpiTeam, Team, world
from mliuq.regression.evidence import Evidence
from mliuq.regression.loco import examine, left_out_residuals
from mliuq.regression.row_cache import DiskRows
from mliuq.regression.rows import ReweightedRows, RowTable, SubsetRows
from mliuq.regression.settings import SolverSettings
from mliuq.regression.solver import solve_triangle, stacked, triangularise
from mliuq.regression.targets import Targets, doubts, read_targets
from mliuq.regression.weights import GroupWeights, NearEquilibrium, WeightSettings, row_constants, row_weights
from sklearn.linear_model import BayesianRidge
from systems import PARAMS, random_atoms, random_model


class Steps(list[tuple[str, int, int]]):
    def __bool__(self) -> bool:
        return True

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.append((stage, done, total))


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "mliuq"):
        yield caplog


def three_kinds(**options: Any) -> ArrayRows:
    rows = misspecified(**options)
    kind = np.where(np.arange(len(rows.table)) % 7 > 4, STRESS, rows.table.kind)
    return ArrayRows(matrix(rows), rows.table.y, rows.table.w, kind, rows.table.config)


def table_of(
    y: list[float], kind: list[int], config: list[int] | None = None, w: list[float] | None = None
) -> RowTable:
    n = len(y)
    return RowTable(
        np.array(y), np.ones(n) if w is None else np.array(w), np.array(kind, np.int8),
        np.arange(n) if config is None else np.array(config), np.array([0, n]),
    )  # fmt: skip


# --- ranks -----------------------------------------------------------------------------------------------------------


class Mail:
    """The calls of an MPI communicator that a team makes; ranks act one after the other, the last one first."""

    def __init__(self, rank: int, size: int, box: dict[tuple[int, int], Any]) -> None:
        self.rank, self.size, self.box, self.aborted = rank, size, box, None

    def Get_rank(self) -> int:
        return self.rank

    def Get_size(self) -> int:
        return self.size

    def Abort(self, code: int) -> None:
        self.aborted = code

    def send(self, value: Any, dest: int) -> None:
        self.box[self.rank, dest] = value

    def recv(self, source: int) -> Any:
        return self.box.pop((source, self.rank))

    def bcast(self, value: Any, root: int) -> Any:
        assert root == 0
        return ("from the root", value)

    def allgather(self, part: Any) -> list[Any]:
        return [part, 10 + part]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("n", [1, 7, 13])
def test_ranks_reduce_along_one_tree(size: int, n: int) -> None:
    expected = Team().reduce(0, map(str, range(n)), lambda a, b: f"({a}{b})")
    box: dict[tuple[int, int], Any] = {}
    for rank in reversed(range(size)):
        team = MpiTeam(Mail(rank, size, box))
        share = team.share(n)
        found = team.reduce(share.start, map(str, share), lambda a, b: f"({a}{b})")
    assert found == ("from the root", expected)
    assert not box


def test_calls_of_a_team() -> None:
    team = MpiTeam(Mail(1, 3, {}))
    assert (team.rank, team.size) == (1, 3)
    np.testing.assert_array_equal(team.gather(np.arange(4.0).reshape(2, 2)), [[0, 1], [2, 3], [10, 11], [12, 13]])
    team.abort()
    assert team.comm.aborted == 1
    alone = Team()
    assert (alone.rank, alone.size, alone.abort(), alone.broadcast(3)) == (0, 1, None, 3)
    assert alone.share(5) == range(0, 5)


@pytest.mark.parametrize("key", ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_where_a_team_comes_from(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert type(world()) is Team
    monkeypatch.setenv(key, "1")
    assert type(world()) is Team
    monkeypatch.setenv(key, "many")
    assert type(world()) is Team
    monkeypatch.setenv(key, "3")
    with pytest.raises(MliuqError, match=r"^started as one of 3 MPI ranks, but mpi4py cannot be imported: "):
        world()
    mpi = types.SimpleNamespace(COMM_WORLD=Mail(2, 3, {}), get_vendor=lambda: ("Some MPI", (1, 2)))
    monkeypatch.setitem(sys.modules, "mpi4py", types.SimpleNamespace(MPI=mpi))
    team = world()
    assert isinstance(team, MpiTeam)
    assert (team.rank, team.size) == (2, 3)
    mpi.COMM_WORLD.size = 1
    says = (
        r"^started as one of 3 MPI ranks, but mpi4py \(Some MPI\) sees 1: use the mpirun of the MPI that mpi4py loads"
    )
    with pytest.raises(MliuqError, match=says):
        world()
    assert distributed._LAUNCHED == ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")


# --- rows ------------------------------------------------------------------------------------------------------------


def test_sizes_of_blocks() -> None:
    assert rows_of.BLOCK_NUMBERS == 2**23
    assert [rows_of.block_rows(p) for p in (1, 1024, 2048, 5000)] == [8192, 8192, 4096, 10000]
    assert rows_of.block_starts(np.array([3, 3, 3]), 6).tolist() == [0, 6, 9]
    assert rows_of.block_starts(np.array([3, 0, 3, 9, 1]), 5).tolist() == [0, 3, 6, 15, 16]
    rows = misspecified(n_configs=10, per_config=3)
    assert rows.n_blocks == 1
    assert misspecified(n_configs=10, per_config=3, rows_per_block=7).table.starts.tolist() == [0, 6, 12, 18, 24, 30]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": np.zeros(3)}, r"design matrix has shape \(3,\), expected \(rows, weights\)"),
        ({"x": np.zeros((3, 0))}, r"design matrix has shape \(3, 0\), expected"),
        ({"y": np.zeros(2)}, r"y has shape \(2,\), expected \(3,\), one for each row of the design matrix"),
        ({"w": np.zeros(2)}, r"w has shape \(2,\)"), ({"kind": np.zeros(2)}, r"kind has shape \(2,\)"),
        ({"config": np.zeros(2)}, r"config has shape \(2,\)"),
        ({"y": [0.0, np.inf, 0.0]}, "configuration 1: force target is inf, expected finite numbers"),
        ({"w": [1.0, 1.0, np.nan]}, "configuration 2: force weight is nan, expected finite numbers not below zero"),
        ({"w": [1.0, -1.0, 1.0], "kind": [0, 2, 0]}, "configuration 1: stress weight is -1.0, expected"),
        ({"w": np.zeros(3)}, "every row has weight zero: nothing to fit"),
        ({"x": np.zeros((0, 2)), "y": []}, "no rows to fit: the data set holds no energies, forces or stresses with a"),
    ],
)  # fmt: skip
def test_rows_that_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(MliuqError, match=f"^{says}"):
        ArrayRows(**{"x": np.eye(3)[:, :2], "y": np.ones(3), **change})


def test_rows_of_their_own_weights_and_some_of_them() -> None:
    rows = misspecified(n_configs=6, per_config=3, rows_per_block=5)
    plain = ArrayRows(matrix(rows), rows.table.y)
    assert set(plain.table.kind) == {FORCE}
    assert set(plain.table.w) == {1.0}
    np.testing.assert_array_equal(plain.table.config, np.arange(18))
    w = np.arange(1.0, 19.0)
    again = ReweightedRows(rows, w)
    np.testing.assert_array_equal(again.block(1).w, w[rows.span(1)])
    np.testing.assert_array_equal(again.block(1).x, rows.block(1).x)
    with pytest.raises(MliuqError, match="every row has weight zero"):
        ReweightedRows(rows, np.zeros(18))
    with pytest.raises(MliuqError, match=r"^subset of rows has shape \(3,\), expected \(18,\)$"):
        SubsetRows(rows, np.ones(3, bool))
    mask = np.arange(18) >= 7
    some = SubsetRows(rows, mask)
    assert some.design(0).shape == (0, 9)
    for name in ("y", "w", "kind", "config"):
        np.testing.assert_array_equal(getattr(some.table, name), getattr(rows.table, name)[mask])
    x = matrix(rows)
    x[4, 2] = np.nan
    spoilt = ArrayRows(x, rows.table.y, None, rows.table.kind, rows.table.config, rows_per_block=4)
    with pytest.raises(MliuqError, match=r"^configuration 1: a force row of the design matrix is not finite$"):
        list(spoilt.blocks())


def test_rows_that_a_core_gives_too_few_of() -> None:
    structures = [Atoms("W2", [[0, 0, 0], [2, 0, 0]]) for _ in range(3)]
    given = [Targets(1.0, np.ones((2, 3)), None) for _ in structures]
    weights = [(1.0, np.ones(2), 0.0)] * 3
    rows = ComputedRows(structures, given, weights, lambda batch, **wanted: [np.zeros((7, 2))] * (len(batch) - 1), 2)
    with pytest.raises(MliuqError, match=r"^the core gave 14 rows for block 0, expected 21$"):
        rows.design(0)


# --- on disk ---------------------------------------------------------------------------------------------------------


def test_folders_of_rows_say_what_is_wrong(tmp_path: Path) -> None:
    rows = misspecified(rows_per_block=70)
    kept = DiskRows(rows, tmp_path / "deep" / "rows", "mine")
    assert kept.path(12).name == "block-000012.f64"
    assert kept.n_finished == 0
    np.testing.assert_array_equal(kept.design(1), rows.design(1))
    assert kept.n_finished == 1
    manifest = (tmp_path / "deep" / "rows" / "rows.json").read_text()
    assert '"fingerprint": "mine", "n_rows": 280, "n_weights": 9, "starts": [0, 70, 140, 210, 280]' in manifest
    says = r"rows: holds rows of other data or another descriptor \(fingerprint mine, expected other\); give"
    with pytest.raises(MliuqError, match=says):
        DiskRows(rows, tmp_path / "deep" / "rows", "other")
    for other in (misspecified(rows_per_block=140), misspecified(n_configs=30, rows_per_block=70)):
        with pytest.raises(MliuqError, match="holds rows of other data"):
            DiskRows(other, tmp_path / "deep" / "rows", "mine")
    for text, says in (("[]", r"rows.json: damaged \(holds no object\); remove the folder$"),
                       ("{", r"rows.json: damaged \(Expecting .*\); remove the folder$")):  # fmt: skip
        (tmp_path / "rows.json").write_text(text)
        with pytest.raises(MliuqError, match=says):
            DiskRows(rows, tmp_path, "mine")
    path = kept.path(1)
    numbers = np.fromfile(path)
    numbers[:-2].tofile(path)
    with pytest.raises(
        MliuqError, match=r"block-000001.f64: holds 629 numbers, expected 630 and a checksum; remove the"
    ):
        kept.design(1)
    np.append(numbers[:-1], 0.5).tofile(path)
    says = r"block-000001.f64: damaged: its numbers do not have the checksum that follows them; remove the file$"
    with pytest.raises(MliuqError, match=says):
        kept.design(1)
    rows.design = lambda index: np.zeros((3, 9))  # type: ignore[method-assign]
    with pytest.raises(MliuqError, match=r"^block 2 has shape \(3, 9\), expected \(70, 9\)$"):
        kept.design(2)


@pytest.mark.parametrize(
    ("settings", "how"),
    [({}, "memory"), ({"rows": "recompute"}, "recompute"), ({"rows": "disk"}, "disk"), ({"memory": 1e-9}, "disk"),
     ({"cache": "here"}, "disk"), ({"rows": "memory", "memory": 0.0}, "memory")],
)  # fmt: skip
def test_how_rows_are_kept(
    settings: dict[str, Any], how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    everything: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    structures = [random_atoms(("W",), 3, 5.0 * np.eye(3), seed=s) for s in range(2)]
    for atoms in structures:
        atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.ones((3, 3)))
    params = SnapParams(("W",), twojmax=2)
    computed = problem.build_rows(structures, params)
    with problem.kept_rows(computed, structures, params, SolverSettings(**settings), Team()) as rows:
        assert type(rows).__name__ == {"memory": "MemoryRows", "disk": "DiskRows", "recompute": "ComputedRows"}[how]
        np.testing.assert_array_equal(rows.design(0), computed.design(0))
        folder = getattr(rows, "folder", None)
    said = [r.getMessage() for r in everything.records if r.name == "mliuq.regression.problem"]
    assert said == [f"20 rows of 6 numbers, {20 * 6 * 8 / 2**20:.3g} MiB: {how}"]
    if folder is not None:
        assert folder.exists() == ("cache" in settings)
    if "cache" in settings:
        others = replace(params, rcutfac=4.0)
        again = problem.kept_rows(
            problem.build_rows(structures, others), structures, others, SolverSettings(**settings), Team()
        )
        with pytest.raises(MliuqError, match="rows of other data or another descriptor"), again:
            pass


# --- problems --------------------------------------------------------------------------------------------------------


def valued(atoms: Atoms, energy: float = -1.0, stress: bool = False) -> Atoms:
    results: dict[str, Any] = {"energy": energy, "forces": np.ones((len(atoms), 3))}
    if stress:
        results["stress"] = np.arange(6.0)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def test_one_body_energies_overwhelm_and_repulsion_is_taken_off() -> None:
    params = PARAMS["binary"]
    structures = [valued(random_atoms(("W", "Be"), 4, 5.0 * np.eye(3), seed=s), stress=True) for s in range(3)]
    weights = WeightSettings(energy=2.0, force=3.0, stress=5.0)
    rows = problem.build_rows(
        structures, params, zbl=(1.5, 2.5), weights=weights, one_body={"W": -4.0, "Be": -3.0}, threads=1
    )
    own = [zbl.evaluate(atoms, 1.5, 2.5) for atoms in structures]
    expected = np.concatenate(
        [np.concatenate([[-1.0 / 4 - z.energy / 4], 1.0 - z.forces.ravel(), np.arange(6.0) - z.stress]) for z in own]
    )
    np.testing.assert_allclose(rows.table.y, [*expected, -4.0, -3.0])
    assert np.abs(own[0].forces).max() > 0.1
    assert rows.table.w[-2:].tolist() == [6e10, 6e10]
    assert rows.table.config[-2:].tolist() == [3, 4]
    assert rows.table.kind[-2:].tolist() == [ENERGY, ENERGY]
    np.testing.assert_allclose(
        matrix(rows)[:-2],
        np.concatenate(design_rows(structures, params, energy=True, forces=True, stress=True)),
    )
    light = problem.build_rows(structures, params, weights=WeightSettings(energy=0.1), one_body={"W": 0, "Be": 0})
    assert light.table.w[-1] == 1e10, "no less than one"
    with pytest.raises(MliuqError, match=r"^one-body energies are given, but none for Be$"):
        problem.build_rows(structures, params, one_body={"W": -4.0})
    with pytest.raises(MliuqError, match=r"^configuration 1 \(the 2nd\): atom 0 \(counted from 0\) is Cu, expected"):
        problem.build_rows([structures[0], valued(Atoms("Cu"))], params)
    assert not np.any(problem.build_rows(structures, params).table.kind == STRESS)


def test_energies_of_isolated_atoms() -> None:
    params = SnapParams(("Be", "W"), twojmax=2, rcutfac=4.0)
    cells = [
        valued(Atoms("W", cell=[4.1] * 3, pbc=True), -5.0), valued(Atoms("W", cell=[4.0] * 3, pbc=True), -9.0),
        valued(Atoms("Be", pbc=False), -2.0), valued(Atoms("W2", [[0, 0, 0], [0, 0, 2]]), -9.0),
        valued(Atoms("W", cell=[3.0, 9.0, 9.0], pbc=[False, True, True]), -5.0 + 5e-7),
        valued(Atoms("W", cell=[[9, 0, 0], [8, 3, 0], [0, 0, 9]], pbc=True), -9.0),
    ]  # fmt: skip
    energies, alone = problem.isolated_atom_energies(cells, params, Keys())
    assert (energies, alone) == ({"W": -5.0, "Be": -2.0}, [0, 2, 4])
    zero = problem.isolated_atom_energies([valued(Atoms(symbol), 0.0) for symbol in ("W", "Be")], params, Keys())
    assert zero == ({"W": 0.0, "Be": 0.0}, [0, 1])
    with pytest.raises(
        MliuqError, match=r"^isolated W atoms have energies -5.0 and -5.1 eV: configuration 1 \(the 2nd\)$"
    ):
        problem.isolated_atom_energies([cells[0], valued(Atoms("W"), -5.1)], params, Keys())
    says = (
        r"isolated-atom energies were asked for, but the data holds no isolated Be atom \(one atom, no image within 4"
    )
    with pytest.raises(MliuqError, match=says):
        problem.isolated_atom_energies(cells[:2], params, Keys())
    with pytest.raises(MliuqError, match="holds no isolated Be atom"):
        problem.isolated_atom_energies([], params, Keys())


def test_what_is_held_out() -> None:
    atoms = [Atoms("W", [[i, 0, 0]]) for i in range(10)]
    for fraction, n in ((0.0, 0), (1e-6, 1), (0.1, 1), (0.11, 2), (0.3, 3), (0.9, 9)):
        assert len(problem.split(atoms, fraction, 0)[1]) == n, fraction
    out = set(np.random.default_rng(7).permutation(10)[:3].tolist())
    assert {int(a.positions[0, 0]) for a in problem.split(atoms, 0.3, 7)[1]} == out
    says = r"^holding out 0.95 of 10 configuration\(s\) leaves none to fit; give more data, .* or --test-fraction 0$"
    with pytest.raises(MliuqError, match=says):
        problem.split(atoms, 0.95, 0)


# --- weights ---------------------------------------------------------------------------------------------------------


def test_near_equilibrium_by_hand() -> None:
    structures = [
        Atoms("W" * n, np.arange(3.0 * n).reshape(n, 3), info={"config_type": g})
        for n, g in ((1, "a"), (2, "b"), (3, "a"))
    ]
    forces = [np.ones((1, 3)), None, np.arange(9.0).reshape(3, 3)]
    given = [Targets(-4.0, forces[0], None), Targets(-7.0, None, None), Targets(None, forces[2], None)]
    settings = WeightSettings(
        near_equilibrium=NearEquilibrium(0.5, 3.0), groups={"b": GroupWeights(energy=2.0)}, stress=4.0
    )
    found = row_weights(structures, given, settings, Keys())
    e = np.array([1.0, np.exp(-0.5 / 0.5), 0.0])
    f = [np.exp(-np.sqrt(np.sum(part**2, axis=1)) / 3.0) for part in (forces[0], forces[2]) if part is not None]
    total = 3 * sum(part.sum() for part in f)
    np.testing.assert_allclose([w[0] for w in found], e * 12 / e.sum() * [1.0, 2.0, 1.0])
    np.testing.assert_allclose(found[0][1], f[0] * 12 / total)
    np.testing.assert_allclose(found[1][1], np.zeros(2))
    np.testing.assert_allclose(found[2][1], f[1] * 12 / total)
    assert [w[2] for w in found] == [4.0] * 3
    assert NearEquilibrium() == NearEquilibrium(2.0, 50.0)
    alone = row_weights(structures, [Targets(t.energy, None, None) for t in given], settings, Keys())
    np.testing.assert_allclose([w[0] for w in alone], e * [1.0, 2.0, 1.0])
    constants = row_constants(structures, replace(settings, energy="auto", stress="auto"), Keys())
    np.testing.assert_array_equal(constants, [[1, 1, np.nan], [2, 1, np.nan], [1, 1, np.nan]])
    plain = WeightSettings(groups={"b": GroupWeights(energy=2.0, force=0.5)}, force=3.0)
    np.testing.assert_array_equal(
        row_constants(structures, plain, Keys()), [[np.nan, 3, 0], [2, 0.5, 0], [np.nan, 3, 0]]
    )
    assert row_constants([], plain, Keys()).shape == (0, 3)


def test_weight_settings_by_parts() -> None:
    assert WeightSettings() == WeightSettings("auto", 1.0, 0.0, {}, {}, False, None)
    assert WeightSettings().wanted() == (True, True, False)
    assert WeightSettings(0.0, 0.0, 0.0, {"a": GroupWeights(stress=1.0)}).wanted() == (False, False, True)
    assert WeightSettings(1.0, 0.0, "auto").wanted() == (True, False, True)
    for settings, says in (
        (WeightSettings(force=-1.0), "force weight is -1.0, expected a number from 0 to 1e+50"),
        (WeightSettings(stress=1e60), "stress weight is 1e+60, expected a number from 0 to 1e+50"),
        (WeightSettings(groups={"a": GroupWeights(stress=np.nan)}), "stress weight of group 'a' is nan, expected"),
        (WeightSettings(columns={"b": "x", "a": "y"}), "weight column for 'a', expected one of energy, force, stress"),
        (WeightSettings(near_equilibrium=NearEquilibrium(1.0, 0.0)), "near-equilibrium scales are NearEquilibrium("),
        (WeightSettings(near_equilibrium=NearEquilibrium(1.0, np.nan)), "near-equilibrium scales are NearEquilibrium("),
        (WeightSettings(0.0, 0.0), "energy, force and stress weights are all zero: nothing to fit"),
    ):
        with pytest.raises(MliuqError, match=f"^{re.escape(says)}"):
            settings.validate()
    atoms = [Atoms("W", info={"config_type": 3, "w": "2", "v": -1, "u": "x", "t": 1e200}), Atoms("W", info={"w": 4})]
    given = [Targets(0.0, np.zeros((1, 3)), None)] * 2
    found = row_weights(atoms, given, WeightSettings(3.0, 5.0, columns={"energy": "w"}), Keys())
    assert [(w[0], w[1].tolist(), w[2]) for w in found] == [(6.0, [5.0], 0.0), (12.0, [5.0], 0.0)]
    squared = WeightSettings(3.0, 5.0, columns={"force": "w"}, columns_multiply_rows=True)
    assert [w[1].tolist() for w in row_weights(atoms, given, squared, Keys())] == [[20.0], [80.0]]
    own = WeightSettings(3.0, groups={"3": GroupWeights(energy=7.0)})
    assert [w[0] for w in row_weights(atoms, given, own, Keys())] == [7.0, 3.0]
    for settings, says in (
        (WeightSettings(columns={"energy": "v"}), r"configuration 0 .*: energy weight column 'v' is -1"),
        (WeightSettings(columns={"energy": "t"}, columns_multiply_rows=True), r"configuration 0 .*'t' is 1e\+200, exp"),
        (WeightSettings(columns={"force": "u"}), r"configuration 0 \(the 1st, 3\): force weight column 'u' holds 'x'"),
        (WeightSettings(groups={"b": GroupWeights(1.0), "c": GroupWeights(1.0)}),
         "weights are given for group 'b', but the data has these groups: 3$"),
    ):  # fmt: skip
        with pytest.raises(MliuqError, match=f"^{says}"):
            row_weights(atoms, given, settings, Keys())
    with pytest.raises(MliuqError, match=r"these groups: none$"):
        row_weights(atoms[1:], given[1:], WeightSettings(groups={"b": GroupWeights(1.0)}), Keys())


@pytest.mark.parametrize(
    ("change", "says"),
    [({"ridge": -1.0}, "solver.ridge is -1.0, expected a number from 0 to inf"),
     ({"threads": -1}, "solver.threads is -1"),
     ({"threads": 4097}, "solver.threads is 4097, expected a number from 0 to 4096"),
     ({"rcond": 1.1}, "solver.rcond is"),
     ({"ridge": "evidence", "one_body": {"W": 1.0}}, "solver.ridge is 'evidence', expected a number when one-body"),
     ({"ridge": "evidence", "isolated_atoms": True}, "solver.ridge is 'evidence'"),
     ({"cache": "x", "rows": "memory"}, "solver.cache is given, but solver.rows is 'memory': expected 'disk' or"),
     ({"cache": "x", "rows": "recompute"}, "solver.cache is given, but solver.rows is 'recompute'")],
)  # fmt: skip
def test_solver_settings_that_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(MliuqError, match=f"^{re.escape(says)}"):
        SolverSettings(**change).validate()
    for fine in (
        {"ridge": "evidence"},
        {"cache": "x", "rows": "disk"},
        {"cache": "x"},
        {"threads": 4096},
        {"rcond": 1.0},
    ):
        SolverSettings(**fine).validate()  # type: ignore[arg-type]
    assert SolverSettings() == SolverSettings("auto", False, 0.0, {}, False, "auto", "", 512.0, 0)


# --- solver ----------------------------------------------------------------------------------------------------------


def test_evidence_with_other_hyperpriors(caplog: pytest.LogCaptureFixture) -> None:
    rows = misspecified()
    options = {"alpha_1": 3.0, "alpha_2": 0.5, "lambda_1": 2.0, "lambda_2": 0.1}
    for tol, max_iter in ((1e-3, 300), (1e-10, 300), (1e-12, 3)):
        found = solve(rows, ridge="evidence", evidence=Evidence(**options, tol=tol, max_iter=max_iter))
        peer = BayesianRidge(fit_intercept=False, tol=tol, max_iter=max_iter, **options)
        peer.fit(matrix(rows), rows.table.y, sample_weight=rows.table.w)
        assert found.ridge == pytest.approx(peer.lambda_ / peer.alpha_, rel=1e-6)
        assert found.noise_variance == pytest.approx(1 / peer.alpha_, rel=1e-6)
    assert [(r.name, r.getMessage()) for r in caplog.records] == [
        ("mliuq.regression.evidence", "evidence maximisation stopped after 3 iterations without converging")
    ]
    assert Evidence() == Evidence(1e-6, 1e-6, 1e-6, 1e-6, 300, 1e-3, ())


def test_evidence_of_what_is_not_left_free() -> None:
    """λ and σ² are where the marginal likelihood, integrated over flat priors of free weights, is largest."""
    rng = np.random.default_rng(1)
    n, free = 50, (2, 5)
    x = rng.normal(size=(n, 9)) * np.geomspace(3.0, 0.05, 9)
    x[:, 2] = 1.0
    y = x @ rng.normal(size=9) + 0.3 * rng.normal(size=n)
    options = Evidence(*[0.0] * 4, max_iter=10_000, tol=1e-13, free=free)
    found = solve(ArrayRows(x, y), ridge="evidence", evidence=options)
    held, given = np.delete(x, free, axis=1), x[:, list(free)]

    def evidence(log_ridge: float, log_noise: float) -> float:
        inverse = np.linalg.inv(np.exp(log_noise) * (np.eye(n) + held @ held.T / np.exp(log_ridge)))
        flat = given.T @ inverse @ given
        projected = inverse - inverse @ given @ np.linalg.solve(flat, given.T @ inverse)
        return 0.5 * float(np.linalg.slogdet(inverse)[1] - np.linalg.slogdet(flat)[1] - y @ projected @ y)

    best = np.log([found.ridge, found.noise_variance])
    for step in np.array([[1e-3, 0], [-1e-3, 0], [0, 1e-3], [0, -1e-3]]):
        drop = evidence(*best) - evidence(*(best + step))
        assert 1e-7 < drop < 1e-4
    metric = x.T @ x + found.ridge * np.diag(np.isin(np.arange(9), free, invert=True).astype(float))
    np.testing.assert_allclose(found.theta, np.linalg.solve(metric, x.T @ y), rtol=1e-9)
    np.testing.assert_allclose(found.whitener @ found.whitener.T, np.linalg.inv(metric), rtol=1e-8, atol=1e-12)
    shifted = solve(ArrayRows(x, y + 100.0), ridge="evidence", evidence=options)
    np.testing.assert_allclose(shifted.theta - found.theta, 100.0 * np.eye(9)[2], atol=1e-8)
    assert shifted.ridge == pytest.approx(found.ridge, rel=1e-6)


def test_evidence_where_free_weights_are_alike() -> None:
    """Two one-body energies at one composition: only their sum is known, and it alone is free."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 6))
    x[:, 0] = x[:, 3] = 0.5
    y = x @ rng.normal(size=6) + 0.3 * rng.normal(size=50)
    once, twice = (
        solve(ArrayRows(columns, y), ridge="evidence", evidence=Evidence(tol=1e-12, free=free))
        for columns, free in ((np.delete(x, 3, axis=1), (0,)), (x, (0, 3)))
    )
    assert twice.ridge == pytest.approx(once.ridge, rel=1e-8)
    assert twice.noise_variance == pytest.approx(once.noise_variance, rel=1e-8)
    np.testing.assert_allclose(np.delete(twice.theta, [0, 3]), once.theta[1:], rtol=1e-7)


def test_what_a_deficient_fit_says(everything: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    x = np.hstack([rng.normal(size=(60, 3)), np.zeros((60, 9))])
    rows = ArrayRows(x, rng.normal(size=60))
    found, quiet = solve(rows), solve(rows, quiet=True)
    narrow = solve(ArrayRows(x[:, :5], rows.table.y))
    text = "the rows determine 3 of 12 combinations of weights; undetermined ones are set to zero (columns 3, 4, 5, 6"
    few = "the rows determine 3 of 5 combinations of weights; undetermined ones are set to zero (columns 3, 4)"
    assert [(r.name, r.levelname, r.getMessage()) for r in everything.records] == [
        ("mliuq.regression.solver", "WARNING", f"{text}, 7, 8, 9, 10, …)"),
        ("mliuq.regression.solver", "DEBUG", f"{text}, 7, 8, 9, 10, …)"), ("mliuq.regression.solver", "WARNING", few),
    ]  # fmt: skip
    assert found.undetermined == quiet.undetermined == tuple(range(3, 12))
    assert narrow.undetermined == (3, 4)
    np.testing.assert_allclose(found.theta[:3], np.linalg.lstsq(x[:, :3], rows.table.y, rcond=None)[0])
    r = found.factor
    np.testing.assert_allclose((r.T @ r)[:3, :3], x[:, :3].T @ x[:, :3], atol=1e-9)
    s = np.linalg.svd(x[:, :3] / np.linalg.norm(x[:, :3], axis=0), compute_uv=False)
    assert found.condition == pytest.approx(s[0] / s[-1], rel=1e-9)
    np.testing.assert_allclose((r.T @ r)[3:, 3:], s[-1] ** 2 * np.eye(9), atol=1e-9)
    cut = solve(ArrayRows(x[:, :3], rows.table.y), rcond=0.999, quiet=True)
    assert cut.rank == np.sum(s > 0.999 * s[0]) < 3
    says = r"^every row of the design matrix is zero: no weight is determined by the data$"
    with pytest.raises(MliuqError, match=says):
        solve(ArrayRows(0.0 * x, rows.table.y))
    with pytest.raises(MliuqError, match=r"^ridge is inf, expected a number not below zero or 'evidence'$"):
        solve(rows, ridge=np.inf)


def test_fits_by_steps_and_from_triangles() -> None:
    rows, steps = misspecified(rows_per_block=70), Steps()
    found = solve(rows, ridge=2.0, rcond=1e-9, progress=steps)
    assert steps == [("solve", i, 4) for i in range(1, 5)]
    triangle = triangularise(rows, Team(), steps, "there")
    assert steps[-1] == ("there", 4, 4)
    again = solve_triangle(triangle, rows.table, ridge=2.0, rcond=1e-9)
    np.testing.assert_array_equal(again.theta, found.theta)
    assert found.ridge == 2.0
    root = np.sqrt(rows.table.w)
    whole = np.column_stack([matrix(rows) * root[:, None], rows.table.y * root])
    joined = stacked([(1.0, triangle), (0.25, triangle)])
    np.testing.assert_allclose(joined.T @ joined, 1.25 * whole.T @ whole, rtol=1e-10, atol=1e-7)
    exact = solve(ArrayRows(np.eye(3), np.ones(3)))
    assert exact.noise_variance == 0.0, "no freedom, no noise"
    few = ArrayRows(np.vstack([np.eye(3), np.ones((1, 3))]), np.array([1.0, 1.0, 1.0, 0.0]))
    assert solve(few).noise_variance == pytest.approx(9 / 4), "one degree of freedom: residual 3 of a row of norm 4"
    examine(rows, found, progress=steps)
    assert steps[-4:] == [("examine", i, 4) for i in range(1, 5)]
    class_out_residuals(rows, found, rows.table.config % 2, progress=steps)
    assert steps[-8:] == [("classes", i, 8) for i in range(1, 9)]
    assert left_out_residuals(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0, int))[1].shape == (0,)
    says = r"^classes have shape \(3,\), expected \(280,\), one for each row$"
    with pytest.raises(MliuqError, match=says):
        class_out_residuals(rows, found, np.zeros(3, int))


# --- balance ---------------------------------------------------------------------------------------------------------


def test_balance_by_hand() -> None:
    table = table_of([1.0, 2.0, 3.0], [0, 1, 2], w=[2.0, 3.0, 4.0])
    chosen = Balance({"energy": 5.0, "stress": 7.0})
    assert chosen.applied(table, np.array([True, True, False])).tolist() == [10.0, 3.0, 4.0]
    assert balancing.CONVERGED == (5e-4, 1e-2, 1e-4)
    expected = 0.5 * (np.log(0.1**2 + 5e-4**2) + np.log(1e-2**2 + 1e-2**2) + np.log(3.0**2 + 1e-4**2))
    assert balancing.score({0: 0.1, 1: 1e-2, 2: 3.0}) == pytest.approx(expected, rel=1e-12)
    assert [balancing._rounded(v) for v in (1.2345e-5, 0.999, 123.4)] == [1.2e-5, 1.0, 120.0]
    rows = three_kinds()
    t = rows.table
    judged = t.config < 30
    shares = balancing._even_shares(t, {0: t.kind == 0, 2: t.kind == 2}, judged)

    def size(kind: int) -> float:
        at = (t.kind == kind) & judged
        y, w = t.y[at], t.w[at]
        return float(np.sum(w * ((y - np.sum(w * y) / w.sum()) ** 2 + balancing.CONVERGED[kind] ** 2)))

    assert shares == {k: float(f"{size(1) / size(k):.1e}") for k in (0, 2)}
    silent = replace(t, w=np.where(t.kind == 1, 0.0, t.w))
    assert balancing._even_shares(silent, {0: t.kind == 0}, judged & (t.kind != 2)) == {0: 1.0}


def test_balance_holds_what_it_may(everything: pytest.LogCaptureFixture) -> None:
    rows, steps = three_kinds(), Steps()
    constants = np.where(rows.table.kind == FORCE, 1.0, np.nan)
    few = choose_balance(rows, constants, numbers=70 * 9, seed=2, progress=steps)
    assert {stage for stage, _, _ in steps} == {"balance"}
    assert len(steps) == 3, "a triangle for each kind"
    assert few.configurations == 10
    order = np.random.default_rng(2).permutation(40)
    mask = balancing.sampled(rows.table, 70, 2)
    assert set(rows.table.config[mask]) == set(order[:10])
    assert balancing.sampled(rows.table, 280, 2).all()
    assert set(rows.table.config[balancing.sampled(rows.table, 1, 2)]) == set(order[:2]), "never fewer than two"
    assert balancing.NUMBERS == 2**23
    assert everything.messages[-1] == f"balance: {few.constants}, left-out RMSE {few.left_out}"
    assert everything.records[-1].name == "mliuq.regression.balance"
    assert few != choose_balance(rows, constants, numbers=70 * 9, seed=3)
    weighted = ReweightedRows(rows, few.applied(rows.table, np.isnan(constants)))
    left = examine(weighted, solve(weighted)).loco
    for kind, name in enumerate(KINDS):
        at = mask & (rows.table.kind == kind)
        assert few.left_out[name] == pytest.approx(
            np.sqrt(np.average(left[at] ** 2, weights=rows.table.w[at])), rel=1e-6
        )
    whole = choose_balance(rows, constants)
    for name in ("energy", "stress"):
        for step in (-0.125, 0.125):  # the grid's neighbours are no better
            other = {**whole.constants, name: float(f"{whole.constants[name] * 10**step:.1e}")}
            again = ReweightedRows(rows, Balance(other).applied(rows.table, np.isnan(constants)))
            error = examine(again, solve(again)).loco
            found = {
                k: float(
                    np.sqrt(np.average(error[rows.table.kind == k] ** 2, weights=rows.table.w[rows.table.kind == k]))
                )
                for k in range(3)
            }
            assert balancing.score(found) >= balancing.score(
                {KINDS.index(n): e for n, e in whole.left_out.items()}
            ) - 1e-3  # fmt: skip


# --- outliers --------------------------------------------------------------------------------------------------------


def test_outliers_by_hand() -> None:
    """The published t of every row, with four rounds of Huber's weights written once more."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(210, 4))
    kind, config = np.where(np.arange(210) % 7 == 0, ENERGY, FORCE), np.arange(210) // 7
    y = x @ np.ones(4) + 0.1 * rng.normal(size=210)
    y[[35, 100, 200]] += [50.0, -40.0, 30.0]
    rows = ArrayRows(x, y, kind=kind, config=config)
    found = outliers.find_outliers(rows, n_configurations=29)
    constants = np.ones(3)
    constants[0] = 1 / (30 * np.median(np.abs(y[kind == 0] - np.median(y[kind == 0]))) ** 2)
    constants[1] = 1 / (180 * np.median(np.abs(y[kind == 1])) ** 2)
    w, pull = constants[kind], np.ones(210)
    for _ in range(4):
        weighted = ReweightedRows(rows, w * pull)
        statistics = examine(weighted, solve(weighted))
        usual, leverage = np.ones(210), np.ones(210)
        for k in (0, 1):
            at = kind == k
            usual[at] = 1.4826 * np.median(np.abs(statistics.loco[at]))
            leverage[at] = np.sqrt(1 + statistics.leverage[at] / np.median(statistics.leverage[at]))
        pull = 1 / np.maximum(1.0, np.abs(statistics.loco) / usual / 3.0)
    t = np.abs(statistics.loco) / usual / leverage
    expected = [row for row in np.argsort(-t) if t[row] > 60.0 and config[row] < 29 and abs(statistics.loco[row]) > 1.0]
    assert [o.config for o in found] == [config[row] for row in expected]
    assert 5 in [o.config for o in found]
    for o, row in zip(found, expected, strict=True):
        assert o.kind == KINDS[kind[row]]
        assert (o.value, o.error, o.times) == (y[row], pytest.approx(statistics.loco[row]), pytest.approx(t[row]))
        assert o.to_mapping() == {
            "config": o.config,
            "kind": o.kind,
            "value": o.value,
            "error": o.error,
            "times": o.times,
        }
    assert outliers.find_outliers(rows, n_configurations=5) == []
    assert (outliers.ABSURD, outliers.SIZE, outliers.NEGLIGIBLE) == (60.0, 100.0, 1e-4)
    small = ArrayRows(1e-6 * x, 1e-6 * y, kind=kind, config=config)
    assert outliers.find_outliers(small, n_configurations=30) == [], "below what references are converged to"
    steps = Steps()
    outliers.find_outliers(ArrayRows(x, x @ np.ones(4) + 0.1 * rng.normal(size=210), kind=kind, config=config),
                           n_configurations=30, progress=steps)  # fmt: skip
    assert [stage for stage, _, _ in steps] == ["solve", "examine"], "without a suspect one fit is enough"


def test_usual_errors_by_hand() -> None:
    table = table_of([0.0] * 21, [0] * 10 + [1] * 11)
    error = np.array([*np.arange(1.0, 10.0), np.nan, *np.arange(1.0, 12.0)])
    leverage = np.array([0.5] * 10 + [0.2] * 10 + [0.0])
    usual = outliers._usual(table, error, leverage)
    assert np.isinf(usual[:10]).all(), "nine rows tell nothing"
    assert usual[10:, 0] == pytest.approx(1.4826 * 5.5)
    np.testing.assert_allclose(usual[10:, 1], 1.4826 * 5.5 * np.sqrt([2.0] * 10 + [1.0]))
    tiny = outliers._usual(table, 1e-9 * np.nan_to_num(error), leverage)
    assert tiny[0, 0] == 5e-4
    assert tiny[15, 0] == 1e-2


# --- prior -----------------------------------------------------------------------------------------------------------


def test_energies_of_elements_by_hand() -> None:
    structures = [Atoms(s, np.arange(3.0 * len(Atoms(s))).reshape(-1, 3)) for s in ("W2", "WBe", "WBe3", "Be2")]
    params = PARAMS["binary"]
    y = [-4.0, -3.0, -2.5, -2.0]
    table = table_of([*y, 9.0, 77.0], [0, 0, 0, 0, 1, 0], [0, 1, 2, 3, 3, 4])
    assert protection.element_energies(structures, params, table) == pytest.approx([-4.0, -2.0])
    one = protection.element_energies([structures[1]] * 2, params, table_of([-3.0, -3.2], [0, 0]))
    assert one == pytest.approx([-3.1, -3.1]), "what compositions leave open is near the mean"
    none = protection.element_energies(structures, params, table_of([1.0], [1]))
    assert none.tolist() == [0.0, 0.0]


def test_displaced_copies() -> None:
    cell = Atoms("W2", [[0, 0, 0], [1.6, 1.6, 1.6]], cell=[3.2] * 3, pbc=True)
    copies = [protection._displaced(cell, np.random.default_rng(seed)) for seed in range(200)]
    assert {len(copy) for copy in copies} == {16}
    strain = np.array([copy.cell.array / 6.4 - np.eye(3) for copy in copies])
    assert np.std(strain) == pytest.approx(0.03, rel=0.1)
    rest = [copy.positions - cell.repeat(2).get_scaled_positions(wrap=False) @ copy.cell.array for copy in copies]
    assert np.std(rest) == pytest.approx(0.1, rel=0.05)
    assert (
        len(
            protection._displaced(
                Atoms("W" * 20, np.arange(60.0).reshape(-1, 3), cell=[99] * 3, pbc=True), np.random.default_rng(0)
            )
        )
        == 20
    )
    molecule = protection._displaced(Atoms("W2", [[0, 0, 0], [2, 0, 0]]), np.random.default_rng(0))
    assert len(molecule) == 2
    params = SnapParams(("W",), twojmax=2, rcutfac=4.0)
    table = table_of([-5.0], [0])
    found = protection.displaced_rows([cell], params, table, seed=3, threads=1)
    again, other = (protection.displaced_rows([cell], params, table, seed=seed) for seed in (3, 4))
    np.testing.assert_allclose(found.forces, again.forces, rtol=1e-9, atol=1e-12)
    assert not np.allclose(found.forces, other.forces)
    assert found.forces.shape == (48, 6), "as few copies as hold twice as many forces as there are weights"
    assert found.energies.shape == (16, 6)
    assert found.expected.tolist() == [-5.0] * 16
    rng = np.random.default_rng(3)
    rng.integers(1)
    copy = protection._displaced(cell, rng)
    np.testing.assert_allclose(found.forces, design_rows([copy], params, energy=False)[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.energies, atomic_rows(descriptors(copy, params), False))


@pytest.mark.parametrize("loud", [False, True])
def test_prior_by_hand(loud: bool) -> None:
    """Rows that leave two of five weights open, and one that only shares energy."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(90, 5))
    x[:, 3:] = 0.0
    kind = np.where(np.arange(90) % 3, FORCE, ENERGY)
    y = (5.0 if loud else 0.5) * (x @ np.ones(5) + 0.1 * rng.normal(size=90))
    rows = ArrayRows(x, y, kind=kind, config=np.arange(90) // 3)
    forces, energies = rng.normal(size=(20, 5)), rng.normal(size=(8, 5))
    forces[:, 4] = 0.0  # no force feels it
    displaced = protection.DisplacedRows(forces, energies, np.full(8, 0.3))
    triangle = triangularise(rows, Team())
    found = protection.protect(rows, triangle, displaced, n_configurations=30)
    assert found.triangle is not None
    noise = solve(rows, quiet=True).noise_variance
    tau = max(1.0, np.sqrt(np.mean(y[kind == FORCE] ** 2)))
    assert (tau > 1.0) == loud
    f = np.column_stack([forces, np.zeros(20)]) * np.sqrt(noise * 5 / 20) / tau
    e = np.column_stack([energies, np.full(8, 0.3)]) * np.sqrt(noise * 5 / 8) / protection.ENERGY_SCALE
    whole = found.triangle.T @ found.triangle
    expected = f.T @ f + e.T @ e
    strength = whole[4, 4] / expected[4, 4]
    np.testing.assert_allclose(whole, strength * expected, rtol=1e-7, atol=1e-12)
    assert 2 * np.log10(strength) == pytest.approx(round(2 * np.log10(strength)), abs=1e-6)
    assert 1.0 <= strength <= 10.0**protection.DECADES * 1.01
    a = x.T @ x
    hat = np.trace(np.linalg.solve(a + whole[:5, :5], whole[:5, :5]))
    assert found.lent == pytest.approx(hat, rel=1e-6)
    assert 2.0 <= found.lent < 3.0
    assert found.axes is not None
    metric = found.axes.T @ (a + whole[:5, :5]) @ found.axes
    np.testing.assert_allclose(metric, np.eye(2), atol=1e-6)
    assert found.spread is not None
    assert found.sharing is not None
    assert found.spread.shape[1] + found.sharing.shape[1] == 2
    moves = np.hstack([found.spread, found.sharing])
    np.testing.assert_allclose(moves.T @ (a + whole[:5, :5]) @ moves, noise * np.eye(2), rtol=1e-5, atol=1e-9)
    blind = ArrayRows(x[kind == FORCE], y[kind == FORCE], config=np.arange(60) // 2)
    without = protection.protect(blind, triangularise(blind, Team()), displaced, n_configurations=30)
    assert without.sharing is not None
    assert without.sharing.shape == (5, 0), "without energies their zero is a convention"
    enough = ArrayRows(rng.normal(size=(90, 5)), y, kind=kind, config=np.arange(90) // 3)
    assert (
        protection.protect(enough, triangularise(enough, Team()), displaced, n_configurations=30)
        == protection.Protection()
    )


def test_prior_applied_by_hand() -> None:
    rng = np.random.default_rng(0)
    factor = np.triu(rng.normal(size=(4, 4))) + 3 * np.eye(4)
    axes = np.linalg.inv(factor)[:, :2]
    spread, sharing = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    moves = rng.normal(size=(6, 4))
    prior = protection.Protection(axes=axes, spread=spread, sharing=sharing)
    data_only = moves - moves @ factor.T @ factor @ axes @ axes.T
    drawn = np.random.default_rng([9, 3]).standard_normal((6, 3)) @ spread.T
    shared = np.random.default_rng([9, 2, 1]).standard_normal((6, 2))
    np.testing.assert_allclose(prior.applied(moves, factor, 9), data_only + drawn + shared @ sharing.T)
    np.testing.assert_allclose(np.abs(data_only @ factor.T @ factor @ axes).max(), 0.0, atol=1e-10)
    found = prior.shared(6, 9)
    assert found is not None
    np.testing.assert_array_equal(found.moves, sharing.T)
    np.testing.assert_array_equal(found.coefficients, shared)
    assert prior.shared(0, 9) is None
    assert protection.Protection(sharing=np.zeros((4, 0))).shared(6, 9) is None
    for idle in (protection.Protection(), protection.Protection(axes=axes), replace(prior, axes=None)):
        assert idle.applied(moves, factor, 9) is moves
    assert prior.applied(moves[:0], factor, 9).shape == (0, 4)


# --- targets ---------------------------------------------------------------------------------------------------------


def test_targets_that_are_refused() -> None:
    atoms = valued(Atoms("W2", [[0, 0, 0], [2, 0, 0]], cell=[5] * 3, pbc=True, info={"config_type": "a"}))
    wanted = (True, True, True)

    def spoilt(**results: Any) -> Atoms:
        copy = atoms.copy()
        copy.calc = SinglePointCalculator(copy)
        copy.calc.results = {**atoms.calc.results, "stress": np.zeros(6), **results}
        return copy

    where = r"^configuration 0 \(the 1st, a\)"
    skew = np.array([[1.0, 0.1, 0.0], [0.1 + 2e-3, 1.0, 0.0], [0.0, 0.0, 1.0]])
    for changed, says in (
        (spoilt(energy=np.ones(2)), where + r": 'energy' has shape \(2,\), expected \(\)$"),
        (spoilt(forces=np.ones(6)), where + r": 'forces' has shape \(6,\), expected \(2, 3\)$"),
        (spoilt(stress=np.ones(5)), where + r": 'stress' has shape \(5,\), expected \(6,\)$"),
        (spoilt(stress=skew), where + ": 'stress' is not symmetric$"),
        (spoilt(stress=np.full(6, np.inf)), where + ": 'stress' is not finite$"),
        (spoilt(energy=[{}]), where + r": 'energy' is not a number: \[\{\}\]$"),
        (spoilt(energy=None), where + r" has no energy under the key 'energy'; it carries config_type, energy, forces"),
    ):
        with pytest.raises(MliuqError, match=says):
            read_targets([changed], Keys(), wanted)
    with pytest.raises(MliuqError, match=r"^the data set is empty: expected at least one configuration$"):
        read_targets([], Keys())
    fine = np.array([[1.0, 0.1, 0.0], [0.1 + 5e-4, 1.0, 0.0], [0.0, 0.0, 1.0]])
    (found,) = read_targets([spoilt(stress=fine, energy=[3.0])], Keys(), wanted)
    np.testing.assert_allclose(found.stress, [1, 1, 1, 0, 0, 0.10025])
    assert found.energy == 3.0
    assert read_targets([spoilt()], Keys(), (False, False, False))[0] == Targets(None, None, None)
    bare = Atoms("W")
    with pytest.raises(
        MliuqError, match=r"has no energy under the key 'energy'; it carries nothing: give the right --energy-key; or"
    ):
        read_targets([bare], Keys())
    says = r"has no force under the key 'forces'; .*; or fit without: --force-weight 0, or --set data.skip_missing=true"
    with pytest.raises(MliuqError, match=says):
        read_targets([Atoms("W", info={"energy": 1.0})], Keys())
    moved = valued(Atoms("W2", [[0, 0, 0], [2, 0, 0]]))
    moved.positions[0, 0] += 2e-6
    with pytest.raises(MliuqError, match=r"its energy was computed at other positions \(a calculator shared by"):
        read_targets([moved], Keys())


def test_doubts_by_parts() -> None:
    stressed = Atoms("W", cell=[2, 3, 4], pbc=True)
    stressed.info |= {"energy": 1.0, "stress": np.arange(6.0), "virials": -12.0 * np.arange(6.0)}
    (message,) = doubts([stressed], Keys(), (True, False, True))
    assert message == (
        "configuration 0 (the 1st): 'stress' is 2 times what 'virials' says (stress = -virial/V): see to --stress-unit "
        "and --stress-sign, or take the virial by --stress-key virials"
    )
    assert doubts([stressed], Keys(), (True, False, False)) == []
    stressed.info["virials"] = -24.0 * np.arange(6.0) * 1.009
    assert doubts([stressed], Keys(), (True, False, True)) == []
    other = Atoms("W", info={"dft_energy": 1.0})
    assert doubts([other, other], Keys(), (True, False, False)) == [
        "no structure has an energy under 'energy'; found dft_energy: use --keys dft"
    ]
    assert targets.absence([other], [Targets(None, None, None)], Keys(), (False, True, True)) == []
    named = Atoms("W", info={"E_x": 1.0, "stress_b": np.zeros(6)})
    named.arrays["my_forces"] = np.zeros((1, 3))
    found = doubts([named], Keys(), (True, True, True))
    assert found == [
        "no structure has forces under 'forces'; found my_forces: use --keys my",
        "no structure has a stress under 'stress'; found stress_b: use --stress-key stress_b",
    ]
    two = valued(Atoms("W"), 1.0)
    two.info["energy"], two.arrays["forces"] = 1.0 + 5e-7, np.ones((1, 3))
    assert doubts([two], Keys(), (True, True, False)) == []
    two.arrays["forces"] = np.ones((1, 3)) + 1e-3
    assert doubts([two, two], Keys(), (True, True, False)) == [
        "configuration 0 (the 1st) carries two different 'forces': that in atoms.calc.results is taken, not that in "
        "atoms.arrays"
    ]
    two.arrays["forces"] = np.array([["a", "b", "c"]])
    assert len(doubts([two], Keys(), (True, False, False))) == 1
    methods = Atoms("W", info={"energy": 1.0, "b_energy": 1.0 + 5e-7})
    methods.arrays["b_forces"] = np.zeros((1, 3))
    assert doubts([methods], Keys(), (True, False, False)) == []
    methods.info["b_energy"] = 2.0
    assert doubts([methods], Keys(), (True, False, False)) == [
        "configuration 0 (the 1st) carries values of two methods: 'energy' is taken, not 'b_energy' (--keys b takes "
        "those)"
    ]


def test_what_looks_odd_about_a_stress() -> None:
    rng = np.random.default_rng(0)
    s = rng.normal(size=(30, 6))
    noise = rng.normal(size=(30, 6))
    assert stress_check.suspicion(noise, s) == "", "no relation, nothing to say"
    text = stress_check.suspicion(4.0 * s, s)
    assert text.startswith("the given stress is 4 times what energies and forces lead to (correlation 1.00): ")
    assert text.endswith(": no unit known here explains that")
    assert stress_check.suspicion(2.9 * s, s) == stress_check.suspicion(s / 2.9, s) == ""
    assert stress_check.suspicion(-s, s, source="x") == (
        "the given stress is -1 times what x (correlation -1.00): a positive number seems to mean compression: "
        "--stress-sign compression"
    )
    told = stress_check.suspicion(-160.2 * s, s, Keys(stress_sign="compression"))
    assert told.endswith("mean tension: --stress-sign tension; the unit seems to be GPa: --stress-unit GPa")
    vasp = s[:, [0, 1, 2, 5, 3, 4]]
    order = (
        "the shear components of the given stress seem to be in VASP's order xx yy zz xy yz zx, expected xx yy zz yz xz"
        " xy"
    )
    assert stress_check.suspicion(vasp, s) == order
    large = np.hstack([10 * s[:, :3], s[:, 3:]])
    assert stress_check.suspicion(large[:, [0, 1, 2, 5, 3, 4]], large) == order
    assert stress_check._correlation(np.zeros(3), np.ones(3)) == 0.0


def test_few_structures_are_looked_at() -> None:
    atoms = [Atoms("W" * (1 + i % 2)) for i in range(150)]
    assert stress_check._few(atoms) == atoms[::2]
    assert stress_check._few(atoms[:59]) == atoms[:59]
    big = [Atoms("W" * 700)] * 5
    assert len(stress_check._few(big)) == 2
    assert len(stress_check._few([Atoms("W" * 2500)] * 2)) == 1


def test_stress_of_a_hybrid_is_held_against_the_whole() -> None:
    """A repulsion that makes most of the stress is part of the prediction."""
    model = random_model(SnapParams(("W",), twojmax=2, rcutfac=4.0), zbl=(2.0, 3.5))
    structures = []
    for seed in range(12):
        atoms = random_atoms(("W",), 4, 4.6 * np.eye(3), seed=seed)
        own = zbl.evaluate(atoms, 2.0, 3.5)
        rows = design_rows([atoms], model.params, stress=True)[0] @ model.theta.ravel()
        assert own.stress is not None
        atoms.calc = SinglePointCalculator(
            atoms, energy=4 * rows[0] + own.energy, forces=rows[1:13].reshape(4, 3) + own.forces,
            stress=160.2 * (rows[13:] + own.stress),
        )  # fmt: skip
        structures.append(atoms)
    said = stress_check.odd_stress(structures, model.params, zbl=(2.0, 3.5), keys=Keys())
    assert "is 160 times what energies and forces lead to (correlation 1.00)" in said
    assert "--stress-unit GPa" in said
    assert stress_check.odd_stress(structures, model.params, zbl=(2.0, 3.5), keys=Keys(stress_unit="GPa")) == ""
    assert stress_check.odd_stress(structures[:2], model.params, zbl=(2.0, 3.5), keys=Keys()) == "", "too few to say"
