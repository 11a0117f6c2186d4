"""Input made to mislead: one line that prints, exit status 1, and soon."""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from mliuq import MliuqError, Model, SnapParams, evaluate
from mliuq.cli import main
from mliuq.cli.logs import logged
from mliuq.core import read_model_file
from mliuq.propagation.driver import _read_checkpoint
from mliuq.readers.structures import read_structures
from systems import random_model

CELL = 'Lattice="3.2 0 0 0 3.2 0 0 0 3.2" Properties=species:S:1:pos:R:3 energy=-1.0\n'


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "m.mliuq"
    random_model(SnapParams(("W",), twojmax=2), members=3).save(path)
    return path


@pytest.fixture
def structure(tmp_path: Path) -> Path:
    path = tmp_path / "in.xyz"
    write(path, Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.5]], cell=[9, 9, 9]))
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line on standard error of a command that fails."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    line = captured.err.removesuffix("\n")
    assert line.isprintable(), repr(line)
    assert line.startswith("mliuq: error: ")
    return line


def test_escapes_in_a_model_do_not_reach_the_terminal(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model.load(plain)
    evil = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eforged\nmliuq: all is well"
    path = tmp_path / "evil.mliuq"
    arrays = {"array " + evil: np.zeros(1)}
    Model(model.params, model.theta, metadata={"fit": {evil: evil, "list": [evil]}}, arrays=arrays).save(path)
    for options in ([], ["--json"]):
        assert main(["info", str(path), *options]) == 0
        shown = capsys.readouterr().out
        assert "forged" in shown
        assert all(line.isprintable() for line in shown.split("\n"))
        assert not any(line.startswith("mliuq: all is well") for line in shown.split("\n"))
    assert json.loads(shown)["model"]["fit"][evil] == evil


def test_escapes_in_names_and_data(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert r"\x1b[2J" in refused(capsys, "info", tmp_path / "no\x1b[2J\nsuch.mliuq")
    bad = tmp_path / "bad.xyz"
    bad.write_text("2\n" + CELL + "\x1b[2JW 0 0 0\nW 0 0 1\n")
    assert "bad.xyz" in refused(capsys, "eval", plain, bad)


@pytest.mark.parametrize("count", ["100000000000000", "9" * 60, "99999999"])
def test_counts_of_atoms_that_no_file_holds(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: str
) -> None:
    path = tmp_path / "many.xyz"
    path.write_text("1\n" + CELL + "W 0 0 0\n" + count + "\n" + CELL + "W 0 0 0\n")
    assert "configuration 1 claims" in refused(capsys, "eval", plain, path)
    packed = tmp_path / "many.xyz.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert "configuration 1 claims" in refused(capsys, "eval", plain, packed)


def test_what_grows_a_thousandfold(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bomb.xyz.gz"
    path.write_bytes(gzip.compress(b"1\n" + b" " * (40 << 20)))
    assert "grow to more than" in refused(capsys, "eval", plain, path)


def test_absurd_threads(plain: Path, structure: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "threads is 100000" in refused(capsys, "eval", plain, structure, "--threads", "100000")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = " + "[" * 3000 + "]" * 3000, "nested too deep"),
        ("seed = " + "9" * 310, "seed is 99"),
        ("seed = " + "9" * 5000, "not TOML"),
        ("seed = -1", "seed is -1"),
        ("[snap]\nrcut = 1e10", "Å"),
        ("[snap]\nrcut = 1e-10", "Å"),
        ("[solver]\nridge = " + "9" * 400, "solver: ridge is 99"),
    ],
)
def test_settings(text: str, message: str, structure: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, config = tmp_path / "data.xyz", tmp_path / "fit.toml"
    data.write_text("".join(f"1\n{CELL.replace('3.2', str(3 + 0.05 * i))}W 0 0 0\n" for i in range(6)))
    config.write_text(text)
    assert message in refused(capsys, "fit", data, "--config", config, "-o", tmp_path / "w.mliuq")
    assert not (tmp_path / "w.mliuq").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8")
def test_a_file_name_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/data-\xff.xyz")
    rng = np.random.default_rng(0)
    structures = []
    for i in range(12):
        atoms = Atoms("W2", positions=[[0, 0, 0], [1.5, 1.6, 1.5]] + 0.1 * rng.normal(size=(2, 3)), cell=[3.2] * 3)
        atoms.pbc = True
        atoms.info["energy"] = -8.0 + 0.01 * i
        atoms.arrays["forces"] = rng.normal(size=(2, 3))
        structures.append(atoms)
    write(Path(name), structures, format="extxyz")
    output = tmp_path / "w.mliuq"
    options = ["--twojmax", "2", "--set", "posterior.kind=hypercube", "--set", "data.test_fraction=0.0"]
    assert main(["fit", name, "-o", str(output), *options]) == 0
    capsys.readouterr()
    assert "udcff" in json.dumps(dict(Model.load(output).metadata))
    assert main(["info", str(output)]) == 0
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))


def _sparse(path: Path, head: bytes, size: int) -> Path:
    with path.open("wb") as stream:
        stream.write(head)
        stream.truncate(size)
    return path


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_waited_for(
    plain: Path, structure: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    def stream(name: str) -> Path:
        path = tmp_path / name
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero")
        return path

    data, model, settings, reference = map(stream, ("a.xyz", "a.mliuq", "a.toml", "a.json"))
    coefficients, out = stream("a.snapcoeff"), tmp_path / "out"
    says = f"{data}: is a {kind}, expected a file"
    assert says in refused(capsys, "eval", plain, data, "-o", out.with_suffix(".xyz"))
    assert says in refused(capsys, "fit", data, "-o", out.with_suffix(".mliuq"))
    assert says in refused(capsys, "select", data, plain, "-n", "1", "-o", out.with_suffix(".xyz"))
    assert says in refused(capsys, "md", plain, data, "-o", out, "--steps", "1", "--temperature", "1")
    assert f"{model}: is a {kind}" in refused(capsys, "info", model)
    assert f"{model}: is a {kind}" in refused(capsys, "eval", model, structure)
    assert f"{settings}: is a {kind}" in refused(capsys, "fit", structure, "--config", settings, "-o", "x.mliuq")
    assert f"{settings}: is a {kind}" in refused(capsys, "learn", settings, "-o", out)
    assert f"{reference}: is a {kind}" in refused(capsys, "eval", plain, reference, "-o", out.with_suffix(".xyz"))
    assert "is a pipe, a device or a socket" in refused(capsys, "verify", coefficients, "-o", out)
    with pytest.raises(MliuqError, match="is a pipe, a device or a socket"):
        read_model_file(str(model))


def test_large_files_of_nothing(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Holes of 3 GB: nothing of that size is read."""
    out = tmp_path / "o.xyz"
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 30), limits[1]))
    try:
        for name, head in (("a.xyz", b"1\n"), ("a.json", b"{")):
            path = _sparse(tmp_path / name, head, 3 << 30)
            assert "holds zero bytes" in refused(capsys, "eval", plain, path, "-o", out)
            assert "holds zero bytes" in refused(capsys, "select", path, plain, "-n", "1", "-o", out)
        settings = _sparse(tmp_path / "a.toml", b"", 3 << 30)
        assert "bytes, expected settings" in refused(capsys, "learn", settings)
        for length in (2, 10**7):
            model = _sparse(tmp_path / "a.mliuq", length.to_bytes(8, "little") + b"{}", 3 << 30)
            assert "truncated or damaged" in refused(capsys, "info", model) or length > 2
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_cells_beyond_measure(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.xyz"
    path.write_text('1\nLattice="1e300 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3\nW 0 0 0\n')
    assert "the cell is [[1e+300" in refused(capsys, "eval", plain, path, "-o", tmp_path / "o.xyz")


def test_values_given_twice(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.xyz"
    text = (
        '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3 energy=-1 note="energy=5" energy=-{}\nW 0 0 0\n'
    )
    path.write_text(text.format(2))
    assert "gives 'energy' twice, -1 and -2" in refused(capsys, "eval", plain, path, "-o", tmp_path / "o.xyz")
    path.write_text(text.format(1))
    assert main(["eval", str(plain), str(path), "-o", str(tmp_path / "o.xyz")]) == 0
    path = tmp_path / "a.json"
    path.write_text('{"Dataset": {}, "Dataset": {"Data": []}}')
    assert "JSON gives 'Dataset' twice" in refused(capsys, "eval", plain, path, "-o", tmp_path / "o.xyz")


def test_warnings_of_libraries_are_one_line() -> None:
    stream = io.StringIO()
    with logged(stream, verbose=False):
        warnings.simplefilter("always")
        warnings.warn("overflow\n \x1b[2J met", RuntimeWarning, stacklevel=1)
    assert stream.getvalue() == "mliuq: warning: RuntimeWarning: overflow \\x1b[2J met\n"


def test_seeds_below_zero(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "propagate", "eos", plain, "bcc", "-o", tmp_path, "--members", "2", "--seed", "-1")
    assert line.endswith("seed is -1, expected a number from 0 to 9.0072e+15")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1\nProperties=species:S:1:dos:R:3\nW 1 2 3\n",
            "Properties is species:S:1:dos:R:3, expected pos:R:3 among them",
        ),
        (
            "1\nProperties=species:S:1:Z:I:1:pos:R:3\nW 4 1 2 3\n",
            "atom 0 (counted from 0) is W by its symbol and has the atomic number 4, expected 74",
        ),
        (
            "1\nProperties=species:S:1:symbols:S:1:pos:R:3\nW W 1 2 3\n",
            "expected one column of elements, species:S:1 or Z:I:1",
        ),
        (
            "1\nProperties=Z:I:1:numbers:I:1:pos:R:3\n74 74 1 2 3\n",
            "expected one column of elements, species:S:1 or Z:I:1",
        ),
        (
            '1\nLattice="9 0 0 0 9 0 0 0 9" pbc="T no F"\nW 1 2 3\n',
            'pbc is "T no F", expected T or F for each cell vector',
        ),
        (
            '1\nLattice="9 0 0 0 9 0 0 0 9" pbc="2 0 1"\nW 1 2 3\n',
            'pbc is "2 0 1", expected T or F for each cell vector',
        ),
        ("1\nProperties=species:S:1:pos:R:3 energy\nW 1 2 3\n", "'energy' is not a number: True"),
        ("1\nProperties=species:S:1:pos:R:3 energy=T\nW 1 2 3\n", "'energy' is not a number: True"),
        (
            "1\nProperties=species:S:1:pos:R:3 energy=1e308\nW 1 2 3\n",
            "holds 1e+308, expected numbers of at most 1e+20",
        ),
    ],
)
def test_columns_and_values_that_are_read_as_others(
    text: str, message: str, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.xyz"
    path.write_text(text)
    assert message in refused(capsys, "eval", plain, path)


@pytest.mark.parametrize("pbc", ["T T F", "1 1 0", "True true F"])
@pytest.mark.parametrize("properties", ["species:S:1:pos:R:3", "symbols:S:1:positions:R:3"])
def test_columns_and_flags_as_ase_spells_them(pbc: str, properties: str, tmp_path: Path) -> None:
    path = tmp_path / "in.xyz"
    path.write_text(f'1\nLattice="9 0 0 0 9 0 0 0 9" pbc="{pbc}" Properties={properties}\nW 1 2 3\n')
    (atoms,) = read_structures(path)
    assert atoms.pbc.tolist() == [True, True, False]
    assert atoms.positions.tolist() == [[1.0, 2.0, 3.0]]


def test_names_that_are_folders_or_files(
    plain: Path, structure: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written outside the folder asked for, nor into one that a file stands for."""
    line = refused(capsys, "propagate", "eos", plain, "bcc", "-o", tmp_path, "--name", "../elsewhere")
    assert line.endswith("name is '../elsewhere', expected a name without folders (those are for --output)")
    for command in (["propagate", "eos", plain, "bcc"], ["md", plain, structure, "--steps", "1"]):
        assert refused(capsys, *command, "-o", structure).endswith("is a file, expected the name of a folder")
    for name in ("", ".", ".."):
        assert refused(capsys, "export", plain, "-o", name).endswith("is a folder, expected a name without ending")
    results = tmp_path / "results.json"
    results.write_text('{"structures": [], "summary": {}}')
    assert "is not an ASE database in JSON: not replaced" in refused(capsys, "eval", plain, structure, "-o", results)
    assert json.loads(results.read_text()) == {"structures": [], "summary": {}}


@pytest.mark.parametrize("number", [-90, 119, 1000, -1000])
def test_atomic_numbers_of_no_element(
    number: int, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ASE counts symbols from the end, too: -90 was copper."""
    path = tmp_path / "odd.xyz"
    path.write_text(f"1\nProperties=Z:I:1:pos:R:3\n{number} 1 2 3\n")
    says = f"configuration 0: an atomic number is {number}, expected a number from 0 to 118"
    select = ["select", path, plain, "-n", "1", "--criterion", "random", "--similar", "0", "-o", tmp_path / "b.xyz"]
    for command in (["eval", plain, path], ["fit", path, "-o", tmp_path / "m.mliuq"], select):
        assert refused(capsys, *command).endswith(says)
    atoms = Atoms("W")
    atoms.numbers[0] = number
    with pytest.raises(MliuqError, match=f"an atomic number is {number}, expected a number from 0 to 118"):
        evaluate(Model.load(plain), atoms)


def test_one_name_in_place_of_several(plain: Path) -> None:
    with pytest.raises(MliuqError, match="properties is the string 'energy', expected a sequence of names"):
        evaluate(plain, Atoms("W"), "energy")


def test_a_file_in_place_of_the_folder_of_a_row_cache(
    structure: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (atoms,) = read_structures(structure)
    atoms.info["energy"], atoms.arrays["forces"] = -1.0, np.ones((2, 3))
    path = tmp_path / "train.xyz"
    rattled = [atoms.copy() for _ in range(4)]
    for seed, one in enumerate(rattled):
        one.rattle(0.1, seed=seed)
    write(path, rattled)
    cache = ["--set", f"solver.cache={structure}"]
    line = refused(capsys, "fit", path, "-o", tmp_path / "m.mliuq", "--twojmax", "0", "--test-fraction", "0", *cache)
    assert line.endswith("in.xyz: is a file, expected the name of a folder")


@pytest.mark.parametrize("text", ["[" * 5000, "5", '{"estimates": 5}'])
def test_results_that_are_none(text: str, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "m-eos.json"
    results.write_text(text)
    line = refused(capsys, "propagate", "eos", plain, "bcc", "-o", tmp_path, "--plot-only")
    assert "m-eos.json: not a result of mliuq propagate" in line


def test_a_damaged_line_of_members(tmp_path: Path) -> None:
    path = tmp_path / ".m-eos.partial.jsonl"
    for line in ("[" * 5000, '{"member": 0}', "5"):
        path.write_text(f'{{"a": 1}}\n{line}\n')
        with pytest.raises(MliuqError, match=r"partial\.jsonl: line 2 is damaged"):
            _read_checkpoint(path, {"a": 1})
    path.write_text("[" * 5000 + "\n")
    with pytest.raises(MliuqError, match="holds members of another calculation"):
        _read_checkpoint(path, {"a": 1})
