"""What a model holds, refuses and writes, by parts: shapes, texts of errors, lines for LAMMPS."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import mliuq
import numpy as np
import pytest
from mliuq import Model
from mliuq.descriptor.bispectrum import design_rows
from mliuq.descriptor.neighbours import pack
from mliuq.errors import MliuqError
from mliuq.model import container, density, model_file, novelty, strict_json
from mliuq.model.bars import FORCE_BARS, FORCE_BOUNDS, STRESS_BARS, STRESS_BOUNDS, row_bars
from mliuq.model.calibration import TABLES, checked_calibration, stored_thresholds
from mliuq.model.model import UNITS
from mliuq.model.quantiles import conformal_quantile
from mliuq.model.snap_export import input_lines, write_snap
from safetensors_parts import join, split
from systems import PARAMS, random_atoms, random_model


def refused(says: str) -> Any:
    return pytest.raises(MliuqError, match=f"^{re.escape(says)}")


# --- a model ---------------------------------------------------------------------------------------------------------


def test_arrays_of_the_wrong_shape() -> None:
    made = random_model(PARAMS["binary"], members=3)
    p, total = made.params.n_weights, made.theta.size
    nan = made.theta.copy()
    nan[1, 2] = np.nan
    many = made.members.copy()  # type: ignore[union-attr]
    many[0, 0, 0] = np.inf
    box = {"posterior.axes": np.zeros((total, 4)), "posterior.lo": np.zeros(4), "posterior.hi": np.zeros(4)}
    names = "posterior.axes, posterior.lo, posterior.hi"
    shared = {"sharing.moves": np.ones((2, 2, p)), "sharing.coefficients": np.ones((3, 2))}
    for change, says in (
        ({"theta": made.theta[:1]}, f'array "theta" has shape (1, {p}), expected (2, {p})'),
        ({"members": made.theta}, f'array "members" has shape (2, {p}), expected (M, 2, {p})'),
        ({"members": np.zeros((0, 2, p))}, f'array "members" has shape (0, 2, {p}), expected (M, 2, {p})'),
        ({"theta": nan}, 'array "theta" holds values that are not finite'),
        ({"members": many}, 'array "members" holds values that are not finite'),
        ({"arrays": {"extrapolation.factor": np.zeros((total, 3))}},
         f'array "extrapolation.factor" has shape ({total}, 3), expected ({total}, {total})'),
        ({"arrays": {**box, "posterior.hi": np.zeros(3)}},
         f"arrays {names} have shapes [({total}, 4), (4,), (3,)], expected ({total}, r), (r,), (r,)"),
        ({"arrays": {"posterior.lo": np.zeros(4)}}, f"arrays {names} have shapes [None, (4,), None], expected"),
        ({"arrays": {**box, "posterior.axes": np.zeros((3, 4))}}, f"arrays {names} have shapes [(3, 4), (4,), (4,)]"),
        ({"arrays": {**shared, "sharing.coefficients": np.ones((2, 2))}},
         f"arrays sharing.moves, sharing.coefficients have shapes [(2, 2, {p}), (2, 2)], expected (s, 2, {p}), (3, s)"),
        ({"arrays": {"sharing.coefficients": np.ones((3, 2))}}, "arrays sharing.moves, sharing.coefficients have"),
        ({"arrays": {"sharing.moves": np.ones((0, 2, p)), "sharing.coefficients": np.ones((3, 0))}}, "arrays sharing"),
        ({"noise": {"energy": -0.1}}, "noise of energy is -0.1, expected a number from 0 to 1e+50"),
        ({"noise": {"stress": np.inf}}, "noise of stress is inf, expected a number from 0 to 1e+50"),
        ({"calibration": {"alpha_force": True}}, "alpha of force is True, expected a number from 0 to 1e+50"),
        ({"zbl": (2.0, 1.0)}, ""),
    ):  # fmt: skip
        with refused(says):
            replace(made, **change)
    fine = replace(made, arrays={**box, **shared}, noise={"energy": None, "force": 0.0}, calibration={"alpha_force": 2})
    assert fine.noise == {"force": 0.0}
    scale = fine.error_scale
    assert (scale.alpha_energy, scale.alpha_force, scale.noise_energy, scale.noise_force) == (1.0, 2.0, 0.0, 0.0)
    full = random_model(PARAMS["binary"], noise=True).error_scale
    assert [getattr(full, f"{a}_{k}") for k in ("energy", "force", "stress") for a in ("alpha", "noise")] == [
        1.5, 0.02, 1.2, 0.1, 1.1, 0.001,
    ]  # fmt: skip
    assert (made.n_members, replace(made, members=None).n_members) == (3, 0)
    assert fine._box is not None
    assert [a.shape for a in fine._box] == [(total, 4), (4,), (4,)]
    assert fine._sharing is not None
    assert [a.shape for a in fine._sharing] == [(2, 2, p), (3, 2)]
    assert (made._box, made._sharing) == (None, None)
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.members, made.members)
    assert again.params == made.params


@pytest.mark.parametrize(
    ("metadata", "reference"),
    [({}, ""), ({"fit": None}, ""), ({"fit": {"settings": 3}}, ""),
     ({"fit": {"settings": {"data": {"reference": 5}}}}, ""),
     ({"fit": {"settings": {"data": {"reference": "pair_style none"}}}}, "pair_style none")],
)  # fmt: skip
def test_reference_of_a_fit(metadata: dict[str, Any], reference: str) -> None:
    assert replace(random_model(PARAMS["linear"]), metadata=metadata).reference == reference


def test_what_a_file_says(tmp_path: Path) -> None:
    made = random_model(PARAMS["binary"], members=2, zbl=(1.5, 3.0), noise=True)
    replace(made, metadata={"seed": 3}).save(tmp_path / "a.mliuq")
    _, found = model_file.read(tmp_path / "a.mliuq")
    assert found == {
        "format_version": 1, "seed": 3, "elements": ["W", "Be"], "snap": made.params.to_metadata(),
        "zbl": {"inner": 1.5, "outer": 3.0}, "noise": made.noise, "calibration": made.calibration, "units": UNITS,
    }  # fmt: skip
    assert UNITS == {"energy": "eV", "length": "angstrom", "force": "eV/angstrom", "stress": "eV/angstrom^3"}
    back = Model.load(tmp_path / "a.mliuq")
    assert back.metadata == {"seed": 3}
    assert (back.zbl, back.noise, back.calibration) == (made.zbl, made.noise, made.calibration)
    bare = random_model(PARAMS["linear"])
    bare.save(tmp_path / "b.mliuq")
    _, found = model_file.read(tmp_path / "b.mliuq")
    assert (found["zbl"], found["noise"], found["calibration"]) == (None, None, None)
    assert Model.load(tmp_path / "b.mliuq").members is None


def test_names_of_bars() -> None:
    over = ["std", "min", "max", "err", "comm"]
    assert list(FORCE_BARS) == [f"forces_{what}" for what in over]
    assert list(STRESS_BARS) == [f"stress_{what}" for what in over]
    assert FORCE_BOUNDS == ("forces_box_min", "forces_box_max")
    assert STRESS_BOUNDS == ("stress_box_min", "stress_box_max")


def test_bars_of_rows_by_hand() -> None:
    model = random_model(PARAMS["binary"], members=5, noise=True)
    atoms = random_atoms(("W", "Be"), 4, 5.0 * np.eye(3), seed=0)
    x = design_rows([atoms], model.params, energy=False, forces=True, stress=True)[0]
    assert model.members is not None
    members, best = x @ model.members.reshape(5, -1).T, x @ model.theta.ravel()
    std = np.sqrt(np.mean((members - best[:, None]) ** 2, axis=1))
    values = {"std": std, "min": members.min(axis=1), "max": members.max(axis=1), "comm": members.T}
    alpha, floor = np.repeat([1.2, 1.1], [12, 6]), np.repeat([0.1, 0.001], [12, 6])
    values["err"] = np.sqrt((alpha * std) ** 2 + floor**2)
    found = mliuq.evaluate(model, atoms, (*FORCE_BARS, *STRESS_BARS))
    for what, value in values.items():
        np.testing.assert_allclose(
            np.reshape(found[f"forces_{what}"], value[..., :12].shape), value[..., :12], rtol=1e-8, atol=1e-10
        )
        np.testing.assert_allclose(found[f"stress_{what}"], value[..., 12:], rtol=1e-8, atol=1e-10)
    molecule = random_atoms(("W", "Be"), 4, 9.0 * np.eye(3), False, seed=0)
    molecule.cell = None
    packed, best_forces = pack(molecule, model.params), np.zeros((4, 3))
    options = {"forces": best_forces, "stress": None, "scale": model.error_scale}
    with refused("stress needs a cell with a volume, this structure has none"):
        row_bars(model.potential(), packed, ["stress_std"], **options)
    assert set(row_bars(model.potential(), packed, ["forces_std"], **options)) == {"forces_std"}


# --- files -----------------------------------------------------------------------------------------------------------


def damaged(tmp_path: Path, change: Any) -> Path:
    path = tmp_path / "d.mliuq"
    random_model(PARAMS["linear"], members=2).save(path)
    header, data = split(path.read_bytes())
    header["__metadata__"].pop("checksum")
    change(header)
    path.write_bytes(join(header, data))
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dtype": "F32"}, "has type 'F32', expected F64"),
        ({"more": 1}, "is described by {'dtype': 'F64', "),
        ({"shape": "wide"}, ": shape is 'wide', expected whole numbers"),
        ({"shape": [1.0, 31]}, ": shape is [1.0, 31], expected whole numbers"),
        ({"shape": [True, 31]}, ": shape is [True, 31], expected whole numbers"),
        ({"shape": [-1, -31]}, ": shape is [-1, -31], expected whole numbers"),
        ({"shape": [2**53]}, f": shape is [{2**53}], expected whole numbers"),
        ({"data_offsets": [0, 2**53]}, f": data_offsets is [0, {2**53}], expected whole numbers"),
        ({"shape": [1] * 17}, "has 17 dimensions, expected at most 16"),
        ({"shape": [0, 2**52]}, f"has shape (0, {2**52}), more than the file holds"),
        ({"data_offsets": [0]}, "spans bytes [0], expected"),
        ({"shape": [1, 2]}, "spans bytes ["),
        ({"shape": [1] * 16}, "spans bytes ["),
    ],
)
def test_entries_that_are_refused(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = damaged(tmp_path, lambda header: header["theta"].update(change))
    with pytest.raises(MliuqError, match=re.escape(says)) as caught:
        container.unpack(path)
    assert str(caught.value).startswith(f'{path}: array "theta"')


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a .mliuq model file: its header claims 0 bytes, the file has 0 (truncated?)"),
        (b"\x02\0\0\0\0\0\0", "not a .mliuq model file: its header claims 2 bytes, the file has 7 (truncated?)"),
        (b"\x03\0\0\0\0\0\0\0{}", "not a .mliuq model file: its header claims 3 bytes, the file has 10 (truncated?)"),
        (b"\x02\0\0\0\0\0\0\0[]", "the header is [], expected an object"),
        (b"\x02\0\0\0\0\0\0\0{x", "the header is not valid JSON: "),
        (b"\x02\0\0\0\0\0\0\0\xff\xff", "the header is not valid JSON: "),
        (b"\x02\0\0\0\0\0\0\0{}1234", "truncated or damaged: the header promises 0 bytes of arrays, the file has 4"),
        (b"\x02\0\0\0\0\0\0\0{}", "a safetensors file without mliuq metadata, expected a .mliuq model file"),
        ((100_000_001).to_bytes(8, "little") + b"{}", "not a .mliuq model file: its header claims 100000001 bytes"),
    ],
)
def test_files_that_are_none(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.mliuq"
    path.write_bytes(content)
    with refused(f"{path}: {says}"):
        model_file.read(path)


def test_texts_of_a_file(tmp_path: Path) -> None:
    for metadata, says in (
        ([1], "__metadata__ is [1], expected an object"),
        ({"mliuq": 5}, "__metadata__.mliuq is 5, expected a text"),
        ({"other": "x"}, '__metadata__ has a key "other", expected mliuq and checksum'),
    ):
        path = damaged(tmp_path, lambda header, metadata=metadata: header.update(__metadata__=metadata))
        with refused(f"{path}: {says}"):
            container.unpack(path)
    path = damaged(tmp_path, lambda header: header["__metadata__"].update(format="pt"))
    assert container.unpack(path)[1]["format"] == "pt"
    with refused(f"{tmp_path / 'none.mliuq'}: no such file, expected a .mliuq model file"):
        model_file.read(tmp_path / "none.mliuq")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format_version": 2}, "format_version is 2, expected 1; this model needs a newer mliuq"),
        ({"format_version": 0}, "format_version is 0, expected 1"),
        ({"format_version": "2"}, "format_version is '2', expected 1"),
        ({"snap": None}, 'key "snap" is missing'), ({"elements": None}, 'key "elements" is missing'),
        ({"seed": True}, "seed is True, expected a number"), ({"seed": "7"}, "seed is '7', expected a number"),
        *(({name: [1]}, f"{name} is [1], expected an object")
          for name in ("zbl", "noise", "calibration", "units", "fit", "posterior", "data", "software")),
        ({"zbl": {"inner": 1.0, "outer": True}}, "zbl.outer is True, expected a number (Å)"),
        ({"zbl": {"outer": 2.0}}, "zbl.inner is None, expected a number (Å)"),
    ],
)  # fmt: skip
def test_metadata_that_is_refused(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    def changed(header: dict[str, Any]) -> None:
        inner = json.loads(header["__metadata__"]["mliuq"])
        for key, value in change.items():
            if value is None:
                inner.pop(key)
            else:
                inner[key] = value
        header["__metadata__"]["mliuq"] = json.dumps(inner)

    path = damaged(tmp_path, changed)
    with pytest.raises(MliuqError) as caught:
        Model.load(path)
    assert str(caught.value).startswith(f"{path}: {says}")
    assert ("newer" in str(caught.value)) == ("newer" in says)


def test_names_that_models_may_have(tmp_path: Path) -> None:
    model_file.check_model(tmp_path / "a.mliuq")
    with refused(f"{tmp_path / 'a.txt'}: expected a name that ends in .mliuq"):
        model_file.check_model(tmp_path / "a.txt")
    with pytest.raises(MliuqError, match=r"expected a name that ends in .mliuq"):
        model_file.check_model(Path("-"))
    random_model(PARAMS["linear"]).save(tmp_path / "a.mliuq")
    model_file.check_model(tmp_path / "a.mliuq")
    with pytest.raises(MliuqError, match=r"a.mliuq"):
        model_file.check_model(tmp_path / "a.mliuq", [tmp_path / "a.mliuq"])
    (tmp_path / "b.mliuq").write_text("my own notes")
    with pytest.raises(MliuqError, match="a model file"):
        model_file.check_model(tmp_path / "b.mliuq")
    with refused(f'{tmp_path / "c.mliuq"}: array "x" holds values that are not finite, refusing to write'):
        model_file.write(tmp_path / "c.mliuq", {"x": np.array([np.nan])}, {})
    with refused(f"{tmp_path / 'c.mliuq'}: metadata cannot be stored: "):
        model_file.write(tmp_path / "c.mliuq", {}, {"x": np.inf})
    assert model_file._texts_whole({"a\udcff": ["b\udcff", ("c", 1)]}) == {"a\\udcff": ["b\\udcff", ["c", 1]]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("NaN", "NaN is not a finite number"), ("-Infinity", "-Infinity is not a finite number"),
        ("1e999", "1e999 is not a finite number"), ("1" * 310, "1" * 200 + " is not a finite number"),
        ("1e-999", "1e-999 is smaller than the smallest number"),
        ("-0.1E-400", "-0.1E-400 is smaller than the smallest"),
        ('{"a": 1, "a": 2}', 'key "a" is given twice'), ('"\\ud800"', "a string holds half a surrogate pair"),
        ('{"\\udfff": 1}', "a string holds half a surrogate pair"), ("[" * 66 + "]" * 66, "nested deeper than 64"),
        ("[" * 100_000, "nested deeper than 64"),
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_json_that_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(says)}"):
        strict_json.loads(text)


def test_json_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in (
        "[" + "0," * 997 + "0]",
        "0.0",
        "-0.0",
        "0e-999",
        "5e-324",
        "0.000e0",
        '"\\ud83d\\ude00"',
        "[" * 64 + "]" * 64,
    ):
        assert strict_json.loads(text) == json.loads(text)
    assert strict_json._MOST_VALUES == 1_000_000
    monkeypatch.setattr(strict_json, "_MOST_VALUES", 1000)
    assert len(strict_json.loads("[" + "0," * 998 + "0]")) == 999
    with pytest.raises(ValueError, match=r"^more than 1000 values$"):
        strict_json.loads("[" + "0," * 999 + "0]")


# --- extrapolation ---------------------------------------------------------------------------------------------------


def test_arrays_of_extrapolation_that_are_refused() -> None:
    params = PARAMS["binary"]
    k, p = params.n_components, params.n_weights
    good = {novelty.ENVIRONMENTS: np.zeros((4, k)), novelty.ELEMENT: np.array([0.0, 0, 1, 1])}
    novelty.check_arrays(params, good)
    novelty.check_arrays(params, {})
    for arrays, says in (
        ({novelty.ACTIVE_SET: np.zeros((1, p, p))},
         f'array "extrapolation.active_set" has shape (1, {p}, {p}), expected (2, {p}, {p})'),
        ({novelty.ELEMENT: np.zeros(4)}, 'array "density.environments" is missing, expected beside "density.element"'),
        ({novelty.ENVIRONMENTS: np.zeros((4, k))},
         'array "density.element" is missing, expected beside "density.environments"'),
        ({**good, novelty.ENVIRONMENTS: np.zeros((4, 3))},
         f'array "density.environments" has shape (4, 3), expected (any, {k})'),
        ({**good, novelty.ENVIRONMENTS: np.zeros(())},
         f'array "density.environments" has shape (), expected (any, {k})'),
        ({**good, novelty.ELEMENT: np.zeros(3)}, 'array "density.element" has shape (3,), expected (4,)'),
        ({**good, novelty.ELEMENT: np.array([0.0, 0, 1, 2])},
         'array "density.element" holds a value that is no index of an element, 0 to 1'),
        ({**good, novelty.ELEMENT: np.array([0.0, 0, 1, 0.5])}, 'array "density.element" holds a value that is no'),
    ):  # fmt: skip
        with refused(says):
            novelty.check_arrays(params, arrays)
    with refused("the active set of the model has no volume: there is no grade"):
        novelty.grade(np.ones((1, 2)), np.ones((2, 2)))
    assert density.FEWEST == 5
    counts = {n: novelty.Novelty(params, {novelty.ENVIRONMENTS: np.zeros((5 + n, k)),
                                          novelty.ELEMENT: np.repeat([0.0, 1.0], [5, n])}) for n in (4, 5)}  # fmt: skip
    assert [counts[n].has_density for n in (4, 5)] == [False, True]
    assert not counts[5].has_grade
    assert novelty.Novelty(params, {novelty.ACTIVE_SET: np.zeros((2, p, p))}).has_grade
    assert not novelty.Novelty(params, {}).has_density


# --- calibration -----------------------------------------------------------------------------------------------------


def test_calibration_that_is_refused() -> None:
    assert TABLES == ("conformal", "rows", "interval", "configurations", "thresholds", "groups")
    for key in TABLES:
        with refused(f"calibration.{key} is [1], expected an object"):
            checked_calibration({key: [1]})
    for pair in ([1.0], [2.0, 1.0], [-1.0, 1.0], [1.0, np.inf], [True, 2.0], "ab", 3, [1.0, "2"], [1, 2, 3]):
        with refused(
            f"calibration.thresholds.force_err is {pair!r}, expected two numbers in order, to save and to halt"
        ):
            stored_thresholds({"thresholds": {"force_err": pair}})
    assert stored_thresholds({"thresholds": {"a": [0, 0], "b": (1, 2.5)}}) == {"a": (0.0, 0.0), "b": (1.0, 2.5)}
    assert stored_thresholds(None) == stored_thresholds({}) == stored_thresholds({"thresholds": None}) == {}
    assert checked_calibration({"a": None, "conformal": {}, "rows": None}) == {"conformal": {}}


def test_quantiles_beyond_what_is_stored() -> None:
    stored = {"conformal": {"force": {"0.5": 1.0, "0.9": 2.0}}}
    assert conformal_quantile(stored, "force", 0.7) == pytest.approx(1.5)
    assert conformal_quantile(stored, "force", 0.1) == pytest.approx(0.2)
    with refused("level is 0.91, expected at most 0.9: force was calibrated on few rows"):
        conformal_quantile(stored, "force", 0.91)
    with refused("level is 0.91, expected at most 0.9: force was calibrated on 12 rows"):
        conformal_quantile({**stored, "rows": {"force": 12}}, "force", 0.91)
    with refused("level is 0, expected a number above 0 and below 1"):
        conformal_quantile(stored, "force", 0.0)
    with refused("level is 1.0, expected a number from 0 to below 1"):
        conformal_quantile(stored, "force", 1.0)
    says = "the model carries no conformal quantiles of energy: calibrate it on structures that have references of it"
    for told in (stored, {}, None, {"conformal": {"energy": {}}}):
        with refused(says):
            conformal_quantile(told, "energy", 0.5)
    with refused("calibration.conformal.force is {'0.5': 'x'}, expected levels and numbers"):
        conformal_quantile({"conformal": {"force": {"0.5": "x"}}}, "force", 0.5)


@pytest.mark.parametrize(
    "table",
    [{"0.5": -1.0}, {"0.5": 2.0, "0.9": 1.0}, {"0.5": 1.0, "0.50": 2.0}, {"1.5": 1.0}, {"0": 1.0}, {"nan": 1.0}],
)
def test_quantiles_that_turn_an_interval_inside_out(table: dict[str, float]) -> None:
    with refused(f"calibration.conformal.force is {table}, expected levels"):
        conformal_quantile({"conformal": {"force": table}}, "force", 0.4)
    for width in ("1", True, np.nan, 1e51):
        with refused("calibration.conformal.force is {"):
            conformal_quantile({"conformal": {"force": {"0.5": width}}}, "force", 0.4)


# --- stock LAMMPS ----------------------------------------------------------------------------------------------------


def test_lines_for_stock_lammps() -> None:
    head = [
        "# SNAP potential (best fit), written by mliuq. In an input run beside these files: include A.snap",
        "# Atom types 1 to 2 are W Be; units metal.",
    ]
    plain = input_lines("A.snapcoeff", "A.snapparam", ("W", "Be"), None)
    assert plain.split("\n") == [*head, "", "pair_style snap", "pair_coeff * * A.snapcoeff A.snapparam W Be", ""]
    member = input_lines("A.snapcoeff", "A.snapparam", ("W", "Be"), (1.5, 2.25), "member 3")
    assert member.split("\n") == [
        head[0].replace("best fit", "member 3"), head[1], "", "pair_style hybrid/overlay zbl 1.5 2.25 snap",
        "pair_coeff 1 1 zbl 74 74", "pair_coeff 1 2 zbl 74 4", "pair_coeff 2 2 zbl 4 4",
        "pair_coeff * * snap A.snapcoeff A.snapparam W Be", "",
    ]  # fmt: skip
    code = input_lines("A.snapcoeff", "A.snapparam", ("W", "Be"), None, reference="module:name")
    assert code.split("\n")[2] == "# The fit had the reference potential module:name: it is not part of this."
    told = "pair_style lj/cut 5.0; pair_coeff * * 0.1 2.0"
    beside = input_lines("A.snapcoeff", "A.snapparam", ("W", "Be"), None, reference=told).split("\n")
    assert beside[2] == "# With error bars, by the model file:"
    assert "#   pair_style hybrid/overlay lj/cut 5.0 mliuq" in beside
    assert "#   pair_coeff * * mliuq NAME.mliuq W Be" in beside
    assert "pair_style hybrid/overlay lj/cut 5.0 snap" in beside
    assert "pair_coeff * * snap A.snapcoeff A.snapparam W Be" in beside
    assert "pair_coeff * * lj/cut 0.1 2.0" in beside
    both = input_lines("A.snapcoeff", "A.snapparam", ("W", "Be"), (1.5, 2.0), reference=told).split("\n")
    assert "pair_coeff 1 2 zbl 74 4" in both
    assert any(line.startswith("pair_style hybrid/overlay ") and line.count("zbl 1.5 2.0") == 1 for line in both)
    with refused("the reference potential and the model both hold pair_style zbl: write their input by hand"):
        input_lines("a", "b", ("W",), (1.5, 2.0), reference="pair_style zbl 1 2; pair_coeff 1 1 74 74")
    with refused("Q is no chemical symbol: its nuclear repulsion cannot be written for LAMMPS"):
        input_lines("a", "b", ("W", "Q"), (1.5, 2.0))


def test_files_for_stock_lammps(tmp_path: Path) -> None:
    model = random_model(PARAMS["binary"], members=2, zbl=(1.5, 2.5))
    found = write_snap(tmp_path / "A", model.params, model.theta, model.zbl, what="best fit", force=False)
    assert found == tuple(tmp_path / f"A.{end}" for end in ("snapcoeff", "snapparam", "snap"))
    assert model.to_snap(tmp_path / "A", member=1) == found[:2], "its own files may be replaced"
    assert "(member 1)" in found[2].read_text()
    np.testing.assert_array_equal(Model.from_snap(found[0]).theta, model.members[1])  # type: ignore[index]
    other = tmp_path / "Q.snapparam"
    found[1].rename(other)
    np.testing.assert_array_equal(Model.from_snap(found[0], other).theta, model.members[1])  # type: ignore[index]
    (tmp_path / "B.snap").write_text("# mine\n")
    with pytest.raises(MliuqError, match=r"B.snap.*, or force it \(--force\)$"):
        model.to_snap(tmp_path / "B")
    model.to_snap(tmp_path / "B", force=True)
    assert "(best fit), written by mliuq" in (tmp_path / "B.snap").read_text()
    for member, says in (
        (2, "member is 2, expected 0 to 1 (2 members)"), (-1, "member is -1, expected 0 to 1 (2 members)"),
    ):  # fmt: skip
        with refused(says):
            model.to_snap(tmp_path / "C", member=member)
    with refused("member is 0, but the model has no ensemble: only the best fit can be written"):
        replace(model, members=None).to_snap(tmp_path / "C", member=0)
    with pytest.raises(MliuqError) as caught:
        model.to_snap(tmp_path / "none" / "C")
    assert "force" not in str(caught.value)
