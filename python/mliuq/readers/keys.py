"""What the reference values of a structure are called."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Keys:
    """Names under which structures carry their reference values (`REF_energy` and the like) and their group."""

    energy: str = "energy"
    forces: str = "forces"
    stress: str = "stress"
    group: str = "config_type"
