"""``flowcore list``, ``status`` and ``cancel``: short answers about runs.

In: filters or a run's id. Out: rows. Not here: everything about one run (detail).
"""

import time
from collections import Counter
from typing import Annotated, Any

import typer

from flowcore.assembly.session import Session
from flowcore.cli.follow import node_row
from flowcore.cli.given import RunId
from flowcore.cli.outcome import ExitCode
from flowcore.cli.printing import (
    Format,
    Output,
    Quiet,
    iso,
    note,
    paint,
    show_rows,
    table,
    write,
    write_json,
)
from flowcore.cli.watch import unattended
from flowcore.client.handle import Run
from flowcore.graph.diagnostic import clean
from flowcore.run.record import NodeRecord, RunRecord, RunSummary
from flowcore.run.status import NodeState, RunState
from flowcore.types import format_duration

__all__ = ["cancel", "list_runs", "node_table", "run_head", "run_row", "status"]

_COLUMNS = {
    "run_id": "RUN",
    "flow": "FLOW",
    "state": "STATE",
    "done": "NODES",
    "created": "CREATED",
    "took": "TOOK",
    "tags": "TAGS",
}
#: A larger run is shown by what is not yet, or not well, done.
_MOST_ROWS = 50


def list_runs(
    state: Annotated[
        list[RunState] | None, typer.Option("--state", help="Only runs in this state; repeatable.")
    ] = None,
    flow: Annotated[str | None, typer.Option("--flow", help="Only runs of this flow.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Only runs with this tag.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 20,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """List runs, newest first."""
    with Session() as session:
        states = [each.value for each in state or ()]
        found = Run.list(state=states, flow=flow, tag=tag, limit=limit, session=session)
    rows = [run_row(each) for each in found]
    if output is Format.TABLE:
        if not rows:
            note("no runs; start one: flowcore run FLOW", quiet=quiet)
            return ExitCode.OK
        for row in rows:
            row["done"] = f"{row['settled']}/{row['total']}"
            row["took"] = _took(row["duration_s"])
    show_rows(output, rows, _COLUMNS)
    if output is Format.TABLE:
        note(f"next: flowcore status {rows[0]['run_id']}", quiet=quiet)
    return ExitCode.OK


def status(run: RunId, quiet: Quiet = False, output: Output = Format.TABLE) -> int:
    """Show where a run and its nodes stand."""
    with Session() as session:
        handle = Run.get(run, session=session)
        record = handle.record()
        hint = unattended(session, handle)
    if output is Format.TABLE:
        write(run_head(record) + "\n" + node_table(record))
        word = "inspect" if record.state.is_terminal else "watch"
        note(f"{hint}\n" * bool(hint) + f"next: flowcore {word} {run}", quiet=quiet)
        return ExitCode.OK
    nodes = {name: node_row(node) for name, node in record.nodes.items()}
    row = {**run_row(record), "nodes": nodes}
    write_json(row, indent=2 if output is Format.JSON else None)
    return ExitCode.OK


def cancel(
    run: RunId,
    reason: Annotated[
        str, typer.Option("--reason", help="Recorded with the run.")
    ] = "cancelled by its owner",
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Stop a run: what waits never starts, what runs is told to end."""
    with Session() as session:
        handle = Run.get(run, session=session)
        ended = handle.status()
        state = handle.cancel(reason)
        hint = unattended(session, handle)
    if output is Format.TABLE:
        write(f"{paint(state.value)}\n")
    else:
        write_json({"run_id": run, "state": state.value}, indent=None)
    if ended.is_terminal:
        note(f"run {run} had ended before: nothing to cancel", quiet=quiet)
    elif hint:
        note(hint, quiet=quiet)
    note(f"next: flowcore status {run}", quiet=quiet)
    return ExitCode.OK


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
        "error": error,
    }


def run_head(record: RunRecord) -> str:
    """Say in a few lines where a run stands."""
    lines = [
        f"{record.id}  {paint(record.state.value)}",
        f"flow {clean(record.flow)} version {clean(record.version)}",
        f"{record.settled} of {record.total} nodes settled",
        f"created {iso(record.created)}, took {_took(_duration(record)) or '-'}",
    ]
    if record.tags:
        lines.append(f"tags {clean(', '.join(record.tags))}")
    if record.error:
        where = f"node {record.error.node}: " if record.error.node else ""
        lines.append(clean(f"error {where}{record.error.type}: {record.error.message}"))
    return "\n".join(lines) + "\n"


def node_table(record: RunRecord) -> str:
    """List the nodes; of a large run those that have not succeeded, and a count of the others."""
    nodes = list(record.nodes.values())
    head = ""
    if len(nodes) > _MOST_ROWS:
        counts = Counter(node.state for node in nodes)
        head = ", ".join(f"{count} {state.value}" for state, count in counts.items()) + "\n"
        settled = (NodeState.SUCCEEDED, NodeState.PENDING, NodeState.SKIPPED, NodeState.CANCELLED)
        nodes = [node for node in nodes if node.state not in settled][:_MOST_ROWS]
        if not nodes:
            return head
    titles = ["NODE", "STATE", "ATTEMPTS", "STARTED", "TOOK", "ERROR"]
    return head + table(titles, map(_node_cells, nodes))


def _node_cells(node: NodeRecord) -> list[str]:
    error = f"{node.error.type}: {node.error.message}" if node.error else ""
    took = None
    if node.started is not None:
        took = (node.finished or time.time()) - node.started
        took = took if node.finished or node.state is NodeState.RUNNING else None
    return [
        node.id,
        node.state.value,
        str(node.attempts),
        iso(node.started) or "",
        _took(took),
        error[:120],
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
