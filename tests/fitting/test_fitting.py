"""`mliuq.fit` from structures to a saved model, on a slice of the shipped tungsten set."""

from __future__ import annotations

from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from mliuq.errors import MliuqError
from mliuq.fitting.fit import run_fit
from mliuq.fitting.settings import FitSettings
from mliuq.model.environments import environments_of
from mliuq.readers import read_structures
from mliuq.regression.distributed import Team
from mliuq.regression.problem import split

SMALL = {"snap.twojmax": 4, "posterior.members": 40}
FITS = Path(__file__).resolve().parents[2] / "examples" / "fits"
DATA = Path(__file__).resolve().parents[2] / "data" / "W_gpaw" / "W_gpaw.xyz.gz"


@pytest.fixture(scope="module")
def tungsten() -> list[Atoms]:
    return read_structures(DATA)[::4]


def saved(model, path):
    model.save(path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["gaussian", "hypercube", "ensemble"])
def test_model_predicts_what_its_rows_say(tungsten, kind, tmp_path):
    result = run_fit(tungsten, settings={**SMALL, "posterior.kind": kind, "snap.zbl": (1.5, 2.2)})
    result.model.save(tmp_path / "W.mliuq")
    model = mliuq.Model.load(tmp_path / "W.mliuq")
    test = result.test
    for config, atoms in enumerate(result.test_structures[:4]):
        calculator = mliuq.MLIUQCalculator(model)
        structure = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        structure.calc = calculator
        own = test.config == config
        energy, forces = own & (test.kind == 0), own & (test.kind == 1)
        n = len(atoms)
        offset = atoms.get_potential_energy() / n - test.y[energy][0]  # ZBL
        assert structure.get_potential_energy() / n == pytest.approx(test.mean[energy][0] + offset, rel=1e-9)
        np.testing.assert_allclose(
            structure.get_forces() - atoms.get_forces(), (test.mean - test.y)[forces].reshape(n, 3), atol=1e-8
        )
        std = calculator.get_property("energy_std", structure) / n
        assert std == pytest.approx(test.std[energy][0], rel=1e-6)


def test_same_seed_same_bytes(tungsten, tmp_path):
    first, again, other = (
        mliuq.fit(tungsten, settings={**SMALL, "seed": seed, "solver.rows": rows})
        for seed, rows in ((1, "memory"), (1, "disk"), (2, "memory"))
    )
    np.testing.assert_array_equal(first.members, again.members)
    assert not np.array_equal(first.members, other.members)
    repeat = mliuq.fit(tungsten, settings={**SMALL, "seed": 1, "solver.rows": "memory"})
    assert saved(first, tmp_path / "a.mliuq") == saved(repeat, tmp_path / "b.mliuq")


@pytest.mark.parametrize("rows", ["memory", "disk", "recompute"])
@pytest.mark.parametrize("threads", [1, 2])
def test_same_model_however_rows_are_kept(tungsten, rows, threads, tmp_path):
    settings = {**SMALL, "posterior.kind": "hypercube"}
    reference = mliuq.fit(tungsten, settings=settings)
    model = mliuq.fit(tungsten, settings={**settings, "solver.rows": rows, "solver.threads": threads})
    np.testing.assert_array_equal(model.theta, reference.theta)
    np.testing.assert_array_equal(model.members, reference.members)


def test_metadata_tells_the_whole_fit(tungsten):
    model = mliuq.fit(tungsten, settings={**SMALL, "seed": 5})
    fit, data = model.metadata["fit"], model.metadata["data"]
    assert fit["settings"]["snap"]["twojmax"] == 4
    assert fit["settings"]["seed"] == model.metadata["seed"] == 5
    assert data["configurations"] + data["held_out"] == len(tungsten)
    assert {line["of"] for line in fit["errors"]} == {"train", "left out", "test"}
    assert set(model.metadata["software"]) == {"mliuq", "numpy", "scipy", "ase", "python"}
    assert model.arrays["extrapolation.factor"].shape == (15, 15)
    assert model.arrays["extrapolation.active_set"].shape == (1, 15, 15)


def test_one_body_energies_are_met(tungsten):
    model = mliuq.fit(tungsten, settings={**SMALL, "solver.one_body": {"W": -4.1}})
    atom = Atoms("W")
    atom.calc = mliuq.MLIUQCalculator(model)
    assert atom.get_potential_energy() == pytest.approx(-4.1, abs=1e-8)
    members = np.abs(model.members[:, 0, 0] + 4.1)
    assert members.max() < 1e-4
    free = mliuq.fit(tungsten, settings=SMALL)
    assert abs(free.theta[0, 0] + 4.1) > 1e-3


def test_evidence_does_not_depend_on_the_zero_of_energy(tungsten):
    """The one-body energy is not shrunk, neither in the fit nor in the refits that calibrate it."""

    def moved(atoms: Atoms, by: float) -> Atoms:
        other = atoms.copy()
        calculator = SinglePointCalculator(
            other, energy=atoms.get_potential_energy() + by * len(atoms), forces=atoms.get_forces()
        )
        other.calc = calculator
        return other

    settings = {**SMALL, "solver.ridge": "evidence", "weights.energy": 1.0, "weights.force": 0.0}
    here, there = (mliuq.fit([moved(a, by) for a in tungsten], settings=settings) for by in (0.0, 1000.0))
    np.testing.assert_allclose(there.theta - here.theta, [[1000.0, *np.zeros(14)]], atol=1e-4)
    assert there.metadata["fit"]["ridge"] == pytest.approx(here.metadata["fit"]["ridge"], rel=1e-4)
    assert here.metadata["fit"]["ridge"] > 0.0
    assert there.calibration["alpha_energy"] == pytest.approx(here.calibration["alpha_energy"], rel=1e-2)


def test_isolated_atoms_give_one_body_energies(tungsten):
    lone = Atoms("W", cell=[20, 20, 20], pbc=True)
    lone.calc = SinglePointCalculator(lone, energy=-3.5, forces=np.zeros((1, 3)))
    result = run_fit([lone, *tungsten], settings={**SMALL, "solver.isolated_atoms": True})
    assert result.model.theta[0, 0] == pytest.approx(-3.5, abs=1e-8)
    assert len(result.train_structures) + len(result.test_structures) == len(tungsten)
    with pytest.raises(MliuqError, match="no isolated W atom"):
        mliuq.fit(tungsten, settings={**SMALL, "solver.isolated_atoms": True})


def test_fitsnap_example_from_structures_to_coefficients(shared_data, tantalum):
    """The whole way of FitSNAP's example, stress and ZBL included; its unit of pressure differs by 8e-8."""
    settings = FitSettings.from_toml(FITS / "Ta_SNAP.toml").updated(
        {"posterior.members": 0, "posterior.kind": "ensemble"}
    )
    model = mliuq.fit(read_structures(shared_data / "Ta_JCP2014.xyz.gz"), settings=settings)
    np.testing.assert_allclose(model.theta[0], tantalum["coeffs"], rtol=1e-5)


@pytest.mark.parametrize("name", sorted(path.stem for path in FITS.glob("*.toml")))
def test_example_settings_are_valid(name):
    FitSettings.from_toml(FITS / f"{name}.toml")


@pytest.mark.parametrize("options", [{}, {"quadraticflag": True, "twojmax": 2}, {"chemflag": True, "twojmax": 2}])
def test_fit_recovers_the_model_that_made_the_data(options):
    """Two elements of different size and weight, energies, forces and stress, ZBL: the very weights come back."""
    rng = np.random.default_rng(0)
    choices = {"twojmax": 4, "rcutfac": 4.5, "radii": (0.5, 0.42), "weights": (1.0, 0.7), **options}
    params = mliuq.SnapParams(("W", "Be"), **choices)
    shape = (params.n_elements, params.n_weights)
    made = mliuq.Model(params, rng.normal(size=shape), zbl=(1.5, 2.4))
    structures = []
    for _ in range(60):
        n = int(rng.integers(2, 7))
        atoms = Atoms(rng.choice(["W", "Be"], n), scaled_positions=rng.random((n, 3)), cell=np.eye(3) * 4.0, pbc=True)
        atoms.set_cell(atoms.cell.array + rng.normal(scale=0.2, size=(3, 3)), scale_atoms=True)
        atoms.calc = mliuq.MLIUQCalculator(made)
        structures.append(atoms)
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    settings = {"posterior.kind": "ensemble", "posterior.members": 0, "weights.stress": 1.0}
    result = run_fit(structures, params, settings, zbl=(1.5, 2.4))
    if params.chemflag:  # some of its components are equal by symmetry: weights are not unique, predictions are
        assert result.solution.rank < made.theta.size
    else:
        assert result.solution.rank == made.theta.size
        scale = result.solution.factor.diagonal().reshape(shape)
        atol = 1e-8 * np.abs(made.theta * scale).max()
        np.testing.assert_allclose(result.model.theta * scale, made.theta * scale, atol=atol)
    for line in result.errors:
        assert line.rmse < 1e-7


def test_stress_rows_are_fitted(tungsten):
    plain = run_fit(tungsten, settings=SMALL)
    with_stress = run_fit(tungsten, settings={**SMALL, "weights.stress": 1e4})
    assert not any(line.kind == "stress" for line in plain.errors)
    rows = {line.of: line.rows for line in with_stress.errors if (line.kind, line.group) == ("stress", "all")}
    assert rows["train"] == 6 * len(with_stress.train_structures)
    assert rows["test"] == 6 * len(with_stress.test_structures)
    assert not np.array_equal(plain.model.theta, with_stress.model.theta)


def test_split_by_configuration():
    structures = [Atoms("W", positions=[[i, 0, 0]]) for i in range(20)]
    train, test = split(structures, 0.25, seed=3)
    assert len(test) == 5
    assert sorted(a.positions[0, 0] for a in [*train, *test]) == list(range(20))
    assert [a.positions[0, 0] for a in train] == sorted(a.positions[0, 0] for a in train)
    assert split(structures, 0.25, seed=3)[1] == test
    assert split(structures, 0.25, seed=4)[1] != test
    assert split(structures, 0.0, seed=3)[1] == []
    with pytest.raises(MliuqError, match="leaves none to fit"):
        split(structures[:1], 0.1, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"snap.elements": ("Mo",)},
            r"configuration 0 \(.*\): atom 0 .* is W, expected .*: Mo",
        ),
        ({"solver.one_body": {"Mo": 1.0}}, "none for W"),
        ({"data.energy_key": "REF_energy"}, "no energy under the key 'REF_energy'"),
        ({"snap.twojmax": -1}, "twojmax"),
        ({"posterior.kind": "normal"}, "kind is 'normal'"),
    ],
)
def test_bad_input_is_named(tungsten, change, message):
    with pytest.raises(MliuqError, match=message):
        mliuq.fit(tungsten, settings={**SMALL, **change})


def test_empty_data_is_refused():
    with pytest.raises(MliuqError, match="data set is empty"):
        mliuq.fit([])


@pytest.mark.parametrize("what", [lambda s: s[0], lambda s: [s[0], "atoms"], lambda s: 3])
def test_anything_but_configurations_is_refused(tungsten, what):
    with pytest.raises(MliuqError, match=r"^(structures|test).* is .*expected (a list of )?Atoms"):
        mliuq.fit(what(tungsten))
    with pytest.raises(MliuqError, match=r"^test.* is .*expected (a list of )?Atoms"):
        mliuq.fit(tungsten[:5], test=what(tungsten))


def test_rank_deficiency_is_one_warning_that_names_weights(tungsten, caplog):
    """Also where the folds of a calibration leave the same weights open."""
    with caplog.at_level("WARNING"):
        result = run_fit(tungsten, settings={**SMALL, "solver.ridge": 0.0, "solver.rcond": 0.1})
    assert 8 <= result.solution.rank < 15
    said = [record.getMessage() for record in caplog.records if "combinations of weights" in record.getMessage()]
    assert len(said) == 1
    assert f"W {result.solution.undetermined[0]}" in said[0]


@pytest.mark.parametrize("source", ["k-fold", "left-out"])
def test_groups_of_environments_have_quantiles(tungsten, source):
    """Those of the rows that calibrate, told apart by what is usual among the structures that were fitted."""
    result = run_fit(tungsten, settings={**SMALL, "data.test_fraction": 0.0, "posterior.calibration_source": source})
    groups = result.model.calibration["groups"]
    found = environments_of(result.train_structures)
    assert groups["usual"] == found.usual.to_mapping()
    assert {"undercoordinated", "close pairs", "strained", "none of these"} == set(groups["conformal"]["force"])
    pooled = result.model.calibration["conformal"]["force"]["0.9"]
    assert len({pooled, *(own["0.9"] for own in groups["conformal"]["force"].values())}) == 5


def test_single_configuration_has_no_error_bars(tungsten):
    with pytest.raises(MliuqError, match="leaves none to fit"):
        mliuq.fit(tungsten[:1], settings=SMALL)
    with pytest.raises(MliuqError, match="at least 2 configurations"):
        mliuq.fit(tungsten[:1], settings={**SMALL, "data.test_fraction": 0.0})
    without = {"posterior.kind": "ensemble", "posterior.members": 0, "data.test_fraction": 0.0}  # as the message says
    assert mliuq.fit(tungsten[:1], settings={**SMALL, **without}).members is None


def test_failing_ranks_take_the_others_down():
    class Recorder(Team):
        size = 2
        aborted = False

        def abort(self):
            self.aborted = True

    team = Recorder()
    with pytest.raises(MliuqError):
        mliuq.fit([], team=team)
    assert team.aborted


@pytest.mark.parametrize("kind", ["gaussian", "hypercube"])
@pytest.mark.parametrize(("source", "says"), [("k-fold", "4 refits"), ("left-out", "leave-one-configuration-out")])
def test_error_bars_are_calibrated_to_errors_on_configurations_not_fitted(tungsten, kind, source, says):
    settings = {**SMALL, "posterior.kind": kind, "posterior.calibration_source": source}
    result = run_fit(tungsten, settings={**settings, "posterior.calibration_folds": 4, "data.test_fraction": 0.3})
    calibration, test = result.model.calibration, result.test
    assert says in calibration["source"]
    assert set(calibration["conformal"]) == {"energy", "force"}
    noise = result.model.noise or {"energy": 0.0, "force": 0.0}
    for kind_, name in enumerate(("energy", "force")):
        at = (test.kind == kind_) & (test.std > 1e-2 * np.sqrt(np.mean(test.std[test.kind == kind_] ** 2)))
        z = (test.y - test.mean)[at] / np.hypot(calibration[f"alpha_{name}"] * test.std[at], noise[name])
        assert 0.5 < np.sqrt(np.mean(z**2)) < 2.0
    bare = run_fit(tungsten, settings={**SMALL, "posterior.kind": kind, "posterior.calibrate": False})
    assert bare.model.calibration is None


def test_few_configurations_are_not_refitted(tungsten):
    few = {"snap.twojmax": 2, "posterior.members": 20, "data.test_fraction": 0.0}
    assert mliuq.fit(tungsten[:19], settings=few).calibration is None
    assert "refits" in mliuq.fit(tungsten[:20], settings=few).calibration["source"]


def test_the_balance_is_chosen_stored_and_can_be_overridden(tungsten, tmp_path):
    settings = {**SMALL, "seed": 3}
    chosen = run_fit(tungsten, settings=settings)
    weight = chosen.balance.constants["energy"]
    assert weight != 1.0
    stored = chosen.model.metadata["fit"]
    assert stored["settings"]["weights"]["energy"] == "auto"
    assert stored["balance"]["constants"] == {"energy": weight}
    left = {line.kind: line.rmse for line in chosen.errors if line.of == "left out" and line.group == "all"}
    assert chosen.balance.left_out == pytest.approx(left, rel=1e-6)
    given = mliuq.fit(tungsten, settings={**settings, "weights.energy": weight})
    np.testing.assert_array_equal(given.theta, chosen.model.theta)
    np.testing.assert_array_equal(given.members, chosen.model.members)
    assert given.metadata["fit"]["balance"]["constants"] == {}
    for other in (weight / 30.0, weight * 30.0):
        worse = run_fit(tungsten, settings={**settings, "weights.energy": other}).errors
        rmse = [line.rmse for line in worse if line.of == "left out" and line.group == "all"]
        assert np.prod(rmse) > np.prod(list(left.values()))


@pytest.mark.parametrize(
    ("weights", "constants"),
    [
        ({"weights.force": "auto"}, {"energy", "force"}),
        ({"weights.energy": 10.0, "weights.force": "auto"}, {"force"}),
        ({"weights.stress": "auto"}, {"energy", "stress"}),
        ({"weights.near_equilibrium": {}}, set()),
        ({"weights.force": 0.0}, {"energy"}),
    ],
)
def test_which_constants_are_chosen(tungsten, weights, constants):
    result = run_fit(tungsten, settings={**SMALL, "posterior.kind": "ensemble", **weights})
    assert set(result.balance.constants) == constants


def test_given_one_body_energies_are_met_under_the_chosen_balance(tungsten):
    result = run_fit(tungsten, settings={**SMALL, "solver.one_body": {"W": -4.1}})
    assert result.balance.constants["energy"] > 1.0
    assert result.model.theta[0, 0] == pytest.approx(-4.1, abs=1e-8)


def test_belief_in_the_gaussian_counts_for_fifty_rows_of_its_calibration(tungsten, monkeypatch):
    """α of a fit is that of its refits, drawn towards one; other posteriors earn no such trust."""
    from mliuq.fitting import calibrating

    seen = []
    calibrate = calibrating.calibrate

    def watched(held_out, **options):
        seen.append(held_out)
        return calibrate(held_out, **options)

    monkeypatch.setattr(calibrating, "calibrate", watched)
    for kind, prior in (("gaussian", 50.0), ("ensemble", 0.0)):
        found = mliuq.fit(tungsten, settings={**SMALL, "posterior.kind": kind}).calibration
        alone = calibrate(seen.pop())
        n = alone.rows["energy"]
        assert found["alpha_energy"] == pytest.approx(alone.alpha_energy ** (n / (n + prior)), rel=1e-9)
