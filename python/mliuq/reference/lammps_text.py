"""Reference potentials as LAMMPS input: `pair_style`, `pair_coeff` and `pair_modify`, and nothing else.

A model file carries this text and other people run it, so that every word of it is looked at: no variables, no quotes,
no files of commands, no style that runs code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mliuq.errors import MliuqError

_COMMANDS = ("pair_style", "pair_coeff", "pair_modify")
_WORD = re.compile(r"[\w./*+\-:,=@]+")
_CODE = ("python", "kim", "plugin")
_OVERLAY = "hybrid/overlay"


def commands(text: str) -> tuple[str, ...]:
    """Commands of a text, one a line or separated by `;`, blanks evened out.

    Raises
    ------
    MliuqError
        for another command, a word that is more than a word, or no single `pair_style` in front.
    """
    found = tuple(" ".join(line.split()) for line in re.split(r"[;\n]", text) if line.strip())
    for line in found:
        first, *words = line.split()
        if first not in _COMMANDS:
            raise MliuqError(f"reference potential: {line!r} is not one of {', '.join(_COMMANDS)}")
        for word in words:
            if not _WORD.fullmatch(word) or word.partition("/")[0] in _CODE:
                raise MliuqError(f"reference potential: {word!r} in {line!r} is refused, expected names and numbers")
    if [line.split()[0] for line in found].count("pair_style") != 1 or not found[0].startswith("pair_style "):
        raise MliuqError(f"reference potential: {text!r}: expected one pair_style, then its pair_coeff")
    return found


def beside(text: str, style: str, coefficients: Sequence[str]) -> list[str]:
    """The same potential as part of a `hybrid/overlay` with another pair style.

    Parameters
    ----------
    style, coefficients : the other style with its arguments, and its `pair_coeff` lines without that word
    """
    lines = commands(text)
    own, *arguments = lines[0].split()[1:]
    if own.startswith("hybrid") and own != _OVERLAY:
        raise MliuqError(f"reference potential: pair_style {own} cannot stand beside another, expected {_OVERLAY}")
    rest = []
    for line in lines[1:]:
        command, *words = line.split()
        if own != _OVERLAY and command == "pair_coeff":
            words.insert(2, own)
        elif own != _OVERLAY and command == "pair_modify":
            words = ["pair", own, *words]
        rest.append(" ".join([command, *words]))
    parts = arguments if own == _OVERLAY else [own, *arguments]
    head = " ".join(["pair_style", _OVERLAY, *parts, style])
    return [head, *rest, *(f"pair_coeff {line}" for line in coefficients)]
