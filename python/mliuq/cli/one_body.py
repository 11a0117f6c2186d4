"""`--one-body In=-2.1 P=-3.4`: energies of isolated atoms on the command line."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import typer

from mliuq.errors import MliuqError

_PAIR = re.compile(r"([A-Z][a-z]?)=([-+0-9.eE]+)")


def with_one_body(data: list[Path], given: list[str]) -> tuple[list[Path], dict[str, Any]]:
    """Return the data files, and what `--one-body` changes in the settings.

    Pairs that follow the first are among the arguments, where a shell puts them.
    """
    if not given:
        return data, {}
    words = [word for text in given for word in re.split(r"[\s,]+", text.strip())]
    words += [str(path) for path in data if _PAIR.fullmatch(str(path))]
    files = [path for path in data if not _PAIR.fullmatch(str(path))]
    if words == ["isolated"]:
        return files, {"solver.isolated_atoms": True}
    energies: dict[str, float] = {}
    for word in words:
        pair = _PAIR.fullmatch(word)
        if pair:
            energies[pair[1]] = _number(word, pair[2])
        elif Path(word).is_file():
            energies |= _read(Path(word))
        else:
            raise typer.BadParameter(
                f"--one-body {word!r}: expected energies such as In=-2.1, a TOML or JSON file of them, or 'isolated'"
            )
    return files, {"solver.one_body": energies}


def _read(path: Path) -> dict[str, float]:
    try:
        text = path.read_text(encoding="utf-8")
        table = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise MliuqError(f"{path}: cannot be read as TOML or JSON: {error}") from error
    for element, energy in table.items():
        if not isinstance(energy, int | float) or isinstance(energy, bool):
            raise MliuqError(f"{path}: {element} is {energy!r}, expected an energy in eV")
    return {str(element): float(energy) for element, energy in table.items()}


def _number(word: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"--one-body {word!r}: expected an energy in eV behind '='") from None
