"""Structures in, a model out."""
