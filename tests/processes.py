"""What tests that start programs share."""

from __future__ import annotations

import signal


def heed_signals() -> None:
    """For `preexec_fn`: a program ignores what its parent ignores, as under nohup or behind a shell's `&`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
