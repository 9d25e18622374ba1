"""What the command lines share: one edge for errors, and progress on stderr."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from thyroid_fl.errors import ThyroidFLError

Debug = Annotated[bool, typer.Option("--debug", help="Show where an error arose.")]
"""The parameter ``debug: Debug = False`` of every command."""


@contextmanager
def error_edge(*, debug: bool) -> Iterator[None]:
    """End the command with exit code 2 and a message on stderr where it fails.

    The traceback is shown with `debug` only. Typer's own exits pass through.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except BrokenPipeError:  # `| head` has seen enough; nothing more can be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(f"error: {_message(error)}", file=sys.stderr)
        if not isinstance(error, ThyroidFLError) and not debug:
            print("\nhint: --debug shows where it arose", file=sys.stderr)
        raise typer.Exit(2) from None


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr; yield the function that is told (done, total)."""
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(console=console, transient=True, disable=hidden) as bars:
        bar = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


def _message(error: Exception) -> str:
    if isinstance(error, ThyroidFLError):
        return str(error)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"
