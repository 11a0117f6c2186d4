"""Signals that end a command: one line, an exit status of their own, and nothing left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SAYS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "the terminal was closed"}
_ONCE = 1.0  # seconds in which one stop arrives several times: `timeout` signals a process and then its group


class Stopped(BaseException):
    """A signal asked the process to end; unwinds what is being done, so that scratch files go."""

    def __init__(self, number: int) -> None:
        super().__init__(_SAYS[signal.Signals(number)])
        self.status = 128 + number


class Stop:
    """The handler of signals."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._unwind = False
        self._first: float | None = None

    def unwind(self) -> None:
        """From now on raise `Stopped`; until now the process ended at once, for nothing had been begun."""
        self._unwind = True

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; whoever repeats it later does not want to wait."""
        if os.getpid() != self._process:  # a worker: the process that forked it speaks for all
            os._exit(128 + number)
        now = time.monotonic()
        if self._first is not None and now < self._first + _ONCE:
            return
        if not self._unwind or self._first is not None:
            os.write(2, f"mliuq: error: {_SAYS[signal.Signals(number)]}\n".encode())
            os._exit(128 + number)
        self._first = now
        raise Stopped(number)


@contextmanager
def stopped_in_order() -> Iterator[Stop]:
    """Handle signals while the block runs; those that are ignored (`nohup`) stay ignored."""
    stop = Stop()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SAYS:
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
