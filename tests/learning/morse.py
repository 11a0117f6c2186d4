"""A reference that takes milliseconds: Morse pairs, nothing but the standard library.

    python morse.py FAULTS INPUT OUTPUT

FAULTS is `none`, or `KIND:INDEX[,KIND:INDEX…]`: what goes wrong with which structure of the batch; each calculation
appends its index to `made.txt` beside this file.  A fault whose kind begins with `once-` goes wrong in the first
attempt only.
"""

from __future__ import annotations

import math
import os
import re
import signal
import sys
import time
from pathlib import Path

DEPTH, WIDTH, NEAREST, CUTOFF = 0.35, 1.4, 2.75, 5.0


def morse(r: float) -> tuple[float, float]:
    """Energy and dE/dr, taken smoothly to zero at the cutoff."""
    e = math.exp(-WIDTH * (r - NEAREST))
    value, slope = DEPTH * (e * e - 2 * e), DEPTH * 2 * WIDTH * (e - e * e)
    taper, dtaper = (1 - r / CUTOFF) ** 2, -2 * (1 - r / CUTOFF) / CUTOFF
    return value * taper, slope * taper + value * dtaper


def evaluate(cell: list[list[float]], positions: list[list[float]]) -> tuple[float, list[list[float]]]:
    energy, forces = 0.0, [[0.0] * 3 for _ in positions]
    reach = range(-2, 3)
    shifts = [
        [a * cell[0][k] + b * cell[1][k] + c * cell[2][k] for k in range(3)]
        for a in reach
        for b in reach
        for c in reach
    ]
    for i, p in enumerate(positions):
        for q in positions:
            for s in shifts:
                d = [q[k] + s[k] - p[k] for k in range(3)]
                r = math.sqrt(d[0] ** 2 + d[1] ** 2 + d[2] ** 2)
                if 1e-9 < r < CUTOFF:
                    value, slope = morse(r)
                    energy += 0.5 * value
                    for k in range(3):
                        forces[i][k] += slope * d[k] / r
    return energy, forces


def main(faults: str, source: str, target: str) -> None:
    found = re.search(r"labelling/(\d+)/attempt_(\d+)/", source)
    index, attempt = (int(found[1]), int(found[2])) if found else (-1, 1)
    with (Path(__file__).parent / "made.txt").open("a") as stream:
        stream.write(f"{source}\n")
    kinds = dict(reversed(fault.split(":")) for fault in faults.split(",") if ":" in fault)
    kind = kinds.get(str(index), "none")
    if kind.startswith("once-"):
        kind = kind.removeprefix("once-") if attempt == 1 else "none"
    if kind == "hang":
        time.sleep(1000)
    if kind == "crash":
        print("the self-consistent field did not converge", file=sys.stderr)
        sys.exit(3)
    if kind == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "silent":
        return
    n, comment, *atoms = Path(source).read_text().strip().split("\n")
    lattice = [float(x) for x in re.search(r'Lattice="([^"]+)"', comment)[1].split()]
    cell = [lattice[:3], lattice[3:6], lattice[6:]]
    symbols, positions = zip(*((a.split()[0], [float(x) for x in a.split()[1:4]]) for a in atoms), strict=True)
    energy, forces = evaluate(cell, positions)
    if kind == "nan":
        forces[0][1] = math.nan
    if kind == "composition":
        symbols = ("Ag", *symbols[1:])
    if kind == "moved":
        positions[0][2] += 0.01
    if kind == "absurd":
        energy += 1e5
    if kind == "force":
        forces[0][0] = 1e4
    if kind == "garbage":
        Path(target).write_text("this is no structure\n")
        return
    columns = "Properties=species:S:1:pos:R:3:forces:R:3"
    lines = [n, f'Lattice="{" ".join(map(str, lattice))}" {columns} energy={energy!r} pbc="T T T"']
    for s, p, f in zip(symbols, positions, forces, strict=True):
        lines.append(" ".join([s, *map(repr, p), *map(repr, f)]))
    Path(target).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
