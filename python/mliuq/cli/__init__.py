"""The `mliuq` command line: one module per command, no science of its own."""

from mliuq.cli.main import main

__all__ = ["main"]
