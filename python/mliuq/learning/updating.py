"""A model made anew when labels are added, without folding the old rows in again.

What an update does and what it takes over:

- Folded in are the rows of the new configurations alone; the triangle of the old ones comes from the state.  Weights,
  factor and everything made of them are those of a fit of all data, to rounding.
- Anew are outliers, the prior on what the data leave open, left-out residuals, posterior, members, noise floors,
  calibration, active sets, errors: they need every row once more, and so its descriptor (`solver.cache` keeps the rows
  of one fit, not those of the next).
- Taken over (frozen) are the cutoff that the first fit found under "auto", and the constants of energies, forces and
  stress that it chose, so that rows keep their descriptor and their weights.  `rebalance` chooses constants anew.

Where old rows have other weights than before all the same (constants chosen anew, the near-equilibrium weighting, whose
scales follow the data, what each configuration stands for, outliers left out under `solver.robust`), all are folded in
again: no model is wrong for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mliuq.descriptor.params import SnapParams
from mliuq.errors import MliuqError
from mliuq.fitting.fit import run_fit
from mliuq.fitting.past import Past
from mliuq.fitting.settings import FitSettings
from mliuq.model import Model, container, strict_json
from mliuq.outputs import write_files
from mliuq.regression.computed import fingerprint
from mliuq.regression.distributed import Progress
from mliuq.regression.rows import KINDS

_KIND = "mliuq fit state"
_ARRAYS = ("triangle", "y", "w", "kind")


@dataclass(frozen=True)
class FitState:
    """What a fit leaves for the next, which begins with its configurations.

    Attributes
    ----------
    past : the triangle of its rows
    configurations : how many they are
    identity : a hash of these configurations and the descriptor
    constants : of the weights, by kind, that the first fit chose
    rcut : LAMMPS's rcutfac of the fits
    """

    past: Past
    configurations: int
    identity: str
    constants: Mapping[str, float]
    rcut: float

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file, whole or not at all; equal states give equal bytes."""
        arrays = {name: np.asarray(getattr(self.past, name), dtype=np.float64) for name in _ARRAYS}
        text = {
            "kind": _KIND,
            "configurations": self.configurations,
            "identity": self.identity,
            "constants": dict(self.constants),
            "rcut": self.rcut,
        }
        write_files({Path(path): container.pack(arrays, json.dumps(text, sort_keys=True))})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FitState:
        """Read what `save` wrote.

        Raises
        ------
        MliuqError
            for a file that is missing, damaged or something else.
        """
        source = Path(path)
        try:
            arrays, texts = container.unpack(source)
        except OSError as error:
            raise MliuqError(f"{source}: cannot be read: {error.strerror or error}") from error
        try:
            text: Any = strict_json.loads(texts.get("mliuq", "null"))
        except ValueError as error:
            raise MliuqError(f"{source}: metadata is not valid JSON: {error}") from error
        if not isinstance(text, dict) or text.get("kind") != _KIND or set(arrays) != set(_ARRAYS):
            raise MliuqError(f"{source}: a safetensors file of another kind, expected the state of a fit")
        n, p = len(arrays["y"]), len(arrays["triangle"])
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != {"triangle": (p, p), "y": (n,), "w": (n,), "kind": (n,)}:
            raise MliuqError(f"{source}: arrays have shapes {shapes}, expected (P + 1, P + 1) and three of (n,)")
        constants, count, identity = (text.get(key) for key in ("constants", "configurations", "identity"))
        rcut = text.get("rcut", SnapParams.rcutfac)  # of every fit that named none, before the data were asked
        if (
            not isinstance(constants, dict)
            or not all(k in KINDS and isinstance(c, int | float) and c >= 0.0 for k, c in constants.items())
            or type(count) is not int
            or not isinstance(identity, str)
            or type(rcut) is not float
        ):
            raise MliuqError(
                f"{source}: metadata is {text!r:.200}, expected constants, configurations, identity and rcut"
            )
        past = Past(arrays["triangle"], arrays["y"], arrays["w"], arrays["kind"].astype(np.int8))
        return cls(past, count, identity, constants, rcut)


@dataclass(frozen=True)
class UpdatedFit:
    """A model and what the next update begins with.

    Attributes
    ----------
    model, state : of all configurations
    reused : rows that were not folded in again
    """

    model: Model
    state: FitState
    reused: int


def updated_fit(
    structures: Sequence[Atoms],
    settings: FitSettings | Mapping[str, Any] | None = None,
    *,
    state: FitState | None = None,
    test: Sequence[Atoms] = (),
    represent: Sequence[Atoms] | None = None,
    rebalance: bool = False,
    progress: Progress | None = None,
) -> UpdatedFit:
    """Fit configurations that begin with those of an earlier fit.

    Parameters
    ----------
    structures : all labelled configurations: those of the state first, as they were, new ones behind them
    settings : as `mliuq.fit` takes them, the same each time; all configurations are fitted (`data.test_fraction` is 0
        here), since another draw of those held out would be another fit
    state : what the earlier fit left; none for the first
    test : configurations that judge the fit
    represent : what the configurations stand for, as `mliuq.fit` takes it
    rebalance : choose anew the constants of weights that are "auto"
    progress : called as ``progress(stage, done, total)``

    Raises
    ------
    MliuqError
        for structures that do not begin with those of the state, or that have elements it does not know; and whatever
        `mliuq.fit` raises.
    """
    wanted = settings if isinstance(settings, FitSettings) else FitSettings().updated(settings or {})
    changes: dict[str, Any] = {"data.test_fraction": 0.0}
    constants = {} if state is None or rebalance else state.constants
    for kind, constant in constants.items():
        if getattr(wanted.weights, kind) == "auto":
            changes[f"weights.{kind}"] = float(constant)
    if state is not None and wanted.snap.rcut == "auto":
        changes["snap.rcut"] = state.rcut
    used = wanted.updated(changes)
    params = used.snap.params([*structures, *test])
    descriptor = params.to_metadata()
    if state is not None:
        begun = fingerprint(structures[: state.configurations], params.elements, descriptor)
        if len(structures) < state.configurations or begun != state.identity:
            raise MliuqError(
                f"the {len(structures)} structures do not begin with the {state.configurations} of the state, or their "
                "elements or the descriptor are others: expected all that were fitted before, in their order, and new "
                "ones behind them; or no state, for a fit of its own"
            )
    past = None if state is None else state.past
    result = run_fit(structures, params, used, test=test, represent=represent, progress=progress, past=past)
    kept = constants or result.balance.constants
    identity = fingerprint(structures, params.elements, descriptor)
    left = FitState(result.past, len(structures), identity, dict(kept), params.rcutfac)
    reused = state is not None and state.past.begins(result.past, len(result.solution.theta))
    return UpdatedFit(result.model, left, len(state.past.y) if state is not None and reused else 0)
