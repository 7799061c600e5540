"""Signals and answers to approvals, wherever inside a run somebody waits for them.

In: a run, a name or a node, a value. Out: the nodes that wait go on. Not here: waiting (nodes).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from flowcore.errors import RunNotFoundError, UsageError
from flowcore.plan.awaited import Awaited, awaited
from flowcore.ports.dispatcher import Dispatcher
from flowcore.ports.store import KEPT_SIGNALS, RunReader, RunStore, Transition
from flowcore.run.record import RunRecord
from flowcore.run.status import NodeState
from flowcore.run.wire import unpack

__all__ = ["Question", "answer", "question", "signal"]

#: An item of a map, or an iteration of a loop.
_ITEM = re.compile(r"([^\[]+)\[(\d+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A node that asks for an approval."""

    run: str
    node: str
    path: str
    """What it is called from the outermost run: ``embed/3/review``."""


def signal(
    store: RunStore, reader: RunReader, dispatcher: Dispatcher, run: str, name: str, value: bytes
) -> None:
    """Give a signal to a run, or to those inside it where somebody waits for it.

    Args:
        store: The run store.
        reader: Reads it.
        dispatcher: Rings for the nodes that go on.
        run: The run's id.
        name: The signal's name.
        value: What goes with it, packed.

    Raises:
        RunNotFoundError: No run has this id.
        UsageError: The run has ended, no node of it waits for such a signal or will, or it keeps
            as many as it may.
    """
    _refuse_unawaited(store, reader, run, name)
    advance = _give(store, dispatcher, run, name, value)
    if advance is not None and advance.refused == "full":
        msg = (
            f"run {run!r} keeps {KEPT_SIGNALS:,} signals {name!r} that no node has taken yet; "
            "this one was not kept"
        )
        raise UsageError(msg)
    if advance is None or not advance.accepted:
        raise _over(reader, run)


def answer(
    store: RunStore, reader: RunReader, dispatcher: Dispatcher, to: "Question", value: bytes
) -> None:
    """Answer a question. The first answer counts.

    Args:
        store: The run store.
        reader: Reads it.
        dispatcher: Rings for the node that goes on.
        to: The question.
        value: The answer, packed.

    Raises:
        RunNotFoundError: No run has this id.
        UsageError: It has been answered already, or its run has ended.
    """
    summary = reader.summary(to.run)
    if summary is None:
        raise RunNotFoundError(to.run)
    node = store.get_plan(summary.plan).ids.index(to.node)
    advance = store.signal(to.run, to.node, value, node=node)
    if advance is not None and advance.refused == "answered":
        raise UsageError(_answered(to, advance.answer))
    if advance is None or not advance.accepted:
        msg = f"node {to.path!r} no longer waits for an answer: run {to.run!r} has ended"
        raise UsageError(msg)
    _publish(store, dispatcher, advance)


def _answered(to: "Question", first: bytes) -> str:
    """Say that somebody else was first, and what the answer was."""
    said = unpack(first) if first else None
    if not isinstance(said, dict) or not isinstance(said.get("approved"), bool):
        gone = "has been answered already, or its time is over"
        return f"node {to.path!r} {gone}: this answer does not count"
    word = "approved" if said["approved"] else "rejected"
    by = f" by {said['by']}" if said.get("by") else ""
    why = f" ({said['comment']})" if said.get("comment") else ""
    return f"node {to.path!r} was {word} already{by}{why}: this answer does not count"


def _over(reader: RunReader, run: str) -> Exception:
    summary = reader.summary(run)
    if summary is None:
        return RunNotFoundError(run)
    msg = f"run {run!r} has ended ({summary.state}): no node waits for a signal any more"
    return UsageError(msg)


def _refuse_unawaited(store: RunStore, reader: RunReader, run: str, name: str) -> None:
    """Refuse a signal that no node of a run can ever take."""
    summary = reader.summary(run)
    if summary is None:
        raise RunNotFoundError(run)
    if summary.state.is_terminal:
        raise _over(reader, run)
    known = list(awaited(store.get_plan(summary.plan)))
    select_declared = [one for one in known if one.fits(name)]
    if not select_declared:
        raise UsageError(_unawaited(run, name, known))
    nodes = [one.node for one in select_declared if one.node is not None]
    if len(nodes) < len(select_declared):
        return
    states = reader.states(run, nodes)
    if all(node in states and states[node].is_terminal for node in nodes):
        msg = f"every node of run {run!r} that waited for the signal {name!r} has ended"
        raise UsageError(f"{msg}: this one comes too late")


def _unawaited(run: str, name: str, known: Sequence[Awaited]) -> str:
    names = sorted({f"{one.name}[0]" if one.several else str(one.name) for one in known})
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    there = f"they wait for: {', '.join(names)}" if names else "none of them waits for any"
    return f"no node of run {run!r} waits for a signal {name!r}; {hint}{there}"


def _give(
    store: RunStore,
    dispatcher: Dispatcher,
    run: str,
    name: str,
    value: bytes,
    *,
    most: int = KEPT_SIGNALS,
) -> Transition | None:
    """Give a signal; say what became of it."""
    while True:
        advance = store.signal(run, name, value, most=most)
        if advance is None or not advance.accepted:
            return advance
        _publish(store, dispatcher, advance)
        # Only to those that wait there: what is kept, is kept where it was sent to.
        inside = [_give(store, dispatcher, one, name, value, most=0) for one in advance.inside]
        if not inside or any(one is not None and one.accepted for one in inside):
            return advance
        # Those that were waiting inside have ended since, and nobody has it yet.


def _publish(store: RunStore, dispatcher: Dispatcher, advance: Transition) -> None:
    if advance.dispatch is not None:
        dispatcher.publish(advance.dispatch, store.get_plan(advance.dispatch.plan))


def question(store: RunStore, reader: RunReader, run: str, node: str | None) -> Question:
    """Find the node whose approval is asked for.

    Args:
        store: The run store.
        reader: Reads it.
        run: The run's id.
        node: A node of it, or the way to one inside, such as ``embed/3/review``; None: the only
            one that waits.

    Raises:
        RunNotFoundError: No run has this id.
        UsageError: It is no such node, none or several wait, or it comes too late.
    """
    record = reader.record(run)
    if record is None:
        raise RunNotFoundError(run)
    waiting = list(_waiting(store, reader, record, ""))
    told = f"those that wait are: {', '.join(one.path for one in waiting) or 'none'}"
    if node is None:
        if len(waiting) != 1:
            raise UsageError(f"name the node to answer; {told}")
        return waiting[0]
    inner, last = _at(reader, record, node)
    if inner is None or last not in _asking(store, inner):
        inner, last = _at(reader, record, _written_out(node))
    if inner is None or last not in _asking(store, inner):
        raise UsageError(f"node {node!r} of run {run!r} asks for no approval; {told}")
    state = inner.nodes[last].state
    if state.is_terminal:
        raise UsageError(f"node {node!r} has {state}: the answer comes too late; {told}")
    return Question(run=inner.id, node=last, path=node)


def _at(reader: RunReader, record: RunRecord, path: str) -> tuple[RunRecord | None, str]:
    way, _, last = path.rpartition("/")
    return (reader.record(f"{record.id}/{way}") if way else record), last


def _written_out(path: str) -> str:
    """The whole path of an item that is named as a node is: ``m[0]`` or ``m/0`` for ``m/m[0]``."""
    *way, last = path.split("/")
    way = [_ITEM.sub(r"\1/\2", one) for one in way]
    item = _ITEM.fullmatch(last)
    if last.isdecimal() and way:
        last = f"{way[-1]}[{last}]"
    elif item is not None and way[-1:] != [item[1]]:
        way.append(item[1])
    return "/".join([*way, last])


def _asking(store: RunStore, record: RunRecord) -> set[str]:
    plan = store.get_plan(record.plan)
    return {name for at, name in enumerate(plan.ids) if plan.policy(at).uses == "approval"}


def _waiting(store: RunStore, reader: RunReader, record: RunRecord, way: str) -> Iterator[Question]:
    """The nodes that wait for an answer, those inside after those of the run itself."""
    for name in sorted(_asking(store, record)):
        if record.nodes[name].state is NodeState.WAITING:
            yield Question(run=record.id, node=name, path=f"{way}{name}")
    for child in sorted(reader.children(record.id)):
        inner = reader.record(child)
        if inner is not None and not inner.state.is_terminal:
            yield from _waiting(store, reader, inner, f"{way}{child.rpartition('/')[2]}/")
