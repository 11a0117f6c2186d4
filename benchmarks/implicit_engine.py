"""The implicit engine against resampling: how well members agree, and what they cost.

    python benchmarks/implicit_engine.py agreement W.mliuq [--members 30]
    python benchmarks/implicit_engine.py speed W.mliuq [--relaxed 5] --spreads 0.1 0.3

`agreement` scales the members' distance from the best fit and prints, for volumes, bulk moduli, formation energies and
the barrier of the vacancy's hop, the root mean square difference between the engines over the members that both have a
value for, in units of the spread by resampling. `speed` takes the processor time of the formation energy and volume of
the vacancy in 1023 atoms of bcc: by the implicit engine (second order alone)
all members, by resampling a few, extrapolated.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import mliuq
import numpy as np
from mliuq import propagation
from mliuq.propagation import PropagationSettings, PropertyResult

STRUCTURES = ["bcc", "fcc", "hcp", "A15"]


def scaled(model: mliuq.Model, spread: float) -> mliuq.Model:
    """The members moved towards the best fit."""
    assert model.members is not None
    return replace(model, members=model.theta + spread * (model.members - model.theta))


def compared(resampled: PropertyResult, implicit: PropertyResult, quantity: str) -> str:
    """Range over objects of rms difference over spread, and of the spread's ratio."""
    ratios, spreads, failed = [], [], []
    for a in resampled.estimates:
        if a.quantity != quantity:
            continue
        b = implicit[a.object, quantity].members
        both = np.isfinite(a.members) & np.isfinite(b)
        failed.append(int((~both).sum()))
        if both.sum() < 3:
            continue
        spread = np.sqrt(np.mean((a.members[both] - a.best) ** 2))
        ratios.append(np.sqrt(np.mean((a.members[both] - b[both]) ** 2)) / spread)
        spreads.append(np.sqrt(np.mean((b[both] - a.best) ** 2)) / spread)
    if not ratios:
        return "all failed"
    lost = f"  ({max(failed)} failed)" if max(failed) else ""
    return f"{min(ratios):.4f}–{max(ratios):.4f}, spread × {min(spreads):.3f}–{max(spreads):.3f}{lost}"


def agreement(model: mliuq.Model, members: int, spreads: list[float], corrections: list[int]) -> None:
    for spread in spreads:
        near = scaled(model, spread)
        given: dict[str, Any] = {"members": members, "max_failed": 1.0}
        runs: list[tuple[str, Any]] = [
            ("eos", lambda settings, near=near: propagation.eos(near, STRUCTURES, reference="bcc", settings=settings)),
            ("vacancy", lambda settings, near=near: propagation.defects(near, settings=settings)),
            ("hop", lambda settings, near=near: propagation.neb(near, settings=settings)),
        ]
        quantities = {
            "eos": ["energy", "formation energy", "volume", "bulk modulus"],
            "vacancy": ["formation energy", "formation volume"],
            "hop": ["barrier"],
        }
        for name, run in runs:
            resampled = run(PropagationSettings(**given))
            for steps in corrections:
                implicit = run(PropagationSettings(engine="implicit", corrections=steps, **given))
                for quantity in quantities[name]:
                    line = compared(resampled, implicit, quantity)
                    print(f"spread {spread:4.0%}  corrections {steps}  {name} {quantity}: {line}", flush=True)


def speed(model: mliuq.Model, relaxed: int) -> None:
    def seconds(count: int, engine: Any) -> tuple[float, PropertyResult]:
        settings = PropagationSettings(members=count, engine=engine, corrections=0, max_failed=1.0)
        start = time.process_time()
        found = propagation.defects(model, size=8, settings=settings, threads=1)
        return time.process_time() - start, found

    alone = model.n_members
    best, _ = seconds(1, "resampling")
    few, resampled = seconds(1 + relaxed, "resampling")
    each = (few - best) / relaxed
    all_of_them, implicit = seconds(alone, "implicit")
    one, _ = seconds(1, "implicit")
    print(f"best fit and one member: {best:.2f} s by resampling, {one:.2f} s by the implicit engine")
    print(f"a member: {each:.3f} s by resampling ({relaxed} of them), whence {alone} of them {alone * each:.1f} s")
    print(f"{alone} members by the implicit engine: {all_of_them:.2f} s, best fit's relaxation included")
    print(f"{(best + (alone - 1) * each) / all_of_them:.0f} × faster")
    for quantity in ("formation energy", "formation volume"):
        a, b = resampled["vacancy", quantity], implicit["vacancy", quantity]
        same = [implicit.members.index(m) for m in resampled.members]
        print(quantity, "resampled", np.round(a.members, 3), "implicit", np.round(b.members[same], 3), "std", b.std)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["agreement", "speed"])
    parser.add_argument("model")
    parser.add_argument("--members", type=int, default=30)
    parser.add_argument("--relaxed", type=int, default=5)
    parser.add_argument("--spreads", type=float, nargs="*", default=[0.03, 0.1, 0.3, 1.0])
    parser.add_argument("--corrections", type=int, nargs="*", default=[0, 1, 3, 6])
    given = parser.parse_args()
    model = mliuq.Model.load(given.model)
    if given.what == "speed":
        for spread in given.spreads:
            print(f"spread {spread:.0%}")
            speed(scaled(model, spread), given.relaxed)
    else:
        agreement(model, given.members, given.spreads, given.corrections)


if __name__ == "__main__":
    main()
