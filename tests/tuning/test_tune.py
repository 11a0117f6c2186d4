"""`mliuq tune` on a slice of the shipped tungsten set."""

from __future__ import annotations

import json

import mliuq
import numpy as np
import pytest
from ase import Atoms
from mliuq.cli import main
from mliuq.errors import MliuqError
from mliuq.fitting.data import choose_data
from mliuq.fitting.fit import run_fit
from mliuq.fitting.settings import FitSettings
from mliuq.readers import read_structures
from mliuq.regression import ArrayRows, solve
from mliuq.tuning import TuneSettings, search, tune
from mliuq.tuning.curve import learning_curve, power_law
from mliuq.tuning.search import pareto_front
from mliuq.tuning.settings import nearest_distance
from mliuq.tuning.trial import Candidate, Trial, judge

FEW = TuneSettings(twojmax=(2, 4), quadratic=(2,), rcut=(3.9, 4.7))
SETTINGS = FitSettings().updated({"posterior.kind": "ensemble", "posterior.members": 0, "seed": 2})


@pytest.fixture(scope="module")
def structures(tungsten):
    return read_structures(tungsten)[::4]


@pytest.fixture(scope="module")
def found(structures, tmp_path_factory):
    journal = tmp_path_factory.mktemp("tune") / "trials.jsonl"
    return tune(structures, SETTINGS, FEW, journal=journal), journal


def test_the_choice_has_the_smallest_left_out_errors_of_the_last_round(found, structures):
    result, _ = found
    n = len(result.data.train)
    assert n + len(result.data.held_out) == len(structures)
    last = [t for t in result.trials if t.configurations == n]
    assert result.chosen.score == min(t.score for t in last)
    assert result.complete
    assert {t.candidate.family for t in last} == {(2, False), (4, False), (2, True)}, "every family reaches the end"
    assert len(last) < len(
        [t for t in result.trials if t.configurations == min(x.configurations for x in result.trials)]
    )


def test_candidates_that_the_data_do_not_determine_lose_without_a_word(structures, caplog):
    trial = judge(Candidate(6, 4.7, quadratic=True), _few(structures), ("W",), SETTINGS)
    assert trial.score == np.inf
    assert not caplog.messages


def _few(structures):
    return choose_data(structures[:8], [], SETTINGS.snap.params(structures), SETTINGS)


def test_errors_are_those_of_the_fit_the_settings_make(found, structures):
    result, _ = found
    fit = run_fit(structures, settings=result.settings)
    left = {line.kind: line.rmse for line in fit.errors if line.of == "left out" and line.group == "all"}
    assert fit.balance.constants == result.chosen.constants
    assert result.chosen.rmse == pytest.approx(left, rel=1e-6)
    assert result.chosen.score == pytest.approx(np.log(np.hypot(left["energy"], 5e-4) * np.hypot(left["force"], 0.01)))
    assert fit.model.params.twojmax == result.chosen.candidate.twojmax
    assert [len(a) for a in fit.test_structures] == [len(a) for a in result.data.held_out]


def test_a_stopped_search_goes_on_and_other_data_are_refused(found, structures, monkeypatch):
    result, journal = found

    def never(*_args, **_options):
        raise AssertionError("a trial of the journal was made again")

    with monkeypatch.context() as context:
        context.setattr(search, "judge", never)
        again = tune(structures, SETTINGS, FEW, journal=journal)
    assert again.chosen == result.chosen
    text = journal.read_text()
    lines = text.splitlines(keepends=True)
    journal.write_text("".join(lines[:-2]) + lines[-2][:40])  # killed while it wrote
    resumed = tune(structures, SETTINGS, FEW, journal=journal)
    assert resumed.chosen.candidate == result.chosen.candidate
    journal.write_text(text)
    with pytest.raises(MliuqError, match="other data or settings"):
        tune(structures[1:], SETTINGS, FEW, journal=journal)


def test_a_budget_ends_the_search_but_not_without_a_choice(structures):
    short = tune(structures, SETTINGS, TuneSettings(twojmax=(2,), quadratic=(), rcut=(3.9, 4.7), budget=0.0))
    assert not short.complete
    assert len(short.trials) == 1
    assert short.chosen == short.trials[0]


def test_the_cost_can_be_limited(structures):
    result = tune(structures, SETTINGS, FEW)
    limit = min(t.cost for t in result.front) * 1e-6
    with pytest.raises(MliuqError, match="no candidate takes at most"):
        tune(structures, SETTINGS, TuneSettings(twojmax=(2,), quadratic=(), rcut=(3.9,), max_cost=limit))
    assert all(t.cost > 0.0 for t in result.front)


def test_front():
    def trial(score, cost):
        return Trial(Candidate(2, 4.0), 10, {}, score, 0.1, cost=cost)

    front = pareto_front([trial(1.0, 5.0), trial(2.0, 1.0), trial(3.0, 2.0), trial(0.5, 9.0), trial(np.inf, 0.1),
                          trial(0.5, 9.5)])  # fmt: skip
    assert [(t.score, t.cost) for t in front] == [(2.0, 1.0), (1.0, 5.0), (0.5, 9.0)]


def test_whole_classes_are_left_out(structures):
    """Against refits without each class."""
    settings = SETTINGS.updated({"weights.energy": 30.0, "data.test_fraction": 0.0})
    from mliuq.fitting.data import choose_data, training_rows

    candidate = Candidate(2, 4.0)
    params = settings.updated(candidate.changes(("W",))).snap.params(structures)
    data = choose_data(structures, [], params, settings)
    trial = judge(candidate, data, ("W",), settings, whole_classes=True)
    rows = training_rows(data, params, None, settings)
    x, table = np.concatenate([rows.design(b) for b in range(rows.n_blocks)]), rows.table
    label = np.array([a.info["config_type"] for a in structures])[table.config]
    error = np.empty(len(table))
    for name in np.unique(label):
        own = label == name
        rest = ArrayRows(x[~own], table.y[~own], table.w[~own])
        error[own] = table.y[own] - x[own] @ solve(rest).theta
    for kind, name in enumerate(("energy", "force")):
        assert trial.rmse[name] == pytest.approx(np.sqrt(np.mean(error[table.kind == kind] ** 2)), rel=1e-7)
    single = judge(candidate, data, ("W",), settings)
    assert single.rmse["energy"] < trial.rmse["energy"]
    assert 0.0 < single.uncertainty < 1.0


def test_radii_and_weights_of_elements_are_tried():
    rng = np.random.default_rng(0)
    params = mliuq.SnapParams(("Be", "W"), twojmax=2, rcutfac=4.5, radii=(0.4, 0.5), weights=(0.5, 1.0))
    made = mliuq.Model(params, rng.normal(size=(2, params.n_weights)))
    structures = []
    for _ in range(30):
        atoms = Atoms("WBeBeW", scaled_positions=rng.random((4, 3)), cell=np.eye(3) * 4.5, pbc=True)
        atoms.calc = mliuq.MLIUQCalculator(made)
        atoms.get_forces()
        structures.append(atoms)
    options = TuneSettings(twojmax=(2,), quadratic=(), rcut=(4.5,))
    result = tune(structures, SETTINGS, options)
    plain = tune(structures, SETTINGS, TuneSettings(twojmax=(2,), quadratic=(), rcut=(4.5,), elements=False))
    assert all(not t.candidate.radii and not t.candidate.weights for t in plain.trials)
    assert result.chosen.candidate.radii[0] < result.chosen.candidate.radii[1] == 0.5
    assert result.chosen.score < plain.chosen.score
    assert result.settings.snap.radii == result.chosen.candidate.radii
    assert result.settings.snap.elements == ("Be", "W")


def test_weights_of_groups_are_tried_when_asked(structures):
    options = TuneSettings(twojmax=(2,), quadratic=(), rcut=(4.0,), groups=True)
    result = tune(structures, SETTINGS, options)
    tried = {group for t in result.trials for group, _ in t.candidate.groups}
    assert tried == {a.info["config_type"] for a in result.data.train}
    if result.chosen.candidate.groups:
        group, factor = result.chosen.candidate.groups[0]
        own = result.settings.weights.groups[group]
        assert own.energy == pytest.approx(factor * result.settings.weights.energy)
    bare = [t for t in result.trials if not t.candidate.groups and t.configurations == len(result.data.train)]
    assert result.chosen.score <= min(t.score for t in bare)


def test_learning_curve(structures):
    settings = SETTINGS.updated({"data.test_fraction": 0.0})
    data = tune(structures, settings, TuneSettings(twojmax=(2,), quadratic=(), rcut=(4.0,))).data
    curve = learning_curve(Candidate(2, 4.0), data, ("W",), settings)
    assert list(curve.configurations) == [len(structures) // s for s in (8, 4, 2, 1)]
    assert curve.rmse["energy"][0] > curve.rmse["energy"][-1]
    assert curve.law["energy"][1] > 0.0
    assert power_law([10, 20, 40], [3.0 * n**-0.5 for n in (10, 20, 40)]) == pytest.approx((3.0, 0.5))
    assert np.isnan(power_law([10], [1.0])[1])


def test_cutoffs_follow_the_data(structures):
    spread = [a.get_all_distances(mic=True) for a in structures if len(a) > 2]
    assert 1.9 < nearest_distance(structures) < 3.2
    assert len(spread)
    cutoffs = TuneSettings().cutoffs(structures)
    assert cutoffs == tuple(sorted(cutoffs))
    assert cutoffs[0] == pytest.approx(1.4 * nearest_distance(structures), abs=0.051)
    assert TuneSettings(rcut=(4.0,)).cutoffs(structures) == (4.0,)
    with pytest.raises(MliuqError, match="no atom of the data has a neighbour"):
        nearest_distance([Atoms("W", cell=[20, 20, 20], pbc=True)])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"twojmax": (), "quadratic": ()}, "nothing to tune"),
        ({"twojmax": (0,)}, "2J is 0"),
        ({"rcut": (-1.0,)}, "rcut is -1"),
        ({"budget": -1.0}, "budget is -1"),
        ({"left_out": "atoms"}, "left_out is 'atoms'"),
    ],
)
def test_bad_options_are_refused(values, message):
    with pytest.raises(MliuqError, match=message):
        TuneSettings(**values).validate()


def test_command_line(tmp_path, held_out, capsys):
    folder = tmp_path / "tune"
    few = ["--twojmax", "2", "--quadratic", "none", "--rcut", "3.9,4.5", "--budget", "5min", "--seed", "4"]
    assert main(["tune", str(held_out), "-o", str(folder), *few, "--learning-curve", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    files = {"fit.toml", "tune.json", "tune.md", "pareto.png", "curve.png", "trials.jsonl"}
    assert {path.name for path in folder.iterdir()} == files
    settings = FitSettings.from_toml(folder / "fit.toml")
    assert settings.snap.rcut == said["chosen"]["candidate"]["rcut"]
    assert settings.seed == 4
    assert settings.data.train == (str(held_out.resolve()),)
    assert said["learning_curve"]["configurations"]
    assert "**linear 2J=2" in (folder / "tune.md").read_text()
    assert (folder / "pareto.png").read_bytes()[:4] == b"\x89PNG"
    assert main(["fit", "--config", str(folder / "fit.toml"), "-o", str(tmp_path / "W.mliuq"), "--members", "20"]) == 0
    assert mliuq.Model.load(tmp_path / "W.mliuq").params.rcutfac == settings.snap.rcut


def test_files_of_others_are_not_replaced(tmp_path, held_out, capsys):
    (tmp_path / "fit.toml").write_text("seed = 1\n")
    assert main(["tune", str(held_out), "-o", str(tmp_path)]) == 1
    assert "not settings of mliuq tune" in capsys.readouterr().err
    assert (tmp_path / "fit.toml").read_text() == "seed = 1\n"
    assert main(["tune", str(held_out), "-o", str(tmp_path / "fit.toml")]) == 1
    assert "expected the name of a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--budget", "soon"], 2, "--budget is 'soon'"),
        (["--twojmax", "a,b"], 2, "--twojmax is 'a,b'"),
        (["--left-out", "atoms"], 1, "left_out is 'atoms'"),
        (["--twojmax", "none", "--quadratic", "none"], 1, "nothing to tune"),
    ],
)
def test_wrong_command_lines(tmp_path, held_out, capsys, arguments, status, message):
    assert main(["tune", str(held_out), "-o", str(tmp_path / "x"), *arguments]) == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
