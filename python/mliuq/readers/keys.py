"""What the reference values of a structure are called, and what else it carries that they might be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ase import Atoms

from mliuq.readers.units import StressSign, StressUnit

#: Kinds of values, in the order of everything that comes in threes: name in settings, words that names are made of.
_WORDS = {"energy": "energy", "forces": "forces?", "stress": "stress|virials?"}
#: Endings of numbers that are about a value and not the value.
_ABOUT = re.compile(r"_(std|min|max|err|comm|weight|key|unit|per_atom)$", re.IGNORECASE)


@dataclass(frozen=True)
class Keys:
    """Names under which structures carry their reference values (`REF_energy` and the like) and their group.

    `stress_unit` and `stress_sign` (what is positive) say how to read a stress whose file leaves that to its writer.
    """

    energy: str = "energy"
    forces: str = "forces"
    stress: str = "stress"
    group: str = "config_type"
    stress_unit: StressUnit = "eV/A3"
    stress_sign: StressSign = "tension"


def named(prefix: str) -> dict[str, str]:
    """The three names that begin alike: `REF` stands for `REF_energy`, `REF_forces`, `REF_stress`."""
    stem = prefix.rstrip("_")
    return {f"{kind}_key": f"{stem}_{kind}" for kind in _WORDS}


def carried(atoms: Atoms) -> list[str]:
    """Names of all values a structure carries."""
    results = atoms.calc.results if atoms.calc is not None else {}
    return sorted({*results, *atoms.info, *atoms.arrays} - {"numbers", "positions"})


def offered(atoms: Atoms) -> dict[str, list[str]]:
    """Names a structure carries that look like energies, forces or stresses of some method, by kind."""
    found: dict[str, list[str]] = {}
    for name in carried(atoms):
        for kind, words in _WORDS.items():
            pattern = rf"(.*[_\-. ])?({words})([_\-. ].*)?"
            if name != "free_energy" and not _ABOUT.search(name) and re.fullmatch(pattern, name, re.IGNORECASE):
                found.setdefault(kind, []).append(name)
    return found


def methods(atoms: Atoms) -> list[str]:
    """Prefixes under which a structure carries an energy and forces of some method: `REF` of REF_energy, REF_forces."""
    names = carried(atoms)
    stems = [name[: -len("_energy")] for name in names if name.lower().endswith("_energy")]
    return [stem for stem in stems if {f"{stem}_forces", f"{stem}_force"} & set(names)]


def advice(offers: Mapping[str, Iterable[str]]) -> str:
    """How to ask for what is there: `found REF_energy, REF_forces: use --keys REF`; empty where nothing is."""
    first = {kind: next(iter(names)) for kind, names in offers.items()}
    if not first:
        return ""
    text = f"found {', '.join(name for names in offers.values() for name in names)}: use "
    stems = {name.removesuffix(f"_{kind}") for kind, name in first.items()}
    if len(stems) == 1 and all(name.endswith(f"_{kind}") for kind, name in first.items()):
        return f"{text}--keys {stems.pop()}"
    return text + " ".join(f"--{kind}-key {name}" for kind, name in first.items())
