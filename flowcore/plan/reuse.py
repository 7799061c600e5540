"""Selection of the nodes that are kept when a part of a run is run again.

In: a plan, and how the nodes of a run have ended. Out: the nodes to run, and what has arrived at
them from those that are kept. Not here: writing it down (stores).

A node is kept only if all its predecessors are: so whatever is run again has everything after it
run again, and nobody ever sees two versions of one output.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flowcore.plan.joins import is_tolerated
from flowcore.plan.plan import Plan
from flowcore.run.status import NodeState

__all__ = ["PartialJoin", "ResumePoint", "after_failure", "from_node"]

_NONE: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialJoin:
    """A node to run, some of whose predecessors are kept."""

    node: int
    settled: int
    """How many of them."""
    succeeded: int
    """How many of them succeeded and have a live edge to it."""
    failed: int
    """How many of them failed and have a live edge to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePoint:
    """The nodes from which a run continues."""

    again: tuple[int, ...]
    """The nodes to run, rising; all others are kept."""
    starts: tuple[int, ...]
    """Those without predecessors."""
    reached: tuple[PartialJoin, ...]
    """Those that kept nodes lead to."""

    def kept(self, total: int) -> Iterator[int]:
        """The nodes to keep, rising."""
        again = set(self.again)
        return (node for node in range(total) if node not in again)


def after_failure(
    plan: Plan, states: Sequence[NodeState], dead: Mapping[int, Collection[int]]
) -> ResumePoint:
    """Say where a run that failed or was cancelled goes on.

    Kept is what has succeeded or was skipped, and a failure that the flow tolerated and with which
    a later node has succeeded.

    Args:
        plan: Its plan.
        states: How each node ended.
        dead: Successors whose edge does not hold, of each node that has such.
    """
    return _frontier(
        plan,
        states,
        dead,
        [_stands(plan, node, states, dead.get(node, _NONE)) for node in range(len(plan))],
    )


def from_node(
    plan: Plan, states: Sequence[NodeState], dead: Mapping[int, Collection[int]], node: int
) -> ResumePoint:
    """Say where a run anew from one node on begins.

    Kept is what has succeeded or was skipped and is neither the node nor after it.

    Args:
        plan: The plan of both runs.
        states: How each node of the old run stands.
        dead: Successors whose edge does not hold, of each node that has such.
        node: The node.
    """
    good = {NodeState.SUCCEEDED, NodeState.SKIPPED}
    stand = [state in good and at != node for at, state in enumerate(states)]
    return _frontier(plan, states, dead, stand)


def _stands(plan: Plan, node: int, states: Sequence[NodeState], dead: Collection[int]) -> bool:
    """Return whether the way a node ended may stay, as far as the node itself goes."""
    if states[node] is not NodeState.FAILED:
        return states[node] in {NodeState.SUCCEEDED, NodeState.SKIPPED}
    live = [target for target in plan.succ[node] if target not in dead]
    in_vain = any(
        states[target] is NodeState.SKIPPED and plan.policy(target).join == "any_success"
        for target in live
    )
    served = any(states[target] is NodeState.SUCCEEDED for target in live)
    return served and not in_vain and is_tolerated(plan, node, dead=frozenset(dead))


def _frontier(
    plan: Plan,
    states: Sequence[NodeState],
    dead: Mapping[int, Collection[int]],
    stand: Sequence[bool],
) -> ResumePoint:
    keep: list[bool] = []
    reached: list[PartialJoin] = []
    for node, before in enumerate(plan.pred):  # predecessors have lower numbers
        good = stand[node] and node != plan.epilogue
        keep.append(good and all(keep[source] for source in before))
        kept = [] if keep[node] else [source for source in before if keep[source]]
        if kept:
            live = [states[source] for source in kept if node not in dead.get(source, _NONE)]
            reached.append(
                PartialJoin(
                    node=node,
                    settled=len(kept),
                    succeeded=live.count(NodeState.SUCCEEDED),
                    failed=live.count(NodeState.FAILED),
                )
            )
    return ResumePoint(
        again=tuple(node for node, kept_ in enumerate(keep) if not kept_),
        starts=tuple(node for node in plan.starts if not keep[node]),
        reached=tuple(reached),
    )
