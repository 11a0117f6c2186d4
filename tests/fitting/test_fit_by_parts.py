"""A fit against the parts it is made of, what it says on the way, and what it stores."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib import metadata as installed
from pathlib import Path
from typing import Any

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from linear_problems import matrix, misspecified
from mliuq.descriptor.bispectrum import atomic_rows, descriptors
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError
from mliuq.fitting import adopt as adopting
from mliuq.fitting import checks, classes_out, data, extrapolation, past, provenance, solving, zero_of_energy
from mliuq.fitting.adopt import run_adopt
from mliuq.fitting.calibrating import calibration_of, refit_errors, refit_settings, warn_of_doubtful
from mliuq.fitting.fit import FitResult, run_fit
from mliuq.fitting.settings import FitSettings
from mliuq.judging.metrics import informative
from mliuq.posterior.build import Posterior
from mliuq.posterior.calibration import PRIOR, HeldOut, calibrate
from mliuq.posterior.predict import Predictions, predict
from mliuq.posterior.refits import RefitSettings, left_out
from mliuq.posterior.thresholds import guard_thresholds, spread_thresholds
from mliuq.readers import read_structures
from mliuq.readers.origin import Origin, with_origin
from mliuq.regression import FORCE, STRESS, ArrayRows, solve
from mliuq.regression.computed import fingerprint
from mliuq.regression.distributed import Team
from mliuq.regression.outliers import Outlier
from mliuq.regression.problem import build_rows
from mliuq.regression.protection import Protection
from mliuq.regression.rows import KINDS, RowTable, SubsetRows
from mliuq.regression.solver import Solution
from systems import PARAMS, random_atoms, random_model

SMALL: dict[str, Any] = {
    "snap.twojmax": 2, "posterior.members": 30, "solver.threads": 1, "seed": 3, "data.test_fraction": 0.25,
}  # fmt: skip


class Steps(list[tuple[str, int, int]]):
    def __bool__(self) -> bool:
        return True

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.append((stage, done, total))


@pytest.fixture(scope="module")
def structures(tungsten: Path) -> list[Atoms]:
    return read_structures(tungsten)[::8]


@pytest.fixture(scope="module")
def steps() -> Steps:
    return Steps()


@pytest.fixture(scope="module")
def fitted(structures: list[Atoms], steps: Steps) -> tuple[FitResult, list[logging.LogRecord]]:
    """A fit with everything it says."""
    records: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger, handler = logging.getLogger("mliuq"), Keeping()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        result = run_fit(structures, settings=SMALL, progress=steps)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    return result, records


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "mliuq"):
        yield caplog


def said(records: list[logging.LogRecord], name: str) -> list[str]:
    return [record.getMessage() for record in records if record.name == f"mliuq.{name}"]


# --- what is said ----------------------------------------------------------------------------------------------------


def test_a_fit_says_what_it_does(fitted: tuple[FitResult, list[logging.LogRecord]], structures: list[Atoms]) -> None:
    result, records = fitted
    n, held, p = len(result.train_structures), len(result.test_structures), result.model.theta.size
    rows = len(result.train)
    assert n + held == len(structures)
    assert said(records, "fitting.fit") == [
        f"{n} configurations to fit, {held} held out, {p} weights",
        f"{rows} rows: rank {p}, condition number {result.solution.condition:.3g}",
    ]
    assert said(records, "regression.problem") == [
        f"{rows} rows of {p} numbers, {rows * p * 8 / 2**20:.3g} MiB: memory"
    ]
    assert said(records, "regression.balance") == [
        f"balance: {result.balance.constants}, left-out RMSE {result.balance.left_out}"
    ]
    assert said(records, "posterior.build")[0] == "gaussian posterior, 30 members"
    assert len(said(records, "posterior.build")) == 6, "the fit and five without a fold"


def test_progress_of_a_fit(fitted: tuple[FitResult, list[logging.LogRecord]], steps: Steps) -> None:
    stages = list(dict.fromkeys(stage for stage, _, _ in steps))
    folds = [f"fold {k}/5: {part}" for k in range(1, 6) for part in ("solve", "examine")]
    assert stages == ["solve", "examine", "balance", "predict", "left out", *folds, "classes", "test", "active set"]
    assert all(0 < done <= total for _, done, total in steps)
    n = len(fitted[0].train_structures)
    assert ("active set", n, n) in steps


# --- what is stored --------------------------------------------------------------------------------------------------


def test_metadata_of_a_fit(fitted: tuple[FitResult, list[logging.LogRecord]]) -> None:
    result = fitted[0]
    found, solution = result.model.metadata, result.solution
    assert set(found) == {"fit", "posterior", "data", "seed", "software"}
    fit = found["fit"]
    assert set(fit) == {
        "settings", "balance", "outliers", "rows", "weights", "rank", "undetermined", "condition", "ridge",
        "weights_held_by_prior", "noise_variance", "effective_parameters", "one_body", "errors", "classes_out",
    }  # fmt: skip
    assert FitSettings.from_mapping(fit["settings"]) == FitSettings().updated(SMALL)
    assert fit["balance"] == asdict(result.balance)
    assert (fit["outliers"], fit["one_body"], fit["undetermined"]) == ([], {}, [])
    assert fit["rows"] == {name: int((result.train.kind == k).sum()) for k, name in enumerate(KINDS)}
    assert (fit["weights"], fit["rank"], fit["ridge"]) == (result.model.theta.size, result.model.theta.size, 0.0)
    assert fit["weights_held_by_prior"] == 0.0
    for name in ("condition", "noise_variance", "effective_parameters"):
        assert fit[name] == getattr(solution, name)
    assert fit["errors"] == [line.to_mapping() for line in result.errors if line.group == "all"]
    assert {line["of"] for line in fit["errors"]} == {"train", "left out", "test"}
    assert fit["classes_out"] == [line.to_mapping() for line in result.errors if line.of == "class out"]
    posterior = found["posterior"]
    assert set(posterior) == {"kind", "rows", "prior", "converged", "members"}
    assert (posterior["kind"], posterior["members"]) == ("gaussian", 30)
    train = result.train_structures
    assert set(found["data"]) == {
        "fingerprint", "configurations", "atoms", "groups", "held_out", "held_out_fingerprint",
    }  # fmt: skip
    assert found["data"]["fingerprint"] == fingerprint(train, result.train.y.tobytes())
    assert found["seed"] == 3
    assert found["software"] == {
        **{name: installed.version(name) for name in ("mliuq", "numpy", "scipy", "ase")},
        "python": platform.python_version(),
    }
    groups = found["data"]["groups"]
    assert list(groups) == sorted(groups)
    assert sum(groups.values()) == len(train)


def test_names_of_files_lose_their_folders() -> None:
    settings = FitSettings().updated(
        {"data.train": ("/a/b.xyz", "c.xyz"), "data.test": ("/d/e.xyz",), "solver.cache": "/f/g"}
    )
    found = provenance.without_folders(settings)
    assert (found["data"]["train"], found["data"]["test"]) == (["b.xyz", "c.xyz"], ["e.xyz"])
    assert found["solver"]["cache"] == "g"


def test_model_of_a_fit_by_parts(fitted: tuple[FitResult, list[logging.LogRecord]]) -> None:
    result = fitted[0]
    model, params = result.model, result.model.params
    assert model.theta.shape == (1, params.n_weights)
    np.testing.assert_array_equal(model.theta.ravel(), result.solution.theta)
    assert model.members is not None
    rows = build_rows(result.train_structures, params, threads=1)
    own = predict(rows, result.solution.theta, model.members.reshape(30, -1) - result.solution.theta)
    for name in ("y", "mean", "std", "low", "high"):
        np.testing.assert_allclose(getattr(result.train, name), getattr(own, name), rtol=1e-9, atol=1e-9)
    test = build_rows(result.test_structures, params, threads=1)
    assert result.test is not None
    np.testing.assert_array_equal(result.test.y, test.table.y)
    assert set(model.noise or {}) == {"energy", "force", "stress"}
    assert {"posterior.factor", "extrapolation.factor", "extrapolation.active_set", "data.fingerprints"} <= set(
        model.arrays
    )
    np.testing.assert_array_equal(model.arrays["extrapolation.factor"], result.solution.factor)
    assert len(model.arrays["data.fingerprints"]) == len(result.train_structures)
    assert model.calibration is not None
    told = result.train.config[informative(result.train.kind, result.train.size) & (result.train.kind == FORCE)]
    spreads = spread_thresholds(result.train.where(np.isin(result.train.config, told)))
    assert spreads is not None
    assert model.calibration["thresholds"] == guard_thresholds(
        spreads, model.calibration["alpha_force"], (model.noise or {})["force"]
    )
    assert "(seed 3)" in model.calibration["source"]


# --- calibrating -----------------------------------------------------------------------------------------------------


def judged(kinds: int = 3, n: int = 60) -> tuple[Predictions, Predictions]:
    rng = np.random.default_rng(0)
    kind = (np.arange(n) % kinds).astype(np.int8)
    std, size = rng.lognormal(-1, 0.5, n), rng.uniform(0.5, 1.5, n)
    std[3], size[4] = 0.0, 1e-9
    mean, y = rng.normal(size=n), rng.normal(size=n)
    mean[7] = np.nan
    p = Predictions(y, y, 0.5 * std, y, y, kind, np.arange(n) // 9, size)
    return p, replace(p, mean=mean, std=std)


def test_calibration_to_left_out_residuals_of_a_box(caplog: pytest.LogCaptureFixture) -> None:
    p, unseen = judged()
    noise = {"energy": 0.1, "force": 0.2, "stress": 0.3}
    settings = FitSettings()
    posterior = Posterior(np.ones((4, 2)), noise, facts={"kind": "hypercube"})
    found = calibration_of(None, p, unseen, posterior, settings)
    rows = np.setdiff1d(np.arange(60), [3, 4, 7])
    floor = np.array([0.1, 0.2, 0.3])[p.kind]
    source = "leave-one-configuration-out residuals"
    columns = (column[rows] for column in (unseen.y - unseen.mean, unseen.std, floor, p.kind))
    held_out = HeldOut(*columns, source, unseen.config[rows])
    expected = calibrate(held_out).to_mapping()
    assert found is not None
    assert {key: found[key] for key in expected} == expected
    assert found["source"] == source
    assert found["thresholds"]["force_std"] == list(spread_thresholds(p) or ())
    few = calibration_of(None, p, unseen, posterior, settings, few=True)
    assert few is not None
    assert few["alpha_energy"] == calibrate(held_out, few=True).alpha_energy
    assert not caplog.messages
    for facts, moves in (({"kind": "gaussian"}, np.ones((4, 2))), ({"kind": "hypercube"}, np.ones((0, 2)))):
        assert calibration_of(None, p, unseen, Posterior(moves, noise, facts=facts), settings) is None
    nothing = replace(unseen, mean=np.full(60, np.nan))
    assert calibration_of(None, p, nothing, posterior, settings) is None
    assert [(r.name, r.getMessage()) for r in caplog.records] == [(
        "mliuq.fitting.calibrating",
        "error bars are not calibrated: too few configurations whose rows the others determine",
    )] * 3  # fmt: skip
    for change in ({"posterior.calibrate": False}, {"posterior.members": 0}):
        assert calibration_of(held_out, p, unseen, posterior, settings.updated(change)) is None
    assert len(caplog.records) == 3
    told = {
        kind: calibration_of(held_out, p, unseen, Posterior(np.ones((4, 2)), noise, facts={"kind": kind}), settings)
        for kind in ("gaussian", "ensemble")
    }
    assert told["gaussian"] is not None
    assert told["ensemble"] is not None
    assert told["gaussian"]["alpha_energy"] == calibrate(held_out, prior=PRIOR).alpha_energy
    assert told["ensemble"]["alpha_energy"] == calibrate(held_out).alpha_energy
    both = calibration_of(
        held_out, p, unseen, Posterior(np.ones((4, 2)), noise, facts={"kind": "gaussian"}), settings, few=True
    )
    assert both is not None
    assert both["alpha_energy"] == calibrate(held_out, few=True).alpha_energy


def test_refits_as_the_settings_say() -> None:
    prior = Protection(np.eye(3))
    settings = FitSettings().updated(
        {"solver.ridge": 2.0, "solver.rcond": 0.1, "seed": 4, "posterior.calibration_folds": 3}
    )
    assert refit_settings(settings, prior) == RefitSettings(2.0, 0.1, 3, 4, prior)
    assert refit_settings(FitSettings(), prior) == RefitSettings(0.0, None, 5, 0, prior)
    assert refit_settings(FitSettings().updated({"solver.ridge": "evidence"}), prior).ridge == "evidence"


@pytest.mark.parametrize(
    ("n", "change", "made"),
    [(20, {}, True), (19, {}, False), (30, {"posterior.calibrate": False}, False),
     (30, {"posterior.members": 0}, False),
     (30, {"posterior.calibration_source": "left-out"}, False), (30, {"posterior.calibration_folds": 31}, False),
     (30, {"posterior.calibration_folds": 30}, True)],
)  # fmt: skip
def test_whether_there_are_refits(n: int, change: dict[str, Any], made: bool) -> None:
    rows = misspecified(n_configs=n + 2, per_config=3, p=3)
    settings = FitSettings().updated({"posterior.kind": "ensemble", "posterior.members": 5, **change})
    found = refit_errors(rows, settings, Protection(), n, Team(), None)
    assert (found is not None) == made
    if found is not None:
        assert len(found.error) == 3 * n, "what is given is not predicted"


# --- checks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quadratic", [False, True])
def test_what_does_not_fit_into_memory(quadratic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    params = SnapParams(("W", "Be"), twojmax=4, quadraticflag=quadratic)
    total, asked = 2 * params.n_weights, []
    monkeypatch.setattr(checks, "refuse_beyond_memory", lambda *arguments: asked.append(arguments))
    checks.refuse_impossible(params, FitSettings().updated({"posterior.members": 70}))
    form = ", quadratic" if quadratic else ""
    assert asked == [
        (64.0 * total**2, f"the solution for {total} weights (twojmax 4{form}, 2 element(s))",
         "a smaller snap.twojmax or a linear model"),
        (32.0 * 70 * total, f"70 members of {total} weights", "fewer posterior.members"),
    ]  # fmt: skip


def solution_of(rank: int, params: SnapParams, undetermined: tuple[int, ...] = ()) -> Solution:
    p = params.n_elements * params.n_weights
    return Solution(np.zeros(p), np.eye(p), np.eye(p)[:, :rank], 0.0, rank, 1.0, undetermined, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(("chem", "least"), [(False, 0.5), (True, 0.25)])
def test_ranks_that_are_refused_and_warned_of(chem: bool, least: float, caplog: pytest.LogCaptureFixture) -> None:
    params = SnapParams(("W", "Be"), twojmax=2, chemflag=chem)
    total, p = 2 * params.n_weights, params.n_weights
    checks.judge_rank(solution_of(total, params), params)
    assert not caplog.messages
    enough = int(np.ceil(least * total))
    open_ = (p + 2, 1, 3, 0, 4, 5, 2, p, p + 1)
    checks.judge_rank(solution_of(enough, params, open_), params)
    checks.judge_rank(solution_of(enough, params, open_[:8]), params)
    named = ", ".join(f"{('W', 'Be')[k // p]} {k % p}" for k in open_[:8])
    first, second = caplog.messages
    common = f"the data determine {enough} of {total} combinations of weights; the others are set to zero (weights that"
    assert first == f"{common} take part: {named}, …)"
    assert second == f"{common} take part: {named})"
    assert {r.name for r in caplog.records} == {"mliuq.fitting.checks"}
    with pytest.raises(
        MliuqError, match=rf"^the data determine {enough - 1} of {total} weights: expected a longer cutoff"
    ):
        checks.judge_rank(solution_of(enough - 1, params), params)


def test_leaks_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    atoms = [Atoms("W", [[i, 0, 0]]) for i in range(6)]
    checks.warn_of_leaks(data.FitData(atoms[:3], atoms[3:], {}))
    assert not caplog.messages
    checks.warn_of_leaks(data.FitData([*atoms[:3], atoms[0], atoms[0]], [atoms[0], atoms[4], atoms[4]], {}))
    assert caplog.messages == [
        "2 of 5 training configurations are there before, to 1e-4 Å",
        "1 of 3 test configurations are there before, to 1e-4 Å",
        "1 of 3 test configurations are training configurations, too: errors on them are no test",
    ]


# --- data ------------------------------------------------------------------------------------------------------------


def test_outliers_are_named_in_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    atoms = [with_origin(Atoms("W", info={"kind": f"k{i}"}), Origin("a.xyz", i)) for i in range(7)]
    found = [Outlier(i, KINDS[i % 3], -1.23456, 2.3456, 77.7) for i in range(6)]
    settings = FitSettings().updated({"data.group_key": "kind"})
    data.warn_of_outliers([], atoms, settings)
    assert not caplog.messages
    units = ("eV/atom", "eV/Å", "eV/Å³")
    named = [
        f"a.xyz: configuration {i} (the {i + 1}{('st', 'nd', 'rd', 'th', 'th')[i]}, k{i}): {KINDS[i % 3]} -1.235 "
        f"{units[i % 3]}, off by 2.35 (78 times what is usual)"
        for i in range(5)
    ]
    data.warn_of_outliers(found[:5], atoms, settings)
    data.warn_of_outliers(found, atoms, settings.updated({"solver.robust": True}))
    assert [(r.name, r.getMessage()) for r in caplog.records] == [
        ("mliuq.fitting.data", "5 with values that cannot be right, fitted all the same; --robust leaves them out: "
         + "; ".join(named)),
        ("mliuq.fitting.data", "6 with values that cannot be right, left out: " + "; ".join(named) + "; and 1 more"),
    ]  # fmt: skip


def test_values_that_do_not_calibrate_are_named_in_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    atoms = [with_origin(Atoms("W", info={"config_type": f"k{i}"}), Origin("a.xyz", i)) for i in range(400)]
    rng = np.random.default_rng(8)
    kind, config = np.repeat([0, 2], 400).astype(np.int8), np.tile(np.arange(400), 2)
    error = rng.standard_normal(800)
    held_out = HeldOut(error, np.ones(800), np.zeros(800), kind, "made up", config)
    warn_of_doubtful(held_out, atoms, "config_type")
    assert not caplog.messages
    error[:6] = [50.0, -300.0, 100.0, 20.0, 200.0, 30.0]
    error[400 + 2], error[400 + 5] = 1000.0, 25.0  # stress: worse than the energy of one, not than that of the other
    times = held_out.doubtful()
    warn_of_doubtful(replace(held_out, config=None), atoms, "config_type")
    warn_of_doubtful(held_out, atoms, "config_type")
    named = [
        f"a.xyz: configuration {c} (the {c + 1}{('st', 'nd', 'rd', 'th', 'th', 'th')[c]}, k{c}): {what} off by {off}, "
        f"{times[row]:.0f} error bars"
        for c, row, what, off in (
            (2, 402, "stress", "1e+03 eV/Å³"),
            (1, 1, "energy", "300 eV/atom"),
            (4, 4, "energy", "200 eV/atom"),
            (0, 0, "energy", "50 eV/atom"),
            (5, 5, "energy", "30 eV/atom"),
        )
    ]
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [(
        "mliuq.fitting.calibrating", "WARNING",
        "6 far outside the error bars and not counted in their calibration (computed otherwise, or at the end of the"
        " data): "
        + "; ".join(named) + "; and 1 more",
    )]  # fmt: skip
    caplog.clear()
    p, unseen = judged()
    posterior = Posterior(np.ones((4, 2)), {}, facts={"kind": "gaussian"})
    for few in (True, False):
        calibration_of(held_out, p, unseen, posterior, FitSettings(), structures=atoms, few=few)
        assert len(caplog.messages) == (not few), "of a few all count"


def test_thresholds_do_not_count_configurations_whose_forces_are_zero_by_symmetry() -> None:
    n = 40  # configurations of an energy and two atoms; in most, symmetry leaves forces of 1e-9 of the others
    kind, config = np.tile(np.array([0] + [1] * 6, np.int8), n), np.repeat(np.arange(n), 7)
    silent = (kind == 1) & (config % 4 != 0)
    rng = np.random.default_rng(0)
    y, mean, std = rng.normal(size=7 * n), rng.normal(size=7 * n), rng.uniform(0.5, 1.5, 7 * n)
    size, std = np.where(silent, 1e-7, 100.0), np.where(silent, 1e-9 * std, std)
    posterior = Posterior(np.ones((4, 2)), {}, facts={"kind": "hypercube"})

    def thresholds(rows: np.ndarray) -> object:
        columns = (y, mean, std, mean, mean, kind, config, size)
        p = Predictions(*(column[rows] for column in columns))  # type: ignore[arg-type]
        found = calibration_of(None, p, p, posterior, FitSettings())
        assert found is not None
        return found.get("thresholds", {}).get("force_std")

    every, loud = np.full(7 * n, True), config % 4 == 0
    assert thresholds(every) == thresholds(loud) == list(spread_thresholds(Predictions(
        *(column[loud] for column in (y, mean, std, mean, mean, kind, config, size))  # type: ignore[arg-type]
    )) or ())  # fmt: skip
    assert thresholds(~loud) is None, "no guard by rounding"


def test_what_is_no_list_of_structures() -> None:
    for value, says in (
        (Atoms("W"), r"^test is one Atoms, expected a list of Atoms \(or another iterable\)$"),
        (3, r"^test is 3, expected a list of Atoms"), ([Atoms("W"), "W"], r"^test\[1\] is str, expected Atoms$"),
    ):  # fmt: skip
        with pytest.raises(MliuqError, match=says):
            data.configurations(value, "test")  # type: ignore[arg-type]
    atoms = [Atoms("W"), Atoms("Be")]
    assert data.configurations(iter(atoms), "test") == atoms
    for number in (-3, 119, 500):
        with pytest.raises(
            MliuqError, match=rf"^test\[1\]: an atomic number is {number}, expected a number from 0 to 118"
        ):
            data.configurations([Atoms("W"), Atoms(numbers=[number])], "test")


def test_constants_of_given_energies_go_with_the_others() -> None:
    atoms = [Atoms("W", info={"config_type": g}) for g in "ab"]
    table = RowTable(
        np.zeros(5), np.ones(5), np.array([0, 1, 0, 2, 0], np.int8), np.array([0, 0, 1, 1, 2]), np.array([0, 5])
    )
    held = data.FitData(atoms, [], {})
    auto = FitSettings().updated({"weights.groups": {"b": {"energy": 7.0}}, "weights.stress": 3.0})
    np.testing.assert_array_equal(data.training_constants(held, table, auto), [np.nan, 1.0, 7.0, 3.0, np.nan])
    np.testing.assert_array_equal(
        data.training_constants(held, table, auto.updated({"weights.energy": 5.0})), [5.0, 1.0, 7.0, 3.0, 1.0]
    )
    rest = RowTable(*(column[:4] for column in (table.y, table.w, table.kind, table.config)), np.array([0, 4]))
    np.testing.assert_array_equal(data.training_constants(held, rest, auto), [np.nan, 1.0, 7.0, 3.0])


# --- what the data leave open ----------------------------------------------------------------------------------------


def shown(energies: bool = True, forces: float | None = 1.0) -> RowTable:
    kind = [0] * energies + [1] * (forces is not None)
    y = [5.0] * energies + ([] if forces is None else [forces])
    n = len(kind)
    return RowTable(np.array(y), np.ones(n), np.array(kind, np.int8), np.arange(n), np.array([0, n]))


def test_what_is_missing_in_words() -> None:
    w, be = Atoms("W"), Atoms("Be")
    many = [w] * 20
    assert solving.what_is_missing(many, shown()) == ["too few kinds of structures for so many weights"]
    assert solving.what_is_missing(many, shown(energies=False)) == ["no energies seen"]
    assert solving.what_is_missing(many, shown(forces=None)) == ["no forces seen"]
    assert solving.what_is_missing(many, shown(forces=-9e-4)) == ["every force seen is zero by symmetry"]
    assert solving.what_is_missing(many, shown(forces=1e-3)) == ["too few kinds of structures for so many weights"]
    assert solving.what_is_missing([w] * 19, shown()) == ["only 19 configurations"]
    assert solving.what_is_missing([w], shown()) == ["only 1 configuration"]
    assert solving.what_is_missing([w + be] * 20, shown()) == [
        "one composition: how energy is shared between elements is a guess"
    ]
    three = [Atoms("WBeC"), Atoms("WBe")] * 10
    assert solving.what_is_missing(three, shown()) == ["fewer compositions than elements"]
    assert solving.what_is_missing([w, be] * 10, shown()) == ["too few kinds of structures for so many weights"]
    assert solving.what_is_missing([w + be, Atoms("W2Be2"), Atoms("W5Be5")] * 7, shown())[0].startswith(
        "one composition"
    )


# --- extrapolation ---------------------------------------------------------------------------------------------------


def test_environments_and_active_set_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    params = PARAMS["binary"]
    structures = [random_atoms(("W", "Be"), 6, 5.5 * np.eye(3), seed=seed) for seed in range(6)]
    solution = solution_of(4, params)
    settings = FitSettings().updated({"posterior.environments": 7, "seed": 2})
    steps, batched = Steps(), Steps()
    found = extrapolation.extrapolation_arrays(structures, params, solution, settings, steps)
    assert steps == [("active set", 6, 6)]
    monkeypatch.setattr(extrapolation, "_BATCH", 12)
    again = extrapolation.extrapolation_arrays(structures, params, solution, settings, batched)
    assert batched == [("active set", done, 6) for done in (2, 4, 6)]
    assert list(found) == [
        "extrapolation.factor",
        "extrapolation.active_set",
        "density.environments",
        "density.element",
    ]
    b = np.concatenate([descriptors(atoms, params) for atoms in structures])
    element = np.concatenate([params.index_of(list(atoms.symbols)) for atoms in structures])
    np.testing.assert_allclose(again["density.environments"], found["density.environments"], rtol=1e-12)
    assert found["density.element"].tolist() == [0.0] * 7 + [1.0] * 7
    for index in range(2):
        own = b[element == index]
        kept = found["density.environments"][found["density.element"] == index]
        places = [int(np.flatnonzero(np.isclose(own, row, rtol=1e-10).all(axis=1))[0]) for row in kept]
        assert places == sorted(set(places)), "each once, in their order"
        rows = atomic_rows(own, False)
        active = found["extrapolation.active_set"][index]
        known = [np.isclose(rows, row, rtol=1e-9).all(axis=1).any() for row in active]
        assert sum(known) == min(len(own), params.n_weights)
    other = extrapolation.extrapolation_arrays(structures, params, solution, settings.updated({"seed": 3}), None)
    assert not np.array_equal(other["density.environments"], found["density.environments"])
    none = extrapolation.extrapolation_arrays(
        structures, params, solution, settings.updated({"posterior.environments": 0})
    )
    assert list(none) == ["extrapolation.factor", "extrapolation.active_set"]
    few = extrapolation.extrapolation_arrays(
        structures, params, solution, settings.updated({"posterior.environments": 4})
    )
    assert list(few) == ["extrapolation.factor", "extrapolation.active_set"], "four make no density"
    assert (
        extrapolation.extrapolation_arrays(
            structures, params, solution, settings.updated({"posterior.extrapolation": False})
        )
        == {}
    )


def test_environments_that_are_alike_are_one() -> None:
    rng = np.random.default_rng(0)
    b = rng.normal(size=(10, 3)) * [1.0, 1e3, 0.0]
    near = b[4] + 1e-5 * b.std(axis=0)
    np.testing.assert_array_equal(extrapolation._differing(np.vstack([b, near, b[2]])), b)
    assert extrapolation._differing(np.zeros((0, 3))).shape == (0, 3)
    apart = b[4] + 0.03 * b.std(axis=0)
    assert len(extrapolation._differing(np.vstack([b, apart]))) == 11
    crystal = [Atoms("W2", [[0, 0, 0], [1.6, 1.6, 1.6]], cell=[3.2] * 3, pbc=True)] * 9
    settings = FitSettings().updated({"posterior.environments": 5})
    found = extrapolation.extrapolation_arrays(crystal, PARAMS["linear"], solution_of(4, PARAMS["linear"]), settings)
    assert "density.environments" not in found, "one environment many times"
    assert (extrapolation._DRAWN, extrapolation._ALIKE) == (4, 0.01)


# --- what an earlier fit left ----------------------------------------------------------------------------------------


def test_triangles_go_on_where_an_earlier_fit_ended(everything: pytest.LogCaptureFixture) -> None:
    rows = misspecified(rows_per_block=50)
    whole, kept = past.triangle_of(rows, 38, None, Team())
    x, root = matrix(rows), np.sqrt(rows.table.w)
    expected = np.column_stack([x * root[:, None], rows.table.y * root])
    np.testing.assert_allclose(whole.T @ whole, expected.T @ expected, rtol=1e-9, atol=1e-6)
    assert (np.diagonal(whole) >= 0.0).all()
    assert len(kept.y) == 38 * 7
    own = expected[: 38 * 7]
    np.testing.assert_allclose(kept.triangle.T @ kept.triangle, own.T @ own, rtol=1e-9, atol=1e-6)
    for name in ("y", "w", "kind"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(rows.table, name)[: 38 * 7])
    first = past.triangle_of(SubsetRows(rows, rows.table.config < 20), 20, None, Team())[1]
    steps = Steps()
    continued, later = past.triangle_of(rows, 38, first, Team(), steps)
    np.testing.assert_allclose(continued, whole, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(later.triangle, kept.triangle, rtol=1e-8, atol=1e-8)
    assert {stage for stage, _, _ in steps} == {"solve"}
    assert not said(everything.records, "fitting.past")
    asked: list[int] = []
    design = rows.design
    rows.design = lambda index: (asked.append(index), design(index))[1]  # type: ignore[method-assign]
    past.triangle_of(rows, 38, first, Team())
    assert 0 not in asked, "old rows are not computed again"
    everything.clear()
    other = replace(first, w=2.0 * first.w)
    np.testing.assert_allclose(past.triangle_of(rows, 38, other, Team())[0], whole, rtol=1e-8, atol=1e-8)
    longer = past.triangle_of(rows, 39, None, Team())[1]
    np.testing.assert_allclose(past.triangle_of(rows, 38, longer, Team())[0], whole, rtol=1e-8, atol=1e-8)
    assert (
        said(everything.records, "fitting.past")
        == ["the targets or weights of the rows that an earlier fit left are others now: all are folded in again"] * 2
    )
    assert first.begins(rows.table, 9)
    assert first.begins(first, 9)
    assert not first.begins(rows.table, 8)
    for name, change in (("y", 1.0), ("w", 1.0), ("kind", 1)):
        column = getattr(first, name).copy()
        column[-1] += change
        assert not replace(first, **{name: column}).begins(rows.table, 9)
    assert not longer.begins(first, 9)
    given = past.triangle_of(rows, 0, None, Team())
    np.testing.assert_allclose(given[0], whole, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(given[1].triangle, np.zeros((10, 10)))


# --- classes ---------------------------------------------------------------------------------------------------------


def test_bars_of_classes_by_parts(everything: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    base = misspecified(n_configs=43, per_config=7, p=4)
    kind = np.where(np.arange(301) % 7 == 6, STRESS, base.table.kind)
    rows = ArrayRows(matrix(base), base.table.y, base.table.w, kind, base.table.config)
    groups = ["a" if c % 2 else None for c in range(40)]
    settings = FitSettings().updated({
        "posterior.classes_out": "bars", "posterior.kind": "ensemble", "posterior.members": 8, "seed": 5,
    })  # fmt: skip
    alpha = {"alpha_energy": 1.5, "alpha_force": 2.0}
    solution = solve(rows)
    lines = classes_out.class_out_lines(rows, solution, groups, Protection(), alpha, settings, Team())
    assert [(line.of, line.group, line.kind) for line in lines] == [
        ("class out", name, kind) for name in ("a", "none") for kind in KINDS
    ]
    table, x = rows.table, matrix(rows)
    for line in lines:
        out = (table.config < 40) & ((table.config % 2 == 1) == (line.group == "a"))
        unseen = left_out(rows, out, settings.posterior, RefitSettings(seed=5), n_configurations=40)
        at = out & (table.kind == KINDS.index(line.kind))
        rest = solve(SubsetRows(rows, ~out))
        error = table.y[at] - x[at] @ rest.theta
        factor = alpha.get(f"alpha_{line.kind}", 1.0)
        std = factor * np.sqrt(np.mean((x[at] @ unseen.posterior.moves.T) ** 2, axis=1))
        assert line.rows == at.sum()
        assert line.mae == pytest.approx(np.mean(np.abs(error)))
        assert line.rmse == pytest.approx(np.sqrt(np.mean(error**2)))
        assert line.rms_z == pytest.approx(np.sqrt(np.mean((error / std) ** 2)), rel=1e-6)
        shifts = x[at] @ unseen.posterior.moves.T
        correlation = shifts @ shifts.T
        size = np.sqrt(np.diag(correlation))
        assert line.independent == pytest.approx(
            at.sum() ** 2 / np.sum((correlation / np.outer(size, size)) ** 2), rel=1e-6
        )
    assert not said(everything.records, "fitting.classes_out")
    for wanted, names in (
        ("none", groups),
        ("errors", [None] * 40),
        ("errors", [f"{c // 1.9:.0f}" for c in range(40)]),
    ):
        changed = settings.updated({"posterior.classes_out": wanted})
        assert classes_out.class_out_lines(rows, solution, names, Protection(), alpha, changed, Team()) == []
    halves = [f"{c // 2}" for c in range(40)]
    plain = settings.updated({"posterior.classes_out": "errors"})
    assert len(classes_out.class_out_lines(rows, solution, halves, Protection(), None, plain, Team())) == 60
    without = classes_out.class_out_lines(rows, solution, groups, Protection(), None, plain, Team())
    assert all(line.rms_z is line.independent is None for line in without)
    bare = settings.updated({"posterior.members": 0})
    assert classes_out.class_out_lines(rows, solution, groups, Protection(), None, bare, Team()) == without
    monkeypatch.setattr(classes_out, "_NUMBERS", 31)
    assert classes_out.class_out_lines(rows, solution, groups, Protection(), None, plain, Team()) == []
    assert said(everything.records, "fitting.classes_out") == [
        "2 classes, 4 weights: leaving classes out would take too much memory"
    ]
    monkeypatch.setattr(classes_out, "_NUMBERS", 32)
    assert classes_out.class_out_lines(rows, solution, groups, Protection(), None, plain, Team()) == without


def test_correlations_of_a_thousand_rows_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = misspecified(n_configs=24, per_config=7, p=3)
    settings = FitSettings().updated({"posterior.classes_out": "bars", "posterior.members": 40, "seed": 5})
    groups = ["a" if c % 2 else "b" for c in range(24)]
    assert classes_out._CORRELATED == 1000
    monkeypatch.setattr(classes_out, "_CORRELATED", 10)
    lines = classes_out.class_out_lines(rows, solve(rows), groups, Protection(), None, settings, Team())
    line = next(line for line in lines if (line.group, line.kind) == ("a", "force"))
    out = rows.table.config % 2 == 1
    unseen = left_out(rows, out, settings.posterior, RefitSettings(seed=5), n_configurations=24)
    own = unseen.held_out.kind == FORCE
    at = np.random.default_rng(5).permutation(unseen.at[own])[:10]
    shifts = matrix(rows)[at] @ unseen.posterior.moves.T
    covariance = shifts @ shifts.T / 40 + unseen.posterior.noise["force"] ** 2 * np.eye(10)
    size = np.sqrt(np.diag(covariance))
    assert line.independent == pytest.approx(100 / np.sum((covariance / np.outer(size, size)) ** 2), rel=1e-6)


# --- adopting --------------------------------------------------------------------------------------------------------


def test_even_weights_by_hand() -> None:
    table = RowTable(
        np.array([3.0, 4.0, 1.0, 2.0, 2.0, 1e-9]),
        np.ones(6),
        np.array([0, 0, 1, 1, 1, 2], np.int8),
        np.arange(6),
        np.array([0, 6]),
    )
    w = np.array([1 / (np.sqrt(12.5) * np.sqrt(2))] * 2 + [1 / (np.sqrt(3.0) * np.sqrt(3))] * 3 + [1e4])
    np.testing.assert_allclose(adopting._even_weights(table), w / w.mean())


def test_bias_by_hand() -> None:
    table = RowTable(
        np.array([3.0, -4.0, 0.0, 1.0]), np.ones(4), np.array([0, 0, 1, 2], np.int8), np.arange(4), np.array([0, 4])
    )
    found = adopting._bias(table, np.array([1.0, np.nan, 0.0, 2.0]))
    assert [asdict(line) for line in found] == [
        {"kind": "energy", "rows": 1, "rmse": 3.0, "refitted": 1.0, "removable": pytest.approx(8 / 9)},
        {"kind": "force", "rows": 1, "rmse": 0.0, "refitted": 0.0, "removable": 0.0},
        {"kind": "stress", "rows": 1, "rmse": 1.0, "refitted": 2.0, "removable": 0.0},
    ]
    assert adopting._bias(table, np.full(4, np.nan)) == []


@pytest.mark.parametrize(
    ("other", "zero", "level", "text"),
    [
        (True, "shift", "INFO", "energies of atoms are shifted to the zero of the data: W +1.5000 eV, Be -0.2500 eV"),
        (False, "shift", "INFO", "energies of atoms are shifted to the zero of the data: W +1.5000 eV, Be -0.2500 eV"),
        (True, "auto", "WARNING", "the potential's energies have another zero than the data: those of atoms are "
         "shifted (W +1.5000 eV, Be -0.2500 eV); forces and differences stay"),
        (True, "keep", "WARNING", "the potential's energies have another zero than the data (W +1.5000 eV, "
         "Be -0.2500 eV): kept, and part of the error"),
        (False, "auto", "", ""), (False, "keep", "", ""),
    ],
)  # fmt: skip
def test_what_is_said_of_the_zero_of_energy(
    other: bool, zero: str, level: str, text: str, everything: pytest.LogCaptureFixture
) -> None:
    adopting._say_shift({"W": 1.5, "Be": -0.25}, other, zero)
    assert [(r.name, r.levelname, r.getMessage()) for r in everything.records] == (
        [("mliuq.fitting.adopt", level, text)] if text else []
    )


def test_metadata_of_an_adopted_potential(everything: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    params = SnapParams(("W",), twojmax=2, rcutfac=4.2)
    published = random_model(params, seed=1)
    rng, structures = np.random.default_rng(0), []
    for seed in range(24):
        atoms = random_atoms(("W",), 4, 5.0 * np.eye(3), seed=seed)
        values = mliuq.evaluate(published, atoms, ("energy", "forces"))
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=values["energy"] + 0.1 * rng.normal(),
            forces=values["forces"] + 0.1 * rng.normal(size=(4, 3)),
        )
        atoms.info["config_type"] = "ab"[seed % 2]
        structures.append(atoms)
    published.save(tmp_path / "P.mliuq")
    steps = Steps()
    settings = {"posterior.members": 40, "solver.threads": 1, "seed": 6}
    everything.clear()
    result = run_adopt(tmp_path / "P.mliuq", structures, settings, progress=steps)
    model = result.model
    assert said(everything.records, "fitting.adopt")[-1] == "P.mliuq adopted with 24 configurations"
    fit = model.metadata["fit"]
    assert fit["adopted"] == {
        "potential": "P.mliuq", "energy_shift": {}, "bias": [asdict(line) for line in result.bias],
    }  # fmt: skip
    assert [line.kind for line in result.bias] == ["energy", "force"]
    assert (fit["outliers"], fit["settings"]["data"]["test_fraction"], model.metadata["seed"]) == ([], 0.0, 6)
    assert {(line.of, line.group) for line in result.errors} == {("data", "all"), ("data", "a"), ("data", "b")}
    assert len(model.arrays["data.fingerprints"]) == 24
    assert model.n_members == 40
    held = "residuals of 24 configurations, posterior cross-fitted in 10 folds 2 times (seed 6)"
    assert (model.calibration or {})["source"] == held
    assert {stage for stage, _, _ in steps} == {"balance", "examine", "solve", "predict", "active set"}
    by_hand = np.array([atoms.get_potential_energy() / 4 for atoms in structures]) - np.array(
        [mliuq.evaluate(published, Atoms(a), ("energy",))["energy"] / 4 for a in structures]
    )
    line = next(e for e in result.errors if (e.kind, e.group) == ("energy", "all"))
    assert line.rmse == pytest.approx(np.sqrt(np.mean(by_hand**2)), rel=1e-8)
    assert result.bias[0].rmse == pytest.approx(line.rmse, rel=1e-8)
    ridged = run_adopt(published, structures, {**settings, "solver.ridge": 1e6}, name="its name")
    assert ridged.model.metadata["fit"]["adopted"]["potential"] == "its name"
    assert ridged.model.metadata["fit"]["ridge"] == 1e6
    assert ridged.bias[0].removable < result.bias[0].removable + 1e-12
    none = run_adopt(published, structures, {**settings, "posterior.members": 0})
    assert none.model.members is None
    assert none.model.calibration is None


def test_zero_of_energy_by_hand() -> None:
    """One element: the median. No energies: nothing. Configurations beyond are not looked at."""
    atoms = [Atoms("W2", [[0, 0, 0], [2, 0, 0]]) for _ in range(5)]
    y = np.array([1.0, 1.1, 0.9, 1.0, 50.0, -99.0])
    table = RowTable(y, np.ones(6), np.zeros(6, np.int8), np.arange(6), np.array([0, 6]))
    params = PARAMS["linear"]
    shift, other = zero_of_energy.shift_of_zero(atoms, params, table)
    assert shift == pytest.approx([1.0], abs=0.02)
    assert other
    near = replace(table, y=np.array([0.3, 0.4, 0.2, 0.25, 0.35, 0.0]))
    assert zero_of_energy.shift_of_zero(atoms, params, near)[1] == (0.3 > 5 * 0.05)
    wide = replace(table, y=np.array([0.3, 1.0, -1.0, 0.9, -0.8, 0.0]))
    assert not zero_of_energy.shift_of_zero(atoms, params, wide)[1]
    forces = replace(table, kind=np.ones(6, np.int8))
    assert zero_of_energy.shift_of_zero(atoms, params, forces) == (pytest.approx([0.0]), False)
