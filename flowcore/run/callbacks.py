"""Callbacks: which of their methods an event is told to.

In: events. Out: calls. Not here: making them (client.streaming).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from flowcore.run.event import Event, EventType

__all__ = ["METHODS", "Callbacks", "calls_of"]


class Callbacks:
    """Callbacks of a run's events; write the methods you want, sync or async.

    Any object with some of these methods will do. Each is given the event.
    """

    def on_run_start(self, event: Event) -> object:
        """The first node has begun."""

    def on_run_end(self, event: Event) -> object:
        """The run has succeeded."""

    def on_run_error(self, event: Event) -> object:
        """The run has failed or was cancelled; the event's type says which."""

    def on_node_start(self, event: Event) -> object:
        """An attempt of a node has begun."""

    def on_node_end(self, event: Event) -> object:
        """A node has succeeded."""

    def on_node_error(self, event: Event) -> object:
        """A node has failed for good; ``event.data["error"]`` says why."""

    def on_node_retry(self, event: Event) -> object:
        """An attempt has failed, and there will be another."""

    def on_node_skip(self, event: Event) -> object:
        """A node is skipped; called for each of several."""

    def on_token(self, event: Event) -> object:
        """A piece of a node's output: ``event.data["text"]``, or ``["chunk"]`` if not text."""

    def on_event(self, event: Event) -> object:
        """Anything has happened: called for each event, after the method it has of its own."""


_METHOD: Mapping[EventType, str] = {
    EventType.RUN_STARTED: "on_run_start",
    EventType.RUN_SUCCEEDED: "on_run_end",
    EventType.RUN_FAILED: "on_run_error",
    EventType.RUN_CANCELLED: "on_run_error",
    EventType.NODE_STARTED: "on_node_start",
    EventType.NODE_SUCCEEDED: "on_node_end",
    EventType.NODE_FAILED: "on_node_error",
    EventType.NODE_RETRYING: "on_node_retry",
    EventType.NODES_SKIPPED: "on_node_skip",
    EventType.NODE_TOKEN: "on_token",
}

#: All methods, in the order of the class.
METHODS = (*dict.fromkeys(_METHOD.values()), "on_event")


def calls_of(event: Event) -> Iterator[tuple[str, Event]]:
    """Name the methods an event is told to, each with what it is given."""
    method = _METHOD.get(event.type)
    if method is not None and method.startswith("on_run") and "/" in event.run:
        method = None  # to the run around it, it is a node
    if method == "on_node_skip":
        for node in event.nodes:
            yield method, replace(event, nodes=(node,))
    elif method is not None:
        yield method, event
    yield "on_event", event
