"""Training data from the files the field uses: extended XYZ (also compressed), ASE databases, FitSNAP JSON folders."""

from mliuq.readers.structures import read_structures

__all__ = ["read_structures"]
