"""Structures in, a model out."""

from mliuq.fitting.fit import FitResult, run_fit
from mliuq.fitting.settings import FitSettings

__all__ = ["FitResult", "FitSettings", "run_fit"]
