"""Which models are the same: what they predict and with which members, not where it is kept."""

from __future__ import annotations

import hashlib
import json

from mliuq.model.model import Model


def fingerprint(model: Model) -> str:
    """SHA-256 over the weights of best fit and members, and what they multiply."""
    digest = hashlib.sha256(json.dumps(model.params.to_metadata(), sort_keys=True).encode())
    digest.update(json.dumps([*model.params.elements, model.zbl]).encode())
    digest.update(model.theta.tobytes())
    if model.members is not None:
        digest.update(model.members.tobytes())
    return digest.hexdigest()
