"""Structures in, B out: parameters, neighbours, bispectrum, nuclear repulsion."""
