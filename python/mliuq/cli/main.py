"""The entry point: assembles the commands and turns every failure into one line and an exit status.

Status 0: done. 1: failed (bad data, bad model, missing file). 2: the command line itself was wrong.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from mliuq.cli import calibrate, compare, evaluate, export, fit, info, propagate, report
from mliuq.errors import MliuqError

DONE, FAILED, USAGE = 0, 1, 2

app = typer.Typer(
    name="mliuq",
    help="Spectral-neighbour potentials that know when they are wrong.",
    epilog="Documentation: docs/ of the source tree. Every command has --help with an example.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("fit", epilog=fit.EXAMPLE)(fit.run)
app.command("eval", epilog=evaluate.EXAMPLE)(evaluate.run)
app.command("compare", epilog=compare.EXAMPLE, cls=compare.CompareCommand)(compare.run)
app.command("calibrate", epilog=calibrate.EXAMPLE)(calibrate.run)
app.command("report", epilog=report.EXAMPLE)(report.run)
app.command("info", epilog=info.EXAMPLE)(info.run)
app.command("export", epilog=export.EXAMPLE)(export.run)
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
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is being done to standard error.")] = False,
) -> None:
    del version
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; `arguments` defaults to those of the process."""
    try:
        status = app(args=None if arguments is None else list(arguments), prog_name="mliuq", standalone_mode=False)
        return status if isinstance(status, int) else DONE
    except BrokenPipeError:  # `mliuq eval … | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", FAILED)
    except MliuqError as error:
        return _fail(str(error), FAILED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", FAILED)
    except ImportError as error:
        return _fail(str(error), FAILED)
    except Exception as error:
        usage = _usage_message(error)
        if usage is None:
            raise
        return _fail(usage, USAGE)


def _usage_message(error: Exception) -> str | None:
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
    first, _, rest = message.partition("\n")
    print(f"mliuq: error: {first}", file=sys.stderr)
    if rest:
        print(rest, file=sys.stderr)
    return status
