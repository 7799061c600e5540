"""Duration of a flow on an engine without any cost.

In: a DAG, the duration of a node, slots. Out: seconds. Not here: measuring.
"""

import heapq

from flowcore.bench.dags import Dag

__all__ = ["critical_path", "ideal_makespan"]


def critical_path(dag: Dag) -> int:
    """Count the nodes of the longest path."""
    level: list[int] = []
    for before in dag.needs:
        level.append(1 + max((level[source] for source in before), default=0))
    return max(level, default=0)


def ideal_makespan(dag: Dag, *, seconds: float, slots: int) -> float:
    """Schedule the flow greedily: a free slot takes the node that became ready first.

    R. L. Graham, "Bounds for certain multiprocessing anomalies", 1966: list scheduling, at most
    twice as long as the best there is; for layers of equal nodes it is the best.

    Args:
        dag: The flow.
        seconds: How long each node takes.
        slots: Nodes at once.
    """
    after: list[list[int]] = [[] for _ in dag.needs]
    waits = [len(before) for before in dag.needs]
    for node, before in enumerate(dag.needs):
        for source in before:
            after[source].append(node)
    ready = [(0.0, node) for node, count in enumerate(waits) if not count]
    heapq.heapify(ready)
    free = [0.0] * slots
    since = [0.0] * len(waits)
    end = 0.0
    while ready:
        at, node = heapq.heappop(ready)
        ends = max(at, heapq.heappop(free)) + seconds
        heapq.heappush(free, ends)
        end = max(end, ends)
        for target in after[node]:
            since[target] = max(since[target], ends)
            waits[target] -= 1
            if not waits[target]:
                heapq.heappush(ready, (since[target], target))
    return end
