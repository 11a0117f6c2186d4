"""Outputs of commands: what decides their format, what is refused, what is left after a failure."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase.db import connect
from ase.io import read, write
from mliuq.cli import main
from mliuq.outputs import SCRATCH
from mliuq.readers import read_structures
from processes import heed_signals

PROGRAM = [sys.executable, "-c", "import sys; from mliuq.cli import main; sys.exit(main())"]


@pytest.fixture
def few(held_out: Path, tmp_path: Path) -> Path:
    """Three structures with references, alone in a folder."""
    path = tmp_path / "few.xyz"
    write(path, read_structures(held_out)[:3])
    return path


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.startswith("mliuq: error: ")
    assert text.count("\n") == 1
    return text


@pytest.mark.parametrize(
    "name", ["o.xyz", "o.extxyz", "o.xyz.gz", "o.extxyz.bz2", "o.xyz.xz", "o.v2.xyz", "o.traj", "o.db", "o.json"]
)
def test_every_ending_reads_back(small_model: Path, few: Path, tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    for _ in range(2):  # what it wrote itself it replaces
        assert main(["eval", str(small_model), str(few), "-o", str(output)]) == 0
    written = read_structures(output)
    calculator = mliuq.MLIUQCalculator(small_model)
    for atoms, found in zip(read_structures(few), written, strict=True):
        atoms.calc = calculator
        assert found.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
        np.testing.assert_allclose(found.get_forces(), atoms.get_forces(), atol=1e-8)
        np.testing.assert_allclose(found.get_stress(), atoms.get_stress(), atol=1e-8)
    std = calculator.results["energies_std"]
    if name.endswith((".db", ".json")):
        with connect(output) as database:
            last = database.get(id=3).data
    elif name.endswith(".traj"):
        last = written[-1].info
    else:
        last = written[-1].info | written[-1].arrays
    assert last["energy_std"] == pytest.approx(calculator.results["energy_std"], rel=1e-12)
    np.testing.assert_allclose(last["energies_std"], std, atol=1e-8)
    assert std.max() > 1e-4, "the comparison of spreads means something"
    assert {p.name for p in tmp_path.iterdir()} == {"few.xyz", name}


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("o.cif", "'.cif' names no format to write, expected one of .xyz .extxyz"),
        ("o.cif.gz", "'.cif.gz'"),
        ("o.gz", "'.gz'"),
        ("o.db.gz", "'.db.gz'"),
        ("o", "''"),
        (".", "names no format"),
        ("folder.xyz", "it is a folder"),
        ("few.xyz", "is one of the inputs"),
        ("linked.xyz", "is one of the inputs"),
        ("words.xyz", "exists and is not an XYZ file"),
        ("words.db", "exists and is not an ASE database"),
    ],
)
def test_eval_refuses(
    small_model: Path, few: Path, output: str, says: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(few.parent)
    Path("folder.xyz").mkdir()
    Path("linked.xyz").symlink_to("few.xyz")
    for name in ("words.xyz", "words.db"):
        Path(name).write_text("words")
    before = {p: p.read_bytes() for p in Path().iterdir() if p.is_file()}
    assert main(["eval", str(small_model), "few.xyz", "-o", output]) == 1
    assert says in one_line(capsys)
    assert {p: p.read_bytes() for p in Path().iterdir() if p.is_file()} == before


def test_the_model_is_an_input_too(small_model: Path, few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (few.parent / "model.xyz").symlink_to(small_model)
    assert main(["eval", str(small_model), str(few), "-o", str(few.parent / "model.xyz")]) == 1
    assert "is one of the inputs" in one_line(capsys)


@pytest.mark.parametrize("output", ["-", "/dev/stdout"])
def test_standard_output_carries_structures_alone(small_model: Path, few: Path, output: str, tmp_path: Path) -> None:
    with (tmp_path / "out.xyz").open("w") as out:
        done = subprocess.run(
            [*PROGRAM, "eval", small_model, few, "-o", output], stdout=out, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 0
    assert len(read(tmp_path / "out.xyz", ":")) == 3
    assert "force RMSE" in done.stderr, "the table goes beside"
    refused = subprocess.run(
        [*PROGRAM, "eval", small_model, few, "--json", "-o", output], capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert "--json goes to standard output" in refused.stderr


def test_compressed_output_is_compressed(small_model: Path, few: Path, tmp_path: Path) -> None:
    assert main(["eval", str(small_model), str(few), "-o", str(tmp_path / "o.xyz.gz")]) == 0
    first = gzip.decompress((tmp_path / "o.xyz.gz").read_bytes()).splitlines()[0]
    assert int(first) == len(read_structures(few)[0])


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("W.xyz", "expected a name that ends in .mliuq"),
        ("-", "expected a name that ends in .mliuq"),
        ("no/W.mliuq", "does not exist"),
        ("folder.mliuq", "it is a folder"),
        ("words.mliuq", "exists and is not a model file"),
        ("/sys/W.mliuq", "cannot be written"),
    ],
)
def test_fit_and_calibrate_refuse_before_they_work(
    small_model: Path, few: Path, output: str, says: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Not even the data is read: it does not exist."""
    if output.startswith("/sys") and not Path("/sys").is_dir():
        pytest.skip("no folder that cannot be written")
    monkeypatch.chdir(few.parent)
    Path("folder.mliuq").mkdir()
    Path("words.mliuq").write_text("words")
    for command in (["fit", "no_data.xyz"], ["calibrate", str(small_model), "no_data.xyz"]):
        assert main([*command, "-o", output]) == 1
        assert says in one_line(capsys)
    assert Path("words.mliuq").read_text() == "words"


def test_report_refuses_what_is_not_its_own(
    small_model: Path, few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("<html>somebody's page</html>")
    assert main(["report", str(small_model), str(few), "-o", str(site)]) == 1
    assert "index.html: exists and is not a report of mliuq" in one_line(capsys)
    assert main(["report", str(small_model), str(few), "-o", str(few)]) == 1
    assert "is a file, expected the name of a folder" in one_line(capsys)
    for _ in range(2):
        assert main(["report", str(small_model), str(few), "-o", str(tmp_path / "deep" / "report")]) == 0
    assert {p.name for p in (tmp_path / "deep" / "report").iterdir()} == {"index.html", "metrics.json"}


def test_export_says_where_the_repulsion_is(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    with_zbl = tmp_path / "Z.mliuq"
    replace(mliuq.Model.load(small_model), zbl=(1.5, 2.5)).save(with_zbl)
    assert main(["export", str(with_zbl), "-o", str(tmp_path / "Z")]) == 0
    assert "nuclear repulsion is in" in capsys.readouterr().out
    lines = (tmp_path / "Z.snap").read_text().splitlines()
    assert lines[-3:] == [
        "pair_style hybrid/overlay zbl 1.5 2.5 snap",
        "pair_coeff 1 1 zbl 74 74",
        "pair_coeff * * snap Z.snapcoeff Z.snapparam W",
    ]


def test_export_keeps_files_from_elsewhere(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stem, published = tmp_path / "W", tmp_path / "W.snapparam"
    published.write_text("# DATE: 2017\nrcutfac 4.7\n")
    command = ["export", str(small_model), "-o", str(stem)]
    assert main(command) == 1
    assert "W.snapparam: exists and is not a file written by mliuq" in one_line(capsys)
    assert "rcutfac 4.7" in published.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["W.snapparam"]
    assert main([*command, "--force"]) == 0
    assert main(command) == 0, "its own files it replaces"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_or_the_new(
    small_model: Path, few: Path, held_out: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command that writes, first where there is room, then where there is none."""
    model = small_disk / "W.mliuq"
    shutil.copy(small_model, model)
    commands = {
        "eval": ["eval", str(small_model), str(few), "-o", str(small_disk / "o.xyz")],
        "db": ["eval", str(small_model), str(few), "-o", str(small_disk / "o.db")],
        "export": ["export", str(small_model), "-o", str(small_disk / "W")],
        "report": ["report", str(small_model), str(few), "-o", str(small_disk / "report")],
        "calibrate": ["calibrate", str(model), str(held_out)],
    }
    for name in ("eval", "db", "export"):
        assert main(commands[name]) == 0, name
    (small_disk / "ballast").write_bytes(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize))
    before = {p: p.read_bytes() for p in small_disk.rglob("*") if p.is_file()}
    capsys.readouterr()
    for name, command in commands.items():
        assert main(command) == 1, name
        one_line(capsys)
    assert {p: p.read_bytes() for p in small_disk.rglob("*") if p.is_file()} == before
    assert not list(small_disk.rglob(f"{SCRATCH}*"))


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_leave_no_scratch(tungsten_split: tuple[Path, Path], tmp_path: Path, kind: signal.Signals) -> None:
    """A fit with its rows on disk, stopped while they are there."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    options = ["--set", "solver.rows=disk", "--threads", "1", "--twojmax", "6"]
    process = subprocess.Popen(
        [*PROGRAM, "fit", tungsten_split[0], "-o", tmp_path / "W.mliuq", *options],
        env=os.environ | {"TMPDIR": str(scratch)},
        preexec_fn=heed_signals,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not list(scratch.rglob("*.f64")):
        time.sleep(0.01)
    process.send_signal(kind)
    _, says = process.communicate()
    assert process.returncode == (130 if kind == signal.SIGINT else 128 + kind)
    assert says.count("\n") == 1
    assert not list(scratch.iterdir())
    assert [p.name for p in tmp_path.iterdir()] == ["scratch"]


def test_a_private_model_stays_private(tungsten_split: tuple[Path, Path], tmp_path: Path) -> None:
    model = tmp_path / "W.mliuq"
    command = ["fit", str(tungsten_split[0]), "-o", str(model), "--twojmax", "2", "--members", "4"]
    assert main(command) == 0
    model.chmod(0o600)
    assert main(command) == 0
    assert model.stat().st_mode & 0o777 == 0o600
