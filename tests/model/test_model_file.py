"""Model files: what is written is read back, by Python and by C++; what is damaged is refused by both, in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mliuq import MLIUQCalculator, MliuqError, Model
from mliuq.core import Potential, read_model_file
from mliuq.descriptor.neighbours import pack
from safetensors.numpy import load_file, save_file
from safetensors_parts import join, split
from systems import PARAMS, random_model, structure

READERS = {"python": Model.load, "c++": lambda path: read_model_file(str(path))}


def refuse(path: Path, message: str | None = None, readers: Any = READERS) -> None:
    """Each reader raises one MliuqError that names the file, in one line, with the message."""
    for name in readers:
        with pytest.raises(MliuqError, match=message) as caught:
            READERS[name](path)
        text = str(caught.value)
        assert str(path) in text, f"{name} does not name the file: {text}"
        assert "\n" not in text, f"{name}: more than one line: {text}"
        assert len(text) < 2000, f"{name}: {len(text)} characters"


def width(header: dict[str, Any]) -> int:
    return header["theta"]["shape"][1]


HEADERS: dict[str, tuple[Callable[[dict[str, Any]], Any], str | None]] = {
    "theta is missing": (lambda h: h.__setitem__("other", h.pop("theta")), 'array "theta" is missing'),
    "theta is of another shape": (
        lambda h: h["theta"].update(shape=[1, 2 * h["theta"]["shape"][1]]),
        '"theta" has shape',
    ),
    "theta is flat": (lambda h: h["theta"].update(shape=[2 * h["theta"]["shape"][1]]), 'array "theta" has shape'),
    "members are flat": (
        lambda h: h["members"].update(shape=[3, 2 * h["theta"]["shape"][1]]),
        '"members" has shape',
    ),
    "factor is not square": (
        lambda h: h["extrapolation.factor"].update(shape=[1, int(np.prod(h["extrapolation.factor"]["shape"]))]),
        r'array "extrapolation.factor" has shape',
    ),
    "theta is of integers": (lambda h: h["theta"].update(dtype="I64"), 'array "theta" has (a )?type'),
    "no such type": (lambda h: h["theta"].update(dtype="F65"), None),
    "a dimension is negative": (lambda h: h["theta"].update(shape=[-2, -width(h)]), None),
    "a dimension overflows": (lambda h: h["members"].update(shape=[2**62, 8, 2]), None),
    "dimensions overflow together": (lambda h: h["members"].update(shape=[2**33, 2**33, 2**33]), None),
    "a dimension is a fraction": (lambda h: h["theta"].update(shape=[0.5, 2]), None),
    "a dimension is a word": (lambda h: h["theta"].update(shape="wide"), None),
    "offsets run backwards": (lambda h: h["theta"].update(data_offsets=h["theta"]["data_offsets"][::-1]), None),
    "offsets beyond the end": (lambda h: h["theta"].update(data_offsets=[2**40, 2**40 + 8]), None),
    "offsets are negative": (lambda h: h["theta"].update(data_offsets=[-8, 8]), None),
    "offsets overflow": (lambda h: h["theta"].update(data_offsets=[2**64, 2**64 + 8]), None),
    "one offset": (lambda h: h["theta"].update(data_offsets=[0]), None),
    "no offsets": (lambda h: h["theta"].pop("data_offsets"), None),
    "no shape": (lambda h: h["theta"].pop("shape"), None),
    "no type": (lambda h: h["theta"].pop("dtype"), None),
    "an array is a number": (lambda h: h.update(theta=5), None),
    "metadata is not text": (lambda h: h.update(__metadata__={"mliuq": 5}), None),
    "metadata is a list": (lambda h: h.update(__metadata__=["mliuq"]), None),
    "no metadata": (lambda h: h.pop("__metadata__"), "without mliuq metadata"),
}


METADATA: dict[str, tuple[Callable[[dict[str, Any]], Any], str | None]] = {
    "newer version": (lambda m: m.update(format_version=2), "format_version is 2, expected 1; .* newer mliuq"),
    "older version": (lambda m: m.update(format_version=0), "format_version is 0, expected 1"),
    "version is a word": (lambda m: m.update(format_version="1"), "format_version"),
    "version is true": (lambda m: m.update(format_version=True), "format_version"),
    "no version": (lambda m: m.pop("format_version"), "format_version"),
    "no elements": (lambda m: m.pop("elements"), 'key "elements" is missing'),
    "elements is a word": (lambda m: m.update(elements="WBe"), "elements is"),
    "elements are numbers": (lambda m: m.update(elements=[74, 4]), "elements"),
    "no element": (lambda m: m.update(elements=[]), None),
    "an element twice": (lambda m: m.update(elements=["W", "W"]), "element W is given twice"),
    "another number of elements": (lambda m: m.update(elements=["W"]), "expected one per element"),
    "no snap": (lambda m: m.pop("snap"), 'key "snap" is missing'),
    "snap is a list": (lambda m: m.update(snap=[]), "snap"),
    "no twojmax": (lambda m: m["snap"].pop("twojmax"), 'key "twojmax" is missing'),
    "no rcutfac": (lambda m: m["snap"].pop("rcutfac"), 'key "rcutfac" is missing'),
    "no radii": (lambda m: m["snap"].pop("radii"), 'key "radii" is missing'),
    "no weights": (lambda m: m["snap"].pop("weights"), 'key "weights" is missing'),
    "unknown parameter": (lambda m: m["snap"].update(rcut=4.7), "snap.rcut is not a SNAP parameter"),
    "twojmax is a word": (lambda m: m["snap"].update(twojmax="8"), "twojmax is"),
    "twojmax is a fraction": (lambda m: m["snap"].update(twojmax=5.5), "twojmax is"),
    "twojmax is huge": (lambda m: m["snap"].update(twojmax=2**40), "twojmax is"),
    "twojmax wraps around": (lambda m: m["snap"].update(twojmax=5 - 2**32), "twojmax is"),
    "another twojmax": (lambda m: m["snap"].update(twojmax=6), 'array "theta" has shape'),
    "quadratic": (lambda m: m["snap"].update(quadraticflag=1), 'array "theta" has shape'),
    "flag is a word": (lambda m: m["snap"].update(switchflag="on"), "switchflag is"),
    "flag is two": (lambda m: m["snap"].update(switchflag=2), "switchflag is"),
    "rcutfac is a word": (lambda m: m["snap"].update(rcutfac="4.6"), "rcutfac is"),
    "rcutfac is null": (lambda m: m["snap"].update(rcutfac=None), "rcutfac is"),
    "rcutfac is negative": (lambda m: m["snap"].update(rcutfac=-4.6), "rcutfac is -4.6"),
    "radii is a number": (lambda m: m["snap"].update(radii=0.5), "radii is"),
    "radii are words": (lambda m: m["snap"].update(radii=["0.5", "0.4"]), "radii"),
    "a radius is zero": (lambda m: m["snap"].update(radii=[0.5, 0.0]), "radius of Be is 0.0"),
    "a weight is an object": (lambda m: m["snap"].update(weights=[1.0, {}]), "weights"),
    "too many elements": (
        lambda m: (m.update(elements=[f"E{i}" for i in range(2000)]), m["snap"].update(
            chemflag=1, radii=[0.5] * 2000, weights=[1.0] * 2000)), "at most 50 million weights"),
    "zbl is a list": (lambda m: m.update(zbl=[1.5, 3.0]), "zbl is"),
    "zbl has no outer": (lambda m: m.update(zbl={"inner": 1.5}), "outer"),
    "zbl is a word": (lambda m: m.update(zbl={"inner": "1.5", "outer": 3.0}), "zbl.inner is"),
    "zbl runs backwards": (lambda m: m.update(zbl={"inner": 3.0, "outer": 1.5}), "expected .*0 < inner < outer"),
    "noise is negative": (lambda m: m["noise"].update(energy=-0.01), "energy is -0.01"),
    "noise is a word": (lambda m: m["noise"].update(force="small"), "force"),
    "noise is a list": (lambda m: m.update(noise=[1, 2, 3]), "noise is"),
    "alpha is negative": (lambda m: m["calibration"].update(alpha_force=-1), "alpha"),
    "calibration is a word": (lambda m: m.update(calibration="good"), "calibration is"),
    "posterior is a number": (lambda m: m.update(posterior=5), "posterior is"),
    "fit is a list": (lambda m: m.update(fit=[]), "fit is"),
    "seed is a word": (lambda m: m.update(seed="7"), "seed is"),
    "version is a real number": (lambda m: m.update(format_version=1.0), "format_version"),
    "twojmax is a real number": (lambda m: m["snap"].update(twojmax=float(m["snap"]["twojmax"])), "twojmax is"),
    "rcutfac is true": (lambda m: m["snap"].update(rcutfac=True), "rcutfac is"),
    "a radius is true": (lambda m: m["snap"].update(radii=[True, 0.5]), "radii"),
    "radii are empty": (lambda m: m["snap"].update(radii=[]), "radii has 0 values, expected one per element"),
    "weights are empty": (lambda m: m["snap"].update(weights=[]), "weights has 0 values, expected one per element"),
    "rcutfac is enormous": (lambda m: m["snap"].update(rcutfac=1e10), "expected 0.1"),
    "rcutfac is tiny": (lambda m: m["snap"].update(rcutfac=1e-10), "expected 0.1"),
    "zbl is enormous": (lambda m: m["zbl"].update(outer=65535.0), "at most 50"),
    "alpha is enormous": (lambda m: m["calibration"].update(alpha_force=1e51), "1e51|1e.51"),
    "noise is enormous": (lambda m: m["noise"].update(stress=1e308), "1e308|1e.308"),
    "alpha is true": (lambda m: m["calibration"].update(alpha_force=True), "alpha"),
}  # fmt: skip


TEXTS: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "null": lambda text: "null",
    "a list": lambda text: f"[{text}]",
    "cut": lambda text: text[:-1],
    "followed by more": lambda text: text + "{}",
    "not a number": lambda text: text.replace('"seed": 7', '"seed": NaN'),
    "half a surrogate pair": lambda text: text.replace('"seed"', r'"s\ud800"'),
    "half a surrogate pair in a value": lambda text: text.replace('"seed": 7', r'"seed": 7, "x": ["\udc00"]'),
    "vanishing": lambda text: text.replace('"seed": 7', '"seed": 1e-400'),
    "a huge whole number": lambda text: text.replace('"seed": 7', '"seed": ' + "9" * 310),
    "nested 66 deep": lambda text: text.replace('"seed": 7', '"x": ' + "[" * 65 + "]" * 65),
    "infinite": lambda text: text.replace('"seed": 7', '"seed": -Infinity'),
    "overflowing": lambda text: text.replace('"seed": 7', '"seed": 1e999'),
    "endless digits": lambda text: text.replace('"seed": 7', '"seed": ' + "9" * 100_000),
    "a leading zero": lambda text: text.replace('"seed": 7', '"seed": 07'),
    "half a number": lambda text: text.replace('"seed": 7', '"seed": 7.'),
    "a comma too many": lambda text: text.replace('"seed": 7', '"seed": 7,'),
    "a key twice": lambda text: text.replace('"seed": 7', '"seed": 7, "seed": 8'),
    "a long key twice": lambda text: text.replace('"seed": 7', f'"{"s" * 10**6}": 7, "{"s" * 10**6}": 8'),
    "a bad escape": lambda text: text.replace('"seed"', r'"\x41"'),
    "a control character": lambda text: text.replace('"seed"', '"se\x01ed"'),
    "nested lists": lambda text: "[" * 200_000 + "]" * 200_000,
    "nested objects": lambda text: '{"a":' * 100_000 + "1" + "}" * 100_000,
    "nested in a key": lambda text: text.replace('"seed": 7', '"seed": ' + "[" * 5000 + "]" * 5000),
}


class TestRoundTrip:
    @pytest.mark.parametrize("kind", PARAMS)
    def test_every_field(self, kind: str, tmp_path: Path) -> None:
        model = random_model(PARAMS[kind], members=2)
        model.save(tmp_path / "m.mliuq")
        again = Model.load(tmp_path / "m.mliuq")
        assert again.params == model.params
        assert again.theta.tobytes() == model.theta.tobytes()
        assert again.members.tobytes() == model.members.tobytes()
        assert again.zbl is again.noise is again.calibration is None

    def test_everything_a_file_may_hold(self, model: Model, saved: Path) -> None:
        again = Model.load(saved)
        assert (again.zbl, again.noise, again.calibration) == (model.zbl, model.noise, model.calibration)
        assert again.metadata == model.metadata
        assert again.arrays.keys() == model.arrays.keys()
        for name, array in model.arrays.items():
            assert again.arrays[name].shape == array.shape
            assert again.arrays[name].tobytes() == np.ascontiguousarray(array).tobytes(), name

    def test_extreme_numbers(self, tmp_path: Path) -> None:
        params = PARAMS["linear"]
        theta = random_model(params).theta
        theta[0, :6] = [5e-324, -0.0, 1.7976931348623157e308, -2.2250738585072014e-308, np.nextafter(1, 2), 1e-310]
        Model(params, theta).save(tmp_path / "m.mliuq")
        assert Model.load(tmp_path / "m.mliuq").theta.tobytes() == theta.tobytes()

    def test_same_model_same_bytes(self, model: Model, saved: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.mliuq"
        Model(
            metadata=dict(reversed(model.metadata.items())),
            arrays={name: np.asfortranarray(a) for name, a in reversed(model.arrays.items())},
            params=model.params,
            theta=model.theta.copy(),
            members=model.members.copy(),
            zbl=list(model.zbl),
            noise=dict(reversed(model.noise.items())),
            calibration=model.calibration,
        ).save(other)
        assert other.read_bytes() == saved.read_bytes()
        Model.load(saved).save(other)
        assert other.read_bytes() == saved.read_bytes()

    def test_the_metadata_are_one_canonical_json_text(self, saved: Path) -> None:
        header, _ = split(saved.read_bytes())
        assert list(header["__metadata__"]) == ["checksum", "mliuq"]
        text = header["__metadata__"]["mliuq"]
        assert text == json.dumps(json.loads(text), sort_keys=True)
        assert json.loads(text)["format_version"] == 1

    def test_other_programs_read_it(self, model: Model, saved: Path) -> None:
        theirs = load_file(saved)
        assert theirs.keys() == {"theta", "members", *model.arrays}
        np.testing.assert_array_equal(theirs["members"], model.members)
        header, data = split(saved.read_bytes())
        begin, end = header["theta"]["data_offsets"]
        assert header["theta"]["dtype"] == "F64"
        np.testing.assert_array_equal(np.frombuffer(data[begin:end], "<f8").reshape(model.theta.shape), model.theta)

    def test_python_and_c_plus_plus_give_the_same_numbers(self, model: Model, saved: Path) -> None:
        ask = {"spreads": True, "committee": True, "extrapolation": True, "atom_virials": True, "threads": 1}
        packed = pack(structure("triclinic", model.params), model.params, model.potential().cutoff)
        expected = model.potential().evaluate(packed, **ask)
        file = read_model_file(str(saved))
        for potential in (Model.load(saved).potential(), Potential(file)):
            for name, value in potential.evaluate(packed, **ask).items():
                np.testing.assert_array_equal(value, expected[name], err_msg=name)
        for key in ("alpha_energy", "alpha_force", "alpha_stress", "noise_energy", "noise_force", "noise_stress"):
            assert getattr(file.error_scale, key) == getattr(model.error_scale, key)
        assert MLIUQCalculator(saved).model.params == model.params

    def test_files_of_old_have_no_checksum(self, model: Model, saved: Path, damaged: Callable) -> None:
        path = damaged(lambda header, data: None)
        assert "checksum" not in split(path.read_bytes())[0]["__metadata__"]
        assert Model.load(path).theta.tobytes() == model.theta.tobytes()
        assert read_model_file(str(path)).params.twojmax == model.params.twojmax

    @pytest.mark.parametrize("depth", [63, 64])
    def test_what_is_nested_and_still_read(self, damaged: Callable, depth: int) -> None:
        def change(header: dict[str, Any], data: bytearray) -> None:
            text = json.dumps(header["__metadata__"]["mliuq"])
            header["__metadata__"]["mliuq"] = f'{{"x": {"[" * depth}{"]" * depth}, {text[1:]}'

        path = damaged(change)
        for read in READERS.values():
            read(path)


class TestWriting:
    def test_names_that_are_no_text_are_kept_as_escapes(self, model: Model, tmp_path: Path) -> None:
        name = os.fsdecode(b"data-\xff.xyz")  # as the file system hands it over
        path = tmp_path / "m.mliuq"
        Model(model.params, model.theta, metadata={"fit": {"files": [name], name: 1}}).save(path)
        assert Model.load(path).metadata["fit"] == {"files": [r"data-\udcff.xyz"], r"data-\udcff.xyz": 1}
        read_model_file(str(path))

    @pytest.mark.parametrize("value", [10**310, {"a": 1, 1: 2}, [[]] * 1_000_001, "deep"])
    def test_what_the_readers_would_refuse_is_not_written(self, model: Model, tmp_path: Path, value: Any) -> None:
        if value == "deep":
            for _ in range(70):
                value = [value]
        with pytest.raises(MliuqError, match="metadata cannot be stored"):
            Model(model.params, model.theta, metadata={"fit": {"x": value}}).save(tmp_path / "m.mliuq")
        assert os.listdir(tmp_path) == []

    def test_writing_replaces_and_leaves_no_litter(self, model: Model, saved: Path) -> None:
        model.save(saved)
        assert os.listdir(saved.parent) == [saved.name]
        umask = os.umask(0)
        os.umask(umask)
        assert saved.stat().st_mode & 0o777 == 0o666 & ~umask

    def test_refusals_leave_the_old_file(self, model: Model, saved: Path) -> None:
        before = saved.read_bytes()
        bad = {
            r'array "x" holds values that are not finite': {"arrays": {"x": np.array([np.nan])}},
            "metadata cannot be stored": {"metadata": {"seed": {1, 2}}},
            "metadata cannot be stored: .*": {"metadata": {"seed": float("nan")}},
        }
        for message, change in bad.items():
            other = Model(model.params, model.theta, **change)
            with pytest.raises(MliuqError, match=message):
                other.save(saved)
        assert saved.read_bytes() == before
        assert os.listdir(saved.parent) == [saved.name]

    @pytest.mark.parametrize("where", ["missing/m.mliuq", "model.mliuq/m.mliuq", "."])
    def test_paths_that_cannot_be_written(self, model: Model, saved: Path, where: str) -> None:
        with pytest.raises(MliuqError, match="cannot be written"):
            model.save(saved.parent / where)
        assert os.listdir(saved.parent) == [saved.name]

    def test_a_killed_writer_leaves_the_old_file_whole(self, saved: Path) -> None:
        """Killed at random moments of saving again and again; the file must be whole each time."""
        writer = (
            "import sys; from mliuq import Model; m = Model.load(sys.argv[1]); print(flush=True)\n"
            "while True: m.save(sys.argv[1])"
        )
        before = saved.read_bytes()
        for delay in (0.0, 0.013, 0.034):
            process = subprocess.Popen([sys.executable, "-c", writer, str(saved)], stdout=subprocess.PIPE)
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            assert saved.read_bytes() == before


class TestDamage:
    def test_missing_and_foreign_files(self, tmp_path: Path) -> None:
        refuse(tmp_path / "none.mliuq", "no such file|cannot be opened")
        refuse(tmp_path)
        path = tmp_path / "m.mliuq"
        for content in (
            b"",
            b"\x00",
            b"1234567",
            b"# LAMMPS potential\nW 0.5 1\n" * 20,
            bytes(range(256)) * 9,
            b"{}" * 99,
        ):
            path.write_bytes(content)
            refuse(path)
        save_file({"weight": np.eye(3)}, path)
        refuse(path, "a safetensors file without mliuq metadata, expected a .mliuq model file")
        save_file({"weight": np.eye(3)}, path, metadata={"format": "pt"})
        refuse(path, "a safetensors file without mliuq metadata")

    def test_truncated_anywhere(self, saved: Path) -> None:
        content = saved.read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        cuts = {*range(0, 9), header - 1, header, header + 1, len(content) - 1, len(content) - 8}
        cuts |= set(np.linspace(0, len(content) - 1, 60, dtype=int).tolist())
        for cut in sorted(cuts):
            saved.write_bytes(content[:cut])
            refuse(saved)

    def test_a_flipped_bit_anywhere(self, saved: Path) -> None:
        """Some of them: the C++ tests flip every bit of a small file."""
        content = saved.read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        rng = np.random.default_rng(3)
        for trial in range(200):
            at = int(rng.integers(header if trial % 2 else 0, len(content) if trial % 2 else header))
            flipped = bytearray(content)
            flipped[at] ^= 1 << int(rng.integers(8))
            saved.write_bytes(flipped)
            refuse(saved)

    @pytest.mark.parametrize("checksum", ["", "crc32:", "crc32:0000000", "md5:00000000ab", "crc32:FFFFFFFF"])
    def test_a_checksum_of_another_form(self, saved: Path, checksum: str) -> None:
        header, data = split(saved.read_bytes())
        header["__metadata__"]["checksum"] = checksum
        saved.write_bytes(join(header, data))
        refuse(saved, "checksum")

    def test_arrays_that_overlap_or_leave_a_gap(self, damaged: Callable) -> None:
        def overlap(header: dict[str, Any], data: bytearray) -> None:
            header["twin"] = dict(header["theta"])

        refuse(damaged(overlap), "where the one before it ends")

    def test_a_gap_between_arrays(self, damaged: Callable) -> None:
        def gap(header: dict[str, Any], data: bytearray) -> None:
            for entry in header.values():
                if "data_offsets" in entry:
                    entry["data_offsets"] = [offset + 8 for offset in entry["data_offsets"]]
            data[:0] = bytes(8)

        refuse(damaged(gap), "where the one before it ends")

    def test_unknown_texts(self, saved: Path) -> None:
        header, data = split(saved.read_bytes())
        header["__metadata__"]["chdcksum"] = header["__metadata__"].pop("checksum")
        saved.write_bytes(join(header, data))
        refuse(saved, "chdcksum")

    def test_something_after_the_end(self, saved: Path) -> None:
        saved.write_bytes(saved.read_bytes() + b"\x00" * 8)
        refuse(saved)

    @pytest.mark.parametrize("size", [0, 1, 2**31, 2**32, 2**40, 2**62, 2**63, 2**64 - 9, 2**64 - 8, 2**64 - 1])
    def test_absurd_header_sizes(self, saved: Path, size: int) -> None:
        saved.write_bytes(size.to_bytes(8, "little") + saved.read_bytes()[8:])
        refuse(saved)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("name", ["theta", "members", "extrapolation.factor"])
    def test_values_that_are_not_finite(self, damaged: Callable, name: str, value: float) -> None:
        def change(header: dict[str, Any], data: bytearray) -> None:
            begin = header[name]["data_offsets"][0]
            data[begin + 16 : begin + 24] = np.float64(value).tobytes()

        refuse(damaged(change), rf'array "{name}" holds .* not finite')

    @pytest.mark.parametrize("how", HEADERS)
    def test_header(self, damaged: Callable, how: str) -> None:
        change, message = HEADERS[how]
        refuse(damaged(lambda header, _: change(header)), message)

    @pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I32", "U8", "BOOL"])
    def test_narrow_types(self, damaged: Callable, dtype: str) -> None:
        width = {"F32": 4, "I32": 4, "F16": 2, "BF16": 2}.get(dtype, 1)

        def change(header: dict[str, Any], data: bytearray) -> None:
            entry = header["theta"]
            entry.update(dtype=dtype, shape=[entry["shape"][0], entry["shape"][1] * 8 // width])

        refuse(damaged(change), "theta")

    @pytest.mark.parametrize("how", METADATA)
    def test_metadata(self, damaged: Callable, how: str) -> None:
        change, message = METADATA[how]
        refuse(damaged(lambda header, _: change(header["__metadata__"]["mliuq"])), message)

    @pytest.mark.parametrize("how", TEXTS)
    def test_metadata_text(self, damaged: Callable, how: str) -> None:
        def change(header: dict[str, Any], data: bytearray) -> None:
            text = json.dumps(header["__metadata__"]["mliuq"])
            changed = TEXTS[how](text)
            assert changed != text
            header["__metadata__"]["mliuq"] = changed

        refuse(damaged(change))

    @pytest.mark.parametrize(
        "text",
        [
            b"[" * 500_000,
            b'{"a":' * 300_000,
            b"null",
            b"5",
            b'"x"',
            b"\xff\xfe{}",
            b'{"theta": 1, "\xff": 2, "\xff": 2}',
        ],
    )
    def test_header_text(self, saved: Path, text: bytes) -> None:
        saved.write_bytes(join(text, b""))
        refuse(saved)

    def test_an_array_named_twice(self, saved: Path) -> None:
        header, data = split(saved.read_bytes())
        text = json.dumps(header)[:-1] + f', "theta": {json.dumps(header["theta"])}}}'
        saved.write_bytes(join(text.encode(), data))
        refuse(saved)

    def test_many_small_values_take_no_unbounded_memory(self, saved: Path) -> None:
        """A path is kept for each value: a long key above many values would multiply."""
        header, data = split(saved.read_bytes())
        del header["__metadata__"]["checksum"]
        header["__metadata__"]["mliuq"] = '{"' + "k" * 10**6 + '": [' + "0," * 900_000 + "0]}"
        saved.write_bytes(join(header, data))
        refuse(saved, "format_version")
        header["__metadata__"]["mliuq"] = "[" + "0," * 3_000_000 + "0]"
        saved.write_bytes(join(header, data))
        refuse(saved)

    def test_random_damage(self, saved: Path) -> None:
        """Random bytes changed, cut out, doubled: both readers refuse or accept, and raise nothing but MliuqError.

        Where both accept, they must have read the same weights.
        """
        content = saved.read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        rng = np.random.default_rng(0)
        for trial in range(1000):
            damaged = bytearray(content)
            for _ in range(rng.integers(1, 4)):
                at = int(rng.integers(0, header if trial % 5 else len(damaged)))
                match rng.integers(0, 4):
                    case 0:
                        damaged[at] = rng.integers(0, 256)
                    case 1:
                        damaged[at : at + 1] = rng.choice(list(b'{}[]":,0123456789.-eEnft\\u ')).tobytes()[:1]
                    case 2:
                        del damaged[at : at + int(rng.integers(1, 9))]
                    case 3:
                        damaged[at:at] = damaged[at : at + int(rng.integers(1, 30))]
            if trial % 2:  # a header length that fits what became of the header
                damaged[:8] = (header - 8 + len(damaged) - len(content)).to_bytes(8, "little", signed=True)
            saved.write_bytes(damaged)
            read = {}
            for name, reader in READERS.items():
                try:
                    read[name] = reader(saved)
                except MliuqError as error:
                    assert str(saved) in str(error), name  # noqa: PT017
            if len(read) == 2:
                core = read["c++"].params
                assert core.elements == list(read["python"].params.elements)
                assert core.rcutfac == read["python"].params.rcutfac
