"""Signals and answers to approvals, wherever inside a run somebody waits for them.

In: a run, a name or a node, a value. Out: the nodes that wait go on. Not here: waiting (nodes).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from flowcore.errors import RunNotFoundError, UsageError
from flowcore.ports.dispatcher import Dispatcher
from flowcore.ports.store import RunReader, RunStore
from flowcore.run.record import RunRecord
from flowcore.run.status import NodeState

__all__ = ["Question", "question", "signal"]


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
        UsageError: The run has ended.
    """
    if not _give(store, dispatcher, run, name, value):
        summary = reader.summary(run)
        if summary is None:
            raise RunNotFoundError(run)
        msg = f"run {run!r} has ended ({summary.state}): no node waits for a signal any more"
        raise UsageError(msg)


def _give(store: RunStore, dispatcher: Dispatcher, run: str, name: str, value: bytes) -> bool:
    """Give a signal; say whether the run was there to take or keep it."""
    while True:
        advance = store.signal(run, name, value)
        if advance is None or not advance.accepted:
            return False
        if advance.dispatch is not None:
            dispatcher.publish(advance.dispatch, store.get_plan(advance.dispatch.plan))
        inside = [_give(store, dispatcher, one, name, value) for one in advance.inside]
        if any(inside) or not inside:
            return True
        # Those that were waiting inside have ended since, and nobody has it yet.


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
    way, _, last = node.rpartition("/")
    inner = reader.record(f"{run}/{way}") if way else record
    if inner is None or last not in _asking(store, inner):
        raise UsageError(f"node {node!r} of run {run!r} asks for no approval; {told}")
    state = inner.nodes[last].state
    if state.is_terminal:
        raise UsageError(f"node {node!r} has {state}: the answer comes too late; {told}")
    return Question(run=inner.id, node=last, path=node)


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
