"""The one exception of the package, and the check it is raised by most often."""

import math


def printable(text: str) -> str:
    r"""Text fit for one line of a terminal: what does not print becomes ``\x1b`` or ``\u202e``, all else stays.

    Control characters, marks that turn the direction of writing, invisible spaces, halves of surrogate pairs: nothing
    that a file holds reaches a terminal as a command to it.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


_LONGEST, _LAST = 2000, 300  # characters of a message, and of its end


class MliuqError(ValueError):
    """Bad input. The message says what was wrong, where, what was expected and what was found.

    The C++ core raises this same class. As text it is one line that prints and can be read, whatever a file held: the
    middle of a message of more than 2000 characters is left out.
    """

    def __str__(self) -> str:
        text = printable(super().__str__())
        if len(text) <= _LONGEST:
            return text
        return f"{text[: _LONGEST - _LAST - 7]} [...] {text[-_LAST:]}"


def in_range(key: str, value: float, low: float, high: float, *, open_top: bool = False) -> None:
    """Refuse a number outside low…high (`open_top`: below high), naming the key.

    Raises
    ------
    MliuqError
        also for NaN.
    """
    if not (low <= value < high or (value == high and not open_top and math.isfinite(high))):
        to = "to below" if open_top else "to"
        raise MliuqError(f"{key} is {value}, expected a number from {low:g} {to} {high:g}")
