"""The ASE door."""

from mliuq.ase.calculator import MLIUQCalculator
from mliuq.ase.guard import UncertaintyGuard, UncertaintyHalt

__all__ = ["MLIUQCalculator", "UncertaintyGuard", "UncertaintyHalt"]
