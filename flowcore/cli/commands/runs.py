"""``flowcore list`` and ``status``: short answers about runs.

In: filters or a run's id. Out: rows. Not here: everything about one run (inspect), changing one
(control).
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Any

import typer

from flowcore.assembly.session import Session
from flowcore.cli.addressing import find_place
from flowcore.cli.arguments import RunId
from flowcore.cli.child_runs import InnerRuns
from flowcore.cli.commands.refused import list_refused
from flowcore.cli.commands.watch import unattended
from flowcore.cli.exit_codes import ExitCode, print_error
from flowcore.cli.follow import node_row
from flowcore.cli.hints import command, hint_lines, next_steps
from flowcore.cli.node_status import situation
from flowcore.cli.output import (
    Format,
    Output,
    Quiet,
    note,
    note_damage,
    paint,
    show_rows,
    table,
    write,
    write_json,
)
from flowcore.cli.terminal import one_line
from flowcore.cli.times import Absolute, iso, show_time
from flowcore.client.run import Run
from flowcore.errors import UsageError
from flowcore.plan.plan import Plan
from flowcore.run.record import NodeRecord, RunRecord, RunSummary
from flowcore.run.status import NodeState, RunState
from flowcore.types import format_duration

__all__ = ["list_runs", "node_table", "run_head", "run_row", "status"]

_COLUMNS = {
    "run_id": "RUN",
    "flow": "FLOW",
    "state": "STATE",
    "done": "NODES",
    "created": "CREATED",
    "took": "TOOK",
    "tags": "TAGS",
}
_DEAD_COLUMNS = {
    "run_id": "RUN",
    "flow": "FLOW",
    "node": "NODE",
    "time": "GIVEN UP",
    "reason": "REASON",
}
#: A larger run is shown by what is not yet, or not well, done.
_MOST_ROWS = 50


#: What can be done about entries of runs that cannot be read.
_DAMAGED = "something else than flowcore wrote there: restore the server from a backup"


def list_runs(  # noqa: PLR0917  (typer calls it, by name)
    state: Annotated[
        list[RunState] | None, typer.Option("--state", help="Only runs in this state; repeatable.")
    ] = None,
    flow: Annotated[str | None, typer.Option("--flow", help="Only runs of this flow.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Only runs with this tag.")] = None,
    part_of: Annotated[
        str | None,
        typer.Option("--part-of", metavar="RUN", help="Only runs that this run's nodes started."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=100_000, help="Most runs to list.")
    ] = 20,
    dead: Annotated[
        bool, typer.Option("--dead", help="List dead letters: nodes whose workers died each time.")
    ] = False,
    refused: Annotated[
        bool, typer.Option("--refused", help="List messages that no worker would take.")
    ] = False,
    drop: Annotated[
        bool, typer.Option("--drop", help="With --refused: forget them, and their number.")
    ] = False,
    absolute: Absolute = False,  # noqa: ARG001  (read by the clock)
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """List runs, newest first; those that are part of another only when asked for.

    Example: flowcore list --state failed --limit 5
    """
    _refuse_mixed(dead=dead, refused=refused, drop=drop, filtered=(state, flow, tag, part_of))
    if refused:
        return list_refused(limit, drop=drop, quiet=quiet, output=output)
    if dead:
        return _list_dead(limit, quiet=quiet, output=output)
    with Session() as session:
        states = [each.value for each in state or ()]
        found = Run.list(
            state=states, flow=flow, tag=tag, part_of=part_of, limit=limit, session=session
        )
    note_damage(found, "runs", way_out=_DAMAGED)
    if found.left_out:
        few = "1 run was" if found.left_out == 1 else f"{found.left_out} runs were"
        print_error(f"{few} left out: stored by another version of flowcore")
    rows = [run_row(each) for each in found]
    if output is Format.TABLE:
        if not rows:
            note(_none(filtered=bool(state or flow or tag or part_of)), quiet=quiet)
            return ExitCode.OK
        for row in rows:
            row["done"] = f"{row['settled']}/{row['total']}"
            row["took"] = _took(row["duration_s"])
    show_rows(output, rows, _COLUMNS)
    if output is Format.TABLE:
        note(f"next: {command('status', rows[0]['run_id'])}", quiet=quiet)
    return ExitCode.OK


def _none(*, filtered: bool) -> str:
    if filtered:
        return "no such runs; all there are: flowcore list"
    return "no runs; start one: flowcore run FLOW"


def _refuse_mixed(*, dead: bool, refused: bool, drop: bool, filtered: Sequence[Any]) -> None:
    if drop and not refused:
        raise UsageError("--drop goes with --refused: runs are kept until their retention is over")
    if (dead or refused) and any(filtered):
        what = "--refused lists messages" if refused else "--dead lists nodes"
        raise UsageError(f"{what}, so it takes no --state, --flow, --tag or --part-of")


def _list_dead(limit: int, *, quiet: bool, output: Format) -> int:
    with Session() as session:
        found = Run.dead_letters(limit=limit, session=session)
    note_damage(found, "dead letters", way_out=_DAMAGED)
    rows = [
        {
            "run_id": each.run,
            "flow": each.flow,
            "node": each.node,
            "time": iso(each.time),
            "reason": f"{each.failure.type}: {each.failure.message}",
        }
        for each in found
    ]
    if output is Format.TABLE and not rows:
        note("no dead letters", quiet=quiet)
        return ExitCode.OK
    show_rows(output, rows, _DEAD_COLUMNS)
    if output is Format.TABLE:
        note(f"next: {command('requeue', found[0].run, found[0].node)}", quiet=quiet)
    return ExitCode.OK


def status(
    run: RunId,
    absolute: Absolute = False,  # noqa: ARG001  (read by the clock)
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Show where a run and its nodes stand, or one node: RUN/NODE, RUN/NODE[3].

    Example: flowcore status order-42
    """
    with Session() as session:
        place = find_place(session, run)
        handle = place.run
        record, plan = handle.record(), handle.plan()
        if place.node is not None:
            record = replace(record, nodes={place.node: record.nodes[place.node]})
        inside = InnerRuns(session, handle.id, plan)
        inside.look(record.nodes.values())
        hint = unattended(session, handle)
    if output is Format.TABLE:
        write(run_head(record) + "\n" + node_table(record, plan, inside.progress))
        steps = next_steps(record, plan, inside.questions)
        note(f"{hint}\n" * bool(hint) + hint_lines(steps), quiet=quiet)
        return ExitCode.OK
    nodes = {
        name: {**node_row(node), **_inside(inside.progress, name)}
        for name, node in record.nodes.items()
    }
    row = {**run_row(record), "nodes": nodes}
    write_json(row, indent=2 if output is Format.JSON else None)
    return ExitCode.OK


def _inside(progress: Mapping[str, str], name: str) -> dict[str, str]:
    return {"inside": progress[name]} if name in progress else {}


def run_row(summary: RunSummary) -> dict[str, Any]:
    """Lay out one run."""
    error = summary.error.as_dict() if summary.error else None
    if error is not None:
        error.pop("traceback", None)
    return {
        "run_id": summary.id,
        "flow": summary.flow,
        "version": summary.version,
        "state": summary.state.value,
        "settled": summary.settled,
        "total": summary.total,
        "created": iso(summary.created),
        "started": iso(summary.started),
        "finished": iso(summary.finished),
        "duration_s": _duration(summary),
        "tags": summary.tags,
        "origin": _origin(summary),
        "parent": _parent(summary),
        "error": error,
        "stop": summary.stop,
    }


def _origin(summary: RunSummary) -> dict[str, Any] | None:
    origin = summary.origin
    return {"run_id": origin.run, "node": origin.node} if origin else None


def _parent(summary: RunSummary) -> dict[str, Any] | None:
    parent = summary.parent
    return {"run_id": parent.run, "node": parent.name} if parent else None


def run_head(record: RunRecord) -> str:
    """Say in a few lines where a run stands."""
    lines = [
        f"{record.id}  {paint(record.state.value)}",
        f"flow {one_line(record.flow)} version {one_line(record.version)}",
        f"{record.settled} of {record.total} nodes settled",
        f"created {show_time(record.created)}, took {_took(_duration(record)) or '-'}",
    ]
    if record.origin:
        where = f" from node {record.origin.node} on" if record.origin.node else ""
        lines.append(one_line(f"rerun of {record.origin.run}{where}"))
    if record.parent:
        lines.append(one_line(f"part of {record.parent.run}, node {record.parent.name}"))
    if record.tags:
        lines.append(f"tags {one_line(', '.join(record.tags))}")
    if record.error:
        where = f"node {record.error.node}: " if record.error.node else ""
        lines.append(one_line(f"error {where}{record.error.type}: {record.error.message}"))
    if record.stop and not record.error:
        lines.append(one_line(f"stopped: {record.stop}"))
    return "\n".join(lines) + "\n"


def node_table(
    record: RunRecord, plan: Plan, progress: Mapping[str, str] = MappingProxyType({})
) -> str:
    """List the nodes; of a large run those that have not succeeded, and a count of the others.

    Args:
        record: The run.
        plan: Its plan.
        progress: Progress of child runs, by node.
    """
    nodes = list(record.nodes.values())
    head = ""
    if len(nodes) > _MOST_ROWS:
        counts = Counter(node.state for node in nodes)
        head = ", ".join(f"{count} {state.value}" for state, count in counts.items()) + "\n"
        settled = (NodeState.SUCCEEDED, NodeState.PENDING, NodeState.SKIPPED, NodeState.CANCELLED)
        nodes = [node for node in nodes if node.state not in settled][:_MOST_ROWS]
        if not nodes:
            return head
    titles = ["NODE", "STATE", "ATTEMPTS", "STARTED", "TOOK", "ABOUT"]
    return head + table(titles, (_node_cells(node, plan, progress) for node in nodes))


def _node_cells(node: NodeRecord, plan: Plan, progress: Mapping[str, str]) -> list[str]:
    said = situation(node, plan, progress=progress)
    if node.child is not None:
        said = f"{said} ({node.child})" if said else node.child
    took = None
    if node.started is not None:
        took = (node.finished or time.time()) - node.started
        took = took if node.finished or node.state is NodeState.RUNNING else None
    return [
        node.id,
        node.state.value,
        str(node.attempts),
        show_time(node.started),
        _took(took),
        said,
    ]


def _duration(summary: RunSummary) -> float | None:
    """Seconds from the first node's start to the end, or to now; as ``run`` counts them."""
    if summary.finished is not None:
        return round(max(0.0, summary.finished - (summary.started or summary.created)), 3)
    if summary.started is None:
        return None
    return round(max(0.0, time.time() - summary.started), 3)


def _took(seconds: float | None) -> str:
    return "" if seconds is None else format_duration(max(0.0, seconds))
