"""Units that data sets write their values in, and the factors to eV, Å and eV/Å³."""

from __future__ import annotations

from typing import Literal

from ase.units import Bohr, GPa, Hartree

StressUnit = Literal["eV/A3", "GPa", "kbar", "bar"]
StressSign = Literal["tension", "compression"]

#: Factor to eV/Å³.
PRESSURE: dict[str, float] = {"eV/A3": 1.0, "GPa": GPa, "kbar": 0.1 * GPa, "bar": 1e-4 * GPa}
#: Factor to Å.
LENGTH: dict[str, float] = {"angstrom": 1.0, "bohr": Bohr}
#: Factor to eV.
ENERGY: dict[str, float] = {"eV": 1.0, "hartree": Hartree}

#: Where the six Voigt components xx yy zz yz xz xy stand in a 3 × 3 matrix.
VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))
