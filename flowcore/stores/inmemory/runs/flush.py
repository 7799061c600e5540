"""Flush of a unit's progress: counterpart of the Redis store's ``flush.lua``.

In: a step, a unit and its news. Out: the run moved. Not here: the moves themselves (step).
"""

from dataclasses import replace

from flowcore.plan.plan import Plan
from flowcore.ports.unit import CompletedNode, Granularity, UnitProgress
from flowcore.run.event import EventType
from flowcore.run.status import NodeState, RunState
from flowcore.stores.inmemory.runs.step import Step

__all__ = ["flush"]

_OPEN = frozenset({NodeState.RUNNING, NodeState.PENDING})


def flush(  # noqa: PLR0913  (the port's arguments, and what the unit owns)
    step: Step,
    unit: str,
    owned: set[int],
    news: UnitProgress,
    plan: Plan,
    *,
    worker: str,
    grain: Granularity,
) -> bool:
    """Record it; False when it is not what a unit may say."""
    run = step.run
    if news.proxy and news.current is not None and run.nodes[news.current] not in _OPEN:
        return False
    if run.is_paused:
        news = replace(news, give_back=True)
    at = step.tick if news.age is None else run.units[unit].since + news.age
    accepted = [one for one in news.done if run.nodes[one.node] in _OPEN]
    if accepted and len(accepted) < len(news.done) and run.state is not RunState.STOPPING:
        return False
    for one in accepted:
        _record(step, one, worker, at)
    run.last = max(step.tick, at)
    rest = owned - {one.node for one in news.done}
    step.share_out(grain)
    step.current = news.current
    step.idle = not rest and news.current is None and not news.give_back
    if news.give_back:
        step.spare = -1
    if accepted and run.state is not RunState.STOPPING:
        _arrive(step, news, plan)
    rest = _give_back(step, rest, news, plan)
    current, told = news.current, run.units[unit].told
    if current not in (None, told) and run.nodes[current] is NodeState.RUNNING:
        step.event(EventType.NODE_STARTED, [current], 1, {"worker": worker}, at=at - news.since)
    step.write_unit(unit, rest | set(step.kept), told=news.current)
    return True


def _arrive(step: Step, news: UnitProgress, plan: Plan) -> None:
    """Count what was done in the joins after it; what the unit has done itself needs no count."""
    own = {one.node for one in news.done}
    edges = [
        (node, target, True) for node in own for target in plan.succ[node] if target not in own
    ]
    if edges:
        step.arrive(sorted(edges, key=lambda edge: edge[1]))


def _give_back(step: Step, rest: set[int], news: UnitProgress, plan: Plan) -> set[int]:
    """Part with what has not begun, if the unit ends or the run does; return what stays."""
    stay = {news.current, *news.keep}
    if step.run.state is RunState.STOPPING:
        rest = rest | set(step.kept)
        step.kept.clear()
        back = rest - stay
        _cancel(step, back)
        return rest - back
    if not news.give_back:
        return rest
    back = rest - stay
    for node in back:
        step.run.attempts[node] = 0  # nobody has begun it
    if back:
        by_policy = sorted(back, key=lambda node: (plan.policy_of[node], node))
        step.place([(node, 1) for node in by_policy])
    return rest - back


def _record(step: Step, one: CompletedNode, worker: str, at: int) -> None:
    run, node = step.run, one.node
    run.nodes[node] = NodeState.SUCCEEDED
    run.attempts[node] = 1
    run.outputs[node] = one.output
    run.left -= 1
    if not one.told:
        started = at - one.took - one.ago
        step.event(EventType.NODE_STARTED, [node], 1, {"worker": worker}, at=started)
    step.event(EventType.NODE_SUCCEEDED, [node], 1, at=at - one.ago)


def _cancel(step: Step, nodes: set[int]) -> None:
    for node in nodes:
        step.run.nodes[node] = NodeState.CANCELLED
        step.run.attempts[node] = 0  # nobody has begun it
    step.run.left -= len(nodes)
    if nodes:
        step.event(EventType.NODES_CANCELLED, sorted(nodes))
