"""The package's public names."""

from __future__ import annotations

import subprocess
import sys

import mliuq
import pytest


def test_names_stay_what_they_are_whatever_was_imported_before() -> None:
    """A module of the package with the name of a public function would take its place once it is imported."""
    code = (
        "import mliuq.ase.calculator, mliuq.descriptor.bispectrum, mliuq.descriptor.params, mliuq.fitting.fit\n"
        "import mliuq.model.model\n"
        "for name in mliuq.__all__:\n"
        "    assert name == '__version__' or callable(getattr(mliuq, name)), name"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_imports_nothing_heavy() -> None:
    """LAMMPS imports it to find its plugin."""
    code = "import sys, mliuq.lammps\nassert not {'numpy', 'ase', 'scipy', 'mliuq._core'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="module 'mliuq' has no attribute 'Modell'"):
        mliuq.Modell  # noqa: B018
    assert set(mliuq.__all__) <= {*dir(mliuq), *mliuq.__all__}
