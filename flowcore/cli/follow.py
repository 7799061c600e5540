"""Follow a run to its end, and say what it came to.

In: a session and a run. Out: progress, the run's output, an exit code. Not here: starting runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flowcore.assembly.session import Session
from flowcore.cli.child_runs import InnerRuns
from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.hints import command, hint_lines, next_steps
from flowcore.cli.live_view import choose
from flowcore.cli.output import Format, iso, note, write, write_json
from flowcore.cli.run_state import Picture
from flowcore.cli.terminal import one_line
from flowcore.client.outputs import Outputs
from flowcore.client.run import Run
from flowcore.errors import WaitTimeoutError
from flowcore.ports.backend import ExecutionResult
from flowcore.run.event import Event
from flowcore.run.record import NodeRecord
from flowcore.run.status import RunState
from flowcore.types import format_duration

__all__ = ["code_of", "event_row", "finish", "follow", "named_large", "node_row", "result_object"]

#: Seconds of one blocking read: so long may it take to notice that the workers are gone.
_SLICE = 1.0
_COLLECT_WITHIN = 10.0


def follow(
    run: Run,
    session: Session,
    *,
    timeout: float | None = None,
    form: Format = Format.TABLE,
    quiet: bool = False,
) -> None:
    """Show progress until the run has ended.

    Args:
        run: An existing run.
        session: Where it is.
        timeout: Seconds to wait; None: as long as it takes.
        form: With ``jsonl`` the events go to stdout as they come.
        quiet: Show no progress.

    Raises:
        WaitTimeoutError: The time was up; the run goes on.
        ServiceError: The local workers died again and again, or Redis refuses to write.
    """
    picture = Picture(run.id, run.plan())
    inside = InnerRuns(session, run.id, picture.plan)
    with choose(picture, quiet=quiet or form is Format.JSONL) as progress:
        for page in _pages(run, timeout):
            picture.apply(page)
            if not quiet:
                inside.look_sometimes(picture.busy())
                picture.show_inside(inside.progress, inside.questions)
            progress.show(page)
            if form is Format.JSONL:
                for event in page:
                    write_json(event_row(event), indent=None)


def _pages(run: Run, timeout: float | None) -> Iterator[Sequence[Event]]:
    try:
        yield from run.read_pages(timeout=timeout)
    except WaitTimeoutError as error:
        # Whoever is told says what to do next in words of its own.
        msg = f"run {run.id!r} has not ended within {format_duration(timeout or 0.0)}"
        raise WaitTimeoutError(msg, run_id=run.id) from error


def finish(run: Run, *, form: Format, quiet: bool) -> ExitCode:
    """Write what an ended run came to; return the exit code that says so."""
    result = run.wait(_COLLECT_WITHIN)
    if form is Format.JSON:
        write_json(result_object(result))
    elif form is Format.JSONL:
        write_json({"type": "result", **result_object(result)}, indent=None)
    elif result.success:
        _write_output(result.output)
    count = f"{len(result.nodes)} node{'' if len(result.nodes) == 1 else 's'}"
    took = format_duration(max(0.0, result.duration))
    note(f"run {run.id} {result.state.value} in {took} ({count})", quiet=quiet)
    if result.state is RunState.FAILED:
        note(one_line(f"flowcore: run {run.id} failed: {result.error}"))
    if result.success:
        note(f"next: {command('status', run.id)}", quiet=quiet)
    else:
        note(hint_lines(next_steps(run.record(), run.plan())), quiet=quiet)
    return code_of(result.state)


def code_of(state: RunState) -> ExitCode:
    """Return the exit code for a run that has ended."""
    return {RunState.SUCCEEDED: ExitCode.OK, RunState.CANCELLED: ExitCode.CANCELLED}.get(
        state, ExitCode.FAILED
    )


def _write_output(output: Any) -> None:
    """Write a run's output: text as it is, nothing for None, else JSON."""
    if isinstance(output, str):
        write(output if output.endswith("\n") else output + "\n")
    elif output is not None:
        write_json(output)


def result_object(result: ExecutionResult) -> dict[str, Any]:
    """Lay out what a run came to as one object."""
    return {
        "run_id": result.run_id,
        "state": result.state.value,
        "duration_s": round(max(0.0, result.duration), 3),
        "error": result.error,
        "output": result.output if result.success else None,
        "outputs": named_large(result.outputs),
        "nodes": {name: node_row(record) for name, record in result.nodes.items()},
    }


def named_large(outputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Name size and hash of large values instead of fetching them."""
    return outputs.with_references() if isinstance(outputs, Outputs) else outputs


def node_row(record: NodeRecord) -> dict[str, Any]:
    """Lay out one node, without the traceback of its error."""
    error = record.error.as_dict() if record.error else None
    if error is not None:
        error.pop("traceback", None)
    return {
        "state": record.state.value,
        "attempts": record.attempts,
        "started": iso(record.started),
        "finished": iso(record.finished),
        "error": error,
        **_waiting(record),
    }


def _waiting(record: NodeRecord) -> dict[str, Any]:
    """Describe what a node waits for, and the run that it has started."""
    about = {
        "waits": record.waits,
        "signal": record.signal,
        "until": iso(record.until),
        "child": record.child,
    }
    return {name: value for name, value in about.items() if value is not None}


def event_row(event: Event) -> dict[str, Any]:
    """Lay out one event."""
    return {
        "id": event.id,
        "type": event.type.value,
        "run_id": event.run,
        "time": iso(event.time),
        "nodes": event.nodes,
        "attempt": event.attempt,
        "data": event.data,
    }
