"""What is asked for arrives: functions hand every argument on, settings keep their ranges, files name them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from mliuq import propagation
from mliuq.propagation import PropagationSettings, functions
from mliuq.propagation.barriers import Barrier, vacancy_hop
from mliuq.propagation.deformation_paths import PATHS
from mliuq.propagation.deformation_paths import Path as Deformation
from mliuq.propagation.elasticity import Elastic
from mliuq.propagation.equation_of_state import EquationOfState
from mliuq.propagation.free_surfaces import Surfaces
from mliuq.propagation.phonon_bands import Phonons
from mliuq.propagation.point_defects import Defects
from mliuq.propagation.property import describe_atoms
from mliuq.propagation.prototypes import prototype
from mliuq.propagation.stacking_faults import StackingFaults
from mliuq.propagation.user_defined import Custom
from systems import PARAMS, random_model

A, B = bulk("W", "bcc", 3.2), bulk("W", "fcc", 4.0)
CUBE = bulk("W", "bcc", 3.2, cubic=True)
NAMES = {"a": A, "b": B}
PLAIN = {name: describe_atoms(atoms) for name, atoms in NAMES.items()}
#: A function that a property may call, importable as module:function.
FUNCTION = "math:sqrt"

PHASES = ("bcc", "fcc", "hcp", "dhcp", "A15", "sigma", "chi", "mu", "C14", "C15", "C36", "omega", "sc", "diamond")


def crystals(*names: str, cubic: bool = False) -> dict[str, Any]:
    return {name: describe_atoms(prototype(name, "W", cubic=cubic)) for name in names}


def hop(name: str, size: int) -> dict[str, Any]:
    first, last = vacancy_hop(prototype(name, "W", cubic=True), size)
    return {"initial": describe_atoms(first), "final": describe_atoms(last)}


def test_everything_the_room_offers_is_there() -> None:
    for name in propagation.__all__:
        assert getattr(propagation, name).__name__ == name
        assert getattr(propagation, name).__module__.startswith("mliuq.propagation.")
    with pytest.raises(AttributeError, match=r"^module 'mliuq.propagation' has no attribute 'nothing'$"):
        propagation.nothing  # noqa: B018


#: function → (arguments, what the property says of itself); first with all defaults, then with everything changed
ASKED: list[tuple[str, tuple[Any, ...], dict[str, Any], type, str, dict[str, Any]]] = [
    ("eos", (), {}, EquationOfState, "eos", {
        "structures": crystals("bcc", "fcc", "hcp"), "reference": None, "relax": "all", "span": 0.06, "points": 7,
    }),
    ("eos", (NAMES,), {"reference": "b", "relax": "volume", "span": 0.05, "points": 9}, EquationOfState, "eos", {
        "structures": PLAIN, "reference": "b", "relax": "volume", "span": 0.05, "points": 9,
    }),
    ("phases", (), {}, EquationOfState, "phases", {
        "structures": crystals(*PHASES), "reference": None, "relax": "all", "span": 0.06, "points": 7,
    }),
    ("phases", (NAMES,), {"reference": "b", "relax": "volume", "span": 0.05, "points": 9}, EquationOfState, "phases", {
        "structures": PLAIN, "reference": "b", "relax": "volume", "span": 0.05, "points": 9,
    }),
    ("elastic", (), {}, Elastic, "elastic", {"structures": crystals("bcc", cubic=True), "strain": 0.005}),
    ("elastic", (["fcc"],), {"strain": 0.01}, Elastic, "elastic", {
        "structures": crystals("fcc", cubic=True), "strain": 0.01,
    }),
    ("path", (), {}, Deformation, "path", {
        "paths": ["bain", "trigonal", "orthorhombic", "hexagonal"], "between": {}, "element": "W", "points": 41,
    }),
    ("path", ([],), {"between": {"c": (A, B)}, "points": 5}, Deformation, "path", {
        "paths": [], "between": {"c": [PLAIN["a"], PLAIN["b"]]}, "element": "", "points": 5,
    }),
    ("phonons", (), {}, Phonons, "phonons", {
        "structures": crystals("bcc"), "size": 4, "displacement": 0.01, "points": 120, "mesh": 9,
    }),
    ("phonons", (NAMES,), {"size": 2, "displacement": 0.02, "points": 11, "mesh": 3}, Phonons, "phonons", {
        "structures": PLAIN, "size": 2, "displacement": 0.02, "points": 11, "mesh": 3,
    }),
    ("defects", (), {}, Defects, "defects", {
        "host": crystals("bcc", cubic=True)["bcc"], "kind": "bcc", "defects": ["vacancy"], "size": 3, "volumes": True,
    }),
    ("defects", (["111", "octahedral"],), {"host": "fcc:W", "size": 2, "volumes": False}, Defects, "defects", {
        "host": crystals("fcc", cubic=True)["fcc"], "kind": "fcc", "defects": ["111", "octahedral"], "size": 2,
        "volumes": False,
    }),
    ("defects", (), {"host": CUBE}, Defects, "defects", {
        "host": describe_atoms(CUBE), "kind": "host", "defects": ["vacancy"], "size": 3, "volumes": True,
    }),
    ("surfaces", (), {}, Surfaces, "surfaces", {
        "host": crystals("bcc", cubic=True)["bcc"], "planes": [[1, 1, 0], [1, 0, 0], [1, 1, 1]], "layers": 8,
        "vacuum": 6.0,
    }),
    ("surfaces", (["2 1 0", (1, -1, 0)],), {"host": "fcc", "layers": 5, "vacuum": 7.5}, Surfaces, "surfaces", {
        "host": crystals("fcc", cubic=True)["fcc"], "planes": [[2, 1, 0], [1, -1, 0]], "layers": 5, "vacuum": 7.5,
    }),
    ("gsf", (), {}, StackingFaults, "gsf", {
        "element": "W", "lattice": "bcc", "plane": [1, 1, 0], "direction": [1, -1, 1], "layers": 6, "points": 11,
        "across": 1,
    }),
    ("gsf", ("fcc",), {"plane": "111", "direction": (1, -1, 0), "layers": 4, "points": 5, "across": 3},
     StackingFaults, "gsf", {
        "element": "W", "lattice": "fcc", "plane": [1, 1, 1], "direction": [1, -1, 0], "layers": 4, "points": 5,
        "across": 3,
    }),
    ("neb", (), {}, Barrier, "neb", {
        **hop("bcc", 3),
        "host": crystals("bcc", cubic=True)["bcc"], "size": 3, "images": 5, "neb_fmax": 0.01,
    }),
    ("neb", (), {"host": "fcc", "size": 2, "images": 3, "fmax": 0.02}, Barrier, "neb", {
        **hop("fcc", 2),
        "host": crystals("fcc", cubic=True)["fcc"], "size": 2, "images": 3, "neb_fmax": 0.02,
    }),
    ("neb", ((A, A),), {"images": 2, "fmax": 0.03}, Barrier, "neb", {
        "initial": PLAIN["a"], "final": PLAIN["a"], "host": None, "size": 1, "images": 2, "neb_fmax": 0.03,
    }),
    ("custom", (NAMES, FUNCTION), {}, Custom, "custom", {"structures": PLAIN, "function": FUNCTION, "relax": "cell"}),
    ("custom", (["hcp"], FUNCTION), {"relax": "none"}, Custom, "custom", {
        "structures": crystals("hcp"), "function": FUNCTION, "relax": "none",
    }),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments", "options", "kind", "name", "described"), ASKED)
def test_functions_hand_everything_on(
    function: str,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    kind: type,
    name: str,
    described: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(functions, "propagate", lambda *given, **run: asked.append((given, run)))
    model = random_model(PARAMS["linear"], members=2)
    run = {"settings": PropagationSettings(seed=3), "threads": 2, "checkpoint": Path("x")}
    getattr(propagation, function)(model, *arguments, **options, **run)
    (((prop, given), handed),) = asked
    assert given is model
    assert handed == run
    assert type(prop) is kind
    assert prop.name == name
    assert prop.describe() == described


@pytest.mark.parametrize("function", sorted({row[0] for row in ASKED}))
def test_elements_are_those_asked_for(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(functions, "propagate", lambda prop, *_, **__: asked.append(prop))
    model = random_model(PARAMS["binary"], members=2)
    arguments = {"custom": (["bcc"], FUNCTION), "phases": (["bcc"],)}.get(function, ())
    ask = getattr(propagation, function)
    with pytest.raises(mliuq.MliuqError, match=r"^element is missing, expected one of W Be$"):
        ask(model, *arguments)
    if function != "gsf":
        ask(model, *arguments, element="Be")
        described = asked[0].describe()
        crystal = described.get("host") or next(iter(described.get("structures", {}).values()), {})
        assert set(crystal.get("symbols", described.get("element"))) - set("0123456789") == set("Be")


def test_structures_have_the_models_elements_and_names_of_their_own() -> None:
    model = random_model(PARAMS["binary"], members=2)
    assert functions.named({"x": A}, model, None) == {"x": A}
    assert list(functions.named(["bcc", "A15:WBe"], model, "W")) == ["bcc", "A15:WBe"]
    assert len(functions.named(["bcc"], model, "W", cubic=True)["bcc"]) == 2
    assert len(functions.named(["bcc"], model, "W")["bcc"]) == 1
    with pytest.raises(mliuq.MliuqError, match="two structures have one name: bcc fcc bcc"):
        functions.named(["bcc", "fcc", "bcc"], model, "W")
    with pytest.raises(mliuq.MliuqError, match="Ta"):
        functions.named({"x": bulk("Ta", "bcc", 3.3)}, model, None)
    assert functions.element_of(random_model(PARAMS["linear"]), None) == "W"
    assert functions.element_of(model, "Be") == "Be"


def eos(**options: Any) -> EquationOfState:
    return EquationOfState(NAMES, **options)


SLAB = Atoms("W", cell=[3, 3, 3], pbc=(True, True, False))
OTHER = Atoms("Be", cell=A.cell, pbc=True)
TWO = Atoms("WBe", positions=[[0, 0, 0], [0, 0, 2]], cell=[3, 3, 4], pbc=True)

#: key in the message → (maker of a property or settings, keyword, lowest allowed, highest allowed or None)
RANGES: list[tuple[str, Callable[..., Any], str, float, float | None]] = [
    ("members", PropagationSettings, "members", 1, None),
    ("corrections", PropagationSettings, "corrections", 0, None),
    ("fmax", PropagationSettings, "fmax", 1e-10, 1.0),
    ("steps", PropagationSettings, "steps", 1, None),
    ("max_failed", PropagationSettings, "max_failed", 0.0, 1.0),
    ("max_strain", PropagationSettings, "max_strain", 0.0, None),
    ("max_displacement", PropagationSettings, "max_displacement", 0.0, None),
    ("min_distance", PropagationSettings, "min_distance", 0.0, None),
    ("span", eos, "span", 1e-4, 0.3),
    ("points", eos, "points", 5, None),
    ("strain", lambda **o: Elastic(NAMES, **o), "strain", 1e-6, 0.1),
    ("points", lambda **o: Deformation(["bain"], element="W", **o), "points", 3, None),
    ("size", lambda **o: Phonons(NAMES, **o), "size", 1, 20),
    ("displacement", lambda **o: Phonons(NAMES, **o), "displacement", 1e-5, 0.5),
    ("points", lambda **o: Phonons(NAMES, **o), "points", 2, None),
    ("mesh", lambda **o: Phonons(NAMES, **o), "mesh", 1, 200),
    ("size", lambda **o: Defects(CUBE, "bcc", **o), "size", 1, 20),
    ("layers", lambda **o: Surfaces(CUBE, [(1, 1, 0)], **o), "layers", 1, 100),
    ("vacuum", lambda **o: Surfaces(CUBE, [(1, 1, 0)], **o), "vacuum", 1.0, 100.0),
    ("layers", lambda **o: StackingFaults("W", **o), "layers", 2, 100),
    ("points", lambda **o: StackingFaults("W", **o), "points", 3, None),
    ("across", lambda **o: StackingFaults("W", **o), "across", 1, None),
    ("images", lambda **o: Barrier(A, A, **o), "images", 1, 99),
    ("neb fmax", lambda **o: Barrier(A, A, **o), "fmax", 1e-6, 1.0),
]


@pytest.mark.parametrize(("key", "make", "keyword", "low", "high"), RANGES)
def test_numbers_have_ranges(key: str, make: Callable[..., Any], keyword: str, low: float, high: float | None) -> None:
    whole = isinstance(low, int)
    for inside in (low, 10**6 if high is None else high):
        assert getattr(make(**{keyword: inside}), keyword) == inside
    below = low - (1 if whole else 1e-9 if low == 0 else 0.01 * low)
    above = np.inf if high is None else high + (1 if whole else 0.01 * high)
    for outside in (below, above, np.nan):
        with pytest.raises(mliuq.MliuqError, match=f"^{key} is "):
            make(**{keyword: outside})


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: PropagationSettings(engine="magic"), "engine is 'magic', expected one of resampling, implicit, both"),
    (lambda: PropagationSettings(relaxer="hand"), "relaxer is 'hand', expected one of ase, lammps"),
    (lambda: EquationOfState({}, name="phases"), "phases: no structures, expected at least one"),
    (lambda: eos(reference="c"), "eos: reference is 'c', expected one of a, b"),
    (lambda: eos(relax="some"), "eos: relax is 'some', expected all or volume"),
    (lambda: EquationOfState({"s": SLAB}), "eos: structure s is not periodic in three directions"),
    (lambda: Elastic({"s": SLAB}), "elastic: structure s is not periodic in three directions"),
    (lambda: Deformation(), "path: nothing to compute, expected some of bain, trigonal, orthorhombic, hexagonal or"),
    (lambda: Deformation(["up"], element="W"), "path is 'up', expected one of bain, trigonal, orthorhombic, hexagonal"),
    (lambda: Deformation(["bain"]), "path: element is missing"),
    (lambda: Deformation(between={"c": (A, OTHER)}), "path c: W and Be, expected the same atoms in the same order"),
    (lambda: Defects(TWO, "bcc"), r"defects: the host is WBe, expected one element \(no chemical potentials\)"),
    (lambda: Defects(CUBE, "bcc", ["hole"]), "defect is 'hole', expected one of vacancy divacancy 111 110 100 tetrah"),
    (lambda: Defects(CUBE, "hcp", ["111"]), "defect 111 in hcp: expected a host of bcc or fcc"),
    (lambda: Surfaces(TWO, [(1, 0, 0)]), r"surfaces: the host is WBe, expected one element \(terminations differ\)"),
    (lambda: Surfaces(CUBE, [(0, 0, 0)]), r"surface \(0 0 0\) is no plane"),
    (lambda: StackingFaults("W", "hcp"), "gsf: lattice is 'hcp', expected one of bcc, fcc"),
    (lambda: StackingFaults("W", direction=(1, 1, 0)), r"gsf: direction \(1, 1, 0\) does not lie in plane \(1, 1, 0\)"),
    (lambda: StackingFaults("W", direction=(0, 0, 0)), r"gsf: direction \(0, 0, 0\) does not lie in plane"),
    (lambda: StackingFaults("W", plane=(0, 0, 0)), r"does not lie in plane \(0, 0, 0\)"),
    (lambda: Barrier(A, OTHER), "neb: the ends differ in their atoms, expected the same atoms in the same order"),
    (lambda: Barrier(A, bulk("W", "bcc", 3.3)), "neb: the ends differ in their cells, expected one cell"),
    (lambda: Custom(NAMES, FUNCTION, "some"), "custom: relax is 'some', expected cell, atoms or none"),
    (lambda: Custom(NAMES, "math"), "function is 'math', expected module:function"),
    (lambda: Custom(NAMES, ":sqrt"), "function is ':sqrt', expected module:function"),
    (lambda: Custom(NAMES, "math:nothing"), "function math:nothing: module 'math' has no attribute 'nothing'"),
    (lambda: Custom(NAMES, "math:pi"), "function math:pi is float, expected a function"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_cannot_be_computed_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(mliuq.MliuqError, match=message if message.startswith("does") else f"^{message}"):
        make()


def test_vacancies_need_no_sites() -> None:
    assert list(Defects(CUBE, "hcp", ("vacancy", "divacancy")).objects()) == ["vacancy", "divacancy"]


def test_defaults_are_those_documented() -> None:
    assert PropagationSettings().to_mapping() == {
        "members": None, "seed": 0, "engine": "resampling", "corrections": 6, "relaxer": "ase", "fmax": 1e-4,
        "steps": 300, "max_failed": 0.1, "max_strain": 0.2, "max_displacement": 0.5, "min_distance": 0.6,
    }  # fmt: skip
    # What properties take by default is what their functions take: the tables above compare those.
    for kind, function in (
        (EquationOfState, functions.eos), (Elastic, functions.elastic), (Deformation, functions.path),
        (Phonons, functions.phonons), (Defects, functions.defects), (Surfaces, functions.surfaces),
        (Barrier, functions.neb), (Custom, functions.custom), (StackingFaults, functions.gsf),
    ):  # fmt: skip
        own, said = inspect.signature(kind).parameters, inspect.signature(function).parameters
        shared = own.keys() & said.keys() - {"structures", "host", "paths", "between", "element", "plane", "direction"}
        if kind is Barrier:
            shared -= {"size"}  # without a host the cell is as given
        for name in shared:
            if own[name].default is not inspect.Parameter.empty:
                assert own[name].default == said[name].default, (kind, name)
    fault = StackingFaults("W")
    assert (fault.plane, fault.direction) == ((1, 1, 0), (1, -1, 1))
    assert Defects(CUBE, "bcc").defects == ("vacancy",)


def test_one_member_does_not_depend_on_how_many_there_are() -> None:
    settings = PropagationSettings(
        members=3, seed=1, engine="implicit", corrections=2, relaxer="lammps", fmax=1e-3, steps=7,
        max_failed=0.2, max_strain=0.3, max_displacement=0.4, min_distance=0.5,
    )  # fmt: skip
    assert settings.of_one_member() == {
        "engine": "implicit", "corrections": 2, "relaxer": "lammps", "fmax": 1e-3, "steps": 7, "max_strain": 0.3,
        "max_displacement": 0.4, "min_distance": 0.5,
    }  # fmt: skip


def test_members_are_drawn_without_repetition() -> None:
    assert PropagationSettings().choose(4) == [0, 1, 2, 3]
    assert PropagationSettings(members=4).choose(4) == [0, 1, 2, 3]
    drawn = PropagationSettings(members=20, seed=5).choose(30)
    assert drawn == sorted(np.random.default_rng(5).choice(30, 20, replace=False).tolist())
    assert len(set(drawn)) == 20
    with pytest.raises(mliuq.MliuqError, match=r"^members is 5, expected at most the model's 4$"):
        PropagationSettings(members=5).choose(4)
    with pytest.raises(mliuq.MliuqError, match=r"^the model has no members, expected a model with a posterior"):
        PropagationSettings(members=5).choose(0)


@pytest.mark.parametrize(
    ("property_", "objects"),
    [
        (Elastic(NAMES), ["a", "b"]),
        (Phonons(NAMES), ["a", "b"]),
        (Custom(NAMES, FUNCTION), ["a", "b"]),
        (Defects(CUBE, "bcc", ("111", "vacancy")), ["111", "vacancy"]),
        (Surfaces(CUBE, [(1, 1, 0), (1, -1, 2)]), ["110", "1-12"]),
        (StackingFaults("W", plane=(1, 1, 2), direction=(1, 1, -1)), ["(112)[11-1]"]),
        (Barrier(A, A), ["path"]),
        (Deformation(["bain", "trigonal"], {"c": (A, B)}, "W"), ["bain", "trigonal", "c"]),
        (Deformation((), {"c": (A, B)}), ["c"]),
        (Deformation(["bain"], element="W"), ["bain"]),
    ],
)
def test_objects_have_names(property_: propagation.ObjectProperty, objects: list[str]) -> None:
    assert list(property_.objects()) == objects


def test_structures_as_plain_data() -> None:
    atoms = Atoms("W2Be", positions=[[0, 0, 0], [1, 2, 3], [0.1, 0.2, 0.3 + 4e-11]], cell=[4, 5, 6 + 4e-11], pbc=True)
    assert describe_atoms(atoms) == {
        "symbols": "W2Be",
        "cell": [[4, 0, 0], [0, 5, 0], [0, 0, 6]],
        "positions": [[0, 0, 0], [1, 2, 3], [0.1, 0.2, 0.3]],
    }
    atoms.positions[0, 0] = atoms.cell[0, 0] = 2e-10
    assert describe_atoms(atoms)["positions"][0][0] == describe_atoms(atoms)["cell"][0][0] == 2e-10


def test_deformation_paths_say_where_they_go() -> None:
    assert {name: path[1:] for name, path in PATHS.items()} == {
        "bain": (0.8, 1.8, "c/a"),
        "trigonal": (0.8, 5.0, "stretch along [111]"),
        "orthorhombic": (1.0, np.sqrt(2), "stretch along [001]"),
        "hexagonal": (0.0, 1.0, "share of the way to hcp"),
    }


def test_executors_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(functions, "propagate", lambda *_, **run: asked.append(run))
    with ThreadPoolExecutor(1) as pool:
        propagation.eos(random_model(PARAMS["linear"], members=1), ["bcc"], executor=pool, progress=print)
    assert asked == [{"executor": pool, "progress": print}]
