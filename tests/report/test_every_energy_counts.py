"""One isolated atom of large spread takes no other energy out of any table, and a crystal at rest no force into one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from mliuq.cli import main
from mliuq.cli.calibrate import errors_on
from mliuq.fitting import run_fit
from mliuq.model import Model
from mliuq.posterior.predict import Predictions
from mliuq.readers import read_structures
from mliuq.readers.settings import DataSettings
from mliuq.regression.rows import ENERGY, FORCE


@pytest.fixture(scope="module")
def spread_out(tungsten_split: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model whose energy of a lone atom is far more uncertain than of crystals; structures with such an atom."""
    train, test = tungsten_split
    settings = {"snap.twojmax": 2, "posterior.members": 20, "posterior.kind": "hypercube", "data.test_fraction": 0.0}
    model = run_fit(read_structures(train), settings=settings).model
    assert model.members is not None
    shift = np.linspace(-1e6, 1e6, model.n_members)
    members = model.members.copy()
    members[:, 0, 0] += shift  # β0 alone, taken back by the first component, which crystals have and lone atoms lack
    crystal = read_structures(test)[0]
    from mliuq.descriptor.bispectrum import descriptors

    first = float(np.mean(descriptors(crystal, model.params)[:, 0]))
    members[:, 0, 1] -= shift / first
    members = model.theta + (members - model.theta) / 1e3
    folder = tmp_path_factory.mktemp("far")
    Model(model.params, model.theta, members=members).save(folder / "far.mliuq")
    atom = Atoms("W", cell=[20, 20, 20], pbc=True)
    atom.calc = SinglePointCalculator(atom, energy=0.0, forces=np.zeros((1, 3)))
    write(folder / "far.xyz", [crystal, crystal, atom, crystal])
    return folder / "far.mliuq", folder / "far.xyz"


def test_report_and_calibration_keep_every_energy(
    spread_out: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, structures = spread_out
    assert main(["report", str(model), str(structures), "-o", str(tmp_path), "--json"]) == 0
    energies = json.loads(capsys.readouterr().out)["quantities"]["energy"]
    assert (energies["rows"], energies["rows_zero_by_symmetry"]) == (4, 0)
    held_out = errors_on(
        Model.load(model), read_structures(structures), "x", data=DataSettings(), stress=False, progress=None
    )
    assert np.count_nonzero(held_out.kind == ENERGY) == 4
    spread = held_out.spread[held_out.kind == ENERGY]
    assert spread.min() < 1e-2 * spread.max(), "by spread the crystals would have been left out"
    assert np.count_nonzero(held_out.kind == FORCE) < 3 * sum(map(len, read_structures(structures)))


def test_error_table_counts_every_energy() -> None:
    from mliuq.judging.errortable import error_lines

    n = 52
    std = np.full(n, 1e-3)
    std[0] = 10.0
    error = np.where(np.arange(n) < 27, 0.0133, 0.02)
    kind, config = np.zeros(n, dtype=np.int8), np.arange(n)
    p = Predictions(error, np.zeros(n), std, -std, std, kind, config, np.ones(n))
    (line,) = error_lines("test", p, np.full(n, 0.01))
    assert line.mae == pytest.approx(np.mean(error))
    assert line.mean_z == pytest.approx(np.mean(error / std))
    assert line.rms_z == pytest.approx(np.sqrt(np.mean((error / 0.01) ** 2)))
    assert line.outside == pytest.approx(51 / 52)
