"""Units whose process is known to be dead: ``lose_begun`` of the Redis store said a second time.

In: a step, a unit, and what the dead process had begun. Out: the run moved. Not here: units whose
lease has run out, and the moves themselves (step).
"""

from collections.abc import Collection

from flowcore.run.event import EventType
from flowcore.run.record import WORKER_LOST
from flowcore.run.status import NodeState, RunState
from flowcore.stores.inmemory.runs.step import Step

__all__ = ["lose_begun"]


def lose_begun(step: Step, unit: str, begun: Collection[int], worker: str) -> None:
    """Count a loss for what it had begun; the rest is dispatched as if it had never had it."""
    run = step.run
    kept = run.units.pop(unit)
    step.unschedule(unit)
    _lose_ahead(step, begun)
    has_begun = {*begun, *(() if kept.told is None else (kept.told,))}
    mine = [node for node in kept.nodes if run.nodes[node] is NodeState.RUNNING]
    mine.sort(key=lambda node: (run.plan.policy_of[node], node))
    for node in mine:
        if node in has_begun:
            if node != kept.told:
                step.event(EventType.NODE_STARTED, [node], 1, {"worker": worker})
            step.lose(node, WORKER_LOST, {"error": WORKER_LOST.as_dict()})
    _give_back(step, [node for node in mine if node not in has_begun])


def _lose_ahead(step: Step, begun: Collection[int]) -> None:
    """Nodes that were not ready: the unit had run what leads to them, and not recorded that."""
    run = step.run
    for node in begun:
        if run.nodes[node] is NodeState.PENDING:
            run.ran_ahead = True
            run.attempts[node] += 1
            run.lost[node] += 1
            step.event(EventType.NODE_LOST, [node], 1)


def _give_back(step: Step, nodes: list[int]) -> None:
    """Nobody has begun these."""
    run = step.run
    for node in nodes:
        run.attempts[node] = 0
    if run.state is not RunState.STOPPING:
        step.dispatch([(node, 1) for node in nodes])
        return
    for node in nodes:
        run.nodes[node] = NodeState.CANCELLED
    run.left -= len(nodes)
    if nodes:
        step.event(EventType.NODES_CANCELLED, sorted(nodes))
