"""What a selection is after: a criterion and what it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from mliuq.errors import MliuqError
from mliuq.learning.criteria import Criterion, ForcesErr, MaxVol, Random
from mliuq.learning.information import Information, MeanInformation, PropertyVariance
from mliuq.learning.label_rows import LabelRows, factor_of, weights_of_labels
from mliuq.learning.propagated import rows_of_values
from mliuq.learning.standing import Representation
from mliuq.model import Model
from mliuq.readers.fingerprints import others_than
from mliuq.regression.rows import Ints

CriterionName = Literal[
    "information", "mean_information", "representation", "maxvol", "forces_err", "property", "random"
]
CRITERIA: tuple[CriterionName, ...] = (
    "information",
    "mean_information",
    "representation",
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
        of_region = ("mean_information", "representation")
        for name, of in (("region", of_region), ("target", ("property",)), ("values", ("property",))):
            if self.criterion not in of and getattr(self, name) is not None:
                expected = " or ".join(map(repr, of))
                raise MliuqError(f"{name} is given, but the criterion is {self.criterion!r}, expected {expected}")
        if self.criterion == "mean_information" and not self.region:
            raise MliuqError("criterion 'mean_information' needs region, expected at least one structure")
        if self.region is not None and not self.region:
            raise MliuqError("region is empty, expected at least one structure, or none given for the pool itself")
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

    def judge(
        self, model: Model, pool: Sequence[Atoms], new: Ints, known: Sequence[Atoms], seed: int, threads: int
    ) -> Criterion[Any]:
        """Return the criterion for a pool, whose places `new` hold what is not known.

        Raises
        ------
        MliuqError
            for a model that does not carry what is needed.
        """
        if self.criterion == "random":
            return Random(len(pool), seed)
        if self.criterion == "forces_err":
            return ForcesErr(model, threads)
        if self.criterion == "maxvol":
            return MaxVol(model)
        weights = weights_of_labels(model, self.rows, self.weights)
        if self.criterion == "representation":
            places, whole = new.tolist(), pool
            if self.region is not None:
                places, whole = others_than(self.region, known), self.region
            everything = chain(known, (whole[i] for i in places))
            return Representation(everything, known, model.params, forces=weights[1] > 0.0, threads=threads)
        labels = LabelRows(model.params, factor_of(model), weights, threads)
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
