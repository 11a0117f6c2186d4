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
) -> tuple[Path, Path, Path]:
    """Write STEM.snapcoeff, STEM.snapparam and STEM.snap, all or none.

    Parameters
    ----------
    theta : (n_elements, P) weights
    zbl : inner and outer radius of the nuclear repulsion, Å
    what : which weights these are, for the head of STEM.snap
    force : replace files that mliuq did not write

    Raises
    ------
    MliuqError
        where they cannot be written, or would replace files from elsewhere.
    """
    coeff, param, include = (Path(f"{stem}.{ending}") for ending in ("snapcoeff", "snapparam", "snap"))
    for path in (coeff, param, include):
        try:
            check_output(path, kind=_OURS, force=force)
        except MliuqError as error:
            hint = "" if force or "exists and is not" not in str(error) else ", or force it (--force)"
            raise MliuqError(f"{error}{hint}") from None
    texts = snap_texts(params.core, theta)
    lines = input_lines(coeff.name, param.name, params.elements, zbl, what)
    write_files({path: text.encode() for path, text in zip((coeff, param, include), (*texts, lines), strict=True)})
    return coeff, param, include


def input_lines(
    coeff: str, param: str, elements: Sequence[str], zbl: tuple[float, float] | None, what: str = "best fit"
) -> str:
    """Return the LAMMPS input that evaluates a potential with stock styles, one atom type for each element.

    Raises
    ------
    MliuqError
        for an element without an atomic number in a model with nuclear repulsion.
    """
    lines = [
        f"# SNAP potential ({what}), {_SIGNATURE}. In an input run beside these files: include {Path(coeff).stem}.snap",
        f"# Atom types 1 to {len(elements)} are {' '.join(elements)}; units metal.",
        "",
    ]
    if zbl is None:
        return "\n".join([*lines, "pair_style snap", f"pair_coeff * * {coeff} {param} {' '.join(elements)}", ""])
    if unknown := [element for element in elements if element not in atomic_numbers]:
        raise MliuqError(f"{unknown[0]} is no chemical symbol: its nuclear repulsion cannot be written for LAMMPS")
    charges = [atomic_numbers[element] for element in elements]
    lines.append(f"pair_style hybrid/overlay zbl {zbl[0]!r} {zbl[1]!r} snap")
    lines += [
        f"pair_coeff {i} {j} zbl {charges[i - 1]} {charges[j - 1]}"
        for i in range(1, len(elements) + 1)
        for j in range(i, len(elements) + 1)
    ]
    return "\n".join([*lines, f"pair_coeff * * snap {coeff} {param} {' '.join(elements)}", ""])
