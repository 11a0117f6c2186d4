"""The cutoff of a fit that names none: over the third shell of neighbours, and never at the end of one."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from mliuq.descriptor.reach import clear_cutoff, default_cutoff, nearest_distance, shell_at, thinned
from mliuq.descriptor.settings import SnapSettings
from mliuq.errors import MliuqError
from mliuq.fitting.settings import FitSettings

TANTALUM, TUNGSTEN = bulk("Ta", "bcc", a=3.30), bulk("W", "bcc", a=3.18)
THIRD_SHELL = 4.667  # of tantalum


@pytest.mark.parametrize(
    ("crystal", "cutoff"),
    [
        (TUNGSTEN, 4.7),  # third shell at 4.50 Å
        (bulk("Mo", "bcc", a=3.15), 4.7),
        (bulk("Cu", "fcc", a=3.61), 4.7),
        (bulk("Si", "diamond", a=5.43), 4.7),
        (TANTALUM, 4.9),
        (bulk("Fe", "bcc", a=2.87), 5.0),  # 24 neighbours at 4.76 Å; the 8 at 4.97 Å are fewer than usual
        (bulk("K", "bcc", a=5.33), 7.9),
        (bulk("PbTe", "rocksalt", a=6.46), 5.8),  # third shell at 5.59 Å
    ],
)
def test_cutoffs_of_crystals(crystal: Atoms, cutoff: float) -> None:
    assert default_cutoff([crystal]) == cutoff
    assert SnapSettings().params([crystal]).rcutfac == cutoff


@given(
    lattice=st.sampled_from(["bcc", "fcc", "sc", "diamond"]),
    nearest=st.floats(1.5, 5.7),
    seed=st.integers(0, 99),
    rattle=st.sampled_from([0.0, 0.03]),
)
@settings(deadline=None, max_examples=40)
def test_no_shell_of_a_crystal_fades_at_its_cutoff(lattice: str, nearest: float, seed: int, rattle: float) -> None:
    a = nearest * {"bcc": np.sqrt(4 / 3), "fcc": np.sqrt(2), "sc": 1.0, "diamond": np.sqrt(16 / 3)}[lattice]
    atoms = bulk("W", lattice, a=a, cubic=True)
    atoms.rattle(rattle, seed=seed)
    distances = neighbor_list("d", atoms, 15.0)
    nearest = np.median([distances[neighbor_list("i", atoms, 15.0) == i].min() for i in range(len(atoms))])
    cutoff = default_cutoff([atoms])
    assert cutoff >= 4.7
    assert cutoff >= 1.7 * nearest - 1e-9
    assert cutoff < 1.3 * max(4.7, 1.7 * nearest) + 0.1
    fading = np.sum((distances > 0.965 * cutoff) & (distances < 1.02 * cutoff))
    even = np.sum(distances < cutoff) * (1.02**3 - 0.965**3)
    assert fading <= 1.5 * even


@pytest.mark.parametrize(
    ("cutoff", "is_there"), [(4.4, False), (THIRD_SHELL / 1.03, False), (4.676, True), (4.8, True), (4.9, False)]
)
def test_a_shell_at_a_cutoff(cutoff: float, is_there: bool) -> None:
    assert shell_at([TANTALUM], cutoff) == is_there
    assert (clear_cutoff([TANTALUM], cutoff) > cutoff) == is_there


def pairs_of(lengths: list[float]) -> list[Atoms]:
    """Pairs of atoms, each alone."""
    ends = [[100.0 * n, 0.0, z] for n, length in enumerate(lengths) for z in (0.0, length)]
    return [Atoms(f"W{len(ends)}", positions=ends)]


def test_where_shells_are_all_the_way_the_least_cutoff_is_left() -> None:
    assert clear_cutoff(pairs_of([4.0]), 4.0) == 4.2  # 0.965 · 4.2 = 4.05
    ever_more = [3.8 * 1.02**k for k in range(22) for _ in range(int(4 * 1.3**k))]  # to 5.8 Å
    assert shell_at(pairs_of(ever_more), 4.0)
    assert clear_cutoff(pairs_of(ever_more), 4.0) == 4.0
    up_to = [length for length in ever_more if length < 4.5]
    assert clear_cutoff(pairs_of(up_to), 4.0) == 4.7  # 0.965 · 4.7 = 4.54


def test_half_as_many_again_as_on_average_make_a_shell() -> None:
    share = 1.5 * (1.02**3 - 0.965**3)  # of all inside
    least = int(np.ceil(100 * share / (1 - share)))  # beside a hundred further in
    assert shell_at(pairs_of([2.0] * 100 + [3.95] * least), 4.0)
    assert not shell_at(pairs_of([2.0] * 100 + [3.95] * (least - 1)), 4.0)


def test_distances_are_counted_in_radii() -> None:
    small = TANTALUM.copy()
    assert default_cutoff([small], {"Ta": 0.5}) == default_cutoff([small])
    # With R = 0.6 a cutoff of 4.7 reaches 5.64 Å, 1.97 distances of nearest neighbours.
    widened = default_cutoff([small], {"Ta": 0.6})
    assert widened == pytest.approx(default_cutoff([bulk("Ta", "bcc", a=3.30 / 1.2)]))
    assert shell_at([small], 4.7 / 1.2, {"Ta": 0.6})
    assert not shell_at([small], 4.9 / 1.2, {"Ta": 0.6})
    params = SnapSettings(elements=("Ta",), radii=(0.6,)).params([small])
    assert (params.rcutfac, params.radii) == (widened, (0.6,))


@pytest.mark.parametrize(
    "broken",
    [
        Atoms(),
        Atoms("W2", positions=[[0, 0, 0], [np.nan, 0, 0]]),
        Atoms("W", cell=[1e-5, 20, 20], pbc=True),
        Atoms("W", cell=[0, 0, 0], pbc=True),
        Atoms("W2", positions=[[0, 0, 0], [1e12, 0, 0]]),
        Atoms("W", cell=[30, 30, 30], pbc=True),
        Atoms(numbers=[500]),
    ],
)
def test_what_cannot_be_fitted_is_passed_over(broken: Atoms) -> None:
    assert default_cutoff([broken]) == 4.7
    assert default_cutoff([broken, TANTALUM, broken]) == 4.9
    assert not shell_at([broken], 4.7)


def test_settings_that_name_a_cutoff_keep_it() -> None:
    assert SnapSettings(rcut=4.1).params([TANTALUM]).rcutfac == 4.1
    assert SnapSettings(rcut=4.1, elements=("W",)).params(iter(())).elements == ("W",)
    with pytest.raises(MliuqError, match=r"^an atomic number is 500, expected a number from 0 to 118$"):
        SnapSettings().params([Atoms(numbers=[500])])
    both = SnapSettings().params(iter([TUNGSTEN, TANTALUM]))  # gone through once
    assert both.elements == ("Ta", "W")
    assert SnapSettings(elements=("W", "Ta")).params([TUNGSTEN, TANTALUM]).elements == ("W", "Ta")
    with pytest.raises(MliuqError, match=r"^settings: snap: rcut is 'long', expected a number or one of 'auto'$"):
        FitSettings().updated({"snap.rcut": "long"})


def test_structures_are_picked_evenly() -> None:
    made = [Atoms("W", positions=[[k, 0, 0]]) for k in range(1000)]
    assert thinned(made[:100]) == made[:100]
    for n in (101, 150, 256, 1000):
        picked = [int(atoms.positions[0, 0]) for atoms in thinned(iter(made[:n]))]
        steps = set(np.diff(picked))
        assert len(steps) == 1
        assert 50 <= len(picked) <= 100
        assert picked[0] == 0
        assert n - picked[-1] <= steps.pop()


def test_order_of_structures_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    some = []
    for k in range(30):
        atoms = bulk("Ta", "bcc", a=rng.uniform(3.2, 3.4), cubic=True)
        atoms.rattle(0.1, seed=k)
        some.append(atoms)
    assert default_cutoff(some) == default_cutoff(some[::-1]) >= 4.9
    assert nearest_distance(some) == nearest_distance(some[::-1])
