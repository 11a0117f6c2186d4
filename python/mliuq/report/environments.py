"""Groups of rows of a report: the environments of `mliuq.model.environments`, and the atoms of high forces.

High forces are those atoms whose reference force is among the largest tenth. Usual is what is so in the data judged.
"""

from __future__ import annotations

import numpy as np

from mliuq.model.environments import REST, Environments, Mask, with_rest
from mliuq.report.predictions import Predictions

HIGH = 0.1


def groups_of(p: Predictions, environments: Environments) -> dict[str, Mask]:
    """Rows (n,) of each group, and of none; a row may be in several. Groups without rows are left out."""
    groups = environments.groups(p.config, p.atom)
    del groups[REST]
    if p.kind == "force":
        _, atom = np.unique(np.column_stack([p.config, p.atom]), axis=0, return_inverse=True)
        size = np.sqrt(np.bincount(atom.ravel(), p.y**2))
        groups["high forces"] = (size > np.quantile(size, 1.0 - HIGH))[atom.ravel()]
    return {name: rows for name, rows in with_rest(groups).items() if rows.any()}
