"""Every option of every command has a row: what it was given arrives where the command hands it on.

Rows name the option as the command line spells it. A new option without a row fails `test_every_option_has_a_row`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import mliuq.ase.md
import mliuq.propagation
import mliuq.tuning
import pytest
import typer
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from mliuq.cli import main
from mliuq.cli.app import app
from mliuq.cli.data_options import FILE_OPTIONS, OPTIONS
from mliuq.errors import MliuqError
from mliuq.fitting.settings import FitSettings
from mliuq.model import Model
from mliuq.propagation import PropagationSettings
from mliuq.readers import read_structures

TESTS = Path(__file__).resolve().parents[1]


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def options(command: Any) -> set[str]:
    """Options as they are written, and arguments by name."""
    return {max(p.opts, key=len) for p in command.params} - {"--help"}


class Reached(MliuqError):  # noqa: N818
    """Raised where a command hands its options on."""


# fit ---------------------------------------------------------------------------------------------------------------

FIT: dict[str, tuple[list[str], dict[str, Any]]] = {
    "data": (["a.xyz", "b.xyz"], {"data.train": ("a.xyz", "b.xyz")}),
    "--test": (["--test", "c.xyz", "--test", "d.xyz"], {"data.test": ("c.xyz", "d.xyz")}),
    "--represent": (["--represent", "c.xyz", "--represent", "d"], {"data.represent": ("c.xyz", "d")}),
    "--test-fraction": (["--test-fraction", "0.3"], {"data.test_fraction": 0.3}),
    "--twojmax": (["--twojmax", "6"], {"snap.twojmax": 6}),
    "--rcut": (["--rcut", "4.1"], {"snap.rcut": 4.1}),
    "--quadratic": (["--quadratic"], {"snap.quadratic": True}),
    "--zbl": (["--zbl", "1.5", "2.5"], {"snap.zbl": (1.5, 2.5)}),
    "--energy-weight": (["--energy-weight", "7"], {"weights.energy": 7.0}),
    "--force-weight": (["--force-weight", "auto"], {"weights.force": "auto"}),
    "--stress-weight": (["--stress-weight", "9"], {"weights.stress": 9.0}),
    "--one-body": (["--one-body", "W=-4.5"], {"solver.one_body": {"W": -4.5}}),
    "--robust": (["--robust"], {"solver.robust": True}),
    "--classes-out": (["--classes-out", "bars"], {"posterior.classes_out": "bars"}),
    "--posterior": (["--posterior", "ensemble"], {"posterior.kind": "ensemble"}),
    "--members": (["--members", "77"], {"posterior.members": 77}),
    "--seed": (["--seed", "5"], {"seed": 5}),
    "--threads": (["--threads", "3"], {"solver.threads": 3}),
    "--set": (["--set", "snap.rmin0=0.2", "--set", "solver.rows=disk"], {"snap.rmin0": 0.2, "solver.rows": "disk"}),
    "--keys": (
        ["--keys", "REF"],
        {"data.energy_key": "REF_energy", "data.forces_key": "REF_forces", "data.stress_key": "REF_stress"},
    ),
    "--energy-key": (["--energy-key", "E"], {"data.energy_key": "E"}),
    "--forces-key": (["--forces-key", "F"], {"data.forces_key": "F"}),
    "--stress-key": (["--stress-key", "S"], {"data.stress_key": "S"}),
    "--group-key": (["--group-key", "kind"], {"data.group_key": "kind"}),
    "--stress-unit": (["--stress-unit", "kbar"], {"data.stress_unit": "kbar"}),
    "--stress-sign": (["--stress-sign", "compression"], {"data.stress_sign": "compression"}),
    "--types": (["--types", "W, Be"], {"data.types": ("W", "Be")}),
    "--length-unit": (["--length-unit", "bohr"], {"data.length_unit": "bohr"}),
    "--energy-unit": (["--energy-unit", "hartree"], {"data.energy_unit": "hartree"}),
    "--reference": (
        ["--reference", "pair_style zero 5.0; pair_coeff * *"],
        {"data.reference": "pair_style zero 5.0; pair_coeff * *"},
    ),
}


@pytest.mark.parametrize("option", FIT)
def test_a_flag_of_fit_is_its_setting(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Flag, TOML key and Python argument: one value of the settings; a flag wins over a file."""
    words, changes = FIT[option]
    expected = FitSettings().updated(changes)
    assert expected != FitSettings()
    assert main(["fit", "--print-config", *words]) == 0
    text = capsys.readouterr().out
    assert FitSettings.from_mapping(tomllib.loads(text)) == expected
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "fit.toml").write_text(expected.to_toml(), encoding="utf-8")
    named = ("train", "test", "represent")
    paths = {f"data.{key}": tuple(str(folder / p) for p in getattr(expected.data, key)) for key in named}
    assert FitSettings.from_toml(folder / "fit.toml") == expected.updated(paths)
    other = FitSettings().updated({"seed": 11, "snap.twojmax": 10, "weights.energy": 3.0, "posterior.members": 9})
    (folder / "other.toml").write_text(other.to_toml(), encoding="utf-8")
    assert main(["fit", "--print-config", "--config", str(folder / "other.toml"), *words]) == 0
    assert FitSettings.from_mapping(tomllib.loads(capsys.readouterr().out)) == other.updated(changes)


def test_what_is_held_out_is_written(tungsten: Path, tmp_path: Path) -> None:
    write(tmp_path / "data.xyz", read_structures(tungsten)[::8])
    words = [
        "--twojmax",
        "2",
        "--members",
        "8",
        "--test-fraction",
        "0.4",
        "--save-held-out",
        str(tmp_path / "test.xyz"),
    ]
    assert main(["fit", str(tmp_path / "data.xyz"), "-o", str(tmp_path / "W.mliuq"), *words]) == 0
    found, data = read_structures(tmp_path / "test.xyz"), Model.load(tmp_path / "W.mliuq").metadata["data"]
    assert len(found) == data["held_out"] > 1
    every = {round(float(atoms.get_potential_energy()), 6) for atoms in read_structures(tmp_path / "data.xyz")}
    assert {round(float(atoms.get_potential_energy()), 6) for atoms in found} < every


# tune --------------------------------------------------------------------------------------------------------------

TUNE: dict[str, tuple[list[str], str, Any]] = {
    "--budget": (["--budget", "2min"], "budget", 120.0),
    "--twojmax": (["--twojmax", "2,5"], "twojmax", (2, 5)),
    "--quadratic": (["--quadratic", "none"], "quadratic", ()),
    "--rcut": (["--rcut", "3.5,4.0"], "rcut", (3.5, 4.0)),
    "--elements": (["--no-elements"], "elements", False),
    "--group-weights": (["--group-weights"], "groups", True),
    "--left-out": (["--left-out", "classes"], "left_out", "classes"),
    "--max-cost": (["--max-cost", "33"], "max_cost", 33.0),
    "--zbl": (["--zbl", "1.5", "2.5"], "fit:snap.zbl", (1.5, 2.5)),
    "--seed": (["--seed", "4"], "fit:seed", 4),
    "--set": (["--set", "weights.energy=5"], "fit:weights.energy", 5.0),
    "--test-fraction": (["--test-fraction", "0.4"], "fit:data.test_fraction", 0.4),
    "--energy-key": (["--energy-key", "E"], "fit:data.energy_key", "E"),
}


def one_structure(folder: Path) -> Path:
    path = folder / "one.xyz"
    write(path, bulk("W", cubic=True))
    return path


@pytest.mark.parametrize("option", TUNE)
def test_an_option_of_tune_arrives(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, where, value = TUNE[option]
    seen: dict[str, Any] = {}

    def tune(structures: list[Atoms], settings: FitSettings, tuning: Any, **more: Any) -> None:
        seen.update(settings=settings, tuning=tuning, structures=structures, **more)
        raise Reached("tune")

    monkeypatch.setattr(mliuq.tuning, "tune", tune)
    data = one_structure(tmp_path)
    assert main(["tune", str(data), "-o", str(tmp_path / "t"), "--test", str(data), *words]) == 1
    plain = mliuq.tuning.TuneSettings()
    train = {"data.train": (str(data),), "data.test": (str(data),)}
    if where.startswith("fit:"):
        assert seen["settings"] == FitSettings().updated({**train, where[4:]: value})
        assert seen["tuning"] == plain
    else:
        assert seen["settings"] == FitSettings().updated(train)
        assert {key for key in vars(plain) if getattr(plain, key) != getattr(seen["tuning"], key)} == {where}
        assert getattr(seen["tuning"], where) == value
    assert len(seen["test"]) == len(seen["structures"]) == 1
    assert Path(seen["journal"]).parent == tmp_path / "t"


# md ----------------------------------------------------------------------------------------------------------------

MD: dict[str, tuple[list[str], str, Any]] = {
    "--ensemble": (["--ensemble", "npt"], "ensemble.ensemble", "npt"),
    "--temperature": (["--temperature", "444"], "ensemble.temperature", 444.0),
    "--pressure": (["--pressure", "2.5"], "ensemble.pressure", 2.5),
    "--steps": (["--steps", "123"], "steps", 123),
    "--timestep": (["--timestep", "0.7"], "ensemble.timestep", 0.7),
    "--thermostat-time": (["--thermostat-time", "55"], "ensemble.thermostat_time", 55.0),
    "--barostat-time": (["--barostat-time", "660"], "ensemble.barostat_time", 660.0),
    "--every": (["--every", "7"], "every", 7),
    "--quantity": (["--quantity", "energies_std"], "guard.quantity", "energies_std"),
    "--save": (["--save", "0.25"], "guard.save", 0.25),
    "--halt": (["--halt", "auto"], "guard.halt", "auto"),
    "--max-saved": (["--max-saved", "8"], "guard.max_saved", 8),
    "--upper": (["--upper", "9.5"], "guard.upper", 9.5),
    "--seed": (["--seed", "21"], "ensemble.seed", 21),
    "--threads": (["--threads", "2"], "threads", 2),
    "--output": (["--output", "elsewhere"], "folder", Path("elsewhere")),
}


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not hasattr(value, "__dataclass_fields__"):
        return {prefix: value}
    parts = [flat(getattr(value, name), f"{prefix}.{name}".strip(".")) for name in value.__dataclass_fields__]
    return {key: item for part in parts for key, item in part.items()}


@pytest.mark.parametrize("option", MD)
def test_an_option_of_md_arrives(
    option: str, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, where, value = MD[option]
    seen: list[dict[str, Any]] = []

    def run_md(atoms: Atoms, settings: Any, folder: Path, **more: Any) -> None:
        assert more["restart"] is False
        seen.append({**flat(settings), "threads": atoms.calc._threads, "folder": folder})
        raise Reached("md")

    monkeypatch.setattr(mliuq.ase.md, "run_md", run_md)
    start = str(one_structure(tmp_path))
    for given in ([], words):
        assert main(["md", str(small_model), start, *given]) == 1
    plain, changed = seen
    assert changed == {**plain, where: value}
    assert changed != plain


# propagate ---------------------------------------------------------------------------------------------------------

SHARED: dict[str, tuple[list[str], str, Any]] = {
    "--members": (["--members", "13"], "settings.members", 13),
    "--seed": (["--seed", "6"], "settings.seed", 6),
    "--engine": (["--engine", "both"], "settings.engine", "both"),
    "--corrections": (["--corrections", "2"], "settings.corrections", 2),
    "--relaxer": (["--relaxer", "lammps"], "settings.relaxer", "lammps"),
    "--fmax": (["--fmax", "0.003"], "settings.fmax", 0.003),
    "--max-failed": (["--max-failed", "0.4"], "settings.max_failed", 0.4),
}
#: Options of each property, the keyword each becomes, and its value; "0" and "1" stand for positional arguments.
PROPERTIES: dict[str, dict[str, tuple[list[str], str, Any]]] = {
    "eos": {
        "structures": (["hcp", "sc"], "0", ["hcp", "sc"]),
        "--reference": (["--reference", "fcc"], "reference", "fcc"),
        "--relax": (["--relax", "volume"], "relax", "volume"),
        "--span": (["--span", "0.03"], "span", 0.03),
        "--points": (["--points", "5"], "points", 5),
    },
    "phases": {
        "structures": (["hcp", "sc"], "0", ["hcp", "sc"]),
        "--reference": (["--reference", "fcc"], "reference", "fcc"),
        "--relax": (["--relax", "volume"], "relax", "volume"),
        "--span": (["--span", "0.03"], "span", 0.03),
        "--points": (["--points", "5"], "points", 5),
    },
    "elastic": {
        "structures": (["hcp", "sc"], "0", ["hcp", "sc"]),
        "--strain": (["--strain", "0.002"], "strain", 0.002),
    },
    "path": {
        "paths": (["bain"], "0", ("bain",)),
        "--points": (["--points", "5"], "points", 5),
    },
    "phonons": {
        "structures": (["hcp", "sc"], "0", ["hcp", "sc"]),
        "--size": (["--size", "2"], "size", 2),
        "--displacement": (["--displacement", "0.02"], "displacement", 0.02),
        "--points": (["--points", "5"], "points", 5),
        "--mesh": (["--mesh", "3"], "mesh", 3),
    },
    "defects": {
        "kinds": (["111", "vacancy"], "0", ["111", "vacancy"]),
        "--host": (["--host", "fcc"], "host", "fcc"),
        "--size": (["--size", "2"], "size", 2),
        "--volumes": (["--no-volumes"], "volumes", False),
    },
    "surfaces": {
        "planes": (["210"], "0", ["210"]),
        "--host": (["--host", "fcc"], "host", "fcc"),
        "--layers": (["--layers", "5"], "layers", 5),
        "--vacuum": (["--vacuum", "7.5"], "vacuum", 7.5),
    },
    "gsf": {
        "--lattice": (["--lattice", "fcc"], "0", "fcc"),
        "--plane": (["--plane", "112"], "plane", "112"),
        "--direction": (["--direction=11-1"], "direction", "11-1"),
        "--layers": (["--layers", "5"], "layers", 5),
        "--points": (["--points", "5"], "points", 5),
        "--across": (["--across", "3"], "across", 3),
    },
    "neb": {
        "--host": (["--host", "fcc"], "host", "fcc"),
        "--size": (["--size", "2"], "size", 2),
        "--images": (["--images", "3"], "images", 3),
        "--path-fmax": (["--path-fmax", "0.04"], "fmax", 0.04),
    },
    "custom": {
        "--function": (["--function", "mine:other"], "1", "mine:other"),
        "structures": (["hcp", "sc"], "0", ["hcp", "sc"]),
        "--relax": (["--relax", "atoms"], "relax", "atoms"),
    },
}
for _rows in PROPERTIES.values():
    _rows["--element"] = (["--element", "W"], "element", "W")
NEEDED = {"neb": ["--vacancy-hop"], "custom": ["--function", "mine:function"]}
ROWS = [(prop, option) for prop, rows in PROPERTIES.items() for option in (*rows, *SHARED)]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What functions of properties were called with; the working folder is a scratch one."""
    calls: list[dict[str, Any]] = []
    monkeypatch.chdir(tmp_path)

    def caught(name: str) -> Any:
        def function(model: Any, *positional: Any, settings: PropagationSettings, **keywords: Any) -> None:
            assert model.n_members == 64
            workers = getattr(keywords.pop("executor"), "_max_workers", 1)
            found = {**keywords, "property": name, "workers": workers}
            found |= {f"settings.{key}": value for key, value in vars(settings).items()}
            found.pop("progress")
            calls.append(found | {str(i): value for i, value in enumerate(positional)})
            raise Reached(name)

        return function

    for name in PROPERTIES:
        monkeypatch.setattr(mliuq.propagation, name, caught(name))
    return calls


@pytest.mark.parametrize(("prop", "option"), ROWS)
def test_an_option_of_propagate_arrives(
    prop: str, option: str, small_model: Path, computed: list[dict[str, Any]]
) -> None:
    words, where, value = PROPERTIES[prop][option] if option in PROPERTIES[prop] else SHARED[option]
    needed = [] if option == "--function" else NEEDED.get(prop, [])
    for given in (NEEDED.get(prop, []), [*needed, *words]):
        assert main(["propagate", prop, str(small_model), *given]) == 1
    plain, changed = computed
    assert plain["property"] == prop
    assert plain["checkpoint"] == Path("properties") / f".W-{prop}.partial.jsonl"
    assert changed == {**plain, where: value}
    assert changed != plain


@pytest.mark.parametrize("prop", PROPERTIES)
def test_name_folder_and_workers_of_propagate_arrive(
    prop: str, small_model: Path, computed: list[dict[str, Any]]
) -> None:
    words = ["--name", "mine", "--output", "there", "--workers", "2"]
    assert main(["propagate", prop, str(small_model), *NEEDED.get(prop, []), *words]) == 1
    assert computed[0]["checkpoint"] == Path("there") / f".mine-{prop}.partial.jsonl"
    assert computed[0]["workers"] == 2


def test_ends_of_paths_arrive(small_model: Path, computed: list[dict[str, Any]]) -> None:
    write("a.xyz", bulk("W", cubic=True))
    write("b.xyz", bulk("W", cubic=True, a=3.3))
    assert main(["propagate", "neb", str(small_model), "--ends", "a.xyz", "b.xyz"]) == 1
    assert [atoms.cell[0, 0] for atoms in computed[0]["0"]] == [read("a.xyz").cell[0, 0], 3.3]
    assert main(["propagate", "path", str(small_model), "--between", "a.xyz", "b.xyz"]) == 1
    ((_, (first, last)),) = computed[1]["between"].items()
    assert (first.cell[0, 0], last.cell[0, 0]) == (read("a.xyz").cell[0, 0], 3.3)
    assert computed[1]["0"] == ()


SHEET: dict[str, tuple[list[str], dict[str, dict[str, Any]]]] = {
    "--crystal": (
        ["--crystal", "fcc"],
        {
            "phases": {"reference": "fcc"}, "elastic": {"0": ["fcc"]}, "phonons": {"0": ["fcc"]},
            "defects": {"host": "fcc"}, "surfaces": {"host": "fcc"}, "neb": {"host": "fcc"},
        },
    ),
    "--phase": (["--phase", "bcc", "--phase", "sc"], {"phases": {"0": ["bcc", "sc"]}}),
    "--size": (["--size", "2"], {name: {"size": 2} for name in ("phonons", "defects", "neb")}),
    "--members": (["--members", "9"], {"elastic": {"settings.members": 9}}),
    "--seed": (["--seed", "6"], {"elastic": {"settings.seed": 6}}),
    "--fmax": (["--fmax", "0.003"], {"neb": {"settings.fmax": 0.003}}),
    "--max-failed": (["--max-failed", "0.4"], {"defects": {"settings.max_failed": 0.4}}),
    "--workers": (["--workers", "2"], {"phonons": {"workers": 2}}),
    "--output": (["--output", "there"], {"elastic": {"checkpoint": Path("there/.W-elastic.partial.jsonl")}}),
    "--element": (["--element", "W"], {"elastic": {"element": "W"}}),
    "--part": (["--part", "neb", "--part", "elastic"], {"neb": {}, "elastic": {}}),
}  # fmt: skip


@pytest.mark.parametrize("option", SHEET)
def test_an_option_of_the_sheet_arrives(option: str, small_model: Path, computed: list[dict[str, Any]]) -> None:
    words, expected = SHEET[option]
    main(["propagate", "all", str(small_model), *words])
    calls = {call["property"]: call for call in computed}
    assert set(calls) == (set(expected) if option == "--part" else set(calls) | set(expected))
    for name, values in expected.items():
        assert {key: calls[name][key] for key in values} == values


def test_workers_are_processes() -> None:
    from contextlib import ExitStack

    from mliuq.cli.workers import processes

    with ExitStack() as stack:
        assert isinstance(processes(2, stack), ProcessPoolExecutor)
        assert processes(1, stack) is None
        with pytest.raises(MliuqError, match="workers is 0"):
            processes(0, stack)


# what files leave unsaid, and names of values ------------------------------------------------------------------------

READING = {
    "tune": ["d", "-o", "o"], "eval": ["m", "s"], "calibrate": ["m", "s"], "report": ["m", "s"],
    "adopt": ["p.mliuq", "d", "-o", "o.mliuq"], "md": ["m", "s"], "compare": ["m", "s"],
    "select": ["p", "m", "-n", "1", "-o", "o.xyz"],
}  # fmt: skip
FILE_ROWS = [f"--{name.replace('_', '-')}" for name in FILE_OPTIONS]
DATA_OPTIONS = [f"--{name.replace('_', '-')}" for name in OPTIONS]
READ_ROWS = [(c, o) for c in READING for o in (DATA_OPTIONS if c not in ("md", "compare", "select") else FILE_ROWS)]


@pytest.mark.parametrize(("command", "option"), READ_ROWS)
def test_an_option_about_data_arrives(command: str, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for `fit`, whose settings show it."""
    words, changes = FIT[option]
    seen: list[Any] = []

    def caught(found: Any) -> None:
        seen.append(found)
        raise Reached(command)

    monkeypatch.setattr("mliuq.cli.data_options.DataOptions", caught)
    assert main([command, *READING[command], *words]) == 1
    assert FitSettings().updated({f"data.{key}": value for key, value in seen[0].items()}) == FitSettings().updated(
        changes
    )


# adopt, select, threads ----------------------------------------------------------------------------------------------

ADOPT: dict[str, tuple[list[str], str, Any]] = {
    "--zbl": (["--zbl", "1.5", "2.5"], "zbl", (1.5, 2.5)),
    "--energy-zero": (["--energy-zero", "keep"], "energy_zero", "keep"),
    "--stress-weight": (["--stress-weight", "auto"], "weights.stress", "auto"),
    "--members": (["--members", "9"], "posterior.members", 9),
    "--seed": (["--seed", "8"], "seed", 8),
    "--threads": (["--threads", "2"], "solver.threads", 2),
    "--set": (["--set", "posterior.kind=ensemble"], "posterior.kind", "ensemble"),
}


@pytest.mark.parametrize("option", ADOPT)
def test_an_option_of_adopt_arrives(
    option: str, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, where, value = ADOPT[option]
    seen: list[dict[str, Any]] = []

    def run_adopt(published: Any, structures: list[Atoms], settings: FitSettings, **more: Any) -> None:
        assert len(structures) == 1
        more.pop("progress")
        seen.append({**more, "settings": settings})
        raise Reached("adopt")

    monkeypatch.setattr("mliuq.fitting.adopt.run_adopt", run_adopt)
    data = one_structure(tmp_path)
    for given in ([], words):
        assert main(["adopt", str(small_model), str(data), "-o", str(tmp_path / "o.mliuq"), *given]) == 1
    plain, changed = seen
    assert plain["settings"] == FitSettings().updated({"data.train": (str(data),)})
    if where in plain:
        assert changed == {**plain, where: value} != plain
    else:
        assert changed["settings"] == plain["settings"].updated({where: value}) != plain["settings"]


SELECT: dict[str, tuple[list[str], str, Any]] = {
    "--criterion": (["--criterion", "maxvol"], "criterion", "maxvol"),
    "--rows": (["--rows", "energy, stress"], "rows", ["energy", "stress"]),
    "--region": (["--region", "one.xyz"], "region", 1),
    "--target": (["--target", "one.xyz", "--target", "one.xyz"], "target", 2),
    "--known": (["--known", "one.xyz"], "known", 1),
    "--coefficients": (["--coefficients", "1", "-1/2"], "coefficients", [1.0, -0.5]),
    "--similar": (["--similar", "0.2"], "similar", 0.2),
    "--shortlist": (["--shortlist", "17"], "shortlist", 17),
    "--seed": (["--seed", "5"], "seed", 5),
    "--threads": (["--threads", "2"], "threads", 2),
    "--number": (["--number", "3"], "number", 3),
}


@pytest.mark.parametrize("option", SELECT)
def test_an_option_of_select_arrives(
    option: str, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, where, value = SELECT[option]
    seen: list[dict[str, Any]] = []

    def select(pool: Any, model: Any, number: int, **more: Any) -> None:
        more.pop("progress")
        lists = {key: len(more[key]) for key in ("region", "target", "known") if more[key] is not None}
        seen.append({**more, **lists, "number": number, "pool": len(pool)})
        raise Reached("select")

    monkeypatch.setattr("mliuq.learning.select", select)
    monkeypatch.chdir(tmp_path)
    pool = str(one_structure(tmp_path))
    for given in ([], words):
        number = [] if option == "--number" and given else ["-n", "2"]
        assert main(["select", pool, str(small_model), "-o", "chosen.xyz", *number, *given]) == 1
    plain, changed = seen
    assert (plain["number"], plain["pool"]) == (2, 1)
    assert changed == {**plain, where: value} != plain


def test_settings_of_the_loop_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def caught(*given: Any) -> None:
        seen.append(given)
        raise Reached("learn")

    monkeypatch.setattr("mliuq.learning.settings.LearnSettings.from_toml", caught)
    assert main(["learn", "loop.toml", "--set", "seed=4", "--set", "a.b=text"]) == 1
    assert seen == [(Path("loop.toml"), {"seed": 4, "a.b": "text"})]


def test_threads_of_eval_and_compare_arrive(small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def caught(*_: Any, threads: int | None, **more: Any) -> None:
        seen.append(threads)
        raise Reached("threads")

    monkeypatch.setattr(mliuq, "MLIUQCalculator", caught)
    monkeypatch.setattr(mliuq, "compare", caught)
    data = str(one_structure(tmp_path))
    for command in ("eval", "compare"):
        for words in ([], ["--threads", "3"]):
            assert main([command, str(small_model), data, *words]) == 1
    assert seen == [None, 3, None, 3]


# all of them -------------------------------------------------------------------------------------------------------

#: Options whose effect other tests compare: the file of tests that does, and the words it uses.
ELSEWHERE: dict[str, tuple[str, ...]] = {
    "cli/test_commands.py": (
        "fit --output", "fit --config", "fit --print-config", "fit --json", "eval model", "eval structures",
        "eval --json", "eval --committee", "eval --errors",
        "export --member", "export --output", "export --json", "export model", "info model", "info --json",
        "calibrate model", "calibrate structures", "calibrate --output", "calibrate --json", "report model",
        "report structures", "report --output", "report --json",
    ),
    "cli/test_propagate.py": ("propagate eos --plot-only", "propagate eos --json"),
    "cli/test_failures.py": ("info --build",),
    "fitting/test_adopt.py": ("adopt --param", "adopt potential", "adopt data", "adopt --output", "adopt --json"),
    "learning/test_select_command.py": (
        "select model", "select pool", "select --output", "select --json", "select --propagated",
    ),
    "learning/test_loop.py": ("learn settings", "learn --output", "learn --status", "learn --dry-run", "learn --json"),
    "report/test_sheet.py": ("propagate all --reference",),
    "cli/test_command_outputs.py": ("eval --output", "export --force",),
    "cli/test_options_arrive.py": ("calibrate --stress",),
    "cli/test_calibrate.py": ("calibrate --update",),
    "cli/test_data_options.py": ("report --stress",),
    "ase/test_intervals.py": ("eval --level",),
    "ase/test_md.py": ("md --restart", "md --json", "md model", "md start"),
    "propagation/test_compare.py": (
        "compare model", "compare structures", "compare --coefficients", "compare --reference", "compare --per-atom",
        "compare --json",
    ),
    "tuning/test_tune.py": ("tune data", "tune --output", "tune --config", "tune --learning-curve", "tune --json"),
    "verification/test_battery.py": ("verify model", "verify --output", "verify --zbl", "verify --json"),
}  # fmt: skip


def test_every_option_has_a_row() -> None:
    rows = {f"fit {option}" for option in FIT} | {f"tune {option}" for option in TUNE}
    rows |= {f"md {option}" for option in MD} | {f"propagate {p} {o}" for p, o in ROWS}
    rows |= {f"propagate all {option}" for option in SHEET}
    rows |= {f"propagate {p} {o}" for p in PROPERTIES for o in ("--name", "--output", "--workers", "model")}
    rows |= {"propagate neb --ends", "propagate neb --vacancy-hop", "propagate path --between", "propagate all model"}
    rows |= {
        f"propagate {p} {o}" for p in PROPERTIES for o in ("--json", "--plot-only")
    }  # one function for all of them
    rows |= {f"{c} {o}" for c, o in READ_ROWS} | {f"adopt {o}" for o in ADOPT} | {f"select {o}" for o in SELECT}
    rows |= {"fit --save-held-out", "tune --test", "learn --set", "eval --threads", "compare --threads"}
    rows |= {name for names in ELSEWHERE.values() for name in names}
    every = {f"{name} {o}" for name, command in commands(typer.main.get_command(app)) for o in options(command)}
    assert rows - every == set(), "rows of options that are no more"
    assert every - rows == set(), "options without a row"


@pytest.mark.parametrize("file", ELSEWHERE)
def test_other_tests_do_use_the_option(file: str) -> None:
    text = (TESTS / file).read_text(encoding="utf-8")
    for name in ELSEWHERE[file]:
        option = name.split()[-1]
        if option.startswith("--"):
            assert f'"{option}"' in text or (option == "--output" and '"-o"' in text), f"{file} never uses {name}"
