"""A plan as ascii text for a terminal.

In: Plan. Out: text. Not here: colours (cli).

A small plan is drawn: boxes in layers, lines between. One that does not fit is listed layer by
layer; one of more than 60 nodes is summed up, a line a layer.
"""

from collections import Counter

from flowcore.plan.explain.drawing import draw
from flowcore.plan.explain.policies import innermost
from flowcore.plan.plan import Plan
from flowcore.plan.policy import Policy
from flowcore.types import format_duration

__all__ = ["render"]

_MOST_NODES = 60
_MOST_WIDTH = 100
_MOST_LAYERS = 200


def render(plan: Plan) -> str:
    """Write the plan as ascii text.

    Args:
        plan: The plan.

    Returns:
        Lines of at most about 100 characters (longer ones only when an id is), ending in a newline.
    """
    head = f"{_plain(plan.flow)}  version {_plain(plan.version)}"
    counts = f"{_count(len(plan), 'node')}, {_count(sum(map(len, plan.pred)), 'edge')}, "
    lines = [f"{head}: {counts}{_count(max(plan.levels, default=-1) + 1, 'layer')}", ""]
    if len(plan) > _MOST_NODES:
        return "\n".join([*lines, *_summary(plan)]) + "\n"
    picture = draw(plan)
    if picture is None or max(map(len, picture), default=0) > _MOST_WIDTH:
        return "\n".join([*lines, *_listing(plan)]) + "\n"
    return "\n".join([*lines, *picture, "", *_legend(plan)]) + "\n"


def _legend(plan: Plan) -> list[str]:
    """Return what each node runs, and the nodes it runs after."""
    wide = max(map(len, plan.ids), default=0)
    return [f"{id:<{wide}}  {_facts(plan, node)}" for node, id in enumerate(plan.ids)] + (
        _conditions(plan)
    )


def _listing(plan: Plan) -> list[str]:
    """All nodes by layer."""
    lines = []
    layer = -1
    for node, id in enumerate(plan.ids):
        if plan.levels[node] != layer:
            layer = plan.levels[node]
            lines.append(f"layer {layer}")
        lines.append(f"  {id}  {_facts(plan, node)}")
    return lines + _conditions(plan)


def _facts(plan: Plan, node: int) -> str:
    """Return what a node runs, its policies unless they are defaults, and what it waits for."""
    policy = plan.policy(node)
    facts = [_plain(policy.uses)]
    if plan.pred[node] and policy.join != "all_success":
        facts.append(f"join={policy.join}")
    if policy.retry and policy.retry.max_attempts > 1:
        facts.append(f"attempts={policy.retry.max_attempts}")
    if policy.timeout is not None:
        facts.append(f"timeout={format_duration(policy.timeout)}")
    if policy.queue:
        facts.append(f"queue={_plain(policy.queue)}")
    if names := _marked(policy):
        facts.append(f"@node: {names}")
    if plan.pred[node]:
        facts.append("<- " + ", ".join(plan.ids[source] for source in plan.pred[node]))
    return "  ".join(facts)


def _marked(policy: Policy) -> str:
    """The policies that the function's decorator says."""
    return ", ".join(map(_plain, innermost(policy).marked))


def _conditions(plan: Plan) -> list[str]:
    """The conditions of edges, a line each."""
    lines = [
        f"{plan.ids[source]} -> {plan.ids[target]}  when {_plain(text)}"
        for (source, target), text in sorted(plan.when.items())
    ]
    return ["", *lines] if lines else []


def _summary(plan: Plan) -> list[str]:
    """One line a layer: how many nodes, of which kinds, fed by how many edges."""
    members: dict[int, list[int]] = {}
    for node, level in enumerate(plan.levels):
        members.setdefault(level, []).append(node)
    lines = ["layer   nodes   edges in   runs"]
    for level in sorted(members)[:_MOST_LAYERS]:
        nodes = members[level]
        edges = sum(len(plan.pred[node]) for node in nodes)
        kinds = Counter(plan.policy(node).uses for node in nodes).most_common()
        shown = ", ".join(f"{_plain(uses)} x{count}" for uses, count in kinds[:3])
        more = f", {len(kinds) - 3} more" if len(kinds) > 3 else ""  # noqa: PLR2004  (as shown)
        lines.append(f"{level:>5}   {len(nodes):>5}   {edges:>8}   {shown}{more}")
    if len(members) > _MOST_LAYERS:
        lines.append(f"  ...   {_count(len(members) - _MOST_LAYERS, 'more layer')}")
    return lines


def _count(number: int, noun: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _plain(text: str) -> str:
    """Make text safe for a terminal: one line, ascii, no control characters."""
    return "".join(
        char if char.isascii() and char.isprintable() else ascii(char)[1:-1]
        for char in " ".join(text.split(" "))
    )
