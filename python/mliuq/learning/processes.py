"""Programs that the loop starts: ended with everything they started when their time is up or the loop stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

WORKER = str(Path(__file__).with_name("worker.py"))

_LOOK = 0.05  # s between looks at a program


class Stopping(Exception):  # noqa: N818 - says what happens, not what went wrong
    """The loop stops: what is being done is given up, and leaves no outcome."""


@contextmanager
def pool_that_stops(workers: int) -> Iterator[tuple[ThreadPoolExecutor, Event]]:
    """Threads, and the event that tells what they do to give up, set when the block is left by an error or a signal."""
    stop = Event()
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool, stop
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def run_program(
    arguments: Sequence[str],
    folder: Path,
    log: Path,
    *,
    time_limit: float = 0.0,
    stop: Event | None = None,
    environment: Mapping[str, str] | None = None,
) -> int | None:
    """Run `worker.py` with these arguments and return its status, None when the time was up.

    Parameters
    ----------
    folder : where it runs
    log : file for all that it prints
    time_limit : s, 0 for none
    stop : gives up when set

    Raises
    ------
    Stopping
        when `stop` was set.
    """
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-P", WORKER, *arguments],
            cwd=folder,
            env=None if environment is None else {**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    end = time.monotonic() + time_limit if time_limit else None
    try:
        while (status := process.poll()) is None:
            if stop is not None and stop.is_set():
                raise Stopping
            if end is not None and time.monotonic() > end:
                return None
            time.sleep(_LOOK)
        return status
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        process.wait()
