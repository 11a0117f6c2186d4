"""The loop: explore, select, label, refit, go on.

Names are imported on first use: a worker that labels one structure loads no more than it needs.
"""

from typing import TYPE_CHECKING

from mliuq.lazy import imported_on_first_use

if TYPE_CHECKING:
    from mliuq.learning.carving import carve
    from mliuq.learning.loop import Learned, learn
    from mliuq.learning.selection import Choice, Selection, select
    from mliuq.learning.settings import LearnSettings
    from mliuq.learning.updating import FitState, UpdatedFit, updated_fit

_HOME = {
    "Choice": ".selection",
    "FitState": ".updating",
    "LearnSettings": ".settings",
    "Learned": ".loop",
    "Selection": ".selection",
    "UpdatedFit": ".updating",
    "carve": ".carving",
    "learn": ".loop",
    "select": ".selection",
    "updated_fit": ".updating",
}

__all__ = [
    "Choice",
    "FitState",
    "LearnSettings",
    "Learned",
    "Selection",
    "UpdatedFit",
    "carve",
    "learn",
    "select",
    "updated_fit",
]

__getattr__ = imported_on_first_use(__name__, _HOME)
