"""pymatgen's structures in JSON with their energies and forces: mlearn, maml, MPtrj, MatPES, ComputedStructureEntry.

Stress there is VASP's: kbar, positive under compression.  mlearn's six numbers `virial_stress` are xx yy zz xy xz yz
(seen by a fit to its molybdenum set: correlations 0.99, 0.98, 0.94, 0.87); six numbers under other names have no known
order and are left out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.errors import MliuqError
from mliuq.readers.results import attach
from mliuq.readers.units import PRESSURE

log = logging.getLogger(__name__)

_ENERGIES = ("energy", "uncorrected_total_energy")
_FORCES = ("forces", "force")
_GROUPS = ("group", "config_type")


def holds_pymatgen(data: Any) -> bool:
    """Whether parsed JSON holds at least one pymatgen structure."""
    return next(_records(data), None) is not None


def read_pymatgen(data: Any) -> list[Atoms]:
    """All structures in parsed JSON, however deep they lie, in order."""
    structures = [_to_atoms(record) for record in _records(data)]
    left_out = sum("stress" in atoms.info for atoms in structures)
    if left_out:
        log.warning("the stress of %d structures has six numbers in an order that nobody says: left out", left_out)
    for atoms in structures:
        atoms.info.pop("stress", None)
    return structures


def _is_structure(data: Any) -> bool:
    return isinstance(data, Mapping) and "lattice" in data and "sites" in data


def _records(data: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping that has a structure; a bare structure counts as one."""
    if _is_structure(data):
        yield {"structure": data}
    elif isinstance(data, Mapping):
        if _is_structure(data.get("structure")):
            yield data
        else:
            for value in data.values():
                yield from _records(value)
    elif isinstance(data, list):
        for value in data:
            yield from _records(value)


def _to_atoms(record: Mapping[str, Any]) -> Atoms:
    structure = record["structure"]
    sites = structure["sites"]
    for site in sites:
        if len(site["species"]) != 1 or site["species"][0].get("occu", 1) != 1:
            raise MliuqError(
                f"site {site.get('label', '')} is occupied partly: {site['species']}, expected one element"
            )
    lattice = structure["lattice"]
    atoms = Atoms(
        [_element(site) for site in sites],
        scaled_positions=[site["abc"] for site in sites],
        cell=np.asarray(lattice["matrix"], dtype=float),
        pbc=lattice.get("pbc", True),
    )
    values = {**record, **(record.get("outputs") or {})}
    for key in _GROUPS:
        if isinstance(values.get(key), str):
            atoms.info["config_type"] = values[key]
            break
    energy, forces = _first(values, _ENERGIES), _first(values, _FORCES)
    return attach(atoms, energy=None if energy is None else float(energy), forces=forces, stress=_stress(values, atoms))


def _element(site: Mapping[str, Any]) -> str:
    """`Fe` of a species `Fe` or `Fe3+`."""
    return str(site["species"][0]["element"]).rstrip("+-0123456789.")


def _first(values: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)


def _stress(values: Mapping[str, Any], atoms: Atoms) -> Any:
    virial, stress = values.get("virial_stress"), values.get("stress")
    if virial is not None and np.size(virial) == 6:
        xx, yy, zz, xy, xz, yz = virial
        return -PRESSURE["kbar"] * np.array([xx, yy, zz, yz, xz, xy])
    value = virial if stress is None else stress
    if value is None or np.shape(value) == (3, 3):
        return None if value is None else -PRESSURE["kbar"] * np.asarray(value, dtype=float)
    atoms.info["stress"] = value
    return None
