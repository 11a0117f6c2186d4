"""Processes that share a command's work, and end when it does: finished, interrupted or killed."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import active_children, get_context, parent_process
from types import TracebackType

from mliuq.errors import MliuqError


def processes(workers: int, stack: ExitStack) -> Executor | None:
    """Processes that live as long as the stack; None for one worker.

    They are not forked: a forked process waits for ever for the threads that a library had in its parent. When the
    stack is left by an exception, what they are doing and what waits is dropped.
    """
    if workers < 1:
        raise MliuqError(f"workers is {workers}, expected at least 1")
    if workers == 1:
        return None
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_serve)

    def leave(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            for child in active_children():
                child.terminate()
        pool.shutdown(cancel_futures=kind is not None)

    stack.push(leave)
    return pool


def _serve() -> None:
    """In a worker: signals to the whole group are for the parent to answer; nobody works for one that is gone."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
