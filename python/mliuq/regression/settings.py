"""The `[solver]` table of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mliuq.errors import MliuqError, in_range


@dataclass(frozen=True)
class SolverSettings:
    """How the least-squares problem is solved.

    Attributes
    ----------
    ridge : λ of λ‖θ‖², "evidence" to maximise the evidence (one-body energies are left free), or "auto": none, but a
        prior on forces of displaced structures where the data leave weights open (`mliuq.regression.protection`)
    robust : leave out training configurations with a value that cannot be right (`mliuq.regression.outliers`)
    rcond : relative size below which a singular value counts as zero; 0 for the rounding error of the problem
    one_body : energy of an isolated atom of each element in eV (`{W = -4.1}`): fixed instead of fitted
    isolated_atoms : take those energies from the configurations of a single atom without neighbours in the data
    rows : keep rows in memory, on disk, compute them again for each pass, or choose by size
    cache : folder for rows on disk, kept for the next fit; a temporary folder when empty
    memory : MiB that rows may take in memory under `rows = "auto"`
    threads : threads that compute rows; 0 for all
    """

    ridge: float | Literal["auto", "evidence"] = "auto"
    robust: bool = False
    rcond: float = 0.0
    one_body: Mapping[str, float] = field(default_factory=dict)
    isolated_atoms: bool = False
    rows: Literal["auto", "memory", "disk", "recompute"] = "auto"
    cache: str = ""
    memory: float = 512.0
    threads: int = 0

    def validate(self) -> None:
        """Refuse values out of range."""
        if not isinstance(self.ridge, str):
            in_range("solver.ridge", float(self.ridge), 0.0, np.inf)
        elif self.ridge == "evidence" and (self.one_body or self.isolated_atoms):
            raise MliuqError("solver.ridge is 'evidence', expected a number when one-body energies are given")
        in_range("solver.threads", self.threads, 0, 4096)
        in_range("solver.rcond", self.rcond, 0.0, 1.0)
        if self.cache and self.rows in ("memory", "recompute"):
            raise MliuqError(f"solver.cache is given, but solver.rows is {self.rows!r}: expected 'disk' or 'auto'")
