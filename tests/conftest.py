"""Fixtures shared by all rooms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

_SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of data sets that are not the project's own; the test is skipped where it is absent."""
    if not _SHARED.is_dir():
        pytest.skip(f"no shared data at {_SHARED}")
    return _SHARED


@pytest.fixture(scope="session")
def tantalum(shared_data: Path) -> dict[str, np.ndarray]:
    """FitSNAP's design matrix, weights and coefficients for Ta (Thompson et al. 2015)."""
    with np.load(shared_data / "Ta_JCP2014_fitsnap_ref.npz") as arrays:
        return dict(arrays)


ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def tungsten() -> Path:
    """The shipped tungsten set."""
    return ROOT / "data" / "W_gpaw" / "W_gpaw.xyz.gz"


@pytest.fixture(scope="session")
def tungsten_split(tungsten: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A part of the shipped set to fit and a part to judge by, as extended XYZ."""
    from ase.io import write
    from mliuq.readers import read_structures

    structures = read_structures(tungsten)
    folder = tmp_path_factory.mktemp("tungsten")
    train, test = folder / "train.xyz", folder / "test.xyz"
    write(train, [atoms for i, atoms in enumerate(structures) if i % 4])
    write(test, [atoms for i, atoms in enumerate(structures) if i % 4 == 0])
    return train, test


@pytest.fixture(scope="session")
def held_out(tungsten_split: tuple[Path, Path]) -> Path:
    """Structures that `small_model` has not seen."""
    return tungsten_split[1]


@pytest.fixture(scope="session")
def small_model(tungsten_split: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quick tungsten fit (2J = 4) with a posterior of 64 members."""
    from mliuq.cli import main

    path = tmp_path_factory.mktemp("model") / "W.mliuq"
    status = main(
        ["fit", str(tungsten_split[0]), "-o", str(path), "--twojmax", "4", "--members", "64", "--test-fraction", "0"]
    )
    assert status == 0
    return path
