"""The one exception type of the Python side."""


class MliuqError(ValueError):
    """Something the user gave cannot be used; the message names what, where, expected and found."""
