"""The `mliuq` command line: one module per command, no science of its own."""

from collections.abc import Sequence

from mliuq.cli.signals import stopped_in_order

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; `arguments` defaults to those of the process.

    The commands are imported under the handlers of signals: an interrupt while they load takes one line, too.
    """
    with stopped_in_order() as stop:
        from mliuq.cli.app import run

        stop.unwind()
        return run(arguments)
