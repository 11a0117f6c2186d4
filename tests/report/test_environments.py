"""Groups by environment: what belongs to them, and the report's numbers of them, counted again."""

from __future__ import annotations

import json
from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bcc100, bulk, fcc111
from mliuq.cli import main
from mliuq.model.environments import environments_of
from mliuq.readers import read_structures


def crystals(count: int = 6) -> list[Atoms]:
    found = []
    for seed in range(count):
        atoms = bulk("W", a=3.18, cubic=True).repeat(2)
        atoms.rattle(0.03, seed=seed)
        found.append(atoms)
    return found


def test_nothing_is_odd_about_crystals() -> None:
    found = environments_of(crystals())
    assert not np.concatenate(found.undercoordinated).any()
    assert not np.concatenate(found.close).any()
    assert not found.strained.any()


def test_outermost_layers_are_undercoordinated_and_neighbours_of_a_vacancy_are_not() -> None:
    slab = bcc100("W", (2, 2, 6), a=3.18, vacuum=8.0)
    slab.pbc = True
    vacancy = crystals(1)[0].repeat(2)
    del vacancy[5]
    found = environments_of([*crystals(), slab, vacancy, Atoms("W", pbc=False)])
    outer = np.isin(slab.get_tags(), (1, 6))
    np.testing.assert_array_equal(found.undercoordinated[6], outer)
    assert not found.undercoordinated[7].any()
    assert found.undercoordinated[8].all()
    assert not found.strained[[6, 8]].any(), "a cell with surfaces has no volume to speak of"
    layers = fcc111("Al", (2, 2, 5), a=4.05, vacuum=8.0, periodic=True)
    found = environments_of([bulk("Al", cubic=True).repeat(3), layers])
    np.testing.assert_array_equal(found.undercoordinated[1], np.isin(layers.get_tags(), (1, 5)))


@pytest.mark.parametrize(
    ("factor", "strained", "close"), [(0.85, True, True), (0.94, True, False), (1.04, True, False)]
)
def test_volume_strains_and_distance_alone_makes_close(factor: float, strained: bool, close: bool) -> None:
    squeezed = bulk("W", a=3.18 * factor, cubic=True).repeat(2)
    found = environments_of([*crystals(), squeezed])
    assert list(found.strained) == [False] * 6 + [strained]
    assert found.close[6].all() == found.close[6].any() == close
    assert not found.undercoordinated[6].any()


def test_one_pair_pushed_together() -> None:
    pushed = bulk("W", a=3.18, cubic=True).repeat(3)
    direction = pushed.get_distance(0, 1, mic=True, vector=True)
    pushed.positions[0] += 0.15 * direction
    found = environments_of([*crystals(), pushed])
    assert set(np.flatnonzero(found.close[6])) == {0, 1}


def test_groups_do_not_depend_on_frame_order_or_cell() -> None:
    rng = np.random.default_rng(0)
    slab = bcc100("W", (2, 2, 5), a=3.18, vacuum=8.0)
    slab.pbc = True
    slab.rattle(0.1, seed=1)
    structures = [*crystals(), slab]
    expected = environments_of(structures)
    order = rng.permutation(len(slab))
    turned = slab[order]
    turned.rotate(37.0, (1, 2, 3), rotate_cell=True)
    turned.translate((0.3, -1.2, 5.0))
    turned.wrap()
    found = environments_of([*structures[:-1], turned])
    for name in ("undercoordinated", "close"):
        np.testing.assert_array_equal(getattr(found, name)[-1], getattr(expected, name)[-1][order])
    repeated = environments_of([*structures[:-1], slab.repeat((2, 1, 1))])
    np.testing.assert_array_equal(repeated.undercoordinated[-1], np.tile(expected.undercoordinated[-1], 2))


def test_numbers_of_groups_and_intervals_are_those_of_the_calculator(
    small_model: Path, held_out: Path, tmp_path: Path
) -> None:
    assert main(["report", str(small_model), str(held_out), "-o", str(tmp_path / "report")]) == 0
    numbers = json.loads((tmp_path / "report" / "metrics.json").read_text(encoding="utf-8"))["quantities"]
    structures = read_structures(held_out)
    surroundings = environments_of(structures)
    calculator = mliuq.MLIUQCalculator(small_model)
    inside: dict[float, list[bool]] = {0.6827: [], 0.9: [], 0.9545: []}
    error, bar = [], []
    for atoms in structures:
        reference = atoms.get_potential_energy()
        atoms.calc = calculator
        error.append((reference - atoms.get_potential_energy()) / len(atoms))
        bar.append(calculator.get_property("energy_err", atoms) / len(atoms))
        for level, held in inside.items():
            low, high = calculator.interval("energy", level, atoms)
            held.append(low <= reference <= high)
    for level, held in inside.items():
        assert numbers["energy"]["intervals"][f"{level:g}"]["held"] == pytest.approx(np.mean(held))
    masks = {
        "strained": surroundings.strained,
        "undercoordinated": np.array([mask.mean() >= 0.1 for mask in surroundings.undercoordinated]),
        "close pairs": np.array([mask.mean() >= 0.1 for mask in surroundings.close]),
    }
    masks["none of these"] = ~np.any(list(masks.values()), axis=0)
    assert set(numbers["energy"]["by_environment"]) == {name for name, mask in masks.items() if mask.any()}
    z = np.array(error) / np.array(bar)
    for name, group in numbers["energy"]["by_environment"].items():
        mask = masks[name]
        assert group["rows"] == mask.sum() == group["configurations"]
        assert group["rms_z"] == pytest.approx(np.sqrt(np.mean(z[mask] ** 2)), rel=1e-9)
        assert group["held"] == pytest.approx(np.mean(np.array(inside[0.9])[mask]))
    force = numbers["force"]["by_environment"]
    atoms = len({(c, a) for c, s in enumerate(structures) for a in range(len(s))})
    assert 0 < force["high forces"]["rows"] <= 3 * np.ceil(0.1 * atoms)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    for kind in ("energy", "force"):
        for name, group in numbers[kind]["by_environment"].items():
            assert f"<td>{name}</td><td>{group['rows']}</td><td>{group['configurations']}</td>" in page


def test_each_element_has_its_own_usual_surroundings() -> None:
    """Be in hcp stands nearer together than W in bcc, with 12 near neighbours for 14: neither is odd."""
    found = environments_of([*crystals(), bulk("Be", "hcp", a=2.29, c=3.6).repeat(3)])
    assert not np.concatenate([*found.close, *found.undercoordinated]).any()
