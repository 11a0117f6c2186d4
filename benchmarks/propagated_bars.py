"""Bars of properties held against reference values of the same method that no fit has seen.

    python benchmarks/propagated_bars.py W.mliuq REFERENCE.xyz.gz [--reference bcc] [--members N] [--workers 2]

REFERENCE holds equations of state (`config_type` eos_NAME) and elastic strains (elastic_c11), as `mliuq propagate all
--reference` takes them. Every structure keeps the shape it has there. Prints each value with its bar, and for each
quantity how many references lie within the members' bounds, the mean of abs(error)/std and rms z (by `err`).
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import mliuq
from mliuq import propagation
from mliuq.propagation import Estimate, PropagationSettings
from mliuq.propagation.reference import judged, read_reference, summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("values", type=Path)
    parser.add_argument("--reference", default="bcc", help="whose energy formation energies count from")
    parser.add_argument("--members", type=int)
    parser.add_argument("--span", type=float, default=0.12)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    model, known = mliuq.Model.load(given.model), read_reference(given.values)
    phases = sorted({name for name, _ in known}, key=lambda name: (name != given.reference, name))
    settings = PropagationSettings(members=given.members)
    found: list[Estimate] = []
    with ProcessPoolExecutor(given.workers, get_context("spawn")) as pool:
        options = {"settings": settings, "executor": pool}
        curves = propagation.eos(model, phases, reference=given.reference, relax="volume", span=given.span, **options)
        found += curves.estimates
        cubic = sorted({name for name, quantity in known if quantity == "C11"})
        if cubic:  # the bulk modulus is that of the equation of state
            constants = propagation.elastic(model, cubic, **options)
            found += [e for e in constants.estimates if e.quantity != "bulk modulus"]
    held = [(e, known[e.object, e.quantity]) for e in found if (e.object, e.quantity) in known]
    for e, value in held:
        z, inside = judged(e, value)
        print(
            f"{e.object:6} {e.quantity:24} {e.value:9.4g} ± {e.err:8.3g} {e.unit:8} [{e.low:.4g}, {e.high:.4g}]"
            f"{'' if inside else ' missed'}  reference {value:9.4g}  z {z:6.2f}  failed {e.failed}"
        )
    kinds: dict[str, list[tuple[Estimate, float]]] = {}
    for e, value in held:
        kinds.setdefault("elastic constants" if e.quantity.startswith("C") else e.quantity, []).append((e, value))
    for kind, pairs in kinds.items():
        print(f"{kind:24} " + "  ".join(f"{name} {value:.3g}" for name, value in summary(pairs).items()))


if __name__ == "__main__":
    main()
