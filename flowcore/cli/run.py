"""``flowcore run`` and ``flowcore submit``: start a run; wait for it, or not.

In: a flow and an input. Out: the run's output, or its id.

On the embedded server the workers live as long as this command, so a run it stops waiting for is
handed to a background worker, and Ctrl-C cancels it. On a server of one's own, local workers are
started only for queues that nobody serves.
"""

import contextlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from flowcore.assembly.session import Session
from flowcore.cli.background import leave_worker
from flowcore.cli.follow import finish, follow
from flowcore.cli.given import FlowArgument, Given, parse_input, read_flow, seconds
from flowcore.cli.outcome import ExitCode
from flowcore.cli.printing import Format, Output, Quiet, note, write, write_json
from flowcore.client.flow import start_run
from flowcore.client.handle import Run
from flowcore.engine.inputs import accept_input
from flowcore.errors import RunError, WaitTimeoutError
from flowcore.plan.plan import Plan

__all__ = ["Pool", "run", "submit"]

#: Seconds that a cancelled run gets to end before the workers are stopped.
_CANCEL_WITHIN = 10.0


class Pool(StrEnum):
    """Celery's pools that nodes can run in."""

    PREFORK = "prefork"
    THREADS = "threads"
    SOLO = "solo"


_Input = Annotated[
    list[str] | None,
    typer.Option(
        "-i",
        "--input",
        metavar="JSON|@FILE|KEY=VALUE",
        help="Input of the run; may be repeated. '@-' reads stdin.",
    ),
]
_Id = Annotated[
    str | None, typer.Option("--id", help="The run's id; the same id twice is the same run.")
]
_Tag = Annotated[list[str] | None, typer.Option("--tag", help="A word to find it by; repeatable.")]
_Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", min=1, help="Nodes at once on local workers; default: cores."),
]
_Pool = Annotated[Pool, typer.Option("--pool", help="Celery's pool of local workers.")]


def run(  # noqa: PLR0917  (typer calls it, by name)
    flow: FlowArgument,
    given: _Input = None,
    id: _Id = None,
    tag: _Tag = None,
    concurrency: _Concurrency = None,
    pool: _Pool = Pool.PREFORK,
    timeout: Annotated[
        str | None, typer.Option("--timeout", help="Stop waiting after, such as 30s or 5m.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Do not wait: print the id, like 'submit'.")
    ] = False,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Run a flow and wait for its end; its output goes to stdout.

    Ctrl-C cancels the run. When --timeout is up the run goes on, the exit code is 124.
    """
    if detach:
        return submit(flow, given, id, tag, concurrency, pool, quiet, output)
    source, plan, data = _prepared(flow, given)
    wait = seconds(timeout)
    with Session() as session:
        handle = _start(session, plan, data, id=id, tags=tag or (), quiet=quiet)
        try:
            started = session.ensure_workers(
                plan.queues, concurrency=concurrency, pool=pool.value, paths=source.paths
            )
            if started and not session.embedded:
                names = ", ".join(sorted(started))
                note(f"no live worker serves {names}: started local workers", quiet=quiet)
            follow(session, handle, timeout=wait, form=output, quiet=quiet)
            return finish(handle, form=output, quiet=quiet)
        except WaitTimeoutError as error:
            if session.embedded:
                leave_worker(
                    session,
                    plan.queues,
                    paths=source.paths,
                    concurrency=concurrency,
                    pool=pool.value,
                )
            # On a server of one's own nothing is left behind that nobody asked for.
            ours = not session.embedded and session.has_workers
            how = "it goes on" + (" when there is a worker: flowcore worker" if ours else "")
            note(f"flowcore: {error}; {how}\nnext: flowcore watch {handle.id}")
            return ExitCode.TIMED_OUT
        except KeyboardInterrupt:
            _cancel(session, handle, output, quiet=quiet)
            return ExitCode.INTERRUPTED


def submit(  # noqa: PLR0917  (typer calls it, by name)
    flow: FlowArgument,
    given: _Input = None,
    id: _Id = None,
    tag: _Tag = None,
    concurrency: _Concurrency = None,
    pool: _Pool = Pool.PREFORK,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Start a run and print its id, at once.

    On the embedded server a background worker is left behind that ends a few seconds after the
    last run has.
    """
    source, plan, data = _prepared(flow, given)
    with Session() as session:
        handle = _start(session, plan, data, id=id, tags=tag or (), quiet=True)
        # First of all: whatever becomes of the worker, the run is there.
        if output is Format.TABLE:
            write(f"{handle.id}\n")
        else:
            write_json({"run_id": handle.id}, indent=None)
        if session.embedded:
            leave_worker(
                session,
                plan.queues,
                paths=source.paths,
                concurrency=concurrency,
                pool=pool.value,
            )
        elif unserved := session.unserved(plan.queues):
            names = ", ".join(sorted(unserved))
            note(f"no live worker serves {names}; start one: flowcore worker", quiet=quiet)
    note(f"next: flowcore watch {handle.id}", quiet=quiet)
    return ExitCode.OK


def _prepared(flow: str, given: list[str] | None) -> tuple[Given, Plan, Any]:
    """Read and check everything before anything is started."""
    source = read_flow(flow)
    plan = source.plan()
    return source, plan, accept_input(plan.inputs, parse_input(given or ()))


def _start(
    session: Session, plan: Plan, data: Any, *, id: str | None, tags: Sequence[str], quiet: bool
) -> Run:
    known = id is not None and session.runtime.reader.summary(id) is not None
    handle = start_run(session, plan, data, id=id, tags=tags)
    note(f"run {handle.id} exists already" if known else f"run {handle.id}", quiet=quiet)
    return handle


def _cancel(session: Session, handle: Run, form: Format, *, quiet: bool) -> None:
    """Cancel upon Ctrl-C, and wait for what is running to end; a second Ctrl-C ends the wait."""
    note(f"cancelling run {handle.id} (Ctrl-C again: at once)", quiet=quiet)
    handle.cancel("Ctrl-C")
    if session.runtime.events.wait(handle.id, timeout=_CANCEL_WITHIN):
        # Its state is known; what it came to is shown if it still can be.
        with contextlib.suppress(RunError):
            finish(handle, form=form, quiet=quiet)
