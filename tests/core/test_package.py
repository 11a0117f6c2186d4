"""The package's public names."""

from __future__ import annotations

import importlib
import os
import pydoc
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("name", ["mliuq", "mliuq.learning", "mliuq.propagation"])
def test_names_on_first_use(name: str) -> None:
    """Each is what its module defines and is there from then on; others are refused as by any module."""
    package = importlib.import_module(name)
    for public in set(package.__all__) - {"__version__"}:
        value = getattr(package, public)
        assert value.__name__ == public
        assert value.__module__.startswith(name)
        assert vars(package)[public] is value
    with pytest.raises(AttributeError, match=rf"^module '{name}' has no attribute 'Modell'$"):
        package.Modell  # noqa: B018


def test_public_names_are_listed_and_documented() -> None:
    assert set(dir(mliuq)) == set(mliuq.__all__)
    text = pydoc.plain(pydoc.render_doc(mliuq))
    for name in set(mliuq.__all__) - {"__version__"}:
        assert name in text
        assert getattr(mliuq, name).__doc__


def test_a_small_script_passes_strict_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    root = Path(mliuq.__path__[0]).parent
    script = tmp_path / "script.py"
    script.write_text(
        "import mliuq\n"
        "from ase import Atoms\n\n"
        "params = mliuq.SnapParams(elements=['W'], radii=[0.5])\n"
        "model: mliuq.Model = mliuq.fit([Atoms('W')], params, {'snap.twojmax': 4})\n"
        "model.save('W.mliuq')\n"
        "calculator = mliuq.MLIUQCalculator(mliuq.Model.load('W.mliuq'))\n"
        "print(mliuq.descriptors(Atoms('W'), params).shape, calculator.model.n_members)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | ({} if root.name == "site-packages" else {"MYPYPATH": str(root)}),
    )
    assert done.returncode == 0, done.stdout


def test_python_m_mliuq_is_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "mliuq", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, f"mliuq {mliuq.__version__}")
