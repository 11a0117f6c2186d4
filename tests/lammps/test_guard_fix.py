"""`fix mliuq/guard`: saves above one threshold, ends the run above another, and says which atoms."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from mliuq import MLIUQCalculator
from runner import Output, run, structure

Make = Callable[..., Path]
Structures = Callable[..., dict[str, Atoms]]

CALIBRATION = {
    "noise": {"energy": 0.001, "force": 0.1, "stress": 0.001},
    "calibration": {"alpha_energy": 1.2, "thresholds": {"energy_err": [0.2, 0.25], "energy_std": [0.05, 0.3]}},
}
SQUEEZE = "timestep 0.001\nfix move all nve\nfix squeeze all deform 1 x erate -4.0 remap x\n"
MOVE = "timestep 0.001\nfix move all nve\nvelocity all create 300 7 loop geom\n"
END = "print 'AFTER $(step) $(f_g[1]:%.12g) $(f_g[2]) $(f_g[3]) $(f_g[4])'\n"


@pytest.fixture(scope="module")
def model(make_model: Make) -> Path:
    return make_model("Ta06A", 20, file="guarded.mliuq", factor=True, **CALIBRATION)


@pytest.fixture
def start(model: Path, structures: Structures, tmp_path: Path) -> str:
    script = structure(structures("Ta")["rattled"], tmp_path, ["Ta"])
    script += f"pair_style mliuq\npair_coeff * * {model} Ta\ncompute u all mliuq/atom energy_err\n"
    return script + "compute m all reduce max c_u\n"


def after(output: Output) -> list[float]:
    """Step, largest value, its atom, frames saved, steps above, as the script saw them once the run had ended."""
    assert output.returncode == 0, output.text
    (line,) = re.findall(r"^AFTER (.*)", output.text, flags=re.MULTILINE)
    return [float(word) for word in line.split()]


def messages(output: Output) -> list[str]:
    return [line for line in output.text.splitlines() if line.startswith("Fix mliuq/guard")]


def series(start: str, tmp_path: Path, steps: int = 30) -> np.ndarray:
    """Largest energy_err at every step of the unguarded run, independently of the guard: (steps + 1,)."""
    read_ahead = "fix h all ave/time 1 1 1 c_m file h.txt format ' %.12g'\n"
    output = run(start + read_ahead + SQUEEZE + f"run {steps}\n", tmp_path)
    assert output.returncode == 0, output.text
    return np.loadtxt(tmp_path / "h.txt")[:, 1]


def test_same_on_any_number_of_ranks(start: str, model: Path, tmp_path: Path) -> None:
    """Halts at the first step above, saves exactly the steps in between, names the same atoms, and ASE agrees."""
    values = series(start.replace("fix squeeze", "#"), tmp_path)
    halt, save = float(values[22] * 0.999999), float(values[12] * 0.999999)
    assert values.argmax() > 12, "the run must become less certain"
    first = next(i for i, value in enumerate(values) if value > halt)
    between = [i for i in range(first + 1) if values[i] > save]
    lines, frames = [], []
    for ranks in (1, 2, 4):
        file = f"frames-{ranks}.xyz"
        guard = f"fix g all mliuq/guard 1 energy_err save {save} halt {halt} file {file} worst 3 also energy_max\n"
        output = run(start + guard + SQUEEZE + "run 60\n" + END, tmp_path, ranks=ranks)
        step, value, atom, saved, above = after(output)
        assert (step, saved, above) == (first, len(between), len(between))
        assert value == pytest.approx(values[first], rel=1e-9)
        (line,) = messages(output)
        lines.append(line)
        frames.append(read(tmp_path / file, ":"))
        assert [frame.info["step"] for frame in frames[-1]] == between
        assert frames[-1][-1].info["atom"] == atom
    assert len(set(lines)) == 1
    for word in (
        f"step {first}:",
        "energy_err",
        " eV",
        f"above halt {halt:.6g}",
        "worst atoms",
        f"of atom {atom:.0f} ",
    ):
        assert word in lines[0]
    for one, two, four in zip(*frames, strict=True):
        for other in (two, four):
            np.testing.assert_allclose(one.positions, other.positions, rtol=0, atol=1e-9)
            np.testing.assert_array_equal(one.arrays["id"], other.arrays["id"])
        bare = one.copy()
        bare.calc = MLIUQCalculator(model)
        assert one.get_potential_energy() == pytest.approx(bare.get_potential_energy(), rel=1e-10)
        scale = np.abs(bare.get_forces()).max()
        np.testing.assert_allclose(one.get_forces(), bare.get_forces(), rtol=0, atol=1e-9 * scale)
        np.testing.assert_allclose(one.arrays["energy_err"], bare.calc.results["energies_err"], rtol=1e-9)
        np.testing.assert_allclose(one.arrays["energy_max"], bare.calc.results["energies_max"], rtol=1e-9)
        assert one.info["quantity"] == "energy_err"
        assert one.info["unit"] == "eV"
        assert one.pbc.all()
        assert one.arrays["energy_err"].max() == pytest.approx(one.info["value"], rel=1e-9)


def test_actions(start: str, tmp_path: Path) -> None:
    values = series(start, tmp_path)
    guard = f"fix g all mliuq/guard 1 energy_err halt {values[10] * 0.999999} "
    tail = "\n" + SQUEEZE + "run 30\nwrite_restart r.bin\nrun 5\n" + END
    soft = after(run(start + guard + tail, tmp_path))
    assert (tmp_path / "r.bin").exists()
    go_on = after(run(start + guard + "action continue" + tail, tmp_path))
    assert soft[0] <= 10
    assert go_on[0] >= soft[0]
    hard = run(start + guard + "action hard" + tail, tmp_path, ranks=2)
    assert hard.returncode == 1
    (error,) = hard.errors
    assert f"step {soft[0]:.0f}: energy_err of atom" in error
    assert "AFTER" not in hard.text


def test_maximum_limit_and_repeats(start: str, tmp_path: Path) -> None:
    """At most M frames, none twice, none above the limit."""
    file = tmp_path / "g.xyz"
    many = start + "fix g all mliuq/guard 1 energy_err save 1e-6 max 3\n" + MOVE
    *_, saved, above = after(run(many + "run 10\n" + END, tmp_path))
    assert (saved, above) == (3, 11)
    assert len(read(file, ":")) == 3
    file.unlink()
    *_, saved, above = after(run(many + "run 0\nrun 0\nrun 2 every 1 'print x'\nrun 0\n" + END, tmp_path))
    assert (saved, above) == (3, 3)
    assert [frame.info["step"] for frame in read(file, ":")] == [0, 1, 2]
    file.unlink()
    exploded = run(start + "fix g all mliuq/guard 1 energy_err save 1e-6 halt 2e-6 limit 1e-5\nrun 0\n" + END, tmp_path)
    assert after(exploded)[3] == 0
    assert "above the limit 1e-05: not saved" in messages(exploded)[0]
    assert not file.exists()


@pytest.mark.parametrize("boundary", ["p p p", "p p s"])
def test_restart_goes_on_counting(boundary: str, start: str, tmp_path: Path) -> None:
    """And saves no frame again, not even where LAMMPS wraps the box about the atoms anew."""
    start = start.replace("boundary p p p", f"boundary {boundary}")
    guard = "fix g all mliuq/guard 1 energy_err save 1e-6 max 5\n"
    after(run(start + guard + MOVE + "run 2\nwrite_restart r.bin\n" + END, tmp_path))
    again = re.sub(r"read_data.*", "read_restart r.bin", start).replace(f"units metal\nboundary {boundary}\n", "")
    again = again.replace("atom_modify map array\n", "")
    output = run(again + guard + "fix move all nve\nrun 9\n" + END, tmp_path)
    *_, saved, above = after(output)
    assert (saved, above) == (5, 12)
    assert [frame.info["step"] for frame in read(tmp_path / "g.xyz", ":")] == [0, 1, 2, 3, 4]


def test_thresholds_of_the_model(start: str, model: Path, tmp_path: Path) -> None:
    output = run(start + "fix g all mliuq/guard 1 energy_err save auto halt auto\nrun 0\n" + END, tmp_path)
    assert "save 0.2 halt 0.25 eV" in messages(output)[0]
    refused = run(start + "fix g all mliuq/guard 1 extrapolation save auto\nrun 0\n", tmp_path)
    (error,) = refused.errors
    assert "save auto" in error
    assert "no threshold of extrapolation (it holds those of energy_err, energy_std)" in error


@pytest.mark.parametrize("ranks", [1, 2])
def test_fails_closed(ranks: int, start: str, make_model: Make, tmp_path: Path) -> None:
    """A bar that is no number ends the run, softly: the script goes on and writes what it has."""
    broken = make_model("Ta06A", 20, file="guard-overflow.mliuq", overflow=True)
    script = re.sub(r"pair_coeff.*\n", f"pair_coeff * * {broken} Ta\n", start) + "fix 1 all nve\n"
    for quantity in ("energy_err", "cell_energy_err"):
        output = run(script + f"fix g all mliuq/guard 1 {quantity} halt 1e9\nrun 5\n" + END, tmp_path, ranks=ranks)
        step, value, *_ = after(output)
        assert step == 0
        assert value == np.inf
        assert "is not a finite number" in messages(output)[0]
        assert not (tmp_path / "g.xyz").exists()


def test_minimisation_judges_where_it_went(start: str, tmp_path: Path) -> None:
    """Trial positions of line searches are forgotten: every frame is one that a dump has, too."""
    dump = "dump d all custom 1 d.txt id x y z\ndump_modify d sort id format float %.14g\n"
    guard = "fix g all mliuq/guard 1 energy_err save 1e-6 max 100\n"
    output = run(start + guard + dump + "minimize 0 0 6 60\n" + END, tmp_path)
    step, value, _, saved, _ = after(output)
    frames = read(tmp_path / "g.xyz", ":")
    assert saved == len(frames) == step + 1
    blocks = (tmp_path / "d.txt").read_text().split("ITEM: TIMESTEP\n")[1:]
    cell = frames[0].cell.lengths()
    for frame, block in zip(frames, blocks, strict=True):
        assert frame.info["step"] == int(block.split()[0])
        table = np.array([line.split() for line in block.split("ITEM: ATOMS id x y z")[1].splitlines()[1:]], float)
        shift = frame.positions - table[:, 1:]
        np.testing.assert_allclose(shift - np.round(shift / cell) * cell, 0.0, atol=1e-9)
    assert frames[-1].info["value"] == pytest.approx(value, rel=1e-9)


def test_rerun_and_several_guards(start: str, tmp_path: Path) -> None:
    """Frames of an old trajectory are judged like those of a run; each guard counts for itself."""
    dump = "dump d all custom 1 d.txt id type xu yu zu\ndump_modify d format float %.17g\n"
    values = series(start, tmp_path)[:11]
    assert run(start + dump + SQUEEZE + "run 10\n", tmp_path).returncode == 0
    low, high = np.quantile(values, [0.3, 0.7])
    guards = f"fix g all mliuq/guard 1 energy_err save {low}\nfix h all mliuq/guard 2 energy_err save {high}\n"
    output = run(start + guards + "rerun d.txt dump x y z box yes\n" + END + END.replace("f_g", "f_h"), tmp_path)
    assert output.returncode == 0, output.text
    (g, h) = (line.split() for line in re.findall(r"^AFTER (.*)", output.text, flags=re.MULTILINE))
    expected = np.array([frame.info["value"] for frame in read(tmp_path / "g.xyz", ":")])
    assert int(g[3]) == len(expected) > 2
    assert (expected > low).all()
    assert int(h[3]) < int(g[3])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("", ["N QUANTITY"]),
        ("0 energy_err halt 1", ["N:", "0"]),
        ("10 energy_min halt 1", ["energy_err", "energy_min"]),
        ("10 energy_err", ["threshold", "none"]),
        ("10 energy_err save", ["save", "end of the line"]),
        ("10 energy_err save -1", ["save", "above 0", "-1"]),
        ("10 energy_err save 2 halt 1", ["save at most halt", "2", "1"]),
        ("10 energy_err halt 1 action stop", ["action", "soft, hard or continue", "stop"]),
        ("10 energy_err halt 1 colour red", ["worst", "colour"]),
        ("10 energy_err halt 1 max -1", ["max", "-1"]),
        ("10 energy_err halt 1 pair 2", ["pair 2", "1 pair styles"]),
        ("10 energy_err halt 1 also force", ["also", "force"]),
        ("10 energy_err halt 1 file /nowhere/g.xyz", ["file /nowhere/g.xyz", "No such file"]),
        ("10 energy_err halt auto save 1e9", ["save at most halt"]),
        ("10 energy_err halt 1 halt 2", ["halt is given twice"]),
    ],
)
def test_mistakes(words: str, named: list[str], start: str, tmp_path: Path) -> None:
    output = run(start + f"fix g all mliuq/guard {words}\nrun 0\n", tmp_path)
    assert output.returncode == 1, output.text
    (error,) = output.errors
    assert "Fix mliuq/guard g" in error
    assert all(word in error for word in named), error


def test_more_atoms_named_than_there_are(start: str, tmp_path: Path) -> None:
    output = run(start + "fix g all mliuq/guard 1 energy_err halt 1e-6 worst 1000000000\nrun 1\n", tmp_path)
    assert output.returncode == 0, output.text
    (line,) = [line for line in output.text.splitlines() if "worst atoms" in line]
    assert line.count(" (") >= 2


@pytest.mark.parametrize("kind", ["model", "text", "one long line"])
def test_frames_are_not_appended_to_other_files(kind: str, model: Path, start: str, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes({"model": model.read_bytes(), "text": b"units metal\n", "one long line": b"1" * 100}[kind])
    before = path.read_bytes()
    output = run(start + "fix g all mliuq/guard 1 energy_err save 1e-6 file other\nrun 1\n", tmp_path)
    assert output.returncode == 1
    (error,) = output.errors
    assert "file other: cannot be written: holds something else than frames (extended XYZ)" in error
    assert path.read_bytes() == before


@pytest.mark.parametrize("ranks", [1, 2])
def test_disk_full(ranks: int, start: str, tmp_path: Path) -> None:
    """A frame that cannot be written is one warning; the run goes on, and is guarded."""
    guard = "fix g all mliuq/guard 1 energy_err save 1e-6 file /dev/full\n"
    output = run(start + guard + SQUEEZE + "run 3\n" + END, tmp_path, ranks=ranks)
    step, _, _, saved, above = after(output)
    assert (step, saved, above) == (3, 0, 4)
    (warning,) = [line for line in output.text.splitlines() if "file /dev/full" in line and "WARNING" in line]
    assert "No space left" in warning
    assert "those before it are untouched" in warning


def test_group_and_cell(start: str, tmp_path: Path) -> None:
    script = start + "compute g all mliuq\ngroup few id 3 7 11\nthermo_style custom step c_g[5]\n"
    script += "fix g few mliuq/guard 1 energy_err save 1e-6 also extrapolation file few.xyz\n"
    script += "fix h all mliuq/guard 1 cell_energy_err save 1e-9 file cell.xyz\nrun 0\n"
    output = run(script + "print 'CELL $(c_g[5]/atoms:%.12g) $(f_h[1]:%.12g) $(f_h[2])'\n" + END, tmp_path)
    _, value, atom, *_ = after(output)
    (cell,) = re.findall(r"^CELL (.*)", output.text, flags=re.MULTILINE)
    expected, found, none = (float(word) for word in cell.split())
    assert found == pytest.approx(expected, rel=1e-9)
    assert none == 0.0
    frame = read(tmp_path / "few.xyz")
    few = np.isin(frame.arrays["id"], [3, 7, 11])
    assert atom in (3, 7, 11)
    assert value == pytest.approx(frame.arrays["energy_err"][few].max(), rel=1e-9)
    assert (frame.arrays["extrapolation"] > 0).all()
    assert read(tmp_path / "cell.xyz").info["unit"] == "eV/atom"


@pytest.mark.parametrize("ranks", [1, 2])
def test_bars_of_forces_and_pressure(ranks: int, start: str, model: Path, tmp_path: Path) -> None:
    """The observables are guarded too, with their own units, and equal the computes and the ASE door."""
    script = start + "compute g all mliuq\nthermo_style custom step c_g[6] c_g[7] c_g[9]\nfix 1 all nve\n"
    script += "fix g all mliuq/guard 2 force_err save 1e-6\nfix p all mliuq/guard 2 pressure_err save 1e-6 file p.xyz\n"
    script += "run 2\nprint 'READ $(c_g[6]:%.12g) $(c_g[7]) $(c_g[9]:%.12g) $(f_p[1]:%.12g)'\n" + END
    output = run(script, tmp_path, ranks=ranks)
    step, value, atom, saved, _ = after(output)
    (line,) = re.findall(r"^READ (.*)", output.text, flags=re.MULTILINE)
    force, worst, pressure, guarded = (float(word) for word in line.split())
    assert (step, saved, atom) == (2, 2, worst)
    assert value == pytest.approx(force, rel=1e-9)
    assert guarded == pytest.approx(pressure, rel=1e-9)
    frame = read(tmp_path / "g.xyz", -1)
    assert frame.info["unit"] == "eV/A"
    assert read(tmp_path / "p.xyz", -1).info["unit"] == "bar"
    bare = frame.copy()
    bare.calc = MLIUQCalculator(model)
    expected = np.linalg.norm(bare.calc.get_property("forces_err", bare), axis=1)
    np.testing.assert_allclose(frame.arrays["force_err"], expected, rtol=1e-8)
