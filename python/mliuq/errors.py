"""The one exception of the package, and the check it is raised by most often."""

import math


class MliuqError(ValueError):
    """Bad input. The message says what was wrong, where, what was expected and what was found.

    The C++ core raises this same class.
    """


def in_range(key: str, value: float, low: float, high: float, *, open_top: bool = False) -> None:
    """Refuse a number outside low…high (`open_top`: below high), naming the key.

    Raises
    ------
    MliuqError
        also for NaN.
    """
    if not (low <= value < high or (value == high and not open_top and math.isfinite(high))):
        raise MliuqError(f"{key} is {value}, expected a number from {low:g} to {high:g}")
