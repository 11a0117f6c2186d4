"""How good a model and its error bars are: metrics and error tables."""
