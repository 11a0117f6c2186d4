"""The one exception of the package."""


class MliuqError(ValueError):
    """Bad input. The message says what was wrong, where, what was expected and what was found.

    The C++ core raises this same class.
    """
