"""`mliuq propagate`: options arrive, files are written, tables say what failed."""

from __future__ import annotations

import json
from pathlib import Path

import mliuq
import numpy as np
import pytest
from mliuq.cli import main

PROPERTIES = ("custom", "defects", "elastic", "eos", "gsf", "neb", "path", "phases", "phonons", "surfaces")


@pytest.mark.parametrize("name", PROPERTIES)
def test_every_property_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["propagate", name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"mliuq propagate {name}" in text
    assert "Example" in text
    assert "--max-failed" in text


def test_options_arrive(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["-o", str(tmp_path), "--members", "3", "--seed", "4", "--fmax", "0.001", "--max-failed", "0.7", "--json"]
    own = ["bcc", "fcc", "--reference", "bcc", "--span", "0.05", "--points", "6", "--relax", "volume", "--name", "mine"]
    assert main(["propagate", "eos", str(small_model), *own, *common]) == 0
    said = json.loads(capsys.readouterr().out)
    stored = json.loads((tmp_path / "mine-eos.json").read_text())
    for found in (said, stored):
        settings = found["settings"]
        assert (settings["members"], settings["seed"], settings["fmax"], settings["max_failed"]) == (3, 4, 1e-3, 0.7)
        assert (settings["reference"], settings["span"], settings["points"]) == ("bcc", 0.05, 6)
        assert settings["relax"] == "volume"
        assert list(settings["structures"]) == ["bcc", "fcc"]
        assert found["model"]["fingerprint"]
    assert len(stored["estimates"][0]["members"]) == 3
    picture = tmp_path / "mine-eos.png"
    picture.unlink()
    (tmp_path / "mine-eos.csv").unlink()
    assert main(["propagate", "eos", str(small_model), "--name", "mine", "-o", str(tmp_path), "--plot-only"]) == 0
    assert picture.exists()
    assert "bulk modulus" in capsys.readouterr().out


def test_workers_share_the_members(small_model: Path, tmp_path: Path) -> None:
    found = []
    for workers in ("1", "2"):
        where = tmp_path / workers
        words = [
            "propagate",
            "elastic",
            str(small_model),
            "bcc",
            "--members",
            "4",
            "--workers",
            workers,
            "-o",
            str(where),
        ]
        assert main([*words, "--strain", "0.004", "--element", "W"]) == 0
        found.append(json.loads((where / "W-elastic.json").read_text()))
    assert found[0]["settings"]["strain"] == 0.004
    for a, b in zip(found[0]["estimates"], found[1]["estimates"], strict=True):
        np.testing.assert_allclose(np.array(a["members"], float), np.array(b["members"], float), rtol=1e-6)


def test_paths_between_files(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ase.build import bulk

    bulk("W", "bcc", 3.2).write(tmp_path / "a.cif")
    words = ["propagate", "path", str(small_model), "bain", "--between", str(tmp_path / "a.cif"), "sc", "--points", "5"]
    assert main([*words, "--members", "2", "-o", str(tmp_path), "--max-failed", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {e["object"] for e in said["estimates"]} == {"bain", "a to sc"}
    assert said["settings"]["points"] == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eos", "nothing"], "neither a file nor one of"),
        (["eos", "bcc", "--engine", "magic"], "engine is 'magic'"),
        (["eos", "bcc", "--relax", "some"], "relax is 'some'"),
        (["eos", "bcc", "--workers", "0"], "workers is 0"),
        (["elastic", "bcc", "--element", "Ta"], "expected one of the model's elements"),
        (["path", "nowhere"], "path is 'nowhere'"),
        (["eos", "bcc", "bcc"], "two structures have one name"),
    ],
)
def test_wrong_words_are_refused(
    words: list[str], message: str, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prop, *rest = words
    assert main(["propagate", prop, str(small_model), *rest, "-o", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


def test_a_model_without_members_is_refused(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    plain = tmp_path / "plain.mliuq"
    replace(mliuq.Model.load(small_model), members=None).save(plain)
    assert main(["propagate", "eos", str(plain), "bcc", "-o", str(tmp_path)]) == 1
    assert "no members" in capsys.readouterr().err
