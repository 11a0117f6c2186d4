"""What a user finds before anything runs: commands, flags, defaults, help, examples, messages of usage."""

from __future__ import annotations

import inspect
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mliuq.ase.md
import mliuq.learning
import mliuq.propagation
import numpy as np
import pytest
import typer
from ase import Atoms
from ase.build import bulk
from ase.io import write
from mliuq import Model
from mliuq.ase.ensembles import EnsembleSettings
from mliuq.ase.md import GuardSettings, RunSettings
from mliuq.cli import app as application
from mliuq.cli import coefficients, logs, main, one_structure, seen, signals, structures
from mliuq.cli.data_options import OPTIONS, DataOptions
from mliuq.errors import MliuqError
from mliuq.fitting.adopt import run_adopt
from mliuq.propagation import PropagationSettings
from mliuq.tuning import TuneSettings
from systems import PARAMS, random_model

NAMES = (
    "fit", "adopt", "tune", "eval", "compare", "calibrate", "report", "md", "learn", "info", "export", "select",
    "verify", *(f"propagate {name}" for name in ("eos", "phases", "elastic", "path", "phonons", "defects", "surfaces")),
    *(f"propagate {name}" for name in ("gsf", "neb", "custom", "all")),
)  # fmt: skip


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


GROUP: Any = typer.main.get_command(application.app)
COMMANDS = dict(commands(GROUP))
RUN = {"output": Path("properties"), "seed": 0, "engine": "resampling", "relaxer": "ase", "fmax": 1e-4,
       "corrections": 6, "max_failed": 0.1, "workers": 1}  # fmt: skip
EOS = {"relax": "all", "span": 0.06, "points": 7}

#: What an option is when it is not given, where that is not nothing; flags are off unless they are here.
DEFAULTS: dict[str, dict[str, Any]] = {
    "fit": {"quadratic": None, "robust": None},
    "adopt": {"energy_zero": "auto"},
    "tune": {"budget": "10min", "elements": True, "left_out": "configurations", "max_cost": 0.0},
    "calibrate": {"update": "always"},
    "report": {"output": Path("report")},
    "md": {"output": Path("md"), "steps": 1000},
    "learn": {"output": Path("learn")},
    "select": {"criterion": "information", "rows": "energy,forces", "similar": 1e-3, "shortlist": 1000, "seed": 0},
    "propagate eos": {**RUN, **EOS},
    "propagate phases": {**RUN, **EOS},
    "propagate elastic": {**RUN, "strain": 0.005},
    "propagate path": {**RUN, "points": 41},
    "propagate phonons": {**RUN, "size": 4, "displacement": 0.01, "points": 120, "mesh": 9},
    "propagate defects": {**RUN, "host": "bcc", "size": 3, "volumes": True},
    "propagate surfaces": {**RUN, "host": "bcc", "layers": 8, "vacuum": 6.0},
    "propagate gsf": {**RUN, "lattice": "bcc", "plane": "110", "direction": "1-11", "layers": 6, "points": 11,
                      "across": 1},
    "propagate neb": {**RUN, "host": "bcc", "size": 3, "images": 5, "path_fmax": 0.01},
    "propagate custom": {**RUN, "relax": "cell"},
    "propagate all": {"output": Path("sheet"), "seed": 0, "fmax": 1e-4, "max_failed": 0.1, "workers": 1,
                      "crystal": "bcc", "size": 3, "members": 100},
}  # fmt: skip


#: What each command needs before it looks at files, which are not there.
BEGUN: dict[str, list[str]] = {
    "fit": [], "info": [], "tune": ["none.xyz"], "learn": ["none.toml"], "export": ["none"], "verify": ["none"],
    "adopt": ["none.mliuq", "none.xyz", "-o", "o.mliuq"], "select": ["none", "none", "-n", "1", "-o", "o.xyz"],
    **{name: ["none", "none"] for name in ("eval", "compare", "calibrate", "report", "md")},
    "propagate neb": ["none", "--vacancy-hop"], "propagate custom": ["none", "--function", "m:f"],
}  # fmt: skip


def test_the_commands() -> None:
    assert main(["--version"]) == 0
    assert set(COMMANDS) == set(NAMES)
    assert GROUP.name == "mliuq"
    assert GROUP.help == "Spectral-neighbour potentials that know when they are wrong."
    assert "Documentation" in GROUP.epilog
    assert GROUP.commands["propagate"].help.startswith("Properties of materials")
    assert GROUP.commands["propagate"].epilog.startswith("Example: mliuq propagate eos")


@pytest.mark.parametrize("name", NAMES)
def test_defaults_help_and_examples(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a command that then begins, and finds nothing to work on."""
    monkeypatch.chdir(tmp_path)
    assert main([*name.split(), *BEGUN.get(name, ["none"])]) in (1, 2)
    assert capsys.readouterr().err.startswith("mliuq: error: ")
    assert list(tmp_path.iterdir()) == []
    command = COMMANDS[name]
    assert command.epilog.startswith(f"Example: mliuq {name} ")
    assert len(command.help) > 30
    expected = DEFAULTS.get(name, {})
    for param in command.params:
        if param.name == "help":
            continue
        assert len(param.help or "") > 1, f"{param.name} has no help"
        default = False if getattr(param, "is_flag", False) else None
        assert param.default == expected.get(param.name, default), param.name
        assert type(param.default) is type(expected.get(param.name, default)), param.name
    assert set(expected) <= {param.name for param in command.params}
    for flag in ("-h", "--help"):
        assert flag in command.context_settings.get("help_option_names", GROUP.context_settings["help_option_names"])


def test_help_by_either_flag(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["-h"], ["propagate", "-h"], ["fit", "-h"], ["propagate", "eos", "--help"]):
        assert main(words) == 0
        assert "Usage: mliuq" in capsys.readouterr().out
    for words in ([], ["propagate"]):
        assert main(words) == 2
        captured = capsys.readouterr()
        assert "Usage" in captured.out + captured.err


def test_defaults_are_those_of_the_library() -> None:
    """Of what an option becomes: a function's keyword or a field of settings."""

    def keyword(function: Any, name: str) -> Any:
        return inspect.signature(function).parameters[name].default

    with pytest.raises(MliuqError, match="n is 0"):
        mliuq.learning.select([], None, 0)  # type: ignore[arg-type]
    for name in ("similar", "shortlist", "seed", "criterion"):
        assert keyword(mliuq.learning.select, name) == DEFAULTS["select"][name]
    assert ",".join(keyword(mliuq.learning.select, "rows")) == DEFAULTS["select"]["rows"]
    assert keyword(run_adopt, "energy_zero") == DEFAULTS["adopt"]["energy_zero"]
    tuning = TuneSettings()
    assert (tuning.budget, tuning.left_out, tuning.elements, tuning.groups, tuning.max_cost) == (
        600.0, "configurations", True, False, 0.0,
    )  # fmt: skip
    settings = PropagationSettings()
    for name in ("seed", "engine", "relaxer", "fmax", "max_failed", "corrections"):
        assert getattr(settings, name) == RUN[name]
    for prop, values in DEFAULTS.items():
        if prop.startswith("propagate ") and prop != "propagate all":
            function = getattr(mliuq.propagation, prop.split()[1])
            own = {key: value for key, value in values.items() if key not in RUN}
            for key, value in own.items():
                assert keyword(function, {"path_fmax": "fmax"}.get(key, key)) == value, (prop, key)


def test_help_of_md_says_the_defaults_of_its_settings() -> None:
    ensemble, guard = EnsembleSettings(), GuardSettings()
    RunSettings(1).validate()
    said = {param.name: param.help for param in COMMANDS["md"].params}
    assert said["ensemble"] == f"Ensemble; {ensemble.ensemble} by default."
    for name in ("timestep", "thermostat_time", "barostat_time", "pressure", "seed"):
        assert f" {getattr(ensemble, name):g} by default" in said[name], name
    for name in ("quantity", "max_saved"):
        assert f" {getattr(guard, name)} by default" in said[name], name
    assert f" {RunSettings(1).every} by default" in said["every"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("interface") / "R.mliuq"
    random_model(PARAMS["plain"], members=8, noise=True).save(path)
    return path


#: What is computed when nothing is named.
PLAIN: dict[str, tuple[Any, ...]] = {
    "eos": (["bcc", "fcc", "hcp"],), "elastic": (["bcc"],), "phonons": (["bcc"],), "defects": (["vacancy"],),
    "surfaces": (["110", "100", "111"],), "gsf": ("bcc",), "neb": (None,), "custom": (["bcc"], "m:f"),
    "path": (("bain", "trigonal", "orthorhombic", "hexagonal"),),
}  # fmt: skip


@pytest.mark.parametrize("prop", [*PLAIN, "phases"])
def test_what_is_computed_when_nothing_is_named(
    prop: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And every keyword is the function's own default."""
    from mliuq.propagation.functions import PHASES

    function = getattr(mliuq.propagation, prop)
    calls: list[Any] = []

    def caught(loaded: Model, *given: Any, **named: Any) -> None:
        calls.append((given, named))
        raise MliuqError("seen")

    monkeypatch.setattr(mliuq.propagation, prop, caught)
    monkeypatch.chdir(tmp_path)
    extra = {"neb": ["--vacancy-hop"], "custom": ["--function", "m:f"]}.get(prop, [])
    assert main(["propagate", prop, str(model), *extra]) == 1
    ((given, named),) = calls
    assert given == PLAIN.get(prop, (PHASES,))
    assert named.pop("settings") == PropagationSettings()
    assert named.pop("executor") is None
    assert callable(named.pop("progress"))
    assert named.pop("checkpoint") == Path("properties") / f".R-{prop}.partial.jsonl"
    parameters = inspect.signature(function).parameters
    assert {key: parameters[key].default for key in named} == named
    assert Path("properties").is_dir()


def test_ends_of_a_barrier_are_either(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--vacancy-hop", "--ends", "a", "b"]):
        assert main(["propagate", "neb", str(model), *words]) == 2
        assert "expected either --ends FIRST LAST or --vacancy-hop" in capsys.readouterr().err


# messages -----------------------------------------------------------------------------------------------------------


class Interrupted(Exception):  # noqa: N818
    """As a library wraps an interrupt."""


def caused(error: BaseException, cause: BaseException, *, by: str = "__cause__") -> BaseException:
    setattr(error, by, cause)
    return error


def no_space() -> OSError:
    return OSError(28, "No space left on device", "/a/b")


EXPLAINED: dict[str, tuple[BaseException, tuple[str, int]]] = {
    "stop": (signals.Stopped(15), ("terminated", 143)),
    "hang up": (signals.Stopped(1), ("the terminal was closed", 129)),
    "within": (caused(Interrupted("x"), signals.Stopped(2)), ("interrupted", 130)),
    "while": (caused(Interrupted("x"), signals.Stopped(2), by="__context__"), ("interrupted", 130)),
    "key": (KeyboardInterrupt(), ("interrupted", 130)),
    "abort": (typer.Abort(), ("interrupted", 130)),
    "ours": (MliuqError("what"), ("what", 1)),
    "import": (ImportError("no x"), ("no x", 1)),
    "system": (no_space(), ("/a/b: No space left on device", 1)),
    "nameless": (OSError(28, "No space left on device"), ("No space left on device", 1)),
    "bare": (OSError("odd"), ("unexpected OSError: odd (-v shows where)", 1)),
    "memory": (MemoryError(), ("out of memory", 1)),
    "memory of": (MemoryError("8 GiB"), ("out of memory: 8 GiB", 1)),
    "usage": (typer.BadParameter("bad"), ("Invalid value: bad", 2)),
    "else": (ValueError("a\n  b\x1b"), (r"unexpected ValueError: a b\x1b (-v shows where)", 1)),
}


@pytest.mark.parametrize("case", EXPLAINED)
def test_failures_in_words(case: str) -> None:
    error, expected = EXPLAINED[case]
    assert application._explain(error) == expected


def test_usage_points_to_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["propagate", "eos", "--zzz"]) == 2
    assert capsys.readouterr().err == ("mliuq: error: No such option: --zzz (see 'mliuq propagate eos --help')\n")
    assert main(["fit"]) == 2
    assert capsys.readouterr().err == (
        "mliuq: error: Invalid value: no training data: expected DATA or data.train in --config (see "
        "'mliuq fit --help')\n"
    )
    assert main(["propagate"]) == 2
    assert capsys.readouterr().err.startswith("mliuq: error: nothing to do\n")


def test_a_failure_of_several_lines_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert application._fail("one\x1b\ntwo\x1b", 7) == 7
    assert capsys.readouterr().err == "mliuq: error: one\\x1b\ntwo\\x1b\n"


def test_arguments_default_to_those_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mliuq", "--version"])
    assert main() == 0
    assert capsys.readouterr().out == f"mliuq {mliuq.__version__}\n"
    assert application.run(("--version",)) == 0


def test_status_of_a_command_is_the_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for given, expected in ((5, 5), (None, 0), ("text", 0)):
        monkeypatch.setattr(application, "_command", lambda given=given: lambda **named: given)
        assert application.run(["x"]) == expected
    calls: list[Any] = []
    monkeypatch.setattr(application, "_command", lambda: lambda **named: calls.append(named))
    application.run(["-v", "fit", "--verbose", "a"])
    assert calls == [{"args": ["fit", "a"], "prog_name": "mliuq", "standalone_mode": False}]

    def leaves(**named: Any) -> None:
        raise SystemExit(4)

    monkeypatch.setattr(application, "_command", lambda: leaves)
    with pytest.raises(SystemExit):
        application.run(["x"])


def test_what_the_library_logs(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("mliuq.somewhere")
    level = logging.getLogger("mliuq").level
    with logs.logged(sys.stderr, False):
        log.info("quiet")
        log.warning("odd %d\x1b", 1)
        log.warning("odd %s\x1b", "1")
        log.warning("odd 2")
        logging.getLogger("elsewhere").warning("none of ours")
    assert capsys.readouterr().err == "mliuq: warning: odd 1\\x1b\nmliuq: warning: odd 2\n", "each once"
    with logs.logged(sys.stderr, True):
        log.debug("too much")
        log.info("said")
    assert capsys.readouterr().err == "mliuq: info: said\n"
    assert logging.getLogger("mliuq").level == level
    with logs.logged(sys.stderr, False):
        pass
    assert not [h for h in logging.getLogger("mliuq").handlers if isinstance(h.formatter, logs._Line)]


# signals ------------------------------------------------------------------------------------------------------------


class Left(BaseException):
    """Instead of leaving the process."""


@pytest.fixture
def leaving(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is written to the terminal, and the status with which the process would end."""
    done: list[Any] = []

    def leave(status: int) -> None:
        done.append(status)
        raise Left

    monkeypatch.setattr(signals, "os", SimpleNamespace(
        _exit=leave, write=lambda *given: done.append(given), getpid=os.getpid,
    ))  # fmt: skip
    return done


def test_a_signal_before_there_is_anything_to_unwind(leaving: list[Any]) -> None:
    stop = signals.Stop()
    with pytest.raises(Left):
        stop(signal.SIGTERM, None)
    assert leaving == [(2, b"mliuq: error: terminated\n"), 143]


def test_a_signal_unwinds_and_a_later_one_does_not_wait(leaving: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: clock[0])
    stop = signals.Stop()
    stop.unwind()
    with pytest.raises(signals.Stopped) as caught:
        stop(signal.SIGINT, None)
    assert (str(caught.value), caught.value.status) == ("interrupted", 130)
    clock[0] = 100.9
    stop(signal.SIGTERM, None)  # the same stop, once more
    assert leaving == []
    clock[0] = 101.0
    with pytest.raises(Left):
        stop(signal.SIGHUP, None)
    assert leaving == [(2, b"mliuq: error: the terminal was closed\n"), 129]


def test_a_worker_leaves_without_a_word(leaving: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    stop = signals.Stop()
    stop.unwind()
    monkeypatch.setattr(signals.os, "getpid", lambda: os.getpid() + 1)
    with pytest.raises(Left):
        stop(signal.SIGINT, None)
    assert leaving == [130]


def test_handlers_are_put_back_and_ignored_signals_stay_ignored() -> None:
    handlers = {
        signal.SIGHUP: signal.SIG_IGN,
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    kept = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with signals.stopped_in_order() as stop:
            assert signal.getsignal(signal.SIGTERM) is stop
            assert signal.getsignal(signal.SIGINT) is stop
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert {number: signal.getsignal(number) for number in handlers} == handlers
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


# pieces -------------------------------------------------------------------------------------------------------------


def test_coefficients_take_all_numbers_behind_them() -> None:
    from fractions import Fraction

    assert coefficients.parsed("1 -1/2 0.25") == [Fraction(1), Fraction(-1, 2), Fraction(1, 4)]
    for text in ("", "1 x", "1/0"):
        with pytest.raises(typer.BadParameter) as caught:
            coefficients.parsed(text)
        assert caught.value.message == f"expected numbers or fractions, found {text!r}"
        assert caught.value.param_hint == "--coefficients"
    command = COMMANDS["compare"]
    for words, given, files in (
        (["m", "a", "b", "--coefficients", "1", "-1/2"], "1 -1/2", ["a", "b"]),
        (["m", "--coefficients", "1", "-1/2", "a", "b", "c"], "1 -1/2", ["a", "b", "c"]),
        (["m", "a", "--coefficients", "-2", "--per-atom"], "-2", ["a"]),
        (["m", "a"], None, ["a"]),
    ):
        params = command.make_context("compare", list(words)).params
        assert (params["coefficients"], params["structures"]) == (given, files)
    assert isinstance(COMMANDS["select"], coefficients.CoefficientsCommand)


def test_one_structure_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("three.xyz", [bulk("W", a=a) for a in (3.0, 3.1, 3.2)])
    write("one.xyz", bulk("W", a=3.3))
    write("odd@2", bulk("W", a=3.4), format="extxyz")

    def length(name: str) -> float:
        return round(float(one_structure.one_structure(name).cell[0, 1]) * 2, 6)

    assert [length(name) for name in ("three.xyz@1", "three.xyz@-1", "one.xyz", "one.xyz@0")] == [3.1, 3.2, 3.3, 3.3]
    assert length("odd@2") == 3.4, "a file of that name goes first"
    for name, message in (
        ("three.xyz", "three.xyz: holds 3 configurations, expected one: pick it by three.xyz@INDEX"),
        ("three.xyz@x", "three.xyz@x: expected an integer behind @"),
        ("three.xyz@3", "three.xyz@3: three.xyz holds 3 configurations, counted from 0"),
    ):
        with pytest.raises(MliuqError) as caught:
            one_structure.one_structure(name)
        assert str(caught.value) == message


def test_structures_that_a_fit_has_seen(caplog: pytest.LogCaptureFixture) -> None:
    from mliuq.readers.fingerprints import fingerprints

    cells = [bulk("W", a=a) for a in (3.0, 3.1, 3.2)]
    known: Any = SimpleNamespace(arrays={"data.fingerprints": fingerprints(cells[:2])})
    seen.warn_of_seen(known, cells, "beware")
    seen.warn_of_seen(known, cells[2:], "beware")
    seen.warn_of_seen(SimpleNamespace(arrays={}), cells, "beware")  # type: ignore[arg-type]
    assert caplog.messages == ["2 of 3 structures are among those the model was fitted to: beware"]


def test_options_about_data() -> None:
    """What files leave unsaid; the reference potential of a fit must be the one said, code is never run unsaid."""
    assert set(OPTIONS) == {
        "keys", "energy_key", "forces_key", "stress_key", "group_key", "stress_unit", "stress_sign", "types",
        "length_unit", "energy_unit", "reference",
    }  # fmt: skip
    params = {param.name: param for param in COMMANDS["eval"].params}
    metavars = {
        "keys": "PREFIX", "energy_key": "KEY", "stress_unit": "eV/A3|GPa|kbar|bar", "types": "ELEMENTS",
        "stress_sign": "tension|compression", "length_unit": "angstrom|bohr", "energy_unit": "eV|hartree",
        "reference": "POTENTIAL",
    }  # fmt: skip
    assert {name: params[name].metavar for name in metavars} == metavars
    assert {params[name].rich_help_panel for name in OPTIONS} == {"Data"}
    dialect = DataOptions({"types": ["W"], "length_unit": "bohr", "energy_key": "E"}).dialect
    assert (tuple(dialect.types), dialect.length_unit) == (("W",), "bohr")
    said = "pair_style zero 5.0; pair_coeff * *"
    metadata = {"fit": {"settings": {"data": {"reference": said, "energy_key": "E"}}}}
    assert DataOptions().settings(metadata).energy_key == "E"
    assert DataOptions({"reference": said.replace("; ", ";  ")}).settings(metadata) is not None
    assert DataOptions({"energy_key": "F"}).settings(metadata).energy_key == "F"
    for changes, of, message in (
        (
            {"reference": "x"}, metadata,
            f"--reference is 'x', but the fit of this model had the reference potential {said!r}",
        ),
        ({"reference": "x"}, {}, "--reference is 'x', but the fit of this model had no reference potential"),
        (
            {}, {"fit": {"settings": {"data": {"reference": "mine:calc"}}}},
            "the fit of this model had the reference potential 'mine:calc', which is Python code on this machine: to "
            "run it, say --reference mine:calc",
        ),
    ):  # fmt: skip
        with pytest.raises(MliuqError) as caught:
            DataOptions(changes).settings(of)
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.xyz", (".xyz", "")), ("a.extxyz", (".xyz", "")), ("a.xyz.gz", (".xyz", ".gz")),
        ("a.extxyz.bz2", (".xyz", ".bz2")), ("a.b.xyz.xz", (".xyz", ".xz")), ("a.traj", (".traj", "")),
        ("a.db", (".db", "")), ("a.json", (".json", "")), ("-", (".xyz", "")), ("/dev/null", (".xyz", "")),
    ],
)  # fmt: skip
def test_an_ending_is_a_format(name: str, form: tuple[str, str]) -> None:
    assert structures._format(Path(name)) == form


@pytest.mark.parametrize(
    ("name", "found"), [("a.cif", ".cif"), ("a.traj.gz", ".traj.gz"), ("a.gz", ".gz"), ("a", ""), ("a.b.gz", ".b.gz")]
)
def test_an_ending_that_is_none(name: str, found: str) -> None:
    with pytest.raises(MliuqError) as caught:
        structures._format(Path(name))
    assert str(caught.value) == (
        f"{name}: the ending {found!r} names no format to write, expected one of .xyz .extxyz .xyz.gz .traj .db .json, "
        "or - for standard output"
    )


#: Ending → the beginning of a file of that kind, of one that is not, and what it is called.
KINDS: dict[str, tuple[bytes, bytes, str]] = {
    "xyz": (b"  12\n", b"words", "an XYZ file"),
    "xyz.gz": (b"\x1f\x8b1", b"\x1f\x8a", "a gzip file"),
    "xyz.bz2": (b"BZh9", b"bzh", "a bzip2 file"),
    "xyz.xz": (b"\xfd7zXZ", b"7zXZ", "an xz file"),
    "traj": (b"- of Ulm1", b"of Ulm", "an ASE trajectory"),
    "db": (b"SQLite format 3\0", b"sqlite", "an ASE database"),
    "json": (b' {"1"', b'{"summary": {"1": 2}}', "an ASE database in JSON"),
}


@pytest.mark.parametrize("ending", KINDS)
def test_a_file_of_another_kind_stays(ending: str, tmp_path: Path) -> None:
    good, bad, name = KINDS[ending]
    path = tmp_path / f"o.{ending}"
    path.write_bytes(good)
    structures.check_structures(path, [])
    for content in (bad, b" "):
        path.write_bytes(content)
        with pytest.raises(MliuqError) as caught:
            structures.check_structures(path, [])
        assert str(caught.value) == f"{path}: exists and is not {name}: not replaced; give another name or remove it"
    path.write_bytes(good)
    with pytest.raises(MliuqError, match="is one of the inputs"):
        structures.check_structures(path, [path])


def test_what_a_database_has_no_column_for() -> None:
    atoms = Atoms(
        "W2", positions=[[0, 0, 0], [0, 0, 2]], tags=[1, 2], charges=[0.5, 0.5], magmoms=[1, 1], masses=[1, 2]
    )
    atoms.set_velocities(np.ones((2, 3)))
    atoms.arrays["mine"] = np.array([1.0, 2.0])
    atoms.info |= {"number": np.float64(2.5), "word": "x", "array": np.arange(2)}
    extra = structures._extra(atoms)
    assert set(extra) == {"mine", "number", "word", "array"}
    assert type(extra["number"]) is float
    whole = structures._with_all_in_info(atoms)
    assert set(whole.info) == set(extra)
    assert set(atoms.info) == {"number", "word", "array"}


def test_thresholds_of_md() -> None:
    from mliuq.cli.md import _threshold

    assert (_threshold("--save", None), _threshold("--save", "auto"), _threshold("--save", "0.5")) == (
        None,
        "auto",
        0.5,
    )
    with pytest.raises(typer.BadParameter) as caught:
        _threshold("--save", "x")
    assert (caught.value.message, caught.value.param_hint) == ("expected a number or auto, found 'x'", "--save")
