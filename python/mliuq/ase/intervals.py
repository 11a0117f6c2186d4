"""Prediction intervals from a model's conformal quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from numpy.typing import NDArray

from mliuq.errors import MliuqError
from mliuq.model import Model
from mliuq.model.environments import Environments, Usual, environments_of
from mliuq.model.quantiles import conformal_quantile, conformal_widths

if TYPE_CHECKING:
    from mliuq.ase.calculator import MLIUQCalculator

#: Result key -> what the model file calls its kind.
KINDS = {"energy": "energy", "forces": "force", "stress": "stress"}


def interval(
    calculator: MLIUQCalculator, quantity: str, level: float, atoms: Atoms, around: Environments | None
) -> tuple[NDArray[np.float64] | float, NDArray[np.float64] | float]:
    """Lower and upper ends of `quantity` ± quantile × predicted error; see `MLIUQCalculator.interval`.

    `around` is what `surroundings` finds.
    """
    if quantity not in KINDS:
        raise MliuqError(f"quantity is {quantity!r}, expected one of {', '.join(KINDS)}: others have no references")
    calibration, kind = calculator.model.calibration, KINDS[quantity]
    width: Any = conformal_quantile(calibration, kind, level)  # refuses before anything is computed
    value: Any = calculator.get_property(quantity, atoms)
    error: Any = calculator.get_property(f"{quantity}_err", atoms)
    if around is not None:
        shape = np.shape(value)
        atom = np.repeat(np.arange(len(atoms)), 3) if quantity == "forces" else np.full(int(np.prod(shape)), -1)
        widths = conformal_widths(calibration, kind, level, around.groups(np.zeros_like(atom), atom))
        width = widths.reshape(shape) if shape else float(widths[0])
    return value - width * error, value + width * error


def surroundings(model: Model, atoms: Atoms) -> Environments | None:
    """Groups of the environments of `atoms`; None where the model has no quantiles of groups."""
    usual = Usual.of(model.calibration)
    return None if usual is None else environments_of([atoms], usual)


def intervals_of(calculator: MLIUQCalculator, level: float) -> dict[str, Any]:
    """Ends of every interval that the model is calibrated for: ``energy_low``, ``energy_high``, ``forces_low``, ….

    Of the structure evaluated last.

    Raises
    ------
    MliuqError
        Where it is calibrated for none, or not up to `level`.
    """
    stored = (calculator.model.calibration or {}).get("conformal") or {}
    kinds = [name for name, kind in KINDS.items() if kind in stored]
    if not kinds:
        raise MliuqError("the model carries no conformal quantiles: calibrate it (mliuq calibrate)")
    found: dict[str, Any] = {}
    atoms = calculator.evaluated()
    around = surroundings(calculator.model, atoms)
    for quantity in kinds:
        try:
            low, high = interval(calculator, quantity, level, atoms, around)
        except PropertyNotImplementedError:  # stress without a volume
            continue
        found |= {f"{quantity}_low": low, f"{quantity}_high": high}
    return found
