"""Prediction intervals from a model's conformal quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from numpy.typing import NDArray

from mliuq.errors import MliuqError
from mliuq.model import Model
from mliuq.model.environments import Usual, environments_of
from mliuq.model.quantiles import conformal_quantile, conformal_widths

if TYPE_CHECKING:
    from mliuq.ase.calculator import MLIUQCalculator

#: Result key -> what the model file calls its kind.
KINDS = {"energy": "energy", "forces": "force", "stress": "stress"}


def interval(
    calculator: Calculator, model: Model, quantity: str, level: float, atoms: Atoms
) -> tuple[NDArray[np.float64] | float, NDArray[np.float64] | float]:
    """Lower and upper ends of `quantity` ± quantile × predicted error; see `MLIUQCalculator.interval`."""
    if quantity not in KINDS:
        raise MliuqError(f"quantity is {quantity!r}, expected one of {', '.join(KINDS)}: others have no references")
    conformal_quantile(model.calibration, KINDS[quantity], level)  # refuses before anything is computed
    value: Any = calculator.get_property(quantity, atoms)
    error: Any = calculator.get_property(f"{quantity}_err", atoms)
    width = _width(model, quantity, level, atoms, np.shape(value))
    return value - width * error, value + width * error


def _width(
    model: Model, quantity: str, level: float, atoms: Atoms, shape: tuple[int, ...]
) -> NDArray[np.float64] | float:
    """Half-width of the interval of every number, in error bars, by the groups of environments that it belongs to."""
    usual = ((model.calibration or {}).get("groups") or {}).get("usual")
    if usual is None:
        return conformal_quantile(model.calibration, KINDS[quantity], level)
    atom = np.repeat(np.arange(len(atoms)), 3) if quantity == "forces" else np.full(int(np.prod(shape)), -1)
    groups = environments_of([atoms], Usual.from_mapping(usual)).groups(np.zeros_like(atom), atom)
    widths = conformal_widths(model.calibration, KINDS[quantity], level, groups).reshape(shape)
    return widths if shape else float(widths)


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
    for quantity in kinds:
        try:
            low, high = calculator.interval(quantity, level)
        except PropertyNotImplementedError:  # stress without a volume
            continue
        found |= {f"{quantity}_low": low, f"{quantity}_high": high}
    return found
