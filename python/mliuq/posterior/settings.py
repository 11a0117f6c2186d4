"""The `[posterior]` table of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mliuq.errors import MliuqError, in_range
from mliuq.posterior.samplers import SAMPLERS, Sampler
from mliuq.posterior.selection import Selection

PosteriorKind = Literal["gaussian", "hypercube", "ensemble"]
CalibrationSource = Literal["auto", "k-fold", "left-out"]
ClassesOut = Literal["none", "errors", "bars"]

REFIT_ROWS = 30
"""Rows for each weight from which left-out residuals calibrate as well as refits do, and some to spare.

On held-out configurations their bars were as wide with 16 and more, 3 % narrower with 8 and 10 % with 5; nested
selection (benchmarks/posterior_choices.py) prefers refits with 3.5 rows for each weight, and neither from 5 on.
"""
REFIT_NUMBERS = 1 << 26
"""Numbers in a design matrix (512 MiB) up to which refits cost little."""


@dataclass(frozen=True)
class PosteriorSettings:
    """Which posterior is fitted and how members are drawn from it.

    Attributes
    ----------
    kind : gaussian (empirical Bayes on leave-one-out residuals), hypercube (the published POPS) or ensemble
    members : number of weight vectors stored in the model; 0 stores none
    sampler : uniform, sobol, latin or halton points in the hypercube
    leverage_percentile, minimum_relative_error, negligible_leverage : rows that enter, see `posterior.selection`
    mode_threshold, percentile_clipping : axes and bounds of the hypercube, see `posterior.hypercube`
    prior : weight of the gaussian posterior's prior, 0 for one that grows with the number of weights
    calibrate : scale the error bars to errors on configurations that were not fitted
    calibration_source : where those errors come from: "k-fold", fits of weights and posterior without each fold of the
        training configurations; "left-out", closed-form leave-one-configuration-out residuals, without refits; or
        "auto", k-fold where it is needed (fewer than 30 rows for each weight) or cheap (a design matrix of up to 512
        MiB), left-out elsewhere
    calibration_folds : K of both
    classes_out : what is said of every class (config_type) under a fit without it: "errors", in closed form; "bars",
        how honest error bars are there, too, by fitting weights and posterior anew without each class; or "none"
    extrapolation : store the factor of A⁻¹, the MaxVol active set and training environments
    environments : how many of these for each element at most, for the density; 0 for none
    """

    kind: PosteriorKind = "gaussian"
    members: int = 500
    sampler: Sampler = "uniform"
    leverage_percentile: float = 0.0
    minimum_relative_error: float = 0.0
    negligible_leverage: float = 1e-4
    mode_threshold: float = 1e-8
    percentile_clipping: float = 0.0
    prior: float = 0.0
    calibrate: bool = True
    calibration_source: CalibrationSource = "auto"
    calibration_folds: int = 5
    classes_out: ClassesOut = "errors"
    extrapolation: bool = True
    environments: int = 1000

    @property
    def selection(self) -> Selection:
        """Which rows enter."""
        return Selection(self.leverage_percentile, self.minimum_relative_error, self.negligible_leverage)

    def refits(self, n_rows: int, n_weights: int) -> bool:
        """Whether so many rows and weights are calibrated by K-fold refits."""
        if self.calibration_source == "auto":
            return n_rows < REFIT_ROWS * n_weights or n_rows * n_weights <= REFIT_NUMBERS
        return self.calibration_source == "k-fold"

    def validate(self) -> None:
        """Refuse values out of range."""
        self.selection.validate()
        in_range("posterior.members", self.members, 0, np.inf)
        in_range("posterior.environments", self.environments, 0, np.inf)
        in_range("posterior.prior", self.prior, 0.0, np.inf)
        in_range("posterior.percentile_clipping", self.percentile_clipping, 0.0, 50.0)
        in_range("posterior.calibration_folds", self.calibration_folds, 2, np.inf)
        if self.sampler not in SAMPLERS:
            raise MliuqError(f"posterior.sampler is {self.sampler!r}, expected one of {', '.join(SAMPLERS)}")
