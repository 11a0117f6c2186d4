"""What follows from several estimates together: ranks, orders, and how far two engines agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from mliuq.propagation.results import Estimate, PropertyResult


def rank_correlations(estimates: Sequence[Estimate]) -> dict[str, Any]:
    """Spearman's ρ over objects between best fit and each member, of quantities that three objects or more have."""
    found: dict[str, Any] = {}
    for quantity in dict.fromkeys(e.quantity for e in estimates):
        group = [e for e in estimates if e.quantity == quantity and not e.reason]
        best = np.array([e.best for e in group])
        if len(group) < 3 or np.ptp(best) == 0:
            continue
        table = np.array([e.members for e in group]).T
        rho = [float(spearmanr(best, row).statistic) for row in table if np.isfinite(row).all() and np.ptp(row) > 0]
        if rho:
            found[quantity] = {"mean": float(np.mean(rho)), "lowest": float(np.min(rho)), "members": rho}
    return found


def orders(estimates: Sequence[Estimate], top: int = 10) -> dict[str, Any]:
    """How sure the order of phases is.

    Returns
    -------
    dict
        ``orders``: the most frequent orders by energy (lowest first) and the share of members that have them;
        ``below``: for each phase the share of members that put it below each other phase; ``lowest``: the share of
        members in which a phase is lowest. Members of which a phase failed are left out, ``members`` counts the rest.
    """
    group = [e for e in estimates if e.quantity == "energy" and not e.reason]
    names = [e.object for e in group]
    table = np.array([e.members for e in group]).T
    table = table[np.isfinite(table).all(axis=1)] if len(group) else np.zeros((0, 0))
    if len(group) < 2 or not len(table):
        return {}
    counted = Counter(tuple(names[k] for k in np.argsort(row, kind="stable")) for row in table)
    lowest = np.bincount(table.argmin(axis=1), minlength=len(names)) / len(table)
    return {
        "members": len(table),
        "best_fit": [e.object for e in sorted(group, key=lambda e: e.best)],
        "orders": [{"order": list(order), "share": n / len(table)} for order, n in counted.most_common(top)],
        "lowest": dict(zip(names, lowest.tolist(), strict=True)),
        "below": {
            a: {b: float(np.mean(table[:, i] < table[:, j])) for j, b in enumerate(names) if j != i}
            for i, a in enumerate(names)
        },
    }


def agreement(resampled: PropertyResult, implicit: PropertyResult) -> list[dict[str, Any]]:
    """How far the implicit engine is from resampling.

    Returns
    -------
    list of dict
        For each quantity ``std`` by both engines, and ``rms``: root mean square over members of their difference, in
        units of the spread by resampling.
    """
    lines = []
    for a in resampled.estimates:
        b = implicit[a.object, a.quantity]
        both = np.isfinite(a.members) & np.isfinite(b.members)
        spread = float(np.sqrt(np.mean((a.members[both] - a.best) ** 2))) if both.any() else np.nan
        rms = float(np.sqrt(np.mean((a.members[both] - b.members[both]) ** 2))) if both.any() else np.nan
        lines.append(
            {
                "object": a.object,
                "quantity": a.quantity,
                "members": int(both.sum()),
                "std": a.std,
                "std_implicit": b.std,
                "rms": rms / spread if spread > 0 else np.nan,
            }
        )
    return lines
