"""When a join runs, and which failures a flow tolerates.

In: how the predecessors of one node settled. Out: run or skip. Not here: counting (the stores'
scripts hold the same rules; a contract test compares them), evaluating conditions (expr).

The rules, over *live* edges only. An edge is live if its source succeeded or failed and its
condition, if it has one, holds; an edge from a skipped or cancelled node is dead.

===========  =====================================================================
all_success  at least one live edge, and no live predecessor failed
any_success  at least one live predecessor succeeded
none_failed  no live predecessor failed; holds also when every edge is dead
all_done     always
===========  =====================================================================

A node without predecessors runs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from flowcore.plan.plan import Plan
from flowcore.run.status import NodeState

__all__ = ["JoinInput", "is_fatal_skip", "is_live", "is_tolerated", "runs"]

_TOLERANT = frozenset({"all_done", "any_success"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinInput:
    """One predecessor of a join, once it has settled."""

    state: NodeState
    holds: bool = True
    """Whether the edge's condition holds; True without one."""


def is_live(arrival: JoinInput) -> bool:
    """True if the edge is alive: its source has run, and its condition holds."""
    return arrival.holds and arrival.state in {NodeState.SUCCEEDED, NodeState.FAILED}


def _count(arrivals: Iterable[JoinInput]) -> tuple[int, int]:
    """Live predecessors that succeeded, and that failed."""
    live = [arrival.state for arrival in arrivals if is_live(arrival)]
    return live.count(NodeState.SUCCEEDED), live.count(NodeState.FAILED)


def runs(join: str, arrivals: Iterable[JoinInput]) -> bool:
    """Decide whether a node runs (True) or is skipped (False).

    Args:
        join: The node's rule.
        arrivals: All its predecessors, all of them settled; any order.

    Raises:
        ValueError: The rule is not one of the four.
    """
    settled = tuple(arrivals)
    if not settled:
        return True
    succeeded, failed = _count(settled)
    match join:
        case "all_success":
            return succeeded > 0 and failed == 0
        case "any_success":
            return succeeded > 0
        case "none_failed":
            return failed == 0
        case "all_done":
            return True
        case _:
            msg = f"unknown join rule {join!r}"
            raise ValueError(msg)


def is_fatal_skip(join: str, arrivals: Iterable[JoinInput]) -> bool:
    """Return whether skipping a node fails the run: an any_success join without a success.

    Its predecessors' failures were tolerated because one of them might have succeeded.
    """
    if join != "any_success":
        return False
    succeeded, failed = _count(arrivals)
    return failed > 0 and succeeded == 0


def is_tolerated(plan: Plan, node: int, *, dead: frozenset[int] = frozenset()) -> bool:
    """Return whether the run continues although ``node`` failed.

    It does if the node has live successors and the join of each of them accepts failures.

    Args:
        plan: The plan.
        node: The node that failed.
        dead: Successors whose edge from ``node`` does not hold.
    """
    live = [target for target in plan.succ[node] if target not in dead]
    return bool(live) and all(plan.policy(target).join in _TOLERANT for target in live)
