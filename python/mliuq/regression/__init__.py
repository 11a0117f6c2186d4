"""Weighted linear least squares on streamed rows: rows in, factor, weights and residuals out."""

from mliuq.regression.rows import ENERGY, FORCE, KINDS, STRESS, ArrayRows, RowBlock, RowSource, RowTable
from mliuq.regression.solver import Solution, solve

__all__ = ["ENERGY", "FORCE", "KINDS", "STRESS", "ArrayRows", "RowBlock", "RowSource", "RowTable", "Solution", "solve"]
