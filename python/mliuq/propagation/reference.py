"""Reference values that a sheet is held against: a JSON file, or the structures they follow from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa

from mliuq.errors import MliuqError
from mliuq.inputs import refuse_streams
from mliuq.propagation.equation_of_state import BirchMurnaghan
from mliuq.propagation.results import Estimate
from mliuq.readers import read_structures

Reference = Mapping[tuple[str, str], float]


def read_reference(path: Path) -> Reference:
    """Values by (object, quantity).

    Parameters
    ----------
    path : Path
        JSON: ``{"bcc": {"volume": 16.1, "bulk modulus": 304}, …}``, objects, quantities and units as in the sheet. Or
        structures with energies (and stress), extended XYZ or anything else that can be read: equations of state of
        ``config_type`` eos_NAME; elastic strains of a cubic NAME along one axis, ``config_type`` elastic_c11 and
        ``strain`` in their info, which give C11, C12 and C' of NAME = bcc by the stress of the smallest pair.

    Raises
    ------
    MliuqError
        For a file that is neither, or gives no value at all.
    """
    refuse_streams(path)
    if path.suffix == ".json":
        found = _from_json(path)
    else:
        structures = read_structures(path)
        try:
            found = _from_structures(structures)
        except MliuqError:
            raise
        except Exception as error:  # a structure without an energy, a volume, a strain that is a number
            raise MliuqError(f"{path}: no reference values follow ({type(error).__name__}: {error})") from error
    if not found:
        raise MliuqError(f"{path}: no reference values, expected config_type eos_NAME or elastic_c11")
    return found


def _from_json(path: Path) -> Reference:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {
            (str(name), str(quantity)): float(value)
            for name, values in table.items()
            for quantity, value in values.items()
        }
    except (json.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
        raise MliuqError(f'{path}: expected {{"object": {{"quantity": number}}}} ({error})') from error


def _from_structures(structures: list[Atoms]) -> Reference:
    groups: dict[str, list[Atoms]] = {}
    for atoms in structures:
        groups.setdefault(str(atoms.info.get("config_type", "")), []).append(atoms)
    found: dict[tuple[str, str], float] = {}
    for kind, group in groups.items():
        if not kind.startswith("eos_") or len(group) < 5:
            continue
        v = np.array([a.get_volume() / len(a) for a in group])
        e = np.array([a.get_potential_energy() / len(a) for a in group])
        curve = BirchMurnaghan.fit(v, e)
        name = kind.removeprefix("eos_")
        found[name, "volume"] = curve.volume
        found[name, "energy"] = float(curve.energy(np.array([curve.volume]))[0])
        found[name, "bulk modulus"] = curve.bulk_modulus / GPa
        found[name, "bulk modulus derivative"] = curve.bulk_derivative
    energies = {name: e for (name, quantity), e in found.items() if quantity == "energy"}
    if energies:
        lowest = min(energies, key=lambda name: energies[name])
        found |= {(n, "formation energy"): e - energies[lowest] for n, e in energies.items() if n != lowest}
    strained = {float(a.info["strain"]): a for a in groups.get("elastic_c11", []) if "strain" in a.info}
    pairs = [s for s in strained if s > 0 and -s in strained]
    if pairs:
        s = min(pairs)
        slope = (strained[s].get_stress() - strained[-s].get_stress()) / (2 * s) / GPa
        found["bcc", "C11"], found["bcc", "C12"] = float(slope[0]), float(slope[1:3].mean())
        found["bcc", "C'"] = (found["bcc", "C11"] - found["bcc", "C12"]) / 2
    return found


def judged(estimate: Estimate, reference: float) -> tuple[float, bool]:
    """Z = (reference − value)/err, NaN without an error bar, and whether the reference lies within the members."""
    z = (reference - estimate.value) / estimate.err if estimate.err > 0 else np.nan
    return float(z), bool(estimate.low <= reference <= estimate.high)


def summary(estimates: list[tuple[Estimate, float]]) -> dict[str, Any]:
    """How estimates stand against references: count, mean |error|/std, rms z, share within the members' bounds."""
    z = np.array([judged(e, r)[0] for e, r in estimates])
    raw = np.array([abs(r - e.value) / e.std for e, r in estimates])
    inside = [judged(e, r)[1] for e, r in estimates]
    return {
        "count": len(estimates),
        "mean_abs_error_over_std": float(np.mean(raw)),
        "rms_z": float(np.sqrt(np.mean(z**2))),
        "inside": float(np.mean(inside)),
    }
