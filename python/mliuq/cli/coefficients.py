"""`--coefficients 1 -1/2 -1/2`: an option that takes all numbers behind it."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import typer
from typer.core import TyperCommand

COEFFICIENTS = "--coefficients"


class CoefficientsCommand(TyperCommand):
    """Takes all numbers behind --coefficients, negative ones and fractions too, as values of that option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the numbers into one value."""
        joined: list[str] = []
        rest = list(args)
        while rest:
            token = rest.pop(0)
            if token == COEFFICIENTS:
                numbers = []
                while rest and _number(rest[0]) is not None:
                    numbers.append(rest.pop(0))
                token = f"{COEFFICIENTS}={' '.join(numbers)}"
            joined.append(token)
        return super().parse_args(ctx, joined)


def parsed(text: str) -> list[Fraction]:
    """Return the numbers of a value of the option; anything else is an error of usage."""
    numbers = [_number(word) for word in text.split()]
    if not numbers or None in numbers:
        raise typer.BadParameter(f"expected numbers or fractions, found {text!r}", param_hint=COEFFICIENTS)
    return [number for number in numbers if number is not None]


_WRITTEN = re.compile(r"[+-]?[0-9]+/[0-9]*[1-9][0-9]*|[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", re.ASCII)


def _number(text: str) -> Fraction | None:
    """Return the number; powers of ten beyond two digits, of which a `Fraction` writes out every zero, are none."""
    return Fraction(text) if len(text) <= 100 and _WRITTEN.fullmatch(text) else None
