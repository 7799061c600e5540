"""``flowcore inspect``: all that is recorded of a run, or of one of its nodes.

In: a run's id. Out: input, nodes, errors with tracebacks, outputs, events.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from flowcore.assembly.session import Session
from flowcore.cli.follow import event_row, node_row
from flowcore.cli.given import RunId
from flowcore.cli.outcome import ExitCode, ThingNotFoundError
from flowcore.cli.printing import Format, Output, Quiet, iso, note, paint, show_object, write
from flowcore.cli.show import node_table, run_head, run_row
from flowcore.client.handle import Run
from flowcore.graph.diagnostic import clean
from flowcore.json_text import json_text
from flowcore.nodes.credentials import masked
from flowcore.plan.explain.policies import policies_of
from flowcore.plan.plan import Plan
from flowcore.run.event import Event
from flowcore.run.record import NodeRecord, RunRecord
from flowcore.run.reference import shown

__all__ = ["find_node", "inspect"]

_MOST_EVENTS = 200
_MOST_VALUE = 2000


def inspect(
    run: RunId,
    node: Annotated[str | None, typer.Option("--node", help="Only this node.")] = None,
    payloads: Annotated[
        bool, typer.Option("--payloads", help="Fetch large values instead of naming them.")
    ] = False,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Show all that is recorded of a run: input, nodes, tracebacks, outputs, events.

    Example: flowcore inspect order-42 --node embed
    """
    with Session() as session:
        handle = Run.get(run, session=session)
        plan = handle.plan()
        if node is not None:
            find_node(plan, node, run)
        record = handle.record()
        kept = handle.outputs(None if node is None else [node])
        outputs = kept.copy() if payloads else kept.with_references()
        large = None if payloads else handle.input_reference()
        given = handle.input() if large is None else shown(large)
        events = [
            event
            for event in session.runtime.events.read_all(run)
            if node is None or node in event.nodes
        ]
    if output is Format.TABLE:
        parts = (
            _run_parts(record, given, outputs)
            if node is None
            else _node_parts(run, record.nodes[node], plan, outputs)
        )
        write("\n".join([*parts, _events(events)]))
        note(f"next: flowcore inspect {run} -o json", quiet=quiet)
        return ExitCode.OK
    nodes = {
        name: _node_object(each, plan, outputs)
        for name, each in record.nodes.items()
        if node in (None, name)
    }
    whole = (
        {**run_row(record), "plan": record.plan, "input": given, "nodes": nodes}
        if node is None
        else {"run_id": run, "node": node, **nodes[node]}
    )
    rows = [event_row(event) for event in events]
    show_object(output, {**whole, "events": rows})
    return ExitCode.OK


def find_node(plan: Plan, node: str, run: str) -> None:
    """Refuse a node that a run does not have.

    Raises:
        ThingNotFoundError: It has none of this name; suggests one.
    """
    if node in plan.ids:
        return
    near = get_close_matches(node, plan.ids, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"see 'flowcore status {run}'"
    msg = f"run {run!r} has no node {node!r}; {hint}"
    raise ThingNotFoundError(msg)


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


def _run_parts(record: RunRecord, given: Any, outputs: Mapping[str, Any]) -> list[str]:
    parts = [run_head(record), f"input\n{_value(given)}", node_table(record)]
    parts += [_failure(node) for node in record.nodes.values() if node.error]
    if outputs:
        shown = "".join(f"  {key}: {_value(value)}" for key, value in outputs.items())
        parts.append(f"outputs\n{shown}")
    return parts


def _node_parts(run: str, node: NodeRecord, plan: Plan, outputs: Mapping[str, Any]) -> list[str]:
    facts = _node_object(node, plan, outputs)
    lines = [f"{run}  {node.id}  {paint(node.state.value)}"]
    lines += [
        clean(f"{key} {_short(facts[key])}")
        for key in ("uses", "with", "needs", "attempts", "worker", "started", "finished")
        if facts[key]
    ]
    lines += [
        clean(f"{name} {_short(policy['value'])}  ({policy['from']})")
        for name, policy in facts["policies"].items()
    ]
    parts = ["\n".join(lines) + "\n"]
    if node.error:
        parts.append(_failure(node))
    if node.id in outputs:
        parts.append(f"output\n{_value(outputs[node.id])}")
    return parts


def _failure(node: NodeRecord) -> str:
    error = node.error
    if error is None:
        return ""
    head = f"error of {node.id} (attempt {error.attempt or node.attempts})"
    body = error.traceback or f"{error.type}: {error.message}"
    return head + "\n" + "".join(f"  {clean(line)}\n" for line in body.rstrip().splitlines())


def _events(events: list[Event]) -> str:
    lines = [f"events ({len(events)})"]
    if len(events) > _MOST_EVENTS:
        lines.append(f"  … {len(events) - _MOST_EVENTS} earlier ones: -o json has all")
    for event in events[-_MOST_EVENTS:]:
        names = ", ".join(event.nodes[:5]) + (", …" if len(event.nodes) > 5 else "")  # noqa: PLR2004
        data = {key: value for key, value in event.data.items() if key != "error"}
        attempt = f" attempt {event.attempt}" if event.attempt else ""
        more = f"  {_short(data)}" if data else ""
        lines.append(clean(f"  {iso(event.time)}  {event.type.value}  {names}{attempt}{more}"))
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    text = json_text(value, indent=2)
    if len(text) > _MOST_VALUE:
        text = f"{text[:_MOST_VALUE]}\n… {len(text) - _MOST_VALUE} more characters: -o json has all"
    # Line by line: what a node gave may hold more than a terminal should see.
    return "".join(f"{clean(line)}\n" for line in text.split("\n"))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json_text(value)
    return text if len(text) <= 200 else f"{text[:199]}…"  # noqa: PLR2004  (two lines)
