"""A potential as files of stock LAMMPS: coefficients, parameters, and the input lines that make a potential of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from mliuq.core import snap_texts
from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError
from mliuq.outputs import Kind, check_output, write_files
from mliuq.reference.lammps_text import beside, commands
from mliuq.reference.potential import is_code

_SIGNATURE = "written by mliuq"
_OURS = Kind("a file written by mliuq", lambda head: _SIGNATURE.encode() in head.splitlines()[0])


def write_snap(
    stem: Path,
    params: SnapParams,
    theta: NDArray[np.float64],
    zbl: tuple[float, float] | None,
    *,
    what: str,
    force: bool,
    reference: str = "",
) -> tuple[Path, Path, Path]:
    """Write STEM.snapcoeff, STEM.snapparam and STEM.snap, all or none.

    Parameters
    ----------
    theta : (n_elements, P) weights
    zbl : inner and outer radius of the nuclear repulsion, Å
    what : which weights these are, for the head of STEM.snap
    reference : potential that the fit of the model had been given (`mliuq.reference`)
    force : replace files that mliuq did not write

    Raises
    ------
    MliuqError
        where they cannot be written, or would replace files from elsewhere.
    """
    if stem.name in ("", ".."):
        raise MliuqError(f"{stem}: is a folder, expected a name without ending")
    coeff, param, include = (Path(f"{stem}.{ending}") for ending in ("snapcoeff", "snapparam", "snap"))
    for path in (coeff, param, include):
        try:
            check_output(path, kind=_OURS, force=force)
        except MliuqError as error:
            hint = "" if force or "exists and is not" not in str(error) else ", or force it (--force)"
            raise MliuqError(f"{error}{hint}") from None
    texts = snap_texts(params.core, theta)
    lines = input_lines(coeff.name, param.name, params.elements, zbl, what, reference)
    write_files({path: text.encode() for path, text in zip((coeff, param, include), (*texts, lines), strict=True)})
    return coeff, param, include


def input_lines(
    coeff: str,
    param: str,
    elements: Sequence[str],
    zbl: tuple[float, float] | None,
    what: str = "best fit",
    reference: str = "",
) -> str:
    """Return the LAMMPS input that evaluates a potential with stock styles, one atom type for each element.

    A reference potential of LAMMPS commands is part of it; the lines that put `pair_style mliuq` in the place of SNAP
    stand above it as a comment.

    Raises
    ------
    MliuqError
        for an element without an atomic number in a model with nuclear repulsion.
    """
    lines = [
        f"# SNAP potential ({what}), {_SIGNATURE}. In an input run beside these files: include {Path(coeff).stem}.snap",
        f"# Atom types 1 to {len(elements)} are {' '.join(elements)}; units metal.",
    ]
    symbols = " ".join(elements)
    others = [] if zbl is None else _repulsion(elements, zbl)
    if reference and is_code(reference):
        lines.append(f"# The fit had the reference potential {reference}: it is not part of this.")
    elif reference:
        ours = beside(reference, "mliuq", [f"* * mliuq NAME.mliuq {symbols}"])
        lines += ["# With error bars, by the model file:", *(f"#   {line}" for line in ours)]
        others = _joined(reference, others)
    if others:
        stock = beside("\n".join(others), "snap", [f"* * snap {coeff} {param} {symbols}"])
    else:
        stock = ["pair_style snap", f"pair_coeff * * {coeff} {param} {symbols}"]
    return "\n".join([*lines, "", *stock, ""])


def _repulsion(elements: Sequence[str], zbl: tuple[float, float]) -> list[str]:
    """The nuclear repulsion as a pair style of its own."""
    if unknown := [element for element in elements if element not in atomic_numbers]:
        raise MliuqError(f"{unknown[0]} is no chemical symbol: its nuclear repulsion cannot be written for LAMMPS")
    charges = [atomic_numbers[element] for element in elements]
    return [f"pair_style zbl {zbl[0]!r} {zbl[1]!r}"] + [
        f"pair_coeff {i} {j} {charges[i - 1]} {charges[j - 1]}"
        for i in range(1, len(elements) + 1)
        for j in range(i, len(elements) + 1)
    ]


def _joined(reference: str, repulsion: Sequence[str]) -> list[str]:
    """Reference potential and nuclear repulsion together."""
    if not repulsion:
        return list(commands(reference))
    if " zbl " in reference:
        raise MliuqError("the reference potential and the model both hold pair_style zbl: write their input by hand")
    style, *coefficients = repulsion
    words = [line.split()[1:] for line in coefficients]
    return beside(reference, style.removeprefix("pair_style "), [" ".join([*w[:2], "zbl", *w[2:]]) for w in words])
