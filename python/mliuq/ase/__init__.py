"""The ASE door."""

from mliuq.ase.calculator import MLIUQCalculator

__all__ = ["MLIUQCalculator"]
