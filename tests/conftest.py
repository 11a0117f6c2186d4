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
