"""Words for where a node stands: what it does, what it waits for, who can help.

In: a node's record, its plan, how far the runs inside are. Out: one line of words. Not here: signs
and colours (state_styles), the commands to type next (hints).
"""

from collections.abc import Mapping

from flowcore.cli.times import show_time
from flowcore.plan.plan import Plan
from flowcore.run.record import NodeRecord
from flowcore.run.status import NodeState
from flowcore.types import format_duration

__all__ = ["error_words", "situation", "took"]

_NOTHING: Mapping[str, str] = {}
#: Characters of an error's message: the whole is what ``inspect`` is for.
_MOST_MESSAGE = 160


def situation(
    node: NodeRecord,
    plan: Plan,
    *,
    now: float | None = None,
    progress: Mapping[str, str] = _NOTHING,
) -> str:
    """Say where a node stands, beyond its state.

    Args:
        node: The node.
        plan: The run's plan.
        now: Unix seconds; this machine's clock when left out.
        progress: Progress of child runs, by node; of one that has settled it is no news,
            and may be older than its end.
    """
    inside = "" if node.state.is_terminal else progress.get(node.id, "")
    parts = [
        _tries(node, plan, now),
        inside or _waits(node, now),
        error_words(node),
    ]
    return "; ".join(filter(None, parts))


def error_words(node: NodeRecord) -> str:
    """Describe the failure of a node's latest attempt, on one line."""
    if node.error is None or node.state is NodeState.SUCCEEDED:
        return ""
    message = node.error.message
    cut = message if len(message) <= _MOST_MESSAGE else f"{message[: _MOST_MESSAGE - 1]}…"
    return f"{node.error.type}: {cut}"


def _tries(node: NodeRecord, plan: Plan, now: float | None) -> str:
    """Which try it is, where there is more than one: ``try 2 of 3, next in 4s``."""
    most = _most_tries(node, plan)
    if node.state is NodeState.RETRYING:
        number = node.attempts + 1
        when = f", next {show_time(node.until, now=now)}" if node.until is not None else ""
        return f"try {number}{_of(number, most)}{when}"
    if node.attempts > 1:
        return f"try {node.attempts}{_of(node.attempts, most)}"
    return ""


def _of(number: int, most: int) -> str:
    """Attempts whose worker was lost count as tries, and beyond those that the node is given."""
    return f" of {most}" if number <= most else ""


def _most_tries(node: NodeRecord, plan: Plan) -> int:
    if node.id not in plan.ids:
        return 0
    retry = plan.policy(plan.ids.index(node.id)).retry
    return retry.max_attempts if retry is not None else 1


def _waits(node: NodeRecord, now: float | None) -> str:
    if node.state is not NodeState.WAITING or not node.waits:
        return ""
    if node.until is None:
        return node.waits
    when = show_time(node.until, now=now)
    # A time that is waited for is no limit, that of an answer is.
    return f"{node.waits} ({'time is up ' if node.signal else ''}{when})"


def took(node: NodeRecord, now: float) -> str:
    """Return how long a node has taken, or takes by now."""
    if node.started is None:
        return ""
    return format_duration(max(0.0, (node.finished or now) - node.started))
