"""``flowcore worker``: a Celery worker for the current project.

In: queues and a size. Out: a worker that runs until it is told to end, or has nothing to do.

The worker is a process of its own, and this one keeps it: it starts it again when it dies, and
takes it down with itself. On the embedded server, and with ``--until-idle``, it shows its log. On a
server of one's own it becomes a lean supervisor (``assembly.supervise``), and what the worker says
goes where this process's output goes. Its options are Celery's, as far as they go.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from flowcore.assembly.import_check import check_imports
from flowcore.assembly.process_lifetime import report_ready
from flowcore.assembly.session import Session
from flowcore.assembly.supervise import GRACE
from flowcore.assembly.worker_names import full_name, refuse_taken
from flowcore.assembly.worker_options import WorkerOptions
from flowcore.celery.node_names import unique_name
from flowcore.celery.steps.janitor import NOTE_KEPT
from flowcore.cli.background_worker import Turn
from flowcore.cli.commands.run import Pool
from flowcore.cli.exit_codes import ExitCode, print_error
from flowcore.cli.output import Quiet, note
from flowcore.cli.shared_options import taking
from flowcore.errors import UsageError
from flowcore.ports.store import RunQuery
from flowcore.run.record import RunSummary
from flowcore.run.status import NodeState, RunState

__all__ = ["worker"]

_LOOK = 0.25
#: Looking for unfinished runs reads the index of all runs: it may take this share of the time.
_SHARE = 0.05
_MANY = 100_000
#: A bound on numbers that Celery keeps in 32 bits.
_MOST = 2**31 - 1


class Level(StrEnum):
    """Levels of the standard ``logging`` module."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


_UNFINISHED = frozenset(state for state in RunState if not state.is_terminal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Options of a worker that Celery's worker has too, by the same names."""

    queues: Annotated[
        str | None,
        typer.Option("--queues", "-Q", help="Queues to serve, by comma; default: flowcore."),
    ] = None
    name: Annotated[
        str | None,
        typer.Option("--name", "-n", "--hostname", help="Its name; default: one of its own."),
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", "-c", min=1, max=1000, help="Nodes at once; default: cores."),
    ] = None
    pool: Annotated[Pool, typer.Option("--pool", "-P", help="Celery's pool.")] = Pool.PREFORK
    autoscale: Annotated[
        str | None,
        typer.Option(
            "--autoscale", metavar="MAX,MIN", help="Let the pool grow and shrink; for prefork."
        ),
    ] = None
    max_tasks: Annotated[
        int | None,
        typer.Option(
            "--max-tasks-per-child",
            min=1,
            max=_MOST,
            help="Messages until a process is replaced; prefork.",
        ),
    ] = None
    max_memory: Annotated[
        int | None,
        typer.Option(
            "--max-memory-per-child",
            min=1,
            max=_MOST,
            help="KiB until a process is replaced; prefork.",
        ),
    ] = None
    include: Annotated[
        str | None,
        typer.Option("--include", "-I", help="Modules of nodes to import at start, by comma."),
    ] = None
    loglevel: Annotated[
        Level | None,
        typer.Option(
            "--loglevel",
            "-l",
            case_sensitive=False,
            help="Log level; default: FLOWCORE_LOG_LEVEL.",
        ),
    ] = None

    def options(self) -> WorkerOptions:
        """Return what was asked for; ``UsageError`` if it does not go together."""
        return WorkerOptions(
            concurrency=self.concurrency,
            pool=self.pool.value,
            autoscale=self.autoscale,
            max_tasks_per_child=self.max_tasks,
            max_memory_per_child=self.max_memory,
            include=tuple(_named(self.include)),
            name=self.name,
            log_level=self.loglevel.value if self.loglevel else None,
        )


@taking(Asked)
def worker(
    asked: Asked,
    *,
    agents: Annotated[
        str | None, typer.Option("--agents", help="Modules whose agents to host, by comma.")
    ] = None,
    capture_print: Annotated[
        bool,
        typer.Option("--capture-print", help="What nodes print becomes records of their logs."),
    ] = False,
    until_idle: Annotated[
        float | None,
        typer.Option(
            "--until-idle", min=0, max=31_536_000, help="End after this many seconds without a run."
        ),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            "--grace",
            min=1,
            max=86_400,
            help="Seconds for running nodes when told to end, on a real server.",
        ),
    ] = GRACE,
    quiet: Quiet = False,
) -> int:
    """Start a worker for this project and keep it running; Ctrl-C ends it.

    On the embedded server it serves the runs that were started in this directory. Celery's own
    command takes more options, and has no supervisor: celery -A flowcore worker

    Example: flowcore worker --queues gpu,flowcore --concurrency 4 --name gpu
    """
    options = asked.options()
    if asked.queues is not None and not _named(asked.queues):
        raise UsageError("--queues names none: left out, the default queue is served")
    check_imports(options.include, _named(agents))  # says at once what is wrong
    if agents:
        os.environ["FLOWCORE_AGENTS"] = agents
    if capture_print:
        os.environ["FLOWCORE_CAPTURE_PRINT"] = "on"
    with Session() as session:
        names = _named(asked.queues) or [session.runtime.settings.queue]
        wanted = sorted(map(session.runtime.queue, names))
        board = session.runtime.board
        board.workers()  # says at once when Redis cannot be reached
        if options.name is not None:
            options = replace(options, name=full_name(options.name))
            refuse_taken(board, str(options.name), patience=NOTE_KEPT + 1)
        if not session.embedded and until_idle is None:
            _become_supervisor(session, grace, _celery(session, wanted, options))
        keeper = _Keeper(session, wanted)
        if not keeper.turn.take(patience=1.0) and until_idle is not None:
            note(f"another background worker serves {', '.join(wanted)}", quiet=quiet)
            return ExitCode.OK
        report_ready()
        session.start_worker(names, options)
        note(f"worker for {', '.join(wanted)}; log: {session.log}", quiet=quiet)
        with contextlib.suppress(KeyboardInterrupt):
            keeper.keep(until_idle, log=None if quiet else session.log)
    return ExitCode.OK


class _Keeper:
    """Stays until it may leave."""

    def __init__(self, session: Session, queues: list[str]) -> None:
        self._session = session
        self.turn = Turn(session, queues)
        self._looked = 0.0
        self._took = 0.0

    def keep(self, until_idle: float | None, *, log: Path | None) -> None:
        """Watch over the worker, and show its log."""
        busy = time.monotonic()
        lines = _new_lines(log)
        while True:
            time.sleep(_LOOK)
            self._session.check_workers()
            for line in next(lines):
                print_error(line)
            if until_idle is None:
                continue
            if self._is_time_to_look() and self._has_work():
                busy = time.monotonic()
            if time.monotonic() - busy >= until_idle and self._may_leave():
                return

    def _is_time_to_look(self) -> bool:
        return time.monotonic() - self._looked >= max(_LOOK, self._took / _SHARE)

    def _has_work(self) -> bool:
        started = time.monotonic()
        space = self._session.runtime.settings.namespace
        query = RunQuery(states=_UNFINISHED, limit=_MANY)
        found = self._session.runtime.reader.list_runs(query)
        work = any(run.namespace == space and self._wants_workers(run) for run in found)
        self._looked = time.monotonic()
        self._took = self._looked - started
        return work

    def _wants_workers(self, run: RunSummary) -> bool:
        """Return whether a run will continue; a paused one only ends what it has begun."""
        if run.state is not RunState.PAUSED:
            return True
        states = self._session.runtime.reader.states(run.id, range(run.total))
        return NodeState.RUNNING in states.values()

    def _may_leave(self) -> bool:
        """Drop the turn, then look again: see ``background``."""
        self.turn.drop()
        return not self._has_work() or not self.turn.take()


def _new_lines(log: Path | None) -> Iterator[list[str]]:
    """Yield, each time, the lines that were added to a log since the last time."""
    at = log.stat().st_size if log is not None and log.exists() else 0
    rest = ""
    while True:
        new = ""
        if log is not None and log.exists():
            with log.open("rb") as stream:
                stream.seek(at)
                new = stream.read().decode("utf-8", "replace")
                at = stream.tell()
        *lines, rest = (rest + new).split("\n")
        yield lines


def _named(given: str | None) -> list[str]:
    return [name.strip() for name in (given or "").split(",") if name.strip()]


def _celery(session: Session, queues: list[str], options: WorkerOptions) -> list[str]:
    """The command of Celery's worker; started again, it has the same name."""
    return replace(
        options,
        name=options.name or unique_name(),
        log_level=options.log_level or session.runtime.settings.log_level,
    ).argv(queues)


def _become_supervisor(session: Session, grace: float, command: list[str]) -> NoReturn:
    """Replace this process by a lean one, which runs no user code either."""
    here = str(Path.cwd())
    given = os.environ.get("PYTHONPATH")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([here, *([given] if given else [])])}
    keep = [sys.executable, "-m", "flowcore.assembly.supervise", f"{grace:g}"]
    session.close()
    os.execve(sys.executable, [*keep, *command], env)  # noqa: S606 - flowcore in this very Python
