"""``flowcore cancel``, ``pause``, ``resume``, ``rerun``, ``requeue``: control of existing runs.

In: a run's id. Out: its state afterwards, or the id of a new run. None of them waits for its end.
"""

from typing import Annotated, Literal

import typer

from flowcore.assembly.session import Session
from flowcore.cli.addressing import find_node
from flowcore.cli.arguments import RunId, importing_here
from flowcore.cli.background_worker import ensure_background_worker
from flowcore.cli.commands.watch import unattended
from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.inputs import parse_input
from flowcore.cli.output import Format, Output, Quiet, note, paint, show_object, show_rows
from flowcore.client.rerun import refuse_elsewhere, rerun_run, resume_run
from flowcore.client.run import Run
from flowcore.engine.runs.control import require_dead_letter
from flowcore.errors import UsageError
from flowcore.run.status import RunState

__all__ = ["cancel", "pause", "requeue", "rerun", "resume"]


SomeRun = Annotated[
    str | None,
    typer.Argument(metavar="[RUN]", help="The run; else say which by filter.", show_default=False),
]
States = Annotated[
    list[RunState] | None, typer.Option("--state", help="All in this state; repeatable.")
]
OfFlow = Annotated[str | None, typer.Option("--flow", help="All of this flow.")]
WithTag = Annotated[str | None, typer.Option("--tag", help="All with this tag.")]


def _refuse_both(state: list[RunState] | None, flow: str | None, tag: str | None) -> None:
    if state or flow or tag:
        raise UsageError("name either one run, or a filter: --state, --flow, --tag")


def _all(
    action: Literal["cancel", "pause", "resume"],
    state: list[RunState] | None,
    flow: str | None,
    tag: str | None,
    output: Format,
    *,
    quiet: bool,
) -> int:
    """Do it to every run that the filters name; 1 when one of them stayed as it was."""
    states = [each.value for each in state or ()]
    with Session() as session:
        done = Run.all(action, state=states, flow=flow, tag=tag, session=session)
    bad = {run: what for run, what in done.items() if not isinstance(what, RunState)}
    rows = [
        {
            "run_id": run,
            "state": None if run in bad else str(what),
            "error": str(what) if run in bad else None,
        }
        for run, what in done.items()
    ]
    if rows or output is not Format.TABLE:
        show_rows(output, rows, {"run_id": "RUN", "state": "STATE", "error": "ERROR"})
    if output is Format.TABLE:
        note(f"{len(done) - len(bad)} of {len(done)} runs: {action}", quiet=quiet)
    return ExitCode.FAILED if bad else ExitCode.OK


def cancel(  # noqa: PLR0917  (typer calls it, by name)
    run: SomeRun = None,
    reason: Annotated[
        str, typer.Option("--reason", help="Recorded with the run.")
    ] = "cancelled by its owner",
    states: States = None,
    flow: OfFlow = None,
    tag: WithTag = None,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Cancel one run, or all runs that match a filter. Waiting nodes never start.

    Running nodes are asked to end; after two seconds they are ended by force.

    Example: flowcore cancel --flow etl --state running
    """
    if run is None:
        return _all("cancel", states, flow, tag, output, quiet=quiet)
    _refuse_both(states, flow, tag)
    with Session() as session:
        handle = Run.get(run, session=session)
        ended = handle.status()
        state = handle.cancel(reason)
        hint = unattended(session, handle)
    _show(run, state, output)
    if ended.is_terminal:
        note(f"run {run} had ended before: nothing to cancel", quiet=quiet)
    elif hint:
        note(hint, quiet=quiet)
    note(f"next: flowcore status {run}", quiet=quiet)
    return ExitCode.OK


def pause(
    run: SomeRun = None,
    states: States = None,
    flow: OfFlow = None,
    tag: WithTag = None,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Pause one run, or all runs that match a filter: no further node starts.

    Running nodes finish and are recorded; the run's time limit keeps counting.
    'flowcore resume RUN' resumes it.

    Example: flowcore pause order-42
    """
    if run is None:
        return _all("pause", states, flow, tag, output, quiet=quiet)
    _refuse_both(states, flow, tag)
    with Session() as session:
        state = Run(run, session=session).pause()
    _show(run, state, output)
    note(f"next: flowcore resume {run}", quiet=quiet)
    return ExitCode.OK


def resume(
    run: SomeRun = None,
    states: States = None,
    flow: OfFlow = None,
    tag: WithTag = None,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Resume one run, or all runs that match a filter: paused, failed or cancelled ones.

    Of a run that has ended, what has succeeded is kept, with its outputs. What failed or was
    cancelled runs again, and all that comes after it.

    Example: flowcore resume order-42 && flowcore watch order-42
    """
    if run is None:
        return _all("resume", states, flow, tag, output, quiet=quiet)
    _refuse_both(states, flow, tag)
    with Session() as session:
        state = _resume(session, Run.get(run, session=session), quiet=quiet)
    _show(run, state, output)
    note(f"next: flowcore watch {run}", quiet=quiet)
    return ExitCode.OK


def requeue(
    run: RunId,
    node: Annotated[
        str | None,
        typer.Argument(metavar="[NODE]", help="Has to be a dead letter.", show_default=False),
    ] = None,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Resume a run with dead letters: nodes given up because their workers died each time.

    'flowcore list --dead' shows them. Their losses are counted anew.

    Example: flowcore requeue order-42 embed
    """
    with Session() as session:
        handle = Run.get(run, session=session)
        if node is not None:
            find_node(handle.plan(), node, run)
        require_dead_letter(handle.record(), node)
        state = _resume(session, handle, quiet=quiet)
    _show(run, state, output)
    note(f"next: flowcore watch {run}", quiet=quiet)
    return ExitCode.OK


def rerun(
    run: RunId,
    from_node: Annotated[
        str | None,
        typer.Option("--from", metavar="NODE", help="Begin here; other nodes are kept."),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--input",
            metavar="JSON|@FILE|KEY=VALUE",
            help="Change the input; may be repeated. '@-' reads stdin.",
        ),
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", help="The new run's id; the same id twice is one run.")
    ] = None,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Start a new run after the pattern of an old one, and print its id.

    With --from, outputs of nodes that are neither NODE nor after it are taken over; what of them
    has not succeeded runs, too. Without, everything runs. -i changes keys of the old input.

    Example: flowcore rerun order-42 --from embed -i model=large
    """
    with Session() as session:
        old = Run.get(run, session=session)
        refuse_elsewhere(session, old.summary())
        plan = old.plan()
        if from_node is not None:
            find_node(plan, from_node, run)
        data = parse_input(given or (), plan.inputs)
        with importing_here():
            new = rerun_run(session, run, from_node, data, id=id)
        # First of all: whatever becomes of the worker, the run is there.
        data = {"run_id": new, "origin": {"run_id": run, "node": from_node}}
        show_object(output, data, f"{new}\n")
        _serve(session, Run(new, session=session), quiet=quiet)
    note(f"next: flowcore watch {new}", quiet=quiet)
    return ExitCode.OK


def _resume(session: Session, handle: Run, *, quiet: bool) -> RunState:
    refuse_elsewhere(session, handle.summary())
    state = resume_run(session, handle.id)
    _serve(session, handle, quiet=quiet)
    return state


def _serve(session: Session, handle: Run, *, quiet: bool) -> None:
    """See to it that somebody runs it, as 'submit' does."""
    if session.embedded:
        ensure_background_worker(session, handle.plan().queues)
    elif hint := unattended(session, handle):
        note(hint, quiet=quiet)


def _show(run: str, state: RunState, form: Format) -> None:
    show_object(form, {"run_id": run, "state": state.value}, f"{paint(state.value)}\n")
