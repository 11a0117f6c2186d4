"""Properties against independent computations, and what the driver promises of members, failures and files."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import GPa
from mliuq import propagation
from mliuq.propagation import Measurement, PropagationSettings, Value
from mliuq.propagation.calculator import WeightsCalculator, weights_of
from mliuq.propagation.deformation_paths import PATHS
from mliuq.propagation.driver import BEST_FIT
from mliuq.propagation.equation_of_state import BirchMurnaghan
from scipy.optimize import minimize_scalar

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "descriptor"))
from stock import Job, run

TIGHT = PropagationSettings(fmax=1e-7)
FIVE = range(5)


@pytest.fixture(scope="module")
def phases(tame: mliuq.Model) -> propagation.PropertyResult:
    return propagation.eos(tame, ["bcc", "fcc", "hcp"], reference="bcc", settings=TIGHT)


@pytest.mark.stock
def test_eos_and_elastic_constants_by_stock_lammps(
    tame: mliuq.Model, phases: propagation.PropertyResult, tmp_path: Path
) -> None:
    """Energies of exported members by ``pair_style snap``: volume, bulk modulus, C11 and C′ follow from them alone."""
    elastic = propagation.elastic(tame, ["bcc"], settings=TIGHT, strain=0.005)
    commands = {}
    for m in FIVE:
        coeff, param = tame.to_snap(tmp_path / f"W_{m}", member=m)
        commands[m] = ["pair_style snap", f"pair_coeff * * {coeff} {param} W"]

    def stock(structures: dict[int, list[Atoms]]) -> dict[int, list[dict[str, np.ndarray]]]:
        found = iter(run([Job(a, ["W"], commands[m]) for m, some in structures.items() for a in some], tmp_path))
        return {m: [next(found) for _ in some] for m, some in structures.items()}

    volume = {m: phases["bcc", "volume"].members[m] for m in FIVE}
    near = {m: np.cbrt(2 * volume[m]) * np.linspace(0.995, 1.005, 9) for m in FIVE}
    wide = {m: volume[m] * np.linspace(0.94, 1.06, 7) for m in FIVE}
    energies = stock({
        m: [bulk("W", "bcc", a, cubic=True) for a in (*near[m], *np.cbrt(2 * wide[m]))] for m in FIVE
    })  # fmt: skip
    lowest = {}
    for m in FIVE:
        e = np.array([found["energy"] for found in energies[m]]) / 2
        curve = np.polynomial.Polynomial.fit(near[m], e[:9], 6)
        found = minimize_scalar(curve, bounds=(near[m][0], near[m][-1]), method="bounded", options={"xatol": 1e-12})
        lowest[m] = found.x
        assert phases["bcc", "energy"].members[m] == pytest.approx(found.fun, abs=1e-7)
        assert volume[m] == pytest.approx(found.x**3 / 2, rel=1e-6)
        x = wide[m] ** (-2 / 3)
        poly = np.polynomial.Polynomial.fit(x, e[9:], 3)
        x0 = next(r.real for r in poly.deriv().roots() if x[-1] < r.real < x[0] and poly.deriv(2)(r.real) > 0)
        by_volume = 4 / 9 * x0**3.5 * poly.deriv(2)(x0)
        assert phases["bcc", "bulk modulus"].members[m] == pytest.approx(by_volume / GPa, rel=1e-6)

    strained = {}
    for m in FIVE:
        cells = [bulk("W", "bcc", lowest[m], cubic=True) for _ in range(2)]
        for e, atoms in zip((-0.005, 0.005), cells, strict=True):
            atoms.set_cell(atoms.cell.array @ np.diag([1 + e, 1.0, 1.0]), scale_atoms=True)
        strained[m] = cells
    for m, pair in stock(strained).items():
        low, high = (-f["virial"] / a.get_volume() for f, a in zip(pair, strained[m], strict=True))
        slope = (high - low) / 0.01 / GPa
        near_enough = {"rel": 0.0, "abs": 1e-6 * np.abs(slope).max()}
        assert elastic["bcc", "C11"].members[m] == pytest.approx(slope[0], **near_enough)
        assert elastic["bcc", "C'"].members[m] == pytest.approx((slope[0] - slope[1]) / 2, **near_enough)


def test_birch_murnaghan_gives_back_what_made_it() -> None:
    """Energies of the textbook form with B0 = 1.9, B0′ = 4.3 are fitted exactly."""
    v0, b0, b1 = 16.1, 1.9, 4.3
    v = np.linspace(14.5, 17.5, 7)
    f = (v0 / v) ** (2 / 3)
    e = -11.0 + 9 * v0 * b0 / 16 * ((f - 1) ** 3 * b1 + (f - 1) ** 2 * (6 - 4 * f))
    curve = BirchMurnaghan.fit(v, e)
    assert curve.volume == pytest.approx(v0, rel=1e-9)
    assert curve.bulk_modulus == pytest.approx(b0, rel=1e-7)
    assert curve.bulk_derivative == pytest.approx(b1, rel=1e-6)
    np.testing.assert_allclose(curve.energy(v), e, atol=1e-11)


def test_bars_follow_from_the_members(tame: mliuq.Model, phases: propagation.PropertyResult) -> None:
    scale = tame.error_scale
    for e in phases.estimates:
        assert len(e.members) == tame.n_members
        assert e.std == pytest.approx(np.sqrt(np.mean((e.members - e.best) ** 2)))
        assert e.low == e.members.min() <= e.high == e.members.max()
        assert e.err == pytest.approx(np.hypot(scale.alpha_energy * e.std, e.floor))
        assert e.std > 0
    gap = phases["hcp", "formation energy"]
    np.testing.assert_allclose(
        gap.members, phases["hcp", "energy"].members - phases["bcc", "energy"].members, atol=1e-12
    )
    assert gap.floor == pytest.approx(np.sqrt(2) * scale.noise_energy)
    assert phases["bcc", "volume"].floor > 0


def test_noise_floor_of_a_volume_is_the_scatter_of_fits_to_noisy_energies(phases: propagation.PropertyResult) -> None:
    v = phases["bcc", "volume"].best * np.linspace(0.94, 1.06, 7)
    clean = 0.5 * 16.0 * 2.0 * (v / v.mean() - 1) ** 2
    sigma = 1e-5
    rng = np.random.default_rng(0)
    fits = [BirchMurnaghan.fit(v, clean + sigma * rng.normal(size=7)) for _ in range(2000)]
    from mliuq.propagation.equation_of_state import _noise_gains

    gains = _noise_gains(v, clean)
    for name, unit in (("volume", 1.0), ("bulk_modulus", GPa)):
        scatter = np.std([getattr(f, name) for f in fits]) / unit
        assert gains[name].energy * sigma == pytest.approx(scatter, rel=0.06)


def test_elastic_constants_of_hcp_have_its_symmetry(tame: mliuq.Model) -> None:
    found = propagation.elastic(tame, ["hcp"], settings=replace(TIGHT, members=3))
    named = [e.quantity for e in found.estimates]
    assert named == ["C11", "C12", "C13", "C33", "C44", "C66", "bulk modulus", "shear modulus", "C'"]
    for k in range(3):
        c = {n: found["hcp", n].members[k] for n in named}
        assert c["C66"] == pytest.approx((c["C11"] - c["C12"]) / 2, rel=2e-3)
    cubic = propagation.elastic(tame, ["fcc"], settings=replace(TIGHT, members=2))
    assert [e.quantity for e in cubic.estimates][:3] == ["C11", "C12", "C44"]


def test_bulk_modulus_both_ways(tame: mliuq.Model, phases: propagation.PropertyResult) -> None:
    """(C11 + 2 C12)/3 of bcc is V E″, member by member, as far as a fit over ± 6 % and strains of 0.2 % agree."""
    found = propagation.elastic(tame, ["bcc"], settings=TIGHT, strain=0.002)
    narrow = propagation.eos(tame, ["bcc"], settings=TIGHT, span=0.01)
    np.testing.assert_allclose(found["bcc", "bulk modulus"].members, narrow["bcc", "bulk modulus"].members, rtol=5e-3)
    assert np.ptp(phases["bcc", "bulk modulus"].members) > 1.0


def test_volume_alone_keeps_the_shape(tame: mliuq.Model) -> None:
    options = {"settings": replace(TIGHT, members=4)}
    fixed = propagation.eos(tame, ["hcp"], relax="volume", **options)
    free = propagation.eos(tame, ["hcp"], relax="all", **options)
    assert np.all(free["hcp", "energy"].members < fixed["hcp", "energy"].members - 1e-6)
    cubic = [propagation.eos(tame, ["bcc"], relax=how, **options) for how in ("all", "volume")]
    np.testing.assert_allclose(cubic[0]["bcc", "volume"].members, cubic[1]["bcc", "volume"].members, rtol=1e-7)


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING")
def test_paths_pass_through_the_crystals_they_name() -> None:
    spglib = pytest.importorskip("spglib")

    def group(atoms: Atoms) -> str:
        return spglib.get_spacegroup((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=1e-5)

    for name, p, wanted in (
        ("bain", 1.0, "(229)"),
        ("bain", np.sqrt(2), "(225)"),
        ("trigonal", 1.0, "(229)"),
        ("trigonal", 2.0, "(221)"),
        ("trigonal", 4.0, "(225)"),
        ("orthorhombic", 1.0, "(229)"),
        ("orthorhombic", np.sqrt(2), "(229)"),
        ("hexagonal", 0.0, "(229)"),
        ("hexagonal", 1.0, "(194)"),
    ):
        atoms = PATHS[name][0](3.2, "W", p)
        assert group(atoms).endswith(wanted), (name, p)
        assert atoms.get_volume() / len(atoms) == pytest.approx(3.2**3 / 2)


def test_energies_along_paths(tame: mliuq.Model) -> None:
    first, last = bulk("W", "bcc", 3.2), bulk("W", "bcc", 3.15)
    found = propagation.path(tame, between={"there": (first, last)}, points=5, settings=replace(TIGHT, members=3))
    curves = {c.object: c for c in found.curves}
    assert set(curves) == {*PATHS, "there"}
    bain = curves["bain"]
    assert bain.members.shape == (3, 5)
    k = found.members[1]
    a = np.cbrt(2 * propagation.eos(tame, ["bcc"], settings=TIGHT)["bcc", "volume"].members[k])
    calculator = WeightsCalculator(weights_of(tame, k))
    atoms, zero = PATHS["bain"][0](a, "W", float(bain.x[3])), bulk("W", "bcc", a)
    atoms.calc = zero.calc = calculator
    expected = atoms.get_potential_energy() / 2
    assert bain.members[1][3] == pytest.approx(expected - zero.get_potential_energy(), abs=1e-7)
    # Both ends relax to bcc: the straight line between them stays there.
    assert np.abs(curves["there"].members).max() < 1e-6


class Constant(propagation.Property):
    """The first weight of a member; members of `bad` fail."""

    name = "constant"

    def __init__(self, bad: tuple[float, ...] = (), done: list[float] | None = None) -> None:
        self.bad, self.done = bad, done

    def describe(self) -> dict[str, object]:
        return {"bad": list(self.bad)}

    def measure(self, calculator, settings, start) -> Measurement:
        weight = float(calculator.model.theta[0, 0])
        if self.done is not None:
            self.done.append(weight)
        if start is not None and weight in self.bad:
            raise mliuq.MliuqError("collapsed: as told")
        return Measurement({("model", "weight"): Value(weight, "eV")})


def test_failures_are_counted_named_and_limited(tame: mliuq.Model) -> None:
    weights = tame.members[:, 0, 0]
    one = propagation.propagate(Constant(tuple(weights[[3]])), tame)
    assert [(f.member, f.object, f.reason) for f in one.failures] == [(3, "model", "collapsed: as told")]
    estimate = one["model", "weight"]
    assert estimate.failed == 1
    assert estimate.value == tame.theta[0, 0]
    assert estimate.high == np.delete(weights, 3).max()
    two = propagation.propagate(Constant(tuple(weights[[3, 5]])), tame)["model", "weight"]
    assert np.isnan([two.value, two.std, two.err, two.low, two.high]).all()
    assert two.reason == "2 of 12 members failed, more than the 10% allowed"
    lenient = PropagationSettings(max_failed=0.5)
    assert propagation.propagate(Constant(tuple(weights[[3, 5]])), tame, lenient)["model", "weight"].value
    none = propagation.propagate(Constant(tuple(weights)), tame, PropagationSettings(max_failed=1.0))
    assert none["model", "weight"].reason == "all 12 members failed"
    assert np.isnan(none["model", "weight"].std)
    assert BEST_FIT == -1


def test_members_can_be_chosen(tame: mliuq.Model) -> None:
    some = propagation.propagate(Constant(), tame, PropagationSettings(members=5, seed=1))
    assert len(set(some.members)) == 5
    np.testing.assert_array_equal(some["model", "weight"].members, tame.members[some.members, 0, 0])
    assert some.members != propagation.propagate(Constant(), tame, PropagationSettings(members=5, seed=2)).members
    with pytest.raises(mliuq.MliuqError, match="members is 13, expected at most the model's 12"):
        propagation.propagate(Constant(), tame, PropagationSettings(members=13))
    with pytest.raises(mliuq.MliuqError, match="no members"):
        propagation.propagate(Constant(), replace(tame, members=None))


def test_executors_give_the_same(tame: mliuq.Model, phases: propagation.PropertyResult) -> None:
    alone = propagation.propagate(Constant(), tame)["model", "weight"].members
    with ThreadPoolExecutor(2) as pool:
        np.testing.assert_array_equal(
            propagation.propagate(Constant(), tame, executor=pool)["model", "weight"].members, alone
        )
    with ProcessPoolExecutor(2) as pool:
        side = propagation.eos(tame, ["bcc", "fcc", "hcp"], reference="bcc", settings=TIGHT, executor=pool)
    for a, b in zip(side.estimates, phases.estimates, strict=True):
        np.testing.assert_allclose(a.members, b.members, rtol=1e-9)


def test_finished_members_are_not_computed_again(tame: mliuq.Model, tmp_path: Path) -> None:
    class Interrupted(Constant):
        def measure(self, calculator, settings, start) -> Measurement:
            if self.done is not None and len(self.done) == 5:
                raise KeyboardInterrupt
            return super().measure(calculator, settings, start)

    checkpoint = tmp_path / "partial.jsonl"
    with pytest.raises(KeyboardInterrupt):
        propagation.propagate(Interrupted(done=[]), tame, checkpoint=checkpoint)
    with checkpoint.open("a") as stream:
        stream.write('{"member": 9, "val')  # killed in the middle of a line
    done: list[float] = []
    found = propagation.propagate(Constant(done=done), tame, checkpoint=checkpoint)
    np.testing.assert_array_equal(found["model", "weight"].members, tame.members[:, 0, 0])
    assert done == [tame.theta[0, 0], *tame.members[4:, 0, 0]], "best fit, then what was missing"
    assert not checkpoint.exists()
    with pytest.raises(KeyboardInterrupt):
        propagation.propagate(Interrupted(done=[]), tame, checkpoint=checkpoint)
    other = replace(tame, theta=tame.theta + 1e-9)
    with pytest.raises(mliuq.MliuqError, match="another calculation"):
        propagation.propagate(Constant(), other, checkpoint=checkpoint)


def test_orders_and_ranks(phases: propagation.PropertyResult) -> None:
    order = phases.comparisons["order"]
    table = np.array([phases[name, "energy"].members for name in ("bcc", "fcc", "hcp")])
    assert order["members"] == table.shape[1]
    assert order["below"]["bcc"]["fcc"] == np.mean(table[0] < table[1])
    assert sum(order["lowest"].values()) == pytest.approx(1)
    assert order["lowest"]["hcp"] == np.mean(table.argmin(axis=0) == 2)
    assert sum(entry["share"] for entry in order["orders"]) == pytest.approx(1)
    rho = phases.comparisons["spearman"]["energy"]["members"]
    best = np.argsort(np.argsort([phases[n, "energy"].best for n in ("bcc", "fcc", "hcp")]))
    ranks = np.argsort(np.argsort(table[:, 0]))
    assert rho[0] == pytest.approx(1 - 6 * np.sum((best - ranks) ** 2) / 24)


def test_files_hold_everything(phases: propagation.PropertyResult, tmp_path: Path) -> None:
    written = propagation.write_result(phases, tmp_path / "W-eos")
    assert [p.name for p in written] == ["W-eos.json", "W-eos.csv", "W-eos.png", "W-eos.svg"]
    assert written[2].read_bytes().startswith(b"\x89PNG")
    assert b"volume (\xc3\x85\xc2\xb3/atom)" in written[3].read_bytes()
    back = propagation.read_result(written[0])
    assert back.to_mapping() == json.loads(json.dumps(phases.to_mapping()))
    header, first, *_ = written[1].read_text().splitlines()
    assert header == "object,quantity,unit,value,std,err,min,max,failed,reason"
    assert first.startswith("bcc,energy,eV/atom,")
    written[0].write_text("{}")
    with pytest.raises(mliuq.MliuqError, match="not a result"):
        propagation.read_result(written[0])
