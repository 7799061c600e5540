"""``flowcore inspect``: all that is recorded of a run, or of one of its nodes.

In: a run's id. Out: input, nodes, errors with tracebacks, outputs, events.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from flowcore.assembly.session import Session
from flowcore.cli.addressing import find_place
from flowcore.cli.arguments import RunId
from flowcore.cli.child_runs import InnerRuns
from flowcore.cli.commands.runs import node_table, run_head, run_row
from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.follow import event_row, node_row
from flowcore.cli.hints import command, hint_lines, next_steps
from flowcore.cli.node_status import situation
from flowcore.cli.output import Format, Output, Quiet, note, paint, show_object, write
from flowcore.cli.terminal import one_line
from flowcore.cli.times import Absolute, iso
from flowcore.json_text import json_text
from flowcore.nodes.credentials import masked
from flowcore.plan.explain.policies import policies_of
from flowcore.plan.plan import Plan
from flowcore.run.event import Event
from flowcore.run.record import NodeRecord, RunRecord
from flowcore.run.reference import shown
from flowcore.run.status import NodeState, RunState

__all__ = ["inspect"]

_MOST_EVENTS = 50
_MOST_FAILURES = 5
_MOST_OUTPUTS = 20
_MOST_WORDS = 300
_MOST_VALUE = 2000


def inspect(
    run: RunId,
    node: Annotated[
        str | None, typer.Option("--node", help="Only this node; as RUN/NODE, RUN/NODE[3].")
    ] = None,
    payloads: Annotated[
        bool, typer.Option("--payloads", help="Fetch large values instead of naming them.")
    ] = False,
    absolute: Absolute = False,  # noqa: ARG001  (read by the clock)
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Show all that is recorded of a run: tracebacks first, then input, nodes, outputs, events.

    Example: flowcore inspect order-42/embed
    """
    with Session() as session:
        place = find_place(session, run, node)
        handle, node = place.run, place.node
        plan = handle.plan()
        record = handle.record()
        kept = handle.outputs(None if node is None else [node])
        outputs = kept.copy() if payloads else kept.with_references()
        large = None if payloads else handle.input_reference()
        given = handle.input() if large is None else shown(large)
        events = [
            event
            for event in session.runtime.events.read_all(handle.id)
            if node is None or node in event.nodes
        ]
        inside = InnerRuns(session, handle.id, plan)
        inside.look(record.nodes.values() if node is None else [record.nodes[node]])
    if output is Format.TABLE:
        parts = (
            _run_parts(record, plan, given, outputs, inside.progress)
            if node is None
            else _node_parts(handle.id, record.nodes[node], plan, outputs)
        )
        steps = next_steps(record, plan, inside.questions)
        hint = hint_lines(one for one in steps if one.command != command("inspect", run))
        if record.state is RunState.FAILED:
            # Last on the screen is what is read first, and what comes before may be long.
            hint = f"{_short_error(record)}\n{hint}"
        write("\n".join([*parts, _events(events)]))
        note(hint, quiet=quiet)
        return ExitCode.OK
    nodes = {
        name: _node_object(each, plan, outputs)
        for name, each in record.nodes.items()
        if node in (None, name)
    }
    whole = (
        {**run_row(record), "plan": record.plan, "input": given, "nodes": nodes}
        if node is None
        else {"run_id": handle.id, "node": node, **nodes[node]}
    )
    rows = [event_row(event) for event in events]
    show_object(output, {**whole, "events": rows})
    return ExitCode.OK


def _node_object(record: NodeRecord, plan: Plan, outputs: Mapping[str, Any]) -> dict[str, Any]:
    at = plan.ids.index(record.id)
    return {
        **node_row(record),
        "error": record.error.as_dict() if record.error else None,
        "worker": record.worker,
        "uses": plan.policy(at).uses,
        "with": masked(dict(plan.params[at])),
        "needs": [plan.ids[before] for before in plan.pred[at]],
        "policies": {
            name: {"value": value, "from": source}
            for name, (value, source) in policies_of(plan.policy(at)).items()
        },
        "output": outputs.get(record.id),
    }


def _run_parts(
    record: RunRecord,
    plan: Plan,
    given: Any,
    outputs: Mapping[str, Any],
    progress: Mapping[str, str],
) -> list[str]:
    """Return the parts of a run, the most sought first: what failed, and why."""
    bad = [node for node in record.nodes.values() if node.error]
    bad.sort(key=lambda node: node.state is not NodeState.FAILED)
    parts = [run_head(record), *map(_failure, bad[:_MOST_FAILURES])]
    if len(bad) > _MOST_FAILURES:
        parts.append(f"… {len(bad) - _MOST_FAILURES} more errors: -o json has all\n")
    parts += [node_table(record, plan, progress), f"input\n{_value(given)}"]
    if outputs:
        first = list(outputs.items())[:_MOST_OUTPUTS]
        shown = "".join(f"  {one_line(key)}: {_value(value)}" for key, value in first)
        more = len(outputs) - len(first)
        rest = f"  … {more} more: -o json has all\n" if more else ""
        parts.append(f"outputs\n{shown}{rest}")
    return parts


def _short_error(record: RunRecord) -> str:
    error = record.error
    if error is None:
        return f"run {record.id} failed"
    where = f"node {error.node}: " if error.node else ""
    return one_line(f"run {record.id} failed: {where}{error.type}: {error.message[:_MOST_WORDS]}")


def _node_parts(run: str, node: NodeRecord, plan: Plan, outputs: Mapping[str, Any]) -> list[str]:
    facts = _node_object(node, plan, outputs)
    lines = [f"{run}  {node.id}  {paint(node.state.value)}"]
    lines += [
        one_line(f"{key} {_short(facts[key])}")
        for key in ("uses", "with", "needs", "attempts", "worker", "started", "finished")
        if facts[key]
    ]
    lines += [
        one_line(f"{name} {_short(policy['value'])}  ({policy['from']})")
        for name, policy in facts["policies"].items()
    ]
    if words := situation(node, plan):
        lines.insert(1, one_line(words))
    parts = ["\n".join(lines) + "\n"]
    if node.error:
        parts.insert(0, _failure(node))
    if node.id in outputs:
        parts.append(f"output\n{_value(outputs[node.id])}")
    return parts


def _failure(node: NodeRecord) -> str:
    error = node.error
    if error is None:
        return ""
    head = f"error of {node.id} (attempt {error.attempt or node.attempts})"
    body = error.traceback or f"{error.type}: {error.message}"
    return head + "\n" + "".join(f"  {one_line(line)}\n" for line in body.rstrip().splitlines())


def _events(events: list[Event]) -> str:
    lines = [f"events ({len(events)})"]
    if len(events) > _MOST_EVENTS:
        lines.append(f"  … {len(events) - _MOST_EVENTS} earlier ones: -o json has all")
    for event in events[-_MOST_EVENTS:]:
        names = ", ".join(event.nodes[:5]) + (", …" if len(event.nodes) > 5 else "")  # noqa: PLR2004
        data = {key: value for key, value in event.data.items() if key != "error"}
        attempt = f" attempt {event.attempt}" if event.attempt else ""
        more = f"  {_short(data)}" if data else ""
        lines.append(one_line(f"  {iso(event.time)}  {event.type.value}  {names}{attempt}{more}"))
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    text = json_text(value, indent=2)
    if len(text) > _MOST_VALUE:
        text = f"{text[:_MOST_VALUE]}\n… {len(text) - _MOST_VALUE} more characters: -o json has all"
    # Line by line: what a node gave may hold more than a terminal should see.
    return "".join(f"{one_line(line)}\n" for line in text.split("\n"))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json_text(value)
    return text if len(text) <= 200 else f"{text[:199]}…"  # noqa: PLR2004  (two lines)
