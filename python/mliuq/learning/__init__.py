"""The loop: explore, select, label, refit, go on.

Names are imported on first use: a worker that labels one structure loads no more than it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mliuq.learning.carving import carve
    from mliuq.learning.loop import Learned, learn
    from mliuq.learning.selection import Choice, Selection, select
    from mliuq.learning.settings import LearnSettings

_HOME = {
    "Choice": "selection",
    "LearnSettings": "settings",
    "Learned": "loop",
    "Selection": "selection",
    "carve": "carving",
    "learn": "loop",
    "select": "selection",
}

__all__ = ["Choice", "LearnSettings", "Learned", "Selection", "carve", "learn", "select"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mliuq.learning' has no attribute {name!r}")
    return getattr(import_module(f"mliuq.learning.{_HOME[name]}"), name)
