"""Exit codes of commands, and the text of an error for people.

In: an exception. Out: a message on stderr and an exit code. Not here: raising them.
"""

import io
import os
import sys
import traceback
from enum import IntEnum

import typer

from flowcore.cli.terminal import for_terminal
from flowcore.errors import (
    AgentNegotiationError,
    AgentNotFoundError,
    AgentTaskStateError,
    AgentWaitError,
    BackendError,
    DefinitionError,
    FlowcoreError,
    RunCancelledError,
    RunNotFoundError,
    RunStateError,
    ServiceError,
    UsageError,
    WaitTimeoutError,
)

__all__ = ["ExitCode", "ThingNotFoundError", "explain", "flush_stdout", "print_error"]

#: Characters of a path that are shown.
_SHOWN = 200


class ExitCode(IntEnum):
    """Exit codes; scripts may rely on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    CANCELLED = 5
    TIMED_OUT = 124
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


class ThingNotFoundError(FlowcoreError):
    """Something that was named on the command line is not there, a node of a run for one."""

    code = "FC110"


#: The first that fits decides.
_CODES: tuple[tuple[type[FlowcoreError], ExitCode], ...] = (
    (DefinitionError, ExitCode.USAGE),
    (UsageError, ExitCode.USAGE),
    (BackendError, ExitCode.USAGE),
    (RunNotFoundError, ExitCode.NOT_FOUND),
    (AgentNotFoundError, ExitCode.NOT_FOUND),
    (AgentNegotiationError, ExitCode.USAGE),
    (AgentTaskStateError, ExitCode.USAGE),
    (AgentWaitError, ExitCode.TIMED_OUT),
    (RunStateError, ExitCode.USAGE),
    (ThingNotFoundError, ExitCode.NOT_FOUND),
    (RunCancelledError, ExitCode.CANCELLED),
    (WaitTimeoutError, ExitCode.TIMED_OUT),
    (ServiceError, ExitCode.UNREACHABLE),
)
#: FC602 is a SettingsError: a value that was typed. Its class is not imported here, since the
#: module reads more than ``--help`` has time for.
_BAD_SETTINGS = "FC602"


def explain(error: Exception, *, debug: bool = False) -> ExitCode:
    """Tell a person what went wrong.

    Args:
        error: What a command raised.
        debug: Whether to show the traceback too.

    Returns:
        The exit code that stands for it.
    """
    if debug:
        print_error("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, typer.TyperException):
        _show(error)
        return ExitCode.USAGE
    if isinstance(error, typer.Abort):
        return ExitCode.INTERRUPTED
    if isinstance(error, DefinitionError):
        print_error(str(error))
        return ExitCode.USAGE
    if isinstance(error, FlowcoreError):
        print_error(f"flowcore: error {error.code}: {error}")
        return _code_of(error)
    if isinstance(error, OSError):
        return _of_the_system(error)
    return _unforeseen(error)


def _show(error: typer.TyperException) -> None:
    """Show an error of usage, which may quote what was typed, as everything is shown."""
    if not hasattr(error, "show"):
        print_error(f"Error: {error}")
        return
    shown = io.StringIO()
    error.show(file=shown)
    print_error(shown.getvalue().rstrip("\n"))


def _of_the_system(error: OSError) -> ExitCode:
    """Tell what the operating system would not do."""
    if isinstance(error, FileNotFoundError) and not error.filename and _is_directory_gone():
        print_error("flowcore: the working directory is gone; cd to one that exists")
        return ExitCode.USAGE
    if error.filename:
        print_error(f"flowcore: cannot use {str(error.filename)[:_SHOWN]!r}: {error.strerror}")
    else:
        print_error(f"flowcore: {error.strerror or error}")
    return ExitCode.FAILED


def _is_directory_gone() -> bool:
    try:
        os.getcwd()  # noqa: PTH109  (it is to raise)
    except OSError:
        return True
    return False


def _unforeseen(error: Exception) -> ExitCode:
    if isinstance(error, UnicodeEncodeError):
        # Python keeps bytes that are no text as halves of surrogate pairs, which nothing can carry.
        print_error(f"flowcore: {error.object[:80]!r} is not UTF-8 text")
        return ExitCode.USAGE
    sentence = str(error).partition("\n")[0][:200]
    print_error(
        f"flowcore: unexpected {type(error).__name__}: {sentence}\n"
        "this is a bug in flowcore; the same command with --debug shows where"
    )
    return ExitCode.FAILED


def print_error(text: str) -> None:
    """Write to stderr, if anybody reads it."""
    try:
        print(for_terminal(text, sys.stderr), file=sys.stderr, flush=True)  # noqa: T201  (the one way)
    except OSError:
        _discard(sys.stderr.fileno())


def flush_stdout() -> None:
    """Flush what was written; a reader that has left (``| head -1``) is no error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _discard(stream.fileno())


def _discard(fd: int) -> None:
    """Let the interpreter's own flush at its end find nobody to complain to."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, fd)
    os.close(null)


def _code_of(error: FlowcoreError) -> ExitCode:
    if error.code == _BAD_SETTINGS:
        return ExitCode.USAGE
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)
