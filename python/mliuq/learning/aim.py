"""What a selection is after: a criterion and what it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from mliuq.errors import MliuqError
from mliuq.learning.criteria import Criterion, ForcesErr, MaxVol, Random
from mliuq.learning.information import Information, MeanInformation, PropertyVariance
from mliuq.learning.label_rows import LabelRows, factor_of, weights_of_labels
from mliuq.learning.propagated import rows_of_values
from mliuq.model import Model

CriterionName = Literal["information", "mean_information", "maxvol", "forces_err", "property", "random"]
CRITERIA: tuple[CriterionName, ...] = (
    "information",
    "mean_information",
    "maxvol",
    "forces_err",
    "property",
    "random",
)


@dataclass(frozen=True)
class Aim:
    """A criterion with what it needs; see `mliuq.learning.selection.select`."""

    criterion: CriterionName
    rows: Sequence[str]
    weights: Mapping[str, float] | None
    region: Sequence[Atoms] | None
    target: Sequence[Atoms] | None
    coefficients: Sequence[float] | None
    values: ArrayLike | None

    def validate(self) -> None:
        """Refuse what is missing, and what is given in vain."""
        if self.criterion not in CRITERIA:
            raise MliuqError(f"criterion is {self.criterion!r}, expected one of {', '.join(CRITERIA)}")
        for name, of in (("region", "mean_information"), ("target", "property"), ("values", "property")):
            if self.criterion != of and getattr(self, name) is not None:
                raise MliuqError(f"{name} is given, but the criterion is {self.criterion!r}, expected {of!r}")
        if self.criterion == "mean_information" and not self.region:
            raise MliuqError("criterion 'mean_information' needs region, expected at least one structure")
        if self.criterion == "property" and bool(self.target) == (self.values is not None):
            raise MliuqError("criterion 'property' needs target (at least one structure) or values, and not both")
        if self.coefficients is None:
            return
        if self.target is None:
            raise MliuqError("coefficients are given without target, expected the structures they belong to")
        n = len(self.target)
        if len(self.coefficients) != n or not np.all(np.isfinite(np.array(self.coefficients, dtype=np.float64))):
            raise MliuqError(
                f"coefficients are {list(self.coefficients)}, expected {n} finite numbers, one for each structure"
            )

    def judge(self, model: Model, n_pool: int, seed: int, threads: int) -> Criterion[Any]:
        """Return the criterion for a pool of so many structures.

        Raises
        ------
        MliuqError
            for what `validate` refuses, and a model that does not carry what is needed.
        """
        self.validate()
        if self.criterion == "random":
            return Random(n_pool, seed)
        if self.criterion == "forces_err":
            return ForcesErr(model, threads)
        if self.criterion == "maxvol":
            return MaxVol(model)
        labels = LabelRows(model.params, factor_of(model), weights_of_labels(model, self.rows, self.weights), threads)
        if self.criterion == "information":
            return Information(labels)
        if self.criterion == "mean_information":
            return MeanInformation(labels, np.concatenate(labels.whitened(self.region or ())), "region")
        if self.values is not None:
            return PropertyVariance(labels, rows_of_values(self.values, model), "values")
        target = self.target or ()
        if self.coefficients is not None:
            return PropertyVariance(labels, labels.of_combination(target, self.coefficients), "target")
        return PropertyVariance(labels, np.concatenate(labels.whitened(target)), "target")
