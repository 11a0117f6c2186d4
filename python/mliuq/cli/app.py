"""Assembles the commands and turns every failure into one line and an exit status.

Status 0: done. 1: failed (bad data, bad model, missing file). 2: the command line itself was wrong. 128 and the number
of a signal: stopped by it, 130 for Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Annotated, Any

import typer

from mliuq.cli import (
    adopt,
    calibrate,
    compare,
    evaluate,
    export,
    fit,
    info,
    learn,
    md,
    propagate,
    report,
    select,
    sheet,
    tune,
    verify,
)
from mliuq.cli.coefficients import CoefficientsCommand
from mliuq.cli.console import spelled_out
from mliuq.cli.logs import logged
from mliuq.cli.signals import Stopped
from mliuq.errors import MliuqError, printable

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
_VERBOSE = ("-v", "--verbose")

app = typer.Typer(
    name="mliuq",
    help="Spectral-neighbour potentials that know when they are wrong.",
    epilog="Documentation: docs/ of the source tree. Every command has --help with an example.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("fit", epilog=fit.EXAMPLE)(fit.run)
app.command("adopt", epilog=adopt.EXAMPLE)(adopt.run)
app.command("tune", epilog=tune.EXAMPLE)(tune.run)
app.command("eval", epilog=evaluate.EXAMPLE)(evaluate.run)
app.command("compare", epilog=compare.EXAMPLE, cls=CoefficientsCommand)(compare.run)
app.command("calibrate", epilog=calibrate.EXAMPLE)(calibrate.run)
app.command("report", epilog=report.EXAMPLE)(report.run)
app.command("md", epilog=md.EXAMPLE)(md.run)
app.command("learn", epilog=learn.EXAMPLE)(learn.run)
app.command("info", epilog=info.EXAMPLE)(info.run)
app.command("export", epilog=export.EXAMPLE)(export.run)
app.command("select", epilog=select.EXAMPLE, cls=CoefficientsCommand)(select.run)
app.command("verify", epilog=verify.EXAMPLE)(verify.run)
propagate.app.command("all", epilog=sheet.EXAMPLE)(sheet.run)
app.add_typer(propagate.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        import mliuq

        typer.echo(f"mliuq {mliuq.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and leave.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option(*reversed(_VERBOSE), help="Log what is done to standard error; show traces of failures.")
    ] = False,
) -> None:
    del version, verbose  # `run` has taken them out, wherever they stood


@cache
def _command() -> Any:
    """All commands with their options: put together once, of which `app` itself would make a new one for every call."""
    return typer.main.get_command(app)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status; `arguments` defaults to those of the process."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    words = [word for word in given if word not in _VERBOSE]
    verbose = len(words) < len(given)
    with spelled_out(sys.stdout, sys.stderr), logged(sys.stderr, verbose):
        try:
            status = _command()(args=words, prog_name="mliuq", standalone_mode=False)
            sys.stdout.flush()
            return status if isinstance(status, int) else DONE
        except BaseException as error:
            if any(isinstance(cause, BrokenPipeError) for cause in _chain(error)):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return DONE  # `mliuq eval … | head`: the reader has what it wanted
            if isinstance(error, SystemExit):
                raise
            if verbose:
                lines = "".join(traceback.format_exception(error)).splitlines()
                print(*map(printable, lines), sep="\n", file=sys.stderr)
            return _fail(*_explain(error))


def _explain(error: BaseException) -> tuple[str, int]:
    """Message and exit status of a failure."""
    for cause in _chain(error):  # libraries turn an interrupted import into errors of their own
        if isinstance(cause, Stopped):
            return str(cause), cause.status
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "interrupted", INTERRUPTED
    if isinstance(error, MliuqError | ImportError):
        return str(error), FAILED
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}", FAILED
    if isinstance(error, MemoryError):
        return f"out of memory: {error}".rstrip(": "), FAILED
    usage = _usage_message(error)
    if usage is not None:
        return usage, USAGE
    what = printable(" ".join(f"{type(error).__name__}: {error}".split()))
    return f"unexpected {what} (-v shows where)", FAILED


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _usage_message(error: BaseException) -> str | None:
    """One line for a wrong command line; None when the error is something else.

    Typer's own exceptions are told by their interface: they live in `click` or, in newer releases, in a private copy.
    """
    if not hasattr(error, "format_message"):
        return None
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return f"nothing to do\n{error.format_message()}"
    hint = f" (see '{context.command_path} --help')" if context is not None else ""
    return f"{error.format_message().rstrip('.')}{hint}"


def _fail(message: str, status: int) -> int:
    first, *rest = map(printable, message.split("\n"))
    print(f"mliuq: error: {first}", *rest, sep="\n", file=sys.stderr)
    return status
