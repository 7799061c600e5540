"""How long it takes until a node that a fault has hit runs again.

In: the faults' times, the runs' event logs. Out: seconds. All times are the server's.

A node was hit if its attempt was lost (``node.lost``): by the latest fault before that. It was also
hit if it was on its way when a fault came, and was not claimed within the dispatch lease: then its
message was, or whoever had it. Its recovery lasts from the fault, or from the end of the fault's
outage (the server answers again, the link is whole), until the node is claimed: ``node.started``.
An outage of the server in between does not count, waiting for a free slot does. Faults that found
nothing to hit count here too.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flowcore.run.event import Event, EventType

__all__ = ["Blow", "percentile", "recoveries"]


@dataclass(frozen=True, kw_only=True)
class Blow:
    """When a fault began, and from when on its recovery was possible."""

    at: float
    over: float
    title: str
    outage: bool = False
    """Whether nobody could work between the two."""


def recoveries(
    blows: Sequence[Blow], logs: Iterable[Sequence[Event]], *, dispatch_lease: float
) -> list[tuple[float, str]]:
    """Return seconds and the fault's title for each node that was hit, shortest first."""
    found: list[tuple[float, str]] = []
    for events in logs:
        for since, until, again in _hits(events, dispatch_lease):
            # Times of events have milliseconds.
            near = [blow for blow in blows if since <= blow.over + 0.01 and blow.at <= until + 0.01]
            if near:
                blow = max(near, key=lambda blow: blow.at)
                outages = [one.over for one in blows if one.outage and one.over <= again]
                possible = max([min(blow.over, again), *outages])
                found.append((again - possible, blow.title))
    return sorted(found)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of them lie; 0 of none."""
    if not values:
        return 0.0
    if share == 0.5:
        return statistics.median(values)
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _hits(events: Sequence[Event], dispatch_lease: float) -> Iterable[tuple[float, float, float]]:
    """For each node that was hit: between which times the fault came, and the next claim."""
    dispatched: dict[str, float] = {}
    lost: dict[str, float] = {}
    for event in events:
        if event.type is EventType.NODES_DISPATCHED:
            dispatched.update(dict.fromkeys(event.nodes, event.time))
        elif event.type is EventType.NODE_LOST:
            lost.update(dict.fromkeys(event.nodes, event.time))
        elif event.type is EventType.NODE_STARTED:
            node = event.nodes[0]
            since = dispatched.pop(node, None)
            if node in lost:
                yield 0.0, lost.pop(node), event.time
            elif since is not None and event.time - since > dispatch_lease:
                yield since, event.time - dispatch_lease, event.time
