"""``flowcore run`` and ``flowcore submit``: start a run; wait for it, or not.

In: a flow and an input. Out: the run's output, or its id.

On the embedded server the workers live as long as this command, so a run it stops waiting for is
handed to a background worker, and Ctrl-C cancels it. On a server of one's own, local workers are
started only for queues that nobody serves. A signal to end leaves the run as it is.
"""

import contextlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from flowcore.assembly.peers import worker_command
from flowcore.assembly.session import Session
from flowcore.cli.arguments import FlowArgument, ParsedFlow, read_flow, seconds
from flowcore.cli.background_worker import ensure_background_worker
from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.follow import finish, follow
from flowcore.cli.hints import command
from flowcore.cli.inputs import parse_input
from flowcore.cli.output import Format, Output, Quiet, note, show_object
from flowcore.cli.shared_options import taking
from flowcore.client.flow import start_run
from flowcore.client.run import Run
from flowcore.engine.runs.inputs import accept_input
from flowcore.engine.runs.submit import new_run_id
from flowcore.errors import RunError, WaitTimeoutError
from flowcore.plan.plan import Plan

__all__ = ["Pool", "Start", "run", "submit"]

#: Seconds that a cancelled run gets to end before the workers are stopped.
_CANCEL_WITHIN = 10.0


class Pool(StrEnum):
    """Celery's pools that nodes can run in."""

    PREFORK = "prefork"
    THREADS = "threads"
    SOLO = "solo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Options for starting a run, in the foreground or not."""

    flow: FlowArgument
    given: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--input",
            metavar="JSON|@FILE|KEY=VALUE",
            help="Input of the run; may be repeated. '@-' reads stdin.",
        ),
    ] = None
    id: Annotated[
        str | None, typer.Option("--id", help="The run's id; the same id twice is the same run.")
    ] = None
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="A tag to find it by; repeatable.")
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency", min=1, max=1000, help="Nodes at once on local workers; default: cores."
        ),
    ] = None
    pool: Annotated[Pool, typer.Option("--pool", help="Celery's pool of local workers.")] = (
        Pool.PREFORK
    )
    quiet: Quiet = False
    output: Output = Format.TABLE


@taking(Start)
def run(
    start: Start,
    *,
    timeout: Annotated[
        str | None, typer.Option("--timeout", help="Stop waiting after, such as 30s or 5m.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Do not wait: print the id, like 'submit'.")
    ] = False,
) -> int:
    """Run a flow and wait for its end; its output goes to stdout.

    Ctrl-C cancels the run. When --timeout is up the run goes on, the exit code is 124.

    Example: flowcore run rag.yaml -i url=https://example.org -i depth=2 --tag eu
    """
    prepared = _prepared(start)
    if detach:
        return _submit(start, prepared)
    wait = seconds(timeout)
    id = new_run_id(prepared.plan.flow) if start.id is None else start.id
    with Session() as session:
        try:
            handle = _create(session, start, prepared, id=id, quiet=start.quiet)
        except KeyboardInterrupt:
            note(f"interrupted; if run {id} was begun, it continues\nnext: {command('status', id)}")
            return ExitCode.INTERRUPTED
        try:
            _ensure_workers(session, start, prepared, handle)
            follow(handle, session, timeout=wait, form=start.output, quiet=start.quiet)
            return finish(handle, form=start.output, quiet=start.quiet)
        except WaitTimeoutError as error:
            if session.embedded:
                _leave_worker(session, start, prepared, handle)
            # On a server of one's own nothing is left behind that nobody asked for.
            alone = session.has_workers and not session.embedded
            note(f"flowcore: {error}; it {_goes_on(handle, alone=alone)}")
            return ExitCode.TIMED_OUT
        except KeyboardInterrupt:
            _cancel(session, handle, start.output, quiet=start.quiet)
            return ExitCode.INTERRUPTED
        except SystemExit:
            # Who stops a service wants nothing of it left behind: its workers end with it.
            alone = session.has_workers or session.embedded
            note(f"flowcore: told to end; run {handle.id} {_goes_on(handle, alone=alone)}")
            raise


@taking(Start)
def submit(start: Start) -> int:
    """Start a run and print its id, at once.

    On the embedded server a background worker is left behind that ends a few seconds after the
    last run has.

    Example: id=$(flowcore submit rag.yaml -i @input.json)
    """
    return _submit(start, _prepared(start))


def _submit(start: Start, prepared: "_Prepared") -> int:
    with Session() as session:
        handle = _create(session, start, prepared, id=start.id, quiet=True)
        # First of all: whatever becomes of the worker, the run is there.
        show_object(start.output, {"run_id": handle.id}, f"{handle.id}\n")
        if session.embedded:
            _leave_worker(session, start, prepared, handle)
        elif unserved := session.unserved(handle.plan().queues):
            names = ", ".join(sorted(unserved))
            command = worker_command(unserved, session.runtime.settings.namespace)
            note(f"no live worker serves {names}; start one: {command}", quiet=start.quiet)
    note(f"next: flowcore watch {handle.id}", quiet=start.quiet)
    return ExitCode.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """Everything that is read and checked before anything is started."""

    source: ParsedFlow
    plan: Plan
    data: Any


def _prepared(start: Start) -> _Prepared:
    source = read_flow(start.flow)
    plan = source.plan()
    data = accept_input(plan.inputs, parse_input(start.given or (), plan.inputs))
    return _Prepared(source=source, plan=plan, data=data)


def _create(
    session: Session, start: Start, prepared: _Prepared, *, id: str | None, quiet: bool
) -> Run:
    known = start.id is not None and session.runtime.reader.summary(start.id) is not None
    handle = start_run(session, prepared.plan, prepared.data, id=id, tags=start.tag or ())
    note(f"run {handle.id} exists already" if known else f"run {handle.id}", quiet=quiet)
    if warning := session.runtime.room.warning():
        note(f"flowcore: warning: {warning}")
    return handle


def _ensure_workers(session: Session, start: Start, prepared: _Prepared, run: Run) -> None:
    started = session.ensure_workers(
        run.plan().queues,
        concurrency=start.concurrency,
        pool=start.pool.value,
        paths=prepared.source.paths,
    )
    if started and not session.embedded:
        names = ", ".join(sorted(started))
        note(f"no live worker serves {names}: started local workers", quiet=start.quiet)


def _leave_worker(session: Session, start: Start, prepared: _Prepared, run: Run) -> None:
    ensure_background_worker(
        session,
        run.plan().queues,
        paths=prepared.source.paths,
        concurrency=start.concurrency,
        pool=start.pool.value,
    )


def _goes_on(run: Run, *, alone: bool) -> str:
    """Say how a run goes on that nobody waits for, and the next command to type."""
    how = "continues" + (" when there is a worker: flowcore worker" if alone else "")
    return f"{how}\nnext: flowcore watch {run.id}"


def _cancel(session: Session, handle: Run, form: Format, *, quiet: bool) -> None:
    """Cancel upon Ctrl-C, and wait for what is running to end; a second Ctrl-C ends the wait."""
    next_ = f"next: {command('status', handle.id)}"
    try:
        if (state := handle.status()).is_terminal:
            note(f"run {handle.id} has {state.value} already\n{next_}", quiet=quiet)
            return
        note(f"cancelling run {handle.id} (Ctrl-C again: at once)", quiet=quiet)
        handle.cancel("Ctrl-C")
        if session.runtime.events.wait(handle.id, timeout=_CANCEL_WITHIN):
            # Its state is known; what it came to is shown if it still can be.
            with contextlib.suppress(RunError):
                finish(handle, form=form, quiet=quiet)
        else:
            note(f"run {handle.id} is being cancelled: a node has not ended yet\n{next_}")
    except KeyboardInterrupt:
        note(f"run {handle.id} is being cancelled\n{next_}")
