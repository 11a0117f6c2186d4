"""`mliuq select`: every option arrives, and an XYZ pool is read as it is asked for."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from mliuq import MliuqError, Model
from mliuq.cli import main
from mliuq.learning import select
from mliuq.learning.queue import Shortlist
from mliuq.propagation.driver import fingerprint
from mliuq.propagation.results import Estimate, PropertyResult
from mliuq.propagation.write import to_json
from mliuq.readers import read_structures
from mliuq.readers.indexed_xyz import IndexedXyz, frames_of


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    frames = []
    for seed in range(9):
        atoms = bulk("W", a=rng.uniform(2.8, 3.5), cubic=True)
        atoms.rattle(0.3, seed=seed)
        atoms.info["step"] = seed
        frames.append(atoms)
    path = tmp_path_factory.mktemp("pool") / "pool.xyz"
    write(path, frames)
    return path


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("others") / "others.xyz"
    write(path, [bulk("W", a=3.0, cubic=True), bulk("W", "fcc", a=4.0)])
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_every_option_arrives(
    pool: Path, others: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, frames, given = Model.load(small_model), read_structures(pool), read_structures(others)
    half = tmp_path / "half.xyz"
    write(half, frames[:4])
    cases: list[tuple[list[object], dict[str, Any]]] = [
        ([], {}),
        (["--rows", "forces"], {"rows": ["forces"]}),
        (["--criterion", "mean_information", "--region", others], {"criterion": "mean_information", "region": given}),
        (
            ["--criterion", "mean_information", "--region", others, "--region", pool],
            {"criterion": "mean_information", "region": [*given, *frames]},
        ),
        (["--criterion", "property", "--target", others], {"criterion": "property", "target": given}),
        (
            ["--criterion", "property", "--target", others, "--coefficients", "1", "-1/2"],
            {"criterion": "property", "target": given, "coefficients": [1.0, -0.5]},
        ),
        (["--criterion", "representation"], {"criterion": "representation"}),
        (["--criterion", "representation", "--region", half], {"criterion": "representation", "region": frames[:4]}),
        (["--criterion", "maxvol"], {"criterion": "maxvol"}),
        (["--criterion", "forces_err"], {"criterion": "forces_err"}),
        (["--criterion", "random"], {"criterion": "random"}),
        (["--criterion", "random", "--seed", "5"], {"criterion": "random", "seed": 5}),
        (["--known", half], {"known": frames[:4]}),
        (["--similar", "0.9"], {"similar": 0.9}),
        (["--threads", "1"], {"threads": 1}),
    ]
    told = []
    for flags, options in cases:
        path = tmp_path / "batch.xyz"
        found = run(capsys, "select", pool, small_model, "-n", "3", "-o", path, *flags)
        expected = select(frames, model, 3, **options)
        assert [choice["index"] for choice in found["choices"]] == list(expected.indices)
        assert [choice["score"] for choice in found["choices"]] == pytest.approx(
            [choice.score for choice in expected.choices]
        )
        assert (found["criterion"], found["unit"]) == (expected.criterion, expected.unit)
        told.append((found["choices"], found["identical"], found["similar"]))
    different = [json.dumps(one) for one in told[:-1]]
    assert len(set(different)) == len(different), "an option that changes nothing"
    arguments = ["select", str(pool), str(small_model), "-n", "3", "-o", str(tmp_path / "batch.xyz")]
    assert main([*arguments, "--known", str(pool)]) == 1
    assert "nothing to choose" in capsys.readouterr().err


def test_the_shortlist_arrives(pool: Path, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    class Recording(Shortlist):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            held.append(len(self._left))

    monkeypatch.setattr("mliuq.learning.selection.Shortlist", Recording)
    for shortlist in (1, 4, 100):
        arguments = ["-n", "2", "-o", str(tmp_path / "batch.xyz"), "--criterion", "maxvol"]
        assert main(["select", str(pool), str(small_model), *arguments, "--shortlist", str(shortlist)]) == 0
    assert held == [2, 4, 9]


def test_what_was_propagated_arrives(
    pool: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, frames = Model.load(small_model), read_structures(pool)
    members, values = list(range(0, 64, 2)), np.random.default_rng(0).normal(size=32)
    estimates = [
        Estimate("bcc", "C11", "GPa", 0.0, values),
        Estimate("bcc", "C12", "GPa", np.nan, np.full(32, np.nan), reason="no minimum"),
    ]
    result = PropertyResult("elastic", estimates, [], [], {}, {}, {"fingerprint": fingerprint(model)}, members)
    path, other = tmp_path / "W-elastic.json", tmp_path / "other.json"
    path.write_text(to_json(result))
    other.write_text(to_json(replace(result, model={"fingerprint": "0"})))
    whole = np.full(64, np.nan)
    whole[members] = values
    expected = select(frames, model, 3, criterion="property", values=whole)
    arguments = ["select", pool, small_model, "-n", 3, "-o", tmp_path / "batch.xyz", "--criterion", "property"]
    found = run(capsys, *arguments, "--propagated", path)
    assert [choice["score"] for choice in found["choices"]] == pytest.approx([c.score for c in expected.choices])
    assert [choice["index"] for choice in found["choices"]] == list(expected.indices)
    assert main([*map(str, arguments), "--propagated", str(other)]) == 1
    assert "another model" in capsys.readouterr().err
    path.write_text(to_json(replace(result, estimates=estimates[1:])))
    assert main([*map(str, arguments), "--propagated", str(path)]) == 1
    assert "no quantity has values" in capsys.readouterr().err


def test_the_batch_says_why(pool: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "batch.xyz"
    assert main(["select", str(pool), str(small_model), "-n", "2", "-o", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "score, nats" in shown
    assert "2 of 9 structures" in shown
    expected = select(read_structures(pool), Model.load(small_model), 2)
    for atoms, choice in zip(read(path, ":"), expected.choices, strict=True):
        assert atoms.info["step"] == atoms.info["select_index"] == choice.index
        assert atoms.info["select_score"] == pytest.approx(choice.score)
        assert atoms.info["select_atom"] == choice.atom
        assert atoms.info["select_reason"] == choice.reason


def test_values_of_the_pool_do_not_pass_for_labels(tungsten: Path, small_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "batch.xyz"
    assert read_structures(tungsten)[0].calc is not None
    assert main(["select", str(tungsten), str(small_model), "-n", "2", "-o", str(path)]) == 0
    assert all(atoms.calc is None for atoms in read(path, ":"))


def test_streams_are_told_from_json(
    pool: Path, small_model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["select", str(pool), str(small_model), "-n", "2", "-o"]
    assert main([*arguments, "-"]) == 0
    assert capsys.readouterr().out.startswith("2\n")
    assert main([*arguments, "-", "--json"]) == 1
    assert "--json goes to standard output" in capsys.readouterr().err
    assert main([*arguments, str(pool)]) == 1
    assert "one of the inputs" in capsys.readouterr().err
    assert main([*arguments, str(tmp_path / "b.xyz"), "--coefficients", "x"]) == 2


def test_an_index_reads_what_the_reader_reads(tungsten: Path, tmp_path: Path) -> None:
    path = tmp_path / "W.xyz"
    path.write_bytes(gzip.decompress(tungsten.read_bytes()))
    whole, indexed = read_structures(path), IndexedXyz(path)
    assert len(indexed) == len(whole)
    for at in (0, 7, -1):
        assert indexed[at] == whole[at]
        assert indexed[at].info.keys() == whole[at].info.keys()
        assert indexed[at].get_potential_energy() == whole[at].get_potential_energy()
    assert [len(a) for a in indexed[2:9:3]] == [len(a) for a in whole[2:9:3]]
    assert list(indexed)[3] == whole[3]
    assert isinstance(frames_of(path), IndexedXyz)
    assert len(frames_of(tungsten)) == len(whole)
    with pytest.raises(IndexError):
        indexed[len(whole)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no configurations"),
        ("two\n\nW 0 0 0\n", "begins with b'two'"),
        ("3\n\nW 0 0 0\n", "claims 3 atoms, the file ends before"),
        ("1\n\nW 0 0 0\n1\n\nW 0 0\n", "configuration 1: cannot be read"),
        ("9" * 30 + "\n\nW 0 0 0\n", "begins with"),
    ],
)
def test_damaged_pools_are_one_error(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.xyz"
    path.write_text(text)
    with pytest.raises(MliuqError, match=message):
        list(frames_of(path))


def test_a_pool_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MliuqError):
        frames_of(tmp_path / "none.xyz")
    with pytest.raises(MliuqError, match="cannot be read"):
        IndexedXyz(tmp_path / "none.xyz")
