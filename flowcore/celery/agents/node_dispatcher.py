"""Nodes of flows as agents: what became ready is told to the agent of its queue.

In: dispatches of the engine. Out: signed A2A messages with one data part; on the other side the
attempt is run and recorded, and that tells the next. The run's journal is the shared store.

Not here: what is ready (engine), and how a node is run, which is the engine's as well: so results
are those of native.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from flowcore.agents.message import Json, Message, Part
from flowcore.plan.plan import Plan
from flowcore.ports.dispatcher import Dispatcher
from flowcore.ports.store import AttemptRef, Dispatch
from flowcore.ports.unit import UnitRef

__all__ = ["NodeAgents", "NodeRunner", "Post", "is_node_queue", "node_queue", "run_message"]

_PREFIX = "a2a-nodes"

#: Sends messages of a dispatch to the agent of a queue, all at once.
Post = Callable[[Dispatch, str, list[Json]], None]


class NodeRunner(Protocol):
    """Runs attempts of nodes, and records them."""

    def run(self, ticket: AttemptRef, plan_hash: str, *, worker: str) -> Any:
        """Run one attempt; None if it is somebody else's."""
        ...

    def record(self, attempt: Any, *, worker: str) -> Any:
        """Record it, and send what became ready."""
        ...

    def run_unit(self, unit: UnitRef, plan_hash: str, *, worker: str, queue: str) -> bool:
        """Run the nodes of a bundle."""
        ...


def node_queue(queue: str | None) -> str:
    """Name the agent's queue for nodes of a queue."""
    return _PREFIX if queue is None else f"{_PREFIX}.{queue}"


def is_node_queue(queue: str | None) -> bool:
    """Return whether a queue carries messages for an agent, by its own or the broker's name."""
    return queue is not None and _PREFIX in queue.split(".")


class NodeAgents:
    """Implements ``Dispatcher``: nodes of agents' queues go as messages, others as before."""

    def __init__(self, others: Any, post: Post) -> None:
        """Stand before a dispatcher."""
        self._others: Dispatcher = others
        self._post = post

    def publish(self, dispatch: Dispatch, plan: Plan) -> None:
        """Send."""
        empty = not (dispatch.nodes or dispatch.bundles)
        if empty or not is_node_queue(plan.policy(dispatch.first).queue):
            self._others.publish(dispatch, plan)
            return
        by_queue: dict[str, list[Json]] = {}
        for queue, about in _contents(dispatch, plan):
            by_queue.setdefault(queue, []).append(_message(dispatch, about))
        for queue, messages in by_queue.items():
            self._post(dispatch, queue, messages)

    def __getattr__(self, name: str) -> Any:
        """Do the rest as the other does."""
        return getattr(self._others, name)


def _contents(dispatch: Dispatch, plan: Plan) -> Iterable[tuple[str, Json]]:
    about = {"run": dispatch.run, "plan": dispatch.plan}
    for node, attempt in dispatch.nodes:
        yield plan.policy(node).queue or _PREFIX, {**about, "node": node, "attempt": attempt}
    for bundle in dispatch.bundles:
        yield plan.policy(bundle.node).queue or _PREFIX, {**about, "unit": bundle.unit}


def _message(dispatch: Dispatch, about: Json) -> Json:
    what = about.get("unit") or f"{about['node']}.{about['attempt']}"
    return Message(
        parts=(Part(data=about),),
        message_id=f"{dispatch.run}.{what}",
        context_id=dispatch.run,
    ).to_json()


def run_message(message: Json, runner: NodeRunner, *, worker: str, queue: str) -> None:
    """Do what a message asks for; a duplicate finds its attempt taken."""
    given = Message.from_json(message).data
    if "unit" in given:
        unit = UnitRef(run=given["run"], unit=given["unit"])
        runner.run_unit(unit, given["plan"], worker=worker, queue=queue)
        return
    ticket = AttemptRef(run=given["run"], node=given["node"], attempt=given["attempt"])
    done = runner.run(ticket, given["plan"], worker=worker)
    if done is not None:
        runner.record(done, worker=worker)
