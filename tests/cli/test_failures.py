"""What goes wrong takes one line, in any locale, at any moment; warnings name how many."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mliuq
import pytest
from ase.io import write
from mliuq.cli import main
from mliuq.readers import read_structures
from processes import heed_signals

PROGRAM = [sys.executable, "-c", "import sys; from mliuq.cli import main; sys.exit(main())"]
#: A locale that can do nothing but ASCII, and a Python that does not come to its help.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii:strict"}
QUICK = ["--twojmax", "2", "--members", "4"]


@pytest.fixture
def few(held_out: Path, tmp_path: Path) -> Path:
    path = tmp_path / "few.xyz"
    write(path, read_structures(held_out)[:3])
    return path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fit", "{data}", "-o", "x.mliuq", "--seed", "-1"], "seed is -1, expected a number from 0"),
        (
            ["fit", "{data}", "-o", "x.mliuq", "--members", "1000000000"],
            "1000000000 members of 56 weights would need",
        ),
        (["fit", "{data}", "-o", "x.mliuq", "--twojmax", "24", "--quadratic"], "336610 weights (twojmax 24, quadratic"),
        (["fit", "{data}", "-o", "x.mliuq", "--threads", "-1"], "solver.threads is -1, expected a number from 0"),
        (["fit", "{data}", "-o", "x.mliuq", "--test-fraction", "1"], "is 1.0, expected a number from 0 to below 1"),
        (
            ["fit", "{data}", "-o", "x.mliuq", "--rcut", "1.0"],
            "of 56 combinations of weights, and displaced copies of",
        ),
        (["export", "{plain}", "-o", "x", "--member", "0"], "member is 0, but the model has no ensemble"),
        (["calibrate", "{model}", "{atom}", "-o", "x.mliuq"], "at least 10 rows of a kind, found 1 of energy"),
    ],
)
def test_nonsense_is_refused(
    arguments: list[str],
    says: str,
    small_model: Path,
    held_out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from dataclasses import replace

    monkeypatch.chdir(tmp_path)
    replace(mliuq.Model.load(small_model), members=None).save("plain.mliuq")
    atoms = read_structures(held_out)[0]
    atoms.calc.results.pop("forces")
    write("atom.xyz", atoms)
    names = {"data": held_out, "model": small_model, "plain": "plain.mliuq", "atom": "atom.xyz"}
    assert main([argument.format(**names) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.glob("x*"))


def test_the_unforeseen_takes_one_line_and_a_trace_on_request(
    small_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(path: object) -> None:
        raise ZeroDivisionError(f"two\nlines about {path}")

    monkeypatch.setattr(mliuq.Model, "load", fails)
    assert main(["info", str(small_model)]) == 1
    text = capsys.readouterr().err
    assert text == f"mliuq: error: unexpected ZeroDivisionError: two lines about {small_model} (-v shows where)\n"
    for arguments in (["-v", "info", str(small_model)], ["info", str(small_model), "-v"]):
        assert main(arguments) == 1
        text = capsys.readouterr().err
        assert text.startswith("Traceback")
        assert text.splitlines()[-1].startswith("mliuq: error: unexpected ZeroDivisionError")


def test_verbose_says_what_is_done(
    tungsten_split: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fit", str(tungsten_split[0]), "-o", str(tmp_path / "W.mliuq"), *QUICK]
    assert main(command) == 0
    assert capsys.readouterr().err == ""
    assert main([*command, "--verbose"]) == 0
    text = capsys.readouterr().err
    for part in ("train.xyz: ", "configurations to fit", "rows of 6", "rank 6, condition", "posterior", "wrote "):
        assert part in text
    assert all(line.startswith("mliuq: info: ") for line in text.splitlines())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--help"], b"Usage"), (["fit", "--help"], b"cutoff in A for"), (["eval", "{model}", "{few}"], b"eV/A")],
)
def test_any_locale(arguments: list[str], says: bytes, small_model: Path, few: Path) -> None:
    command = [argument.format(model=small_model, few=few) for argument in arguments]
    done = subprocess.run([*PROGRAM, *command], capture_output=True, env=os.environ | ASCII | {"COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    assert done.stdout.isascii()


def test_names_and_json_in_any_locale(small_model: Path, few: Path, tmp_path: Path) -> None:
    """A file whose name is neither ASCII nor UTF-8."""
    name = os.fsdecode(b"W\xe9\xff.mliuq")
    (tmp_path / name).write_bytes(small_model.read_bytes())
    for environment in (ASCII, {"PYTHONIOENCODING": "utf-8:strict"}):
        for command in (["info", name], ["export", name, "-o", "out", "--json"], ["info", name + "missing"]):
            done = subprocess.run([*PROGRAM, *command], capture_output=True, env=os.environ | environment, cwd=tmp_path)
            assert done.returncode == int("missing" in command[1]), done.stderr
            assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.2, 0.35, 0.5])
def test_an_interrupt_while_the_program_loads(delay: float, small_model: Path) -> None:
    """From the moment that our code runs until it has said all; Python's own start before and its end are not ours."""
    program = "import sys; from mliuq.cli import main; print('begun', flush=True); sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "info", small_model, "--build"],
        preexec_fn=heed_signals,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    out, says = process.communicate()
    assert process.returncode in (0, 130, -signal.SIGINT)  # 0: it was faster
    assert says in ("", "mliuq: error: interrupted\n")
    if process.returncode != 130:
        assert "kernel" in out


@pytest.mark.parametrize("command", ["info '{model}' --build", "--help", "eval '{model}' '{few}' -o -"])
def test_a_closed_pipe_ends_well(command: str, small_model: Path, few: Path) -> None:
    program = f"'{sys.executable}' -c 'import sys; from mliuq.cli import main; sys.exit(main())'"
    line = f"{program} {command.format(model=small_model, few=few)} | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_leaks_are_named(
    tungsten_split: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    train = read_structures(tungsten_split[0])[:60]
    test = read_structures(tungsten_split[1])[:20]
    write("train.xyz", [*train, train[3], train[3], train[7]])
    write("test.xyz", [*test, *train[:5]])
    assert main(["fit", "train.xyz", "--test", "test.xyz", "-o", "W.mliuq", *QUICK]) == 0
    text = capsys.readouterr().err
    assert "3 of 63 training configurations are there before" in text
    assert "5 of 25 test configurations are training configurations, too" in text
    for command in (
        ["report", "W.mliuq", "test.xyz", "-o", "report"],
        ["eval", "W.mliuq", "test.xyz"],
        ["calibrate", "W.mliuq", "test.xyz", "-o", "C.mliuq"],
    ):
        assert main(command) == 0
        assert "5 of 25 structures are among those the model was fitted to" in capsys.readouterr().err
    write("clean.xyz", test)
    assert main(["eval", "W.mliuq", "clean.xyz"]) == 0
    assert capsys.readouterr().err == ""


def test_a_model_names_its_data_without_folders(tungsten_split: tuple[Path, Path], tmp_path: Path) -> None:
    model = tmp_path / "W.mliuq"
    cache = tmp_path / "private" / "rows"
    command = ["fit", str(tungsten_split[0]), "--test", str(tungsten_split[1]), "--set", f"solver.cache={cache}"]
    assert main([*command, "-o", str(model), *QUICK]) == 0
    settings = mliuq.Model.load(model).metadata["fit"]["settings"]
    assert settings["data"]["train"] == ["train.xyz"]
    assert settings["data"]["test"] == ["test.xyz"]
    assert settings["solver"]["cache"] == "rows"
    content = model.read_bytes()
    for folder in (tungsten_split[0].parent, tmp_path):
        assert str(folder).encode() not in content
