"""Potentials that are taken off the data before a fit and added to the model after it."""

from mliuq.reference.potential import ReferencePotential, ReferenceValues

__all__ = ["ReferencePotential", "ReferenceValues"]
