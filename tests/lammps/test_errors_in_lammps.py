"""Bad input ends LAMMPS with one clear message and a non-zero status, never with a crash."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from runner import LMP, Output, mpirun, run, structure
from safetensors.numpy import load_file, save_file

Make = Callable[..., Path]
Structures = Callable[..., dict[str, Atoms]]


def assert_one_error(output: Output, *words: str) -> None:
    assert output.returncode not in (0, None), output.text
    assert output.returncode > 0, f"killed by signal {-output.returncode}: {output.text}"
    assert len(output.errors) == 1, output.text
    for crash in ("Segmentation", "SIGSEGV", "terminate called", "Sanitizer", "BAD TERMINATION"):
        assert crash not in output.text, output.text
    for word in words:
        assert word in output.errors[0], output.errors[0]


@pytest.fixture
def start(structures: Structures, tmp_path: Path) -> str:
    return structure(structures("Ta")["rattled"], tmp_path, ["Ta"])


PAIR = "pair_style mliuq\npair_coeff * * {model} Ta\n"


@pytest.mark.parametrize("units", ["lj", "real", "si"])
def test_units(units: str, start: str, tmp_path: Path) -> None:
    output = run(start.replace("metal", units) + "pair_style mliuq\n", tmp_path)
    assert_one_error(output, "pair style mliuq".capitalize(), "units metal", f"units {units}")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pair_style mliuq 4.7", ["precision", "4.7"]),
        ("pair_style mliuq precision half", ["single or double", "half"]),
        ("pair_style mliuq precision", ["single or double", "nothing"]),
        ("pair_style mliuq\npair_coeff 1 1 {model} Ta", ["must start with * *"]),
        ("pair_style mliuq\npair_coeff * *", ["pair_coeff * * FILE"]),
        ("pair_style mliuq\npair_coeff * * {model}", ["0 elements for 1 atom types"]),
        ("pair_style mliuq\npair_coeff * * {model} Ta Ta", ["2 elements for 1 atom types"]),
        ("pair_style mliuq\npair_coeff * * {model} Xx", ["Ta06A", "(Ta)", "Xx"]),
        ("pair_style mliuq\npair_coeff * * {model} NULL", ["NULL for every atom type"]),
        ("pair_style mliuq\npair_coeff * * nowhere.mliuq Ta", ["nowhere.mliuq", "cannot be opened"]),
        ("pair_style mliuq\nrun 0", ["All pair coeffs are not set"]),
        ("newton off\npair_style mliuq\npair_coeff * * {model} Ta\nrun 0", ["newton pair on", "off"]),
        (PAIR + "compute u all mliuq/atom", ["energy_std energy_min", "nothing"]),
        (PAIR + "compute u all mliuq/atom energy_sdt", ["energy_std", "energy_sdt"]),
        (PAIR + "compute u all mliuq/atom forces_std", ["expected one or more of", "fz_err", "found forces_std"]),
        ("compute m all mliuq/committee", ["Compute mliuq/committee", "expected a pair_style mliuq"]),
        (PAIR + "compute m all mliuq/committee 3", ["Compute mliuq/committee", "expected no arguments", "found 3"]),
        (PAIR + "compute g all mliuq energy_std", ["energy_min energy_max", "found energy_std"]),
        (PAIR + "group a id 1\ncompute g a mliuq", ["group all", "found a"]),
        (PAIR + "compute u all mliuq/atom energy_std\nrun 0", ["posterior members", "Ta06A"]),
        (PAIR + "compute g all mliuq\nrun 0", ["posterior members", "Ta06A"]),
        (PAIR + "fix p all pair 1 mliuq energy_std 1", ["posterior members", "Ta06A"]),
        (PAIR + "fix g all mliuq/guard 10 energy_std halt 0.2\nrun 0", ["Fix mliuq/guard g", "posterior members"]),
        ("pair_style zero 5.0\npair_coeff * *\ncompute g all mliuq\nrun 0", ["expected a pair_style mliuq", "none"]),
    ],
)
def test_bad_input(line: str, words: list[str], start: str, make_model: Make, tmp_path: Path) -> None:
    if line.startswith("newton"):
        start, line = "newton off\n" + start, line.removeprefix("newton off\n")
    assert_one_error(run(start + line.format(model=make_model("Ta06A")) + "\n", tmp_path), *words)


def test_extrapolation_without_factor(start: str, make_model: Make, tmp_path: Path) -> None:
    script = start + PAIR.format(model=make_model("Ta06A", 5)) + "compute u all mliuq/atom extrapolation\nrun 0\n"
    assert_one_error(run(script, tmp_path), "extrapolation.factor", "Ta06A-5")


def test_unknown_kernel(start: str, make_model: Make, tmp_path: Path) -> None:
    output = run(start + PAIR.format(model=make_model("Ta06A")), tmp_path, kernel="avx9000")
    assert_one_error(output, "MLIUQ_KERNEL", "avx9000", "reference")


def test_null_type_without_hybrid(structures: Structures, make_model: Make, tmp_path: Path) -> None:
    atoms = structures("Ta")["rattled"]
    atoms.symbols[0] = "W"
    script = structure(atoms, tmp_path, ["Ta", "W"])
    script += f"pair_style mliuq\npair_coeff * * {make_model('Ta06A')} Ta NULL\nrun 0\n"
    assert_one_error(run(script, tmp_path), "pair coeffs are")


def spoiled(kind: str, good: Path, bad: Path) -> list[str]:
    """Write a broken copy of a model file; return what the message must name."""
    content = good.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    if kind == "empty":
        bad.write_bytes(b"")
        return []
    if kind == "text":
        bad.write_text("Ta 0.5 1\n" * 100)
        return ["not a .mliuq model file"]
    if kind == "truncated":
        bad.write_bytes(content[:-100])
        return ["truncated"]
    if kind == "header":
        bad.write_bytes(content[:8] + b"{" * length + content[8 + length :])
        return []
    arrays = load_file(good)
    metadata = json.loads(header["__metadata__"]["mliuq"])
    words: list[str] = []
    if kind == "newer":
        metadata["format_version"] = 99
        words = ["99", "newer mliuq"]
    elif kind == "nan":
        arrays["theta"][0, 3] = np.nan
        words = ["theta", "not finite"]
    elif kind == "shape":
        arrays["theta"] = arrays["theta"][:, :-1]
        words = ["theta", "(1, 30)", "(1, 31)"]
    elif kind == "missing":
        del arrays["theta"]
        words = ["theta", "missing"]
    elif kind == "twojmax":
        metadata["snap"]["twojmax"] = -3
        words = ["twojmax", "-3"]
    save_file(arrays, bad, metadata={"mliuq": json.dumps(metadata)})
    return words


@pytest.mark.parametrize(
    "kind", ["empty", "text", "truncated", "header", "newer", "nan", "shape", "missing", "twojmax"]
)
@pytest.mark.parametrize("ranks", [1, 2])
def test_broken_model_file(kind: str, ranks: int, start: str, make_model: Make, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mliuq"
    words = spoiled(kind, make_model("Ta06A", 5), bad)
    output = run(start + PAIR.format(model=bad), tmp_path, ranks=ranks)
    assert_one_error(output, "Pair style mliuq", "bad.mliuq", *words)


@pytest.mark.parametrize("kind", ["pipe", "device", "hole"])
def test_what_is_no_file_is_not_read(kind: str, start: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mliuq"
    if kind == "pipe":
        os.mkfifo(bad)
    elif kind == "device":
        bad.symlink_to("/dev/zero")
    else:
        bad.touch()
        os.truncate(bad, 3 << 30)
    words = ["not valid JSON"] if kind == "hole" else ["is a pipe, a device or a socket"]
    assert_one_error(run(start + PAIR.format(model=bad), tmp_path), "Pair style mliuq", "bad.mliuq", *words)


@pytest.mark.parametrize("ranks", [1, 2])
def test_energy_that_is_not_finite(ranks: int, start: str, make_model: Make, tmp_path: Path) -> None:
    """A number that makes no sense stops the run and names the step; it is not passed on to the integrator."""
    good = make_model("Ta06A")
    with good.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        metadata = json.loads(stream.read(length))["__metadata__"]
    theta = load_file(good)["theta"].copy()
    theta[0, 1:] = 1e308
    save_file({"theta": theta}, tmp_path / "huge.mliuq", metadata=metadata)
    output = run(start + PAIR.format(model="huge.mliuq") + "run 0\n", tmp_path, ranks=ranks)
    assert output.returncode > 0
    assert any("Pair style mliuq: step 0" in line and "not a finite" in line for line in output.errors), output.text


def test_one_rank_reads_the_model_and_hands_it_on(start: str, make_model: Make, tmp_path: Path) -> None:
    """The second rank runs in a folder where there is no such file."""
    script = start + "pair_style mliuq\npair_coeff * * here.mliuq Ta\nrun 0\n"
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    alone = run(script, tmp_path, ranks=1)
    assert alone.returncode != 0, "the name is relative"
    for folder in (here, elsewhere):
        folder.mkdir()
        shutil.copy(tmp_path / "structure.data", folder)
    shutil.copy(make_model("Ta06A", 64), here / "here.mliuq")
    (here / "in.lammps").write_text(script)
    lammps = [*LMP, "-in", "in.lammps", "-log", "none"]
    ranks = [[str(mpirun()), "-wdir", str(here), "-n", "1", *lammps], ["-wdir", str(elsewhere), "-n", "1", *lammps]]
    done = subprocess.run([*ranks[0], ":", *ranks[1]], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    plain = run(script, here)
    energy = [text.split("TotEng")[1].split("\n")[1].split()[2] for text in (done.stdout, plain.text)]
    assert energy[0] == energy[1]


@pytest.mark.parametrize("ranks", [1, 2])
def test_files_that_hold_nothing(ranks: int, start: str, tmp_path: Path) -> None:
    (tmp_path / "empty.mliuq").touch()
    (tmp_path / "folder.mliuq").mkdir()
    for name in ("empty", "folder"):
        script = start + f"pair_style mliuq\npair_coeff * * {name}.mliuq Ta\n"
        assert_one_error(run(script, tmp_path, ranks=ranks), f"{name}.mliuq", "empty, or cannot be read")
