"""Posteriors over the weights of a linear fit: moves δ about the best fit, members θ* + δ."""
