"""Training data from the files the field uses (docs/how-to/data.md lists them), and what their values are called."""

from mliuq.readers.structures import read_structures

__all__ = ["read_structures"]
