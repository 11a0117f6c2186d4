"""Settings read back what they write, and refuse what they do not know."""

from __future__ import annotations

import tomllib

import pytest
from mliuq.errors import MliuqError
from mliuq.fitting.settings import FitSettings


def test_defaults_survive_the_round_trip():
    text = FitSettings().to_toml()
    assert FitSettings.from_mapping(tomllib.loads(text)) == FitSettings()


def test_everything_survives_the_round_trip(tmp_path):
    settings = FitSettings().updated(
        {
            "data.train": ('a "quoted" name.xyz', "/b\\c.xyz"),
            "snap.zbl": (4.0, 4.8),
            "snap.elements": ("W", "Be"),
            "weights.groups": {"two words": {"energy": 3, "stress": 1e-9}, "plain": {}},
            "weights.columns": {"energy": "fitsnap_eweight"},
            "weights.near_equilibrium": {"energy_scale": 1.5},
            "solver.one_body": {"W": -4.1},
            "posterior.kind": "hypercube",
            "seed": 7,
        }
    )
    path = tmp_path / "fit.toml"
    path.write_text(settings.to_toml())
    back = FitSettings.from_toml(path)
    assert back.updated({"data.train": settings.data.train}) == settings
    assert back.data.train == (str(tmp_path / 'a "quoted" name.xyz'), "/b\\c.xyz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("snap.twojmx = 6", r"fit.toml: snap: unknown key 'twojmx', expected one of twojmax"),
        ("[fit]", "unknown key 'fit', expected one of data, snap"),
        ("snap.twojmax = 6.5", "snap: twojmax is 6.5, expected a whole number"),
        ("snap.quadratic = 1", "quadratic is 1, expected true or false"),
        ("snap.zbl = [1.0]", "zbl is .1.0., expected two radii"),
        ("snap.zbl = 4.0", "zbl is 4.0, expected a list"),
        ("snap.radii = [0.5]", "snap.radii has 1 entries for 0 elements"),
        ("solver.ridge = 'much'", "ridge is 'much', expected a number or one of 'auto', 'evidence'"),
        ("solver.ridge = -1", "solver.ridge is -1.0, expected a number from 0"),
        ("solver.ridge = 'evidence'\nsolver.isolated_atoms = true", "expected a number when one-body energies"),
        ("posterior.kind = 'normal'", "kind is 'normal', expected one of 'gaussian'"),
        ("posterior.members = -1", "posterior.members is -1"),
        (
            "posterior.calibration_source = 'refits'",
            "calibration_source is 'refits', expected one of 'auto', 'k-fold', 'left-out'",
        ),
        ("posterior.calibration_folds = 1", "calibration_folds is 1, expected a number from 2"),
        ("posterior.leverage_percentile = 100", "leverage_percentile is 100.0"),
        ("data.test_fraction = 1.0", "data.test_fraction is 1.0"),
        ("weights.groups.bulk.enrgy = 1", "groups.bulk: unknown key 'enrgy'"),
        ("weights.energy = true", "energy is True, expected a number"),
        ("seed = true", "seed is True, expected a whole number"),
        ("data = 3", "data: found 3, expected a table"),
        ("[snap", "not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    path = tmp_path / "fit.toml"
    path.write_text(text)
    with pytest.raises(MliuqError, match=message):
        FitSettings.from_toml(path)


def test_refits_are_made_where_needed_or_cheap():
    auto = FitSettings().posterior
    assert auto.refits(3_000, 56)
    assert auto.refits(1_000_000, 56)
    assert not auto.refits(2_000_000, 56)
    assert auto.refits(40_000, 1596)
    assert not auto.refits(60_000, 1596)
    assert auto.refits(60_000, 6000)
    for source, made in (("k-fold", True), ("left-out", False)):
        assert FitSettings().updated({"posterior.calibration_source": source}).posterior.refits(10**7, 10**3) is made


def test_absent_file(tmp_path):
    with pytest.raises(MliuqError, match="cannot be read"):
        FitSettings.from_toml(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("data.stress_unit", ["eV/A3", "GPa", "kbar", "bar"]),
        ("data.stress_sign", ["tension", "compression"]),
        ("data.length_unit", ["angstrom", "bohr"]),
        ("data.energy_unit", ["eV", "hartree"]),
        ("weights.energy", ["auto"]),
        ("solver.ridge", ["auto", "evidence"]),
        ("solver.rows", ["auto", "memory", "disk", "recompute"]),
        ("posterior.kind", ["gaussian", "hypercube", "ensemble"]),
        ("posterior.sampler", ["uniform", "sobol", "latin", "halton"]),
        ("posterior.calibration_source", ["auto", "k-fold", "left-out"]),
        ("posterior.classes_out", ["none", "errors", "bars"]),
    ],
)
def test_words_that_settings_take(key: str, words: list[str]) -> None:
    table, name = key.split(".")
    for word in words:
        assert getattr(getattr(FitSettings().updated({key: word}), table), name) == word
        with pytest.raises(MliuqError, match=name):
            FitSettings().updated({key: word.swapcase()})
    with pytest.raises(MliuqError) as caught:
        FitSettings().updated({key: "nonsense"})
    assert str(caught.value).endswith(", ".join(map(repr, words)))
