"""From the spread of the weights to the bars of what is computed with them: differences of energies."""

from mliuq.propagation.combination import Comparison, compare

__all__ = ["Comparison", "compare"]
