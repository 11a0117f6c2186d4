"""From the spread of the weights to the bars of what is computed with them: every member of a model computes its own.

Functions have the names of the commands: ``mliuq.propagation.eos(model, ["bcc", "fcc"])`` is
``mliuq propagate eos W.mliuq bcc fcc``.
"""

from typing import TYPE_CHECKING

from mliuq.lazy import imported_on_first_use

if TYPE_CHECKING:
    from mliuq.propagation.combination import Comparison, compare
    from mliuq.propagation.driver import propagate
    from mliuq.propagation.functions import (
        custom,
        defects,
        elastic,
        eos,
        gsf,
        neb,
        path,
        phases,
        phonons,
        surfaces,
    )
    from mliuq.propagation.property import Found, ObjectProperty, Property
    from mliuq.propagation.results import Curve, Estimate, Failure, Line, Measurement, Noise, PropertyResult, Value
    from mliuq.propagation.settings import PropagationSettings
    from mliuq.propagation.write import read_result, write_result

_HOME = {
    ".combination": ("Comparison", "compare"),
    ".driver": ("propagate",),
    ".functions": (
        "custom",
        "defects",
        "elastic",
        "eos",
        "gsf",
        "neb",
        "path",
        "phases",
        "phonons",
        "surfaces",
    ),
    ".property": ("Found", "ObjectProperty", "Property"),
    ".results": ("Curve", "Estimate", "Failure", "Line", "Measurement", "Noise", "PropertyResult", "Value"),
    ".settings": ("PropagationSettings",),
    ".write": ("read_result", "write_result"),
}

__all__ = [
    "Comparison",
    "Curve",
    "Estimate",
    "Failure",
    "Found",
    "Line",
    "Measurement",
    "Noise",
    "ObjectProperty",
    "PropagationSettings",
    "Property",
    "PropertyResult",
    "Value",
    "compare",
    "custom",
    "defects",
    "elastic",
    "eos",
    "gsf",
    "neb",
    "path",
    "phases",
    "phonons",
    "propagate",
    "read_result",
    "surfaces",
    "write_result",
]

__getattr__ = imported_on_first_use(__name__, {name: module for module, names in _HOME.items() for name in names})
