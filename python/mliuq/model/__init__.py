"""A potential and its file."""

from mliuq.model.model import Model

__all__ = ["Model"]
