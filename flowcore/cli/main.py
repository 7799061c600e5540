"""The command ``flowcore``: its table of commands, and the one place where errors become words.

In: arguments. Out: an exit code. Not here: what commands do.

``flowcore --help`` and shell completion have to answer in 150 ms, and Celery alone takes longer to
import. So a command is a name, a line of help and the place of its function (``module:function``);
the module is imported when the command is invoked, in ``_Commands.resolve_command``, the one door
through which click leads every invocation and every completion of an option. Until then a stub
stands in, so that help, completion of names and "did you mean" are click's own. What a command's
own help says is stored (help_cache). Help is plain text: importing rich for it would take longer
than printing it.
"""

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from flowcore import __version__
from flowcore.cli.exit_codes import ExitCode, explain, flush_stdout
from flowcore.cli.help_cache import stored_help
from flowcore.cli.interrupts import raise_again
from flowcore.errors import FlowcoreError, UsageError

__all__ = ["COMMANDS", "main"]

#: Name, place, help; the order is that of ``flowcore --help``.
COMMANDS = (
    ("run", "flowcore.cli.commands.run:run", "Run a flow and wait for its end."),
    ("submit", "flowcore.cli.commands.run:submit", "Start a run and print its id."),
    ("list", "flowcore.cli.commands.runs:list_runs", "List runs, newest first."),
    ("status", "flowcore.cli.commands.runs:status", "Show the state of a run and its nodes."),
    ("watch", "flowcore.cli.commands.watch:watch", "Follow a run to its end."),
    ("logs", "flowcore.cli.commands.logs:logs", "Show the logs of a run's nodes."),
    ("inspect", "flowcore.cli.commands.inspect:inspect", "Show everything recorded about a run."),
    ("cancel", "flowcore.cli.commands.control:cancel", "Cancel a run."),
    ("pause", "flowcore.cli.commands.control:pause", "Pause a run: no further node starts."),
    (
        "resume",
        "flowcore.cli.commands.control:resume",
        "Resume a paused, failed or cancelled run.",
    ),
    (
        "rerun",
        "flowcore.cli.commands.control:rerun",
        "Run again, wholly or from a node on, as a new run.",
    ),
    ("requeue", "flowcore.cli.commands.control:requeue", "Resume a run with dead letters."),
    ("signal", "flowcore.cli.commands.signals:signal", "Send a signal to a run that waits for it."),
    ("approve", "flowcore.cli.commands.approve:approve", "Approve or reject what a run waits for."),
    ("memory", "flowcore.cli.commands.memory:app", "Show, move and clear the memory of flows."),
    (
        "validate",
        "flowcore.cli.commands.definitions:validate",
        "Check definitions; show every problem at once.",
    ),
    ("graph", "flowcore.cli.commands.definitions:graph", "Draw a flow."),
    ("schema", "flowcore.cli.commands.definitions:schema", "Write the JSON Schema of definitions."),
    (
        "import",
        "flowcore.cli.commands.importers:app",
        "Convert another system's workflow.",
    ),
    (
        "deploy",
        "flowcore.cli.commands.deployments:deploy",
        "Deploy a flow, so that it can be run by name.",
    ),
    ("flows", "flowcore.cli.commands.deployments:flows", "List the flows that are deployed."),
    ("schedules", "flowcore.cli.commands.schedules:app", "Run deployed flows on a schedule."),
    ("worker", "flowcore.cli.commands.worker:worker", "Start a worker for this project."),
    ("dev", "flowcore.cli.commands.dev:dev", "Start a worker that restarts when code changes."),
    (
        "agents",
        "flowcore.cli.commands.agents:app",
        "List agents and their tasks; send them messages.",
    ),
    ("bench", "flowcore.cli.commands.bench:bench", "Measure the engine against Celery alone."),
    ("nodes", "flowcore.cli.commands.nodes:nodes", "List the built-in node types."),
    (
        "backends",
        "flowcore.cli.commands.definitions:backends",
        "List the backends of this installation.",
    ),
    (
        "conformance",
        "flowcore.cli.commands.conformance:conformance",
        "Check a backend, case by case.",
    ),
    (
        "doctor",
        "flowcore.cli.commands.doctor:doctor",
        "Check that everything a run needs is there.",
    ),
)
ALIASES = {"enqueue": "submit"}

_DEBUG = "--debug"
_COMPLETE = "_FLOWCORE_COMPLETE"


class _Stub(TyperCommand):
    """Stands for a command whose module has not been imported."""

    def __init__(self, name: str, place: str, text: str, *, hidden: bool = False) -> None:
        super().__init__(name, help=text, hidden=hidden, rich_markup_mode=None)
        self.place = place

    def load(self) -> Any:
        """Import the command."""
        module, _, attribute = self.place.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(self.name)(found)
        return typer.main.get_command(app)


class _Commands(TyperGroup):
    """All commands, as stubs until one is invoked."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that ``args`` begin with, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        loaded = command.load() if isinstance(command, _Stub) else command
        raise_again()
        return name, loaded, rest


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"flowcore {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option(_DEBUG, help="Show the traceback of an error; may stand anywhere.")
    ] = False,
) -> None:
    """Workflows on the Celery workers you already have.

    Data goes to stdout, progress and hints to stderr. Without FLOWCORE_REDIS_URL a server is
    started for as long as somebody needs it.

    Exit codes: 0 ok, 1 the run failed, 2 bad usage or definition, 3 not found, 4 cannot reach a
    service, 5 cancelled, 124 the wait timed out, 130 Ctrl-C.

    Example: flowcore run rag.yaml -i url=https://example.org
    """


def _group() -> Any:
    app = typer.Typer(cls=_Commands, rich_markup_mode=None, no_args_is_help=True)
    app.callback()(_root)
    group: Any = typer.main.get_command(app)
    places = {name: (place, text) for name, place, text in COMMANDS}
    for name, place, text in COMMANDS:
        group.add_command(_Stub(name, place, text))
    for alias, name in ALIASES.items():
        group.add_command(_Stub(alias, *places[name], hidden=True))
    return group


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: The arguments; those of the process when left out.

    Returns:
        The exit code, see ``outcome.ExitCode``.
    """
    words = list(sys.argv[1:] if args is None else args)
    # Everybody types it at the end of the line that has just failed.
    ours = words[: words.index("--")] if "--" in words else words
    debug = _DEBUG in ours
    words = [word for word in ours if word != _DEBUG] + words[len(ours) :]
    _open_standard_streams()
    if (text := stored_help(words)) is not None:
        typer.echo(text, nl=False)
        return int(ExitCode.OK)
    before = {
        each: signal.signal(each, _leave)
        for each in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(each) is not signal.SIG_IGN  # as nohup wants it
    }
    try:
        answer = _group().main(words, prog_name="flowcore", standalone_mode=False)
        code = answer if isinstance(answer, int) else ExitCode.OK
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001  (no traceback reaches a user who did not ask for it)
        code = explain(_told(error), debug=debug)
    finally:
        flush_stdout()
        for each, handler in before.items():
            signal.signal(each, handler)
    return int(code)


def _told(error: Exception) -> Exception:
    """Say of an error while the shell completes a line what is wrong: the variable that asks."""
    if _COMPLETE not in os.environ or isinstance(error, FlowcoreError):
        return error
    return UsageError(f"{_COMPLETE} is for the shell's completion, which sets others too: unset it")


def _open_standard_streams() -> None:
    """Give closed standard descriptors to nobody: a pipe or a socket would end up there."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def _leave(signum: int, _frame: FrameType | None) -> None:
    """End like a program that was told to: sessions close, and with them what they started."""
    raise SystemExit(128 + signum)
