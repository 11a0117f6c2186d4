"""Every setting of a fit, changed, shows in the model where it must; a new setting without a row fails."""

from __future__ import annotations

import logging
import re
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import mliuq
import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from mliuq.cli import main
from mliuq.errors import MliuqError
from mliuq.fitting.settings import FitSettings
from mliuq.model import Model
from mliuq.readers import read_structures

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "reference" / "fit-settings.md"
SMALL = {"snap.twojmax": 2, "posterior.members": 16, "weights.energy": 100.0, "posterior.classes_out": "none"}
BOX = {"posterior.kind": "hypercube"}
STRESS = {"weights.stress": 100.0, "data.stress_key": "S2"}
INNER = {"snap.switchinnerflag": True, "snap.elements": ("W",), "snap.sinner": (1.8,), "snap.dinner": (0.4,)}

#: Setting -> what else is set, the value, and the parts of the model that must change with it.
ROWS: dict[str, tuple[dict[str, Any], Any, str]] = {
    "data.test_fraction": ({}, 0.5, "theta members fingerprints"),
    "data.energy_key": ({}, "E2", "theta"),
    "data.forces_key": ({}, "F2", "theta"),
    "data.stress_key": ({"weights.stress": 100.0}, "S2", "theta"),
    "data.group_key": ({"weights.groups": {"bcc": {"force": 50.0}}}, "kind", "theta"),
    "data.stress_unit": (STRESS, "GPa", "theta"),
    "data.stress_sign": (STRESS, "compression", "theta"),
    "snap.twojmax": ({}, 4, "params theta"),
    "snap.rcut": ({}, 4.2, "params theta"),
    "snap.elements": ({}, ("W", "Be"), "params theta"),
    "snap.radii": ({"snap.elements": ("W",)}, (0.45,), "params theta"),
    "snap.weights": ({"snap.elements": ("W",)}, (0.8,), "params theta"),
    "snap.quadratic": ({}, True, "params theta"),
    "snap.zbl": ({}, (1.5, 2.4), "zbl theta"),
    "snap.rfac0": ({}, 0.9, "params theta"),
    "snap.rmin0": ({}, 0.3, "params theta"),
    "snap.switchflag": ({}, False, "params theta"),
    "snap.bzeroflag": ({}, False, "params theta"),
    "snap.bnormflag": ({}, True, "params theta"),
    "snap.chemflag": ({}, True, "params"),
    "snap.wselfallflag": ({"snap.chemflag": True}, True, "params"),
    "snap.switchinnerflag": ({}, True, "params theta"),  # with INNER
    "snap.sinner": (INNER, (2.2,), "params theta"),
    "snap.dinner": (INNER, (0.6,), "params theta"),
    "weights.energy": ({}, 5000.0, "theta"),
    "weights.force": ({}, 30.0, "theta"),
    "weights.stress": ({}, 1e5, "theta calibration"),
    "weights.groups": ({}, {"bcc": {"energy": 0.0, "force": 9.0}}, "theta"),
    "weights.columns": ({}, {"force": "w"}, "theta"),
    "weights.columns_multiply_rows": ({"weights.columns": {"force": "w"}}, True, "theta"),
    "weights.near_equilibrium": ({}, {"energy_scale": 0.1}, "theta"),
    "solver.ridge": ({"solver.ridge": 0.0}, 10.0, "theta"),
    "solver.rcond": ({}, 0.3, "theta"),
    "solver.one_body": ({}, {"W": -4.1}, "theta"),
    "posterior.kind": ({}, "ensemble", "members"),
    "posterior.members": ({}, 9, "members"),
    "posterior.sampler": (BOX, "sobol", "members"),
    "posterior.leverage_percentile": (BOX, 60.0, "members"),
    "posterior.minimum_relative_error": (BOX, 2.0, "members"),
    "posterior.negligible_leverage": (BOX, 0.5, "members"),
    "posterior.mode_threshold": (BOX, 0.1, "members"),
    "posterior.percentile_clipping": (BOX, 20.0, "members"),
    "posterior.prior": ({}, 5.0, "members"),
    "posterior.calibrate": ({}, False, "calibration"),
    "posterior.calibration_source": ({}, "left-out", "calibration"),
    "posterior.calibration_folds": ({}, 3, "calibration"),
    "posterior.extrapolation": ({}, False, "arrays"),
    "posterior.environments": ({}, 7, "arrays"),
    "seed": ({}, 3, "members fingerprints"),
}

#: Settings that other tests vary, and where; the word stands in that file.
ELSEWHERE = {
    "data.train": "cli/test_every_option.py",
    "data.test": "cli/test_every_option.py",
    "data.represent": "fitting/test_representing.py",
    "data.types": "readers/test_dialects.py",
    "data.length_unit": "readers/test_dialects.py",
    "data.energy_unit": "readers/test_dialects.py",
    "data.reference": "reference/test_reference_potentials.py",
    "posterior.classes_out": "fitting/test_classes_out.py",
    "data.skip_missing": "fitting/test_every_setting.py",
    "solver.robust": "fitting/test_every_setting.py",
    "solver.isolated_atoms": "fitting/test_fit_arguments.py",
    "solver.rows": "fitting/test_fitting.py",
    "solver.threads": "fitting/test_fitting.py",
    "solver.cache": "fitting/test_fit_arguments.py",
    "solver.memory": "fitting/test_every_setting.py",
}


def defaults(settings: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for f in fields(settings):
        value = getattr(settings, f.name)
        found |= defaults(value, f"{f.name}.") if is_dataclass(value) else {f"{prefix}{f.name}": value}
    return found


@pytest.fixture(scope="module")
def structures(tungsten: Path) -> list[Atoms]:
    """With second values under other names, and every other configuration of a group of its own."""
    found = read_structures(tungsten)[::8]
    for i, atoms in enumerate(found):
        atoms.info["E2"] = atoms.get_potential_energy() * (1.0 + 0.001 * (i % 3))
        atoms.arrays["F2"] = 1.3 * atoms.get_forces()
        atoms.info["S2"] = 1.4 * atoms.get_stress()
        atoms.info["kind"] = "bcc" if i % 2 else "other"
        atoms.info["w"] = 1.0 + i % 4
    return found


_made: dict[str, dict[str, Any]] = {}


def parts(structures: list[Atoms], settings: dict[str, Any]) -> dict[str, Any]:
    """What a fit of these settings makes of a model."""
    key = repr(sorted(settings.items()))
    if key not in _made:
        model = mliuq.fit(structures, settings=settings)
        arrays = {name: array.tobytes() for name, array in model.arrays.items() if name != "data.fingerprints"}
        _made[key] = {
            "theta": model.theta.tobytes(),
            "members": model.members.tobytes(),
            "params": model.params,
            "zbl": model.zbl,
            "calibration": model.calibration,
            "arrays": {name: array for name, array in arrays.items() if not name.startswith("posterior")},
            "fingerprints": model.metadata["data"]["held_out_fingerprint"],
            "settings": model.metadata["fit"]["settings"],
        }
    return _made[key]


@pytest.mark.parametrize("key", ROWS)
def test_a_setting_arrives(key: str, structures: list[Atoms]) -> None:
    others, value, where = ROWS[key]
    plain = parts(structures, {**SMALL, **others})
    asked = {**SMALL, **others, **(INNER if key == "snap.switchinnerflag" else {}), key: value}
    changed = parts(structures, asked)
    for part in where.split():
        assert changed[part] != plain[part], f"{key} does not show in {part}"
    stored = FitSettings.from_mapping(changed["settings"])
    assert stored == FitSettings().updated(asked)
    lammps = {"snap.rcut": "rcutfac", "snap.quadratic": "quadraticflag"}.get(key, key.removeprefix("snap."))
    if "params" in where:
        assert getattr(changed["params"], lammps) == value


def test_what_posteriors_calibrate_shows_only_there(structures: list[Atoms]) -> None:
    """Error bars change nothing of the best fit."""
    plain = parts(structures, SMALL)
    for key, (others, value, _) in ROWS.items():
        if key.startswith("posterior.") and not others:
            assert parts(structures, {**SMALL, key: value})["theta"] == plain["theta"], key


def test_configurations_without_forces_are_fitted_when_asked(structures: list[Atoms]) -> None:
    bare = structures[0].copy()
    bare.info["energy"] = structures[0].get_potential_energy()
    whole = {**SMALL, "data.test_fraction": 0.0}
    with pytest.raises(MliuqError, match="forces"):
        mliuq.fit([bare, *structures[1:]], settings=whole)
    found = mliuq.fit([bare, *structures[1:]], settings={**whole, "data.skip_missing": True})
    rows = {e["kind"]: e["rows"] for e in found.metadata["fit"]["errors"] if (e["of"], e["group"]) == ("train", "all")}
    assert rows["energy"] == len(structures)
    assert found.theta.tobytes() != mliuq.fit(structures, settings=whole).theta.tobytes()


def test_values_that_cannot_be_right_are_left_out_when_asked(structures: list[Atoms]) -> None:
    odd = [atoms.copy() for atoms in structures]
    for atoms, kept in zip(odd, structures, strict=True):
        atoms.calc = kept.calc
        atoms.info["E3"] = kept.get_potential_energy()
    odd[3].info["E3"] += 500.0
    settings = {**SMALL, "data.energy_key": "E3", "data.test_fraction": 0.0}
    plain, robust = (mliuq.fit(odd, settings={**settings, "solver.robust": how}) for how in (False, True))
    without = mliuq.fit([*odd[:3], *odd[4:]], settings=settings)
    np.testing.assert_allclose(robust.theta, without.theta, rtol=1e-6)
    assert np.abs(plain.theta - without.theta).max() > 1e-2


def test_rows_that_exceed_memory_go_to_disk(structures: list[Atoms], caplog: pytest.LogCaptureFixture) -> None:
    """`solver.memory` decides under `rows = "auto"`."""
    for memory, where in ((512.0, "memory"), (1e-4, "disk")):
        caplog.clear()
        with caplog.at_level(logging.INFO, "mliuq"):
            mliuq.fit(structures, settings={**SMALL, "solver.memory": memory, "posterior.calibrate": False})
        (said,) = (record.getMessage() for record in caplog.records if "MiB" in record.getMessage())
        assert said.endswith(f": {where}")


def test_every_setting_has_a_row() -> None:
    every = set(defaults(FitSettings()))
    assert set(ROWS) | set(ELSEWHERE) == every
    for key, file in ELSEWHERE.items():
        assert key.rpartition(".")[2] in (TESTS / file).read_text(encoding="utf-8"), f"{file} does not vary {key}"


def test_the_page_of_settings_tells_the_defaults() -> None:
    text = PAGE.read_text(encoding="utf-8")
    block = max(re.findall(r"```toml\n(.*?)```", text, re.DOTALL), key=len)
    table = tomllib.loads(block)
    told = {f"{section}.{key}": value for section, values in table.items() if isinstance(values, dict)
            for key, value in values.items()} | {"seed": table["seed"]}  # fmt: skip
    examples = {"data.train", "weights.groups", "weights.columns", "weights.near_equilibrium", "solver.one_body"}
    known = {key: list(v) if isinstance(v, tuple) else v for key, v in defaults(FitSettings()).items()}
    assert {key: value for key, value in told.items() if key not in examples} == {
        key: value for key, value in known.items() if key in told and key not in examples
    }
    assert set(known) - set(told) == {"data.length_unit", "data.energy_unit"}


def test_files_of_settings_are_those_that_are_fitted(structures: list[Atoms], tmp_path: Path) -> None:
    """`data.train` and `data.test` of a TOML file: two files each."""
    for name, part in (("a", structures[:4]), ("b", structures[4:8]), ("c", structures[8:10]), ("d", structures[10:])):
        bare = [Atoms(s.symbols, s.positions, cell=s.cell, pbc=True, calculator=s.calc) for s in part]
        write(tmp_path / f"{name}.xyz", bare)
    settings = FitSettings().updated({**SMALL, "data.train": ("a.xyz", "b.xyz"), "data.test": ("c.xyz", "d.xyz")})
    (tmp_path / "fit.toml").write_text(settings.to_toml(), encoding="utf-8")
    assert main(["fit", "--config", str(tmp_path / "fit.toml"), "-o", str(tmp_path / "W.mliuq")]) == 0
    data = Model.load(tmp_path / "W.mliuq").metadata["data"]
    assert (data["configurations"], data["held_out"]) == (8, len(structures) - 8)
