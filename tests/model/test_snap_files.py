"""Published .snapcoeff/.snapparam files: what they may hold, and errors that name file and line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mliuq import MliuqError, Model, SnapParams
from systems import PARAMS, random_model

COEFF = """# a potential of two elements, 2J = 2
# LAMMPS takes the first line that is not a comment

2 6
W 0.5 1.0   # radius, weight
-1.5
0.25 # B 1
+1e-3
2.5E+2

.5
-0
Be  0.417932\t0.959049
7
6
5
4
3
2
"""
PARAM = """
# required
rcutfac 4.8123
twojmax 2

# optional
rfac0 0.99363 # a comment
rmin0 0
bzeroflag 1
"""


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    def write(coeff: str | bytes = COEFF, param: str | bytes = PARAM) -> tuple[Path, Path]:
        paths = tmp_path / "a.snapcoeff", tmp_path / "a.snapparam"
        for path, text in zip(paths, (coeff, param), strict=True):
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return paths

    return write


THETA = [[-1.5, 0.25, 1e-3, 250.0, 0.5, -0.0], [7, 6, 5, 4, 3, 2]]


@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["unix", "windows"])
def test_what_a_file_may_hold(files: Callable, ends: str) -> None:
    model = Model.from_snap(*files(COEFF.replace("\n", ends).encode(), PARAM.replace("\n", ends).encode()))
    assert model.params == SnapParams(
        ("W", "Be"), twojmax=2, rcutfac=4.8123, rfac0=0.99363, radii=(0.5, 0.417932), weights=(1.0, 0.959049)
    )
    np.testing.assert_array_equal(model.theta, THETA)
    assert np.signbit(model.theta[0, 5])
    assert model.members is None


def test_units_in_the_header(files: Callable) -> None:
    """LAMMPS's potential files name their unit style on the first line."""
    header = "#DATE: 2014-09-05 UNITS: {} CONTRIBUTOR: nobody"
    for text in (header.format("metal"), "# no word of it", "#UNITS:metal"):
        np.testing.assert_array_equal(Model.from_snap(*files(f"{text}\n{COEFF}", f"{text}\n{PARAM}")).theta, THETA)
    header = header.format("real")
    for coeff, param in ((f"{header}\n{COEFF}", PARAM), (COEFF, f"{header}\n{PARAM}")):
        with pytest.raises(MliuqError, match=r"a\.snap(coeff|param), line 1: UNITS: is 'real', expected metal"):
            Model.from_snap(*files(coeff, param))


def test_no_line_end_at_the_end_and_tuning_keys_of_lammps(files: Callable) -> None:
    model = Model.from_snap(*files(COEFF.rstrip(), PARAM + "chunksize 2000\nparallelthresh 100"))
    np.testing.assert_array_equal(model.theta, THETA)


def test_every_key(files: Callable) -> None:
    text = (
        "rcutfac 5\ntwojmax 1\nrfac0 0.9\nrmin0 0.1\nswitchflag 0\nbzeroflag 0\nbnormflag 1\nchemflag 1\n"
        "wselfallflag 1\nquadraticflag 0\nswitchinnerflag 1\nsinner 1.1 1.2\ndinner 0.3 0.4\n"
    )
    n = 8 * 2
    rows = "\n".join(map(str, range(n + 1)))
    model = Model.from_snap(*files(f"2 {n + 1}\nW 0.5 1\n{rows}\nBe 0.4 2\n{rows}\n", text))
    assert model.params == SnapParams(
        ("W", "Be"), 1, 5.0, 0.9, 0.1, False, False, True, True, True, True, False,
        (0.5, 0.4), (1.0, 2.0), (1.1, 1.2), (0.3, 0.4),
    )  # fmt: skip


def test_param_file_of_the_same_name_is_found(files: Callable) -> None:
    coeff, _ = files()
    assert Model.from_snap(coeff).params.twojmax == 2


@pytest.mark.parametrize("kind", PARAMS)
def test_written_files_give_the_same_model(kind: str, tmp_path: Path) -> None:
    model = random_model(PARAMS[kind], members=3)
    best = Model.from_snap(*model.to_snap(tmp_path / "best.fit"))
    member = Model.from_snap(*model.to_snap(tmp_path / "member", member=2))
    assert best.params == model.params
    if not model.params.chemflag:  # there, equal components get equal weights: tests/descriptor/test_export_in_stock.py
        assert best.theta.tobytes() == model.theta.tobytes()
        assert member.theta.tobytes() == model.members[2].tobytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"{stem}.{ending}" for stem in ("best.fit", "member") for ending in ("snap", "snapcoeff", "snapparam")
    ]
    best.to_snap(tmp_path / "again")
    for ending in ("snapcoeff", "snapparam"):
        assert (tmp_path / f"again.{ending}").read_bytes() == (tmp_path / f"best.fit.{ending}").read_bytes()


@pytest.mark.parametrize("member", [-1, 3, 99])
def test_members_that_are_not_there(tmp_path: Path, member: int) -> None:
    model = random_model(PARAMS["linear"], members=3)
    with pytest.raises(MliuqError, match=rf"member is {member}, expected 0 to 2 \(3 members\)"):
        model.to_snap(tmp_path / "x", member=member)
    with pytest.raises(MliuqError, match="no ensemble"):
        replace(model, members=None).to_snap(tmp_path / "x", member=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stem", ["missing/x", "taken"])
def test_paths_that_cannot_be_written(tmp_path: Path, stem: str) -> None:
    (tmp_path / "taken.snapcoeff").mkdir()
    with pytest.raises(MliuqError, match=r"\.snapcoeff: cannot be written"):
        random_model(PARAMS["linear"]).to_snap(tmp_path / stem)
    assert [p.name for p in tmp_path.iterdir()] == ["taken.snapcoeff"]


def line_of(text: str, start: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith(start))


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (("2 6", ""), "W", "expected 'n_elements n_coefficients', found 3 words"),
        (("2 6", "2 6 1"), "2 6", "expected 'n_elements n_coefficients', found 3 words"),
        (("2 6", "two 6"), "two", "number of elements is 'two', expected a finite number"),
        (("2 6", "2 6.5"), "2", "number of coefficients is '6.5', expected an integer"),
        (("2 6", "0 6"), "0", "expected at least one element and one coefficient"),
        (("2 6", "2 -6"), "2", "expected at least one element and one coefficient"),
        (("2 6", "2 99999999999"), "2", "number of coefficients is '99999999999', expected an integer"),
        (("2 6", "2 7"), "Be", "expected coefficient 7 of 7 of W, found 3 words"),
        (("2 6", "2 5"), "-0", "expected 'element radius weight', found 1 words"),
        (("2 6", "3 6"), "2\n", "the file ends here, expected 'element radius weight' of element 3 of 3"),
        (("2 6", "1 6"), "Be", "expected the end of the file after 1 elements of 6 coefficients"),
        (("\n2\n", "\n"), "3", "the file ends here, expected coefficient 6 of 6 of Be"),
        (("-0\n", ""), "Be", "expected coefficient 6 of 6 of W, found 3 words"),
        (("7\n6\n", "7 6\n"), "7", "expected coefficient 1 of 6 of Be, found 2 words"),
        (("-1.5", "nan"), "nan", "coefficient is 'nan', expected a finite number"),
        (("-1.5", "inf"), "inf", "coefficient is 'inf', expected a finite number"),
        (("-1.5", "1e999"), "1e999", "coefficient is '1e999', expected a finite number"),
        (("-1.5", "1.5f"), "1.5f", "coefficient is '1.5f', expected a finite number"),
        (("-1.5", "0x10"), "0x10", "coefficient is '0x10', expected a finite number"),
        (("-1.5", "1,5"), "1,5", "coefficient is '1,5', expected a finite number"),
        (("W 0.5 1.0", "W 0.5"), "W", "expected 'element radius weight', found 2 words"),
        (("W 0.5", "W x"), "W", "radius is 'x', expected a finite number"),
        (("W 0.5 1.0", "W 0.5 nan"), "W", "weight is 'nan', expected a finite number"),
    ],
)
def test_wrong_coefficients_name_file_and_line(
    files: Callable, change: tuple[str, str], line: str, message: str
) -> None:
    assert change[0] in COEFF
    text = COEFF.replace(*change, 1)
    coeff, param = files(text)
    number = len(text.splitlines()) if line == "2\n" else line_of(text, line)
    with pytest.raises(MliuqError, match=re.escape(f"{coeff}, line {number}: {message}")):
        Model.from_snap(coeff, param)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("rcut 4.7", "unknown key 'rcut', expected one of twojmax rcutfac"),
        ("Twojmax 4", "unknown key 'Twojmax'"),
        ("twojmax 4", "key 'twojmax' is given twice"),
        ("switchflag", "key 'switchflag' has 0 values, expected 1"),
        ("switchflag 1 0", "key 'switchflag' has 2 values, expected 1"),
        ("switchflag 2", "switchflag is '2', expected 0 or 1"),
        ("switchflag on", "switchflag is 'on', expected a finite number"),
        ("chemflag 0.5", "chemflag is '0.5', expected an integer"),
        ("sinner 1.0", "key 'sinner' has 1 values, expected 2"),
        ("dinner 1.0 nan", "dinner is 'nan', expected a finite number"),
        ("chunksize many", "chunksize is 'many', expected a finite number"),
    ],
)
def test_wrong_parameters_name_file_and_line(files: Callable, added: str, message: str) -> None:
    text = PARAM + "\n" + added + "\n"
    coeff, param = files(param=text)
    line = len(text.splitlines())
    with pytest.raises(MliuqError, match=re.escape(f"{param}, line {line}: {message}")):
        Model.from_snap(coeff, param)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("rcutfac 4.8123", ""), "key 'rcutfac' is missing"),
        (("twojmax 2", ""), "key 'twojmax' is missing"),
        (("twojmax 2", "twojmax -2"), "twojmax is -2, expected 0 to 24"),
        (("rcutfac 4.8123", "rcutfac 0"), "rcutfac is 0.0.*, expected a positive number"),
        (("rfac0 0.99363", "rfac0 1.5"), "rfac0 is 1.5"),
        (("rmin0 0", "rmin0 5"), "rmin0 is 5.0.*, expected less than the cutoff of W"),
        (("bzeroflag 1", "switchinnerflag 1"), "sinner has 0 values, expected one per element"),
        (
            ("bzeroflag 1", "sinner 1 1\ndinner 1 1"),
            "sinner and dinner are given, expected only with switchinnerflag 1",
        ),
    ],
)
def test_parameters_out_of_range_name_the_file(files: Callable, change: tuple[str, str], message: str) -> None:
    assert change[0] in PARAM
    coeff, param = files(param=PARAM.replace(*change))
    with pytest.raises(
        MliuqError,
        match=re.escape(str(param)) + r"(, line \d+)?: SNAP parameters: " + message
        if "missing" not in message
        else message,
    ):
        Model.from_snap(coeff, param)


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        (PARAM.replace("twojmax 2", "twojmax 3"), "expected 9 for twojmax 3"),
        (PARAM + "quadraticflag 1", "expected 21 for twojmax 2, quadraticflag 1"),
        (PARAM + "chemflag 1", "expected 41 for twojmax 2, chemflag 1"),
    ],
)
def test_coefficients_that_do_not_fit_the_parameters(files: Callable, param: str, expected: str) -> None:
    coeff, path = files(param=param)
    with pytest.raises(MliuqError, match=re.escape(f"{coeff}: 6 coefficients per element, {expected} ({path})")):
        Model.from_snap(coeff, path)


def test_files_that_are_not_there_or_not_text(files: Callable, tmp_path: Path) -> None:
    coeff, param = files()
    with pytest.raises(MliuqError, match=r"none\.snapcoeff: cannot be opened for reading"):
        Model.from_snap(tmp_path / "none.snapcoeff", param)
    with pytest.raises(MliuqError, match=r"none\.snapparam: cannot be opened for reading"):
        Model.from_snap(coeff, tmp_path / "none.snapparam")
    for content in ("", "\n\n# nothing\n"):
        with pytest.raises(MliuqError, match=r"a\.snapcoeff: empty, expected 'n_elements n_coefficients'"):
            Model.from_snap(*files(content))
    with pytest.raises(MliuqError, match=r"a\.snapcoeff"):
        Model.from_snap(*files(bytes(range(256)) * 40))
    with pytest.raises(MliuqError, match=r"a\.snapparam, line 1: unknown key"):
        Model.from_snap(*files(param=b"\xff\xfe\x00 1\n"))


def test_random_damage(files: Callable) -> None:
    rng = np.random.default_rng(1)
    accepted = 0
    for trial in range(400):
        texts = [bytearray(COEFF.encode()), bytearray(PARAM.encode())]
        text = texts[trial % 2]
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(0, len(text)))
            match rng.integers(0, 3):
                case 0:
                    text[at] = rng.integers(0, 256)
                case 1:
                    del text[at : at + int(rng.integers(1, 9))]
                case 2:
                    text[at:at] = text[at : at + int(rng.integers(1, 30))]
        coeff, param = files(bytes(texts[0]), bytes(texts[1]))
        try:
            model = Model.from_snap(coeff, param)
        except MliuqError as error:
            assert str(coeff) in str(error) or str(param) in str(error)  # noqa: PT017
        else:
            accepted += 1
            assert np.all(np.isfinite(model.theta))
    assert 0 < accepted < 400
