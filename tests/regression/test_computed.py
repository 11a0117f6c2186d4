"""Rows computed from structures, their weights, targets and caches; a toy descriptor stands in for the core."""

from __future__ import annotations

import os

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from mliuq.errors import MliuqError
from mliuq.outputs import SCRATCH
from mliuq.readers.keys import Keys
from mliuq.regression import ENERGY, FORCE, STRESS, solve
from mliuq.regression.computed import ComputedRows, fingerprint
from mliuq.regression.row_cache import DiskRows, MemoryRows
from mliuq.regression.targets import read_targets
from mliuq.regression.weights import GroupWeights, NearEquilibrium, WeightSettings, row_weights


def toy_rows(structures, *, energy, forces, stress):
    out = []
    for atoms in structures:
        x = atoms.positions
        parts = []
        if energy:
            parts.append(np.r_[1.0, np.mean(x**2, axis=0)][None])
        if forces:
            parts.append(np.c_[np.zeros(x.size), -2.0 * np.eye(3)[np.tile(np.arange(3), len(x))] * x.reshape(-1, 1)])
        if stress:
            parts.append(np.c_[np.zeros(6), np.resize(x, (6, 3))])
        out.append(np.concatenate(parts))
    return out


def make(n=12, seed=0):
    """Atoms in an anharmonic well the toy descriptor cannot quite describe."""
    rng = np.random.default_rng(seed)
    structures = []
    for i in range(n):
        x = rng.normal(size=(rng.integers(1, 6), 3))
        atoms = Atoms("W" * len(x), positions=x, info={"config_type": "ab"[i % 2], "fw": float(i % 3)})
        energy = float(np.sum(x**2 + 0.1 * x**4) - 3.0 * len(x))
        calculator = SinglePointCalculator(atoms, energy=energy, forces=-2 * x - 0.4 * x**3, stress=np.arange(6.0))
        atoms.calc = calculator
        structures.append(atoms)
    return structures


def rows_of(structures, settings=None, keys=None, skip=False, design_rows=toy_rows, **options):
    settings, keys = settings or WeightSettings(), keys or Keys()
    targets = read_targets(structures, keys, settings.wanted(), skip_missing=skip)
    weights = row_weights(structures, targets, settings, keys)
    return ComputedRows(structures, targets, weights, design_rows, 4, **options)


@pytest.mark.parametrize("rows_per_block", [1, 10, 1000])
def test_rows_stand_beside_their_targets(rows_per_block):
    structures = make()
    rows = rows_of(structures, WeightSettings(energy=3.0, force=2.0, stress=0.5), rows_per_block=rows_per_block)
    x = np.concatenate([block.x for block in rows.blocks()])
    at = 0
    for index, atoms in enumerate(structures):
        n = 1 + 3 * len(atoms) + 6
        own = slice(at, at + n)
        np.testing.assert_array_equal(x[own], toy_rows([atoms], energy=True, forces=True, stress=True)[0])
        np.testing.assert_array_equal(rows.table.config[own], index)
        np.testing.assert_array_equal(rows.table.kind[own], [ENERGY] + [FORCE] * (n - 7) + [STRESS] * 6)
        np.testing.assert_array_equal(rows.table.w[own], [3.0] + [2.0] * (n - 7) + [0.5] * 6)
        assert rows.table.y[at] == pytest.approx(atoms.get_potential_energy() / len(atoms))
        np.testing.assert_array_equal(rows.table.y[own][1:-6], atoms.get_forces().ravel())
        at += n
    assert at == len(x)


def test_kinds_without_weight_have_no_rows():
    rows = rows_of(make(), WeightSettings(energy=0.0))
    assert set(rows.table.kind) == {FORCE}
    rows = rows_of(make(), WeightSettings(groups={"a": GroupWeights(energy=0.0, force=0.0)}))
    assert set(rows.table.config) == {1, 3, 5, 7, 9, 11}
    np.testing.assert_array_equal(np.concatenate([b.x for b in rows.blocks()]).shape, (len(rows.table), 4))


def test_group_table_replaces_and_columns_multiply():
    structures = make()
    table = {"b": GroupWeights(energy=7.0)}
    settings = WeightSettings(2.0, 3.0, groups=table, columns={"force": "fw"}, columns_multiply_rows=True)
    rows = rows_of(structures, settings)
    energies, forces = rows.table.kind == ENERGY, rows.table.kind == FORCE
    np.testing.assert_array_equal(rows.table.w[energies], np.where(rows.table.config[energies] % 2, 7.0, 2.0))
    np.testing.assert_array_equal(rows.table.w[forces], 3.0 * (rows.table.config[forces] % 3) ** 2.0)


def test_near_equilibrium_weights():
    structures = make(30)
    rows = rows_of(structures, WeightSettings(near_equilibrium=NearEquilibrium(2.0, 50.0)))
    table, energies = rows.table, rows.table.kind == ENERGY
    assert table.w[energies].sum() == pytest.approx(table.w[~energies].sum())
    e = table.y[energies]
    np.testing.assert_allclose(table.w[energies] / table.w[energies].max(), np.exp(-(e - e.min()) / 2.0))
    w = table.w[~energies].reshape(-1, 3)
    np.testing.assert_array_equal(w[:, 0], w[:, 2])
    norm = np.linalg.norm(table.y[~energies].reshape(-1, 3), axis=1)
    np.testing.assert_allclose(w[:, 0] / w[:, 0].max(), np.exp(-(norm - norm.min()) / 50.0))


def test_keys_may_have_any_name():
    structures = make()
    renamed = []
    for atoms in structures:
        copy = Atoms(atoms.symbols, positions=atoms.positions, info={"REF_energy": atoms.get_potential_energy()})
        copy.arrays["REF_forces"] = atoms.get_forces()
        renamed.append(copy)
    rows = rows_of(renamed, keys=Keys("REF_energy", "REF_forces"))
    np.testing.assert_array_equal(rows.table.y, rows_of(structures).table.y)
    with pytest.raises(MliuqError, match=r"configuration 0 .* no energy under the key 'energy'; found REF_energy"):
        rows_of(renamed)


def test_missing_forces_are_an_error_unless_allowed():
    structures = make()
    structures[4].calc.results.pop("forces")
    with pytest.raises(MliuqError, match=r"configuration 4 \(the 5th, a\) has no force under the key 'forces'"):
        rows_of(structures)
    rows = rows_of(structures, skip=True)
    assert list(rows.table.kind[rows.table.config == 4]) == [ENERGY]
    assert len(np.concatenate([b.x for b in rows.blocks()])) == len(rows.table)


def test_full_stress_tensors_are_taken_too():
    structures = make(2)
    for atoms in structures:
        xx, yy, zz, yz, xz, xy = atoms.calc.results["stress"]
        atoms.info["dft_stress"] = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    targets = read_targets(structures, Keys(stress="dft_stress"), (False, False, True))
    np.testing.assert_array_equal(targets[0].stress, np.arange(6.0))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.clear(), "the data set is empty"),
        (lambda s: s[2].calc.results.update(energy=np.nan), r"configuration 2 \(the 3rd, a\): 'energy' is not finite"),
        (lambda s: s[1].calc.results.update(forces=np.zeros((9, 3))), r"'forces' has shape \(9, 3\), expected"),
        (lambda s: s[1].calc.results.update(energy="low"), "'energy' is not a number: 'low'"),
        (lambda s: s[3].positions.fill(np.inf), "configuration 3 .the 4th, b.: positions or cell are not finite"),
        (lambda s: s.append(Atoms()), "configuration 12 .the 13th. has no atoms"),
    ],
)
def test_bad_data_is_refused(spoil, message):
    structures = make()
    spoil(structures)
    with pytest.raises(MliuqError, match=message):
        rows_of(structures)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (WeightSettings(energy=-1.0), "energy weight is -1.0"),
        (WeightSettings(0.0, 0.0), "all zero"),
        (WeightSettings(groups={"c": GroupWeights(1.0)}), "group 'c', but the data has these groups: a, b"),
        (WeightSettings(groups={"a": GroupWeights(force=np.inf)}), "force weight of group 'a' is inf"),
        (WeightSettings(columns={"energy": "ew"}), "energy weight column 'ew' holds None"),
        (WeightSettings(columns={"enrgy": "fw"}), "weight column for 'enrgy'"),
        (WeightSettings(near_equilibrium=NearEquilibrium(0.0)), "near-equilibrium scales"),
    ],
)
def test_bad_weights_are_refused(settings, message):
    with pytest.raises(MliuqError, match=message):
        rows_of(make(), settings)


class TestCache:
    def test_same_fit_however_rows_are_kept(self, tmp_path):
        structures = make(40)
        rows = rows_of(structures, rows_per_block=50)
        bits = solve(rows).theta.tobytes()
        assert solve(MemoryRows(rows)).theta.tobytes() == bits
        disk = DiskRows(rows, tmp_path, fingerprint(structures))
        assert solve(disk).theta.tobytes() == bits
        assert disk.n_finished == disk.n_blocks
        assert solve(disk).theta.tobytes() == bits

    def test_finished_blocks_are_not_computed_again(self, tmp_path):
        structures, calls = make(40), []

        def counting(batch, **wanted):
            calls.append(len(batch))
            if sum(calls) > 25:
                raise KeyboardInterrupt
            return toy_rows(batch, **wanted)

        with pytest.raises(KeyboardInterrupt):
            solve(DiskRows(rows_of(structures, design_rows=counting, rows_per_block=50), tmp_path, "f"))
        resumed = DiskRows(rows_of(structures, rows_per_block=50), tmp_path, "f")
        assert 0 < resumed.n_finished < resumed.n_blocks
        assert not list(tmp_path.glob(".*"))
        np.testing.assert_array_equal(solve(resumed).theta, solve(rows_of(structures, rows_per_block=50)).theta)

    def test_what_a_killed_fit_was_writing_is_removed(self, tmp_path):
        abandoned = tmp_path / f"{SCRATCH}1-x"
        abandoned.mkdir()
        (abandoned / "block-000000.f64").write_bytes(b"half")
        os.utime(abandoned, (0, 0))
        disk = DiskRows(rows_of(make(10)), tmp_path, "f")
        solve(disk)
        assert {path.name for path in tmp_path.iterdir()} == {"rows.json", "block-000000.f64"}
        assert disk.n_finished == disk.n_blocks == 1

    def test_weights_may_change_without_new_rows(self, tmp_path):
        structures = make(40)
        solve(DiskRows(rows_of(structures), tmp_path, "f"))
        other = rows_of(structures, WeightSettings(energy=100.0), design_rows=None)
        expected = rows_of(structures, WeightSettings(energy=100.0))
        np.testing.assert_array_equal(solve(DiskRows(other, tmp_path, "f")).theta, solve(expected).theta)

    def test_rows_of_other_data_are_refused(self, tmp_path):
        structures = make(10)
        solve(DiskRows(rows_of(structures), tmp_path, fingerprint(structures)))
        moved = make(10)
        moved[3].positions[0, 0] += 1e-12
        with pytest.raises(MliuqError, match="holds rows of other data"):
            DiskRows(rows_of(moved), tmp_path, fingerprint(moved))

    def test_a_number_changed_in_a_block_is_seen(self, tmp_path):
        rows = rows_of(make(10))
        disk = DiskRows(rows, tmp_path, "f")
        solve(disk)
        content = bytearray(disk.path(0).read_bytes())
        for at in (3, len(content) // 2, len(content) - 3):  # the last one is in the checksum
            content[at] ^= 0x40
            disk.path(0).write_bytes(content)
            with pytest.raises(MliuqError, match=r"block-000000.f64: damaged"):
                solve(DiskRows(rows, tmp_path, "f"))
            content[at] ^= 0x40

    @pytest.mark.parametrize("text", ["[]", "5", "{", "[" * 5000, '{"fingerprint": 1}'])
    def test_a_damaged_manifest_is_named(self, tmp_path, text):
        (tmp_path / "rows.json").write_text(text)
        with pytest.raises(MliuqError, match=r"rows.json: damaged|holds rows of other data"):
            DiskRows(rows_of(make(10)), tmp_path, "f")

    def test_damaged_blocks_are_named(self, tmp_path):
        rows = rows_of(make(10))
        disk = DiskRows(rows, tmp_path, "f")
        solve(disk)
        disk.path(0).write_bytes(b"12345678")
        with pytest.raises(MliuqError, match=r"block-000000.f64: holds 1 numbers, expected"):
            solve(DiskRows(rows, tmp_path, "f"))
