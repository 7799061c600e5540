"""``flowcore watch``: follow a run that exists.

In: a run's id. Out: progress, then the run's output. Ctrl-C leaves the run alone.
"""

from typing import Annotated

import typer

from flowcore.assembly.session import Session
from flowcore.cli.arguments import RunId, seconds
from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.follow import finish, follow
from flowcore.cli.output import Format, Output, Quiet, note
from flowcore.client.run import Run
from flowcore.errors import WaitTimeoutError
from flowcore.run.status import RunState

__all__ = ["unattended", "watch"]


def watch(
    run: RunId,
    timeout: Annotated[
        str | None, typer.Option("--timeout", help="Stop waiting after, such as 30s or 5m.")
    ] = None,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Follow a run to its end; its output goes to stdout, its state is the exit code.

    Ctrl-C stops watching: the run goes on.

    Example: flowcore watch order-42 --timeout 10m
    """
    wait = seconds(timeout)
    with Session() as session:
        handle = Run.get(run, session=session)
        try:
            if hint := unattended(session, handle):
                note(hint, quiet=quiet)
            follow(handle, session, timeout=wait, form=output, quiet=quiet)
            return finish(handle, form=output, quiet=quiet)
        except WaitTimeoutError as error:
            note(f"flowcore: {error}; it continues\nnext: flowcore watch {run}")
            return ExitCode.TIMED_OUT
        except KeyboardInterrupt:
            note(f"stopped watching, the run continues\nnext: flowcore watch {run}", quiet=quiet)
            return ExitCode.INTERRUPTED
        except SystemExit:
            note(f"flowcore: told to end; run {run} continues\nnext: flowcore watch {run}")
            raise


def unattended(session: Session, handle: Run) -> str | None:
    """Say so when a run waits for workers that are not there, or for being resumed."""
    summary = handle.summary()
    if summary.state.is_terminal:
        return None
    if summary.state is RunState.PAUSED:
        return f"run {handle.id} is paused; resume it with: flowcore resume {handle.id}"
    queues = {queue or session.runtime.settings.queue for queue in handle.plan().queues}
    space = summary.namespace
    wanted = {f"{space}.{queue}" if space else queue for queue in queues}
    served = {queue for note_ in session.runtime.board.workers() for queue in note_.queues}
    if wanted <= served:
        return None
    where = "in its project's directory: " if space else ""
    missing = ", ".join(sorted(wanted - served))
    command = f"flowcore worker --queues {','.join(sorted(queues))}"
    return f"no live worker serves {missing}; {where}{command}"
