"""Where the runs begin: crystal, vacancy and (100) surface of copper; and a test set that no round sees.

python make_starts.py            # writes starts.xyz and test.xyz beside this file
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk, fcc100
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.langevin import Langevin
from reference import calculator

HERE = Path(__file__).parent
LATTICE = 3.615  # Å


def starts() -> dict[str, Atoms]:
    """One structure of each kind."""
    crystal = bulk("Cu", a=LATTICE, cubic=True).repeat(2)
    vacancy = crystal.copy()
    del vacancy[0]
    surface = fcc100("Cu", size=(2, 2, 4), a=LATTICE, vacuum=6.0).repeat((2, 1, 1))
    surface.pbc, surface.info = True, {}
    return {"crystal": crystal, "vacancy": vacancy, "surface": surface}


def test_set() -> list[Atoms]:
    """A few frames of each kind at 300 and 1200 K, from dynamics under the reference itself."""
    found = []
    for kind, start in starts().items():
        for temperature in (300.0, 1200.0):
            rng = np.random.default_rng([int(temperature), len(start)])
            atoms = start.copy()
            atoms.calc = calculator()
            width = np.sqrt(2.0 * units.kB * temperature * atoms.get_masses())  # half of it becomes potential energy
            atoms.set_momenta(width[:, None] * rng.normal(size=(len(atoms), 3)))
            dyn = Langevin(atoms, 2.0 * units.fs, temperature_K=temperature, friction=0.02, fixcm=False, rng=rng)
            dyn.run(200)
            for _ in range(6):
                dyn.run(50)
                found.append(labelled(atoms, kind, atoms.calc))
    return found


def labelled(atoms: Atoms, kind: str, reference: Any) -> Atoms:
    """A copy with energy and forces."""
    frame = atoms.copy()
    frame.info["config_type"] = kind
    frame.calc = reference
    results = {"energy": frame.get_potential_energy(), "forces": frame.get_forces()}
    frame.calc = SinglePointCalculator(frame, **results)
    return frame


def main() -> None:
    """Write both files."""
    write(HERE / "starts.xyz", list(starts().values()))
    write(HERE / "test.xyz", test_set())


if __name__ == "__main__":
    main()
