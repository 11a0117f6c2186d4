"""Whether a model is judged by what it was made of."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from mliuq.readers.fingerprints import fingerprints

if TYPE_CHECKING:
    from mliuq.model import Model

log = logging.getLogger(__name__)


def warn_of_seen(model: Model, structures: Sequence[Atoms], what: str) -> None:
    """Warn of structures the model was fitted to: errors on them flatter it."""
    fitted = model.arrays.get("data.fingerprints")
    if fitted is None:
        return
    if seen := int(np.isin(fingerprints(structures), fitted).sum()):
        log.warning("%d of %d structures are among those the model was fitted to: %s", seen, len(structures), what)
